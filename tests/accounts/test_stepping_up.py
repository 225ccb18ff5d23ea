"""Proving anew who one is (field notes S12): a round trip of its own, and everything that must not count as one."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from pytest_django.fixtures import Settings

from apps.accounts import services
from apps.accounts.models import User
from apps.accounts.stepping_up import LEEWAY, is_fresh
from apps.core import clock
from tests.accounts.test_emergency import come_in, made
from tests.support.people import Told
from tests.support.sso import Forger, Newcomer, query_of, start

pytestmark = pytest.mark.django_db(transaction=True)

BACK = "/ask/?draft=kept"


def set_out(client: Client) -> str:
    """The address at the provider."""
    answer = client.get("/accounts/sso/step-up/", {"next": BACK})
    assert answer.status_code == 302, answer.content
    return str(answer["Location"])


def stamped(client: Client) -> bool:
    return "stepped_up" in client.session


def refused(answer: Any, client: Client, *, says: str, status: int = 403) -> None:
    """A sentence and a way back; no stamp; and whoever was signed in still is."""
    page = answer.content.decode()
    assert answer.status_code == status, page
    assert says in page
    assert "Nothing has changed" in page
    assert not stamped(client)
    assert client.session["_auth_user_id"] == User.objects.get(username="alice").pk


@pytest.fixture
def alice(newcomer: Newcomer, client: Client) -> User:
    """Signed in with `client`."""
    newcomer.sign_in(client)
    return User.objects.get(subject=newcomer.sub)


def test_step_up_goes_to_the_provider_by_itself_and_by_a_link(alice: User, client: Client) -> None:
    answer = client.get("/accounts/step-up/", {"next": BACK})
    onward = "/accounts/sso/step-up/?next=%2Fask%2F%3Fdraft%3Dkept"
    assert answer["Refresh"] == f"0; url={onward}"
    assert f'href="{onward}"' in answer.content.decode()


def test_step_up_asks_for_a_new_sign_in_with_state_nonce_and_challenge_of_its_own(alice: User, client: Client) -> None:
    asked, other = query_of(set_out(client)), query_of(set_out(client))
    assert (asked["prompt"], asked["max_age"], asked["code_challenge_method"]) == ("login", "0", "S256")
    assert all(asked[name] != other[name] for name in ("state", "nonce", "code_challenge"))
    assert {"prompt", "max_age"}.isdisjoint(query_of(start(Client())))


def test_step_up_stamps_the_session_and_tells_the_record(
    newcomer: Newcomer, alice: User, client: Client, told: Told
) -> None:
    key = client.session.session_key
    answer = client.get(newcomer.vouched(set_out(client)))
    assert (answer.status_code, answer["Location"]) == (302, BACK)
    assert client.session["stepped_up"]["user"] == alice.pk
    assert client.session.session_key == key
    (entry,) = told("account.")
    assert (entry.action, entry.actor, entry.subject) == ("account.stepped_up", alice.audit_id, alice.audit_id)
    assert entry.facts["signed_in_at"].endswith("Z")
    assert b"alice" not in entry.body


def test_step_up_refreshes_groups_as_a_sign_in_does(
    newcomer: Newcomer, groups: None, client: Client, told: Told
) -> None:
    newcomer.says(preferred_username="alice", groups=["claim-storefront", "claim-dba"])
    newcomer.sign_in(client)
    newcomer.says(preferred_username="alice", groups=["claim-storefront"])
    client.get(newcomer.vouched(set_out(client)))
    assert [group.name for group in User.objects.get(subject=newcomer.sub).groups.all()] == ["storefront"]
    assert stamped(client)


def test_step_up_when_asked_to_lead_elsewhere_leads_home(newcomer: Newcomer, alice: User, client: Client) -> None:
    away = client.get("/accounts/sso/step-up/", {"next": "https://evil.example/"})["Location"]
    assert client.get(newcomer.vouched(away))["Location"] == "/"


def test_step_up_when_nobody_is_signed_in_leads_to_the_door(sso: object, client: Client) -> None:
    for path in ("/accounts/step-up/", "/accounts/sso/step-up/"):
        assert client.get(path)["Location"].startswith("/accounts/login/")


LIES: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "no auth_time": (
        lambda said: {k: v for k, v in said.items() if k != "auth_time"},
        "did not say when you signed in",
    ),
    "text": (lambda said: said | {"auth_time": str(said["auth_time"])}, "did not say when you signed in"),
    "true": (lambda said: said | {"auth_time": True}, "did not say when you signed in"),
    "null": (lambda said: said | {"auth_time": None}, "did not say when you signed in"),
    "old": (lambda said: said | {"auth_time": int(time.time()) - 60}, "without asking who you are"),
    "zero": (lambda said: said | {"auth_time": 0}, "without asking who you are"),
    "ahead": (lambda said: said | {"auth_time": int(time.time()) + 3600}, "has not come yet"),
    "beyond the calendar": (lambda said: said | {"auth_time": 10**18}, "has not come yet"),
    "before the calendar": (lambda said: said | {"auth_time": -(10**18)}, "has not come yet"),
    "another nonce": (lambda said: said | {"nonce": "another"}, "belongs to another sign-in"),
    "no groups": (lambda said: said | {"groups": None}, "did not say which groups"),
}


@pytest.mark.parametrize("lie", LIES)
def test_step_up_when_the_id_token_does_not_prove_it(
    newcomer: Newcomer, alice: User, client: Client, forger: Forger, lie: str
) -> None:
    forger.id_token, says = LIES[lie]
    refused(client.get(newcomer.vouched(set_out(client))), client, says=says)


def test_step_up_when_only_the_userinfo_says_when(
    newcomer: Newcomer, alice: User, client: Client, forger: Forger
) -> None:
    """What is only fetched is not signed."""
    forger.id_token = LIES["no auth_time"][0]
    forger.userinfo = lambda said: said | {"auth_time": int(time.time())}
    refused(client.get(newcomer.vouched(set_out(client))), client, says="did not say when you signed in")


def test_step_up_when_the_providers_clock_is_a_little_off(
    newcomer: Newcomer, alice: User, client: Client, forger: Forger
) -> None:
    """Ahead: it counts, and no longer than one by the portal's clock."""
    forger.id_token = lambda said: said | {"auth_time": int(time.time()) + 5}
    client.get(newcomer.vouched(set_out(client)))
    assert client.session["stepped_up"]["at"] <= clock.now().isoformat()
    other = Client()
    newcomer.sign_in(other)
    forger.id_token = lambda said: said | {"auth_time": int(time.time()) - 4}
    other.get(newcomer.vouched(set_out(other)))
    assert stamped(other)


