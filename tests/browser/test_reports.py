"""An auditor takes a report in a real browser: the file has the digest that its page tells, on a phone as well."""

import hashlib
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import SignIn

pytestmark = pytest.mark.browser


def test_report_when_taken_has_the_digest_of_its_page(sign_in: SignIn, tmp_path: Path) -> None:
    page = sign_in("audrey", viewport={"width": 390, "height": 844}, color_scheme="dark")
    page.goto("/reports/")
    page.get_by_role("link", name="Changes of configuration").click()
    page.get_by_role("button", name="Show the report").click()
    expect(page.get_by_role("heading", name="rows", exact=False).first).to_be_visible()
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download as CSV").click()
    waiting.value.save_as(tmp_path / "changes.csv")
    digest = hashlib.sha256((tmp_path / "changes.csv").read_bytes()).hexdigest()
    expect(page.get_by_text(digest)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.goto("/reports/weeks/")
    expect(page.get_by_role("img", name="hours of access", exact=False)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
