"""The record's page, its filters and its CSV."""

import csv
import io

import pytest
from django.db import transaction
from django.test import Client

from apps.audit import services as audit
from apps.audit.actions import Action
from apps.portal.telling import _ACTS
from apps.requests import services as requests
from tests.factories import Cast
from tests.support.pages import ask
from tests.support.people import listening, signed_in

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def audrey(people: Cast) -> Client:
    return signed_in(people.audrey)


def test_show_record_tells_entries_with_their_texts(people: Cast, audrey: Client) -> None:
    row = ask(people.alice, reason="Because <of> this")
    page = audrey.get(f"/record/?subject={row.pk}").content.decode()
    assert "Because &lt;of&gt; this" in page
    assert "asked for access" in page
    assert f'href="/requests/{row.pk}/"' in page
    assert audit.head().hash.hex() in page


def test_show_record_is_recorded_once_an_hour(people: Cast, audrey: Client) -> None:
    told = listening()
    for _ in range(3):
        audrey.get("/record/")
    assert len(told(Action.RECORD_READ)) <= 1


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("action=request.&person=alice", 200),
        ("action=request.submitted", 200),
        ("person=nobody", 422),
        ("since=soon", 422),
        ("before=-1", 422),
        ("before=99999999999999999999", 422),
        ("person=%00", 422),
        ("subject=%27+OR+1%3D1", 200),
        ("since=2001-01-01T00:00&until=2001-01-02T00:00", 200),
    ],
)
def test_filter_record(people: Cast, audrey: Client, query: str, status: int) -> None:
    ask(people.alice)
    assert audrey.get(f"/record/?{query}").status_code == status
    assert audrey.get(f"/record/trail.csv?{query}").status_code == status


def test_filter_record_by_person_leaves_others_out(people: Cast, audrey: Client) -> None:
    ask(people.alice, reason="Mine")
    ask(people.bob, reason="Theirs")
    page = audrey.get("/record/?person=alice&action=request.").content.decode()
    assert "Mine" in page
    assert "Theirs" not in page


def test_page_record_by_index(people: Cast, audrey: Client) -> None:
    for _ in range(55):
        audit.export_recorded("operator", facts={})
    first = audrey.get("/record/?action=record.exported").content.decode()
    assert "?action=record.exported&amp;before=" in first
    size = audit.head().size
    second = audrey.get(f"/record/?action=record.exported&before={size - 50}").content.decode()
    assert "Newest" in second
    assert f'id="entry-{size - 50}"' not in second


def test_download_record_streams_csv_and_is_recorded(people: Cast, audrey: Client) -> None:
    row = ask(people.alice, reason='=HYPERLINK("http://evil")')
    told = listening()
    answer = audrey.get(f"/record/trail.csv?subject={row.pk}")
    rows = list(csv.DictReader(io.StringIO(answer.getvalue().decode())))
    assert answer["Content-Disposition"].startswith('attachment; filename="record-')
    assert rows[0]["action"] == "request.submitted"
    assert rows[0]["reason"].startswith("'=")
    (line,) = told(Action.RECORD_EXPORTED)
    assert line.actor == people.audrey.audit_id
    assert f"request:{row.pk}" in line.disclosed["subjects"]
    assert row.pk not in str(line.facts)  # it is free text: somebody's name could stand there


@pytest.mark.parametrize("subject", ["request:a/b", "grant:../x", "request:%", "grant:\u202e"])
def test_show_record_when_a_subject_is_no_subject(audrey: Client, subject: str) -> None:
    """A process that was taken over can write such an entry; it must not take the page away from the auditor."""
    with transaction.atomic():
        audit.record(Action.REQUEST_SUBMITTED, actor="user:x", subject=subject)
    answer = audrey.get("/record/")
    assert answer.status_code == 200
    assert f"entry-{audit.head().size - 1}" in answer.content.decode()


def test_verify_record_says_that_it_is_whole(people: Cast, audrey: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    # Other tests of this process have left forgeries further back: the record only grows.
    monkeypatch.setattr("apps.portal.views.record._CHECKED", 2)
    ask(people.alice)
    page = audrey.post("/record/check/").content.decode()
    assert "as they were sealed" in page
    assert audit.head().hash.hex() in page


def test_every_action_has_words_of_its_own() -> None:
    """The record is never told in the words of the code."""
    assert set(Action) == set(_ACTS)


def test_filter_record_by_database_finds_what_its_requests_lead_to(people: Cast, audrey: Client) -> None:
    row = ask(people.alice, reason="On shop")
    requests.cancel(actor=people.alice, request_id=row.pk, comment="Never mind")
    for name in ("shop", row.database.audit_id):
        page = audrey.get(f"/record/?database={name}&subject={row.pk}").content.decode()
        assert "On shop" in page
        assert "Never mind" in page  # although that entry names no database
        assert f"database={name.replace(':', '%3A')}" in page  # the CSV and the next page keep it
    assert "On shop" not in audrey.get(f"/record/?database=database:other&subject={row.pk}").content.decode()
    rows = list(csv.DictReader(io.StringIO(audrey.get("/record/trail.csv?database=shop").getvalue().decode())))
    assert {"On shop", ""} <= {row["reason"] for row in rows}
    assert not [row for row in rows if row["action"].startswith("record.")]


def test_filter_record_by_database_when_none_is_called_so_says_it(people: Cast, audrey: Client) -> None:
    answer = audrey.get("/record/?database=shopp")
    assert answer.status_code == 422
    assert "No database here is called shopp." in answer.content.decode()
