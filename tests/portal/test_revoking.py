"""The pages of the big red button: who sees it, what it shows, and that nothing happens that was not seen."""

import re

import pytest
from django.test import Client
from django.urls import reverse

from apps.grants.models import Grant
from tests.factories import Cast, let_own
from tests.support.pages import approve, ask, live
from tests.support.people import signed_in

pytestmark = pytest.mark.django_db(transaction=True)


def access(people: Cast) -> Grant:
    row = ask(people.alice)
    approve(people, row)
    return live(people, row)


def look(client: Client, **selected: str) -> str:
    return client.get(reverse("portal:revoke_all"), selected).content.decode()


def press(client: Client, **sent: str) -> tuple[int, str]:
    answer = client.post(reverse("portal:revoke_all"), sent)
    return answer.status_code, answer.content.decode()


@pytest.mark.parametrize("who", ["dana", "sam"])
def test_revoke_all_is_reached_from_home_when_one_may(people: Cast, who: str) -> None:
    access(people)
    client = signed_in(getattr(people, who))
    assert reverse("portal:revoke_all") in client.get("/").content.decode()
    page = look(client)
    for words in ("Of a person", "To a database", "On a server", "Everything", '<option value="alice">'):
        assert words in page


@pytest.mark.parametrize("who", ["alice", "audrey"])
def test_revoke_all_is_not_there_when_one_may_not(people: Cast, who: str) -> None:
    client = signed_in(getattr(people, who))
    assert reverse("portal:revoke_all") not in client.get("/").content.decode()
    for selected in ({}, {"person": "alice"}, {"everything": "yes"}):
        assert client.get(reverse("portal:revoke_all"), selected).status_code == 403


def test_revoke_all_offers_an_owner_their_databases(people: Cast) -> None:
    let_own(people.staging, people.carol)
    page = look(signed_in(people.carol))
    assert '<option value="shop-staging">' in page
    assert '<option value="shop">' not in page
    assert "Everything" not in page


@pytest.mark.parametrize("selected", [{"person": "alice"}, {"database": "shop"}, {"server": "demo"}])
def test_revoke_all_shows_how_much_and_then_does_it(people: Cast, selected: dict[str, str]) -> None:
    grant, client = access(people), signed_in(people.sam)
    page = look(client, **selected)
    assert "1 grant" in page
    assert "Alice" in page
    (expected,) = re.findall(r'name="expected" value="(\d+)"', page)

    status, _ = press(client, reason="The laptop is gone.", expected=expected, **selected)

    assert status == 302
    grant.refresh_from_db()
    assert (grant.status, grant.end_cause) == ("ending", "revoked")
    after = look(client, **selected)
    assert "1 is being taken away" in after
    assert "Nothing else is left" in after


def test_revoke_all_shows_the_new_number_when_it_has_changed(people: Cast) -> None:
    grant, client = access(people), signed_in(people.sam)
    status, page = press(client, person="alice", reason="Gone", expected="2")
    assert status == 409
    assert "it is 1 by now" in page
    assert 'name="expected" value="1"' in page
    assert "Gone" in page  # what was typed is kept
    grant.refresh_from_db()
    assert grant.status == "active"


def test_revoke_all_wants_the_word_when_it_is_everything(people: Cast) -> None:
    grant, client = access(people), signed_in(people.sam)
    assert "Type REVOKE" in look(client, everything="yes")
    status, page = press(client, everything="yes", reason="Gone", expected="1", word="yes")
    assert (status, "type REVOKE" in page) == (422, True)
    grant.refresh_from_db()
    assert grant.status == "active"
    assert press(client, everything="yes", reason="Gone", expected="1", word="REVOKE")[0] == 302


def test_revoke_all_says_what_is_missing_when_it_is(people: Cast) -> None:
    access(people)
    client = signed_in(people.sam)
    assert press(client, person="alice", reason=" ", expected="1")[0] == 422
    assert press(client, person="alice", reason="x" * 10_000, expected="1")[0] == 422
    assert press(client, person="alice", reason="Gone", expected="x")[0] == 422
    assert press(client, person="nobody", reason="Gone", expected="1")[0] == 404
    assert press(client, person="alice", database="shop", reason="Gone", expected="1")[0] == 422


def test_revoke_all_is_linked_from_the_administration(people: Cast) -> None:
    client = signed_in(people.dana)
    for name, row, query in (
        ("accounts_user", people.alice.pk, "?person=alice"),
        ("catalog_database", people.shop.pk, "?database=shop"),
        ("catalog_server", people.shop.server_id, "?server=demo"),
    ):
        page = client.get(reverse(f"admin:{name}_change", args=[row])).content.decode()
        assert reverse("portal:revoke_all") + query in page
    assert reverse("portal:revoke_all") in client.get(reverse("admin:index")).content.decode()
