"""What a yes to a request is a yes to, as its page shows it: also what was asked for and left out since."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from django.db.models import Count

from apps.catalog.models import Column
from apps.catalog.names import quoted, quoted_column
from apps.engines.base import TableName
from apps.portal import words
from apps.requests import services as requests
from apps.requests.masked import About, MaskedColumn
from apps.requests.models import AccessRequest
from apps.requests.scope import EffectiveScope

_FEW: Final = 200  # tables whose columns are counted
_MOST_MASKED: Final = 120  # masked columns that are listed


@dataclass(frozen=True)
class Limit:
    """Rows that a table is limited to, in words."""

    words: str
    added: bool  # by an approver


@dataclass(frozen=True)
class ListedTable:
    name: str
    columns: int | None
    kept: bool  # False: it was asked for and an approver took it out
    masked: int
    limits: tuple[Limit, ...]


@dataclass(frozen=True)
class Unmasked:
    """A column whose values are asked for."""

    name: str
    kind: str  # "confidential, e-mail"
    mask: str  # what it would show otherwise, in words
    kept: bool


@dataclass(frozen=True)
class StaysMasked:
    table: str
    columns: tuple[tuple[str, str], ...]  # (name, mask in words)


@dataclass(frozen=True)
class Agreed:
    tables: list[ListedTable]
    unmask: list[Unmasked]
    masked: list[StaysMasked]
    masked_count: int
    masked_left: int  # masked columns that are not listed


def agreed(row: AccessRequest) -> Agreed:
    asked, now, about = EffectiveScope.from_json(row.asked_scope), row.effective, requests.shown_by(row)
    return Agreed(
        tables=_tables(row, asked, now, Counter(one["table"] for one in about.masked)),
        unmask=_unmask(asked, now, about),
        masked=_masked(about.masked[:_MOST_MASKED]),
        masked_count=len(about.masked),
        masked_left=max(0, len(about.masked) - _MOST_MASKED),
    )


def _tables(
    row: AccessRequest, asked: EffectiveScope, now: EffectiveScope, masked: Mapping[str, int]
) -> list[ListedTable]:
    kept = set(now.tables)
    every = sorted(kept | set(asked.tables))
    counts = _column_counts(row, every) if len(every) <= _FEW else {}
    return [
        ListedTable(
            name=quoted(table),
            columns=counts.get((table.schema, table.name)),
            kept=table in kept,
            masked=masked[quoted(table)],
            limits=_limits(table, asked, now),
        )
        for table in every
    ]


def _limits(table: TableName, asked: EffectiveScope, now: EffectiveScope) -> tuple[Limit, ...]:
    view, before = now.seen.get(table), asked.seen.get(table)
    standing = set(before.filters) if before else set()
    return tuple(Limit(str(one), one not in standing) for one in (view.filters if view else ()))


def _column_counts(row: AccessRequest, tables: Iterable[TableName]) -> dict[tuple[str, str], int]:
    columns = Column.objects.filter(
        table__database=row.database_id,
        table__schema__in={table.schema for table in tables},
        table__name__in={table.name for table in tables},
        gone_at=None,
    )
    found = columns.order_by().values_list("table__schema", "table__name").annotate(number=Count("pk"))
    return {(schema, name): number for schema, name, number in found}


def _unmask(asked: EffectiveScope, now: EffectiveScope, about: About) -> list[Unmasked]:
    """All that were asked for; of a table that was left out, no more than the name is known."""
    known = {one["name"]: one for one in (*about.masked, *about.unmasked)}
    listed = []
    for table, column in asked.unmask:
        name = quoted_column(table, column)
        found = known.get(name)
        listed.append(
            Unmasked(
                name=name,
                kind=words.kind_of_data(found["level"], found["data_class"]) if found else "",
                mask=words.mask(found["mask"]) if found else "",
                kept=(table, column) in now.unmask,
            )
        )
    return listed


def _masked(columns: Iterable[MaskedColumn]) -> list[StaysMasked]:
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for one in columns:
        found[one["table"]].append((one["column"], words.mask(one["mask"])))
    return [StaysMasked(table, tuple(listed)) for table, listed in found.items()]
