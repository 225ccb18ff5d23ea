import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import keyring
import pytest
from keyring.backends.fail import Keyring as NoKeyring

from jit import main, show
from tests.cli.fake import FakePortal, fake_portal


@dataclass(frozen=True)
class Ended:
    status: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """What it told the person, in one line."""
        return " ".join(self.err.split())


Jit = Callable[..., Ended]


@pytest.fixture
def portal() -> Iterator[FakePortal]:
    with fake_portal() as portal:
        yield portal


@pytest.fixture
def proxy() -> Iterator[FakePortal]:
    """Something else that listens on loopback, and would answer as the portal does."""
    with fake_portal() as proxy:
        yield proxy


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of whoever runs the tests: no keyring, no settings, no variables."""
    for name in ("JIT_URL", "JIT_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JIT_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    before = keyring.get_keyring()
    keyring.set_keyring(NoKeyring())
    monkeypatch.chdir(tmp_path)
    yield tmp_path  # type: ignore[misc]
    keyring.set_keyring(before)


@pytest.fixture
def jit(home: Path, capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Jit:
    """The command, in this process and without a terminal."""

    def run(*arguments: str) -> Ended:
        show.choose_json(False)
        monkeypatch.setattr(sys, "argv", ["jit", *arguments])
        status = 0
        try:
            main.main()
        except SystemExit as ended:
            status = int(ended.code or 0)
        said = capsysbinary.readouterr()
        return Ended(status, said.out.decode(), said.err.decode())

    return run


@pytest.fixture
def signed_in(portal: FakePortal, home: Path, monkeypatch: pytest.MonkeyPatch) -> FakePortal:
    monkeypatch.setenv("JIT_URL", portal.url)
    monkeypatch.setenv("JIT_TOKEN", "jit_token")
    return portal
