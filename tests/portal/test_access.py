"""Who gets in, who sees what, and what every answer carries."""

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse

from tests.factories import Cast
from tests.support.pages import ask
from tests.support.people import signed_in

pytestmark = pytest.mark.django_db(transaction=True)

PAGES = ["home", "ask", "inbox", "requests", "grants", "notifications", "record", "record_csv", "ask_tables", "reports"]
CSP_WORDS = ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"]


@pytest.mark.parametrize("name", PAGES)
def test_show_page_when_nobody_is_signed_in(name: str) -> None:
    path = reverse(f"portal:{name}")
    answer = Client().get(path)
    assert answer.status_code == 302
    assert answer["Location"].startswith("/accounts/login/?next=")


def test_show_page_when_session_ended_under_a_poll() -> None:
    answer = Client().get("/", headers={"HX-Request": "true"})
    assert answer["HX-Redirect"] == "/accounts/login/"


def test_show_page_when_the_account_was_closed(people: Cast) -> None:
    client = signed_in(people.alice)
    people.alice.is_active = False
    people.alice.save()
    assert client.get("/").status_code == 302


@pytest.mark.parametrize("name", ["request", "approve", "deny", "cancel"])
def test_show_request_when_a_stranger_looks(people: Cast, name: str) -> None:
    row = ask(people.alice)
    client, path = signed_in(people.carol), reverse(f"portal:{name}", args=[row.pk])
    answer = client.get(path) if name == "request" else client.post(path, {"seen_digest": row.scope_digest})
    assert answer.status_code == 404
    assert row.reason not in answer.content.decode()


def test_show_request_when_it_does_not_exist(people: Cast) -> None:
    client = signed_in(people.alice)
    for key in ("nothing123", "a%00b", "../etc"):
        assert client.get(f"/requests/{key}/").status_code == 404


@pytest.mark.parametrize(
    ("who", "status"), [("alice", 403), ("bob", 403), ("audrey", 200), ("sam", 403), ("dana", 403)]
)
def test_show_record_when_it_is_ones_duty_or_not(people: Cast, who: str, status: int) -> None:
    client = signed_in(getattr(people, who))
    for name in ("record", "record_csv"):
        assert client.get(reverse(f"portal:{name}")).status_code == status
    assert client.post(reverse("portal:record_check")).status_code == status


@pytest.mark.parametrize(
    "path", ["/", "/ask/", "/inbox/", "/requests/", "/grants/", "/notifications/", "/record/", "/nothing/", "/admin/"]
)
def test_show_page_when_signed_in_carries_the_policy(people: Cast, path: str) -> None:
    answer = signed_in(people.dana).get(path)
    for words in CSP_WORDS:
        assert words in answer["Content-Security-Policy"]
    assert "unsafe" not in answer["Content-Security-Policy"]
    assert "no-store" in answer["Cache-Control"]
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize(
    "path", ["/api/v1/openapi.json", "/api/v1/me", "/api/v1/nothing", "/accounts/login/", "/healthz"]
)
def test_show_page_when_open_carries_the_policy(people: Cast, path: str) -> None:
    answer = Client().get(path)
    assert "default-src 'none'" in answer["Content-Security-Policy"]


def test_show_api_when_nothing_is_there(people: Cast) -> None:
    answer = Client().get("/api/v1/nothing")
    assert answer.status_code == 404
    assert answer["Content-Type"] == "application/problem+json"


def test_send_form_when_the_token_is_missing(people: Cast) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(people.alice, "apps.accounts.backends.SsoBackend")
    answer = client.post("/ask/", {"do": "submit"})
    assert answer.status_code == 403
    assert "Nothing was changed" in answer.content.decode()


def test_show_healthz_when_no_clock_and_no_worker_run(people: Cast) -> None:
    answer = Client().get("/healthz")
    assert answer.status_code == 503
    assert len(answer.json()["problems"]) == 3


def test_show_page_in_the_time_zone_of_the_reader(people: Cast) -> None:
    row = ask(people.alice)
    people.alice.time_zone = "Asia/Kathmandu"
    people.alice.save()
    page = signed_in(people.alice).get(reverse("portal:request", args=[row.pk])).content.decode()
    assert "Times are in Asia/Kathmandu" in page
    assert f"{row.submitted_at:%Y-%m-%d %H:%M}" in page  # UTC stands in the title


def test_show_page_when_the_time_zone_is_not_known_any_more(people: Cast) -> None:
    people.alice.time_zone = "Mars/Olympus"
    people.alice.save()
    assert signed_in(people.alice).get("/").status_code == 200


TEMPLATES = sorted((Path(settings.BASE_DIR) / "templates").rglob("*.html"))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(settings.BASE_DIR)))
def test_templates_hold_nothing_inline(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"<style|\sstyle=|javascript:|\son[a-z]+=", text), "inline styles and handlers are blocked"
    for attributes, content in re.findall(r"<script([^>]*)>(.*?)</script>", text, re.DOTALL):
        assert "src=" in attributes
        assert not content.strip()
    assert not re.search(r"hx-(on|vals=.js|headers=.js|vars)", text), "these would need eval"
    for source in re.findall(r"(?:src|href)=\"(https?:[^\"]*)\"", text):
        pytest.fail(f"{source} comes from elsewhere")


@pytest.mark.parametrize(
    "path", ["/accounts/tokens/%00/revoke/", "/admin/grants/grant/%00/change/", "/admin/grants/grant/?id__exact=%00"]
)
def test_show_page_when_the_address_holds_a_nul(people: Cast, path: str) -> None:
    assert signed_in(people.dana).get(path).status_code == 404


def test_search_tables_when_the_database_holds_a_nul(people: Cast) -> None:
    assert signed_in(people.alice).get("/ask/tables/?database=%00").status_code == 404
