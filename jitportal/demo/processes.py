"""The demo's child processes: started, read, restarted, stopped, and found again after a kill."""

import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from jitportal.demo.environment import MARK
from jitportal.demo.terminal import Terminal
from jitportal.embedded_processes import dies_with_us

_STOP_SECONDS = 20.0
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0
_STEADY_SECONDS = 60.0  # who ran this long starts with a short pause again


@dataclass(frozen=True)
class Program:
    """Something to keep running."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(repr=False)


@dataclass
class _Child:
    program: Program
    process: subprocess.Popen[str] | None = None
    reader: threading.Thread | None = None
    started_at: float = 0.0
    due_at: float = 0.0
    pause: float = 0.0  # before the next start; 0 means the first one


class Family:
    """Children that live as long as we do. Call every method from the main thread: they die with their thread."""

    def __init__(self, folder: Path, terminal: Terminal) -> None:
        self._folder = folder
        self._terminal = terminal
        self._children: list[_Child] = []

    def run(self, program: Program) -> int:
        """Run to the end; returns the exit status."""
        child = _Child(program)
        self._children.append(child)
        process = self._start(child)
        status = process.wait()
        if child.reader is not None:
            child.reader.join()  # its last lines say why
        self._children.remove(child)
        return status

    def keep(self, program: Program) -> None:
        """Start it and keep it running."""
        child = _Child(program)
        self._children.append(child)
        self._start(child)

    def look_after(self) -> None:
        """Say who has ended, and start them again when their pause is over."""
        for child in self._children:
            if child.process is not None and (status := child.process.poll()) is not None:
                self._has_ended(child, status)
            if child.process is None and time.monotonic() >= child.due_at:
                self._start(child)

    def stop(self) -> None:
        """Ask all to end, last started first; who does not is killed. Stopping twice is fine."""
        running = [child.process for child in reversed(self._children) if child.process is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + _STOP_SECONDS
        for process in running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._children.clear()
        end_leftovers(self._folder)

    def _start(self, child: _Child) -> subprocess.Popen[str]:
        child.started_at = time.monotonic()
        child.process = subprocess.Popen(  # noqa: S603 - no shell, our own programs
            [*dies_with_us("TERM"), *child.program.command],
            env=child.program.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C is for us; we stop them in order
        )
        child.reader = threading.Thread(target=self._read, args=(child.program.name, child.process), daemon=True)
        child.reader.start()
        return child.process

    def _read(self, name: str, process: subprocess.Popen[str]) -> None:
        if process.stdout is None:
            return
        with process.stdout:
            for line in process.stdout:
                self._terminal.line(name, line.rstrip())

    def _has_ended(self, child: _Child, status: int) -> None:
        if child.process is not None:
            _kill_group(child.process.pid)
        lived = time.monotonic() - child.started_at
        pause = _FIRST_PAUSE if lived > _STEADY_SECONDS else child.pause or _FIRST_PAUSE
        child.pause = min(pause * 2, _LONGEST_PAUSE)
        child.process, child.due_at = None, time.monotonic() + pause
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        self._terminal.say(f"{child.program.name} {how} after {lived:.0f} s; starting it again in {pause:.0f} s.")


def end_leftovers(folder: Path) -> int:
    """End every process that a demo on this folder has started and left; returns how many there were."""
    found = [process for process in psutil.process_iter() if _belongs(process, folder)]
    for process in found:
        _quietly(process, signal.SIGTERM)
    _, alive = psutil.wait_procs(found, timeout=_STOP_SECONDS)
    for process in alive:
        _quietly(process, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=5)
    return len(found)


def _belongs(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.pid != os.getpid() and bool(process.environ().get(MARK) == str(folder))
    except (psutil.Error, OSError):
        return False  # not ours to look at, or gone


def _quietly(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _kill_group(leader: int) -> None:
    """What a child has started itself must not outlive it."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return
