"""Suggestions of classifications: a worker makes them, a database administrator accepts or dismisses them.

A suggestion changes no classification and unmasks nothing. Values are looked at in memory: none is stored, logged or
said, nor stands in an error.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Exists, F, OuterRef, Q

from apps.accounts.actors import Actor, actor_id, require_dba
from apps.accounts.dual_control import widening
from apps.audit import services as audit
from apps.audit.actions import Action
from apps.catalog.classification import (
    check_labels,
    locked_columns,
    record_classified,
    require_second_to_label,
    write_labels,
)
from apps.catalog.detection import Suggestion, suggest, tells_by_values
from apps.catalog.differences import Label
from apps.catalog.models import Column, ColumnQuerySet, Database, DatabaseQuerySet
from apps.catalog.targets import engine_for, target_for
from apps.core.errors import NotFound, PortalError
from apps.core.verbs import verb
from apps.engines.base import EngineError, TableName

LOOK_AGAIN: Final = timedelta(days=1)  # tables that were empty, or could not be sampled, may tell more by then
WAITING: Final = Q(classification="", suggestion__isnull=False)
_BATCH: Final = 1_000
_LISTED_COLUMNS: Final = 200  # in one entry of the record


@dataclass(frozen=True, slots=True)
class _Unclassified:
    pk: int
    name: str
    type: str
    comment: str
    dismissed: str


def to_suggest(now: datetime) -> DatabaseQuerySet:
    """Databases that were read since they were last searched: with new columns, or a day later once more."""
    new = Column.objects.filter(table__database=OuterRef("pk"), first_seen_at__gt=OuterRef("suggested_at"))
    again = Q(Exists(new)) | Q(suggested_at__lt=now - LOOK_AGAIN)
    return Database.objects.filter(
        Q(suggested_at=None) | (Q(suggested_at__lt=F("synced_at")) & again),
        is_active=True,
        server__is_active=True,
        synced_at__isnull=False,
    )


def waiting() -> ColumnQuerySet:
    """Columns that are there and have a suggestion that nobody has taken up yet."""
    return Column.objects.filter(WAITING, gone_at=None, table__gone_at=None)


def run_suggest(database_id: str) -> None:
    """Look for personal data in columns that nobody has classified. Sampling happens outside of any transaction.

    Where it fails, names alone are looked at.
    """
    try:
        database = Database.objects.select_related("server").get(pk=database_id)
    except Database.DoesNotExist as error:
        raise NotFound("There is no such database.") from error
    columns = _unclassified(database)
    found: dict[int, Suggestion] = {}
    looked_at: set[int] = set()
    for key, values in _samples(database, columns):
        looked_at.add(columns[key].pk)
        _suggest(found, key, columns[key], values)
    for key, column in columns.items():
        if column.pk not in looked_at:
            _suggest(found, key, column, ())
    _keep(seen=database, found=found)


def _unclassified(database: Database) -> dict[tuple[TableName, str], _Unclassified]:
    """Without a suggestion that waits."""
    rows = Column.objects.filter(
        table__database=database, table__gone_at=None, gone_at=None, classification="", suggestion__isnull=True
    ).order_by("table_id", "position")
    named = rows.values_list(
        "table__schema", "table__name", "pk", "name", "type", "comment", "suggestion_dismissed"
    ).iterator(_BATCH)
    return {
        (TableName(schema, table), name): _Unclassified(pk, name, type_, comment, dismissed)
        for schema, table, pk, name, type_, comment, dismissed in named
    }


def _samples(
    database: Database, columns: Mapping[tuple[TableName, str], _Unclassified]
) -> Iterator[tuple[tuple[TableName, str], Sequence[str]]]:
    """As many as there are until the target fails."""
    asked = [key for key, column in columns.items() if tells_by_values(column.type)]
    if not asked:
        return
    try:
        target = target_for(database.server)
        for sample in engine_for(database.server).samples(target, database.datname, asked):
            key = (sample.table, sample.column)
            if key in columns:
                yield key, sample.values
    except (PortalError, EngineError):
        return  # the next preflight or reading of the tables says what is wrong there


def _suggest(
    found: dict[int, Suggestion], key: tuple[TableName, str], column: _Unclassified, values: Sequence[str]
) -> None:
    suggestion = suggest(
        table=key[0].name, column=column.name, type_=column.type, comment=column.comment, values=values
    )
    if suggestion and _short(suggestion.classification, suggestion.data_class) != column.dismissed:
        found[column.pk] = suggestion


@verb
def _keep(*, seen: Database, found: Mapping[int, Suggestion]) -> None:
    """What was classified meanwhile, or has a suggestion by now, is left as it is."""
    database = Database.objects.select_for_update(no_key=True).get(pk=seen.pk)
    columns = list(
        Column.objects.filter(pk__in=found, classification="", suggestion__isnull=True)
        .select_for_update(no_key=True)
        .order_by("pk")
    )
    kept = []
    for column in columns:
        suggestion = found[column.pk]
        if column.suggestion_dismissed != _short(suggestion.classification, suggestion.data_class):
            column.suggestion = asdict(suggestion)
            kept.append(column)
    Column.objects.bulk_update(kept, ["suggestion"], batch_size=_BATCH)
    # Columns that were read after we looked are still to be searched.
    database.suggested_at = seen.synced_at
    database.save(update_fields=["suggested_at"])


@widening("suggestion.accept")
def accept_suggestions(*, actor: Actor, column_ids: Sequence[int]) -> int:
    """Classify columns as was suggested. Returns how many; those without a suggestion, or classified by somebody
    meanwhile, are left as they are. Raises NotFound unless all of them exist.
    """
    require_dba(actor, what="classify a column")
    columns = _locked_waiting(column_ids)
    labels = {column: Label(*_suggested(column), column.mask_override) for column in columns}
    check_labels(labels)
    require_second_to_label(labels, actor=actor)
    write_labels(labels)
    Column.objects.filter(pk__in=[column.pk for column in columns]).update(suggestion=None)
    for (classification, data_class), same in _by_suggestion(columns).items():
        record_classified({column: labels[column] for column in same}, classification, data_class, None, actor=actor)
    return len(columns)


@verb
def dismiss_suggestions(*, actor: Actor, column_ids: Sequence[int]) -> int:
    """Take suggestions away: the same ones are not made again. Returns how many there were.

    Raises NotFound unless all columns exist.
    """
    require_dba(actor, what="dismiss a suggestion")
    columns = _locked_waiting(column_ids)
    if not columns:
        return 0
    suggested = _by_suggestion(columns)
    for (classification, data_class), same in suggested.items():
        Column.objects.filter(pk__in=[column.pk for column in same]).update(
            suggestion=None, suggestion_dismissed=_short(classification, data_class)
        )
    databases = sorted({column.table.database_id for column in columns})
    audit.record(
        Action.SUGGESTION_DISMISSED,
        actor=actor_id(actor),
        subject=f"database:{databases[0]}" if len(databases) == 1 else "catalog",
        facts={
            "columns": len(columns),
            "suggested": {_short(*what): len(same) for what, same in suggested.items()},
            "databases": databases[:_LISTED_COLUMNS],
            "ids": sorted(column.pk for column in columns)[:_LISTED_COLUMNS],
        },
        disclosed={"columns": "\n".join(sorted(map(str, columns))[:_LISTED_COLUMNS])},
    )
    return len(columns)


def _locked_waiting(column_ids: Sequence[int]) -> list[Column]:
    wanted = set(column_ids)
    columns = locked_columns(wanted)
    if len(columns) != len(wanted):
        raise NotFound("One of these columns is not in the catalog any more: look at the list again.")
    return [column for column in columns if column.suggestion and not column.classification]


def _by_suggestion(columns: Sequence[Column]) -> dict[tuple[str, str], list[Column]]:
    found: dict[tuple[str, str], list[Column]] = {}
    for column in columns:
        found.setdefault(_suggested(column), []).append(column)
    return found


def _suggested(column: Column) -> tuple[str, str]:
    suggestion = column.suggestion or {}
    return suggestion["classification"], suggestion["data_class"]


def _short(classification: str, data_class: str) -> str:
    """As Column.suggestion_dismissed keeps it."""
    return f"{classification} {data_class}"
