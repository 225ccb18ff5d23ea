"""What the console's page shows: what the login reaches, the limits, and one's own statements."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from apps.accounts.models import User
from apps.audit import services as audit
from apps.catalog.models import Column, Database
from apps.catalog.names import quoted
from apps.console import access
from apps.console.models import Change, ChangeStatus, Kind, Statement, StatementStatus
from apps.console.streams import CELL_BYTES, SHOWN_BYTES
from apps.core import clock
from apps.core.errors import NotFound
from apps.engines.base import Level, TableName
from apps.engines.postgresql import names
from apps.grants.models import Grant
from apps.requests import masked
from apps.requests.models import AccessRequest
from apps.requests.scope import EffectiveScope

IDLE_SECONDS: Final = 240  # of an open transaction; the session look of a server would end it after five minutes
IDLE_LEAST: Final = 10


@dataclass(frozen=True, kw_only=True)
class ColumnShown:
    name: str
    type: str
    mask: str | None  # as text; None where the value is shown as it is
    read_only: str = ""  # at level change: why it cannot be written; empty where it can


@dataclass(frozen=True, kw_only=True)
class TableShown:
    """`name` is what to write in SQL, quoted where it must be: `jit_ab12_sales.orders`, or just `sales.orders`.

    `schema` and `table` are those of the table itself. A table that `is_view` is reached through a view of the same
    name in a schema of its own; its plain name alone, without a schema, works as well: the search path begins there.
    """

    schema: str
    table: str
    name: str
    is_view: bool
    kind: str  # view where it is one, otherwise table
    columns: tuple[ColumnShown, ...]
    filters: tuple[str, ...] = ()  # rows that it is limited to: "region = 'EU'"


@dataclass(frozen=True, kw_only=True)
class Limits:
    rows: int  # of one result that is shown
    seconds: int  # of one statement
    bytes: int  # of one result that is shown
    cell_bytes: int  # of one value that is shown
    idle_seconds: int  # of an open change transaction


@dataclass(frozen=True, kw_only=True)
class Past:
    """A statement of one's own. `text` is None where it was erased."""

    id: str
    kind: str  # query | export | change | one_off | explain
    text: str | None
    status: str  # running | done | failed | cancelled | unknown
    started_at: datetime
    finished_at: datetime | None
    rows: int | None
    affected: int | None
    bytes: int | None
    elapsed_ms: int | None
    sqlstate: str
    sentence: str  # why it failed, or was cut
    committed: bool | None  # of what could change something; None while it is open, or where nobody knows
    sha256: str  # of an export


@dataclass(frozen=True, kw_only=True)
class OneOff:
    """The one statement that a grant is for. `ran` is its run, once there is one; `outcome` says what became of it."""

    sql: str
    expected_rows: int | None
    ran: Past | None
    outcome: str  # a sentence; empty before it ran


@dataclass(frozen=True, kw_only=True)
class Console:
    """What the page shows. `why_not` is empty while statements can run, and otherwise a sentence."""

    grant: str
    database: str  # slug
    environment: str
    login: str
    level: str  # query | export | change
    status: str  # of the grant
    starts_at: datetime | None
    expires_at: datetime | None
    seconds_left: int
    why_not: str
    may_export: bool
    may_change: bool
    one_off: OneOff | None  # then nothing else may run
    tables: tuple[TableShown, ...]
    limits: Limits
    open_change: str | None  # the id of a transaction that is open, perhaps in another tab
    history: tuple[Past, ...]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Of a statement, for a page that asks again and again."""

    statement: str
    status: str
    rows: int | None
    bytes: int | None
    seconds_left: int
    sentence: str


def open_console(*, actor: User, grant_id: str, history: int = 50) -> Console:
    grant, now = access.own(actor, grant_id), clock.now()
    scope = EffectiveScope.from_json(grant.scope)
    left = int((grant.expires_at - now).total_seconds()) if grant.expires_at else 0
    why_not = access.why_over(grant, now)
    return Console(
        grant=grant.pk,
        database=grant.database.slug,
        environment=grant.database.environment,
        login=grant.login,
        level=scope.level.value,
        status=grant.status,
        starts_at=grant.starts_at,
        expires_at=grant.expires_at,
        seconds_left=0 if why_not else max(0, left),
        why_not=why_not,
        may_export=scope.level is Level.EXPORT and not scope.statement,
        may_change=scope.level is Level.CHANGE and not scope.statement,
        one_off=one_off_of(grant.request_id) if scope.statement else None,
        tables=_tables(grant, scope),
        limits=limits_of(grant),
        open_change=Change.objects.filter(grant=grant, status=ChangeStatus.OPEN).values_list("pk", flat=True).first(),
        history=_past(Statement.objects.filter(grant=grant, person=actor)[:history]),
    )


def limits_of(grant: Grant) -> Limits:
    return Limits(
        rows=grant.database.console_rows,
        seconds=grant.database.console_seconds,
        bytes=SHOWN_BYTES,
        cell_bytes=CELL_BYTES,
        idle_seconds=idle_seconds(grant),
    )


def idle_seconds(grant: Grant) -> int:
    """Sooner than the server's own limit would cut the connection without a word."""
    limit = grant.server.idle_seconds
    return IDLE_SECONDS if not limit else max(IDLE_LEAST, min(IDLE_SECONDS, int(limit * 0.8)))


