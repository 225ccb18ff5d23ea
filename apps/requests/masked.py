"""What a scope shows, column by column, as the catalog knows it now: for the form, for approvers and for refusals.

The same rules that the engine follows at issue, so that what could not be issued is not asked for.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final, TypedDict

from django.db.models import Count

from apps.accounts.models import User
from apps.catalog import masking
from apps.catalog.masking import ColumnMask
from apps.catalog.models import Column, Database, Table
from apps.catalog.names import quoted, quoted_column
from apps.engines.base import Level, TableName
from apps.engines.masks import Mask
from apps.engines.ties import (
    Tie,
    copies,
    needs_order,
    not_updatable,
    read_only,
    refused_writes,
    shows_masked,
    told_by_place,
)
from apps.requests.errors import Refused
from apps.requests.scope import EffectiveScope

MAX_VIEWED_COLUMNS: Final = 50_000  # of one scope: each is named in it, and in every decision about it
_NAMES_IN_QUERY: Final = 1000  # with more, reading the tables of whole schemas is quicker than naming each
_SHOWN: Final = 5  # tables in one sentence
_LEAVE_OUT: Final = "Leave it out, naming the other tables one by one where you asked for a whole schema."
_VIEWS: Final = frozenset({"view", "materialized view"})


class MaskedColumn(TypedDict):
    """`name` is how a person writes the column; `mask` is what it has unless it is shown unmasked."""

    name: str
    table: str
    column: str
    mask: str
    level: str  # confidential | restricted; "" where nobody has classified it
    data_class: str


class ReadOnlyColumn(TypedDict):
    """`why` is the rest of a sentence about the column: "is masked"."""

    name: str
    table: str
    column: str
    why: str


class RefusedWrite(TypedDict):
    """`why` is the rest of a sentence about the statement: "fires the trigger t, which sees masked columns"."""

    table: str
    statement: str  # INSERT | UPDATE | DELETE
    why: str


class FilterLine(TypedDict):
    table: str
    column: str
    operator: str
    values: list[str]
    text: str  # region = 'EU'


@dataclass(frozen=True)
class About:
    """What people are told about a scope. Whoever shows it caps it: a scope may have thousands of columns."""

    masked: list[MaskedColumn]  # and stay so
    unmasked: list[MaskedColumn]  # to be shown
    read_only: list[ReadOnlyColumn]  # at level change
    refused_writes: list[RefusedWrite]
    filters: list[FilterLine]


Masks = Mapping[TableName, Mapping[str, ColumnMask]]  # of masked columns only


@dataclass(frozen=True)
class KnownTable:
    """Light, as there may be thousands."""

    kind: str
    row_security: bool
    primary_key: list[str]
    ties: tuple[Tie, ...]
    paused_at: datetime | None
    paused_by: str | None  # the id of a user
    pause_reason: str


@dataclass(frozen=True)
class Known:
    """What the catalog says about some tables. Read once, in a fixed number of queries."""

    database: Database
    tables: Mapping[TableName, KnownTable]
    columns: Masks

    @cached_property
    def masked_everywhere(self) -> frozenset[tuple[str, str, str]]:
        """(schema, table, column) of every masked column of the database."""
        return masking.masked_elsewhere(self.database)

    def ties(self, table: TableName) -> tuple[Tie, ...]:
        row = self.tables.get(table)
        return row.ties if row else ()


def know(
    database: Database,
    tables: Iterable[TableName],
    *,
    masks: Mapping[TableName, Mapping[str, ColumnMask]] | None = None,
) -> Known:
    """`masks`: those of apps.catalog.masking.masks() for these tables, where they were read already."""
    wanted = set(tables)
    rows = Table.objects.filter(database=database, gone_at=None, schema__in={table.schema for table in wanted})
    if len(wanted) <= _NAMES_IN_QUERY:
        rows = rows.filter(name__in={table.name for table in wanted})
    found = {
        name: KnownTable(kind, row_security, key, tuple(map(masking.tie_from_json, ties)), *paused)
        for schema, table, kind, row_security, key, ties, *paused in rows.order_by().values_list(
            *("schema", "name", "kind", "row_security", "primary_key", "ties"),
            *("paused_at", "paused_by", "pause_reason"),
        )
        if (name := TableName(schema, table)) in wanted
    }
    return Known(database, found, masking.masks(database, wanted) if masks is None else masks)


def unclassified(database: Database, tables: Iterable[TableName]) -> int:
    """How many columns of these are shown although nobody has classified them."""
    if database.hides_unclassified:
        return 0
    wanted = set(tables)
    there = Column.objects.filter(table__database=database, table__gone_at=None, gone_at=None, classification="")
    rows = there.filter(table__schema__in={table.schema for table in wanted}).order_by()
    counted = rows.values_list("table__schema", "table__name").annotate(number=Count("pk"))
    return sum(number for schema, name, number in counted if TableName(schema, name) in wanted)


def filters_of(scope: EffectiveScope) -> list[FilterLine]:
    """The rows that it is limited to."""
    return [
        {
            "table": quoted(view.table),
            "column": one.column,
            "operator": one.operator.value,
            "values": list(one.values),
            "text": str(one),
        }
        for view in scope.views
        for one in view.filters
    ]


def about(scope: EffectiveScope, known: Known) -> About:
    shown = set(scope.unmask)
    masked = [
        (_column(view.table, name, mask, known), (view.table, name) in shown)
        for view in scope.views
        for name, mask in view.masks
    ]
    return About(
        masked=[column for column, is_shown in masked if not is_shown],
        unmasked=[column for column, is_shown in masked if is_shown],
        read_only=_read_only(scope, known),
        refused_writes=_refused_writes(scope, known),
        filters=filters_of(scope),
    )


def check(scope: EffectiveScope, known: Known) -> None:
    """Raise Refused for what could not be issued, or not without showing something that is masked."""
    viewed = {view.table: known.tables[view.table] for view in scope.views if view.table in known.tables}
    if sum(len(view.columns) for view in scope.views) > MAX_VIEWED_COLUMNS:
        raise Refused(
            f"At most {MAX_VIEWED_COLUMNS} columns fit in one request where some are masked: ask for fewer tables.",
            field="tables",
        )
    _refuse(
        [table for table, row in viewed.items() if row.row_security],
        "row security on the server decides about the rows of it, and a view that masks columns would not keep to it",
    )
    _refuse(
        [table for table, row in viewed.items() if row.kind == "foreign table"],
        "what it holds lies on another server, where the view that masks it cannot keep its promises",
    )
    _refuse(
        [table for table, row in viewed.items() if row.kind == "partition"],
        "it is a partition or an inheritance child, and with masks it is only reached through its parent: ask for that",
    )
    if scope.level is Level.CHANGE:
        _check_change(scope, viewed)
    _check_filters(scope)
    _check_masks(scope, known)


def refuse_paused(known: Known) -> None:
    """While its owner changes a table, nothing on it is given."""
    for table, row in sorted(known.tables.items()):
        if row.paused_at is not None:
            by = User.objects.filter(pk=row.paused_by).first()
            who = by.name if by else "a database administrator"
            raise Refused(
                f"{quoted(table)} is not given at present: {who} paused it at {row.paused_at:%Y-%m-%d %H:%M} UTC "
                f"({row.pause_reason or 'no reason given'}). Ask again later, or leave it out.",
                field="tables",
            )


def _check_filters(scope: EffectiveScope) -> None:
    for view in scope.views:
        for one in view.filters:
            if one.column not in view.columns:
                raise Refused(
                    f"Rows of {quoted(view.table)} are limited to {one}, and it has no column {one.column} any more, "
                    f"so that it is not given until a database administrator changes that limit. {_LEAVE_OUT}",
                    field="tables",
                )


def _check_change(scope: EffectiveScope, viewed: Mapping[TableName, KnownTable]) -> None:
    for view in scope.views:
        if view.filters:
            limits = " and ".join(map(str, view.filters))
            raise Refused(
                f"Every access to {quoted(view.table)} is limited to rows with {limits}, and rows of a limited table "
                "can only be read: ask for the level query or export, or leave it out.",
                field="level",
            )
    _refuse(
        [table for table, row in viewed.items() if row.kind in _VIEWS],
        "a view in a schema that holds masked columns can only be read: ask for the tables behind it",
        field="level",
    )


def _check_masks(scope: EffectiveScope, known: Known) -> None:
    masked = _still_masked(scope)
    for table in sorted(masked):
        ties = known.ties(table)
        for generated, source in sorted(shows_masked(ties, masked[table]).items()):
            raise Refused(
                f"{quoted_column(table, generated)} is computed from the masked {source} and is not masked itself, so "
                f"{quoted(table)} is not given: a database administrator can classify it. {_LEAVE_OUT}",
                field="tables",
            )
    elsewhere = _elsewhere(scope, known) if scope.views else frozenset()
    for view in scope.views:
        hidden = masked.get(view.table, ())
        for copy, source in sorted(copies(known.ties(view.table), hidden, masked_elsewhere=elsewhere).items()):
            raise Refused(
                f"{quoted_column(view.table, copy)} refers to the masked {source}, holds its values and is not masked "
                f"itself, so {quoted(view.table)} is not given: a database administrator can classify it. {_LEAVE_OUT}",
                field="tables",
            )
    _refuse(
        [table for table, columns in masked.items() if told_by_place(known.ties(table), columns)],
        "it is divided by a masked column, and a plan tells in which part a row lies",
    )
    _refuse(
        [
            table
            for table, columns in masked.items()
            if table in known.tables and not known.tables[table].primary_key and needs_order(known.ties(table), columns)
        ],
        "an index over a masked column could tell its order, and there is no primary key to put the rows in another",
    )


def _refuse(tables: Iterable[TableName], why: str, *, field: str = "tables") -> None:
    found = sorted(tables)
    if not found:
        return
    names = ", ".join(quoted(table) for table in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    raise Refused(f"{names}{more} cannot be given: {why}. {_LEAVE_OUT}", field=field)


def _still_masked(scope: EffectiveScope) -> dict[TableName, set[str]]:
    found: dict[TableName, set[str]] = {}
    for table, column, _ in scope.masked():
        found.setdefault(table, set()).add(column)
    return found


def _column(table: TableName, column: str, mask: Mask, known: Known) -> MaskedColumn:
    said = known.columns.get(table, {}).get(column)
    return {
        "name": quoted_column(table, column),
        "table": quoted(table),
        "column": column,
        "mask": str(mask),
        "level": said.level if said else "",
        "data_class": said.data_class if said else "",
    }


def _read_only(scope: EffectiveScope, known: Known) -> list[ReadOnlyColumn]:
    if scope.level is not Level.CHANGE or not scope.views:
        return []
    masked, elsewhere = _still_masked(scope), _elsewhere(scope, known)
    found: list[ReadOnlyColumn] = []
    for view in scope.views:
        ties, columns = known.ties(view.table), view.columns
        kept = not_updatable(ties, columns, masked_elsewhere=elsewhere)
        why = {column: f"can be inserted and not updated: that {reason}" for column, reason in kept.items()}
        why |= read_only(ties, columns, masked.get(view.table, ()), masked_elsewhere=elsewhere)
        table = quoted(view.table)
        found += [
            {"name": quoted_column(view.table, column), "table": table, "column": column, "why": reason}
            for column, reason in why.items()
        ]
    return found


def _refused_writes(scope: EffectiveScope, known: Known) -> list[RefusedWrite]:
    if scope.level is not Level.CHANGE or not scope.views:
        return []
    masked, elsewhere = _still_masked(scope), _elsewhere(scope, known)
    return [
        {"table": quoted(view.table), "statement": statement, "why": why}
        for view in scope.views
        for statement, why in refused_writes(
            known.ties(view.table), masked.get(view.table, ()), masked_elsewhere=elsewhere
        ).items()
    ]


def _elsewhere(scope: EffectiveScope, known: Known) -> frozenset[tuple[str, str, str]]:
    return known.masked_everywhere - {(table.schema, table.name, column) for table, column in scope.unmask}
