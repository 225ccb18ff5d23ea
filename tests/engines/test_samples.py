"""A bounded look at values, that runs nobody's code."""

import logging
from collections.abc import Sequence

import psycopg
import pytest

from apps.engines.base import TableName
from apps.engines.postgresql.samples import samples
from tests.engines.conftest import CUSTOMERS, ORDERS, SALARIES, Shop

T = TableName("sales", "t")


def _values(shop: Shop, *columns: tuple[TableName, str]) -> dict[tuple[TableName, str], Sequence[str]]:
    return {(found.table, found.column): found.values for found in samples(shop.target, shop.database, columns)}


def test_samples_when_tables_are_tiny(shop: Shop) -> None:
    wanted = [(CUSTOMERS, "email"), (ORDERS, "total"), (SALARIES, "salary"), (CUSTOMERS, "name")]
    assert _values(shop, *wanted) == {
        (CUSTOMERS, "email"): ("zoe@example.com", "yan@example.com"),
        (CUSTOMERS, "name"): ("Zoe", "Yan"),
        (ORDERS, "total"): ("10", "20"),
        (SALARIES, "salary"): ("5000",),
    }
    assert _values(shop) == {}


def test_samples_when_types_differ(shop: Shop) -> None:
    shop.run(
        "CREATE TYPE sales.mood AS ENUM ('sad'); CREATE DOMAIN sales.short AS text CHECK (length(value) < 9)",
        'CREATE TABLE sales.t (a varchar(9), b char(4), "C ""d" date, e uuid, f inet, g numeric, h timestamptz,'
        " j jsonb, k sales.mood, l sales.short, m bytea, n text[], o text GENERATED ALWAYS AS ('x' || 1) STORED,"
        " p text, q text); GRANT SELECT, UPDATE ON sales.t TO jitportal_masker",
        "INSERT INTO sales.t VALUES ('a', 'b', '2024-05-17', '00000000-0000-0000-0000-000000000001', '10.0.0.1', 'NaN',"
        " '2024-05-17 00:00Z', '{}', 'sad', 'l', 'm', '{n}', DEFAULT, repeat('é', 5000), NULL)",
    )
    wanted = [(T, name) for name in [*"abefghjklmnopq", 'C "d', "absent", "ctid", "tableoid"]]
    found = _values(
        shop, *wanted, (TableName("sales", "absent"), "a"), (TableName("pg_catalog", "pg_authid"), "rolname")
    )
    assert {column: values for (_, column), values in found.items()} == {
        "a": ("a",),
        "b": ("b",),
        'C "d': ("2024-05-17",),
        "e": ("00000000-0000-0000-0000-000000000001",),
        "f": ("10.0.0.1/32",),
        "g": ("NaN",),
        "h": ("2024-05-17 00:00:00+00",),
        "p": ("é" * 200,),
        "q": (),
    }


def test_samples_when_a_relation_is_not_plain(shop: Shop) -> None:
    """Nobody's function is run: it would be run as the masker."""
    shop.run(
        "CREATE TABLE sales.trap (told text)",
        "CREATE FUNCTION sales.tell() RETURNS text LANGUAGE plpgsql AS"
        " $$BEGIN RAISE EXCEPTION 'run as %', current_user; END$$",
        "CREATE VIEW sales.v AS SELECT sales.tell() AS a; CREATE MATERIALIZED VIEW sales.m AS SELECT 'x'::text AS a",
        "CREATE TABLE sales.r (a text); INSERT INTO sales.r VALUES ('x')",
        "ALTER TABLE sales.r ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON sales.r USING (sales.tell() = a)",
        "CREATE TABLE sales.p (a text) PARTITION BY LIST (a); CREATE TABLE sales.p1 PARTITION OF sales.p DEFAULT",
        "INSERT INTO sales.p VALUES ('x')",
        "CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER far FOREIGN DATA WRAPPER nothing",
        "CREATE FOREIGN TABLE sales.f (a text) SERVER far; CREATE TABLE sales.parent (a text)",
        "CREATE TABLE sales.child () INHERITS (sales.parent); INSERT INTO sales.child VALUES ('child')",
        "GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA sales TO jitportal_masker",
    )
    names = ["v", "m", "r", "p", "p1", "f", "parent", "child"]
    found = _values(shop, *((TableName("sales", name), "a") for name in names))
    assert {str(table): values for (table, _), values in found.items()} == {
        "sales.p1": ("x",),
        "sales.child": ("child",),
        "sales.parent": (),
    }


