"""Refusals as pages: a sentence, and a way on."""

from http import HTTPStatus
from typing import Final

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template import loader
from django_htmx.http import reswap, retarget

from apps.api import problems
from apps.core.errors import NotAllowed, NotFound, PortalError

_NOT_FOUND: Final = "There is nothing here, or it is not for you to see."
_TOO_LARGE: Final = "This is more than the portal reads at once. Ask for whole schemas, or for less in one request."
_BROKEN: Final = (
    "The portal could not finish this. Whatever it was doing is either done or not begun: look before you try again."
)
_FORGED: Final = (
    "This form was open for too long, or your browser sent no cookie with it. Nothing was changed: "
    "go back, load the page again and send it once more."
)


def refused(request: HttpRequest, error: PortalError) -> HttpResponse:
    """What somebody sees whose verb refused. A fragment goes where messages stand, and the page stays as it is."""
    context = {"error": error}
    if request.headers.get("HX-Request"):
        response = render(request, "portal/refusal.html", context, status=error.status)
        return reswap(retarget(response, "#messages"), "innerHTML")
    return render(request, "portal/error.html", context, status=error.status)


@login_not_required
def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return refused(request, NotAllowed(_FORGED))


@login_not_required
def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path.startswith("/api/"):
        return problems.response(404, NotFound.title, _NOT_FOUND)
    return refused(request, NotFound(_NOT_FOUND))


@login_not_required
def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    sentence = str(exception) if isinstance(exception, PermissionDenied) else ""
    return refused(request, NotAllowed(sentence or "This is not for you to see or do."))


@login_not_required
def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Refused unread. Asks nothing of the request: it may be forged altogether."""
    too_large = isinstance(exception, RequestDataTooBig)
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE if too_large else HTTPStatus.BAD_REQUEST
    sentence = _TOO_LARGE if too_large else "This request cannot be read."
    if request.path.startswith("/api/"):
        return problems.response(status, status.phrase, sentence)
    return HttpResponse(sentence, status=status, content_type="text/plain; charset=utf-8")


@login_not_required
def server_error(request: HttpRequest) -> HttpResponse:
    """Asks nothing of the database: it may be what is broken."""
    if request.path.startswith("/api/"):
        return problems.response(500, "Something went wrong", _BROKEN)
    return HttpResponse(loader.get_template("portal/broken.html").render(), status=500)
