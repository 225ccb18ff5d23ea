"""The effective scope: exactly what a yes is a yes to. Pure; a vote is bound to its digest.

Canonical JSON (RFC 8785), hashed with SHA-256:

    {"database": id, "level": "query", "connection": "direct", "minutes": 60, "starts_at": null | RFC 3339,
     "tables": [["sales", "orders"], …], "unmask": [["sales", "customers", "email"], …],
     "views": [["sales", "customers", ["id", "email", …], [["email", "hidden"], …], [["region", "=", ["EU"]], …]], …]}

and, where it is for one exact statement alone, `"statement": "UPDATE …", "expected_rows": null | 1` on top.

Tables and their columns are frozen when the request is submitted: a wildcard never grows afterwards. `views` are the
tables of schemas that hold a classified column, or of which only some rows are shown: column by column, with the mask
that each classified one has unless it stands in `unmask`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import rfc8785

from apps.engines.base import Level, Operator, RowFilter, Scope, TableName, ViewedTable
from apps.engines.masks import Mask, parse


@dataclass(frozen=True, kw_only=True)
class EffectiveScope:
    database: str  # the catalog's id
    level: Level
    connection: str
    minutes: int
    starts_at: str | None  # RFC 3339 UTC; None is "on approval"
    tables: tuple[TableName, ...]  # sorted, distinct
    unmask: tuple[tuple[TableName, str], ...] = ()  # (table, column), sorted, distinct
    # Some of `tables`; sorted. Their masks are those of all classified columns, also of those in `unmask`.
    views: tuple[ViewedTable, ...] = ()
    statement: str = ""  # the one that may run under it; empty where any may
    expected_rows: int | None = None  # another number of affected rows rolls it back

    def to_json(self) -> dict[str, Any]:
        alone = {"statement": self.statement, "expected_rows": self.expected_rows} if self.statement else {}
        return alone | {
            "database": self.database,
            "level": self.level.value,
            "connection": self.connection,
            "minutes": self.minutes,
            "starts_at": self.starts_at,
            "tables": [[table.schema, table.name] for table in self.tables],
            "unmask": [[table.schema, table.name, column] for table, column in self.unmask],
            "views": [_view_to_json(view) for view in self.views],
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
            views=tuple(_view_from_json(view) for view in value.get("views", [])),
            statement=value.get("statement", ""),
            expected_rows=value.get("expected_rows"),
        )

    def digest(self) -> str:
        """Hex SHA-256 of the canonical form."""
        return hashlib.sha256(rfc8785.dumps(self.to_json())).hexdigest()

    def covers(self, other: "EffectiveScope") -> bool:
        """Whether a yes to this is a yes to `other`: the same kind of access, and no more of it."""
        nothing: dict[str, Any] = {"minutes": 0, "tables": (), "unmask": (), "views": ()}
        return (
            replace(self, **nothing) == replace(other, **nothing)
            and other.minutes <= self.minutes
            and set(other.tables) <= set(self.tables)
            and set(other.unmask) <= set(self.unmask)
            and all(_shows_no_more(other.seen.get(table), self.seen.get(table)) for table in other.tables)
        )

    @cached_property
    def seen(self) -> Mapping[TableName, ViewedTable]:
        """`views` by table."""
        return {view.table: view for view in self.views}

    def masked(self) -> tuple[tuple[TableName, str, Mask], ...]:
        """The columns that stay masked, in order."""
        shown = set(self.unmask)
        return tuple(
            (view.table, column, mask)
            for view in self.views
            for column, mask in view.masks
            if (view.table, column) not in shown
        )

    def on_target(self, datname: str) -> Scope:
        """What the target is to hold."""
        shown = set(self.unmask)
        views = tuple(
            replace(view, masks=tuple(one for one in view.masks if (view.table, one[0]) not in shown))
            for view in self.views
        )
        return Scope(database=datname, level=self.level, tables=self.tables, views=views)


def _shows_no_more(less: ViewedTable | None, more: ViewedTable | None) -> bool:
    """`None` is a table that is given directly, all of it: a view of it, made to leave out rows, shows no more."""
    if more is None:
        return less is None or bool(less.filters)
    if less is None:
        return False
    kept = set(less.columns)
    return (
        kept <= set(more.columns)
        and set(less.masks) == {one for one in more.masks if one[0] in kept}
        and set(more.filters) <= set(less.filters)
    )


def _view_to_json(view: ViewedTable) -> list[Any]:
    return [
        view.table.schema,
        view.table.name,
        list(view.columns),
        [[column, str(mask)] for column, mask in view.masks],
        [[one.column, one.operator.value, list(one.values)] for one in view.filters],
    ]


def _view_from_json(value: list[Any]) -> ViewedTable:
    schema, name, columns, masks, filters = value
    return ViewedTable(
        TableName(schema, name),
        tuple(columns),
        tuple((column, parse(mask)) for column, mask in masks),
        tuple(RowFilter(column, Operator(operator), tuple(values)) for column, operator, values in filters),
    )
