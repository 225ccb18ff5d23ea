"""How long does a page of the record take, by any filter, in a record of five million entries?

    .venv/bin/python benchmarks/bench_audit_page.py [--entries 5000000] [--rounds 3] [--limit-ms 200]

A server of its own is filled by SQL, as the owner and with the triggers asleep: hundreds of requests under way at any
time, half of them on one database, and half of all entries written by the worker. Every combination of person,
database, action, time and request is looked for, at the newest end and deep in the record; the slowest and those of one
filter are then asked for as whole pages, through the view, by an auditor who is signed in. Beside them stands, in the
same run, the page without any filter: machines differ, and ratios to it say more than milliseconds. Ends with 1 where
the best of the rounds of any page is slower than the limit.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from time import perf_counter, process_time
from typing import Any
from urllib.parse import urlencode

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.many_entries import set_up  # noqa: E402

STEPS = 10  # entries of a life
OPEN = 500  # lives at once
AT_ONCE = 250_000
# Entry n belongs to a life and is a step of it; each hundredth is about reading the record instead.
MADE = f"""
SELECT n, CASE WHEN n %% 100 = 99 THEN 'record.read' ELSE (ARRAY['request.submitted', 'decision.approved',
    'request.approved', 'grant.queued', 'grant.issuing', 'grant.issued', 'statement.started', 'statement.finished',
    'grant.ending', 'grant.ended'])[step + 1] END AS action,
  CASE WHEN n %% 100 = 99 THEN 'user:a' || n %% 7 WHEN step IN (0, 6, 7) THEN 'user:u' || life %% 200
       WHEN step IN (1, 2) THEN 'user:u' || (life * 7 + 1) %% 200 WHEN step = 3 THEN 'clock' ELSE 'worker' END AS actor,
  CASE WHEN n %% 100 = 99 THEN 'record' WHEN step < 3 THEN 'request:r' || life ELSE 'grant:g' || life END AS subject,
  CASE WHEN n %% 100 <> 99 THEN 'd' || CASE WHEN life %% 2 = 0 THEN 0 ELSE life %% 40 END END AS database,
  timestamptz '2025-01-01' + n * interval '6 seconds' AS at
FROM (SELECT n, (n / {STEPS * OPEN}) * {OPEN} + n %% {OPEN} AS life, n %% {STEPS * OPEN} / {OPEN} AS step
      FROM generate_series(%(first)s::bigint, %(last)s) n) numbered
