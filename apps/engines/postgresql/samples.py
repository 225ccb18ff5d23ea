"""A bounded look at values of plain tables, for classifying. Nothing of it is stored or logged."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

import psycopg
from psycopg import sql

from apps.engines.base import Sample, TableName, Target
from apps.engines.postgresql import names, roles
from apps.engines.postgresql.connect import Connection, session
from apps.engines.postgresql.queries import query

MOST_VALUES: Final = 200  # of a column
LONGEST_VALUE: Final = 200
_ROWS: Final = 400  # some are null
_PAGES: Final = 500  # read of a table at most, spread over all of it

_LIMITS: Final = """\
SET TRANSACTION READ ONLY; SET LOCAL statement_timeout = '2s'; SET LOCAL lock_timeout = '500ms';
SET LOCAL row_security = off"""
# A table that is slow, locked, gone, no longer ours to read, or in letters that are none: as if it had no values.
_LEFT_OUT: Final = (
    psycopg.errors.QueryCanceled,
    psycopg.errors.LockNotAvailable,
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.InvalidSchemaName,
    psycopg.errors.WrongObjectType,
    psycopg.errors.ObjectNotInPrerequisiteState,
    psycopg.errors.DataError,
    UnicodeDecodeError,
)


def samples(target: Target, database: str, columns: Sequence[tuple[TableName, str]]) -> Iterator[Sample]:
    """Values by column; what is not a plain table of plain types without row security is left out."""
    if not columns:
        return
    with session(target, database, doing=f"looking at values in “{database}”") as connection:
        plain = [(table, column) for table, column, _ in _plain(connection, columns)]
        for table, group in groupby(plain, key=lambda pair: pair[0]):
            try:
                with connection.transaction():
                    found = _of_table(connection, table, [column for _, column in group])
            except _LEFT_OUT:
                continue
            yield from found


def _plain(connection: Connection, columns: Sequence[tuple[TableName, str]]) -> list[tuple[TableName, str, int]]:
    """With the table's oid, by table."""
    parameters = {
        "masker": names.MASKER,
        "schemas": [table.schema for table, _ in columns],
        "names": [table.name for table, _ in columns],
        "columns": [column for _, column in columns],
    }
    rows = connection.execute(query("samples"), parameters).fetchall()
    return [(TableName(schema, name), column, oid) for schema, name, column, oid in rows]


def _of_table(connection: Connection, table: TableName, columns: list[str]) -> list[Sample]:
    """Locked and looked at again before it is read: by now a view could have its name (field notes S2).

    The lock keeps indexes and statistics from being made as well, whose functions a planner runs.
    """
    name = sql.Identifier(table.schema, table.name)
    connection.execute(
        sql.SQL("SET TRANSACTION READ ONLY; {}; {}").format(roles.become(names.MASKER), sql.SQL(_LIMITS))
    )
    connection.execute(sql.SQL("LOCK TABLE ONLY {} IN SHARE UPDATE EXCLUSIVE MODE").format(name))
    plain = _plain(connection, [(table, column) for column in columns])
    if not plain:
        return []
    shown = sql.SQL(", ").join(
        sql.SQL("pg_catalog.left({}::pg_catalog.text, {})").format(sql.Identifier(column), LONGEST_VALUE)
        for _, column, _ in plain
    )
    look = sql.SQL("SELECT {} FROM ONLY {}{} LIMIT {}").format(shown, name, _spread(connection, plain[0][2]), _ROWS)
    rows = connection.execute(look).fetchall()
    return [
        Sample(table, column, tuple([row[place] for row in rows if row[place] is not None][:MOST_VALUES]))
        for place, (_, column, _) in enumerate(plain)
    ]


def _spread(connection: Connection, oid: int) -> sql.Composed | sql.SQL:
    """All pages of a small table; of a large one some, from everywhere."""
    size = "SELECT pg_relation_size(%s::oid) / current_setting('block_size')::int"
    pages = connection.execute(size, [oid]).fetchall()[0][0]
    if pages <= _PAGES:
        return sql.SQL("")
    return sql.SQL(" TABLESAMPLE pg_catalog.system ({})").format(100 * _PAGES / pages)
