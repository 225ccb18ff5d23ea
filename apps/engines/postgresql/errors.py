"""What psycopg raises, as sentences. By SQLSTATE, never by text: texts are localised (field notes E8)."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import psycopg

from apps.engines.base import EngineError, Refused, TargetBusy, TargetUnavailable

# Serialisation, deadlock, lock timeout, statement timeout, "tuple concurrently updated", and a role that somebody
# else has just made (42710, 23505).
_BUSY = frozenset({"40001", "40P01", "55P03", "57014", "XX000", "42710", "23505"})
_REFUSED = frozenset({"42501", "2BP01", "3D000", "3F000", "42704", "42P01", "42703", "0LP01", "25006"})
# Connection lost, server stopping or starting, out of connections, memory or disk.
_UNAVAILABLE_CLASSES = ("08", "53", "58")
_UNAVAILABLE = frozenset({"57P01", "57P02", "57P03", "57P05"})

_ATTEMPTS = 5

T = TypeVar("T")


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Let nothing but EngineErrors out. `doing` completes "The server … while {doing}"."""
    try:
        yield
    except psycopg.Error as error:
        raise explained(error, doing) from error


def explained(error: psycopg.Error, doing: str) -> EngineError:
    """The error in our words. Only the server's primary message is quoted: the rest may hold parts of a statement."""
    state = error.sqlstate or ""
    said = error.diag.message_primary or ""
    if not state and isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return TargetUnavailable(f"The connection to the server was lost while {doing}; it will be tried again.")
    if state in _UNAVAILABLE or state.startswith(_UNAVAILABLE_CLASSES):
        return TargetUnavailable(f"The server could not go on while {doing}: {said} ({state}).", sqlstate=state)
    if state in _BUSY:
        sentence = f"Something else on the server was in the way while {doing}: {said} ({state}). Try again."
        return TargetBusy(sentence, sqlstate=state)
    if state in _REFUSED:
        return Refused(f"The server refused while {doing}: {said} ({state}).", sqlstate=state)
    return EngineError(f"The server failed while {doing}: {said or type(error).__name__} ({state}).", sqlstate=state)


def retried(act: Callable[[], T], *, until: float = float("inf")) -> T:
    """Run an idempotent act again while the target is busy, a few times, each a little later; the last time before the
    monotonic time `until`.
    """
    for attempt in range(1, _ATTEMPTS):
        try:
            return act()
        except TargetBusy:
            if time.monotonic() >= until:
                raise
            time.sleep(random.uniform(0.01, 0.05) * 2**attempt)  # noqa: S311 - spreads, guards nothing
    return act()
