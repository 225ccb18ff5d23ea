"""The demo's identity provider: oidc-provider-mock with fixed people and one client, on loopback.

Beyond the mock: PKCE is demanded, id tokens say when the person signed in (auth_time), the client is registered
beforehand, other host names are refused, and there is no debugger.
"""

# ruff: noqa: E402 - the library warns about its own imports unless it is told first not to

import argparse
import dataclasses
import logging
import os
import time
import warnings
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from authlib.deprecate import AuthlibDeprecationWarning

warnings.simplefilter("ignore", AuthlibDeprecationWarning)

import flask
import jinja2
from authlib.oauth2.rfc6749 import InvalidRequestError
from authlib.oauth2.rfc7636 import CodeChallenge
from oidc_provider_mock import User, _app
from oidc_provider_mock._storage import AuthorizationCode, Client, storage
from werkzeug.serving import make_server

from jitportal.demo.people import PEOPLE

HOST = "127.0.0.1"


@dataclasses.dataclass(kw_only=True, frozen=True)
class _Code(AuthorizationCode):  # type: ignore[misc]  # the mock is untyped
    code_challenge: str
    code_challenge_method: str
    auth_time: int

    def get_auth_time(self) -> int:
        return self.auth_time


class _DemandedChallenge(CodeChallenge):  # type: ignore[misc]
    """authlib demands PKCE of public clients only."""

    SUPPORTED_CODE_CHALLENGE_METHOD = ["S256"]

    def validate_code_challenge(self, grant: object, redirect_uri: str) -> None:
        if not flask.request.values.get("code_challenge") or not flask.request.values.get("code_challenge_method"):
            raise InvalidRequestError("This provider demands PKCE: send code_challenge and code_challenge_method=S256.")
        super().validate_code_challenge(grant, redirect_uri)


class _Grant(_app.AuthorizationCodeGrant):  # type: ignore[misc]
    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        _DemandedChallenge()(self)

    def save_authorization_code(self, code: str, request: object) -> None:
        super().save_authorization_code(code, request)
        given = flask.request.values
        storage.store_authorization_code(
            _Code(
                **dataclasses.asdict(storage.get_authorization_code(code)),
                code_challenge=given["code_challenge"],
                code_challenge_method=given["code_challenge_method"],
                auth_time=int(time.time()),  # the form is shown each time, so whoever comes from it has just signed in
            )
        )


@dataclasses.dataclass(kw_only=True, frozen=True)
class _LoopbackClient(Client):  # type: ignore[misc]
    """Any port and path of this machine: the portal's port is chosen at the command line."""

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return urlsplit(redirect_uri).hostname in {HOST, "localhost", "testserver"}


def make_app(*, client_id: str, client_secret: str) -> flask.Flask:
    """The provider as a WSGI application. The mock's own factory is passed by: it switches a debugger on."""
    _app.AuthorizationCodeGrant = _Grant  # the mock has no other seam for its grant
    app = flask.Flask("oidc_provider_mock")
    app.config["TRUSTED_HOSTS"] = [HOST, "localhost"]
    app.jinja_loader = jinja2.ChoiceLoader(
        [jinja2.FileSystemLoader(Path(__file__).parent / "templates"), jinja2.PackageLoader("oidc_provider_mock")]
    )
    app.jinja_env.globals["people"] = PEOPLE
    app.register_blueprint(
        _app.blueprint,
        config=_app.Config(
            require_client_registration=True,
            issue_refresh_token=False,
            access_token_max_age=timedelta(minutes=10),
            user_claims=[User(sub=person.username, claims=person.claims) for person in PEOPLE],
        ),
    )
    _register(app, client_id, client_secret)
    return app


def _register(app: flask.Flask, client_id: str, client_secret: str) -> None:
    with app.test_request_context("/", base_url=f"http://{HOST}/"):
        app.preprocess_request()
        storage.store_client(
            _LoopbackClient(
                id=client_id,
                secret=client_secret,
                redirect_uris=(),
                allowed_scopes=Client.SCOPES_SUPPORTED,
                token_endpoint_auth_method=_app.ClientAllowAny(),
            )
        )


def main() -> None:
    """`python -m jitportal.demo.identity --port N`, with the client's id and secret in the environment."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # authlib's name for: plain HTTP; this is loopback
    logging.basicConfig(level=logging.WARNING)
    app = make_app(
        client_id=os.environ["JITPORTAL_SSO_CLIENT_ID"], client_secret=os.environ["JITPORTAL_SSO_CLIENT_SECRET"]
    )
    make_server(HOST, port, app, threaded=True).serve_forever()


if __name__ == "__main__":
    main()
