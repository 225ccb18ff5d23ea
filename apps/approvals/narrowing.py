"""A yes to less than was asked for. Pure: names are looked up in the request's own scope, never in the catalog."""

from collections.abc import Sequence
from dataclasses import replace

from apps.catalog.names import WholeSchema, parse_column, parse_table, quoted, quoted_column, quoted_part
from apps.core.errors import Invalid
from apps.engines.base import TableName
from apps.requests.scope import EffectiveScope


def narrowed(
    scope: EffectiveScope,
    *,
    minutes: int | None = None,
    tables: Sequence[str] | None = None,
    unmask: Sequence[str] | None = None,
) -> EffectiveScope:
    """`scope` with no more than this; None keeps what is there. Raises Invalid for whatever is not in it."""
    kept = scope.tables if tables is None else _tables(scope, tables)
    shown = scope.unmask if unmask is None else _columns(scope, unmask)
    return replace(
        scope,
        minutes=scope.minutes if minutes is None else _minutes(scope, minutes),
        tables=kept,
        # A column cannot stay when its table goes.
        unmask=tuple((table, column) for table, column in shown if table in set(kept)),
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
