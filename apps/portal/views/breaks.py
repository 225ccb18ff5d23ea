"""Breaks of the record: an anchor has seen another history. Going on takes two people; the second says so here."""

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from apps.accounts.adminsite import person
from apps.accounts.models import User
from apps.audit.models import RecordBreak
from apps.audit.signing import open_breaks
from apps.core.errors import NotFound, PortalError
from apps.grants import record_break
from apps.portal.context import surroundings
from apps.portal.forms import BreakForm


@require_safe
def show(request: HttpRequest, break_id: str) -> HttpResponse:
    return _page(request, _visible(request, break_id), BreakForm())


@require_POST
def confirm(request: HttpRequest, break_id: str) -> HttpResponse:
    found, form = _visible(request, break_id), BreakForm(request.POST)
    if not form.is_valid():
        return _page(request, found, form, status=422)
    try:
        record_break.confirm(actor=person(request), break_id=found.pk, reason=form.cleaned_data["reason"])
    except PortalError as refusal:
        form.refuse(refusal)
        return _page(request, found, form, status=refusal.status)
    messages.success(request, "Confirmed: a worker signs again within a minute, when no other break is open.")
    return HttpResponseRedirect(reverse("portal:break", args=[found.pk]))


def _page(request: HttpRequest, found: RecordBreak, form: BreakForm, *, status: int = 200) -> HttpResponse:
    user, is_open = person(request), found.confirmed_at is None
    proposal, two = (record_break.proposal(found), record_break.agreed_by(found)) if is_open else (None, None)
    may_confirm = (
        surroundings(request).may_second and proposal is not None and proposal.facts.get("by") != user.audit_id
    )
    context = {
        "found": found,
        "form": form,
        "is_open": is_open,
        "proposal": proposal,
        "second": two[1] if two else None,
        "agreed": _names(found),
        "may_confirm": two is None and may_confirm,
        "has_duty": surroundings(request).may_second,
        "lost": max(0, found.size_there - found.size_here),
        "others": [other for other in open_breaks() if other.pk != found.pk],
    }
    return render(request, "portal/break.html", context, status=status)


def _names(found: RecordBreak) -> list[str]:
    """Of the two who have agreed, as they are called now."""
    ids = [one.removeprefix("user:") for one in found.confirmed_by.split()]
    return [one.name for one in User.objects.filter(pk__in=ids).order_by("username")]


def _visible(request: HttpRequest, break_id: str) -> RecordBreak:
    """For those who answer for the record; for everybody else there is no such page."""
    if not surroundings(request).answers_for_record:
        raise Http404("There is no such page.")
    found = None if "\0" in break_id else RecordBreak.objects.filter(pk=break_id).first()
    if found is None:
        raise NotFound("There is no such break of the record.")
    return found
