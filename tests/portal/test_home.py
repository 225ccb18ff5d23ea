"""The first page, and the lists behind it: one's own, and for whoever answers for databases, what others have."""

import pytest

from apps.core import clock
from apps.grants.models import Grant
from tests.factories import Cast, let_own
from tests.support.pages import approve, ask, live
from tests.support.people import signed_in

pytestmark = pytest.mark.django_db(transaction=True)

OTHERS = "Others with access now"


@pytest.fixture
def grant(people: Cast) -> Grant:
    row = ask(people.alice)
    approve(people, row)
    return live(people, row)


@pytest.mark.parametrize("who", ["dana", "sam"])
def test_home_when_one_answers_for_the_database_shows_who_has_access(people: Cast, grant: Grant, who: str) -> None:
    page = signed_in(getattr(people, who)).get("/").content.decode()
    assert OTHERS in page
    assert f'href="/requests/{grant.request_id}/">Alice</a>' in page
    assert "Read, 2 tables" in page


@pytest.mark.parametrize("who", ["alice", "bob", "carol", "audrey"])
def test_home_when_one_does_not_answer_for_it_shows_ones_own_alone(people: Cast, grant: Grant, who: str) -> None:
    assert OTHERS not in signed_in(getattr(people, who)).get("/").content.decode()


def test_home_when_one_owns_one_database_shows_that_alone(people: Cast, grant: Grant) -> None:
    let_own(people.staging, people.carol)
    assert OTHERS not in signed_in(people.carol).get("/").content.decode()
    let_own(people.shop, people.carol)
    assert OTHERS in signed_in(people.carol).get("/").content.decode()


def test_home_when_the_access_is_over_shows_it_no_more(people: Cast, grant: Grant) -> None:
    Grant.objects.filter(pk=grant.pk).update(status="ending", ending_since=clock.now())
    assert OTHERS in signed_in(people.dana).get("/").content.decode()
    Grant.objects.filter(pk=grant.pk).update(status="ended", ended_at=clock.now(), password=None)
    assert OTHERS not in signed_in(people.dana).get("/").content.decode()


@pytest.mark.parametrize(
    ("who", "query", "rows"),
    [
        ("alice", "", 1),
        ("bob", "", 0),
        ("bob", "?whose=all", 1),  # he decided it
        ("carol", "?whose=all", 0),
        ("dana", "", 1),
        ("sam", "", 1),
        ("audrey", "", 1),
        ("dana", "?whose=mine", 0),
        ("dana", "?whose=odd", 0),
    ],
)
def test_list_when_nothing_is_said_begins_with_what_one_answers_for(
    people: Cast, grant: Grant, who: str, query: str, rows: int
) -> None:
    is_of_all = query == "?whose=all" or (not query and who in {"dana", "sam", "audrey"})
    for path in ("/grants/", "/requests/"):
        page = signed_in(getattr(people, who)).get(f"{path}{query}").content.decode()
        assert page.count('class="cover"') == rows
        assert ('value="all" selected' in page) == is_of_all  # what is shown is said
