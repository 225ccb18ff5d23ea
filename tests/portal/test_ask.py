"""The form: what it shows, what it says before and after, and that nothing typed is lost."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.portal import names
from apps.requests.models import AccessRequest
from tests.factories import Cast
from tests.support.pages import ask, fields, many_tables
from tests.support.people import signed_in

pytestmark = pytest.mark.django_db(transaction=True)

MOST_QUERIES = 15


def test_ask_when_all_is_well_goes_to_the_request(people: Cast) -> None:
    answer = signed_in(people.alice).post("/ask/", fields())
    row = AccessRequest.objects.get()
    assert answer.status_code == 302
    assert answer["Location"] == f"/requests/{row.pk}/"
    assert row.requester == people.alice


def test_ask_when_the_form_is_sent_twice_makes_one_request(people: Cast) -> None:
    client = signed_in(people.alice)
    once = re.search(r'name="once" value="(\w+)"', client.get("/ask/").content.decode())[1]  # type: ignore[index]
    answers = [client.post("/ask/", fields(once=once)) for _ in range(2)]
    row = AccessRequest.objects.get()
    assert [answer["Location"] for answer in answers] == [f"/requests/{row.pk}/"] * 2
    client.post("/ask/", fields(once=once, reason="After going back, for something else."))
    assert AccessRequest.objects.count() == 2


def test_ask_when_only_ticked_without_scripts(people: Cast) -> None:
    signed_in(people.alice).post("/ask/", fields(tables="sales.orders", pick=["stock.*", "sales.orders"]))
    row = AccessRequest.objects.get()
    assert {str(table) for table in row.effective.tables} == {"sales.orders", "stock.levels", "stock.products"}


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("reason", "", "The reason is empty"),
        ("tables", "", "Name at least one table"),
        ("tables", "sales.nothing", "has no table sales.nothing"),
        ("tables", 'sales."; DROP TABLE users; --', "is not a name"),
        ("minutes", "0", "from 1 to"),
        ("minutes", "1000000000", "from 1 to"),
        ("minutes", "soon", "whole number"),
        ("minutes", "9" * 5000, "whole number"),
        ("starts_at", "2001-01-01T10:00", "lies in the past"),
        ("starts_at", "tomorrow", "Give a day and a time"),
        ("database", "nothing", "no such database"),
        ("database", "", "Choose a database"),
        ("level", "owner", "not one of the available choices"),
    ],
)
def test_ask_when_a_field_is_wrong_says_so_beside_it(people: Cast, field: str, value: str, said: str) -> None:
    answer = signed_in(people.alice).post("/ask/", fields(reason="Why <b>?", ticket="OPS-9") | {field: value})
    page = answer.content.decode()
    assert answer.status_code == 422
    beside = page[page.index(f'id="error-{field}"') :][:400]
    assert said in beside
    assert not AccessRequest.objects.exists()
    assert "OPS-9" in page
    assert field == "reason" or "Why &lt;b&gt;?" in page


def test_ask_when_two_fields_are_wrong_says_both(people: Cast) -> None:
    page = signed_in(people.alice).post("/ask/", fields(tables="sales.nothing", reason="")).content.decode()
    assert "has no table sales.nothing" in page
    assert "The reason is empty" in page
    assert page.count('aria-invalid="true"') == 2


def test_check_when_scripts_are_off_shows_what_would_happen(people: Cast) -> None:
    page = signed_in(people.alice).post("/ask/", fields(do="check")).content.decode()
    assert "Needs a peer, then an owner of the database" in page
    assert "Medium risk" in page
    assert not AccessRequest.objects.exists()


def test_search_when_scripts_are_off_keeps_what_was_typed(people: Cast) -> None:
    answer = signed_in(people.alice).post("/ask/", fields(do="search", q="level", reason="", ticket="OPS-1"))
    page = answer.content.decode()
    assert answer.status_code == 200
    assert 'value="stock.levels"' in page
    assert "OPS-1" in page
    assert "is empty" not in page


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"database": "shop-staging"}, "This will be approved at once"),
        ({}, "Needs a peer, then an owner of the database"),
        ({"level": "change"}, "then somebody of security"),
        ({"minutes": "6000"}, "This would be denied"),
        ({"tables": ""}, "Choose tables"),
        ({"tables": "sales.nothing"}, "Something has to be mended first"),
    ],
)
def test_preview_when_the_reason_is_still_missing(people: Cast, changes: dict[str, str], said: str) -> None:
    answer = signed_in(people.alice).post("/ask/preview/", fields(reason="") | changes)
    assert answer.status_code == 200
    assert said in answer.content.decode()
    assert "reason is empty" not in answer.content.decode()
    assert not AccessRequest.objects.exists()


def test_tables_when_a_name_is_odd_quotes_it(people: Cast) -> None:
    page = signed_in(people.alice).get("/ask/tables/?database=shop").content.decode()
    assert 'value="&quot;Odd.Name&quot;.&quot;T&quot;"' in page


def test_tables_when_the_database_is_not_mine_to_ask_for(people: Cast) -> None:
    assert signed_in(people.audrey).get("/ask/tables/?database=shop").status_code == 404


def test_tables_when_there_are_thousands_come_in_pages(people: Cast) -> None:
    many_tables(people, 300)
    client = signed_in(people.alice)
    first = client.get("/ask/tables/?database=warehouse").content.decode()
    assert "250 more" in first
    last = client.get("/ask/tables/?database=warehouse&offset=250").content.decode()
    assert "Show more" not in last
    found = client.get("/ask/tables/?database=warehouse&q=area_03+00015").content.decode()
    assert found.count('name="pick"') == 1
    for odd in ("offset=-1", "offset=9999999999999", "offset=x", "q=%00", "q=%25", f"q={'x' * 9000}"):
        assert client.get(f"/ask/tables/?database=warehouse&{odd}").status_code == 200


@pytest.mark.parametrize(
    "path", ["/ask/?database=warehouse", "/ask/tables/?database=warehouse&q=history", "/inbox/", "/"]
)
def test_show_page_when_the_catalog_is_large_takes_few_queries(people: Cast, path: str) -> None:
    many_tables(people, 5_000)
    for _ in range(3):
        ask(people.alice)
    client = signed_in(people.bob)
    client.get("/")
    with CaptureQueriesContext(connection) as queries:
        assert client.get(path).status_code == 200
    assert len(queries) <= MOST_QUERIES, "\n".join(query["sql"][:200] for query in queries)


def test_preview_when_the_catalog_is_large_takes_few_queries(people: Cast) -> None:
    many_tables(people, 5_000)
    client = signed_in(people.bob)
    tables = "\n".join(f"area_{n % 12:02}.history_{n:05}" for n in range(5_000) if n % 9)
    with CaptureQueriesContext(connection) as queries:
        page = client.post("/ask/preview/", fields(database="warehouse", tables=tables)).content.decode()
    assert "4444 tables" in page
    assert len(queries) <= 2 * MOST_QUERIES


def test_ask_again_when_there_was_a_request(people: Cast) -> None:
    row = ask(people.alice, minutes=45, ticket="OPS-7")
    page = signed_in(people.alice).get(f"/ask/?again={row.pk}").content.decode()
    assert "sales.orders\nstock.products" in page
    assert 'value="45"' in page
    assert "OPS-7" in page
    assert "OPS-7" not in signed_in(people.carol).get(f"/ask/?again={row.pk}").content.decode()


def test_ask_when_no_database_is_open_to_me(people: Cast) -> None:
    assert "no database that you may ask for" in signed_in(people.audrey).get("/ask/").content.decode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sales.orders\r\n\r\n stock.levels ", ("sales.orders", "stock.levels")),
        ("a.b, c.d,a.b", ("a.b", "c.d")),
        ('"a,b"."c""d", e.f', ('"a,b"."c""d"', "e.f")),
        ('"open, e.f', ('"open, e.f',)),
        ("", ()),
    ],
)
def test_split_names(text: str, expected: tuple[str, ...]) -> None:
    assert names.split(text) == expected
