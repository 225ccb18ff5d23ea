"""Following the whole record from its first entry, batch by batch: flat memory, no long transaction.

Every batch is a query of its own. That is sound because nothing below the head, which is read first, may change:
if it does, that is the finding.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeAlias

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from apps.audit.actions import WORKER_ONLY, WORKER_ROLE
from apps.audit.body import Body, read
from apps.audit.chain import Head, Sealed, commitment, micros, verify_end, verify_step
from apps.core.errors import Invalid, NotFound

_Text: TypeAlias = tuple[str, bytes, str]  # field, salt, value
_BATCH: Final = 500
_SHOWN: Final = 200  # problems that are spelled out; the rest is counted

_ENTRIES = """
SELECT s.index, s.recorded_at, s.recorded_by, s.hash, s.action, s.actor, s.subject, s.entry_id, e.body
FROM audit.seal s LEFT JOIN audit.entry e ON e.id = s.entry_id
WHERE s.index > %s AND s.index < %s ORDER BY s.index LIMIT %s
"""
_TEXTS = "SELECT entry_id, field, salt, value FROM audit.disclosure WHERE entry_id = ANY(%s)"
_UNSEALED = "SELECT count(*) FROM audit.entry e WHERE NOT EXISTS (SELECT FROM audit.seal s WHERE s.entry_id = e.id)"
# One statement, so that head and last seal are of one moment.
_HEAD = "SELECT size, hash, recorded_at, (SELECT max(index) FROM audit.seal) FROM audit.head"


@dataclass(frozen=True)
class Verification:
    """`count` entries were followed; `hash` is the hex hash that the record should be known by from now on."""

    count: int
    size: int
    hash: str
    problems: tuple[str, ...]
    problem_count: int

    @property
    def ok(self) -> bool:
        return self.problem_count == 0


@dataclass(frozen=True)
class _Row:
    """A seal with its entry; `body` is None where the entry is gone."""

    index: int
    recorded_at: datetime
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
    claimed, last = _claimed_head(connection)
    if last >= claimed.size:
        report.add([f"There are seals up to entry {last}, but the head tells of {claimed.size}: it was set back."])
    reached, count = _start(connection, from_index), 0
    report.add(_check_passed(reached, against))
    for rows, texts in _batches(connection, from_index, claimed.size):
        for row in rows:
            reached, problems = _check(reached, row, texts.get(row.entry_id, []))
            report.add([*problems, *_check_passed(reached, against)])
        count += len(rows)
        if progress is not None:
            progress(reached.size, claimed.size)
    report.add([*verify_end(reached, claimed), *_check_covered(from_index, reached, against), *_unsealed(connection)])
    return Verification(count, reached.size, reached.hash.hex(), tuple(report.problems), report.count)


def _claimed_head(connection: BaseDatabaseWrapper) -> tuple[Head, int]:
    ((size, digest, recorded_at, last),) = _rows(connection, _HEAD)
    head = Head(size=size, hash=bytes(digest), recorded_at=micros(recorded_at))
    return head, -1 if last is None else last


def _start(connection: BaseDatabaseWrapper, from_index: int) -> Head:
    if from_index == 0:
        return Head()
    found = _rows(connection, "SELECT hash, recorded_at FROM audit.seal WHERE index = %s", from_index - 1)
    if not found:
        raise NotFound(f"The record has no entry {from_index - 1} to begin behind.")
    ((digest, recorded_at),) = found
    return Head(size=from_index, hash=bytes(digest), recorded_at=micros(recorded_at))


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


def _check(reached: Head, row: _Row, texts: list[_Text]) -> tuple[Head, list[str]]:
    sealed = Sealed(
        index=row.index,
        recorded_at=micros(row.recorded_at),
        recorded_by=row.recorded_by,
        body=bytes(row.body or b""),
        hash=bytes(row.hash),
    )
    reached, problems = verify_step(reached, sealed)
    if row.body is None:
        return reached, [*problems, f"Entry {row.index} is gone; only its seal is left."]
    try:
        body = read(sealed.body)
    except Invalid as error:
        return reached, [*problems, f"Entry {row.index} was not written by the portal's code. {error.sentence}"]
    return reached, [*problems, *_check_body(row, body), *_check_texts(row.index, body, texts)]


def _check_body(row: _Row, body: Body) -> Iterator[str]:
    if (row.action, row.actor, row.subject) != (body.action, body.actor, body.subject):
        yield f"Entry {row.index} is listed under another action, actor or subject than its body has."
    if body.action in WORKER_ONLY and row.recorded_by != WORKER_ROLE:
        yield (
            f"Entry {row.index} says {body.action}, but {row.recorded_by} recorded it and not {WORKER_ROLE}: "
            "it does not count."
        )


def _check_texts(index: int, body: Body, texts: list[_Text]) -> Iterator[str]:
    """A missing text is no problem: texts can be erased. A text that is another than was committed to is one."""
    for name, salt, value in texts:
        if body.commitments.get(name) != commitment(salt, value):
            yield f"Entry {index}: the text of {name} is not the one that the entry commits to."


def _check_passed(reached: Head, against: tuple[int, str] | None) -> Iterator[str]:
    """Whether the checkpoint, if it is just here, is what was written down."""
    if against is not None and reached.size == against[0] and reached.hash.hex() != against[1].lower():
        yield f"The first {reached.size} entries are not those of the checkpoint: the record was rewritten."


def _check_covered(from_index: int, reached: Head, against: tuple[int, str] | None) -> Iterator[str]:
    if against is not None and against[0] > reached.size:
        yield f"The checkpoint tells of {against[0]} entries, the record holds {reached.size}: it was cut short."
    elif against is not None and against[0] < from_index:
        yield f"The checkpoint of {against[0]} entries was not reached: begin at or before index {against[0]}."


def _unsealed(connection: BaseDatabaseWrapper) -> Iterator[str]:
    ((count,),) = _rows(connection, _UNSEALED)
    if count:
        yield f"{count} entries have no seal: they were written with the sealing switched off."


def _rows(connection: BaseDatabaseWrapper, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters or None)
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found
