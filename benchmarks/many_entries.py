"""A record of many entries in a server of its own, for benchmarks: lives as a portal has them, hundreds at a time."""

import os
import secrets
import sys
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

START = datetime(2026, 1, 1, tzinfo=UTC)
DATABASE = "d1"
OPEN = 500  # lives that are under way at any time
PEOPLE = 200


def rfc(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def acts(number: int, now: datetime) -> list[tuple[str, str, str, dict[str, Any], dict[str, str]]]:
    """One life: asked for, approved, opened, used, ended."""
    who, other = f"user:u{number % PEOPLE:08}", f"user:u{(number * 7 + 1) % PEOPLE:08}"
    request, grant, at = f"request:r{number:09}", f"grant:g{number:09}", rfc(now)
    about = {"request": f"r{number:09}", "holder": who, "database": DATABASE, "server": "s1"}
    scope = {"database": DATABASE, "level": "query", "connection": "direct", "minutes": 60, "tables": ["sales.orders"]}
    counts = {
        "table_count": 1,
        "unmask": [],
        "unmask_count": int(number % 10 == 0),
        "masked_count": 2,
        "digest": "d" * 64,
    }
    policy = {"rule": "production", "version": 3, "risk": "medium", "break_glass": number % 50 == 0}
    texts, login = {"person": "Some Body", "reason": "Two reports differ"}, {"login": f"jit_u_{number}"}
    statement = about | {"statement": f"s{number}", "kind": "query", "literals_kept": True}
    proof = {"locked_at": at, "clean_at": at, "sessions_ended": 1, "dropped": True, "leftover": ""}
    end = {"cause": "expired", "since": at}
    return [
        ("request.submitted", who, request, scope | counts | policy, texts),
        ("decision.approved", other, request, {"digest": "d" * 64, "kind": "peer", "step": 0}, {"person": "An Other"}),
        ("request.approved", other, request, {"digest": "d" * 64}, {}),
        ("grant.queued", "clock", grant, about, login),
        ("grant.issued", "worker", grant, about | {"starts_at": at, "expires_at": at, "connection": "direct"}, login),
        ("statement.started", who, grant, statement, {"statement": "SELECT 1", "person": "Some Body"}),
        ("statement.finished", who, grant, statement | {"outcome": "done", "rows": 3}, {}),
        ("drift.found" if number % 20 == 0 else "credential.shown", "worker", grant, about | {"ends": True}, login),
        ("grant.ending", "worker", grant, about | end, login),
        ("grant.ended", "worker", grant, about | end | {"proof": proof}, login),
    ]


def interleaved(count: int) -> Iterator[tuple[datetime, str, str, str, dict[str, Any], dict[str, str]]]:
    """Many lives at once, as in a record."""
    under_way: list[list[Any]] = []
    number, told = 0, 0
    while told < count:
        if len(under_way) < OPEN:
            under_way.append(acts(number, START + timedelta(seconds=told))[::-1])
            number += 1
            place = len(under_way) - 1
        else:
            place = told * 31 % len(under_way)
        now = START + timedelta(seconds=told)
        yield (now, *under_way[place].pop())
        told += 1
        if not under_way[place]:
            under_way[place] = under_way[-1]
            under_way.pop()


def lay_down(cluster: Any, count: int) -> None:
    """So many entries behind those that are there, as a restored dump has them: sealing each would take minutes."""
    from apps.audit.actions import WORKER_ROLE
    from apps.audit.body import Body, write
    from apps.audit.chain import commitment, leaf, link, micros

    told = interleaved(count)
    with cluster.connect("bench") as superuser, superuser.transaction():
        for table in ("entry", "seal", "disclosure", "head"):
            superuser.execute(f"ALTER TABLE audit.{table} DISABLE TRIGGER USER")
        size, previous, entry = superuser.execute(
            "SELECT size, hash, (SELECT coalesce(max(id), 0) FROM audit.entry) FROM audit.head"
        ).fetchone()
        moment = START
        for first in range(0, count, 20_000):
            entries, seals, texts = [], [], []
            for now, action, actor, subject, facts, disclosed in (
                next(told) for _ in range(min(20_000, count - first))
            ):
                entry += 1
                salted = {field: (secrets.token_bytes(32), value) for field, value in disclosed.items()}
                commitments = {field: commitment(*pair) for field, pair in salted.items()}
                body = write(
                    Body(action=action, actor=actor, at=rfc(now), subject=subject, facts=facts, commitments=commitments)
                )
                moment = now
                sealing = leaf(index=size, recorded_at=micros(now), recorded_by=WORKER_ROLE, body=body)
                previous = link(previous, sealing)
                entries.append((entry, body))
                seals.append((size, entry, now, WORKER_ROLE, previous, action, actor, subject, DATABASE))
                texts += [(entry, field, salt, value) for field, (salt, value) in salted.items()]
                size += 1
            for table, rows in (("entry", entries), ("seal", seals), ("disclosure", texts)):
                with superuser.cursor().copy(f"COPY audit.{table} FROM STDIN") as copy:
                    for row in rows:
                        copy.write_row(row)
        superuser.execute("UPDATE audit.head SET size = %s, hash = %s, recorded_at = %s", [size, previous, moment])
        superuser.execute("SELECT setval(pg_get_serial_sequence('audit.entry', 'id'), %s)", [entry])
        for table, triggers in superuser.execute(
            "SELECT tgrelid::regclass::text, array_agg(tgname::text) FROM pg_trigger"
            " WHERE tgrelid IN ('audit.entry'::regclass, 'audit.seal'::regclass, 'audit.disclosure'::regclass,"
            " 'audit.head'::regclass) AND NOT tgisinternal GROUP BY 1"
        ).fetchall():
            for trigger in triggers:
                superuser.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}")
    with cluster.connect("bench") as superuser:
        superuser.execute("VACUUM (ANALYZE) audit.entry, audit.seal, audit.disclosure")


