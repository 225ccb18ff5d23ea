"""What happens to live access when its target has changed. The target is a dictionary that says what it is told to."""

from datetime import timedelta

import pytest

from apps.audit import services as audit
from apps.catalog.classification import classify_many
from apps.catalog.models import Column
from apps.core import clock
from apps.engines.base import Drift, LoginSpec
from apps.grants import due, services
from apps.grants.clock import Rounds
from apps.grants.models import Grant
from apps.grants.states import GrantStatus
from apps.grants.tasks import Cluster, Task, enqueue
from tests.factories import Cast, fresh
from tests.grants.machinery import asked_for, work_off
from tests.grants.odd_engine import put_in
from tests.grants.shelf import Fault, Shelf
from tests.grants.stage import active, now_in, queued, told, until_next
from tests.support.threads import at_once

pytestmark = pytest.mark.django_db(transaction=True)

LEAK = "PUBLIC may read sales.customers.email: REVOKE SELECT ON sales.customers FROM PUBLIC"
ODD = "sales.orders has the column note, which the catalog has not seen"


@pytest.fixture
def shelf(people: Cast, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    shelf = Shelf()
    put_in(monkeypatch, shelf)
    return shelf


def opened(spec: LoginSpec) -> Drift:
    return Drift(spec.login, opened=(LEAK,), changed=(ODD,))


def changed(spec: LoginSpec) -> Drift:
    return Drift(spec.login, changed=(ODD,))


def found(grant: Grant) -> list[audit.Line]:
    return audit.entries(where=audit.Filter(subjects=(grant.audit_id,), action="drift.found"))


def test_check_drift_ends_access_when_too_much_is_within_its_reach(people: Cast, shelf: Shelf) -> None:
    grant, other = active(people.alice), active(people.bob)
    shelf.drifts = lambda spec: opened(spec) if spec.login == grant.login else Drift(spec.login)

    services.check_drift(server_id=grant.server_id)

    assert now_in(grant, GrantStatus.ENDING).end_cause == "drifted"
    assert grant.end_reason == f"{LEAK} Ask again when that is mended."
    now_in(other, GrantStatus.ACTIVE)
    services.end_due(server_id=grant.server_id)
    now_in(grant, GrantStatus.ENDED)
    assert told(grant)[-3:] == ["drift.found", "grant.ending", "grant.ended"]
    (line,) = found(grant)
    assert (line.facts["opened"], line.facts["changed"], line.facts["ends"]) == (1, 1, True)
    assert (line.disclosed["opened"], line.disclosed["changed"]) == (LEAK, ODD)
    assert "customers" not in line.body.decode()


def test_check_drift_tells_once_when_something_has_changed(people: Cast, shelf: Shelf) -> None:
    grant = active(people.alice)
    shelf.drifts = changed

    for _ in range(2):
        services.check_drift(server_id=grant.server_id)

    assert now_in(grant, GrantStatus.ACTIVE).drift == ODD
    assert grant.drift_checked_at is not None
    assert [line.disclosed["changed"] for line in found(grant)] == [ODD]


def test_check_drift_forgets_it_when_all_is_as_it_was(people: Cast, shelf: Shelf) -> None:
    grant = active(people.alice)
    for shelf.drifts in (changed, lambda spec: Drift(spec.login), changed):
        services.check_drift(server_id=grant.server_id)
        grant.refresh_from_db()
        assert bool(grant.drift) is (shelf.drifts is changed)

    assert len(found(grant)) == 2


def test_check_drift_keeps_a_few_sentences_when_there_are_many(people: Cast, shelf: Shelf) -> None:
    grant = active(people.alice)
    shelf.drifts = lambda spec: Drift(spec.login, changed=tuple(f"Sentence {n}." for n in range(1000)))
    services.check_drift(server_id=grant.server_id)
    assert now_in(grant, GrantStatus.ACTIVE).drift.endswith("Sentence 19.\nAnd 980 more.")


def test_check_drift_asks_once_for_each_database_when_many_live_there(people: Cast, shelf: Shelf) -> None:
    grants = [active(people.alice), active(people.bob), active(people.bob, tables=("stock.levels",))]
    queued(people.alice)
    asked: list[list[str]] = []
    before = shelf.drift
    shelf.drift = lambda *given: asked.append([spec.login for spec in given[2]]) or before(*given)  # type: ignore

    services.check_drift(server_id=grants[0].server_id)

    assert asked == [[grant.login for grant in sorted(grants, key=lambda grant: grant.pk)]]
    spec = shelf.specs[grants[2].login]
    assert {str(table) for table, _ in spec.known} == {"stock.levels"}
    assert {f"{table}.{column}" for table, column in spec.classified} == {
        "sales.customers.email",
        "hr.employees.salary",
    }


def test_check_drift_is_told_of_what_is_classified_by_now(people: Cast, shelf: Shelf) -> None:
    grant = active(people.alice, tables=("stock.levels",))
    Column.objects.filter(table__database=people.staging, table__name="T").update(classification="restricted")
    services.check_drift(server_id=grant.server_id)
    assert "Odd.Name.T.id" in {f"{table}.{column}" for table, column in shelf.specs[grant.login].classified}


@pytest.mark.parametrize("error", [Fault.BEFORE, "broken"])
def test_check_drift_tries_again_when_the_target_does_not_answer(
    people: Cast, shelf: Shelf, error: str, caplog: pytest.LogCaptureFixture
) -> None:
    grant = active(people.alice)
    shelf.drifts = opened
    if error == "broken":
        shelf.drifts = lambda spec: 1 // 0  # type: ignore[assignment,return-value]
    else:
        shelf.fault = Fault(error)

    enqueue(Task.CHECK_DRIFT, grant.server_id)
    work_off(Cluster.BULK)

    assert now_in(grant, GrantStatus.ACTIVE).drift_checked_at is None
    assert "shop-staging" in caplog.text
    shelf.fault, shelf.drifts = Fault.NONE, opened
    with clock.shifted(timedelta(seconds=2)):  # a server that has not answered is asked again a little later
        services.check_drift(server_id=grant.server_id)
    now_in(grant, GrantStatus.ENDING)


def test_check_drift_leaves_it_when_it_ends_already(people: Cast, shelf: Shelf) -> None:
    grant = active(people.alice)

    def released_meanwhile(spec: LoginSpec) -> Drift:
        services.release(actor=fresh(people.alice), grant_id=grant.pk)
        return opened(spec)

    shelf.drifts = released_meanwhile
    services.check_drift(server_id=grant.server_id)

    assert now_in(grant, GrantStatus.ENDING).end_cause == "released"
    assert found(grant) == []


@pytest.mark.parametrize("drifts", [opened, changed])
def test_check_drift_tells_once_when_two_workers_look_at_once(people: Cast, shelf: Shelf, drifts: object) -> None:
    grant = active(people.alice)
    shelf.drifts = drifts  # type: ignore[assignment]
    look = lambda: services.check_drift(server_id=grant.server_id)  # noqa: E731

    assert at_once(look, look) == [None, None]

    assert len(found(grant)) == 1


@pytest.mark.usefixtures("seconded")
def test_look_asks_for_a_check_when_it_is_time_and_when_the_catalog_has_changed(people: Cast, shelf: Shelf) -> None:
    ticking = Rounds()
    ticking.look()
    assert asked_for(Task.CHECK_DRIFT) == []
    grant = active(people.alice)
    within = until_next(due.DRIFT_EVERY)
    with clock.shifted(within):
        for _ in range(2):
            ticking.look()
        assert asked_for(Task.CHECK_DRIFT) == [(grant.server_id,)]

        column = Column.objects.get(table__database=people.shop, name="region")
        classify_many(actor=fresh(people.dana), column_ids=[column.pk], classification="internal")
        for _ in range(2):
            ticking.look()
        assert len(asked_for(Task.CHECK_DRIFT)) == 2

    with clock.shifted(within + due.DRIFT_EVERY):
        ticking.look()
    assert len(asked_for(Task.CHECK_DRIFT)) == 3
