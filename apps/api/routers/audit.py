"""The record, for auditors."""

import base64
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Query, Router

from apps.accounts.models import TokenScope, User
from apps.accounts.roles import is_auditor
from apps.api.auth import Token, user_of
from apps.api.paging import MAX_LIMIT
from apps.api.represent import moment
from apps.api.schemas import CheckpointOut, EntryPage
from apps.audit import services as audit
from apps.audit import trail
from apps.core.errors import NotAllowed

router = Router(tags=["audit"])


@router.get("/audit/entries", response=EntryPage, auth=Token(TokenScope.AUDIT))
def entries(
    request: HttpRequest,
    after: Annotated[int, Query(ge=-1, le=2**62)] = -1,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = 200,
) -> dict[str, Any]:
    """Sealed entries in order; `after` is the index of the last one already seen."""
    reader = _auditor(request)
    audit.read_recorded(reader.audit_id)
    found = trail.entries(after=after, limit=limit)
    items = [
        {
            "index": entry.index,
            "recorded_at": moment(entry.recorded_at),
            "recorded_by": entry.recorded_by,
            "body": base64.b64encode(entry.body).decode("ascii"),
            "hash": entry.hash.hex(),
            "disclosed": dict(entry.disclosed),
        }
        for entry in found
    ]
    return {"items": items, "next": str(found[-1].index) if len(found) == limit else None}


@router.get("/audit/checkpoint", response=CheckpointOut, auth=Token(TokenScope.AUDIT))
def checkpoint(request: HttpRequest) -> dict[str, Any]:
    """Size and head of the record."""
    audit.read_recorded(_auditor(request).audit_id)
    return dict(trail.checkpoint())


def _auditor(request: HttpRequest) -> User:
    user = user_of(request)
    if not is_auditor(user):
        raise NotAllowed("The record is for auditors. Ask security for a copy of what concerns you.")
    return user
