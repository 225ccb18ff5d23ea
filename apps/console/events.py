"""What a run tells, in order, while it happens. Values go to whoever asked and are kept nowhere.

A run of statements:  (Started, [Columns, Rows…], Done | Failed)… and, where it could change something, Ended.
After Failed nothing of the same run follows but Ended. Each has a JSON form, {"event": "rows", …}, for a page: one
object a line.
"""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, ClassVar

Value = str | None  # the text that PostgreSQL gives, exactly; None is NULL; bytea as \x… (hex)


class Why(StrEnum):
    """Why a result, or a run, ended before its time."""

    ROWS = "rows"  # the cap of the database
    BYTES = "bytes"  # more than a page can show
    CANCELLED = "cancelled"  # by the person
    TIME = "time"  # the statement took too long
    ENDED = "ended"  # the access is over: expired, revoked, given back
    LOST = "lost"  # the connection to the target was lost
    IDLE = "idle"  # a transaction that nobody used
    GONE = "gone"  # the page that held the transaction is not there any more
    COUNT = "count"  # other than the expected number of rows
    SQL = "sql"  # the database said no: see sqlstate
    REFUSED = "refused"  # it was not even begun: too much runs, or it was begun already


@dataclass(frozen=True, kw_only=True)
class Event:
    event: ClassVar[str]

    def to_json(self) -> dict[str, Any]:
        return {"event": self.event, **asdict(self)}


@dataclass(frozen=True, kw_only=True)
class Begun(Event):
    """A change transaction is open. First event of its stream."""

    event = "begun"
    transaction: str
    expires_at: str  # of the access, RFC 3339
    idle_seconds: int  # without a command it is rolled back after so long


@dataclass(frozen=True, kw_only=True)
class Tick(Event):
    """Nothing has happened. So that a page knows that it is heard, and the server that there is a page."""

    event = "tick"
    seconds_left: int  # of the access
    idle_left: int | None = None  # until a transaction is rolled back


@dataclass(frozen=True, kw_only=True)
class Started(Event):
    """It stands in the record and runs now. `statement` is what cancel() takes."""

    event = "started"
    statement: str
    number: int  # 1-based, of `total`
    total: int
    offset: int  # where it begins in the text that was given, in characters
    length: int
    seconds: int  # for how long it may run
    command: str | None = None  # in a change transaction: the id that say() gave


@dataclass(frozen=True, kw_only=True)
class Column:
    name: str
    type: str  # as the target's format_type() prints it; an OID where it could not be told


@dataclass(frozen=True, kw_only=True)
class CutCell:
    """A value of which only the beginning is shown. `row` counts from 0 within the batch."""

    row: int
    column: int
    bytes: int  # of the whole value


@dataclass(frozen=True, kw_only=True)
class Columns(Event):
    event = "columns"
    columns: tuple[Column, ...]


@dataclass(frozen=True, kw_only=True)
class Rows(Event):
    event = "rows"
    rows: tuple[tuple[Value, ...], ...]
    cut: tuple[CutCell, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Done(Event):
    """One statement is over. `rows` were shown; `affected` is what its tag counts (None where it counts nothing).

    `why` and `sentence` say why not all rows were shown; empty when they were.
    """

    event = "done"
    statement: str
    rows: int
    affected: int | None
    tag: str  # SELECT 5, UPDATE 3, …
    elapsed_ms: int
    truncated: bool = False
    why: Why | None = None
    sentence: str = ""


@dataclass(frozen=True, kw_only=True)
class Failed(Event):
    """`statement` is None where nothing had been started. `position`: characters from the beginning of the text that
    was given, from 0; None where the database named none.
    """

    event = "failed"
    statement: str | None
    why: Why
    sentence: str  # for a person; with the database's own words in `message`
    sqlstate: str = ""
    message: str = ""
    detail: str = ""
    hint: str = ""
    position: int | None = None
    elapsed_ms: int = 0


@dataclass(frozen=True, kw_only=True)
class Ended(Event):
    """What became of a transaction that could change something: the last event of a change, a try or a one-off."""

    event = "ended"
    committed: bool | None  # None: the answer to COMMIT was lost, and nobody knows
    affected: int | None  # rows in all
    why: Why | None  # of a rollback that the person did not ask for
    sentence: str
