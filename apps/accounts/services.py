"""The verbs about people: signing in, emergency, leaving. Groups and tokens have theirs in groups.py and tokens.py."""

import secrets
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import available_timezones

from allauth.usersessions.models import UserSession
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from apps.accounts import memberships
from apps.accounts.actors import OPERATOR, Actor, actor_id, require_dba
from apps.accounts.claims import Vouched, split_name, username_from
from apps.accounts.dual_control import Line, require_second, widening
from apps.accounts.groups import save_group, set_membership, what_it_gives
from apps.accounts.memberships import Change
from apps.accounts.models import User
from apps.accounts.roles import is_welcome
from apps.accounts.tokens import (
    authenticate_token,
    create_token,
    create_token_for,
    revoke_all_tokens,
    revoke_presented,
    revoke_token,
)
from apps.audit import services as audit
from apps.audit.actions import Action
from apps.audit.body import rfc3339
from apps.core import clock
from apps.core.errors import Conflict, Invalid, NotAllowed, NotFound
from apps.core.nudge import nudge

__all__ = [
    "authenticate_token",
    "create_emergency_admin",
    "create_token",
    "create_token_for",
    "deactivate",
    "end_session",
    "provision",
    "reactivate",
    "record_refused_emergency",
    "record_refused_sign_in",
    "revoke_presented",
    "revoke_token",
    "save_group",
    "set_membership",
    "set_time_zone",
    "sign_in_emergency",
    "sign_in_from_sso",
    "step_up_by_password",
    "step_up_from_sso",
]

_MAX_EMERGENCY_HOURS: Final = 72
_TRIES: Final = 5  # each loses only against somebody who has just taken the same name or identity
_NOBODY: Final = "sign-in:unknown"


@transaction.atomic(durable=True)
def sign_in_from_sso(*, vouched: Vouched, address: str) -> User:
    """The person whom single sign-on has just vouched for, with name, address and groups as it says now.

    Raises NotAllowed for somebody who was deactivated here; nothing is changed then.
    """
    user = _meet(vouched)
    if not user.is_active:
        raise NotAllowed(
            "Your account in this portal was deactivated. If you should have access, ask a database administrator."
        )
    change = _refresh(user, vouched)
    user.seen_at = clock.now()
    user.save(update_fields=["seen_at"])
    memberships.tell(user, change, actor=user.audit_id)
    audit.record(
        Action.ACCOUNT_SIGNED_IN, actor=user.audit_id, subject=user.audit_id, disclosed=_shown(user, address=address)
    )
    nudge()
    return user


@transaction.atomic(durable=True)
def step_up_from_sso(*, user: User, vouched: Vouched, at: datetime, address: str) -> User:
    """Record that `user` has proved anew who they are, `at` that time; groups are as single sign-on says now.

    Raises NotAllowed for anybody else, and for whoever was deactivated meanwhile; nothing is changed then.
    """
    locked = memberships.locked(user)
    if not locked.subject or (locked.issuer, locked.subject) != (vouched.issuer, vouched.subject):
        raise NotAllowed("Somebody else signed in at single sign-on than is signed in here. Start again as yourself.")
    if not is_welcome(locked):
        raise NotAllowed("Your account in this portal was deactivated.")
    change = _refresh(locked, vouched)
    locked.seen_at = clock.now()
    locked.save(update_fields=["seen_at"])
    memberships.tell(locked, change, actor=locked.audit_id)
    _record_step_up(locked, at, address)
    return locked


@transaction.atomic(durable=True)
def step_up_by_password(*, user: User, at: datetime, address: str) -> User:
    """The same for the emergency administrator, whose password was right. Raises NotAllowed past their end."""
    locked = memberships.locked(user)
    if locked.emergency_until is None or not is_welcome(locked):
        raise NotAllowed("The time of this emergency administrator has ended. Renew it on the server.")
    _record_step_up(locked, at, address)
    return locked


@transaction.atomic(durable=True)
def record_refused_sign_in(*, issuer: str, subject: str, why: str, address: str) -> None:
    """Somebody whom single sign-on vouched for was not let in. `why` is the sentence that they were shown."""
    known = User.objects.filter(issuer=issuer, subject=subject).first() if subject else None
    name = known.audit_id if known else _NOBODY
    disclosed = {"why": why, "subject": subject, "address": address}
    audit.record(Action.ACCOUNT_SIGN_IN_REFUSED, actor=name, subject=name, disclosed=disclosed)


