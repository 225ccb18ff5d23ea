"""A real server for stories: it can be stopped and started, its clock jumps with the portal's, workers die on it.

Time is not waited for. When it passes, the portal's clock is moved on, and on the server every VALID UNTIL is moved
back by as much, so that for both the same instant is that much nearer.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

from psycopg import sql

from apps.core import clock
from apps.engines.base import Closed, LoginSpec, Opened, Survey, Target, unheard
from apps.engines.postgresql import PostgresEngine
from tests.support.targets import TargetServer

T = TypeVar("T")


class Killed(BaseException):
    """What a worker feels that is killed: nothing behind it is run, and nobody catches it."""


class Moment(StrEnum):
    BEFORE = "before it asks the server"
    AFTER = "before it hears the answer"


@dataclass
class World(PostgresEngine):
    """The engine as it is, on a server whose clock can jump, for workers that can die."""

    server: TargetServer
    passed: timedelta = timedelta(0)
    dies: Moment | None = None  # at the next call
    _owed: timedelta = timedelta(0)  # passed while the server was down
    _jumps: ExitStack = field(default_factory=ExitStack)

    def open_login(self, target: Target, spec: LoginSpec) -> Opened:
        opened = self._work(lambda: super(World, self).open_login(target, spec))
        evidence = replace(opened.evidence, checked_at=opened.evidence.checked_at + self.passed)
        times = {"opened_at": opened.opened_at + self.passed, "valid_until": opened.valid_until + self.passed}
        return replace(opened, evidence=evidence, **times)

    def close_logins(
        self, target: Target, logins: Sequence[str], proven: Callable[[Sequence[Closed]], None] = unheard
    ) -> list[Closed]:
        def heard(closed: Sequence[Closed]) -> None:
            proven([self._told(one) for one in closed])

        return [self._told(one) for one in self._work(lambda: super(World, self).close_logins(target, logins, heard))]

    def extend_login(self, target: Target, login: str, reference: str, until: datetime) -> datetime:
        now = self._work(lambda: super(World, self).extend_login(target, login, reference, until - self.passed))
        return now + self.passed

    def survey(self, target: Target, known: str = "") -> Survey:
        found = super().survey(target)  # its clock jumps, so nothing is as it was
        logins = tuple(
            replace(one, valid_until=one.valid_until and one.valid_until + self.passed) for one in found.logins or ()
        )
        return replace(found, checked_at=found.checked_at + self.passed, logins=logins)

    def now(self, target: Target) -> datetime:
        return super().now(target) + self.passed

    def pass_time(self, by: timedelta) -> None:
        self._jumps.enter_context(clock.shifted(by))
        self.passed += by
        self._owed += by
        if self.server.cluster.running:
            self._pay()

    def stop(self) -> None:
        self.server.cluster.stop()

    def start(self) -> None:
        self.server.cluster.start()
        self._pay()

    def end(self) -> None:
        self.dies = None
        self._jumps.close()
        self.passed = self._owed = timedelta(0)

    def logins(self) -> dict[str, tuple[bool, datetime | None, int]]:
        """Name -> (may log in, until when by the portal's clock, sessions), as a superuser sees it."""
        with self.server.admin() as admin:
            return {
                name: (can_login, until and until + self.passed, sessions)
                for name, can_login, until, sessions in admin.execute(_LOGINS)
            }

    def strangers(self) -> list[tuple[Any, ...]]:
        """Sessions of roles that are gone."""
        with self.server.admin() as admin:
            return admin.execute(_STRANGERS).fetchall()

    def scopes(self) -> list[str]:
        with self.server.admin() as admin:
            return [name for (name,) in admin.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'jitscope\\_%'")]

    def _told(self, one: Closed) -> Closed:
        return replace(one, locked_at=one.locked_at + self.passed, clean_at=one.clean_at + self.passed)

    def _pay(self) -> None:
        """What passed on the portal passes on the server."""
        by, self._owed = self._owed, timedelta(0)
        with self.server.admin() as admin:
            for login, left in admin.execute(_OPEN_LOGINS).fetchall():
                moved = sql.SQL("ALTER ROLE {} VALID UNTIL {}")
                admin.execute(moved.format(sql.Identifier(login), sql.Literal((left - by).isoformat())))

    def _work(self, call: Callable[[], T]) -> T:
        dies, self.dies = self.dies, None
        if dies is Moment.BEFORE:
            raise Killed
        answer = call()
        if dies is Moment.AFTER:
            raise Killed
        return answer


_OPEN_LOGINS = """
SELECT rolname::text, rolvaliduntil FROM pg_roles
WHERE rolname LIKE 'jit\\_%' AND rolvaliduntil IS NOT NULL AND isfinite(rolvaliduntil)
"""
_LOGINS = """
SELECT r.rolname::text, r.rolcanlogin, CASE WHEN isfinite(r.rolvaliduntil) THEN r.rolvaliduntil END,
       (SELECT count(*) FROM pg_stat_activity a WHERE a.usesysid = r.oid)
FROM pg_roles r WHERE r.rolname LIKE 'jit\\_%'
"""
_STRANGERS = """
SELECT a.pid, a.usesysid FROM pg_stat_activity a
WHERE a.usesysid IS NOT NULL AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = a.usesysid)
"""
