"""A yes to less than was asked for. Pure: names are looked up in the request's own scope, never in the catalog."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from apps.catalog.names import WholeSchema, parse_column, parse_table, quoted, quoted_column, quoted_part
from apps.core.errors import Invalid
from apps.engines.base import RowFilter, TableName, ViewedTable
from apps.requests.scope import EffectiveScope

Filters: TypeAlias = Mapping[TableName, Sequence[RowFilter]]


def narrowed(
    scope: EffectiveScope,
    *,
    minutes: int | None = None,
    tables: Sequence[str] | None = None,
    unmask: Sequence[str] | None = None,
    filters: Filters | None = None,
    viewed: Iterable[ViewedTable] = (),
) -> EffectiveScope:
    """`scope` with no more than this; None keeps what is there. Raises Invalid for whatever is not in it.

    `filters` come on top of those that are there. A table that was given directly needs a view for that: its columns
    and masks are those of `viewed`.
    """
    kept = scope.tables if tables is None else _tables(scope, tables)
    there = set(kept)
    shown = scope.unmask if unmask is None else _columns(scope, unmask)
    less = replace(
        scope,
        minutes=scope.minutes if minutes is None else _minutes(scope, minutes),
        tables=kept,
        # A column cannot stay when its table goes.
        unmask=tuple((table, column) for table, column in shown if table in there),
        views=_views(scope, there, filters or {}, viewed),
    )
    # Whatever came in: a yes to what was asked for must be a yes to this.
    if not scope.covers(less):
        raise Invalid("This would show more than was asked for: you can only leave something out.")
    return less


def _views(
    scope: EffectiveScope, kept: set[TableName], filters: Filters, viewed: Iterable[ViewedTable]
) -> tuple[ViewedTable, ...]:
    seen = {**{view.table: view for view in viewed if view.table in filters}, **scope.seen}
    for table, rows in filters.items():
        view = seen.get(table)
        if table not in kept or view is None:
            raise Invalid(
                f"{quoted(table)} cannot be limited: it is not among the tables that are left.", field="filters"
            )
        for row in rows:
            _check_column(view, row.column)
        seen[table] = replace(view, filters=tuple(sorted({*view.filters, *rows})))
    return tuple(view for table, view in sorted(seen.items()) if table in kept)


def _check_column(view: ViewedTable, column: str) -> None:
    """Not by a masked column, also where it is to be shown: a later decision may mask it again, not the filter."""
    name = quoted_column(view.table, column)
    if column not in view.columns:
        raise Invalid(f"{name} is not among the columns asked for: rows cannot be chosen by it.", field="filters")
    if column in dict(view.masks):
        raise Invalid(
            f"{name} is masked: a limit on it would tell its values. Choose rows by a column that is not.",
            field="filters",
        )


def _minutes(scope: EffectiveScope, minutes: object) -> int:
    if not isinstance(minutes, int) or isinstance(minutes, bool) or not 1 <= minutes <= scope.minutes:
        raise Invalid(
            f"You can shorten the time, to 1 minute at least; {scope.minutes} minutes were asked for.", field="minutes"
        )
    return minutes


def _tables(scope: EffectiveScope, names: Sequence[str]) -> tuple[TableName, ...]:
    there = set(scope.tables)
    kept: set[TableName] = set()
    for name in map(parse_table, _texts(names, field="tables")):
        found = {table for table in there if table.schema == name.schema} if isinstance(name, WholeSchema) else {name}
        if not found or not found <= there:
            shown = f"{quoted_part(name.schema)}.*" if isinstance(name, WholeSchema) else quoted(name)
            raise Invalid(f"{shown} is not among the tables asked for: you can only leave some out.", field="tables")
        kept |= found
    if not kept:
        raise Invalid("Keep at least one table, or deny the request.", field="tables")
    return tuple(sorted(kept))


def _columns(scope: EffectiveScope, names: Sequence[str]) -> tuple[tuple[TableName, str], ...]:
    there = set(scope.unmask)
    kept = {parse_column(name) for name in _texts(names, field="unmask")}
    for table, column in sorted(kept - there):
        raise Invalid(
            f"{quoted_column(table, column)} is not among the columns to unmask: you can only leave some out.",
            field="unmask",
        )
    return tuple(sorted(kept))


def _texts(names: Sequence[str], *, field: str) -> Sequence[str]:
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise Invalid("Names are given as a list of texts.", field=field)
    return names
