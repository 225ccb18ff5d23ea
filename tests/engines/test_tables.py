"""Reading what can be asked for."""

from itertools import islice

from apps.engines.base import ColumnInfo, TableInfo, TableName
from apps.engines.postgresql import PostgresEngine
from apps.engines.ties import Tie, TieKind
from tests.engines.conftest import CUSTOMERS, ORDERS, SALARIES, Shop


def test_read_tables_when_there_are_all_kinds(engine: PostgresEngine, shop: Shop) -> None:
    shop.run(
        'DROP SCHEMA sales, hr CASCADE; CREATE SCHEMA b; CREATE SCHEMA "A"',
        "CREATE TABLE b.t (id bigint PRIMARY KEY, gone int, price numeric(10,2) NOT NULL, tags text[])",
        "ALTER TABLE b.t DROP COLUMN gone",
        "COMMENT ON TABLE b.t IS 'what'; COMMENT ON COLUMN b.t.price IS 'how much'",
        "INSERT INTO b.t VALUES (1, 1, NULL); ANALYZE b.t",
        "CREATE TABLE b.p (id int) PARTITION BY RANGE (id)",
        "CREATE TABLE b.p1 PARTITION OF b.p DEFAULT",
        'CREATE VIEW "A"."v.w" AS SELECT id FROM b.t',
        "CREATE MATERIALIZED VIEW b.m AS SELECT 1 AS one",
        "CREATE TABLE b.none ()",
        "CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER far FOREIGN DATA WRAPPER nothing",
        "CREATE FOREIGN TABLE b.f (id int) SERVER far; CREATE INDEX ON b.t (price); CREATE SEQUENCE b.s",
    )
    tables = list(engine.read_tables(shop.target, shop.database))
    assert [(str(table.table), table.kind) for table in tables] == [
        ("A.v.w", "view"),
        ("b.f", "foreign table"),
        ("b.m", "materialized view"),
        ("b.none", "table"),
        ("b.p", "partitioned table"),
        ("b.p1", "partition"),
        ("b.t", "table"),
    ]
    assert tables[-1] == TableInfo(
        table=TableName("b", "t"),
        kind="table",
        columns=(
            ColumnInfo("id", "bigint", 1, True, ""),
            ColumnInfo("price", "numeric(10,2)", 3, True, "how much"),
            ColumnInfo("tags", "text[]", 4, False, ""),
        ),
        estimated_rows=1,
        comment="what",
        primary_key=("id",),
    )
    assert tables[3].columns == ()
    assert tables[3].estimated_rows == -1


def test_read_tables_when_columns_are_tied(engine: PostgresEngine, shop: Shop) -> None:
    shop.run(
        "ALTER TABLE sales.orders ADD CONSTRAINT sane CHECK (total < customer * 1000)",
        "ALTER TABLE hr.salaries ENABLE ROW LEVEL SECURITY",
    )
    tables = {table.table: table for table in engine.read_tables(shop.target, shop.database)}
    assert tables[ORDERS].ties == (Tie(TieKind.CHECK, "sane", ("customer", "total")),)
    assert tables[ORDERS].primary_key == ("id",)
    assert [table for table, found in tables.items() if found.row_security] == [SALARIES]


def test_read_tables_when_a_schema_is_of_the_masker(engine: PostgresEngine, shop: Shop) -> None:
    shop.run(
        "CREATE SCHEMA jit_ab_sales AUTHORIZATION jitportal_masker",
        "CREATE VIEW jit_ab_sales.customers AS SELECT 1 AS one",
    )
    assert {table.table for table in engine.read_tables(shop.target, shop.database)} == {CUSTOMERS, ORDERS, SALARIES}


def test_read_tables_when_there_are_thousands(engine: PostgresEngine, newest: Shop) -> None:
    newest.run(
        "DO $$ BEGIN FOR i IN 1..3000 LOOP EXECUTE format('CREATE TABLE hr.t%s (a int, b text, c date)', i); "
        "IF i % 500 = 0 THEN COMMIT; END IF; END LOOP; END $$"
    )
    tables = engine.read_tables(newest.target, newest.database)
    first = list(islice(tables, 10))
    assert [table.table for table in first] == sorted(table.table for table in first)
    assert len(first) + len(list(tables)) == 3000 + 3


def test_read_tables_when_the_reader_stops_early(engine: PostgresEngine, newest: Shop) -> None:
    tables = engine.read_tables(newest.target, newest.database)
    next(tables)
    tables.close()  # type: ignore[attr-defined]
    left = newest.value(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'jitportal' AND state <> 'idle'"
    )
    assert left == 0
