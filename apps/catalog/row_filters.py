"""Which rows of a table every grant shows: set by a DBA, structured, never SQL."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from django.db.models import Q, QuerySet

from apps.accounts.actors import Actor, actor_id, require_dba
from apps.accounts.dual_control import Line, require_second, widening
from apps.audit import services as audit
from apps.audit.actions import Action
from apps.catalog.models import Column, Database, StandingFilter, Table
from apps.catalog.tables import quoted, quoted_column
from apps.catalog.targets import engine_for
from apps.core import clock
from apps.core.errors import Conflict, Invalid, NotFound
from apps.core.nudge import nudge
from apps.core.texts import checked
from apps.core.verbs import verb
from apps.engines.base import Operator, RowFilter, TableName

_MAX_VALUES: Final = 100
_MAX_VALUE: Final = 200
_WITHOUT_VALUE: Final = frozenset({Operator.IS_NULL, Operator.IS_NOT_NULL})


def row_filter(column: str, operator: str, values: Sequence[str]) -> RowFilter:
    """What somebody has typed, as a filter. Raises Invalid about `operator` or `values`."""
    if operator not in set(Operator):
        raise Invalid(f"Choose one of: {', '.join(Operator)}.", field="operator")
    given = tuple(checked(value, what="The value", field="values", at_most=_MAX_VALUE) for value in values)
    made = RowFilter(column, Operator(operator), given)
    if made.operator in _WITHOUT_VALUE and given:
        raise Invalid(f"“{operator}” takes no value.", field="values")
    if made.operator is Operator.ONE_OF:
        if not 1 <= len(given) <= _MAX_VALUES:
            raise Invalid(f"“{operator}” takes 1 to {_MAX_VALUES} values.", field="values")
    elif made.operator not in _WITHOUT_VALUE and len(given) != 1:
        raise Invalid(f"“{operator}” takes one value.", field="values")
    return made


def check_filter(database: Database, table: TableName, row_filter: RowFilter) -> None:
    """Raise Invalid unless the rows of `table` may be limited like this.

    Not by a masked column: whoever reads the filter would know the column's values.
    """
    name = quoted_column(table, row_filter.column)
    column = (
        Column.objects.filter(
            Q(table__gone_at=None, gone_at=None),
            table__database=database,
            table__schema=table.schema,
            table__name=table.name,
            name=row_filter.column,
        )
        .select_related("table__database__server")
        .first()
    )
    if column is None:
        raise Invalid(f"There is no column {name} in {database.slug}: rows cannot be chosen by it.", field="column")
    if Column.objects.masked().filter(pk=column.pk).exists():
        raise Invalid(
            f"{name} is masked: a condition on it would tell its values. Choose rows by a column that is shown.",
            field="column",
        )
    if not engine_for(database.server).filter_fits(row_filter, column.type):
        raise Invalid(
            f"“{row_filter}” cannot be compared with {name}, which is of type {column.type}: "
            "choose another operator, or values that this type can hold.",
            field="values",
        )


def refuse_filtered(columns: Iterable[Column]) -> None:
    """Raise Conflict where one of these columns, which are about to be masked, chooses the rows of its table."""
    by_table: dict[int, dict[str, Column]] = {}
    for column in columns:
        by_table.setdefault(column.table_id, {})[column.name] = column
    for row in StandingFilter.objects.select_related("table"):
        limited = by_table.get(row.table_id, {}).get(row.column)
        if limited is not None:
            raise Conflict(
                f"{limited} cannot be masked while the standing filter “{row.row_filter}” stands on it: the filter "
                "would tell its values. Take the filter away first."
            )


def refuse_filtered_unclassified(database: Database) -> None:
    """The same for a database that is about to hide what nobody has classified."""
    limited = StandingFilter.objects.filter(table__database=database).values("table")
    refuse_filtered(Column.objects.filter(table__in=limited, classification="").select_related("table"))


@verb
def add_filter(
    *, actor: Actor, table_id: int, column: str, operator: str, values: Sequence[str] = ()
) -> StandingFilter:
    """Limit every grant on a table to rows for which this holds, and whatever else limits it."""
    require_dba(actor, what="limit the rows of a table")
    table = locked_table(table_id)
    made = row_filter(column, operator, values)
    check_filter(table.database, TableName(table.schema, table.name), made)
    row, is_new = StandingFilter.objects.get_or_create(
        table=table,
        column=made.column,
        operator=made.operator.value,
        values=list(made.values),
        defaults={"added_at": clock.now()},
    )
    if not is_new:
        raise Conflict(f"{table} is limited by “{made}” already.")
    _record(Action.FILTER_ADDED, row, actor)
    return row


@widening("filter.remove")
def remove_filter(*, actor: Actor, filter_id: int) -> None:
    """Show rows again that a standing filter has left out; grants that there are keep what they were given.

    It takes a second person. Raises NotFound, NotAllowed, Waits.
    """
    require_dba(actor, what="limit the rows of a table")
    row = StandingFilter.objects.filter(pk=filter_id).select_related("table").first()
    if row is None:
        raise NotFound("There is no such filter: it has been taken away already.")
    table = locked_table(row.table_id)
    shown = Line(str(table), f"only rows where {row.row_filter}", "rows whatever this column says")
    require_second(actor, about=f"Rows of {table}", subject=table.database.audit_id, difference=[shown])
    if not StandingFilter.objects.filter(pk=filter_id).delete()[0]:
        raise NotFound("There is no such filter: it has been taken away already.")
    _record(Action.FILTER_REMOVED, row, actor)


def inherit_limits(limited_id: int, heir: Table, names: Mapping[str, str]) -> None:
    """For the reading of tables: what limits a table limits those that may be it under another name.

    `names`: what its columns were called -> what they are called now.
    """
    limited = Table.objects.get(pk=limited_id)
    for row in limited.standing_filters.all():
        # A name that is not there is kept: then nothing is granted until a DBA has looked.
        heir.standing_filters.get_or_create(
            column=names.get(row.column, row.column),
            operator=row.operator,
            values=row.values,
            defaults={"added_at": row.added_at},
        )
    if limited.paused_at and not heir.paused_at:
        heir.paused_at, heir.paused_by, heir.pause_reason = limited.paused_at, limited.paused_by, limited.pause_reason
        heir.save(update_fields=["paused_at", "paused_by", "pause_reason"])


def lock_databases(ids: QuerySet[Any, Any]) -> None:
    """In one order for all of us, and before whatever else is locked in them."""
    list(Database.objects.select_for_update(no_key=True).filter(pk__in=ids).order_by("pk").values_list("pk"))


def locked_table(table_id: int) -> Table:
    """Its database first: no column is classified, and no table taken for another one, until we are done."""
    lock_databases(Table.objects.filter(pk=table_id).values("database"))
    try:
        return (
            Table.objects.select_related("database__server")
            .select_for_update(no_key=True, of=("self",))
            .get(pk=table_id)
        )
    except Table.DoesNotExist as error:
        raise NotFound("There is no such table.") from error


def _record(action: Action, row: StandingFilter, actor: Actor) -> None:
    audit.record(
        action,
        actor=actor_id(actor),
        subject=row.table.database.audit_id,
        facts={"table": row.table.pk, "operator": row.operator},
        disclosed={
            "filter": str(row.row_filter),
            "table": quoted(TableName(row.table.schema, row.table.name)),
        },
    )
    nudge()
