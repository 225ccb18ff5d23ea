"""A session as a grant's own login, which runs what a person has typed. Implements apps.engines.running.LoginSession.

On libpq itself: values come as the server's own text, a row at a time, and every wait is one of ours. The server may be
hostile: what it sends is bounded here, and what it sends unasked is dropped.
"""

import fcntl
import logging
import re
import select
import socket
import struct
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Final

import psycopg
from psycopg import pq
from psycopg.postgres import types as known_types
from psycopg.pq import DiagnosticField, ExecStatus

from apps.engines.base import EngineError, Target, TargetUnavailable
from apps.engines.postgresql.connect import SignInFailed, parameters_of
from apps.engines.running import (
    Batch,
    Caps,
    Chunk,
    FileFormat,
    Finish,
    Header,
    ResultColumn,
    StatementError,
    TooLarge,
    Watch,
)

log = logging.getLogger(__name__)

MAX_COLUMNS: Final = 1_664  # PostgreSQL has no more in a result: a server that sends more is none
BATCH_ROWS: Final = 200
BATCH_BYTES: Final = 256 * 1024
CHUNK_BYTES: Final = 128 * 1024
_EVERY: Final = 1.0  # seconds between two looks of the watch
_DRAIN_SECONDS: Final = 3.0  # for what is still on its way after a result was cut
_CANCEL_SECONDS: Final = 3.0

_BYTES_RECEIVED: Final = 128  # where struct tcp_info has tcpi_bytes_received

# What makes values look alike whatever the login has set for itself; the end of the transaction takes them back.
_BEGIN: Final = (
    "BEGIN {mode}; SET LOCAL statement_timeout = {ms}; SET LOCAL bytea_output = 'hex'; SET LOCAL DateStyle = 'ISO';"
    " SET LOCAL lock_timeout = {ms}; SET LOCAL idle_in_transaction_session_timeout = 0;"
    " SET LOCAL standard_conforming_strings = on; SET LOCAL client_encoding = 'UTF8';"
    " SAVEPOINT {savepoint}"
)
_SAVEPOINT: Final = "jitportal_before"
# Strings end where splitting.py says, whatever the person has set since.
_AS_READ: Final = "SET LOCAL standard_conforming_strings = on; SET LOCAL client_encoding = 'UTF8'"
# Whoever writes to pg_authid (1260), in whatever way, keeps its lock until the end of the transaction.
_CHANGES_LOGINS: Final = (
    "SELECT '1' FROM pg_catalog.pg_locks WHERE pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() "
    "AND relation OPERATOR(pg_catalog.=) 1260::pg_catalog.oid "
    "AND mode OPERATOR(pg_catalog.=) 'RowExclusiveLock'::pg_catalog.text"
)
_WRITTEN: Final = (
    "SELECT pg_catalog.sum(n_tup_ins OPERATOR(pg_catalog.+) n_tup_upd OPERATOR(pg_catalog.+) n_tup_del)"
    "::pg_catalog.text FROM pg_catalog.pg_stat_xact_user_tables"
)
_SQLSTATE: Final = re.compile(r"[0-9A-Z]{5}")  # it is recorded: nothing else passes as one
_MOST_AFFECTED: Final = (1 << 63) - 1
_ENDS_SESSION: Final = frozenset({"57P01", "57P02", "57P03", "57P05", "25P03"})


def connect_as(target: Target, database: str, name: str, watch: Watch) -> "Session":
    """`target.user` is the login. `name` is the application_name by which cancel_backend() finds the session.

    Raises SignInFailed (answered: it did not let the login in), TargetUnavailable, Refused.
    """
    with ExitStack() as stack:
        parameters = stack.enter_context(parameters_of(target, database))
        try:
            connection = psycopg.Connection.connect(
                **parameters | {"application_name": name}, autocommit=True, prepare_threshold=None
            )
        except psycopg.OperationalError as error:
            asked = bool(error.pgconn and error.pgconn.used_password)
            said = " ".join(str(error).split()).rstrip(".")
            outcome = "did not let the login in" if asked else "could not be reached"
            raise SignInFailed(f"The server {outcome}: {said}.", asked_for_password=asked) from error
        # Whoever cancels connects once more, by the same certificates.
        return Session(connection, name, watch, stack.pop_all())


