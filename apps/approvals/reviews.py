"""What nobody was asked about beforehand: access at once in an emergency, and the review that follows it.

A review is opened with the request, in one transaction, and stays open on the screens of all who answer for it until
security has said whether the access was right. Nobody reviews their own.
"""

from dataclasses import replace
from datetime import datetime
from typing import Final

from apps.accounts.models import Duty, User
from apps.accounts.roles import is_security, people_with_duty
from apps.approvals.models import Review
from apps.audit import services as audit
from apps.audit.actions import Action
from apps.audit.body import rfc3339
from apps.core import clock
from apps.core.errors import Conflict, Invalid, NotAllowed, NotFound
from apps.core.nudge import nudge
from apps.core.texts import checked
from apps.core.verbs import verb
from apps.requests import services as requests
from apps.requests.asking import Ask
from apps.requests.changes import locked
from apps.requests.models import AccessRequest
from apps.requests.states import RequestStatus

MAX_COMMENT: Final = 2_000


def break_glass(
    *, actor: User, ask: Ask, stepped_up_at: datetime | None, idempotency_key: str | None = None
) -> AccessRequest:
    """Ask for access at once. The answer's status says what became of it: approved, or denied by the policy.

    `stepped_up_at` is when `actor` proved anew who they are (accounts.stepping_up), never what they say about it.
    The same key with the same body returns the first request. Raises StepUpNeeded where that does not count, and what
    submit() does.
    """
    with requests.refusals_recorded(actor, ask):
        asked = replace(ask, break_glass=True)
        return _break_glass(actor=actor, ask=asked, stepped_up_at=stepped_up_at, idempotency_key=idempotency_key)


def close_review(*, actor: User, request_id: str, verdict: str, comment: str) -> Review:
    """Say whether it was right; once, and when the access is over. Raises NotFound, NotAllowed, Conflict, Invalid."""
    try:
        return _close_review(actor=actor, request_id=request_id, verdict=verdict, comment=comment)
    except (NotAllowed, NotFound) as refusal:
        about = ("request", Review, request_id)
        audit.record_attempt(Action.REVIEW_REFUSED, refusal, actor=actor.audit_id, person=actor.name, about=about)
        raise


def may_review(user: User, request: AccessRequest) -> bool:
    return is_security(user) and user.pk != request.requester_id


def has_reviewers(request: AccessRequest) -> bool:
    """Whether anybody could close its review: security may be the one person whose access it is."""
    return people_with_duty(Duty.SECURITY).exclude(pk=request.requester_id).exists()


def is_over(request: AccessRequest) -> bool:
    """Whether its access is proven gone, or never came to be."""
    if AccessRequest.objects.filter(pk=request.pk, grant__isnull=False).exists():
        return AccessRequest.objects.filter(pk=request.pk, grant__ended_at__isnull=False).exists()
    return request.status != RequestStatus.APPROVED


@verb
def _break_glass(
    *, actor: User, ask: Ask, stepped_up_at: datetime | None, idempotency_key: str | None
) -> AccessRequest:
    request = requests.enter(actor=actor, ask=ask, stepped_up_at=stepped_up_at, idempotency_key=idempotency_key)
    if Review.objects.filter(request=request).exists():
        return request  # sent twice: it is the first one
    if request.status == RequestStatus.APPROVED and stepped_up_at is not None:
        review = Review.objects.create(request=request, opened_at=request.submitted_at)
        audit.record(
            Action.REVIEW_OPENED,
            actor=actor.audit_id,
            subject=request.audit_id,
            facts={
                "database": request.database_id,
                "digest": request.scope_digest,
                "minutes": request.minutes,
                "stepped_up_at": rfc3339(stepped_up_at),
                "opened_at": rfc3339(review.opened_at),
            },
            disclosed={"person": actor.name, "reason": request.reason},
        )
    nudge()
    return request


@verb
def _close_review(*, actor: User, request_id: str, verdict: str, comment: str) -> Review:
    comment = checked(comment, what="The comment", field="comment", at_most=MAX_COMMENT, required=True)
    if verdict not in Review.Verdict.values:
        raise Invalid(f"Choose one of these verdicts: {', '.join(Review.Verdict.values)}.", field="verdict")
    request = locked(request_id, actor=actor)  # two reviewers queue up here
    review = Review.objects.select_related("closed_by").filter(request=request).first()
    if review is None:
        raise Conflict("There is nothing to review: no glass was broken for this request.")
    _check_may_close(actor, request, review)
    review.closed_at, review.closed_by = clock.now(), actor
    review.verdict, review.comment = verdict, comment
    review.save(update_fields=["closed_at", "closed_by", "verdict", "comment"])
    audit.record(
        Action.REVIEW_CLOSED,
        actor=actor.audit_id,
        subject=request.audit_id,
        facts={"verdict": verdict, "digest": request.scope_digest, "opened_at": rfc3339(review.opened_at)},
        disclosed={"person": actor.name, "comment": comment},
    )
    nudge()
    return review


def _check_may_close(actor: User, request: AccessRequest, review: Review) -> None:
    if request.requester_id == actor.pk:
        raise NotAllowed("Nobody reviews access of their own; somebody else in security has to look at it.")
    if not is_security(actor):
        raise NotAllowed("A review is closed by security, and you are none of them.")
    if review.closed_by is not None:
        raise Conflict(f"This review is closed already: {review.closed_by.name} called it {review.verdict}.")
    if not is_over(request):
        raise Conflict(
            "This access is not over yet: revoke it, or wait for its end; then say whether it was right, knowing all "
            "of it."
        )
