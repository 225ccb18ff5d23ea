"""Limits to the rows of tables, as an approver types them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from apps.approvals.narrowing import Filters
from apps.catalog import masking
from apps.catalog.models import Database
from apps.catalog.names import WholeSchema, parse_table
from apps.catalog.row_filters import check_filter, row_filter
from apps.core.errors import Invalid
from apps.engines.base import Level, RowFilter, TableName, ViewedTable
from apps.requests.scope import EffectiveScope

# {"sales.orders": [{"column": "region", "operator": "=", "values": ["EU"]}]}
Typed: TypeAlias = Mapping[str, Sequence[Mapping[str, Any]]]

MAX_FILTERS: Final = 50  # of one decision
_PARTS: Final = frozenset({"column", "operator", "values"})


def parse_filters(scope: EffectiveScope, typed: Typed | None) -> Filters:
    """Raises Invalid for whatever cannot be meant of a table of `scope`."""
    if not isinstance(typed, Mapping | None):
        raise Invalid("Limits to rows are lists, by the name of the table.", field="filters")
    found: dict[TableName, tuple[RowFilter, ...]] = {}
    for text, rows in (typed or {}).items():
        table = _table(scope, text)
        if isinstance(rows, str) or not isinstance(rows, Sequence):
            raise Invalid("The limits of a table are a list.", field="filters")
        if rows:
            found[table] = tuple(sorted({*found.get(table, ()), *map(_filter, rows)}))
    if sum(map(len, found.values())) > MAX_FILTERS:
        raise Invalid(f"At most {MAX_FILTERS} limits fit in one decision.", field="filters")
    if found and scope.level is Level.CHANGE:
        raise Invalid(
            "Rows of a limited table can only be read, and this request is to change them: approve it without limits, "
            "or deny it and let the person ask to read.",
            field="filters",
        )
    return found


def views_for(database: Database, scope: EffectiveScope, filters: Filters) -> tuple[ViewedTable, ...]:
    """Views of limited tables that were to be given directly. Raises Invalid where the catalog is against a limit."""
    for table, rows in filters.items():
        for row in rows:
            try:
                check_filter(database, table, row)
            except Invalid as refusal:
                raise Invalid(refusal.sentence, field="filters") from refusal
    direct = sorted(set(filters) - set(scope.seen))
    return masking.views(database, direct, filtered=direct) if direct else ()


def _table(scope: EffectiveScope, text: object) -> TableName:
    table = parse_table(text, field="filters") if isinstance(text, str) else None
    if table is None or isinstance(table, WholeSchema) or table not in scope.tables:
        raise Invalid("Only tables that are asked for can be limited, each by its name.", field="filters")
    return table


def _filter(row: object) -> RowFilter:
    given = dict(row) if isinstance(row, Mapping) and set(row) <= _PARTS else {}
    column, operator, values = (given.get(part) for part in ("column", "operator", "values"))
    values = () if values is None else values
    if not (isinstance(column, str) and column and isinstance(operator, str) and isinstance(values, list | tuple)):
        raise Invalid("A limit has a column, an operator and a list of values.", field="filters")
    try:
        return row_filter(column, operator, values)
    except Invalid as refusal:
        raise Invalid(refusal.sentence, field="filters") from refusal
