"""The clock's part: approved requests whose start has come become grants, or more time for one, once each."""

import logging
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
from apps.grants import entitlement, extending
from apps.grants.models import Extension, Grant
from apps.grants.record import CLOCK, record
from apps.requests import services as requests
from apps.requests.models import AccessRequest
from apps.requests.states import RequestStatus

log = logging.getLogger(__name__)

_AT_ONCE = 50  # each nudges, so that the clock looks again at once, at what ends first


def open_approved() -> list[Grant]:
    """Queue a grant for each, or refuse it with a sentence where it may no longer be made. Some at a time."""
    opened, done = list[Grant](), 0
    for request_id in to_open(clock.now()).order_by("starts_at", "submitted_at").values_list("pk", flat=True):
        try:
            made, why = _open(request_id=request_id)
        except Error:
            raise
        except Exception:  # the others are not to wait for it
            log.exception("The request %s could not be opened; it is tried again.", request_id)
            continue
        if isinstance(made, Grant):
            opened.append(made)
        elif why:
            _refuse(request_id, why)
        done += made is not None or bool(why)
        if done == _AT_ONCE:
            break
    return opened


def to_open(now: datetime) -> QuerySet[AccessRequest]:
    """Approved requests whose access should have started."""
    return waiting_to_open().filter(Q(starts_at=None) | Q(starts_at__lte=now))


def waiting_to_open() -> QuerySet[AccessRequest]:
    """Approved requests of which nothing has been made yet."""
    return AccessRequest.objects.filter(status=RequestStatus.APPROVED, opened_at=None, grant=None, extension=None)


@verb
def _open(*, request_id: str) -> tuple[Grant | Extension | None, str]:
    """What was made of it, or why nothing was; neither when another clock was faster."""
    now = clock.now()
    found = AccessRequest.objects.select_for_update(no_key=True, skip_locked=True, of=("self",))
    request = found.select_related("requester", "database").filter(pk=request_id).first()
    if request is None or not to_open(now).filter(pk=request_id).exists():
        return None, ""
    if entitlement.waits(request, now):
        return None, ""
    if why := entitlement.refusal(request):
        return None, why
    request.opened_at = now
    request.save(update_fields=["opened_at"])
    if request.extends_id is not None:
        return extending.queue(request, now)
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
        break_glass=request.break_glass,
        login=names.login_name(request.requester.username, grant_id),
        queued_at=now,
    )


def _refuse(request_id: str, why: str) -> None:
    try:
        requests.refuse_approved(request_id=request_id, why=why)
    except Conflict:
        log.info("The request %s was closed by somebody else meanwhile.", request_id)