def test_step_up_when_somebody_else_signs_in_there(newcomer: Newcomer, alice: User, client: Client, told: Told) -> None:
    other = Newcomer(newcomer.provider).says(preferred_username="bob", groups=[])
    refused(client.get(other.vouched(set_out(client))), client, says="Somebody else signed in")
    assert not User.objects.filter(username="bob").exists()
    assert [line.action for line in told()] == ["account.sign_in_refused"]


def test_step_up_when_the_state_is_used_twice(newcomer: Newcomer, alice: User, client: Client) -> None:
    back = newcomer.vouched(set_out(client))
    client.get(back)
    session = client.session
    del session["stepped_up"]
    session.save()
    refused(client.get(back), client, says="was used already", status=400)


def test_step_up_when_it_was_begun_in_another_session(newcomer: Newcomer, alice: User, client: Client) -> None:
    other = Client()
    newcomer.sign_in(other)
    refused(client.get(newcomer.vouched(set_out(other))), client, says="started elsewhere", status=400)


def test_step_up_when_another_person_has_signed_in_meanwhile(newcomer: Newcomer, alice: User, client: Client) -> None:
    """The state outlives neither sign-out nor another person, and would not be theirs if it did."""
    bob = Newcomer(newcomer.provider).says(preferred_username="bob", groups=[])
    back = newcomer.vouched(set_out(client))
    kept = client.session["socialaccount_states"]
    bob.sign_in(client)
    session = client.session
    session["socialaccount_states"] = kept
    session.save()
    answer = client.get(back)
    assert (answer.status_code, stamped(client)) == (403, False)
    assert "begun by somebody else" in answer.content.decode()


