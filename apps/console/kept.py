"""Sessions that wait in this process for the next statement of the same access: to sign in takes longer than most
statements do.

Only what has read is kept, rolled back and with everything it had set taken back; for seconds, and not taken up when
its sign-in is a minute old, so that the target is asked again whether it lets the login in. Whether anything may run
is asked of the portal before one is taken up, as ever, and at the end the target cuts it like any other session.
"""

import threading
from dataclasses import dataclass
from time import monotonic
from typing import Final

from apps.engines.base import EngineError, Target
from apps.engines.postgresql.running import SESSION_IDLE_SECONDS, Session
from apps.engines.running import patience

AT_MOST: Final = 8  # by one process
IDLE_SECONDS: Final = SESSION_IDLE_SECONDS / 2  # then it is closed here; the server does it where nobody is left to
AGE_SECONDS: Final = 60.0  # since its sign-in
_PATIENCE: Final = 1.0  # seconds

# Where, as whom and by which password; the name of the database.
Key = tuple[Target, str]


@dataclass(frozen=True)
class _Waiting:
    session: Session
    timer: threading.Timer

    def close(self) -> None:
        self.timer.cancel()
        self.session.close()


_lock = threading.Lock()
_waiting: dict[Key, _Waiting] = {}


def take(key: Key) -> Session | None:
    """One that the server still holds, for the caller alone; None where there is none."""
    with _lock:
        found = _waiting.pop(key, None)
    if found is None:
        return None
    if monotonic() - found.session.signed_in_at < AGE_SECONDS and found.session.is_quiet():
        found.timer.cancel()
        return found.session
    found.close()
    return None


def keep(key: Key, session: Session) -> None:
    """Or close it, where nothing of what ran may be left behind and something might be."""
    if not session.may_stay or not _has_started_over(session):
        session.close()
        return
    timer = threading.Timer(IDLE_SECONDS, _expire, [key, session])
    timer.daemon = True
    for one in _put(key, _Waiting(session, timer)):
        one.close()
    timer.start()


def close_all() -> None:
    with _lock:
        found = list(_waiting.values())
        _waiting.clear()
    for one in found:
        one.close()


def _has_started_over(session: Session) -> bool:
    session.take_up(session.name, patience(_PATIENCE))
    try:
        session.start_over()
    except EngineError:
        return False
    return True


def _put(key: Key, one: _Waiting) -> list[_Waiting]:
    """Returns those that have to go: the same access's other one, and the oldest where there are too many."""
    with _lock:
        gone = [_waiting.pop(key)] if key in _waiting else []
        _waiting[key] = one
        while len(_waiting) > AT_MOST:
            gone.append(_waiting.pop(next(iter(_waiting))))
    return gone


def _expire(key: Key, session: Session) -> None:
    """Nobody came back to it. Whoever takes it just now has it, and then it is not there any more."""
    with _lock:
        found = _waiting.get(key)
        if found is None or found.session is not session:
            return
        del _waiting[key]
    session.close()
