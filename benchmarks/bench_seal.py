"""Sealed entries per second, beside the same insert without the seal.

    .venv/bin/python benchmarks/bench_seal.py [--clients 16] [--seconds 5] [--rounds 3]

A fresh embedded server with full durability, the web role, and the wheel's pgbench: one transaction is one entry,
as it is written by `audit.services.record()`, alone or with one text beside it.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from apps.audit.body import Body, write  # noqa: E402
from apps.audit.chain import commitment  # noqa: E402
from jitportal.embedded import Cluster, new_password  # noqa: E402
from jitportal.embedded_install import binaries, server_user  # noqa: E402
from jitportal.portal_database import OWNER, WEB, WORKER, prepare, urls  # noqa: E402

DATABASE = "bench"
SALT, REASON = bytes(32), "Ticket OPS-1: customers cannot see their orders since this morning"
# The same rows, without the chain.
PLAIN = """
CREATE SCHEMA plain;
CREATE TABLE plain.entry (LIKE audit.entry INCLUDING ALL);
GRANT USAGE ON SCHEMA plain TO jitportal_web;
GRANT INSERT (body) ON plain.entry TO jitportal_web;
"""
ONE = "INSERT INTO {table} (body) VALUES ('\\x{body}');\n"
WITH_TEXT = """BEGIN;
INSERT INTO audit.entry (body) VALUES ('\\x{body}') RETURNING id \\gset
INSERT INTO audit.disclosure (entry_id, field, salt, value) VALUES (:id, 'reason', '\\x{salt}', '{reason}');
COMMIT;
"""


def body(**texts: str) -> str:
    """A body of the usual size, in hex."""
    facts = {"database": "shop", "level": "query", "minutes": 60, "tables": ["sales.orders", "sales.order_lines"]}
    commitments = {field: commitment(SALT, value) for field, value in texts.items()}
    who = {"actor": "user:k3v5x2m7qa", "subject": "request:a7q2m5xk3v", "at": "2026-11-22T12:00:00.000000Z"}
    return write(Body(action="request.submitted", facts=facts, commitments=commitments, **who)).hex()


def scripts() -> dict[str, str]:
    return {
        "plain insert": ONE.format(table="plain.entry", body=body()),
        "sealed entry": ONE.format(table="audit.entry", body=body()),
        "sealed entry and a text": WITH_TEXT.format(body=body(reason=REASON), salt=SALT.hex(), reason=REASON),
    }


def portal(cluster: Cluster) -> str:
    """A database with the record in it; returns the web role's URL."""
    passwords = {role: new_password() for role in (OWNER, WEB, WORKER)}
    with cluster.connect() as superuser:
        prepare(superuser, database=DATABASE, **{f"{r.split('_')[1]}_password": passwords[r] for r in passwords})
    with cluster.connect(DATABASE) as superuser:
        superuser.execute("SET ROLE jitportal_owner")
        superuser.execute((ROOT / "apps/audit/migrations/0001_initial.sql").read_bytes())
        superuser.execute(PLAIN.encode())
    return urls(passwords, host=cluster.host, port=cluster.port, database=DATABASE)[WEB]


def bench(script: str, url: str, *, clients: int, seconds: int) -> float:
    """Transactions per second in one run of pgbench."""
    pgbench = binaries(18, server_user()) / "pgbench"
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(script)
        file.flush()
        command = [pgbench, "-n", "-c", clients, "-j", 2, "-T", seconds, "-f", file.name, url]
        said = subprocess.run(
            [str(part) for part in command], check=True, capture_output=True, text=True, env={"PATH": os.defpath}
        ).stdout
    found = re.search(r"tps = ([\d.]+)", said)
    if found is None:
        raise SystemExit(f"pgbench said no rate:\n{said}")
    return float(found[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3, help="in turn, so that a busy machine is busy for all")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        Path(folder).chmod(0o711)
        cluster = Cluster(Path(folder) / "portal")
        cluster.start()
        try:
            url = portal(cluster)
            rounds = [
                [bench(script, url, clients=given.clients, seconds=given.seconds) for script in scripts().values()]
                for _ in range(given.rounds)
            ]
        finally:
            cluster.destroy()
    print(
        f"{given.clients} clients, {os.cpu_count()} cores, PostgreSQL 18, durable, {given.rounds} × {given.seconds} s"
    )
    print(f"{'transaction':<26}{'per second':>12}{'least':>8}{'most':>8}{'ratio':>8}")
    for name, rates in zip(scripts(), zip(*rounds, strict=True), strict=True):
        ratio = median(rate / turn[0] for rate, turn in zip(rates, rounds, strict=True))
        print(f"{name:<26}{median(rates):>12,.0f}{min(rates):>8,.0f}{max(rates):>8,.0f}{ratio:>8.2f}")


if __name__ == "__main__":
    main()