def test_step_up_when_a_sign_in_comes_back_in_its_place(newcomer: Newcomer, alice: User, client: Client) -> None:
    """An ordinary sign-in proves nothing new, however fresh."""
    newcomer.sign_in(client, next_url=BACK)
    assert not stamped(client)


def test_step_up_when_deactivated_meanwhile(newcomer: Newcomer, alice: User, client: Client) -> None:
    back = newcomer.vouched(set_out(client))
    services.deactivate(actor="operator", user=alice, reason="left")
    assert client.get(back).status_code in {400, 403}
    assert not stamped(client)


def test_step_up_when_cancelled_or_out_of_reach(
    newcomer: Newcomer, alice: User, client: Client, settings: Settings
) -> None:
    state = query_of(set_out(client))["state"]
    answer = client.get("/accounts/sso/callback/", {"state": state, "error": "access_denied"})
    refused(answer, client, says="was cancelled")
    assert f'href="{BACK}"' in answer.content.decode()
    settings.SSO_ISSUER = "http://127.0.0.1:1"
    refused(client.get("/accounts/sso/step-up/"), client, says="cannot be reached", status=502)


def test_stamp_counts_for_a_time_and_for_its_person(settings: Settings) -> None:
    now = clock.now()
    limit = timedelta(seconds=settings.STEP_UP_SECONDS)
    assert is_fresh(now - limit, now)
    assert not is_fresh(now - limit - timedelta(microseconds=1), now)
    assert is_fresh(now + LEEWAY, now)
    assert not is_fresh(now + LEEWAY + timedelta(microseconds=1), now)
    assert not is_fresh(None, now)


def test_step_up_of_the_emergency_administrator_is_the_password_once_more(client: Client, told: Told) -> None:
    user, password = made()
    come_in(client, password)
    page = client.get("/accounts/step-up/", {"next": BACK})
    assert "Refresh" not in page
    assert "Give your password once more" in page.content.decode()
    answer = client.post("/accounts/step-up/", {"password": "wrong", "next": BACK})
    assert (answer.status_code, stamped(client)) == (403, False)
    answer = client.post("/accounts/step-up/", {"password": password, "next": BACK})
    assert (answer.status_code, answer["Location"]) == (302, BACK)
    assert client.session["stepped_up"]["user"] == user.pk
    actions = [line.action for line in told("account.")]
    assert actions[-2:] == ["account.sign_in_refused", "account.stepped_up"]


def test_step_up_by_password_when_tried_too_often(client: Client) -> None:
    _, password = made()
    come_in(client, password)
    answers = [client.post("/accounts/step-up/", {"password": "wrong"}).status_code for _ in range(6)]
    assert answers == [403] * 5 + [429]
    assert client.post("/accounts/step-up/", {"password": password}).status_code == 429
    assert not stamped(client)


def test_step_up_by_password_when_past_the_end(client: Client) -> None:
    _, password = made(hours=1)
    come_in(client, password)
    with clock.shifted(timedelta(hours=2)):
        client.post("/accounts/step-up/", {"password": password})
    assert not stamped(client)


def test_step_up_by_password_when_one_signs_in_by_sso_is_no_way(
    alice: User, client: Client, newcomer: Newcomer
) -> None:
    alice.set_password("guessed")
    alice.save()
    newcomer.sign_in(client)
    client.post("/accounts/step-up/", {"password": "guessed", "next": BACK})
    assert not stamped(client)
