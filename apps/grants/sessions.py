"""Looks at who is logged in: what the holder, the owner and the DBA see of a grant's use, and what was ended there."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Q

from apps.audit import services as audit
from apps.audit.actions import Action
from apps.audit.body import rfc3339
from apps.catalog.models import Server
from apps.core import clock
from apps.core.nudge import nudge
from apps.core.verbs import verb
from apps.engines.base import CutWhy, SessionCut, SessionLimits, SessionUse
from apps.grants import circuit
from apps.grants.models import Continuity, Grant
from apps.grants.record import WORKER, record
from apps.grants.states import GrantStatus

_COUNTED: Final = ("sessions_live", "sessions_seen", "sessions_cut", "first_used_at", "last_used_at")
_TOLD_LATELY: Final = 50  # entries about one grant: more sessions than it may have at a time
WHY: Final = {
    CutWhy.BLOCKED: "Somebody had waited {} s for what it held.",
    CutWhy.IDLED: "It had done nothing in an open transaction for {} s.",
    CutWhy.HELD_BACK: "Its transaction had kept the server from cleaning up for {} s.",
}


def look_at_sessions(*, server_id: str) -> None:
    """One look at one server, which ends what stands in others' way. Between two looks a session may come and go."""
    server = Server.objects.get(pk=server_id)
    limits = _limits(server)
    with circuit.through(server, looks=limits == SessionLimits()) as (engine, target):
        uses = {use.login: use for use in engine.sessions(target, limits)}
    _keep(server, uses)


def use_in_words(grant: Grant) -> str:
    """`2 open, 7 seen, 1 cut`; `never used` when nothing was seen from first to last, `not yet` before that.

    `in the console` when statements were run there, and no session of another client was seen.
    """
    numbers = ((grant.sessions_live, "open"), (grant.sessions_seen, "seen"), (grant.sessions_cut, "cut"))
    if told := ", ".join(f"{number} {what}" for number, what in numbers if number):
        return told
    if grant.first_used_at is not None:
        return "in the console"
    if grant.never_used:
        return "never used"
    return "not yet" if grant.status == GrantStatus.ACTIVE else ""


def _limits(server: Server) -> SessionLimits:
    """None while the portal may be the copy of another one, whose sessions these would be."""
    if Continuity.objects.filter(confirmed_at=None).exists():
        return SessionLimits()
    return SessionLimits(blocks=server.block_seconds, idles=server.idle_seconds, holds_back=server.snapshot_seconds)


@verb
def _keep(server: Server, uses: dict[str, SessionUse]) -> None:
    """Only rows that change are locked: thousands may live, and few of them are used at any time."""
    now = clock.now()
    seen = [login for login, use in uses.items() if use.live]
    cut = [login for login, use in uses.items() if use.cut]
    concerned = Q(status=GrantStatus.ACTIVE) & (Q(login__in=seen) | Q(sessions_live__gt=0))
    found = Grant.objects.filter(concerned | Q(login__in=cut), server=server).order_by("pk")
    grants = list(found.select_for_update(no_key=True).defer("scope", "evidence", "proof"))
    told: list[tuple[Grant, SessionCut]] = []
    for grant in grants:
        use = uses.get(grant.login, SessionUse(grant.login, 0, None))
        if grant.status == GrantStatus.ACTIVE:
            _count(grant, use, started=_in_portal_time(use.first_backend_start, server), now=now)
        new = _untold(grant, use.cut)
        grant.sessions_cut += len(new)
        told += [(grant, one) for one in new]
    Grant.objects.bulk_update(grants, _COUNTED, batch_size=500)
    for grant, one in told:
        _record(grant, one)
    if told:
        nudge()


def _record(grant: Grant, one: SessionCut) -> None:
    record(
        Action.GRANT_SESSION_CUT,
        grant,
        actor=WORKER,
        disclosed={"why": WHY[one.why].format(one.seconds)},
        cause=one.why.value,
        seconds=one.seconds,
        pid=one.pid,
        began=rfc3339(one.started_at),
    )


def _count(grant: Grant, use: SessionUse, *, started: datetime | None, now: datetime) -> None:
    """All sessions are new if the oldest began after the last look; otherwise those that are more than before."""
    ended = sum(one.pid != 0 for one in use.cut)
    before, grant.sessions_live = grant.sessions_live, max(0, use.live - ended)
    if not use.live:
        return
    all_new = grant.last_used_at is None or (started is not None and started > grant.last_used_at)
    grant.sessions_seen += use.live if all_new else max(0, use.live - before)
    grant.first_used_at = grant.first_used_at or min(started or now, now)
    grant.last_used_at = now


def _untold(grant: Grant, cut: Collection[SessionCut]) -> list[SessionCut]:
    """Two looks at once may both have ended a session that took its time: it is told once."""
    if not cut:
        return []
    where = audit.Filter(action=Action.GRANT_SESSION_CUT, subjects=(grant.audit_id,))
    lines = audit.latest(limit=_TOLD_LATELY, where=where)
    known = {(line.facts.get("pid"), line.facts.get("began")) for line in lines}
    return [one for one in cut if (one.pid, rfc3339(one.started_at)) not in known]


def _in_portal_time(moment: datetime | None, server: Server) -> datetime | None:
    return moment - timedelta(seconds=server.skew_seconds or 0.0) if moment else None
