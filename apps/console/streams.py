"""A run as a stream of events, and one statement within it."""

import logging
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Final

from apps.console import access, record
from apps.console.access import Asked, Stopped, Usable
from apps.console.errors import AlreadyBegun, RefusedStatement, TooMany
from apps.console.events import (
    Column,
    Columns,
    CutCell,
    Done,
    Event,
    Failed,
    Rows,
    Started,
    Why,
)
from apps.console.models import Kind, Statement
from apps.console.record import Outcome, Running
from apps.core import clock
from apps.core.errors import Invalid, PortalError
from apps.core.texts import checked
from apps.engines.base import EngineError
from apps.engines.postgresql import splitting
from apps.engines.postgresql.running import Session
from apps.engines.running import Batch, Caps, Finish, Header, StatementError, TooLarge

log = logging.getLogger(__name__)

MAX_TEXT: Final = 200_000  # characters of what is given to one run
MAX_STATEMENTS: Final = 100  # in one run
SHOWN_BYTES: Final = 16 * 1024 * 1024  # of one result
CELL_BYTES: Final = 64 * 1024  # of one value
MESSAGE_BYTES: Final = 64 * 1024 * 1024  # one row with more is not even taken from the target
_MAX_ONCE: Final = 40
_CANCELLED: Final = "57014"
_READ_ONLY: Final = "25006"
_NO_RIGHT: Final = "42501"


class Stream:
    """Events of a generator that has come to its first one: whatever stood in the way was raised before that."""

    def __init__(self, events: Generator[Event, None, None]) -> None:
        self._events = events
        self._first: Event | None = next(events)
        self._is_over = False

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        if self._is_over:
            raise StopIteration
        try:
            return next(self._events)
        except StopIteration:
            self._is_over = True
            raise
        except Exception:
            self._is_over = True
            log.exception("A run in the console failed unexpectedly.")
            sentence = "This failed unexpectedly; what became of it is in the history as soon as that is known."
            return Failed(statement=None, why=Why.LOST, sentence=sentence)

    def close(self) -> None:
        """Cancels, rolls back and records."""
        self._is_over, self._first = True, None
        try:
            self._events.close()
        except Exception:
            log.exception("A run in the console could not be closed in order; the clock will say so of it.")


def key(once: str | None, number: int) -> str | None:
    """Of one statement of a run that must not be started twice. Raises Invalid."""
    return f"{checked(once, what='The token', field='once', at_most=_MAX_ONCE)}:{number}" if once else None


def passed_on(events: Iterator[Event]) -> Generator[Event, None, bool]:
    """All of them; returns whether the last one was a failure."""
    last: Event | None = None
    for last in events:
        yield last
    return isinstance(last, Failed)


def parsed(sql: object, *, exactly_one: bool = False) -> list[splitting.Statement]:
    """The statements of a text. Raises Invalid, RefusedStatement."""
    if not isinstance(sql, str) or "\0" in sql:
        raise Invalid("Statements are a text without NUL characters.", field="sql")
    if len(sql) > MAX_TEXT:
        raise Invalid(f"At most {MAX_TEXT} characters run at once; these are {len(sql)}.", field="sql")
    try:
        sql.encode()
    except UnicodeEncodeError as error:
        raise Invalid("This holds half a character; remove it.", field="sql") from error
    found = splitting.split(sql)
    if not found:
        raise Invalid("There is nothing to run: write a statement.", field="sql")
    if len(found) > MAX_STATEMENTS:
        raise Invalid(f"At most {MAX_STATEMENTS} statements run at once; these are {len(found)}.", field="sql")
    if exactly_one and len(found) > 1:
        raise Invalid(f"These are {len(found)} statements: one at a time here.", field="sql")
    for statement in found:
        if why := splitting.refusal(statement):
            raise RefusedStatement(why, field="sql")
    return found


