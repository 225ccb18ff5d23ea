"""Unmaking logins: locked and committed, cut until none is left, cleaned up, dropped, read back.

All at once, and none waits for another: one that resists has its turn when the others are gone.
"""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import datetime
from itertools import groupby

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from apps.engines.base import Closed, EngineError, Refused, Target, TargetBusy, unheard
from apps.engines.postgresql import foreign_members, graveyard, leftovers, names, roles
from apps.engines.postgresql.connect import Connection, batch, session
from apps.engines.postgresql.errors import explained, retried
from apps.engines.postgresql.leftovers import Ending
from apps.engines.postgresql.queries import query

# A session that had passed the password check when the login was locked shows up a little later (field notes R7).
CLEAN_SCANS = 3
_BETWEEN_CLEAN_SCANS = 0.06
_BETWEEN_CUTS = 0.02
# Seconds that one call spends on what resists; the caller comes back.
_PATIENCE = 10.0
# Dropped, read back and told at once, before the sessions of the others are looked at again.
_PORTION = 250
_HELD_AT_ONCE = 8  # sessions that stand in line for a lock, each for one login
_HELD_UP = ("55P03", "XX000", "40P01")
_WAIT_BRIEFLY = sql.SQL("SET LOCAL lock_timeout = '100ms'")
_CUT_ORPHANS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename IS NULL AND usesysid > 0;"

Tell = Callable[[list[Closed]], None]


def close_logins(
    target: Target, logins: Sequence[str], proven: Callable[[Sequence[Closed]], None] = unheard
) -> list[Closed]:
    """As the contract says. A login of another portal is left out; Refused if there is no other."""
    wanted = {names.checked_login(login) for login in logins}
    deadline, closed = time.monotonic() + _PATIENCE, list[Closed]()

    def tell(portion: list[Closed]) -> None:
        closed.extend(portion)
        if portion:
            proven(portion)

    def attempt() -> None:
        rest = sorted(wanted - {one.login for one in closed})
        reason = _close(target, rest, tell, deadline) if rest else None
        if reason and not closed:
            raise reason

    retried(attempt, until=deadline)
    return closed


def _close(target: Target, logins: list[str], tell: Tell, deadline: float) -> EngineError | None:
    """Returns what is in the way of those that are left, of one of them."""
    with session(target, doing="ending logins") as connection:
        found = _found(connection, target, logins)
        ours = [one for one in found if names.is_ours(target.portal_id, one.comment)]
        absent = sorted(set(logins) - {one.login for one in found})
        doubt = _doubt(connection, target, absent[0]) if absent else None
        if absent and not doubt:
            tell(_absent(connection, target, absent))
        held = _lock(connection, ours)
        _end(connection, target, [one for one in ours if one.locked_at], tell, deadline)
        for some in _portions(held, _HELD_AT_ONCE):
            if some[0] is held[0] or time.monotonic() < deadline:
                _lock_against_resistance(connection, target, some)
                _end(connection, target, [one for one in some if one.locked_at], tell, deadline)
    return _reason(found, ours, doubt)


def _found(connection: Connection, target: Target, logins: list[str]) -> list[Ending]:
    marked = [f"login={login}" for login in logins]
    parameters = {"logins": logins, "marked": marked, "mark": names.comment(target.portal_id, "")}
    with connection.cursor(row_factory=class_row(Ending)) as cursor:
        return cursor.execute(query("found"), parameters).fetchall()


def _lock(connection: Connection, endings: list[Ending]) -> list[Ending]:
    """NOLOGIN for all before anything else; returns those that somebody holds, in any order, to be locked later."""
    # Short, and those that are held once more alone: nobody waits for another's.
    _try(connection, [one for one in endings if not one.locked], _locking)
    _mark_locked(connection, endings)
    held = [one for one in endings if one.failure and one.failure.sqlstate in _HELD_UP]
    random.shuffle(held)  # where time is short, another one has the first turn next time
    return held


