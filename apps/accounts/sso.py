"""Single sign-on: allauth's OpenID Connect, held to what it leaves open (field notes S12).

One provider, from settings. PKCE, a nonce, the exact issuer, an ID token that is there and verified against the
provider's keys, and userinfo about the same `sub`.
"""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import jwt
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.models import SocialAccount, SocialLogin, SocialToken
from allauth.socialaccount.providers.base import AuthProcess
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.utils import generate_code_challenge
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from requests import RequestException

from apps.accounts import stepping_up
from apps.accounts.models import User

PROVIDER_ID: Final = "sso"
_LEEWAY_SECONDS: Final = 30
# Signatures by a key that only the provider has: never `none`, never a shared secret.
_ALGORITHMS: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_ENDPOINTS: Final = ("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri")


class SignInFailed(OAuth2Error):  # type: ignore[misc]
    """The provider's answer cannot be trusted, or understood; the message is a sentence for the person."""


@contextmanager
def _understood(what: str) -> Iterator[None]:
    """Whatever is odd in an answer of the provider ends the sign-in with a sentence. A network failure stays one."""
    try:
        yield
    except (RequestException, OAuth2Error):
        raise
    except (jwt.PyJWTError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise SignInFailed(f"{what} of single sign-on cannot be verified ({error}). You were not signed in.") from error


class SsoLogin(SocialLogin):  # type: ignore[misc]
    """Whose it is, our own table says: allauth's knows the `sub`, but not its issuer."""

    signed: dict[str, Any]  # the claims of the ID token alone, without what was only fetched

    def lookup(self) -> None:
        self._did_authenticate_by_email = None


class SsoProtocol(OpenIDConnectOAuth2Adapter):  # type: ignore[misc]
    """The back channel: discovery, code for tokens, ID token, userinfo."""

    redirect_uri_protocol = "https" if settings.HTTPS else None

    def __init__(self, request: HttpRequest) -> None:
        super().__init__(request, PROVIDER_ID)

    @property
    def openid_config(self) -> dict[str, Any]:
        _require_a_safe_issuer()
        with _understood("The discovery document"):
            config: dict[str, Any] = super().openid_config
            if config["issuer"] != settings.SSO_ISSUER:
                raise SignInFailed(
                    f"Single sign-on calls itself ‘{config['issuer']}’, but ‘{settings.SSO_ISSUER}’ is configured here."
                )
            _require_tls_everywhere(config)
            return config

    def get_callback_url(self, request: HttpRequest, app: Any) -> str:
        scheme = self.redirect_uri_protocol or request.scheme
        return f"{scheme}://{request.get_host()}{reverse('sso_callback')}"

    def get_access_token_data(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        with _understood("The answer to the sign-in code"):
            return dict(super().get_access_token_data(*args, **kwargs))

    def parse_token(self, data: dict[str, Any]) -> SocialToken:
        """Used once, for userinfo, and forgotten."""
        return SocialToken(token=str(data["access_token"]))

    def complete_login(self, request: HttpRequest, app: Any, token: SocialToken, **kwargs: Any) -> SsoLogin:
        """A login that carries the verified claims; whose it is, the adapter finds out."""
        id_token = kwargs["response"].get("id_token")
        if not isinstance(id_token, str):
            raise SignInFailed("Single sign-on gave no ID token. Tell whoever runs it: the scope ‘openid’ needs one.")
        with _understood("The ID token"):
            claims = self._verified(id_token, client_id=app.client_id)
        with _understood("The userinfo"):
            userinfo = self._userinfo(token.token)
        if userinfo is not None and userinfo.get("sub") != claims["sub"]:
            raise SignInFailed("Single sign-on spoke of two different people. You were not signed in.")
        # What is signed goes before what is only fetched.
        account = SocialAccount(provider=PROVIDER_ID, uid=claims["sub"], extra_data={**(userinfo or {}), **claims})
        login = SsoLogin(provider=self.get_provider(), account=account)
        login.signed = claims
        return login

    def _userinfo(self, access_token: str) -> dict[str, Any] | None:
        """None where the provider has no such endpoint, which the standard allows."""
        return dict(self._fetch_user_info(access_token)) if "userinfo_endpoint" in self.openid_config else None

    def _verified(self, id_token: str, *, client_id: str) -> dict[str, Any]:
        """allauth skips the signature because the channel is TLS; on loopback it is not, and keys cost one request."""
        claims: dict[str, Any] = jwt.decode(
            id_token,
            key=self._key(id_token),
            algorithms=sorted(_ALGORITHMS),
            issuer=settings.SSO_ISSUER,
            audience=client_id,
            leeway=_LEEWAY_SECONDS,
            options={"require": ["iss", "sub", "aud", "exp", "iat", "nonce"]},
        )
        for_several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if claims.get("azp", None if for_several else client_id) != client_id:
            raise SignInFailed("The ID token of single sign-on is meant for another application.")
        return claims

    def _key(self, id_token: str) -> jwt.PyJWK:
        header = jwt.get_unverified_header(id_token)
        if header["alg"] not in _ALGORITHMS:
            raise SignInFailed(f"The ID token of single sign-on is signed by ‘{header['alg']}’, which proves nothing.")
        with get_adapter().get_requests_session() as session:
            answer = session.get(self.openid_config["jwks_uri"])
            answer.raise_for_status()
        keys = [key for key in answer.json()["keys"] if key.get("use", "sig") == "sig"]
        found = [key for key in keys if key.get("kid") == header["kid"]] if "kid" in header else keys
        if len(found) != 1 or found[0].get("alg", header["alg"]) != header["alg"]:
            raise SignInFailed("The ID token of single sign-on is signed by a key that it does not publish.")
        return jwt.PyJWK(found[0], header["alg"])


class SsoProvider(OpenIDConnectProvider):  # type: ignore[misc]
    """The front channel: where the browser is sent, and with what."""

    @property
    def server_url(self) -> str:
        return f"{settings.SSO_ISSUER.rstrip('/')}/.well-known/openid-configuration"

    def get_oauth2_adapter(self, request: HttpRequest) -> SsoProtocol:
        return SsoProtocol(request)

    def get_pkce_params(self) -> dict[str, Any]:
        return dict(generate_code_challenge())

    def get_redirect_from_request_kwargs(self, request: HttpRequest) -> dict[str, Any]:
        """Only where to go afterwards comes from the address; scope, process and parameters do not."""
        asked = super().get_redirect_from_request_kwargs(request)
        return {"process": AuthProcess.LOGIN, "next_url": asked.get("next_url")}

    def redirect(self, request: HttpRequest, process: str, next_url: str | None = None, **_: Any) -> HttpResponse:
        return self._sent(request, process, next_url)

    def redirect_to_step_up(self, request: HttpRequest, user: User, next_url: str) -> HttpResponse:
        """A round trip on which `user` must sign in anew; no session at the provider is good enough."""
        trip = {stepping_up.STATE: stepping_up.RoundTrip.begun(user).to_json()}
        return self._sent(request, AuthProcess.LOGIN, next_url, {"prompt": "login", "max_age": "0"}, **trip)

    def _sent(
        self,
        request: HttpRequest,
        process: str,
        next_url: str | None,
        params: Mapping[str, str] | None = None,
        **kept: Any,
    ) -> HttpResponse:
        nonce = secrets.token_urlsafe(32)
        auth_params = {**self.get_auth_params(), **(params or {}), "nonce": nonce}
        # The nonce and what else is `kept` stay with the state, in the person's own session.
        response: HttpResponse = super().redirect(
            request, process, next_url=next_url, auth_params=auth_params, nonce=nonce, **kept
        )
        return response


def _require_a_safe_issuer() -> None:
    issuer = urlsplit(settings.SSO_ISSUER)
    if not issuer.hostname:
        raise SignInFailed("Single sign-on is not set up here: its issuer is not configured.")
    if issuer.scheme != "https" and issuer.hostname not in _LOOPBACK:
        raise SignInFailed("Single sign-on is configured without TLS; that is for loopback only.")


def _require_tls_everywhere(config: dict[str, Any]) -> None:
    """An issuer with TLS must not send secrets and codes where there is none."""
    if settings.SSO_ISSUER.startswith("https://"):
        plain = [name for name in _ENDPOINTS if not config.get(name, "https://").startswith("https://")]
        if plain:
            raise SignInFailed(f"Single sign-on offers {', '.join(plain)} without TLS.")
