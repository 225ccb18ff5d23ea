"""What is written before a statement runs and after it: its row, and its entries in the record."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar, cast

from django.db import connection
from django.db.models import Q, QuerySet

from apps.accounts.models import User
from apps.audit import services as audit
from apps.audit.actions import Action
from apps.audit.canonical import Json
from apps.console import access
from apps.console.access import Usable
from apps.console.errors import AlreadyBegun, RefusedStatement, TooMany
from apps.console.events import Why
from apps.console.models import Change, ChangeStatus, Kind, Statement, StatementStatus
from apps.core import clock
from apps.core.errors import Conflict, NotAllowed, NotFound
from apps.core.verbs import verb
from apps.engines.postgresql.splitting import without_literals
from apps.grants.models import Grant
from apps.grants.record import record

MAX_AT_ONCE: Final = 4  # statements of one person, under all their access: each holds a thread of the portal
PER_MINUTE: Final = 120  # statements of one person
MAX_HELD: Final = 2  # open transactions of one person: each holds a thread and a connection while nobody says anything
_LOST_AFTER: Final = timedelta(seconds=60)  # past the latest moment at which somebody would have said how it ended
_BATCH: Final = 50
_USE_TOLD_WITHIN: Final = timedelta(hours=1)  # after that whoever should have told was away for too long
_USED: Final = """
UPDATE grants_grant g
SET first_used_at = least(g.first_used_at, s.first), last_used_at = greatest(g.last_used_at, s.last)
FROM (
  SELECT grant_id, min(started_at) AS first, max(started_at) AS last
  FROM console_statement WHERE started_at > %s GROUP BY grant_id
) s
WHERE g.id = s.grant_id AND (g.last_used_at IS NULL OR g.last_used_at < s.last)
"""
_TOLD: Final = ("rows", "affected", "bytes", "elapsed_ms", "sqlstate", "sha256", "sentence")
_FINISH: Final = f"""
UPDATE console_statement
SET finished_at = clock_timestamp(), status = %s, why = %s, {", ".join(f"{name} = %s" for name in _TOLD)}
WHERE id = %s AND status IN ('running', 'unknown') RETURNING finished_at, cancel_wanted_at
"""  # noqa: S608 - names of columns, all of them here

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(kw_only=True)
class Outcome:
    """How a statement ended; unless told otherwise, because whoever read it went away."""

    status: StatementStatus = StatementStatus.CANCELLED
    why: Why | None = Why.GONE
    sentence: str = "The reader went away, so it was cancelled."
    rows: int = 0
    affected: int | None = None
    bytes: int | None = None
    elapsed_ms: int = 0
    sqlstate: str = ""
    sha256: str = ""

    def done(self) -> None:
        self.status, self.why, self.sentence = StatementStatus.DONE, None, ""

    def failed(self, why: Why, sentence: str, sqlstate: str = "") -> None:
        cancelled = why in {Why.CANCELLED, Why.GONE}
        self.status = StatementStatus.CANCELLED if cancelled else StatementStatus.FAILED
        # The database's own words may quote values, which are kept nowhere.
        self.why, self.sqlstate = why, sqlstate
        self.sentence = f"The database said no ({sqlstate or 'without a code'})." if why is Why.SQL else sentence


@dataclass(frozen=True, kw_only=True)
class Running:
    """Where a statement is about to run."""

    kind: Kind
    pid: int
    name: str
    address: str
    once: str | None = None
    file_format: str = ""
    change: Change | None = None


def refusals_recorded(function: Callable[P, R]) -> Callable[P, R]:
    """Somebody tried what may not be: that is recorded when the verb's own transaction is gone."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except (NotAllowed, NotFound, RefusedStatement, Conflict) as refusal:
            actor, address = cast("User", kwargs["actor"]), kwargs.get("address")
            audit.record_attempt(
                Action.STATEMENT_REFUSED,
                refusal,
                actor=actor.audit_id,
                person=actor.name,
                about=("grant", Grant, cast("str", kwargs["grant_id"])),
                facts={"tried": function.__name__},
                disclosed={"address": str(address)} if address else {},
            )
            raise

    return run


@verb
def start(*, actor: User, use: Usable, sql: str, where: Running) -> tuple[Statement, Usable]:
    """The statement is in the record when this returns, and only then it runs.

    `use`: what access.usable() has just said of the actor's own grant. Raises as access.still_usable(), and TooMany.
    """
    use = access.still_usable(use, where.kind)
    _check_may_begin(use, where.kind, where.once)
    statement = Statement(
        grant=use.grant,
        person=actor,
        change=where.change,
        kind=where.kind,
        file_format=where.file_format,
        once=where.once,
        started_at=use.now,
        deadline_at=use.deadline,
        backend_pid=where.pid,
        backend_name=where.name,
    )
    statement.entry_id = _record_start(actor, use, statement, sql, where)
    statement.save(force_insert=True)
    return statement, use


