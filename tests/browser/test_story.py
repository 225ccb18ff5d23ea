"""The whole way in a real browser, as the README tells it: ask, approve, psql, the end on the second, the record."""

import os
import re
import subprocess

import pytest
from playwright.sync_api import Page, expect

from jitportal.embedded_install import psql
from tests.browser.conftest import SignIn

pytestmark = pytest.mark.browser

TABLES = ["logistics.carriers", "logistics.warehouses"]
OTHER = "sales.orders"


class Client:
    """psql with what the page showed."""

    def __init__(self, page: Page) -> None:
        shown = {name: page.locator(f"#c-{name}").inner_text() for name in ("host", "port", "database", "username")}
        command = page.locator("#c-psql").inner_text()
        password = page.locator("#c-password").inner_text()
        assert password not in command
        self._program = [str(psql()), "-XAt", "-v", "ON_ERROR_STOP=1"]
        self._environment = os.environ | {
            "PGHOST": shown["host"],
            "PGPORT": shown["port"],
            "PGDATABASE": shown["database"],
            "PGUSER": shown["username"],
            "PGPASSWORD": password,
            "PGCONNECT_TIMEOUT": "10",
        }

    def run(self, sql: str) -> "subprocess.CompletedProcess[str]":
        command = [*self._program, "-c", sql]
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False, timeout=120)

    def open(self, sql: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*self._program, "-c", sql],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def fill_in(page: Page, database: str, *, minutes: int, reason: str) -> None:
    """Find both tables among the others and choose them."""
    page.get_by_role("link", name="Ask for access").first.click()
    page.locator(f"input[name=database][value={database}]").check()
    for table in TABLES:
        page.get_by_label("Find a table by its name").fill(table.split(".")[1])
        page.locator(f'input[name=pick][value="{table}"]').check()
    expect(page.locator("#chosen li")).to_have_count(2)
    page.locator("input[name=connection][value=direct]").check()
    page.get_by_label("Minutes", exact=True).fill(str(minutes))
    page.get_by_label("Reason").fill(reason)


def show_credential(page: Page) -> Client:
    page.get_by_role("button", name="Show the credential").click(timeout=30_000)
    page.locator("#c-password").wait_for()
    return Client(page)


def check_reach(client: Client) -> None:
    for table in TABLES:
        answer = client.run(f"SELECT count(*) FROM {table}")
        assert answer.returncode == 0, answer.stderr
        assert int(answer.stdout) > 0
    assert "permission denied" in client.run(f"SELECT 1 FROM {OTHER}").stderr


def decide(page: Page, who: str) -> None:
    page.get_by_role("link", name=re.compile("^Inbox")).first.click()
    page.get_by_role("link", name=f"{who} asks for shop").click()
    page.get_by_role("button", name="Approve", exact=True).click()
    expect(page.locator("#messages")).to_contain_text("Your yes is recorded.")


def test_story_when_staging_is_approved_at_once(sign_in: SignIn) -> None:
    alice = sign_in("alice")
    fill_in(alice, "shop-staging", minutes=5, reason="Two stock reports differ")
    expect(alice.locator("#preview")).to_contain_text("This will be approved at once")
    alice.get_by_role("button", name="Ask for access").click()
    client = show_credential(alice)
    check_reach(client)
    expect(alice.get_by_role("heading", name="This login can reach exactly")).to_be_visible()
    alice.get_by_role("button", name="Give it back now").click()
    expect(alice.locator("#status")).to_contain_text("Ended", timeout=30_000)
    assert client.run("SELECT 1").returncode != 0


