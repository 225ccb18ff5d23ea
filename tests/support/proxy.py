"""A relay between a client and a PostgreSQL server that understands enough to lose a statement, or its answer.

Statements are counted over all connections, signing in apart: each simple query, and each Parse of the extended
protocol. Without TLS only.
"""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum

_CANCEL, _TLS, _GSS = 80877102, 80877103, 80877104


class Cut(StrEnum):
    BEFORE = "the statement is lost"
    AFTER = "its answer is lost"


@dataclass
class Proxy:
    """`matches` says which statements are counted. The `at`-th of them (from 1) is lost, once, as `cut` says."""

    host: str
    server_port: int
    at: int = 0  # 0: everything gets through
    cut: Cut = Cut.BEFORE
    matches: Callable[[bytes], bool] = lambda statement: True
    count: int = 0
    has_cut: bool = False
    port: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _open: list[socket.socket] = field(default_factory=list)

    def set(self, at: int, cut: Cut = Cut.BEFORE, matches: Callable[[bytes], bool] = lambda statement: True) -> None:
        self.at, self.cut, self.matches, self.count, self.has_cut = at, cut, matches, 0, False

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self._open.append(client)
            threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def cut_all(self) -> None:
        with self._lock:
            for one in self._open:
                _reset(one)
            self._open.clear()

    def _relay(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection((self.host, self.server_port))
        except OSError:
            _reset(client)
            return
        with self._lock:
            self._open.append(server)
        link = _Link(self, client, server)
        back = threading.Thread(target=link.answers, daemon=True)
        back.start()
        link.questions()
        back.join()
        with self._lock:
            self._open = [one for one in self._open if one not in (client, server)]

    def fate(self, statement: bytes) -> Cut | None:
        with self._lock:
            if not self.at or not self.matches(statement):
                return None
            self.count += 1
            if self.count != self.at or self.has_cut:
                return None
            self.has_cut = True
            return self.cut


@dataclass
class _Link:
    proxy: Proxy
    client: socket.socket
    server: socket.socket
    loses: bool = False

    def questions(self) -> None:
        with suppress(OSError, EOFError):
            reader = _Reader(self.client)
            first = reader.untyped()
            while _code(first) in {_TLS, _GSS}:
                self.client.sendall(b"N")  # as a server that has neither
                first = reader.untyped()
            self.server.sendall(first)
            if _code(first) == _CANCEL:
                return
            while True:
                kind, body = reader.typed()
                fate = self.proxy.fate(_statement(kind, body)) if kind in {b"Q", b"P"} else None
                if fate is Cut.BEFORE:
                    break
                self.loses |= fate is Cut.AFTER
                self.server.sendall(kind + body)
        if not self.loses:
            self._end()

    def answers(self) -> None:
        with suppress(OSError, EOFError):
            reader = _Reader(self.server)
            while True:
                kind, body = reader.typed()
                if self.loses and kind == b"Z":
                    break
                if not self.loses:
                    self.client.sendall(kind + body)
        self._end()

    def _end(self) -> None:
        _reset(self.client)
        _reset(self.server)


def _code(first: bytes) -> int:
    """The protocol's version, or what is asked for instead of a session."""
    return int(struct.unpack("!i", first[4:8])[0])


def _statement(kind: bytes, body: bytes) -> bytes:
    """After the length; a Parse names the prepared statement first."""
    text = body[4:]
    return text.partition(b"\0")[2] if kind == b"P" else text


class _Reader:
    def __init__(self, source: socket.socket) -> None:
        self._source = source

    def untyped(self) -> bytes:
        length = self._exactly(4)
        return length + self._exactly(struct.unpack("!i", length)[0] - 4)

    def typed(self) -> tuple[bytes, bytes]:
        """The kind, and the message with its length."""
        kind = self._exactly(1)
        return kind, self.untyped()

    def _exactly(self, number: int) -> bytes:
        parts, left = [], number
        while left:
            part = self._source.recv(min(left, 65_536))
            if not part:
                raise EOFError
            parts.append(part)
            left -= len(part)
        return b"".join(parts)


def _reset(one: socket.socket) -> None:
    """As when a machine or a cable is gone: no goodbye."""
    with suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)  # wakes whoever reads from it
    with suppress(OSError):
        one.close()


@contextmanager
def before(host: str, port: int) -> Iterator[Proxy]:
    """A proxy before the server at this address, on a port of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = Proxy(host, port, port=int(listener.getsockname()[1]))
        thread = threading.Thread(target=proxy.serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            proxy.cut_all()
            thread.join(timeout=10)
