"""From approved to a credential that works, and from the end of a grant to no session, on a running demo.

    make demo DATA=.demo          # in another terminal
    .venv/bin/python benchmarks/bench_life.py [--data .demo] [--grants 60]

Everything goes the way it goes in life: verbs, clock, queue, workers, target. The work on the target alone is
compared with the same statements sent by bare psycopg, in turn, in the same run.
"""

import argparse
import os
import select
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import psycopg

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

SLUG = "shop-staging"


def set_up(data: Path) -> None:
    """As a worker of the running demo: the bench looks at rows and, for the comparison, works on the target."""
    os.environ |= {"JITPORTAL_DATA": str(data), "JITPORTAL_PROCESS": "worker", "JITPORTAL_LOG_LEVEL": "ERROR"}
    os.environ["DJANGO_SETTINGS_MODULE"] = "jitportal.settings"
    warnings.simplefilter("ignore")
    import django

    django.setup()


def request_access(tables: tuple[str, ...]) -> Any:
    from apps.accounts.models import User
    from apps.requests.services import Ask, submit

    ask = Ask(database=SLUG, level="query", tables=tables, connection="direct", minutes=1, reason="How fast is this?")
    request = submit(actor=User.objects.get(username="alice"), ask=ask)
    if request.status != "approved":
        raise SystemExit(f"The policy did not approve at once: {request.closed_reason}")
    return request


def two_tables() -> tuple[str, ...]:
    from apps.catalog.models import MASKED_LEVELS, Table

    tables = Table.objects.filter(database__slug=SLUG, gone_at=None)
    # A schema that holds a masked column is reached by its views alone, and its name is not theirs.
    masked = tables.filter(columns__classification__in=MASKED_LEVELS).values("schema")
    plain = tables.exclude(schema__in=masked)
    return tuple(f'"{table.schema}"."{table.name}"' for table in plain[:2])


def until_usable(tables: tuple[str, ...]) -> tuple[float, Any, psycopg.Connection[Any]]:
    """Seconds from the commit of the approval until a client is logged in; the grant; the client."""
    from apps.grants import services
    from apps.grants.models import Grant

    request = request_access(tables)
    approved_at = time.monotonic()
    while time.monotonic() < approved_at + 60:
        grant = Grant.objects.filter(request=request).first()
        if grant is not None and grant.status == "active":
            url = services.credential(actor=request.requester, grant_id=grant.pk).url
            client = psycopg.connect(url, autocommit=True)
            client.execute(f"SELECT FROM {tables[0]} LIMIT 1")  # type: ignore[call-overload]
            return time.monotonic() - approved_at, grant, client
        time.sleep(0.005)
    raise SystemExit(f"A grant was not usable after 60 s: {grant.problem if grant else 'no clock is running'}")


def lateness(held: list[tuple[Any, psycopg.Connection[Any]]]) -> list[float]:
    """Seconds between the due instant and the cut, for each open session; the demo's clocks are one machine's."""
    due = {client.fileno(): grant.expires_at.timestamp() for grant, client in held}
    late: list[float] = []
    give_up = max(due.values()) + 60
    while due and time.time() < give_up:
        ready, _, _ = select.select(list(due), [], [], 1.0)
        now = time.time()
        late += [now - due.pop(number) for number in ready]
    return late + [float("inf")] * len(due)


Said = list[tuple[str, str]]  # (database, statement with its values)


@contextmanager
def recorded() -> Iterator[Said]:
    """All that psycopg sends meanwhile, except to the portal."""
    from django.conf import settings

    portal, said = str(settings.DATABASES["default"]["PORT"]), Said()
    execute, transaction = psycopg.Cursor.execute, psycopg.Connection.transaction

    def note(connection: psycopg.Connection[Any], text: str) -> None:
        if str(connection.info.port) != portal:
            said.append((connection.info.dbname, text))

    def noting_execute(self: Any, query: Any, params: Any = None, **more: Any) -> Any:
        note(self.connection, psycopg.ClientCursor(self.connection).mogrify(query, params))
        return execute(self, query, params, **more)

    @contextmanager
    def noting_transaction(self: Any, *given: Any, **more: Any) -> Iterator[Any]:
        note(self, "BEGIN")
        with transaction(self, *given, **more) as inner:
            yield inner
        note(self, "COMMIT")

    psycopg.Cursor.execute, psycopg.Connection.transaction = noting_execute, noting_transaction  # type: ignore[assignment,method-assign]
    try:
        yield said
    finally:
        psycopg.Cursor.execute, psycopg.Connection.transaction = execute, transaction  # type: ignore[method-assign]


