"""Changing in the console: nothing stays that was not committed, and nobody is left in doubt."""

from collections.abc import Iterator
from typing import Any

import pytest

from apps.console import services as console
from apps.console.errors import TooMany
from apps.console.events import Ended, Event, Why
from apps.console.models import Change, Command
from apps.core import clock
from apps.core.errors import Conflict, NotAllowed, NotFound
from apps.grants import services as grants
from apps.grants.models import Grant
from tests.console.scene import done, entries, failed, live, names, rows
from tests.factories import Cast
from tests.grants.stage import after
from tests.support.targets import TargetServer


@pytest.fixture
def shelf(people: Cast, target: TargetServer) -> "Iterator[Any]":
    """stock.products with three products; calls tell their titles."""
    with target.admin(people.shop.datname) as admin:
        admin.execute("TRUNCATE stock.products")
        admin.execute("INSERT INTO stock.products SELECT n, 'old', n FROM generate_series(1, 3) n")
        yield lambda: [title for (title,) in admin.execute("SELECT title FROM stock.products ORDER BY id")]


@pytest.fixture
def grant(people: Cast) -> Grant:
    return live(people, level="change", tables=("stock.products",))


UPDATE = "UPDATE stock.products SET title = 'new' WHERE id > 1"


def ended(events: list[Event]) -> Ended:
    assert isinstance(events[-1], Ended)
    return events[-1]


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ((True, None), (["old", "new", "new"], None)),
        ((True, 2), (["old", "new", "new"], None)),
        ((True, 1), (["old", "old", "old"], Why.COUNT)),
        ((False, None), (["old", "old", "old"], None)),
    ],
)
def test_change_when_it_comes_in_one_go(
    people: Cast, grant: Grant, shelf: Any, how: tuple[bool, int | None], what: tuple[list[str], Why | None]
) -> None:
    (commit, expected), (titles, why) = how, what
    run = console.change(
        actor=people.alice, grant_id=grant.pk, sql=UPDATE, commit=commit, expected_rows=expected, address="::1"
    )
    events = list(run)

    assert names(events) == ["begun", "started", "done", "ended"]
    assert done(events).affected == 2
    assert (ended(events).committed, ended(events).affected, ended(events).why) == (titles[1] == "new", 2, why)
    assert shelf() == titles
    told = [line.action for line in entries(grant, "change.")]
    committing = ["change.committing"] if titles[1] == "new" else []
    assert told == ["change.begun", *committing, "change.ended"]


def test_change_when_a_statement_fails(people: Cast, grant: Grant, shelf: Any) -> None:
    events = list(console.change(actor=people.alice, grant_id=grant.pk, sql=f"{UPDATE}; SELECT 1/0", commit=True))

    assert failed(events).sqlstate == "22012"
    assert ended(events).committed is False
    assert shelf() == ["old"] * 3


def test_change_when_it_returns_more_than_is_shown(people: Cast, grant: Grant, shelf: Any) -> None:
    type(people.shop).objects.filter(pk=people.shop.pk).update(console_rows=1)

    events = list(console.change(actor=people.alice, grant_id=grant.pk, sql=f"{UPDATE} RETURNING id", commit=True))

    assert (done(events).rows, done(events).affected, done(events).truncated) == (1, 2, True)
    assert ended(events).committed
    assert shelf() == ["old", "new", "new"]


def test_change_when_the_level_is_query(people: Cast) -> None:
    grant = live(people)

    with pytest.raises(NotAllowed, match="level query"):
        console.change(actor=people.alice, grant_id=grant.pk, sql=UPDATE, commit=True)


def test_change_when_the_reader_goes_away(people: Cast, grant: Grant, shelf: Any) -> None:
    run = console.change(actor=people.alice, grant_id=grant.pk, sql=f"{UPDATE}; SELECT pg_sleep(100)", commit=True)
    assert [next(run).event for _ in range(4)] == ["begun", "started", "done", "started"]

    run.close()

    assert shelf() == ["old"] * 3
    assert Change.objects.get().status == "rolled_back"
    assert [(line.facts["outcome"], line.facts["why"]) for line in entries(grant, "statement.finished")] == [
        ("done", ""),
        ("cancelled", "gone"),
    ]


def until(run: console.Stream, event: str) -> list[Event]:
    found = []
    for one in run:
        found.append(one)
        if one.event == event:
            return found
    raise AssertionError(f"no {event} in {names(found)}")


def say(people: Cast, run: Event, do: str, sql: str = "") -> str:
    return console.say(actor=people.alice, transaction_id=run.transaction, do=do, sql=sql)  # type: ignore[attr-defined]


