"""What a target's catalogs say of tables: keys, types, and everything that looks at several columns at once."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from apps.engines.postgresql.connect import Connection
from apps.engines.postgresql.queries import oid_array, query
from apps.engines.ties import EVERYTHING, Tie, TieKind

Numbers = Mapping[int, str]  # position -> column

ALL = (EVERYTHING,)
# Of the queries below.
_Row = tuple[int, list[str] | None, str, str, bool, list[int], list[str], str, str, list[str]]
_QUERIES: Final = ("ties", "ties_of_writes", "ties_of_rows")
_READING: Final = ("ties",)
_KINDS = {kind.value: kind for kind in TieKind}
# These tie a column alone: to another table, to where a row is, to who asks.
_ALONE = frozenset(
    {
        *(TieKind.FOREIGN_KEY, TieKind.REFERENCE, TieKind.PARTITION_KEY, TieKind.POLICY),
        *(TieKind.CLUSTER, TieKind.CASCADE, TieKind.EVALUATED, TieKind.DEFAULT),
    }
)


@dataclass(frozen=True)
class TableFacts:
    """`ties` are also those of its partitions and inheritance children; `columns` name -> type, by position."""

    primary_key: tuple[str, ...]
    ties: tuple[Tie, ...]
    row_security: bool
    is_partition: bool  # or an inheritance child
    columns: dict[str, str]


def read(connection: Connection, oids: Sequence[int], *, written: bool = True) -> dict[int, TableFacts]:
    """Facts by oid; one that is not there is left out. Without `written`: not the ties that only writing tells."""
    rows = connection.execute(query("relations"), {"oids": oid_array(oids)}).fetchall()
    numbers = {oid: {number: name for name, _, number in columns} for oid, *_, columns in rows}
    found = ties(connection, numbers, written=written)
    return {
        oid: TableFacts(
            primary_key=named(key, numbers[oid]),
            ties=found[oid],
            row_security=row_security,
            is_partition=is_partition,
            columns={name: type_ for name, type_, _ in columns},
        )
        for oid, row_security, is_partition, key, columns in rows
    }


def named(key: Iterable[int], numbers: Numbers) -> tuple[str, ...]:
    """Columns by name, in the order of the key; nothing where one is not known, as it is no key to go by then."""
    key = tuple(key)
    return tuple(numbers[number] for number in key) if all(number in numbers for number in key) else ()


def ties(
    connection: Connection, relations: Mapping[int, Numbers], *, written: bool = True
) -> dict[int, tuple[Tie, ...]]:
    """The ties of relations whose columns are known: oid -> sorted."""
    own: dict[int, list[Tie]] = {oid: [] for oid in relations}
    inherited: dict[int, list[Tie]] = defaultdict(list)
    if relations:
        parameters, chosen = {"oids": oid_array(relations)}, _QUERIES if written else _READING
        for row in chain.from_iterable(connection.execute(query(name), parameters).fetchall() for name in chosen):
            root, names = row[:2]
            tie = _tie(row, relations[root])
            if tie.columns == ALL or len(tie.columns) > 1 or tie.kind in _ALONE:
                (own if names is None else inherited)[root].append(tie)
    return {oid: _distinct(found, inherited.get(oid, ())) for oid, found in own.items()}


def _tie(row: _Row, numbers: Numbers) -> Tie:
    """What names a column that nobody knows counts as naming everything."""
    _, names, kind, name, whole, keys, events, schema, table, others = row
    found = names if names is not None else [numbers.get(key, EVERYTHING) for key in {*keys} if key > 0]
    return Tie(
        kind=_KINDS[kind],
        name=name,
        columns=ALL if whole or EVERYTHING in found else tuple(sorted(found)),
        others=tuple([(schema, table, column) for column in sorted(others)]),
        events=tuple(events),
    )


def _distinct(own: Iterable[Tie], inherited: Iterable[Tie]) -> tuple[Tie, ...]:
    """Sorted. A thousand partitions with the same index are tied once."""
    found = list(own)
    if inherited:
        seen = {_alike(tie) for tie in found}
        for tie in sorted(inherited):
            if _alike(tie) not in seen:
                seen.add(_alike(tie))
                found.append(tie)
    return tuple(sorted(found))


def _alike(tie: Tie) -> tuple[object, ...]:
    return (tie.kind, tie.columns, tie.others, tie.events)
