"""Check an evidence bundle of the portal's record without the portal: one file, the standard library, Python 3.9.

    python3 verify.py BUNDLE.zip --key 'VERIFIER KEY' [--key ...] [--checkpoint NOTE ...]

Says what it has proved, what does not hold, and what nobody can prove from a bundle. Ends with 0 if everything holds,
1 if something does not, 2 if the bundle could not be read. docs/audit-format.md has the format.

Pin keys that you were given by the people who run the portal, some other way than with the bundle. A key may be
followed by the sizes that it is good for, as `--key 'KEY 0-5000'` or `--key 'KEY 5000-'`.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import re
import struct
import sys
import threading
import zipfile
import zlib
from base64 import b64encode
from binascii import a2b_base64, b2a_base64, unhexlify
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256, sha512
from itertools import takewhile
from typing import IO, Any

FORMAT = "jitportal-evidence/1"
MANIFEST = "manifest.json"
ENTRIES, DISCLOSURES, CHECKPOINTS, KEYS = "entries.jsonl", "disclosures.jsonl", "checkpoints.jsonl", "keys.json"
NEEDED = (ENTRIES, DISCLOSURES, CHECKPOINTS, KEYS, "verify.py", "README.txt")
ZERO = bytes(32)
WORKER = b"jitportal_worker"
# What only happens on a target, or is found by looking at anchors, counts only when a worker recorded it.
WORKER_ONLY = frozenset(
    {
        "grant.issued",
        "grant.extended",
        "grant.ended",
        "grant.late",
        "grant.session_cut",
        "record.broken",
        "record.break_proposed",
        "signing_key.added",
    }
)

_MAX_BODY = 65_536
_MAX_DEPTH = 32
_MAX_INTEGER = 2**53 - 1
_MAX_SIZE = 2**63 - 1
_MAX_NOTE = 65_536
_MAX_SIGNATURES = 16
_MAX_LINE = {ENTRIES: 100_000, DISCLOSURES: 8_000_000, CHECKPOINTS: 500_000}
_MAX_FILE = 16_000_000  # of those that are read as a whole
_CHUNK = 32_768  # small enough to stay near the processor
_SHARE = 8_000_000  # bytes of entries that are worth a process of their own
_LESS = 0.85  # how much smaller each next share is: it has more to read in front of it
_MOST_SHARES = 16
_SHOWN = 40

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - every time here is UTC, and has no other form
_MICROSECOND = timedelta(microseconds=1)
_HEX = re.compile(r"[0-9a-f]{64}")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")
_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z"
_MOMENT = re.compile(_TIME)
_PLAIN_PART = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]{1,100}"
_PLAIN_NAME = re.compile(_PLAIN_PART)
_REPORT_NAME = re.compile(rf"reports/{_PLAIN_PART}")
# A line has one form only, so that no two readers can see two things in it. Whether a body is base64 is seen when it is
# read: that is sooner done than to look at each character here.
_ENTRY = re.compile(
    (
        r'^\{"index":(0|[1-9][0-9]{0,17}),"recorded_at":"('
        + _TIME
        + r')","recorded_by":("[^"\\\x00-\x1f]*(?:\\.[^"\\\x00-\x1f]*)*"),"body":"([^"]+)","hash":"([0-9a-f]{64})"\}\n'
    ).encode(),
    re.MULTILINE,
)
_BASE64 = re.compile(rb"[A-Za-z0-9+/]+={0,2}")
_LEAF = struct.Struct(">xqq")  # a zero byte, the index, µs since 1970


# Most texts are plain: they have no other form, if they are UTF-8. All others are read as JSON.
_TEXT = re.compile(
    rb'^\{"index":(0|[1-9][0-9]{0,17}),"field":"([ !#-\[\]-~]*)","salt":"([ !#-\[\]-~]*)",'
    rb'"value":"([ !#-\[\]-~\x80-\xff]*)"\}\n',
    re.MULTILINE,
)
_TEXT_INDEX = re.compile(rb'\{"index":([0-9]{1,18}),')


class Unreadable(Exception):
    """The bundle is not one, or not of this form; nothing more can be said about it."""


class Refused(Exception):
    """A note, a key or a body is not what it should be; the sentence goes on after what it is about."""


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


# Bodies: canonical JSON -------------------------------------------------------------------------------------------


def _integer(digits: str) -> int:
    if len(digits) > 17 or abs(int(digits)) > _MAX_INTEGER:
        raise ValueError("beyond what every reader of JSON can hold")
    return int(digits)


def _no_number(given: str) -> Any:
    raise ValueError(f"{given} is no whole number")


_decoder = json.JSONDecoder(parse_int=_integer, parse_float=_no_number, parse_constant=_no_number)
_in_ascii = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), check_circular=False)
_as_given = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False)


def read_body(body: bytes) -> dict[str, Any]:
    """The object that a body stands for. Raises Refused unless it is canonical and has the six keys."""
    content = _canonical(body)
    if content.keys() != {"action", "actor", "at", "disclosed", "facts", "subject"}:
        raise Refused("does not have the six keys of an entry")
    texts = (content["action"], content["actor"], content["at"], content["subject"])
    if not all(type(text) is str for text in texts):
        raise Refused("has an action, actor, at or subject that is no text")
    if type(content["facts"]) is not dict or type(content["disclosed"]) is not dict:
        raise Refused("has facts or disclosed texts that are no object")
    for held in content["disclosed"].values():
        if type(held) is not dict or held.keys() != {"commit"} or not _is_hex(held["commit"]):
            raise Refused("commits to a text in another form than its one")
    return content


def _canonical(body: bytes) -> dict[str, Any]:
    if len(body) > _MAX_BODY:
        raise Refused(f"is longer than {_MAX_BODY} bytes")
    try:
        text = body.decode()
        content, end = _decoder.raw_decode(text)
        written = _in_ascii.encode(content) if body.isascii() else _as_given.encode(_in_order(content))
    except (ValueError, RecursionError) as error:
        raise Refused("is not JSON of texts and whole numbers") from error
    if type(content) is not dict or end != len(text) or written != text:
        raise Refused("is not one JSON object in its canonical form")
    if b"\\u0000" in body or body.count(b"{") + body.count(b"[") > _MAX_DEPTH:
        _check_within(content, 1)
    return content


_NONE: dict[str, str] = {}


class Shapes:
    """Bodies of one action look alike. What was read and found canonical is found so again by one look at its shape:
    the same keys in the same places, with any other plain texts and whole numbers, which have one form each.
    """

    _MOST = 16  # of one action
    _PLAIN = r'"[ !#-\[\]-~]*"'  # nothing that could be written in another way
    _WHOLE = "(?:0|-?[1-9][0-9]{0,14})"

    def __init__(self) -> None:
        self._known: dict[bytes, list[tuple[re.Pattern[bytes], str, list[str]]]] = {}

    def read(self, body: bytes) -> tuple[str, dict[str, str]]:
        """Action, and field -> what it commits to. Raises Refused, as read_body()."""
        front = body[: body.find(b'"', 11)]  # behind {"action":"
        known = self._known.get(front, ())
        for pattern, action, fields in known:
            found = pattern.fullmatch(body)
            if found is not None and len(body) <= _MAX_BODY:
                return action, dict(zip(fields, map(bytes.decode, found.groups()))) if fields else _NONE  # noqa: B905
        content = read_body(body)
        if len(known) < self._MOST and body.isascii():
            shape = re.compile(self._of(content).encode()), content["action"], sorted(content["disclosed"])
            self._known[front] = [*known, shape]
        return content["action"], {name: held["commit"] for name, held in content["disclosed"].items()}

    def _of(self, content: dict[str, Any]) -> str:
        commits = {name: self._literal(name) + r':\{"commit":"([0-9a-f]{64})"\}' for name in content["disclosed"]}
        parts = {name: self._literal(name) + ":" + self._any(held) for name, held in content.items()}
        parts["action"] = self._literal("action") + ":" + self._literal(content["action"])
        parts["disclosed"] = r'"disclosed":\{' + ",".join(commits[name] for name in sorted(commits)) + r"\}"
        return r"\{" + ",".join(parts[name] for name in sorted(parts)) + r"\}"

    def _any(self, value: Any) -> str:
        if type(value) is dict:
            return (
                r"\{" + ",".join(self._literal(name) + ":" + self._any(value[name]) for name in sorted(value)) + r"\}"
            )
        if type(value) is list and value and all(type(each) is str for each in value):
            return rf"\[{self._PLAIN}(?:,{self._PLAIN})*\]"
        if type(value) is list:
            return r"\[" + ",".join(self._any(each) for each in value) + r"\]"
        if type(value) is str:
            return self._PLAIN
        if type(value) is bool:
            return "(?:true|false)"
        return self._WHOLE if type(value) is int else self._literal(value)

    def _literal(self, value: Any) -> str:
        return re.escape(_in_ascii.encode(value))


def _in_order(value: Any) -> Any:
    """Keys as RFC 8785 wants them, by UTF-16; on ASCII every order is the same."""
    if type(value) is dict:
        return {key: _in_order(value[key]) for key in sorted(value, key=lambda key: key.encode("utf-16-be"))}
    return [_in_order(inner) for inner in value] if type(value) is list else value


def _check_within(value: Any, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise Refused(f"nests more than {_MAX_DEPTH} levels")
    if type(value) is str and "\0" in value:
        raise Refused("holds a NUL character")
    inner = [*value.keys(), *value.values()] if type(value) is dict else value if type(value) is list else []
    for each in inner:
        _check_within(each, depth + 1)


def _is_hex(value: Any) -> bool:
    return type(value) is str and _HEX.fullmatch(value) is not None


# The bundle ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Manifest:
    """What the bundle says of itself; nobody has signed it. Times are µs since 1970."""

    origin: str
    since: int
    until: int
    period: str
    first: int
    last: int
    before: bytes
    files: Mapping[str, Any]


class Bundle:
    """The files of a zip that holds nothing but what its manifest lists."""

    def __init__(self, path: str, archive: zipfile.ZipFile, findings: Findings) -> None:
        self.path = path
        self._archive = archive
        self._findings = findings
        self.manifest = _manifest(self.whole(MANIFEST, listed=False))
        self._check_listing()

    def whole(self, name: str, *, listed: bool = True) -> bytes:
        """All bytes of a file."""
        if self._archive.getinfo(name).file_size > _MAX_FILE:
            raise Unreadable(f"{name} is larger than {_MAX_FILE} bytes.")
        with self._archive.open(name) as stream:
            held = stream.read()
        if listed:
            self._compare(name, sha256(held).hexdigest())
        return held

    def size(self, name: str) -> int:
        """Of a file, in bytes."""
        return self._archive.getinfo(name).file_size

    def blocks(self, name: str) -> Iterator[bytes]:
        """Many whole lines at a time. Whether the file is the listed one is said when it was read to its end."""
        digest, rest, most = sha256(), b"", _MAX_LINE[name]
        with self._archive.open(name) as stream:
            for chunk in _chunks(stream):
                digest.update(chunk)
                held = rest + chunk
                end = held.rfind(b"\n") + 1
                rest = held[end:]
                if end:
                    yield held[:end]
                if len(rest) > most:
                    raise Unreadable(f"{name} has a line of more than {most} bytes.")
        if rest:
            raise Unreadable(f"The last line of {name} has no end: it was cut.")
        self._compare(name, digest.hexdigest())

    def lines(self, name: str) -> Iterator[bytes]:
        """One by one, without their ends."""
        for block in self.blocks(name):
            yield from block[:-1].split(b"\n")

    def check_others(self, names: Iterable[str]) -> None:
        """Whether files that need not be understood are the listed ones."""
        for name in names:
            digest = sha256()
            with self._archive.open(name) as stream:
                for chunk in _chunks(stream):
                    digest.update(chunk)
            self._compare(name, digest.hexdigest())

    def others(self) -> list[str]:
        """All but those that are read as a whole or line by line."""
        return [name for name in self.manifest.files if name not in (ENTRIES, DISCLOSURES, CHECKPOINTS, KEYS)]

    def _check_listing(self) -> None:
        there, listed = set(self._archive.namelist()) - {MANIFEST}, set(self.manifest.files)
        for name in sorted(listed - there):
            raise Unreadable(f"The manifest lists {name}, which is not there.")
        for name in sorted(there - listed):
            self._findings.wrong(f"{name} is in the bundle, but not in its manifest.")
        for name in sorted(listed):
            if self._archive.getinfo(name).file_size != self.manifest.files[name]["bytes"]:
                self._findings.wrong(f"{name} has another length than the manifest says.")

    def _compare(self, name: str, digest: str) -> None:
        if self.manifest.files[name]["sha256"] != digest:
            self._findings.wrong(f"{name} is not the file that the manifest lists.")


@contextmanager
def opened(path: str) -> Iterator[zipfile.ZipFile]:
    """A zip in which every reader finds the same files. Raises Unreadable."""
    try:
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            _check_layout(file, archive)
            yield archive
    except (OSError, EOFError, ValueError, RuntimeError, struct.error, zipfile.BadZipFile, zlib.error) as error:
        raise Unreadable(f"The bundle is no whole zip file ({error}).") from error


def _check_layout(file: IO[bytes], archive: zipfile.ZipFile) -> None:
    """Files one after another from the first byte on, then the directory, and nothing else."""
    infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
    names = [info.filename for info in infos]
    if MANIFEST not in names:
        raise Unreadable(f"The zip has no {MANIFEST}: it is no evidence bundle.")
    if len({name.casefold() for name in names}) != len(names):
        raise Unreadable("The zip holds two files of one name.")
    end = 0
    for info in infos:
        _check_info(info)
        if info.header_offset != end:
            raise Unreadable("The zip holds bytes that belong to no file.")
        end += _header_size(file, info) + info.compress_size
    file.seek(-22, 2)
    if end != archive.start_dir or file.read(22)[:4] != b"PK\5\6" or archive.comment:
        raise Unreadable("The zip holds bytes that belong to no file.")


def _header_size(file: IO[bytes], info: zipfile.ZipInfo) -> int:
    """Of the header in front of a file, if it says what the directory says: some readers go by the one alone."""
    file.seek(info.header_offset)
    magic, _, flags, method, _, _, crc, packed, full, *lengths = struct.unpack("<4s5H3L2H", file.read(30))
    same = (flags, method, crc) == (info.flag_bits, info.compress_type, info.CRC)
    sizes = {(info.compress_size, info.file_size), (2**32 - 1, 2**32 - 1)}  # the latter: in the longer form
    if magic != b"PK\3\4" or not same or (packed, full) not in sizes:
        raise Unreadable(f"{info.filename} in the zip is not what its directory says.")
    return 30 + int(sum(lengths))


def _check_info(info: zipfile.ZipInfo) -> None:
    name = info.filename
    if not (_PLAIN_NAME.fullmatch(name) or _REPORT_NAME.fullmatch(name)) or info.orig_filename != name:
        raise Unreadable(f"The zip holds a file named {name!a}, which no bundle has.")
    if info.flag_bits & ~0x0806:  # how hard it was pressed, and names in UTF-8: no other way to read it
        raise Unreadable(f"{name} is encrypted, or was written in pieces.")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Unreadable(f"{name} is compressed in a way that this program does not read.")


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    while True:
        chunk = stream.read(_CHUNK)
        if not chunk:
            return
        yield chunk


def _manifest(raw: bytes) -> Manifest:
    held = _json(raw, MANIFEST)
    if type(held) is not dict or held.get("format") != FORMAT:
        raise Unreadable(f"The bundle is not of the format {FORMAT}.")
    _check_shape(held, {"format", "origin", "period", "made_at", "entries", "before", "files"})
    period, entries, files = held["period"], held["entries"], held["files"]
    _check_shape(period, {"from", "to"})
    _check_shape(entries, {"first", "last"})
    first, last = entries["first"], entries["last"]
    if type(first) is not int or type(last) is not int or not 0 <= first <= last + 1 <= _MAX_SIZE:
        raise Unreadable("The manifest does not say from which entry to which it goes.")
    if not (_is_hex(held["before"]) and type(held["origin"]) is str):
        raise Unreadable("The manifest lacks the origin, or the hash in front of the first entry.")
    _check_files(files)
    since, until, _ = _moment(period["from"]), _moment(period["to"]), _moment(held["made_at"])
    if since >= until:
        raise Unreadable("The period of the manifest ends before it begins.")
    said = f"from {period['from']} to {period['to']}"
    return Manifest(held["origin"], since, until, said, first, last, bytes.fromhex(held["before"]), files)


def _check_files(files: Any) -> None:
    if type(files) is not dict:
        raise Unreadable("The manifest lists no files.")
    for name, held in files.items():
        _check_shape(held, {"sha256", "bytes"})
        if not (_is_hex(held["sha256"]) and type(held["bytes"]) is int):
            raise Unreadable(f"The manifest does not say what {name!a} is.")
        if name not in NEEDED and not _REPORT_NAME.fullmatch(name):
            raise Unreadable(f"The manifest lists {name!a}, which no bundle has.")
    for name in NEEDED:
        if name not in files:
            raise Unreadable(f"The manifest does not list {name}.")


def _check_shape(held: Any, keys: set[str]) -> None:
    if type(held) is not dict or held.keys() != keys:
        raise Unreadable(f"Where {', '.join(sorted(keys))} should be, the bundle has something else.")


def _json(raw: bytes, name: str) -> Any:
    try:
        return json.loads(raw.decode(), object_pairs_hook=_unique, parse_float=_no_number, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{name} is no JSON of texts and whole numbers, each name once.") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a name stands twice")
    return dict(pairs)


def _moment(given: Any) -> int:
    """µs since 1970 of the one form that times have."""
    if type(given) is not str or not _MOMENT.fullmatch(given):
        raise Unreadable(f"{given!a} is no time in UTC with microseconds.")
    return _micros(given)


def _micros(given: str) -> int:
    try:
        return (datetime.fromisoformat(given[:-1]) - _EPOCH) // _MICROSECOND
    except ValueError as error:
        raise Unreadable(f"{given!a} is no time of the calendar.") from error


# What is found --------------------------------------------------------------------------------------------------------


@dataclass
class Findings:
    """Sentences. `problems` holds the first of them, `count` is how many there are."""

    problems: list[str] = field(default_factory=list)
    proved: list[str] = field(default_factory=list)
    unproven: list[str] = field(default_factory=list)
    count: int = 0

    def wrong(self, sentence: str) -> None:
        self.count += 1
        if len(self.problems) < _SHOWN:
            self.problems.append(sentence)


@dataclass(frozen=True)
class Pin:
    """A key that the person who checks has given, and the sizes that they, or else the bundle, say it is good for."""

    key: Key
    from_size: int | None = None
    to_size: int | None = None

    def limited(self, claimed: Mapping[str, Any]) -> Pin:
        """Where no sizes were given along with the key, those of the bundle."""
        if self.from_size is not None or str(self.key) not in claimed:
            return self
        said = claimed[str(self.key)]
        return Pin(self.key, said["from_size"], said["to_size"])

    def is_good_for(self, size: int) -> bool:
        return self.from_size is not None and self.from_size <= size and (self.to_size is None or size <= self.to_size)


def read_pin(given: str) -> Pin:
    """Of `KEY`, `KEY 0-5000` or `KEY 5000-`. Raises Refused."""
    key, space, sizes = given.strip().partition(" ")
    if not space:
        return Pin(read_key(key))
    found = re.fullmatch(r"([0-9]{1,19})-([0-9]{0,19})", sizes.strip())
    if found is None:
        raise Refused("is followed by something else than sizes such as 0-5000")
    return Pin(read_key(key), int(found[1]), int(found[2]) if found[2] else None)


Parts = tuple[bytes, bytes, bytes, bytes, bytes]  # of a line: index, time, who as JSON, body in base64, hash in hex


@dataclass(frozen=True)
class Place:
    """Behind how many entries, and the hash and the time (µs since 1970) of the last of them."""

    size: int
    hash: bytes
    at: int | None = None


class Chain:
    """Follows entries one by one; a changed one is one problem, not a problem of all after it."""

    def __init__(self, start: Place, findings: Findings, wanted: Mapping[int, bytes]) -> None:
        self._findings = findings
        self._wanted = wanted
        self._roles: dict[bytes, bytes] = {}
        self._shapes = Shapes()
        self.size, self.hash, self.last_at = start.size, start.hash, start.at
        self.first_at: int | None = None
        self.agreed = 0

    def lines(self, block: bytes) -> Iterator[Parts]:
        """The parts of each line. Raises Unreadable at the first that is no entry."""
        found = _ENTRY.findall(block)
        if len(found) == block.count(b"\n"):
            yield from found
            return
        for line in block[:-1].split(b"\n"):
            one = _ENTRY.fullmatch(line + b"\n")
            if one is None:
                raise self._no_entry()
            yield one[1], one[2], one[3], one[4], one[5]

    def follow(self, parts: Parts) -> tuple[int, Mapping[str, str]]:
        """The index and the commitments of an entry."""
        number, at, said_by, encoded, seal = parts
        body = _decoded(encoded)
        if body is None:
            raise self._no_body(encoded)
        recorded_by = self._roles.get(said_by) or self._role(said_by)
        index, recorded_at, digest = int(number), _micros(at.decode()), unhexlify(seal)
        leaf = sha256(_LEAF.pack(index, recorded_at) + recorded_by + b"\0" + body).digest()
        if index != self.size:
            self._findings.wrong(f"Entry {index} stands where entry {self.size} should be.")
        if self.last_at is None:
            self.first_at = recorded_at
        elif recorded_at < self.last_at:
            self._findings.wrong(f"Entry {index} was recorded before the entry in front of it.")
        if sha256(b"\1" + self.hash + leaf).digest() != digest:
            self._findings.wrong(f"The hash of entry {index} does not follow from its content and the entry before it.")
        self.size, self.hash, self.last_at = index + 1, digest, recorded_at
        if self.size in self._wanted:
            self.look()
        try:
            action, commitments = self._shapes.read(body)
        except Refused as refusal:
            self._findings.wrong(f"The body of entry {index} {refusal}.")
            return index, _NONE
        if action in WORKER_ONLY and recorded_by != WORKER:
            self._findings.wrong(f"Entry {index} says {action}, but no worker recorded it: it does not count.")
        return index, commitments

    def _no_body(self, encoded: bytes) -> Unreadable:
        if not _BASE64.fullmatch(encoded):
            return self._no_entry()
        return Unreadable(f"The body of entry {self.size} is not in the one form of base64.")

    def _no_entry(self) -> Unreadable:
        return Unreadable(f"The line where entry {self.size} should be is no entry.")

    def look(self) -> None:
        """Whether the checkpoint that is just here, if there is one, tells of this history."""
        if self.size not in self._wanted:
            return
        self.agreed += 1
        if self._wanted[self.size] != self.hash:
            self._findings.wrong(f"The checkpoint of {self.size} entries is of another history than this one.")

    def _role(self, literal: bytes) -> bytes:
        """A handful of names comes again and again."""
        try:
            name = json.loads(literal)
            if json.dumps(name, ensure_ascii=False).encode() != literal or "\0" in name or not name:
                raise ValueError
        except ValueError as error:
            raise Unreadable(f"The line where entry {self.size} should be names nobody who recorded it.") from error
        self._roles[literal] = str(name).encode()
        return self._roles[literal]


class Texts:
    """Disclosed texts, beside their entries: both files are in the order of the record."""

    def __init__(self, blocks: Iterable[bytes], findings: Findings, *, behind: int = -1) -> None:
        """`behind`: pass over those of this entry and of all before it; somebody else has looked at them."""
        self._findings = findings
        self.passed = 0  # lines that were passed over, or taken
        self._lines = self._read(self._skipped(blocks, behind) if behind >= 0 else blocks)
        self._next = next(self._lines, None)
        self.first = self.passed
        self.matched = self.missing = 0

    def beside(self, index: int, commitments: Mapping[str, str]) -> None:
        """Compare the texts of an entry with what it commits to."""
        count = 0
        while self._next is not None and self._next[0] <= index:
            at, name, digest = self._next
            if at != index or commitments.get(name) != digest:
                self._findings.wrong(f"The text {name!a} of entry {at} is not one that the entry commits to.")
            count += 1
            self._next = next(self._lines, None)
        if count or commitments:
            self.passed += count
            self.matched += count
            self.missing += max(0, len(commitments) - count)

    def end(self) -> None:
        """Whatever is left belongs to no entry."""
        while self._next is not None:
            self._findings.wrong(f"The text {self._next[1]!a} of entry {self._next[0]} has no entry here.")
            self._next = next(self._lines, None)

    def _skipped(self, blocks: Iterable[bytes], behind: int) -> Iterator[bytes]:
        """What comes after the texts of the entry `behind`, if they are in order; that is for others to see."""
        rest = iter(blocks)
        for block in rest:
            if _text_index(_last(block)) > behind:
                lines = block[:-1].split(b"\n")
                passed = sum(1 for _ in takewhile(lambda line: _text_index(line) <= behind, lines))
                self.passed += passed
                yield b"".join(line + b"\n" for line in lines[passed:])
                break
            self.passed += block.count(b"\n")
        yield from rest

    def _read(self, blocks: Iterable[bytes]) -> Iterator[tuple[int, str, str]]:
        before = -1, ""
        for block in blocks:
            for number, told, encoded, value in _texts(block):
                index, name = int(number), told.decode()
                if (index, name) <= before:
                    raise Unreadable(f"{DISCLOSURES} is not in the order of entries and fields, or holds one twice.")
                before = index, name
                yield index, name, sha256(_salt(encoded) + value).hexdigest()


def _texts(block: bytes) -> Iterable[tuple[bytes, bytes, bytes, bytes]]:
    """Index, field, salt in base64 and value of each line."""
    found = _TEXT.findall(block)
    if len(found) == block.count(b"\n") and _is_utf8(block):
        return found
    return map(_text, block[:-1].split(b"\n"))


def _text(line: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    plain = _TEXT.fullmatch(line + b"\n")
    if plain is not None and _is_utf8(line):
        return plain[1], plain[2], plain[3], plain[4]
    index, name, salt, value = _line(line, DISCLOSURES, ("index", "field", "salt", "value")).values()
    if type(index) is not int or not all(type(text) is str for text in (name, salt, value)):
        raise Unreadable(f"A line of {DISCLOSURES} is no text of an entry.")
    return b"%d" % index, name.encode(), salt.encode(), value.encode()


def _is_utf8(held: bytes) -> bool:
    if held.isascii():
        return True
    try:
        held.decode()
    except ValueError:
        return False
    return True


def _text_index(line: bytes) -> int:
    found = _TEXT_INDEX.match(line)
    if found is None:
        raise Unreadable(f"A line of {DISCLOSURES} does not begin with its index.")
    return int(found[1])


def _last(block: bytes) -> bytes:
    """Its last line, with its end."""
    return block[block.rfind(b"\n", 0, -1) + 1 :]


def _line(line: bytes, file: str, keys: tuple[str, ...]) -> dict[str, Any]:
    """One JSON object with these keys in this order, in the one form of a line."""
    try:
        held = json.loads(line.decode())
        same = type(held) is dict and tuple(held) == keys and _as_given.encode(held).encode() == line
    except (ValueError, RecursionError):
        same = False
    if not same:
        raise Unreadable(f"A line of {file} is not in its one form.")
    return held  # type: ignore[no-any-return]


def _salt(given: bytes) -> bytes:
    salt = _decoded(given)
    if salt is not None:
        return salt
    try:
        return from_base64(given.decode())
    except Refused as refusal:
        raise Unreadable(f"A line of {DISCLOSURES} {refusal}.") from refusal


def _decoded(encoded: bytes) -> bytes | None:
    """Of base64, in its one form."""
    try:
        held = a2b_base64(encoded)
    except ValueError:
        return None
    return held if b2a_base64(held, newline=False) == encoded else None


def _claimed(raw: bytes) -> dict[str, Any]:
    """Verifier key, as text -> what the bundle says of it."""
    held = _json(raw, KEYS)
    if type(held) is not list:
        raise Unreadable(f"{KEYS} is no list of keys.")
    found: dict[str, Any] = {}
    for said in held:
        _check_shape(said, {"key", "from_size", "to_size"})
        first, last = said["from_size"], said["to_size"]
        if type(first) is not int or not (last is None or (type(last) is int and first <= last)):
            raise Unreadable(f"{KEYS} does not say for which sizes a key is good.")
        try:
            key = str(read_key(said["key"])) if type(said["key"]) is str else ""
        except Refused as refusal:
            raise Unreadable(f"A key in {KEYS} {refusal}.") from refusal
        if not key or key in found:
            raise Unreadable(f"{KEYS} holds a key twice, or something that is none.")
        found[key] = said
    return found


class Checkpoints:
    """Signed sizes and hashes. Only those that a pinned key has signed, for a size that it is good for, count."""

    def __init__(self, manifest: Manifest, pins: list[Pin], findings: Findings) -> None:
        self._manifest = manifest
        self._pins = pins
        self._findings = findings
        self.found: dict[int, bytes] = {}

    def read(self, lines: Iterable[bytes]) -> None:
        """Those of the bundle."""
        for number, line in enumerate(lines, start=1):
            note = _line(line, CHECKPOINTS, ("note",))["note"]
            if type(note) is not str:
                raise Unreadable(f"A line of {CHECKPOINTS} holds no note.")
            self.take(note, f"Checkpoint {number} of the bundle")

    def take(self, text: str, what: str) -> None:
        """Keep it if it is to be believed; if not, say why."""
        try:
            note = read_note(text)
            signed = signers(note, [pin.key for pin in self._pins])
        except Refused as refusal:
            self._findings.wrong(f"{what} {refusal}.")
            return
        wrong = self._mistrust(note, signed)
        if wrong:
            self._findings.wrong(f"{what} {wrong}.")
        elif self.found.setdefault(note.size, note.hash) != note.hash:
            self._findings.wrong(f"{what} and another one are of the same {note.size} entries and of two histories.")

    def _mistrust(self, note: Note, signed: list[Key]) -> str:
        if not signed:
            return "is not signed by a key that you have pinned"
        if note.origin != self._manifest.origin or any(key.name != note.origin for key in signed):
            return f"is of another record: of {note.origin!a}"
        if not any(pin.is_good_for(note.size) for pin in self._pins if pin.key in signed):
            return f"is signed by a key that is not good for {note.size} entries"
        if note.size == 0 and note.hash != ZERO:
            return "tells of a hash before the first entry"
        return ""


# Following the entries, in one process or in several -----------------------------------------------------------------


@dataclass(frozen=True)
class Followed:
    """A part of the entries with their texts, which are lines of their own file. What fits together is one part."""

    start: Place
    end: Place
    first_at: int | None
    agreed: int  # checkpoints
    first_text: int
    last_text: int
    matched: int
    missing: int


def _follow(bundle: Bundle, wanted: Mapping[int, bytes], findings: Findings, number: int = 0, of: int = 1) -> Followed:
    """The share `number` of so many. What stands in front of it is taken as it is said."""
    offset, block, blocks = 0, b"", bundle.blocks(ENTRIES)
    begin, end = (bundle.size(ENTRIES) * (1 - _LESS**place) / (1 - _LESS**of) for place in (number, number + 1))
    while offset < begin:
        block = next(blocks)
        offset += len(block)
    start = _place(block) if number else Place(bundle.manifest.first, bundle.manifest.before)
    chain = Chain(start, findings, wanted)
    if not number:
        chain.look()
    texts = Texts(bundle.blocks(DISCLOSURES), findings, behind=start.size - 1 if number else -1)
    for block in blocks:
        for parts in chain.lines(block):
            texts.beside(*chain.follow(parts))
        offset += len(block)
        if number + 1 < of and offset >= end:
            break
    else:
        texts.end()
    return Followed(
        start=start,
        end=Place(chain.size, chain.hash, chain.last_at),
        first_at=chain.first_at,
        agreed=chain.agreed,
        first_text=texts.first,
        last_text=texts.passed,
        matched=texts.matched,
        missing=texts.missing,
    )


def _place(block: bytes) -> Place:
    """Behind the last line of a block, as that line has it."""
    found = _ENTRY.fullmatch(_last(block))
    if found is None:
        raise Unreadable("A line is no entry.")
    return Place(int(found[1]) + 1, unhexlify(found[5]), _micros(found[2].decode()))


def _together(bundle: Bundle, wanted: Mapping[int, bytes]) -> Followed | None:
    """By a process for each processor. None where that is not worth it or cannot be, and wherever anything is not as
    it should be: what that is, and what of it comes first, is for one process to say that goes over all of it.
    """
    of = min(_processors(), bundle.size(ENTRIES) // _SHARE, _MOST_SHARES)
    others: list[tuple[Any, Any]] = []
    if of < 2:
        return None
    try:
        others += (_started(bundle.path, wanted, number, of) for number in range(of - 1))
        last = _share(bundle.path, wanted, of - 1, of)
        return _joined(bundle.manifest, [*(pipe.recv() for _, pipe in others), last])
    except Exception:  # many kinds of computers cannot start processes, each in its own way
        return None
    finally:
        for process, _ in others:
            process.terminate()
            process.join()


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _started(path: str, wanted: Mapping[int, bytes], number: int, of: int) -> tuple[Any, Any]:
    """A process at work, and where it will tell what it has found."""
    # A copy of this process is made in no time, but where it has threads its copy may wait for them for ever.
    is_plain = sys.platform == "linux" and threading.active_count() == 1
    context: Any = multiprocessing.get_context("fork" if is_plain else "spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(there, path, wanted, number, of), daemon=True)
    process.start()
    there.close()  # so that its end is the end here
    return process, here


def _work(pipe: Any, path: str, wanted: Mapping[int, bytes], number: int, of: int) -> None:
    gc.disable()
    pipe.send(_share(path, wanted, number, of))


def _share(path: str, wanted: Mapping[int, bytes], number: int, of: int) -> Followed | None:
    """None where something is not as it should be."""
    findings = Findings()
    try:
        with opened(path) as archive:
            followed = _follow(Bundle(path, archive, findings), wanted, findings, number, of)
    except (Unreadable, StopIteration):
        return None
    return None if findings.count else followed


def _joined(manifest: Manifest, parts: list[Followed | None]) -> Followed | None:
    """None unless each begins where the one in front of it ends."""
    whole = [part for part in parts if part is not None]
    if len(whole) < len(parts) or whole[0].start != Place(manifest.first, manifest.before) or whole[0].first_text:
        return None
    for one, other in zip(whole, whole[1:]):  # noqa: B905, RUF007 - Python 3.9
        if one.end != other.start or one.last_text != other.first_text:
            return None
    return Followed(
        start=whole[0].start,
        end=whole[-1].end,
        first_at=whole[0].first_at,
        agreed=sum(part.agreed for part in whole),
        first_text=0,
        last_text=whole[-1].last_text,
        matched=sum(part.matched for part in whole),
        missing=sum(part.missing for part in whole),
    )


# The whole ------------------------------------------------------------------------------------------------------------


def verify(path: str, pins: list[Pin], kept: Iterable[str] = ()) -> Findings:
    """Check a bundle. `pins`: Pin objects; `kept`: notes that were kept elsewhere. Raises Unreadable."""
    findings = Findings()
    collects = gc.isenabled()
    gc.disable()  # nothing here goes round in circles, and looking for such takes time
    try:
        with opened(path) as archive:
            _check(Bundle(path, archive, findings), pins, list(kept), findings)
    except Unreadable as error:
        findings.wrong(str(error))
        raise Unreadable("\n".join(findings.problems)) from error
    finally:
        if collects:
            gc.enable()
    return findings


def _check(bundle: Bundle, pins: list[Pin], kept: list[str], findings: Findings) -> None:
    manifest = bundle.manifest
    bundle.check_others(bundle.others())
    claimed = _claimed(bundle.whole(KEYS))
    checkpoints = Checkpoints(manifest, [pin.limited(claimed) for pin in pins], findings)
    checkpoints.read(bundle.lines(CHECKPOINTS))
    for place, note in enumerate(kept, start=1):
        checkpoints.take(note, f"The checkpoint {place} that you kept")
    followed = _together(bundle, checkpoints.found) or _follow(bundle, checkpoints.found, findings)
    _check_ends(manifest, followed, checkpoints, findings)
    _tell(manifest, followed, kept, findings)
    _tell_limits(manifest, followed, [pin for pin in pins if pin.from_size is None], findings)


def _check_ends(manifest: Manifest, followed: Followed, checkpoints: Checkpoints, findings: Findings) -> None:
    """That nothing of the period is missing in front, or behind."""
    if manifest.first == 0 and manifest.before != ZERO:
        findings.wrong("The record begins with entry 0, but the manifest tells of something in front of it.")
    if followed.end.size != manifest.last + 1:
        findings.wrong(
            f"The entries end before entry {followed.end.size}; the manifest says entry {manifest.last} is the last."
        )
    if followed.end.size not in checkpoints.found:
        findings.wrong(
            f"No signed checkpoint covers the last entry, {followed.end.size - 1}: the end may be cut or invented."
        )
    for size in sorted(checkpoints.found):
        if not manifest.first <= size <= followed.end.size:
            findings.wrong(f"The checkpoint of {size} entries lies outside of the bundle: the two cannot be compared.")
    if manifest.first > 0 and (followed.first_at is None or followed.first_at >= manifest.since):
        findings.wrong("The bundle does not begin before the period: entries in front may be missing.")
    if followed.end.at is None or followed.end.at < manifest.until:
        findings.wrong("The bundle does not reach the end of the period: entries behind may be missing.")


def _tell(manifest: Manifest, followed: Followed, kept: list[str], findings: Findings) -> None:
    findings.proved += [
        f"Entries {manifest.first} to {manifest.last} of the record of {manifest.origin!a} are whole: none is missing, "
        "doubled, changed or in another place, and none was recorded before the one in front of it.",
        f"They are all that was recorded {manifest.period}, and what lies around it.",
        f"{followed.agreed} signed checkpoints are of this very history; the last one covers the last entry "
        f"({followed.end.size} entries, hash {followed.end.hash.hex()}).",
        "What only a worker can know (access given, prolonged, ended, late, cut; breaks of the record), one recorded.",
        f"{followed.matched} texts about people are those that the entries commit to.",
        "Every file of the bundle is the one that its manifest lists, and there is no other.",
    ]
    if kept:
        findings.proved.append(f"So are all {len(kept)} checkpoints that you kept.")


def _tell_limits(manifest: Manifest, followed: Followed, unlimited: list[Pin], findings: Findings) -> None:
    findings.unproven += [
        *([f"Anything about the {manifest.first} entries before the bundle."] if manifest.first else []),
        f"Anything about entries after {manifest.last}.",
        "That the entries tell the truth: a part of the portal that was taken over can write false ones in its name.",
        "That the reports were computed from the entries rightly: their rows name the entries to compare them with.",
        "When the bundle was made, and what README.txt says: nobody has signed that.",
        "That this program is the right one, if it came with the bundle: take it from elsewhere.",
    ]
    if followed.missing:
        said = "What {} texts about people said that are not here, and who erased them."
        findings.unproven.append(said.format(followed.missing))
    for pin in unlimited:
        findings.unproven.append(f"From which size to which the key {pin.key} is good: that is what the bundle says.")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Check an evidence bundle of the portal's record, offline.")
    parser.add_argument("bundle", metavar="BUNDLE.zip")
    parser.add_argument("--key", action="append", required=True, help="a verifier key, name+id+base64; may be repeated")
    parser.add_argument("--checkpoint", action="append", default=[], metavar="FILE", help="a signed note that you kept")
    given = parser.parse_args(arguments)
    try:
        findings = verify(given.bundle, [_pinned(key) for key in given.key], [_kept(path) for path in given.checkpoint])
    except Unreadable as error:
        print(f"The bundle could not be read. Nothing is proved.\n{error}")
        return 2
    _print("Does NOT hold:", [*findings.problems, *_more(findings)])
    _print("Proved:", [] if findings.count else findings.proved)
    _print("Not proved:", findings.unproven)
    print("Something does NOT hold." if findings.count else "Everything holds that this program can check.")
    return 1 if findings.count else 0


def _pinned(given: str) -> Pin:
    try:
        return read_pin(given)
    except Refused as refusal:
        raise Unreadable(f"The key {given!a} {refusal}.") from refusal


def _kept(path: str) -> str:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read(_MAX_NOTE + 1)
    except (OSError, ValueError) as error:
        raise Unreadable(f"The checkpoint {path!a} cannot be read ({error}).") from error


def _more(findings: Findings) -> list[str]:
    left = findings.count - len(findings.problems)
    return [f"... and {left} more."] if left else []


def _print(title: str, sentences: list[str]) -> None:
    if sentences:
        print(title)
        for sentence in sentences:
            print(f"  - {sentence}")
        print()


if __name__ == "__main__":
    sys.exit(main())
