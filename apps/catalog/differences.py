"""What has changed between the catalog and a database. Pure.

A gone table keeps its columns as they were, so that it returns with them. What is renamed is a new row, and its
classification goes with it: a column keeps its position, and a table the types at its positions. That holds as well
where it takes a name that the catalog knows: then the stricter label counts. Where that is only alike, too much is
classified rather than too little. What limits a table goes with it in the same way.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Final, NamedTuple, TypeAlias

from apps.engines.base import ColumnInfo, TableInfo, TableName
from apps.engines.ties import Tie


class Label(NamedTuple):
    classification: str = ""
    data_class: str = ""
    mask_override: str = ""

    def __str__(self) -> str:
        """`confidential email partial(1,4)`; what is empty is left out."""
        return " ".join(filter(None, self)) or "none"


# What nobody has looked at may be anything: more than what is known to be harmless, less than what is masked.
_STRICTNESS: Final = {"public": 0, "internal": 1, "": 2, "confidential": 3, "restricted": 4}
_HARMLESS: Final = 2

Shape: TypeAlias = frozenset[tuple[int, str]]  # position and type of each column


def stricter(first: Label, second: Label) -> Label:
    """The label of a column that may be either: two that cannot be compared hide it."""
    less, more = (_STRICTNESS[label.classification] for label in (first, second))
    if first == second or less > more:
        return first
    return second if less < more or more < _HARMLESS else second._replace(mask_override="hidden")


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

    @property
    def present(self) -> list[KnownColumn]:
        return [column for column in self.columns.values() if not column.is_gone]

    @property
    def shape(self) -> Shape:
        return _shape(column.info for column in self.present)


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


class Heir(NamedTuple):
    """A table that may be now what a limited one was."""

    pk: int  # of the limited one
    table: TableName
    columns: dict[str, str]  # names that its columns had -> those that they have


@dataclass
class Differences:
    new_tables: list[TableInfo] = field(default_factory=list)
    tables: list[tuple[int, TableInfo]] = field(default_factory=list)  # to be brought up to date, and not gone
    gone_tables: list[int] = field(default_factory=list)
    labels: dict[tuple[TableName, str], Label] = field(default_factory=dict)  # of columns of new tables
    relabelled: dict[int, Label] = field(default_factory=dict)  # known columns that may hold what a stricter one held
    followed: list[str] = field(default_factory=list)  # columns that got their label like that, with both labels
    heirs: list[Heir] = field(default_factory=list)
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
    differences, there = Differences(), {info.table: info for info in found}
    differences.gone_tables = [row.pk for table, row in known.items() if table not in there and not row.is_gone]
    heirlooms = _heirlooms(differences, known, there)
    for table, info in there.items():
        row, labels = known.get(table), heirlooms.get(table, {})
        if row is None:
            differences.new_tables.append(info)
            for column in info.columns:
                if column.position in labels:
                    differences.labels[table, column.name] = labels[column.position]
                    _follow(differences, info, column, Label(), labels[column.position])
            continue
        _compare_table(differences, row, info)
        _compare_columns(differences, row, info, labels)
    return differences


def _shape(columns: Iterable[ColumnInfo]) -> Shape:
    return frozenset((column.position, column.type) for column in columns)


def _heirlooms(
    differences: Differences, known: Mapping[TableName, KnownTable], found: Mapping[TableName, TableInfo]
) -> dict[TableName, dict[int, Label]]:
    """Labels by table and position: a table that is not there as it was may be there by another name."""
    given: dict[TableName, dict[int, Label]] = {}
    shapes = {table: _shape(info.columns) for table, info in found.items()}
    heirs = [table for table, shape in shapes.items() if _is_other(known.get(table), shape)]
    for table, row in _lost(known, shapes):
        labels = {column.info.position: column.label for column in row.present if any(column.label)}
        if not labels and not row.is_limited:
            continue
        shape = row.shape
        for heir in heirs:
            if heir == table or not shape <= shapes[heir]:
                continue
            theirs = given.setdefault(heir, {})
            theirs |= {at: stricter(theirs.get(at, label), label) for at, label in labels.items()}
            if row.is_limited:
                now = {column.position: column.name for column in found[heir].columns}
                renamed = {column.info.name: now[column.info.position] for column in row.present}
                differences.heirs.append(Heir(row.pk, heir, renamed))
    return given


def _is_other(row: KnownTable | None, shape: Shape) -> bool:
    """Whether a table that is there may have had another name before."""
    return row is None or row.is_gone or row.shape != shape


def _lost(
    known: Mapping[TableName, KnownTable], shapes: Mapping[TableName, Shape]
) -> Iterator[tuple[TableName, KnownTable]]:
    """Tables that are gone, and those whose name another one has taken, as it seems."""
    for table, row in known.items():
        if not row.is_gone and (table not in shapes or not row.shape <= shapes[table]):
            yield table, row


def _compare_table(differences: Differences, row: KnownTable, info: TableInfo) -> None:
    is_other = (row.kind, row.comment) != (info.kind, info.comment)
    rules = Rules(info.primary_key, info.ties, info.row_security)
    if is_other or row.is_gone or row.estimated_rows != info.estimated_rows or row.rules != rules:
        differences.tables.append((row.pk, info))
    differences.tables_returned += row.is_gone
    differences.tables_changed += is_other and not row.is_gone


def _compare_columns(
    differences: Differences, row: KnownTable, info: TableInfo, heirlooms: Mapping[int, Label]
) -> None:
    there = {column.name for column in info.columns}
    before = {known.info.position: known for known in row.present}
    for column in info.columns:
        known, held = row.columns.get(column.name), before.get(column.position)
        labels = [heirlooms[column.position]] if column.position in heirlooms else []
        # The one that had this position has another name now, or another place.
        if held is not None and held is not known and (known is None or held.info.type == column.type):
            labels.append(held.label)
        if known is None:
            label = reduce(stricter, labels) if labels else Label()
            differences.new_columns.append((row.pk, column, label))
            _follow(differences, info, column, Label(), label)
            continue
        if known.is_gone or known.info != column:
            differences.columns.append((known.pk, column))
            differences.columns_returned += known.is_gone
        if (label := reduce(stricter, labels, known.label)) != known.label:
            differences.relabelled[known.pk] = label
            _follow(differences, info, column, known.label, label)
    differences.gone_columns += [known.pk for known in row.present if known.info.name not in there]


def _follow(differences: Differences, info: TableInfo, column: ColumnInfo, before: Label, after: Label) -> None:
    if before != after:
        differences.followed.append(f"{info.table}.{column.name}: {before} → {after}")
