import threading
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from django.db import transaction

from apps.audit import services as audit
from apps.catalog import services as catalog
from apps.core import clock
from apps.engines.base import CutWhy, SessionCut, SessionLimits, SessionUse, Target
from apps.grants import services
from apps.grants.models import Continuity, Grant, is_never_used
from apps.grants.sessions import use_in_words
from apps.grants.states import GrantStatus
from jitportal.portal_database import WORKER
from tests.factories import Cast
from tests.grants.odd_engine import put_in
from tests.grants.shelf import Shelf
from tests.grants.stage import active, connected, now_in, queued
from tests.support.targets import TargetServer
from tests.support.threads import at_once, waiting_for

pytestmark = pytest.mark.django_db(transaction=True)


def test_look_at_sessions_counts_when_people_come_and_go(people: Cast) -> None:
    grant = active(people.alice)
    look = lambda: services.look_at_sessions(server_id=grant.server_id)  # noqa: E731

    look()
    now_in(grant, GrantStatus.ACTIVE)
    assert (grant.sessions_live, grant.sessions_seen, grant.first_used_at) == (0, 0, None)

    with connected(grant), connected(grant):
        look()
        look()
        now_in(grant, GrantStatus.ACTIVE)
        assert (grant.sessions_live, grant.sessions_seen) == (2, 2)
        first_used_at, last_used_at = grant.first_used_at, grant.last_used_at
    services.release(actor=people.alice, grant_id=grant.pk)
    services.end_due(server_id=grant.server_id)

    now_in(grant, GrantStatus.ENDED)
    assert (grant.sessions_live, grant.sessions_seen) == (0, 2)
    assert (grant.first_used_at, grant.last_used_at) == (first_used_at, last_used_at)


def test_look_at_sessions_counts_anew_when_all_have_been_replaced(people: Cast) -> None:
    grant = active(people.alice)
    with connected(grant):
        services.look_at_sessions(server_id=grant.server_id)
    with connected(grant):
        services.look_at_sessions(server_id=grant.server_id)

    now_in(grant, GrantStatus.ACTIVE)

    assert (grant.sessions_live, grant.sessions_seen) == (1, 2)
    assert grant.first_used_at is not None
    assert abs(grant.first_used_at - clock.now()) < timedelta(minutes=1)


@dataclass
class Watched(Shelf):
    """A shelf on which sessions are seen and cut."""

    uses: list[SessionUse] = field(default_factory=list)
    asked: list[SessionLimits] = field(default_factory=list)

    def sessions(self, target: Target, limits: SessionLimits) -> list[SessionUse]:
        self.asked.append(limits)
        return self.uses


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    engine = Watched()
    put_in(monkeypatch, engine)
    return engine


def a_cut(why: CutWhy = CutWhy.BLOCKED, *, pid: int = 7) -> SessionCut:
    return SessionCut(pid, why, 42, datetime(2026, 1, 2, 3, 4, 5, 6, UTC))


def entries(grant: Grant) -> list[audit.Line]:
    return audit.entries(limit=100, where=audit.Filter(action="grant.session_cut", subjects=(grant.audit_id,)))


def test_look_at_sessions_asks_with_the_limits_of_the_server(people: Cast, watched: Watched) -> None:
    server = people.shop.server
    catalog.change_server(actor="operator", server_id=server.pk, block_seconds=5, idle_seconds=0, snapshot_seconds=90)
    services.look_at_sessions(server_id=server.pk)
    assert watched.asked == [SessionLimits(blocks=5, idles=0, holds_back=90)]


def test_look_at_sessions_only_looks_when_the_portal_may_be_a_copy(people: Cast, watched: Watched) -> None:
    Continuity.objects.create(found_at=clock.now(), size_here=1, size_there=2, why="It remembers more.")
    services.look_at_sessions(server_id=people.shop.server_id)
    assert watched.asked == [SessionLimits()]