@transaction.atomic(durable=True)
def provision(
    *, issuer: str, subject: str, username: str, name: str, email: str, groups: list[str], actor: Actor = OPERATOR
) -> User:
    """Make a person known before their first sign-in, which will meet the same row. `groups` are claims.

    Whoever does so vouches for them at this moment, as single sign-on will later.
    """
    if actor != OPERATOR:  # groups come with them, and nobody has agreed to that
        raise NotAllowed("Only the operator, on the server, makes people known before they sign in.")
    first, last = split_name(name)
    vouched = Vouched(
        issuer=issuer,
        subject=subject,
        username=username_from(username),
        first_name=first,
        last_name=last,
        email=email,
        groups=frozenset(groups),
    )
    is_new = not User.objects.filter(issuer=issuer, subject=subject).exists()
    user = _meet(vouched)
    change = _refresh(user, vouched)
    user.seen_at = clock.now()
    user.save(update_fields=["seen_at"])
    memberships.tell(user, change, actor=actor_id(actor))
    if is_new:
        audit.record(Action.ACCOUNT_PROVISIONED, actor=actor_id(actor), subject=user.audit_id, disclosed=_shown(user))
    nudge()
    return user


@transaction.atomic(durable=True)
def create_emergency_admin(*, username: str, reason: str, hours: int = 8) -> tuple[User, str]:
    """Make or renew the administrator for the day single sign-on is down: (person, password). Shown nowhere else."""
    if not reason.strip():
        raise Invalid("Say why an emergency administrator is needed: it stands in the record.", field="reason")
    if not 1 <= hours <= _MAX_EMERGENCY_HOURS:
        raise Invalid(f"An emergency administrator lasts 1 to {_MAX_EMERGENCY_HOURS} hours.", field="hours")
    password = secrets.token_urlsafe(24)
    user = _emergency_row(username)
    user.emergency_until = clock.now() + timedelta(hours=hours)
    user.is_active = user.is_staff = True
    user.set_password(password)
    user.save()
    audit.record(
        Action.ACCOUNT_EMERGENCY_CREATED,
        actor=OPERATOR,
        subject=user.audit_id,
        facts={"until": rfc3339(user.emergency_until)},
        disclosed={"username": username, "reason": reason},
    )
    nudge()
    return user, password


@transaction.atomic(durable=True)
def sign_in_emergency(*, user: User, address: str) -> User:
    """Record that the emergency administrator comes in. Raises NotAllowed when their time has ended meanwhile."""
    locked = memberships.locked(user)
    if locked.emergency_until is None or not is_welcome(locked):
        raise NotAllowed("The time of this emergency administrator has ended. Renew it on the server.")
    audit.record(
        Action.ACCOUNT_EMERGENCY_SIGNED_IN,
        actor=locked.audit_id,
        subject=locked.audit_id,
        facts={"until": rfc3339(locked.emergency_until)},
        disclosed=_shown(locked, address=address),
    )
    nudge()
    return locked


@transaction.atomic(durable=True)
def record_refused_emergency(*, username: str, address: str) -> None:
    """A wrong password for an emergency administrator. A name that is not there leaves no trace: anybody can try."""
    user = User.objects.filter(username=username, emergency_until__isnull=False).first()
    if user is not None:
        audit.record(
            Action.ACCOUNT_SIGN_IN_REFUSED,
            actor=_NOBODY,
            subject=user.audit_id,
            disclosed=_shown(user, why="wrong password, or past its end", address=address),
        )


@transaction.atomic(durable=True)
def deactivate(*, actor: Actor, user: User, reason: str) -> None:
    """Somebody leaves: no sign-in, no session, no token. Whoever looks after grants ends theirs."""
    require_dba(actor, what="deactivate people")
    if isinstance(actor, User) and actor.pk == user.pk:
        raise NotAllowed("Nobody deactivates themselves: ask another database administrator.")
    if not reason.strip():
        raise Invalid("Say why this person is deactivated.", field="reason")
    locked = memberships.locked(user)
    if not locked.is_active:
        raise Conflict("This person is deactivated already.")
    locked.is_active = False
    locked.save(update_fields=["is_active"])
    sessions = list(UserSession.objects.filter(user=locked))
    for session in sessions:
        session.end()
    audit.record(
        Action.ACCOUNT_DEACTIVATED,
        actor=actor_id(actor),
        subject=locked.audit_id,
        facts={"sessions": len(sessions), "tokens": revoke_all_tokens(locked)},
        disclosed=_shown(locked, reason=reason),
    )
    nudge()


