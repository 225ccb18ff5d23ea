"""Taking reports from the real record: by API, by command, as the same bytes again, and never unrecorded."""

import csv
import hashlib
import io
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from django.test import Client

from apps.accounts import services as accounts
from apps.accounts.models import TokenScope, User
from apps.audit import services as audit
from apps.audit.actions import Action
from apps.audit.stretches import first_index, stretch
from apps.core import clock
from apps.reports.listing import REPORTS
from tests.factories import Cast
from tests.support.pages import approve, ask
from tests.support.people import listening

pytestmark = pytest.mark.django_db(transaction=True)

_PERIOD = "from=2026-01-01&to=2100-01-01"


def get(user: User, path: str, scopes: list[str] | None = None) -> Any:
    _, token = accounts.create_token(actor=user, name="test", scopes=scopes or TokenScope.values, days=1)
    return Client().get(f"/api/v1{path}", headers={"Authorization": f"Bearer {token}"})


def rows_of(content: bytes) -> list[dict[str, str]]:
    csv.field_size_limit(1 << 21)  # other tests have recorded statements as long as one may be
    return list(csv.DictReader(io.StringIO(content.decode())))


def test_list_reports_when_auditor_tells_parameters_and_columns(people: Cast) -> None:
    items = get(people.audrey, "/reports").json()["items"]
    assert [item["name"] for item in items] == list(REPORTS)
    assert items[0]["parameters"] == ["from", "to", "person", "database", "size"]
    assert items[0]["columns"][-1]["name"] == "entries"
    assert all(column["meaning"] for item in items for column in item["columns"])


@pytest.mark.parametrize("path", ["/reports", "/reports/approvals.csv", "/reports/approvals.json"])
def test_take_when_no_auditor_is_refused(people: Cast, path: str) -> None:
    told = listening()
    for user in (people.alice, people.dana, people.carol):
        answer = get(user, path)
        assert (answer.status_code, answer["Content-Type"]) == (403, "application/problem+json")
    assert Client().get(f"/api/v1{path}").status_code == 401
    assert get(people.audrey, path, scopes=["read"]).status_code == 403
    assert told(Action.RECORD_EXPORTED) == []


def test_take_when_auditor_gives_rows_and_is_recorded(people: Cast) -> None:
    row = ask(people.alice, reason='=HYPERLINK("http://evil")')
    approve(people, row)
    told = listening()
    answer = get(people.audrey, f"/reports/approvals.csv?{_PERIOD}&person=bob")
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert 'filename="approvals-2026-01-01-2100-01-01-of-' in answer["Content-Disposition"]
    (found,) = [one for one in rows_of(answer.getvalue()) if one["request"] == row.pk]
    assert (found["decision"], found["decider_id"]) == ("approved", people.bob.audit_id)
    assert found["reason"] == '\'=HYPERLINK("http://evil")'
    (line,) = told(Action.RECORD_EXPORTED)
    assert line.actor == people.audrey.audit_id
    assert line.facts["report"] == "approvals"
    assert line.facts["size"] == int(answer["Record-Size"]) == line.index
    assert line.disclosed == {"person_asked": "bob"}  # somebody's name is a text, no fact


def test_take_when_repeated_up_to_the_same_size_gives_the_same_bytes(people: Cast) -> None:
    approve(people, ask(people.alice))
    first = get(people.audrey, f"/reports/approvals.csv?{_PERIOD}")
    size, content = first["Record-Size"], first.getvalue()
    approve(people, ask(people.alice))
    again = get(people.audrey, f"/reports/approvals.csv?{_PERIOD}&size={size}")
    later = get(people.audrey, f"/reports/approvals.csv?{_PERIOD}")
    assert again.getvalue() == content
    assert (again["Record-Size"], again["Record-Hash"]) == (size, first["Record-Hash"])
    assert len(later.getvalue()) > len(content)
    said = get(people.audrey, f"/reports/approvals.json?{_PERIOD}&size={size}").json()
    assert said["sha256"] == hashlib.sha256(content).hexdigest()
    assert said["rows"] == len(rows_of(content))
    assert said["checkpoint"] == {
        "origin": said["checkpoint"]["origin"],
        "size": int(size),
        "hash": again["Record-Hash"],
    }
    assert said["from"] == "2026-01-01T00:00:00.000000Z"
    assert 0 < said["entries"] <= int(size)


