"""Cancelled is cancelled on the server; ended is ended, whatever the server does."""

import threading
from typing import Any

import pytest
from django.db import connections

from apps.console import access
from apps.console import services as console
from apps.console.events import Event, Why
from apps.console.models import Statement
from apps.core import clock
from apps.core.errors import NotFound
from tests.console.scene import entries, failed, live, names, rows
from tests.console.test_change import ended, shelf
from tests.factories import Cast
from tests.grants.stage import after
from tests.support.targets import TargetServer
from tests.support.threads import waiting_for

__all__ = ["shelf"]


class Reading:
    """A run that somebody reads in a thread of its own."""

    def __init__(self, run: Any) -> None:
        self.events: list[Event] = []
        self._run = run
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        self.events += self._run
        connections.close_all()

    def over(self) -> list[Event]:
        self._thread.join(timeout=60)
        assert not self._thread.is_alive()
        return self.events


def sleeping(people: Cast, grant: Any) -> Reading:
    return Reading(console.run(actor=people.alice, grant_id=grant.pk, sql="SELECT pg_sleep(100)"))


def sleepers(target: TargetServer, grant: Any) -> int:
    with target.admin() as admin:
        row = admin.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = %s AND state = 'active'", [grant.login]
        ).fetchone()
    return int(row[0]) if row else 0


def test_cancel_when_it_runs(people: Cast, target: TargetServer) -> None:
    grant = live(people)
    reading = sleeping(people, grant)
    waiting_for(lambda: sleepers(target, grant))

    console.cancel(actor=people.alice, statement_id=Statement.objects.get().pk)

    error = failed(reading.over())
    assert (error.why, error.sqlstate) == (Why.CANCELLED, "57014")
    assert sleepers(target, grant) == 0
    assert Statement.objects.get().status == "cancelled"
    assert entries(grant, "statement.finished")[0].facts["why"] == "cancelled"
    assert console.cancel(actor=people.alice, statement_id=Statement.objects.get().pk).status == "cancelled"


def wanted_while_it_runs(events: Any) -> list[Event]:
    """The wish is there in time, and the statement ends well before the server hears of it."""
    found = []
    for event in events:
        found.append(event)
        if event.event == "started":
            Statement.objects.filter(pk=event.statement).update(cancel_wanted_at=clock.now())
    return found


def test_cancel_when_the_statement_is_over_before_the_server_hears(people: Cast) -> None:
    """Nothing more of the run happens: a word that comes late would meet the next statement."""
    grant = live(people)
    events = wanted_while_it_runs(console.run(actor=people.alice, grant_id=grant.pk, sql="SELECT 1; SELECT 2"))
    assert names(events) == ["started", "columns", "rows", "done", "failed"]
    assert failed(events).why is Why.CANCELLED
    assert Statement.objects.get().status == "done"


def test_cancel_when_a_change_is_over_before_the_server_hears(people: Cast, shelf: Any) -> None:
    grant = live(people, level="change", tables=("stock.products",))
    sql = "UPDATE stock.products SET title = 'new'"
    events = wanted_while_it_runs(console.change(actor=people.alice, grant_id=grant.pk, sql=sql, commit=True))
    assert (ended(events).committed, ended(events).why) == (False, Why.CANCELLED)
    assert shelf() == ["old"] * 3


def test_run_when_it_is_several_each_has_a_name_of_its_own(people: Cast) -> None:
    """A word to cancel one of them does not meet another."""
    grant = live(people)
    sql = "SELECT current_setting('application_name'); SELECT current_setting('application_name')"
    shown = rows(console.run(actor=people.alice, grant_id=grant.pk, sql=sql))
    assert [name for (name,) in shown] == list(
        Statement.objects.order_by("started_at").values_list("backend_name", flat=True)
    )
    assert shown[0] != shown[1]


def test_cancel_when_the_server_does_not_hear(
    people: Cast, target: TargetServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "CUT_AFTER", 0.0)
    monkeypatch.setattr("apps.console.cancelling.cancel_backend", lambda *_: False)
    grant = live(people)
    reading = sleeping(people, grant)
    waiting_for(lambda: sleepers(target, grant))

    console.cancel(actor=people.alice, statement_id=Statement.objects.get().pk)

    assert failed(reading.over()).why is Why.CANCELLED
    waiting_for(lambda: sleepers(target, grant) == 0)


def test_cancel_when_it_is_somebody_elses(people: Cast) -> None:
    grant = live(people)
    list(console.run(actor=people.alice, grant_id=grant.pk, sql="SELECT 1"))

    for person in (people.bob, people.dana):
        with pytest.raises(NotFound):
            console.cancel(actor=person, statement_id=Statement.objects.get().pk)
    with pytest.raises(NotFound):
        console.cancel(actor=people.alice, statement_id="\0")


def test_run_when_the_policys_time_is_up(people: Cast) -> None:
    type(people.shop).objects.filter(pk=people.shop.pk).update(console_seconds=1)
    grant = live(people)

    assert failed(console.run(actor=people.alice, grant_id=grant.pk, sql="SELECT pg_sleep(100)")).why is Why.TIME


def test_run_when_the_person_takes_the_timeout_away(people: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "CUT_AFTER", 0.0)
    type(people.shop).objects.filter(pk=people.shop.pk).update(console_seconds=2)
    grant = live(people)

    text = "DO $$ BEGIN SET LOCAL statement_timeout = 0; PERFORM pg_sleep(100); END $$"
    assert failed(console.run(actor=people.alice, grant_id=grant.pk, sql=text)).why is Why.TIME


def test_run_when_the_access_ends_meanwhile(people: Cast, target: TargetServer) -> None:
    grant = live(people)
    run = console.run(actor=people.alice, grant_id=grant.pk, sql="SELECT pg_sleep(100)")
    next(run)

    with clock.shifted(after(grant)):
        error = failed(list(run))

    assert (error.why, "has ended" in error.sentence) == (Why.ENDED, True)
    waiting_for(lambda: sleepers(target, grant) == 0)


def test_run_when_the_target_goes_away(people: Cast, target: TargetServer) -> None:
    grant = live(people)
    reading = sleeping(people, grant)
    waiting_for(lambda: sleepers(target, grant))

    with target.admin() as admin:
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [grant.login])

    assert failed(reading.over()).why is Why.LOST
    assert Statement.objects.get().status == "failed"
