"""Rows that an approver limits a yes to: columns, operators and values out of a form, never SQL."""

import csv
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Final

from django.http import QueryDict

from apps.catalog.models import Column
from apps.catalog.names import parse_column, quoted, quoted_column
from apps.engines.base import Level, Operator, TableName
from apps.requests.models import AccessRequest

ROWS: Final = 4  # empty ones that the form offers
_MOST_TABLES: Final = 40  # whose columns are a list to choose from; of more, the name is typed
_WITHOUT_VALUE: Final = frozenset({Operator.IS_NULL.value, Operator.IS_NOT_NULL.value})


@dataclass(frozen=True)
class LimitRow:
    """One row of the form, as typed."""

    column: str = ""  # schema.table.column
    operator: str = Operator.EQUAL.value
    value: str = ""

    @property
    def values(self) -> list[str]:
        if self.operator in _WITHOUT_VALUE:
            return []
        if self.operator == Operator.ONE_OF:
            return [value for line in csv.reader([self.value], skipinitialspace=True) for value in line]
        return [self.value]


def rows_of(data: QueryDict) -> list[LimitRow]:
    """Those that name a column."""
    fields = (data.getlist(name) for name in ("limit_column", "limit_operator", "limit_value"))
    rows = (LimitRow(column.strip(), operator, value) for column, operator, value in zip(*fields, strict=False))
    return [row for row in rows if row.column]


def filters_of(data: QueryDict) -> dict[str, list[dict[str, Any]]]:
    """As approve() takes them, by table. Raises Invalid."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows_of(data):
        table, column = parse_column(row.column, field="filters")
        found[quoted(table)].append({"column": column, "operator": row.operator, "values": row.values})
    return dict(found)


def can_limit(row: AccessRequest) -> bool:
    """Limited rows are read-only."""
    return row.level != Level.CHANGE


def columns_to_limit(row: AccessRequest) -> list[tuple[str, list[tuple[str, str]]]]:
    """(table, [(full name, column)]) to choose from; empty where there are too many."""
    tables = row.effective.tables
    if len(tables) > _MOST_TABLES:
        return []
    columns = Column.objects.filter(
        table__database=row.database_id,
        table__schema__in={table.schema for table in tables},
        table__name__in={table.name for table in tables},
        table__gone_at=None,
        gone_at=None,
    ).order_by("position")
    found: dict[TableName, list[tuple[str, str]]] = {table: [] for table in tables}
    for schema, name, column in columns.values_list("table__schema", "table__name", "name"):
        table = TableName(schema, name)
        if table in found:
            found[table].append((quoted_column(table, column), column))
    return [(quoted(table), listed) for table, listed in found.items() if listed]
