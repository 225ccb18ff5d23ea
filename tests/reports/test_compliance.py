"""docs/compliance.md tells what the code does."""

import io
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command

from apps.reports.describing import described
from apps.reports.listing import REPORTS

DOCUMENT = Path(settings.BASE_DIR) / "docs" / "compliance.md"


def test_columns_when_described_are_what_the_document_says() -> None:
    assert DOCUMENT.read_text().partition("<!-- columns -->\n\n")[2] == described()


def test_columns_when_asked_for_are_printed() -> None:
    out = io.StringIO()
    call_command("report", "--columns", stdout=out)
    assert out.getvalue() == described()


@pytest.mark.parametrize("name", REPORTS)
def test_report_when_there_is_one_stands_beside_its_controls(name: str) -> None:
    assert f"\n| {name} | CC6" in DOCUMENT.read_text()


def test_reports_when_listed_are_the_twelve_of_the_contract() -> None:
    assert list(REPORTS) == [
        *("access-grants", "approvals", "revocation-timeliness", "active-access", "sensitive-access", "break-glass"),
        *("changes", "denied", "drift", "statements", "log-integrity", "record-readers"),
    ]