def test_look_at_sessions_records_once_when_two_looks_tell_of_the_same_cut(people: Cast, watched: Watched) -> None:
    grant, other = active(people.alice), active(people.bob)
    watched.uses = [SessionUse(grant.login, 3, clock.now(), (a_cut(), a_cut(CutWhy.IDLED, pid=8)))]
    services.look_at_sessions(server_id=grant.server_id)
    now_in(grant, GrantStatus.ACTIVE)
    assert (grant.sessions_cut, grant.sessions_live, grant.sessions_seen) == (2, 1, 3)
    services.look_at_sessions(server_id=grant.server_id)

    assert now_in(grant, GrantStatus.ACTIVE).sessions_cut == 2
    first, second = entries(grant)
    assert {key: first.facts[key] for key in ("cause", "seconds", "pid", "began")} == {
        "cause": "blocked",
        "seconds": 42,
        "pid": 7,
        "began": "2026-01-02T03:04:05.000006Z",
    }
    assert first.disclosed["why"] == "Somebody had waited 42 s for what it held."
    assert second.facts["cause"] == "idled"
    assert first.recorded_by == WORKER
    assert entries(other) == []


def test_look_at_sessions_records_a_cut_when_the_grant_ends_already(people: Cast, watched: Watched) -> None:
    grant = active(people.alice)
    services.release(actor=people.alice, grant_id=grant.pk)
    watched.uses = [SessionUse(grant.login, 0, None, (a_cut(pid=0),))]
    services.look_at_sessions(server_id=grant.server_id)

    assert now_in(grant, GrantStatus.ENDING).sessions_cut == 1
    assert (grant.sessions_live, grant.first_used_at) == (0, None)
    assert len(entries(grant)) == 1


def test_look_at_sessions_locks_no_row_when_nothing_is_used(people: Cast, watched: Watched) -> None:
    """Thousands may live unused: somebody else's work on their rows is not waited for."""
    used, unused = active(people.alice), active(people.bob)
    watched.uses = [SessionUse(used.login, 1, clock.now())]

    def work() -> None:
        with transaction.atomic():
            Grant.objects.select_for_update().get(pk=unused.pk)
            locked.set()
            assert looked.wait(30)

    def look() -> None:
        assert locked.wait(30)
        services.look_at_sessions(server_id=used.server_id)
        looked.set()

    locked, looked = threading.Event(), threading.Event()
    assert at_once(work, look) == [None, None]
    assert now_in(used, GrantStatus.ACTIVE).sessions_live == 1


def test_look_at_sessions_ends_what_blocks_others_on_a_real_server(people: Cast, target: TargetServer) -> None:
    grant = active(people.alice)
    catalog.change_server(actor="operator", server_id=grant.server_id, block_seconds=1)
    with closing(connected(grant)) as alice, closing(connected(grant)) as other:
        alice.execute("SELECT pg_advisory_lock(4711)")
        with closing(target.admin(grant.database.datname)) as application:
            application.pgconn.send_query(b"SELECT pg_advisory_lock(4711)")
            waits = "SELECT bool_or(clock_timestamp() - waitstart > interval '1 s') FROM pg_locks WHERE NOT granted"
            waiting_for(lambda: other.execute(waits).fetchone() == (True,))
            services.look_at_sessions(server_id=grant.server_id)
            assert application.pgconn.get_result() is not None
        with pytest.raises(psycopg.OperationalError):
            alice.execute("SELECT 1")
        other.execute("SELECT 1")
    now_in(grant, GrantStatus.ACTIVE)
    assert (grant.sessions_cut, grant.sessions_live, use_in_words(grant)) == (1, 1, "1 open, 2 seen, 1 cut")


def test_use_in_words_when_nothing_was_seen_until_the_end(people: Cast, watched: Watched) -> None:
    grant, refused = active(people.alice), queued(people.bob)
    assert use_in_words(grant) == "not yet"
    services.release(actor=people.bob, grant_id=refused.pk)
    services.release(actor=people.alice, grant_id=grant.pk)
    services.end_due(server_id=grant.server_id)

    assert use_in_words(now_in(grant, GrantStatus.ENDED)) == "never used"
    assert use_in_words(now_in(refused, GrantStatus.ENDED)) == ""  # it never worked
    assert list(Grant.objects.filter(is_never_used())) == [grant]
