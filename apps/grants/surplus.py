"""What a grant was approved to show, against what the catalog allows now. A yes is frozen; masks are not."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from apps.catalog import masking
from apps.catalog.models import Database, Table
from apps.catalog.names import quoted, quoted_column
from apps.engines.base import RowFilter, TableName, ViewedTable
from apps.engines.masks import Mask, MaskKind
from apps.grants.states import EndCause
from apps.requests.scope import EffectiveScope

# They show nothing of a value, so that no other mask shows less.
_BLIND: Final = frozenset({MaskKind.HIDDEN, MaskKind.NULL})
_SHOWN: Final = 5  # of many, in one sentence


@dataclass(frozen=True)
class Allowed:
    """What may be shown of some tables of one database at one moment."""

    guarded: frozenset[str]  # schemas that are reached through views only
    masks: Mapping[TableName, Mapping[str, Mask]]
    filters: Mapping[TableName, Collection[RowFilter]]
    pauses: Mapping[TableName, str]  # half a sentence: who has paused the table, and why


@dataclass(frozen=True)
class Withdrawal:
    """Why a grant may not be, or not be any more."""

    cause: EndCause
    reason: str


def allowed(database: Database, tables: Iterable[TableName]) -> Allowed:
    """As the catalog stands now; its cost grows with the masked columns, not with the tables."""
    wanted = set(tables)
    masked = masking.masks(database, wanted)
    paused = Table.objects.filter(database=database, paused_at__isnull=False).select_related("paused_by")
    return Allowed(
        guarded=masking.guarded_schemas(database),
        masks={table: {name: column.mask for name, column in found.items()} for table, found in masked.items()},
        filters=masking.standing_filters(database, wanted),
        pauses={TableName(table.schema, table.name): _pause(table) for table in paused},
    )


def withdrawal(scope: EffectiveScope, now: Allowed) -> Withdrawal | None:
    """What stands against `scope` now, if anything does."""
    if paused := [now.pauses[table] for table in scope.tables if table in now.pauses]:
        return Withdrawal(EndCause.PAUSED, f"{_some(paused)}. Ask again when that is over.")
    if shown := shown_too_much(scope, now):
        return Withdrawal(EndCause.MASKED, f"This shows more than is allowed by now: {_some(shown)}. Ask again.")
    return None


def shown_too_much(scope: EffectiveScope, now: Allowed) -> list[str]:
    """Half sentences, each naming a column or a table; none where `scope` shows no more than is allowed."""
    unmasked = frozenset(scope.unmask)
    return [half for table in scope.tables for half in _of_table(table, scope.seen.get(table), now, unmasked)]


def _of_table(
    table: TableName, frozen: ViewedTable | None, now: Allowed, unmasked: frozenset[tuple[TableName, str]]
) -> Iterator[str]:
    """`frozen` None: the table is given directly, all of it."""
    masks, filters = now.masks.get(table, {}), now.filters.get(table, ())
    if frozen is not None:
        yield from _of_columns(frozen, masks, unmasked)
    elif masks:
        yield from (f"{quoted_column(table, column)} is masked" for column in masks)
    elif table.schema in now.guarded:
        yield f"{quoted(table)} lies beside masked columns and is only reached through a view"
    for missing in sorted(set(filters) - set(frozen.filters if frozen else ())):
        yield f"rows of {quoted(table)} are limited to {missing}"


def _of_columns(
    frozen: ViewedTable, now: Mapping[str, Mask], unmasked: frozenset[tuple[TableName, str]]
) -> Iterator[str]:
    if not now:
        return
    masks, columns = dict(frozen.masks), set(frozen.columns)
    for column, mask in now.items():
        if column not in columns or (frozen.table, column) in unmasked:
            continue
        if column not in masks:
            yield f"{quoted_column(frozen.table, column)} is masked"
        elif _may_show_more(masks[column], mask):
            yield f"{quoted_column(frozen.table, column)} has the mask {mask}, not {masks[column]}"


def _may_show_more(frozen: Mask, now: Mask) -> bool:
    return frozen != now and frozen.kind not in _BLIND


def _pause(table: Table) -> str:
    who = table.paused_by.name if table.paused_by else "a database administrator"
    why = f" ({table.pause_reason})" if table.pause_reason else ""
    return f"{quoted(TableName(table.schema, table.name))} is paused for a migration by {who}{why}"


def _some(halves: Sequence[str]) -> str:
    more = f", and {len(halves) - _SHOWN} more" if len(halves) > _SHOWN else ""
    return "; ".join(halves[:_SHOWN]) + more
