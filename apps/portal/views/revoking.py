"""The big red button: choose, look at how much it is, say why."""

from typing import Any, Final

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods

from apps.accounts.adminsite import person
from apps.accounts.models import User
from apps.accounts.roles import answers_for_all
from apps.catalog.models import Database, Server
from apps.core.errors import Conflict, Invalid, NotAllowed, PortalError
from apps.grants import services as grants
from apps.grants.models import Grant
from apps.grants.revoking import WORD, Affected, Kind
from apps.grants.states import GrantStatus
from apps.portal.forms import RefusableForm
from apps.portal.polling import is_unchanged, state_of

_SHOWN: Final = 100  # lines of what is affected; the numbers count all


class RevokeAllForm(RefusableForm):
    expected = forms.IntegerField()
    reason = forms.CharField(required=False)
    word = forms.CharField(required=False, max_length=20)


@require_http_methods(["GET", "POST"])
def revoke_all(request: HttpRequest) -> HttpResponse:
    """Without a selection the page to choose one; with it what it holds, and on POST the end of that."""
    user = person(request)
    selected = _selected(request)
    if not selected:
        return _choice(request, user)
    if request.method != "POST":
        return _confirm(request, user, selected, RevokeAllForm())
    form = RevokeAllForm(request.POST)
    if form.is_valid():
        try:
            done = grants.revoke_all(actor=user, **form.cleaned_data, **selected)
        except (Conflict, Invalid) as error:
            return _refused(request, user, selected, form, error)
        messages.success(request, _told(done.grants, done.requests))
        return HttpResponseRedirect(f"{reverse('portal:revoke_all')}?{urlencode(_query(selected))}")
    return _confirm(request, user, selected, form, status=422)


def _told(ending: int, refused: int) -> str:
    taken = "1 grant is" if ending == 1 else f"{ending} grants are"
    denied = "1 approved request is" if refused == 1 else f"{refused} approved requests are"
    return f"{taken} being taken away now{f', and {denied} refused' if refused else ''}."


def _selected(request: HttpRequest) -> dict[str, Any]:
    """From the form, or from the address."""
    given = request.POST if request.method == "POST" else request.GET
    named: dict[str, Any] = {kind.value: given[kind] for kind in Kind if given.get(kind)}
    if Kind.EVERYTHING in named:
        named[Kind.EVERYTHING.value] = True
    return named


def _query(selected: dict[str, Any]) -> dict[str, Any]:
    return {name: "yes" if value is True else value for name, value in selected.items()}


def _refused(
    request: HttpRequest, user: User, selected: dict[str, Any], form: RevokeAllForm, error: PortalError
) -> HttpResponse:
    """The page as it is now, with why; the count that was seen is not kept."""
    form.refuse(error)
    return _confirm(request, user, selected, form, status=error.status)


def _choice(request: HttpRequest, user: User) -> HttpResponse:
    if not grants.may_revoke_all(user):
        raise NotAllowed("Access is taken away by database administrators, security and owners of a database.")
    is_for_all = answers_for_all(user)
    living = Grant.objects.filter(status__in=[GrantStatus.QUEUED, GrantStatus.ACTIVE])
    databases = Database.objects.all() if is_for_all else Database.objects.owned_by(user)
    context = {
        "is_for_all": is_for_all,
        "databases": databases.order_by("slug"),
        "servers": Server.objects.order_by("name") if is_for_all else (),
        "holders": User.objects.filter(pk__in=living.values("holder")).order_by("username") if is_for_all else (),
    }
    return render(request, "portal/revoke_all_choice.html", context)


def _confirm(
    request: HttpRequest, user: User, selected: dict[str, Any], form: RevokeAllForm, *, status: int = 200
) -> HttpResponse:
    now: Affected = grants.affected(actor=user, **selected)
    late = now.selection.grants(GrantStatus.ENDING).exclude(problem="").count()
    state = state_of(now.count, now.lines[:_SHOWN], now.ending, late)
    if is_unchanged(request, state):
        return HttpResponse(status=204)
    context = {
        "now": now,
        "lines": now.lines[:_SHOWN],
        "left": max(0, len(now.lines) - _SHOWN),
        "late": late,
        "form": form,
        "selected": _query(selected),
        "needs_word": now.selection.kind is Kind.EVERYTHING,
        "word": WORD,
        "state": state,
    }
    return render(request, "portal/revoke_all.html", context, status=status)
