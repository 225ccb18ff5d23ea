"""What I have, what waits for me, what I asked for."""

from datetime import timedelta
from typing import Final

from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from apps.accounts.adminsite import person
from apps.accounts.models import User
from apps.grants.models import Grant
from apps.grants.states import EndCause, GrantStatus
from apps.portal.context import surroundings
from apps.portal.polling import is_unchanged, state_of
from apps.portal.words import is_late
from apps.requests.models import AccessRequest
from apps.requests.states import RequestStatus

_SHOWN: Final = 6
# Ends that the holder did not choose and that came before their time: whoever was at work has to learn why.
_SURPRISING: Final = (
    EndCause.REVOKED,
    EndCause.DRIFTED,
    EndCause.MASKED,
    EndCause.PAUSED,
    EndCause.LEFT,
    EndCause.VANISHED,
)
_TOLD_FOR: Final = timedelta(days=1)


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    user = person(request)
    around = surroundings(request)
    now = around.now
    grants = list(Grant.objects.filter(holder=user).live().select_related("database", "request"))
    grants.sort(
        key=lambda grant: (not is_late(grant, now), grant.expires_at is None, grant.expires_at, grant.queued_at)
    )
    mine = list(AccessRequest.objects.filter(requester=user).select_related("database", "grant", "extension")[:_SHOWN])
    waiting = list(around.inbox.select_related("requester", "database")[: _SHOWN + 1])
    theirs = _theirs(user) if around.may_revoke_all else []
    surprising = Grant.objects.filter(holder=user, end_cause__in=_SURPRISING, ending_since__gt=now - _TOLD_FOR)
    cut_short = list(surprising.select_related("database").order_by("-ending_since")[:_SHOWN])
    state = state_of(
        [(grant.pk, grant.status, grant.expires_at, grant.problem, is_late(grant, now)) for grant in grants],
        [(row.pk, row.status, row.minutes, hasattr(row, "extension") and row.extension.status) for row in mine],
        [row.pk for row in waiting],
        [grant.pk for grant in cut_short],
        [one.review.pk for one in around.reviews],
        [(grant.pk, grant.status, grant.expires_at, grant.sessions_live) for grant in theirs],
    )
    if is_unchanged(request, state):
        return HttpResponse(status=204)
    context = {
        "grants": grants,
        "cut_short": cut_short,
        "mine": mine,
        "waiting": waiting[:_SHOWN],
        "more_waiting": len(waiting) > _SHOWN,
        "theirs": theirs[:_SHOWN],
        "more_theirs": len(theirs) > _SHOWN,
        "state": state,
        "pace": _pace(grants, mine),
    }
    return render(request, "portal/home.html", context)


def _theirs(user: User) -> list[Grant]:
    """What others have, of what this person answers for; what ends soonest first, and one more than is shown."""
    rows = Grant.objects.answered_for_by(user).live().exclude(holder=user)
    soonest = rows.order_by(F("expires_at").asc(nulls_last=True), "queued_at")
    return list(soonest.select_related("holder", "database", "request")[: _SHOWN + 1])


def _pace(grants: list[Grant], mine: list[AccessRequest]) -> int:
    """Seconds between two looks: quick while something is being made or undone."""
    if any(grant.status != GrantStatus.ACTIVE for grant in grants):
        return 1
    approved_only = any(
        row.status == RequestStatus.APPROVED and row.extends_id is None and not hasattr(row, "grant") for row in mine
    )
    return 5 if approved_only or any(row.status == RequestStatus.PENDING for row in mine) else 15
