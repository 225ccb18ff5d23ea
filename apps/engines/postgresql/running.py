"""A session as a grant's own login, which runs what a person has typed. Implements apps.engines.running.LoginSession.

On libpq itself: values come as the server's own text, a row at a time, and every wait is one of ours. The server may be
hostile: what it sends is bounded here, and what it sends unasked is dropped.
"""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from itertools import count
from typing import Final

import psycopg
from psycopg import pq, sql
from psycopg.postgres import types as known_types
from psycopg.pq import ExecStatus

from apps.engines.base import EngineError, Target
from apps.engines.postgresql.connect import SignInFailed, parameters_of
from apps.engines.postgresql.gathering import Gathered, finish_of, size_of
from apps.engines.postgresql.wire import Wire, decoded, error_of
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
    patience,
)

MAX_COLUMNS: Final = 1_664  # PostgreSQL has no more in a result: a server that sends more is none
CHUNK_BYTES: Final = 128 * 1024
_JSON: Final = "COPY (SELECT pg_catalog.row_to_json(%s) FROM (", "\n) %s) TO STDOUT (FORMAT text, ENCODING 'UTF8')"
SESSION_IDLE_SECONDS: Final = 20  # outside a transaction, until the server closes one that nobody came back to

_ASIDE_SECONDS: Final = 2.0
_TOLD_EVERY: Final = 1.0  # seconds: so long nothing is heard of an export at most
# What makes values look alike whatever the login has set for itself; the end of the transaction takes them back.
_BEGIN: Final = (
    "BEGIN {mode}; SET LOCAL statement_timeout = {ms}; SET LOCAL bytea_output = 'hex'; SET LOCAL DateStyle = 'ISO';"
    " SET LOCAL application_name = {name};"
    " SET LOCAL lock_timeout = {ms}; SET LOCAL idle_in_transaction_session_timeout = 0;"
    " SET LOCAL standard_conforming_strings = on; SET LOCAL client_encoding = 'UTF8';"
    " SAVEPOINT {savepoint}"
)
_SAVEPOINT: Final = "jitportal_before"
# Told at the sign-in, so that no RESET takes it away.
_OPTIONS: Final = f"-c idle_session_timeout={SESSION_IDLE_SECONDS}s"
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
_TYPES: Final = (
    "SELECT oid::pg_catalog.text, pg_catalog.format_type(oid, NULL) FROM pg_catalog.pg_type "
    "WHERE oid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[])"
)


def connect_as(target: Target, database: str, name: str, watch: Watch) -> "Session":
    """`target.user` is the login. `name` is the application_name by which cancel_backend() finds what runs in it.

    Raises SignInFailed (answered: it did not let the login in), TargetUnavailable, Refused.
    """
    with ExitStack() as stack:
        parameters = stack.enter_context(parameters_of(target, database))
        try:
            connection = psycopg.Connection.connect(
                **parameters | {"application_name": name, "options": _OPTIONS}, autocommit=True, prepare_threshold=None
            )
        except psycopg.OperationalError as error:
            asked = bool(error.pgconn and error.pgconn.used_password)
            said = " ".join(str(error).split()).rstrip(".")
            outcome = "did not let the login in" if asked else "could not be reached"
            raise SignInFailed(f"The server {outcome}: {said}.", asked_for_password=asked) from error
        # Whoever cancels connects once more, by the same certificates.
        session = Session(connection, name, watch, stack.pop_all())
        session.aside = partial(connect_as, target, database)
        return session


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


