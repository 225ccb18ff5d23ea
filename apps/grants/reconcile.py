"""Comparing what is on a server with what should be: a server may have been restored, and people work there too.

Rows are read before and after the look at the server. A grant's row is there before its login, and it is over only
when its login was seen to be gone: so what is under way is never mistaken for a stray, or for a login that vanished.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db.models import Max, Q

from apps.audit.actions import Action
from apps.catalog.models import Server
from apps.core import clock
from apps.core.nudge import nudge
from apps.core.verbs import verb
from apps.engines.base import Engine, FoundLogin, Survey, Target
from apps.grants import circuit, continuity, ending, leases, strays
from apps.grants.models import Grant, ServerState
from apps.grants.record import WORKER, record
from apps.grants.states import LIVE, OVER, EndCause, GrantStatus

log = logging.getLogger(__name__)

# Of one round, so that the lease covers them; the others are for the next.
_SCOPES_AT_ONCE: Final = 50
_GONE: Final = (
    "Its login was removed on the server by somebody else than the portal, or the server was restored from an "
    "earlier copy. Ask again if the access is still needed."
)
_LONGER: Final = (
    "On the server its login was made to work for longer than was granted, by somebody else than the portal. "
    "Ask again if the access is still needed."
)


@dataclass(frozen=True)
class Comparison:
    """What one look has shown to be wrong."""

    strays: Sequence[FoundLogin] = ()
    vanished: Sequence[str] = ()  # ids of grants
    prolonged: Sequence[str] = ()  # ids of grants


def reconcile(*, server_id: str) -> None:
    """Compare, and mend what can be mended. Raises EngineError where that could not be done.

    While the portal waits for a confirmation it only looks, and lists what it would disable.
    """
    server = Server.objects.get(pk=server_id)
    if server.retired_at:
        return
    with circuit.through(server, looks=True) as (engine, target):
        survey, found = _compared(server, engine, target)
    only_looks = continuity.waits()  # first: a confirmation makes the marks of before void
    if not continuity.agrees(server, survey.mark) or only_looks:
        strays.keep_seen(server, found.strays)
        return
    with circuit.through(server) as (engine, target):
        strays.disable(server, engine, target, found.strays)
        _end_what_is_wrong(server, engine, target, found)
        _drop_orphans(server, engine, target, survey)
        continuity.renew_mark(server, engine, target, found=survey.mark)
    _keep(server_id=server_id, wanted_at=server.reconcile_wanted_at)
    for sentence in survey.unseen:
        log.warning("Not all of %s could be compared: %s", server, sentence)


def _compared(server: Server, engine: Engine, target: Target) -> tuple[Survey, Comparison]:
    before, started = _idle(server), clock.now()
    survey = engine.survey(target)
    there = {login.login: login for login in survey.logins}
    known = _known(there)
    live = before & _idle(server)
    return survey, Comparison(
        strays=[login for name, login in there.items() if _is_stray(known.get(name), started)],
        vanished=[pk for pk, login in live if login not in there],
        prolonged=_prolonged(dict(live), there),
    )


def _idle(server: Server) -> set[tuple[str, str]]:
    """(id, login) of the live grants that nobody works on: their logins are on the server and stay there."""
    live = Grant.objects.filter(server=server, status=GrantStatus.ACTIVE).exclude(claimed_until__gt=clock.now())
    return set(live.values_list("pk", "login"))


def _known(logins: Mapping[str, FoundLogin]) -> dict[str, tuple[str, datetime | None]]:
    """What became of the grants of these logins, of whatever server: two entries of the catalog may be one server."""
    rows = Grant.objects.filter(login__in=list(logins)).values_list("login", "status", "ended_at")
    return {login: (status, ended_at) for login, status, ended_at in rows}


def _is_stray(grant: tuple[str, datetime | None] | None, started: datetime) -> bool:
    """Nobody's, or of a grant that was over before the look began: then it had been seen to be gone."""
    if grant is None:
        return True
    status, ended_at = grant
    return status in OVER and ended_at is not None and ended_at < started


def _prolonged(live: Mapping[str, str], there: Mapping[str, FoundLogin]) -> list[str]:
    """Grants whose login works for longer than was ever asked of the server."""
    rows = Grant.objects.filter(pk__in=live).order_by().values_list("pk", "login", "valid_until")
    found = []
    for pk, login, valid_until, extended in rows.annotate(extended=Max("extensions__valid_until")):
        one, asked = there.get(login), max(filter(None, (valid_until, extended)), default=None)
        if one and one.can_login and asked and (one.valid_until is None or one.valid_until > asked):
            found.append(pk)
    return found


def _end_what_is_wrong(server: Server, engine: Engine, target: Target, found: Comparison) -> None:
    for pk in found.prolonged:
        _end(grant_id=pk, cause=EndCause.DRIFTED, reason=_LONGER)
    if not found.vanished:
        return
    _, again = _compared(server, engine, target)  # twice, because it takes access away
    for pk in sorted(set(found.vanished) & set(again.vanished)):
        _end(grant_id=pk, cause=EndCause.VANISHED, reason=_GONE)


@verb
def _end(*, grant_id: str, cause: EndCause, reason: str) -> None:
    """Idempotent; the end itself then proves that nothing is left of it."""
    now = clock.now()
    grant = Grant.objects.select_for_update(no_key=True).get(pk=grant_id)
    if grant.status != GrantStatus.ACTIVE or (grant.claimed_until is not None and grant.claimed_until > now):
        return
    ending.begin(grant, cause=cause, since=now, reason=reason)
    record(Action.DRIFT_FOUND, grant, actor=WORKER, disclosed={"opened": reason}, ends=True, cause=cause.value)
    nudge()


def _drop_orphans(server: Server, engine: Engine, target: Target, survey: Survey) -> None:
    """Scope roles and views that came back with a restored server. Those that rows tell of go with their last grant.

    Under the server's lease, so that no grant is being made on top of one.
    """
    if not survey.scope_roles and not survey.view_schemas:
        return
    with leases.server_lease(server.pk) as token:
        if token is None:
            return
        roles = {role for role, _ in survey.scope_roles}
        rest = {(role, database) for role, database, _ in survey.view_schemas if role not in roles}
        needed = _needed(roles | {role for role, _ in rest})
        orphans = sorted(pair for pair in {*survey.scope_roles, *rest} if pair[0] not in needed)
        if orphans:
            gone = engine.drop_scopes(target, orphans[:_SCOPES_AT_ONCE])
            log.warning("Scope roles that nobody needs were found on %s; dropped: %s.", server, len(gone))


def _needed(roles: set[str]) -> set[str]:
    """By live grants of any server, or not yet seen to be gone after the last one."""
    remembered = Q(status__in=LIVE) | Q(scope_gone_at=None)
    return set(Grant.objects.filter(remembered, scope_role__in=roles).values_list("scope_role", flat=True))


@verb
def _keep(*, server_id: str, wanted_at: datetime | None) -> None:
    ServerState.objects.update_or_create(server_id=server_id, defaults={"reconciled_at": clock.now()})
    # Somebody may have asked again meanwhile.
    Server.objects.filter(pk=server_id, reconcile_wanted_at=wanted_at).update(reconcile_wanted_at=None)
