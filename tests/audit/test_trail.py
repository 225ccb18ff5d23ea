import csv
import io
from datetime import timedelta

import pytest
from django.db import connection, connections, transaction

from apps.audit import checks
from apps.audit import services as audit
from apps.audit.actions import Action
from apps.audit.models import Entry
from apps.core.ids import new_id

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner"])


@transaction.atomic
def add(action: Action, subject: str, actor: str = "user:alice", **texts: str) -> None:
    audit.record(action, actor=actor, subject=subject, facts={"n": 1}, disclosed=texts)


@transaction.atomic(using="owner")
def run_as_owner(statement: str, parameters: list[str]) -> None:
    with connections["owner"].cursor() as cursor:
        for trigger in ("refuse_change", "refuse_deletion"):
            cursor.execute(f"ALTER TABLE audit.disclosure DISABLE TRIGGER {trigger}")
        cursor.execute(statement, parameters)
        for trigger in ("refuse_change", "refuse_deletion"):
            cursor.execute(f"ALTER TABLE audit.disclosure ENABLE ALWAYS TRIGGER {trigger}")


@pytest.fixture
def subject() -> str:
    """A subject of its own, because the record keeps what other tests wrote."""
    return f"request:{new_id()}"


def test_entries_when_read_page_by_page_are_all_there_in_order() -> None:
    start = audit.head().size - 1
    for _ in range(5):
        add(Action.REQUEST_SUBMITTED, "request:r1")
    seen, after = [], start
    while page := audit.entries(after=after, limit=2):
        assert len(page) <= 2
        seen += [line.index for line in page]
        after = page[-1].index
    assert seen == list(range(start + 1, start + 6))
    assert [line.index for line in audit.latest(limit=5)] == seen[::-1]
    assert [line.index for line in audit.latest(before=seen[2], limit=2)] == [seen[1], seen[0]]


def test_entries_when_filtered_gives_only_those(subject: str) -> None:
    add(Action.REQUEST_SUBMITTED, subject)
    add(Action.GRANT_QUEUED, f"grant:{subject}", actor="worker")
    add(Action.GRANT_REVOKED, f"grant:{subject}", actor="user:dana")

    def actions(**where: object) -> list[str]:
        found = audit.iterate(audit.Filter(**({"subjects": (subject, f"grant:{subject}")} | where)))  # type: ignore[arg-type]
        return [line.action for line in found]

    assert actions() == ["request.submitted", "grant.queued", "grant.revoked"]
    assert actions(action="grant.") == ["grant.queued", "grant.revoked"]
    assert actions(action="grant.%") == []
    assert actions(actor="user:dana") == ["grant.revoked"]
    assert actions(subjects=(subject,)) == ["request.submitted"]
    second = audit.latest(limit=2)[1].recorded_at
    assert actions(since=second) == ["grant.queued", "grant.revoked"]
    assert actions(until=second) == ["request.submitted"]
    assert actions(since=second + timedelta(days=1)) == []


def test_entries_when_there_are_many_takes_three_queries(subject: str, django_assert_num_queries: object) -> None:
    for _ in range(5):
        add(Action.REQUEST_SUBMITTED, subject, reason="why", person="Alice")
    with django_assert_num_queries(3):  # type: ignore[operator]
        assert len(audit.entries(where=audit.Filter(subjects=(subject,)))) == 5


def test_line_when_a_text_was_erased_names_its_field(subject: str) -> None:
    add(Action.REQUEST_SUBMITTED, subject, reason="why", person="Alice")
    run_as_owner("DELETE FROM audit.disclosure WHERE value = 'Alice'", [])
    (line,) = audit.latest(limit=1)
    assert line.disclosed == {"reason": "why"}
    assert line.erased == ("person",)
    (row,) = csv.DictReader(io.StringIO("".join(audit.trail_csv([line]))))
    assert row["person"] == "[erased]"


@pytest.mark.parametrize(
    "raw",
    [
        b'{"action":"x.y","actor":"a","subject":"s"}',
        b'{"action": "x.y","actor":"a","at":"","disclosed":{},"facts":{},"subject":"s"}',
        b'{"action":"x.y","actor":"a","at":"","disclosed":{},"facts":[],"subject":"s"}',
        b'{"action":"x.y","actor":"a","at":5,"disclosed":{},"facts":{},"subject":"s"}',
    ],
)
def test_line_when_the_body_was_written_past_the_portal_is_shown_with_its_problem(raw: bytes) -> None:
    with transaction.atomic():
        Entry.objects.create(body=raw)
        connection.check_constraints()  # seals it now
        (line,) = audit.latest(limit=1)
        (row,) = csv.DictReader(io.StringIO("".join(audit.trail_csv([line]))))
        transaction.set_rollback(True)  # the record of this test run stays whole
    assert (line.action, line.actor, line.subject, line.body) == ("x.y", "a", "s", raw)
    assert row["problem"] == line.problem != ""
    assert row["details"] == ""


def test_line_when_another_than_the_worker_says_what_happened_on_a_target_has_a_problem(
    monkeypatch: pytest.MonkeyPatch, subject: str
) -> None:
    add(Action.GRANT_ISSUED, subject)
    assert audit.latest(limit=1)[0].problem == ""
    monkeypatch.setattr(checks, "WORKER_ROLE", "another_role")
    (line,) = audit.latest(limit=1)
    (row,) = csv.DictReader(io.StringIO("".join(audit.trail_csv([line]))))
    assert "it does not count" in line.problem
    assert (row["problem"], row["details"]) == (line.problem, '{"n": 1}')


def test_line_when_a_text_was_exchanged_has_a_problem_and_does_not_call_it_erased(subject: str) -> None:
    add(Action.REQUEST_SUBMITTED, subject, reason=f"why {subject}")
    exchange = "UPDATE audit.disclosure SET value = %s WHERE value = %s"
    texts = [f"why {subject}", f"forged {subject}"]
    run_as_owner(exchange, texts[::-1])
    (line,) = audit.latest(limit=1)
    run_as_owner(exchange, texts)
    assert "the text of reason is not the one" in line.problem
    assert (line.disclosed, line.erased) == ({}, ())


def test_trail_csv_when_a_text_is_a_formula_is_harmless(subject: str) -> None:
    add(Action.REQUEST_SUBMITTED, subject, reason='=HYPERLINK("http://x")', comment="plain", statement="SELECT 1")
    lines = audit.latest(limit=1)
    (row,) = csv.DictReader(io.StringIO("".join(audit.trail_csv(lines))))
    assert row["reason"] == '\'=HYPERLINK("http://x")'
    assert row["comment"] == "plain"
    assert row["other_texts"] == '{"statement": "SELECT 1"}'
    assert row["details"] == '{"n": 1}'
    assert (row["action"], row["actor"], row["subject"]) == ("request.submitted", "user:alice", subject)
    assert row["index"] == str(lines[0].index)
    assert row["recorded_at"].endswith("Z")
    assert row["hash"] == lines[0].hash.hex()


def test_checkpoint_when_taken_is_the_head() -> None:
    add(Action.REQUEST_SUBMITTED, "request:r1")
    taken = audit.checkpoint()
    (last,) = audit.latest(limit=1)
    assert taken == {"origin": taken["origin"], "size": last.index + 1, "hash": last.hash.hex(), "note": None}
    assert taken["origin"]
