"""How fast is verify.py? `.venv/bin/python benchmarks/bench_verify.py [--entries 300000] [--rounds 3]`

A bundle of entries as the portal writes them, checked by the program as an auditor runs it, with nothing installed.
"""

import argparse
import multiprocessing
import os
import resource
import secrets
import subprocess
import sys
import tempfile
import time
import zipfile
from base64 import b64encode
from collections.abc import Iterator
from datetime import timedelta
from hashlib import sha256
from json import dumps
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from apps.audit.body import Body, rfc3339  # noqa: E402
from apps.audit.body import write as body_of  # noqa: E402
from apps.audit.chain import ZERO, commitment, leaf, link, micros  # noqa: E402
from apps.audit.notes import Checkpoint, new_signer, read_signer, signed  # noqa: E402
from benchmarks.bench_reports import interleaved  # noqa: E402
from tests.audit.bundles import START, line  # noqa: E402
from tests.support import record  # noqa: E402

FACTS = {"database": "k3v5x2m7qa", "minutes": 60, "tables": ["sales.orders", "sales.customers"], "level": "query"}


Told = tuple[bytes, str, dict[str, tuple[bytes, str]]]  # a body, who recorded it, and field -> salt and text


def two(count: int) -> Iterator[Told]:
    """Two bodies again and again, one of them with a text."""
    text = {"reason": (record.SALT, "Two reports differ")}
    asked = record.body(facts=FACTS, reason="Two reports differ")
    queued = record.body(action="grant.queued", facts={**FACTS, "n": 7})
    for index in range(count):
        yield (queued, "jitportal_web", {}) if index % 2 else (asked, "jitportal_web", text)


def lives(count: int) -> Iterator[Told]:
    """As in a record: ten kinds of entries about hundreds of requests, and nearly each with a text and its salt."""
    for at, action, actor, subject, facts, said in interleaved(count):
        texts = {field: (secrets.token_bytes(32), value) for field, value in said.items()}
        held = {field: commitment(salt, value) for field, (salt, value) in texts.items()}
        told = Body(action=action, actor=actor, at=rfc3339(at), subject=subject, facts=facts, commitments=held)
        yield body_of(told), "jitportal_worker" if actor == "worker" else "jitportal_web", texts


KINDS = {"two": two, "lives": lives}


def write(path: Path, kind: str, count: int, key: str) -> None:
    """A checkpoint for every ten thousand."""
    previous, notes, signer = ZERO, [], read_signer(key)
    lines: dict[str, bytearray] = {"entries.jsonl": bytearray(), "disclosures.jsonl": bytearray()}
    for index, (body, by, texts) in enumerate(KINDS[kind](count)):
        at = START + index * timedelta(milliseconds=37)
        previous = link(previous, leaf(index=index, recorded_at=micros(at), recorded_by=by, body=body))
        said = {"index": index, "recorded_at": rfc3339(at), "recorded_by": by}
        lines["entries.jsonl"] += line({**said, "body": b64encode(body).decode(), "hash": previous.hex()})
        for field, (salt, value) in sorted(texts.items()):
            held = {"index": index, "field": field, "salt": b64encode(salt).decode(), "value": value}
            lines["disclosures.jsonl"] += line(held)
        if index % 10_000 == 9_999 or index == count - 1:
            notes.append(signed(Checkpoint(signer.key.name, index + 1, previous), signer))
    files = {
        **{name: bytes(held) for name, held in lines.items()},
        "checkpoints.jsonl": b"".join(line({"note": note}) for note in notes),
        "keys.json": dumps([{"key": str(signer.key), "from_size": 0, "to_size": None}]).encode(),
        "verify.py": b"",
        "README.txt": b"",
    }
    manifest = {
        "format": "jitportal-evidence/1",
        "origin": signer.key.name,
        "period": {"from": rfc3339(START), "to": rfc3339(START + timedelta(milliseconds=37))},
        "made_at": rfc3339(START),
        "entries": {"first": 0, "last": count - 1},
        "before": ZERO.hex(),
        "files": {name: {"sha256": sha256(held).hexdigest(), "bytes": len(held)} for name, held in files.items()},
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, held in {"manifest.json": dumps(manifest).encode(), **files}.items():
            archive.writestr(name, held)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--program", type=Path, default=ROOT / "apps/audit/offline/verify.py", help="another verify.py")
    parser.add_argument("--beside", type=Path, help="one more, run in turn with the first")
    given = parser.parse_args()
    processors = len(os.sched_getaffinity(0))
    print(
        f"{given.entries:,} entries, {processors} processors, the best of {given.rounds} rounds; work: seconds of them"
    )
    print(f"{'bundle':8}{'program':28}{'entries/s':>12}{'work':>9}{'µs of work each':>18}{'possible/s':>12}")
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            path, key = Path(folder) / "bundle.zip", new_signer("bench.example.org")
            # In a process of its own, whose memory would count as that of every child that is started after it.
            made = multiprocessing.get_context("spawn").Process(
                target=write, args=(path, kind, given.entries, str(key))
            )
            made.start()
            made.join()
            programs = [one for one in (given.program, given.beside) if one]
            took: dict[Path, list[tuple[float, float]]] = {program: [] for program in programs}
            for _ in range(given.rounds):
                for program in programs:
                    took[program].append(run(program, path, f"{key.key} 0-"))
        for program, rounds in took.items():
            wall, work = (min(column) for column in zip(*rounds, strict=True))
            each, possible = work / given.entries * 1e6, given.entries / work * processors
            rate = given.entries / wall
            print(f"{kind:8}{program.name:28}{rate:>12,.0f}{work:>9.2f}{each:>18.1f}{possible:>12,.0f}", flush=True)


def run(program: Path, bundle: Path, key: str) -> tuple[float, float]:
    """Seconds by the clock, and of all processors."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, "-I", "-S", str(program), str(bundle), "--key", key]
    subprocess.run(command, check=True, capture_output=True)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
