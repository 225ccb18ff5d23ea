"""Access that was taken at once, on the pages: its review, and the form that closes it."""

from dataclasses import dataclass
from typing import Any

from django import forms

from apps.accounts.models import Duty, User
from apps.accounts.roles import people_with_duty
from apps.approvals.models import Review
from apps.approvals.reviews import has_reviewers, is_over, may_review
from apps.grants.models import Grant
from apps.portal.forms import RefusableForm
from apps.requests.models import AccessRequest


class ReviewForm(RefusableForm):
    """A verdict, and what is said about it."""

    verdict = forms.CharField(required=False)
    comment = forms.CharField(required=False)


@dataclass(frozen=True)
class OpenReview:
    """An open review as the banner tells it to one person."""

    review: Review
    is_mine: bool  # access of the reader's own
    to_close: bool  # the reader is security, and it is somebody else's
    has_reviewers: bool


def open_reviews(user: User, *, at_most: int) -> list[OpenReview]:
    """What concerns `user`, opened longest ago first; one more than `at_most` where there are more."""
    rows = Review.objects.opened().concerning(user).select_related("request__requester", "request__database")
    found = list(rows.order_by("opened_at")[: at_most + 1])
    security = set(people_with_duty(Duty.SECURITY).values_list("pk", flat=True)) if found else set()
    return [
        OpenReview(
            review=row,
            is_mine=row.request.requester_id == user.pk,
            to_close=user.pk in security and row.request.requester_id != user.pk,
            has_reviewers=bool(security - {row.request.requester_id}),
        )
        for row in found
    ]


def review_of(user: User, row: AccessRequest, form: ReviewForm | None) -> dict[str, Any]:
    """Context of a request's page; empty where no glass was broken."""
    review: Review | None = getattr(row, "review", None)
    if review is None:
        return {}
    is_open = review.closed_at is None
    return {
        "review": review,
        "review_form": form,
        "verdicts": Review.Verdict.choices,
        "may_review": is_open and may_review(user, row),
        "review_is_due": is_open and is_over(row),
        "has_reviewers": not is_open or has_reviewers(row),
    }


def seen(row: AccessRequest, grant: Grant | None) -> tuple[object, ...]:
    """What a page that follows the request shows of it."""
    review: Review | None = getattr(row, "review", None)
    return () if review is None else (review.closed_at, grant and grant.ended_at)
