"""Looks at who is logged in: what the holder, the owner and the DBA see of a grant's use."""

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from apps.catalog.models import Server
from apps.core import clock
from apps.engines.base import SessionLimits, SessionUse
from apps.grants import circuit
from apps.grants.models import Grant
from apps.grants.states import GrantStatus


def look_at_sessions(*, server_id: str) -> None:
    """One look at one server. Between two looks a session may come and go unseen."""
    server = Server.objects.get(pk=server_id)
    with circuit.through(server) as (engine, target):
        uses = {use.login: use for use in engine.sessions(target, SessionLimits())}
    _keep(server, uses)


@transaction.atomic(durable=True)
def _keep(server: Server, uses: dict[str, SessionUse]) -> None:
    """Only those in use now or at the last look: most live grants are neither."""
    now = clock.now()
    in_use = Q(login__in=[login for login, use in uses.items() if use.live]) | Q(sessions_live__gt=0)
    grants = Grant.objects.select_for_update(no_key=True).filter(in_use, server=server, status=GrantStatus.ACTIVE)
    for grant in grants.defer("scope", "evidence"):
        use = uses.get(grant.login)
        if use is not None and use.live:
            _used(grant, use, started=_in_portal_time(use.first_backend_start, server), now=now)
        elif grant.sessions_live:
            grant.sessions_live = 0
            grant.save(update_fields=["sessions_live"])


def _used(grant: Grant, use: SessionUse, *, started: datetime | None, now: datetime) -> None:
    """All sessions are new if the oldest began after the last look; otherwise those that are more than before."""
    all_new = grant.last_used_at is None or (started is not None and started > grant.last_used_at)
    grant.sessions_seen += use.live if all_new else max(0, use.live - grant.sessions_live)
    grant.sessions_live = use.live
    grant.first_used_at = grant.first_used_at or min(started or now, now)
    grant.last_used_at = now
    grant.save(update_fields=["sessions_live", "sessions_seen", "first_used_at", "last_used_at"])


def _in_portal_time(moment: datetime | None, server: Server) -> datetime | None:
    return moment - timedelta(seconds=server.skew_seconds or 0.0) if moment else None
