"""How fast does audit_verify follow the record? `.venv/bin/python benchmarks/bench_audit.py [--entries 1000000]`

A record in a server of its own, followed by one process and by one for each core. Beside it, in the same run, a bare
SHA-256 of the same bodies: on a machine that others use as well, the ratio says more than seconds.
"""

import argparse
import hashlib
import os
import resource
import tempfile
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import psutil
from many_entries import lay_down, memory, server_seconds, set_up

CORES = len(os.sched_getaffinity(0))


def children() -> float:
    """Seconds of the processor by processes of this one that have ended."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def helpers_memory() -> int:
    """Bytes that the largest of the processes holds that follow spans."""
    found = [one for one in psutil.Process().children() if "spawn_main" in " ".join(one.cmdline())]
    return max((one.memory_info().rss for one in found), default=0)


def bare_hashing(bodies: list[bytes]) -> float:
    """Microseconds for each."""
    began = process_time()
    for body in bodies:
        hashlib.sha256(body).digest()
    return (process_time() - began) / len(bodies) * 1e6


def followed(cluster: Any, processes: int, bodies: list[bytes]) -> None:
    from apps.audit.verification import verify

    bare = bare_hashing(bodies)
    ours, servers, began = process_time() + children(), server_seconds(cluster), perf_counter()
    most = 0

    def look(done: int, size: int) -> None:
        nonlocal most
        most = max(most, helpers_memory() if processes > 1 else memory())

    result = verify(processes=processes, progress=look)
    took = perf_counter() - began
    ours, servers = process_time() + children() - ours, server_seconds(cluster) - servers
    assert result.ok, result.problems
    bare = (bare + bare_hashing(bodies)) / 2
    each = (ours + servers) / result.count * 1e6
    print(f"{processes:>9} {result.count:>10,} {result.count / took:>10,.0f} {1e6 / each:>14,.0f}", end=" ")
    print(f"{each:>10.2f} {ours / result.count * 1e6:>8.2f} {servers / result.count * 1e6:>8.2f}", end=" ")
    print(f"{bare:>8.2f} {each / bare:>6.1f} {most / 2**20:>6.0f} MiB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3, help="in turn, so that a busy machine is busy for all")
    given = parser.parse_args()
    from jitportal.embedded import Cluster

    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        Path(folder).chmod(0o711)
        cluster = Cluster(Path(folder) / "portal", fast=True, settings={"shared_buffers": "256MB"})
        cluster.start()
        try:
            set_up(cluster)
            lay_down(cluster, given.entries)
            from django.db import connection

            with connection.cursor() as cursor:
                cursor.execute("SELECT body FROM audit.entry ORDER BY id LIMIT 20000")
                bodies = [bytes(body) for (body,) in cursor.fetchall()]
            print(f"{CORES} cores; µs of the processor for each entry, and a bare SHA-256 of its body beside it")
            print(f"{'processes':>9} {'entries':>10} {'entries/s':>10} {'/processor-s':>14}", end=" ")
            print(f"{'µs':>10} {'ours':>8} {'server':>8} {'bare':>8} {'ratio':>6} {'memory':>10}")
            for _ in range(given.rounds):
                for processes in sorted({1, CORES}):
                    followed(cluster, processes, bodies)
        finally:
            cluster.destroy()


if __name__ == "__main__":
    main()
