from datetime import timedelta

import pytest
from django.test import Client

from apps.accounts import services
from apps.accounts.models import ApiToken, TokenScope, User
from apps.core import clock
from apps.core.errors import Conflict, Invalid, NotAllowed, NotFound
from tests.support.people import Told, known, signed_in

pytestmark = pytest.mark.django_db(transaction=True)


def make(user: User, *, days: int = 30, scopes: list[str] | None = None) -> tuple[ApiToken, str]:
    return services.create_token(actor=user, name="script", scopes=scopes or ["read"], days=days)


def test_create_keeps_only_the_digest(alice: User, told: Told) -> None:
    token, plaintext = make(alice, scopes=["request", "read"])
    assert plaintext.startswith("jit_")
    assert len(plaintext) == 47
    assert token.scopes == ["read", "request"]
    row = ApiToken.objects.values().get()
    assert plaintext not in str(row)
    assert len(row["digest"]) == 32
    (entry,) = told("token.")
    assert (entry.action, entry.actor, entry.subject) == ("token.created", alice.audit_id, f"token:{token.pk}")
    assert plaintext.encode() not in entry.body
    assert entry.disclosed == {"name": "script"}


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", " "), ("name", "x" * 101), ("scopes", []), ("scopes", ["read", "root"]), ("days", 0), ("days", 366)],
)
def test_create_when_asked_for_nonsense_is_refused(alice: User, field: str, value: object) -> None:
    asked = {"name": "script", "scopes": ["read"], "days": 30} | {field: value}
    with pytest.raises(Invalid) as refusal:
        services.create_token(actor=alice, **asked)
    assert refusal.value.field == field
    assert not ApiToken.objects.exists()


def test_authenticate_when_good(alice: User) -> None:
    token, plaintext = make(alice)
    found = services.authenticate_token(plaintext)
    assert found is not None
    assert (found.pk, found.user) == (token.pk, alice)


def test_authenticate_when_expired(alice: User) -> None:
    _, plaintext = make(alice, days=1)
    with clock.shifted(timedelta(hours=23, minutes=59)):
        assert services.authenticate_token(plaintext) is not None
    with clock.shifted(timedelta(days=1)):
        assert services.authenticate_token(plaintext) is None


def test_authenticate_when_revoked(alice: User, told: Told) -> None:
    token, plaintext = make(alice)
    services.revoke_token(actor=alice, token_id=token.pk)
    assert services.authenticate_token(plaintext) is None
    assert [line.action for line in told("token.")] == ["token.created", "token.revoked"]
    with pytest.raises(Conflict):
        services.revoke_token(actor=alice, token_id=token.pk)


def test_authenticate_when_the_person_left(alice: User) -> None:
    _, plaintext = make(alice)
    User.objects.filter(pk=alice.pk).update(is_active=False)
    assert services.authenticate_token(plaintext) is None


def test_authenticate_when_the_emergency_is_over(groups: None) -> None:
    user, _ = services.create_emergency_admin(username="emergency", reason="the provider is down", hours=1)
    _, plaintext = make(user)
    assert services.authenticate_token(plaintext) is not None
    with clock.shifted(timedelta(hours=1)):
        assert services.authenticate_token(plaintext) is None


@pytest.mark.parametrize("change", [str.upper, lambda word: word[:-1], lambda word: word + "A", lambda word: word[4:]])
def test_authenticate_when_the_word_is_wrong(alice: User, change: object) -> None:
    _, plaintext = make(alice)
    assert services.authenticate_token(change(plaintext)) is None  # type: ignore[operator]
    assert services.authenticate_token("") is None
    assert services.authenticate_token("jit_" + "é" * 43) is None
    assert services.authenticate_token("jit_" + "A" * 43 + "\n") is None


def test_authenticate_notes_its_use_once_a_minute(alice: User) -> None:
    token, plaintext = make(alice)

    def used() -> object:
        services.authenticate_token(plaintext)
        token.refresh_from_db()
        return token.last_used_at

    first = used()
    assert first is not None
    assert used() == first
    with clock.shifted(timedelta(seconds=61)):
        assert used() != first


def test_revoke_when_somebody_elses_is_not_there(alice: User, dana: User) -> None:
    token, plaintext = make(dana)
    with pytest.raises(NotFound):
        services.revoke_token(actor=alice, token_id=token.pk)
    assert services.authenticate_token(plaintext) is not None


def test_revoke_when_a_dba_finds_a_leak(alice: User, dana: User, told: Told) -> None:
    token, _ = make(alice)
    services.revoke_token(actor=dana, token_id=token.pk)
    (entry,) = told("token.revoked")
    assert (entry.actor, entry.facts["owner"]) == (dana.audit_id, alice.audit_id)


def test_create_when_deactivated_is_refused(alice: User) -> None:
    services.deactivate(actor="operator", user=alice, reason="left")
    with pytest.raises(NotAllowed):
        make(alice)


def test_page_shows_a_token_once(alice: User) -> None:
    client = signed_in(alice)
    page = client.post("/accounts/tokens/", {"name": "backup", "scopes": ["read", "use"], "days": "7"})
    assert page.status_code == 201
    assert "no-store" in page["Cache-Control"]
    text = page.content.decode()
    plaintext = "jit_" + text.partition("jit_")[2][:43]
    found = services.authenticate_token(plaintext)
    assert found is not None
    assert found.scopes == [TokenScope.READ, TokenScope.USE]
    again = client.get("/accounts/tokens/").content.decode()
    assert plaintext not in again
    assert "backup" in again
    answer = client.post(f"/accounts/tokens/{found.pk}/revoke/")
    assert answer.status_code == 302
    assert services.authenticate_token(plaintext) is None
    assert "You have none" in client.get("/accounts/tokens/").content.decode()


def test_page_when_the_form_is_wrong_says_so_beside_the_field(alice: User) -> None:
    page = signed_in(alice).post("/accounts/tokens/", {"name": "", "days": "999"})
    assert page.status_code == 422
    assert page.content.decode().count('class="error"') == 3
    assert not ApiToken.objects.exists()


def test_page_when_revoking_another_persons_token_is_404(alice: User) -> None:
    token, _ = make(known("bob"))
    assert signed_in(alice).post(f"/accounts/tokens/{token.pk}/revoke/").status_code == 404


def test_page_when_not_signed_in_goes_to_the_door(client: Client, groups: None) -> None:
    for path in ("tokens/", "sessions/", "profile/"):
        answer = client.get(f"/accounts/{path}")
        assert answer.status_code == 302
        assert answer["Location"].startswith("/accounts/login/")
