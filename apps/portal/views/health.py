"""Whether the portal is alive, and how it does, for machines."""

from secrets import compare_digest
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST

from apps.accounts.roles import answers_for_all
from apps.grants import services as grants
from apps.portal.figures import detail
from apps.portal.metrics import exposition


@login_not_required
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """200 when the portal, its database, a clock and a worker are alive; else 503 and what is not, in sentences.

    `detail` changes nothing about that: access that is late is no reason to take the portal out of service.
    """
    health = grants.health()
    body = {"ok": health.ok, "problems": list(health.problems), "detail": _detail(request)}
    return JsonResponse(body, status=200 if health.ok else 503)


@login_not_required
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """For Prometheus, by the bearer token of the settings; without one there is no such page."""
    if not settings.METRICS_TOKEN:
        raise Http404
    if not _bears_token(request):
        return _plain("Send the token of JITPORTAL_METRICS_TOKEN as a bearer.\n", 401, {"WWW-Authenticate": "Bearer"})
    try:
        return HttpResponse(exposition(), content_type=CONTENT_TYPE_LATEST)
    except DatabaseError:
        return _plain("The portal's database does not answer.\n", 503)


def _detail(request: HttpRequest) -> dict[str, Any]:
    try:
        return detail(in_full=_bears_token(request) or answers_for_all(request.user))
    except DatabaseError:
        return {}  # which is among the problems


def _bears_token(request: HttpRequest) -> bool:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    wanted: str = settings.METRICS_TOKEN
    return bool(wanted) and scheme.lower() == "bearer" and compare_digest(token.strip().encode(), wanted.encode())


def _plain(text: str, status: int, headers: dict[str, str] | None = None) -> HttpResponse:
    return HttpResponse(text, status=status, headers=headers, content_type="text/plain; charset=utf-8")
