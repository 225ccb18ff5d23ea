"""Taking access away: the intent, the work on the target, and the proof, until there is one.

Nothing is ended before the portal's clock has reached the grant's end, and nothing in `ending` is ever given up.
What is due on one server ends as one batch. What came of it is recorded in outcomes.py.
"""

import logging
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from django.db import OperationalError, connection
from django.db.models import Q, QuerySet

from apps.accounts.models import User
from apps.audit.actions import Action
from apps.audit.body import rfc3339
from apps.catalog.models import Server
from apps.core import clock
from apps.core.verbs import sqlstate, verb
from apps.engines.base import Closed, EngineError, Refused
from apps.grants import circuit, continuity, leases, outcomes
from apps.grants.circuit import Patience
from apps.grants.models import Grant
from apps.grants.record import WORKER, record_all
from apps.grants.states import EndCause, GrantStatus

log = logging.getLogger(__name__)

# So many are claimed, and then locked on the target at once; more wait for the next round.
BATCH: Final = 2_000
# So many workers end access on one server at a time: one that takes its time must leave some for the others.
AT_ONCE: Final = 2
# Intents in one transaction: more rows wait behind one lock, fewer flushes to disk (decision 0003).
INTENTS: Final = 500
# Of logins that are refused all together, so many are tried one by one.
_ALONE: Final = 50
# For how many seconds one task goes on with what has become due meanwhile.
_STRETCH: Final = 10.0
# The web process may write these and no others (apps.audit.rights).
_ENDING: Final = ("status", "end_cause", "end_reason", "ended_by", "ending_since", "next_try_at", "tries", "problem")
# Not what is large (scope, evidence): nothing of an end depends on it.
_READ: Final = (
    *("login", "status", "request_id", "holder_id", "database_id", "server_id"),
    *("tries", "end_cause", "ending_since", "expires_at"),
)
# An active grant begins to end as by begin(): its time is over.
_CLAIM: Final = """
UPDATE grants_grant SET claimed_by = %(token)s, claimed_until = %(until)s, status = 'ending',
  end_cause = CASE status WHEN 'active' THEN 'expired' ELSE end_cause END,
  end_reason = CASE status WHEN 'active' THEN '' ELSE end_reason END,
  ended_by_id = CASE status WHEN 'active' THEN NULL ELSE ended_by_id END,
  ending_since = CASE status WHEN 'active' THEN expires_at ELSE ending_since END,
  next_try_at = CASE status WHEN 'active' THEN expires_at ELSE next_try_at END,
  problem = CASE status WHEN 'active' THEN '' ELSE problem END,
  tries = CASE status WHEN 'active' THEN 0 ELSE tries END + 1
WHERE id = ANY (%(ids)s)
"""
_LOCK_NOT_AVAILABLE: Final = "55P03"
_UNPROVEN: Final = "The target has not yet shown that every session of this login is gone; it is tried again."


def begin(grant: Grant, *, cause: EndCause, since: datetime, reason: str = "", by: User | None = None) -> None:
    """Let a locked grant end. A claim stays as it is: whoever works on it finds out when they come to record."""
    grant.status = GrantStatus.ENDING
    grant.end_cause, grant.end_reason, grant.ended_by = cause, reason, by
    grant.ending_since = grant.next_try_at = since
    grant.tries, grant.problem = 0, ""
    grant.save(update_fields=_ENDING)


def due(now: datetime) -> QuerySet[Grant]:
    """Grants that nobody works on and whose time has come: never before the portal's clock has reached it."""
    over = Q(status=GrantStatus.ACTIVE, expires_at__lte=now) | Q(status=GrantStatus.ENDING, next_try_at__lte=now)
    return Grant.objects.filter(over).exclude(claimed_until__gt=now)


def end_due(*, server_id: str) -> None:
    """End whatever of one server has come to its end, all logins of a batch at once."""
    server, token = Server.objects.get(pk=server_id), leases.new_token()
    if not circuit.answers(server, patience=Patience.ENDING):
        _hold(server, token)
        return
    until, has_worked = time.monotonic() + _STRETCH, False
    with leases.kept(token):
        # For a while: others want the worker, and the clock asks again.
        while time.monotonic() < until and (grants := _claim_due(server, token)):
            close(grants, token=token)
            has_worked = True
    if has_worked and circuit.next_question(server_id) is None:
        continuity.leave_mark(server)


def close(grants: Sequence[Grant], *, token: str) -> None:
    """Work on grants in `ending` that are claimed with `token`, and record what came of it, the first ones early."""
    ids = {grant.login: grant.pk for grant in grants}
    settled: set[str] = set()

    def proven(closed: Sequence[Closed]) -> None:
        outcomes.settle_proven({ids[done.login]: done for done in closed}, token=token)
        settled.update(done.login for done in closed)

    server = grants[0].server
    problems = _close_on_target(server, list(ids), proven)
    rest = {ids[login]: problems.get(login, _UNPROVEN) for login in ids if login not in settled}
    outcomes.settle_problems(rest, token=token, again=circuit.next_question(server.pk))