@pytest.mark.parametrize(
    "trap",
    [
        "CREATE INDEX ON sales.t (a) WHERE sales.tell(1)",
        "CREATE INDEX ON sales.t ((sales.tell(1)))",
        "CREATE STATISTICS sales.trap ON (a || sales.tell(1)), a FROM sales.t",
    ],
)
def test_samples_when_an_index_runs_a_function(trap: str, shop: Shop) -> None:
    """Planning any query runs it, as whoever plans: the masker, in a session that the function can change."""
    shop.run(
        "CREATE TABLE sales.t (a text); INSERT INTO sales.t VALUES ('x'); GRANT ALL ON sales.t TO jitportal_masker",
        "CREATE FUNCTION sales.tell(int) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$BEGIN"
        " IF current_user ~ 'jitportal' THEN RAISE EXCEPTION 'run as %', current_user; END IF; RETURN true; END$$",
        trap,
    )
    assert _values(shop, (T, "a"), (SALARIES, "salary")) == {(SALARIES, "salary"): ("5000",)}


def test_samples_when_the_masker_may_not_read(shop: Shop) -> None:
    shop.run(
        "CREATE SCHEMA closed; CREATE TABLE closed.t (a text); INSERT INTO closed.t VALUES ('x')",
        "CREATE TABLE sales.t (a text); INSERT INTO sales.t VALUES ('x'); REVOKE ALL ON sales.t FROM jitportal_masker",
        "GRANT SELECT ON closed.t TO jitportal_masker",
    )
    assert _values(shop, (TableName("closed", "t"), "a"), (T, "a"), (SALARIES, "salary")) == {
        (SALARIES, "salary"): ("5000",)
    }


def test_samples_when_a_table_is_huge(newest: Shop) -> None:
    newest.run(
        "CREATE TABLE sales.t (a text, b text); INSERT INTO sales.t"
        " SELECT i::text, CASE WHEN i % 3 = 0 THEN 'b' END FROM generate_series(1, 300000) AS i",
        "GRANT SELECT, UPDATE ON sales.t TO jitportal_masker",
    )
    found = _values(newest, (T, "a"), (T, "b"))
    assert len(found[T, "a"]) == 200
    assert 50 < len(found[T, "b"]) <= 200
    assert all(len(values) <= 200 for values in found.values())


def test_samples_when_a_table_is_locked(shop: Shop) -> None:
    """Left out, soon; the others are looked at, and nothing of it is logged."""
    with shop.server.admin(shop.database) as admin, admin.transaction():
        admin.execute("LOCK TABLE sales.customers IN ACCESS EXCLUSIVE MODE")
        assert _values(shop, (CUSTOMERS, "email"), (ORDERS, "total")) == {(ORDERS, "total"): ("10", "20")}


def test_samples_when_logging_is_verbose(newest: Shop, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        found = list(samples(newest.target, newest.database, [(CUSTOMERS, "email")]))
    assert found[0].values
    assert "zoe@" not in caplog.text
    assert "zoe@" not in repr(found)


def test_samples_when_a_table_becomes_a_view(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the first look and the lock: it is looked at again (field notes S2)."""
    from apps.engines.postgresql import samples as module

    real = module._plain
    seen: list[object] = []

    def swap(connection: psycopg.Connection, columns: Sequence[tuple[TableName, str]]) -> object:
        found = real(connection, columns)
        if not seen:
            shop.run(
                "CREATE FUNCTION sales.tell() RETURNS text LANGUAGE plpgsql AS"
                " $$BEGIN RAISE EXCEPTION 'run as %', current_user; END$$",
                "ALTER TABLE sales.customers RENAME TO old",
                "CREATE VIEW sales.customers AS SELECT sales.tell() AS email",
                "GRANT SELECT, UPDATE ON sales.customers TO jitportal_masker",
            )
        seen.append(found)
        return found

    monkeypatch.setattr(module, "_plain", swap)
    assert _values(shop, (CUSTOMERS, "email")) == {}
    assert seen[1:] == [[]]
