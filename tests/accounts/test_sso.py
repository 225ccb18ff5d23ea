"""Signing in, at a real OpenID provider."""

import base64
import hashlib

import pytest
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from django.test import Client
from pytest_django.fixtures import Settings

from apps.accounts import services
from apps.accounts.models import Membership, User
from apps.accounts.roles import is_dba
from tests.support.people import Told
from tests.support.sso import Forger, Newcomer, path_of, query_of, start

pytestmark = pytest.mark.django_db(transaction=True)


def names(user: User) -> list[str]:
    return sorted(user.groups.values_list("name", flat=True))


def test_sign_in_when_new_makes_the_person(newcomer: Newcomer, client: Client, told: Told) -> None:
    newcomer.says(
        preferred_username="alice", name="Alice Anne Archer", email="alice@shop.example", zoneinfo="Europe/Paris",
        groups=[],
    )  # fmt: skip
    answer = newcomer.sign_in(client)
    assert (answer.status_code, answer["Location"]) == (302, "/")
    user = User.objects.get()
    assert (user.issuer, user.subject) == (newcomer.provider.issuer, newcomer.sub)
    assert (user.username, user.name, user.email) == ("alice", "Alice Anne Archer", "alice@shop.example")
    assert user.time_zone == "Europe/Paris"
    assert user.seen_at is not None
    assert not user.has_usable_password()
    assert not user.is_staff
    assert client.session["_auth_user_backend"] == "apps.accounts.backends.SsoBackend"
    assert client.session["_auth_user_id"] == user.pk
    (entry,) = told("account.")
    assert (entry.action, entry.actor, entry.subject) == ("account.signed_in", user.audit_id, user.audit_id)
    assert entry.disclosed == {"username": "alice", "name": "Alice Anne Archer", "address": "127.0.0.1"}
    assert b"alice" not in entry.body


def test_sign_in_when_known_keeps_the_row_and_takes_the_new_name(newcomer: Newcomer, client: Client) -> None:
    newcomer.sign_in(client)
    newcomer.says(preferred_username="alice.b", name="Alice Becker", email="a.becker@shop.example", groups=[])
    newcomer.sign_in(Client())
    user = User.objects.get()
    assert (user.username, user.name, user.email) == ("alice", "Alice Becker", "a.becker@shop.example")


def test_sign_in_when_provisioned_meets_the_same_row(newcomer: Newcomer, client: Client, groups: None) -> None:
    made = services.provision(
        issuer=newcomer.provider.issuer, subject=newcomer.sub, username="alice", name="Alice Archer",
        email="alice@shop.example", groups=["claim-dba"],
    )  # fmt: skip
    assert made.is_staff
    assert made.seen_at is not None  # whoever makes somebody known vouches for them
    newcomer.sign_in(client)
    (user,) = User.objects.all()
    assert user.pk == made.pk
    assert user.seen_at is not None
    assert user.seen_at > made.seen_at


def test_sign_in_when_another_has_that_name_and_address_is_another_person(newcomer: Newcomer, client: Client) -> None:
    other = User.objects.create(
        username="Alice", email="alice@shop.example", issuer="https://old", subject=newcomer.sub
    )
    newcomer.sign_in(client)
    user = User.objects.exclude(pk=other.pk).get()
    assert (user.username, user.issuer) == ("alice-2", newcomer.provider.issuer)
    third = Newcomer(newcomer.provider).says(preferred_username="alice", groups=[])
    third.sign_in(Client())
    assert User.objects.get(subject=third.sub).username == "alice-3"


def test_sign_in_when_the_name_is_all_symbols(newcomer: Newcomer, client: Client) -> None:
    newcomer.says(preferred_username="¡¿★ §%!", name="\u0000", groups=[])
    newcomer.sign_in(client)
    user = User.objects.get()
    assert (user.username, user.name) == ("person", "person")
    user.full_clean(exclude=["password"])


def test_sign_in_when_there_is_somewhere_to_go(newcomer: Newcomer, client: Client) -> None:
    assert newcomer.sign_in(client, next_url="/inbox/?page=2")["Location"] == "/inbox/?page=2"
    assert newcomer.sign_in(Client(), next_url="https://evil.example/")["Location"] == "/"
    assert newcomer.sign_in(Client(), next_url="//evil.example/")["Location"] == "/"


