"""What an engine is told of a grant's login: its scope, and the catalog's columns around it."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from apps.catalog.models import Column, ColumnQuerySet
from apps.engines.base import Scope, TableName
from apps.grants.models import Grant
from apps.requests.scope import EffectiveScope


@dataclass(frozen=True)
class Columns:
    """Of one database, for any number of logins there."""

    classified: frozenset[tuple[TableName, str]]
    known: Mapping[TableName, frozenset[tuple[TableName, str]]]

    def known_of(self, scope: Scope) -> frozenset[tuple[TableName, str]]:
        """Those of the tables that it gives directly."""
        return frozenset().union(*(self.known.get(table, frozenset()) for table in scope.direct))


class Scopes:
    """Scopes of many grants, of which most show the same: each is read once, and given as one and the same object.

    What they do not share (minutes, start, connection) is not to be looked at.
    """

    def __init__(self) -> None:
        self._by_digest: dict[str, EffectiveScope] = {}
        self._alike: dict[str, EffectiveScope] = {}

    def of(self, grants: Mapping[str, str]) -> Mapping[str, EffectiveScope]:
        """By digest. `grants`: the id of one grant for each digest; what is not among them is forgotten."""
        self._by_digest = {digest: scope for digest, scope in self._by_digest.items() if digest in grants}
        used = {id(scope) for scope in self._by_digest.values()}
        self._alike = {key: scope for key, scope in self._alike.items() if id(scope) in used}
        new = [pk for digest, pk in grants.items() if digest not in self._by_digest]
        for digest, stored in Grant.objects.filter(pk__in=new).values_list("scope_digest", "scope"):
            self._by_digest[digest] = self._one(stored)
        return self._by_digest

    def _one(self, stored: Mapping[str, Any]) -> EffectiveScope:
        alike = {**stored, "minutes": 1, "starts_at": None, "connection": "", "statement": "", "expected_rows": None}
        key = json.dumps(alike)
        if key not in self._alike:
            self._alike[key] = EffectiveScope.from_json(alike)
        return self._alike[key]


def scope_of(grant: Grant) -> Scope:
    return EffectiveScope.from_json(grant.scope).on_target(grant.database.datname)


def columns_of(database_id: str, scopes: Iterable[Scope]) -> Columns:
    """The masked ones of the whole database, and all of the tables that these scopes give directly."""
    present = Column.objects.filter(table__database=database_id, gone_at=None, table__gone_at=None)
    direct = {table for scope in scopes for table in scope.direct}
    nearby = present.filter(
        table__schema__in={table.schema for table in direct}, table__name__in={table.name for table in direct}
    )
    known: dict[TableName, set[tuple[TableName, str]]] = defaultdict(set)
    for table, column in _names(nearby):
        known[table].add((table, column))
    return Columns(
        classified=frozenset(_names(present.masked())),
        known={table: frozenset(columns) for table, columns in known.items() if table in direct},
    )


def _names(columns: ColumnQuerySet) -> list[tuple[TableName, str]]:
    rows = columns.order_by().values_list("table__schema", "table__name", "name")
    return [(TableName(schema, name), column) for schema, name, column in rows]
