"""What a run told, gathered for a page without scripts: tables, sentences, and where in the text something is wrong."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from apps.console.events import Columns, Done, Ended, Event, Failed, Rows, Started, Value

_CELLS: Final = 20_000  # of one answer: a page is read by a person, and drawn by a phone


@dataclass
class Result:
    """One statement. `rows` are the first of them; `left_out` were told and do not stand on the page."""

    number: int
    columns: list[tuple[str, str]] = field(default_factory=list)
    rows: list[tuple[Value, ...]] = field(default_factory=list)
    left_out: int = 0
    cut: bool = False  # values of which only the beginning is there
    done: Done | None = None


@dataclass(frozen=True)
class Wrong:
    """The text around a mistake; `line` and `column` count from 1."""

    before: str
    word: str
    after: str
    line: int
    column: int


@dataclass
class Answer:
    results: list[Result] = field(default_factory=list)
    failed: Failed | None = None
    ended: Ended | None = None


def gather(events: Iterable[Event]) -> Answer:
    """Reads a run to its end."""
    answer, room = Answer(), _CELLS
    for event in events:
        match event:
            case Started():
                answer.results.append(Result(event.number))
            case Columns():
                answer.results[-1].columns = [(column.name, column.type) for column in event.columns]
            case Rows():
                room -= _keep(answer.results[-1], event, room)
            case Done():
                answer.results[-1].done = event
            case Failed():
                answer.failed = event
            case Ended():
                answer.ended = event
    return answer


def wrong(sql: str, failed: Failed | None) -> Wrong | None:
    """None where the database named no place, or one outside of the text."""
    if failed is None or failed.position is None or not 0 <= failed.position <= len(sql):
        return None
    start = failed.position
    end = start + 1
    while end < len(sql) and (sql[end].isalnum() or sql[end] == "_") and (sql[start].isalnum() or sql[start] in '_"'):
        end += 1
    line = sql.count("\n", 0, start) + 1
    return Wrong(sql[:start], sql[start:end], sql[end:], line, start - (sql.rfind("\n", 0, start) + 1) + 1)


def _keep(result: Result, told: Rows, room: int) -> int:
    """The number of cells that were kept."""
    wide = max(1, len(result.columns))
    kept = told.rows[: max(0, room // wide)]
    result.rows.extend(kept)
    result.left_out += len(told.rows) - len(kept)
    result.cut = result.cut or bool(told.cut)
    return len(kept) * wide
