"""How many long streams one process takes on: each holds a thread, and the others are for everybody else."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from apps.console.errors import TooMany


class Slots:
    def __init__(self, most: int, what: str, otherwise: str) -> None:
        self._lock, self._left, self._most = threading.Lock(), most, most
        self._what, self._otherwise = what, otherwise

    @contextmanager
    def one(self) -> Iterator[None]:
        """Raises TooMany."""
        with self._lock:
            if not self._left:
                raise TooMany(
                    f"This process of the portal holds {self._most} {self._what} already, and keeps its other threads "
                    f"for everybody else: try again in a moment, {self._otherwise}."
                )
            self._left -= 1
        try:
            yield
        finally:
            with self._lock:
                self._left += 1


# Whatever runs, of whichever kind: a process of eight threads always has two for pages, and for taking access away.
streams = Slots(6, "running statements and open transactions", "or cancel one of yours")
