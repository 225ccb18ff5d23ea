"""What has changed between the catalog and a database. Pure.

A gone table keeps its columns as they were, so that it returns with them. What is renamed is a new row, and its
classification goes with it: a column keeps its position, and a table the types at its positions. Where that is only
alike, too much is classified rather than too little. What limits a table goes with it in the same way.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from apps.engines.base import ColumnInfo, TableInfo, TableName
from apps.engines.ties import Tie


class Label(NamedTuple):
    classification: str = ""
    data_class: str = ""
    mask_override: str = ""


class Rules(NamedTuple):
    """What holds in a table beyond its columns: it decides what may be written, and is kept without being told."""

    primary_key: tuple[str, ...] = ()
    ties: tuple[Tie, ...] = ()
    row_security: bool = False


class KnownColumn(NamedTuple):
    """A row of the catalog; `info` has the shape of what a target tells."""

    pk: int
    info: ColumnInfo
    is_gone: bool
    label: Label


class KnownTable(NamedTuple):
    pk: int
    kind: str
    comment: str
    estimated_rows: int
    is_gone: bool
    columns: dict[str, KnownColumn]
    rules: Rules = Rules()
    is_limited: bool = False  # by a standing filter, or by a pause


@dataclass(frozen=True)
class Counts:
    """Estimated row counts change all the time: like keys and ties they are kept, and do not count as a change."""

    tables_added: int
    tables_changed: int
    tables_gone: int
    tables_returned: int
    columns_added: int  # nobody has classified these
    columns_changed: int
    columns_gone: int
    columns_returned: int


@dataclass
class Differences:
    new_tables: list[TableInfo] = field(default_factory=list)
    tables: list[tuple[int, TableInfo]] = field(default_factory=list)  # to be brought up to date, and not gone
    gone_tables: list[int] = field(default_factory=list)
    labels: dict[tuple[TableName, str], Label] = field(default_factory=dict)  # of columns of new tables
    heirs: list[tuple[int, TableName]] = field(default_factory=list)  # limited table that is gone -> new one like it
    new_columns: list[tuple[int, ColumnInfo, Label]] = field(default_factory=list)  # of known tables, by their id
    columns: list[tuple[int, ColumnInfo]] = field(default_factory=list)
    gone_columns: list[int] = field(default_factory=list)
    tables_changed: int = 0
    tables_returned: int = 0
    columns_returned: int = 0

    def counts(self) -> Counts:
        return Counts(
            tables_added=len(self.new_tables),
            tables_changed=self.tables_changed,
            tables_gone=len(self.gone_tables),
            tables_returned=self.tables_returned,
            columns_added=len(self.new_columns) + sum(len(info.columns) for info in self.new_tables),
            columns_changed=len(self.columns) - self.columns_returned,
            columns_gone=len(self.gone_columns),
            columns_returned=self.columns_returned,
        )


def compare(known: Mapping[TableName, KnownTable], found: Iterable[TableInfo]) -> Differences:
    differences = Differences()
    seen = set()
    for info in found:
        seen.add(info.table)
        row = known.get(info.table)
        if row is None:
            differences.new_tables.append(info)
            continue
        _compare_table(differences, row, info)
        _compare_columns(differences, row, info)
    gone = [row for table, row in known.items() if table not in seen and not row.is_gone]
    differences.gone_tables = [row.pk for row in gone]
    _keep_labels(differences, gone)
    return differences


def _keep_labels(differences: Differences, gone: Iterable[KnownTable]) -> None:
    """A table that is gone may be there by another name."""
    for row in gone:
        columns = [column for column in row.columns.values() if not column.is_gone]
        labels = {column.info.position: column.label for column in columns if any(column.label)}
        if not labels and not row.is_limited:
            continue
        shape = {(column.info.position, column.info.type) for column in columns}
        for info in differences.new_tables:
            if shape <= {(column.position, column.type) for column in info.columns}:
                found = [(column.name, labels[column.position]) for column in info.columns if column.position in labels]
                differences.labels |= {(info.table, name): label for name, label in found}
                if row.is_limited:
                    differences.heirs.append((row.pk, info.table))


def _compare_table(differences: Differences, row: KnownTable, info: TableInfo) -> None:
    is_other = (row.kind, row.comment) != (info.kind, info.comment)
    rules = Rules(info.primary_key, info.ties, info.row_security)
    if is_other or row.is_gone or row.estimated_rows != info.estimated_rows or row.rules != rules:
        differences.tables.append((row.pk, info))
    differences.tables_returned += row.is_gone
    differences.tables_changed += is_other and not row.is_gone


def _compare_columns(differences: Differences, row: KnownTable, info: TableInfo) -> None:
    there = {column.name for column in info.columns}
    gone = [known for name, known in row.columns.items() if name not in there and not known.is_gone]
    labels = {known.info.position: known.label for known in gone}
    for column in info.columns:
        known = row.columns.get(column.name)
        if known is None:
            differences.new_columns.append((row.pk, column, labels.get(column.position, Label())))
        elif known.is_gone or known.info != column:
            differences.columns.append((known.pk, column))
            differences.columns_returned += known.is_gone
    differences.gone_columns += [known.pk for known in gone]