def compare(rounds: int) -> tuple[list[float], list[float]]:
    """Seconds for making a login: by the engine, and by bare psycopg with the statements that the engine sent."""
    from apps.catalog.targets import engine_for, target_for
    from apps.engines.postgresql import names, scram
    from apps.grants import issuing
    from apps.grants.models import Grant

    grant = Grant.objects.filter(database__slug=SLUG, status="active").select_related("server", "database")[0]
    engine, target = engine_for(grant.server), target_for(grant.server)
    spec = replace(issuing._spec(grant), verifier=scram.verifier("bench-password"), seconds=60)
    maker = names.maker_name(grant.login)
    logins = [name for n in range(100_000) if names.maker_name(name := f"jit_bench_{n:0>10}") == maker]
    with recorded() as said:
        engine.open_login(target, replace(spec, login=logins[0]))
    made, by_engine, bare = [logins[0]], [], []
    for turn in range(rounds):
        made += [first := logins[2 * turn + 1], second := logins[2 * turn + 2]]
        statements = [(database, text.replace(logins[0], second)) for database, text in said]
        by_engine.append(seconds(engine.open_login, target, replace(spec, login=first)))
        bare.append(seconds(replay, target, statements))
    engine.close_logins(target, made)
    return by_engine, bare


def replay(target: Any, statements: Said) -> None:
    """One connection for each database in a row, as the engine does."""
    connection = None
    for database, text in statements:
        if connection is None or connection.info.dbname != database:
            connection = psycopg.connect(
                host=target.host,
                port=target.port,
                user=target.user,
                password=target.password,
                dbname=database,
                autocommit=True,
                prepare_threshold=None,
            )
        cursor = connection.execute(text)  # type: ignore[call-overload]
        if cursor.description:
            cursor.fetchall()
    if connection:
        connection.close()


def seconds(act: Callable[..., object], *given: object) -> float:
    began = time.monotonic()
    act(*given)
    return time.monotonic() - began


def row(name: str, values: list[float]) -> str:
    p99 = quantiles(values, n=100, method="inclusive")[98] if len(values) > 1 else values[0]
    figures = "".join(f"{1000 * value:>10.0f}" for value in (min(values), median(values), p99, max(values)))
    return f"{name:<34}{len(values):>5}{figures}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / ".demo", help="the folder of a running demo")
    parser.add_argument("--grants", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=30, help="of the comparison with bare psycopg")
    given = parser.parse_args()
    set_up(given.data.resolve())
    tables = two_tables()
    usable, held = [], []
    for _ in range(given.grants):
        took, grant, client = until_usable(tables)
        usable.append(took)
        held.append((grant, client))
    by_engine, bare = compare(given.rounds)
    late = lateness(held)
    print(f"{os.cpu_count()} cores, portal, workers and target on this machine; milliseconds")
    print(f"{'':<34}{'n':>5}{'least':>10}{'median':>10}{'99 %':>10}{'most':>10}")
    print(row("approved → logged in", usable))
    print(row("login made by the engine", by_engine))
    print(row("the same SQL by bare psycopg", bare))
    print(row("due instant → session cut", late))
    ratio = median(ours / theirs for ours, theirs in zip(by_engine, bare, strict=True))
    in_time = sum(0 <= value <= 1 for value in late) / len(late)
    print(f"engine / bare psycopg: {ratio:.2f} (at most 1.50); approved → usable, median: {median(usable):.2f} s (1 s)")
    print(f"cut within 1 s and not before it is due: {in_time:.1%} (99 %)")


if __name__ == "__main__":
    main()
