"""Sessions of the manager on a target. Structured parameters only (field notes W6), and nobody's code is run (S2)."""

import ipaddress
import json
import socket
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg import sql
from psycopg.abc import PQGen
from psycopg.rows import RowFactory

from apps.engines.base import Refused, Target, TargetUnavailable, Tls
from apps.engines.postgresql.errors import translated

Connection = psycopg.Connection[tuple[Any, ...]]
Row = TypeVar("Row")

CONNECT_SECONDS = 5
# After so long without a word the server is asked, in a session of its own, whether it is there at all.
SILENT_SECONDS = 4
# Over every timeout that is set on the server: nobody else ends a wait for a single backend that hangs.
LONGEST_SECONDS = 90

# Set by name, so that what this version or minor of the server does not know is left out.
_SETTINGS = {
    "search_path": "pg_catalog",
    "restrict_nonsystem_relation_kind": "view,foreign-table",
    "createrole_self_grant": "",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "synchronous_commit": "on",  # what is proven to be gone must not be back after a crash
    "lock_timeout": "5s",
    "statement_timeout": "60s",
    "idle_in_transaction_session_timeout": "60s",
    "quote_all_identifiers": "off",  # types and views are compared as they are printed
    "TimeZone": "UTC",
    "DateStyle": "ISO",
    "jit": "off",  # compiling the catalog queries takes longer than running them
}
_APPLY = """
SELECT pg_catalog.set_config(key, value, false) FROM pg_catalog.jsonb_each_text(%s::pg_catalog.jsonb)
WHERE pg_catalog.current_setting(key, true) IS NOT NULL
"""


class Patient(psycopg.Connection[tuple[Any, ...]]):
    """Waits for a slow statement, and not for a server that is gone.

    A machine that has stopped working may still acknowledge packets (SIGSTOP, a full disk), so that neither
    keepalives nor the server's own timeouts end a call.
    """

    parameters: dict[str, Any]

    def wait(self, gen: PQGen[Any], *given: Any, **more: Any) -> Any:
        return super().wait(self._while_answered(gen), *given, **more)

    def _while_answered(self, gen: PQGen[Any]) -> PQGen[Any]:
        """`gen`, which is also resumed every now and then when nothing has come."""
        began = heard = time.monotonic()
        try:
            state = next(gen)
            while True:
                ready = yield state
                now = time.monotonic()
                if ready:
                    heard = now
                elif now - began > LONGEST_SECONDS or (now - heard > SILENT_SECONDS and not self._is_answered()):
                    self.pgconn.finish()
                    raise psycopg.OperationalError("the server has stopped answering")
                elif now - heard > SILENT_SECONDS:
                    heard = time.monotonic()
                state = gen.send(ready)
        except StopIteration as done:
            return done.value

    def _is_answered(self) -> bool:
        try:
            psycopg.connect(**self.parameters).close()
        except psycopg.errors.ConnectionTimeout:
            return False
        except psycopg.OperationalError:
            return True  # a no is an answer: it may have no connection left for us
        return True


class SignInFailed(TargetUnavailable):
    """The server answered and did not let the manager in. `asked_for_password`: it had got as far as that."""

    def __init__(self, sentence: str, *, asked_for_password: bool) -> None:
        super().__init__(sentence)
        self.asked_for_password = self.answered = asked_for_password


@contextmanager
def session(target: Target, database: str = "", *, doing: str) -> Iterator[Connection]:
    """An autocommit session on `database` (the maintenance database unless named). Raises EngineErrors only."""
    with translated(doing), _connected(target, database or target.maintenance_db) as connection:
        yield connection


@contextmanager
def parameters_of(target: Target, database: str) -> Iterator[dict[str, Any]]:
    """Everything that libpq is told, with TLS; good while the block lasts."""
    with ExitStack() as stack:
        yield _parameters(target, database) | _tls(target, stack)


def makers_apply(connection: Connection) -> bool:
    """16 and newer: whoever creates a role is its administrator, and nobody else is."""
    return connection.info.server_version >= 160000


def batch(connection: Connection, statements: Sequence[sql.Composable]) -> None:
    """Several statements in one round trip and one transaction."""
    connection.execute(sql.SQL("; ").join(statements))


