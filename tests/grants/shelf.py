"""A target that is a dictionary: for what the portal does, whatever a real server would say."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from apps.core import clock
from apps.engines.base import (
    Closed,
    Drift,
    Evidence,
    FoundLogin,
    LoginSpec,
    Opened,
    Refused,
    Shown,
    Survey,
    Target,
    TargetUnavailable,
    unheard,
)
from apps.engines.postgresql import PostgresEngine


class Fault(StrEnum):
    NONE = "none"
    BEFORE = "the call is lost"
    AFTER = "the answer is lost"
    REFUSED = "refused"


@dataclass
class Shelf(PostgresEngine):
    """A target that keeps logins on a shelf: login -> until when it is open."""

    logins: dict[str, datetime] = field(default_factory=dict)
    fault: Fault = Fault.NONE
    closed_at: dict[str, datetime] = field(default_factory=dict)
    specs: dict[str, LoginSpec] = field(default_factory=dict)  # as last asked for
    mark: str = ""
    views: tuple[Shown, ...] = ()
    drifts: Callable[[LoginSpec], Drift] = lambda spec: Drift(spec.login)

    def open_login(self, target: Target, spec: LoginSpec) -> Opened:
        self._may_fail(Fault.BEFORE, Fault.REFUSED)
        now = clock.now()
        self.specs[spec.login] = spec
        if spec.login in self.closed_at:
            raise Refused("A name is never used twice.")
        until = self.logins.setdefault(spec.login, now + timedelta(seconds=spec.seconds))
        self._may_fail(Fault.AFTER)
        opened_at = until - timedelta(seconds=spec.seconds)
        evidence = Evidence(checked_at=clock.now(), reach=(), findings=(), views=self.views)
        return Opened(opened_at=opened_at, valid_until=until, scope_role="jitscope_x", evidence=evidence)

    def now(self, target: Target) -> datetime:
        self._may_fail(Fault.BEFORE, Fault.AFTER)
        return clock.now()

    def close_logins(
        self, target: Target, logins: Sequence[str], proven: Callable[[Sequence[Closed]], None] = unheard
    ) -> list[Closed]:
        self._may_fail(Fault.BEFORE)
        now = clock.now()
        for login in logins:
            if self.logins.pop(login, None):
                self.closed_at[login] = now
        self._may_fail(Fault.AFTER)
        closed = [Closed(login, locked_at=now, sessions_ended=0, clean_at=now, dropped=True) for login in logins]
        proven(closed)
        return closed

    def extend_login(self, target: Target, login: str, reference: str, until: datetime) -> datetime:
        self._may_fail(Fault.BEFORE, Fault.REFUSED)
        if self.logins.get(login, clock.now()) <= clock.now():
            raise Refused("It is not open any more.")
        self.logins[login] = max(self.logins[login], until)
        self._may_fail(Fault.AFTER)
        return self.logins[login]

    def drift(self, target: Target, database: str, specs: Sequence[LoginSpec]) -> list[Drift]:
        self._may_fail(Fault.BEFORE)
        self.specs |= {spec.login: spec for spec in specs}
        found = [self.drifts(spec) for spec in specs if spec.login in self.logins]
        self._may_fail(Fault.AFTER)
        return [drift for drift in found if drift.opened or drift.changed]

    def drop_scopes(self, target: Target, scope_roles: Iterable[tuple[str, str]]) -> list[str]:
        """There are none."""
        self._may_fail(Fault.BEFORE)
        return [role for role, _ in scope_roles]

    def survey(self, target: Target, known: str = "") -> Survey:
        self._may_fail(Fault.BEFORE)
        found = [
            FoundLogin(login=login, role=login, comment="", can_login=True, valid_until=until, sessions=0)
            for login, until in self.logins.items()
        ]
        digest = repr(found)
        return Survey(
            checked_at=clock.now(),
            logins=None if digest == known else tuple(found),
            digest=digest,
            scope_roles=(),
            view_schemas=(),
            mark=self.mark,
        )

    def remember(self, target: Target, mark: str) -> None:
        self._may_fail(Fault.BEFORE)
        self.mark = mark

    def recall(self, target: Target) -> str:
        self._may_fail(Fault.BEFORE)
        return self.mark

    def _may_fail(self, *faults: Fault) -> None:
        if self.fault in faults:
            raise Refused("No.") if self.fault is Fault.REFUSED else TargetUnavailable("Lost.")
