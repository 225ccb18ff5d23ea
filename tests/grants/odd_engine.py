"""The real engine, with something happening around a call: a lost connection, a colleague who is faster."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import pytest

from apps.catalog import targets
from apps.engines.base import Closed, LoginSpec, Opened, Target, TargetUnavailable, unheard
from apps.engines.postgresql import PostgresEngine

LOST = TargetUnavailable("The connection to the server was lost; it will be tried again.")


def fails(error: Exception) -> Callable[[], None]:
    """Something that raises `error` when it happens."""

    def happen() -> None:
        raise error

    return happen


def _nothing() -> None:
    pass


@dataclass
class OddEngine(PostgresEngine):
    """Each of these happens once, or each time while `again`. What comes after a call has let the call succeed."""

    before_open: Callable[[], None] = _nothing
    after_open: Callable[[], None] = _nothing
    before_close: Callable[[], None] = _nothing
    after_close: Callable[[], None] = _nothing
    before_extend: Callable[[], None] = _nothing
    after_extend: Callable[[], None] = _nothing
    change: Callable[[Opened], Opened] = lambda opened: opened
    before_password: Callable[[], None] = _nothing
    after_password: Callable[[], None] = _nothing
    again: bool = False

    def set_own_password(self, target: Target, verifier: str) -> None:
        self._happen("before_password")
        super().set_own_password(target, verifier)
        self._happen("after_password")

    def open_login(self, target: Target, spec: LoginSpec) -> Opened:
        self._happen("before_open")
        opened = super().open_login(target, spec)
        self._happen("after_open")
        return self.change(opened)

    def close_logins(
        self, target: Target, logins: Sequence[str], proven: Callable[[Sequence[Closed]], None] = unheard
    ) -> list[Closed]:
        self._happen("before_close")
        closed = super().close_logins(target, logins, proven)
        self._happen("after_close")
        return closed

    def extend_login(self, target: Target, login: str, reference: str, until: datetime) -> datetime:
        self._happen("before_extend")
        until = super().extend_login(target, login, reference, until)
        self._happen("after_extend")
        return until

    def _happen(self, name: str) -> None:
        happen = getattr(self, name)
        if not self.again:
            setattr(self, name, _nothing)
        happen()


def put_in(monkeypatch: pytest.MonkeyPatch, engine: PostgresEngine) -> None:
    monkeypatch.setitem(targets._ENGINES, "postgresql", engine)