def test_story_when_production_needs_two_people_and_the_time_is_up(sign_in: SignIn) -> None:
    alice, bob, dana, audrey = (sign_in(name) for name in ("alice", "bob", "dana", "audrey"))
    fill_in(alice, "shop", minutes=1, reason="A customer waits for a parcel")
    expect(alice.locator("#preview")).to_contain_text("Needs a peer, then an owner of the database")
    alice.get_by_role("button", name="Ask for access").click()
    expect(alice.locator("#status")).to_contain_text("Waiting")
    expect(alice.get_by_role("button", name="Approve", exact=True)).to_have_count(0)
    request = alice.url.rstrip("/").rsplit("/", 1)[1]

    decide(bob, "Alice Archer")
    decide(dana, "Alice Archer")
    client = show_credential(alice)  # the page has followed by itself
    check_reach(client)
    session = client.open("SELECT pg_sleep(300)")

    expect(alice.locator("#status")).to_contain_text("Ended", timeout=100_000)
    _, complaint = session.communicate(timeout=10)
    assert session.returncode != 0
    assert "terminating connection" in complaint
    assert client.run("SELECT 1").returncode != 0
    expect(alice.locator("#credential")).to_have_count(0)

    check_record(audrey, request)


def check_record(page: Page, request: str) -> None:
    """Each step in order, newest first, and the chain holds."""
    page.goto(f"/record/?subject=request:{request}")
    told = page.locator("li.entry summary").all_inner_texts()
    decided = ["request.approved", "decision.approved", "decision.approved", "request.submitted"]
    assert [action for action in told if not action.startswith("grant.")] == decided
    page.get_by_role("button", name="Verify the newest entries now").click()
    expect(page.locator("#result")).to_contain_text("as they were sealed")
    page.goto(f"/requests/{request}/")
    steps = page.locator("ol.timeline li").all_inner_texts()
    for earlier, later in (("asked for access", "opened the login"), ("opened the login", "proved on the target")):
        order = [next(n for n, step in enumerate(steps) if words in step) for words in (earlier, later)]
        assert order == sorted(order), steps


UNMASK = "sales.customers.email"
STAYS = "hr.employees.salary_cents"


def test_story_when_values_of_masked_columns_are_asked_for(sign_in: SignIn) -> None:
    alice, bob, dana, sam = (sign_in(name) for name in ("alice", "bob", "dana", "sam"))
    alice.goto("/ask/?database=shop&table=sales.customers&table=hr.employees")
    alice.locator(f'input[name=unmask][value="{UNMASK}"]').check()
    alice.locator(f'input[name=unmask][value="{STAYS}"]').check()
    expect(alice.locator("#preview")).to_contain_text("then the data owner")
    expect(alice.locator("input[name=unmask]:checked")).to_have_count(2)
    alice.locator("input[name=connection][value=direct]").check()
    alice.get_by_label("Minutes", exact=True).fill("5")
    alice.get_by_label("Reason").fill("Letters come back")
    alice.get_by_role("button", name="Ask for access").click()

    bob.goto(alice.url)
    expect(bob.get_by_role("heading", name="To be shown unmasked")).to_be_visible()
    bob.locator(f'input[name=unmask][value="{STAYS}"]').uncheck()
    bob.get_by_text("Approve only a part of it").click()
    bob.get_by_label("Column of condition 1").select_option("sales.customers.country")
    bob.get_by_label("Comparison of condition 1").select_option("in")
    bob.get_by_label("Value of condition 1").fill("DE, NL")
    bob.get_by_role("button", name="Approve", exact=True).click()
    expect(bob.locator("section.unmasked s")).to_have_text(STAYS)
    for page in (dana, sam):
        page.goto(alice.url)
        expect(page.locator("#content")).to_contain_text("country in ('DE', 'NL')")
        page.get_by_role("button", name="Approve", exact=True).click()
        expect(page.locator("#messages")).to_contain_text("Your yes is recorded.")

    client = show_credential(alice)
    expect(alice.locator("#secret")).to_contain_text("Some tables are masked views")
    seen = client.run("SELECT email, phone, country FROM customers ORDER BY id LIMIT 50")
    assert seen.returncode == 0, seen.stderr
    rows = [line.split("|") for line in seen.stdout.splitlines()]
    assert {country for _, _, country in rows} == {"DE", "NL"}
    assert all("@" in email and "*" not in email for email, _, _ in rows)
    assert all("*" in phone for _, phone, _ in rows if phone)
    assert client.run("SELECT count(*) FROM employees WHERE salary_cents IS NOT NULL").stdout.strip() == "0"
    assert "permission denied" in client.run("SELECT email FROM sales.customers").stderr
    assert "country" in client.run(r"\d customers").stdout
    alice.get_by_role("button", name="Give it back now").click()
    expect(alice.locator("#status")).to_contain_text("Ended", timeout=30_000)


