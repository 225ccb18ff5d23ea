"""The console in a real browser: reading what is masked, cancelling, exporting, changing, one statement, the end."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import SignIn
from tests.browser.test_story import show_credential
from tests.story.walk import Person, wait_for
from tests.support.demo import RunningDemo

pytestmark = pytest.mark.browser

WAREHOUSES = "logistics.warehouses"
CUSTOMERS = "sales.customers"
Granted = Callable[..., str]
_people: dict[tuple[str, str], Person] = {}


def _person(demo: RunningDemo, name: str) -> Person:
    """Each token is made once: that starts a command of its own."""
    if (demo.url, name) not in _people:
        _people[demo.url, name] = Person(name, demo.url, demo.folder)
    return _people[demo.url, name]


@pytest.fixture
def granted(demo: RunningDemo) -> Granted:
    """alice's access on staging, for the console, once dana has agreed to it: the grant's id."""

    def granted(*tables: str, level: str = "query", minutes: int = 15, **more: Any) -> str:
        alice, dana = _person(demo, "alice"), _person(demo, "dana")
        body = {"database": "shop-staging", "level": level, "tables": list(tables), "minutes": minutes}
        body |= {"connection": "console", "reason": "Two reports differ", **more}
        made = alice.call("POST", "/requests", body, expect=201)
        if made["status"] == "pending":
            dana.call("POST", f"/requests/{made['id']}/approve", {"comment": ""})
        return opened(alice, made["id"])

    return granted


def opened(who: Person, request: str) -> str:
    def live() -> str | None:
        grant = who.call("GET", f"/requests/{request}")["grant"]
        return str(grant["id"]) if grant and grant["status"] == "active" else None

    return str(wait_for("the login", live, seconds=120))


def type_in(page: Page, sql: str) -> None:
    page.locator("#editor .cm-content").press("ControlOrMeta+a")
    page.keyboard.insert_text(sql)


def run(page: Page, sql: str) -> None:
    """By the keyboard; waits until it is over."""
    type_in(page, sql)
    page.locator("#editor .cm-content").press("Control+Enter")
    expect(page.locator("#run")).to_be_visible(timeout=60_000)
    expect(page.locator("#said")).to_be_empty()


def cells(page: Page) -> list[str]:
    return page.locator(".grid-cell").all_inner_texts()


def test_query_when_columns_are_masked_by_the_database(sign_in: SignIn, granted: Granted) -> None:
    grant = granted(CUSTOMERS)
    page = sign_in("alice")
    page.goto(f"/grants/{grant}/")
    page.get_by_role("link", name="Open the console").click()
    expect(page.locator("[data-column=email]")).to_contain_text("first letter and domain")

    run(page, "SELECT id, email, NULL AS nothing, '' AS blank, '<script>alert(1)</script>' AS tag FROM customers")

    row = page.locator(".grid-row").first.locator(".grid-cell")
    assert re.fullmatch(r".\*+@.+", row.nth(1).inner_text())
    expect(row.nth(2)).to_have_class(re.compile(r"\bnull\b"))
    expect(row.nth(3)).to_have_class(re.compile(r"\bno-text\b"))
    expect(row.nth(4)).to_have_text("<script>alert(1)</script>")
    expect(page.locator("#summary")).to_contain_text("Only the first 1,000 rows are shown")
    row.nth(4).dblclick()
    expect(page.locator("#panel")).to_contain_text("<script>alert(1)</script>")
    expect(page.locator("#past")).to_contain_text("SELECT id, email")
    expect(page.locator("#left .countdown")).to_be_visible()


def test_run_when_statement_is_wrong_or_marked(sign_in: SignIn, granted: Granted) -> None:
    page = sign_in("alice")
    page.goto(f"/grants/{granted(WAREHOUSES)}/console/")
    run(page, "SELECT 'ü😀', nme\nFROM logistics.warehouses")
    expect(page.locator("#tell")).to_contain_text('column "nme" does not exist')
    expect(page.locator("#tell")).to_contain_text("Line 1, column 15")
    expect(page.locator("#editor .cm-wrong")).to_have_text("nme")

    run(page, "SELECT 1 AS one; SELECT 2 AS two")
    expect(page.locator("#tabs button")).to_have_count(2)
    assert cells(page) == ["2"]
    page.get_by_role("button", name="Result 1").click()
    expect(page.locator(".grid-cell")).to_have_text(["1"])

    type_in(page, "SELECT 41\n")
    page.locator("#editor .cm-content").press("Control+End")
    page.keyboard.type("SELECT 42")
    page.keyboard.press("Shift+Home")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".grid-cell")).to_have_text(["42"])


def test_run_when_the_session_is_over(sign_in: SignIn, granted: Granted) -> None:
    page = sign_in("alice")
    page.goto(f"/grants/{granted(WAREHOUSES)}/console/")
    page.context.clear_cookies(name="jitportal_session")
    run(page, "SELECT 'kept'")
    expect(page.locator("#tell")).to_contain_text("You are signed out")
    expect(page.locator("#editor .cm-content")).to_have_text("SELECT 'kept'")


def test_cancel_when_statement_sleeps(sign_in: SignIn, granted: Granted) -> None:
    page = sign_in("alice")
    page.goto(f"/grants/{granted(WAREHOUSES)}/console/")
    type_in(page, "SELECT pg_sleep(600)")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator("#said")).to_contain_text("s of at most")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#tell")).to_contain_text("the server stopped it", timeout=30_000)
    expect(page.locator("#past")).to_contain_text("cancelled")
    run(page, "SELECT 'still there'")
    assert cells(page) == ["still there"]


@pytest.mark.parametrize("scheme", ["csv", "jsonl"])
def test_export_when_all_rows_are_taken_along(sign_in: SignIn, granted: Granted, scheme: str, tmp_path: Path) -> None:
    page = sign_in("alice")
    page.goto(f"/grants/{granted(CUSTOMERS, level='export')}/console/")
    type_in(page, "SELECT id, email FROM customers ORDER BY id")
    page.get_by_label("Format").select_option(scheme)
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    file = tmp_path / "file"
    download.value.save_as(file)
    assert download.value.suggested_filename.endswith(f".{scheme}")
    data = file.read_bytes()
    assert len(data.splitlines()) > 3_000
    assert b"*" in data.splitlines()[-1]
    expect(page.locator("#past .hash").first).to_have_text(hashlib.sha256(data).hexdigest(), timeout=20_000)
    expect(page.locator("#export-now")).to_contain_text(re.compile(r"Exported whole: [\d,]{5,} rows"))

    type_in(page, "SELECT nothing FROM customers")
    page.get_by_role("button", name="Export").click()
    expect(page.locator("#tell")).to_contain_text('column "nothing" does not exist')
    expect(page.locator("#editor .cm-content")).to_have_text("SELECT nothing FROM customers")


def test_export_when_it_is_cancelled(sign_in: SignIn, granted: Granted) -> None:
    page = sign_in("alice")
    page.goto(f"/grants/{granted(WAREHOUSES, level='export')}/console/")
    type_in(page, "SELECT n, repeat('x', 9999), pg_sleep(0.01) FROM generate_series(1, 100000) n")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    expect(page.locator("#export-now")).to_contain_text(
        re.compile(r"Export under way: [1-9][\d,]* rows"), timeout=30_000
    )
    page.get_by_role("button", name="Cancel the export").click()
    expect(page.locator("#past")).to_contain_text("cancelled", timeout=30_000)
    expect(page.locator("#export-now")).to_contain_text("The export is not whole")
    assert download.value.failure()  # never as if it were whole


def test_value_when_it_is_json_or_binary(sign_in: SignIn, granted: Granted) -> None:
    page = sign_in("alice", color_scheme="dark")
    page.goto(f"/grants/{granted(WAREHOUSES)}/console/")
    run(page, """SELECT '{"a": {"n": 12345678901234567890123}, "b": [], "a": 1}'::json AS j, '\\x00ff41'::bytea AS b""")
    page.locator(".grid").press("Enter")
    value = page.locator("#panel [data-part=value]")
    expect(value).to_have_text(
        '{\n  "a": {\n    "n": 12345678901234567890123\n  },\n  "b": [],\n  "a": 1\n}', use_inner_text=True
    )
    page.locator(".grid").press("ArrowRight")
    expect(value).to_contain_text("00 ff 41")
    expect(value).to_contain_text("··A")
    expect(page.locator("#panel [data-part=about]")).to_have_text("bytea, row 1, 3 bytes")
    page.locator(".grid").press("Escape")
    expect(page.locator("#panel")).to_be_hidden()


def test_change_when_rolled_back_and_when_committed(sign_in: SignIn, granted: Granted) -> None:
    page, grant = sign_in("alice"), granted(WAREHOUSES, level="change")
    page.goto(f"/grants/{grant}/console/")
    update = f"UPDATE logistics.warehouses SET city = '{grant}' WHERE id = 4"
    look = f"SELECT count(*) FROM logistics.warehouses WHERE city = '{grant}'"
    run(page, update)
    expect(page.locator("#tell")).to_contain_text("Begin a transaction first")

    for end, count in (("Roll back", "0"), ("Commit", "1")):
        page.get_by_role("button", name="Begin a transaction").click()
        expect(page.locator("#transaction")).to_be_visible()
        expect(page.locator("html")).to_have_class("in-transaction")
        run(page, update)
        expect(page.locator("#affected")).to_have_text("1 row affected so far.")
        run(page, "SELECT broken")
        expect(page.locator("#tell")).to_contain_text('column "broken" does not exist')
        run(page, look)
        assert cells(page) == ["1"]
        page.get_by_role("button", name=end).click()
        expect(page.locator("#transaction")).to_be_hidden()
        run(page, look)
        assert cells(page) == [count]


def test_change_when_its_tab_is_closed(sign_in: SignIn, granted: Granted) -> None:
    page = sign_in("alice")
    page.goto(f"/grants/{granted(WAREHOUSES, level='change')}/console/")
    other = page.context.new_page()
    other.goto(page.url)
    other.get_by_role("button", name="Begin a transaction").click()
    expect(other.locator("#transaction")).to_be_visible()
    run(
        other,
        "UPDATE logistics.warehouses SET city = 'Never seen' WHERE id = 2",
    )
    other.close()
    expect(page.locator("#past")).to_contain_text("rolled back", timeout=60_000)
    run(page, "SELECT count(*) FROM logistics.warehouses WHERE city = 'Never seen'")
    assert cells(page) == ["0"]


def ask_for_statement(page: Page, statement: str, rows: int) -> str:
    page.goto(f"/ask/?database=shop-staging&table={WAREHOUSES}")
    page.locator("input[name=level][value=change]").check()
    page.get_by_text("It is one exact statement").click()
    page.get_by_label("The statement").fill(statement)
    page.get_by_label("Rows it should affect").fill(str(rows))
    page.get_by_label("Minutes", exact=True).fill("5")
    page.get_by_label("Reason").fill("A data fix")
    page.get_by_role("button", name="Ask for access").click()
    expect(page.locator("#status")).to_contain_text("Waiting")
    return page.url


@pytest.mark.parametrize(("rows", "says"), [(7, "rolled back"), (1, "committed")])
def test_one_off_when_rows_are_as_expected_or_not(sign_in: SignIn, rows: int, says: str) -> None:
    alice, dana = sign_in("alice"), sign_in("dana")
    statement = "UPDATE logistics.warehouses\n   SET city = city || '!' -- <b>exactly</b>\n WHERE id = 1"
    address = ask_for_statement(alice, statement, rows)

    dana.goto(address)
    expect(dana.locator("pre[data-sql]")).to_have_text(statement, use_inner_text=True)
    expect(dana.locator("pre[data-sql] .tok-keyword").first).to_have_text("UPDATE")
    dana.get_by_role("button", name="Approve", exact=True).click()
    expect(dana.locator("#messages")).to_contain_text("Your yes is recorded.")

    alice.get_by_role("button", name="Show its plan").click(timeout=60_000)
    expect(alice.get_by_label("The plan")).to_contain_text("Update on")
    alice.get_by_role("button", name="Run it once").click()
    expect(alice.locator(".plain-answer, .notice").first).to_contain_text(says, ignore_case=True)
    alice.get_by_role("link", name="To the request").click()
    expect(alice.locator("section[aria-labelledby=statement-title]")).to_contain_text(f"It ran and was {says}")
    expect(alice.get_by_role("button", name="Run it once")).to_have_count(0)
    dana.reload()
    expect(dana.locator("section[aria-labelledby=statement-title]")).to_contain_text(f"It ran and was {says}")


def test_one_off_when_it_is_cancelled_from_its_page(sign_in: SignIn) -> None:
    alice, dana = sign_in("alice"), sign_in("dana")
    statement = "UPDATE logistics.warehouses SET city = 'Never seen' WHERE id = 2 AND pg_sleep(120) IS NOT NULL"
    address = ask_for_statement(alice, statement, 1)
    dana.goto(address)
    dana.get_by_role("button", name="Approve", exact=True).click()
    expect(dana.locator("#messages")).to_contain_text("Your yes is recorded.")
    expect(alice.get_by_role("button", name="Run it once")).to_be_visible(timeout=60_000)

    alice.get_by_role("button", name="Run it once").click(no_wait_after=True)
    other = alice.context.new_page()
    about = other.locator("section[aria-labelledby=statement-title]")
    other.goto(address)
    for _ in range(100):  # the page does not renew itself
        if about.get_by_role("button", name="Cancel it").is_visible():
            break
        other.reload()
    dana.reload()
    expect(dana.get_by_role("button", name="Cancel it")).to_have_count(0)  # the holder's alone
    about.get_by_role("button", name="Cancel it").click()

    expect(alice.locator(".plain-answer, .notice").first).to_contain_text("cancelled")
    other.goto(address)
    expect(about).to_contain_text("cancelled")
    expect(other.get_by_role("button", name="Run it once")).to_have_count(0)


def test_console_when_tab_is_left_open_past_the_end(sign_in: SignIn, granted: Granted) -> None:
    grant = granted(WAREHOUSES, level="change", minutes=1)
    page = sign_in("alice", viewport={"width": 390, "height": 844}, color_scheme="dark")
    page.goto(f"/grants/{grant}/console/")
    page.get_by_role("button", name="Begin a transaction").click()
    run(page, "UPDATE logistics.warehouses SET city = 'Past the end' WHERE id = 2")
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0

    expect(page.locator("#left .notice.bad")).to_be_visible(timeout=90_000)

    expect(page.locator("#left")).to_contain_text("Your access has ended: nothing more runs.")
    expect(page.locator("#tell")).to_contain_text("rolled back")
    expect(page.locator("#bar")).to_be_hidden()
    expect(page.locator("#editor .cm-content")).to_have_attribute("contenteditable", "false")
    answer = page.request.post(f"/grants/{grant}/console/run/", form={"sql": "SELECT 1"})
    assert answer.status == 403  # a form from nowhere


def test_console_when_scripts_are_off(sign_in: SignIn, granted: Granted) -> None:
    page, grant = sign_in("alice", java_script_enabled=False), granted(WAREHOUSES, level="change")
    page.goto(f"/grants/{grant}/console/")
    page.get_by_label("SQL", exact=True).fill("SELECT NULL AS nothing, '' AS blank, '<b>' AS tag")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator(".result-table tbody td")).to_have_text(["NULL", "empty text", "<b>"])
    update = f"UPDATE logistics.warehouses SET city = '{grant}' WHERE id = 3"
    look = f"SELECT count(*) FROM logistics.warehouses WHERE city = '{grant}'"
    tries = (
        ("Try it out, roll back", "", "0"),
        ("Run and commit", "5", "0"),
        ("Run and commit", "1", "1"),
    )
    for button, rows, count in tries:
        page.get_by_label("SQL", exact=True).fill(update)
        page.get_by_label("Expected rows").fill(rows)
        page.get_by_role("button", name=button).click()
        expect(page.locator("#result .notice")).to_contain_text("ommitted" if count == "1" else "olled back")
        page.get_by_label("SQL", exact=True).fill(look)
        page.get_by_role("button", name="Run", exact=True).click()
        expect(page.locator(".result-table tbody td")).to_have_text([count])
    page.get_by_label("SQL", exact=True).fill("SELECT 1,\n  nme")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator("mark.wrong")).to_have_text("nme")
    expect(page.locator("#tell")).to_contain_text("at line 2, column 3")


def test_credential_when_its_holder_has_changed_the_password(sign_in: SignIn, granted: Granted) -> None:
    grant = granted(WAREHOUSES, connection="direct")
    page = sign_in("alice")
    page.goto(f"/grants/{grant}/")
    client = show_credential(page)
    expect(page.locator("#login-check")).to_contain_text("lets this login in")
    page.locator("summary", has_text="SQLAlchemy").click()
    expect(page.locator("#c-way-sqlalchemy")).to_contain_text(page.locator("#c-username").inner_text())
    changed = client.run("ALTER ROLE CURRENT_USER PASSWORD 'something else'")
    assert changed.returncode == 0, changed.stderr

    page.reload()
    show_credential(page)
    expect(page.locator("#login-check")).to_contain_text("If you have changed its password")
    page.get_by_role("button", name="Set the password again").click()
    expect(page.locator("#messages")).to_contain_text("is being set again")

    wait_for("the password", lambda: client.run("SELECT 1").returncode == 0)
    show_credential(page)
    expect(page.locator("#login-check")).to_contain_text("lets this login in")


def test_console_when_it_is_somebody_elses(sign_in: SignIn, granted: Granted) -> None:
    grant = granted(WAREHOUSES)
    carol = sign_in("carol")
    for path in ("console/", "console/now/"):
        assert carol.request.get(f"/grants/{grant}/{path}").status == 404
