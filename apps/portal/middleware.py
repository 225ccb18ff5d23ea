"""Around every page: who may see it, in which time zone it speaks, that nobody keeps a copy, how a refusal looks."""

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import resolve_url
from django.utils import timezone
from django_htmx.http import HttpResponseClientRedirect

from apps.accounts.roles import is_welcome
from apps.accounts.signing import sign_out
from apps.core.errors import PortalError
from apps.portal.views.errors import not_found, refused

# The API has tokens of its own; the rest of the way in is marked with Django's `login_not_required`.
_OPEN: Final = ("/healthz", "/metrics", "/api/")
# Here others turn addresses into queries, and would fail over a NUL; our own pages say what is wrong with it.
_NO_NUL: Final = ("/api/", "/admin/")


class PortalMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with timezone.override(_zone_of(request)):
            response = self.get_response(request)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    def process_view(
        self, request: HttpRequest, view: Callable[..., HttpResponse], args: Any, kwargs: Any
    ) -> HttpResponse | None:
        if _holds_nul(request):
            return not_found(request, Http404())
        if request.path.startswith(_OPEN):
            return None
        if request.user.is_authenticated and not is_welcome(request.user):
            sign_out(request)
        if request.user.is_authenticated or not getattr(view, "login_required", True):
            return None
        return _to_the_door(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        return refused(request, exception) if isinstance(exception, PortalError) else None


def _holds_nul(request: HttpRequest) -> bool:
    """PostgreSQL keeps no NUL, so an address with one leads nowhere."""
    in_query = request.path.startswith(_NO_NUL) and "%00" in request.META["QUERY_STRING"]
    return in_query or "\0" in request.path


def _zone_of(request: HttpRequest) -> ZoneInfo:
    """An unknown name is no reason to fail: whoever has one sees UTC, and that it is UTC."""
    try:
        return ZoneInfo(getattr(request.user, "time_zone", "UTC"))
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def _to_the_door(request: HttpRequest) -> HttpResponse:
    # A form cannot be posted again from there, so that only pages are come back to.
    wanted = f"?{urlencode({'next': request.get_full_path()})}" if request.method == "GET" else ""
    door = resolve_url("account_login")
    if request.headers.get("HX-Request"):
        return HttpResponseClientRedirect(door)
    return HttpResponseRedirect(f"{door}{wanted}")
