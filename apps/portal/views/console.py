"""The console: its page, and what the page asks for while it is used. What may run, and how, the verbs decide."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from itertools import groupby
from operator import attrgetter
from typing import Any, Concatenate, Final, ParamSpec

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.crypto import get_random_string
from django.utils.text import get_valid_filename
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.accounts.adminsite import person
from apps.accounts.signing import address_of
from apps.catalog.names import quoted_part
from apps.console import services
from apps.console.errors import StatementFailed
from apps.console.events import Failed, Why
from apps.console.services import Console, Stream, TableShown
from apps.core.errors import Invalid, NotFound, PortalError
from apps.portal.plainly import Answer, gather, wrong
from apps.portal.polling import is_unchanged, state_of

P = ParamSpec("P")

_FORMATS: Final = {"csv": "CSV", "jsonl": "JSON Lines"}
_FAST, _SLOW = 1, 10  # seconds between two looks, while something runs and while nothing does


class _Lines:
    """Events as JSON, one a line. Closing it closes the run, also where nobody has read from it."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        for event in self._stream:
            yield json.dumps(event.to_json(), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"

    def close(self) -> None:
        self._stream.close()


@require_http_methods(["GET", "HEAD", "POST"])
def console(request: HttpRequest, grant_id: str) -> HttpResponse:
    """The page. What is posted to it comes from browsers without scripts: `do` is `run`, `try` or `commit`."""
    if request.method != "POST":
        return _page(request, grant_id, sql=_again(request, grant_id))
    sql = _sql(request)
    try:
        reads = request.POST.get("do", "run") == "run"
        answer = gather(_run(request, grant_id, sql) if reads else _change(request, grant_id, sql))
    except NotFound:
        raise
    except PortalError as error:
        return _page(request, grant_id, sql=sql, error=error, status=error.status)
    return _page(request, grant_id, sql=sql, answer=answer)


@require_safe
def now(request: HttpRequest, grant_id: str) -> HttpResponse:
    """The time left, what runs, what has run: fragments that the page asks for again and again."""
    shown = services.open_console(actor=person(request), grant_id=grant_id)
    context = _moving(shown)
    if is_unchanged(request, context["state"]):
        return HttpResponse(status=204)
    return render(request, "portal/console_now.html", context)


def _refused_as_json(
    view: Callable[Concatenate[HttpRequest, P], HttpResponseBase],
) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
    """For what a script asks: a refusal is a sentence in JSON."""

    @wraps(view)
    def run(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)
        except PortalError as error:
            told = {"title": error.title, "sentence": error.sentence, "offers_reset": offers_reset(error)}
            return JsonResponse(told, status=error.status)

    return run


@require_POST
@_refused_as_json
def run(request: HttpRequest, grant_id: str) -> HttpResponseBase:
    return _told(_run(request, grant_id, _sql(request)))


@require_POST
@_refused_as_json
def begin(request: HttpRequest, grant_id: str) -> HttpResponseBase:
    """A transaction lives as long as its answer is read."""
    return _told(services.begin(actor=person(request), grant_id=grant_id, address=address_of(request)))


@require_POST
@_refused_as_json
def say(request: HttpRequest, grant_id: str, transaction_id: str) -> HttpResponseBase:
    command = services.say(
        actor=person(request),
        transaction_id=transaction_id,
        do=request.POST.get("do", ""),
        sql=_sql(request),
        address=address_of(request),
        once=request.POST.get("once") or None,
    )
    return JsonResponse({"command": command})


@require_POST
@_refused_as_json
def beat(request: HttpRequest, grant_id: str, transaction_id: str) -> HttpResponseBase:
    services.beat(actor=person(request), transaction_id=transaction_id)
    return HttpResponse(status=204)


@require_POST
def export(request: HttpRequest, grant_id: str) -> HttpResponseBase:
    """A file. What is wrong before its first row is said on the page, with the text as it was."""
    sql = _sql(request)
    try:
        services.check_ends_are_told(request.META.get("SERVER_PROTOCOL", ""))
        made = services.export(
            actor=person(request),
            grant_id=grant_id,
            sql=sql,
            file_format=request.POST.get("format", "csv"),
            address=address_of(request),
            once=request.POST.get("once") or None,
        )
    except NotFound:
        raise
    except StatementFailed as error:  # an answer like that of a run: the page is what was asked for
        return _page(request, grant_id, sql=sql, answer=_failed(error))
    except PortalError as error:
        return _page(request, grant_id, sql=sql, error=error, status=error.status)
    response = StreamingHttpResponse(made.content, content_type=made.content_type)
    response["Content-Disposition"] = f'attachment; filename="{get_valid_filename(made.name)}"'
    response["X-Content-Type-Options"] = "nosniff"
    return _unbuffered(response)


@require_POST
def cancel(request: HttpRequest, grant_id: str, statement_id: str) -> HttpResponse:
    told = services.cancel(actor=person(request), statement_id=statement_id)
    if request.headers.get("HX-Request"):
        return HttpResponse(status=204)
    if request.headers.get("Accept", "").startswith("application/json"):
        return JsonResponse({"status": told.status, "sentence": told.sentence})
    page = "portal:grant" if request.POST.get("back") == "request" else "portal:console"
    return HttpResponseRedirect(reverse(page, args=[grant_id]))


@require_POST
def explain(request: HttpRequest, grant_id: str) -> HttpResponse:
    """The plan of the approved statement, which does not run."""
    return _once(request, grant_id, "plan", services.explain)


@require_POST
def run_once(request: HttpRequest, grant_id: str) -> HttpResponse:
    """The approved statement. What it did stands on the page of its request from then on."""
    return _once(request, grant_id, "run", services.run_approved)


def offers_reset(error: PortalError) -> bool:
    """Whether the target did not let the login in, and a new password might mend it."""
    return bool(getattr(error, "offers_reset", False))


def _once(request: HttpRequest, grant_id: str, kind: str, verb: Callable[..., Stream]) -> HttpResponse:
    user = person(request)
    answer, error = None, None
    try:
        answer = gather(verb(actor=user, grant_id=grant_id, address=address_of(request)))
    except NotFound:
        raise
    except PortalError as refusal:
        error = refusal
    shown = services.open_console(actor=user, grant_id=grant_id)
    sql = shown.one_off.sql if shown.one_off else ""
    context = {
        "console": shown,
        "kind": kind,
        "sql": sql,
        "answer": answer,
        "wrong": wrong(sql, answer.failed) if answer else None,
        "error": error,
        "offers_reset": error is not None and offers_reset(error),
    }
    return render(request, "portal/once.html", context, status=error.status if error else 200)


def _run(request: HttpRequest, grant_id: str, sql: str) -> Stream:
    once = request.POST.get("once") or None
    return services.run(actor=person(request), grant_id=grant_id, sql=sql, address=address_of(request), once=once)


def _change(request: HttpRequest, grant_id: str, sql: str) -> Stream:
    expected = request.POST.get("expected_rows", "").strip()
    if expected and not (expected.isascii() and expected.isdigit()):
        raise Invalid("Give the expected number of rows as a whole number, or leave it empty.", field="expected_rows")
    return services.change(
        actor=person(request),
        grant_id=grant_id,
        sql=sql,
        commit=request.POST.get("do") == "commit",
        expected_rows=int(expected) if expected else None,
        address=address_of(request),
        once=request.POST.get("once") or None,
    )


def _failed(error: StatementFailed) -> Answer:
    failed = Failed(
        statement=None,
        why=Why(error.why),
        sentence=error.sentence,
        sqlstate=error.sqlstate,
        position=error.position,
    )
    return Answer(failed=failed)


def _told(stream: Stream) -> HttpResponseBase:
    return _unbuffered(StreamingHttpResponse(_Lines(stream), content_type="application/x-ndjson"))


def _unbuffered(response: HttpResponseBase) -> HttpResponseBase:
    """What runs is told while it runs: neither kept nor gathered by what stands between."""
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"
    return response


def _sql(request: HttpRequest) -> str:
    """Browsers send the ends of lines as CR LF, whatever was typed."""
    return request.POST.get("sql", "").replace("\r\n", "\n")


def _again(request: HttpRequest, grant_id: str) -> str:
    """A statement of one's own history that is to be taken back into the editor."""
    wanted = request.GET.get("again", "")
    if not wanted:
        return ""
    past = services.history(actor=person(request), grant_id=grant_id)
    return next((one.text or "" for one in past if one.id == wanted), "")


def _page(
    request: HttpRequest,
    grant_id: str,
    *,
    sql: str = "",
    answer: Answer | None = None,
    error: PortalError | None = None,
    status: int = 200,
) -> HttpResponse:
    shown = services.open_console(actor=person(request), grant_id=grant_id)
    context = _moving(shown) | {
        "schemas": _by_schema(shown.tables),
        "formats": _FORMATS.items(),
        "sql": sql,
        "answer": answer,
        "wrong": wrong(sql, answer.failed) if answer else None,
        "error": error,
        "offers_reset": error is not None and offers_reset(error),
        "once": get_random_string(32),
        "expected_rows": request.POST.get("expected_rows", ""),
        "beat_seconds": services.BEAT_SECONDS,
    }
    return render(request, "portal/console.html", context, status=status)


def _moving(shown: Console) -> dict[str, Any]:
    """What of the page changes by itself."""
    running = [one for one in shown.history if one.status == "running"]
    told = [(one.id, one.status, one.rows, one.bytes, one.committed) for one in shown.history]
    return {
        "console": shown,
        "running": running,
        "pace": _FAST if running else _SLOW,
        "state": state_of(shown.status, shown.expires_at, shown.why_not, told),
    }


@dataclass(frozen=True)
class _Branch:
    """A schema of the tree: its tables, each with what to write for it."""

    schema: str
    tables: list[tuple[TableShown, str]]
    through_views: bool


def _by_schema(tables: tuple[TableShown, ...]) -> list[_Branch]:
    """A view is written without its schema, whose name nobody knows, where that finds it."""
    counted = Counter(table.table for table in tables)

    def written(table: TableShown) -> str:
        return quoted_part(table.table) if table.is_view and counted[table.table] == 1 else table.name

    branches = []
    for schema, found in groupby(sorted(tables, key=attrgetter("schema")), key=attrgetter("schema")):
        rows = [(table, written(table)) for table in found]
        branches.append(_Branch(schema, rows, any(table.is_view for table, _ in rows)))
    return branches
