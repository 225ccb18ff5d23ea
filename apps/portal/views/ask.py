"""Asking for access: the form, the search for tables, and what would happen, before it does."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Final
from urllib.parse import urlencode

from django.conf import settings
from django.db.models import BooleanField, Exists, ExpressionWrapper, OuterRef, Prefetch, prefetch_related_objects
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.accounts.adminsite import person
from apps.accounts.models import User
from apps.accounts.stepping_up import StepUpNeeded, stepped_up_at
from apps.approvals import services as approvals
from apps.catalog.models import Column, Database, DatabaseQuerySet, is_masked
from apps.catalog.names import quoted, quoted_column, quoted_part
from apps.catalog.tables import PAGE, SchemaSummary, schemas_of, search
from apps.core.errors import PortalError
from apps.core.ids import new_id
from apps.engines.base import TableName
from apps.policies.facts import Outcome
from apps.portal import words
from apps.portal.forms import CONNECTIONS, PRESETS, AskForm
from apps.portal.masked import Masking, masking_of
from apps.requests import services as requests
from apps.requests.models import AccessRequest
from apps.requests.services import Ask

_CARDS: Final = 8  # more databases than this are a list to choose from
_SCHEMAS: Final = 8  # shown above what was found
_LAST_OFFSET: Final = 1_000_000
_ONCE: Final = 40  # letters
_DRAFT: Final = "ask_draft"  # in the session: the fields, urlencoded


@dataclass(frozen=True)
class Pick:
    """A table as the form shows it. While it is `paused` it cannot be asked for; then this says why."""

    name: str
    rows: int
    columns: int
    masked: tuple[str, ...]
    paused: str


@dataclass(frozen=True)
class Choice:
    """A whole schema."""

    name: str
    pattern: str
    tables: int
    masked: int  # tables with a masked column


@require_http_methods(["GET", "HEAD", "POST"])
def ask(request: HttpRequest) -> HttpResponse:
    """The form. Its buttons: `submit`, and for pages without scripts `check` and `search`."""
    user = person(request)
    if request.method != "POST":
        return _from_draft(request, user) or _page(request, AskForm(initial=_initial(user, request.GET)))
    form = AskForm(request.POST)
    wanted = request.POST.get("do", "check")
    if wanted == "search":
        return _page(request, form, quiet=True)
    if wanted == "check":
        found = _preview(user, form, draft=True)
        if found and not form.cleaned_data["reason"]:
            _preview(user, form, draft=False)  # says what is missing
        return _page(request, form, preview=found)
    return _sent(request, user, form) if form.is_valid() else _page(request, form, status=422)


def _sent(request: HttpRequest, user: User, form: AskForm) -> HttpResponse:
    try:
        made = _submitted(request, user, form)
    except StepUpNeeded:
        found = _preview(user, form, draft=False)
        if found and found.verdict.outcome is Outcome.APPROVE:
            return _to_step_up(request)
        return _page(request, form, preview=found, status=422)  # no proof would help
    except PortalError as error:
        found = _preview(user, form, draft=True)  # whatever else is wrong is said at the same time
        form.refuse(error)
        return _page(request, form, preview=found, status=422)
    return HttpResponseRedirect(reverse("portal:request", args=[made.pk]))


def _submitted(request: HttpRequest, user: User, form: AskForm) -> AccessRequest:
    asked = form.ask()
    key = _once(request, asked)
    if not asked.break_glass:
        return requests.submit(actor=user, ask=asked, idempotency_key=key)
    made = approvals.break_glass(actor=user, ask=asked, stepped_up_at=stepped_up_at(request), idempotency_key=key)
    request.session.pop(_DRAFT, None)
    return made


def _once(request: HttpRequest, asked: Ask) -> str | None:
    """A form that is sent twice as it is makes one request; filled in anew after going back, it makes another."""
    once = request.POST.get("once", "")[:_ONCE]
    told = json.dumps(asdict(asked), sort_keys=True, default=str)
    return f"{once}:{hashlib.sha256(told.encode()).hexdigest()}" if once else None


def _to_step_up(request: HttpRequest) -> HttpResponse:
    """What was filled in waits in the session; the form comes back with it."""
    kept = request.POST.copy()
    for name in ("csrfmiddlewaretoken", "do"):
        kept.pop(name, None)
    request.session[_DRAFT] = kept.urlencode()
    back = f"{reverse('portal:ask')}?{urlencode({'draft': 'kept'})}"
    return HttpResponseRedirect(f"{reverse('accounts_step_up')}?{urlencode({'next': back})}")


def _from_draft(request: HttpRequest, user: User) -> HttpResponse | None:
    """The form as it was when its person went away to prove who they are."""
    kept = request.session.get(_DRAFT) if "draft" in request.GET else None
    if kept is None:
        return None
    form = AskForm(QueryDict(kept))
    return _page(request, form, preview=_preview(user, form, draft=False))


@require_POST
def preview(request: HttpRequest) -> HttpResponse:
    """What would happen: a fragment that the form asks for while it is filled in."""
    user, form = person(request), AskForm(request.POST)
    found = _preview(user, form, draft=True) if form.names else None
    context = {"form": form, "preview": found, "live": True, "names": form.names, "masking": _masking(form, found)}
    context["breakable"] = Database.objects.glass_breakable_by(user).exists()
    return render(request, "portal/ask_preview.html", context)


@require_safe
def tables(request: HttpRequest) -> HttpResponse:
    """One page of tables: a fragment."""
    user = person(request)
    database = _offered(user).filter(slug=request.GET.get("database", "").replace("\0", "")).first()
    if database is None:
        raise Http404
    return render(request, "portal/ask_tables.html", _found(user, database, request.GET))


def _page(
    request: HttpRequest,
    form: AskForm,
    *,
    preview: requests.Preview | None = None,
    quiet: bool = False,
    status: int = 200,
) -> HttpResponse:
    user = person(request)
    breakable = Database.objects.glass_breakable_by(user).filter(pk=OuterRef("pk"))
    databases = list(_offered(user).annotate(is_breakable=Exists(breakable)))
    chosen = next((row for row in databases if row.slug == form["database"].value()), None)
    if quiet:  # a search in between: what is still missing is no error yet
        form = AskForm(initial={name: form[name].value() for name in form.fields})
    context: dict[str, Any] = {
        "form": form,
        "once": request.POST.get("once") or form.data.get("once") or new_id(),
        "databases": databases,
        "as_cards": len(databases) <= _CARDS,
        "chosen": chosen,
        "preview": None if form.errors else preview,
        "masking": _masking(form, preview),  # also when something else has to be mended first
        "levels": words.LEVELS.items(),
        "ways": [(way.value, *words.CONNECTIONS[way]) for way in CONNECTIONS],
        "presets": PRESETS,
        "breakable": [row.slug for row in databases if row.is_breakable],  # type: ignore[attr-defined]  # annotated
        "break_glass_minutes": settings.BREAK_GLASS_MINUTES,
        "stepped_up": stepped_up_at(request) is not None,
    }
    if chosen:
        context |= _found(user, chosen, request.POST if request.method == "POST" else request.GET)
        context["picked"] = set(form.names)
    return render(request, "portal/ask.html", context, status=status)


def _offered(user: User) -> DatabaseQuerySet:
    """Also where a person may not ask in the normal way, but have access in an emergency."""
    return Database.objects.askable_by(user) | Database.objects.glass_breakable_by(user)


def _initial(user: User, given: QueryDict) -> dict[str, Any]:
    """What an address may bring along: a database and tables, or an earlier request to ask for again."""
    again = given.get("again", "").replace("\0", "")
    if not again:
        return {"database": given.get("database", ""), "tables": "\n".join(given.getlist("table"))}
    first = AccessRequest.objects.visible_to(user).select_related("database").filter(pk=again).first()
    if first is None:
        return {}
    return {
        "database": first.database.slug,
        "tables": "\n".join(quoted(table) for table in first.effective.tables),
        "unmask": [quoted_column(table, column) for table, column in first.effective.unmask],
        "level": first.level,
        "minutes": first.minutes,
        "connection": first.connection,
        "statement": first.statement,
        "expected_rows": first.expected_rows,
        "reason": first.reason if first.requester_id == user.pk else "",
        "ticket": first.ticket,
    }


def _preview(user: User, form: AskForm, *, draft: bool) -> requests.Preview | None:
    if not form.is_valid():
        return None
    try:
        return requests.preview(actor=user, ask=form.ask(draft=draft))
    except PortalError as error:
        form.refuse(error)
        return None


def _masking(form: AskForm, preview: requests.Preview | None) -> Masking:
    return masking_of(preview, form.unmask_names) if preview else Masking()


def _found(user: User, database: Database, given: QueryDict) -> dict[str, Any]:
    text = given.get("q", "")[:200].replace("\0", "")
    wanted = given.get("offset", "")
    offset = min(int(wanted), _LAST_OFFSET) if wanted.isdecimal() and len(wanted) < 9 else 0
    found = search(database, text, PAGE, user, offset=offset)
    columns = Column.objects.filter(gone_at=None).annotate(masked=ExpressionWrapper(is_masked(), BooleanField()))
    prefetch_related_objects(found.tables, Prefetch("columns", queryset=columns, to_attr="shown_columns"))
    end = offset + len(found.tables)
    return {
        "database": database,
        "q": text,
        "offset": offset,
        "picks": [_pick(table) for table in found.tables],
        "total": found.total,
        "first": offset == 0,
        "next_offset": end if end < found.total else None,
        "left": found.total - end,
        "schemas": _schemas(database, text) if offset == 0 else [],
    }


def _pick(table: Any) -> Pick:
    return Pick(
        name=quoted(TableName(table.schema, table.name)),
        rows=table.estimated_rows,
        columns=len(table.shown_columns),
        masked=tuple(column.name for column in table.shown_columns if column.masked),
        paused=table.pause_reason if table.paused_at else "",
    )


def _schemas(database: Database, text: str) -> list[Choice]:
    """Those whose name holds what was typed; all of them, if they are few, as long as nothing was."""
    word = text.strip().rstrip(".*").casefold()
    fitting: list[SchemaSummary] = [schema for schema in schemas_of(database) if word in schema.name.casefold()]
    return [
        Choice(schema.name, f"{quoted_part(schema.name)}.*", schema.tables, schema.classified_tables)
        for schema in fitting[:_SCHEMAS]
    ]