def ask(
    connection: Connection, statement: bytes, parameters: Mapping[str, object], rows: RowFactory[Row]
) -> Callable[[], list[Row]]:
    """Send a query; what is returned waits for its rows.

    In a block of connection.pipeline() the server is at work meanwhile. One query for each block: what several do
    without an end between them is one transaction, in which the server's caches may stay as they were.
    """
    cursor = connection.cursor(row_factory=rows)
    cursor.execute(statement, parameters)
    return cursor.fetchall


@contextmanager
def _connected(target: Target, database: str) -> Iterator[Connection]:
    with ExitStack() as stack:
        parameters = _parameters(target, database) | _tls(target, stack)
        try:
            connection = Patient.connect(**parameters, autocommit=True, prepare_threshold=None)
        except psycopg.OperationalError as error:
            raise _sign_in_failed(target, database, error) from error
        connection.parameters = parameters
        with connection:
            connection.execute(_APPLY, [json.dumps(_SETTINGS)])
            yield connection


def _parameters(target: Target, database: str) -> dict[str, Any]:
    """Every parameter that libpq could otherwise take from the environment or a file of the portal's machine."""
    for what, value in (("user name", target.user), ("password", target.password), ("database", database)):
        if not value or "\0" in value:
            raise Refused(f"The {what} for the server is empty or holds a NUL character.")
    return {
        "host": _checked_host(target.host),
        "hostaddr": "",
        "port": _checked_port(target.port),
        "user": target.user,
        "password": target.password,
        "dbname": database,
        "passfile": "",
        "options": "",
        "application_name": "jitportal",
        "client_encoding": "UTF8",
        "connect_timeout": CONNECT_SECONDS,
        "keepalives_idle": 10,
        "tcp_user_timeout": 20_000,
        "require_auth": "scram-sha-256",
        "target_session_attrs": "primary",
        "load_balance_hosts": "disable",
        "gssencmode": "disable",
        "sslcertmode": "disable",
    }


def _checked_host(host: str) -> str:
    """One name or address: no list, no socket folder, nothing that a connection string would be made of."""
    if not host or not host.isprintable() or any(character in host for character in ",/@=\\'\" "):
        raise Refused(f"“{host}” is not the name or address of one host.")
    return host


def _checked_port(port: int) -> int:
    if not 1 <= port <= 65535:
        raise Refused(f"{port} is not a TCP port.")
    return port


def _tls(target: Target, stack: ExitStack) -> dict[str, str]:
    if target.tls is Tls.LOOPBACK_PLAINTEXT:
        return {"sslmode": "disable", "hostaddr": _loopback_address(target.host)}
    return {"sslmode": "verify-full", "sslrootcert": _root_certificates(target.ca_pem, stack)}


def _loopback_address(host: str) -> str:
    """The address behind `host`, which is then used: what was checked is what is connected to."""
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError as error:
        raise TargetUnavailable(f"The host “{host}” has no address.") from error
    if not all(ipaddress.ip_address(address).is_loopback for address in found):
        raise Refused(f"Without TLS only a loopback address may be used, and “{host}” is not one.")
    return min(found)  # 127.0.0.1 before ::1


def _root_certificates(ca_pem: str, stack: ExitStack) -> str:
    """libpq reads them from a file, once, while connecting. Those of this machine unless some are given."""
    if not ca_pem:
        # Python knows where they are; the OpenSSL that psycopg brings looks in a folder that no machine has.
        return ssl.get_default_verify_paths().cafile or "system"
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jitportal-")))
    file = folder / "root.pem"
    file.write_text(ca_pem)
    return str(file)


def _sign_in_failed(target: Target, database: str, error: psycopg.OperationalError) -> SignInFailed:
    asked = bool(error.pgconn and error.pgconn.used_password)
    where = f"{target.host}:{target.port}, database “{database}”, as “{target.user}”"
    outcome = "has not let us in" if asked else "could not be reached"
    said = " ".join(str(error).split()).rstrip(".")
    return SignInFailed(f"The server ({where}) {outcome}: {said}.", asked_for_password=asked)
