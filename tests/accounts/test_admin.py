"""The admin: same door as everywhere, and rows change through verbs only (field notes W8)."""

from typing import Any

import pytest
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth.models import Group
from django.test import Client

from apps.accounts import services
from apps.accounts.adminsite import PortalModelAdmin, portal_admin
from apps.accounts.models import Duty, GroupProfile, Membership, User
from apps.accounts.roles import is_dba, is_security
from tests.support.people import Told, known, signed_in

pytestmark = pytest.mark.django_db(transaction=True)

USERS, GROUPS, TOKENS = "/admin/accounts/user/", "/admin/accounts/groupprofile/", "/admin/accounts/apitoken/"


def act(client: Client, page: str, action: str, row: Any, **more: str) -> str:
    form = {"action": action, ACTION_CHECKBOX_NAME: [str(row.pk)], **more}
    return client.post(page, form, follow=True).content.decode()


@pytest.mark.parametrize("path", ["", "accounts/user/", "login/?next=/admin/accounts/user/"])
def test_admin_when_not_signed_in_leads_to_the_one_door(client: Client, path: str) -> None:
    answer = client.get(f"/admin/{path}", follow=True)
    address, _ = answer.redirect_chain[-1]
    assert address.startswith("/accounts/login/?next=%2Fadmin%2F")
    assert 'type="password"' not in answer.content.decode()


def test_admin_when_a_password_is_posted_asks_for_none(client: Client, groups: None) -> None:
    services.create_emergency_admin(username="emergency", reason="why")
    answer = client.post("/admin/login/", {"username": "emergency", "password": "x"})
    assert answer.status_code == 302
    assert "_auth_user_id" not in client.session


def test_admin_when_not_a_dba_is_forbidden(alice: User) -> None:
    client = signed_in(alice)
    for path in ("", "accounts/user/", f"accounts/user/{alice.pk}/change/", "accounts/groupprofile/add/"):
        assert client.get(f"/admin/{path}", follow=True).status_code == 403