"""
# Decisions leave the database to the entry in front of them, as the portal writes them.
FILL = (
    "WITH made AS MATERIALIZED ("
    + MADE
    + """), written AS (
  INSERT INTO audit.entry (id, body) OVERRIDING SYSTEM VALUE
  SELECT n + 1, convert_to(format(
    '{"action":"%%s","actor":"%%s","at":"%%s","disclosed":{},"facts":{%%s},"subject":"%%s"}', action, actor,
    to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    CASE WHEN action NOT IN ('decision.approved', 'record.read') THEN format('"database":"%%s"', database) END,
    subject), 'UTF8') FROM made ORDER BY n
)
INSERT INTO audit.seal (index, entry_id, recorded_at, recorded_by, hash, action, actor, subject, database)
SELECT n, n + 1, at, 'jitportal_worker', sha256(int8send(n)), action, actor, subject, database FROM made ORDER BY n
"""
)
INDEXES = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'audit' AND indexname LIKE 'seal_by_%'"

PEOPLE = {"": "", "one": "user:u3", "worker": "worker", "nobody": "user:none"}
DATABASES = {"": "", "half": "database:d0", "one": "database:d7", "none": "database:none"}
ACTIONS = {"": "", "grant": "grant.", "asked": "request.submitted", "ended": "grant.ended", "never": "token.revoked"}
SUBJECTS = {"": "", "life": "request:r{life}", "record": "record"}
TIMES = {"": (0.0, 1.0), "month": (0.4, 0.5), "late": (0.999, 1.0), "none": (2.0, 3.0)}


def fill(entries: int) -> None:
    from django.db import connections

    with connections["owner"].cursor() as cursor:
        for table in ("entry", "seal", "disclosure", "head"):
            cursor.execute(f"ALTER TABLE audit.{table} DISABLE TRIGGER USER")
        cursor.execute(INDEXES)
        indexes = cursor.fetchall()
        for name, _ in indexes:
            cursor.execute(f"DROP INDEX audit.{name}")
        cursor.execute("DELETE FROM audit.disclosure; DELETE FROM audit.seal; DELETE FROM audit.entry")
        for first in range(0, entries, AT_ONCE):
            cursor.execute(FILL, {"first": first, "last": min(entries, first + AT_ONCE) - 1})
            print(f"\rfilled {min(entries, first + AT_ONCE):,}", end="", flush=True)
        for name, definition in indexes:
            cursor.execute(definition)
            print(f", {name}", end="", flush=True)
        cursor.execute("SELECT setval(pg_get_serial_sequence('audit.entry', 'id'), %s)", [entries])
        cursor.execute("UPDATE audit.head SET (size, hash, recorded_at) = (SELECT index + 1, hash, recorded_at"
                       " FROM audit.seal ORDER BY index DESC LIMIT 1)")  # fmt: skip
        for table in ("entry", "seal", "disclosure", "head"):
            cursor.execute(f"ALTER TABLE audit.{table} ENABLE TRIGGER USER")
            cursor.execute(f"VACUUM ANALYZE audit.{table}")
    print()


def auditor() -> Any:
    """A browser of somebody who is signed in and may read the record."""
    from django.test import Client

    from apps.accounts.models import Duty
    from tests.factories import DutyFactory, UserFactory

    user = UserFactory(username="audrey", groups=[DutyFactory(name="auditors", duty=Duty.AUDITOR)])
    client = Client(SERVER_NAME="localhost")
    client.force_login(user, "apps.accounts.backends.SsoBackend")
    return client


def filters(entries: int) -> dict[str, dict[str, Any]]:
    """What is looked for in words -> the query of the page's address."""
    start, found = datetime(2025, 1, 1, tzinfo=UTC), {}
    for (who, person), (where, database), (what, action), (when, part), (about, subject) in product(
        PEOPLE.items(), DATABASES.items(), ACTIONS.items(), TIMES.items(), SUBJECTS.items()
    ):
        life = entries // STEPS // 2
        asked = {"person": person, "database": database, "action": action, "subject": subject.format(life=life)}
        if when:
            since, until = (start + timedelta(seconds=6 * entries * share) for share in part)
            asked |= {"since": f"{since:%Y-%m-%dT%H:%M}", "until": f"{until:%Y-%m-%dT%H:%M}"}
        words = {"person": who, "database": where, "action": what, "time": when, "about": about}
        name = " ".join(f"{key}:{word}" for key, word in words.items() if word) or "no filter"
        for depth, before in (("", None), (" deep", entries // 3)):
            given = {**asked, "before": before}
            found[name + depth] = {field: value for field, value in given.items() if value}
    return found


def best(ask: Callable[[], Any], rounds: int) -> tuple[float, float]:
    """Milliseconds by the clock, and of Python's own work."""
    took = []
    for _ in range(rounds):
        began, worked = perf_counter(), process_time()
        ask()
        took.append(((perf_counter() - began) * 1000, (process_time() - worked) * 1000))
    wall, work = (min(column) for column in zip(*took, strict=True))
    return wall, work


def looked_for(query: dict[str, Any]) -> Callable[[], Any]:
    """As the view does it."""
    from apps.audit import services as audit
    from apps.portal.forms import RecordForm
    from apps.portal.views.record import _where

    form = RecordForm(query)
    where = _where(form)
    assert where is not None, form.errors
    return lambda: audit.latest(before=query.get("before"), limit=51, where=where)


def shown(client: Any, query: dict[str, Any]) -> Callable[[], None]:
    def ask() -> None:
        answer = client.get(f"/record/?{urlencode(query)}")
        assert answer.status_code == 200, (query, answer.status_code)

    return ask


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit-ms", type=float, default=200)
    parser.add_argument("--folder", default=None, help="where the server's files lie meanwhile")
    given = parser.parse_args()
    from jitportal.embedded import Cluster

    with tempfile.TemporaryDirectory(prefix="bench-", dir=given.folder) as folder:
        Path(folder).chmod(0o711)
        cluster = Cluster(Path(folder) / "portal", fast=True)
        cluster.start()
        try:
            set_up(cluster)
            fill(given.entries)
            return report(given.entries, given.rounds, given.limit_ms)
        finally:
            cluster.destroy()


def report(entries: int, rounds: int, limit: float) -> int:
    asked, client = filters(entries), auditor()
    found = {name: best(looked_for(query), rounds)[0] for name, query in asked.items()}
    slow = sorted(found, key=found.__getitem__, reverse=True)
    simple = [name for name in found if name.count(":") <= 1]
    shown(client, {})()
    reference, _ = best(shown(client, {}), 5 * rounds)
    print(f"{len(found):,} filters on {entries:,} entries, the best of {rounds}; ratios to the page without any")
    print(f"{'page':66}{'found ms':>10}{'page ms':>9}{'ratio':>7}{'Python ms':>11}")
    late = 0
    for name in dict.fromkeys([*slow[:15], *simple]):
        page, work = best(shown(client, asked[name]), rounds)
        late += page > limit
        print(f"{name:66}{found[name]:>10.1f}{page:>9.1f}{page / reference:>7.2f}{work:>11.1f}", flush=True)
    print(f"{late} of these pages take more than {limit:.0f} ms.")
    return int(bool(late))


if __name__ == "__main__":
    sys.exit(main())
