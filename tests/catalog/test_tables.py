"""Names that become tables, and the search of the request form."""

from collections.abc import Iterator

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.catalog.models import Column, Table
from apps.catalog.tables import classified_columns, resolve, resolve_columns, schemas_of, search
from apps.core.errors import Invalid
from apps.engines.base import TableName
from tests.factories import Cast, DatabaseFactory, TableFactory, cast, fill, let_ask

pytestmark = pytest.mark.django_db

ORDERS = TableName("sales", "orders")
CUSTOMERS = TableName("sales", "customers")


@pytest.fixture
def people() -> Cast:
    return cast()


def sentence(people: Cast, *patterns: str) -> str:
    with pytest.raises(Invalid) as refusal:
        resolve(people.shop, patterns)
    assert refusal.value.field == "tables"
    return refusal.value.sentence


def test_resolve_when_named_and_wildcarded(people: Cast) -> None:
    resolved = resolve(people.shop, ["stock.*", "sales.orders", 'sales."orders"', '"Odd.Name"."T"'])
    assert resolved.tables == (
        TableName("Odd.Name", "T"),
        ORDERS,
        TableName("stock", "levels"),
        TableName("stock", "products"),
    )
    assert resolved.whole_schemas == ("stock",)


def test_resolve_when_only_a_wildcard_asks_for_the_rest(people: Cast) -> None:
    """A named schema's other tables are not drawn in by a table of the same name elsewhere."""
    TableFactory(database=people.shop, schema="stock", name="orders")
    assert resolve(people.shop, ["sales.orders", "stock.levels"]).tables == (ORDERS, TableName("stock", "levels"))


@pytest.mark.parametrize("name", ["a.b", 'a"b', "a b", "Ä", "UPPER", "*", "x" * 63, "é" * 31, "'; DROP TABLE x; --"])
def test_resolve_when_the_name_is_odd(people: Cast, name: str) -> None:
    TableFactory(database=people.shop, schema=name, name=name)
    table = TableName(name, name)
    pattern = '"' + name.replace('"', '""') + '"'
    assert resolve(people.shop, [f"{pattern}.{pattern}"]).tables == (table,)
    assert resolve(people.shop, [f"{pattern}.*"]).tables == (table,)


def test_resolve_when_nothing_is_named(people: Cast) -> None:
    assert sentence(people) == "Name at least one table."


def test_resolve_when_unknown(people: Cast) -> None:
    assert "shop has no table sales.oders." in sentence(people, "sales.orders", "sales.oders")
    assert "Did you mean sales.orders?" in sentence(people, "Sales.Orders")
    many = sentence(people, *[f"sales.t{n}" for n in range(7)])
    assert "sales.t4 and 2 more." in many


def test_resolve_when_the_table_is_another_databases(people: Cast) -> None:
    TableFactory(database=people.staging, schema="sales", name="drafts")
    assert "shop has no table sales.drafts" in sentence(people, "sales.drafts")


def test_resolve_when_gone(people: Cast) -> None:
    Table.objects.filter(database=people.shop, schema="sales").update(gone_at=timezone.now())
    assert "sales.orders is gone from shop" in sentence(people, "sales.orders")
    assert "sales.* stands for nothing" in sentence(people, "sales.*")


def test_resolve_when_a_schema_holds_partitions(people: Cast) -> None:
    """Their rows are their parent's; by its own name one can still be asked for."""
    TableFactory(database=people.shop, schema="stock", name="levels_2026", kind="partition")
    part = TableName("stock", "levels_2026")
    assert part not in resolve(people.shop, ["stock.*"]).tables
    assert resolve(people.shop, ["stock.*", "stock.levels_2026"]).tables[1] == part


def test_resolve_when_the_wildcard_stands_for_nothing(people: Cast) -> None:
    assert "nowhere.* stands for nothing" in sentence(people, "sales.orders", "nowhere.*")


def test_classified_columns_when_asked(people: Cast) -> None:
    found = classified_columns(people.shop, [CUSTOMERS, ORDERS])
    assert {table: [column.name for column in columns] for table, columns in found.items()} == {CUSTOMERS: ["email"]}
    Column.objects.filter(name="email").update(gone_at=timezone.now())
    assert classified_columns(people.shop, [CUSTOMERS]) == {}