def test_admin_when_superuser_but_no_dba_is_forbidden(alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(is_superuser=True, is_staff=True)
    assert signed_in(alice).get("/admin/accounts/user/", follow=True).status_code == 403


def test_admin_when_the_duty_is_taken_away_closes_at_once(dana: User) -> None:
    client = signed_in(dana)
    assert client.get(USERS).status_code == 200
    services.save_group(actor="operator", name="dba", claim="claim-dba", is_team=False, duty=None)
    assert client.get(USERS, follow=True).status_code == 403


def test_admin_shows_our_own_models_only_and_deletes_nothing() -> None:
    labels = {model._meta.app_label for model in portal_admin._registry}
    assert "accounts" in labels
    assert not labels & {
        "auth",
        "guardian",
        "django_q",
        "account",
        "socialaccount",
        "usersessions",
        "sessions",
        "admin",
    }
    for admin in portal_admin._registry.values():
        assert isinstance(admin, PortalModelAdmin), admin


def test_admin_has_no_passwords(dana: User) -> None:
    client = signed_in(dana)
    assert client.get("/admin/password_change/").status_code == 404
    assert client.get("/admin/password_change/done/").status_code == 404


def test_admin_sign_out(dana: User) -> None:
    client = signed_in(dana)
    assert client.get("/admin/logout/").status_code == 405
    assert client.post("/admin/logout/")["Location"] == "/accounts/login/"
    assert "_auth_user_id" not in client.session


def test_people_are_shown_and_identity_is_not_changed(alice: User, dana: User) -> None:
    client = signed_in(dana)
    assert "alice@shop.example" in client.get(USERS).content.decode()
    page = client.get(f"{USERS}{alice.pk}/change/").content.decode()
    assert "storefront" in page
    assert 'name="username"' not in page
    client.post(f"{USERS}{alice.pk}/change/", {"username": "root", "is_superuser": "on", "subject": "x"})
    alice.refresh_from_db()
    assert (alice.username, alice.is_superuser, alice.subject) == ("alice", False, "sub-alice")
    assert client.get(f"{USERS}add/").status_code == 403
    assert client.post(f"{USERS}{alice.pk}/delete/", {"post": "yes"}).status_code == 403


@pytest.mark.usefixtures("seconded")
def test_groups_by_hand_are_set_by_the_verb(alice: User, dana: User, told: Told) -> None:
    client, security = signed_in(dana), Group.objects.get(name="security")
    answer = client.post(f"{USERS}{alice.pk}/change/", {"by_hand": [str(security.pk)]})
    assert answer.status_code == 302
    assert is_security(User.objects.get(pk=alice.pk))
    client.post(f"{USERS}{alice.pk}/change/", {"by_hand": []})
    assert not is_security(User.objects.get(pk=alice.pk))
    assert [line.actor for line in told("account.groups_changed")] == [dana.audit_id] * 2


def test_groups_by_hand_when_the_verb_refuses_says_why(dana: User, told: Told) -> None:
    security = Group.objects.get(name="security")
    page = signed_in(dana).post(f"{USERS}{dana.pk}/change/", {"by_hand": [str(security.pk)]})
    assert page.status_code == 200
    assert "Nobody changes their own groups" in page.content.decode()
    assert not Membership.objects.filter(source=Membership.Source.MANUAL).exists()
    assert told() == []


@pytest.mark.usefixtures("seconded")
def test_deactivate_wants_a_reason(alice: User, dana: User, told: Told) -> None:
    client = signed_in(dana)
    assert "Say why this person is deactivated." in act(client, USERS, "deactivate", alice)
    assert told() == []
    assert "Deactivated: 1." in act(client, USERS, "deactivate", alice, reason="left")
    alice.refresh_from_db()
    assert not alice.is_active
    assert "Reactivated: 1." in act(client, USERS, "reactivate", alice, reason="came back")
    assert [line.action for line in told()] == ["account.deactivated", "account.reactivated"]


@pytest.mark.usefixtures("seconded")
def test_group_is_made_and_changed_by_the_verb(dana: User, told: Told) -> None:
    client = signed_in(dana)
    form = {"name": "payments", "claim": "grp-payments", "is_team": "on", "duty": ""}
    assert client.post(f"{GROUPS}add/", form).status_code == 302
    profile = GroupProfile.objects.get(group__name="payments")
    assert (profile.claim, profile.is_team, profile.duty) == ("grp-payments", True, None)
    changed = {"name": "renamed", "claim": "", "duty": ""}
    assert client.post(f"{GROUPS}{profile.pk}/change/", changed).status_code == 302
    profile.refresh_from_db()
    assert (profile.group.name, profile.claim, profile.is_team) == ("payments", None, False)
    assert [line.action for line in told()] == ["group.changed"] * 2


def test_group_when_it_cannot_be_says_so_beside_the_field(dana: User, told: Told) -> None:
    client = signed_in(dana)
    for form in ({"name": "storefront"}, {"name": "new", "claim": "claim-dba"}, {"name": "new", "duty": Duty.DBA}):
        page = client.post(f"{GROUPS}add/", {"claim": "", "duty": "", **form})
        assert page.status_code == 200
        assert "errorlist" in page.content.decode()
    assert not Group.objects.filter(name="new").exists()
    assert told() == []
    assert is_dba(User.objects.get(pk=dana.pk))


def test_token_that_leaked_is_revoked(dana: User) -> None:
    token, plaintext = services.create_token(actor=known("bob"), name="leaked", scopes=["read"], days=1)
    client = signed_in(dana)
    page = client.get(f"{TOKENS}{token.pk}/change/").content.decode()
    assert "leaked" in page
    assert "digest" not in page
    assert "Revoked: 1." in act(client, TOKENS, "revoke", token)
    assert services.authenticate_token(plaintext) is None
    assert "was revoked already" in act(client, TOKENS, "revoke", token)


def test_front_page_shows_what_other_rooms_add(dana: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portal_admin, "front_page", [lambda request: {"who": request.user.username}])
    answer = signed_in(dana).get("/admin/")
    assert answer.status_code == 200
    assert answer.context["who"] == "dana"


@pytest.mark.parametrize("page", [f"{USERS}?password__startswith=s", f"{TOKENS}?digest__gt=a"])
def test_admin_when_a_filter_asks_about_a_secret_is_refused(dana: User, page: str) -> None:
    assert signed_in(dana).get(page).status_code in {302, 400}
