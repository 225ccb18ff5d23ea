"""Whether the record follows from itself, day by day. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date
from typing import Final

from apps.audit.chain import ZERO, Head, Sealed, micros, verify_step
from apps.audit.trail import Line
from apps.reports.base import Asked, Column, Report, Row
from apps.reports.reading import listed

_TOLD: Final = 20  # findings of one day


@dataclass(slots=True)
class _Day:
    day: date
    first: int
    last: int = 0
    hash: bytes = b""
    by: Counter[str] = field(default_factory=Counter)
    erased: int = 0
    finding_count: int = 0
    findings: list[str] = field(default_factory=list)
    suspects: list[int] = field(default_factory=list)

    def add(self, line: Line, problems: list[str]) -> None:
        self.last, self.hash = line.index, line.hash
        self.by[line.recorded_by] += 1
        self.erased += len(line.erased)
        found = [*problems, *([line.problem] if line.problem else [])]
        self.finding_count += len(found)
        if found and len(self.findings) < _TOLD:
            self.findings += found
            self.suspects.append(line.index)


def _integrity(lines: Iterable[Line], asked: Asked) -> Iterator[Row]:
    head, today = Head(), None
    for line in lines:
        if line.recorded_at >= asked.until:
            break
        # What is before the first entry that is read was not: its own hash is taken on trust.
        is_first = head.hash == ZERO and head.size == 0 and line.index > 0
        reached, problems = verify_step(head, _sealed(line))
        if line.recorded_at >= asked.since:
            day = line.recorded_at.astimezone(UTC).date()
            if today is None or day != today.day:
                if today is not None:
                    yield _row(today)
                today = _Day(day, line.index)
            today.add(line, [] if is_first else problems)
        head = reached
    if today is not None:
        yield _row(today)


def _sealed(line: Line) -> Sealed:
    return Sealed(line.index, micros(line.recorded_at), line.recorded_by, line.body, line.hash)


def _row(day: _Day) -> Row:
    return {
        "day": day.day.isoformat(),
        "first": day.first,
        "last": day.last,
        "entry_count": day.by.total(),
        "recorded_by": listed(f"{role}: {count}" for role, count in sorted(day.by.items())),
        "erased_texts": day.erased,
        "last_hash": day.hash.hex(),
        "findings": day.finding_count,
        "problems": " ".join(day.findings[:_TOLD]),
        # All of the day's entries are behind the row: the span, then those that something was found of.
        "entries": " ".join([f"{day.first}-{day.last}", *map(str, day.suspects)]),
    }


LOG_INTEGRITY: Final = Report(
    name="log-integrity",
    title="Integrity of the record",
    answers="Is the record of the period complete, in order and as it was sealed?",
    counts=(
        "A row is one day (UTC) of the period on which something was recorded. Every entry's index, time, hash and "
        "texts are checked against what stands before it; the hash in front of the period is taken on trust. "
        "manage.py audit_verify begins at the first entry of all."
    ),
    by_person=False,
    by_database=False,
    own_columns=(
        Column("day", "the day, UTC"),
        Column("first", "index of its first entry"),
        Column("last", "index of its last entry"),
        Column("entry_count", "how many there are; without a gap last − first + 1"),
        Column("recorded_by", "database roles that recorded, with the number of their entries"),
        Column("erased_texts", "texts about people that are no longer kept; their entries still commit to them"),
        Column("last_hash", "hash of its last entry, and so of everything before it"),
        Column("findings", "how many things do not hold; the first of them are in problems"),
    ),
    reads=None,
    before=frozenset(),
    fold=_integrity,
)
