"""`jit login`: a terminal asks, its person confirms in the portal, and it gets an API token as any other."""

import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from django.conf import settings as configured
from django.core.cache import cache
from django.db import connections
from django.test import Client
from pytest_django.fixtures import Settings

from apps.accounts import devices, services
from apps.accounts.models import ApiToken, Passing, User
from tests.support.people import Told, signed_in

pytestmark = pytest.mark.django_db(transaction=True)

GRANT = "urn:ietf:params:oauth:grant-type:device_code"


@pytest.fixture(autouse=True)
def shared(settings: Settings) -> Iterator[None]:
    """What is passed between web processes lies in a table, as in life; polling is not slowed down."""
    settings.CACHES = {**settings.CACHES, "default": {"BACKEND": "apps.accounts.passing.RowCache"}}
    settings.IDP_OIDC_DEVICE_CODE_INTERVAL = 0
    yield
    cache.clear()


def post(client: Client, path: str, body: dict[str, str]) -> Any:
    """As a form, which OAuth wants."""
    return client.post(path, urlencode(body), content_type="application/x-www-form-urlencoded")


def begin(client: Client, **more: str) -> dict[str, Any]:
    answer = post(client, "/device/code", {"client_id": "jit", "machine": "alice-laptop", **more})
    assert answer.status_code == 200, answer.content
    return answer.json()  # type: ignore[no-any-return]


def poll(client: Client, code: str, **more: str) -> Any:
    return post(client, "/device/token", {"grant_type": GRANT, "client_id": "jit", "device_code": code, **more})


def decide(client: Client, code: str, do: str = "confirm") -> Any:
    return client.post("/device/", {"code": code, "do": do})


def test_sign_in_when_its_person_confirms(alice: User, told: Told) -> None:
    terminal, browser = Client(), signed_in(alice)
    made = begin(terminal)
    assert made["verification_uri"] == "http://testserver/device/"
    assert poll(terminal, made["device_code"]).json()["error"] == "authorization_pending"

    page = browser.get("/device/", {"code": made["user_code"]}).content.decode()
    assert "alice-laptop" in page
    assert "127.0.0.1" in page
    assert "fetch credentials" in page
    assert "read the record" not in page
    assert "is signed in" in decide(browser, made["user_code"]).content.decode()

    answer = poll(terminal, made["device_code"])
    assert answer.status_code == 200, answer.content
    said = answer.json()
    assert said["scope"] == "read request approve use"
    token = services.authenticate_token(said["access_token"])
    assert token is not None
    assert (token.user, token.name) == (alice, "jit on alice-laptop")
    assert "no-store" in answer["Cache-Control"]
    (entry,) = told("token.")
    assert (entry.action, entry.actor) == ("token.created", alice.audit_id)
    assert entry.disclosed == {"name": "jit on alice-laptop", "address": "127.0.0.1"}
    assert poll(terminal, made["device_code"]).json()["error"] == "invalid_grant"
    assert Passing.objects.filter(key__contains=made["device_code"]).count() == 0


def test_sign_in_when_the_code_is_typed_differently(alice: User) -> None:
    made = begin(Client())
    typed = made["user_code"].replace("-", " ").lower()
    shown = signed_in(alice).get("/device/", {"code": typed}).content.decode()
    assert f"<code>{made['user_code']}</code>" in shown
    assert "is signed in" in decide(signed_in(alice), typed).content.decode()


def test_sign_in_when_its_person_says_no(alice: User, told: Told) -> None:
    made = begin(Client())
    assert "Nothing was signed in" in decide(signed_in(alice), made["user_code"], "deny").content.decode()
    assert poll(Client(), made["device_code"]).json()["error"] == "access_denied"
    assert not ApiToken.objects.exists()
    assert told("token.") == []


def test_sign_in_when_nobody_is_signed_in_leads_to_the_door() -> None:
    made = begin(Client())
    answer = Client().get("/device/", {"code": made["user_code"]})
    assert answer.status_code == 302
    assert answer["Location"].startswith("/accounts/login/?next=%2Fdevice%2F%3Fcode%3D")


@pytest.mark.parametrize("code", ["BCDF-GHJK", "x", "%", "é" * 8])
def test_confirm_when_the_code_is_unknown(alice: User, code: str) -> None:
    answer = signed_in(alice).get("/device/", {"code": code})
    assert answer.status_code == 404
    assert "mistyped" in answer.content.decode()


def test_confirm_when_many_codes_are_tried_is_refused(alice: User) -> None:
    browser = signed_in(alice)
    seen = {browser.get("/device/", {"code": f"BCDF-GHJ{letter}"}).status_code for letter in "BCDFGHJKLMNPQRSTVWXZB"}
    assert seen == {404, 429}


def test_confirm_when_another_site_posts_it_is_refused(alice: User) -> None:
    made = begin(Client())
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(alice, backend="apps.accounts.backends.SsoBackend")
    assert decide(browser, made["user_code"]).status_code == 403
    assert poll(Client(), made["device_code"]).json()["error"] == "authorization_pending"


def test_confirm_when_done_already(alice: User) -> None:
    made = begin(Client())
    browser = signed_in(alice)
    decide(browser, made["user_code"], "deny")
    assert decide(browser, made["user_code"]).status_code == 404
    assert poll(Client(), made["device_code"]).json()["error"] == "access_denied"