def _record_start(actor: User, use: Usable, statement: Statement, sql: str, where: Running) -> int:
    keeps = use.grant.database.keeps_literals
    texts = {
        "login": use.grant.login,
        "person": actor.name,
        "statement": sql if keeps else without_literals(sql),
    } | ({"address": where.address} if where.address else {})
    facts: dict[str, Json] = _identity(use.grant) | {
        "statement": statement.pk,
        "kind": str(where.kind),
        "level": use.scope.level.value,
        "scope": use.grant.scope_digest,
        "literals_kept": keeps,
        "milliseconds_allowed": int(use.seconds * 1000),
    }
    if where.file_format:
        facts["format"] = where.file_format
    if where.change is not None:
        facts["change"] = where.change.pk
    return audit.record(
        Action.STATEMENT_STARTED,
        actor=actor.audit_id,
        subject=use.grant.audit_id,
        facts=facts,
        disclosed=texts,
        at=use.now,
    )


def _identity(grant: Grant) -> dict[str, Json]:
    return {
        "request": grant.request_id,
        "holder": f"user:{grant.holder_id}",
        "database": grant.database_id,
        "server": grant.server_id,
    }


def _check_may_begin(use: Usable, kind: Kind, once: str | None) -> None:
    """Nobody else begins anything meanwhile: the grant is locked. Raises TooMany, Conflict."""
    if use.lately >= PER_MINUTE:
        raise TooMany(f"You have started {PER_MINUTE} statements within a minute: wait for a moment.")
    if use.running >= MAX_AT_ONCE:
        raise TooMany(f"You have {MAX_AT_ONCE} statements running already: cancel one, or wait for it.")
    begun = Statement.objects.filter(grant=use.grant)
    if once and begun.filter(once=once).exists():
        raise AlreadyBegun("This was started already: what became of it is in the history.")
    # An approval is used up when its statement is in the record, and by nothing that failed before.
    if kind == Kind.ONE_OFF and begun.filter(kind=kind).exists():
        raise Conflict("The approved statement has been run: it runs once.")


def _check_held(actor: User) -> None:
    held = Change.objects.filter(person=actor, takes_commands=True, status=ChangeStatus.OPEN).count()
    if held >= MAX_HELD:
        raise TooMany(f"You have {held} transactions open already: commit one, or roll it back.")


@verb
def finish(*, statement: Statement, outcome: Outcome) -> bool:
    """Also of one that was taken for lost: what is known now is told. Returns whether somebody wanted it cancelled."""
    with connection.cursor() as cursor:
        told = [getattr(outcome, name) for name in _TOLD]
        cursor.execute(_FINISH, [str(outcome.status), str(outcome.why or ""), *told, statement.pk])
        row = cursor.fetchone()
    if row is None:
        return True
    # What the database says may quote values: the record keeps its code alone.
    facts: dict[str, Any] = {
        "statement": statement.pk,
        "kind": str(statement.kind),
        "outcome": str(outcome.status),
        "rows": outcome.rows,
        "affected": outcome.affected,
        "milliseconds": outcome.elapsed_ms,
        "sqlstate": outcome.sqlstate,
        "why": str(outcome.why or ""),
    }
    if statement.kind == Kind.EXPORT:
        facts |= {"bytes": outcome.bytes, "sha256": outcome.sha256, "format": statement.file_format}
    audit.record(
        Action.STATEMENT_FINISHED,
        actor=f"user:{statement.person_id}",
        subject=statement.grant.audit_id,
        facts=_identity(statement.grant) | facts,
        at=clock.told(row[0]),
    )
    return row[1] is not None


def keep_progress(statement: Statement, *, rows: int, size: int) -> None:
    Statement.objects.filter(pk=statement.pk).update(rows=rows, bytes=size)


