"""A demo of our own and a real browser, where there is one."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

ROOT = Path(__file__).parents[2]
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

SignIn = Callable[..., Page]


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


@pytest.fixture(scope="session")
def demo() -> Iterator[str]:
    """The address of `manage.py demo`, started as anybody would, on a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="jd-"))
    folder.chmod(0o711)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ours = ("JITPORTAL_", "DATABASE_", "EMAIL_", "DJANGO_")
    clean = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    process = subprocess.Popen(
        [sys.executable, "manage.py", "demo", "--port", str(port)],
        cwd=ROOT,
        env=clean | {"JITPORTAL_DATA": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        _wait_until_ready(process)
        # Nobody reads on: without this the demo would stop at a full pipe.
        reader = threading.Thread(target=process.stdout.read, daemon=True)  # type: ignore[union-attr]
        reader.start()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
        if process.stdout is not None:
            process.stdout.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def sign_in(browser: Browser, demo: str) -> Iterator[SignIn]:
    """A page of one person, signed in through the demo's identity provider. Errors in its console fail the test."""
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def sign_in(name: str, **options: object) -> Page:
        context = browser.new_context(base_url=demo, locale="en-GB", **options)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.goto("/")
        page.get_by_role("link", name="Continue with").click()
        page.locator(f"button[value={name}]").click()
        page.get_by_role("heading", name="Hello").wait_for()
        page.on("pageerror", lambda error: errors.append(f"{name}: {error}"))
        page.on("console", lambda told: errors.append(f"{name}: {told.text}") if told.type == "error" else None)
        return page

    yield sign_in
    for context in contexts:
        context.close()
    assert errors == []


def _wait_until_ready(process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if "Ctrl-C stops everything." in line:
            return
    raise AssertionError(f"The demo ended before it was ready:\n{seen}")
