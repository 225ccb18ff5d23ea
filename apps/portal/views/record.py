"""The record, for those whose duty is to read it. Reading it is recorded."""

from collections.abc import Iterator
from typing import Any, Final

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe

from apps.accounts.adminsite import person
from apps.accounts.models import User
from apps.audit import services as audit
from apps.audit.actions import Action
from apps.audit.body import rfc3339
from apps.core.errors import Invalid, NotAllowed
from apps.portal.context import surroundings
from apps.portal.forms import RecordForm
from apps.portal.telling import tell

_SIZE: Final = 50
_CHECKED: Final = 5_000  # entries that a page can follow while somebody waits; the command follows all
# What a subject may be called by its bare id.
_KINDS: Final = ("request", "grant", "user", "server", "database", "token")


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
    return {"form": form, "actions": _groups(), "head": audit.checkpoint(), "kept": kept}


def _groups() -> list[tuple[str, list[str]]]:
    """Actions under the noun they begin with."""
    nouns: dict[str, list[str]] = {}
    for action in Action:
        nouns.setdefault(action.value.partition(".")[0], []).append(action.value)
    return list(nouns.items())


def _where(form: RecordForm) -> audit.Filter | None:
    """None where the filters cannot be meant; the form says why."""
    if not form.is_valid():
        return None
    given = form.cleaned_data
    try:
        return audit.Filter(
            action=given["action"],
            actor=_actor(given["person"]),
            subjects=_subjects(given["subject"]),
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


def _subjects(text: str) -> tuple[str, ...]:
    if not text:
        return ()
    return (text,) if ":" in text else (text, *(f"{kind}:{text}" for kind in _KINDS))


def _facts(where: audit.Filter) -> dict[str, Any]:
    times = {"since": where.since, "until": where.until}
    return {name: rfc3339(value) if value else None for name, value in times.items()} | {"size": audit.head().size}


def _typed(where: audit.Filter) -> dict[str, str]:
    """What was looked for is free text: it can be somebody's name."""
    texts = {"action": where.action, "actor": where.actor, "subjects": " ".join(where.subjects)}
    return {name: text for name, text in texts.items() if text}


def _lines(where: audit.Filter) -> Iterator[str]:
    return audit.trail_csv(audit.iterate(where))
