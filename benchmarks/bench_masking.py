"""What masking costs: reading through masked views, making and sharing their scopes, and the proof.

    .venv/bin/python benchmarks/bench_masking.py [--rows 1000000] [--rounds 7] [--version 18] [--tables 10000]

A fresh embedded server and the engine itself. Every figure is a ratio to the same work on the base table, or a time
of the same run; the plans stand beside.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from apps.core.ids import new_id  # noqa: E402
from apps.engines.base import (  # noqa: E402
    Level,
    LoginSpec,
    Operator,
    RowFilter,
    Scope,
    TableName,
    Target,
    Tls,
    ViewedTable,
)
from apps.engines.masks import parse  # noqa: E402
from apps.engines.postgresql import PostgresEngine, names, scram  # noqa: E402
from jitportal.embedded import Cluster  # noqa: E402

PASSWORD = scram.new_password()
ENGINE = PostgresEngine()
COLUMNS = ("id", "region", "email", "amount")
PEOPLE = """
CREATE SCHEMA app;
CREATE TABLE app.{name} (id bigint PRIMARY KEY, region text NOT NULL, email text NOT NULL, amount bigint NOT NULL);
INSERT INTO app.{name} SELECT n, (ARRAY['EU','US','ASIA'])[1 + n % 3], 'person.' || n || '@example.com', n % 99991
FROM generate_series(1, {rows}) n;
"""
# An index that mixes the masked column with another: its view is ordered.
MIXED = """
CREATE TABLE app.ordered AS TABLE app.people;
ALTER TABLE app.ordered ADD PRIMARY KEY (id);
CREATE INDEX ON app.ordered (region, email);
"""
QUERIES = {
    # Within the server, so that a client's waiting is not measured: with a plan that is kept, and planned each time.
    "primary-key lookup": "SELECT * INTO found FROM {t} WHERE id = {key}",
    "primary-key lookup, planned anew": "EXECUTE 'SELECT * FROM {t} WHERE id = ' || {key} INTO found",
    "full scan, every column": "SELECT count(id), count(region), count(email), count(amount) FROM {t}",
    "full scan, masked column read": "SELECT max(length(email)) FROM {t}",
    "copy out": "COPY (SELECT * FROM {t}) TO STDOUT",
}
LOOKUPS = 20_000
# By a client that waits for each answer: planned each time, and prepared once.
CLIENT_LOOKUPS = 2_000
CLIENT_ROUNDS = 15
# Of a scope that is there, by turns.
ISSUES = 25


def target_of(cluster: Cluster) -> Target:
    return Target(
        host=cluster.host,
        port=cluster.port,
        user="jitportal",
        password=PASSWORD,
        tls=Tls.LOOPBACK_PLAINTEXT,
        portal_id="bench",
    )


def database(cluster: Cluster, name: str, *statements: str) -> None:
    with cluster.connect() as admin:
        admin.execute(f'CREATE DATABASE "{name}" TEMPLATE template0'.encode())
    with cluster.connect(name) as admin:
        for statement in statements:
            admin.execute(statement.encode())
        admin.execute("VACUUM ANALYZE")
    script = ENGINE.bootstrap_sql(databases=[name], schemas={}, verifier=scram.verifier(PASSWORD), portal_id="bench")
    command = [str(cluster.psql), "-X", "-q", cluster.superuser_conninfo()]
    subprocess.run(command, input=script, text=True, check=True, capture_output=True)


def a_login(name: str, tables: tuple[TableName, ...], views: tuple[ViewedTable, ...] = (), **spec: Any) -> LoginSpec:
    return LoginSpec(
        login=names.login_name("bench", new_id()),
        verifier=scram.verifier(PASSWORD),
        reference="bench",
        seconds=3600,
        scope=Scope(name, Level.QUERY, tuple(sorted(tables)), tuple(sorted(views))),
        classified=spec.get("classified", frozenset()),
        known=spec.get("known", frozenset()),
    )


@contextmanager
def session(cluster: Cluster, name: str, login: str) -> Iterator[psycopg.Connection[Any]]:
    parameters = {"host": cluster.host, "port": cluster.port, "user": login, "password": PASSWORD, "dbname": name}
    with psycopg.connect(**parameters, autocommit=True) as connection:
        connection.execute("SET max_parallel_workers_per_gather = 0")
        connection.execute("SET jit = off")
        yield connection


def timed(act: Callable[[], Any]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def reader(connection: psycopg.Connection[Any], query: str) -> Callable[[], None]:
    block = (
        f"DO $$ DECLARE found record; BEGIN FOR key IN 1..{LOOKUPS} LOOP {query.replace('{key}', 'key')};"
        " END LOOP; END $$"
    )

    def lookups() -> None:
        connection.execute(block.encode())

    def copied() -> None:
        with connection.cursor() as cursor, cursor.copy(query.encode()) as copy:
            for _ in copy:
                pass

    if "{key}" in query:
        return lookups
    return copied if query.startswith("COPY") else lambda: connection.execute(query.encode()).fetchall()


def reading(cluster: Cluster, rows: int, rounds: int) -> None:
    """Through views and without, by turns."""
    name = "reading"
    database(cluster, name, PEOPLE.format(name="people", rows=rows), MIXED)
    people, ordered = TableName("app", "people"), TableName("app", "ordered")
    # The base table as a login has it that may read it all, by a direct grant.
    known = frozenset((table, column) for table in (people, ordered) for column in COLUMNS)
    base = a_login(name, (people, ordered), known=known)
    everything = (RowFilter("region", Operator.IS_NOT_NULL),)
    ENGINE.open_login(target_of(cluster), base)
    with session(cluster, name, base.login) as direct:
        for title, table, mask, filters in (
            ("hidden", people, "hidden", ()),
            ("partial(1,4)", people, "partial(1,4)", ()),
            ("email", people, "email", ()),
            ("hidden and ordered", ordered, "hidden", ()),
            # Nothing is pushed down below a filter: a lookup there reads the whole table, as the scans do.
            ("hidden and filtered (all rows pass)", people, "hidden", everything),
        ):
            view = ViewedTable(table, COLUMNS, (("email", parse(mask)),), filters)
            spec = a_login(name, (table,), (view,), classified=frozenset({(table, "email")}))
            ENGINE.open_login(target_of(cluster), spec)
            print(f"\n{title}, beside the base table")
            with session(cluster, name, spec.login) as through:
                for what, query in QUERIES.items():
                    if filters and "{key}" in query:
                        continue
                    compare(what, direct, through, query, rounds, table=table)
                if not filters:
                    looking_up(direct, through, rows, table=table)
                    thrown_away(cluster, name, (base.login, spec.login), rounds, table=table)


def compare(
    what: str,
    direct: psycopg.Connection[Any],
    through: psycopg.Connection[Any],
    query: str,
    rounds: int,
    *,
    table: TableName,
) -> None:
    there, here = query.replace("{t}", str(table)), query.replace("{t}", table.name)
    plain, seen = reader(direct, there), reader(through, here)
    plain(), seen()
    pairs = [(timed(plain), timed(seen)) for _ in range(rounds)]
    ratio = median(b / a for a, b in pairs)
    before, after = (1000 * median(times) for times in zip(*pairs, strict=True))
    print(f"  {what:32} {ratio:5.2f} ×   ({before:.1f} ms → {after:.1f} ms)")
    if query.startswith("SELECT"):
        for connection, text in ((direct, there), (through, here)):
            explained = "EXPLAIN (COSTS off) " + text.replace(" INTO found", "").replace("{key}", "42")
            print("      " + " | ".join(line.strip() for (line,) in connection.execute(explained.encode())))


def looking_up(
    direct: psycopg.Connection[Any], through: psycopg.Connection[Any], rows: int, *, table: TableName
) -> None:
    """A row by its key, over and over, from a client on the same machine."""
    texts = (f"SELECT * FROM {table} WHERE id = %s", f"SELECT * FROM {table.name} WHERE id = %s")

    def lookups(connection: psycopg.Connection[Any], text: str, *, prepare: bool) -> float:
        keys = [(n * 7919) % rows + 1 for n in range(CLIENT_LOOKUPS)]
        with connection.cursor() as cursor:
            return timed(lambda: [cursor.execute(text.encode(), [key], prepare=prepare).fetchone() for key in keys])

    for prepare in (False, True):
        pairs = [
            (lookups(direct, texts[0], prepare=prepare), lookups(through, texts[1], prepare=prepare))
            for _ in range(CLIENT_ROUNDS + 1)
        ][1:]
        before, after = (median(times) / CLIENT_LOOKUPS * 1e6 for times in zip(*pairs, strict=True))
        what = f"a client's lookup, {'prepared' if prepare else 'planned anew'}"
        print(f"  {what:32} {after / before:5.2f} ×   ({before:.0f} µs → {after:.0f} µs)")


def thrown_away(cluster: Cluster, name: str, logins: tuple[str, str], rounds: int, *, table: TableName) -> None:
    """A copy to a client that does nothing with it, so that the server's own work is what takes the time."""

    def copy(login: str, text: str) -> float:
        where = f"host={cluster.host} port={cluster.port} dbname={name} user={login}"
        options = "-c jit=off -c max_parallel_workers_per_gather=0"
        command = [str(cluster.psql), "-X", "-q", "-c", f"COPY (SELECT * FROM {text}) TO STDOUT", where]
        environment = {**os.environ, "PGPASSWORD": PASSWORD, "PGOPTIONS": options}
        return timed(lambda: subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env=environment))

    pairs = [(copy(logins[0], str(table)), copy(logins[1], table.name)) for _ in range(rounds + 1)][1:]
    before, after = (1000 * median(times) for times in zip(*pairs, strict=True))
    print(f"  {'copy to nobody':32} {after / before:5.2f} ×   ({before:.1f} ms → {after:.1f} ms)")