@widening("account.reactivate")
def reactivate(*, actor: Actor, user: User, reason: str) -> None:
    """Take a deactivation back, which takes a second person. Tokens stay revoked. Raises Invalid, Conflict, Waits."""
    require_dba(actor, what="reactivate people")
    if not reason.strip():
        raise Invalid("Say why this person is let in again.", field="reason")
    locked = memberships.locked(user)
    if locked.is_active:
        raise Conflict("This person is not deactivated.")
    lines = [Line("account", "closed", "open")]
    for group in locked.groups.order_by("name"):
        lines += [Line("group", "", group.name), *what_it_gives(group)]
    require_second(actor, about=f"Account of {user.name}", subject=user.audit_id, difference=lines)
    locked.is_active = True
    locked.save(update_fields=["is_active"])
    audit.record(
        Action.ACCOUNT_REACTIVATED,
        actor=actor_id(actor),
        subject=locked.audit_id,
        disclosed=_shown(locked, reason=reason),
    )
    nudge()


@transaction.atomic(durable=True)
def end_session(*, actor: User, session_id: int) -> None:
    """End one of one's own page sessions."""
    session = UserSession.objects.filter(user=actor, pk=session_id).first()
    if session is None:
        raise NotFound("This session is not there; it may have ended already.")
    session.end()
    audit.record(Action.SESSION_ENDED, actor=actor.audit_id, subject=actor.audit_id, facts={"session": session_id})


def set_time_zone(*, actor: User, time_zone: str) -> None:
    """How times are shown to this person; the record keeps UTC."""
    if time_zone not in available_timezones():
        raise Invalid("There is no such time zone.", field="time_zone")
    User.objects.filter(pk=actor.pk).update(time_zone=time_zone)


def _meet(vouched: Vouched) -> User:
    """The locked row of this identity, made if it is new. Never found by name or address (field notes S12)."""
    if not vouched.issuer or not vouched.subject:
        raise Invalid("A person of the single sign-on has an issuer and a subject.")
    identity = {"issuer": vouched.issuer, "subject": vouched.subject}
    for _ in range(_TRIES):
        found = User.objects.select_for_update(no_key=True).filter(**identity).first()
        if found is not None:
            return found
        user = User(**identity, username=_free_username(vouched.username), time_zone=vouched.time_zone)
        user.set_unusable_password()
        try:
            with transaction.atomic():
                user.save(force_insert=True)
        except IntegrityError:
            continue
        return user
    raise Conflict("Many people are signing in for the first time just now. Try again.")


def _refresh(user: User, vouched: Vouched) -> Change:
    """Names and groups as single sign-on says. The username stays what it was at first: others know them by it."""
    user.first_name, user.last_name, user.email = vouched.first_name, vouched.last_name, vouched.email
    user.save(update_fields=["first_name", "last_name", "email"])
    return memberships.follow_claims(user, vouched.groups)


def _free_username(wanted: str) -> str:
    """`wanted`, or with a number where another person has it; differing in case is the same name."""
    number, name = 1, wanted
    while User.objects.filter(username__iexact=name).exists():
        number += 1
        ending = f"-{number}"
        name = wanted[: 150 - len(ending)] + ending
    return name


def _emergency_row(username: str) -> User:
    try:
        UnicodeUsernameValidator()(username)
    except ValidationError as error:
        raise Invalid("A username has letters, digits and @ . + - _ only.", field="username") from error
    found = User.objects.select_for_update(no_key=True).filter(username__iexact=username).first()
    if found is not None and found.emergency_until is None:
        raise Conflict(
            f"{found.username} is a person of the single sign-on. Choose another name, such as ‘emergency’.",
            field="username",
        )
    return found or User(username=username, first_name="Emergency", last_name="administrator")


def _record_step_up(user: User, at: datetime, address: str) -> None:
    audit.record(
        Action.ACCOUNT_STEPPED_UP,
        actor=user.audit_id,
        subject=user.audit_id,
        facts={"signed_in_at": rfc3339(at)},
        disclosed=_shown(user, address=address),
    )
    nudge()


def _shown(user: User, **more: str) -> dict[str, str]:
    """Whom an entry is about, as they were called then."""
    return {"username": user.username, **({"name": user.get_full_name()} if user.get_full_name() else {}), **more}
