"""The face of grants: what people do with them, and by name what clock and workers do.

Opening is in opening.py, making in issuing.py, taking away in ending.py; what must end early is found by the clock in
withdrawal.py and by workers in drift.py.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import wraps
from typing import TYPE_CHECKING, Final, ParamSpec, TypedDict, TypeVar, cast
from urllib.parse import quote, urlencode

from django.db.models import DateTimeField, ExpressionWrapper, F, QuerySet, Value
from django.db.models.functions import Greatest, Least

from apps.accounts.models import User
from apps.audit import services as audit
from apps.audit.actions import Action
from apps.audit.body import rfc3339
from apps.catalog.models import Server
from apps.core import clock
from apps.core.errors import Conflict, NotAllowed, NotFound
from apps.core.nudge import nudge
from apps.core.texts import checked
from apps.core.verbs import verb
from apps.grants import entitlement, resetting
from apps.grants.connecting import Way, ways
from apps.grants.continuity import confirm_restored
from apps.grants.credential import Credential
from apps.grants.drift import check_drift
from apps.grants.ending import begin, end_due
from apps.grants.extending import close_pointless, extend_queued
from apps.grants.health import Health, health
from apps.grants.issuing import issue, issue_queued, password_of
from apps.grants.lateness import tell_late
from apps.grants.models import Grant
from apps.grants.opening import open_approved
from apps.grants.reconcile import reconcile
from apps.grants.record import CLOCK, record
from apps.grants.resetting import reset_wanted
from apps.grants.retiring import retire, retire_server
from apps.grants.revoking import Affected, Revoked, affected, may_revoke_all, revoke_all
from apps.grants.scopes import drop_unused_scopes
from apps.grants.sessions import look_at_sessions
from apps.grants.states import LIVE, EndCause, GrantStatus
from apps.policies.models import Connection
from apps.requests import services as requests
from apps.requests.errors import Refused
from apps.requests.models import AccessRequest
from apps.requests.scope import EffectiveScope

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations

__all__ = [
    "Affected",
    "Credential",
    "Health",
    "Revoked",
    "Way",
    "affected",
    "check_drift",
    "close_pointless",
    "confirm_restored",
    "credential",
    "drop_unused_scopes",
    "end_due",
    "extend",
    "extend_queued",
    "health",
    "issue",
    "issue_queued",
    "look_at_sessions",
    "may_revoke_all",
    "open_approved",
    "reconcile",
    "release",
    "reset_password",
    "reset_wanted",
    "retire",
    "retire_server",
    "revoke",
    "revoke_all",
    "tell_late",
    "to_warn",
    "warn_expiring",
    "ways",
]

P = ParamSpec("P")
R = TypeVar("R")

MAX_REASON: Final = 2_000
_WARNED_AT_ONCE: Final = 50  # each nudges, so that the clock looks again at once, at what ends first
_SSL_MODES: Final = {Server.TlsMode.VERIFY_FULL: "verify-full", Server.TlsMode.LOOPBACK_PLAINTEXT: "disable"}


class _WarnAt(TypedDict):
    warn_at: datetime


def _refusals_recorded(function: Callable[P, R]) -> Callable[P, R]:
    """Somebody tried who may not: that is recorded after the verb's own transaction is gone."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except (NotAllowed, NotFound, Refused) as refusal:
            actor, grant_id = cast("User", kwargs["actor"]), cast("str", kwargs["grant_id"])
            audit.record_attempt(
                Action.GRANT_REFUSED,
                refusal,
                actor=actor.audit_id,
                person=actor.name,
                about=("grant", Grant, grant_id),
                facts={"tried": function.__name__},
            )
            raise

    return run


@_refusals_recorded
@verb
def release(*, actor: User, grant_id: str, reason: str = "") -> Grant:
    """Give one's own access back. Raises NotFound, NotAllowed, Conflict, Invalid."""
    reason = checked(reason, what="The reason", field="reason", at_most=MAX_REASON)
    grant = _locked(actor, grant_id)
    if grant.holder_id != actor.pk:
        raise NotAllowed("Only its holder can give access back; whoever answers for the database can revoke it.")
    _end(grant, EndCause.RELEASED, by=actor, reason=reason)
    record(Action.GRANT_RELEASED, grant, actor=actor.audit_id, disclosed=_texts(actor, reason))
    nudge()
    return grant


