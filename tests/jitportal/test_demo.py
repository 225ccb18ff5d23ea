"""The whole demo: up, killed, up again on the same folder, and down without a trace."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from jitportal.demo.environment import MARK

ROOT = Path(__file__).parents[2]


class Demo:
    """`manage.py demo` as somebody would start it, without anything of the tests' environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> subprocess.Popen[str]:
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("JITPORTAL_", "DATABASE_"))}
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "demo", "--port", str(self.port)],
            cwd=ROOT,
            env=clean | {"JITPORTAL_DATA": str(self.folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return self.process

    def read_until(self, text: str) -> str:
        assert self.process is not None
        assert self.process.stdout is not None
        seen = ""
        for line in self.process.stdout:
            seen += line
            if text in line:
                return seen
        raise AssertionError(f"The demo ended before it said {text!r}:\n{seen}")

    def processes(self) -> list[psutil.Process]:
        """Everything that belongs to it: children, their children, and both servers."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            try:
                mine = process.environ().get(MARK) == str(self.folder)
            except psutil.Error:
                mine = False
            if mine or any(str(self.folder) in part for part in process.info["cmdline"] or []):
                found.append(process)
        return found


@pytest.fixture
def demo(cluster_folder: Path) -> Iterator[Demo]:
    demo = Demo(cluster_folder / "demo")
    yield demo
    if demo.process is not None and demo.process.poll() is None:
        demo.process.send_signal(signal.SIGINT)
        demo.process.communicate()
    for process in demo.processes():
        process.kill()


def test_demo_when_it_is_killed_and_started_again(demo: Demo) -> None:
    first = demo.start()
    said = demo.read_until("Ctrl-C stops everything.")
    assert f"http://127.0.0.1:{demo.port}" in said
    assert all(name in said for name in ("alice", "bob", "carol", "dana", "sam", "audrey"))
    with urllib.request.urlopen(f"http://127.0.0.1:{demo.port}/healthz") as answer:
        assert answer.status == 200
    secrets = (demo.folder / "demo.json").read_text()

    another = subprocess.run(
        [sys.executable, "manage.py", "demo", "--port", str(demo.port)],
        cwd=ROOT,
        env=os.environ | {"JITPORTAL_DATA": str(demo.folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "A demo is running on" in another.stderr

    first.kill()
    first.communicate()

    second = demo.start()
    said = demo.read_until("Ctrl-C stops everything.")
    assert (demo.folder / "demo.json").read_text() == secrets
    with urllib.request.urlopen(f"http://127.0.0.1:{demo.port}/healthz") as answer:
        assert answer.status == 200

    second.send_signal(signal.SIGINT)
    said, _ = second.communicate()
    assert "Stopping everything" in said
    assert second.returncode == 0
    assert demo.processes() == []


def test_demo_when_its_port_is_taken(demo: Demo) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", demo.port))
        taken.listen()
        process = demo.start()
        said, _ = process.communicate()
    assert f"Port {demo.port} is taken by another program. Choose another: make demo PORT=8001" in said
    assert process.returncode == 1
    assert demo.processes() == []
