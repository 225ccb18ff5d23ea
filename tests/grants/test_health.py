from datetime import timedelta

import pytest
from django.conf import settings
from django.db import DatabaseError

from apps.core import clock
from apps.grants.health import Kind, beat, health
from apps.grants.models import Heartbeat
from tests.grants.odd_engine import fails

pytestmark = pytest.mark.django_db


def all_beat() -> None:
    beat("clock:here:1", kind=Kind.CLOCK)
    beat("worker:access", kind=Kind.WORKER)
    beat("worker:bulk", kind=Kind.WORKER)


def test_health_is_good_when_clock_and_worker_beat() -> None:
    all_beat()
    assert health().ok


@pytest.mark.parametrize(
    ("silent", "word"),
    [("clock:here:1", "No clock"), ("worker:access", "No worker"), ("worker:bulk", "No slow worker")],
)
def test_health_says_what_to_do_when_one_is_silent(silent: str, word: str) -> None:
    all_beat()
    Heartbeat.objects.filter(name=silent).delete()
    (problem,) = health().problems
    assert word in problem
    assert "manage.py" in problem


def test_health_is_bad_when_only_the_slow_worker_beats() -> None:
    all_beat()
    Heartbeat.objects.filter(name="worker:access").delete()
    assert not health().ok


def test_health_is_bad_when_the_last_beat_is_long_ago() -> None:
    all_beat()
    with clock.shifted(timedelta(seconds=3 * settings.HEARTBEAT_SECONDS + 1)):
        assert len(health().problems) == 2  # the slow worker may be at something that takes long
    with clock.shifted(timedelta(seconds=1800 + 3 * settings.HEARTBEAT_SECONDS + 1)):
        assert len(health().problems) == 3


def test_health_is_bad_when_the_database_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", fails(DatabaseError()))
    (problem,) = health().problems
    assert "database does not answer" in problem


def test_beat_forgets_the_dead_when_they_are_silent_for_a_day() -> None:
    beat("clock:gone:1", kind=Kind.CLOCK)
    with clock.shifted(timedelta(days=1, seconds=1)):
        beat("clock:here:1", kind=Kind.CLOCK)
    assert [row.name for row in Heartbeat.objects.all()] == ["clock:here:1"]
