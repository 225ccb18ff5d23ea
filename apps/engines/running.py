"""The contract for running people's SQL as a grant's own login: what goes over, what comes back. No Django.

Whoever is on the other side may be hostile: rows, bytes, columns and time are bounded on this side, and a connection
that does not keep to them is cut.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from time import monotonic
from typing import Protocol

from apps.engines.base import EngineError

# Asked about once a second while something runs; raises whatever must end it, and the connection is cut then.
Watch = Callable[[], None]


def patience(seconds: float) -> Watch:
    """A watch that waits for so long and no longer: it raises EngineError."""
    until = monotonic() + seconds

    def look() -> None:
        if monotonic() > until:
            raise EngineError("The server did not answer in time.")

    return look


class StatementError(EngineError):
    """The database said no to a statement. The session can go on after a rollback, unless it `is_lost`."""

    def __init__(
        self,
        sentence: str,
        *,
        sqlstate: str = "",
        detail: str = "",
        hint: str = "",
        position: int | None = None,
        is_lost: bool = False,
    ) -> None:
        super().__init__(sentence, sqlstate=sqlstate)
        self.detail, self.hint = detail, hint
        self.position = position  # characters from the beginning of the statement, from 0
        self.is_lost = is_lost


class TooLarge(EngineError):
    """One row, or the number of columns, is more than this side takes. The connection is cut."""


class FileFormat(StrEnum):
    CSV = "csv"
    JSONL = "jsonl"


@dataclass(frozen=True)
class Caps:
    """Of one result, on this side. Where `stops`, a statement that gives more is cancelled and taken back; otherwise it
    runs to its end, and the rest is not given.
    """

    rows: int
    bytes: int
    cell_bytes: int  # more of one value is not shown
    message_bytes: int  # one row with more than this cuts the connection
    stops: bool = True


@dataclass(frozen=True)
class ResultColumn:
    name: str
    type: str


@dataclass(frozen=True)
class Header:
    """What a statement returns; comes once, before its rows, and not at all where it returns none."""

    columns: tuple[ResultColumn, ...]


@dataclass(frozen=True)
class Batch:
    """`cut`: (row within the batch, column, bytes of the whole value) of values of which the beginning is shown."""

    rows: tuple[tuple[str | None, ...], ...]
    cut: tuple[tuple[int, int, int], ...] = ()


@dataclass(frozen=True)
class Finish:
    """`rows` that were given; `affected` as the tag counts them; `capped` by what: rows, bytes or nothing."""

    rows: int
    affected: int | None
    tag: str
    capped: str = ""


@dataclass(frozen=True)
class Chunk:
    """A part of a file. `rows` and `data` are of this part alone."""

    data: bytes
    rows: int


class LoginSession(Protocol):
    """One connection as a login. Errors: StatementError, TooLarge, TargetUnavailable, and what the watch raises."""

    pid: int
    name: str  # application_name while something runs: tells it from another session with the same pid
    signed_in_at: float  # monotonic
    may_stay: bool  # False: something may still be on its way to it, which must not meet what runs next

    def take_up(self, name: str, watch: Watch) -> None:
        """For another run of the same login."""

    def start_over(self) -> None:
        """Leave nothing of a run behind."""

    def begin(self, seconds: float, *, read_only: bool) -> None:
        """Open a transaction in which a statement may run for `seconds`."""

    def go_on(self, seconds: float) -> None:
        """After a statement that went well, before the next one of the same transaction. It goes by `name`, too."""

    def take_back(self) -> None:
        """What was done since begin() or go_on(), also after an error."""

    def execute(self, text: str, caps: Caps) -> Iterator[Header | Batch | Finish]:
        """Run one statement (two in one are refused by the server). The last item is Finish."""

    def copy_out(self, text: str, file_format: FileFormat, message_bytes: int) -> Iterator[Chunk]:
        """All rows of one query as a file. Items may be empty: where for a second nothing else came."""

    def commit(self) -> None:
        """Returns when the server has said that it is committed. StatementError: it was not.

        What has changed a login or a password, in whatever way, is not committed.
        """

    def written(self) -> int:
        """Rows that the transaction has written until now, whoever of its statements did it, and how."""

    def rollback(self) -> None: ...

    def cancel(self) -> None:
        """Ask the server to stop what runs here."""

    def is_quiet(self) -> bool:
        """Whether it waits for its next statement, and nothing has come unasked."""

    def is_there(self) -> bool:
        """Whether the server still holds the connection. What it has sent unasked is dropped (field notes S6)."""

    def close(self) -> None:
        """Cancels what still runs. Never raises."""
