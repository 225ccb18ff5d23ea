"""API tokens: `jit_` and 43 characters. Shown once; only the SHA-256 is kept, which is enough for 256 random bits."""

import re
import secrets
from contextlib import suppress
from datetime import timedelta
from hashlib import sha256
from typing import Final

from django.db import transaction
from django.db.models import Q

from apps.accounts.actors import OPERATOR
from apps.accounts.models import ApiToken, TokenScope, User
from apps.accounts.roles import is_dba, is_seen, is_welcome
from apps.audit import services as audit
from apps.audit.actions import Action
from apps.audit.body import rfc3339
from apps.core import clock
from apps.core.errors import Conflict, Invalid, NotAllowed, NotFound, NotSeen
from apps.core.joined import Joined

MAX_DAYS: Final = 365
# Asked at each call.
_LIVE: Final = Joined(
    ApiToken,
    [field.name for field in ApiToken._meta.concrete_fields],
    beside={"user": [field.name for field in User._meta.concrete_fields]},
    more={"asked_at": "clock_timestamp()"},
    where="own.digest = %s AND own.revoked_at IS NULL",
)
_FORM: Final = re.compile(r"jit_[A-Za-z0-9_-]{43}")
_USE_IS_NOTED_EVERY: Final = timedelta(minutes=1)


@transaction.atomic(durable=True)
def create_token(*, actor: User, name: str, scopes: list[str], days: int, address: str = "") -> tuple[ApiToken, str]:
    """A token of one's own: (row, plaintext). The plaintext is not kept. `address`: of a machine it is handed to."""
    return _create(actor, recorded_by=actor.audit_id, name=name, scopes=scopes, days=days, address=address)


@transaction.atomic(durable=True)
def create_token_for(*, username: str, days: int) -> tuple[ApiToken, str]:
    """A token with all scopes for somebody else, by whoever has a shell on the server and so vouches for them."""
    user = User.objects.filter(username=username).first()
    if user is None:
        raise NotFound(f"There is nobody called ‘{username}’ here. People are known after their first sign-in.")
    User.objects.filter(pk=user.pk).update(seen_at=clock.now())
    return _create(user, recorded_by=OPERATOR, name="made on the server", scopes=list(TokenScope), days=days)


@transaction.atomic(durable=True)
def revoke_token(*, actor: User, token_id: str) -> None:
    """One's own, or anybody's for a database administrator."""
    token = ApiToken.objects.select_for_update(no_key=True).select_related(None).filter(pk=token_id).first()
    if token is None or not (token.user_id == actor.pk or is_dba(actor)):
        raise NotFound("This token is not there.")
    if token.revoked_at is not None:
        raise Conflict("This token was revoked already.")
    token.revoked_at = clock.now()
    token.save(update_fields=["revoked_at"])
    audit.record(
        Action.TOKEN_REVOKED,
        actor=actor.audit_id,
        subject=f"token:{token.pk}",
        facts={"owner": f"user:{token.user_id}"},
        disclosed={"name": token.name},
    )


def authenticate_token(plaintext: str) -> ApiToken | None:
    """The token behind a bearer's word, or None: unknown, expired, revoked, or of somebody who is not welcome.

    It is found by its digest, so the time this takes tells nothing about the tokens that there are.
    Raises NotSeen while single sign-on has not vouched for its person lately; afterwards it works again.
    """
    if not _FORM.fullmatch(plaintext):
        return None
    token = _LIVE.first([_digest(plaintext)])
    if token is None:
        return None
    now = clock.told(token.asked_at)  # type: ignore[attr-defined]  # with the same question, as this is done at each call
    if token.expires_at <= now or not is_welcome(token.user):
        return None
    if not is_seen(token.user, at=now):
        raise NotSeen(
            f"Single sign-on has not vouched for {token.user.username} lately, so this token does not work at present. "
            "Sign in once in the portal."
        )
    stale = Q(last_used_at=None) | Q(last_used_at__lt=now - _USE_IS_NOTED_EVERY)
    if token.last_used_at is None or token.last_used_at < now - _USE_IS_NOTED_EVERY:
        ApiToken.objects.filter(stale, pk=token.pk).update(last_used_at=now)
    return token


def revoke_all_tokens(user: User) -> int:
    """Inside the verb of somebody's leaving: how many there were."""
    return ApiToken.objects.filter(user=user, revoked_at=None).update(revoked_at=clock.now())


def revoke_presented(plaintext: str) -> None:
    """Whoever holds a token may end it (RFC 7009). One that is unknown, or ended already, is no error."""
    if not _FORM.fullmatch(plaintext):
        return
    token = ApiToken.objects.select_related("user").filter(digest=_digest(plaintext), revoked_at=None).first()
    if token is not None:
        with suppress(Conflict):  # two at once
            revoke_token(actor=token.user, token_id=token.pk)


def _create(
    user: User, *, recorded_by: str, name: str, scopes: list[str], days: int, address: str = ""
) -> tuple[ApiToken, str]:
    name = name.strip()
    if not 1 <= len(name) <= 100:
        raise Invalid("Give the token a name of 1 to 100 characters: what will use it?", field="name")
    if not scopes or not set(scopes) <= set(TokenScope):
        raise Invalid(f"Choose what the token may do: {', '.join(TokenScope)}.", field="scopes")
    if not 1 <= days <= MAX_DAYS:
        raise Invalid(f"A token lasts 1 to {MAX_DAYS} days.", field="days")
    if not is_welcome(User.objects.select_for_update(no_key=True).get(pk=user.pk)):
        raise NotAllowed(f"{user.username} was deactivated and can have no token.")
    plaintext = "jit_" + secrets.token_urlsafe(32)
    now = clock.now()
    token = ApiToken.objects.create(
        user=user,
        name=name,
        scopes=[scope for scope in TokenScope if scope in scopes],
        digest=_digest(plaintext),
        created_at=now,
        expires_at=now + timedelta(days=days),
    )
    audit.record(
        Action.TOKEN_CREATED,
        actor=recorded_by,
        subject=f"token:{token.pk}",
        facts={"owner": user.audit_id, "scopes": list(token.scopes), "until": rfc3339(token.expires_at)},
        disclosed={"name": name, **({"address": address} if address else {})},
    )
    return token, plaintext


def _digest(plaintext: str) -> bytes:
    return sha256(plaintext.encode()).digest()
