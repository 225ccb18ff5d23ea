"""A server that does not answer costs one question now and then, holds up no other, and is never given up."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path

import pytest
from django.db import connections

from apps.audit import services as audit
from apps.core import clock
from apps.engines.base import Closed, LoginSpec, Opened, Refused, SessionLimits, SessionUse, Target, unheard
from apps.engines.postgresql import PostgresEngine, connect
from apps.grants import circuit, due, issuing, services
from apps.grants.circuit import Patience
from apps.grants.models import Grant, ServerState
from apps.grants.states import GrantStatus
from apps.grants.tasks import Task
from jitportal.embedded import Cluster
from tests.factories import Cast, ServerFactory
from tests.grants.conftest import TABLES, prepare
from tests.grants.crowd import crowd
from tests.grants.machinery import running, wait_until
from tests.grants.odd_engine import LOST, put_in
from tests.grants.stage import active, after, approved, now_in, queued, told
from tests.support.targets import TargetServer

pytestmark = pytest.mark.django_db(transaction=True)


@dataclass
class Deaf(PostgresEngine):
    """The real engine on a server that may not answer; counts the questions whether it does."""

    deaf: bool = True
    questions: int = 0
    calls: int = 0

    def now(self, target: Target) -> datetime:
        self.questions += 1
        self._hear()
        return super().now(target)

    def open_login(self, target: Target, spec: LoginSpec) -> Opened:
        self.calls += 1
        self._hear()
        return super().open_login(target, spec)

    def close_logins(
        self, target: Target, logins: Sequence[str], proven: Callable[[Sequence[Closed]], None] = unheard
    ) -> list[Closed]:
        self.calls += 1
        self._hear()
        return super().close_logins(target, logins, proven)

    def sessions(self, target: Target, limits: SessionLimits) -> list[SessionUse]:
        self.calls += 1
        self._hear()
        return super().sessions(target, limits)

    def _hear(self) -> None:
        if self.deaf:
            raise LOST


@pytest.fixture(autouse=True)
def _nothing_is_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every piece of work asks first."""
    monkeypatch.setattr(circuit, "_FRESH", -1.0)


@pytest.fixture
def deaf(people: Cast, monkeypatch: pytest.MonkeyPatch) -> Deaf:
    engine = Deaf(deaf=False)
    put_in(monkeypatch, engine)
    return engine


def state(server_id: str) -> ServerState:
    return ServerState.objects.get(server=server_id)


def entries_about(server_id: str) -> list[str]:
    lines = audit.entries(limit=1000, where=audit.Filter(subjects=(f"server:{server_id}",)))
    return [line.action for line in lines if line.action in {"server.unreachable", "server.reached"}]


def asked_of(works: Iterator[due.Work], task: Task) -> list[str]:
    return [work.argument for work in works if work.task == task]


def test_a_dead_server_costs_one_question_when_many_grants_are_due(people: Cast, deaf: Deaf) -> None:
    one = active(people.alice, minutes=1)
    many = [one, *crowd(one, 30)]
    deaf.deaf, deaf.calls, deaf.questions = True, 0, 0

    with clock.shifted(after(one)):
        services.end_due(server_id=one.server_id)

        assert (deaf.questions, deaf.calls) == (1, 0)
        assert entries_about(one.server_id) == ["server.unreachable"]
        next_probe_at = state(one.server_id).next_probe_at
        assert next_probe_at is not None
        for grant in many:
            assert now_in(grant, GrantStatus.ENDING).problem == LOST.sentence
            assert grant.next_try_at == next_probe_at
            assert not grant.claimed_by
            assert told(grant)[-2:] == ["grant.ending", "grant.end_failed"]
        just_before = next_probe_at - timedelta(milliseconds=1)
        assert asked_of(due.ends(just_before), Task.END) == []
        assert asked_of(chain(*due.rest(just_before)), Task.LOOK_AT_SESSIONS) == []
        assert due.next_instant(just_before) == next_probe_at
        assert asked_of(due.ends(next_probe_at), Task.END) == [one.server_id]


def test_one_worker_asks_when_many_could(people: Cast, deaf: Deaf) -> None:
    one = active(people.alice, minutes=1)
    deaf.deaf = True
    with clock.shifted(after(one)):
        services.end_due(server_id=one.server_id)
    deaf.questions = 0

    with clock.shifted(after(one) + timedelta(seconds=16)):
        assert asked_of(due.ends(clock.now()), Task.END) == [one.server_id]
        workers = [threading.Thread(target=_end, args=(one.server_id,)) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)

    assert deaf.questions == 1
    assert state(one.server_id).failures == 2
    assert entries_about(one.server_id) == ["server.unreachable"]
    assert told(one).count("grant.end_failed") == 1