def test_take_when_entries_come_while_it_is_read_leaves_them_out(people: Cast) -> None:
    from apps.reports.services import Wanted, take

    approve(people, ask(people.alice))
    taken = take(actor=people.audrey, name="record-readers", wanted=Wanted(), as_what="csv")
    lines = taken.csv()
    head = next(lines)
    audit.export_recorded("user:late", facts={})
    assert b"user:late" not in head + b"".join(lines)
    assert taken.checkpoint.size < audit.head().size


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("from=2026-02-01&to=2026-01-01", "from"),
        ("from=2026-02-01&to=2026-02-01", "from"),
        ("from=2026-02-01T12:00:00", "from"),
        ("to=soon", "to"),
        ("to=0001-01-01", "to"),
        ("from=9999-12-31T23:59:59-14:00", "from"),
        ("database=" + "x" * 300, "database"),
        ("size=0", "size"),
        ("size=999999999", "size"),
        ("size=99999999999999999999", "size"),
    ],
)
def test_take_when_what_is_asked_cannot_be_meant_says_why(people: Cast, query: str, field: str) -> None:
    told = listening()
    for kind in ("csv", "json"):
        answer = get(people.audrey, f"/reports/approvals.{kind}?{query}")
        assert answer.status_code == 422
        problem = answer.json()
        assert field in problem["field"]
        assert problem["detail"]
    assert told(Action.RECORD_EXPORTED) == []


def test_take_when_there_is_no_such_report_names_those_there_are(people: Cast) -> None:
    answer = get(people.audrey, "/reports/everything.csv")
    assert answer.status_code == 404
    assert "access-grants" in answer.json()["detail"]
    assert get(people.audrey, "/reports/log-integrity.csv?person=alice").status_code == 422


@pytest.mark.parametrize("name", REPORTS)
def test_take_when_the_record_is_real_every_report_can_be_read(people: Cast, name: str) -> None:
    approve(people, ask(people.alice))
    answer = get(people.audrey, f"/reports/{name}.csv")
    rows = rows_of(answer.getvalue())
    assert answer.status_code == 200
    assert rows or name not in {"approvals", "log-integrity"}
    assert get(people.audrey, f"/reports/{name}.json").json()["rows"] >= len(rows)


def test_stretch_when_read_by_kinds_is_what_the_whole_says(people: Cast) -> None:
    start = audit.head().size
    approve(people, ask(people.alice))
    size = audit.head().size
    everything = list(stretch(start, size))
    assert everything == audit.entries(after=start - 1, limit=1000)
    kinds = frozenset({Action.REQUEST_SUBMITTED, Action.REQUEST_APPROVED})
    assert list(stretch(start, size, kinds)) == [line for line in everything if line.action in kinds]
    assert list(stretch(start, size, frozenset())) == []
    assert first_index(everything[1].recorded_at) <= everything[1].index
    assert first_index(clock.now() + timedelta(days=1)) == audit.head().size


def test_command_when_run_writes_csv_and_is_recorded(people: Cast) -> None:
    approve(people, ask(people.alice))
    told, out, err = listening(), io.StringIO(), io.StringIO()
    call_command("report", "approvals", "--from", "2026-01-01", "--to", "2100-01-01", stdout=out, stderr=err)
    assert hashlib.sha256(out.getvalue().encode()).hexdigest() in err.getvalue()
    assert out.getvalue().startswith("request,decided_at,")
    (line,) = told(Action.RECORD_EXPORTED)
    assert (line.actor, line.facts["as"]) == ("operator", "command")


@pytest.mark.parametrize("given", [["nothing"], [], ["approvals", "--from", "2026-02-01", "--to", "2026-01-01"]])
def test_command_when_it_cannot_be_meant_says_why(people: Cast, given: list[str]) -> None:
    with pytest.raises(CommandError):
        call_command("report", *given, stdout=io.StringIO())


def test_take_when_a_body_is_none_that_the_portal_writes_is_shown_with_its_problem(people: Cast) -> None:
    with transaction.atomic():
        audit.record(Action.GRANT_REVOKED, actor="user:x", subject="grant:=1+1", facts={"request": 5, "proof": "x"})
    for name in REPORTS:
        assert get(people.audrey, f"/reports/{name}.csv").status_code == 200
