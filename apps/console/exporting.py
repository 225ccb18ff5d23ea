"""All rows of a query as a file, passed on as the database sends it; memory does not grow with it."""

import hashlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from apps.accounts.models import User
from apps.console import access, record, slots
from apps.console.access import Asked, Stopped
from apps.console.errors import StatementFailed, Unavailable
from apps.console.events import Why
from apps.console.models import Kind, Statement
from apps.console.record import Outcome, Running, refusals_recorded
from apps.console.slots import Slots
from apps.console.streams import explained, key, parsed
from apps.core.errors import Invalid
from apps.engines.base import EngineError
from apps.engines.postgresql import splitting
from apps.engines.running import FileFormat

MESSAGE_BYTES: Final = 512 * 1024 * 1024  # one row of a file
AT_MOST: Final = 3  # by one process
_BROKEN: Final = "This export broke off in the middle and is not whole."
_ANSWERED_AFTER: Final = 2.0  # seconds, whatever has come by then: whoever waits can see it run, and cancel it
_TOLD_EVERY: Final = 1.0  # seconds between two words of progress
_CONTENT_TYPES: Final = {
    FileFormat.CSV: "text/csv; charset=utf-8; header=present",
    FileFormat.JSONL: "application/jsonl; charset=utf-8",
}


files = Slots(AT_MOST, "exports", "when one of them is done")


@dataclass(frozen=True, kw_only=True)
class Export:
    """A file on its way. Iterating `content` raises in the middle where it is not whole (StatementFailed): let that
    break the response. Its `close()` cancels.
    """

    statement: str
    name: str  # of the file: shop-2026-11-28-k3v5x2m7qa.csv
    content_type: str
    content: Iterator[bytes] = field(repr=False)


@dataclass
class _State:
    """What export() and the generator behind it tell each other."""

    row: Statement | None = None
    is_answered: bool = False  # the file is on its way: what goes wrong now is read by nobody but a log


class _Content:
    """The parts of a file, of which the first has been read already."""

    def __init__(self, first: bytes, parts: Generator[bytes, None, None]) -> None:
        self._first: bytes | None = first
        self._parts = parts

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        first, self._first = self._first, None
        return next(self._parts) if first is None else first

    def close(self) -> None:
        self._parts.close()


def check_ends_are_told(protocol: str) -> None:
    """Raise Unavailable where a file that breaks off looks like one that has ended."""
    if protocol == "HTTP/1.0":
        raise Unavailable(
            "This came by HTTP/1.0, in which a file that breaks off looks whole. Let whatever stands in front of the "
            "portal speak HTTP/1.1 to it."
        )


@refusals_recorded
def export(
    *, actor: User, grant_id: str, sql: str, file_format: str = "csv", address: str = "", once: str | None = None
) -> Export:
    if file_format not in list(FileFormat):
        raise Invalid(f"Choose one of these formats: {', '.join(FileFormat)}.", field="format")
    (one,) = parsed(sql, exactly_one=True)
    chosen = FileFormat(file_format)
    state = _State()
    asked = Asked(actor=actor, grant_id=grant_id, address=address, once=key(once, 1))
    parts = _file(asked, one, chosen, state)
    first, row = _first_of(parts), state.row
    assert row is not None  # noqa: S101 - it came before the first part
    state.is_answered = True
    return Export(
        statement=row.pk,
        name=f"{row.grant.database.slug}-{row.started_at:%Y-%m-%d}-{row.pk}.{chosen}",
        content_type=_CONTENT_TYPES[chosen],
        content=_Content(first, parts),
    )


def _first_of(parts: Iterator[bytes]) -> bytes:
    """Until there are bytes, or all is said, or somebody waits: what goes wrong before that can still be answered."""
    until = monotonic() + _ANSWERED_AFTER
    return next((part for part in parts if part or monotonic() >= until), b"")


def _file(
    asked: Asked, one: splitting.Statement, file_format: FileFormat, state: _State
) -> Generator[bytes, None, None]:
    """Parts may be empty: then nothing has come for a moment."""
    use = access.usable(asked.actor, asked.grant_id, Kind.EXPORT)
    with files.one(), slots.streams.one(), access.session(use.grant) as (session, watch):
        where = Running(
            kind=Kind.EXPORT,
            pid=session.pid,
            name=session.name,
            address=asked.address,
            once=asked.once,
            file_format=file_format.value,
        )
        row, use = record.start(actor=asked.actor, use=use, sql=one.text, where=where)
        state.row = row
        watch.follow(row, use.seconds)
        began, told, digest, outcome = monotonic(), monotonic(), hashlib.sha256(), Outcome(bytes=0)
        broken: StatementFailed | None = None
        try:
            session.begin(use.seconds, read_only=True)
            for chunk in session.copy_out(one.text, file_format, MESSAGE_BYTES):
                digest.update(chunk.data)
                outcome.rows += chunk.rows
                outcome.bytes = (outcome.bytes or 0) + len(chunk.data)
                if monotonic() - told > _TOLD_EVERY:
                    record.keep_progress(row, rows=max(0, outcome.rows), size=outcome.bytes)
                    told = monotonic()
                yield chunk.data
            outcome.sha256 = digest.hexdigest()
            outcome.done()
        except (EngineError, Stopped) as error:
            failed = explained(error, row, offset=one.offset)
            outcome.failed(failed.why, failed.sentence, failed.sqlstate)
            # A log is no place for values, which the database's own words may quote.
            sentence = _BROKEN if state.is_answered and failed.why is Why.SQL else failed.sentence
            broken = StatementFailed(sentence, why=failed.why.value, sqlstate=failed.sqlstate, position=failed.position)
        except Exception:
            outcome.failed(Why.LOST, "It failed unexpectedly.")
            raise
        finally:
            outcome.rows = max(0, outcome.rows)
            outcome.elapsed_ms = int((monotonic() - began) * 1000)
            record.finish(statement=row, outcome=outcome)
        if broken is not None:
            raise broken  # here, where the database's own words are no part of its traceback
