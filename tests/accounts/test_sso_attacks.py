"""A provider, or somebody in between, that lies (field notes S12). Nobody is signed in, and a page says why."""

import time
from typing import Any

import pytest
import requests
from django.test import Client
from pytest_django.fixtures import Settings

from apps.accounts.models import User
from tests.support.people import Told
from tests.support.sso import Forger, Newcomer, path_of, start

pytestmark = pytest.mark.django_db(transaction=True)


def refused(answer: Any, client: Client, *, status: int, says: str) -> None:
    page = answer.content.decode()
    assert answer.status_code == status, page
    assert says in page
    assert 'href="/accounts/login/"' in page
    assert "_auth_user_id" not in client.session
    assert not User.objects.exists()


def test_sign_in_when_a_forged_but_honest_provider_works(newcomer: Newcomer, client: Client, forger: Forger) -> None:
    """The forger's own tokens are good ones: what is refused below is refused for what was changed."""
    forger.id_token = lambda said: said
    assert newcomer.sign_in(client).status_code == 302
    assert User.objects.get().subject == newcomer.sub


LIES = {
    "nonce": ({"nonce": "another"}, "belongs to another sign-in"),
    "issuer": ({"iss": "https://evil.example"}, "cannot be verified"),
    "issuer with a slash": ({"iss": "{issuer}/"}, "cannot be verified"),
    "audience": ({"aud": ["other-app"]}, "cannot be verified"),
    "several audiences": ({"aud": ["jitportal", "other-app"]}, "meant for another application"),
    "authorized party": ({"azp": "other-app"}, "meant for another application"),
    "subject": ({"sub": "somebody-else"}, "two different people"),
    "expiry": ({"exp": int(time.time()) - 3600}, "cannot be verified"),
    "issued in the future": ({"iat": int(time.time()) + 3600}, "cannot be verified"),
}


@pytest.mark.parametrize("lie", LIES)
def test_sign_in_when_the_id_token_lies(newcomer: Newcomer, client: Client, forger: Forger, lie: str) -> None:
    changed, sentence = LIES[lie]
    said = {
        key: value.format(issuer=newcomer.provider.issuer) if isinstance(value, str) else value
        for key, value in changed.items()
    }
    forger.id_token = lambda claims: claims | said
    refused(newcomer.sign_in(client), client, status=403, says=sentence)


@pytest.mark.parametrize("claim", ["iss", "sub", "aud", "exp", "iat", "nonce"])
def test_sign_in_when_the_id_token_lacks_a_claim(
    newcomer: Newcomer, client: Client, forger: Forger, claim: str
) -> None:
    forger.id_token = lambda claims: {key: value for key, value in claims.items() if key != claim}
    refused(newcomer.sign_in(client), client, status=403, says="cannot be verified")


@pytest.mark.parametrize("sub", ["", "x" * 256, "a\u0000b", "line\nbreak"])
def test_sign_in_when_the_subject_is_odd(newcomer: Newcomer, client: Client, forger: Forger, sub: str) -> None:
    forger.id_token = lambda claims: claims | {"sub": sub}
    forger.userinfo = lambda said: said | {"sub": sub}
    refused(newcomer.sign_in(client), client, status=403, says="did not say who you are")


def test_sign_in_when_there_is_no_id_token(newcomer: Newcomer, client: Client, forger: Forger) -> None:
    forger.token = lambda said: {key: value for key, value in said.items() if key != "id_token"}
    refused(newcomer.sign_in(client), client, status=403, says="gave no ID token")


def test_sign_in_when_the_key_is_not_published(newcomer: Newcomer, client: Client, forger: Forger) -> None:
    forger.id_token, forger.publishes = (lambda claims: claims), False
    refused(newcomer.sign_in(client), client, status=403, says="a key that it does not publish")


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_sign_in_when_the_signature_proves_nothing(
    newcomer: Newcomer, client: Client, forger: Forger, algorithm: str
) -> None:
    forger.id_token, forger.algorithm = (lambda claims: claims), algorithm
    refused(newcomer.sign_in(client), client, status=403, says="proves nothing")


def test_sign_in_when_the_id_token_is_rubbish(newcomer: Newcomer, client: Client, forger: Forger) -> None:
    forger.token = lambda said: said | {"id_token": "a.b.c"}
    refused(newcomer.sign_in(client), client, status=403, says="cannot be verified")


@pytest.mark.parametrize("said", [{"sub": "somebody-else"}, {"sub": None}])
def test_sign_in_when_userinfo_is_about_another(
    newcomer: Newcomer, client: Client, forger: Forger, said: dict[str, object]
) -> None:
    forger.userinfo = lambda truth: truth | said
    refused(newcomer.sign_in(client), client, status=403, says="two different people")


def test_sign_in_when_userinfo_says_more_the_signed_claims_win(
    newcomer: Newcomer, client: Client, forger: Forger, groups: None
) -> None:
    forger.userinfo = lambda said: said | {"groups": ["claim-dba"], "iss": "https://evil.example"}
    newcomer.sign_in(client)
    user = User.objects.get()
    assert (user.issuer, list(user.groups.all())) == (newcomer.provider.issuer, [])


