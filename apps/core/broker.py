"""The queues of django-q2 in the portal's own database, whose readers are woken up and do not ask again and again."""

import logging
import select
import time
from datetime import UTC, datetime
from typing import Any, Final

import psycopg
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django_q.brokers.orm import ORM

log = logging.getLogger(__name__)

# A reader that is to stop is heard as late.
_LONGEST_WAIT: Final = 1.0
# A wake-up that is lost, or a task whose reader has died, costs no more than this.
_LONGEST_TRUST: Final = 5.0
_FREE: Final = datetime(2000, 1, 1, tzinfo=UTC)


class Waking(ORM):  # type: ignore[misc]  # django-q2 has no types
    """Q_CLUSTER's `poll` must be 0: waiting is done here."""

    _listener: psycopg.Connection[Any] | None = None
    _quiet_since: float | None = None  # nothing was there then, and nobody has rung since

    def enqueue(self, task: str) -> Any:
        """In a transaction: it is there, and its reader wakes up, when that commits."""
        # Free to take from the beginning of time: whoever takes it may have a clock that is behind.
        number = self.get_connection().create(key=self.list_key, payload=task, lock=_FREE).pk
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, '')", [self._channel])
        return number

    def dequeue(self) -> Any:
        """What waits, as [(id, payload)]; None when a moment has passed and nothing did."""
        self._listen()  # before the look: whatever comes after it rings
        if self._quiet_since is None or time.monotonic() - self._quiet_since >= _LONGEST_TRUST:
            began = time.monotonic()
            try:
                found = super().dequeue()
            except (OperationalError, InterfaceError) as error:
                # Without this django-q2 would stand still for ten seconds and start its reader anew.
                log.warning("The queue %s cannot be read (%s); it is tried again.", self.list_key, error)
                connection.close()
                time.sleep(_LONGEST_WAIT)
                return None
            if found:
                return found
            self._quiet_since = began
        if self._is_rung():
            self._quiet_since = None
        return None

    def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
        self._listener = None

    @property
    def _channel(self) -> str:
        return f"jitportal_queue_{self.list_key}"

    def _listen(self) -> None:
        if self._listener is not None:
            return
        try:
            # Directly: a pooler would not pass on what a session listens to.
            self._listener = psycopg.connect(settings.DATABASE_DIRECT_URL, autocommit=True, connect_timeout=10)
            self._listener.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(self._channel)))
        except psycopg.Error as error:
            log.warning("The queue %s cannot be listened to (%s); it is looked at each second.", self.list_key, error)
            self.close()

    def _is_rung(self) -> bool:
        """Waits for a moment, without a look at the clock ten times a second as psycopg would."""
        if self._listener is None:
            time.sleep(_LONGEST_WAIT)
            return True  # perhaps
        try:
            ready, _, _ = select.select([self._listener.fileno()], [], [], _LONGEST_WAIT)
            if ready and not list(self._listener.notifies(timeout=0)):  # one look is enough for all of them
                self.close()  # nobody rings there any more
            return bool(ready)
        except (psycopg.Error, OSError, ValueError):
            self.close()
            return True
