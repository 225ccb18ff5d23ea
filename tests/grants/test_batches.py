"""What is due on one server ends as one batch, recorded as it is proven, and belongs to one worker while that lives."""

import threading
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta

import pytest
from django.db import connections

from apps.audit import services as audit
from apps.core import clock
from apps.engines.postgresql import ending as on_target
from apps.grants import ending, leases, outcomes, services
from apps.grants.models import Grant
from apps.grants.states import GrantStatus
from tests.factories import Cast
from tests.grants.conftest import LeftBehind
from tests.grants.crowd import crowd
from tests.grants.machinery import wait_until
from tests.grants.odd_engine import OddEngine, fails, put_in
from tests.grants.shelf import Shelf
from tests.grants.stage import active, after, connected, now_in, told
from tests.support.crowd import make_logins
from tests.support.targets import TargetServer

pytestmark = pytest.mark.django_db(transaction=True)


class KilledError(BaseException):
    """What a worker does after SIGKILL: nothing."""


def test_end_due_ends_hundreds_at_once_when_one_resists(
    people: Cast, target: TargetServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apps.catalog.targets import target_for

    monkeypatch.setattr(on_target, "_PATIENCE", 1.0)
    one = active(people.alice, minutes=1)
    many = crowd(one, 300)
    make_logins(target_for(one.server), one.scope_role, [grant.login for grant in many])
    held = many[7]
    with target.admin() as dba, dba.transaction(), clock.shifted(after(one)):
        dba.execute(f"ALTER ROLE {held.login} CONNECTION LIMIT 3")
        services.end_due(server_id=one.server_id)

    assert Grant.objects.filter(status=GrantStatus.ENDED).count() == 300
    assert now_in(held, GrantStatus.ENDING).problem
    with target.admin() as admin:
        left = admin.execute("SELECT rolname::text FROM pg_roles WHERE rolname ~ '^jit_crowd_'").fetchall()
    assert left == [(held.login,)]
    for grant in (one, many[0], many[-1]):
        assert told(grant)[-2:] == ["grant.ending", "grant.ended"]
    with clock.shifted(after(one) + timedelta(seconds=60)):
        services.end_due(server_id=one.server_id)
    now_in(held, GrantStatus.ENDED)


def test_end_due_has_committed_every_intent_when_the_target_is_touched(
    people: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "INTENTS", 3)
    counted: list[int] = []
    one = active(people.alice, minutes=1)

    def count() -> None:
        ids = [grant.audit_id for grant in Grant.objects.all()]
        where = audit.Filter(subjects=tuple(ids), action="grant.ending")
        counted.append(len(audit.entries(limit=1000, where=where)))

    put_in(monkeypatch, OddEngine(before_close=count))
    crowd(one, 10)
    with clock.shifted(after(one)):
        services.end_due(server_id=one.server_id)

    assert counted == [11]
    assert Grant.objects.filter(status=GrantStatus.ENDED).count() == 11


def test_end_due_keeps_what_is_proven_when_the_rest_is_lost(people: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    one = active(people.alice, minutes=1)
    many = crowd(one, 20)
    engine = OddEngine()
    real = engine.close_logins

    def half(target, logins, proven):  # type: ignore[no-untyped-def]
        real(target, logins[:10], proven)
        raise OSError("the cable")

    monkeypatch.setattr(engine, "close_logins", half)
    put_in(monkeypatch, engine)
    with clock.shifted(after(one)):
        services.end_due(server_id=one.server_id)

    assert Grant.objects.filter(status=GrantStatus.ENDED).count() >= 10
    waiting = Grant.objects.filter(status=GrantStatus.ENDING)
    assert waiting.count() == 1 + len(many) - Grant.objects.filter(status=GrantStatus.ENDED).count()
    assert all(grant.next_try_at and not grant.claimed_by for grant in waiting)


@pytest.mark.parametrize("moment", ["before_close", "after_close"])
def test_another_worker_takes_over_when_one_was_killed_in_a_batch(
    people: Cast, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Between the intent and the act, and between the act and its outcome."""
    one = active(people.alice, minutes=1)
    many = [one, *crowd(one, 5)]
    if moment == "before_close":
        put_in(monkeypatch, OddEngine(before_close=fails(KilledError())))  # type: ignore[arg-type]
    else:
        monkeypatch.setattr(outcomes, "settle_proven", _once(outcomes.settle_proven, KilledError()))
    with clock.shifted(after(one)):
        with pytest.raises(KilledError):
            services.end_due(server_id=one.server_id)
        services.end_due(server_id=one.server_id)
        assert {grant.status for grant in Grant.objects.all()} == {GrantStatus.ENDING}

    with clock.shifted(after(one) + leases.LEASE):
        services.end_due(server_id=one.server_id)
    for grant in many:
        now_in(grant, GrantStatus.ENDED)
        assert [action for action in told(grant) if action in {"grant.ending", "grant.ended"}] == [
            "grant.ending",
            "grant.ended",
        ]


def _once(act: Callable[..., None], error: BaseException) -> Callable[..., None]:
    left = [error]

    def run(*given: object, **more: object) -> None:
        if left:
            raise left.pop()
        act(*given, **more)

    return run


def test_a_batch_stays_with_its_worker_when_it_takes_longer_than_the_lease(
    people: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "_RENEWED_EVERY", 0.05)
    one = active(people.alice, minutes=1)
    at_work, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        at_work.set()
        assert go_on.wait(60)

    put_in(monkeypatch, OddEngine(before_close=hang))
    with clock.shifted(after(one)):
        worker = threading.Thread(target=_end, args=(one.server_id,))
        worker.start()
        assert at_work.wait(60)
        first = Grant.objects.get().claimed_until
        assert first is not None
        wait_until(lambda: Grant.objects.filter(claimed_until__gt=first).exists())
        with clock.shifted(timedelta(seconds=25)):
            wait_until(lambda: Grant.objects.filter(claimed_until__gt=first + timedelta(seconds=20)).exists())
            with clock.shifted(timedelta(seconds=20)):
                assert not ending.due(clock.now()).filter(claimed_until__gt=first + timedelta(seconds=20)).exists()
        go_on.set()
        worker.join(60)
    now_in(one, GrantStatus.ENDED)


def _end(server_id: str) -> None:
    try:
        services.end_due(server_id=server_id)
    finally:
        connections.close_all()


def test_two_workers_share_a_crowd_and_record_each_once(people: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "BATCH", 10)
    monkeypatch.setattr(ending, "INTENTS", 4)
    shelf = Shelf()
    put_in(monkeypatch, shelf)
    one = active(people.alice, minutes=1)
    many = [one, *crowd(one, 40)]
    with clock.shifted(after(one)):
        workers = [threading.Thread(target=_end, args=(one.server_id,)) for _ in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
    assert Grant.objects.filter(status=GrantStatus.ENDED).count() == len(many)
    for grant in many:
        assert told(grant)[-2:] == ["grant.ending", "grant.ended"]


def test_end_proves_when_the_server_has_used_up_the_time(
    people: Cast, left_behind: LeftBehind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that needs seconds for each answer would otherwise never come to the cut."""
    grant = active(people.alice, minutes=1)
    monkeypatch.setattr(on_target, "_PATIENCE", 0.0)
    with closing(connected(grant)), clock.shifted(after(grant)):
        services.end_due(server_id=grant.server_id)
    now_in(grant, GrantStatus.ENDED)
    assert left_behind.sessions(grant.login) == 0


def test_end_due_leaves_workers_for_others_when_a_server_takes_its_time(
    people: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six workers come for one slow server, with something due for each: two go in, the others are free at once."""
    grants = [active(people.alice, minutes=1) for _ in range(6)]
    monkeypatch.setattr(ending, "BATCH", 1)
    monkeypatch.setattr(ending, "INTENTS", 1)
    inside, slow = threading.Semaphore(0), threading.Event()

    def wait() -> None:
        inside.release()
        assert slow.wait(60)

    put_in(monkeypatch, OddEngine(before_close=wait, again=True))

    def work() -> None:
        try:
            services.end_due(server_id=grants[0].server_id)
        finally:
            connections.close_all()

    with clock.shifted(after(grants[0])):
        workers = [threading.Thread(target=work) for _ in range(6)]
        for worker in workers:
            worker.start()
        assert inside.acquire(timeout=30)
        assert inside.acquire(timeout=30)
        wait_until(lambda: sum(worker.is_alive() for worker in workers) == 2)
        assert not inside.acquire(blocking=False)
        assert Grant.objects.exclude(claimed_by="").count() == 2
        slow.set()
        for worker in workers:
            worker.join(60)
    assert Grant.objects.filter(status=GrantStatus.ENDED).count() == 6  # those two went on with the rest
