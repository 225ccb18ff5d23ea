import signal
import subprocess
import sys
from datetime import timedelta

import pytest
from django.conf import settings
from django_q.models import OrmQ

from apps.catalog.models import Database, Server
from apps.core import clock
from apps.core.nudge import nudge
from apps.grants import due, services
from apps.grants.clock import Memory, Rounds
from apps.grants.due import Work
from apps.grants.models import Grant, Heartbeat, ServerLease
from apps.grants.states import GrantStatus
from apps.grants.tasks import Cluster, Task
from jitportal.portal_database import WORKER
from tests.factories import Cast
from tests.grants.conftest import LeftBehind
from tests.grants.crowd import crowd
from tests.grants.machinery import asked_for, running, wait_until, work_off
from tests.grants.odd_engine import LOST, OddEngine, fails, put_in
from tests.grants.stage import active, after, approved, now_in, queued, until_next
from tests.support.portal import PortalDatabase

pytestmark = pytest.mark.django_db(transaction=True)


def test_look_asks_for_an_issue_when_a_request_is_approved(people: Cast) -> None:
    request = approved(people.alice)

    Rounds().look()

    assert asked_for(Task.ISSUE) == [(people.staging.server_id,)]
    work_off()
    assert now_in(Grant.objects.get(request=request), GrantStatus.ACTIVE)


def test_look_asks_for_the_end_when_a_grant_is_due_and_not_before(people: Cast) -> None:
    grant = active(people.alice, minutes=1)
    ticking = Rounds()
    ticking.look()
    assert asked_for(Task.END) == []

    with clock.shifted(after(grant)):
        ticking.look()
        assert asked_for(Task.END) == [(grant.server_id,)]
        work_off()

    now_in(grant, GrantStatus.ENDED)


def test_look_sleeps_until_the_next_thing_is_due_when_that_is_soon(people: Cast) -> None:
    grant = active(people.alice, minutes=1)
    assert grant.expires_at is not None

    with clock.shifted(grant.expires_at - clock.now() - timedelta(seconds=3)):
        services.warn_expiring()
        now = clock.now()
        assert due.next_instant(now) == grant.expires_at
        assert 0 < Rounds().look() <= 3


def test_look_asks_once_when_nothing_has_changed(people: Cast) -> None:
    grant = queued(people.alice)
    ticking = Rounds()

    for _ in range(3):
        ticking.look()

    assert asked_for(Task.ISSUE) == [(grant.server_id,)]


def test_look_asks_again_when_there_is_more_to_do(people: Cast) -> None:
    queued(people.alice)
    ticking = Rounds()
    ticking.look()

    queued(people.bob)
    ticking.look()

    assert len(asked_for(Task.ISSUE)) == 2


def test_look_asks_for_nothing_when_somebody_works_on_it(people: Cast) -> None:
    grant = queued(people.alice)
    ServerLease.objects.create(server=grant.server, holder="x", until=clock.now() + timedelta(seconds=30))

    Rounds().look()

    assert asked_for(Task.ISSUE) == []