@_refusals_recorded
@verb
def revoke(*, actor: User, grant_id: str, reason: str) -> Grant:
    """Take access away: owners of its database, DBAs and security. Raises NotFound, NotAllowed, Conflict, Invalid."""
    reason = checked(reason, what="The reason", field="reason", at_most=MAX_REASON, required=True)
    grant = _locked(actor, grant_id)
    if not may_revoke(actor, grant):
        raise NotAllowed("Access is revoked by an owner of its database, a database administrator or security.")
    _end(grant, EndCause.REVOKED, by=actor, reason=reason)
    record(Action.GRANT_REVOKED, grant, actor=actor.audit_id, disclosed=_texts(actor, reason))
    nudge()
    return grant


@_refusals_recorded
@verb
def extend(
    *, actor: User, grant_id: str, minutes: int, reason: str, idempotency_key: str | None = None
) -> AccessRequest:
    """Ask for more time for one's own live access: a request of its own, which the policy or people decide.

    The same key with the same body returns the first request. Raises NotFound, NotAllowed, Refused, Conflict, Invalid.
    """
    sent = requests.Sent.of(idempotency_key, ["extend", grant_id, minutes, reason])
    actor, first = requests.in_turn(actor, sent)
    if first is not None:
        return first
    grant = _locked(actor, grant_id)
    if grant.holder_id != actor.pk:
        raise NotAllowed("Only its holder can ask for more time; ask for access of your own instead.")
    scope, ends_at = EffectiveScope.from_json(grant.scope), _end_to_move(grant)
    if why := entitlement.of_scope(grant.database, scope):
        raise Refused(why)
    longer = requests.Longer(
        earlier=grant.request, scope=scope, granted=grant.minutes, ends_at=ends_at, minutes=minutes, reason=reason
    )
    return requests.submit_extension(actor=actor, longer=longer, sent=sent)


def _end_to_move(grant: Grant) -> datetime:
    """When the access ends as things are. Raises unless that can be later."""
    if grant.break_glass:
        raise Refused("Access by breaking the glass is never extended: ask for access in the normal way.")
    if grant.status == GrantStatus.QUEUED:
        raise Conflict("This access is still being made; its time has not even begun.")
    if grant.status != GrantStatus.ACTIVE or grant.expires_at is None or grant.expires_at <= clock.now():
        raise Conflict("This access is over, and what has ended is not extended: ask for access again.")
    return grant.expires_at


def may_revoke(user: User, grant: Grant) -> bool:
    """Whether `user` answers for what the grant reaches."""
    return Grant.objects.filter(pk=grant.pk).answered_for_by(user).exists()


@_refusals_recorded
@verb
def credential(*, actor: User, grant_id: str, address: str = "") -> Credential:
    """The login of one's own live grant, the same each time; each showing is recorded.

    `address` is where it is shown to. Raises NotFound, NotAllowed, Conflict.
    """
    grant = _locked(actor, grant_id)
    if grant.holder_id != actor.pk:
        raise NotAllowed("A credential is personal: only the holder of the grant can see it.")
    if grant.connection != Connection.DIRECT:
        raise NotAllowed("This grant is for the portal's console, so there is no credential. Ask for `direct` access.")
    if grant.status == GrantStatus.QUEUED:
        raise Conflict("This access is still being made; look again in a moment." + _because(grant))
    if grant.status != GrantStatus.ACTIVE or grant.expires_at is None or grant.expires_at <= clock.now():
        raise Conflict("This access is over, and its credential is gone with it.")
    shown = _credential(grant, grant.expires_at)
    texts = {"person": actor.name} | ({"address": address} if address else {})
    record(
        Action.CREDENTIAL_SHOWN,
        grant,
        actor=actor.audit_id,
        disclosed=texts,
        expires_at=rfc3339(grant.expires_at),
    )
    return shown


