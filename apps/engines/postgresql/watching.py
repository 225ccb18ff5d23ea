"""Looks at a target that change nothing: its clock, its tables."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from apps.engines.base import ColumnInfo, TableInfo, TableName, Target
from apps.engines.postgresql import names, table_facts
from apps.engines.postgresql.connect import session
from apps.engines.postgresql.queries import query
from apps.engines.postgresql.table_facts import Numbers
from apps.engines.ties import Tie

_KINDS = {
    "r": "table",
    "p": "partitioned table",
    "child": "partition",
    "v": "view",
    "m": "materialized view",
    "f": "foreign table",
}
_FETCHED_AT_ONCE = 1000


def now(target: Target) -> datetime:
    """The target's clock, in UTC."""
    with session(target, doing="reading the clock") as connection:
        moment: datetime = connection.execute("SELECT clock_timestamp()").fetchall()[0][0]
        return moment


def read_tables(target: Target, database: str) -> Iterator[TableInfo]:
    """Streamed: the session stays open until the last one was taken or the iterator is closed."""
    with (
        session(target, database, doing=f"reading the tables of “{database}”") as connection,
        connection.transaction(),
    ):
        # The ties are those of the very tables that are read.
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        with connection.cursor(name="tables") as cursor:
            cursor.execute(query("tables"), {"masker": names.MASKER})
            while rows := cursor.fetchmany(_FETCHED_AT_ONCE):
                numbers = {row[0]: {column[2]: column[0] for column in row[6]} for row in rows}
                ties = table_facts.ties(connection, numbers)
                for row in rows:
                    yield _table(row, numbers[row[0]], ties[row[0]])


def _table(row: tuple[Any, ...], numbers: Numbers, ties: tuple[Tie, ...]) -> TableInfo:
    _, schema, name, kind, rows, comment, columns, row_security, primary_key = row
    return TableInfo(
        table=TableName(schema, name),
        kind=_KINDS[kind],
        columns=tuple(ColumnInfo(*column) for column in columns),
        estimated_rows=rows,
        comment=comment,
        primary_key=table_facts.named(primary_key, numbers),
        ties=ties,
        row_security=row_security,
    )
