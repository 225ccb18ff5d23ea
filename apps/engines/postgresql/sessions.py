"""Who is logged in, and ending what stands in others' way (field notes S10).

A login can change every timeout of its own (R12), so what it does is looked at from outside: at locks, states and
times that the server keeps of it.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

from apps.engines.base import CutWhy, SessionCut, SessionLimits, SessionUse, Target
from apps.engines.postgresql import names, roles
from apps.engines.postgresql.connect import Connection, batch, makers_apply, session
from apps.engines.postgresql.prepared import cut_prepared
from apps.engines.postgresql.queries import query

log = logging.getLogger(__name__)

_PATIENCE = 10.0  # what is left by then is for the next look


@dataclass(frozen=True)
class _Session:
    """A row of sql/sessions.sql. All but the first three are empty for whom the server does not show it to."""

    login: str
    role: int
    pid: int
    backend_start: datetime | None
    helps: bool  # a parallel worker: its leader is the session
    xact_start: datetime | None
    state_change: datetime | None
    idles: int | None  # seconds
    holds_back: int | None  # seconds


@dataclass(frozen=True)
class _Offence:
    """What a session does for too long. `seen` is what must still be so when it is ended."""

    session: _Session
    why: CutWhy
    seconds: int
    seen: dict[str, Any]


def sessions(target: Target, limits: SessionLimits) -> list[SessionUse]:
    """As the contract says. What was ended before the connection got lost is told, not forgotten."""
    with session(target, doing="looking at sessions") as connection:
        found = _look(connection, target)
        cut: dict[str, list[SessionCut]] = defaultdict(list)
        try:
            for login, one in _cut(connection, target, limits, found):
                cut[login].append(one)
        except psycopg.Error as error:
            if not cut:
                raise
            log.warning("Not all sessions that stand in others' way could be looked at: %s", type(error).__name__)
    return _uses(found, cut)


def _uses(found: Iterable[_Session], cut: dict[str, list[SessionCut]]) -> list[SessionUse]:
    by_login: dict[str, list[_Session]] = defaultdict(list)
    for one in found:
        by_login[one.login].append(one)
    uses = []
    for login in sorted(by_login.keys() | cut.keys()):
        starts = [one.backend_start for one in by_login[login] if one.backend_start]
        uses.append(SessionUse(login, len(by_login[login]), min(starts, default=None), tuple(cut.get(login, ()))))
    return uses


def _look(connection: Connection, target: Target) -> list[_Session]:
    """With all that the manager, or on 16+ each maker, is shown of them."""
    found = {one.pid: one for one in _read(connection, target)}
    if makers_apply(connection):
        for maker in sorted({names.maker_name(one.login) for one in found.values()}):
            with connection.transaction():
                connection.execute(roles.become(maker))
                shown = [one for one in _read(connection, target) if names.maker_name(one.login) == maker]
            found |= {one.pid: one for one in shown if one.pid in found}
    return [one for one in found.values() if not one.helps]


def _read(connection: Connection, target: Target) -> list[_Session]:
    with connection.cursor(row_factory=class_row(_Session)) as cursor:
        return cursor.execute(query("sessions"), {"mark": names.comment(target.portal_id, "login=")}).fetchall()


def _cut(
    connection: Connection, target: Target, limits: SessionLimits, found: list[_Session]
) -> Iterator[tuple[str, SessionCut]]:
    """End them one at a time: with the first, another may have come to stand in nobody's way."""
    deadline, done = time.monotonic() + _PATIENCE, set()
    for offence in _offences(connection, limits, found):
        one = offence.session
        if one.pid not in done and time.monotonic() < deadline and _end(connection, offence):
            done.add(one.pid)
            yield one.login, SessionCut(one.pid, offence.why, offence.seconds, offence.seen["backend_start"])
    yield from cut_prepared(connection, target, limits)


def _offences(connection: Connection, limits: SessionLimits, found: list[_Session]) -> Iterator[_Offence]:
    """What harms others most comes first. One session may be in it for several reasons."""
    by_pid = {one.pid: one for one in found}
    if limits.blocks and found:
        parameters = {"seconds": limits.blocks, "roles": list({one.role for one in found})}
        for pid, waiter, seconds in connection.execute(query("blocking"), parameters).fetchall():
            one = by_pid.get(pid)  # another is newer than the look
            if one and one.backend_start is None:
                log.warning("A session of %s blocks others, and the server does not show it to the manager.", one.login)
            elif one:
                yield _offence(one, CutWhy.BLOCKED, seconds, waiter=waiter)
    for one in found:
        if limits.idles and one.idles is not None and one.idles >= limits.idles:
            yield _offence(one, CutWhy.IDLED, one.idles, xact_start=one.xact_start, state_change=one.state_change)
        if limits.holds_back and one.holds_back is not None and one.holds_back >= limits.holds_back:
            yield _offence(one, CutWhy.HELD_BACK, one.holds_back, xact_start=one.xact_start)


def _offence(one: _Session, why: CutWhy, seconds: int, **seen: Any) -> _Offence:
    unseen = {"xact_start": None, "state_change": None, "waiter": None}
    return _Offence(one, why, seconds, unseen | seen | {"backend_start": one.backend_start})


def _end(connection: Connection, offence: _Offence) -> bool:
    """Whether it was still there, still in the way, and has been told to end."""
    one = offence.session
    try:
        with connection.transaction():
            if leader := roles.become_maker(connection, one.login):
                batch(connection, leader)
            parameters = offence.seen | {"pid": one.pid, "role": one.role}
            return bool(connection.execute(query("cut"), parameters).fetchall())
    except psycopg.errors.InsufficientPrivilege:
        log.warning("A session of %s stands in others' way, and the manager may not end it.", one.login)
        return False
