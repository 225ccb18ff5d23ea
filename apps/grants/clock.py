"""The clock: looks for what is due, asks workers to do it, and sleeps until the next thing is due or somebody nudges.

Any number of clocks may run. What they ask for twice is done once, because workers claim rows; what a lost task left
undone is still due, and is asked for again. A clock holds no key and never talks to a target.
"""

import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import psycopg
from django.conf import settings
from django.db import InterfaceError, OperationalError, close_old_connections, connection
from django.db.models import Count
from django_q.models import OrmQ

from apps.audit import services as audit
from apps.audit.watchdog import Watchdog
from apps.core import clock
from apps.core.nudge import CHANNEL
from apps.grants import continuity, due, health, services, unentitled, withdrawal
from apps.grants.due import Work
from apps.grants.tasks import Cluster, Task, enqueue
from apps.requests import services as requests

log = logging.getLogger(__name__)

_LOST = (psycopg.OperationalError, psycopg.InterfaceError, OperationalError, InterfaceError)
NAME: Final = f"clock:{socket.gethostname()[:40]}:{os.getpid()}"
_FIRST_PAUSE: Final = 0.1
_LONGEST_SLEEP: Final = 5.0
# Whatever was told, everything is looked at so often. In between the record tells whether anything has happened.
_LOOK_EVERY: Final = 15.0
# While something due has been asked for and is not done yet.
_SHORT_SLEEP: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
# A queue that nobody works off is not filled further: rows stay due.
_FULL_QUEUE: Final = 1_000


@dataclass
class Memory:
    """What was asked for, so that waiting work is not asked for at each look, but less and less often."""

    _sent: dict[tuple[str, str], tuple[str, float, float | None]] = field(default_factory=dict)

    def is_news(self, work: Work, at: float) -> bool:
        """Whether to ask for `work` at the monotonic time `at`; from then on it has been asked for."""
        key = (work.task.value, work.argument)
        stamp, last, pause = self._sent.get(key, ("", 0.0, None))
        if key not in self._sent or stamp != work.stamp:
            self._sent[key] = (work.stamp, at, work.again)
            return True
        if pause is None or at - last < pause:
            return False
        # Whatever keeps an end from being worked on may be over any moment.
        grows = work.task is not Task.END
        self._sent[key] = (stamp, at, max(work.again or 0.0, min(2 * pause, _LONGEST_PAUSE)) if grows else pause)
        return True