class Session(Wire):
    """See apps.engines.running.LoginSession. `aside` connects once more, by (name, watch)."""

    aside: "Callable[[str, Watch], Session]"

    def start_over(self) -> None:
        """Leave nothing of a run behind: its transaction, settings, temporary tables, cursors and locks."""
        # DISCARD leaves what random() goes on from.
        self._simple(f"ROLLBACK; SELECT pg_catalog.setseed({secrets.randbelow(1 << 30) / (1 << 30)})")
        self._simple("DISCARD ALL")

    def begin(self, seconds: float, *, read_only: bool) -> None:
        mode = "READ ONLY" if read_only else "READ WRITE"
        text = _BEGIN.format(mode=mode, savepoint=_SAVEPOINT, ms=max(1, int(seconds * 1000)), name=_quoted(self.name))
        self._simple(text)

    def go_on(self, seconds: float) -> None:
        ms = max(1, int(seconds * 1000))
        name = f"SET LOCAL application_name = {_quoted(self.name)}"
        again = f"RELEASE SAVEPOINT {_SAVEPOINT}; SET LOCAL statement_timeout = {ms}; {_AS_READ}; {name}"
        self._simple(f"{again}; SAVEPOINT {_SAVEPOINT}")

    def execute(self, text: str, caps: Caps) -> Iterator[Header | Batch | Finish]:
        self._most = caps.message_bytes
        self._send(text)
        self._pg.set_single_row_mode()
        gathered, finish, error = Gathered(caps), None, None
        while (result := self._result()) is not None:
            match result.status:
                case ExecStatus.SINGLE_TUPLE:
                    if gathered.is_first:
                        yield self._header(result)
                    if size_of(result) > self._most:
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
                    finish = finish_of(result, gathered)
                case ExecStatus.COMMAND_OK | ExecStatus.EMPTY_QUERY:
                    finish = finish_of(result, gathered)
                case ExecStatus.FATAL_ERROR:
                    error = error_of(result)
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
        before, after = _copy(file_format, names)
        self._send(before + text + after)
        # The server keeps even its agreement to itself until the first rows fill a packet.
        yield from self._awaited()
        while (result := self._result()) is not None:
            if result.status == ExecStatus.FATAL_ERROR:
                self._drain()
                raise error_of(result, before=len(before))
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

    def _copied(self, file_format: FileFormat) -> Iterator[Chunk]:
        is_json = file_format is FileFormat.JSONL
        rows = 0 if is_json else -1  # the names of the columns are the first line
        gathered, told = bytearray(), time.monotonic()
        while True:
            lines, length = self._lines(gathered)
            rows += lines
            if length < 0:
                break
            if length == 0:
                if not lines and self._since_row and self._arrivals.so_far() - self._since_row > self._most:
                    raise self._too_large()
                if self._wait(at_most=_TOLD_EVERY):
                    self._consume()
            if length > 0 or time.monotonic() - told >= _TOLD_EVERY:
                yield _chunk(gathered, rows, is_json=is_json)
                gathered, rows, told = bytearray(), 0, time.monotonic()
                self._look()
        while (result := self._result()) is not None:
            if result.status == ExecStatus.FATAL_ERROR:
                raise error_of(result)
        yield _chunk(gathered, rows, is_json=is_json)

    def _awaited(self) -> Iterator[Chunk]:
        while self._pg.is_busy():
            if self._wait(at_most=_TOLD_EVERY):
                self._consume()
            else:
                yield Chunk(b"", 0)

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
        return [decoded(result.fname(column)) or "" for column in range(result.nfields)]

    def _stop_early(self) -> None:
        self.cancel()
        self._drain()
        if self._pg.status == pq.ConnStatus.OK:
            self.take_back()

    def _header(self, result: "pq.abc.PGresult") -> Header:
        self._check_width(result)
        names = [decoded(result.fname(column)) or "" for column in range(result.nfields)]
        types = [result.ftype(column) for column in range(result.nfields)]
        made = self._made_types({oid for oid in types if _type_name(oid) is None})
        return Header(
            tuple(
                ResultColumn(name, _type_name(oid) or made.get(oid, f"type {oid}"))
                for name, oid in zip(names, types, strict=True)
            )
        )

    def _made_types(self, oids: set[int]) -> dict[int, str]:
        """The names of types that somebody has made. This connection is busy with their rows, so that another one asks;
        where it is not let in, they go without.
        """
        if not oids:
            return {}
        try:
            with closing(self.aside("jitportal-types", patience(_ASIDE_SECONDS))) as other:
                found = other.ask(_TYPES, [f"{{{','.join(map(str, oids))}}}"])
            return {int(oid or 0): name or "" for oid, name in found}
        except (EngineError, ValueError):  # what is hostile may answer anything
            return {}

    def _check_width(self, result: "pq.abc.PGresult") -> None:
        if result.nfields > MAX_COLUMNS:
            self.close()
            raise TooLarge(f"The server sent {result.nfields} columns, more than PostgreSQL has: it was cut off.")


def _quoted(name: str) -> str:
    return sql.Literal(name).as_string(None)


def _copy(file_format: FileFormat, names: list[str]) -> tuple[str, str]:
    """What stands before and after the query; on a line of its own, so that a comment at its end is one. A column of
    the query that was called as its rows are here would be taken for them.
    """
    if file_format is FileFormat.CSV:
        return "COPY (", "\n) TO STDOUT (FORMAT csv, HEADER, ENCODING 'UTF8')"
    row = next(name for name in (f"row_{number}" for number in count()) if name not in names)
    before, after = _JSON
    return before % row, after % row


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


def _type_name(oid: int) -> str | None:
    """As format_type() prints it; None for a type that somebody has made."""
    found = known_types.get(oid)
    if found is None:
        return None
    return f"{found.regtype}[]" if found.array_oid == oid else found.regtype
