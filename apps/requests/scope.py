"""The effective scope: exactly what a yes is a yes to. Pure; a vote is bound to its digest.

Canonical JSON (RFC 8785), hashed with SHA-256:

    {"database": id, "level": "query", "connection": "direct", "minutes": 60, "starts_at": null | RFC 3339,
     "tables": [["sales", "orders"], …], "unmask": [["sales", "customers", "email"], …]}

Tables are frozen when the request is submitted: a wildcard never grows afterwards.
"""

import hashlib
from dataclasses import dataclass, replace
from typing import Any, Self

import rfc8785

from apps.engines.base import Level, TableName


@dataclass(frozen=True, kw_only=True)
class EffectiveScope:
    database: str  # the catalog's id
    level: Level
    connection: str
    minutes: int
    starts_at: str | None  # RFC 3339 UTC; None is "on approval"
    tables: tuple[TableName, ...]  # sorted, distinct
    unmask: tuple[tuple[TableName, str], ...] = ()  # (table, column), sorted, distinct

    def to_json(self) -> dict[str, Any]:
        return {
            "database": self.database,
            "level": self.level.value,
            "connection": self.connection,
            "minutes": self.minutes,
            "starts_at": self.starts_at,
            "tables": [[table.schema, table.name] for table in self.tables],
            "unmask": [[table.schema, table.name, column] for table, column in self.unmask],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        return cls(
            database=value["database"],
            level=Level(value["level"]),
            connection=value["connection"],
            minutes=value["minutes"],
            starts_at=value["starts_at"],
            tables=tuple(TableName(schema, name) for schema, name in value["tables"]),
            unmask=tuple((TableName(schema, name), column) for schema, name, column in value["unmask"]),
        )

    def digest(self) -> str:
        """Hex SHA-256 of the canonical form."""
        return hashlib.sha256(rfc8785.dumps(self.to_json())).hexdigest()

    def covers(self, other: "EffectiveScope") -> bool:
        """Whether a yes to this is a yes to `other`: the same kind of access, and no more of it."""
        same = replace(self, minutes=0, tables=(), unmask=()) == replace(other, minutes=0, tables=(), unmask=())
        return (
            same
            and other.minutes <= self.minutes
            and set(other.tables) <= set(self.tables)
            and set(other.unmask) <= set(self.unmask)
        )
