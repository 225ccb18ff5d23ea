"""Lists as {"items": […], "next": cursor | null}. A cursor is where the last page stopped, not a number of rows."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db import DataError
from django.db.models import Model, Q, QuerySet

from apps.core.errors import Invalid

MAX_LIMIT = 1000
_FORGED = "This cursor is not one that a list gave out."
M = TypeVar("M", bound=Model)


def page(
    rows: QuerySet[M], order: Sequence[str], *, cursor: str | None, limit: int, represent: Callable[[M], dict[str, Any]]
) -> dict[str, Any]:
    """One page of `rows` by keyset over `order` (field names, `-` for descending; the last one is unique)."""
    if not 1 <= limit <= MAX_LIMIT:
        raise Invalid(f"limit must be between 1 and {MAX_LIMIT}.", field="limit")
    found = _read(rows, order, cursor=cursor, limit=limit + 1)
    more, found = len(found) > limit, found[:limit]
    next_cursor = _encode([getattr(found[-1], name.lstrip("-")) for name in order]) if more else None
    return {"items": [represent(row) for row in found], "next": next_cursor}


def _read(rows: QuerySet[M], order: Sequence[str], *, cursor: str | None, limit: int) -> list[M]:
    if not cursor:
        return list(rows.order_by(*order)[:limit])
    values = _decode(cursor, len(order))
    try:
        return list(rows.filter(_after(order, values)).order_by(*order)[:limit])
    # What its column does not take: no time, one beyond the calendar, half a character.
    except (ValidationError, ValueError, OverflowError, DataError) as error:
        raise Invalid(_FORGED, field="cursor") from error


def _after(order: Sequence[str], values: Sequence[str]) -> Q:
    condition, equal = Q(), Q()
    for name, value in zip(order, values, strict=True):
        field, step = name.lstrip("-"), "lt" if name.startswith("-") else "gt"
        condition |= equal & Q(**{f"{field}__{step}": value})
        equal &= Q(**{field: value})
    return condition


def _encode(values: Sequence[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps([str(value) for value in values]).encode()).decode().rstrip("=")


def _decode(cursor: str, length: int) -> list[str]:
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError) as error:
        raise Invalid(_FORGED, field="cursor") from error
    if not (isinstance(values, list) and len(values) == length and all(isinstance(value, str) for value in values)):
        raise Invalid(_FORGED, field="cursor")
    return values
