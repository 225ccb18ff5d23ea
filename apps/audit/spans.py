"""Spans of the record on their way, here or in processes of their own. No Django: those begin anew, and quickly."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, Final

import psycopg

from apps.audit import reader
from apps.audit.chain import Head
from apps.audit.following import Against, Findings, Followed, Span, follow
from apps.audit.reader import Connection

_WIDTH: Final = 20_000  # indexes that a process takes at a time
_MOST: Final = 500
_UNSEALED: Final = (
    "SELECT count(*) FROM audit.entry e WHERE NOT EXISTS (SELECT FROM audit.seal s WHERE s.entry_id = e.id)"
)
_here: list[Connection] = []  # the connection of a process that takes spans


def spans(start: Head, stop: int, against: Against, *, many: bool) -> list[Span]:
    """One, or several of a width: few enough to be listed however wide a gap somebody has made."""
    width = max(1, stop - start.size)
    step = max(_WIDTH, -(-width // _MOST)) if many else width
    return [
        Span(start=start, first=first, stop=min(first + step, stop), against=against)
        for first in range(start.size, stop, step)
    ]


def follow_here(
    connection: Connection, wanted: Sequence[Span], findings: Findings, progress: Callable[[int], None]
) -> Iterator[Followed]:
    """In their order; last of all what has no seal goes to `findings`."""
    for span in wanted:
        yield follow(connection, span, progress)
    findings.add(_unsealed(connection))


def follow_apart(
    connection: Connection, wanted: Sequence[Span], findings: Findings, progress: Callable[[int], None], processes: int
) -> Iterator[Followed]:
    """The same, by so many processes, each with a connection like this one."""
    access = connection.info.get_parameters() | {"password": connection.info.password}
    # `spawn`: a process that is forked would hold the open connection of this one.
    with ProcessPoolExecutor(processes, get_context("spawn"), _connect, (access,)) as pool:
        unsealed = pool.submit(_unsealed_here)
        for followed in pool.map(_follow, wanted):
            progress(followed.end.size)
            yield followed
        findings.add(unsealed.result())


def _connect(access: dict[str, Any]) -> None:
    _here.append(psycopg.connect(**access, autocommit=True, prepare_threshold=None))


def _follow(span: Span) -> Followed:
    return follow(_here[0], span)


def _unsealed_here() -> list[str]:
    return _unsealed(_here[0])


def _unsealed(connection: Connection) -> list[str]:
    ((count,),) = reader.rows(connection, _UNSEALED)
    return [f"{count} entries have no seal: they were written with the sealing switched off."] if count else []
