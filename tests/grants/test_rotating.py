"""Rotating passwords of managers and keys: broken off anywhere, the same command goes on."""

from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from apps.audit import services as audit
from apps.catalog.models import Server
from apps.catalog.rotating import rotate_manager_password
from apps.catalog.services import change_server, new_manager_secret
from apps.catalog.targets import target_for
from apps.core.errors import Conflict, NotAllowed, NotFound, PortalError
from apps.core.sealed import new_keypair, new_ring_key
from apps.grants import services
from apps.grants.models import Grant
from apps.grants.rotating import rotate_keys
from tests.factories import Cast
from tests.grants.odd_engine import LOST, OddEngine, fails, put_in
from tests.grants.stage import active, connected
from tests.support.threads import at_once


def lets_in(server: Server, password: str) -> bool:
    try:
        psycopg.connect(
            host=server.host, port=server.port, user=server.manager, password=password, dbname="postgres"
        ).close()
    except psycopg.OperationalError:
        return False
    return True


def password_of(people: Cast) -> str:
    return target_for(Server.objects.get(pk=people.shop.server_id)).password


def told() -> list[str]:
    return [line.action for line in audit.latest(limit=6) if line.action.startswith("manager.")]


def test_rotate_manager_password_when_all_is_well(people: Cast) -> None:
    server, old = people.shop.server, password_of(people)
    size = audit.head().size

    rotate_manager_password(actor=people.dana, server_id=server.pk)

    new = password_of(people)
    assert new != old
    assert (lets_in(server, old), lets_in(server, new)) == (False, True)
    with connected(active(people.alice)) as client:
        assert client.execute("SELECT 1").fetchone() == (1,)
    entries = audit.entries(after=size - 1, limit=2)
    assert [line.action for line in entries] == ["manager.password_changing", "manager.password_changed"]
    assert not any(password in str(entries) for password in (old, new))


@pytest.mark.parametrize("moment", ["before_password", "after_password"])
def test_rotate_manager_password_when_the_connection_is_lost(
    people: Cast, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Nobody knows which of the two holds: the next call asks the server."""
    server, old = people.shop.server, password_of(people)
    put_in(monkeypatch, OddEngine(**{moment: fails(LOST)}))

    with pytest.raises(PortalError, match="Run this again"):
        rotate_manager_password(actor=people.dana, server_id=server.pk)
    assert lets_in(server, old) is (moment == "before_password")
    rotate_manager_password(actor=people.dana, server_id=server.pk)

    assert (lets_in(server, old), lets_in(server, password_of(people))) == (False, True)
    assert Server.objects.get(pk=server.pk).next_manager_secret is None


def test_rotate_manager_password_when_two_do_it_at_once(people: Cast) -> None:
    server = people.shop.server
    results = at_once(*[lambda: rotate_manager_password(actor=people.dana, server_id=server.pk)] * 2)
    assert [one for one in results if one is not None and not isinstance(one, PortalError)] == []
    rotate_manager_password(actor=people.dana, server_id=server.pk)
    assert lets_in(server, password_of(people))


def test_rotate_manager_password_when_it_may_not_be(people: Cast) -> None:
    with pytest.raises(NotAllowed):
        rotate_manager_password(actor=people.alice, server_id=people.shop.server_id)
    with pytest.raises(NotFound):
        rotate_manager_password(actor=people.dana, server_id="nothing")
    Server.objects.update(manager_secret=None, manager_verifier="")
    with pytest.raises(PortalError, match="no password for its manager"):
        rotate_manager_password(actor=people.dana, server_id=people.shop.server_id)
    when = {"retiring_at": "2026-01-01T00:00:00Z", "retired_at": "2026-01-01T00:00:00Z"}
    Server.objects.update(is_active=False, retiring_by="user:x", retire_reason="gone", **when)
    with pytest.raises(Conflict, match="taken out"):
        rotate_manager_password(actor=people.dana, server_id=people.shop.server_id)


@pytest.mark.parametrize("change", ["host", "bootstrap"])
@pytest.mark.usefixtures("seconded")
def test_rotate_manager_password_when_another_is_made_meanwhile(
    people: Cast, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """What was going to be is for that server and that password alone."""
    put_in(monkeypatch, OddEngine(before_password=fails(LOST)))
    with pytest.raises(PortalError):
        rotate_manager_password(actor=people.dana, server_id=people.shop.server_id)
    if change == "host":
        change_server(actor=people.dana, server_id=people.shop.server_id, host="localhost")
    else:
        new_manager_secret(actor=people.dana, server_id=people.shop.server_id)
    assert Server.objects.get(pk=people.shop.server_id).next_manager_secret is None


def test_rotate_manager_password_by_command(people: Cast, capsys: pytest.CaptureFixture[str]) -> None:
    old = password_of(people)
    call_command("rotate_manager_password", "demo")
    assert "demo: the manager has a new password" in capsys.readouterr().out
    assert password_of(people) != old
    with pytest.raises(CommandError, match="no server called nothing"):
        call_command("rotate_manager_password", "nothing")
    Server.objects.update(port=1)
    with pytest.raises(CommandError, match="Not done on demo"):
        call_command("rotate_manager_password")


def with_new_keys(settings: Any) -> dict[str, Any]:
    private, public = new_keypair()
    return {
        "MANAGER_PRIVATE_KEY": private,
        "MANAGER_PUBLIC_KEY": public,
        "MANAGER_PRIVATE_KEY_FALLBACKS": [settings.MANAGER_PRIVATE_KEY],
        "GRANT_PASSWORD_RING": [new_ring_key(), *settings.GRANT_PASSWORD_RING],
    }


def test_rotate_keys_when_all_is_well(people: Cast, settings: Any) -> None:
    grant = active(people.alice)
    shown, manager = services.credential(actor=people.alice, grant_id=grant.pk).url, password_of(people)
    keys = with_new_keys(settings)

    with override_settings(**keys):
        call_command("rotate_keys")
    only_new = keys | {"MANAGER_PRIVATE_KEY_FALLBACKS": [], "GRANT_PASSWORD_RING": keys["GRANT_PASSWORD_RING"][:1]}

    with override_settings(**only_new):
        assert services.credential(actor=people.alice, grant_id=grant.pk).url == shown
        assert password_of(people) == manager
        assert rotate_keys(actor="operator") == (1, 1)
    (entry,) = [line for line in audit.latest(limit=5) if line.action == "keys.rotated"][:1]
    assert (entry.facts["servers"], entry.facts["grants"]) == (1, 1)


def test_rotate_keys_when_an_old_key_is_missing(people: Cast, settings: Any) -> None:
    grant = active(people.alice)
    before = bytes(Grant.objects.get(pk=grant.pk).password or b"")
    keys = with_new_keys(settings)
    no_fallback = {"MANAGER_PRIVATE_KEY_FALLBACKS": []}
    with override_settings(**keys | no_fallback), pytest.raises(PortalError, match="does not open"):
        rotate_keys(actor="operator")
    short = {"GRANT_PASSWORD_RING": keys["GRANT_PASSWORD_RING"][:1]}
    with override_settings(**keys | short), pytest.raises(CommandError, match="opens with no key of the ring"):
        call_command("rotate_keys")
    assert bytes(Grant.objects.get(pk=grant.pk).password or b"") == before


def test_rotate_keys_when_somebody_else_asks(people: Cast) -> None:
    with pytest.raises(NotAllowed):
        rotate_keys(actor=people.alice)
