"""An engine whose server is a list in memory, for what the portal does with the answers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from apps.core import clock
from apps.engines.base import ColumnInfo, EngineError, Finding, TableInfo, TableName, Target


@dataclass
class FakeEngine:
    tables: dict[str, list[str]] = field(default_factory=dict)  # "schema.name" -> columns, "name" or "name type"
    findings: list[Finding] = field(default_factory=list)
    skew: timedelta = timedelta(0)
    error: EngineError | None = None
    asked: list[object] = field(default_factory=list)

    def read_tables(self, target: Target, database: str) -> Iterator[TableInfo]:
        self._answer(database)
        for name, columns in self.tables.items():
            schema, table = name.split(".", 1)
            yield TableInfo(TableName(schema, table), "table", tuple(_columns(columns)), -1, "")

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
