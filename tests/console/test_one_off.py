"""An approved statement: seen by approvers as it runs, run once, rolled back where it touches other rows."""

from typing import Any

import pytest

from apps.console import services as console
from apps.console.errors import TooMany
from apps.console.events import Why
from apps.console.models import Change, Statement
from apps.core.errors import Conflict, Invalid, NotAllowed
from apps.engines.base import EngineError
from apps.requests.services import Ask, preview
from tests.console.scene import done, entries, failed, live, rows
from tests.console.test_change import ended, shelf
from tests.factories import Cast
from tests.support.threads import at_once

__all__ = ["shelf"]

FIX = "UPDATE stock.products SET title = 'fixed' WHERE id = 2"


def fix(people: Cast, sql: str = FIX, expected_rows: int | None = 1, **parts: Any) -> Any:
    return live(people, level="change", tables=("stock.products",), statement=sql, expected_rows=expected_rows, **parts)


def test_run_approved_when_all_is_well(people: Cast, shelf: Any) -> None:
    grant = fix(people)
    assert console.one_off_of(grant.request_id).outcome == ""  # type: ignore[union-attr]

    plan = rows(console.explain(actor=people.alice, grant_id=grant.pk))
    assert "Update on products" in str(plan)
    assert shelf() == ["old"] * 3
    events = list(console.run_approved(actor=people.alice, grant_id=grant.pk, address="::1"))

    assert (ended(events).committed, done(events).affected) == (True, 1)
    assert shelf() == ["old", "fixed", "old"]
    seen = console.one_off_of(grant.request_id)
    assert seen is not None
    assert seen.ran is not None
    assert (seen.sql, seen.ran.committed, seen.outcome) == (FIX, True, "Committed: 1 row affected.")
    with pytest.raises(Conflict, match="runs once"):
        console.run_approved(actor=people.alice, grant_id=grant.pk)
    assert [line.action for line in entries(grant, "change.")] == ["change.begun", "change.committing", "change.ended"]


def test_run_approved_when_other_rows_are_affected(people: Cast, shelf: Any) -> None:
    grant = fix(people, "UPDATE stock.products SET title = 'fixed'")

    events = list(console.run_approved(actor=people.alice, grant_id=grant.pk))

    assert (ended(events).committed, ended(events).why) == (False, Why.COUNT)
    assert "3 rows were affected and 1 expected" in ended(events).sentence
    assert shelf() == ["old"] * 3


