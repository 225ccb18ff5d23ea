"""What a target's catalogs say of tables: keys, types, and everything that looks at several columns at once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from apps.engines.postgresql.connect import Connection
from apps.engines.postgresql.queries import query
from apps.engines.ties import Tie, TieKind

# A row of sql/ties.sql: kind, name, columns, others, events, and whether it is the table's own.
_Row = tuple[str, str, list[str], list[list[str]], list[str], bool]


@dataclass(frozen=True)
class TableFacts:
    """`ties` are also those of its partitions and inheritance children; `columns` name -> type, by position."""

    primary_key: tuple[str, ...]
    ties: tuple[Tie, ...]
    row_security: bool
    is_partition: bool  # or an inheritance child
    columns: dict[str, str]


def read(connection: Connection, oids: Sequence[int]) -> dict[int, TableFacts]:
    """Facts by oid; a relation that is not there is left out."""
    rows = connection.execute(query("ties"), {"oids": list(oids)}).fetchall()
    return {
        oid: TableFacts(
            primary_key=tuple(key),
            ties=_distinct(ties),
            row_security=row_security,
            is_partition=is_partition,
            columns=dict(columns),
        )
        for oid, row_security, is_partition, key, columns, ties in rows
    }


def _distinct(rows: Iterable[_Row]) -> tuple[Tie, ...]:
    """Sorted. A thousand partitions with the same index are tied once."""
    found: dict[tuple[object, ...], Tie] = {}
    for kind, name, columns, others, events, own in sorted(rows, key=lambda row: (not row[5], row)):
        tie = Tie(
            kind=TieKind(kind),
            name=name,
            columns=tuple(columns),
            others=tuple(sorted((schema, table, column) for schema, table, column in others)),
            events=tuple(events),
        )
        alike = (tie.kind, tie.columns, tie.others, tie.events)
        if own:
            found[(*alike, name)] = tie
        found.setdefault(alike, tie)
    return tuple(sorted(set(found.values())))