def _mark_locked(connection: Connection, endings: list[Ending]) -> None:
    locked_at = _clock(connection)
    for one in endings:
        one.locked_at = None if one.failure else locked_at


def _locking(one: Ending) -> sql.Composed:
    lock = sql.SQL("ALTER ROLE {} NOLOGIN PASSWORD NULL VALID UNTIL '-infinity'")
    return lock.format(one.identifier)


def _lock_against_resistance(connection: Connection, target: Target, endings: list[Ending]) -> None:
    """A login holds its role by changing its own password in a transaction that it leaves open, and can sign in again
    and again to do so. We stand in the same queue while all who are in it are cut: so we come first.
    """
    leftovers.roll_back_prepared(connection, target, endings)
    with ThreadPoolExecutor(max_workers=len(endings)) as pool:
        waiting = {pool.submit(_lock_alone, target, one): one for one in endings}
        rest = set(waiting)
        while rest:
            if _scan(connection, endings):
                _terminate(connection, endings)
            _, rest = wait(rest, timeout=_BETWEEN_CUTS)
        for future, one in waiting.items():
            one.failure = future.result()
    _mark_locked(connection, endings)


def _lock_alone(target: Target, one: Ending) -> psycopg.Error | None:
    with session(target, doing=f"locking {one.login}") as connection:
        return _failure(connection, [*roles.become_maker(connection, one.login), _locking(one)])


def _end(connection: Connection, target: Target, endings: list[Ending], tell: Tell, deadline: float) -> None:
    """Sessions and roles of locked logins. Those that are clean go, while the sessions of others are still cut."""
    cutting, clean, laden = sorted(endings, key=_creator), list[Ending](), list[Ending]()
    rounds = 0  # so many looks as prove it are made in any case: a slow server may have used up the time before
    while clean or (cutting and (rounds <= CLEAN_SCANS or time.monotonic() < deadline)):
        rounds += 1
        dirty = _cut(connection, cutting)
        proven = [one for one in cutting if one.clean_at]
        cutting = [one for one in cutting if not one.clean_at]
        burden = leftovers.burdened(connection, proven) if proven else set()
        laden += [one for one in proven if one.oid in burden]
        clean += [one for one in proven if one.oid not in burden]
        portion, clean = clean[:_PORTION], clean[_PORTION:]
        if portion:
            _drop(connection, portion)
            tell(_read_back(connection, target, portion))
        elif cutting:
            time.sleep(_BETWEEN_CUTS if dirty else _BETWEEN_CLEAN_SCANS)
    random.shuffle(laden)
    for number, one in enumerate(laden):
        if number == 0 or time.monotonic() < deadline:
            _clean_up(connection, target, one)
            _drop(connection, [one])
        else:
            one.leftover = f"{one.login} has left things behind; cleaning up goes on at the next try."
    tell(_read_back(connection, target, laden))


def _cut(connection: Connection, endings: list[Ending]) -> set[str]:
    """One look: whoever has sessions loses them; three clean looks in a row are the proof. Returns who had some."""
    if not endings:
        return set()
    dirty = _scan(connection, endings)
    now = _clock(connection)
    for one in endings:
        one.clean_scans = 0 if one.login in dirty else one.clean_scans + 1
        one.clean_at = now if one.clean_scans == CLEAN_SCANS else None
    if dirty:
        _terminate(connection, [one for one in endings if one.login in dirty])
    return dirty


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
    cut = sql.SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usesysid = ANY ({}::oid[])")
    groups = list(_by_creator(connection, endings))
    batch(connection, [part for leader, group in groups for part in (*leader, cut.format([one.oid for one in group]))])


def _clean_up(connection: Connection, target: Target, one: Ending) -> None:
    """What it owns and what names it, in every database. What is in the way becomes `leftover`."""
    leftovers.roll_back_prepared(connection, target, [one])
    leftovers.drop_owned(connection, target, [one])


