"""Unmaking logins: locked and committed, cut until none is left, cleaned up, dropped, read back."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import datetime
from itertools import groupby

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from apps.engines.base import Closed, EngineError, Refused, Target, TargetBusy
from apps.engines.postgresql import names, roles
from apps.engines.postgresql.connect import Connection, batch, session
from apps.engines.postgresql.errors import explained, retried
from apps.engines.postgresql.leftovers import Ending, drop_owned, roll_back_prepared
from apps.engines.postgresql.queries import query

# A session that had passed the password check when the login was locked shows up a little later (field notes R7).
CLEAN_SCANS = 3
_BETWEEN_CLEAN_SCANS = 0.06
_BETWEEN_CUTS = 0.02
_PATIENCE = 10.0
_HELD_UP = ("55P03", "XX000", "40P01")
_CUT_ORPHANS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename IS NULL AND usesysid > 0;"


def close_logins(target: Target, logins: Sequence[str]) -> list[Closed]:
    """As the contract says. A login of another portal is left out; Refused if there is no other."""
    wanted = sorted({names.checked_login(login) for login in logins})
    return retried(lambda: _close(target, wanted)) if wanted else []


def _close(target: Target, logins: list[str]) -> list[Closed]:
    with session(target, doing="ending logins") as connection:
        found = _found(connection, target, logins)
        ours = [one for one in found if names.is_ours(target.portal_id, one.comment)]
        absent = sorted(set(logins) - {one.login for one in found})
        clean = _cut(connection, _lock(connection, target, ours))
        _drop(connection, target, clean)
        closed = [*_absent(connection, absent), *_read_back(connection, clean)]
    if not closed:
        raise _reason(found, ours, absent)
    return closed


def _found(connection: Connection, target: Target, logins: list[str]) -> list[Ending]:
    parameters = {"logins": logins, "mark": names.comment(target.portal_id, "")}
    with connection.cursor(row_factory=class_row(Ending)) as cursor:
        return cursor.execute(query("found"), parameters).fetchall()


def _lock(connection: Connection, target: Target, endings: list[Ending]) -> list[Ending]:
    """NOLOGIN for all before anything else; those that could not be locked are left out."""
    # Short: what is in the way is seen to one by one, and nobody waits for another's.
    at_once = sql.SQL("SET LOCAL lock_timeout = '300ms'; ")
    _try(connection, [one for one in endings if not one.locked], lambda one: at_once + _locking(one))
    deadline = time.monotonic() + _PATIENCE
    for one in endings:
        if one.failure and one.failure.sqlstate in _HELD_UP and time.monotonic() < deadline:
            _lock_against_resistance(connection, target, one)
    locked_at = _clock(connection)
    for one in endings:
        one.locked_at = None if one.failure else locked_at
    return [one for one in endings if one.locked_at]


def _locking(one: Ending) -> sql.Composed:
    lock = sql.SQL("ALTER ROLE {} NOLOGIN PASSWORD NULL VALID UNTIL '-infinity'")
    return lock.format(one.identifier)


def _lock_against_resistance(connection: Connection, target: Target, one: Ending) -> None:
    """A login holds its role by changing its own password in a transaction that it leaves open, and can sign in again
    and again to do so. We stand in the same queue while all who are in it are cut: so we come first.
    """
    roll_back_prepared(connection, target, [one])
    with ThreadPoolExecutor(max_workers=1) as pool:
        waiting = pool.submit(_lock_alone, target, one)
        while not waiting.done():
            if _scan(connection, [one]):
                _terminate(connection, [one])
            wait([waiting], timeout=_BETWEEN_CUTS)
        one.failure = waiting.result()


def _lock_alone(target: Target, one: Ending) -> psycopg.Error | None:
    with session(target, doing=f"locking {one.login}") as connection:
        return _failure(connection, [*roles.become_maker(connection, one.login), _locking(one)])


def _cut(connection: Connection, endings: list[Ending]) -> list[Ending]:
    """Terminate until three scans in a row find nothing, each login by itself; returns the clean ones."""
    waiting, deadline = list(endings), time.monotonic() + _PATIENCE
    while waiting and time.monotonic() < deadline:
        dirty = _scan(connection, waiting)
        now = _clock(connection)
        for one in waiting:
            one.clean_scans = 0 if one.login in dirty else one.clean_scans + 1
            one.clean_at = now if one.clean_scans == CLEAN_SCANS else None
        waiting = [one for one in waiting if not one.clean_at]
        if dirty:
            _terminate(connection, [one for one in waiting if one.login in dirty])
        if waiting:
            time.sleep(_BETWEEN_CUTS if dirty else _BETWEEN_CLEAN_SCANS)
    return [one for one in endings if one.clean_at]


def _scan(connection: Connection, endings: list[Ending]) -> set[str]:
    """Those that have sessions now. By oid: the session of a dropped role has no name any more."""
    statement = "SELECT usesysid, pid FROM pg_stat_activity WHERE usesysid = ANY (%s::oid[])"
    by_oid = {one.oid: one for one in endings}
    dirty = set()
    for oid, pid in connection.execute(statement, [list(by_oid)]):
        by_oid[oid].cut.add(pid)
        dirty.add(by_oid[oid].login)
    return dirty


def _terminate(connection: Connection, endings: list[Ending]) -> None:
    """Signals are sent to all at once; that the sessions are gone is for the next scan to see."""
    for leader, group in _by_creator(connection, endings):
        cut = sql.SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usesysid = ANY ({}::oid[])")
        batch(connection, [*leader, cut.format([one.oid for one in group])])


def _drop(connection: Connection, target: Target, endings: list[Ending]) -> None:
    """What they own and what names them, in every database, then the roles. What is in the way becomes `leftover`."""
    for one in endings:
        one.leftover = ""
    roll_back_prepared(connection, target, endings)
    drop_owned(connection, target, endings)
    free = [one for one in endings if not one.leftover]
    _try(connection, free, lambda one: sql.SQL("DROP ROLE IF EXISTS {}").format(one.identifier))
    for one in free:
        if one.failure:
            diagnosis = one.failure.diag
            detail = (diagnosis.message_detail or "").replace("\n", "; ")[:500]
            one.leftover = f"The role cannot be dropped: {diagnosis.message_primary}. {detail}".strip()


def _read_back(connection: Connection, endings: list[Ending]) -> list[Closed]:
    parameters = {"oids": [one.oid for one in endings], "roles": [one.role for one in endings]}
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


def _try(connection: Connection, endings: list[Ending], statement: Callable[[Ending], sql.Composable]) -> None:
    """The same for each login: all of a creator's in one go, one by one where that failed. Sets `failure`."""
    for leader, group in _by_creator(connection, endings):
        try:
            batch(connection, [*leader, *(statement(one) for one in group)])
        except psycopg.Error:
            for one in group:
                one.failure = _failure(connection, [*leader, statement(one)])
        else:
            for one in group:
                one.failure = None


def _failure(connection: Connection, statements: list[sql.Composable]) -> psycopg.Error | None:
    try:
        batch(connection, statements)
    except psycopg.Error as error:
        if connection.broken:
            raise
        return error
    return None


def _by_creator(
    connection: Connection, endings: Iterable[Ending]
) -> Iterator[tuple[list[sql.Composable], list[Ending]]]:
    """Logins with the statement that must come first, so that as many as can be share a transaction."""

    def creator(one: Ending) -> str:
        return names.maker_name(one.login)

    for _, group in groupby(sorted(endings, key=creator), key=creator):
        alike = list(group)
        yield roles.become_maker(connection, alike[0].login), alike


def _clock(connection: Connection) -> datetime:
    moment: datetime = connection.execute("SELECT clock_timestamp()").fetchall()[0][0]
    return moment
