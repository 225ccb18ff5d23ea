"""Who works on what, and until when. A lease that nobody gave back runs out by itself.

What grants share on a server (scope roles and the ACLs behind them) is worked on under the server's lease.
Taking access away is not: it touches nothing but the grants' own logins, each claimed on its own row, and must
not wait for somebody else's work.
"""

import logging
import os
import random
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

from django.db import Error, connection
from django.db.models import Q

from apps.core import clock
from apps.core.ids import new_id
from apps.core.nudge import nudge
from apps.grants.models import Extension, Grant, ServerLease

log = logging.getLogger(__name__)

# Longer than the work takes as a rule; after a killed worker others wait as long. Where it was too short, two work on
# the same login, which engines allow for.
LEASE: Final = timedelta(seconds=30)
_RENEWED_EVERY: Final = 10.0  # seconds


def new_token() -> str:
    """Names one piece of work: where it runs, and something nobody else has."""
    return f"{_of_process(os.getpid())}{new_id()}"


def give_back_of(pids: Iterable[int]) -> None:
    """What processes of this machine held, of which the caller knows that they are dead."""
    for mine in map(_of_process, pids):
        ServerLease.objects.filter(holder__startswith=mine).update(holder="", until=None)
        for claimed in (Grant, Extension):
            claimed.objects.filter(claimed_by__startswith=mine).update(claimed_by="", claimed_until=None)
    nudge()


@contextmanager
def server_lease(server_id: str) -> Iterator[str | None]:
    """The token of the lease on a server, or None while somebody else holds it."""
    ServerLease.objects.get_or_create(server_id=server_id)
    token, now = new_token(), clock.now()
    free = ServerLease.objects.filter(Q(until=None) | Q(until__lte=now), server_id=server_id)
    if not free.update(holder=token, until=now + LEASE):
        yield None
        return
    try:
        yield token
    finally:
        ServerLease.objects.filter(server_id=server_id, holder=token).update(holder="", until=None)
        nudge()


def claim(grant: Grant, *, token: str, now: datetime) -> None:
    """On a row that the caller has locked; saved by the caller."""
    grant.claimed_by, grant.claimed_until = token, now + LEASE
    grant.tries += 1


@contextmanager
def kept(token: str) -> Iterator[None]:
    """What is claimed with `token` stays claimed for as long as this process works on it, and no longer.

    On a thread with a connection of its own; work that is done in time never makes one.
    """
    done = threading.Event()
    keeper = threading.Thread(target=_renew, args=(token, done), name="lease", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        done.set()
        keeper.join()


def _renew(token: str, done: threading.Event) -> None:
    while not done.wait(_RENEWED_EVERY):
        try:
            Grant.objects.filter(claimed_by=token).update(claimed_until=clock.now() + LEASE)
        except Error as error:  # the claim runs out if this goes on
            log.warning("A claim on grants could not be renewed; it is tried again: %s", error)
        finally:
            connection.close()


def give_back(grant: Grant) -> None:
    """On a row that the caller has locked; saved by the caller."""
    grant.claimed_by, grant.claimed_until = "", None


def delay(tries: int, *, at_most: float) -> timedelta:
    """Before the next try: about half a second, doubling, with jitter so that many do not come back at once."""
    seconds = min(at_most, 0.5 * 2 ** min(tries, 16))
    return timedelta(seconds=seconds * random.uniform(0.5, 1.0))  # noqa: S311 - no secret


def _of_process(pid: int) -> str:
    return f"{socket.gethostname()[:40]}:{pid}:"