def _drop(connection: Connection, endings: list[Ending]) -> None:
    free = [one for one in endings if not one.leftover]
    _try(connection, free, lambda one: sql.SQL("DROP ROLE IF EXISTS {}").format(one.identifier))
    for one in free:
        if one.failure:
            diagnosis = one.failure.diag
            detail = (diagnosis.message_detail or "").replace("\n", "; ")[:500]
            one.leftover = f"The role cannot be dropped: {diagnosis.message_primary}. {detail}".strip()


def _read_back(connection: Connection, target: Target, endings: list[Ending]) -> list[Closed]:
    if not endings:
        return []
    left = graveyard.left(connection, target, [one.login for one in endings])
    for one in endings:
        one.left = left.get(one.login, ())
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
        left=one.left,
    )


def _absent(connection: Connection, target: Target, logins: list[str]) -> list[Closed]:
    """Already gone."""
    now, left = _clock(connection), graveyard.left(connection, target, logins)
    return [
        Closed(login, now, sessions_ended=0, clean_at=now, dropped=True, left=left.get(login, ())) for login in logins
    ]


def _doubt(connection: Connection, target: Target, login: str) -> EngineError | None:
    """Why it is not believed that a login is gone: something is there that may be any login's that is not found."""
    if _orphans(connection):
        return Refused(
            f"{login} is gone, but a session of a role that no longer exists is open on the server. "
            f"An administrator must end it: {_CUT_ORPHANS}"
        )
    renamed = [one for one in foreign_members.read(connection, target) if one.given_by_portal]
    if renamed:
        return Refused(
            f"{login} is not there, but “{renamed[0].role}” may be it, renamed and with its mark removed; "
            f"the portal itself has made that role a member of {renamed[0].of}, and it does not carry the portal's "
            "mark. The end is not believed until the next comparison of the server has taken its rights away."
        )
    return None


def _orphans(connection: Connection) -> int:
    statement = """
        SELECT count(*) FROM pg_stat_activity a
        WHERE a.usesysid <> 0 AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = a.usesysid)
    """
    return int(connection.execute(statement).fetchall()[0][0])


def _reason(found: list[Ending], ours: list[Ending], doubt: EngineError | None) -> EngineError | None:
    """Why a login could not be closed, where not one could."""
    for one in ours:
        if one.failure and not one.locked_at:
            return explained(one.failure, f"locking {one.login}")
    if ours:
        return TargetBusy(f"{ours[0].login} is locked, but its sessions have not all ended yet; try again.")
    if doubt or not found:
        return doubt
    return Refused(f"{found[0].login} is not marked as this portal's on the server; it was not touched.")


def _try(connection: Connection, endings: list[Ending], statement: Callable[[Ending], sql.Composable]) -> None:
    """The same for each login: all in one transaction; where that failed a creator's in one, and where that failed one
    by one, when all others are done. Sets `failure`.
    """
    groups = list(_by_creator(connection, endings))
    at_once = [part for leader, group in groups for part in (*leader, *map(statement, group))]
    failure = _failure(connection, [_WAIT_BRIEFLY, *at_once])
    for one in endings:
        one.failure = failure
    failed = []
    for leader, group in groups if failure else []:
        failure = _failure(connection, [_WAIT_BRIEFLY, *leader, *map(statement, group)])
        for one in group:
            one.failure = failure
        failed += [(leader, one) for one in group if failure]
    for leader, one in failed:
        one.failure = _failure(connection, [_WAIT_BRIEFLY, *leader, statement(one)])


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
    for _, group in groupby(sorted(endings, key=_creator), key=_creator):
        alike = list(group)
        yield roles.become_maker(connection, alike[0].login), alike


def _creator(one: Ending) -> str:
    return names.maker_name(one.login)


def _portions(endings: list[Ending], size: int) -> Iterator[list[Ending]]:
    for start in range(0, len(endings), size):
        yield endings[start : start + size]


def _clock(connection: Connection) -> datetime:
    moment: datetime = connection.execute("SELECT clock_timestamp()").fetchall()[0][0]
    return moment
