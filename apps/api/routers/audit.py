"""The record, for auditors."""

import base64
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Query, Router

from apps.accounts.models import TokenScope, User
from apps.accounts.roles import answers_for_record, is_auditor
from apps.api.auth import Token, user_of
from apps.api.paging import MAX_LIMIT
from apps.api.represent import moment
from apps.api.schemas import BreakOut, BreakPage, CheckpointOut, EntryPage, ReasonIn
from apps.audit import services as audit
from apps.audit import trail
from apps.audit.models import RecordBreak
from apps.audit.signing import facts_of, open_breaks
from apps.core.errors import NotAllowed
from apps.grants import record_break

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
    """The newest signed checkpoint: `note`, and the size and the hash that it signs."""
    audit.read_recorded(_auditor(request).audit_id)
    return dict(trail.signed_checkpoint())


@router.get("/audit/breaks", response=BreakPage, auth=Token(TokenScope.READ))
def breaks(request: HttpRequest) -> dict[str, Any]:
    """Open ones, while which nothing is signed: for auditors, administrators of databases and security."""
    user = user_of(request)
    if not answers_for_record(user):
        raise NotAllowed("Breaks of the record are for auditors, database administrators and security.")
    return {"items": [_break(found) for found in open_breaks()], "next": None}


@router.post("/audit/breaks/{break_id}/confirm", response=BreakOut, auth=Token(TokenScope.APPROVE))
def confirm_break(request: HttpRequest, break_id: str, body: ReasonIn) -> dict[str, Any]:
    """Be the second of two: after the operator has proposed it on the server, in another person's name."""
    return _break(record_break.confirm(actor=user_of(request), break_id=break_id, reason=body.reason))


def _break(found: RecordBreak) -> dict[str, Any]:
    said = {"id": found.pk, "found_at": moment(found.found_at), "proposed": bool(record_break.proposed_by(found))}
    return said | facts_of(found)


def _auditor(request: HttpRequest) -> User:
    user = user_of(request)
    if not is_auditor(user):
        raise NotAllowed("The record is for auditors. Ask security for a copy of what concerns you.")
    return user
