"""Running statements under live access of one's own, as its login; each is recorded before it runs."""

from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Annotated, Any, Literal

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from ninja import Header, Router

from apps.accounts.models import TokenScope
from apps.accounts.signing import address_of
from apps.api import represent
from apps.api.auth import Token, user_of
from apps.api.schemas import (
    ChangeIn,
    ChangeOut,
    ExportIn,
    PastPage,
    PlanOut,
    ProgressOut,
    QueryIn,
    QueryOut,
)
from apps.console import services as console
from apps.console.errors import StatementFailed, Unavailable
from apps.console.events import Columns, Done, Ended, Event, Failed, Rows, Started, Why
from apps.console.streams import SHOWN_BYTES
from apps.core.errors import Conflict

router = Router(tags=["console"])

_A_FILE = {
    "responses": {
        200: {
            "description": "The rows. `X-Statement` names the statement, for its progress and to cancel it. A response "
            "that breaks off before its end is not whole.",
            "content": {
                "text/csv": {"example": 'id,title\n1,"Tea, green"\n2,\n'},
                "application/jsonl": {"example": '{"id":1,"title":"Tea, green"}\n{"id":2,"title":null}\n'},
            },
        }
    }
}


@router.post("/grants/{grant_id}/query", response=QueryOut, auth=Token(TokenScope.USE))
def query(request: HttpRequest, response: HttpResponse, grant_id: str, body: QueryIn) -> dict[str, Any]:
    """Run one statement that reads. The answer holds as many rows as a page shows; `truncated` says that it was cut."""
    response["Cache-Control"] = "no-store"
    run = console.query(actor=user_of(request), grant_id=grant_id, sql=body.sql, address=address_of(request))
    return _result(list(run))


@router.post("/grants/{grant_id}/export", response={200: Any}, auth=Token(TokenScope.USE), openapi_extra=_A_FILE)
def export(
    request: HttpRequest,
    grant_id: str,
    body: ExportIn,
    format: Literal["csv", "jsonl"] = "csv",  # noqa: A002 - the name in the contract
) -> StreamingHttpResponse:
    """All rows of one statement as a file, at level export. NULL is an empty field, an empty text is `""`."""
    console.check_ends_are_told(request.META.get("SERVER_PROTOCOL", ""))
    made = console.export(
        actor=user_of(request), grant_id=grant_id, sql=body.sql, file_format=format, address=address_of(request)
    )
    headers = {
        "Content-Disposition": f'attachment; filename="{made.name}"',
        "Cache-Control": "no-store",
        "X-Statement": made.statement,
        "X-Accel-Buffering": "no",
    }
    return StreamingHttpResponse(made.content, content_type=made.content_type, headers=headers)


@router.post("/grants/{grant_id}/change", response=ChangeOut, auth=Token(TokenScope.USE))
def change(
    request: HttpRequest,
    response: HttpResponse,
    grant_id: str,
    body: ChangeIn,
    idempotency_key: Annotated[str | None, Header(alias="Idempotency-Key", max_length=40)] = None,
) -> dict[str, Any]:
    """Run statements in one transaction, at level change: to try them out, or with `commit` for good.

    It is rolled back where one fails, and where the number of affected rows is not `expected_rows`. With the same
    Idempotency-Key it is refused (409): it has run, and the history says what became of it.
    """
    response["Cache-Control"] = "no-store"
    run = console.change(
        actor=user_of(request),
        grant_id=grant_id,
        sql=body.sql,
        commit=body.commit,
        expected_rows=body.expected_rows,
        address=address_of(request),
        once=idempotency_key,
    )
    return _changed(run)


@router.post("/grants/{grant_id}/explain", response=PlanOut, auth=Token(TokenScope.USE))
def explain(request: HttpRequest, response: HttpResponse, grant_id: str) -> dict[str, Any]:
    """The plan of the approved statement of my access, which does not run."""
    response["Cache-Control"] = "no-store"
    run = console.explain(actor=user_of(request), grant_id=grant_id, address=address_of(request))
    return {"plan": [row[0] or "" for row in _result(list(run))["rows"]]}


