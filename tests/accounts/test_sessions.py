from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.test import Client

from apps.accounts import services
from apps.accounts.models import User
from tests.support.people import Told, known, signed_in
from tests.support.sso import Newcomer

pytestmark = pytest.mark.django_db(transaction=True)


def test_sessions_when_signed_in_twice_lists_both(newcomer: Newcomer) -> None:
    here, there = Client(headers={"user-agent": "Firefox here"}), Client(headers={"user-agent": "Lynx there"})
    newcomer.sign_in(here)
    newcomer.sign_in(there)
    page = here.get("/accounts/sessions/").content.decode()
    assert "Firefox here" in page
    assert "Lynx there" in page
    assert page.count("this one") == 1


def test_end_session_when_it_is_ones_own_ends_it_at_once(alice: User, told: Told) -> None:
    here, there = signed_in(alice), signed_in(alice)
    there.get("/accounts/profile/")
    row = UserSession.objects.get(session_key=there.session.session_key)
    assert here.post(f"/accounts/sessions/{row.pk}/end/").status_code == 302
    assert there.get("/accounts/profile/")["Location"].startswith("/accounts/login/")
    assert here.get("/accounts/profile/").status_code == 200
    (entry,) = told("session.")
    assert (entry.action, entry.actor) == ("session.ended", alice.audit_id)


def test_end_session_when_it_is_another_persons_is_404(alice: User) -> None:
    bob = known("bob")
    theirs = signed_in(bob)
    theirs.get("/accounts/profile/")
    row = UserSession.objects.get(user=bob)
    assert signed_in(alice).post(f"/accounts/sessions/{row.pk}/end/").status_code == 404
    assert theirs.get("/accounts/profile/").status_code == 200


def test_sign_out_ends_the_session(alice: User, client: Client) -> None:
    client = signed_in(alice)
    client.get("/accounts/profile/")
    assert client.get("/accounts/logout/").status_code == 405
    answer = client.post("/accounts/logout/")
    assert (answer.status_code, answer["Location"]) == (302, "/accounts/login/")
    assert not UserSession.objects.exists()
    assert client.get("/accounts/profile/").status_code == 302


def test_login_page_when_signed_in_goes_on(alice: User) -> None:
    assert signed_in(alice).get("/accounts/login/?next=/inbox/")["Location"] == "/inbox/"


def test_login_page_when_the_next_address_is_a_word_takes_it_for_no_view(alice: User) -> None:
    assert signed_in(alice).get("/accounts/login/?next=account_logout")["Location"] == "account_logout"


def test_activity_is_not_written_on_every_request(alice: User, django_assert_max_num_queries: Any) -> None:
    client = signed_in(alice)
    client.get("/accounts/emergency/")
    with django_assert_max_num_queries(12) as seen:
        client.get("/accounts/emergency/")
    written = [query["sql"] for query in seen.captured_queries if "usersession" in query["sql"]]
    assert written == []


def test_deactivate_ends_sessions_and_tokens_at_once(alice: User, dana: User, told: Told) -> None:
    client = signed_in(alice)
    client.get("/accounts/profile/")
    _, plaintext = services.create_token(actor=alice, name="script", scopes=["read"], days=1)
    services.deactivate(actor=dana, user=alice, reason="left the company")
    assert client.get("/accounts/profile/").status_code == 302
    assert services.authenticate_token(plaintext) is None
    assert not Session.objects.filter(session_key=client.session.session_key).exists()
    (entry,) = told("account.deactivated")
    assert (entry.actor, entry.subject) == (dana.audit_id, alice.audit_id)
    assert entry.facts == {"sessions": 1, "tokens": 1}
    assert entry.disclosed["reason"] == "left the company"


def test_time_zone_is_a_choice(alice: User) -> None:
    client = signed_in(alice)
    assert client.post("/accounts/profile/", {"time_zone": "Europe/Berlin"}).status_code == 302
    alice.refresh_from_db()
    assert alice.time_zone == "Europe/Berlin"
    assert client.post("/accounts/profile/", {"time_zone": "../etc/passwd"}).status_code == 422
