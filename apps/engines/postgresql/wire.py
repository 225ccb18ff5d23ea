"""One connection on libpq itself: every wait is one of ours, and what comes is bounded.

The server may be hostile: a row that does not end cuts the connection, and what is sent unasked is dropped.
"""

import math
import re
import select
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Final

import psycopg
from psycopg import pq
from psycopg.pq import DiagnosticField, ExecStatus

from apps.engines.base import EngineError, TargetUnavailable
from apps.engines.postgresql.arrivals import Arrivals, readable
from apps.engines.running import StatementError, TooLarge, Watch

_EVERY: Final = 1.0  # seconds between two looks of the watch
_DRAIN_SECONDS: Final = 3.0  # for what is still on its way after a result was cut
_CANCEL_SECONDS: Final = 3.0
_SQLSTATE: Final = re.compile(r"[0-9A-Z]{5}")  # it is recorded: nothing else passes as one
_ENDS_SESSION: Final = frozenset({"57P01", "57P02", "57P03", "57P05", "25P03"})


class Wire:
    """What running.Session sends its statements over."""

    def __init__(self, connection: "psycopg.Connection[Any]", name: str, watch: Watch, held: ExitStack) -> None:
        self._connection, self._pg = connection, connection.pgconn
        self._watch, self._watched_at, self._held = watch, time.monotonic(), held
        self._arrivals, self._since_row, self._most = Arrivals(self._pg.socket), 0, 1 << 20
        self.signed_in_at, self.may_stay = time.monotonic(), True
        self._pg.notice_handler = self._pg.notify_handler = None
        self.pid, self.name = self._pg.backend_pid, name

    def take_up(self, name: str, watch: Watch) -> None:
        """For the next run, which is found by another name: a word to cancel the last one must not meet it."""
        self.name, self._watch, self._watched_at = name, watch, time.monotonic()

    @property
    def is_idle(self) -> bool:
        """Outside a transaction."""
        return self._pg.transaction_status == pq.TransactionStatus.IDLE

    def fileno(self) -> int:
        return self._pg.socket

    def ask(self, text: str, parameters: list[str]) -> list[list[str | None]]:
        """A question of ours, whose answer is small."""
        with self._noticed():
            self._pg.send_query_params(text.encode(), [value.encode() for value in parameters])
        self._flush()
        found: list[list[str | None]] = []
        while (result := self._result()) is not None:
            if result.status == ExecStatus.FATAL_ERROR:
                raise error_of(result)
            for row in range(result.ntuples):
                found.append([decoded(result.get_value(row, column)) for column in range(result.nfields)])
        return found

    def cancel(self) -> None:
        self.may_stay = False  # the word may come late, and meet what runs next
        with suppress(psycopg.Error):
            self._connection.cancel_safe(timeout=_CANCEL_SECONDS)

    def is_quiet(self) -> bool:
        """Whether the server still holds the connection and has said nothing since: its last word may be on its way."""
        return self._pg.status == pq.ConnStatus.OK and self.is_idle and not readable(self._pg.socket)

    def is_there(self) -> bool:
        """Whether the server still holds the connection, which it closes at the end of the access."""
        if self._pg.status != pq.ConnStatus.OK:
            return False
        try:
            if readable(self._pg.socket):
                self._consume()
                self._pg.is_busy()
                while self._pg.notifies() is not None:
                    pass  # to nobody (field notes S6)
                self._since_row = 0
        except EngineError:
            return False
        return self._pg.status == pq.ConnStatus.OK

    def close(self) -> None:
        with suppress(Exception):
            if self._pg.status == pq.ConnStatus.OK and self._pg.transaction_status == pq.TransactionStatus.ACTIVE:
                self.cancel()
        self._connection.close()
        self._arrivals.close()
        self._held.close()

    def _checked_results(self) -> "list[pq.abc.PGresult]":
        found = []
        while (result := self._result()) is not None:
            found.append(result)
        for result in found:
            if result.status == ExecStatus.FATAL_ERROR:
                raise error_of(result)
        return found

    def _simple(self, text: str) -> str:
        """Statements of ours; returns the last one's tag."""
        with self._noticed():
            self._pg.send_query(text.encode())
        self._flush()
        results = self._checked_results()
        return decoded(results[-1].command_status) or "" if results else ""

    def _send(self, text: str) -> None:
        """By the extended protocol, in which the server takes one statement at a time and no more."""
        with self._noticed():
            self._pg.send_query_params(text.encode(), None)
        self._flush()

    @contextmanager
    def _noticed(self) -> Iterator[None]:
        """That libpq has lost the connection is an error of the contract."""
        try:
            yield
        except psycopg.Error as error:
            raise self._lost() from error

    def _flush(self) -> None:
        with self._noticed():
            while self._pg.flush():
                self._wait(write=True)
                if readable(self._pg.socket):
                    self._consume()

    def _result(self) -> "pq.abc.PGresult | None":
        while self._pg.is_busy():
            self._wait()
            self._consume()
        result = self._pg.get_result()
        self._since_row = 0
        self._look()  # also where there is always more to read
        if self._pg.status != pq.ConnStatus.OK and (result is None or not result.error_field(DiagnosticField.SQLSTATE)):
            raise self._lost()
        return result

    def _wait(self, *, write: bool = False, at_most: float = math.inf) -> bool:
        """For the server, `at_most` so many seconds; meanwhile the watch looks, once a second. False: nothing came."""
        until = time.monotonic() + at_most
        poll = select.poll()
        poll.register(self._pg.socket, select.POLLIN | (select.POLLOUT if write else 0))
        while True:
            self._look()
            now = time.monotonic()
            if poll.poll(max(0.0, min(self._watched_at + _EVERY, until) - now) * 1000):
                return True
            if now >= until:
                return False

    def _look(self) -> None:
        if time.monotonic() - self._watched_at >= _EVERY:
            self._watched_at = time.monotonic()
            try:
                self._watch()
            except BaseException:
                self.close()
                raise

    def _consume(self) -> None:
        self._since_row = self._since_row or self._arrivals.so_far()
        try:
            self._pg.consume_input()
        except psycopg.Error as error:
            # Its last word may still be there: why it closes the connection.
            if self._pg.transaction_status == pq.TransactionStatus.UNKNOWN and not self._pg.is_busy():
                result = self._pg.get_result()
                if result is not None and result.error_field(DiagnosticField.SQLSTATE):
                    raise error_of(result, is_lost=True) from error
            raise self._lost() from error
        # What has come and is not yet one whole row.
        if self._arrivals.so_far() - self._since_row > self._most and self._pg.is_busy():
            raise self._too_large()

    def _too_large(self) -> TooLarge:
        self.close()
        limit = f"{self._most // (1 << 20)} MiB"
        return TooLarge(f"One row is larger than {limit}, so that the connection was cut: select less of it.")

    def _lost(self) -> TargetUnavailable:
        self._connection.close()
        return TargetUnavailable("The connection to the server was lost.")

    def _drain(self) -> None:
        """Until the server is ready for the next statement. One that goes on sending is cut off."""
        until = time.monotonic() + _DRAIN_SECONDS
        poll = select.poll()
        poll.register(self._pg.socket, select.POLLIN)
        while True:
            while self._pg.is_busy():
                left = until - time.monotonic()
                if left <= 0 or not poll.poll(left * 1000):
                    self._connection.close()
                    return
                self._consume()
            if self._pg.get_result() is None:
                return
            self._since_row = 0
            if time.monotonic() > until:
                self._connection.close()
                return


def decoded(value: "bytes | memoryview | None") -> str | None:
    return None if value is None else bytes(value).decode("utf-8", "replace")


def error_of(result: "pq.abc.PGresult", *, before: int = 0, is_lost: bool = False) -> StatementError:
    def told(field: DiagnosticField) -> str:
        return (decoded(result.error_field(field)) or "")[:2000]

    state, place = told(DiagnosticField.SQLSTATE), told(DiagnosticField.STATEMENT_POSITION)
    if not _SQLSTATE.fullmatch(state):
        state = ""
    position = int(place) - 1 - before if place.isascii() and place.isdigit() else None
    return StatementError(
        told(DiagnosticField.MESSAGE_PRIMARY) or "The server reported an error without a word.",
        sqlstate=state,
        detail=told(DiagnosticField.MESSAGE_DETAIL),
        hint=told(DiagnosticField.MESSAGE_HINT),
        position=position if position is not None and position >= 0 else None,
        is_lost=is_lost or state in _ENDS_SESSION,
    )
