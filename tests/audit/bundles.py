"""Evidence bundles made in memory: whole ones, and such as a forger would make who can hash and cannot sign."""

import io
import json
import struct
import zipfile
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from apps.audit.body import rfc3339
from apps.audit.chain import ZERO, Sealed, leaf, link, micros
from apps.audit.notes import Checkpoint, Key, Signer, signed
from tests.support import record

ORIGIN = "jit.example.org"
START = datetime(2026, 11, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def same_signer(name: str, which: str = "") -> Signer:
    """The same key in every process: keys stand in the names of tests."""
    private = Ed25519PrivateKey.from_private_bytes(sha256(f"{name} {which}".encode()).digest())
    return Signer(Key(name, private.public_key().public_bytes_raw()), private)


SIGNER = same_signer(ORIGIN)
FORMAT = "jitportal-evidence/1"
Json = Any


@dataclass(frozen=True)
class Text:
    """A disclosed text, as it stands in the bundle."""

    index: int
    field: str
    value: str
    salt: bytes = record.SALT


@dataclass(frozen=True)
class Evidence:
    """What is put into a bundle. Entry n was recorded at START + n minutes unless it says otherwise."""

    entries: tuple[Sealed, ...]
    texts: tuple[Text, ...]
    notes: tuple[str, ...]
    keys: Json
    before: bytes = ZERO
    since: datetime = START + MINUTE
    until: datetime = START + 3 * MINUTE
    first: int = 0
    last: int = 4
    origin: str = ORIGIN
    more: dict[str, Json] = field(default_factory=dict)  # what the manifest says otherwise

    def files(self) -> dict[str, bytes]:
        """All but the manifest."""
        return {
            "entries.jsonl": b"".join(map(entry_line, self.entries)),
            "disclosures.jsonl": b"".join(map(text_line, self.texts)),
            "checkpoints.jsonl": b"".join(line({"note": note}) for note in self.notes),
            "keys.json": json.dumps(self.keys).encode(),
            "reports/access-grants.csv": b"index,what\r\n1,granted\r\n",
            "verify.py": b"# the program\n",
            "README.txt": b"How to check this.\n",
        }

    def manifest(self, files: dict[str, bytes]) -> Json:
        return {
            "format": FORMAT,
            "origin": self.origin,
            "period": {"from": rfc3339(self.since), "to": rfc3339(self.until)},
            "made_at": rfc3339(START + timedelta(days=1)),
            "entries": {"first": self.first, "last": self.last},
            "before": self.before.hex(),
            "files": {name: {"sha256": sha256(held).hexdigest(), "bytes": len(held)} for name, held in files.items()},
            **self.more,
        }

    def write(self, path: Path) -> Path:
        files = self.files()
        return write_zip(path, {"manifest.json": json.dumps(self.manifest(files)).encode(), **files})


def line(held: Json) -> bytes:
    return json.dumps(held, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def entry_line(entry: Sealed) -> bytes:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=entry.recorded_at)
    body = b64encode(entry.body).decode()
    said = {"index": entry.index, "recorded_at": rfc3339(at), "recorded_by": entry.recorded_by, "body": body}
    return line({**said, "hash": entry.hash.hex()})


def text_line(text: Text) -> bytes:
    salt = b64encode(text.salt).decode()
    return line({"index": text.index, "field": text.field, "salt": salt, "value": text.value})


def write_zip(path: Path, files: dict[str, bytes], *, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, held in files.items():
            archive.writestr(name, held)
    return path


def bodies() -> list[tuple[bytes, str, tuple[Text, ...]]]:
    """What happened: body, who recorded it, its texts."""
    return [
        (record.body(), "jitportal_web", ()),
        (record.body(reason="Ticket OPS-1", person="Zoë"), "jitportal_web", (
            Text(1, "person", "Zoë"),
            Text(1, "reason", "Ticket OPS-1"),
        )),
        (record.body(action="grant.issued", subject="grant:g1", facts={"name": "Zoë", "n": [1, -2, None]}),
         "jitportal_worker", ()),
        (record.body(action="grant.ended", subject="grant:g1", why="time"), "jitportal_worker", ()),  # erased
        (record.body(action="record.exported", subject="record"), "jitportal_web", ()),
    ]  # fmt: skip


def chained(
    told: Iterable[tuple[bytes, str]],
    *,
    first: int = 0,
    before: bytes = ZERO,
    at: Callable[[int], datetime] = lambda index: START + index * MINUTE,
) -> tuple[Sealed, ...]:
    """Entries one after another, with the hashes that follow."""
    entries = []
    for index, (body, by) in enumerate(told, start=first):
        moment = micros(at(index))
        before = link(before, leaf(index=index, recorded_at=moment, recorded_by=by, body=body))
        entries.append(Sealed(index, moment, by, body, before))
    return tuple(entries)


def note(entries: Sequence[Sealed], size: int, *, signer: Signer = SIGNER, origin: str = "") -> str:
    digest = entries[size - 1].hash if size else ZERO
    return signed(Checkpoint(origin or signer.key.name, size, digest), signer)


def key_said(signer: Signer = SIGNER, *, first: int = 0, last: int | None = None) -> Json:
    return {"key": str(signer.key), "from_size": first, "to_size": last}


def evidence() -> Evidence:
    """Five entries from the very first on, checkpoints of two, three and all of them."""
    told = bodies()
    entries = chained([(body, by) for body, by, _ in told])
    texts = tuple(text for _, _, texts in told for text in texts)
    return Evidence(entries, texts, tuple(note(entries, size) for size in (2, 3, 5)), [key_said()])


def forged(bundle: Evidence, entries: Iterable[Sealed], **more: Json) -> Evidence:
    """With other entries whose hashes follow all the same; the notes stay as they were signed."""
    told = [(entry.body, entry.recorded_by) for entry in entries]
    times = [entry.recorded_at for entry in entries]
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    first = bundle.first
    made = chained(
        told,
        first=first,
        before=bundle.before,
        at=lambda index: epoch + timedelta(microseconds=times[index - first]),
    )
    return replace(bundle, entries=made, last=first + len(made) - 1, **more)


def with_header_changed(raw: bytes, name: str, offset: int, value: int) -> bytes:
    """A zip in which one byte of the local header of `name` is another."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        start = archive.getinfo(name).header_offset
    return raw[: start + offset] + struct.pack("B", value) + raw[start + offset + 1 :]
