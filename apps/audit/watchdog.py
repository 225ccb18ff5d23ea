"""Nobody keeps everybody else from writing: field notes S4.

Every entry is sealed under the lock of one row, for the length of a commit. A session that takes that lock and stays,
or a web session that keeps any other row locked, would hold up each grant's end. So the clock looks at the sessions
of the portal's own database, and ends whoever stands in the way for seconds.
"""

import logging
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import psycopg

log = logging.getLogger(__name__)

PAUSE: Final = 1.0
HEAD_SECONDS: Final = 5.0  # a commit holds the head for milliseconds
WEB_SECONDS: Final = 30.0  # no page needs so long a transaction

# Who holds the head, and which web transactions are long. A session that waits for the head has no use of it yet: its
# wait is a 'Lock'. A web session for which a worker waits stands in the way, whatever it waits for itself.
_IN_THE_WAY: Final = """
SELECT * FROM (
  SELECT a.pid, a.xact_start::text, a.usename::text,
    a.wait_event_type IS DISTINCT FROM 'Lock' AND EXISTS (
      SELECT FROM pg_locks l WHERE l.pid = a.pid AND l.granted AND l.relation = 'audit.head'::regclass
      AND l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock'))
    OR a.usename = 'jitportal_web' AND EXISTS (
      SELECT FROM pg_stat_activity w WHERE w.usename = 'jitportal_worker' AND w.wait_event_type = 'Lock'
      AND a.pid = ANY (pg_blocking_pids(w.pid))) AS holds,
    a.usename = 'jitportal_web' AND a.xact_start < clock_timestamp() - make_interval(secs => %s) AS is_long
  FROM pg_stat_activity a
  WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.xact_start IS NOT NULL
    AND a.usename IN ('jitportal_web', 'jitportal_worker')
) a WHERE holds OR is_long
"""
_ABLE: Final = """
SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')
   AND pg_has_role(current_user, 'pg_signal_backend', 'USAGE')
"""


class CannotWatch(Exception):
    """The worker's role lacks a right; the sentence says which and what follows."""


@dataclass
class Watchdog:
    """look() again and again with one autocommit connection of the worker's role."""

    _seen: dict[tuple[int, str], float] = field(default_factory=dict)

    def look(self, connection: psycopg.Connection, *, at: float) -> list[int]:
        """End whoever has held the head since a look HEAD_SECONDS ago, and web transactions of WEB_SECONDS.

        `at` is a monotonic time in seconds. Returns the ended sessions' pids.
        """
        rows = connection.execute(_IN_THE_WAY, [WEB_SECONDS]).fetchall()
        self._seen = {(pid, since): self._seen.get((pid, since), at) for pid, since, _, holds, _ in rows if holds}
        over = [
            (pid, role)
            for pid, since, role, _, is_long in rows
            if is_long or at - self._seen[pid, since] >= HEAD_SECONDS
        ]
        return _end(connection, over)

    def run(self, url: str, stopped: threading.Event) -> None:
        """Until `stopped`; survives a database that goes away."""
        while not stopped.is_set():
            try:
                with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
                    require_rights(connection)
                    while not stopped.wait(PAUSE):
                        self.look(connection, at=time.monotonic())
            except CannotWatch as error:
                log.error("%s", error)
                stopped.wait(60)
            except psycopg.Error as error:
                log.warning("The watch over the record's lock was interrupted (%s); it goes on.", error)
                stopped.wait(PAUSE)


def require_rights(connection: psycopg.Connection) -> None:
    """Raise CannotWatch where the role could not see or not end other sessions."""
    if connection.execute(_ABLE).fetchone() != (True,):
        raise CannotWatch(
            "Nobody watches over the record's lock: a session that holds it could delay the end of every grant. "
            "Run once, as a superuser: GRANT pg_monitor, pg_signal_backend TO jitportal_worker;"
        )


def _end(connection: psycopg.Connection, sessions: Iterable[tuple[int, str]]) -> list[int]:
    ended = []
    for pid, role in dict(sessions).items():
        with suppress(psycopg.errors.InsufficientPrivilege):  # it has become somebody else's
            connection.execute("SELECT pg_terminate_backend(%s)", [pid])
            log.error("Ended a session of %s that kept others from writing.", role)
            ended.append(pid)
    return ended
