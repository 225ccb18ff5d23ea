"""Rows of one result, as they come from libpq, and how it ended."""

from collections.abc import Iterator
from typing import Final

from psycopg import pq

from apps.engines.postgresql.wire import decoded
from apps.engines.running import Batch, Caps, Finish

BATCH_ROWS: Final = 200
BATCH_BYTES: Final = 256 * 1024
_MOST_AFFECTED: Final = (1 << 63) - 1


class Gathered:
    """Rows of one result as they come, and what is left of its caps."""

    def __init__(self, caps: Caps) -> None:
        self._caps, self._bytes, self._batch_bytes = caps, 0, 0
        self._rows: list[tuple[str | None, ...]] = []
        self._cut: list[tuple[int, int, int]] = []
        self.rows, self.is_first, self.capped = 0, True, ""

    @property
    def is_full(self) -> bool:
        return len(self._rows) >= BATCH_ROWS or self._batch_bytes >= BATCH_BYTES

    def add(self, result: "pq.abc.PGresult") -> bool:
        """False where a cap does not let the row in."""
        self.is_first = False
        if self.capped:
            return False
        if self.rows >= self._caps.rows:
            self.capped = "rows"
            return False
        cells: list[str | None] = []
        size, cut = 0, list[tuple[int, int, int]]()
        for column in range(result.nfields):
            value = result.get_value(0, column)
            if value is not None and len(value) > self._caps.cell_bytes:
                cut.append((len(self._rows), column, len(value)))
                value = value[: self._caps.cell_bytes]
            size += len(value or b"") + 8
            cells.append(decoded(value))
        if self._bytes + size > self._caps.bytes:
            self.capped = "bytes"
            return False
        self._rows.append(tuple(cells))
        self._cut += cut
        self.rows, self._bytes, self._batch_bytes = self.rows + 1, self._bytes + size, self._batch_bytes + size
        return True

    def take(self) -> Iterator[Batch]:
        if self._rows:
            yield Batch(tuple(self._rows), tuple(self._cut))
        self._rows, self._cut, self._batch_bytes = [], [], 0


def size_of(result: "pq.abc.PGresult") -> int:
    return sum(len(result.get_value(0, column) or b"") for column in range(result.nfields))


def finish_of(result: "pq.abc.PGresult", gathered: Gathered) -> Finish:
    affected = None if result.command_tuples is None else min(result.command_tuples, _MOST_AFFECTED)
    return Finish(gathered.rows, affected, decoded(result.command_status) or "", gathered.capped)
