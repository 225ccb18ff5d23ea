"""One request's life, told by the record alone: when it was asked for, allowed, opened, due and gone.

Times are those of the record's seals. What counts only from a worker (opened, gone) is taken from no other entry.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from apps.audit.actions import Action
from apps.audit.services import Line
from apps.portal.telling import Told
from apps.reports.reading import moment

_DECIDED: Final = (Action.REQUEST_APPROVED, Action.REQUEST_DENIED, Action.REQUEST_CANCELLED, Action.REQUEST_LAPSED)
_DUE: Final = (Action.GRANT_ISSUED, Action.GRANT_EXTENDED)
_LEAST: Final = 3.0  # of a hundred: so that a tenth of a second is seen beside a day


@dataclass(frozen=True)
class Phase:
    """A part of the picture: `x` and `width` of a hundred."""

    name: str
    tone: str
    began: datetime
    ended: datetime
    x: float
    width: float

    @property
    def long(self) -> str:
        return lasted(self.ended - self.began)


@dataclass(frozen=True)
class Life:
    """`figures` are (what, how long); `entries` are the indexes of all that tells of it."""

    phases: tuple[Phase, ...]
    figures: tuple[tuple[str, str], ...]
    approvers: tuple[str, ...]
    statements: int
    entries: tuple[int, ...]


def life_of(told: Sequence[Told], now: datetime) -> Life:
    """Of entries about one request and its grants, oldest first."""
    lines = [one.line for one in told if not one.line.problem]
    asked, decided = _first(lines, [Action.REQUEST_SUBMITTED]), _first(lines, _DECIDED)
    opened, begun, gone = (
        _first(lines, [action]) for action in (Action.GRANT_ISSUED, Action.GRANT_ENDING, Action.GRANT_ENDED)
    )
    due = _due(lines)
    marks = [
        ("waited for a yes", "wait", asked, decided or (None if opened else now)),
        ("until the login works", "work", decided if _was(lines, Action.REQUEST_APPROVED) else None, opened),
        ("the login lived", "good", opened, begun or (now if opened else None)),
        ("was being ended", "work", begun, gone or (now if begun else None)),
    ]
    return Life(
        phases=tuple(_placed([(name, tone, began, ended) for name, tone, began, ended in marks if began and ended])),
        figures=tuple(_figures(asked, decided, opened, due, begun, gone)),
        approvers=tuple(dict.fromkeys(one.who for one in told if one.line.action == Action.DECISION_APPROVED)),
        statements=sum(line.action == Action.STATEMENT_STARTED for line in lines),
        entries=tuple(one.line.index for one in told),
    )


def lasted(time: timedelta) -> str:
    """`0.12 s`, `4.1 s`, `3 min 20 s`, `2 h 5 min`, `3 days 1 h`."""
    seconds = max(0.0, time.total_seconds())
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    whole, sizes = int(seconds), ((86_400, "days"), (3_600, "h"), (60, "min"), (1, "s"))
    first = next(place for place, (size, _) in enumerate(sizes) if whole >= size)
    parts = []
    for size, unit in sizes[first : first + 2]:
        number, whole = divmod(whole, size)
        parts.append(f"{number} {'day' if (unit, number) == ('days', 1) else unit}" if number else "")
    return " ".join(filter(None, parts))


def _figures(*moments: datetime | None) -> Iterator[tuple[str, str]]:
    asked, decided, opened, due, begun, gone = moments
    spans = (
        ("Asked for until decided", asked, decided),
        ("Decided until the login worked", decided, opened),
        ("The login lived", opened, begun),
        ("Due until proven gone", due if due and begun and due <= begun else None, gone),
        ("Began to end until proven gone", begun, gone),
    )
    for what, began, ended in spans:
        if began and ended:
            yield what, lasted(ended - began)


def _due(lines: Iterable[Line]) -> datetime | None:
    told = [moment(line.facts, "expires_at") for line in lines if line.action in _DUE]
    return next((due for due in reversed(told) if due is not None), None)


def _first(lines: Iterable[Line], actions: Sequence[Action]) -> datetime | None:
    return next((line.recorded_at for line in lines if line.action in actions), None)


def _was(lines: Iterable[Line], action: Action) -> bool:
    return any(line.action == action for line in lines)


def _placed(marks: Sequence[tuple[str, str, datetime, datetime]]) -> Iterator[Phase]:
    """Beside each other in proportion, and none too narrow to be seen."""
    whole = sum(((ended - began).total_seconds() for _, _, began, ended in marks), 0.0) or 1.0
    room, x = 100.0 - _LEAST * len(marks), 0.0
    for name, tone, began, ended in marks:
        width = _LEAST + room * max(0.0, (ended - began).total_seconds()) / whole
        yield Phase(name, tone, began, ended, round(x, 2), round(width, 2))
        x += width
