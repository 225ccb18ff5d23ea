"""Whoever reads a queue is woken up, and finds what waits in any case."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django_q.brokers import orm
from django_q.models import OrmQ
from django_q.signing import SignedPackage
from pytest_django import DjangoAssertNumQueries

from apps.core import broker
from apps.core.broker import Waking

pytestmark = pytest.mark.django_db(transaction=True)
TASK = SignedPackage.dumps({"id": "1", "name": "one", "func": "nothing", "args": ()})


@pytest.fixture
def reader() -> Iterator[Waking]:
    """One that has looked, and found nothing."""
    found = Waking("test")
    while found.dequeue():
        pass
    yield found
    found.close()


def test_wake_up_when_a_task_is_enqueued(reader: Waking) -> None:
    number = Waking("test").enqueue(TASK)
    assert reader.dequeue() is None  # it has rung
    assert reader.dequeue() == [(number, TASK)]


def test_ask_nothing_when_nobody_has_rung(reader: Waking, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(0):
        assert reader.dequeue() is None
        assert reader.dequeue() is None


def test_look_at_once_again_when_something_was_found(reader: Waking) -> None:
    numbers = [Waking("test").enqueue(TASK), Waking("test").enqueue(TASK)]
    reader.dequeue()
    assert [reader.dequeue()[0][0], reader.dequeue()[0][0]] == numbers


def test_find_a_task_when_the_wake_up_was_lost(reader: Waking, monkeypatch: pytest.MonkeyPatch) -> None:
    OrmQ.objects.create(key="test", payload=TASK, lock=_now())
    assert reader.dequeue() is None
    monkeypatch.setattr(broker, "_LONGEST_TRUST", 0.0)
    assert reader.dequeue()[0][1] == TASK


def test_find_a_task_when_the_listener_was_cut(reader: Waking) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s",
            [reader._listener.info.backend_pid],  # type: ignore[union-attr]
        )
    OrmQ.objects.create(key="test", payload=TASK, lock=_now())
    assert reader.dequeue() is None  # it notices
    assert reader.dequeue()[0][1] == TASK


def test_find_a_task_when_nobody_can_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker.settings, "DATABASE_DIRECT_URL", "postgres://nobody@127.0.0.1:1/none")
    reader = Waking("test")
    assert reader.dequeue() is None
    OrmQ.objects.create(key="test", payload=TASK, lock=_now())
    assert reader.dequeue()[0][1] == TASK


def _now() -> object:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cursor.fetchall()[0][0]


def test_find_a_task_when_the_clock_of_who_asked_is_ahead(reader: Waking, monkeypatch: pytest.MonkeyPatch) -> None:
    now = orm.timezone.now
    with monkeypatch.context() as ahead:
        ahead.setattr(orm.timezone, "now", lambda: now() + timedelta(seconds=20))
        Waking("test").enqueue(TASK)
    assert reader.dequeue() is None
    assert reader.dequeue()[0][1] == TASK


def test_go_on_when_the_database_is_away(reader: Waking, monkeypatch: pytest.MonkeyPatch) -> None:
    """django-q2 would wait for ten seconds, and start its reader anew."""
    Waking("test").enqueue(TASK)
    assert reader.dequeue() is None
    with monkeypatch.context() as away:
        away.setattr(orm.ORM, "dequeue", lambda self: _fail())
        assert reader.dequeue() is None
    assert reader.dequeue()[0][1] == TASK


def _fail() -> None:
    raise OperationalError("the connection is closed")
