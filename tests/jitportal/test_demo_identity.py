"""The demo's identity provider keeps to what the portal relies on."""

import base64
import hashlib
import json
import secrets
import time
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from jitportal.demo.people import PEOPLE
from tests.support.identity import IdentityProvider

CALLBACK = "http://127.0.0.1:8000/back"
VERIFIER = secrets.token_urlsafe(48)


def challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def authorize(provider: IdentityProvider, *, sub: str = "alice", **changed: str) -> requests.Response:
    asked = {
        "response_type": "code",
        "client_id": provider.client_id,
        "redirect_uri": CALLBACK,
        "scope": "openid profile email",
        "state": "s",
        "nonce": "n-1",
        "code_challenge": challenge(VERIFIER),
        "code_challenge_method": "S256",
    } | changed
    return requests.post(
        f"{provider.issuer}/oauth2/authorize", params=asked, data={"sub": sub}, allow_redirects=False, timeout=10
    )


def code_of(answer: requests.Response) -> str:
    return parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]


def redeem(provider: IdentityProvider, code: str, *, secret: str = "", **changed: str) -> requests.Response:
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, "code_verifier": VERIFIER}
    return requests.post(
        f"{provider.issuer}/oauth2/token",
        data=form | changed,
        auth=(provider.client_id, secret or provider.client_secret),
        timeout=10,
    )


def claims(token: str) -> dict[str, object]:
    body = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))  # type: ignore[no-any-return]


def test_sign_in_when_a_person_is_picked(identity_provider: IdentityProvider) -> None:
    before = int(time.time())
    answer = redeem(identity_provider, code_of(authorize(identity_provider, sub="dana")))
    said = claims(answer.json()["id_token"])
    assert said["iss"] == identity_provider.issuer
    assert (said["sub"], said["nonce"], said["aud"]) == ("dana", "n-1", [identity_provider.client_id])
    assert before <= int(str(said["auth_time"])) <= time.time()
    assert (said["preferred_username"], said["groups"]) == ("dana", ["dba", "owners-shop"])
    about = requests.get(
        f"{identity_provider.issuer}/userinfo",
        headers={"Authorization": f"Bearer {answer.json()['access_token']}"},
        timeout=10,
    ).json()
    assert about["sub"] == "dana"
    assert about["email"] == "dana@shop.example"


def test_sign_in_when_the_page_is_read_names_everybody(identity_provider: IdentityProvider) -> None:
    url = authorize(identity_provider).request.url or ""
    page = requests.get(url, timeout=10).text
    assert all(f'value="{person.username}"' in page for person in PEOPLE)
    assert "https://" not in page


@pytest.mark.parametrize("changed", [{"code_challenge": ""}, {"code_challenge_method": "plain"}])
def test_sign_in_when_there_is_no_challenge(identity_provider: IdentityProvider, changed: dict[str, str]) -> None:
    answer = authorize(identity_provider, **changed)
    assert "error=invalid_request" in answer.headers["Location"]


@pytest.mark.parametrize("changed", [{"client_id": "other"}, {"redirect_uri": "http://evil.example/"}])
def test_sign_in_when_the_client_is_wrong(identity_provider: IdentityProvider, changed: dict[str, str]) -> None:
    answer = authorize(identity_provider, **changed)
    assert "code=" not in answer.headers.get("Location", "")


def test_redeem_when_the_verifier_is_wrong(identity_provider: IdentityProvider) -> None:
    code = code_of(authorize(identity_provider))
    assert redeem(identity_provider, code, code_verifier="x" * 43).json()["error"] == "invalid_grant"


def test_redeem_when_the_secret_is_wrong(identity_provider: IdentityProvider) -> None:
    code = code_of(authorize(identity_provider))
    assert redeem(identity_provider, code, secret="wrong").status_code in {400, 401}


def test_redeem_when_the_code_was_used(identity_provider: IdentityProvider) -> None:
    code = code_of(authorize(identity_provider))
    assert redeem(identity_provider, code).ok
    assert redeem(identity_provider, code).json()["error"] == "invalid_grant"


def test_answer_when_another_host_name_is_used(identity_provider: IdentityProvider) -> None:
    answer = requests.get(f"{identity_provider.issuer}/jwks", headers={"Host": "evil.example"}, timeout=10)
    assert answer.status_code == 400


def test_answer_when_it_fails_shows_no_debugger(identity_provider: IdentityProvider) -> None:
    console = requests.get(f"{identity_provider.issuer}/console", timeout=10)
    assert console.status_code == 404
    asset = requests.get(f"{identity_provider.issuer}/?__debugger__=yes&cmd=resource&f=debugger.js", timeout=10)
    assert "javascript" not in asset.headers["Content-Type"]
