"""The whole portal, running."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.folders import short_lived

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class RunningDemo:
    """Where it answers, and the folder of all its state (JITPORTAL_DATA)."""

    url: str
    folder: Path


@contextmanager
def running_demo() -> Iterator[RunningDemo]:
    """`manage.py demo`, started as anybody would, on a free port and a folder of its own."""
    with short_lived("jd-") as folder, _running(folder) as demo:
        yield demo


@contextmanager
def _running(folder: Path) -> Iterator[RunningDemo]:
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
        yield RunningDemo(f"http://127.0.0.1:{port}", folder)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
        if process.stdout is not None:
            process.stdout.close()


def _wait_until_ready(process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if "Ctrl-C stops everything." in line:
            return
    raise AssertionError(f"The demo ended before it was ready:\n{seen}")
