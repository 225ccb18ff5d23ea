"""The record, for those whose duty is to read it. Reading it is recorded."""

from collections.abc import Iterator
from typing import Any, Final

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe

from apps.accounts.adminsite import person
from apps.accounts.models import User
from apps.audit import services as audit
from apps.audit import verifying
from apps.audit.actions import Action
from apps.audit.body import rfc3339
from apps.catalog.models import Database
from apps.core.errors import Invalid, NotAllowed, NotFound
from apps.grants.models import Grant
from apps.portal.context import surroundings
from apps.portal.forms import RecordForm
from apps.portal.lives import life_of
from apps.portal.telling import tell

_SIZE: Final = 50
_LIFE: Final = 1_000  # entries of one request on one page; a file holds all
_CHECKED: Final = 5_000  # entries that a page can follow while somebody waits; the command follows all
# What a subject may be called by its bare id.
_KINDS: Final = ("request", "grant", "user", "server", "database", "token", "edit", "group", "record_break")


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """Newest first, a page at a time."""
    reader = _reader(request)
    audit.read_recorded(reader.audit_id)
    form = RecordForm(request.GET)
    where, status = _where(form), 200 if form.is_valid() else 422
    before = form.cleaned_data.get("before") if form.is_valid() else None
    lines = audit.latest(before=before, limit=_SIZE + 1, where=where) if where else []
    shown = lines[:_SIZE]
    context = _context(form) | {
        "entries": tell(shown),
        "older": shown[-1].index if len(lines) > _SIZE else None,
        "is_first": before is None,
    }
    return render(request, "portal/record.html", context, status=status)


@require_safe
def life(request: HttpRequest, request_id: str) -> HttpResponse:
    """All that the record tells of one request and what became of it, oldest first."""
    reader = _reader(request)
    audit.read_recorded(reader.audit_id)
    where = audit.Filter(subjects=_of_request(request_id))
    lines = audit.entries(limit=_LIFE + 1, where=where)
    if not lines:
        raise NotFound("The record tells nothing of such a request.")
    told = tell(lines[:_LIFE])
    context = {
        "request_id": request_id,
        "first": told[0],
        "database": Database.objects.filter(pk=str(lines[0].facts.get("database")))
        .values_list("slug", flat=True)
        .first(),
        "life": life_of(told, surroundings(request).now),
        "entries": told,
        "rest": len(lines) > _LIFE,
        "head": audit.checkpoint(),
    }
    return render(request, "portal/record_life.html", context)


@require_safe
def download(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """What the filters let through, oldest first, as CSV. Each copy is recorded with its filters."""
    reader = _reader(request)
    form = RecordForm(request.GET)
    where = _where(form)
    if where is None:
        return render(request, "portal/record.html", _context(form) | {"entries": [], "is_first": True}, status=422)
    audit.export_recorded(reader.audit_id, facts=_facts(where), disclosed=_typed(where))
    response = StreamingHttpResponse(_lines(where), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="record-{surroundings(request).now:%Y-%m-%d}.csv"'
    return response


@require_POST
def check(request: HttpRequest) -> HttpResponse:
    """Follow the newest part of the chain now."""
    audit.read_recorded(_reader(request).audit_id)
    size = audit.head().size
    first = max(0, size - _CHECKED)
    result = audit.verify(from_index=first)
    context = {"result": result, "first": first, "head": audit.checkpoint()}
    return render(request, "portal/record_check.html", context)


def _reader(request: HttpRequest) -> User:
    if not surroundings(request).may_read_record:
        raise NotAllowed("The record is for auditors. Ask one of them for a copy of what concerns you.")
    return person(request)


def _context(form: RecordForm) -> dict[str, Any]:
    kept = {name: value for name, value in form.data.items() if name in form.fields and value}
    kept.pop("before", None)
    last = verifying.last_run()
    return {
        "form": form,
        "actions": _groups(),
        "head": audit.checkpoint(),
        "kept": kept,
        "verifying": {"last": last, "whole": verifying.last_whole_run(), "running": verifying.running()},
        "behind": audit.head().size - last.reached if last else 0,
    }


def _groups() -> list[tuple[str, list[str]]]:
    """Actions under the noun they begin with."""
    nouns: dict[str, list[str]] = {}
    for action in Action:
        nouns.setdefault(action.value.partition(".")[0], []).append(action.value)
    return list(nouns.items())


def _of_request(request_id: str) -> tuple[str, ...]:
    if "\0" in request_id:
        raise NotFound("The record tells nothing of such a request.")
    grants = Grant.objects.filter(request=request_id).values_list("pk", flat=True)
    return (f"request:{request_id}", *(f"grant:{grant}" for grant in grants))


def _where(form: RecordForm) -> audit.Filter | None:
    """None where the filters cannot be meant; the form says why."""
    if not form.is_valid():
        return None
    given = form.cleaned_data
    try:
        return audit.Filter(
            action=given["action"],
            actor=_actor(given["person"]),
            database=_database(given["database"]),
            subjects=_of_request(given["life"]) if given["life"] else _subjects(given["subject"]),
            since=given["since"],
            until=given["until"],
        )
    except Invalid as error:
        form.refuse(error)
        return None


def _actor(name: str) -> str:
    """A user name, or an actor as the record has it."""
    if not name or ":" in name or name in {"worker", "clock", "operator", "policy"}:
        return name
    user = User.objects.filter(username=name).first()
    if user is None:
        raise Invalid(f"Nobody here has the user name {name}.", field="person")
    return user.audit_id


def _database(name: str) -> str:
    """The name of a database, or its id as the record has it: one that left the catalog is still found there."""
    if not name or name.startswith("database:"):
        return name.removeprefix("database:")
    pk = Database.objects.filter(slug=name).values_list("pk", flat=True).first()
    if pk is None:
        raise Invalid(
            f"No database here is called {name}. Of one that is gone, give the id: database:…", field="database"
        )
    return str(pk)


def _subjects(text: str) -> tuple[str, ...]:
    if not text:
        return ()
    return (text,) if ":" in text else (text, *(f"{kind}:{text}" for kind in _KINDS))


def _facts(where: audit.Filter) -> dict[str, Any]:
    times = {"since": where.since, "until": where.until}
    return {name: rfc3339(value) if value else None for name, value in times.items()} | {"size": audit.head().size}


def _typed(where: audit.Filter) -> dict[str, str]:
    """What was looked for is free text: it can be somebody's name."""
    texts = {
        "action": where.action,
        "actor": where.actor,
        "database": where.database,
        "subjects": " ".join(where.subjects),
    }
    return {name: text for name, text in texts.items() if text}


def _lines(where: audit.Filter) -> Iterator[str]:
    return audit.trail_csv(audit.iterate(where))
