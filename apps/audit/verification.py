"""Following the whole record from its first entry, batch by batch: flat memory, no long transaction.

Every batch is a query of its own. That is sound because nothing below the head, which is read first, may change:
if it does, that is the finding.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, TypeAlias

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from apps.audit.body import read
from apps.audit.chain import Head, Sealed, verify_end, verify_step
from apps.audit.checks import check_seal, check_texts
from apps.core.errors import Invalid, NotFound

_Text: TypeAlias = tuple[str, bytes, str]  # field, salt, value
_BATCH: Final = 500
_NO_CLOCK: Final = 10**12  # seconds: the year 33658
_SHOWN: Final = 200  # problems that are spelled out; the rest is counted

# Times are read as seconds since 1970: no type of Python's own holds all that a tampered row can.
_ENTRIES = """
SELECT s.index, extract(epoch FROM s.recorded_at), s.recorded_by, s.hash, s.action, s.actor, s.subject, s.entry_id,
  e.body
FROM audit.seal s LEFT JOIN audit.entry e ON e.id = s.entry_id
WHERE s.index > %s AND s.index < %s ORDER BY s.index LIMIT %s
"""
_TEXTS = "SELECT entry_id, field, salt, value FROM audit.disclosure WHERE entry_id = ANY(%s)"
_UNSEALED = "SELECT count(*) FROM audit.entry e WHERE NOT EXISTS (SELECT FROM audit.seal s WHERE s.entry_id = e.id)"
# One statement, so that head and seals are of one moment.
_HEAD = """
SELECT size, hash, extract(epoch FROM recorded_at), first, last
FROM (SELECT min(index), max(index) FROM audit.seal) ends (first, last) LEFT JOIN audit.head ON true
"""
_BEFORE = "SELECT hash, extract(epoch FROM recorded_at) FROM audit.seal WHERE index = %s"


@dataclass(frozen=True)
class Verification:
    """`count` entries were followed; `hash` is the hex hash that the record should be known by from now on.

    `erased` texts about people are no longer kept, only what the entries commit to.
    """

    count: int
    size: int
    hash: str
    erased: int
    problems: tuple[str, ...]
    problem_count: int

    @property
    def ok(self) -> bool:
        return self.problem_count == 0


@dataclass(frozen=True)
class _Row:
    """A seal with its entry; `body` is None where the entry is gone."""

    index: int
    recorded_at: Decimal
    recorded_by: str
    hash: bytes
    action: str
    actor: str
    subject: str
    entry_id: int
    body: bytes | None


@dataclass
class _Report:
    problems: list[str] = field(default_factory=list)
    count: int = 0
    erased: int = 0

    def add(self, sentences: Iterable[str]) -> None:
        for sentence in sentences:
            self.count += 1
            if self.count <= _SHOWN:
                self.problems.append(sentence)


def verify(
    *,
    from_index: int = 0,
    against: tuple[int, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> Verification:
    """Check the record from `from_index` on (the hash before it is taken on trust) to its head.

    `against` is a checkpoint from elsewhere, (size, hex hash): the record must contain it.
    `progress` is called with (done, size) after every batch. Raises NotFound if nothing stands before `from_index`.
    """
    connection, report = connections[using], _Report()
    claimed = _claimed_head(connection, report)
    reached, count = _start(connection, from_index), 0
    report.add(_check_passed(reached, against))
    for rows, texts in _batches(connection, from_index, claimed.size):
        for row in rows:
            reached = _check(reached, row, texts.get(row.entry_id, []), report)
            report.add(_check_passed(reached, against))
        count += len(rows)
        if progress is not None:
            progress(reached.size, claimed.size)
    report.add([*_check_end(reached, claimed), *_check_covered(from_index, reached, against), *_unsealed(connection)])
    return Verification(count, reached.size, reached.hash.hex(), report.erased, tuple(report.problems), report.count)


def _claimed_head(connection: BaseDatabaseWrapper, report: _Report) -> Head:
    ((size, digest, recorded_at, first, last),) = _rows(connection, _HEAD)
    if first is not None and first < 0:
        report.add([f"There are seals from entry {first} on, but the record begins at 0: they were slipped in."])
    if size is None:
        report.add(["The head of the record is gone."])
        return Head(size=0 if last is None else last + 1)
    if last is not None and last >= size:
        report.add([f"There are seals up to entry {last}, but the head tells of {size}: it was set back."])
    return Head(size=size, hash=bytes(digest), recorded_at=_micros(recorded_at))


def _start(connection: BaseDatabaseWrapper, from_index: int) -> Head:
    if from_index == 0:
        return Head()
    found = _rows(connection, _BEFORE, from_index - 1)
    if not found:
        raise NotFound(f"The record has no entry {from_index - 1} to begin behind.")
    ((digest, recorded_at),) = found
    return Head(size=from_index, hash=bytes(digest), recorded_at=_micros(recorded_at))


def _batches(
    connection: BaseDatabaseWrapper, from_index: int, size: int
) -> Iterator[tuple[list[_Row], dict[int, list[_Text]]]]:
    last = from_index - 1
    while found := [_Row(*row) for row in _rows(connection, _ENTRIES, last, size, _BATCH)]:
        texts: dict[int, list[_Text]] = {}
        for entry_id, name, salt, value in _rows(connection, _TEXTS, [row.entry_id for row in found]):
            texts.setdefault(entry_id, []).append((name, bytes(salt), value))
        yield found, texts
        last = found[-1].index


def _check(reached: Head, row: _Row, texts: list[_Text], report: _Report) -> Head:
    sealed = Sealed(
        index=row.index,
        recorded_at=_micros(row.recorded_at),
        recorded_by=row.recorded_by,
        body=bytes(row.body or b""),
        hash=bytes(row.hash),
    )
    reached, problems = verify_step(reached, sealed)
    report.add(problems)
    if row.body is None:
        report.add([f"Entry {row.index} is gone; only its seal is left."])
        return reached
    try:
        body = read(sealed.body)
    except Invalid as error:
        report.add([f"Entry {row.index} was not written by the portal's code. {error.sentence}"])
        return reached
    report.add(check_seal(row.index, (row.action, row.actor, row.subject), row.recorded_by, body))
    report.add(check_texts(row.index, texts, body))
    report.erased += len(body.commitments.keys() - {name for name, _, _ in texts})
    return reached


def _check_end(reached: Head, claimed: Head) -> Iterator[str]:
    """The head's time counts too: nothing is sealed with an earlier one, so it could set the clock of the record."""
    yield from verify_end(reached, claimed)
    if reached.size == claimed.size > 0 and reached.recorded_at != claimed.recorded_at:
        yield "The head of the record tells another time than its last entry: it was changed."


