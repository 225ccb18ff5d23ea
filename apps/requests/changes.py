"""What the verbs on requests share, here and in apps.approvals: to be called inside a verb's transaction."""

import json
from typing import Final

from apps.accounts.models import User
from apps.audit.canonical import Json
from apps.catalog.names import quoted, quoted_column
from apps.core import clock
from apps.core.errors import NotFound
from apps.core.states import require
from apps.requests.models import AccessRequest
from apps.requests.scope import EffectiveScope
from apps.requests.states import TRANSITIONS, RequestStatus

_LISTED: Final = 200  # names of tables and columns
_LISTED_BYTES: Final = 24_000  # a body of the record holds 64 KiB


def locked(request_id: str, *, actor: User | None = None) -> AccessRequest:
    """The request, its row locked until the transaction ends. Raises NotFound, also for what `actor` may not see."""
    seen = AccessRequest.objects.visible_to(actor) if actor else AccessRequest.objects.all()
    if "\0" in request_id or not seen.filter(pk=request_id).exists():
        raise NotFound("There is no such request, or it is not yours to see.")
    return AccessRequest.objects.select_for_update(no_key=True).get(pk=request_id)


def scope_facts(scope: EffectiveScope) -> dict[str, Json]:
    """A scope for the record: tables and columns by name where they are few, otherwise their number and the digest.

    What rows it is limited to may tell something about people: see scope_texts().
    """
    masked = [f"{quoted_column(table, column)}: {mask}" for table, column, mask in scope.masked()]
    facts: dict[str, Json] = {
        "database": scope.database,
        "level": scope.level.value,
        "connection": scope.connection,
        "minutes": scope.minutes,
        "starts_at": scope.starts_at,
        "table_count": len(scope.tables),
        "unmask_count": len(scope.unmask),
        "view_count": len(scope.views),
        "masked_count": len(masked),
        "filter_count": sum(len(view.filters) for view in scope.views),
        "digest": scope.digest(),
    }
    if scope.statement:
        facts |= {"statement": True, "expected_rows": scope.expected_rows}
    tables = [quoted(table) for table in scope.tables]
    unmask = [quoted_column(table, column) for table, column in scope.unmask]
    if _is_short([*tables, *unmask]):
        facts |= {"tables": tables, "unmask": unmask}
        if _is_short([*tables, *unmask, *masked]):
            facts["masked"] = masked
    return facts


def scope_texts(scope: EffectiveScope) -> dict[str, str]:
    """What of a scope the record only commits to."""
    lines = [f"{quoted(view.table)}: {one}" for view in scope.views for one in view.filters]
    texts = {"filters": "\n".join(lines)} if lines else {}
    return texts | ({"statement": scope.statement} if scope.statement else {})


def _is_short(names: list[str]) -> bool:
    return len(names) <= _LISTED and len(json.dumps(names, ensure_ascii=False).encode()) <= _LISTED_BYTES


def close(request: AccessRequest, status: RequestStatus, reason: str) -> None:
    """`reason` is a sentence for the requester. Raises Conflict."""
    request.closed_at, request.closed_reason = clock.now(), reason
    move(request, status)


def move(request: AccessRequest, status: RequestStatus) -> None:
    """Raises Conflict unless `status` may follow."""
    require(TRANSITIONS, old=request.status, new=status, noun="request")
    request.status = status
    request.save(update_fields=["status", "closed_at", "closed_reason"])