@verb
def open_change(
    *,
    actor: User,
    use: Usable,
    kind: Kind,
    takes_commands: bool,
    expected_rows: int | None = None,
    address: str = "",
    once: str | None = None,
) -> tuple[Change, Usable]:
    """A transaction is about to be opened. `once`: of its first statement. Raises as start(); Conflict where there is
    one, or it has run.
    """
    use = access.still_usable(use, kind)
    # What would refuse the first statement refuses all of it: nothing is told to have failed that was never begun.
    _check_may_begin(use, kind, once)
    if takes_commands:
        _check_held(actor)
    if Change.objects.filter(grant=use.grant, status=ChangeStatus.OPEN).exists():
        raise Conflict("A transaction is open under this access already: commit it or roll it back first.")
    change = Change(
        grant=use.grant,
        person=actor,
        kind=kind,
        takes_commands=takes_commands,
        expected_rows=expected_rows,
        begun_at=use.now,
        page_seen_at=use.now,
        held_at=use.now,
    )
    change.save(force_insert=True)
    facts: dict[str, Any] = {"change": change.pk, "kind": str(kind), "expected_rows": expected_rows}
    texts = {"person": actor.name} | ({"address": address} if address else {})
    record(Action.CHANGE_BEGUN, use.grant, actor=actor.audit_id, disclosed=texts, **facts)
    return change, use


@verb
def committing(*, actor: User, change: Change, affected: int | None) -> Usable:
    """The intent. Raises as access.usable(): whose access is over commits nothing."""
    use = access.usable(actor, change.grant_id, Kind(change.kind), lock=True)
    record(Action.CHANGE_COMMITTING, use.grant, actor=actor.audit_id, change=change.pk, affected=affected)
    return use


@verb
def close_change(*, change: Change, status: ChangeStatus, affected: int | None, why: Why | None, sentence: str) -> None:
    """Also of one that was taken for lost."""
    row = Change.objects.select_for_update(no_key=True).get(pk=change.pk)
    if row.status not in {ChangeStatus.OPEN, ChangeStatus.UNKNOWN}:
        return
    row.status, row.closed_at = status, clock.now()
    row.affected, row.why, row.sentence = affected, why or "", sentence
    row.save()
    row.commands.update(sql="")
    facts: dict[str, Any] = {"change": row.pk, "kind": row.kind, "outcome": str(status), "affected": affected}
    record(Action.CHANGE_ENDED, change.grant, actor=f"user:{row.person_id}", **facts, why=row.why)


def close_lost() -> int:
    """Say of what nobody has finished in time that its outcome is not known; returns how many there were."""
    return _close_lost_statements() + _close_lost_changes()


@verb
def tell_use() -> int:
    """Let grants know that they were used here: such a session is over before anybody looks at the server. Returns how
    many did not know.
    """
    with connection.cursor() as cursor:
        cursor.execute(_USED, [clock.now() - _USE_TOLD_WITHIN])
        return int(cursor.rowcount)


def lost_changes() -> QuerySet[Change]:
    """Open, and not held by anybody any more."""
    silent = Change.objects.filter(status=ChangeStatus.OPEN, held_at__lt=clock.now() - _LOST_AFTER)
    runs = Q(takes_commands=False) & Q(statements__status=StatementStatus.RUNNING)
    return silent.exclude(runs)


@verb
def _close_lost_statements() -> int:
    over = Q(status=StatementStatus.RUNNING, deadline_at__lt=clock.now() - _LOST_AFTER)
    found = Statement.objects.filter(over).select_for_update(no_key=True, skip_locked=True, of=("self",))
    rows = list(found.select_related("grant").order_by("pk")[:_BATCH])
    sentence = "Whoever ran it is gone without a word: its outcome is not known."
    for row in rows:
        row.status, row.finished_at, row.why, row.sentence = StatementStatus.UNKNOWN, clock.now(), Why.LOST, sentence
        row.save()
    for row in rows:
        facts: dict[str, Any] = {"statement": row.pk, "kind": row.kind, "outcome": "unknown"}
        record(Action.STATEMENT_FINISHED, row.grant, actor="clock", **facts)
    return len(rows)


@verb
def _close_lost_changes() -> int:
    ids = list(lost_changes().values_list("pk", flat=True)[:_BATCH])
    found = Change.objects.filter(pk__in=ids, status=ChangeStatus.OPEN)
    rows = list(found.select_for_update(no_key=True, skip_locked=True, of=("self",)).select_related("grant"))
    for row in rows:
        row.status, row.closed_at, row.why = ChangeStatus.UNKNOWN, clock.now(), Why.LOST
        row.sentence = "Whoever held it is gone without a word. Unless COMMIT had been sent, the server rolled it back."
        row.save()
    for row in rows:
        row.commands.update(sql="")
        facts: dict[str, Any] = {"change": row.pk, "kind": row.kind, "outcome": "unknown"}
        record(Action.CHANGE_ENDED, row.grant, actor="clock", **facts)
    return len(rows)
