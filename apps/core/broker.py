"""The queues of django-q2 in the portal's own database, whose readers are woken up and do not ask again and again."""

import logging
import time
from typing import Any, Final

import psycopg
from django.conf import settings
from django.db import connection
from django_q.brokers.orm import ORM

log = logging.getLogger(__name__)

# A wake-up that is lost costs no more than this; a reader that is to stop is heard as late.
_LONGEST_WAIT: Final = 1.0


class Waking(ORM):  # type: ignore[misc]  # django-q2 has no types
    """Q_CLUSTER's `poll` must be 0: waiting is done here."""

    _listener: psycopg.Connection[Any] | None = None

    def enqueue(self, task: str) -> Any:
        """In a transaction: it is there, and its reader wakes up, when that commits."""
        number = super().enqueue(task)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, '')", [self._channel])
        return number

    def dequeue(self) -> Any:
        """What waits, as (id, payload); None when a moment has passed and nothing did."""
        self._listen()  # before the look: whatever comes after it rings
        found = super().dequeue()
        if not found:
            self._wait()
        return found

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

    def _wait(self) -> None:
        try:
            if self._listener is None:
                time.sleep(_LONGEST_WAIT)
            else:
                list(self._listener.notifies(timeout=_LONGEST_WAIT, stop_after=1))
                list(self._listener.notifies(timeout=0))  # one look is enough for all of them
        except psycopg.Error:
            self.close()
