"""A request: its list, its page, and the decisions on it."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from apps.accounts.adminsite import person
from apps.accounts.models import User
from apps.approvals import services as approvals
from apps.audit import services as audit
from apps.catalog.names import quoted, quoted_column
from apps.console.services import one_off_of, statements_of
from apps.core.errors import NotFound, PortalError
from apps.grants import services as grants
from apps.grants.entitlement import waits
from apps.grants.models import Grant
from apps.grants.services import may_revoke
from apps.grants.states import GrantStatus
from apps.grants.surplus import allowed, withdrawal
from apps.notifications import services as notifications
from apps.portal import limits, words
from apps.portal.agreed import agreed
from apps.portal.context import is_of_all, surroundings
from apps.portal.forms import DecideForm
from apps.portal.longer import LongerForm, Outcome, asked, outcome
from apps.portal.paging import Page, page_of
from apps.portal.polling import is_unchanged, state_of
from apps.portal.reach import reached
from apps.portal.reviewing import ReviewForm, review_of, seen
from apps.portal.telling import tell
from apps.requests import services as requests
from apps.requests.models import AccessRequest
from apps.requests.states import RequestStatus

_TRAIL: Final = 200  # newest entries of one request on its page; the record has them all
_REVOCABLE: Final = (GrantStatus.QUEUED, GrantStatus.ACTIVE)


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """My requests, or with `whose=all` every one that I may see; that is what whoever answers for them begins with."""
    user = person(request)
    everybody = is_of_all(request)
    rows = AccessRequest.objects.visible_to(user) if everybody else AccessRequest.objects.filter(requester=user)
    status = request.GET.get("status", "")
    if status in RequestStatus.values:
        rows = rows.filter(status=status)
    database = request.GET.get("database", "").replace("\0", "")
    if database:
        rows = rows.filter(database__slug=database)
    page: Page[AccessRequest] = page_of(request, rows.select_related("requester", "database", "grant", "extension"))
    context = {
        "page": page,
        "everybody": everybody,
        "status": status,
        "database": database,
        "statuses": RequestStatus.choices,
    }
    return render(request, "portal/requests.html", context)


@require_safe
def inbox(request: HttpRequest) -> HttpResponse:
    """What I could decide now, asked for longest ago first."""
    rows: QuerySet[AccessRequest] = surroundings(request).inbox.select_related("requester", "database")
    page: Page[AccessRequest] = page_of(request, rows)
    edits = surroundings(request).edits
    state = state_of([row.pk for row in page.rows], page.number, [edit.pk for edit in edits])
    if is_unchanged(request, state):
        return HttpResponse(status=204)
    return render(request, "portal/inbox.html", {"page": page, "state": state, "edits": edits})


@require_safe
def show(request: HttpRequest, request_id: str) -> HttpResponse:
    user = person(request)
    row = _visible(user, request_id)
    if not request.headers.get("HX-Request"):
        _read_about(user, row)
    return _page(request, row, DecideForm())


@require_POST
def approve(request: HttpRequest, request_id: str) -> HttpResponse:
    """All of it, or less: fewer tables, rows, columns unmasked, minutes."""
    user = person(request)
    row = _visible(user, request_id)
    form = DecideForm(request.POST)
    if not form.is_valid():
        return _page(request, row, form, status=422)
    minutes = form.cleaned_data["minutes"]
    try:
        approvals.approve(
            actor=user,
            request_id=request_id,
            comment=form.cleaned_data["comment"],
            minutes=None if minutes == row.minutes else minutes,
            **({} if row.extends_id else _part(request, row)),
            seen_digest=form.cleaned_data["seen_digest"],
        )
    except PortalError as error:
        return _refused(request, user, request_id, form, error)
    messages.success(request, "Your yes is recorded.")
    return HttpResponseRedirect(_path(request_id))


@require_POST
def deny(request: HttpRequest, request_id: str) -> HttpResponse:
    user = person(request)
    row = _visible(user, request_id)
    form = DecideForm(request.POST)
    if form.is_valid():
        try:
            approvals.deny(actor=user, request_id=request_id, comment=form.cleaned_data["comment"])
        except PortalError as error:
            return _refused(request, user, request_id, form, error)
        messages.success(request, "Your no is recorded.")
        return HttpResponseRedirect(_path(request_id))
    return _page(request, row, form, status=422)


@require_POST
def extend(request: HttpRequest, grant_id: str) -> HttpResponse:
    """Ask for more time; what was refused comes back on the page of the access."""
    user, form = person(request), LongerForm(request.POST)
    row = _visible(user, _request_of(user, grant_id))
    if form.is_valid():
        try:
            made = grants.extend(actor=user, grant_id=grant_id, **form.cleaned_data)
        except PortalError as error:
            if isinstance(error, NotFound):
                raise
            form.refuse(error)
            return _page(request, row, DecideForm(), more_form=form, status=error.status)
        return HttpResponseRedirect(_path(made.pk))
    return _page(request, row, DecideForm(), more_form=form, status=422)


def _request_of(user: User, grant_id: str) -> str:
    found = Grant.objects.visible_to(user).filter(pk=grant_id) if "\0" not in grant_id else Grant.objects.none()
    request_id = found.values_list("request", flat=True).first()
    if request_id is None:
        raise NotFound("There is no such grant, or it is not yours to see.")
    return str(request_id)


@require_POST
def review(request: HttpRequest, request_id: str) -> HttpResponse:
    """Security's word on access that was taken at once."""
    user = person(request)
    _visible(user, request_id)
    form = ReviewForm(request.POST)
    form.full_clean()
    try:
        approvals.close_review(actor=user, request_id=request_id, **form.cleaned_data)
    except NotFound:
        raise
    except PortalError as error:
        form.refuse(error)
        row = _visible(user, request_id)
        return _page(request, row, DecideForm(), review_form=form, status=error.status)
    messages.success(request, "The review is closed. Its holder and the owners are told.")
    return HttpResponseRedirect(_path(request_id))


