"""Finding entries by any filter: the same as to look at each, and the copies that it goes by are checked."""

from itertools import product

import pytest
from django.db import connections, transaction

from apps.audit import services as audit
from apps.audit.actions import Action
from apps.audit.body import Body
from apps.audit.checks import check_listing, database_named
from apps.audit.finding import Filter, find
from apps.audit.services import Telling
from tests.audit.tampering import run, tampering

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner"])

ASKED, DECIDED, QUEUED, ENDED = (
    Action.REQUEST_SUBMITTED,
    Action.DECISION_APPROVED,
    Action.GRANT_QUEUED,
    Action.GRANT_ENDED,
)
MADE = [
    (ASKED, "user:ann", "request:fa1", {"database": "d1"}),
    (DECIDED, "user:bob", "request:fa1", {}),
    (QUEUED, "clock", "grant:fa1", {"database": "d1"}),
    (ASKED, "user:ann", "request:fa2", {"database": "d2"}),
    (DECIDED, "user:ann", "request:fa2", {}),
    (ENDED, "worker", "grant:fa1", {"database": "d1"}),
    (Action.DATABASE_CHANGED, "user:bob", "database:d1", {}),
    (Action.COLUMN_CLASSIFIED, "user:bob", "catalog", {"databases": ["d1", "d3"]}),
    (Action.COLUMN_CLASSIFIED, "user:bob", "catalog", {"databases": ["d2"]}),
    (Action.RECORD_EXPORTED, "user:ann", "record", {}),
    (DECIDED, "user:bob", "request:nobody", {}),
    (DECIDED, "user:bob", "request:fa1", {"database": "d2"}),
    (DECIDED, "user:bob", "request:fa1", {"more": 1}),
]
LISTED = ["d1", "d1", "d1", "d2", "d2", "d1", "d1", "*", "d2", None, None, "d2", "d1"]


@pytest.fixture(scope="module")
def start(django_db_setup: None, django_db_blocker: pytest.FixtureRequest) -> int:
    """The index of the first of those entries: the record that all tests share only grows."""
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        size = audit.head().size
        for action, actor, subject, facts in MADE[:2]:
            with transaction.atomic():
                audit.record(action, actor=actor, subject=subject, facts=facts)
        with transaction.atomic():  # sealed together
            audit.record_all([Telling(action=a, actor=b, subject=c, facts=d) for a, b, c, d in MADE[2:]])
        return size


def listed(first: int, count: int = len(MADE)) -> list[str | None]:
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT database FROM audit.seal WHERE index >= %s ORDER BY index LIMIT %s", [first, count])
        return [name for (name,) in cursor.fetchall()]


def problems(first: int) -> list[str]:
    return list(audit.verify(from_index=first, using="owner").problems)


def test_seal_when_an_entry_is_about_a_database_lists_it_there(start: int) -> None:
    """Named by itself or, where it is about a request or a grant, by the first entry about that."""
    assert listed(start) == LISTED


def is_wanted(place: int, where: Filter) -> bool:
    action, actor, subject, _ = MADE[place]
    return (
        action.startswith(where.action)
        and where.actor in {"", actor}
        and (not where.subjects or subject in where.subjects)
        and (not where.database or LISTED[place] in {where.database, "*"})
    )


@pytest.mark.parametrize("newest", [False, True])
def test_find_when_filters_are_combined_finds_what_looking_at_each_does(newest: bool, start: int) -> None:
    words = ("", "request.", "decision.", ASKED, ENDED, "grant", "nothing.")
    people, databases = ("", "user:ann", "user:bob", "worker", "nobody"), ("", "d1", "d2", "d3", "d4")
    subjects = ((), ("request:fa1",), ("request:fa1", "grant:fa1", "request:fa1"), ("record",), ("catalog",))
    end = start + len(MADE)
    for action, actor, database, about in product(words, people, databases, subjects):
        where = Filter(action=action, actor=actor, database=database, subjects=about)
        wanted = [start + place for place in range(len(MADE)) if is_wanted(place, where)]
        wanted = wanted[::-1] if newest else wanted
        assert find(where, low=start, high=end, limit=100, newest=newest) == wanted, where
        assert find(where, low=start, high=end, limit=2, newest=newest) == wanted[:2], where
        later = [index for index in wanted if index >= start + 4]
        assert find(where, low=start + 4, high=end, limit=100, newest=newest) == later, where