def test_start_sends_pkce_nonce_and_state(newcomer: Newcomer, client: Client, forger: Forger) -> None:
    address = start(client)
    asked = query_of(address)
    assert address.startswith(f"{newcomer.provider.issuer}/oauth2/authorize?")
    assert (asked["response_type"], asked["client_id"]) == ("code", newcomer.provider.client_id)
    assert asked["redirect_uri"] == "http://testserver/accounts/sso/callback/"
    assert set(asked["scope"].split()) == {"openid", "profile", "email"}
    assert asked["code_challenge_method"] == "S256"
    assert len(asked["nonce"]) >= 43
    assert len(asked["state"]) >= 16
    client.get(newcomer.vouched(address))
    sent = next(form for path, form in forger.asked if path.endswith("/token"))
    digest = hashlib.sha256(sent["code_verifier"].encode()).digest()
    assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == asked["code_challenge"]
    assert query_of(start(client))["nonce"] != asked["nonce"]


def test_start_when_the_address_asks_for_more_ignores_it(sso: object, client: Client) -> None:
    asked = query_of(
        path_of(
            client.get(
                "/accounts/sso/login/?scope=admin&process=connect&auth_params=nonce%3Dmine%26prompt%3Dnone&action=reauthenticate"
            )["Location"]
        )
    )
    assert "admin" not in asked["scope"]
    assert asked["nonce"] != "mine"
    assert "prompt" not in asked
    (state, *_) = client.session["socialaccount_states"][asked["state"]]
    assert state["process"] == "login"


def test_groups_follow_the_claim_on_every_sign_in(newcomer: Newcomer, client: Client, groups: None, told: Told) -> None:
    newcomer.says(preferred_username="alice", groups=["claim-storefront", "claim-dba", "claim-unknown"])
    newcomer.sign_in(client)
    user = User.objects.get()
    assert names(user) == ["dba", "storefront"]
    assert user.is_staff
    assert is_dba(user)
    newcomer.says(preferred_username="alice", groups=["claim-storefront", "claim-billing"])
    newcomer.sign_in(client)
    user = User.objects.get()
    assert names(user) == ["billing", "storefront"]
    assert not user.is_staff
    changes = told("account.groups_changed")
    assert [line.disclosed for line in changes] == [
        {"added": "dba, storefront"},
        {"added": "billing", "removed": "dba"},
    ]
    assert changes[0].facts["source"] == "sso"
    newcomer.sign_in(client)
    assert len(told("account.groups_changed")) == 2


def test_groups_when_the_list_is_empty_are_removed(newcomer: Newcomer, client: Client, groups: None) -> None:
    newcomer.says(preferred_username="alice", groups=["claim-storefront", "claim-dba"])
    newcomer.sign_in(client)
    newcomer.says(preferred_username="alice", groups=[])
    assert newcomer.sign_in(client).status_code == 302
    user = User.objects.get()
    assert (names(user), user.is_staff, user.memberships.count()) == ([], False, 0)


def test_groups_when_set_by_hand_stay(newcomer: Newcomer, client: Client, groups: None) -> None:
    newcomer.says(preferred_username="alice", groups=["claim-storefront"])
    newcomer.sign_in(client)
    user = User.objects.get()
    for name in ("storefront", "security"):
        group = user.groups.model.objects.get(name=name)
        services.set_membership(actor="operator", user=user, group=group, present=True)
    newcomer.says(preferred_username="alice", groups=[])
    newcomer.sign_in(client)
    assert names(user) == ["security", "storefront"]
    assert set(user.memberships.values_list("source", flat=True)) == {Membership.Source.MANUAL}


