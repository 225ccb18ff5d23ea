"""Access that lives: its list, its credential, and the ways to end it early."""

from typing import Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_GET, require_http_methods, require_POST, require_safe

from apps.accounts.adminsite import person
from apps.accounts.models import User
from apps.accounts.signing import address_of
from apps.console import services as console
from apps.console.errors import Unavailable
from apps.core.errors import NotFound
from apps.grants import services as grants
from apps.grants.models import Grant
from apps.grants.states import LIVE
from apps.portal.context import is_of_all
from apps.portal.paging import Page, page_of
from apps.portal.reach import reached

_STATES: Final = {"live": "live", "over": "over", "": "all"}


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """My grants, or with `whose=all` every one that I may see; that is what whoever answers for them begins with."""
    user = person(request)
    everybody = is_of_all(request)
    rows = Grant.objects.visible_to(user) if everybody else Grant.objects.filter(holder=user)
    state = request.GET.get("state", "")
    if state == "live":
        rows = rows.filter(status__in=LIVE)
    elif state == "over":
        rows = rows.exclude(status__in=LIVE)
    page: Page[Grant] = page_of(request, rows.select_related("holder", "database", "request"))
    context = {"page": page, "everybody": everybody, "state": state, "states": _STATES}
    return render(request, "portal/grants.html", context)


@require_GET
def show(request: HttpRequest, grant_id: str) -> HttpResponse:
    """A grant has no page of its own: it is part of its request's."""
    return HttpResponseRedirect(_path(_visible(person(request), grant_id)))


@sensitive_variables("shown")
@require_http_methods(["GET", "POST"])
def credential(request: HttpRequest, grant_id: str) -> HttpResponse:
    """Each showing is recorded, so that it takes a button; coming back by the address shows the request."""
    user = person(request)
    grant = _visible(user, grant_id)
    if request.method != "POST":
        return HttpResponseRedirect(_path(grant))
    shown = grants.credential(actor=user, grant_id=grant_id, address=address_of(request))
    ways = grants.ways(shown, service=grant.database.slug)
    context = {"grant": grant, "shown": shown, "ways": ways, "reached": reached(grant.evidence)}
    response = render(request, "portal/credential.html", context)
    response["Cache-Control"] = "no-store"
    return response


@require_POST
def login(request: HttpRequest, grant_id: str) -> HttpResponse:
    """Whether the target lets the login in with the password that is shown; its holder may have changed it there."""
    grant = _visible(person(request), grant_id)
    problem, offers_reset = "", False
    try:
        console.check_login(actor=person(request), grant_id=grant_id)
    except Unavailable as error:
        problem, offers_reset = error.sentence, error.offers_reset
    context = {"grant": grant, "problem": problem, "offers_reset": offers_reset}
    return render(request, "portal/login_check.html", context)


@require_POST
def reset(request: HttpRequest, grant_id: str) -> HttpResponse:
    user = person(request)
    grant = _visible(user, grant_id)
    grants.reset_password(actor=user, grant_id=grant_id, address=address_of(request))
    messages.success(request, "The password that the portal shows is being set again. It takes a moment.")
    return HttpResponseRedirect(_path(grant))


@require_POST
def release(request: HttpRequest, grant_id: str) -> HttpResponse:
    user = person(request)
    grant = _visible(user, grant_id)
    grants.release(actor=user, grant_id=grant_id, reason=request.POST.get("reason", ""))
    messages.success(request, "Thank you: you gave the access back. Its sessions are being cut.")
    return HttpResponseRedirect(_path(grant))


@require_POST
def revoke(request: HttpRequest, grant_id: str) -> HttpResponse:
    user = person(request)
    grant = _visible(user, grant_id)
    grants.revoke(actor=user, grant_id=grant_id, reason=request.POST.get("reason", ""))
    messages.success(request, "The access is revoked. Its sessions are being cut.")
    return HttpResponseRedirect(_path(grant))


def _visible(user: User, grant_id: str) -> Grant:
    rows = Grant.objects.visible_to(user).select_related("database", "server")
    grant = rows.filter(pk=grant_id).first() if "\0" not in grant_id else None
    if grant is None:
        raise NotFound("There is no such grant, or it is not yours to see.")
    return grant


def _path(grant: Grant) -> str:
    return reverse("portal:request", args=[grant.request_id])
