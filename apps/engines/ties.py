"""Which columns may be written under masks, and where rows must come in a fixed order. Pure (field notes S5, S9, M7).

A constraint, an index, a trigger or a policy that looks at a masked column together with others makes each of the
others an oracle: writing it reveals, by an error or by its absence, what the masked one holds.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

# In Tie.columns: it looks at the whole row, or cannot be read, and so counts as naming everything.
EVERYTHING: Final = "*"


class TieKind(StrEnum):
    CHECK = "check constraint"
    UNIQUE = "unique index"
    EXCLUSION = "exclusion constraint"
    FOREIGN_KEY = "foreign key"  # of this table: `others` are the columns it refers to
    REFERENCE = "reference"  # another table's foreign key to this one: `others` are its columns
    EXPRESSION = "index on an expression"  # or with a condition
    INDEX = "index"  # of several columns, not unique: only the order of rows can tell
    GENERATED = "generated column"  # `name` is the column; `columns` are it and what it is made of
    TRIGGER = "trigger"
    POLICY = "policy"
    RULE = "rule"
    PARTITION_KEY = "partition key"  # or a check that only a partition or child has
    CLUSTER = "clustered index"  # by which the rows were put on the disk
    CASCADE = "cascading foreign key"  # of another table (`others`), whose rows change at `events`
    EVALUATED = "evaluated expression"  # of a check or index, by somebody's function or never validated: at each UPDATE
    DEFAULT = "unique default"  # a unique index of columns that an INSERT fills with constants


@dataclass(frozen=True, order=True)
class Tie:
    """What looks at several columns of one table at once. `events`: the INSERT, UPDATE, DELETE that wake it."""

    kind: TieKind
    name: str
    columns: tuple[str, ...]
    others: tuple[tuple[str, str, str], ...] = ()  # (schema, table, column)
    events: tuple[str, ...] = ()


_ORDERS: Final = frozenset({TieKind.UNIQUE, TieKind.INDEX, TieKind.EXPRESSION, TieKind.EXCLUSION})
_STATEMENTS: Final = frozenset({TieKind.TRIGGER, TieKind.RULE, TieKind.CASCADE, TieKind.EVALUATED, TieKind.DEFAULT})


def read_only(
    ties: Iterable[Tie],
    columns: Iterable[str],
    masked: Iterable[str],
    *,
    masked_elsewhere: Iterable[tuple[str, str, str]] = (),
) -> dict[str, str]:
    """Column -> why it cannot be written, as the rest of a sentence ("is masked").

    `masked_elsewhere`: (schema, table, column) of every masked column of the database.
    """
    hidden, elsewhere = frozenset(masked), frozenset(masked_elsewhere)
    why = dict.fromkeys(sorted(hidden), "is masked")
    for tie in sorted(ties):
        if not _oracle(tie, hidden, elsewhere):
            continue
        reason = _reason(tie, hidden)
        for column in columns:
            if column in tie.columns or EVERYTHING in tie.columns:
                why.setdefault(column, reason)
    return why


def refused_writes(
    ties: Iterable[Tie], masked: Iterable[str], *, masked_elsewhere: Iterable[tuple[str, str, str]] = ()
) -> dict[str, str]:
    """INSERT, UPDATE or DELETE -> why nobody may do it here while a column is masked."""
    hidden, elsewhere = frozenset(masked), frozenset(masked_elsewhere)
    refused: dict[str, str] = {}
    for tie in sorted(ties):
        if tie.kind is TieKind.TRIGGER and hidden:
            for event in tie.events:
                refused.setdefault(event, f"fires the trigger {tie.name}, which sees masked columns")
        elif tie.kind is TieKind.RULE and hidden:
            for event in tie.events:
                refused.setdefault(event, f"is rewritten by the rule {tie.name}, which sees masked columns")
        elif tie.kind is TieKind.REFERENCE and _oracle(tie, hidden, elsewhere):
            refused.setdefault("DELETE", f"would tell by the {tie.kind} {tie.name} what a masked column holds")
        elif tie.kind is TieKind.CASCADE and "DELETE" in tie.events and _reaches_masked(tie, elsewhere):
            refused.setdefault("DELETE", _changing(tie))
        elif tie.kind is TieKind.EVALUATED and _names(tie, hidden):
            refused.setdefault("UPDATE", f"evaluates {tie.name} on masked columns, and what that says cannot be told")
        elif tie.kind is TieKind.DEFAULT and _names(tie, hidden):  # the others are read-only
            refused.setdefault("INSERT", f"would tell by {tie.name} whether a masked column holds its default")
    return refused


def not_updatable(
    ties: Iterable[Tie], columns: Iterable[str], *, masked_elsewhere: Iterable[tuple[str, str, str]] = ()
) -> dict[str, str]:
    """Column -> why it may be inserted and not updated.

    What a foreign key does to other rows is done with their owner's rights: an error shows the whole row.
    """
    elsewhere, why = frozenset(masked_elsewhere), dict[str, str]()
    for tie in sorted(ties):
        if tie.kind is TieKind.CASCADE and "UPDATE" in tie.events and _reaches_masked(tie, elsewhere):
            why |= {column: _changing(tie) for column in columns if _names(tie, {column}) and column not in why}
    return why


def needs_order(ties: Iterable[Tie], masked: Iterable[str]) -> bool:
    """Whether an index, or the order of partitions, could give rows in the order of a masked column."""
    hidden = frozenset(masked)
    return any(
        (tie.kind in _ORDERS and _mixes(tie, hidden))
        or (tie.kind in (TieKind.PARTITION_KEY, TieKind.CLUSTER) and not hidden.isdisjoint(tie.columns))
        for tie in ties
    )


def told_by_place(ties: Iterable[Tie], masked: Iterable[str]) -> str | None:
    """A masked column that says in which partition or child a row lies: a plan tells where it was found."""
    hidden = frozenset(masked)
    found = (hidden.intersection(tie.columns) for tie in ties if tie.kind is TieKind.PARTITION_KEY)
    return min((column for columns in found for column in columns), default=None)


def shows_masked(ties: Iterable[Tie], masked: Iterable[str]) -> Mapping[str, str]:
    """Generated columns that are not masked -> the masked column that they are made of."""
    hidden = frozenset(masked)
    found = {}
    for tie in ties:
        if tie.kind is TieKind.GENERATED and tie.name not in hidden:
            sources = sorted(hidden.intersection(tie.columns)) or (sorted(hidden) if EVERYTHING in tie.columns else [])
            if sources:
                found[tie.name] = sources[0]
    return found


def copies(
    ties: Iterable[Tie], masked: Iterable[str], *, masked_elsewhere: Iterable[tuple[str, str, str]]
) -> Mapping[str, str]:
    """Columns that are not masked, and hold the values of a masked one by a foreign key -> that one.

    Of a key of several columns it is not told which refers to which: enough of them must be masked.
    """
    hidden, elsewhere = frozenset(masked), frozenset(masked_elsewhere)
    found = {}
    for tie in ties:
        behind = sorted(elsewhere.intersection(tie.others))
        if tie.kind is TieKind.FOREIGN_KEY and len(hidden.intersection(tie.columns)) < len(behind):
            shown = next(column for column in tie.columns if column not in hidden)
            found[shown] = ".".join(behind[0])
    return found


def _oracle(tie: Tie, hidden: frozenset[str], elsewhere: frozenset[tuple[str, str, str]]) -> bool:
    if tie.kind in (TieKind.INDEX, TieKind.CLUSTER):
        return False
    if tie.kind in _STATEMENTS:
        return False  # forbids the whole statement: see refused_writes()
    if not elsewhere.isdisjoint(tie.others):
        return True
    return _mixes(tie, hidden)


def _mixes(tie: Tie, hidden: frozenset[str]) -> bool:
    """A masked column together with another one, as far as can be told."""
    if EVERYTHING in tie.columns:
        return bool(hidden)
    return not hidden.isdisjoint(tie.columns) and not hidden.issuperset(tie.columns)


def _names(tie: Tie, columns: Collection[str]) -> bool:
    return bool(columns) and (EVERYTHING in tie.columns or not set(columns).isdisjoint(tie.columns))


def _reaches_masked(tie: Tie, elsewhere: frozenset[tuple[str, str, str]]) -> bool:
    """Whether the other table has any masked column."""
    return not {other[:2] for other in tie.others}.isdisjoint(column[:2] for column in elsewhere)


def _changing(tie: Tie) -> str:
    return f"would change rows with masked columns by the {tie.kind} {tie.name}"


def _reason(tie: Tie, hidden: frozenset[str]) -> str:
    sources = sorted(hidden.intersection(tie.columns))
    other = f"the masked {', '.join(sources)}" if sources else "a masked column"
    return f"is tied to {other} by the {tie.kind} {tie.name}"
