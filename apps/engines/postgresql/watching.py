"""Looks at a target that change nothing: its clock, its live sessions, its tables."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from apps.engines.base import ColumnInfo, SessionUse, TableInfo, TableName, Target
from apps.engines.postgresql import names, roles, table_facts
from apps.engines.postgresql.connect import Connection, makers_apply, session
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


def sessions(target: Target) -> list[SessionUse]:
    """How many each login has. On 16+ only a login's maker is shown since when."""
    with session(target, doing="looking at sessions") as connection:
        uses = _sessions(connection, target)
        if not makers_apply(connection):
            return uses
        starts: dict[str, datetime | None] = {}
        for maker in sorted({names.maker_name(use.login) for use in uses}):
            with connection.transaction():
                connection.execute(roles.become(maker))
                starts |= {use.login: use.first_backend_start for use in _sessions(connection, target, maker=maker)}
        return [SessionUse(use.login, use.live, starts.get(use.login)) for use in uses]


def _sessions(connection: Connection, target: Target, *, maker: str = "") -> list[SessionUse]:
    rows = connection.execute(query("sessions"), {"mark": names.comment(target.portal_id, "")})
    uses = [SessionUse(login=login, live=live, first_backend_start=start) for login, live, start in rows]
    return [use for use in uses if not maker or names.maker_name(use.login) == maker]


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