def test_story_when_scripts_are_off(sign_in: SignIn) -> None:
    alice = sign_in("alice", java_script_enabled=False)
    alice.get_by_role("link", name="Ask for access").first.click()
    alice.locator("input[name=database][value=shop-staging]").check()
    alice.get_by_label("Find a table by its name").fill("warehouses")
    alice.get_by_role("button", name="Find tables").click()
    alice.locator(f'input[name=pick][value="{TABLES[1]}"]').check()
    alice.get_by_label("Names of tables").fill(TABLES[0])
    alice.locator("input[name=connection][value=direct]").check()
    alice.get_by_label("Minutes", exact=True).fill("5")
    alice.get_by_label("Reason").fill("Without scripts")
    alice.get_by_role("button", name="Check what would happen").click()
    expect(alice.locator("#preview")).to_contain_text("This will be approved at once")
    expect(alice.get_by_label("Names of tables")).to_have_value("\n".join(TABLES))
    alice.get_by_role("button", name="Ask for access").click()
    for _ in range(30):
        if alice.get_by_role("button", name="Show the credential").count():
            break
        alice.reload()
    check_reach(show_credential(alice))
    alice.get_by_role("link", name="Back to the request").click()
    alice.get_by_role("button", name="Give it back now").click()
    expect(alice.locator("#messages")).to_contain_text("you gave the access back")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("name", "paths"),
    [
        ("dana", "/ /ask/ /inbox/ /requests/?whose=all /grants/?whose=all /notifications/ /admin/"),
        ("audrey", "/record/ /accounts/profile/ /accounts/tokens/ /accounts/sessions/"),
    ],
)
def test_pages_fit_a_phone(sign_in: SignIn, scheme: str, name: str, paths: str) -> None:
    page = sign_in(name, viewport={"width": 360, "height": 740}, color_scheme=scheme)
    for path in paths.split():
        page.goto(path)
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{path} is {wide} pixels too wide"
    page.goto("/")
    page.locator("details.nav-narrow > summary").click()
    page.get_by_role("link", name="Requests", exact=True).click()
    expect(page.get_by_role("heading", name="Requests", exact=True)).to_be_visible()


def test_form_by_keyboard(sign_in: SignIn) -> None:
    page = sign_in("alice")
    page.goto("/ask/?database=shop-staging")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.get_by_label("Find a table by its name").focus()
    page.keyboard.type("warehouses")
    page.locator(f'input[name=pick][value="{TABLES[1]}"]').wait_for()
    expect(page.locator("#found .pick")).to_have_count(1)
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.locator("#chosen li")).to_have_count(1)
    expect(page.locator("#preview")).to_contain_text("This will be approved at once")


def test_masked_columns_by_keyboard(sign_in: SignIn) -> None:
    """What is ticked stays ticked and keeps the focus, although each preview brings the list anew."""
    page = sign_in("alice")
    page.goto("/ask/?database=shop&table=sales.customers")
    tick = page.locator(f'input[name=unmask][value="{UNMASK}"]')
    tick.focus()
    page.keyboard.press("Space")
    expect(page.locator("#preview")).to_contain_text("the data owner")
    expect(tick).to_be_focused()
    expect(tick).to_be_checked()
    page.locator("#masked summary").focus()
    page.keyboard.press("Enter")
    page.locator("input[name=level][value=export]").check()
    expect(page.locator("#preview")).to_contain_text("Data may be downloaded")
    expect(tick).to_be_hidden()
    expect(tick).to_be_checked()
    page.get_by_role("button", name="Remove sales.customers").click()
    expect(page.locator("#masked section")).to_have_count(0)
