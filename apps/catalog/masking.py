"""What a grant on some tables shows of them: which are reached through views, with which masks and which rows.

The catalog's word for it, frozen into a request's scope; the target is asked again before a login is opened.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.db.models import Case, When

from apps.catalog.models import Column, ColumnQuerySet, Database, DataClass, Server, StandingFilter, is_masked
from apps.catalog.targets import engine_for
from apps.engines.base import RowFilter, TableName, ViewedTable
from apps.engines.masks import HIDDEN, BadMask, Mask, parse
from apps.engines.ties import Tie, TieKind

_NAMES_IN_QUERY = 1000  # with more, reading the columns of whole schemas is quicker than naming each table


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
    return _fitting(column.mask_override or classes.get(column.data_class, ""), column.type, server)


def _fitting(text: str, column_type: str, server: Server) -> Mask:
    try:
        mask = parse(text) if text else HIDDEN
    except BadMask:
        return HIDDEN
    return mask if engine_for(server).mask_fits(mask, column_type) else HIDDEN


def class_masks() -> dict[str, str]:
    """Data class -> mask as text."""
    return dict(DataClass.objects.values_list("name", "mask"))


@dataclass(frozen=True)
class Seen:
    """What a grant on some tables shows of them."""

    views: tuple[ViewedTable, ...]  # see views()
    masks: dict[TableName, dict[str, ColumnMask]]  # see masks()


def masks(database: Database, tables: Iterable[TableName]) -> dict[TableName, dict[str, ColumnMask]]:
    """The masked columns of these tables, in their order; tables without any are left out."""
    wanted = set(tables)
    return _masks(_read(database, wanted, _columns(database, wanted).masked()))


def views(
    database: Database, tables: Iterable[TableName], filtered: Iterable[TableName] = ()
) -> tuple[ViewedTable, ...]:
    """Those of `tables` that are reached through a view: in a schema with a masked column, or of which a standing
    filter leaves out rows, or in `filtered`, whose rows somebody is about to limit. Sorted.
    """
    return seen(database, tables, filtered).views


def seen(database: Database, tables: Iterable[TableName], filtered: Iterable[TableName] = ()) -> Seen:
    """views() and masks() at once, as their columns are read once."""
    wanted = set(tables)
    limited = standing_filters(database, wanted)
    guarded = guarded_schemas(database)
    viewed = {table for table in wanted if table.schema in guarded} | set(limited) | (wanted & set(filtered))
    columns = _read(database, viewed, _columns(database, viewed)) if viewed else {}
    found = tuple(
        ViewedTable(
            table,
            tuple(column for column, _ in columns.get(table, ())),
            tuple(sorted((column, said.mask) for column, said in columns.get(table, ()) if said)),
            tuple(sorted(limited.get(table, ()))),
        )
        for table in sorted(viewed)
    )
    return Seen(found, _masks(columns))


# Table -> its columns in order; None says that one is not masked.
_Read = dict[TableName, list[tuple[str, ColumnMask | None]]]


def _read(database: Database, wanted: set[TableName], columns: ColumnQuerySet) -> _Read:
    """Thousands of columns have a handful of types and data classes."""
    classes = class_masks()
    known: dict[tuple[str, ...], ColumnMask] = {}
    found: _Read = defaultdict(list)
    rows = columns.annotate(masked=Case(When(is_masked(), then=True), default=False)).values_list(
        *("table__schema", "table__name", "name", "masked"), *("type", "classification", "data_class", "mask_override")
    )
    for schema, table, name, masked, *about in rows:
        if (key := TableName(schema, table)) not in wanted:
            continue
        said = known.get(tuple(about)) if masked else None
        if masked and said is None:
            column_type, level, data_class, override = about
            mask = _fitting(override or classes.get(data_class, ""), column_type, database.server)
            said = known[tuple(about)] = ColumnMask(level, data_class, mask)
        found[key].append((name, said))
    return found


def _masks(columns: _Read) -> dict[TableName, dict[str, ColumnMask]]:
    masked = ((table, {name: said for name, said in rows if said}) for table, rows in columns.items())
    return {table: found for table, found in masked if found}


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
    """Of all tables with such a schema, and such a name unless these are many: whoever asks looks again."""
    columns = _present(database).filter(table__schema__in={table.schema for table in tables})
    names = {table.name for table in tables}
    if len(names) <= _NAMES_IN_QUERY:
        columns = columns.filter(table__name__in=names)
    return columns.order_by("table__schema", "table__name", "position")
