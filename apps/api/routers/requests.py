"""Asking, and deciding."""

from typing import Annotated, Any, Literal

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Header, Router, Status

from apps.accounts.models import TokenScope, User
from apps.api import represent
from apps.api.auth import Token, user_of
from apps.api.paging import page
from apps.api.schemas import (
    CommentIn,
    DecisionIn,
    PreviewOut,
    RequestIn,
    RequestOut,
    RequestPage,
    ReviewIn,
    ReviewPage,
)
from apps.approvals import services as approvals
from apps.approvals.models import Review
from apps.requests import services as requests
from apps.requests.models import AccessRequest

router = Router(tags=["requests"])

_OF_REVIEW = ("request__requester", "request__database", "request__grant")


@router.post("/requests/preview", response=PreviewOut, auth=Token(TokenScope.READ))
def preview(request: HttpRequest, body: RequestIn) -> dict[str, Any]:
    """What would happen if this were submitted now: the very function that will decide."""
    return represent.preview(requests.preview(actor=user_of(request), ask=_ask(body)))


@router.post("/requests", response={201: RequestOut}, auth=Token(TokenScope.REQUEST))
def submit(
    request: HttpRequest,
    body: RequestIn,
    idempotency_key: Annotated[str | None, Header(alias="Idempotency-Key", max_length=255)] = None,
) -> Status[dict[str, Any]]:
    """Ask for access. With the same Idempotency-Key the same request is answered again."""
    user = user_of(request)
    row = requests.submit(actor=user, ask=_ask(body), idempotency_key=idempotency_key)
    return Status(201, shown(user, row.pk))


@router.get("/requests", response=RequestPage, auth=Token(TokenScope.READ))
def list_requests(
    request: HttpRequest, status: str | None = None, cursor: str | None = None, limit: int = 50
) -> dict[str, Any]:
    """Requests that I may see, newest first."""
    rows = _visible(user_of(request)).prefetch_related("decisions__decider")
    if status:
        rows = rows.filter(status=status)

    def brief(row: AccessRequest) -> dict[str, Any]:
        return represent.request(row, live=False)

    return page(rows, ["-submitted_at", "-id"], cursor=cursor, limit=limit, represent=brief)


@router.get("/requests/{request_id}", response=RequestOut, auth=Token(TokenScope.READ))
def show(request: HttpRequest, request_id: str) -> dict[str, Any]:
    """One request."""
    return shown(user_of(request), request_id)


@router.post("/requests/{request_id}/approve", response=RequestOut, auth=Token(TokenScope.APPROVE))
def approve(request: HttpRequest, request_id: str, body: DecisionIn) -> dict[str, Any]:
    """Say yes, to all of it or to less (fewer tables, columns, rows, minutes)."""
    user = user_of(request)
    approvals.approve(actor=user, request_id=request_id, **body.dict())
    return shown(user, request_id)


@router.post("/requests/{request_id}/deny", response=RequestOut, auth=Token(TokenScope.APPROVE))
def deny(request: HttpRequest, request_id: str, body: CommentIn) -> dict[str, Any]:
    """Say no, with a comment."""
    user = user_of(request)
    approvals.deny(actor=user, request_id=request_id, comment=body.comment)
    return shown(user, request_id)


@router.post("/requests/{request_id}/review", response=RequestOut, auth=Token(TokenScope.APPROVE))
def review(request: HttpRequest, request_id: str, body: ReviewIn) -> dict[str, Any]:
    """Close the review of access that was taken at once, with a verdict: security, and never the holder."""
    user = user_of(request)
    approvals.close_review(actor=user, request_id=request_id, verdict=body.verdict, comment=body.comment)
    return shown(user, request_id)


@router.get("/reviews", response=ReviewPage, auth=Token(TokenScope.READ))
def list_reviews(
    request: HttpRequest, status: Literal["open", "closed", "all"] = "open", cursor: str | None = None, limit: int = 50
) -> dict[str, Any]:
    """Reviews that I may see; those that are open, unless asked otherwise."""
    rows = Review.objects.visible_to(user_of(request)).select_related("closed_by", *_OF_REVIEW)
    if status != "all":
        rows = rows.filter(closed_at__isnull=status == "open")
    return page(rows, ["opened_at", "request_id"], cursor=cursor, limit=limit, represent=represent.review_line)


@router.post("/requests/{request_id}/cancel", response=RequestOut, auth=Token(TokenScope.REQUEST))
def cancel(request: HttpRequest, request_id: str, body: CommentIn) -> dict[str, Any]:
    """Take back a request of my own that still waits."""
    user = user_of(request)
    requests.cancel(actor=user, request_id=request_id, comment=body.comment)
    return shown(user, request_id)


def _ask(body: RequestIn) -> requests.Ask:
    values = body.dict()
    return requests.Ask(**{**values, "tables": tuple(values["tables"]), "unmask": tuple(values["unmask"])})


def _visible(user: User) -> Any:
    rows = AccessRequest.objects.visible_to(user)
    shown = ("requester", "database", "grant", "extends__grant", "extension", "review__closed_by")
    return rows.select_related(*shown)


def shown(user: User, request_id: str) -> dict[str, Any]:
    """One request, if the user may see it."""
    return represent.request(get_object_or_404(_visible(user), pk=request_id))