def cancel_backend(target: Target, database: str, pid: int, name: str) -> bool:
    """As the same login, from anywhere: ask the server to stop what runs in that session. False: it is not there."""

    def nothing_stops_this() -> None:
        return

    session = connect_as(target, database, "jitportal-cancel", nothing_stops_this)
    try:
        # The name tells it from another session that has got the same pid since.
        rows = session.ask(
            "SELECT pg_catalog.pg_cancel_backend(pid)::pg_catalog.text FROM pg_catalog.pg_stat_activity "
            "WHERE pid OPERATOR(pg_catalog.=) $1::pg_catalog.int4 "
            "AND application_name OPERATOR(pg_catalog.=) $2::pg_catalog.text "
            "AND usename OPERATOR(pg_catalog.=) CURRENT_USER",
            [str(pid), name],
        )
    finally:
        session.close()
    return any(row[0] == "true" for row in rows)


class Session:
    def __init__(self, connection: "psycopg.Connection[Any]", name: str, watch: Watch, held: ExitStack) -> None:
        self._connection, self._pg = connection, connection.pgconn
        self._watch, self._watched_at, self._held = watch, time.monotonic(), held
        self._arrivals, self._since_row, self._most = _Arrivals(self._pg.socket), 0, 1 << 20
        self._pg.notice_handler = self._pg.notify_handler = None
        self.pid, self.name = self._pg.backend_pid, name

    @property
    def is_idle(self) -> bool:
        """Outside a transaction."""
        return self._pg.transaction_status == pq.TransactionStatus.IDLE

    def fileno(self) -> int:
        return self._pg.socket

    def begin(self, seconds: float, *, read_only: bool) -> None:
        mode = "READ ONLY" if read_only else "READ WRITE"
        self._simple(_BEGIN.format(mode=mode, savepoint=_SAVEPOINT, ms=max(1, int(seconds * 1000))))

    def go_on(self, seconds: float) -> None:
        ms = max(1, int(seconds * 1000))
        again = (
            f"RELEASE SAVEPOINT {_SAVEPOINT}; SET LOCAL statement_timeout = {ms}; {_AS_READ}; SAVEPOINT {_SAVEPOINT}"
        )
        self._simple(again)

    def execute(self, text: str, caps: Caps) -> Iterator[Header | Batch | Finish]:
        self._most = caps.message_bytes
        self._send(text)
        self._pg.set_single_row_mode()
        gathered, finish, error = _Gathered(caps), None, None
        while (result := self._result()) is not None:
            match result.status:
                case ExecStatus.SINGLE_TUPLE:
                    if gathered.is_first:
                        yield self._header(result)
                    if _size(result) > self._most:
                        raise self._too_large()
                    if not gathered.add(result) and caps.stops:
                        yield from gathered.take()
                        self._stop_early()
                        yield Finish(gathered.rows, None, "", capped=gathered.capped)
                        return
                    if gathered.is_full:
                        yield from gathered.take()
                case ExecStatus.TUPLES_OK:
                    if gathered.is_first:
                        yield self._header(result)
                    finish = _finish(result, gathered)
                case ExecStatus.COMMAND_OK | ExecStatus.EMPTY_QUERY:
                    finish = _finish(result, gathered)
                case ExecStatus.FATAL_ERROR:
                    error = _error_of(result)
                case _:
                    self.close()
                    raise StatementError("COPY is not run here: export gives rows as a file.", is_lost=True)
        yield from gathered.take()
        if error is not None:
            raise error
        yield finish or Finish(gathered.rows, None, "")

    def copy_out(self, text: str, file_format: FileFormat, message_bytes: int) -> Iterator[Chunk]:
        self._most = message_bytes
        names = self._described(text)
        if file_format is FileFormat.JSONL and len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise StatementError(f"Two columns are both named {twice}: give one of them another name (AS …).")
        before, after = _copy(file_format)
        self._send(before + text + after)
        while (result := self._result()) is not None:
            if result.status == ExecStatus.FATAL_ERROR:
                self._drain()
                raise _error_of(result, before=len(before))
            if result.status == ExecStatus.COPY_OUT:
                break
        else:
            raise StatementError("This gives no rows that could be exported.")
        yield Chunk(b"", 0)
        yield from self._copied(file_format)

    def take_back(self) -> None:
        self._simple(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")

    def commit(self) -> None:
        # What was put off until COMMIT happens now, so that it is looked at as well.
        self._simple("SET CONSTRAINTS ALL IMMEDIATE")
        if self.ask(_CHANGES_LOGINS, []):
            raise StatementError(
                "Logins and their passwords are not changed here: whoever knew the password would pass by the console"
            )
        tag = self._simple("COMMIT")
        if tag != "COMMIT":
            raise StatementError("The transaction had failed, and the server rolled it back.")

    def written(self) -> int:
        """Rows that this transaction has written until now, as the server counts them, triggers' included."""
        ((counted,),) = self.ask(_WRITTEN, [])
        return int(counted or 0)

    def rollback(self) -> None:
        self._simple("ROLLBACK")

    def cancel(self) -> None:
        with suppress(psycopg.Error):
            self._connection.cancel_safe(timeout=_CANCEL_SECONDS)

    def is_there(self) -> bool:
        """Whether the server still holds the connection, which it closes at the end of the access."""
        if self._pg.status != pq.ConnStatus.OK:
            return False
        try:
            if _readable(self._pg.socket):
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

    def ask(self, text: str, parameters: list[str]) -> list[list[str | None]]:
        """A question of ours, whose answer is small."""
        with self._noticed():
            self._pg.send_query_params(text.encode(), [value.encode() for value in parameters])
        self._flush()
        found: list[list[str | None]] = []
        while (result := self._result()) is not None:
            if result.status == ExecStatus.FATAL_ERROR:
                raise _error_of(result)
            for row in range(result.ntuples):
                found.append([_text(result.get_value(row, column)) for column in range(result.nfields)])
        return found

    def _copied(self, file_format: FileFormat) -> Iterator[Chunk]:
        is_json = file_format is FileFormat.JSONL
        rows = 0 if is_json else -1  # the names of the columns are the first line
        gathered = bytearray()
        while True:
            lines, length = self._lines(gathered)
            rows += lines
            if length == 0:
                if not lines and self._since_row and self._arrivals.so_far() - self._since_row > self._most:
                    raise self._too_large()
                self._wait()
                self._consume()
            elif length < 0:
                break
            else:
                yield _chunk(gathered, rows, is_json=is_json)
                gathered, rows = bytearray(), 0
                self._look()
        while (result := self._result()) is not None:
            if result.status == ExecStatus.FATAL_ERROR:
                raise _error_of(result)
        yield _chunk(gathered, rows, is_json=is_json)

    def _lines(self, gathered: bytearray) -> tuple[int, int]:
        """Take what has come, line by line: the slow part of an export, which does nothing besides and keeps no object
        of a line. Returns how many, and the last length: 0 to wait for more, negative at the end.
        """
        get, lines, length = self._pg.get_copy_data, 0, 1
        with self._noticed():
            while len(gathered) < CHUNK_BYTES:
                length, data = get(1)
                if length <= 0:
                    break
                if length > self._most:  # it came so fast that libpq took all of it in one go
                    raise self._too_large()
                gathered += data
                lines += 1
        if lines:
            self._since_row = 0
        return lines, length

    def _described(self, text: str) -> list[str]:
        """The names of what a query returns. On its own it must be one whole statement, before it is put into COPY."""
        with self._noticed():
            self._pg.send_prepare(b"", text.encode())
        self._flush()
        self._checked_results()
        with self._noticed():
            self._pg.send_describe_prepared(b"")
        self._flush()
        (result,) = self._checked_results() or (None,)
        if result is None or not result.nfields:
            raise StatementError("This gives no rows that could be exported.")
        self._check_width(result)
        return [_text(result.fname(column)) or "" for column in range(result.nfields)]

    def _checked_results(self) -> "list[pq.abc.PGresult]":
        found = []
        while (result := self._result()) is not None:
            found.append(result)
        for result in found:
            if result.status == ExecStatus.FATAL_ERROR:
                raise _error_of(result)
        return found

    def _simple(self, text: str) -> str:
        """Statements of ours; returns the last one's tag."""
        with self._noticed():
            self._pg.send_query(text.encode())
        self._flush()
        results = self._checked_results()
        return _text(results[-1].command_status) or "" if results else ""

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
                if _readable(self._pg.socket):
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

    def _wait(self, *, write: bool = False) -> None:
        """For the server; meanwhile the watch looks, once a second."""
        poll = select.poll()
        poll.register(self._pg.socket, select.POLLIN | (select.POLLOUT if write else 0))
        while True:
            self._look()
            if poll.poll(max(0.0, self._watched_at + _EVERY - time.monotonic()) * 1000):
                return

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
                    raise _error_of(result, is_lost=True) from error
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

    def _stop_early(self) -> None:
        self.cancel()
        self._drain()
        if self._pg.status == pq.ConnStatus.OK:
            self.take_back()

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

    def _header(self, result: "pq.abc.PGresult") -> Header:
        self._check_width(result)
        return Header(
            tuple(
                ResultColumn(_text(result.fname(number)) or "", _type_name(result.ftype(number)))
                for number in range(result.nfields)
            )
        )

    def _check_width(self, result: "pq.abc.PGresult") -> None:
        if result.nfields > MAX_COLUMNS:
            self.close()
            raise TooLarge(f"The server sent {result.nfields} columns, more than PostgreSQL has: it was cut off.")


class _Gathered:
    """Rows of one result as they come, and what is left of its caps."""

    def __init__(self, caps: Caps) -> None:
        self._caps, self._bytes, self._batch_bytes = caps, 0, 0
        self._rows: list[tuple[str | None, ...]] = []
        self._cut: list[tuple[int, int, int]] = []
        self.rows, self.is_first, self.capped = 0, True, ""

    @property
    def is_full(self) -> bool:
        return len(self._rows) >= BATCH_ROWS or self._batch_bytes >= BATCH_BYTES

    def add(self, result: "pq.abc.PGresult") -> bool:
        """False where a cap does not let the row in."""
        self.is_first = False
        if self.capped:
            return False
        if self.rows >= self._caps.rows:
            self.capped = "rows"
            return False
        cells: list[str | None] = []
        size, cut = 0, list[tuple[int, int, int]]()
        for column in range(result.nfields):
            value = result.get_value(0, column)
            if value is not None and len(value) > self._caps.cell_bytes:
                cut.append((len(self._rows), column, len(value)))
                value = value[: self._caps.cell_bytes]
            size += len(value or b"") + 8
            cells.append(_text(value))
        if self._bytes + size > self._caps.bytes:
            self.capped = "bytes"
            return False
        self._rows.append(tuple(cells))
        self._cut += cut
        self.rows, self._bytes, self._batch_bytes = self.rows + 1, self._bytes + size, self._batch_bytes + size
        return True

    def take(self) -> Iterator[Batch]:
        if self._rows:
            yield Batch(tuple(self._rows), tuple(self._cut))
        self._rows, self._cut, self._batch_bytes = [], [], 0


def _size(result: "pq.abc.PGresult") -> int:
    return sum(len(result.get_value(0, column) or b"") for column in range(result.nfields))


def _finish(result: "pq.abc.PGresult", gathered: _Gathered) -> Finish:
    affected = None if result.command_tuples is None else min(result.command_tuples, _MOST_AFFECTED)
    return Finish(gathered.rows, affected, _text(result.command_status) or "", gathered.capped)


def _copy(file_format: FileFormat) -> tuple[str, str]:
    """What stands before and after the query; on a line of its own, so that a comment at its end is one."""
    if file_format is FileFormat.CSV:
        return "COPY (", "\n) TO STDOUT (FORMAT csv, HEADER, ENCODING 'UTF8')"
    return "COPY (SELECT pg_catalog.row_to_json(q) FROM (", "\n) q) TO STDOUT (FORMAT text, ENCODING 'UTF8')"


def _chunk(gathered: bytearray, rows: int, *, is_json: bool) -> Chunk:
    data = bytes(gathered)
    if is_json:
        # COPY's text form has a backslash before each of its own. A line break within a row stands between the parts
        # of a value of type json, where a space does as well.
        kept = data.replace(b"\\\\", b"\0")
        for written in (b"\\n", b"\\r", b"\\t", b"\\b", b"\\f", b"\\v"):
            kept = kept.replace(written, b" ")
        data = kept.replace(b"\0", b"\\")
    return Chunk(data, rows)


def _error_of(result: "pq.abc.PGresult", *, before: int = 0, is_lost: bool = False) -> StatementError:
    def told(field: DiagnosticField) -> str:
        return (_text(result.error_field(field)) or "")[:2000]

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


def _text(value: "bytes | memoryview | None") -> str | None:
    return None if value is None else bytes(value).decode("utf-8", "replace")


def _type_name(oid: int) -> str:
    """As format_type() prints it; a type that somebody has made is known by its number only."""
    found = known_types.get(oid)
    if found is None:
        return f"type {oid}"
    return f"{found.regtype}[]" if found.array_oid == oid else found.regtype


class _Arrivals:
    """How many bytes have come, so that one row which never ends is noticed: libpq would take it all.

    Linux counts them; elsewhere what waits is added up whenever it is looked at, which is less than the truth.
    """

    def __init__(self, descriptor: int) -> None:
        self._socket, self._sum = socket.fromfd(descriptor, socket.AF_INET, socket.SOCK_STREAM), 1
        self._is_counted = sys.platform == "linux" and self._has_info()

    def _has_info(self) -> bool:
        try:
            return len(self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)) >= _BYTES_RECEIVED + 8
        except OSError:  # no TCP
            return False

    def so_far(self) -> int:
        if self._is_counted:
            info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
            (counted,) = struct.unpack_from("Q", info, _BYTES_RECEIVED)
            return int(counted)
        (waiting,) = struct.unpack("i", fcntl.ioctl(self._socket, termios.FIONREAD, b"\0\0\0\0"))
        self._sum += int(waiting)
        return self._sum

    def close(self) -> None:
        self._socket.close()


def _readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
