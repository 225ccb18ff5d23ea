"""The demo's target databases."""

import psycopg
import pytest

from jitportal.demo.classification import CLASSIFIED
from jitportal.demo.shop import SCHEMAS, ShopDatabase, load
from tests.support.shop import hardened
from tests.support.targets import TargetServer

SMALL = ShopDatabase("shop-small", 400)


@pytest.fixture(scope="module")
def shop(target: TargetServer) -> TargetServer:
    load(target.cluster, SMALL)
    return target


def one(shop: TargetServer, query: str) -> tuple[object, ...]:
    with shop.admin(SMALL.name) as admin:
        return admin.execute(query.encode()).fetchone() or ()


def test_load_when_done_again_changes_nothing(shop: TargetServer) -> None:
    assert not load(shop.cluster, SMALL)
    assert one(shop, "SELECT count(*) FROM sales.customers") == (400,)
    assert one(shop, "SELECT count(*) FROM sales.orders") == (3000,)


def test_load_when_done_leaves_no_table_empty(shop: TargetServer) -> None:
    with shop.admin(SMALL.name) as admin:
        tables = admin.execute(
            "SELECT format('%%I.%%I', schemaname, tablename) FROM pg_tables WHERE schemaname = ANY(%s)", [list(SCHEMAS)]
        ).fetchall()
        empty = [name for (name,) in tables if not admin.execute(f"SELECT FROM {name} LIMIT 1".encode()).rowcount]
    assert len(tables) == 17
    assert empty == []


def test_load_when_done_has_owner_and_comment_for_every_table(shop: TargetServer) -> None:
    assert one(
        shop,
        "SELECT bool_and(relowner = 'shop_owner'::regrole AND obj_description(oid, 'pg_class') <> '') FROM pg_class"
        " WHERE relkind = 'r' AND relnamespace::regnamespace::text IN ('sales', 'hr', 'support', 'logistics')",
    ) == (True,)


def test_load_when_a_new_order_comes_in(shop: TargetServer) -> None:
    assert one(
        shop,
        "INSERT INTO sales.orders (customer_id, status, channel, total_cents, placed_at)"
        " VALUES (1, 'placed', 'web', 0, now()) RETURNING id > 3000",
    ) == (True,)


def test_harden_when_a_stranger_connects(shop: TargetServer) -> None:
    with shop.admin() as admin:
        admin.execute("DROP ROLE IF EXISTS shop_stranger")
        admin.execute("CREATE ROLE shop_stranger LOGIN PASSWORD 'p'")
    with hardened(shop):
        for database in (SMALL.name, "postgres", "template1"):
            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                shop.connect("shop_stranger", "p", database)


def test_classification_when_compared_with_the_tables(shop: TargetServer) -> None:
    with shop.admin(SMALL.name) as admin:
        columns = set(
            admin.execute(
                "SELECT table_schema, table_name, column_name FROM information_schema.columns"
                " WHERE table_schema = ANY(%s)",
                [list(SCHEMAS)],
            )
        )
    assert set(CLASSIFIED) <= columns
    about_people = ("email", "name", "phone", "birth", "street", "card", "national", "salary", "body", "note")
    said = {"full_name", "card_holder", "reporter_email"}
    for schema, table, column in columns - set(CLASSIFIED):
        assert column not in said, (schema, table, column)
        assert column == "name" or not any(word in column for word in about_people), (schema, table, column)


def test_classification_when_a_schema_holds_nothing_about_people() -> None:
    assert "logistics" in SCHEMAS
    assert not [key for key in CLASSIFIED if key[0] == "logistics"]
