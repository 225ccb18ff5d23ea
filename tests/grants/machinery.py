"""Clocks and workers in threads, each with connections of its own, working as the processes do."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
from django.conf import settings
from django.db import connections
from django.utils.module_loading import import_string
from django_q.brokers import Broker, get_broker
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from apps.core.nudge import CHANNEL
from apps.grants import continuity
from apps.grants.clock import Clock
from apps.grants.tasks import Cluster, Task
from tests.support.targets import TargetServer


def asked_for(task: Task) -> list[tuple[Any, ...]]:
    """The arguments of each such task that waits in the queues."""
    waiting = [SignedPackage.loads(row.payload) for row in OrmQ.objects.order_by("pk")]
    return [package["args"] for package in waiting if package["func"] == task.value]


def work_off(cluster: Cluster = Cluster.ACCESS) -> None:
    """Run what waits in one queue, here and now."""
    with closing(get_broker(cluster.value)) as broker:
        while OrmQ.objects.filter(key=cluster.value).exists():
            work(broker)


@contextmanager
def running(*, clocks: int, workers: int) -> Iterator[list[Clock]]:
    """So many of each until the block ends; whatever one of them raises fails the test."""
    stopped, troubles = threading.Event(), list[BaseException]()
    made = [Clock() for _ in range(clocks)]
    acts: list[Callable[[], None]] = [clock.run for clock in made]
    acts += [lambda: _work_until(stopped)] * workers
    threads = [threading.Thread(target=_guarded, args=(act, troubles), daemon=True) for act in acts]
    for thread in threads:
        thread.start()
    try:
        yield made
    finally:
        stopped.set()
        for clock in made:
            clock.stop()
        for thread in threads:
            thread.join(timeout=60)
    assert not [thread for thread in threads if thread.is_alive()]
    assert troubles == []


@contextmanager
def nothing_remembered(target: TargetServer) -> Iterator[None]:
    """Workers as they are just started, and a target without the mark of any record; so again afterwards."""
    _forget(target)
    yield
    _forget(target)


def _forget(target: TargetServer) -> None:
    continuity.memory.forget()
    target.forget_the_record()


def wait_until(condition: Callable[[], object], *, seconds: float = 60) -> None:
    """Look each time somebody nudges, and now and then."""
    with psycopg.connect(settings.DATABASE_DIRECT_URL, autocommit=True) as listener:
        listener.execute(f"LISTEN {CHANNEL}")
        for _ in range(int(seconds / 0.1)):
            if condition():
                return
            list(listener.notifies(timeout=0.1, stop_after=1))
    raise AssertionError(f"It did not come to pass within {seconds} s.")


def _work_until(stopped: threading.Event) -> None:
    with closing(get_broker(Cluster.ACCESS.value)) as broker:
        while not stopped.is_set():
            work(broker)


def work(broker: Broker) -> None:
    """Run what waits in its queue, or wait for it for a moment."""
    for ack_id, payload in broker.dequeue() or ():
        task = SignedPackage.loads(payload)
        import_string(task["func"])(*task["args"])
        broker.acknowledge(ack_id)


def _guarded(act: Callable[[], None], troubles: list[BaseException]) -> None:
    try:
        act()
    except BaseException as error:
        troubles.append(error)
    finally:
        connections.close_all()
