"""Prepared transactions of live logins: they outlive their sessions, and stand in others' way without any."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql
from psycopg.rows import class_row

from apps.engines.base import CutWhy, EngineError, SessionCut, SessionLimits, Target
from apps.engines.postgresql import names, roles
from apps.engines.postgresql.connect import Connection, batch, makers_apply, session
from apps.engines.postgresql.queries import query

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Prepared:
    """A row of sql/prepared.sql."""

    login: str
    name: str  # of its role, which a DBA may have changed
    gid: str
    database: str
    prepared: datetime
    age: int  # seconds
    blocks: int | None  # seconds

    def exceeds(self, limits: SessionLimits) -> tuple[CutWhy, int] | None:
        """By which limit, and for how long. It does nothing and holds back vacuum for as long as it is there."""
        if limits.blocks and self.blocks is not None and self.blocks >= limits.blocks:
            return CutWhy.BLOCKED, self.blocks
        if limits.idles and self.age >= limits.idles:
            return CutWhy.IDLED, self.age
        if limits.holds_back and self.age >= limits.holds_back:
            return CutWhy.HELD_BACK, self.age
        return None


def cut_prepared(connection: Connection, target: Target, limits: SessionLimits) -> Iterator[tuple[str, SessionCut]]:
    """Roll back those that exceed the limits. They have no process: their pid is told as 0."""
    if limits == SessionLimits():
        return
    with connection.cursor(row_factory=class_row(_Prepared)) as cursor:
        found = cursor.execute(query("prepared"), {"mark": names.comment(target.portal_id, "login=")}).fetchall()
    for one in found:
        exceeded = one.exceeds(limits)
        if exceeded and _roll_back(target, one):
            yield one.login, SessionCut(0, *exceeded, one.prepared)


def _roll_back(target: Target, one: _Prepared) -> bool:
    """Whether it was still there. What cannot be done now is tried again by the next look."""
    try:
        with session(target, one.database, doing="rolling back a prepared transaction") as there, _as_owner(there, one):
            still = "SELECT FROM pg_prepared_xacts WHERE gid = %s AND prepared = %s"
            if not there.execute(still, [one.gid, one.prepared]).fetchall():
                return False
            there.execute(sql.SQL("ROLLBACK PREPARED {}").format(sql.Literal(one.gid)))
            return True
    except EngineError as error:
        log.warning("A prepared transaction of %s stands in others' way: %s", one.login, error.sentence)
        return False


@contextmanager
def _as_owner(there: Connection, one: _Prepared) -> Iterator[None]:
    """Only the owner itself may end it. Outside of a transaction, which ROLLBACK PREPARED would not be allowed in."""
    leader, role = roles.become_maker(there, one.login), sql.Identifier(one.name)
    if makers_apply(there):
        join, leave = "GRANT {} TO CURRENT_USER WITH SET TRUE", "GRANT {} TO CURRENT_USER WITH SET FALSE"
    else:
        join, leave = "GRANT {} TO CURRENT_USER", "REVOKE {} FROM CURRENT_USER"
    batch(there, [*leader, sql.SQL(join).format(role)])
    try:
        there.execute(sql.SQL("SET ROLE {}").format(role))
        yield
    finally:
        there.execute("RESET ROLE")
        batch(there, [*leader, sql.SQL(leave).format(role)])
