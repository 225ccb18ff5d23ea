"""The demo's children: read, restarted, stopped with their own children, found again after a kill."""

import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from jitportal.demo import processes
from jitportal.demo.environment import MARK
from jitportal.demo.processes import Family, Program, end_leftovers
from jitportal.demo.terminal import Terminal

ROOT = Path(__file__).parents[2]
SLEEP = "import time; time.sleep(600)"


class Lines(io.StringIO):
    """What was written, to wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.changed = threading.Condition()

    def write(self, text: str) -> int:
        with self.changed:
            self.changed.notify_all()
            return super().write(text)

    def wait_for(self, text: str) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: text in self.getvalue(), timeout=30), self.getvalue()


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def family(tmp_path: Path, lines: Lines) -> Iterator[Family]:
    family = Family(tmp_path, Terminal(lines))
    yield family
    family.stop()


def program(folder: Path, script: str, name: str = "part") -> Program:
    return Program(name, (sys.executable, "-u", "-c", script), os.environ | {MARK: str(folder)})


def children_of(folder: Path) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if processes._belongs(process, folder)]


def test_run_when_a_program_fails(family: Family, lines: Lines, tmp_path: Path) -> None:
    assert family.run(program(tmp_path, "print('out of luck'); raise SystemExit(3)")) == 3
    assert lines.getvalue() == "part      │ out of luck\n"


def test_look_after_when_a_child_has_died_starts_it_again(
    family: Family, lines: Lines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_FIRST_PAUSE", 0.001)
    family.keep(program(tmp_path, f"import os; print('I am', os.getpid(), end='.\\n'); {SLEEP}"))
    (first,) = children_of(tmp_path)
    lines.wait_for(f"I am {first.pid}.")
    first.kill()
    while "part was ended by SIGKILL after 0 s; starting it again in 0 s." not in lines.getvalue():
        family.look_after()
    while not (running := children_of(tmp_path)):
        family.look_after()
    lines.wait_for(f"I am {running[0].pid}.")


def test_stop_when_children_have_children(
    family: Family, lines: Lines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_STOP_SECONDS", 0.5)
    deaf = f"import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf'); {SLEEP}"
    parent = f"import subprocess, sys; subprocess.Popen([sys.executable, '-uc', {deaf!r}]); {SLEEP}"
    family.keep(program(tmp_path, parent))
    lines.wait_for("deaf")
    family.stop()
    assert children_of(tmp_path) == []


def test_end_leftovers_when_the_demo_was_killed(tmp_path: Path) -> None:
    script = (
        "import os, shutil, signal, sys; from pathlib import Path; shutil.which = lambda name: None;"
        "from jitportal.demo.processes import Family, Program; from jitportal.demo.terminal import Terminal;"
        "from jitportal.demo.environment import MARK; folder = Path(sys.argv[1]);"
        f"sleep = Program('part', (sys.executable, '-c', {SLEEP!r}), os.environ | {{MARK: str(folder)}});"
        "Family(folder, Terminal()).keep(sleep); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(children_of(tmp_path)) == 1
    assert end_leftovers(tmp_path) == 1
    assert children_of(tmp_path) == []
    assert end_leftovers(tmp_path) == 0


def test_end_leftovers_when_another_demo_runs_leaves_it_alone(tmp_path: Path) -> None:
    theirs = subprocess.Popen([sys.executable, "-c", SLEEP], env=os.environ | {MARK: str(tmp_path / "other")})
    try:
        assert end_leftovers(tmp_path) == 0
        assert theirs.poll() is None
    finally:
        theirs.kill()
        theirs.wait()


def test_step_when_it_is_done_says_how_long_it_took(lines: Lines) -> None:
    with Terminal(lines).step("Counting"):
        pass
    assert lines.getvalue() == "  Counting: 0.0 s\n"
