import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection, transaction

from apps.audit import services as audit
from apps.audit.actions import Action
from apps.audit.chain import commitment
from apps.audit.models import Disclosure, Entry, Seal
from apps.core import clock
from apps.core.errors import Conflict, Invalid
from jitportal.portal_database import WEB
from tests.support.portal import PortalDatabase

pytestmark = pytest.mark.django_db(transaction=True)


def together(count: int, verb: Callable[[], object]) -> None:
    """Run a verb on as many connections at once."""

    def run() -> None:
        try:
            verb()
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        for future in [pool.submit(run) for _ in range(count)]:
            future.result()


def newest() -> audit.Line:
    (line,) = audit.latest(limit=1)
    return line


def test_record_when_in_a_transaction_writes_body_and_texts() -> None:
    with transaction.atomic():
        entry = audit.record(
            Action.REQUEST_SUBMITTED,
            actor="user:alice",
            subject="request:r1",
            facts={"tables": ["sales.orders"], "minutes": 5, "break_glass": False, "ticket": None},
            disclosed={"reason": "Ticket OPS-1: Zoë’s order", "person": "Alice A."},
        )
    content = json.loads(bytes(Entry.objects.get(pk=entry).body))
    assert content | {"at": "", "disclosed": {}} == {
        "action": "request.submitted",
        "actor": "user:alice",
        "at": "",
        "disclosed": {},
        "facts": {"tables": ["sales.orders"], "minutes": 5, "break_glass": False, "ticket": None},
        "subject": "request:r1",
    }
    texts = {text.field: text for text in Disclosure.objects.filter(entry_id=entry)}
    assert {field: text.value for field, text in texts.items()} == {
        "reason": "Ticket OPS-1: Zoë’s order",
        "person": "Alice A.",
    }
    for field, text in texts.items():
        assert content["disclosed"][field] == {"commit": commitment(bytes(text.salt), text.value)}
    seal = Seal.objects.get(entry_id=entry)
    assert (seal.action, seal.actor, seal.subject) == ("request.submitted", "user:alice", "request:r1")


def test_record_when_no_transaction_is_open_refuses() -> None:
    before = audit.head()
    with pytest.raises(transaction.TransactionManagementError):
        audit.record(Action.RECORD_READ, actor="user:alice", subject="record")
    assert audit.head() == before


def test_record_when_the_verb_is_rolled_back_leaves_nothing() -> None:
    before = audit.head()
    with transaction.atomic():
        audit.record(Action.REQUEST_CANCELLED, actor="user:alice", subject="request:r1")
        transaction.set_rollback(True)
    assert audit.head() == before


def test_record_when_a_day_has_passed_tells_the_portals_time() -> None:
    with clock.shifted(timedelta(days=1)), transaction.atomic():
        audit.record(Action.REQUEST_LAPSED, actor="clock", subject="request:r1")
    line = newest()
    assert line.at > audit.latest()[0].recorded_at.isoformat()
    assert line.at.endswith("Z")
    assert len(line.at) == len("2026-11-22T12:00:00.000000Z")


@pytest.mark.parametrize(
    "wrong",
    [
        {"actor": ""},
        {"actor": "x" * 201},
        {"subject": ""},
        {"subject": "é" * 101},
        {"facts": {"amount": 1.5}},
        {"facts": {"text": "x" * 65_536}},
        {"disclosed": {"": "text"}},
        {"disclosed": {"reason": "NUL \0"}},
        {"disclosed": {"reason": "\ud800"}},
        {"disclosed": {"reason": "x" * 1_048_577}},
    ],
)
def test_record_when_it_cannot_be_recorded_refuses_in_a_sentence(wrong: dict[str, object]) -> None:
    before = audit.head()
    given = {"actor": "user:alice", "subject": "request:r1"} | wrong
    with pytest.raises(Invalid), transaction.atomic():
        audit.record(Action.REQUEST_SUBMITTED, **given)  # type: ignore[arg-type]
    assert audit.head() == before


def test_record_when_a_text_is_as_long_as_allowed_keeps_it() -> None:
    with transaction.atomic():
        audit.record(Action.REQUEST_SUBMITTED, actor="a", subject="s", disclosed={"reason": "x" * 1_048_576, "c": ""})
    assert len(newest().disclosed["reason"]) == 1_048_576


def test_record_refusal_when_the_verb_was_rolled_back_is_kept() -> None:
    try:
        with transaction.atomic(durable=True):
            audit.record(Action.DECISION_APPROVED, actor="user:alice", subject="request:r1")
            raise Conflict("You cannot decide your own request.")
    except Conflict as error:
        audit.record_refusal(
            Action.DECISION_REFUSED, actor="user:alice", subject="request:r1", facts={"why": error.sentence}
        )
    line = newest()
    assert (line.action, line.facts) == ("decision.refused", {"why": "You cannot decide your own request."})


def test_record_refusal_when_still_inside_the_verb_refuses() -> None:
    """It would be rolled back with it."""
    with pytest.raises(RuntimeError), transaction.atomic():
        audit.record_refusal(Action.DECISION_REFUSED, actor="user:alice", subject="request:r1")


def test_read_recorded_when_many_pages_are_read_at_once_records_one() -> None:
    before = audit.head().size
    with clock.shifted(timedelta(days=400)):
        together(6, lambda: audit.read_recorded(reader="user:audrey"))
        audit.read_recorded(reader="user:audrey")
    assert audit.head().size == before + 1
    line = newest()
    assert (line.action, line.actor, line.subject) == ("record.read", "user:audrey", "record")


def test_read_recorded_when_a_row_was_put_there_beforehand_records_all_the_same(
    portal_database: PortalDatabase,
) -> None:
    """The web role may write such rows; it must not be able to hide a reader of hours to come."""
    with clock.shifted(timedelta(days=800)), portal_database.connect(WEB) as web:
        hour = clock.now().replace(minute=0, second=0, microsecond=0)
        web.execute("INSERT INTO audit.reading (reader, hour) VALUES ('user:audrey', %s)", [hour])
        before = audit.head().size
        audit.read_recorded(reader="user:audrey")
        audit.read_recorded(reader="user:audrey")
    assert audit.head().size == before + 1


def test_read_recorded_when_another_hour_or_reader_comes_records_again() -> None:
    before = audit.head().size
    for hours in (9_000, 9_001, 9_001):
        with clock.shifted(timedelta(hours=hours)):
            audit.read_recorded(reader="user:audrey")
            audit.read_recorded(reader="user:sam")
    assert audit.head().size == before + 4


def test_export_recorded_when_done_twice_records_twice() -> None:
    before = audit.head().size
    audit.export_recorded("user:audrey", facts={"rows": 2})
    audit.export_recorded("user:audrey", facts={"rows": 2})
    assert audit.head().size == before + 2
    assert newest().facts == {"rows": 2}


def test_action_when_listed_is_a_subject_and_a_verb() -> None:
    assert all(action.count(".") == 1 and action == action.lower() for action in Action)
