"""Entries per second and memory of each report's fold, and of a report that is read from a real record.

    .venv/bin/python benchmarks/bench_reports.py [--entries 1000000] [--record 1000000] [--only access-grants]

The folds get lines that are made as they are read, of hundreds of lives at a time: nothing of them is kept here, so
that the memory which grows is the fold's. The other part lays so many entries down in a server of its own and takes
each report by services.take(), as the API does.
"""

import argparse
import tempfile
import tracemalloc
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from many_entries import START, interleaved, lay_down, memory, server_seconds, set_up


class Lines:
    """So many lines for a fold; `spent` is what making them took, some thousands at a time, and nobody's fold."""

    def __init__(self, count: int, reads: frozenset[str] | None) -> None:
        self.count, self.reads, self.spent, self.given = count, reads, 0.0, 0

    def __iter__(self) -> Iterator[Any]:
        made = (line for line in lines(self.count) if self.reads is None or line.action in self.reads)
        while True:
            began = process_time()
            some = list(islice(made, 5_000))
            self.spent += process_time() - began
            if not some:
                return
            self.given += len(some)
            yield from some


def lines(count: int) -> Iterator[Any]:
    from apps.audit.actions import WORKER_ROLE
    from apps.audit.trail import Line

    empty = bytes(32)
    for index, (now, action, actor, subject, facts, texts) in enumerate(interleaved(count)):
        yield Line(
            index=index, recorded_at=now, recorded_by=WORKER_ROLE, hash=empty, body=b"{}" * 100, action=action,
            actor=actor, subject=subject, at="", facts=facts, disclosed=texts, erased=(), problem="",
        )  # fmt: skip


def folds(count: int, only: str) -> None:
    from apps.reports.base import Asked
    from apps.reports.listing import REPORTS

    print(f"A record of {count:,} entries; what a report does not read is not counted. Seconds of the processor.")
    print(f"{'report':24} {'entries':>10} {'entries/s':>12} {'rows':>10} {'peak memory':>12}")
    asked = Asked(since=START + timedelta(days=1), until=START + timedelta(days=4_000))
    for name, report in REPORTS.items():
        if only and name != only:
            continue
        given = Lines(count, report.reads)
        began = process_time()
        rows = sum(1 for _ in report.fold(given, asked))
        took = process_time() - began - given.spent
        tracemalloc.start()
        for _ in report.fold(lines(count // 5), asked):
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        rate = f"{given.given / took:,.0f}" if given.given > 1_000 else "–"
        print(f"{name:24} {given.given:>10,} {rate:>12} {rows:>10,} {peak / 2**20:>9.1f} MiB", flush=True)


def from_the_record(cluster: Any, only: str) -> None:
    """As a download reads it. Processor: of this process and of the server together."""
    from apps.reports.listing import REPORTS
    from apps.reports.services import Wanted, in_pieces, take

    print(f"\n{'report, from the database':26} {'entries':>10} {'entries/s':>10} {'of processor':>12}", end=" ")
    print(f"{'of the record/s':>16} {'first byte':>12} {'rows':>10} {'memory':>12}")
    for name in REPORTS:
        if only and name != only:
            continue
        before, spent = memory(), process_time() + server_seconds(cluster)
        most, began = before, perf_counter()
        wanted = Wanted(since=START, until=START + timedelta(days=4_000))
        taken = take(actor="operator", name=name, wanted=wanted, as_what="benchmark")
        pieces = in_pieces(taken.csv())
        next(pieces)
        first = perf_counter() - began
        for number, _ in enumerate(pieces):
            most = max(most, memory()) if number % 10 == 0 else most
        took, spent = perf_counter() - began, process_time() + server_seconds(cluster) - spent
        rates = f"{taken.entry_count / took:>10,.0f} {taken.entry_count / spent:>12,.0f}"
        print(f"{name:26} {taken.entry_count:>10,} {rates} {taken.checkpoint.size / took:>16,.0f}", end=" ")
        print(f"{first * 1000:>9.1f} ms {taken.row_count:>10,} {(most - before) / 2**20:>+8.1f} MiB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000, help="that the folds alone are given")
    parser.add_argument("--record", type=int, default=1_000_000, help="entries in the database")
    parser.add_argument("--only", default="", help="one report")
    given = parser.parse_args()
    from jitportal.embedded import Cluster

    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        Path(folder).chmod(0o711)
        cluster = Cluster(Path(folder) / "portal", fast=True)
        cluster.start()
        try:
            set_up(cluster)
            if given.record:
                lay_down(cluster, given.record)
                from_the_record(cluster, given.only)
            if given.entries:
                folds(given.entries, given.only)
        finally:
            cluster.destroy()


if __name__ == "__main__":
    main()
