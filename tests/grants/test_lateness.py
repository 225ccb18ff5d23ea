"""What is late is told once, by the clock, and goes on being worked on."""

from datetime import timedelta

import pytest

from apps.audit import services as audit
from apps.core import clock
from apps.grants import services
from apps.grants.clock import Rounds
from apps.grants.models import Grant
from apps.grants.states import GrantStatus
from tests.factories import Cast
from tests.grants.odd_engine import LOST, OddEngine, fails, put_in
from tests.grants.shelf import Shelf
from tests.grants.stage import active, after, now_in, told
from tests.support.threads import at_once

pytestmark = pytest.mark.django_db(transaction=True)

A_MINUTE = timedelta(seconds=61)


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Shelf:
    shelf = Shelf()
    put_in(monkeypatch, shelf)
    return shelf


def entry(grant: Grant) -> audit.Line:
    return audit.latest(limit=1, where=audit.Filter(action="grant.late", subjects=(grant.audit_id,)))[0]


def test_tell_late_tells_once_when_the_target_does_not_answer(people: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    grant = active(people.alice, minutes=1)
    put_in(monkeypatch, OddEngine(before_close=fails(LOST), again=True))
    with clock.shifted(after(grant)):
        services.end_due(server_id=grant.server_id)
        assert services.tell_late() == 0  # a hiccup calls nobody
    with clock.shifted(after(grant) + A_MINUTE):
        assert services.tell_late() == 1
        assert services.tell_late() == 0

    line = entry(grant)
    assert line.disclosed["problem"] == LOST.sentence
    assert 60 <= int(str(line.facts["seconds"])) <= 120
    assert (line.actor, line.facts["cause"]) == ("clock", "expired")
    assert now_in(grant, GrantStatus.ENDING).late_told_at is not None
    assert told(grant).count("grant.late") == 1


def test_tell_late_tells_when_no_worker_has_even_begun(people: Cast, shelf: Shelf) -> None:
    grant = active(people.alice, minutes=1)
    with clock.shifted(after(grant) + A_MINUTE):
        Rounds().look()

    now_in(grant, GrantStatus.ACTIVE)
    assert "problem" not in entry(grant).disclosed


def test_tell_late_counts_from_the_revocation_when_it_came_before_the_end(people: Cast, shelf: Shelf) -> None:
    grant = active(people.alice, minutes=60)
    services.release(actor=people.alice, grant_id=grant.pk)
    assert services.tell_late() == 0
    with clock.shifted(A_MINUTE):
        assert services.tell_late() == 1


def test_tell_late_tells_nothing_when_all_ends_in_time(people: Cast, shelf: Shelf) -> None:
    grant = active(people.alice, minutes=1)
    with clock.shifted(after(grant)):
        services.end_due(server_id=grant.server_id)
    with clock.shifted(after(grant) + A_MINUTE):
        assert services.tell_late() == 0
    assert "grant.late" not in told(grant)


def test_tell_late_tells_once_when_two_clocks_look(people: Cast, shelf: Shelf) -> None:
    grant = active(people.alice, minutes=1)
    with clock.shifted(after(grant) + A_MINUTE):
        assert sum(at_once(services.tell_late, services.tell_late)) == 1
    assert told(grant).count("grant.late") == 1


def test_late_orders_by_how_long_when_there_are_several(people: Cast, shelf: Shelf) -> None:
    longer, shorter = active(people.alice, minutes=1), active(people.bob, minutes=2)
    with clock.shifted(after(shorter) + A_MINUTE):
        assert list(Grant.objects.late(clock.now())) == [longer, shorter]
        assert list(Grant.objects.late(clock.in_sql())) == [longer, shorter]
