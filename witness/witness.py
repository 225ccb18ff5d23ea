"""A witness for the portal's record, on a host that the portal does not rule: one file, the standard library.

    python3 witness.py --key 'VERIFIER KEY' --state /var/lib/witness/state.json [--listen 127.0.0.1:8790]

It follows the chain of the record itself, hash by hash, and keeps the newest signed checkpoint. It refuses what is
shorter, what is of the same size and another history, and what does not follow from what it has. What it holds is
written to its state file before it answers. It has no way to forget: whoever must, moves the file away by hand.

    GET  /checkpoint   {"note": text|null, "reached": size}
    POST /leaves       {"from": size, "leaves": base64 of 32 bytes for each entry}   at most 10,000 of them
    POST /checkpoint   the signed note

Refusals are 400 (not understood) or 409 (does not follow), with {"problem", "size", "hash"}. Keys, notes and signatures
are read by the very lines of verify.py. docs/operate.md says how to run it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import ssl
import sys
import threading
from base64 import b64encode
from binascii import a2b_base64
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256, sha512
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_MAX_SIZE = 2**63 - 1
_MAX_NOTE = 65_536
_MAX_SIGNATURES = 16
_MAX_LEAVES = 10_000
_MAX_BODY = 1_000_000
_SECONDS = 10  # for what a client has to say
_ZERO = bytes(32)
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")


class Refused(Exception):
    """A note or a key is not what it should be; the sentence goes on after what it is about."""


class DoesNotFollow(Exception):
    """What was given is another history than the one that is kept here."""


# Ed25519 (RFC 8032), verification alone: nothing here is secret, so that nothing has to take the same time ----------

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_ROOT = pow(2, (_P - 1) // 4, _P)  # of -1


Point = tuple[int, int, int, int]
_IDENTITY: Point = (0, 1, 1, 0)


def _added(one: Point, other: Point) -> Point:
    """Extended coordinates (X, Y, Z, T): x = X/Z, y = Y/Z, xy = T/Z. Complete: any two points, also the same."""
    a = (one[1] - one[0]) * (other[1] - other[0]) % _P
    b = (one[1] + one[0]) * (other[1] + other[0]) % _P
    c = 2 * one[3] * other[3] * _D % _P
    d = 2 * one[2] * other[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _point(encoded: bytes) -> Point | None:
    """The point that 32 bytes stand for; None unless it is on the curve and written in its one form."""
    number = int.from_bytes(encoded, "little")
    y, sign = number & (2**255 - 1), number >> 255
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if x * x % _P != square:
        x = x * _ROOT % _P
    if x * x % _P != square or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = _P - x
    return x, y, 1, x * y % _P


def _encoded(point: Point) -> bytes:
    inverse = pow(point[2], _P - 2, _P)
    x, y = point[0] * inverse % _P, point[1] * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


_BASE: Point = (
    15112221349535400772501151409588531511454012693041857206046113283949847762202,
    46316835694926478169428394003475163141307993866256225615783033603165251855960,
    1,
    46827403850823179245072216630277197565144205554125654976674165829533817101731,
)


def is_signed(public: bytes, message: bytes, signature: bytes) -> bool:
    """Strict: S below the order of the group, the key on the curve and not of small order, R in its one form."""
    key = _point(public) if len(public) == 32 else None
    if key is None or len(signature) != 64 or _is_small(key):
        return False
    s = int.from_bytes(signature[32:], "little")
    if s >= _L:
        return False
    k = int.from_bytes(sha512(signature[:32] + public + message).digest(), "little") % _L
    negative = (_P - key[0], key[1], 1, _P - key[3])
    table = (_IDENTITY, _BASE, negative, _added(_BASE, negative))
    found = _IDENTITY
    for bit in range(252, -1, -1):
        found = _added(_added(found, found), table[(s >> bit & 1) + 2 * (k >> bit & 1)])
    return _encoded(found) == signature[:32]


def _is_small(point: Point) -> bool:
    for _ in range(3):
        point = _added(point, point)
    return _encoded(point) == _encoded(_IDENTITY)


# Notes and keys (c2sp.org/signed-note, c2sp.org/tlog-checkpoint) -----------------------------------------------------


@dataclass(frozen=True)
class Key:
    """A verifier key: a name and 32 bytes, known in signatures by the first four bytes of a hash of both."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        return sha256(self.name.encode() + b"\n\1" + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{b64encode(bytes([1]) + self.public).decode()}"


@dataclass(frozen=True)
class Note:
    """A signed checkpoint, as read: who has signed it is not known yet."""

    text: bytes
    origin: str
    size: int
    hash: bytes
    signatures: tuple[tuple[str, bytes, bytes], ...]  # name, id, signature