@router.post("/grants/{grant_id}/run", response=ChangeOut, auth=Token(TokenScope.USE))
def run_approved(request: HttpRequest, response: HttpResponse, grant_id: str) -> dict[str, Any]:
    """Run the approved statement of my access, once, in one transaction."""
    response["Cache-Control"] = "no-store"
    run = console.run_approved(actor=user_of(request), grant_id=grant_id, address=address_of(request))
    return _changed(run)


@router.get("/grants/{grant_id}/statements", response=PastPage, auth=Token(TokenScope.READ))
def statements(request: HttpRequest, grant_id: str, limit: int = 50) -> dict[str, Any]:
    """My own statements under access of my own, newest first."""
    past = console.history(actor=user_of(request), grant_id=grant_id, limit=max(1, min(limit, 1000)))
    return {"items": [represent.past(one) for one in past], "next": None}


@router.get("/statements/{statement_id}", response=ProgressOut, auth=Token(TokenScope.READ))
def progress(request: HttpRequest, statement_id: str) -> dict[str, Any]:
    """How far one of my statements is."""
    return asdict(console.progress(actor=user_of(request), statement_id=statement_id))


@router.post("/statements/{statement_id}/cancel", response=ProgressOut, auth=Token(TokenScope.USE))
def cancel(request: HttpRequest, statement_id: str) -> dict[str, Any]:
    """Cancel a running statement of mine, on the server."""
    return asdict(console.cancel(actor=user_of(request), statement_id=statement_id))


def _result(events: list[Event]) -> dict[str, Any]:
    """Of a single statement. Raises what made it fail."""
    columns: list[dict[str, str]] = []
    rows: list[tuple[str | None, ...]] = []
    cut: list[dict[str, int]] = []
    statement, done = "", None
    for event in events:
        if isinstance(event, Started):
            statement = event.statement
        elif isinstance(event, Columns):
            columns = [asdict(column) for column in event.columns]
        elif isinstance(event, Rows):
            cut += [{**asdict(one), "row": one.row + len(rows)} for one in event.cut]
            rows += event.rows
        elif isinstance(event, Done):
            done = event
        elif isinstance(event, Failed):
            raise _refusal(event)
    return {
        "statement": statement,
        "columns": columns,
        "rows": rows,
        "truncated": bool(done and done.truncated),
        "why": done.why if done else None,
        "sentence": done.sentence if done else "",
        "cut": cut,
        "affected": done.affected if done else None,
        "tag": done.tag if done else "",
        "elapsed_ms": done.elapsed_ms if done else 0,
    }


def _changed(events: Iterable[Event]) -> dict[str, Any]:
    """What a transaction did, statement by statement; what failed is told, as its rollback is an answer.

    Rows of all statements together are no more than those of one may be: they are all held until the end.
    """
    results, current, error, room = list[dict[str, Any]](), list[Event](), None, SHOWN_BYTES
    event: Event | None = None
    for event in events:
        if isinstance(event, Rows):
            room -= _weight(event)
            if room < 0:
                continue
        if isinstance(event, Done) and room < 0 and event.rows:
            event = _left_out(event)  # noqa: PLW2901 - the same, with what has become of its rows
        if isinstance(event, Started):
            current = [event]
        elif isinstance(event, Done):
            results.append(_result([*current, event]))
        elif isinstance(event, Failed):
            error = event
        else:
            current.append(event)
    ended = event
    if not isinstance(ended, Ended):
        raise _refusal(error) if error else Unavailable("What became of this is not known yet: look at the history.")
    failed = {key: value for key, value in error.to_json().items() if key != "event"} if error else None
    return {
        "results": results,
        "failed": failed,
        "committed": ended.committed,
        "affected": ended.affected,
        "why": ended.why,
        "sentence": ended.sentence,
    }


def _weight(event: Rows) -> int:
    return sum(len(value or "") + 8 for row in event.rows for value in row)


def _left_out(done: Done) -> Done:
    megabytes = SHOWN_BYTES // (1 << 20)
    sentence = f"Not all rows are here: the results of one call hold {megabytes} MiB at most."
    return replace(done, truncated=True, why=Why.BYTES, sentence=sentence)


def _refusal(event: Failed) -> Exception:
    if event.why is Why.ENDED:
        return Conflict(event.sentence)
    if event.why is Why.LOST:
        return Unavailable(event.sentence)
    return StatementFailed(event.sentence, why=event.why.value, sqlstate=event.sqlstate, position=event.position)