def test_begin_when_it_is_committed(people: Cast, grant: Grant, shelf: Any) -> None:
    run = console.begin(actor=people.alice, grant_id=grant.pk, address="::1")
    begun = next(run)
    command = say(people, begun, "run", UPDATE)
    events = until(run, "done")
    assert [one.command for one in events if one.event == "started"] == [command]  # type: ignore[attr-defined]
    assert shelf() == ["old"] * 3
    say(people, begun, "run", "SELECT nothing")
    assert failed(until(run, "failed")).sqlstate == "42703"
    say(people, begun, "run", "SELECT count(*) FROM stock.products WHERE title = 'new'")
    assert rows(until(run, "done")) == [("2",)]

    say(people, begun, "commit")

    assert ended(list(run)).committed
    assert shelf() == ["old", "new", "new"]
    assert set(Command.objects.values_list("sql", flat=True)) == {""}
    with pytest.raises(Conflict, match="over"):
        say(people, begun, "run", "SELECT 1")


def test_begin_when_it_is_rolled_back(people: Cast, grant: Grant, shelf: Any) -> None:
    run = console.begin(actor=people.alice, grant_id=grant.pk)
    begun = next(run)
    say(people, begun, "run", UPDATE)
    until(run, "done")

    say(people, begun, "rollback")

    assert (
        ended(list(run)).committed,
        ended([*run, Ended(committed=False, affected=0, why=None, sentence="")]).why,
    ) == (
        False,
        None,
    )
    assert shelf() == ["old"] * 3


def test_begin_when_one_is_open(people: Cast, grant: Grant) -> None:
    run = console.begin(actor=people.alice, grant_id=grant.pk)

    with pytest.raises(Conflict, match="open under this access"):
        console.begin(actor=people.alice, grant_id=grant.pk)
    run.close()
    console.begin(actor=people.alice, grant_id=grant.pk).close()


def test_begin_when_its_time_is_up(people: Cast, grant: Grant, shelf: Any) -> None:
    run = console.begin(actor=people.alice, grant_id=grant.pk)
    begun = next(run)
    say(people, begun, "run", UPDATE)
    until(run, "done")

    with clock.shifted(after(grant)):
        end = ended(list(run))

    assert (end.committed, end.why) == (False, Why.ENDED)
    assert shelf() == ["old"] * 3


def test_begin_when_the_access_is_revoked_before_commit(people: Cast, grant: Grant, shelf: Any) -> None:
    run = console.begin(actor=people.alice, grant_id=grant.pk)
    begun = next(run)
    say(people, begun, "run", UPDATE)
    until(run, "done")
    say(people, begun, "commit")
    grants.revoke(actor=people.dana, grant_id=grant.pk, reason="No more")

    end = ended(list(run))

    assert (end.committed, end.why) == (False, Why.ENDED)
    assert shelf() == ["old"] * 3


@pytest.mark.parametrize(("field", "why"), [("page_seen_at", Why.GONE)])
def test_begin_when_the_page_is_not_heard(people: Cast, grant: Grant, field: str, why: Why) -> None:
    run = console.begin(actor=people.alice, grant_id=grant.pk)
    Change.objects.update(**{field: "2020-01-01T00:00:00Z"})

    assert ended(list(run)).why is why


def test_begin_when_the_connection_is_cut(people: Cast, grant: Grant, target: TargetServer) -> None:
    run = console.begin(actor=people.alice, grant_id=grant.pk)
    say(people, next(run), "run", "SELECT 1")
    until(run, "done")
    with target.admin() as admin:
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [grant.login])

    assert ended(list(run)).why is Why.LOST


def test_begin_when_the_process_holds_too_many(people: Cast, grant: Grant, monkeypatch: pytest.MonkeyPatch) -> None:
    from apps.console import changing
    from apps.console.errors import TooMany
    from apps.console.slots import Slots

    monkeypatch.setattr(changing, "transactions", Slots(0, "open transactions", "or not"))

    with pytest.raises(TooMany, match="open transactions"):
        console.begin(actor=people.alice, grant_id=grant.pk)


def test_say_when_it_is_somebody_elses(people: Cast, grant: Grant) -> None:
    run = console.begin(actor=people.alice, grant_id=grant.pk)
    begun = next(run)

    with pytest.raises(NotFound):
        console.say(actor=people.bob, transaction_id=begun.transaction, do="commit")  # type: ignore[attr-defined]
    run.close()