@require_POST
def cancel(request: HttpRequest, request_id: str) -> HttpResponse:
    requests.cancel(actor=person(request), request_id=request_id)
    messages.success(request, "You took the request back.")
    return HttpResponseRedirect(_path(request_id))


def _part(request: HttpRequest, row: AccessRequest) -> dict[str, Any]:
    """What of the tables, columns and rows is left; more time has no such parts."""
    scope = row.effective
    return {
        "tables": _less(request, "table", map(quoted, scope.tables)),
        "unmask": _less(request, "unmask", (quoted_column(*one) for one in scope.unmask)),
        "filters": limits.filters_of(request.POST) or None,
    }


def _less(request: HttpRequest, field: str, asked: Iterable[str]) -> list[str] | None:
    """What is still ticked; None where that is everything."""
    kept = request.POST.getlist(field)
    return None if set(kept) == set(asked) else kept


def _path(request_id: str) -> str:
    return reverse("portal:request", args=[request_id])


def _read_about(user: User, row: AccessRequest) -> None:
    """Whoever looks at the page has read what was told about it."""
    grant: Grant | None = getattr(row, "grant", None)
    paths = [_path(row.pk), *([reverse("portal:grant", args=[grant.pk])] if grant else [])]
    if ids := list(notifications.unread(user).filter(path__in=paths).values_list("pk", flat=True)):
        notifications.mark_read(actor=user, ids=ids)


def _visible(user: User, request_id: str) -> AccessRequest:
    shown = ("requester", "database__server", "grant", "extends__grant", "extension", "review__closed_by")
    rows = AccessRequest.objects.visible_to(user).select_related(*shown)
    row = rows.filter(pk=request_id).first() if "\0" not in request_id else None
    if row is None:
        raise NotFound("There is no such request, or it is not yours to see.")
    return row


def _refused(request: HttpRequest, user: User, request_id: str, form: DecideForm, error: PortalError) -> HttpResponse:
    """The page again as it is now, with what was typed and why it was refused."""
    if isinstance(error, NotFound):
        raise error
    form.refuse(error)
    return _page(request, _visible(user, request_id), form, status=error.status)


def _page(
    request: HttpRequest,
    row: AccessRequest,
    form: DecideForm,
    *,
    more_form: LongerForm | None = None,
    review_form: ReviewForm | None = None,
    status: int = 200,
) -> HttpResponse:
    user, around = person(request), surroundings(request)
    grant: Grant | None = getattr(row, "grant", None)
    route = _route(row)
    scope = row.effective
    late = grant is not None and words.is_late(grant, around.now)
    outdated, put_off = _outdated(row), _put_off(row, around.now)
    more, longer = asked(row, grant, user, around.now), outcome(row)
    told = [part.state for part in (more, longer) if part]
    once = one_off_of(row.pk) if row.statement else None
    state = state_of(
        row.status, row.scope_digest, route, _seen(grant), late, (outdated, put_off), told, seen(row, grant), repr(once)
    )
    if is_unchanged(request, state):
        return HttpResponse(status=204)
    subjects = (row.audit_id, *([grant.audit_id] if grant else []))
    trail = audit.latest(limit=_TRAIL + 1, where=audit.Filter(subjects=subjects))[::-1]
    context: dict[str, Any] = {
        "row": row,
        "scope": scope,
        "agreed": agreed(row),
        "reached": reached(grant.evidence, {quoted_column(*one) for one in scope.unmask}) if grant else None,
        "narrowed": row.scope != row.asked_scope,
        "route": route,
        "grant": grant,
        "once": once,
        "statements": statements_of(grant.pk) if grant else 0,
        "late": late,
        "outdated": outdated,
        "put_off": put_off,
        "trail": tell(trail[-_TRAIL:]),
        "trail_is_cut": len(trail) > _TRAIL,
        "form": form,
        **_decision(request, row, form),
        **review_of(user, row, review_form),
        "is_holder": row.requester_id == user.pk,
        "may_cancel": row.requester_id == user.pk and _is_open(row, grant),
        "may_revoke": grant is not None and grant.status in _REVOCABLE and may_revoke(user, grant),
        "more": more,
        "more_form": more_form or LongerForm(),
        "longer": longer,
        "state": state,
        "pace": _pace(row, grant, longer),
    }
    return render(request, "portal/request.html", context, status=status)


