"""What a grant on some tables shows of them: which are reached through views, with which masks and which rows.

The catalog's word for it, frozen into a request's scope; the target is asked again before a login is opened.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from apps.catalog.models import Column, ColumnQuerySet, Database, DataClass, Server, StandingFilter, Table, is_masked
from apps.catalog.targets import engine_for
from apps.engines.base import RowFilter, TableName, ViewedTable
from apps.engines.masks import HIDDEN, BadMask, Mask, parse
from apps.engines.ties import Tie, TieKind


@dataclass(frozen=True)
class ColumnMask:
    """What stands in the place of a column's values, and why."""

    level: str  # confidential | restricted; "" where nobody has classified it
    data_class: str
    mask: Mask


def mask_of(column: Column, classes: Mapping[str, str], server: Server) -> Mask:
    """Of a masked column: its own mask, its data class's, or hidden; a mask that does not fit its type is hidden.

    `classes`: see class_masks().
    """
    text = column.mask_override or classes.get(column.data_class, "")
    try:
        mask = parse(text) if text else HIDDEN
    except BadMask:
        return HIDDEN
    return mask if engine_for(server).mask_fits(mask, column.type) else HIDDEN


def class_masks() -> dict[str, str]:
    """Data class -> mask as text."""
    return dict(DataClass.objects.values_list("name", "mask"))


def masks(database: Database, tables: Iterable[TableName]) -> dict[TableName, dict[str, ColumnMask]]:
    """The masked columns of these tables, in their order; tables without any are left out."""
    wanted, classes = set(tables), class_masks()
    columns = _columns(database, wanted).filter(is_masked())
    found: dict[TableName, dict[str, ColumnMask]] = defaultdict(dict)
    for column in columns:
        name = TableName(column.table.schema, column.table.name)
        if name in wanted:
            mask = mask_of(column, classes, database.server)
            found[name][column.name] = ColumnMask(column.classification, column.data_class, mask)
    return dict(found)


def views(
    database: Database, tables: Iterable[TableName], filtered: Iterable[TableName] = ()
) -> tuple[ViewedTable, ...]:
    """Those of `tables` that are reached through a view: in a schema with a masked column, or of which a standing
    filter leaves out rows, or in `filtered`, whose rows somebody is about to limit. Sorted.
    """
    wanted = set(tables)
    limited = standing_filters(database, wanted)
    guarded = guarded_schemas(database)
    viewed = {table for table in wanted if table.schema in guarded} | set(limited) | (wanted & set(filtered))
    if not viewed:
        return ()
    classes = class_masks()
    columns: dict[TableName, list[str]] = defaultdict(list)
    masked: dict[TableName, dict[str, Mask]] = defaultdict(dict)
    # pk's of the masked ones, so that the meaning of "masked" stands in one place.
    hidden = set(_columns(database, viewed).filter(is_masked()).order_by().values_list("pk", flat=True))
    for column in _columns(database, viewed):
        name = TableName(column.table.schema, column.table.name)
        columns[name].append(column.name)
        if column.pk in hidden:
            masked[name][column.name] = mask_of(column, classes, database.server)
    return tuple(
        ViewedTable(
            table, tuple(columns[table]), tuple(sorted(masked[table].items())), tuple(sorted(limited.get(table, ())))
        )
        for table in sorted(viewed)
    )


def guarded_schemas(database: Database) -> frozenset[str]:
    """Those with a masked column: their tables are reached through views only."""
    return frozenset(_present(database).masked().order_by().values_list("table__schema", flat=True).distinct())


def standing_filters(database: Database, tables: Iterable[TableName]) -> dict[TableName, list[RowFilter]]:
    """What DBAs have limited."""
    wanted = set(tables)
    found: dict[TableName, list[RowFilter]] = defaultdict(list)
    for row in StandingFilter.objects.filter(table__database=database).select_related("table"):
        name = TableName(row.table.schema, row.table.name)
        if name in wanted:
            found[name].append(row.row_filter)
    return dict(found)


def ties_of(database: Database, tables: Iterable[TableName]) -> dict[TableName, tuple[Tie, ...]]:
    """As the last reading of the tables told them."""
    wanted = set(tables)
    rows = Table.objects.filter(
        database=database, gone_at=None, schema__in={table.schema for table in wanted}
    ).values_list("schema", "name", "ties")
    named = ((TableName(schema, name), ties) for schema, name, ties in rows)
    return {name: tuple(map(tie_from_json, ties)) for name, ties in named if name in wanted}


def masked_elsewhere(database: Database) -> frozenset[tuple[str, str, str]]:
    """(schema, table, column) of every masked column of a database."""
    rows = _present(database).masked().order_by().values_list("table__schema", "table__name", "name")
    return frozenset((schema, table, name) for schema, table, name in rows)


def tie_to_json(tie: Tie) -> list[object]:
    return [tie.kind.value, tie.name, list(tie.columns), [list(other) for other in tie.others], list(tie.events)]


def tie_from_json(value: list[object]) -> Tie:
    kind, name, columns, others, events = value
    return Tie(
        TieKind(kind),  # type: ignore[arg-type]
        str(name),
        tuple(columns),  # type: ignore[arg-type]
        tuple((schema, table, column) for schema, table, column in others),  # type: ignore[attr-defined]
        tuple(events),  # type: ignore[arg-type]
    )


def _present(database: Database) -> ColumnQuerySet:
    return Column.objects.filter(table__database=database, table__gone_at=None, gone_at=None)


def _columns(database: Database, tables: set[TableName]) -> ColumnQuerySet:
    """Of all tables with such a schema and such a name: whoever asks looks again."""
    return (
        _present(database)
        .filter(table__schema__in={table.schema for table in tables}, table__name__in={t.name for t in tables})
        .select_related("table")
        .order_by("table__schema", "table__name", "position")
    )