def take_back(grant: Grant) -> None:
    """A login that was opened after its grant had begun to end. Best effort: `ending` goes on until it is proven."""
    gone: list[str] = []
    problems = _close_on_target(grant.server, [grant.login], lambda closed: gone.extend(one.login for one in closed))
    if not gone:
        sentence = problems.get(grant.login, _UNPROVEN)
        log.error("The login %s was opened after its grant had begun to end: %s", grant.login, sentence)


def _claim_due(server: Server, token: str, *, only: Q | None = None) -> list[Grant]:
    """All that is due there. Their intents are committed when this returns: nothing was done on the target before."""
    claimed: list[Grant] = []
    while len(claimed) < BATCH:
        some = _claim_some(server, token, only or Q(), BATCH - len(claimed))
        claimed += some
        if len(some) < INTENTS:  # what becomes due meanwhile must not keep these waiting
            break
    return claimed or _claim_held(server, token, only or Q())


def _claim_held(server: Server, token: str, only: Q) -> list[Grant]:
    """What is due and locked by somebody, for whom we wait in line: a holder who asks for the credential again and
    again would never be found without a lock.
    """
    if not due(clock.now()).filter(only, server=server).exists():
        return []
    try:
        return _claim_some(server, token, only, INTENTS, waits=True)
    except OperationalError as error:
        if sqlstate(error) != _LOCK_NOT_AVAILABLE:
            raise
        log.warning("Grants on %s are due, and their rows are locked; they are tried again.", server)
        return []


@verb
def _claim_some(server: Server, token: str, only: Q, at_most: int, *, waits: bool = False) -> list[Grant]:
    if waits:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '1s'")
    else:
        _one_after_another(server)
    now = clock.now()
    if _is_crowded(server, token, now):
        return []
    found = due(now).filter(only, server=server).order_by("next_try_at", "pk")[: min(at_most, INTENTS)]
    grants = list(found.select_for_update(no_key=True, skip_locked=not waits).only(*_READ))
    _claim(grants, token, now + leases.LEASE)
    for grant in grants:
        grant.server = server
    new = [(Action.GRANT_ENDING, grant, _intent(grant)) for grant in grants if grant.tries == 0]
    record_all(new, actor=WORKER)
    return grants


def _one_after_another(server: Server) -> None:
    """Claims on one server are committed one by one, so that those who come at the same time count each other."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('grants.ending'), hashtext(%s))", [server.pk])


def _is_crowded(server: Server, token: str, now: datetime) -> bool:
    """Whoever is at work there goes on with what becomes due meanwhile, and the clock asks again."""
    claimed = Grant.objects.filter(server=server, status=GrantStatus.ENDING, claimed_until__gt=now)
    others = claimed.exclude(claimed_by__in=["", token]).order_by().values("claimed_by").distinct()
    return others.count() >= AT_ONCE


def _claim(grants: list[Grant], token: str, until: datetime) -> None:
    """In one statement for all; those whose time is over begin to end by it, as by begin()."""
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, {"token": token, "until": until, "ids": [grant.pk for grant in grants]})
    for grant in grants:
        if grant.status == GrantStatus.ACTIVE:
            grant.status, grant.end_cause, grant.tries = GrantStatus.ENDING, EndCause.EXPIRED, 0
            grant.ending_since = grant.expires_at


def _intent(grant: Grant) -> dict[str, Any]:
    return {"cause": grant.end_cause, "since": rfc3339(grant.ending_since) if grant.ending_since else None}


def _hold(server: Server, token: str) -> None:
    """Nobody answers: what has come to its end is told so, once each, and waits for the server."""
    new = _claim_due(server, token, only=Q(status=GrantStatus.ACTIVE) | Q(tries=0))
    sentence = circuit.problem(server)
    outcomes.settle_problems({grant.pk: sentence for grant in new}, token=token, again=circuit.next_question(server.pk))


def _close_on_target(server: Server, logins: list[str], proven: outcomes.Proven) -> dict[str, str]:
    """A sentence for each login that is known not to be gone."""
    try:
        with circuit.through(server, patience=Patience.ENDING) as (engine, target):
            engine.close_logins(target, logins, proven)
    except Refused as error:
        if len(logins) == 1:
            return {logins[0]: error.sentence}
        # One login that may not be touched must not keep the others alive.
        problems = dict.fromkeys(logins, error.sentence)
        for login in logins[:_ALONE]:
            problems |= {login: _UNPROVEN} | _close_on_target(server, [login], proven)
        return problems
    except EngineError as error:
        return dict.fromkeys(logins, error.sentence)
    except Exception:
        log.exception("Closing %s logins on %s failed unexpectedly.", len(logins), server)
        return dict.fromkeys(logins, f"Ending access on {server} failed unexpectedly; see the worker's log.")
    return {}