def server_seconds(cluster: Any) -> float:
    """Of the processor, by all processes of the server, those that have ended included."""
    (front, *_) = (cluster.folder.resolve() / "data" / "postmaster.pid").read_text().split()
    postmaster = psutil.Process(int(front))
    ended = postmaster.cpu_times()
    return sum(
        (sum(one.cpu_times()[:2]) for one in [postmaster, *postmaster.children()]),
        ended.children_user + ended.children_system,
    )


def memory() -> int:
    """Bytes of this process that are in memory now."""
    return int(psutil.Process().memory_info().rss)


def set_up(cluster: Any, *apps: str) -> None:
    """Django on a portal database of its own, as the worker. `apps` come on top of the portal's."""
    from jitportal.embedded import new_password
    from jitportal.portal_database import OWNER, WEB, WORKER, prepare, urls

    passwords = {role: new_password() for role in (OWNER, WEB, WORKER)}
    with cluster.connect() as superuser:
        prepare(superuser, database="bench", **{f"{r.split('_')[1]}_password": passwords[r] for r in passwords})
    found = urls(passwords, host=cluster.host, port=cluster.port, database="bench")
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "jitportal.settings",
        "DATABASE_URL": found[WORKER],
        "DATABASE_OWNER_URL": found[OWNER],
        "JITPORTAL_SECRET_KEY": "bench-only-" + "x" * 50,
        "JITPORTAL_PORTAL_ID": "benchportal",
        "JITPORTAL_TESTING": "1",
        "JITPORTAL_LOG_LEVEL": "ERROR",
        "EMAIL_URL": "memory://",
    }
    warnings.simplefilter("ignore")
    import django
    from django.conf import settings
    from django.core.management import call_command

    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, *apps]
    django.setup()
    call_command("migrate", database="owner", verbosity=0, run_syncdb=True)
