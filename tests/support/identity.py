"""The demo's identity provider for tests: the real OpenID Connect code on both sides."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from pytest_django.fixtures import Settings

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class IdentityProvider:
    """Where it is, and the one client that it knows."""

    issuer: str
    client_id: str
    client_secret: str

    def use(self, settings: Settings) -> None:
        """Let the portal of this test sign people in here."""
        provider = settings.SOCIALACCOUNT_PROVIDERS["openid_connect"]
        app = provider["APPS"][0] | {"client_id": self.client_id, "secret": self.client_secret}
        app["settings"] = app["settings"] | {"server_url": self.issuer}
        settings.SSO_ISSUER = self.issuer
        settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": provider | {"APPS": [app]}}

    def change(self, username: str, **claims: object) -> None:
        """From now on the provider says this about somebody, and nothing else."""
        requests.put(f"{self.issuer}/users/{username}", json=claims, timeout=10).raise_for_status()


@contextmanager
def started() -> Iterator[IdentityProvider]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    provider = IdentityProvider(f"http://127.0.0.1:{port}", "jitportal", "tests-only")
    environment = {"JITPORTAL_SSO_CLIENT_ID": provider.client_id, "JITPORTAL_SSO_CLIENT_SECRET": provider.client_secret}
    process = subprocess.Popen(
        [sys.executable, "-m", "jitportal.demo.identity", "--port", str(port)], cwd=_ROOT, env=os.environ | environment
    )
    try:
        _wait_for(provider, process)
        yield provider
    finally:
        process.terminate()
        process.wait()


def _wait_for(provider: IdentityProvider, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        try:
            requests.get(f"{provider.issuer}/.well-known/openid-configuration", timeout=5).raise_for_status()
            return
        except requests.ConnectionError:
            time.sleep(0.05)
    raise RuntimeError("The identity provider did not start.")