def issuing(cluster: Cluster, rounds: int) -> None:
    """A hundred tables, twenty of them masked: for the first time, again, and one plain table."""
    name = "issuing"
    statements = ["CREATE SCHEMA masked; CREATE SCHEMA plain;"]
    statements += [
        f"CREATE TABLE {schema}.t{n} (id int PRIMARY KEY, email text, amount int, note text)"
        for schema, count in (("masked", 20), ("plain", 80))
        for n in range(count)
    ]
    database(cluster, name, *statements)
    columns = ("id", "email", "amount", "note")
    hidden = [TableName("masked", f"t{n}") for n in range(20)]
    plain = [TableName("plain", f"t{n}") for n in range(80)]
    classified = frozenset((table, "email") for table in hidden)
    known = frozenset((table, column) for table in plain for column in columns)

    def issue(tables: tuple[TableName, ...], views: tuple[ViewedTable, ...] = ()) -> float:
        spec = a_login(name, tables, views, classified=classified, known=known)
        return timed(lambda: ENGINE.open_login(target_of(cluster), spec))

    first = []
    for turn in range(rounds):
        masks = (("email", parse(f"partial({turn + 1},0)")),)
        views = tuple(ViewedTable(table, columns, masks) for table in hidden)
        first.append(issue((*hidden, *plain), views))
    one_view = (ViewedTable(hidden[0], columns, masks),)
    issue((plain[0],))
    issue((hidden[0],), one_view)
    rows = [(issue((*hidden, *plain), views), issue((hidden[0],), one_view), issue((plain[0],))) for _ in range(ISSUES)]
    again, masked, one = (median(times) for times in zip(*rows, strict=True))
    print("\nissuing, connecting included")
    print(f"  100 tables, 20 masked, first time {median(first):.3f} s; worst of {rounds}: {max(first):.3f} s")
    print(f"  the same scope again {again:.3f} s; with its scope there, one masked table {masked:.3f} s:", end=" ")
    print(f"{again / masked:.2f} ×, one plain table {one:.3f} s: {again / one:.2f} ×")


