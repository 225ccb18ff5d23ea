"""Sealed entries per second, beside the same insert without the seal; and one update that is told of, beside libraries.

    .venv/bin/python benchmarks/bench_seal.py [--clients 16] [--seconds 5] [--rounds 3] [--updates 200]

A fresh embedded server with full durability, the web role, and the wheel's pgbench: one transaction is one entry,
as it is written by `audit.services.record()`, alone or with one text beside it.

Then one client, Django, and one row that changes its state in a transaction of its own: told to nobody, to the record
by `record()` (alone, and with a text), to django-auditlog with its actor, and to django-pghistory with the same
as context. They take turns, so that a busy machine is busy for all.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from apps.audit.body import Body, write  # noqa: E402
from apps.audit.chain import commitment  # noqa: E402
from benchmarks.many_entries import set_up  # noqa: E402
from jitportal.embedded import Cluster, new_password  # noqa: E402
from jitportal.embedded_install import binaries, server_user  # noqa: E402
from jitportal.portal_database import OWNER, WEB, WORKER, prepare, urls  # noqa: E402

DATABASE = "sealing"
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
        for migration in sorted((ROOT / "apps/audit/migrations").glob("*.sql")):
            superuser.execute(migration.read_bytes())
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


LIBRARIES = ("auditlog", "pgtrigger", "pghistory", "benchmarks.tracked")


def updates() -> dict[str, Callable[[int], None]]:
    """What one update is for each; the number makes it another one than before."""
    import pghistory
    from auditlog.context import set_actor
    from django.db import transaction

    from apps.audit import services as audit
    from apps.audit.actions import Action
    from benchmarks.tracked.models import Logged, Plain, Remembered
    from tests.factories import UserFactory

    user = UserFactory(username="alice")
    rows = {model: model.objects.create(status="pending", reason=REASON) for model in (Plain, Logged, Remembered)}

    def change(model: Any, number: int) -> None:
        rows[model].status = "approved" if number % 2 else "pending"
        rows[model].minutes = number
        rows[model].save()

    def alone(number: int) -> None:
        with transaction.atomic():
            change(Plain, number)

    def recorded(number: int, **texts: str) -> None:
        with transaction.atomic():
            change(Plain, number)
            facts = {"database": "shop", "status": rows[Plain].status, "minutes": number}
            audit.record(
                Action.REQUEST_APPROVED, actor=user.audit_id, subject="request:bench", facts=facts, disclosed=texts
            )

    def logged(number: int) -> None:
        with set_actor(user), transaction.atomic():
            change(Logged, number)

    def remembered(number: int) -> None:
        with pghistory.context(user=user.pk), transaction.atomic():
            change(Remembered, number)

    return {
        "nobody is told": alone,
        "record()": recorded,
        "record(), with a text": lambda number: recorded(number, reason=REASON),
        "django-auditlog": logged,
        "django-pghistory": remembered,
    }


def tracked(count: int, rounds: int) -> None:
    kinds, took = updates(), {}
    for turn in range(rounds + 1):
        for name, update in kinds.items():
            began, worked = perf_counter(), process_time()
            for number in range(count):
                update(turn * count + number)
            if turn:  # the first warms up
                took.setdefault(name, []).append((perf_counter() - began, process_time() - worked))
    print(f"\none client, {rounds} × {count} updates in turn; ratios to the update that nobody is told of")
    print(f"{'one update, and':26}{'ms':>8}{'ratio':>8}{'ms of Python':>14}{'ratio':>8}")
    base = took["nobody is told"]
    for name, turns in took.items():
        each = [median(column) / count * 1000 for column in zip(*turns, strict=True)]
        ratios = [
            median(turn[place] / alone[place] for turn, alone in zip(turns, base, strict=True)) for place in range(2)
        ]
        print(f"{name:26}{each[0]:>8.2f}{ratios[0]:>8.2f}{each[1]:>14.2f}{ratios[1]:>8.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3, help="in turn, so that a busy machine is busy for all")
    parser.add_argument("--updates", type=int, default=200, help="of each kind in a round, by one client")
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
            tell(given, rounds)
            set_up(cluster, *LIBRARIES)
            tracked(given.updates, given.rounds)
        finally:
            cluster.destroy()


def tell(given: argparse.Namespace, rounds: list[list[float]]) -> None:
    print(
        f"{given.clients} clients, {os.cpu_count()} cores, PostgreSQL 18, durable, {given.rounds} × {given.seconds} s"
    )
    print(f"{'transaction':<26}{'per second':>12}{'least':>8}{'most':>8}{'ratio':>8}")
    for name, rates in zip(scripts(), zip(*rounds, strict=True), strict=True):
        ratio = median(rate / turn[0] for rate, turn in zip(rates, rounds, strict=True))
        print(f"{name:<26}{median(rates):>12,.0f}{min(rates):>8,.0f}{max(rates):>8,.0f}{ratio:>8.2f}")


if __name__ == "__main__":
    main()