def caps_of(use: Usable, kind: Kind) -> Caps:
    """What changes something runs to its end: to cancel it would take the change back."""
    stops = kind not in {Kind.CHANGE, Kind.ONE_OFF}
    return Caps(use.grant.database.console_rows, SHOWN_BYTES, CELL_BYTES, MESSAGE_BYTES, stops)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Which statement of a run it is. `prepare` is told for how long it may run, right before it does."""

    number: int
    total: int
    prepare: Callable[[float], None]
    command: str | None = None


class Step:
    """One statement of a run: recorded, run, its events told, and its outcome recorded."""

    def __init__(self, asked: Asked, held: tuple[Session, access.Watch]) -> None:
        self._asked = asked
        self._session, self._watch = held
        self.outcome = Outcome()
        self.is_cancelled = False  # somebody wanted that, although it went well: then nothing more runs

    def start(self, use: Usable, statement: splitting.Statement, where: Running) -> tuple[Statement, Usable]:
        """Raises as record.start()."""
        self._session.name = where.name
        row, use = record.start(actor=self._asked.actor, use=use, sql=statement.text, where=where)
        self._watch.follow(row, use.seconds)
        return row, use

    def events(self, row: Statement, use: Usable, one: splitting.Statement, place: Place) -> Iterator[Event]:
        """Started, header and rows as they come, then Done or Failed when the outcome is in the record."""
        began, outcome = monotonic(), self.outcome
        failed: Failed | None = None
        finish = Finish(0, None, "")
        try:
            yield _started(row, use, one, place)
            began = monotonic()
            place.prepare(use.seconds)
            for item in self._session.execute(one.text, caps_of(use, Kind(row.kind))):
                if isinstance(item, Header):
                    yield Columns(columns=tuple(Column(name=one.name, type=one.type) for one in item.columns))
                elif isinstance(item, Batch):
                    outcome.rows += len(item.rows)
                    yield _rows(item)
                else:
                    finish = item
            outcome.rows, outcome.affected = finish.rows, finish.affected
            outcome.done()
        except (EngineError, Stopped) as error:
            failed = explained(error, row, offset=one.offset, elapsed_ms=_since(began))
            outcome.failed(failed.why, failed.sentence, failed.sqlstate)
        except Exception:
            outcome.failed(Why.LOST, "It failed unexpectedly.")
            raise
        finally:
            outcome.elapsed_ms = _since(began)
            if record.finish(statement=row, outcome=outcome):
                # What somebody has told the server may come late.
                self.is_cancelled, self._session.may_stay = True, False
        yield failed or _done(row, finish, outcome, use)


def _started(row: Statement, use: Usable, one: splitting.Statement, place: Place) -> Started:
    return Started(
        statement=row.pk,
        number=place.number,
        total=place.total,
        offset=one.offset,
        length=len(one.text),
        seconds=int(use.seconds),
        command=place.command,
    )


def cancelled() -> Failed:
    """After a statement that went well all the same."""
    sentence = "It was over before the server heard that you cancelled it; nothing more of this runs."
    return Failed(statement=None, why=Why.CANCELLED, sentence=sentence)


def refused(error: PortalError) -> Failed:
    """In the middle of a run: the access has ended, or too much runs."""
    why = Why.REFUSED if isinstance(error, AlreadyBegun | TooMany) else Why.ENDED
    return Failed(statement=None, why=why, sentence=error.sentence)


def explained(error: EngineError | Stopped, row: Statement, *, offset: int = 0, elapsed_ms: int = 0) -> Failed:
    """What went wrong, for the person, with the access and their wish to cancel looked at once more."""
    if isinstance(error, Stopped):
        return Failed(statement=row.pk, why=error.why, sentence=error.sentence, elapsed_ms=elapsed_ms)
    row.grant.refresh_from_db(fields=["status", "expires_at"])
    said = error if isinstance(error, StatementError) else None
    is_cut = said is None or said.is_lost or error.sqlstate == _CANCELLED
    why, sentence = Why.SQL, _in_words(error)
    if isinstance(error, TooLarge):
        why = Why.BYTES
    elif is_cut and (over := access.why_over(row.grant, clock.now())):
        why, sentence = Why.ENDED, over
    elif error.sqlstate == _CANCELLED:
        why, sentence = _who_cancelled(row)
    elif is_cut:
        why, sentence = Why.LOST, "The connection to the database was lost."
    place = None if said is None or said.position is None else said.position + offset
    return Failed(
        statement=row.pk,
        why=why,
        sentence=sentence,
        sqlstate=error.sqlstate,
        message=error.sentence if said else "",
        detail=said.detail if said else "",
        hint=said.hint if said else "",
        position=place,
        elapsed_ms=elapsed_ms,
    )


def _who_cancelled(row: Statement) -> tuple[Why, str]:
    if Statement.objects.filter(pk=row.pk, cancel_wanted_at__isnull=False).exists():
        return Why.CANCELLED, "You cancelled it, and the server stopped it."
    return Why.TIME, "It took longer than a statement may here, and the server stopped it."


def _in_words(error: EngineError) -> str:
    said = error.sentence.rstrip(".")
    if error.sqlstate == _READ_ONLY:
        return f"Here statements can only read: {said}."
    if error.sqlstate == _NO_RIGHT:
        return (
            f"This access does not reach that, or not in this way: {said}. Tables of a schema that holds masked "
            "columns are reached by their plain name, without the schema."
        )
    return f"The database said no: {said}." if error.sqlstate else f"{said}."


def _rows(item: Batch) -> Rows:
    cut = tuple(CutCell(row=row, column=column, bytes=size) for row, column, size in item.cut)
    return Rows(rows=item.rows, cut=cut)


def _done(row: Statement, finish: Finish, outcome: Outcome, use: Usable) -> Done:
    sentences = {
        "rows": f"Only the first {finish.rows:,} rows are shown: the console shows no more at once. "
        "Choose fewer by WHERE or LIMIT; access of the level export takes all of them along as a file.",
        "bytes": f"Only the first {finish.rows:,} rows are shown: more than {SHOWN_BYTES // (1 << 20)} MiB of one "
        "result does not fit on a page.",
    }
    return Done(
        statement=row.pk,
        rows=finish.rows,
        affected=finish.affected,
        tag=finish.tag,
        elapsed_ms=outcome.elapsed_ms,
        truncated=bool(finish.capped),
        why=Why(finish.capped) if finish.capped else None,
        sentence=sentences.get(finish.capped, ""),
    )


def _since(began: float) -> int:
    return int((monotonic() - began) * 1000)