def closure(cluster: Cluster, tables: int) -> None:
    """The proof of a login, what PUBLIC may reach, and one pass over a hundred live logins."""
    name = "closure"
    statements = ["CREATE SCHEMA a; CREATE SCHEMA b;"]
    columns = ", ".join(f"c{n} text" for n in range(9))
    statements.append(
        f"DO $$ BEGIN FOR n IN 1..{tables} LOOP"
        f" EXECUTE format('CREATE TABLE %s.t%s (id int PRIMARY KEY, {columns})',"
        " CASE WHEN n % 2 = 0 THEN 'a' ELSE 'b' END, n);"
        " IF n % 10 = 0 THEN EXECUTE format('CREATE VIEW a.v%s AS SELECT id, c0 FROM a.t%s', n, n); END IF;"
        " IF n % 500 = 0 THEN COMMIT; END IF; END LOOP; END $$"
    )
    database(cluster, name, *statements)
    hidden = TableName("a", "t2")
    all_columns = ("id", *(f"c{n}" for n in range(9)))
    classified = frozenset((TableName("a", f"t{n}"), "c1") for n in range(2, tables, 20))
    view = ViewedTable(hidden, all_columns, (("c1", parse("hidden")),))
    spec = a_login(name, (hidden,), (view,), classified=classified)
    first = timed(lambda: ENGINE.open_login(target_of(cluster), spec))
    again = [
        timed(lambda: ENGINE.open_login(target_of(cluster), a_login(name, (hidden,), (view,), classified=classified)))
        for _ in range(5)
    ]
    live = [a_login(name, (hidden,), (view,), classified=classified) for _ in range(100)]
    for one in live:
        ENGINE.open_login(target_of(cluster), one)
    exposed = median(timed(lambda: ENGINE.exposure(target_of(cluster), name)) for _ in range(3))
    drift = median(timed(lambda: ENGINE.drift(target_of(cluster), name, live)) for _ in range(3))
    print(f"\n{tables:,} tables × 10 columns, {len(classified):,} of them masked, {tables // 10:,} views")
    print(f"  a login with its proof: first {first:.3f} s, then {median(again):.3f} s")
    print(f"  what PUBLIC may reach: {exposed:.3f} s")
    print(f"  drift of 100 live logins in one pass: {drift:.3f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--version", type=int, default=18)
    parser.add_argument("--tables", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        settings = {"max_locks_per_transaction": "256", "shared_buffers": "512MB"}
        cluster = Cluster(Path(folder) / "target", version=options.version, fast=True, settings=settings)
        cluster.start()
        try:
            print(f"PostgreSQL {options.version}, {options.rows:,} rows, medians of {options.rounds}")
            reading(cluster, options.rows, options.rounds)
            issuing(cluster, options.rounds)
            closure(cluster, options.tables)
        finally:
            cluster.destroy()


if __name__ == "__main__":
    main()
