"""Something that dies between any two statements of its work, to the portal's database or to a target alike."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import connection

from apps.engines.postgresql import connect


class Killed(BaseException):
    """As with `kill -9`: nobody handles it, and whatever still runs on the way out gets no statement through."""


class Fuse:
    """Burns before the `at`-th statement (from 1); 0 only counts."""

    def __init__(self, at: int, burn: Callable[[], None] | None = None) -> None:
        self.at, self.count, self.burnt = at, 0, False
        self._burn = burn

    def step(self) -> None:
        if not self.burnt:
            self.count += 1
            if self.count != self.at:
                return
            self.burnt = True
            if self._burn:
                self._burn()
        raise Killed

    def wrapper(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        """For Django's connection.execute_wrapper()."""
        self.step()
        return execute(sql, params, many, context)


@contextmanager
def fuse(at: int, burn: Callable[[], None] | None = None) -> Iterator[Fuse]:
    """Work inside dies with the fuse; the block itself does not."""
    made, before = Fuse(at, burn), connect._parameters

    class Counting(psycopg.Cursor[Any]):
        def execute(self, *args: Any, **kwargs: Any) -> Any:
            made.step()
            return super().execute(*args, **kwargs)

    connect._parameters = lambda *args: before(*args) | {"cursor_factory": Counting}
    try:
        with connection.execute_wrapper(made.wrapper):
            yield made
    except Killed:
        pass
    finally:
        connect._parameters = before
    if made.burnt:
        connection.close()  # a dead process has none


def kill_this_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
