"""Edits that widen access and wait for a second person: what they would change, and a yes or a no."""

from typing import Final

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from apps.accounts import dual_control
from apps.accounts.adminsite import person
from apps.accounts.models import ProposedEdit, User
from apps.accounts.roles import is_dba, is_security
from apps.core.errors import NotFound, PortalError
from apps.portal.context import surroundings
from apps.portal.forms import EditForm
from apps.portal.paging import Page, page_of

_SHOWN: Final = 500  # lines on the page; a file has all of them
_DONE: Final = {
    "agree": "Agreed: the change is made.",
    "decline": "Declined: nothing is changed.",
    "withdraw": "Withdrawn: nothing is changed.",
}


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """What waits for me or for others, and what became of the rest."""
    user = _minder(request)
    visible, waiting = dual_control.visible_to(user), dual_control.waiting().order_by().values("pk")
    mine = dual_control.waiting_for(user)
    theirs = visible.filter(pk__in=waiting).exclude(pk__in=mine.order_by().values("pk"))
    page: Page[ProposedEdit] = page_of(request, dual_control.in_short(visible.exclude(pk__in=waiting)))
    context = {"mine": dual_control.in_short(mine), "theirs": dual_control.in_short(theirs), "page": page}
    return render(request, "portal/edits.html", context)


@require_safe
def show(request: HttpRequest, edit_id: str) -> HttpResponse:
    return _page(request, _visible(_minder(request), edit_id), EditForm())


@require_safe
def difference(request: HttpRequest, edit_id: str) -> HttpResponse:
    """All lines, as text."""
    edit = _visible(_minder(request), edit_id)
    lines = "\n".join(str(dual_control.Line(*line)) for line in edit.lines)
    return HttpResponse(lines, content_type="text/plain; charset=utf-8")


@require_POST
def decide(request: HttpRequest, edit_id: str, what: str) -> HttpResponse:
    """`what`: agree, decline or withdraw."""
    if what not in _DONE:
        raise NotFound("There is no such page.")
    user = _minder(request)
    edit, form = _visible(user, edit_id), EditForm(request.POST)
    if not form.is_valid():
        return _page(request, edit, form, status=422)
    comment = form.cleaned_data["comment"]
    try:
        if what == "agree":
            dual_control.agree(actor=user, edit_id=edit_id, comment=comment)
        elif what == "decline":
            dual_control.decline(actor=user, edit_id=edit_id, comment=comment)
        else:
            dual_control.withdraw(actor=user, edit_id=edit_id)
    except PortalError as refusal:
        form.refuse(refusal)
        return _page(request, _visible(user, edit_id), form, status=refusal.status)
    messages.success(request, _DONE[what])
    return HttpResponseRedirect(reverse("portal:edits"))


def _page(request: HttpRequest, edit: ProposedEdit, form: EditForm, *, status: int = 200) -> HttpResponse:
    user, now = person(request), surroundings(request).now
    is_open = edit.status == ProposedEdit.Status.WAITING and edit.expires_at > now
    context = {
        "edit": edit,
        "form": form,
        "is_open": is_open,
        "may_decide": is_open and dual_control.waiting_for(user).filter(pk=edit.pk).exists(),
        "lines": edit.lines[:_SHOWN],
        "hidden": len(edit.lines) - _SHOWN,
        "refused_before": _declined_before(edit),
        "is_mine": edit.proposer_id == user.pk,
        "is_about_me": edit.subject == user.audit_id,
        "seconds": list(dual_control.seconds(edit).order_by("username")[:5]) if is_open else [],
    }
    return render(request, "portal/edit.html", context, status=status)


def _declined_before(edit: ProposedEdit) -> list[ProposedEdit]:
    """What of the same was declined: whoever is asked next should know."""
    same = ProposedEdit.objects.filter(verb=edit.verb, about=edit.about, status=ProposedEdit.Status.DECLINED)
    earlier = same.filter(decided_at__lt=edit.proposed_at, decided_at__gte=edit.proposed_at - dual_control.WAITS)
    return list(earlier.select_related("decided_by").defer("arguments", "difference").order_by("-decided_at")[:3])


def _minder(request: HttpRequest) -> User:
    """The emergency administrator as well: they cannot agree, but put edits and take them back."""
    user = person(request)
    if not is_dba(user) and not is_security(user):
        raise Http404("There is no such page.")
    return user


def _visible(user: User, edit_id: str) -> ProposedEdit:
    found = None if "\0" in edit_id else dual_control.visible_to(user).filter(pk=edit_id).first()
    if found is None:
        raise NotFound("There is no such edit.")
    return found
