"""What a report is: a pure fold over lines of the record, and columns that are described where they are written."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from apps.audit.actions import Action
from apps.audit.trail import Line

ERASED: Final = "[erased]"


@dataclass(frozen=True)
class Column:
    """`meaning` is one phrase for whoever reads the file without us."""

    name: str
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Asked:
    """`since` is inclusive, `until` exclusive; both are times at which entries were sealed. Empty filters ask for all.

    `person` is a user name, a name or an opaque id; `database` a short name or an id: as the record had them last.
    """

    since: datetime
    until: datetime
    person: str = ""
    database: str = ""

    def covers(self, moment: datetime) -> bool:
        return self.since <= moment < self.until


Row: TypeAlias = Mapping[str, object]
Fold: TypeAlias = Callable[[Iterable[Line], Asked], Iterator[Row]]

# Every report ends in these.
PROBLEMS: Final = Column("problems", "why an entry behind this row is not to be believed; empty when all are")
ENTRIES: Final = Column("entries", "indexes of the entries that prove this row, in the order of the record")


@dataclass(frozen=True, kw_only=True)
class Report:
    """`fold` gets lines oldest first and gives rows as soon as they are certain. It keeps open things only, and stops
    reading when nothing that comes can change a row.

    `reads`: the actions that it is given; None is every entry, also of an action that nobody knows. `before`: those
    that it is given from before the period as well: names at least; all of `reads` where it has to know what was open
    when the period began.
    """

    name: str
    title: str
    answers: str  # the auditor's question, in one sentence
    counts: str  # what one row is, and when it belongs to a period
    by_person: bool = True
    by_database: bool = True
    own_columns: tuple[Column, ...]
    reads: frozenset[Action] | None
    before: frozenset[Action]
    fold: Fold

    @property
    def columns(self) -> tuple[Column, ...]:
        return (*self.own_columns, PROBLEMS, ENTRIES)
