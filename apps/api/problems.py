"""Errors as RFC 9457 problem+json."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpResponse, JsonResponse


def response(
    status: int,
    title: str,
    detail: str,
    *,
    field: str = "",
    errors: list[Any] | None = None,
    more: Mapping[str, object] | None = None,
) -> HttpResponse:
    """`detail` is the sentence for a person; `field` names the input it is about; `more` is for programs."""
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "detail": detail, **(more or {})}
    if field:
        body["field"] = field
    if errors:
        body["errors"] = errors
    return JsonResponse(body, status=status, content_type="application/problem+json")


def of_validation(errors: list[dict[str, Any]]) -> HttpResponse:
    """What the schema refused, a line each; input values are not echoed."""
    lines = [{"field": _field(error), "detail": str(error.get("msg", "not valid"))} for error in errors]
    detail = "; ".join(f"{line['field']}: {line['detail']}" if line["field"] else line["detail"] for line in lines)
    field = lines[0]["field"] if lines else ""
    return response(422, "This cannot be asked for", detail or "The body is not valid.", field=field, errors=lines)


def _field(error: dict[str, Any]) -> str:
    # ("body", "body", "tables", 0): where ninja found it; the first parts name the source and the parameter.
    location = [str(part) for part in error.get("loc", ())]
    source = location[:1]
    rest = location[2:] if source == ["body"] else location[1:]
    return ".".join(rest)
