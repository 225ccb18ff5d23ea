"""The local administrator for the day single sign-on is down."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import authenticate
from django.test import Client

from apps.accounts import services
from apps.accounts.models import Duty, User
from apps.accounts.roles import is_auditor, is_dba, is_security, people_with_duty
from apps.core import clock
from apps.core.errors import Conflict, Invalid
from tests.support.people import Told, known

pytestmark = pytest.mark.django_db(transaction=True)


def made(hours: int = 8) -> tuple[User, str]:
    return services.create_emergency_admin(username="emergency", reason="the provider is down", hours=hours)


def come_in(client: Client, password: str, *, username: str = "emergency", address: str = "10.0.0.1") -> Any:
    form = {"username": username, "password": password, "next": "/admin/"}
    return client.post("/accounts/emergency/", form, REMOTE_ADDR=address)


def test_create_tells_the_record(told: Told) -> None:
    user, password = made()
    assert user.emergency_until is not None
    assert len(password) >= 32
    (entry,) = told()
    assert (entry.action, entry.actor, entry.subject) == ("account.emergency_created", "operator", user.audit_id)
    assert entry.disclosed == {"username": "emergency", "reason": "the provider is down"}
    assert password.encode() not in entry.body


@pytest.mark.parametrize(
    ("field", "value"), [("reason", " "), ("hours", 0), ("hours", 73), ("username", "a b"), ("username", "")]
)
def test_create_when_asked_for_nonsense(field: str, value: Any) -> None:
    with pytest.raises(Invalid) as refusal:
        services.create_emergency_admin(**{"username": "emergency", "reason": "why", "hours": 8} | {field: value})
    assert refusal.value.field == field
    assert not User.objects.exists()


def test_create_when_the_name_is_a_persons_is_refused(alice: User) -> None:
    with pytest.raises(Conflict):
        services.create_emergency_admin(username="Alice", reason="why")
    alice.refresh_from_db()
    assert (alice.emergency_until, alice.has_usable_password()) == (None, False)


def test_sign_in_is_a_dba_and_nothing_else(client: Client, told: Told) -> None:
    user, password = made()
    answer = come_in(client, password)
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")
    assert client.session["_auth_user_backend"] == "apps.accounts.backends.EmergencyBackend"
    assert client.session.get_expiry_date() <= user.emergency_until
    found = User.objects.get()
    assert (is_dba(found), is_security(found), is_auditor(found)) == (True, False, False)
    assert list(people_with_duty(Duty.DBA)) == [found]
    assert [line.action for line in told("account.")] == ["account.emergency_created", "account.emergency_signed_in"]
    assert told("account.emergency_signed_in")[0].disclosed["address"] == "10.0.0.1"
    assert client.get("/accounts/profile/").status_code == 200


def test_sign_in_when_the_password_is_wrong_is_recorded(client: Client, told: Told) -> None:
    user, _ = made()
    answer = come_in(client, "wrong")
    assert answer.status_code == 403
    assert "_auth_user_id" not in client.session
    (entry,) = told("account.sign_in_refused")
    assert (entry.subject, entry.disclosed["address"]) == (user.audit_id, "10.0.0.1")


def test_sign_in_when_there_is_no_such_administrator_leaves_no_trace(client: Client, alice: User, told: Told) -> None:
    said = {
        come_in(client, "wrong", username=name).content.decode().count("is not the name") for name in ("x", "alice")
    }
    assert said == {1}
    assert told() == []


def test_sign_in_when_tried_too_often_is_refused_unread(client: Client, told: Told) -> None:
    _, password = made()
    assert [come_in(client, "wrong").status_code for _ in range(6)] == [403] * 5 + [429]
    assert come_in(client, password).status_code == 429
    assert len(told("account.sign_in_refused")) == 5
    assert come_in(client, password, address="10.0.0.2").status_code == 302


def test_sign_in_when_its_time_has_ended(client: Client) -> None:
    _, password = made(hours=1)
    with clock.shifted(timedelta(hours=1)):
        assert come_in(client, password).status_code == 403
    assert "_auth_user_id" not in client.session


def test_session_when_its_time_has_ended_is_over(client: Client) -> None:
    user, password = made(hours=1)
    come_in(client, password)
    assert client.get("/accounts/tokens/").status_code == 200
    with clock.shifted(timedelta(hours=1)):
        assert client.get("/accounts/tokens/")["Location"].startswith("/accounts/login/")
        fresh = User.objects.get(pk=user.pk)
        assert not is_dba(fresh)
        assert not people_with_duty(Duty.DBA).exists()


def test_renew_ends_the_old_password_and_its_sessions(client: Client) -> None:
    _, old = made()
    come_in(client, old)
    _, new = made()
    assert client.get("/accounts/tokens/").status_code == 302
    assert User.objects.count() == 1
    assert come_in(client, old).status_code == 403
    assert come_in(client, new).status_code == 302


def test_renew_when_deactivated_works_again(client: Client, dana: User) -> None:
    user, _ = made()
    services.deactivate(actor=dana, user=user, reason="over")
    _, password = made()
    assert come_in(client, password).status_code == 302


def test_password_when_a_person_has_one_never_works(client: Client) -> None:
    alice = known("alice")
    alice.set_password("secret")
    alice.save()
    assert authenticate(username="alice", password="secret") is None
    assert come_in(client, "secret", username="alice").status_code == 403


def test_page_when_csrf_is_missing_is_refused() -> None:
    _, password = made()
    client = Client(enforce_csrf_checks=True)
    assert come_in(client, password).status_code == 403
    assert "_auth_user_id" not in client.session