def test_look_asks_for_another_try_when_its_pause_is_over(people: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in(monkeypatch, OddEngine(before_open=fails(LOST)))
    grant = queued(people.alice)
    services.issue(grant_id=grant.pk)
    ticking = Rounds()
    ticking.look()
    assert asked_for(Task.ISSUE) == []

    with clock.shifted(timedelta(seconds=2)):
        ticking.look()

    assert asked_for(Task.ISSUE) == [(grant.server_id,)]


def test_look_asks_for_the_scope_to_go_when_its_last_grant_is_over(people: Cast, left_behind: LeftBehind) -> None:
    grant = active(people.alice, tables=("stock.products",))
    services.release(actor=people.alice, grant_id=grant.pk)
    services.end_due(server_id=grant.server_id)
    ticking = Rounds()
    ticking.look()
    assert asked_for(Task.DROP_SCOPES) == [(grant.server_id,)]

    services.drop_unused_scopes(server_id=grant.server_id)

    assert left_behind.roles(grant.scope_role) == []
    OrmQ.objects.all().delete()
    Rounds().look()
    assert asked_for(Task.DROP_SCOPES) == []


def test_look_asks_for_what_somebody_wanted_when_they_did(people: Cast) -> None:
    Rounds().look()
    assert asked_for(Task.PREFLIGHT) == asked_for(Task.SYNC) == []

    Server.objects.update(check_wanted_at=clock.now())
    Database.objects.filter(pk=people.shop.pk).update(sync_wanted_at=clock.now())
    Rounds().look()

    assert asked_for(Task.PREFLIGHT) == [(people.shop.server_id,)]
    assert asked_for(Task.SYNC) == [(people.shop.pk,)]


def test_look_asks_for_a_look_at_sessions_when_there_is_a_live_grant(people: Cast) -> None:
    grant = active(people.alice)
    ticking = Rounds()
    within = until_next(due.LOOK_EVERY)
    with clock.shifted(within):
        ticking.look()
        ticking.look()
    assert asked_for(Task.LOOK_AT_SESSIONS) == [(grant.server_id,)]

    with clock.shifted(within + due.LOOK_EVERY):
        ticking.look()

    assert len(asked_for(Task.LOOK_AT_SESSIONS)) == 2


def test_look_closes_requests_when_nobody_decided_them(people: Cast) -> None:
    request = approved(people.alice)
    type(request).objects.filter(pk=request.pk).delete()
    request.status, request.lapses_at = "pending", clock.now() - timedelta(seconds=1)
    request.save(force_insert=True)

    Rounds().look()

    request.refresh_from_db()
    assert request.status == "lapsed"


def test_look_comes_back_to_what_ends_when_many_are_to_be_opened(people: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.grants.opening._AT_ONCE", 1)
    approved(people.alice)
    approved(people.bob)
    Rounds().look()
    assert Grant.objects.count() == 1

    Rounds().look()
    assert Grant.objects.count() == 2


def test_look_goes_on_when_one_duty_fails(
    people: Cast, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    grant = active(people.alice, minutes=1)
    monkeypatch.setattr(services, "open_approved", fails(ZeroDivisionError()))

    with clock.shifted(after(grant)):
        Rounds().look()

    assert asked_for(Task.END) == [(grant.server_id,)]
    assert Heartbeat.objects.filter(kind="clock").exists()
    assert "ZeroDivisionError" in caplog.text


def test_look_goes_on_when_the_next_moment_cannot_be_read(
    people: Cast, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(due, "next_instant", lambda now: fails(ZeroDivisionError())())
    assert 0 < Rounds().look() <= 1.0
    assert "ZeroDivisionError" in caplog.text


def test_look_is_short_when_a_whole_server_is_late(people: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """One look that told of them all kept the ends of other servers waiting for as long."""
    monkeypatch.setattr("apps.grants.lateness._AT_ONCE", 2)
    monkeypatch.setattr(services, "_WARNED_AT_ONCE", 2)
    monkeypatch.setattr("apps.grants.opening._AT_ONCE", 2)
    grant = active(people.alice)
    late = [one.pk for one in crowd(grant, 3, ends_at=clock.now() - timedelta(minutes=2))]
    soon = crowd(grant, 3, ends_at=clock.now() + timedelta(seconds=30))
    assert [services.tell_late() for _ in range(3)] == [2, 1, 0]
    Grant.objects.filter(pk__in=late).update(warned_at=clock.now())
    assert [services.warn_expiring() for _ in range(3)] == [2, 1, 0]
    assert Grant.objects.filter(pk__in=[one.pk for one in soon], warned_at=None).count() == 0
    for person in (people.alice, people.bob, people.carol):
        approved(person)
    assert [len(services.open_approved()) for _ in range(3)] == [2, 1, 0]


def test_look_asks_for_no_more_when_nobody_works_off_the_queue(
    people: Cast, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("apps.grants.clock._FULL_QUEUE", 1)
    queued(people.alice)
    OrmQ.objects.create(key=Cluster.ACCESS.value, payload="", lock=clock.now())

    Rounds().look()

    assert OrmQ.objects.filter(key=Cluster.ACCESS.value).count() == 1
    assert "is its worker running" in caplog.text


def work(**parts: object) -> Work:
    usual: dict[str, object] = {"task": Task.END, "argument": "s", "stamp": "1", "again": 2.0}
    return Work(**{**usual, **parts})  # type: ignore[arg-type]


def test_memory_asks_less_and_less_often_when_work_stays_undone() -> None:
    memory = Memory()
    asked = [second for second in range(200) if memory.is_news(work(task=Task.ISSUE), float(second))]
    assert asked == [0, 2, 6, 14, 30, 62, 122, 182]


def test_memory_asks_as_often_as_before_when_an_end_stays_undone() -> None:
    memory = Memory()
    assert [second for second in range(10) if memory.is_news(work(), float(second))] == [0, 2, 4, 6, 8]


@pytest.mark.parametrize(
    ("other", "news"), [({}, False), ({"stamp": "2"}, True), ({"argument": "t"}, True), ({"task": Task.ISSUE}, True)]
)
def test_memory_knows_news_when_anything_differs(other: dict[str, object], news: bool) -> None:
    memory = Memory()
    memory.is_news(work(), 0.0)
    assert memory.is_news(work(**other), 0.1) is news


def test_memory_never_asks_twice_when_the_work_is_for_a_moment() -> None:
    memory = Memory()
    assert memory.is_news(work(again=None), 0.0)
    assert not memory.is_news(work(again=None), 1e6)


def test_run_wakes_up_when_somebody_nudges(people: Cast) -> None:
    with running(clocks=1, workers=1):
        wait_until(lambda: Heartbeat.objects.filter(kind="clock").exists())
        request = approved(people.alice)
        wait_until(lambda: Grant.objects.filter(request=request, status=GrantStatus.ACTIVE).exists())


def test_run_goes_on_when_the_database_cut_its_connection(
    people: Cast, portal_database: PortalDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    with running(clocks=1, workers=1):
        wait_until(lambda: Heartbeat.objects.filter(kind="clock").exists())
        with portal_database.superuser() as superuser:
            cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
            assert superuser.execute(cut).fetchone() != (0,)
        wait_until(lambda: "does not answer" in caplog.text)
        request = approved(people.alice)
        nudge()
        wait_until(lambda: Grant.objects.filter(request=request, status=GrantStatus.ACTIVE).exists())


def test_clock_ends_cleanly_when_it_is_told_to(transactional_db: None, portal_database: PortalDatabase) -> None:
    """As a process of its own, without any key."""
    environment = {
        "DJANGO_SETTINGS_MODULE": "jitportal.settings",
        "JITPORTAL_PROCESS": "clock",
        "JITPORTAL_TESTING": "1",
        "JITPORTAL_SECRET_KEY": settings.SECRET_KEY,
        "DATABASE_URL": portal_database.urls[WORKER],
        "JITPORTAL_LOG_LEVEL": "INFO",
    }
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "clock"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: Heartbeat.objects.filter(name__endswith=f":{process.pid}").exists())
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, said
    assert "is listening" in said
    assert "has stopped" in said
    assert "Traceback" not in said
