"""The console: running SQL under one's own live grant, as the login of that grant.

Every verb looks at the grant anew, under lock, before each statement, and the statement stands in the record before
it runs. What comes back goes to whoever asked, and is kept nowhere.

All raise, before anything runs: NotFound (no such grant, or not yours to see), NotAllowed (not yours, its level does
not allow it, it is for one approved statement only), Conflict (not live: being made, not begun, over, revoked; already
run; too many at once; the portal may not act), Invalid (nothing to run, refused statement), TooMany (429) and
Unavailable (503, the target does not let the login in or does not answer; `offers_reset` tells that the password may
have been changed, see reset_password()).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from apps.accounts.models import User
from apps.console.events import Event


@dataclass(frozen=True, kw_only=True)
class ColumnShown:
    name: str
    type: str
    mask: str | None  # as text; None where the value is shown as it is
    read_only: str = ""  # at level change: why it cannot be written; empty where it can


@dataclass(frozen=True, kw_only=True)
class TableShown:
    """`name` is what to write in SQL, quoted where it must be: `sales.orders`; `schema` and `table` are as they are.

    `reached_as` is the view that shows it where it is reached through one: an unqualified name finds it as well.
    """

    schema: str
    table: str
    name: str
    reached_as: str
    kind: str
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
    """A statement of one's own, newest first in a history. `text` is None where it was erased."""

    id: str
    kind: str  # query | export | change | one_off | explain
    text: str | None
    status: str  # running | done | failed | cancelled | unknown
    started_at: datetime
    finished_at: datetime | None
    rows: int | None
    bytes: int | None
    elapsed_ms: int | None
    sqlstate: str
    sentence: str  # why it failed, or was cut
    committed: bool | None  # of what could change something; None while it is open, or where nobody knows
    sha256: str  # of an export


@dataclass(frozen=True, kw_only=True)
class OneOff:
    """The one statement that a grant is for. `ran` is its run, once there is one."""

    sql: str
    expected_rows: int | None
    ran: Past | None


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
    history: tuple[Past, ...]


class Stream(Protocol):
    """Events of one run. Iterate it in one thread; close() it when the reader goes away: what runs is then cancelled,
    rolled back and recorded as such. It never raises: whatever goes wrong is an event.
    """

    def __iter__(self) -> Iterator[Event]: ...
    def __next__(self) -> Event: ...
    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Export:
    """A file on its way. Iterating `content` raises in the middle where it is not whole (StatementFailed): let that
    break the response. Its `close()` cancels.
    """

    statement: str
    name: str  # of the file: shop-2026-11-28-1-k3v5x2m7qa.csv
    content_type: str
    content: Iterator[bytes] = field(repr=False)


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
    """What the console's page shows of one's own grant, live or over. Read only. Raises NotFound, NotAllowed."""
    raise NotImplementedError


def run(*, actor: User, grant_id: str, sql: str, address: str = "", once: str | None = None) -> Stream:
    """Read: one statement or several, one after the other in one READ ONLY transaction that is rolled back at the end.

    `once` is a token that the page made for this click: a second run with it is a Conflict.
    """
    raise NotImplementedError


def query(*, actor: User, grant_id: str, sql: str, address: str = "") -> Stream:
    """As run(), of exactly one statement: Invalid for two."""
    raise NotImplementedError


def export(
    *, actor: User, grant_id: str, sql: str, file_format: str = "csv", address: str = "", once: str | None = None
) -> Export:
    """All rows of one statement as a file, `csv` or `jsonl`: the database's own bytes. Level export only.

    An error that shows before the first row raises StatementFailed (422).
    """
    raise NotImplementedError


def cancel(*, actor: User, statement_id: str) -> Progress:
    """Cancel one's own running statement on the server, from any process. NotFound where it is not one's own; what is
    over stays as it is.
    """
    raise NotImplementedError


def progress(*, actor: User, statement_id: str) -> Progress:
    """Of one's own statement. Raises NotFound."""
    raise NotImplementedError


def history(*, actor: User, grant_id: str, limit: int = 50) -> tuple[Past, ...]:
    """One's own statements under a grant, newest first."""
    raise NotImplementedError


def begin(*, actor: User, grant_id: str, address: str = "") -> Stream:
    """Open a transaction that can change something, held by this stream. Level change only, one at a time per grant.

    Commands come by say(), from any process. It is rolled back when the page has not been heard for BEAT_SECONDS,
    nothing was said for Limits.idle_seconds, the access ends, or the stream is closed; the last event is Ended. A
    process holds a few at most, and says so (Conflict).
    """
    raise NotImplementedError


def say(*, actor: User, transaction_id: str, do: str, sql: str = "", address: str = "", once: str | None = None) -> str:
    """`run` (one statement or several), `commit` or `rollback`, in one's own open transaction; returns the id of the
    command. What comes of it is told by the stream. Raises NotFound, Conflict (it is over), Invalid.
    """
    raise NotImplementedError


def beat(*, actor: User, transaction_id: str) -> None:
    """The page is still there: to be said every BEAT_SECONDS / 3. Raises NotFound, Conflict (it is over)."""
    raise NotImplementedError


def change(
    *,
    actor: User,
    grant_id: str,
    sql: str,
    commit: bool,
    expected_rows: int | None = None,
    address: str = "",
    once: str | None = None,
) -> Stream:
    """Without scripts: the statements in one transaction that is committed, or, to try it out, rolled back.

    With `expected_rows` it is rolled back where the number of affected rows, of all statements, is another.
    """
    raise NotImplementedError


def explain(*, actor: User, grant_id: str, address: str = "") -> Stream:
    """The plan of the approved statement of a one-off grant, which does not run."""
    raise NotImplementedError


def run_approved(*, actor: User, grant_id: str, address: str = "") -> Stream:
    """The approved statement, once, in one transaction. Rolled back where it affects another number of rows than
    expected. A second time is a Conflict.
    """
    raise NotImplementedError


def one_off_of(request_id: str) -> OneOff | None:
    """For the page of a request that the viewer may see: its statement and what has happened to it."""
    raise NotImplementedError
