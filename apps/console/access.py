"""Whether something may run under a grant, asked anew each time, and the session as its login."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Final

from django.db import connection

from apps.accounts.models import User
from apps.accounts.roles import is_welcome
from apps.catalog.targets import target_as
from apps.console import kept
from apps.console.errors import Unavailable
from apps.console.events import Why
from apps.console.models import Kind, Statement
from apps.core import clock
from apps.core.errors import Conflict, NotAllowed, NotFound
from apps.core.ids import new_id
from apps.core.joined import Joined
from apps.core.sealed import CannotOpen
from apps.engines.base import EngineError, Level, Target, TargetUnavailable
from apps.engines.postgresql.connect import SignInFailed
from apps.engines.postgresql.running import Session, connect_as
from apps.grants.issuing import password_of
from apps.grants.models import Grant
from apps.grants.states import GrantStatus
from apps.requests.scope import EffectiveScope

CUT_AFTER: Final = 5.0  # seconds after a wish to cancel, or the time of a statement, that the target did not follow
_CROWDED: Final = "too many connections"  # libpq gives no code for a refused sign-in; in other languages it is not told
_OVER: Final = "Your access has ended: nothing more runs. Ask for access again if you still need it."


# What a statement needs of its grant; the rest is read when it is asked for, as rows are wide and statements many.
_READ: Final = (
    *("request", "holder", "database", "server", "login", "scope", "scope_digest", "scope_role", "password"),
    *("status", "starts_at", "expires_at"),
)
_BESIDE: Final = {
    "database": ("slug", "datname", "environment", "console_rows", "console_seconds", "keeps_literals"),
    "server": ("host", "port", "tls", "maintenance_database", "ca_certificate", "idle_seconds"),
    "holder": ("is_active", "emergency_until"),
}
# Along with it what every statement asks, so that it is one question.
_MORE: Final = {
    "asked_at": "clock_timestamp()",
    "only_looks": "EXISTS (SELECT FROM grants_continuity WHERE confirmed_at IS NULL)",
}
_WHERE: Final = "own.id = %s AND own.holder_id = %s"
_OWN: Final = Joined(Grant, _READ, beside=_BESIDE, more=_MORE, where=_WHERE)
_OWN_LOCKED: Final = Joined(Grant, _READ, beside=_BESIDE, more=_MORE, where=f"{_WHERE} FOR NO KEY UPDATE OF own")
# What may have changed since usable() has just looked, read under lock: as plain as it can be, for each statement.
_AGAIN: Final = """
SELECT g.status, g.starts_at, g.expires_at, holder.is_active, holder.emergency_until,
       EXISTS (SELECT FROM grants_continuity WHERE confirmed_at IS NULL)
FROM grants_grant g JOIN accounts_user holder ON holder.id = g.holder_id
WHERE g.id = %(grant)s AND g.holder_id = %(holder)s FOR NO KEY UPDATE OF g;
-- After the wait for the lock, if there was one.
SELECT now.moment,
       count(s.id) FILTER (WHERE s.started_at > now.moment - interval '1 minute'),
       count(s.id) FILTER (WHERE s.status = 'running' AND s.deadline_at > now.moment)
FROM (SELECT clock_timestamp() + make_interval(secs => %(ahead)s) AS moment) now
LEFT JOIN console_statement s ON s.person_id = %(holder)s
  AND (s.started_at > now.moment - interval '1 minute' OR (s.status = 'running' AND s.deadline_at > now.moment))
GROUP BY 1
"""


class Stopped(Exception):
    """What the watch raises: the statement must end, whatever the target does."""

    def __init__(self, why: Why, sentence: str) -> None:
        super().__init__(sentence)
        self.why, self.sentence = why, sentence


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Who wants to run something under which grant, from where. `once`: a token of the click, or None."""

    actor: User
    grant_id: str
    address: str = ""
    once: str | None = None


