"""Where signed checkpoints are kept out of reach of whoever can rewrite the portal's database.

An anchor is written to after each signing and read before it. It may be full, slow or gone: that is its own matter,
which is shown, and signing goes on. What it holds is believed only if it is signed by a key of ours.
"""

import contextlib
import http.client
import json
import os
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

PORTION: Final = 10_000  # leaves that are sent to a witness at a time
_MOST_PORTIONS: Final = 100  # in one go: a witness that is far behind catches up in several
_SECONDS: Final = 5.0  # for each thing that a witness is asked, and for its whole answer
_MOST_BYTES: Final = 100_000
_TAIL: Final = 262_144  # of a file: its last notes

Leaves = Callable[[int, int], bytes]


class AnchorError(Exception):
    """It could not be read or written just now; the sentence says why."""


class NotOurs(AnchorError):
    """It answers, with what no key of ours has signed, or with a checkpoint of another record."""


class Anchor(Protocol):
    """`address` is what it is called everywhere."""

    @property
    def address(self) -> str: ...

    def last(self, *, is_new: bool) -> str | None:
        """The note it saw last; None if it has none yet. `is_new`: it has never held one. Raises AnchorError."""

    def put(self, note: str, size: int, leaves: Leaves) -> None:
        """Keep `note`, of `size` entries. `leaves(first, end)` are 32 bytes for each entry. Raises AnchorError."""


@dataclass(frozen=True)
class FileAnchor:
    """A file that only grows, one note a line, as JSON; best on storage that keeps what was written."""

    address: str
    path: Path

    def last(self, *, is_new: bool) -> str | None:
        try:
            with self.path.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
                held = file.read(_TAIL)
        except FileNotFoundError:
            if is_new:
                return None
            raise AnchorError(
                f"{self.path} is not there any more: mount it again, or make it anew as an empty file."
            ) from None
        except OSError as error:
            raise _failed(error) from error
        whole = held[: held.rfind(b"\n") + 1].split(b"\n")
        for line in reversed(whole):
            with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
                return str(json.loads(line)["note"])
        if held:
            raise AnchorError(f"{self.path} holds no note.")
        return None

    def put(self, note: str, size: int, leaves: Leaves) -> None:
        try:
            with self.path.open("ab", buffering=0) as file:
                # What was written in part, when the disk was full, stays a line of its own that nobody can read.
                line = ("\n" * (not self._ends_well()) + json.dumps({"note": note}) + "\n").encode()
                if file.write(line) != len(line):
                    raise AnchorError(f"{self.path} is full.")
                os.fsync(file.fileno())
        except OSError as error:
            raise _failed(error) from error

    def _ends_well(self) -> bool:
        with self.path.open("rb") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return True
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"


@dataclass(frozen=True)
class Witness:
    """A program on another host (witness/witness.py) that follows the chain itself, leaf by leaf."""

    address: str

    def last(self, *, is_new: bool) -> str | None:
        note = self._state()["note"]
        return None if note is None else str(note)

    def put(self, note: str, size: int, leaves: Leaves) -> None:
        state = self._state()
        reached = int(state["reached"])
        for first, end in _portions(reached, size):
            portion = {"from": first, "leaves": b64encode(leaves(first, end)).decode()}
            self._ask("POST", "/leaves", json.dumps(portion))
            reached = end
        if reached < size:
            raise AnchorError(f"It has followed {reached} of {size} entries; it goes on in a minute.")
        self._ask("POST", "/checkpoint", note)

    def _state(self) -> dict[str, Any]:
        state = self._ask("GET", "/checkpoint")
        note, reached = state.get("note"), state.get("reached")
        if not (note is None or isinstance(note, str)) or type(reached) is not int or reached < 0:
            raise AnchorError("It answers something else than a witness does.")
        return state

    def _ask(self, method: str, path: str, body: str | None = None) -> dict[str, Any]:
        try:
            status, raw = _answer(self.address, method, path, body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _failed(error) from error
        try:
            said = json.loads(raw)
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            raise AnchorError(f"It answers {status}, and something else than a witness does.")
        if status != 200:
            raise AnchorError(f"It refuses ({status}): {str(said.get('problem', ''))[:300]}")
        return said


def anchor_at(address: str) -> Anchor:
    """Of a setting: `file:/path`, `https://host/path` or `http://host/path`. Raises ImproperlyConfigured."""
    parts = urlsplit(address)
    if parts.scheme == "file" and parts.path.startswith("/") and not parts.netloc:
        return FileAnchor(address, Path(parts.path))
    if parts.scheme in {"http", "https"} and parts.hostname and not parts.query and not parts.username:
        return Witness(address)
    raise ImproperlyConfigured(
        f"JITPORTAL_ANCHORS names {address!a}; an anchor is file:/path, https://host/path or http://host/path."
    )


def _portions(first: int, size: int) -> Iterator[tuple[int, int]]:
    for start in range(first, min(size, first + _MOST_PORTIONS * PORTION), PORTION):
        yield start, min(start + PORTION, size)


def _answer(address: str, method: str, path: str, body: str | None) -> tuple[int, bytes]:
    """Status and bytes; not longer than a moment in all, however slowly they come."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    if parts.scheme == "https":
        context = ssl.create_default_context()
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, parts.port, timeout=_SECONDS, context=context
        )
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=_SECONDS)
    with contextlib.closing(connection):
        connection.connect()
        patience = threading.Timer(_SECONDS, _cut, [connection.sock])
        patience.start()
        try:
            headers = {"Content-Type": "application/json"} if body else {}
            connection.request(method, parts.path.rstrip("/") + path, body.encode() if body else None, headers)
            response = connection.getresponse()
            return response.status, response.read(_MOST_BYTES)
        finally:
            patience.cancel()


def _cut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _failed(error: Exception) -> AnchorError:
    return AnchorError(
        f"{type(error).__name__}: {error}" if str(error) else f"It does not answer ({type(error).__name__})."
    )
