"""Following the whole record from its first entry, in spans that several processes take: flat memory, no long
transaction. Only what is joined here counts: each span begins with the hash that the one before has ended in.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from django.db import DEFAULT_DB_ALIAS, connections

from apps.audit import reader
from apps.audit.chain import Head, verify_end
from apps.audit.following import Against, Findings, check_passed
from apps.audit.reader import Connection, micros
from apps.audit.spans import follow_apart, follow_here, spans
from apps.core.errors import NotFound

# One statement, so that head and seals are of one moment.
_HEAD: Final = """
SELECT size, hash, recorded_at, first, last
FROM (SELECT min(index), max(index) FROM audit.seal) ends (first, last) LEFT JOIN audit.head ON true
"""
_AT: Final = "SELECT hash, recorded_at FROM audit.seal WHERE index = %s"
Progress: TypeAlias = Callable[[int, int], None]


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


def verify(
    *,
    from_index: int = 0,
    against: Against = None,
    progress: Progress | None = None,
    using: str = DEFAULT_DB_ALIAS,
    processes: int = 1,
) -> Verification:
    """Check the record from `from_index` on (the hash before it is taken on trust) to its head.

    `against` is a checkpoint from elsewhere, (size, hex hash): the record must contain it.
    `progress` is called with (done, size) now and then. With more than one of `processes` each reads by a connection
    of its own, which does not see what the caller's transaction has not committed: inside one it is always this one.
    Raises NotFound if nothing stands before `from_index`.
    """
    django = connections[using]
    django.ensure_connection()
    connection, findings = django.connection, Findings()
    claimed, behind = _claimed_head(connection, findings)
    reached = _start(connection, from_index)
    findings.add(check_passed(reached, against))
    apart = processes > 1 and not django.in_atomic_block
    wanted, told = spans(reached, min(claimed.size, behind), against, many=apart), _telling(progress, claimed.size)
    for followed in (
        follow_apart(connection, wanted, findings, told, processes)
        if len(wanted) > 1
        else follow_here(connection, wanted, findings, told)
    ):
        if followed.begin != reached:
            findings.add([_changed(reached)])
        findings.join(followed.findings)
        reached = followed.end
    findings.add([*_check_end(reached, claimed), *_check_covered(from_index, reached, against)])
    return Verification(
        findings.count,
        reached.size,
        reached.hash.hex(),
        findings.erased,
        tuple(findings.problems),
        findings.problem_count,
    )


def _claimed_head(connection: Connection, findings: Findings) -> tuple[Head, int]:
    """What the record should end in, and the index behind its last seal."""
    ((size, digest, recorded_at, first, last),) = reader.rows(connection, _HEAD)
    behind = 0 if last is None else last + 1
    if first is not None and first < 0:
        findings.add([f"There are seals from entry {first} on, but the record begins at 0: they were slipped in."])
    if size is None:
        findings.add(["The head of the record is gone."])
        return Head(size=behind), behind
    if behind > size:
        findings.add([f"There are seals up to entry {last}, but the head tells of {size}: it was set back."])
    return Head(size=size, hash=digest, recorded_at=micros(recorded_at)), behind


def _start(connection: Connection, from_index: int) -> Head:
    if from_index == 0:
        return Head()
    found = reader.rows(connection, _AT, from_index - 1)
    if not found:
        raise NotFound(f"The record has no entry {from_index - 1} to begin behind.")
    digest, recorded_at = found[0]
    return Head(size=from_index, hash=digest, recorded_at=micros(recorded_at))


def _telling(progress: Progress | None, size: int) -> Callable[[int], None]:
    return (lambda done: progress(done, size)) if progress is not None else lambda done: None


def _changed(reached: Head) -> str:
    return (
        f"What stands in front of entry {reached.size} was read twice, and was not the same: "
        "the record was changed while it was read."
    )


def _check_end(reached: Head, claimed: Head) -> Iterator[str]:
    """The head's time counts too: nothing is sealed with an earlier one, so it could set the clock of the record."""
    yield from verify_end(reached, claimed)
    if reached.size == claimed.size > 0 and reached.recorded_at != claimed.recorded_at:
        yield "The head of the record tells another time than its last entry: it was changed."


def _check_covered(from_index: int, reached: Head, against: Against) -> Iterator[str]:
    if against is not None and against[0] > reached.size:
        yield f"The checkpoint tells of {against[0]} entries, the record holds {reached.size}: it was cut short."
    elif against is not None and against[0] < from_index:
        yield f"The checkpoint of {against[0]} entries was not reached: begin at or before index {against[0]}."