def test_run_approved_when_too_much_runs_is_not_used_up(
    people: Cast, shelf: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant = fix(people)
    with monkeypatch.context() as patched:
        patched.setattr("apps.console.record.PER_MINUTE", 0)
        with pytest.raises(TooMany, match="within a minute"):
            console.run_approved(actor=people.alice, grant_id=grant.pk)

    assert not Change.objects.exists()
    assert ended(list(console.run_approved(actor=people.alice, grant_id=grant.pk))).committed is True


def test_run_approved_when_it_was_never_told_to_the_database_is_not_used_up(
    people: Cast, shelf: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is gone between the sign-in and BEGIN."""
    grant = fix(people)

    def gone(*_: Any, **__: Any) -> None:
        raise EngineError("The server closed the connection.")

    with monkeypatch.context() as patched:
        patched.setattr("apps.engines.postgresql.running.Session.begin", gone)
        events = list(console.run_approved(actor=people.alice, grant_id=grant.pk))

    assert (ended(events).committed, ended(events).why) == (False, Why.LOST)
    seen = console.one_off_of(grant.request_id)
    assert seen is not None
    assert (seen.ran, seen.outcome) == (None, "")
    assert ended(list(console.run_approved(actor=people.alice, grant_id=grant.pk))).committed is True
    assert shelf() == ["old", "fixed", "old"]
    with pytest.raises(Conflict, match="runs once"):
        console.run_approved(actor=people.alice, grant_id=grant.pk)


def test_run_approved_when_several_click_at_once_runs_it_once(people: Cast, shelf: Any) -> None:
    grant = fix(people, "INSERT INTO stock.products VALUES (7, 'once', 7)")

    def click() -> bool:
        try:
            return ended(list(console.run_approved(actor=people.alice, grant_id=grant.pk))).committed is True
        except Conflict:
            return False

    assert sum(at_once(*[click] * 4)) == 1
    assert Statement.objects.filter(grant=grant).count() == 1


def test_run_approved_when_the_level_only_reads(people: Cast) -> None:
    grant = live(people, tables=("stock.products",), statement="ALTER ROLE CURRENT_USER SET work_mem = '8MB'")

    events = list(console.run_approved(actor=people.alice, grant_id=grant.pk))

    assert (ended(events).committed, failed(events).sqlstate) == (False, "25006")


def test_explain_when_the_statement_is_wrong_says_where_it_is(people: Cast) -> None:
    grant = fix(people, "UPDATE stock.products SET nothing = 1")

    told = failed(console.explain(actor=people.alice, grant_id=grant.pk))

    assert (told.sqlstate, told.position) == ("42703", FIX.index("title"))


def test_explain_when_the_statement_tries_to_run(people: Cast, shelf: Any) -> None:
    grant = fix(people, "ANALYZE DELETE FROM stock.products", None)

    (error,) = [event for event in console.explain(actor=people.alice, grant_id=grant.pk) if event.event == "failed"]

    assert error.sqlstate == "42601"  # type: ignore[attr-defined]
    assert shelf() == ["old"] * 3


def test_run_when_the_access_is_for_one_statement(people: Cast) -> None:
    grant = fix(people)

    for verb in (console.run, console.query):
        with pytest.raises(NotAllowed, match="one approved statement"):
            verb(actor=people.alice, grant_id=grant.pk, sql="SELECT 1")
    with pytest.raises(NotAllowed, match="one approved statement"):
        console.change(actor=people.alice, grant_id=grant.pk, sql="SELECT 1", commit=True)
    with pytest.raises(NotAllowed, match="one approved statement"):
        console.begin(actor=people.alice, grant_id=grant.pk)


def test_run_approved_when_none_was(people: Cast) -> None:
    grant = live(people, level="change", tables=("stock.products",))

    with pytest.raises(NotAllowed, match="No statement"):
        console.run_approved(actor=people.alice, grant_id=grant.pk)


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ({"statement": f"{FIX}; {FIX}"}, "statement"),
        ({"statement": "-- nothing"}, "statement"),
        ({"statement": "COMMIT"}, "statement"),
        ({"statement": FIX, "connection": "direct"}, "connection"),
        ({"statement": FIX, "level": "export"}, "level"),
        ({"statement": FIX, "expected_rows": -1}, "expected_rows"),
        ({"expected_rows": 1}, "expected_rows"),
        ({"statement": "SELECT '\u202e'"}, "statement"),
    ],
)
def test_submit_when_the_statement_cannot_be_meant(people: Cast, parts: dict[str, Any], field: str) -> None:
    usual: dict[str, Any] = {
        "database": "shop",
        "level": "change",
        "tables": ("stock.products",),
        "connection": "console",
        "minutes": 30,
        "reason": "Wrong title",
    }

    with pytest.raises(Invalid) as refusal:
        preview(actor=people.alice, ask=Ask(**{**usual, **parts}))
    assert refusal.value.field == field


def test_submit_when_a_statement_comes_along(people: Cast) -> None:
    grant = fix(people)

    request = grant.request
    assert (request.statement, request.expected_rows) == (FIX, 1)
    assert request.effective.statement == FIX
    assert request.effective.digest() == request.scope_digest
    from apps.audit import services as audit

    lines = list(audit.entries(limit=100, where=audit.Filter(subjects=(request.audit_id,))))
    assert lines[0].disclosed["statement"] == FIX
    assert lines[0].facts["expected_rows"] == 1
