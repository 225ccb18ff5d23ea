"""Making live access last longer, once that is approved: the clock queues it, a worker tells the target.

Nothing is cut and nothing is made anew: the same login gets a later end. Whatever stands in the way, the access ends
when it was to end; what has begun to end is never extended.
"""

import logging
import time
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Q, QuerySet

from apps.audit.actions import Action
from apps.audit.body import rfc3339
from apps.core import clock
from apps.core.errors import Conflict
from apps.core.nudge import nudge
from apps.core.verbs import verb
from apps.engines.base import EngineError, Refused
from apps.grants import circuit, continuity, entitlement, leases
from apps.grants.circuit import Patience
from apps.grants.models import Extension, Grant
from apps.grants.record import WORKER, record
from apps.grants.states import ExtensionStatus, GrantStatus
from apps.requests import services as requests
from apps.requests.models import AccessRequest
from apps.requests.states import RequestStatus

log = logging.getLogger(__name__)

LONGEST_PAUSE: Final = 10.0  # seconds between tries: the end comes nearer
_STRETCH_SECONDS: Final = 0.5  # as in issuing
_OVER: Final = "The access had ended before it could be extended. Ask for access again if you still need it."


def queue(request: AccessRequest, now: datetime) -> tuple[Extension | None, str]:
    """Within the clock's verb, of a locked request: what a worker has to do, or why there is nothing to do."""
    grant = Grant.objects.select_for_update(no_key=True).get(request=request.extends_id)
    if not _lives(grant, now):
        return None, _OVER
    made = Extension.objects.create(request=request, grant=grant, minutes=request.minutes, queued_at=now)
    nudge()
    return made, ""


def waiting(now: datetime) -> QuerySet[Extension]:
    """Those that can be worked on now."""
    due = Q(next_try_at=None) | Q(next_try_at__lte=now)
    return Extension.objects.filter(due, status=ExtensionStatus.QUEUED).exclude(claimed_until__gt=now)


def extend_queued(*, server_id: str) -> None:
    """Those of one server whose access ends soonest first, for a moment; the clock asks again for the rest.

    Not where somebody is at it: a server that takes its time must not hold all workers.
    """
    if Extension.objects.filter(grant__server=server_id, claimed_until__gt=clock.now()).exists():
        return
    until = time.monotonic() + _STRETCH_SECONDS
    while time.monotonic() < until:
        waits = waiting(clock.now()).filter(grant__server=server_id).order_by("grant__expires_at", "pk")
        request_id = waits.values_list("pk", flat=True).first()
        if request_id is None:
            return
        apply(request_id=request_id)


def apply(*, request_id: str) -> None:
    """Give the target the later end, and then the grant."""
    token = leases.new_token()
    extension = _claim(request_id=request_id, token=token)
    if extension is None:
        return
    grant = extension.grant
    try:
        wanted = _wanted(extension)
        with circuit.through(grant.server, patience=Patience.ISSUING) as (engine, target):
            held = engine.extend_login(target, grant.login, grant.request_id, wanted)
        if held < wanted:
            raise EngineError(f"The server took the later end of {grant.login}, but does not hold it.")
    except Refused as error:
        _fail(request_id=request_id, token=token, sentence=error.sentence)
    except EngineError as error:
        _later(request_id=request_id, token=token, sentence=error.sentence)
    except Exception:
        log.exception("Extending %s failed unexpectedly.", grant.audit_id)
        _later(request_id=request_id, token=token, sentence="This failed unexpectedly; see the worker's log.")
    else:
        _record_extended(request_id=request_id, token=token)
        continuity.leave_mark(grant.server)


def close_pointless() -> int:
    """Close what nobody has decided and whose access is over; returns how many."""
    over = AccessRequest.objects.filter(status=RequestStatus.PENDING, extends__isnull=False).exclude(
        extends__grant__status=GrantStatus.ACTIVE
    )
    ids = list(over.values_list("pk", flat=True))
    for request_id in ids:
        try:
            requests.lapse(request_id=request_id, why="The access that this was to extend is over.")
        except Conflict:
            log.info("The request %s was decided by somebody at this moment.", request_id)
    return len(ids)