def _end(server_id: str) -> None:
    try:
        services.end_due(server_id=server_id)
    finally:
        connections.close_all()


def test_all_that_waits_is_due_at_once_when_the_server_answers_again(people: Cast, deaf: Deaf) -> None:
    one = active(people.alice, minutes=1)
    many = [one, *crowd(one, 5)]
    deaf.deaf = True
    for tries in range(4):
        with clock.shifted(after(one) + tries * timedelta(seconds=16)):
            services.end_due(server_id=one.server_id)
    deaf.deaf = False

    with clock.shifted(after(one) + timedelta(seconds=80)):
        assert circuit.answers(one.server)
        assert asked_of(due.ends(clock.now()), Task.END) == [one.server_id]
        services.end_due(server_id=one.server_id)

    assert entries_about(one.server_id) == ["server.unreachable", "server.reached"]
    assert state(one.server_id).unreachable_since is None
    for grant in many:
        now_in(grant, GrantStatus.ENDED)


def test_a_new_sentence_reaches_all_and_is_not_told_for_each(
    people: Cast, deaf: Deaf, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = active(people.alice, minutes=1)
    deaf.deaf = True
    with clock.shifted(after(one)):
        services.end_due(server_id=one.server_id)
    monkeypatch.setattr(deaf, "_hear", lambda: (_ for _ in ()).throw(type(LOST)("It is on fire.")))
    with clock.shifted(after(one) + timedelta(seconds=16)):
        services.end_due(server_id=one.server_id)

    assert now_in(one, GrantStatus.ENDING).problem == "It is on fire."
    assert told(one).count("grant.end_failed") == 1


def test_a_server_is_asked_at_once_when_something_has_to_end_after_a_long_pause(people: Cast, deaf: Deaf) -> None:
    one = active(people.alice, minutes=1)
    deaf.deaf = True
    deaf.questions = 0
    ServerState.objects.update_or_create(
        server_id=one.server_id,
        defaults={
            "unreachable_since": clock.now(),
            "failures": 12,
            "next_probe_at": clock.now() + timedelta(seconds=240),
        },
    )
    assert not circuit.answers(one.server)
    assert deaf.questions == 0
    assert asked_of(chain(*due.rest(clock.now())), Task.LOOK_AT_SESSIONS) == []

    with clock.shifted(after(one)):
        assert asked_of(due.ends(clock.now()), Task.END) == [one.server_id]
        services.end_due(server_id=one.server_id)
        assert deaf.questions == 1
        probe = state(one.server_id).next_probe_at
        assert probe is not None
        assert probe <= clock.now() + timedelta(seconds=Patience.ENDING)


@pytest.mark.parametrize(("patience", "most"), [(Patience.ENDING, 15), (Patience.ISSUING, 60), (Patience.IDLE, 300)])
def test_pause_grows_to_what_waits_allows(patience: Patience, most: int) -> None:
    pauses = [circuit._pause(failures, patience).total_seconds() for failures in range(1, 40)]
    assert pauses[0] <= 1
    assert most / 2 <= pauses[-1] <= most
    assert max(pauses) <= most


def test_a_refusal_is_an_answer(people: Cast, deaf: Deaf, monkeypatch: pytest.MonkeyPatch) -> None:
    one = active(people.alice, minutes=1)
    monkeypatch.setattr(deaf, "now", lambda target: (_ for _ in ()).throw(Refused("No.")))
    assert circuit.answers(one.server)
    assert entries_about(one.server_id) == []


def test_the_circuit_stays_closed_when_only_the_work_failed(
    people: Cast, deaf: Deaf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that is missing, a session that was cut: the others on the server go on."""
    one = active(people.alice, minutes=1)

    def cut(*given: object) -> list[Closed]:
        raise LOST

    monkeypatch.setattr(deaf, "close_logins", cut)
    with clock.shifted(after(one)):
        services.end_due(server_id=one.server_id)
        assert circuit.answers(one.server)

    assert now_in(one, GrantStatus.ENDING).problem == LOST.sentence
    assert entries_about(one.server_id) == []


def test_a_grant_that_waits_to_be_made_is_given_up_in_time_when_nobody_answers(people: Cast, deaf: Deaf) -> None:
    one = queued(people.alice)
    deaf.deaf = True
    services.issue_queued(server_id=one.server_id)
    assert now_in(one, GrantStatus.QUEUED).tries == 0
    assert asked_of(due.issues(clock.now()), Task.ISSUE) == []

    with clock.shifted(max(issuing.PATIENCE, timedelta(minutes=one.minutes)) + timedelta(seconds=1)):
        services.issue_queued(server_id=one.server_id)
        now_in(one, GrantStatus.ENDING)
    deaf.deaf = False
    with clock.shifted(timedelta(hours=3)):
        services.end_due(server_id=one.server_id)
    now_in(one, GrantStatus.FAILED)


@pytest.fixture
def second(people: Cast, cluster_folder: Path, tmp_path: Path) -> Iterator[Cluster]:
    """Another server, with a database `other`, which may be stopped."""
    from apps.catalog.models import Database
    from tests.factories import DatabaseFactory, fill, let_ask

    cluster = Cluster(cluster_folder / "second", fast=True)
    cluster.start()
    target = TargetServer(cluster)
    try:
        datname = target.create_database("other")
        with target.admin(datname) as admin:
            admin.execute(TABLES)
        server = ServerFactory(name="second", host=target.host, port=target.port)
        environment = Database.Environment.STAGING
        database = DatabaseFactory(slug="other", datname=datname, server=server, environment=environment)
        fill(database)
        let_ask(database, people.shop_team)
        prepare(target, server, tmp_path)
        yield cluster
    finally:
        if cluster.running:
            _signal(cluster, signal.SIGCONT)
        cluster.destroy()


def _signal(cluster: Cluster, number: signal.Signals) -> None:
    """To the server and all its sessions."""
    import psutil

    pid = int((cluster.folder / "data" / "postmaster.pid").read_text().split()[0])
    postmaster = psutil.Process(pid)
    for process in [postmaster, *postmaster.children(recursive=True)]:
        os.kill(process.pid, number)


@pytest.mark.parametrize("how", ["stopped", "hangs"])
def test_others_end_when_one_server_is_gone_and_it_ends_when_that_is_back(
    people: Cast, second: Cluster, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(connect, "CONNECT_SECONDS", 2)
    there = active(people.bob, minutes=1, database="other", tables=("sales.orders",))
    here = active(people.alice, minutes=1)
    second.stop() if how == "stopped" else _signal(second, signal.SIGSTOP)

    with running(clocks=1, workers=2), clock.shifted(after(there)):
        approved(people.alice, database="other", tables=("sales.orders",))
        wait_until(lambda: Grant.objects.get(pk=here.pk).status == GrantStatus.ENDED)
        wait_until(lambda: Grant.objects.get(pk=there.pk).problem)
        now_in(there, GrantStatus.ENDING)
        assert entries_about(there.server_id) == ["server.unreachable"]
        second.start() if how == "stopped" else _signal(second, signal.SIGCONT)
        wait_until(lambda: Grant.objects.get(pk=there.pk).status == GrantStatus.ENDED)
    assert entries_about(there.server_id) == ["server.unreachable", "server.reached"]
    assert told(there)[-1] == "grant.ended"


def test_a_worker_is_free_again_when_the_server_stops_answering_in_the_midst_of_it(
    people: Cast, second: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "CONNECT_SECONDS", 2)
    monkeypatch.setattr(connect, "SILENT_SECONDS", 0.3)
    there = active(people.bob, minutes=1, database="other", tables=("sales.orders",))

    class Hanging(PostgresEngine):
        def close_logins(
            self, target: Target, logins: Sequence[str], proven: Callable[[Sequence[Closed]], None] = unheard
        ) -> list[Closed]:
            with connect.session(target, doing="hanging") as connection:
                _signal(second, signal.SIGSTOP)
                connection.execute("SELECT 1")
            return []

    put_in(monkeypatch, Hanging())
    with clock.shifted(after(there)):
        services.end_due(server_id=there.server_id)

    assert "lost" in now_in(there, GrantStatus.ENDING).problem
    assert entries_about(there.server_id) == ["server.unreachable"]


def test_approved_is_not_lost_when_the_server_is_gone_for_a_while(people: Cast, deaf: Deaf) -> None:
    deaf.deaf = True
    request = approved(people.alice)
    (grant,) = services.open_approved()
    services.issue_queued(server_id=grant.server_id)
    deaf.deaf = False
    with clock.shifted(timedelta(seconds=5)):
        assert asked_of(due.issues(clock.now()), Task.ISSUE) == [grant.server_id]
        services.issue_queued(server_id=grant.server_id)
    assert Grant.objects.get(request=request).status == GrantStatus.ACTIVE
