"""An engine whose server is a list in memory, for what the portal does with the answers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from apps.core import clock
from apps.engines.base import (
    ColumnInfo,
    EngineError,
    Exposure,
    Finding,
    RowFilter,
    Sample,
    TableInfo,
    TableName,
    Target,
)
from apps.engines.masks import Mask
from apps.engines.postgresql import PostgresEngine
from apps.engines.ties import Tie


@dataclass
class FakeEngine:
    tables: dict[str, list[str]] = field(default_factory=dict)  # "schema.name" -> columns, "name" or "name type"
    ties: dict[str, list[Tie]] = field(default_factory=dict)  # by "schema.name"
    keys: dict[str, tuple[str, ...]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    exposures: list[Exposure] = field(default_factory=list)
    exposure_error: EngineError | None = None
    values: dict[str, list[str]] = field(default_factory=dict)  # by "schema.name.column"
    sample_error: EngineError | None = None  # after what there is
    skew: timedelta = timedelta(0)
    error: EngineError | None = None
    asked: list[object] = field(default_factory=list)

    def read_tables(self, target: Target, database: str) -> Iterator[TableInfo]:
        self._answer(database)
        for name, columns in self.tables.items():
            schema, table = name.split(".", 1)
            yield TableInfo(
                TableName(schema, table),
                "table",
                tuple(_columns(columns)),
                -1,
                "",
                primary_key=self.keys.get(name, ()),
                ties=tuple(self.ties.get(name, ())),
            )

    def mask_fits(self, mask: Mask, column_type: str) -> bool:
        return PostgresEngine().mask_fits(mask, column_type)

    def filter_fits(self, row_filter: RowFilter, column_type: str) -> bool:
        return PostgresEngine().filter_fits(row_filter, column_type)

    def exposure(self, target: Target, database: str) -> list[Exposure]:
        if self.exposure_error is not None:
            raise self.exposure_error
        return list(self.exposures)

    def samples(self, target: Target, database: str, columns: Sequence[tuple[TableName, str]]) -> Iterator[Sample]:
        self.asked.append([f"{table}.{column}" for table, column in columns])
        for table, column in columns:
            if values := self.values.get(f"{table}.{column}"):
                yield Sample(table, column, tuple(values))
        if self.sample_error is not None:
            raise self.sample_error

    def preflight(self, target: Target, databases: Sequence[str]) -> list[Finding]:
        self._answer(list(databases))
        return list(self.findings)

    def now(self, target: Target) -> datetime:
        return clock.now() + self.skew

    def _answer(self, what: object) -> None:
        self.asked.append(what)
        if self.error is not None:
            raise self.error


def _columns(columns: Sequence[str]) -> Iterator[ColumnInfo]:
    for position, column in enumerate(columns, start=1):
        name, _, type_ = column.partition(" ")
        yield ColumnInfo(name, type_ or "text", position, False, "")
