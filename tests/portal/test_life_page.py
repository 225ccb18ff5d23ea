"""One request's life on one page, by the record alone."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from apps.approvals.services import approve
from apps.audit import services as audit
from apps.audit.actions import Action
from apps.audit.services import Line
from apps.portal.lives import lasted, life_of
from apps.portal.telling import Told
from tests.factories import Cast
from tests.support.pages import ask
from tests.support.people import listening, signed_in

pytestmark = pytest.mark.django_db(transaction=True)
NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


def told(action: Action, seconds: float, *, who: str = "Alice", problem: str = "", **facts: Any) -> Told:
    line = Line(
        index=int(seconds * 10),
        recorded_at=NOON + timedelta(seconds=seconds),
        recorded_by="jitportal_worker",
        hash=b"",
        body=b"",
        action=action,
        actor="user:a",
        subject="request:r",
        at="",
        facts=facts,
        disclosed={},
        erased=(),
        problem=problem,
    )
    return Told(line=line, tone="", who=who, what="", about="", path="", amount="", texts=(), life="")


def a_whole_life() -> list[Told]:
    due = (NOON + timedelta(seconds=3700)).isoformat()
    return [
        told(Action.REQUEST_SUBMITTED, 0),
        told(Action.DECISION_APPROVED, 90, who="Bob"),
        told(Action.REQUEST_APPROVED, 90, who="Bob"),
        told(Action.GRANT_QUEUED, 90.1),
        told(Action.GRANT_ISSUED, 100, expires_at=due),
        told(Action.STATEMENT_STARTED, 200),
        told(Action.GRANT_ENDING, 3700.0),
        told(Action.GRANT_ENDED, 3700.4),
    ]


def test_life_of_when_all_of_it_is_over() -> None:
    life = life_of(a_whole_life(), NOON + timedelta(days=1))
    assert [(phase.name, phase.long) for phase in life.phases] == [
        ("waited for a yes", "1 min 30 s"),
        ("until the login works", "10.0 s"),
        ("the login lived", "1 h"),
        ("was being ended", "0.40 s"),
    ]
    assert dict(life.figures)["Due until proven gone"] == "0.40 s"
    assert (life.approvers, life.statements, len(life.entries)) == (("Bob",), 1, 8)
    assert sum(phase.width for phase in life.phases) == pytest.approx(100, abs=0.1)
    assert min(phase.width for phase in life.phases) >= 3


def test_life_of_when_somebody_else_than_a_worker_says_that_it_is_gone() -> None:
    """Its entry has a problem, and counts for nothing."""
    lines = [*a_whole_life()[:-1], told(Action.GRANT_ENDED, 3700.4, problem="It was not recorded by a worker.")]
    life = life_of(lines, NOON + timedelta(days=1))
    assert "Due until proven gone" not in dict(life.figures)
    assert life.phases[-1].long == "22 h 58 min"


@pytest.mark.parametrize("length", range(8))
def test_life_of_when_it_goes_on(length: int) -> None:
    life = life_of(a_whole_life()[: length + 1], NOON + timedelta(days=1))
    assert life.phases
    assert all(phase.width > 0 for phase in life.phases)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.004, "0.00 s"),
        (1, "1.0 s"),
        (59.94, "59.9 s"),
        (60, "1 min"),
        (3_605, "1 h"),
        (90_000, "1 day 1 h"),
        (-1, "0.00 s"),
    ],
)
def test_lasted(seconds: float, words: str) -> None:
    assert lasted(timedelta(seconds=seconds)) == words


def test_show_life_when_an_auditor_looks(people: Cast) -> None:
    row = ask(people.alice, reason="Because <of> this")
    approve(actor=people.bob, request_id=row.pk, comment="Go on")
    page = signed_in(people.audrey).get(f"/record/requests/{row.pk}/").content.decode()
    assert "Because &lt;of&gt; this" in page
    assert "Go on" in page
    assert people.bob.name in page
    assert '<svg class="life"' in page
    assert audit.head().hash.hex() in page


def test_show_life_when_somebody_else_looks(people: Cast) -> None:
    row = ask(people.alice)
    for person, status in ((people.alice, 403), (people.dana, 403), (people.audrey, 200)):
        assert signed_in(person).get(f"/record/requests/{row.pk}/").status_code == status, person
    assert Client().get(f"/record/requests/{row.pk}/").status_code == 302


@pytest.mark.parametrize("key", ["nothing", "%00", "x' OR 1=1"])
def test_show_life_when_there_is_none(people: Cast, key: str) -> None:
    assert signed_in(people.audrey).get(f"/record/requests/{key}/").status_code == 404


def test_download_life(people: Cast) -> None:
    row, other = ask(people.alice), ask(people.carol)
    heard = listening()
    file = signed_in(people.audrey).get(f"/record/trail.csv?life={row.pk}")
    text = b"".join(file.streaming_content).decode()  # type: ignore[attr-defined]
    assert f"request:{row.pk}" in text
    assert other.pk not in text
    assert [line.action for line in heard(Action.RECORD_EXPORTED)] == ["record.exported"]