def test_find_when_times_are_given_takes_the_first_and_leaves_the_second_out(start: int) -> None:
    one, two, three = (line.recorded_at for line in audit.entries(after=start - 1, limit=3))
    everything = {"low": start, "high": start + 3, "limit": 9}
    assert find(Filter(since=two), **everything) == [start + 1, start + 2]
    assert find(Filter(until=two), **everything) == [start]
    assert find(Filter(since=one, until=three), **everything) == [start, start + 1]
    assert find(Filter(since=three, until=one), **everything) == []
    assert find(Filter(action="request.", since=two), low=start, high=start + 3, limit=9) == []


def test_find_when_it_is_after_all_there_is_finds_nothing(start: int) -> None:
    (last,) = audit.latest(limit=1)
    assert find(Filter(since=last.recorded_at.replace(year=9000)), limit=5) == []
    assert len(find(Filter(until=last.recorded_at.replace(year=9000)), limit=5, newest=True)) == 5


def test_find_when_only_a_page_is_wanted_gives_the_next_where_it_ended(start: int) -> None:
    where = Filter(database="d1")
    first = audit.latest(before=start + len(MADE), limit=2, where=where)
    second = audit.latest(before=first[-1].index, limit=2, where=where)
    assert [line.index - start for line in (*first, *second)] == [12, 7, 6, 5]
    assert [line.index - start for line in audit.entries(after=start + 5, limit=3, where=where)][:3] == [6, 7, 12]


@pytest.mark.parametrize(
    ("place", "name"), [(0, "d2"), (0, None), (1, "d2"), (1, None), (7, "d1"), (9, "d1"), (10, "d1")]
)
def test_verify_when_an_entry_is_listed_under_another_database_finds_it(place: int, name: str, start: int) -> None:
    with tampering():
        run("UPDATE audit.seal SET database = %s WHERE index = %s", name, start + place)
        said = f"Entry {start + place} is listed under another database than it is about."
        assert said in problems(start)
        assert said in problems(start + place)  # also where what is in front is taken on trust


def test_verify_when_nothing_was_changed_finds_nothing_from_anywhere(start: int) -> None:
    for first in range(start, start + len(MADE)):
        assert not [said for said in problems(first) if "another database" in said]


def test_verify_when_many_lives_are_open_at_once_forgets_some_and_asks(
    start: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.audit.checks._REMEMBERED", 1)
    assert not [said for said in problems(start) if "another database" in said]


def test_read_when_an_entry_is_listed_under_another_database_says_so() -> None:
    body = Body(action="x", actor="y", at="", subject="request:r", facts={"database": "d1"}, commitments={})
    assert list(check_listing(3, "d1", body)) == []
    assert list(check_listing(3, "d2", body)) == ["Entry 3 is listed under another database than it is about."]
    assert list(check_listing(3, None, body))


@pytest.mark.parametrize(
    ("subject", "facts", "name"),
    [
        ("database:d1", {"database": "d2"}, "d1"),
        ("database:", {}, None),
        ("database:" + "x" * 200, {}, "x" * 200),
        ("grant:g", {"database": "x" * 201}, None),
        ("grant:g", {"database": "é" * 101}, None),
        ("grant:g", {"database": ""}, None),
        ("grant:g", {"database": 1}, None),
        ("grant:g", {"database": 1, "databases": ["d1"]}, "d1"),
        ("catalog", {"databases": []}, None),
        ("catalog", {"databases": ["d1"]}, "d1"),
        ("catalog", {"databases": [1]}, None),
        ("catalog", {"databases": [1, 2]}, "*"),
        ("catalog", {"databases": {"a": 1}}, None),
        ("catalog", {"databases": None}, None),
        ("Database:d1", {}, None),
    ],
)
def test_name_when_a_body_names_a_database_python_and_the_database_say_the_same(
    subject: str, facts: dict[str, object], name: str | None
) -> None:
    body = Body(action="record.exported", actor="y", at="", subject=subject[:200], facts=facts, commitments={})
    assert database_named(body.subject, body.facts) == (name if len(subject) <= 200 else "x" * 191)
    with transaction.atomic():
        audit.record(Action.RECORD_EXPORTED, actor="y", subject=subject[:200], facts=facts)  # type: ignore[arg-type]
    assert listed(audit.head().size - 1, 1) == [database_named(body.subject, body.facts)]
