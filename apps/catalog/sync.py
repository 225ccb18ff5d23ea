"""A worker reads the tables of a database and brings the catalog up to what is there.

Rows are never deleted: what is gone is marked, so that it comes back with its classification.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any, Final

from django.db import connection
from psycopg import sql

from apps.audit import services as audit
from apps.audit.actions import Action
from apps.catalog.differences import Differences, KnownColumn, KnownTable, Label, Rules, compare
from apps.catalog.masking import tie_from_json, tie_to_json
from apps.catalog.models import Column, Database, Table
from apps.catalog.row_filters import inherit_limits
from apps.catalog.targets import engine_for, target_for
from apps.core import clock
from apps.core.errors import NotFound, PortalError
from apps.core.nudge import nudge
from apps.core.verbs import verb
from apps.engines.base import ColumnInfo, EngineError, TableInfo, TableName

_BATCH: Final = 2000
_MAX_COMMENT: Final = 2000
_MAX_TYPE: Final = 255
_LISTED: Final = 200  # columns in one entry of the record
# Tens of thousands of rows change in one statement each.
_UPDATE_TABLES: Final = sql.SQL(
    "UPDATE {} t SET kind = d.kind, comment = d.comment, estimated_rows = d.estimated_rows, gone_at = NULL,"
    " primary_key = d.primary_key::jsonb, ties = d.ties::jsonb, row_security = d.row_security"
    " FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::bigint[], %s::text[], %s::text[], %s::bool[])"
    " d (id, kind, comment, estimated_rows, primary_key, ties, row_security)"
    " WHERE t.id = d.id"
).format(sql.Identifier(Table._meta.db_table))
_UPDATE_COLUMNS: Final = sql.SQL(
    "UPDATE {} c SET type = d.type, position = d.position, not_null = d.not_null, comment = d.comment, gone_at = NULL"
    " FROM unnest(%s::bigint[], %s::text[], %s::int[], %s::bool[], %s::text[])"
    " d (id, type, position, not_null, comment)"
    " WHERE c.id = d.id"
).format(sql.Identifier(Column._meta.db_table))
_COPY_COLUMNS: Final = sql.SQL(
    "COPY {} (table_id, name, type, position, not_null, comment, classification, data_class, mask_override,"
    " first_seen_at) FROM STDIN"
).format(sql.Identifier(Column._meta.db_table))


def run_sync(database_id: str) -> None:
    """Read a database and keep what is found. Reading happens outside of any transaction."""
    try:
        database = Database.objects.select_related("server").get(pk=database_id)
    except Database.DoesNotExist as error:
        raise NotFound("There is no such database.") from error
    try:
        target = target_for(database.server)
        found = [_tidy(info) for info in engine_for(database.server).read_tables(target, database.datname)]
    except (PortalError, EngineError) as problem:
        _keep_problem(seen=database, sentence=problem.sentence)
    else:
        _keep(seen=database, found=found)


@verb
def _keep_problem(*, seen: Database, sentence: str) -> None:
    database = Database.objects.select_for_update(no_key=True).get(pk=seen.pk)
    database.sync_error = sentence
    _fulfil_wish(database, seen)
    database.save(update_fields=["sync_error", "sync_wanted_at"])


@verb
def _keep(*, seen: Database, found: Sequence[TableInfo]) -> None:
    database = Database.objects.select_for_update(no_key=True).get(pk=seen.pk)
    if database.synced_at != seen.synced_at:
        return  # somebody else has read it meanwhile; a wish that came later is still there
    now, wanted = clock.now(), database.sync_wanted_at is not None
    differences = compare(_known(database), found)
    _write(database, differences, now)
    database.synced_at, database.sync_error = now, ""
    _fulfil_wish(database, seen)
    database.save(update_fields=["synced_at", "sync_error", "sync_wanted_at"])
    counts = asdict(differences.counts())
    if wanted or any(counts.values()):
        facts, texts = {**counts, "tables": len(found)}, {}
        if followed := differences.followed:
            facts["labels_followed"] = len(followed)
            texts["labels"] = "\n".join(followed[:_LISTED])
        audit.record(Action.CATALOG_SYNCED, actor="worker", subject=database.audit_id, facts=facts, disclosed=texts)
        nudge()


def _fulfil_wish(database: Database, seen: Database) -> None:
    """A wish that was there before we looked is done; a later one wants another look."""
    if database.sync_wanted_at == seen.sync_wanted_at:
        database.sync_wanted_at = None


def _known(database: Database) -> dict[TableName, KnownTable]:
    columns = _known_columns(database)
    limited = set(
        Table.objects.filter(database=database)
        .exclude(paused_at=None, standing_filters=None)
        .values_list("pk", flat=True)
    )
    tables = Table.objects.filter(database=database).values_list(
        *("schema", "name", "pk", "kind", "comment", "estimated_rows", "gone_at"),
        *("primary_key", "ties", "row_security"),
    )
    return {
        TableName(schema, name): KnownTable(
            *(pk, kind, comment, rows, gone_at is not None, columns[pk]),
            Rules(tuple(primary_key), tuple(map(tie_from_json, ties)), row_security),
            pk in limited,
        )
        for schema, name, pk, kind, comment, rows, gone_at, primary_key, ties, row_security in tables
    }


def _known_columns(database: Database) -> dict[int, dict[str, KnownColumn]]:
    columns: dict[int, dict[str, KnownColumn]] = defaultdict(dict)
    rows = Column.objects.filter(table__database=database).values_list(
        *("pk", "table", "gone_at", "classification", "data_class", "mask_override"),
        *("name", "type", "position", "not_null", "comment"),
    )
    for pk, table, gone_at, classification, data_class, mask, *about in rows:
        info = ColumnInfo(*about)
        label = Label(classification, data_class, mask)
        columns[table][info.name] = KnownColumn(pk, info, gone_at is not None, label)
    return columns


def _write(database: Database, differences: Differences, now: datetime) -> None:
    Table.objects.filter(pk__in=differences.gone_tables).update(gone_at=now)
    Column.objects.filter(pk__in=differences.gone_columns).update(gone_at=now)
    with connection.cursor() as cursor:
        if differences.tables:
            cursor.execute(_UPDATE_TABLES, _arrays(_table_row(*changed) for changed in differences.tables))
        if differences.columns:
            cursor.execute(_UPDATE_COLUMNS, _arrays(_column_row(*changed) for changed in differences.columns))
    new = Table.objects.bulk_create(
        (_new_table(database, info, now) for info in differences.new_tables), batch_size=_BATCH
    )
    of_new_tables = [
        (table.pk, column, differences.labels.get((info.table, column.name), Label()))
        for table, info in zip(new, differences.new_tables, strict=True)
        for column in info.columns
    ]
    _copy_columns([*differences.new_columns, *of_new_tables], now)
    _relabel(differences.relabelled)
    for heir in differences.heirs:
        inherit_limits(heir.pk, database.tables.get(schema=heir.table.schema, name=heir.table.name), heir.columns)


def _relabel(labels: Mapping[int, Label]) -> None:
    for pk, label in labels.items():
        Column.objects.filter(pk=pk).update(**label._asdict())


def _new_table(database: Database, info: TableInfo, now: datetime) -> Table:
    return Table(
        database=database,
        schema=info.table.schema,
        name=info.table.name,
        kind=info.kind,
        comment=info.comment,
        estimated_rows=info.estimated_rows,
        primary_key=list(info.primary_key),
        ties=list(map(tie_to_json, info.ties)),
        row_security=info.row_security,
        first_seen_at=now,
    )


def _copy_columns(columns: Iterable[tuple[int, ColumnInfo, Label]], now: datetime) -> None:
    with connection.cursor() as cursor, cursor.copy(_COPY_COLUMNS) as copy:
        for table, column, label in columns:
            about = (column.name, column.type, column.position, column.not_null, column.comment)
            copy.write_row((table, *about, *label, now))


def _table_row(pk: int, info: TableInfo) -> tuple[Any, ...]:
    ties = json.dumps(list(map(tie_to_json, info.ties)))
    return pk, info.kind, info.comment, info.estimated_rows, json.dumps(info.primary_key), ties, info.row_security


def _column_row(pk: int, info: ColumnInfo) -> tuple[Any, ...]:
    return pk, info.type, info.position, info.not_null, info.comment


def _arrays(rows: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    """Rows turned into one array for each column, as unnest() wants them."""
    return [list(values) for values in zip(*rows, strict=True)]


def _tidy(info: TableInfo) -> TableInfo:
    """Texts as long as the catalog keeps them, and ties in one order, whoever printed them."""
    columns = tuple(
        replace(column, type=column.type[:_MAX_TYPE], comment=column.comment[:_MAX_COMMENT])
        if len(column.type) > _MAX_TYPE or len(column.comment) > _MAX_COMMENT
        else column
        for column in info.columns
    )
    return replace(info, comment=info.comment[:_MAX_COMMENT], columns=columns, ties=tuple(sorted(info.ties)))