def _check_passed(reached: Head, against: tuple[int, str] | None) -> Iterator[str]:
    """Whether the checkpoint, if it is just here, is what was written down."""
    if against is not None and reached.size == against[0] and reached.hash.hex() != against[1].lower():
        yield f"The first {reached.size} entries are not those of the checkpoint: the record was rewritten."


def _check_covered(from_index: int, reached: Head, against: tuple[int, str] | None) -> Iterator[str]:
    if against is not None and against[0] > reached.size:
        yield f"The checkpoint tells of {against[0]} entries, the record holds {reached.size}: it was cut short."
    elif against is not None and against[0] < from_index:
        yield f"The checkpoint of {against[0]} entries was not reached: begin at or before index {against[0]}."


def _micros(seconds: Decimal) -> int:
    """µs since 1970. A time that no clock tells (it can be infinite) becomes the earliest of all, and so a finding."""
    return int(seconds * 1_000_000) if abs(seconds) < _NO_CLOCK else Head().recorded_at


def _unsealed(connection: BaseDatabaseWrapper) -> Iterator[str]:
    ((count,),) = _rows(connection, _UNSEALED)
    if count:
        yield f"{count} entries have no seal: they were written with the sealing switched off."


def _rows(connection: BaseDatabaseWrapper, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters or None)
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found