@pytest.mark.parametrize("issuer", ["https://evil.example", "{issuer}/", None])
def test_start_when_discovery_names_another_issuer(
    newcomer: Newcomer, client: Client, forger: Forger, issuer: str | None
) -> None:
    forger.discovery = lambda said: said | {"issuer": issuer and issuer.format(issuer=newcomer.provider.issuer)}
    refused(client.get("/accounts/sso/login/"), client, status=403, says="is configured here")


def test_callback_when_discovery_has_changed_meanwhile(newcomer: Newcomer, client: Client, forger: Forger) -> None:
    back = newcomer.vouched(start(client))
    forger.discovery = lambda said: said | {"issuer": "https://evil.example"}
    refused(client.get(back), client, status=403, says="is configured here")


def test_start_when_an_endpoint_has_no_tls(client: Client, forger: Forger, sso: object, settings: Settings) -> None:
    plain = settings.SSO_ISSUER
    settings.SSO_ISSUER = "https://idp.example.org"
    forger.discovery = lambda said: said | {"issuer": "https://idp.example.org"}
    forger.session = lambda: _Redirected(forger, plain)  # type: ignore[method-assign,assignment,return-value]
    refused(client.get("/accounts/sso/login/"), client, status=403, says="without TLS")


class _Redirected:
    """Asks the provider on loopback whatever is asked of the issuer."""

    def __init__(self, forger: Forger, plain: str) -> None:
        self.forger, self.plain = forger, plain

    def __enter__(self) -> "_Redirected":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def get(self, address: str) -> requests.Response:
        answer = requests.get(address.replace("https://idp.example.org", self.plain), timeout=10)
        return self.forger.edit(answer)


def test_callback_when_replayed(newcomer: Newcomer, client: Client) -> None:
    back = newcomer.vouched(start(client))
    assert client.get(back).status_code == 302
    client.logout()
    answer = client.get(back)
    assert answer.status_code == 400
    assert "was used already" in answer.content.decode()
    assert "_auth_user_id" not in client.session


def test_callback_when_started_in_another_browser(newcomer: Newcomer, client: Client) -> None:
    back = newcomer.vouched(start(client))
    stranger = Client()
    refused(stranger.get(back), stranger, status=400, says="started elsewhere")


def test_callback_when_the_code_is_of_another_sign_in(newcomer: Newcomer, client: Client) -> None:
    """Code injection: PKCE at the provider refuses, and the nonce would."""
    stolen = newcomer.vouched(start(Client()))
    state = start(client).partition("state=")[2].partition("&")[0]
    code = stolen.partition("code=")[2].partition("&")[0]
    refused(client.get(f"/accounts/sso/callback/?code={code}&state={state}"), client, status=400, says="Start again")


def test_callback_when_the_person_cancels(newcomer: Newcomer, client: Client) -> None:
    answer = requests.post(start(client), data={"action": "deny"}, allow_redirects=False, timeout=10)
    back = path_of(answer.headers["Location"])
    state = next(iter(client.session["socialaccount_states"]))
    back = back if "state=" in back else f"{back}&state={state}"
    refused(client.get(back), client, status=403, says="was cancelled")


@pytest.mark.parametrize("query", ["", "?state=x", "?code=x", "?code=x&state=x", "?error=server_error&state=x"])
def test_callback_when_it_is_called_by_hand(sso: object, client: Client, query: str) -> None:
    refused(client.get(f"/accounts/sso/callback/{query}"), client, status=400, says="Start again")


@pytest.mark.parametrize("body", [[], "text", {"access_token": "x"}, {"error": "invalid_grant"}])
def test_callback_when_the_token_answer_is_odd(newcomer: Newcomer, client: Client, forger: Forger, body: Any) -> None:
    back = newcomer.vouched(start(client))
    forger.token = lambda said: body
    answer = client.get(back)
    assert answer.status_code in {400, 403}
    assert not User.objects.exists()


def test_sign_in_when_the_provider_is_down(client: Client, settings: Settings) -> None:
    settings.SSO_ISSUER = "http://127.0.0.1:1"
    refused(client.get("/accounts/sso/login/"), client, status=502, says="cannot be reached just now")


def test_callback_when_the_provider_went_down(newcomer: Newcomer, client: Client, settings: Settings) -> None:
    back = newcomer.vouched(start(client))
    settings.SSO_ISSUER = "http://127.0.0.1:1"
    refused(client.get(back), client, status=502, says="cannot be reached just now")


@pytest.mark.parametrize(
    ("issuer", "sentence"),
    [("", "not set up here"), ("idp", "not set up here"), ("http://idp.example.org", "without TLS")],
)
def test_sign_in_when_sso_is_not_set_up(client: Client, settings: Settings, issuer: str, sentence: str) -> None:
    settings.SSO_ISSUER = issuer
    refused(client.get("/accounts/sso/login/"), client, status=403, says=sentence)


def test_refusals_when_nobody_was_vouched_for_leave_the_record_alone(sso: object, client: Client, told: Told) -> None:
    """Anybody can call the callback; the record is not theirs to fill."""
    for _ in range(3):
        client.get("/accounts/sso/callback/?code=x&state=x")
    assert told() == []