class Rounds:
    """Looks for what is due, with a memory of what was asked for."""

    def __init__(self) -> None:
        self._memory = Memory()
        self._withdrawals = withdrawal.Watch()
        self._leavers = unentitled.Watch()
        self._beaten_at = 0.0
        self._looked_at = 0.0
        self._size = 0
        self._waits = False
        self._next: datetime | None = None

    def look(self) -> float:
        """One look: ask for all that is due. Returns for how many seconds nothing will be."""
        close_old_connections()
        self._size, self._looked_at = audit.head().size, time.monotonic()
        now = clock.now()
        self._waits = self._urgent(now)
        loud = (continuity.settle, services.tell_late, services.warn_expiring, self._leavers.ask_to_sign_in)
        pointless = (requests.lapse_due, services.close_pointless)
        rest = [partial(self._ask, works) for works in self._rest(now)]
        duties: list[Callable[[], object]] = [*loud, *pointless, *rest, self._beat]
        for duty in duties:
            self._do(duty)
        found = self._do(lambda: [due.next_instant(now)])
        self._next = found[0] if isinstance(found, list) else now + timedelta(seconds=_SHORT_SLEEP)
        return self._pause()

    def glance(self) -> float:
        """As look(), where nobody has nudged: a nudge may be lost, but nothing happens that is not in the record."""
        close_old_connections()
        now = clock.now()
        is_due = self._next is not None and now >= self._next
        if is_due or audit.head().size != self._size or time.monotonic() - self._looked_at >= _LOOK_EVERY:
            return self.look()
        if self._waits:
            self._waits = self._urgent(now)
        return self._pause()

    def _rest(self, now: datetime) -> list[Iterator[Work]]:
        """Each is read when it is asked for, so that a row which one cannot read is no matter of the others."""
        found = self._do(lambda: due.rest(now))
        return found if isinstance(found, list) else []

    def _urgent(self, now: datetime) -> bool:
        """Whether anything is asked for and not done yet."""
        # What is over in time first; what must not be any more joins it at this same look.
        waits = [self._do(lambda: self._ask(due.ends(now)))]
        if any([self._do(self._leavers.look), self._do(self._withdrawals.look)]):
            waits.append(self._do(lambda: self._ask(due.ends(clock.now()))))
        self._do(services.open_approved)
        waits.append(self._do(lambda: self._ask(due.extensions(clock.now()))))
        waits.append(self._do(lambda: self._ask(due.issues(clock.now()))))
        waits.append(self._do(lambda: self._ask(due.resets(clock.now()))))
        return any(waits)

    def _pause(self) -> float:
        longest = _SHORT_SLEEP if self._waits else _LONGEST_SLEEP
        if self._next is None:
            return longest
        return min(longest, max(0.0, (self._next - clock.now()).total_seconds()))

    def _ask(self, works: Iterable[Work]) -> bool:
        """Whether there was any, new or asked for already."""
        found = False
        for work in works:
            found = True
            if self._memory.is_news(work, time.monotonic()) and self._has_room(work):
                arguments = [work.argument] if work.argument else []
                enqueue(work.task, *arguments, cluster=work.cluster)
        return found

    def _has_room(self, work: Work) -> bool:
        cluster = work.cluster or work.task.cluster
        if OrmQ.objects.filter(key=cluster.value).count() < _FULL_QUEUE:
            return True
        log.error("The queue %s is full: is its worker running? `%s` waits.", cluster, work.task.name)
        return False

    def _do(self, act: Callable[[], object]) -> object:
        """One duty must not keep the clock from the others; without a database there are none."""
        try:
            return act()
        except _LOST:
            raise
        except Exception:
            log.exception("A duty of the clock failed; it is tried again at the next look.")
            return None

    def _beat(self) -> None:
        if time.monotonic() - self._beaten_at >= settings.HEARTBEAT_SECONDS:
            health.beat(NAME, kind=health.Kind.CLOCK, queues=_queues())
            self._beaten_at = time.monotonic()


def _queues() -> dict[str, int]:
    """How many tasks wait in each queue, or are being worked on."""
    found = OrmQ.objects.order_by().values_list("key").annotate(number=Count("pk"))
    return dict.fromkeys([cluster.value for cluster in Cluster], 0) | dict(found)


class Clock:
    """run() until stop(), which may be called from a signal handler or another thread."""

    def __init__(self) -> None:
        self._rounds = Rounds()
        self._stopped = False
        self._watch_is_over = threading.Event()
        self._bell, self._rope = socket.socketpair()
        self._rope.setblocking(False)

    def stop(self) -> None:
        self._stopped = True
        self._watch_is_over.set()
        with suppress(OSError):  # it has stopped already
            self._rope.send(b"\0")

    def run(self) -> None:
        """Survives a portal database that goes away: it is the one thing that a clock waits for."""
        # On a thread of its own: whoever holds the record's lock holds up this one too.
        arguments = (settings.DATABASE_DIRECT_URL, self._watch_is_over)
        watch = threading.Thread(target=Watchdog().run, args=arguments, name="watchdog", daemon=True)
        watch.start()
        pause = _FIRST_PAUSE
        while not self._stopped:
            try:
                with psycopg.connect(settings.DATABASE_DIRECT_URL, autocommit=True, connect_timeout=10) as listener:
                    listener.execute(f"LISTEN {CHANNEL}")
                    log.info("%s is listening.", NAME)
                    pause = _FIRST_PAUSE
                    self._watch(listener)
            except _LOST as error:
                log.warning("The portal's database does not answer (%s); trying again in %.1f s.", error, pause)
                connection.close()
                select.select([self._bell], [], [], pause)
                pause = min(2 * pause, _LONGEST_SLEEP)
        connection.close()
        watch.join()
        self._bell.close()
        self._rope.close()
        log.info("%s has stopped.", NAME)

    def _watch(self, listener: psycopg.Connection) -> None:
        seconds = self._rounds.look()
        while not self._stopped:
            ready, _, _ = select.select([listener.fileno(), self._bell.fileno()], [], [], seconds)
            if listener.fileno() in ready:
                for _ in listener.notifies(timeout=0):
                    pass  # they say nothing but "look"
                seconds = self._rounds.look()
            else:
                seconds = self._rounds.glance()
