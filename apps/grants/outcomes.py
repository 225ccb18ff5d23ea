"""What came of ending access: the proof of it, or what is in the way. Many at once, entries last."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from django.db import connection

from apps.audit.actions import Action
from apps.audit.body import rfc3339
from apps.core import clock
from apps.core.nudge import nudge
from apps.core.verbs import verb
from apps.engines.base import Closed
from apps.grants import leases
from apps.grants.models import Grant, ServerState
from apps.grants.record import WORKER, record_all
from apps.grants.states import EndCause, GrantStatus

Proven = Callable[[Sequence[Closed]], None]
Told = tuple[Action, Grant, dict[str, Any]]

# Grants in one transaction (decision 0003).
_PORTION: Final = 250
# Seconds between tries on a target that does not let go: never long, because somebody still has access.
LONGEST_PAUSE: Final = 15.0
_LONGEST_TEXT: Final = 20_000  # letters of what is disclosed of a graveyard; the server's page has it all
_READ: Final = (
    *("login", "status", "request_id", "holder_id", "database_id", "server_id", "tries", "problem", "proof"),
    *("end_cause", "end_reason", "ending_since", "ended_at", "next_try_at", "sessions_live", "sessions_seen"),
)
# One statement for many rows: what Django makes of them takes longer than everything that is done on the target.
_WRITE: Final = """
UPDATE grants_grant g
SET status = v.status, ended_at = v.ended_at, next_try_at = v.next_try_at, problem = v.problem, proof = v.proof,
    sessions_live = v.sessions_live, sessions_seen = v.sessions_seen, claimed_by = '', claimed_until = NULL,
    password = CASE WHEN v.status = 'ending' THEN g.password END
FROM jsonb_to_recordset(%s::jsonb) v (
  id text, status text, ended_at timestamptz, next_try_at timestamptz, problem text, proof jsonb,
  sessions_live integer, sessions_seen integer)
WHERE g.id = v.id
"""
_WRITTEN: Final = (
    *("id", "status", "ended_at", "next_try_at", "problem"),
    *("proof", "sessions_live", "sessions_seen"),
)


def settle_proven(closed: Mapping[str, Closed], *, token: str) -> None:
    """`closed` by the grant's id: access is zero, and its role is gone or says what keeps it."""
    for some in _portions(list(closed)):
        _settle_proven({pk: closed[pk] for pk in some}, token=token)


def settle_problems(problems: Mapping[str, str], *, token: str, again: datetime | None = None) -> None:
    """`problems` by the grant's id; tried again at `again`, or after a pause of each one's own."""
    for some in _portions(list(problems)):
        _settle_problems({pk: problems[pk] for pk in some}, token=token, again=again)


@verb
def _settle_proven(closed: Mapping[str, Closed], *, token: str) -> None:
    now, told, left = clock.now(), list[Told](), list[tuple[Grant, Closed]]()
    grants = _ours(closed, token)
    for grant in grants:
        done = closed[grant.pk]
        _keep_proof(grant, done)
        told.append(_ended(grant, now)) if done.dropped else told.extend(_not_ended(grant, _still_there(done), now))
        if done.left:
            left.append((grant, done))
    _write(grants)
    told += _buried(left, now)
    record_all(told, actor=WORKER)
    nudge()


@verb
def _settle_problems(problems: Mapping[str, str], *, token: str, again: datetime | None) -> None:
    now, told = clock.now(), list[Told]()
    grants = _ours(problems, token)
    for grant in grants:
        told += _not_ended(grant, problems[grant.pk], now, again=again)
    _write(grants)
    record_all(told, actor=WORKER)
    nudge()


def _ours(wanted: Mapping[str, object], token: str) -> list[Grant]:
    """Those that are still ours, locked."""
    ours = Grant.objects.select_for_update(no_key=True).filter(
        pk__in=wanted, claimed_by=token, status=GrantStatus.ENDING
    )
    return list(ours.only(*_READ).order_by("pk"))


def _write(grants: list[Grant]) -> None:
    """What has changed, and the claim is given back."""
    rows = [{name: getattr(grant, name) for name in _WRITTEN} for grant in grants]
    with connection.cursor() as cursor:
        cursor.execute(_WRITE, [json.dumps(rows, default=_time)])


def _ended(grant: Grant, now: datetime) -> Told:
    refused = grant.end_cause == EndCause.REFUSED
    grant.status = GrantStatus.FAILED if refused else GrantStatus.ENDED
    grant.ended_at, grant.next_try_at, grant.sessions_live = now, None, 0
    # Why it failed stays to be read; a problem of ending is over.
    grant.problem = grant.end_reason if refused else ""
    told = {"cause": grant.end_cause, "since": _time(grant.ending_since), "proof": grant.proof}
    if refused:
        return Action.GRANT_FAILED, grant, told | {"disclosed": {"problem": grant.end_reason}}
    return Action.GRANT_ENDED, grant, told


def _not_ended(grant: Grant, sentence: str, now: datetime, *, again: datetime | None = None) -> list[Told]:
    is_new = sentence != grant.problem
    grant.problem = sentence
    grant.next_try_at = again or now + leases.delay(grant.tries, at_most=LONGEST_PAUSE)
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


def _buried(left: list[tuple[Grant, Closed]], now: datetime) -> Iterator[Told]:
    """What lies in graveyards is kept for the server's page, and told once."""
    for grant, done in left:
        ServerState.objects.get_or_create(server_id=grant.server_id)
        state = ServerState.objects.select_for_update(no_key=True).get(server=grant.server_id)
        known = {(one["login"], one["database"], one["object"]) for one in state.graveyard}
        new = [one for one in done.left if (done.login, one.database, one.object) not in known]
        if not new:
            continue
        state.graveyard += [
            {"database": one.database, "object": one.object, "login": done.login, "at": rfc3339(now)} for one in new
        ]
        state.save(update_fields=["graveyard"])
        text = "\n".join(f"{one.database}: {one.object}" for one in new)[:_LONGEST_TEXT]
        yield Action.OBJECTS_LEFT, grant, {"objects": len(new), "disclosed": {"objects": text}}


def _still_there(done: Closed) -> str:
    return f"Nobody can use this login any more, but the target keeps its role: {done.leftover}"


def _time(value: datetime | None) -> str | None:
    return rfc3339(value) if value else None


def _portions(ids: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), _PORTION):
        yield ids[start : start + _PORTION]