@dataclass(frozen=True)
class Usable:
    """A live grant of the actor's, under which something of this kind may run now."""

    grant: Grant
    scope: EffectiveScope
    now: datetime
    expires_at: datetime
    # Statements of this person, under whatever grant, within a minute and just now; counted by still_usable() alone.
    lately: int = 0
    running: int = 0

    @property
    def seconds(self) -> float:
        """For how long a statement may run: the policy's time, and never beyond the end."""
        return min(float(self.grant.database.console_seconds), (self.expires_at - self.now).total_seconds())

    @property
    def deadline(self) -> datetime:
        return self.now + timedelta(seconds=self.seconds)


def own(actor: User, grant_id: str, *, lock: bool = False) -> Grant:
    """One's own grant, in whatever state. Raises NotFound for what `actor` may not see, NotAllowed for others'."""
    wanted = _OWN_LOCKED if lock else _OWN
    grant = None if "\0" in grant_id else wanted.first([grant_id, actor.pk])
    if grant is not None:
        return grant
    if "\0" not in grant_id and Grant.objects.visible_to(actor).filter(pk=grant_id).exists():
        raise NotAllowed("Only its holder runs statements under a grant; ask for access of your own instead.")
    raise NotFound("There is no such grant, or it is not yours to see.")


def usable(actor: User, grant_id: str, kind: Kind, *, lock: bool = False) -> Usable:
    """Raises NotFound, NotAllowed, Conflict. With `lock` inside a verb: fresh rows, held until it commits."""
    grant = own(actor, grant_id, lock=lock)
    # The time after the wait for a lock, if there was one.
    return _judged(grant, kind, clock.now() if lock else clock.told(grant.asked_at))  # type: ignore[attr-defined]


def still_usable(before: Usable, kind: Kind) -> Usable:
    """As usable() with `lock`, of a grant that usable() has just told of: its row is read anew, not what is around it.
    Raises NotAllowed, Conflict.
    """
    grant = before.grant
    with connection.cursor() as cursor:
        cursor.execute(_AGAIN, {"grant": grant.pk, "holder": grant.holder_id, "ahead": clock.ahead().total_seconds()})
        row = cursor.fetchone()
        cursor.nextset()
        now, lately, running = cursor.fetchone()
    if row is None:
        raise Conflict(_OVER)
    grant.status, grant.starts_at, grant.expires_at = row[:3]
    grant.holder.is_active, grant.holder.emergency_until = row[3:5]
    grant.only_looks = row[5]  # type: ignore[attr-defined]
    return replace(_judged(grant, kind, now.astimezone(UTC)), lately=lately, running=running)


def _judged(grant: Grant, kind: Kind, now: datetime) -> Usable:
    if not is_welcome(grant.holder):
        raise NotAllowed("Your account is closed, so nothing runs for it.")
    if why := why_over(grant, now):
        raise Conflict(why)
    scope = EffectiveScope.from_json(grant.scope)
    _check_kind(scope, kind)
    if grant.only_looks:  # type: ignore[attr-defined]
        raise Conflict(
            "This portal's database may have been restored: nothing runs until an operator has confirmed it."
        )
    assert grant.expires_at is not None  # noqa: S101 - a live one has an end, by a constraint
    return Usable(grant, scope, now, grant.expires_at)


def why_over(grant: Grant, now: datetime) -> str:
    """Why nothing runs under it, as a sentence; empty while it is live."""
    if grant.status == GrantStatus.QUEUED:
        return "This access is still being made; look again in a moment."
    if grant.status != GrantStatus.ACTIVE or grant.expires_at is None or grant.expires_at <= now:
        return _OVER
    if grant.starts_at is not None and grant.starts_at > now:
        return "This access has not begun yet."
    return ""


def _check_kind(scope: EffectiveScope, kind: Kind) -> None:
    if bool(scope.statement) != (kind in {Kind.ONE_OFF, Kind.EXPLAIN}):
        raise NotAllowed(
            "This access is for one approved statement, and nothing else runs under it."
            if scope.statement
            else "No statement was approved with this access: run what you need in the console."
        )
    if kind == Kind.EXPORT and scope.level is not Level.EXPORT:
        raise NotAllowed(f"This access is at level {scope.level}: only level export takes rows along as a file.")
    if kind == Kind.CHANGE and scope.level is not Level.CHANGE:
        raise NotAllowed(f"This access is at level {scope.level}: only level change can change something.")