def history(*, actor: User, grant_id: str, limit: int = 50) -> tuple[Past, ...]:
    grant = access.own(actor, grant_id)
    return _past(Statement.objects.filter(grant=grant, person=actor)[:limit])


def statement_of(actor: User, statement_id: str) -> Statement:
    """One's own. Raises NotFound."""
    rows = Statement.objects.select_related("grant__database", "grant__server")
    row = None if "\0" in statement_id else rows.filter(pk=statement_id, person=actor).first()
    if row is None:
        raise NotFound("There is no such statement, or it is not yours.")
    return row


def progress(*, actor: User, statement_id: str) -> Progress:
    return progress_of(statement_of(actor, statement_id))


def progress_of(row: Statement) -> Progress:
    left = int((row.deadline_at - clock.now()).total_seconds()) if row.status == StatementStatus.RUNNING else 0
    return Progress(
        statement=row.pk,
        status=row.status,
        rows=row.rows,
        bytes=row.bytes,
        seconds_left=max(0, left),
        sentence=row.sentence,
    )


def statements_of(grant_id: str) -> int:
    """How many were run under a grant that the viewer may see."""
    return Statement.objects.filter(grant=grant_id).exclude(kind=Kind.EXPLAIN).count()


def one_off_of(request_id: str) -> OneOff | None:
    """For the page of a request that the viewer may see: its statement and what has happened to it."""
    grant = Grant.objects.filter(request=request_id).select_related("request").first()
    if grant is None:
        request = AccessRequest.objects.filter(pk=request_id).first()
        if request is None or not request.statement:
            return None
        return OneOff(sql=request.statement, expected_rows=request.expected_rows, ran=None, outcome="")
    scope = EffectiveScope.from_json(grant.scope)
    if not scope.statement:
        return None
    rows = Statement.objects.filter(grant=grant, kind=Kind.ONE_OFF)
    change, ran = Change.objects.filter(statements__in=rows).first(), _past(rows[:1])
    return OneOff(
        sql=scope.statement,
        expected_rows=scope.expected_rows,
        ran=ran[0] if ran else None,
        outcome=(change.sentence or "It runs now.") if change else "",
    )


def _past(rows: Any) -> tuple[Past, ...]:
    found: Sequence[Statement] = list(rows.select_related("change"))
    texts = audit.disclosed_texts([row.entry_id for row in found if row.entry_id is not None], "statement")
    return tuple(_one_past(row, texts) for row in found)


def _one_past(row: Statement, texts: Mapping[int, str]) -> Past:
    committed = {ChangeStatus.COMMITTED: True, ChangeStatus.ROLLED_BACK: False}
    return Past(
        id=row.pk,
        kind=row.kind,
        text=texts.get(row.entry_id) if row.entry_id is not None else None,
        status=row.status,
        started_at=row.started_at,
        finished_at=row.finished_at,
        rows=row.rows,
        affected=row.affected,
        bytes=row.bytes,
        elapsed_ms=row.elapsed_ms,
        sqlstate=row.sqlstate,
        sentence=row.sentence,
        committed=committed.get(ChangeStatus(row.change.status)) if row.change else None,
        sha256=row.sha256,
    )


def _tables(grant: Grant, scope: EffectiveScope) -> tuple[TableShown, ...]:
    """By the scope that was approved; types are the catalog's, as it knows them now."""
    known = _columns(grant.database, scope.tables)
    read_only = _read_only(grant.database, scope)
    shown = set(scope.unmask)
    role = grant.scope_role or names.scope_role_name(scope.on_target(grant.database.datname))
    tables = []
    for table in scope.tables:
        types, view = known.get(table, {}), scope.seen.get(table)
        masks = {} if view is None else {name: mask for name, mask in view.masks if (table, name) not in shown}
        columns = types if view is None else dict.fromkeys(view.columns, "")
        schema = table.schema if view is None else names.view_schema_name(role, table.schema)
        tables.append(
            TableShown(
                schema=table.schema,
                table=table.name,
                name=quoted(TableName(schema, table.name)),
                is_view=view is not None,
                kind="view" if view is not None else "table",
                columns=tuple(
                    ColumnShown(
                        name=name,
                        type=types.get(name, ""),
                        mask=str(masks[name]) if name in masks else None,
                        read_only=read_only.get((table, name), ""),
                    )
                    for name in columns
                ),
                filters=tuple(map(str, view.filters)) if view is not None else (),
            )
        )
    return tuple(tables)


def _columns(database: Database, tables: Sequence[TableName]) -> dict[TableName, dict[str, str]]:
    rows = Column.objects.filter(
        table__database=database,
        table__gone_at=None,
        gone_at=None,
        table__schema__in={table.schema for table in tables},
    )
    found: dict[TableName, dict[str, str]] = defaultdict(dict)
    wanted = set(tables)
    for schema, name, column, kind in rows.order_by("table__schema", "table__name", "position").values_list(
        "table__schema", "table__name", "name", "type"
    ):
        if (table := TableName(schema, name)) in wanted:
            found[table][column] = kind
    return found


def _read_only(database: Database, scope: EffectiveScope) -> dict[tuple[TableName, str], str]:
    if scope.level is not Level.CHANGE or not scope.views:
        return {}
    about = masked.about(scope, masked.know(database, [view.table for view in scope.views]))
    by_name = {quoted(view.table): view.table for view in scope.views}
    return {(by_name[line["table"]], line["column"]): line["why"] for line in about.read_only}
