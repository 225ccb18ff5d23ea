"""What else keeps a statement from running; and what is said of one that nobody has ended."""

import pytest
from django.utils import timezone

from apps.accounts.models import User
from apps.console import services as console
from apps.console import slots
from apps.console.errors import TooMany
from apps.console.models import Statement
from apps.core.errors import Conflict, NotAllowed
from apps.grants.models import Continuity
from tests.console.scene import done, entries, live
from tests.factories import Cast


def test_run_when_the_account_is_closed(people: Cast) -> None:
    grant = live(people)
    User.objects.filter(pk=people.alice.pk).update(is_active=False)

    with pytest.raises(NotAllowed, match="closed"):
        console.run(actor=people.alice, grant_id=grant.pk, sql="SELECT 1")


def test_run_when_the_portal_may_be_a_copy(people: Cast) -> None:
    grant = live(people)
    Continuity.objects.create(found_at=timezone.now(), server=grant.server, size_here=1, size_there=2, why="A test.")

    with pytest.raises(Conflict, match="may have been restored"):
        console.run(actor=people.alice, grant_id=grant.pk, sql="SELECT 1")


def test_run_when_too_many_run(people: Cast) -> None:
    grant = live(people)
    runs = [console.run(actor=people.alice, grant_id=grant.pk, sql="SELECT 1") for _ in range(4)]

    with pytest.raises(TooMany, match="4 statements"):
        console.run(actor=people.alice, grant_id=grant.pk, sql="SELECT 1")
    for run in runs:
        run.close()
    assert done(list(console.run(actor=people.alice, grant_id=grant.pk, sql="SELECT 1"))).tag == "SELECT 1"


def test_run_when_too_many_run_under_other_access(people: Cast) -> None:
    """Threads of the portal are what is short, whatever access they serve."""
    first, second = live(people), live(people, tables=("sales.customers",))
    runs = [console.run(actor=people.alice, grant_id=first.pk, sql="SELECT 1") for _ in range(4)]

    with pytest.raises(TooMany, match="4 statements"):
        console.run(actor=people.alice, grant_id=second.pk, sql="SELECT 1")
    for run in runs:
        run.close()


def test_run_when_the_process_has_no_thread_to_spare(people: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    grant = live(people)
    monkeypatch.setattr(slots, "streams", slots.Slots(1, "running statements", "or not"))
    run = console.run(actor=people.alice, grant_id=grant.pk, sql="SELECT 1")

    with pytest.raises(TooMany, match="holds 1 running statements"):
        console.run(actor=people.alice, grant_id=grant.pk, sql="SELECT 1")
    run.close()
    assert done(list(console.run(actor=people.alice, grant_id=grant.pk, sql="SELECT 1"))).tag == "SELECT 1"


def test_close_lost_when_nobody_has_ended_a_statement(people: Cast) -> None:
    grant = live(people)
    run = console.run(actor=people.alice, grant_id=grant.pk, sql="SELECT 1")
    assert console.close_lost() == 0
    Statement.objects.update(deadline_at="2020-01-01T00:00:00Z")

    assert console.close_lost() == 1

    assert Statement.objects.get().status == "unknown"
    assert [line.facts["outcome"] for line in entries(grant, "statement.finished")] == ["unknown"]
    list(run)
    assert Statement.objects.get().status == "done"
    assert [line.facts["outcome"] for line in entries(grant, "statement.finished")] == ["unknown", "done"]


def test_settings_when_a_run_is_over(people: Cast) -> None:
    """Nothing of one run is there in the next."""
    grant = live(people)

    list(console.run(actor=people.alice, grant_id=grant.pk, sql="SET search_path = nowhere; PREPARE p AS SELECT 1"))
    events = list(console.run(actor=people.alice, grant_id=grant.pk, sql="SELECT name FROM pg_prepared_statements"))

    assert done(events).rows == 0