def test_resolve_columns_when_they_are_masked(people: Cast) -> None:
    wanted = ["sales.customers.email", 'sales."customers".email']
    assert resolve_columns(people.shop, [CUSTOMERS], wanted) == ((CUSTOMERS, "email"),)
    assert resolve_columns(people.shop, [CUSTOMERS], []) == ()


@pytest.mark.parametrize(
    ("pattern", "because"),
    [
        ("hr.employees.salary", "not in a table that you ask for"),
        ("sales.customers.region", "nothing to unmask"),
        ("sales.customers.nothing", "nothing to unmask"),
        ("sales.customers", "full name of a column"),
    ],
)
def test_resolve_columns_when_refused(people: Cast, pattern: str, because: str) -> None:
    with pytest.raises(Invalid, match=because) as refusal:
        resolve_columns(people.shop, [CUSTOMERS], [pattern])
    assert refusal.value.field == "unmask"


def found(people: Cast, text: str) -> list[str]:
    return [str(table) for table in search(people.shop, text, 50, people.alice).tables]


def test_search_when_given_words(people: Cast) -> None:
    assert found(people, "order") == ["sales.order_lines", "sales.orders"]
    assert found(people, "ORD") == ["sales.order_lines", "sales.orders"]
    assert found(people, "sales.ord") == ["sales.order_lines", "sales.orders"]
    assert found(people, "lines sal") == ["sales.order_lines"]
    assert found(people, '"Odd.Name"."T"') == ["Odd.Name.T"]
    assert found(people, "odd t") == ["Odd.Name.T"]
    assert found(people, "100%") == []
    assert found(people, "_") == ["sales.order_lines"]
    assert found(people, "orders\0\ud800") == ["sales.orders"]
    assert found(people, "order " * 1000) == ["sales.order_lines", "sales.orders"]


def test_search_when_a_name_begins_with_it(people: Cast) -> None:
    TableFactory(database=people.shop, schema="a_level", name="x")
    assert found(people, "level") == ["stock.levels", "a_level.x"]


def test_search_when_empty(people: Cast) -> None:
    page = search(people.shop, "", 3, people.alice, offset=2)
    assert [str(table) for table in page.tables] == ["sales.customers", "sales.order_lines", "sales.orders"]
    assert page.total == 7
    assert [table.classified for table in page.tables] == [True, False, False]  # type: ignore[attr-defined]


def test_search_when_not_allowed_to_look(people: Cast) -> None:
    assert search(people.shop, "", 50, people.audrey).total == 0


def test_search_when_gone(people: Cast) -> None:
    Table.objects.filter(name="orders").update(gone_at=timezone.now())
    assert found(people, "order") == ["sales.order_lines"]


def test_schemas_of_when_some_are_classified(people: Cast) -> None:
    summary = [(schema.name, schema.tables, schema.classified_tables) for schema in schemas_of(people.shop)]
    assert summary == [("Odd.Name", 1, 0), ("hr", 1, 1), ("sales", 3, 1), ("stock", 2, 0)]


@pytest.fixture
def large(people: Cast) -> Iterator[Cast]:
    """As many tables as a warehouse has."""
    Table.objects.bulk_create(
        Table(
            database=people.shop,
            schema=f"schema_{n % 40}",
            name=f"table_{n}",
            kind="table",
            first_seen_at=timezone.now(),
        )
        for n in range(5_000)
    )
    return people


def count(work: object) -> int:
    with CaptureQueriesContext(connection) as captured:
        work()  # type: ignore[operator]
    return len(captured)


def test_tables_when_there_are_thousands(large: Cast) -> None:
    """The number of SQL queries is the same as for a handful."""
    small = DatabaseFactory(slug="small", server=large.shop.server)
    fill(small)
    let_ask(small, large.shop_team)
    search(small, "", 50, large.alice)  # content types are cached from here on
    few, many = (["sales.*", "sales.orders"], ["schema_1.*", *(f"schema_2.table_{n}" for n in range(2, 5_000, 40))])
    for queries, on_small, on_large in (
        (2, lambda: search(small, "order", 50, large.alice), lambda: search(large.shop, "9", 50, large.alice)),
        (1, lambda: resolve(small, few), lambda: resolve(large.shop, many)),
        (1, lambda: schemas_of(small), lambda: schemas_of(large.shop)),
    ):
        assert count(on_small) == count(on_large) == queries
    assert search(large.shop, "table_199", 50, large.alice).total == 11
    assert len(resolve(large.shop, many).tables) == 250
