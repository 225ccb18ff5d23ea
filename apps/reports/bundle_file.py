"""The zip of an evidence bundle, as docs/audit-format.md describes it and offline/verify.py checks it. Flat memory."""

import hashlib
import json
import tempfile
import zipfile
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final

from django.conf import settings

from apps.accounts.models import User
from apps.audit import services as audit
from apps.audit import signing
from apps.audit.body import rfc3339
from apps.audit.chain import ZERO
from apps.audit.models import Checkpoint
from apps.audit.offline import verify as offline
from apps.audit.stretches import first_index, sealed
from apps.core import clock
from apps.core.errors import Conflict
from apps.reports.services import Wanted, take

FORMAT: Final = "jitportal-evidence/1"
_NOTES: Final = 100  # of the checkpoints in between: each costs whoever verifies some milliseconds
_TOLD_EVERY: Final = 5_000  # entries
_SPOOLED: Final = 8 * 1024 * 1024
_README: Final = """\
Evidence of a just-in-time access portal
========================================

Origin of the record:  {origin}
Period:                {since} up to, not including, {until}
Entries:               {first} to {last}

entries.jsonl       every entry of the record in its exact bytes, from one in front of the period to one behind it
disclosures.jsonl   the texts about people that the entries commit to, as far as they were not erased
checkpoints.jsonl   signed heads of the record within this range
keys.json           the keys that signed them, and for which sizes each is good
reports/            tables made of these entries; their columns: docs/compliance.md of the portal's source
verify.py           the program that checks all this; needs Python 3.9 or newer and nothing else

How to check it: take verify.py from the portal's published source rather than from here, take the verifier key from
somebody you trust (it is not worth anything that it stands in keys.json), and run

    python3 verify.py {name} --key 'VERIFIER KEY'

It says in sentences what it has proved, and what it has not. A checkpoint that you kept yourself earlier
(GET /api/v1/audit/checkpoint) proves more: add --checkpoint FILE.
"""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which part of the record: from one entry in front of the period to a signed head behind it."""

    since: datetime
    until: datetime
    reports: tuple[str, ...]
    first: int
    last: int
    before: bytes


def plan_of(*, since: datetime, until: datetime, reports: Iterable[str]) -> Plan:
    """Raises Conflict where nothing has been signed behind the period."""
    behind = first_index(until)
    end = Checkpoint.objects.filter(size__gt=behind).order_by("size").first()
    if end is None:
        raise Conflict(
            "No head of the record has been signed behind this period, so that there is nothing to prove it by: give a "
            "worker a signing key (docs/operate.md), or confirm the break that it waits for, and ask again."
        )
    first = max(0, first_index(since) - 1)
    before = audit.hash_at(first - 1) if first else ZERO
    assert before is not None  # noqa: S101 - there is an entry behind it
    return Plan(since=since, until=until, reports=tuple(reports), first=first, last=end.size - 1, before=before)


def write(plan: Plan, target: IO[bytes], *, actor: User, name: str, progress: Callable[[int], None]) -> None:
    """`actor` takes the reports; `progress` hears how many entries are written. Raises NotAllowed."""
    files: dict[str, Any] = {}
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        with tempfile.SpooledTemporaryFile(max_size=_SPOOLED) as texts:
            files["entries.jsonl"] = _put(archive, "entries.jsonl", _entries(plan, texts, progress))
            texts.seek(0)
            files["disclosures.jsonl"] = _put(archive, "disclosures.jsonl", iter(texts))
        for file, parts in _small(plan, name):
            files[file] = _put(archive, file, parts)
        for report in plan.reports:
            file = f"reports/{report}.csv"
            wanted = Wanted(since=plan.since, until=plan.until, size=plan.last + 1)
            files[file] = _put(archive, file, take(actor=actor, name=report, wanted=wanted, as_what="bundle").csv())
        archive.writestr("manifest.json", json.dumps(_manifest(plan, files)))


def _put(archive: zipfile.ZipFile, name: str, parts: Iterable[bytes]) -> dict[str, Any]:
    """Returns what the manifest says of it."""
    digest, size = hashlib.sha256(), 0
    with archive.open(name, "w", force_zip64=True) as file:
        for part in parts:
            digest.update(part)
            size += len(part)
            file.write(part)
    return {"sha256": digest.hexdigest(), "bytes": size}


def _entries(plan: Plan, texts: IO[bytes], progress: Callable[[int], None]) -> Iterator[bytes]:
    """Each entry as a line; the texts beside it go into a file of their own meanwhile."""
    done = 0
    for row, told in sealed(plan.first, plan.last + 1):
        yield _line(
            {
                "index": row.index,
                "recorded_at": rfc3339(row.recorded_at),
                "recorded_by": row.recorded_by,
                "body": b64encode(row.body).decode(),
                "hash": bytes(row.hash).hex(),
            }
        )
        for field, salt, value in sorted(told):
            texts.write(_line({"index": row.index, "field": field, "salt": b64encode(salt).decode(), "value": value}))
        done += 1
        if done % _TOLD_EVERY == 0:
            progress(done)
    progress(done)


def _small(plan: Plan, name: str) -> Iterator[tuple[str, Iterable[bytes]]]:
    yield "checkpoints.jsonl", [_line({"note": note}) for note in _notes(plan)]
    keys = [{"key": one.key, "from_size": one.from_size, "to_size": one.to_size} for one in signing.key_ranges()]
    yield "keys.json", [json.dumps(keys).encode()]
    yield "verify.py", [Path(offline.__file__).read_bytes()]
    said = {"origin": settings.AUDIT_ORIGIN, "since": rfc3339(plan.since), "until": rfc3339(plan.until)}
    yield "README.txt", [_README.format(first=plan.first, last=plan.last, name=name, **said).encode()]


def _notes(plan: Plan) -> list[str]:
    """Of the heads within the range a hundred, evenly, and the last one always."""
    within = Checkpoint.objects.filter(size__gte=max(1, plan.first), size__lte=plan.last + 1).order_by("size")
    ids = list(within.values_list("pk", flat=True))
    step = -(-len(ids) // _NOTES)
    chosen = {*ids[:: max(1, step)], *ids[-1:]}
    return list(within.filter(pk__in=chosen).values_list("note", flat=True))


def _manifest(plan: Plan, files: dict[str, Any]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "origin": settings.AUDIT_ORIGIN,
        "period": {"from": rfc3339(plan.since), "to": rfc3339(plan.until)},
        "made_at": rfc3339(clock.now()),
        "entries": {"first": plan.first, "last": plan.last},
        "before": plan.before.hex(),
        "files": files,
    }


def _line(held: dict[str, Any]) -> bytes:
    return json.dumps(held, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