def test_poll_when_too_often(settings: Settings) -> None:
    settings.IDP_OIDC_DEVICE_CODE_INTERVAL = 60
    made = begin(Client())
    poll(Client(), made["device_code"])
    assert poll(Client(), made["device_code"]).json()["error"] == "slow_down"


def test_poll_when_two_ask_at_once_gives_one_token(alice: User) -> None:
    made = begin(Client())
    decide(signed_in(alice), made["user_code"])
    together, answers = threading.Barrier(4), []

    def ask() -> None:
        together.wait()
        answers.append(poll(Client(), made["device_code"]).status_code)
        connections.close_all()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200, 400, 400, 400]
    assert ApiToken.objects.count() == 1


def test_poll_when_the_person_left_meanwhile(alice: User, dana: User) -> None:
    made = begin(Client())
    decide(signed_in(alice), made["user_code"])
    services.deactivate(actor=dana, user=alice, reason="left")
    assert poll(Client(), made["device_code"]).json()["error"] == "access_denied"
    assert not ApiToken.objects.exists()


def test_poll_when_what_was_confirmed_is_forgotten(alice: User) -> None:
    """It never becomes more than was confirmed."""
    made = begin(Client(), scope="read")
    decide(signed_in(alice), made["user_code"])
    cache.delete(devices._key(made["device_code"]))

    assert poll(Client(), made["device_code"]).json()["error"] == "access_denied"
    assert not ApiToken.objects.exists()


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"grant_type": "client_credentials"}, "unsupported_grant_type"),
        ({"grant_type": "authorization_code", "code": "x"}, "unsupported_grant_type"),
        ({"device_code": "nothing"}, "invalid_grant"),
        ({"client_id": "somebody"}, "invalid_client"),
        ({"device_code": ""}, "invalid_request"),
    ],
)
def test_poll_when_asked_for_nonsense(body: dict[str, str], error: str) -> None:
    answer = post(Client(), "/device/token", {"grant_type": GRANT, "client_id": "jit", "device_code": "x"} | body)
    assert (answer.status_code, answer.json()["error"]) == (401 if error == "invalid_client" else 400, error)


def test_code_when_the_scope_is_not_one_of_ours() -> None:
    answer = post(Client(), "/device/code", {"client_id": "jit", "scope": "read root"})
    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_scope"


def test_code_when_the_client_is_unknown() -> None:
    assert post(Client(), "/device/code", {"client_id": "other"}).status_code in {400, 401}


def test_code_when_many_are_asked_for_is_refused() -> None:
    terminal = Client()
    seen = {post(terminal, "/device/code", {"client_id": "jit"}).status_code for _ in range(21)}
    assert seen == {200, 429}


def test_code_when_the_machine_has_an_odd_name(alice: User) -> None:
    made = begin(Client(), machine="<script>alert(1)</script>\x00\n" + "x" * 200)
    page = signed_in(alice).get("/device/", {"code": made["user_code"]}).content.decode()
    assert "scriptalert(1)script" in page
    assert "<script>alert" not in page


def test_code_when_past_its_end(alice: User, settings: Settings) -> None:
    made = begin(Client())
    Passing.objects.update(expires_at="2020-01-01T00:00:00Z")
    assert signed_in(alice).get("/device/", {"code": made["user_code"]}).status_code == 404
    assert poll(Client(), made["device_code"]).json()["error"] == "invalid_grant"
    begin(Client())
    assert not Passing.objects.filter(expires_at__year=2020).exists()


def test_auditors_scope_is_asked_for_by_name(alice: User) -> None:
    made = begin(Client(), scope="audit read")
    browser = signed_in(alice)
    assert "read the record" in browser.get("/device/", {"code": made["user_code"]}).content.decode()
    decide(browser, made["user_code"])
    assert poll(Client(), made["device_code"]).json()["scope"] == "read audit"


def test_revoke_when_presented(alice: User, told: Told) -> None:
    _, plaintext = services.create_token(actor=alice, name="jit", scopes=["read"], days=1)
    for word in (plaintext, plaintext, "jit_" + "x" * 43, "nonsense"):
        assert post(Client(), "/device/revoke", {"token": word}).status_code == 200
    assert services.authenticate_token(plaintext) is None
    assert [entry.action for entry in told("token.")] == ["token.created", "token.revoked"]


def test_other_flows_have_no_address() -> None:
    for path in ("/identity/o/authorize", "/device/authorize", "/device/userinfo", "/.well-known/openid-configuration"):
        assert Client().get(path).status_code in {302, 404}
    assert configured.IDP_OIDC_DEVICE_CODE_EXPIRES_IN == 600


def test_cache_keeps_json_and_adds_once() -> None:
    assert cache.add("k", [1.5, "x"], 60)
    assert not cache.add("k", 2, 60)
    assert cache.get("k") == [1.5, "x"]
    cache.set("k", {"a": None}, 60)
    assert cache.get("k") == {"a": None}
    assert cache.touch("k", 60)
    assert cache.delete("k")
    assert not cache.delete("k")
    assert cache.get("k", "none") == "none"
    with pytest.raises(TypeError):
        cache.set("k", devices)
    cache.set("for ever", 1, None)
    assert cache.get("for ever") == 1
    cache.set("gone", 1, 0)
    assert cache.get("gone") is None
