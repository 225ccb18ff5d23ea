"""The clock's part: approved requests whose start has come become grants, once each."""

import logging
import time
from datetime import datetime

from django.db import Error
from django.db.models import Q, QuerySet

from apps.audit.actions import Action
from apps.core import clock
from apps.core.errors import Conflict
from apps.core.ids import new_id
from apps.core.nudge import nudge
from apps.core.verbs import verb
from apps.engines.postgresql import names
from apps.grants import entitlement
from apps.grants.models import Grant
from apps.grants.record import CLOCK, record
from apps.requests import services as requests
from apps.requests.models import AccessRequest
from apps.requests.states import RequestStatus

log = logging.getLogger(__name__)


def open_approved(*, seconds: float = float("inf")) -> list[Grant]:
    """Queue a grant for each, or refuse it with a sentence where it may no longer be made.

    After so many `seconds` the rest is for the next call: what it opened has nudged the clock.
    """
    opened, until = [], time.monotonic() + seconds
    for request_id in to_open(clock.now()).order_by("starts_at", "submitted_at").values_list("pk", flat=True):
        if time.monotonic() > until:
            break
        try:
            grant, why = _open(request_id=request_id)
        except Error:
            raise
        except Exception:  # the others are not to wait for it
            log.exception("The request %s could not be opened; it is tried again.", request_id)
            continue
        if grant is not None:
            opened.append(grant)
        elif why:
            _refuse(request_id, why)
    return opened


def to_open(now: datetime) -> QuerySet[AccessRequest]:
    """Approved requests whose access should have started."""
    due = Q(starts_at=None) | Q(starts_at__lte=now)
    return AccessRequest.objects.filter(due, status=RequestStatus.APPROVED, grant=None)


@verb
def _open(*, request_id: str) -> tuple[Grant | None, str]:
    """The grant, or why there is none; neither when another clock was faster."""
    now = clock.now()
    found = AccessRequest.objects.select_for_update(no_key=True, skip_locked=True, of=("self",))
    request = found.select_related("requester", "database").filter(pk=request_id).first()
    if request is None or not to_open(now).filter(pk=request_id).exists():
        return None, ""
    if why := entitlement.refusal(request):
        return None, why
    grant = _new(request, now)
    grant.save(force_insert=True)
    record(Action.GRANT_QUEUED, grant, actor=CLOCK, scope=grant.scope_digest, minutes=grant.minutes)
    nudge()
    return grant, ""


def _new(request: AccessRequest, now: datetime) -> Grant:
    grant_id = new_id()
    return Grant(
        id=grant_id,
        request=request,
        holder=request.requester,
        database=request.database,
        server_id=request.database.server_id,
        connection=request.connection,
        scope=request.scope,
        scope_digest=request.scope_digest,
        minutes=request.minutes,
        login=names.login_name(request.requester.username, grant_id),
        queued_at=now,
    )


def _refuse(request_id: str, why: str) -> None:
    try:
        requests.refuse_approved(request_id=request_id, why=why)
    except Conflict:
        log.info("The request %s was closed by somebody else meanwhile.", request_id)
