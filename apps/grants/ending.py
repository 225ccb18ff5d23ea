"""Taking access away: the intent, the work on the target, and the proof, until there is one.

Nothing is ended before the portal's clock has reached the grant's end, and nothing in `ending` is ever given up.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from django.db.models import Q, QuerySet

from apps.accounts.models import User
from apps.audit.actions import Action
from apps.audit.body import rfc3339
from apps.catalog.models import Server
from apps.core import clock
from apps.core.nudge import nudge
from apps.core.verbs import verb
from apps.engines.base import Closed, EngineError, Refused
from apps.grants import continuity, leases
from apps.grants.models import Grant
from apps.grants.record import WORKER, record
from apps.grants.states import EndCause, GrantStatus
from apps.grants.target import reach

log = logging.getLogger(__name__)

# One statement locks them all; more wait for the next round, so that one lease covers what it claims.
BATCH: Final = 100
# Seconds between tries on a target that does not let go: never long, because somebody still has access.
LONGEST_PAUSE: Final = 15.0
# The web process may write these and no others (apps.audit.rights).
_ENDING: Final = ("status", "end_cause", "end_reason", "ended_by", "ending_since", "next_try_at", "tries", "problem")
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
    token = leases.new_token()
    server = None
    while grants := _claim_due(server_id, token):
        close(grants, token=token)
        server = grants[0].server
    if server is not None:
        continuity.leave_mark(server)


def close(grants: Sequence[Grant], *, token: str) -> None:
    """Work on grants in `ending` that are claimed with `token`, and record what came of it."""
    server = grants[0].server
    closed, problems = _close_on_target(server, [grant.login for grant in grants])
    settle([grant.pk for grant in grants], closed, problems, token=token)


def take_back(grant: Grant) -> None:
    """A login that was opened after its grant had begun to end. Best effort: `ending` goes on until it is proven."""
    _, problems = _close_on_target(grant.server, [grant.login])
    for login, sentence in problems.items():
        log.error("The login %s was opened after its grant had begun to end: %s", login, sentence)


@verb
def _claim_due(server_id: str, token: str) -> list[Grant]:
    now = clock.now()
    found = due(now).filter(server=server_id).order_by("next_try_at", "pk")[:BATCH]
    grants = list(found.select_for_update(no_key=True, skip_locked=True, of=("self",)).select_related("server"))
    for grant in grants:
        if grant.status == GrantStatus.ACTIVE:
            begin(grant, cause=EndCause.EXPIRED, since=grant.expires_at or now)
        leases.claim(grant, token=token, now=now)
        grant.save(update_fields=["claimed_by", "claimed_until", "tries"])
    for grant in grants:
        if grant.tries == 1:
            record(Action.GRANT_ENDING, grant, actor=WORKER, cause=grant.end_cause, since=_time(grant.ending_since))
    return grants


def _close_on_target(server: Server, logins: list[str]) -> tuple[dict[str, Closed], dict[str, str]]:
    """What is proven, and a sentence for each login that is not."""
    try:
        engine, target = reach(server)
        closed = {done.login: done for done in engine.close_logins(target, logins)}
    except Refused as error:
        if len(logins) == 1:
            return {}, {logins[0]: error.sentence}
        # One login that may not be touched must not keep the others alive.
        parts = [_close_on_target(server, [login]) for login in logins]
        return (
            {login: done for proven, _ in parts for login, done in proven.items()},
            {login: sentence for _, problems in parts for login, sentence in problems.items()},
        )
    except EngineError as error:
        return {}, dict.fromkeys(logins, error.sentence)
    except Exception:
        log.exception("Closing %s logins on %s failed unexpectedly.", len(logins), server)
        return {}, dict.fromkeys(logins, f"Ending access on {server} failed unexpectedly; see the worker's log.")
    return closed, {login: _UNPROVEN for login in logins if login not in closed}


@verb
def settle(ids: Iterable[str], closed: dict[str, Closed], problems: dict[str, str], *, token: str) -> None:
    """Record the outcome for the grants that are still ours; entries last."""
    now = clock.now()
    ours = Grant.objects.select_for_update(no_key=True).filter(pk__in=ids, claimed_by=token, status=GrantStatus.ENDING)
    entries: list[tuple[Action, Grant, dict[str, Any]]] = []
    for grant in ours.order_by("pk"):
        done = closed.get(grant.login)
        leases.give_back(grant)
        if done is not None:
            _keep_proof(grant, done)
        if done is not None and done.dropped:
            entries.append(_ended(grant, now))
        else:
            sentence = _still_there(done) if done else problems[grant.login]
            entries += _not_ended(grant, sentence, now)
        grant.save()
    for action, grant, told in entries:
        record(action, grant, actor=WORKER, **told)
    nudge()


def _ended(grant: Grant, now: datetime) -> tuple[Action, Grant, dict[str, Any]]:
    refused = grant.end_cause == EndCause.REFUSED
    grant.status = GrantStatus.FAILED if refused else GrantStatus.ENDED
    grant.ended_at, grant.password, grant.next_try_at, grant.sessions_live = now, None, None, 0
    # Why it failed stays to be read; a problem of ending is over.
    grant.problem = grant.end_reason if refused else ""
    told = {"cause": grant.end_cause, "since": _time(grant.ending_since), "proof": grant.proof}
    if refused:
        return Action.GRANT_FAILED, grant, told | {"disclosed": {"problem": grant.end_reason}}
    return Action.GRANT_ENDED, grant, told


def _not_ended(grant: Grant, sentence: str, now: datetime) -> list[tuple[Action, Grant, dict[str, Any]]]:
    is_new = sentence != grant.problem
    grant.problem = sentence
    grant.next_try_at = now + leases.delay(grant.tries, at_most=LONGEST_PAUSE)
    told = {"cause": grant.end_cause, "tries": grant.tries, "disclosed": {"problem": sentence}}
    return [(Action.GRANT_END_FAILED, grant, told)] if is_new else []


def _keep_proof(grant: Grant, done: Closed) -> None:
    """Access was zero at the first clean scan, even if the role went later; times are the target's clock."""
    before = grant.proof or {}
    ended = done.sessions_ended + before.get("sessions_ended", 0)
    grant.proof = {
        "locked_at": before.get("locked_at") or rfc3339(done.locked_at),
        "clean_at": before.get("clean_at") or rfc3339(done.clean_at),
        "sessions_ended": ended,
        "dropped": done.dropped,
        "leftover": done.leftover,
    }
    grant.sessions_live = 0
    grant.sessions_seen = max(grant.sessions_seen, ended)


def _still_there(done: Closed) -> str:
    return f"Nobody can use this login any more, but the target keeps its role: {done.leftover}"


def _time(value: datetime | None) -> str | None:
    return rfc3339(value) if value else None
