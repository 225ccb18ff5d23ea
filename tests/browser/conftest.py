"""A real browser, where there is one."""

import os
import shutil
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from tests.support.demo import RunningDemo

_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

SignIn = Callable[..., Page]

# What htmx says of a poll that was under way when the page went elsewhere, or of a preview that a newer one took the
# place of. A server's refusal is told in other words
# (htmx:responseError, "Failed to load resource").
_CUT_SHORT = ("htmx:afterRequest", "htmx:sendError", "htmx:sendAbort")


@pytest.fixture(scope="session")
def chromium() -> str:
    """Debian's browser: Playwright's own would have to be fetched."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        why = "No chromium on this machine (Debian: apt-get install chromium)."
        if os.environ.get("JITPORTAL_REQUIRE_BROWSER"):
            pytest.fail(why)
        pytest.skip(why)
    return found


# Closed after each file of tests: its event loop would keep Django from the database in whatever comes next.
@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def sign_in(browser: Browser, demo: RunningDemo) -> Iterator[SignIn]:
    """A page of one person, signed in through the demo's identity provider. Errors in its console fail the test."""
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def sign_in(name: str, **options: object) -> Page:
        context = browser.new_context(base_url=demo.url, locale="en-GB", **options)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.goto("/")
        page.get_by_role("link", name="Continue with").click()
        page.locator(f"button[value={name}]").click()
        page.get_by_role("heading", name="Hello").wait_for()
        page.on("pageerror", lambda error: errors.append(f"{name}: {error}"))
        page.on("console", lambda told: errors.append(f"{name}: {told.text}") if _is_error(told) else None)
        return page

    yield sign_in
    for context in contexts:
        context.close()
    assert errors == []


def _is_error(told: ConsoleMessage) -> bool:
    return told.type == "error" and not told.text.startswith(_CUT_SHORT)
