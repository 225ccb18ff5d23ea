import pytest
from django.core.management import CommandError, call_command

from apps.accounts import services
from apps.accounts.models import TokenScope, User
from tests.support.people import Told

pytestmark = pytest.mark.django_db(transaction=True)


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out.splitlines()[-1]


def test_api_token_is_alone_on_the_last_line(alice: User, told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("api_token", "alice", "--days", "7")
    token = services.authenticate_token(last_line(capsys))
    assert token is not None
    assert (token.user, token.scopes) == (alice, list(TokenScope))
    (entry,) = told("token.")
    assert (entry.action, entry.actor, entry.facts["owner"]) == ("token.created", "operator", alice.audit_id)


@pytest.mark.parametrize(("username", "days"), [("nobody", "7"), ("alice", "0"), ("alice", "366"), ("left", "7")])
def test_api_token_when_it_cannot_be_says_so(alice: User, username: str, days: str) -> None:
    if username == "left":
        User.objects.create(username="left", is_active=False)
    with pytest.raises(CommandError) as refusal:
        call_command("api_token", username, "--days", days)
    assert refusal.value.returncode == 1
    assert str(refusal.value).endswith(".")


def test_emergency_admin_prints_the_password_last(told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("emergency_admin", "emergency", "--reason", "the provider is down", "--hours", "2")
    password = last_line(capsys)
    assert User.objects.get().check_password(password)
    assert [line.action for line in told()] == ["account.emergency_created"]


def test_emergency_admin_when_it_cannot_be_says_so(alice: User) -> None:
    with pytest.raises(CommandError, match="person of the single sign-on"):
        call_command("emergency_admin", "alice", "--reason", "why")
    with pytest.raises(CommandError, match="--reason"):
        call_command("emergency_admin", "emergency")