@pytest.mark.parametrize("said", [{}, {"groups": None}, {"groups": "claim-dba"}, {"groups": ["claim-dba", 7]}])
def test_groups_when_the_claim_is_absent_refuses_and_changes_nothing(
    newcomer: Newcomer, groups: None, told: Told, said: dict[str, object]
) -> None:
    newcomer.says(preferred_username="alice", name="Alice Archer", groups=["claim-dba"])
    newcomer.sign_in(Client())
    before = User.objects.get()
    newcomer.says(preferred_username="other", name="Other Name", **said)
    client = Client()
    answer = newcomer.sign_in(client)
    assert answer.status_code == 403
    assert "did not say which groups you are in" in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]
    assert "_auth_user_id" not in client.session
    user = User.objects.get()
    assert (names(user), user.is_staff, user.name, user.seen_at) == (["dba"], True, "Alice Archer", before.seen_at)
    (entry,) = told("account.sign_in_refused")
    assert (entry.actor, entry.subject) == (user.audit_id, user.audit_id)
    assert "did not say which groups" in entry.disclosed["why"]


def test_groups_when_the_claim_has_another_name(
    newcomer: Newcomer, client: Client, groups: None, settings: Settings
) -> None:
    settings.SSO_GROUPS_CLAIM = "https://shop.example/roles"
    newcomer.says(preferred_username="alice", **{"https://shop.example/roles": ["claim-billing"]})
    newcomer.sign_in(client)
    assert names(User.objects.get()) == ["billing"]


def test_sign_in_when_deactivated_is_refused(newcomer: Newcomer, client: Client, groups: None, told: Told) -> None:
    newcomer.sign_in(Client())
    user = User.objects.get()
    services.deactivate(actor="operator", user=user, reason="left")
    newcomer.says(preferred_username="alice", groups=["claim-dba"])
    answer = newcomer.sign_in(client)
    assert answer.status_code == 403
    assert "was deactivated" in answer.content.decode()
    assert "_auth_user_id" not in client.session
    assert names(user) == []
    (entry,) = told("account.sign_in_refused")
    assert entry.subject == user.audit_id


def test_sign_in_when_an_app_stands_in_the_database_ignores_it(newcomer: Newcomer, client: Client) -> None:
    """S12: whoever can write a row could else name another provider."""
    for provider in ("openid_connect", "sso"):
        SocialApp.objects.create(
            provider=provider, provider_id="sso", name="evil", client_id="evil",
            settings={"server_url": "http://127.0.0.1:1"},
        )  # fmt: skip
    asked = query_of(start(client))
    assert asked["client_id"] == newcomer.provider.client_id
    assert newcomer.sign_in(client).status_code == 302


def test_sign_in_when_a_social_account_points_elsewhere_ignores_it(newcomer: Newcomer, client: Client) -> None:
    """allauth's own table knows the sub but not the issuer."""
    other = User.objects.create(username="dana", issuer="https://old", subject="x", is_staff=True)
    SocialAccount.objects.create(user=other, provider="sso", uid=newcomer.sub)
    newcomer.sign_in(client)
    assert client.session["_auth_user_id"] == User.objects.get(subject=newcomer.sub).pk != other.pk


def test_sign_in_keeps_no_token_and_no_account_of_allauth(newcomer: Newcomer, client: Client) -> None:
    newcomer.sign_in(client)
    assert not SocialToken.objects.exists()
    assert not SocialAccount.objects.exists()


def test_sign_in_when_somebody_else_is_in_takes_over(newcomer: Newcomer, client: Client) -> None:
    newcomer.sign_in(client)
    other = Newcomer(newcomer.provider).says(preferred_username="bob", groups=[])
    other.sign_in(client)
    assert client.session["_auth_user_id"] == User.objects.get(username="bob").pk


def test_login_page_has_one_door(sso: object, client: Client, settings: Settings) -> None:
    settings.SSO_NAME = "Shop ID"
    page = client.get("/accounts/login/?next=/inbox/").content.decode()
    assert "Continue with Shop ID" in page
    assert 'href="/accounts/sso/login/?next=%2Finbox%2F"' in page
    assert 'href="/accounts/emergency/' in page
    assert "evil" not in client.get("/accounts/login/?next=https://evil.example/").content.decode()


@pytest.mark.parametrize(
    "path",
    ["signup/", "password/reset/", "password/change/", "email/", "3rdparty/", "social/signup/", "reauthenticate/"],
)
def test_pages_of_allauth_are_not_there(path: str, dana: User, client: Client) -> None:
    client.force_login(dana, "apps.accounts.backends.SsoBackend")
    assert client.get(f"/accounts/{path}").status_code == 404
