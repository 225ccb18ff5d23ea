"""Whether the portal is alive, from rows that prove it: a clock writes its own, a worker's is written by a task."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from django.conf import settings
from django.db import DatabaseError

from apps.core import clock
from apps.grants.models import Heartbeat

_FORGET_AFTER: Final = timedelta(days=1)


class Kind(StrEnum):
    CLOCK = "clock"
    WORKER = "worker"


@dataclass(frozen=True)
class Health:
    """`problems` are sentences for the operator; no problem is good health."""

    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.problems


def beat(name: str, *, kind: Kind, queues: Mapping[str, int] | None = None) -> None:
    """Something that calls itself `name` works right now. `queues`: how many tasks it saw waiting in each."""
    now = clock.now()
    Heartbeat.objects.update_or_create(name=name, defaults={"kind": kind.value, "at": now, "queues": queues or {}})
    Heartbeat.objects.filter(at__lt=now - _FORGET_AFTER).delete()


def health() -> Health:
    """The portal's database, a clock and both workers. Access that is late shows elsewhere: the portal is alive."""
    try:
        fresh_since = clock.now() - timedelta(seconds=3 * settings.HEARTBEAT_SECONDS)
        alive = set(Heartbeat.objects.filter(at__gte=fresh_since).values_list("name", "kind"))
        # A task there may take its time: only beyond that somebody is missing.
        longest = timedelta(seconds=settings.Q_CLUSTER["ALT_CLUSTERS"]["bulk"]["timeout"])
        tells = Heartbeat.objects.filter(name="worker:bulk", at__gte=fresh_since - longest).exists()
    except DatabaseError:
        return Health(("The portal's database does not answer: start it, or mend DATABASE_URL.",))
    problems = []
    if Kind.CLOCK not in {kind for _, kind in alive}:
        problems.append("No clock has worked lately, so nothing starts or ends on time: run `manage.py clock`.")
    if not any(name == "worker:access" for name, _ in alive):
        problems.append("No worker has worked lately, so nothing is issued or taken away: run `manage.py qcluster`.")
    if not tells:
        problems.append(
            "No slow worker has worked for long, so nobody is told and no server is looked at:"
            " run `Q_CLUSTER_NAME=bulk manage.py qcluster`."
        )
    return Health(tuple(problems))
