"""What the demo says while it runs: lines of its parts, and steps with the time that they take."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

_WIDTH = 10
_COLOURS = (36, 33, 32, 35, 34, 31)


class Terminal:
    """One writer for many threads. In a terminal a running step counts its seconds on its own line."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self._live = out.isatty()
        self._lock = threading.Lock()
        self._colours: dict[str, int] = {}
        self._step = ""

    def say(self, text: str = "") -> None:
        """A line of the demo's own."""
        self._write(f"{text}\n")

    def line(self, part: str, text: str) -> None:
        """A line that a part has written, with its name before it."""
        name = f"{part:<{_WIDTH}}│"
        if self._live:
            colour = self._colours.setdefault(part, _COLOURS[len(self._colours) % len(_COLOURS)])
            name = f"\x1b[{colour}m{name}\x1b[0m"
        self._write(f"{name} {text}\n")

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Something that takes its time; a sentence without a full stop, such as 'Filling the database shop'."""
        started = time.monotonic()
        done = threading.Event()
        ticker = threading.Thread(target=self._tick, args=(what, started, done), daemon=True)
        ticker.start()
        try:
            yield
        finally:
            done.set()
            ticker.join()
            self._step = ""
        self.say(f"  {what}: {time.monotonic() - started:.1f} s")

    def _tick(self, what: str, started: float, done: threading.Event) -> None:
        # Counting every second is for eyes; a log gets a line now and then.
        while not done.wait(1 if self._live else 10):
            elapsed = f"  {what} … {time.monotonic() - started:.0f} s"
            self._step = elapsed if self._live else ""
            self._write("" if self._live else f"{elapsed}\n")

    def _write(self, text: str) -> None:
        with self._lock:
            if self._live:
                text = f"\r\x1b[K{text}{self._step}"
            self._out.write(text)
            self._out.flush()