@dataclass
class Watch:
    """Looks once a second, while something runs, whether it still may: at the grant, at a wish to cancel, at the time.

    The target does all this itself. This is for one that does not.
    """

    grant_id: str
    statement_id: str = ""
    until: float = field(default_factory=lambda: monotonic() + 60.0)  # monotonic

    def __call__(self) -> None:
        now = clock.now()
        grant = Grant.objects.only("status", "expires_at", "starts_at").get(pk=self.grant_id)
        if why := why_over(grant, now):
            raise Stopped(Why.ENDED, why)
        wanted = Statement.objects.filter(pk=self.statement_id).values_list("cancel_wanted_at", flat=True).first()
        if wanted is not None and (now - wanted).total_seconds() > CUT_AFTER:
            raise Stopped(Why.CANCELLED, "You cancelled it. The server did not answer to that, so it was cut off.")
        if monotonic() > self.until + CUT_AFTER:
            raise Stopped(Why.TIME, "It took too long, on the server or on its way to you, so it was cut off.")

    def follow(self, statement: Statement, seconds: float) -> None:
        self.statement_id, self.until = statement.pk, monotonic() + seconds


def check_login(*, actor: User, grant_id: str) -> None:
    """Whether the login of one's own live grant is let in with the password that the portal shows.

    Raises Unavailable where it is not: `offers_reset` says that grants.reset_password() may help. Raises as own(),
    and Conflict where the access is not live.
    """
    grant = own(actor, grant_id)
    if why := why_over(grant, clock.now()):
        raise Conflict(why)
    with session(grant):
        return


def target_of(grant: Grant) -> Target:
    """Raises Unavailable."""
    try:
        return target_as(grant.server, grant.login, password_of(grant))
    except CannotOpen as error:
        raise Unavailable("The password of this login does not open with the key at hand.") from error


@contextmanager
def session(grant: Grant) -> Iterator[tuple[Session, Watch]]:
    """As the grant's own login. Raises Unavailable; Conflict where the access has ended meanwhile."""
    watch = Watch(grant.pk)
    held = _connected(grant, _key(grant), watch)
    try:
        yield held, watch
    finally:
        held.close()


@contextmanager
def kept_session(grant: Grant) -> Iterator[tuple[Session, Watch]]:
    """As session(), for what only reads: perhaps one that waits since the last run, and then it waits for the next."""
    watch, key = Watch(grant.pk), _key(grant)
    held = kept.take(key)
    if held is None:
        held = _connected(grant, key, watch)
    else:
        held.take_up(new_name(), watch)
    try:
        yield held, watch
    except BaseException:
        held.close()
        raise
    kept.keep(key, held)


def _key(grant: Grant) -> kept.Key:
    return target_of(grant), grant.database.datname


def new_name() -> str:
    """By which a running statement is found by whoever cancels it; each has its own."""
    return f"jitportal-console-{new_id()}"


def _connected(grant: Grant, where: kept.Key, watch: Watch) -> Session:
    try:
        return connect_as(*where, new_name(), watch)
    except SignInFailed as error:
        grant.refresh_from_db(fields=["status", "expires_at"])
        if why := why_over(grant, clock.now()):
            raise Conflict(why) from error
        if not error.answered:
            raise Unavailable(error.sentence) from error
        if _CROWDED in error.sentence:
            sentence = "All sessions that your login may have are open: close one, or wait for some seconds."
            raise Unavailable(sentence) from error
        sentence = (
            "The server did not let your login in although it is valid. If you have changed its password, let the "
            "portal set it again; otherwise close other sessions of it and try once more."
        )
        raise Unavailable(sentence, offers_reset=True) from error
    except TargetUnavailable as error:
        raise Unavailable(error.sentence) from error
    except EngineError as error:
        raise Unavailable(error.sentence) from error
