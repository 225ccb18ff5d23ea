"""Access that lives, and giving it back."""

from dataclasses import asdict
from typing import Annotated, Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from ninja import Header, Router, Status

from apps.accounts.models import TokenScope, User
from apps.accounts.signing import address_of
from apps.api import represent
from apps.api.auth import Token, user_of
from apps.api.paging import page
from apps.api.routers import requests
from apps.api.schemas import (
    CredentialOut,
    ExtendIn,
    GrantOut,
    GrantPage,
    ReasonIn,
    RequestOut,
    RevokeAllIn,
    RevokeAllOut,
)
from apps.core.errors import Invalid
from apps.grants import services as grants
from apps.grants.models import Grant

router = Router(tags=["grants"])


@router.get("/grants", response=GrantPage, auth=Token(TokenScope.READ))
def list_grants(
    request: HttpRequest, status: str | None = None, cursor: str | None = None, limit: int = 50
) -> dict[str, Any]:
    """Grants that I may see, newest first."""
    rows = _visible(user_of(request))
    if status:
        rows = rows.filter(status=status)
    return page(rows, ["-queued_at", "-id"], cursor=cursor, limit=limit, represent=represent.grant)


@router.post("/grants/revoke", response=RevokeAllOut, auth=Token(TokenScope.APPROVE))
def revoke_all(request: HttpRequest, body: RevokeAllIn) -> dict[str, Any]:
    """Take all access of a person, to a database, on a server, or all there is away, after a dry run has counted it."""
    user = user_of(request)
    selected: dict[str, Any] = {
        "person": body.person,
        "database": body.database,
        "server": body.server,
        "everything": body.everything,
    }
    if body.dry_run:
        return represent.affected(grants.affected(actor=user, **selected))
    expected = body.expected
    if expected is None:
        raise Invalid("Send the count that a dry run has answered as `expected`.", field="expected")
    done = grants.revoke_all(actor=user, reason=body.reason, expected=expected, word=body.word, **selected)
    return {"dry_run": False, "count": done.grants + done.requests, **asdict(done), "affected": None}


@router.get("/grants/{grant_id}", response=GrantOut, auth=Token(TokenScope.READ))
def show(request: HttpRequest, grant_id: str) -> dict[str, Any]:
    """One grant, with what its login can reach."""
    return _shown(user_of(request), grant_id)


@router.post("/grants/{grant_id}/credential", response=CredentialOut, auth=Token(TokenScope.USE))
def credential(request: HttpRequest, response: HttpResponse, grant_id: str) -> dict[str, Any]:
    """The credential of a live grant of my own; the same on each call until the end. Each call is recorded."""
    response["Cache-Control"] = "no-store"
    shown = asdict(grants.credential(actor=user_of(request), grant_id=grant_id, address=address_of(request)))
    return {**shown, "valid_until": represent.moment(shown["valid_until"])}


@router.post("/grants/{grant_id}/credential/reset", response={202: GrantOut}, auth=Token(TokenScope.USE))
def reset_password(request: HttpRequest, grant_id: str) -> Status[dict[str, Any]]:
    """Have the password set again that the portal shows, after I have changed it on the server."""
    user = user_of(request)
    grants.reset_password(actor=user, grant_id=grant_id, address=address_of(request))
    return Status(202, _shown(user, grant_id))


@router.post("/grants/{grant_id}/release", response=GrantOut, auth=Token(TokenScope.USE))
def release(request: HttpRequest, grant_id: str, body: ReasonIn) -> dict[str, Any]:
    """Give my own access back early."""
    user = user_of(request)
    grants.release(actor=user, grant_id=grant_id, reason=body.reason)
    return _shown(user, grant_id)


@router.post("/grants/{grant_id}/extend", response={201: RequestOut}, auth=Token(TokenScope.REQUEST))
def extend(
    request: HttpRequest,
    grant_id: str,
    body: ExtendIn,
    idempotency_key: Annotated[str | None, Header(alias="Idempotency-Key", max_length=255)] = None,
) -> Status[dict[str, Any]]:
    """Ask for more time for live access of my own: a request, decided by the policy or by people as any other."""
    user = user_of(request)
    row = grants.extend(
        actor=user, grant_id=grant_id, minutes=body.minutes, reason=body.reason, idempotency_key=idempotency_key
    )
    return Status(201, requests.shown(user, row.pk))


@router.post("/grants/{grant_id}/revoke", response=GrantOut, auth=Token(TokenScope.APPROVE))
def revoke(request: HttpRequest, grant_id: str, body: ReasonIn) -> dict[str, Any]:
    """Take somebody's access away, with a reason: owners, DBAs and security."""
    user = user_of(request)
    grants.revoke(actor=user, grant_id=grant_id, reason=body.reason)
    return _shown(user, grant_id)


def _visible(user: User) -> Any:
    return Grant.objects.visible_to(user).select_related("holder", "database")


def _shown(user: User, grant_id: str) -> dict[str, Any]:
    return represent.grant(get_object_or_404(_visible(user), pk=grant_id))