def read_key(given: str) -> Key:
    """Of `name+id+base64`. Raises Refused."""
    name, _, rest = given.partition("+")
    number, _, encoded = rest.partition("+")
    _check_name(name)
    held = from_base64(encoded)
    if len(held) != 33 or held[0] != 1:
        raise Refused("is not a verifier key for Ed25519: name+8 hex digits+base64 of 33 bytes")
    key = Key(name, held[1:])
    if number != key.id.hex():
        raise Refused("is not whole: its number does not follow from its name and its bytes")
    if _point(key.public) is None:
        raise Refused("does not stand for a point of the curve")
    return key


def read_note(note: str) -> Note:
    """Raises Refused unless it is a checkpoint in its one form: origin, size, hash, and signatures."""
    if len(note) > _MAX_NOTE:
        raise Refused(f"is longer than {_MAX_NOTE} characters")
    if any(character < " " and character != "\n" for character in note):
        raise Refused("holds a control character")
    text, blank, signed = note.rpartition("\n\n")
    lines = text.split("\n")
    if not blank or not signed.endswith("\n") or len(lines) != 3:
        raise Refused("is not three lines, a blank line and signatures")
    origin, size, encoded = lines
    _check_name(origin)
    if not _DECIMAL.fullmatch(size) or int(size) > _MAX_SIZE:
        raise Refused("has no size in its second line")
    digest = from_base64(encoded)
    if len(digest) != 32:
        raise Refused("has no hash of 32 bytes in its third line")
    signatures = tuple(_signature(line) for line in signed[:-1].split("\n"))
    if len(signatures) > _MAX_SIGNATURES:
        raise Refused(f"has more than {_MAX_SIGNATURES} signatures")
    return Note((text + "\n").encode(), origin, int(size), digest, signatures)


def signers(note: Note, keys: Iterable[Key]) -> list[Key]:
    """Which of `keys` have signed. Signatures of other keys are passed over; a false one of these raises Refused."""
    found = []
    for key in keys:
        own = [signature for name, number, signature in note.signatures if (name, number) == (key.name, key.id)]
        if len(own) > 1:
            raise Refused(f"is signed twice by {key.name!a}")
        if own and not is_signed(key.public, note.text, own[0]):
            raise Refused(f"has a signature of {key.name!a} that is not right")
        if own:
            found.append(key)
    return found


def _signature(line: str) -> tuple[str, bytes, bytes]:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    if dash != "\u2014":
        raise Refused("has a signature line that does not begin with a dash")
    _check_name(name)
    held = from_base64(encoded)
    if len(held) < 5:
        raise Refused("has a signature that is too short")
    return name, held[:4], held[4:]


def _check_name(name: str) -> None:
    if not name or "+" in name or any(character.isspace() for character in name):
        raise Refused("has a name that is empty, or holds a space or a plus sign")
    _check_utf8(name)


def from_base64(given: str) -> bytes:
    """The bytes of the one text that stands for them."""
    try:
        held = a2b_base64(given.encode("ascii"))
    except ValueError as error:
        raise Refused("holds something that is not base64") from error
    if b64encode(held) != given.encode("ascii"):
        raise Refused("holds base64 in another form than its one")
    return held


