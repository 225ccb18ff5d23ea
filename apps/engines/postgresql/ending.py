"""Unmaking logins: locked and committed, cut until none is left, cleaned up, dropped, read back."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from apps.engines.base import Closed, EngineError, Refused, Target, TargetBusy
from apps.engines.postgresql import names, roles
from apps.engines.postgresql.connect import Connection, batch, makers_apply, session
from apps.engines.postgresql.errors import explained, retried
from apps.engines.postgresql.queries import query

# A session that had passed the password check when the login was locked shows up a little later (field notes R7).
CLEAN_SCANS = 3
_BETWEEN_CLEAN_SCANS = 0.06
_BETWEEN_CUTS = 0.02
_PATIENCE = 10.0
_CUT_ORPHANS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename IS NULL AND usesysid > 0;"


@dataclass
class Ending:
    """One login on its way out."""

    login: str
    oid: int
    comment: str | None
    locked: bool
    locked_at: datetime | None = None
    clean_at: datetime | None = None
    clean_scans: int = 0
    cut: set[int] = field(default_factory=set)
    leftover: str = ""
    failure: psycopg.Error | None = None

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.login)


def close_logins(target: Target, logins: Sequence[str]) -> list[Closed]:
    """As the contract says. A login of another portal is left out; Refused if there is no other."""
    wanted = sorted({names.checked_login(login) for login in logins})
    return retried(lambda: _close(target, wanted)) if wanted else []


def _close(target: Target, logins: list[str]) -> list[Closed]:
    with session(target, doing="ending logins") as connection:
        found = _found(connection, logins)
        ours = [ending for ending in found if names.is_ours(target.portal_id, ending.comment)]
        absent = sorted(set(logins) - {ending.login for ending in found})
        clean = _cut(connection, _lock(connection, ours))
        _drop(connection, target, clean)
        closed = [*_absent(connection, absent), *_read_back(connection, clean)]
    if logins and not closed:
        raise _reason(found, ours, absent)
    return closed


def _found(connection: Connection, logins: list[str]) -> list[Ending]:
    with connection.cursor(row_factory=class_row(Ending)) as cursor:
        return cursor.execute(query("found"), {"logins": logins}).fetchall()


def _lock(connection: Connection, endings: list[Ending]) -> list[Ending]:
    """NOLOGIN for all before anything else; those that could not be locked are left out."""
    lock = sql.SQL("ALTER ROLE {} NOLOGIN PASSWORD NULL VALID UNTIL '-infinity'")
    failed = _each(connection, [one for one in endings if not one.locked], lambda one: lock.format(one.identifier))
    locked_at = _clock(connection)
    for one in endings:
        error = failed.get(one.login)
        one.locked_at, one.failure = (None, error) if error else (locked_at, None)
    return [one for one in endings if one.locked_at]


def _cut(connection: Connection, endings: list[Ending]) -> list[Ending]:
    """Terminate until three scans in a row find nothing, each login by itself; returns the clean ones."""
    waiting, deadline = {one.oid: one for one in endings}, time.monotonic() + _PATIENCE
    while waiting and time.monotonic() < deadline:
        sessions = _sessions(connection, waiting)
        now = _clock(connection)
        for one in list(waiting.values()):
            pids = sessions.get(one.oid, set())
            one.cut |= pids
            one.clean_scans = 0 if pids else one.clean_scans + 1
            if one.clean_scans == CLEAN_SCANS:
                one.clean_at = now
                del waiting[one.oid]
        if sessions:
            _terminate(connection, [one for one in waiting.values() if one.oid in sessions])
        if waiting:
            time.sleep(_BETWEEN_CUTS if sessions else _BETWEEN_CLEAN_SCANS)
    return [one for one in endings if one.clean_at]


def _sessions(connection: Connection, oids: Iterable[int]) -> dict[int, set[int]]:
    """Role oid -> pids. By oid: the session of a dropped role has no name any more."""
    statement = "SELECT usesysid, array_agg(pid) FROM pg_stat_activity WHERE usesysid = ANY (%s::oid[]) GROUP BY 1"
    return {oid: set(pids) for oid, pids in connection.execute(statement, [list(oids)])}


def _terminate(connection: Connection, endings: list[Ending]) -> None:
    """Signals are sent to all at once; that the sessions are gone is for the next scan to see."""
    for leader, group in _by_creator(connection, endings):
        cut = sql.SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usesysid = ANY ({}::oid[])")
        batch(connection, [*leader, cut.format(sql.Literal([one.oid for one in group]))])


def _drop(connection: Connection, target: Target, endings: list[Ending]) -> None:
    """What they own and what names them, in every database, then the roles. What is in the way becomes `leftover`."""
    _roll_back_prepared(connection, target, endings)
    _drop_owned(connection, target, endings)
    free = [one for one in endings if not one.leftover]
    failed = _each(connection, free, lambda one: sql.SQL("DROP ROLE IF EXISTS {}").format(one.identifier))
    for one in free:
        if error := failed.get(one.login):
            detail = (error.diag.message_detail or "").replace("\n", "; ")[:500]
            one.leftover = f"The role cannot be dropped: {error.diag.message_primary}. {detail}".strip()


def _roll_back_prepared(connection: Connection, target: Target, endings: list[Ending]) -> None:
    """A prepared transaction outlives its session and holds its locks; only its owner or a superuser may end it."""
    by_name = {one.login: one for one in endings}
    statement = "SELECT owner::text, gid, database::text FROM pg_prepared_xacts WHERE owner = ANY (%s::text[]::name[])"
    for owner, gid, database in connection.execute(statement, [list(by_name)]).fetchall():
        one = by_name[owner]
        with (
            _keeping_leftover(one, f"a prepared transaction in the database “{database}”"),
            session(target, database, doing="rolling back a prepared transaction") as there,
        ):
            options = sql.SQL(" WITH SET TRUE" if makers_apply(there) else "")
            grant = sql.SQL("GRANT {} TO CURRENT_USER").format(one.identifier) + options
            batch(there, [*roles.become_maker(there, one.login), grant])
            there.execute(sql.SQL("SET ROLE {}").format(one.identifier))
            there.execute(sql.SQL("ROLLBACK PREPARED {}").format(sql.Literal(gid)))


def _drop_owned(connection: Connection, target: Target, endings: list[Ending]) -> None:
    """Only where pg_shdepend says so, and never reassigned: another owner would lend it rights (field notes R9)."""
    by_oid = {one.oid: one for one in endings}
    statement = """
        SELECT DISTINCT d.refobjid, coalesce(b.datname::text, current_database()::text)
        FROM pg_shdepend d LEFT JOIN pg_database b ON b.oid = d.dbid
        WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = ANY (%s::oid[]) ORDER BY 2, 1
    """
    rows = connection.execute(statement, [list(by_oid)]).fetchall()
    for database, group in groupby(rows, key=lambda row: str(row[1])):
        for one in [by_oid[oid] for oid, _ in group]:
            with (
                _keeping_leftover(one, f"objects in the database “{database}”"),
                session(target, database, doing=f"dropping what {one.login} owns") as there,
            ):
                batch(there, _dropping_owned(there, one))


def _dropping_owned(connection: Connection, one: Ending) -> list[sql.Composable]:
    # Before 16 the manager is no member of what it creates, and only a member may drop what a role owns.
    own = [] if makers_apply(connection) else [sql.SQL("GRANT {} TO CURRENT_USER").format(one.identifier)]
    drop = sql.SQL("DROP OWNED BY {}").format(one.identifier)
    return [*roles.become_maker(connection, one.login), *own, drop]


@contextmanager
def _keeping_leftover(one: Ending, what: str) -> Iterator[None]:
    """Access is already zero: what cannot be cleaned up now is told, and tried again by the next call."""
    try:
        yield
    except EngineError as error:
        one.leftover = f"{one.login} left {what}. {error.sentence}"


def _read_back(connection: Connection, endings: list[Ending]) -> list[Closed]:
    parameters = {"oids": [one.oid for one in endings], "logins": [one.login for one in endings]}
    traces = {oid: rest for oid, *rest in connection.execute(query("traces"), parameters)}
    return [closed for one in endings if (closed := _closed(one, *traces[one.oid]))]


def _closed(one: Ending, sessions: int, prepared: int, objects: int, role: bool) -> Closed | None:
    if sessions or one.locked_at is None or one.clean_at is None:
        return None
    dropped = not (role or prepared or objects)
    leftover = "" if dropped else one.leftover or f"{one.login} is still named by {objects} objects of the server."
    return Closed(
        login=one.login,
        locked_at=one.locked_at,
        sessions_ended=len(one.cut),
        clean_at=one.clean_at,
        dropped=dropped,
        leftover=leftover,
    )


def _absent(connection: Connection, logins: list[str]) -> list[Closed]:
    """Already gone. Not believed while the session of some role that no longer exists is open: it may be theirs."""
    if not logins or _orphans(connection):
        return []
    now = _clock(connection)
    return [Closed(login=login, locked_at=now, sessions_ended=0, clean_at=now, dropped=True) for login in logins]


def _orphans(connection: Connection) -> int:
    statement = """
        SELECT count(*) FROM pg_stat_activity a
        WHERE a.usesysid <> 0 AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = a.usesysid)
    """
    return int(connection.execute(statement).fetchall()[0][0])


def _reason(found: list[Ending], ours: list[Ending], absent: list[str]) -> EngineError:
    """Why not one of the logins could be closed."""
    if ours and ours[0].failure:
        return explained(ours[0].failure, f"locking {ours[0].login}")
    if ours:
        return TargetBusy(f"{ours[0].login} is locked, but its sessions have not all ended yet; try again.")
    if absent:
        return Refused(
            f"{absent[0]} is gone, but a session of a role that no longer exists is open on the server. "
            f"An administrator must end it: {_CUT_ORPHANS}"
        )
    return Refused(f"{found[0].login} is not marked as this portal's on the server; it was not touched.")


def _each(
    connection: Connection, endings: list[Ending], statement: Callable[[Ending], sql.Composable]
) -> dict[str, psycopg.Error]:
    """The same for each login: all of a creator's in one go, and one by one where that failed. Returns failures."""
    failed: dict[str, psycopg.Error] = {}
    for leader, group in _by_creator(connection, endings):
        try:
            batch(connection, [*leader, *(statement(one) for one in group)])
        except psycopg.Error:
            for one in group:
                try:
                    batch(connection, [*leader, statement(one)])
                except psycopg.Error as error:
                    if connection.broken:
                        raise
                    failed[one.login] = error
    return failed


def _by_creator(connection: Connection, endings: list[Ending]) -> Iterator[tuple[list[sql.Composable], list[Ending]]]:
    """Logins with the statement that must come first, so that as many as can be share a transaction."""
    key: Callable[[Ending], str] = lambda one: names.maker_name(one.login)  # noqa: E731
    for _, group in groupby(sorted(endings, key=key), key=key):
        alike = list(group)
        yield roles.become_maker(connection, alike[0].login), alike


def _clock(connection: Connection) -> datetime:
    moment: datetime = connection.execute("SELECT clock_timestamp()").fetchall()[0][0]
    return moment
