"""The reports' pages, for auditors."""

import hashlib
import html
import re

import pytest
from django.test import Client

from apps.audit.actions import Action
from apps.reports.listing import REPORTS
from tests.factories import Cast
from tests.support.pages import approve, ask
from tests.support.people import listening, signed_in

pytestmark = pytest.mark.django_db(transaction=True)

_PERIOD = "since=2026-01-01&until=2100-01-01"


@pytest.fixture
def audrey(people: Cast) -> Client:
    return signed_in(people.audrey)


@pytest.mark.parametrize("path", ["", "weeks/", "approvals/", f"approvals/?{_PERIOD}", f"approvals.csv?{_PERIOD}"])
@pytest.mark.parametrize(("who", "status"), [("alice", 403), ("dana", 403), ("sam", 403), ("audrey", 200)])
def test_show_reports_when_it_is_ones_duty_or_not(people: Cast, path: str, who: str, status: int) -> None:
    told = listening()
    assert signed_in(getattr(people, who)).get(f"/reports/{path}").status_code == status
    assert len(told("record.")) <= (status == 200)


def test_list_reports_says_what_each_answers(audrey: Client) -> None:
    page = audrey.get("/reports/").content.decode()
    for report in REPORTS.values():
        assert f'href="/reports/{report.name}/"' in page
        assert report.answers.replace("'", "&#x27;") in page
    assert 'aria-current="page">Reports' in page


def test_show_report_when_opened_offers_the_last_thirty_days_and_reads_nothing(audrey: Client) -> None:
    told = listening()
    page = audrey.get("/reports/approvals/").content.decode()
    assert 'type="date" id="since"' in page
    assert "Download as CSV" not in page
    assert told("record.") == []


def test_show_report_when_asked_for_shows_rows_with_their_entries(people: Cast, audrey: Client) -> None:
    row = ask(people.alice, reason="Because <of> this")
    approve(people, row)
    told = listening()
    page = audrey.get(f"/reports/approvals/?{_PERIOD}&person=bob").content.decode()
    assert "Because &lt;of&gt; this" in page
    assert 'href="/record/?before=' in page
    (line,) = told(Action.RECORD_EXPORTED)
    assert (line.facts["report"], line.facts["as"]) == ("approvals", "page")


def test_show_report_when_nothing_fits_says_so_in_words(people: Cast, audrey: Client) -> None:
    page = audrey.get(f"/reports/approvals/?{_PERIOD}&person=nobody").content.decode()
    assert "Nothing of the kind" in page
    assert "<table" not in page


def test_download_report_when_its_page_was_seen_has_the_digest_of_the_page(people: Cast, audrey: Client) -> None:
    approve(people, ask(people.alice))
    page = audrey.get("/reports/record-readers/?since=&until=").content.decode()
    (link,) = re.findall(r'href="(/reports/record-readers\.csv[^"]+)"', page)
    file = audrey.get(html.unescape(link))
    assert hashlib.sha256(file.getvalue()).hexdigest() in page


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("since=2026-02-01&until=2026-01-01", "ends before it begins"),
        ("since=soon", "is no time"),
        ("until=2026-01-01T12:00", "needs its zone"),
        (f"{_PERIOD}&person=%00", "Null characters are not allowed"),
    ],
)
def test_show_report_when_the_period_cannot_be_meant_says_why(audrey: Client, query: str, sentence: str) -> None:
    told = listening()
    for path in ("approvals/", "approvals.csv"):
        answer = audrey.get(f"/reports/{path}?{query}")
        assert answer.status_code == 422
        assert sentence in answer.content.decode()
    assert told("record.") == []


def test_show_report_when_there_is_none_of_that_name(audrey: Client) -> None:
    for path in ("everything/", f"everything/?{_PERIOD}", "everything.csv", "..%2Fx/"):
        assert audrey.get(f"/reports/{path}").status_code == 404


@pytest.mark.parametrize("name", REPORTS)
def test_show_report_when_there_are_rows_every_report_has_a_page(people: Cast, audrey: Client, name: str) -> None:
    approve(people, ask(people.alice))
    answer = audrey.get(f"/reports/{name}/?{_PERIOD}")
    assert answer.status_code == 200
    assert REPORTS[name].title in answer.content.decode()


def test_show_weeks_when_there_is_access_draws_it_and_says_it_in_a_table(people: Cast, audrey: Client) -> None:
    approve(people, ask(people.alice))
    page = audrey.get("/reports/weeks/").content.decode()
    assert page.count('role="img"') == 3
    assert "Hours of access" in page
    assert page.count('<th scope="row">') == 36


def test_show_when_the_record_is_long_shows_the_page_first(
    audrey: Client, people: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(people.alice)
    monkeypatch.setattr("apps.portal.views.reports._QUICK", 0)
    told = listening()

    page = audrey.get(f"/reports/approvals/?{_PERIOD}").content.decode()

    assert "Reading the record" in page
    assert f'hx-get="/reports/approvals/?{html.escape(_PERIOD)}"' in page
    assert not told("record.exported")  # nothing was read yet
    address = f"/reports/approvals/?{_PERIOD}"
    for answer in (audrey.get(address, headers={"HX-Request": "true"}), audrey.get(f"{address}&now=1")):
        rows = answer.content.decode()
        assert "Entries read" in rows
        assert 'hx-trigger="load"' not in rows
    assert len(told("record.exported")) == 2
    wrong = audrey.get("/reports/approvals/?since=2026-02-01&until=2026-01-01")
    assert wrong.status_code == 422
