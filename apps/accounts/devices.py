"""Signing in where there is no browser: the `jit` command asks, its person confirms in the portal (RFC 8628).

Codes and their states are allauth's (`allauth.idp.oidc`); what it leads to is an API token of ours, which is listed,
revoked and recorded as any other. No other flow of that provider has an address here.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Final

from allauth.idp.oidc.internal.oauthlib import device_codes
from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.http import HttpRequest
from oauthlib.oauth2.rfc8628.errors import AccessDenied

from apps.accounts.models import ApiToken, TokenScope, User
from apps.accounts.tokens import create_token
from apps.core.errors import NotFound

CLIENT_ID: Final = "jit"
# Without reading the record: an auditor asks for that scope by name.
DEFAULT_SCOPES: Final = [TokenScope.READ, TokenScope.REQUEST, TokenScope.APPROVE, TokenScope.USE]
_CODE_LETTERS: Final = 8
_UNSAID: Final = re.compile(r"[^\w .@()-]")


@dataclass(frozen=True)
class Asking:
    """Who waits behind a code: what the machine calls itself, which nobody has checked, and where it asked from."""

    machine: str
    address: str
    scopes: list[str]


def remember(*, device_code: str, machine: str, address: str, scopes: list[str], seconds: int) -> None:
    """Keep for the page of confirmation who asks."""
    said = Asking(_UNSAID.sub("", machine)[:60].strip(), address, scopes)
    cache.set(_key(device_code), asdict(said), timeout=seconds)


def waiting(user_code: str) -> tuple[str, Asking]:
    """(device code, who asks) behind a code that waits to be confirmed. Raises NotFound."""
    try:
        device_code, client = device_codes.validate_user_code(canonical(user_code))
    except ValidationError as error:
        raise NotFound(
            "This code is not known: it was mistyped, was used already, or is older than "
            f"{settings.IDP_OIDC_DEVICE_CODE_EXPIRES_IN // 60} minutes. Run `jit login` again.",
            field="code",
        ) from error
    said = cache.get(_key(device_code))
    if client.pk != CLIENT_ID or said is None:
        raise NotFound("This code is not known any more. Run `jit login` again.", field="code")
    return device_code, Asking(**said)


def decide(*, actor: User, user_code: str, yes: bool) -> Asking:
    """Let the machine behind the code have a token of `actor`, or not. Raises NotFound."""
    device_code, asking = waiting(user_code)
    with alone(device_code):
        if not device_codes.confirm_or_deny_device_code(actor, device_code, yes):
            raise NotFound("This code was used already, or is too old. Run `jit login` again.", field="code")
    return asking


def poll(request: HttpRequest) -> tuple[User, Asking]:
    """The person who has confirmed, once. Raises OAuth2Error: not yet, too often, denied, unknown."""
    device_code = request.POST.get("device_code", "")
    with alone(device_code):
        said = cache.get(_key(device_code))
        user, _ = device_codes.poll_device_code(request)
        cache.delete(_key(device_code))
    if said is None:  # what was confirmed is not known any more, and must not become more than it was
        raise AccessDenied
    return user, Asking(**said)


def issue(*, user: User, asking: Asking, address: str) -> tuple[ApiToken, str]:
    """The token that a confirmed code stands for."""
    name = f"jit on {asking.machine}" if asking.machine else "jit"
    scopes = asking.scopes or list(DEFAULT_SCOPES)
    return create_token(actor=user, name=name, scopes=scopes, days=settings.CLI_TOKEN_DAYS, address=address)


@contextmanager
def alone(device_code: str) -> Iterator[None]:
    """Reading and writing the state of a code are two steps of allauth's: a poll must not undo a confirmation."""
    number = int.from_bytes(sha256(device_code.encode()).digest()[:8], signed=True)
    failure: Exception | None = None
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [number])
        try:
            yield
        except Exception as error:  # what was written meanwhile stays: when it was last asked
            failure = error
    if failure is not None:
        raise failure


def canonical(user_code: str) -> str:
    """However it was typed: `bcdf ghjk` is BCDF-GHJK."""
    letters = re.sub(r"[\W_]", "", user_code).upper()
    half = _CODE_LETTERS // 2
    return f"{letters[:half]}-{letters[half:]}" if len(letters) == _CODE_LETTERS else letters


def _key(device_code: str) -> str:
    return f"jit.device[{device_code}]"
