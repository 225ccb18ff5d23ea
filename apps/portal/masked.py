"""Masked columns and limited rows as the form shows them: a few dozen at most, and whatever was ticked."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from apps.portal import words
from apps.portal.polling import state_of
from apps.requests.masked import MaskedColumn as Found
from apps.requests.services import Preview

MOST_COLUMNS: Final = 48
MOST_NOTES: Final = 24
_MASKED: Final = "is masked"


@dataclass(frozen=True)
class MaskedColumn:
    name: str
    full: str  # as the field `unmask` has it
    mask: str  # in words
    kind: str  # "confidential, e-mail"
    wanted: bool

    @property
    def key(self) -> str:
        """For the page: the same each time, whatever the name holds."""
        return state_of(self.full)


@dataclass(frozen=True)
class MaskedTable:
    name: str
    columns: tuple[MaskedColumn, ...]
    count: int  # also those that are not listed

    @property
    def key(self) -> str:
        return state_of(self.name)

    @property
    def wanted(self) -> int:
        return sum(column.wanted for column in self.columns)


@dataclass(frozen=True)
class Notes:
    """Sentences; `left` more are not shown."""

    shown: tuple[str, ...] = ()
    left: int = 0

    def __bool__(self) -> bool:
        return bool(self.shown)


@dataclass(frozen=True)
class Masking:
    tables: tuple[MaskedTable, ...] = ()
    count: int = 0
    left: int = 0  # masked columns that are not listed
    read_only: Notes = Notes()  # at level change, beyond the masked columns themselves
    refused: Notes = Notes()  # INSERT or DELETE that nobody may do
    filters: Notes = Notes()

    def __bool__(self) -> bool:
        return bool(self.count or self.filters or self.read_only or self.refused)


def masking_of(preview: Preview, wanted: Iterable[str]) -> Masking:
    """What a grant of this would mask, and what may be asked of it."""
    asked, about = set(wanted), preview.about
    every = sorted((*about.masked, *about.unmasked), key=lambda one: (one["table"], one["column"]))
    columns = [_column(one, asked) for one in every]
    listed = _listed(columns)
    by_table: dict[str, list[MaskedColumn]] = defaultdict(list)
    for one, column in zip(every, columns, strict=True):
        if column.full in listed:
            by_table[one["table"]].append(column)
    counts = Counter(one["table"] for one in every)
    return Masking(
        tables=tuple(MaskedTable(name, tuple(found), counts[name]) for name, found in by_table.items()),
        count=len(columns),
        left=len(columns) - len(listed),
        read_only=_notes(f"{one['name']} {one['why']}." for one in about.read_only if one["why"] != _MASKED),
        refused=_notes(
            f"{one['table']}: no {one['statement']}, because it {one['why']}." for one in about.refused_writes
        ),
        filters=_notes(f"{one['table']}: only rows where {one['text']}" for one in about.filters),
    )


def _column(one: Found, asked: set[str]) -> MaskedColumn:
    kind = words.kind_of_data(one["level"], one["data_class"])
    return MaskedColumn(one["column"], one["name"], words.mask(one["mask"]), kind, one["name"] in asked)


def _listed(columns: Sequence[MaskedColumn]) -> set[str]:
    ticked = [column.full for column in columns if column.wanted]
    others = [column.full for column in columns if not column.wanted]
    return {*ticked, *others[: max(0, MOST_COLUMNS - len(ticked))]}


def _notes(sentences: Iterable[str]) -> Notes:
    found = list(sentences)
    return Notes(tuple(found[:MOST_NOTES]), max(0, len(found) - MOST_NOTES))
