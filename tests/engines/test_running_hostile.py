"""A server that does not keep to anything: this side keeps to its limits."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import psycopg
import pytest

from apps.console import kept
from apps.engines.base import Target, TargetUnavailable
from apps.engines.postgresql.running import Session
from apps.engines.running import Caps, Finish, TooLarge

CAPS = Caps(rows=10, bytes=1 << 20, cell_bytes=1 << 10, message_bytes=4 << 20)
READY = b"Z\0\0\0\5I"


class TimeIsUp(Exception):
    """What the watch of these tests raises."""


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


HEADER = message(b"T", struct.pack("!H", 1) + b"c\0" + struct.pack("!IHIhih", 0, 0, 25, -1, -1, 0))
ROW = message(b"D", struct.pack("!Hi", 1, 1) + b"x")
WELCOME = message(b"R", struct.pack("!I", 0)) + message(b"K", struct.pack("!II", 1, 1)) + READY
DONE = message(b"C", b"SELECT 1\0")


@contextmanager
def session(says: Callable[[socket.socket], None], *, seconds: float = 60) -> Iterator[Session]:
    """With a server that lets anybody in and answers the first statement by `says`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                client, _ = listener.accept()
                with client:
                    client.recv(10_000)
                    client.sendall(
                        message(b"R", struct.pack("!I", 0)) + message(b"K", struct.pack("!II", 1, 1)) + READY
                    )
                    client.recv(10_000)
                    says(client)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        port = listener.getsockname()[1]
        connection = psycopg.connect(
            host="127.0.0.1", port=port, user="x", dbname="x", sslmode="disable", gssencmode="disable", autocommit=True
        )
        until = time.monotonic() + seconds

        def watch() -> None:
            if time.monotonic() > until:
                raise TimeIsUp

        made = Session(connection, "x", watch, ExitStack())
        made.cancel = lambda: None  # type: ignore[method-assign]  # it would not hear
        try:
            yield made
        finally:
            made.close()
            listener.close()
            thread.join(timeout=30)
            assert not thread.is_alive()


def for_ever(data: bytes) -> Callable[[socket.socket], None]:
    def says(client: socket.socket) -> None:
        while True:
            client.sendall(data)

    return says


def test_execute_when_a_row_never_ends() -> None:
    def says(client: socket.socket) -> None:
        client.sendall(HEADER + b"D" + struct.pack("!IHi", 1 << 30, 1, (1 << 30) - 10))
        for_ever(b"x" * 65536)(client)

    with session(says) as made, pytest.raises(TooLarge, match="4 MiB"):
        list(made.execute("SELECT 1", CAPS))


def test_execute_when_rows_never_end() -> None:
    def says(client: socket.socket) -> None:
        client.sendall(HEADER)
        for_ever(ROW * 1000)(client)

    with session(says) as made:
        last = list(made.execute("SELECT 1", CAPS))[-1]

        assert isinstance(last, Finish)
        assert (last.rows, last.capped) == (10, "rows")
        assert not made.is_there()


@pytest.mark.parametrize(
    "data",
    [
        DONE * 1000,
        message(b"A", struct.pack("!I", 1) + b"channel\0payload\0") * 1000,
        message(b"N", b"SNOTICE\0Mhello\0\0") * 1000,
        message(b"S", b"application_name\0y\0") * 1000,
    ],
)
def test_execute_when_nothing_ever_ends(data: bytes) -> None:
    with session(for_ever(data), seconds=2) as made, pytest.raises((TimeIsUp, TooLarge, TargetUnavailable)):
        list(made.execute("SELECT 1", CAPS))


def test_execute_when_the_server_is_silent() -> None:
    def says(client: socket.socket) -> None:
        client.recv(1)

    with session(says, seconds=1) as made, pytest.raises(TimeIsUp):
        list(made.execute("SELECT 1", CAPS))


def test_keep_when_the_server_does_not_take_back_what_ran() -> None:
    """The person has their answer, and is not held up by what comes after it."""

    def says_nothing(client: socket.socket) -> None:
        while client.recv(10_000):
            pass

    nowhere = Target(host="127.0.0.1", port=1, user="x", password="x", portal_id="x")
    with session(says_nothing) as hostile:
        kept.keep((nowhere, "x"), hostile)
        assert not hostile.is_quiet()
    assert kept.take((nowhere, "x")) is None


def test_execute_when_columns_are_more_than_there_can_be() -> None:
    column = b"c\0" + struct.pack("!IHIhih", 0, 0, 25, -1, -1, 0)
    many = message(b"T", struct.pack("!H", 60_000) + column * 60_000)
    row = message(b"D", struct.pack("!H", 60_000) + struct.pack("!i", -1) * 60_000)

    with session(lambda client: client.sendall(many + row + DONE + READY)) as made, pytest.raises(TooLarge):
        list(made.execute("SELECT 1", CAPS))


@pytest.mark.parametrize("data", [b"", b"not PostgreSQL at all", b"D\0\0\0\1", HEADER + b"\xff" * 100])
def test_execute_when_it_makes_no_sense(data: bytes) -> None:
    with session(lambda client: client.sendall(data)) as made, pytest.raises(TargetUnavailable):
        list(made.execute("SELECT 1", CAPS))