def _check_utf8(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Refused("holds half a character") from error


# What is kept ---------------------------------------------------------------------------------------------------------


class Witness:
    """The newest checkpoint, and how far the chain was followed behind it. Safe to be used by several threads."""

    def __init__(self, path: str, keys: list[Key]) -> None:
        self._path = path
        self._keys = keys
        self._lock = threading.Lock()
        self._note: str | None = None
        self._size, self._hash = 0, _ZERO
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                self._note = str(json.load(file)["note"])
            kept = self._signed(self._note)
            self._size, self._hash = kept.size, kept.hash
        self._reached, self._tip = self._size, self._hash

    def state(self) -> dict[str, Any]:
        """What GET answers."""
        with self._lock:
            return {"note": self._note, "reached": self._reached}

    def kept(self) -> dict[str, Any]:
        """What stands beside a refusal."""
        with self._lock:
            return {"size": self._size, "hash": self._hash.hex()}

    def follow(self, first: int, leaves: bytes) -> dict[str, Any]:
        """Go on behind entry `first` - 1. What is kept is where one can always begin again. Raises DoesNotFollow."""
        with self._lock:
            if first == self._size:
                self._reached, self._tip = self._size, self._hash
            if first != self._reached:
                raise DoesNotFollow(f"I have followed {self._reached} entries: go on there, or at {self._size}.")
            tip = self._tip
            for place in range(0, len(leaves), 32):
                tip = sha256(b"\1" + tip + leaves[place : place + 32]).digest()
            self._reached, self._tip = first + len(leaves) // 32, tip
            return {"reached": self._reached}

    def take(self, text: str) -> dict[str, Any]:
        """Keep a signed checkpoint, if it is of the history that was followed. Raises Refused, DoesNotFollow."""
        note = self._signed(text)
        with self._lock:
            if note.size < self._size:
                raise DoesNotFollow(f"I keep a checkpoint of {self._size} entries, and this one is of {note.size}.")
            if note.size == self._size and self._note is not None:
                if note.hash != self._hash:
                    raise DoesNotFollow(f"I keep another history of the same {note.size} entries.")
                return {"size": self._size}
            if (note.size, note.hash) != (self._reached, self._tip):
                reached, self._reached, self._tip = self._reached, self._size, self._hash
                raise DoesNotFollow(f"This one of {note.size} entries does not follow; I had followed {reached}.")
            self._keep(text)
            self._note, self._size, self._hash = text, note.size, note.hash
            return {"size": self._size}

    def _signed(self, text: str) -> Note:
        note = read_note(text)
        signed = signers(note, self._keys)
        if not any(key.name == note.origin for key in signed):
            raise Refused("is not signed by a key that is pinned here")
        return note

    def _keep(self, text: str) -> None:
        """On the disk before anybody is told so; whole, or the one before."""
        fresh = f"{self._path}.new"
        with open(fresh, "w", encoding="utf-8") as file:
            json.dump({"note": text}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, self._path)
        folder = os.open(os.path.dirname(os.path.abspath(self._path)), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


# What it answers ------------------------------------------------------------------------------------------------------


class Handler(BaseHTTPRequestHandler):
    """One question; `witness` is set by served()."""

    witness: Witness
    timeout = _SECONDS
    server_version = "witness"
    sys_version = ""

    def do_GET(self) -> None:
        if self._path() != "/checkpoint":
            self._answer(404, {"problem": "There is /checkpoint and /leaves."})
            return
        self._answer(200, self.witness.state())

    def do_POST(self) -> None:
        try:
            self._answer(200, self._posted())
        except (Refused, ValueError) as refusal:
            self._answer(400, {"problem": f"What was sent {refusal}.", **self.witness.kept()})
        except DoesNotFollow as refusal:
            self._answer(409, {"problem": str(refusal), **self.witness.kept()})
        except OSError as error:
            self._answer(503, {"problem": f"It could not be kept ({error}).", **self.witness.kept()})

    def _posted(self) -> dict[str, Any]:
        body, path = self._body(), self._path()
        if path == "/checkpoint":
            return self.witness.take(body)
        if path != "/leaves":
            raise Refused("went to another place than /checkpoint or /leaves")
        held = json.loads(body)
        if type(held) is not dict or held.keys() != {"from", "leaves"} or type(held["from"]) is not int:
            raise Refused("is not {from, leaves}")
        leaves = from_base64(held["leaves"]) if type(held["leaves"]) is str else b""
        if not leaves or len(leaves) % 32 or len(leaves) > 32 * _MAX_LEAVES:
            raise Refused(f"is not 1 to {_MAX_LEAVES} leaves of 32 bytes")
        return self.witness.follow(held["from"], leaves)

    def _body(self) -> str:
        length = self.headers.get("Content-Length", "")
        if not _DECIMAL.fullmatch(length) or int(length) > _MAX_BODY:
            raise Refused(f"is of no length, or of more than {_MAX_BODY} bytes")
        return self.rfile.read(int(length)).decode()

    def _path(self) -> str:
        """Whatever stands in front of it: a proxy may have a place of its own for us."""
        return "/" + self.path.rstrip("/").rpartition("/")[2]

    def _answer(self, status: int, said: dict[str, Any]) -> None:
        held = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(held)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(held)
        self.close_connection = True


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever hangs up, or says nothing, is no news."""
        print(f"A question of {client_address[0]} was not finished: {sys.exc_info()[1]}", file=sys.stderr)


def served(witness: Witness, host: str, port: int) -> Server:
    """A server that listens; serve_forever() answers."""
    return Server((host, port), type("Bound", (Handler,), {"witness": witness}))


def main() -> int:
    parser = argparse.ArgumentParser(description="A witness for the portal's record.")
    parser.add_argument("--key", action="append", required=True, help="a verifier key of the record; may be repeated")
    parser.add_argument("--state", required=True, help="the file that it keeps; its folder must be there")
    parser.add_argument("--listen", default="127.0.0.1:8790", metavar="HOST:PORT")
    parser.add_argument("--tls-cert", help="with --tls-key: speak TLS itself, without a proxy in front")
    parser.add_argument("--tls-key")
    given = parser.parse_args()
    host, _, port = given.listen.rpartition(":")
    try:
        witness = Witness(given.state, [read_key(key) for key in given.key])
        server = served(witness, host.strip("[]"), int(port))
    except (Refused, OSError, ValueError, KeyError) as error:
        print(f"It does not start: a key, the state or the address {error}", file=sys.stderr)
        return 2
    if given.tls_cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(given.tls_cert, given.tls_key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    print(f"The witness listens on {given.listen}; it keeps {witness.kept()['size']} entries.", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