@_refusals_recorded
@verb
def reset_password(*, actor: User, grant_id: str, address: str = "") -> Grant:
    """Have the password set again that the portal shows, after its holder has changed it on the server (R12).

    A worker does it in a moment. Raises NotFound, NotAllowed, Conflict.
    """
    grant = _locked(actor, grant_id)
    if grant.holder_id != actor.pk:
        raise NotAllowed("Only its holder can have the password of a login set again.")
    if grant.status != GrantStatus.ACTIVE or grant.expires_at is None or grant.expires_at <= clock.now():
        raise Conflict("This access is not live, so its password is not set again.")
    resetting.want(grant, actor, address)
    return grant


def warn_expiring() -> int:
    """Let the holders of grants that end soon know, once each, some at a time; returns how many were told."""
    due = to_warn().filter(warn_at__lte=clock.now()).order_by("warn_at", "pk")
    return sum(_warn(grant_id) for grant_id in list(due.values_list("pk", flat=True)[:_WARNED_AT_ONCE]))


def to_warn() -> "QuerySet[WithAnnotations[Grant, _WarnAt]]":
    """Live grants nobody has been warned of, with `warn_at`.

    A tenth of their time before the end, but 2 to 5 minutes; never before half of the time is over.
    """
    minute = timedelta(minutes=1)
    tenth = Greatest(Least(F("minutes") / 10.0, Value(5.0)), Value(2.0))
    lead = ExpressionWrapper(Least(tenth, F("minutes") / 2.0) * Value(minute), output_field=DateTimeField())
    live = Grant.objects.filter(status=GrantStatus.ACTIVE, warned_at=None)
    warn_at = ExpressionWrapper(F("expires_at") - lead, output_field=DateTimeField())
    return live.annotate(warn_at=warn_at)  # type: ignore[return-value]  # our queryset class takes no parameters


@verb
def _warn(grant_id: str) -> bool:
    grants = Grant.objects.select_for_update(no_key=True, skip_locked=True)
    grant = grants.filter(pk=grant_id, status=GrantStatus.ACTIVE, warned_at=None).first()
    if grant is None or grant.expires_at is None:
        return False
    grant.warned_at = clock.now()
    grant.save(update_fields=["warned_at"])
    record(Action.GRANT_EXPIRING, grant, actor=CLOCK, expires_at=rfc3339(grant.expires_at))
    nudge()
    return True


def _locked(actor: User, grant_id: str) -> Grant:
    """The grant, its row locked until the transaction ends; what `actor` may not see is not there."""
    if "\0" not in grant_id and Grant.objects.visible_to(actor).filter(pk=grant_id).exists():
        grants = Grant.objects.select_for_update(no_key=True, of=("self",)).select_related("database", "server")
        return grants.get(pk=grant_id)
    raise NotFound("There is no such grant, or it is not yours to see.")


def _end(grant: Grant, cause: EndCause, *, by: User, reason: str) -> None:
    if grant.status == GrantStatus.ENDING:
        raise Conflict("This access is being taken away already.")
    if grant.status not in LIVE:
        raise Conflict("This access is over already.")
    begin(grant, cause=cause, since=clock.now(), reason=reason, by=by)


def _texts(actor: User, reason: str) -> dict[str, str]:
    return {"person": actor.name} | ({"reason": reason} if reason else {})


def _because(grant: Grant) -> str:
    return f" The last try said: {grant.problem}" if grant.problem else ""


def _credential(grant: Grant, expires_at: datetime) -> Credential:
    server, datname = grant.server, grant.database.datname
    password = password_of(grant)
    host = f"[{server.host}]" if ":" in server.host else server.host
    login, secret, name = (quote(part, safe="") for part in (grant.login, password, datname))
    sslmode = _SSL_MODES[Server.TlsMode(server.tls)]
    options = urlencode({"sslmode": sslmode})
    return Credential(
        host=server.host,
        port=server.port,
        database=datname,
        username=grant.login,
        password=password,
        valid_until=expires_at,
        url=f"postgresql://{login}:{secret}@{host}:{server.port}/{name}?{options}",
        sslmode=sslmode,
    )