def _decision(request: HttpRequest, row: AccessRequest, form: DecideForm) -> dict[str, Any]:
    """What only somebody who may decide sees; a refused decision comes back as it was sent."""
    if not _may_decide(request, row):
        return {"may_decide": False}
    sent = limits.rows_of(request.POST) if form.is_bound else []
    return {
        "may_decide": True,
        "kept": set(request.POST.getlist("table")) if form.is_bound else None,
        "kept_unmask": set(request.POST.getlist("unmask")) if form.is_bound else None,
        "can_limit": limits.can_limit(row),
        "limit_rows": [*sent, *[limits.LimitRow()] * limits.ROWS][: max(limits.ROWS, len(sent) + 1)],
        "limits_sent": len(sent),
        "limit_columns": limits.columns_to_limit(row),
        "operators": words.OPERATORS.items(),
    }


def _route(row: AccessRequest) -> list[dict[str, Any]]:
    """As approvals give it, with where each step stands; names in place of user names."""
    steps = approvals.route_of(row)
    names = {decision.decider.username: decision.decider.name for decision in row.decisions.all()}
    asked = {username for step in steps for username in step["people"]}
    names |= {user.username: user.name for user in User.objects.filter(username__in=asked)} if asked else {}
    waiting = row.status == RequestStatus.PENDING
    for step in steps:
        step["done"] = len(step["approved_by"]) >= step["needed"]
        step["now"] = waiting and not step["done"]
        waiting = waiting and step["done"]
        step["people"] = [names.get(username, username) for username in step["people"]]
        step["names"] = [names.get(username, username) for username in step["approved_by"]]
    return steps


def _put_off(row: AccessRequest, now: datetime) -> bool:
    """Approved, and its requester has to sign in first."""
    return row.status == RequestStatus.APPROVED and not hasattr(row, "grant") and waits(row, now)


def _outdated(row: AccessRequest) -> str:
    """Why this would not be given any more, whoever says yes to it."""
    if row.status != RequestStatus.PENDING:
        return ""
    found = withdrawal(row.effective, allowed(row.database, row.effective.tables))
    return found.reason if found else ""


def _seen(grant: Grant | None) -> tuple[object, ...]:
    if grant is None:
        return ()
    return (
        grant.status,
        grant.expires_at,
        grant.problem,
        grant.drift,
        grant.sessions_live,
        grant.sessions_seen,
        grant.ended_at,
    )


def _is_open(row: AccessRequest, grant: Grant | None) -> bool:
    """Nothing was made of it yet; what starts at once is about to be made, and is given back instead."""
    scheduled = row.status == RequestStatus.APPROVED and row.starts_at is not None
    return grant is None and (scheduled or row.status == RequestStatus.PENDING)


def _may_decide(request: HttpRequest, row: AccessRequest) -> bool:
    return row.status == RequestStatus.PENDING and surroundings(request).inbox.filter(pk=row.pk).exists()


def _pace(row: AccessRequest, grant: Grant | None, longer: Outcome | None) -> int | None:
    """Seconds between two looks; None when nothing will change any more."""
    if longer is not None and row.status == RequestStatus.APPROVED:
        return 1 if longer.is_at_work else None
    if grant is not None:
        return {GrantStatus.QUEUED: 1, GrantStatus.ENDING: 1, GrantStatus.ACTIVE: 5}.get(GrantStatus(grant.status))
    if row.status == RequestStatus.APPROVED:
        return 1 if row.starts_at is None else 5
    return 5 if row.status == RequestStatus.PENDING else None
