"""One exact statement is asked for only as its login could run it: nobody says yes to what is bound to fail."""

from collections.abc import Callable
from typing import Any

import pytest

from apps.approvals.services import approve
from apps.catalog.models import Table
from apps.core import clock
from apps.core.errors import Invalid
from apps.requests.services import Ask, preview, submit
from tests.factories import Cast, fresh

pytestmark = pytest.mark.django_db(transaction=True)

AskFor = Callable[..., Ask]
SHOP = ("sales.orders", "stock.products")


@pytest.fixture
def fix(ask: AskFor) -> AskFor:
    def fix(statement: str, **more: Any) -> Ask:
        wanted = {"tables": SHOP, "level": "change", "connection": "console", **more}
        return ask(statement=statement, **wanted)

    return fix


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE orders SET placed_at = now() WHERE id = 12",
        "UPDATE stock.products SET title = 'sales.orders' WHERE id = 12 -- as in sales.orders",
        "UPDATE orders sales SET placed_at = now() WHERE sales.id = 12",
        "DELETE FROM stock.products WHERE id = 1.5",
    ],
)
def test_submit_when_the_statement_can_reach_its_tables(people: Cast, fix: AskFor, statement: str) -> None:
    assert submit(actor=people.alice, ask=fix(statement)).effective.statement == statement


@pytest.mark.parametrize(
    "written", ["sales.orders", '"sales".orders', 'SALES . "orders"', "shop.sales.orders", 'U&"s\\0061les".orders']
)
def test_preview_when_a_view_is_written_with_its_schema_says_how_to_write_it(
    people: Cast, fix: AskFor, written: str
) -> None:
    """`sales` holds a masked column, so that its tables are views in a schema that is made with the login."""
    with pytest.raises(Invalid, match=r"Write orders where the statement says sales\.orders") as refusal:
        preview(actor=people.alice, ask=fix(f"UPDATE {written} SET placed_at = now()"))
    assert refusal.value.field == "statement"


def test_preview_when_a_view_has_a_namesake_says_that_they_cannot_be_told_apart(people: Cast, fix: AskFor) -> None:
    Table.objects.create(database=people.shop, schema="stock", name="orders", kind="table", first_seen_at=clock.now())
    wish = fix("DELETE FROM sales.orders", tables=("sales.orders", "stock.orders"))
    with pytest.raises(Invalid, match=r"from the other orders.*ask for one of them alone"):
        preview(actor=people.alice, ask=wish)


def test_preview_when_a_table_was_not_asked_for_names_it(people: Cast, fix: AskFor) -> None:
    with pytest.raises(Invalid, match=r"names stock\.levels, which is not among the tables: choose it as well"):
        preview(actor=people.alice, ask=fix("DELETE FROM stock.products USING stock.levels WHERE true"))
    Table.objects.filter(name="levels").update(gone_at=clock.now())  # then it may be anything: the server will say
    preview(actor=people.alice, ask=fix("DELETE FROM stock.products USING stock.levels WHERE true"))


@pytest.mark.parametrize(
    ("less", "sentence"),
    [
        ({"tables": ["stock.products"]}, r"speaks of orders: that table cannot be left out"),
        ({"tables": ["sales.orders"]}, r"speaks of products: that table cannot be left out"),
        (
            {"filters": {"stock.products": [{"column": "id", "operator": "=", "values": ["1"]}]}},
            r"Write products where the statement says stock\.products",
        ),
    ],
)
def test_approve_when_what_is_left_would_not_do_for_the_statement(
    people: Cast, fix: AskFor, less: dict[str, Any], sentence: str
) -> None:
    row = submit(actor=people.alice, ask=fix("SELECT * FROM stock.products, orders", level="query"))
    with pytest.raises(Invalid, match=sentence):
        approve(actor=fresh(people.bob), request_id=row.pk, **less)
    assert approve(actor=fresh(people.bob), request_id=row.pk, minutes=5).minutes == 5


@pytest.mark.parametrize(
    ("statement", "level", "sentence"),
    [
        ("SELECT count(*) FROM stock.products", "query", "Only what changes rows is held to an expected number"),
        ("DO $$ BEGIN DELETE FROM stock.products; END $$", "change", "DO does not say how many rows it changes"),
        ("truncate stock.products", "change", "TRUNCATE does not say how many rows it changes"),
    ],
)
def test_preview_when_no_number_of_rows_could_be_as_expected(
    people: Cast, fix: AskFor, statement: str, level: str, sentence: str
) -> None:
    """It would be rolled back whatever it does, and its approval used up."""
    with pytest.raises(Invalid, match=sentence) as refusal:
        preview(actor=people.alice, ask=fix(statement, level=level, expected_rows=1))
    assert refusal.value.field == "expected_rows"
    preview(actor=people.alice, ask=fix(statement, level=level))