@verb
def _claim(*, request_id: str, token: str) -> Extension | None:
    """With the intent in the record at the first try. None where there is nothing to do, or not for us."""
    now = clock.now()
    extension, grant = _locked(request_id)
    if not waiting(now).filter(pk=request_id).exists():
        return None
    if why := _OVER if not _lives(grant, now) else entitlement.refusal(extension.request):
        _close(extension, ExtensionStatus.FAILED, now, problem=why)
        _record_failed(extension, is_last=True)
        return None
    extension.valid_until = extension.valid_until or _valid_until(grant) + timedelta(minutes=extension.minutes)
    extension.claimed_by, extension.claimed_until = token, now + leases.LEASE
    extension.tries += 1
    extension.save()
    if extension.tries == 1:
        record(
            Action.GRANT_EXTENDING,
            grant,
            actor=WORKER,
            extension=extension.request_id,
            expires_at=_time(grant.expires_at),
            minutes=extension.minutes,
        )
    return extension


@verb
def _record_extended(*, request_id: str, token: str) -> None:
    """Only of a grant that is still live: what began to end meanwhile ends, whatever the target was told."""
    now = clock.now()
    extension, grant = _locked(request_id)
    if extension.status != ExtensionStatus.QUEUED or extension.claimed_by != token:
        return
    if grant.status != GrantStatus.ACTIVE or grant.expires_at is None:
        _close(extension, ExtensionStatus.FAILED, now, problem=_OVER)
        _record_failed(extension, is_last=True)
        return
    before, more = grant.expires_at, timedelta(minutes=extension.minutes)
    grant.expires_at, grant.valid_until = before + more, extension.valid_until
    grant.minutes += extension.minutes
    grant.warned_at = None
    grant.save(update_fields=["expires_at", "valid_until", "minutes", "warned_at"])
    _close(extension, ExtensionStatus.APPLIED, now)
    record(
        Action.GRANT_EXTENDED,
        grant,
        actor=WORKER,
        extension=extension.request_id,
        expired_at=rfc3339(before),
        expires_at=rfc3339(grant.expires_at),
        valid_until=_time(grant.valid_until),
        minutes=grant.minutes,
    )
    nudge()


@verb
def _fail(*, request_id: str, token: str, sentence: str) -> None:
    extension, _ = _locked(request_id)
    if extension.status == ExtensionStatus.QUEUED and extension.claimed_by == token:
        _close(extension, ExtensionStatus.FAILED, clock.now(), problem=sentence)
        _record_failed(extension, is_last=True)


@verb
def _later(*, request_id: str, token: str, sentence: str) -> None:
    now = clock.now()
    extension, _ = _locked(request_id)
    if extension.status != ExtensionStatus.QUEUED or extension.claimed_by != token:
        return
    is_new = extension.problem != sentence
    extension.claimed_by, extension.claimed_until, extension.problem = "", None, sentence
    extension.next_try_at = now + leases.delay(extension.tries, at_most=LONGEST_PAUSE)
    extension.save()
    if is_new:
        _record_failed(extension, is_last=False)
    nudge()


def _locked(request_id: str) -> tuple[Extension, Grant]:
    """The grant's row first, as everybody does who changes both."""
    grant_id = Extension.objects.values_list("grant", flat=True).get(pk=request_id)
    grants = Grant.objects.select_for_update(no_key=True, of=("self",)).select_related("server", "database")
    grant = grants.get(pk=grant_id)
    found = Extension.objects.select_for_update(no_key=True, of=("self",))
    extension = found.select_related("request__database__server", "request__requester").get(pk=request_id)
    extension.grant = grant
    return extension, grant


def _close(extension: Extension, status: ExtensionStatus, now: datetime, problem: str = "") -> None:
    extension.status, extension.closed_at, extension.problem = status, now, problem
    extension.claimed_by, extension.claimed_until, extension.next_try_at = "", None, None
    extension.save()


def _record_failed(extension: Extension, *, is_last: bool) -> None:
    record(
        Action.GRANT_EXTEND_FAILED,
        extension.grant,
        actor=WORKER,
        disclosed={"problem": extension.problem},
        extension=extension.request_id,
        tries=extension.tries,
        is_last=is_last,
    )
    nudge()


def _lives(grant: Grant, now: datetime) -> bool:
    return grant.status == GrantStatus.ACTIVE and grant.expires_at is not None and grant.expires_at > now


def _valid_until(grant: Grant) -> datetime:
    """By the target's clock; grants that were made before that was kept have it from the last measured skew."""
    if grant.valid_until is not None:
        return grant.valid_until
    assert grant.expires_at is not None  # noqa: S101 - a constraint of active grants
    return grant.expires_at + timedelta(seconds=grant.server.skew_seconds or 0.0)


def _wanted(extension: Extension) -> datetime:
    assert extension.valid_until is not None  # noqa: S101 - fixed when it was claimed
    return extension.valid_until


def _time(value: datetime | None) -> str | None:
    return rfc3339(value) if value else None