def test_close_lost_when_the_process_has_died(people: Cast, grant: Grant) -> None:
    run = console.begin(actor=people.alice, grant_id=grant.pk)
    next(run)
    Change.objects.update(held_at="2020-01-01T00:00:00Z")

    assert console.close_lost() == 1
    assert Change.objects.get().status == "unknown"
    assert entries(grant, "change.ended")[0].facts["outcome"] == "unknown"
    run.close()
    assert Change.objects.get().status == "rolled_back"


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER ROLE CURRENT_USER PASSWORD 'known to me'",
        "DO $$ BEGIN EXECUTE 'ALTER RO' || 'LE CURRENT_USER PASS' || 'WORD ''known to me'''; END $$",
    ],
)
def test_change_when_it_sets_the_password_of_its_login(people: Cast, grant: Grant, sql: str) -> None:
    """Whoever knew it would run what is in no record."""
    events = list(console.change(actor=people.alice, grant_id=grant.pk, sql=sql, commit=True))

    end = ended(events)
    assert (end.committed, end.why) == (False, Why.SQL)
    assert "passwords are not changed here" in end.sentence
    console.check_login(actor=people.alice, grant_id=grant.pk)


def test_change_when_put_off_until_commit(people: Cast, grant: Grant, target: TargetServer, shelf: Any) -> None:
    with target.admin(people.shop.datname) as admin:
        admin.execute(
            "CREATE FUNCTION stock.late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "EXECUTE 'ALTER ROLE CURRENT_USER PASSWORD ''known to me'''; RETURN NULL; END $$"
        )
        admin.execute(
            "CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON stock.products DEFERRABLE INITIALLY DEFERRED "
            "FOR EACH ROW EXECUTE FUNCTION stock.late()"
        )
        try:
            events = list(console.change(actor=people.alice, grant_id=grant.pk, sql=UPDATE, commit=True))
        finally:
            admin.execute("DROP FUNCTION stock.late CASCADE")

    assert ended(events).committed is False
    assert shelf() == ["old"] * 3


@pytest.mark.parametrize(
    "sql",
    [
        "WITH gone AS (DELETE FROM stock.products RETURNING 1) SELECT 1",
        "WITH gone AS (DELETE FROM stock.products WHERE id > 1 RETURNING 1) DELETE FROM stock.products WHERE false",
        "DO $$ BEGIN DELETE FROM stock.products; END $$",
    ],
)
def test_change_when_it_writes_more_than_it_counts(people: Cast, grant: Grant, shelf: Any, sql: str) -> None:
    run = console.change(actor=people.alice, grant_id=grant.pk, sql=sql, commit=True, expected_rows=0)

    assert (ended(list(run)).committed, shelf()) == (False, ["old"] * 3)


def test_change_when_it_reads_and_counts(people: Cast, grant: Grant, shelf: Any) -> None:
    sql = "SELECT count(*) FROM stock.products; WITH two AS (SELECT 2 AS id) " + UPDATE
    run = console.change(actor=people.alice, grant_id=grant.pk, sql=sql, commit=True, expected_rows=2)

    assert (ended(list(run)).committed, shelf()) == (True, ["old", "new", "new"])


def test_change_when_its_token_comes_twice_is_begun_once(people: Cast, grant: Grant, shelf: Any) -> None:
    """Whoever sends it again because an answer was lost is not told that it was rolled back."""

    def send() -> Any:
        return console.change(actor=people.alice, grant_id=grant.pk, sql=UPDATE, commit=True, once="c1")

    assert ended(list(send())).committed is True
    with pytest.raises(Conflict, match="started already"):
        send()
    assert Change.objects.count() == 1


def test_begin_when_somebody_holds_too_many(people: Cast, grant: Grant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.console.record.MAX_HELD", 1)
    other = live(people, level="change", tables=("stock.products",))
    stream = console.begin(actor=people.alice, grant_id=grant.pk)
    next(iter(stream))
    with pytest.raises(TooMany, match="1 transactions open already"):
        console.begin(actor=people.alice, grant_id=other.pk)
    stream.close()
    console.begin(actor=people.alice, grant_id=other.pk).close()


def test_say_when_too_much_runs_leaves_the_transaction_open(
    people: Cast, grant: Grant, shelf: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its page goes on: only this statement was not begun."""
    stream = iter(console.begin(actor=people.alice, grant_id=grant.pk))
    begun: Any = next(stream)
    with monkeypatch.context() as patched:
        patched.setattr("apps.console.record.PER_MINUTE", 0)
        console.say(actor=people.alice, transaction_id=begun.transaction, do="run", sql=UPDATE)
        refusal = next(event for event in stream if event.event == "failed")
    assert refusal.why is Why.REFUSED  # type: ignore[attr-defined]
    console.say(actor=people.alice, transaction_id=begun.transaction, do="run", sql=UPDATE)
    console.say(actor=people.alice, transaction_id=begun.transaction, do="commit")
    assert ended(list(stream)).committed is True
