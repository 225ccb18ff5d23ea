"""Signing in as a browser does: Django's client on our side, the real identity provider on the other."""

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import requests
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from cryptography.hazmat.primitives.asymmetric import rsa
from django.http import HttpResponse
from django.test import Client
from jwt.algorithms import RSAAlgorithm

from tests.support.identity import IdentityProvider

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Newcomer:
    """Somebody whom the provider knows and the portal does not, yet."""

    provider: IdentityProvider
    sub: str = field(default_factory=lambda: f"sub-{next(_numbers)}")

    def says(self, **claims: object) -> "Newcomer":
        """What the provider says about them from now on."""
        self.provider.change(self.sub, **claims)
        return self

    def sign_in(self, client: Client, *, next_url: str = "") -> Any:
        """The whole way; the answer to the last step."""
        return client.get(self.vouched(start(client, next_url=next_url)))

    def vouched(self, authorize: str) -> str:
        """Pick this person at the provider: the address that it sends the browser back to."""
        answer = requests.post(authorize, data={"sub": self.sub}, allow_redirects=False, timeout=10)
        assert answer.status_code == 302, answer.text
        return path_of(answer.headers["Location"])


def start(client: Client, *, next_url: str = "") -> str:
    """Follow the button of the sign-in page: the address at the provider."""
    answer: HttpResponse = client.get("/accounts/sso/login/", {"next": next_url} if next_url else {})
    assert answer.status_code == 302, answer.content
    return answer.headers["Location"]


def path_of(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.path}?{parts.query}"


def query_of(address: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


Change = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass
class Forger:
    """A provider that lies: edits what the portal is told on the back channel. Its ID tokens are signed by its own
    key, which it publishes unless `publishes` is false.
    """

    discovery: Change = lambda said: said
    userinfo: Change = lambda said: said
    token: Change = lambda said: said
    id_token: Change | None = None
    algorithm: str = "RS256"
    publishes: bool = True
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))

    def session(self) -> requests.Session:
        session = DefaultSocialAccountAdapter().get_requests_session()
        session.hooks["response"] = [self.edit]
        return session  # type: ignore[no-any-return]

    def edit(self, answer: requests.Response, **_: object) -> requests.Response:
        path = urlsplit(answer.url).path
        body = answer.request.body or ""
        self.asked.append((path, query_of(f"?{body if isinstance(body, str) else body.decode()}")))
        said = answer.json()
        if path.endswith("/openid-configuration"):
            said = self.discovery(said)
        elif path.endswith("/userinfo"):
            said = self.userinfo(said)
        elif path.endswith("/jwks") and self.id_token is not None and self.publishes:
            said = {"keys": [RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True) | {"kid": "ours"}]}
        elif path.endswith("/token"):
            said = self.token(self.signed(said))
        answer._content = json.dumps(said).encode()
        return answer

    def signed(self, said: dict[str, Any]) -> dict[str, Any]:
        if self.id_token is None:
            return said
        claims = self.id_token(jwt.decode(said["id_token"], options={"verify_signature": False}))
        key = {"none": None, "HS256": "x" * 32}.get(self.algorithm, self.key)
        return said | {"id_token": jwt.encode(claims, key, self.algorithm, headers={"kid": "ours"})}
