"""Comparing what is on a server with what should be: a server may have been restored, and people work there too.

Rows are read before and after the look at the server. A grant's row is there before its login, and it is over only
when its login was seen to be gone: so what is under way is never mistaken for a stray, or for a login that vanished.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from django.db import connection
from django.db.models import Max, Q
from django.db.models.functions import Greatest

from apps.audit.actions import Action
from apps.catalog.models import Server
from apps.core import clock
from apps.core.nudge import nudge
from apps.core.verbs import verb
from apps.engines.base import Engine, FoundLogin, Survey, Target
from apps.grants import circuit, continuity, ending, leases, strangers, strays
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
_DOUBLED: Final = (
    "On the server another role was given the mark of its login by somebody else than the portal, so that one could "
    "hide behind the other. Ask again if the access is still needed."
)


@dataclass(frozen=True)
class Comparison:
    """What one look has shown to be wrong."""

    strays: Sequence[FoundLogin] = ()
    vanished: Sequence[str] = ()  # ids of grants
    prolonged: Sequence[str] = ()  # ids of grants
    doubled: Sequence[str] = ()  # ids of grants: another role bears the mark of their login

    @property
    def is_clean(self) -> bool:
        return not (self.strays or self.vanished or self.prolonged or self.doubled)


class _Agreed(NamedTuple):
    """Rows and server at a look after which nothing was left to do or to wait for, as digests."""

    rows: str
    found: str


# By server, in this process only. What was compared with the same rows before is not read again.
_agreed: Final[dict[str, _Agreed]] = {}

_ROWS: Final = """
SELECT encode(sha256(textsend(string_agg(one::text, ',' ORDER BY one.login))), 'hex') FROM (
  SELECT g.login, g.status, g.claimed_until, g.valid_until, max(e.valid_until)
  FROM grants_grant g LEFT JOIN grants_extension e ON e.grant_id = g.id
  WHERE g.server_id = %s AND g.status = ANY (%s) GROUP BY g.id
) one
"""


class _Live(NamedTuple):
    """A live grant. `asked`: the latest end that the server was ever asked for."""

    pk: str
    status: str
    claimed_until: datetime | None
    asked: datetime | None


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
        strangers.keep_seen(server, survey.members)
        return
    with circuit.through(server) as (engine, target):
        strangers.expel(server, engine, target, survey.members)
        strays.disable(server, engine, target, found.strays)
        _end_what_is_wrong(server, engine, target, found)
        _drop_orphans(server, engine, target, survey)
        continuity.renew_mark(server, engine, target, found=survey.mark)
    _keep(server_id=server_id, wanted_at=server.reconcile_wanted_at)
    for sentence in survey.unseen:
        log.warning("Not all of %s could be compared: %s", server, sentence)


def _compared(server: Server, engine: Engine, target: Target) -> tuple[Survey, Comparison]:
    rows, before = _rows(server), _idle_before(server)
    started = clock.now()
    agreed = _agreed.pop(server.pk, None)
    survey = engine.survey(target, agreed.found if agreed and agreed.rows == rows else "")
    if survey.logins is None:
        _agreed[server.pk] = _Agreed(rows, survey.digest)
        return survey, Comparison()
    there = {login.login: login for login in survey.logins}
    marked = Counter(login.login for login in survey.logins)
    live = _live(server)
    over = _over([login for login in there if login not in live])
    now = clock.now()
    idle = {login: grant for login, grant in live.items() if login in before and _is_idle(grant, now)}
    found = Comparison(
        strays=[one for login, one in there.items() if login not in live and _is_stray(over.get(login), started)],
        vanished=[grant.pk for login, grant in idle.items() if login not in there],
        prolonged=[grant.pk for login, grant in idle.items() if login in there and _is_longer(there[login], grant)],
        doubled=[grant.pk for login, grant in idle.items() if marked[login] > 1],
    )
    if found.is_clean and there.keys() == idle.keys() == live.keys() and _rows(server) == rows:
        _agreed[server.pk] = _Agreed(rows, survey.digest)
    return survey, found


def _rows(server: Server) -> str:
    """A digest of what _live() reads."""
    with connection.cursor() as cursor:
        cursor.execute(_ROWS, [server.pk, [status.value for status in LIVE]])
        digest: str | None = cursor.fetchone()[0]
    return digest or ""


def _idle_before(server: Server) -> set[str]:
    """Logins of which _is_idle() is true now."""
    free = Q(claimed_until=None) | Q(claimed_until__lte=clock.now())
    rows = Grant.objects.filter(free, server=server, status=GrantStatus.ACTIVE).order_by()
    return set(rows.values_list("login", flat=True))


def _live(server: Server) -> dict[str, _Live]:
    """By login. Thousands: one query, and no list of them in another."""
    rows = Grant.objects.filter(server=server, status__in=LIVE).order_by()
    asked = Greatest("valid_until", Max("extensions__valid_until"))  # leaves NULLs out
    found = rows.values_list("login", "pk", "status", "claimed_until").annotate(asked=asked)
    return {login: _Live(*row) for login, *row in found}


def _is_idle(grant: _Live, now: datetime) -> bool:
    """Nobody works on it: its login is on the server and stays there."""
    return grant.status == GrantStatus.ACTIVE and (grant.claimed_until is None or grant.claimed_until <= now)


def _over(logins: Sequence[str]) -> dict[str, tuple[str, datetime | None]]:
    """What became of the grants of these logins, of whatever server: two entries of the catalog may be one server."""
    rows = Grant.objects.filter(login__in=logins).values_list("login", "status", "ended_at")
    return {login: (status, ended_at) for login, status, ended_at in rows}


def _is_stray(grant: tuple[str, datetime | None] | None, started: datetime) -> bool:
    """Nobody's, or of a grant that was over before the look began: then it had been seen to be gone."""
    if grant is None:
        return True
    status, ended_at = grant
    return status in OVER and ended_at is not None and ended_at < started


def _is_longer(login: FoundLogin, grant: _Live) -> bool:
    """Whether it works for longer than was ever asked of the server."""
    return bool(login.can_login and grant.asked and (login.valid_until is None or login.valid_until > grant.asked))


def _end_what_is_wrong(server: Server, engine: Engine, target: Target, found: Comparison) -> None:
    for pks, reason in ((found.prolonged, _LONGER), (found.doubled, _DOUBLED)):
        for pk in pks:
            _end(grant_id=pk, cause=EndCause.DRIFTED, reason=reason)
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
