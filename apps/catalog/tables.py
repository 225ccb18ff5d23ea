"""Tables of the catalog: found by name, by wildcard and by a few letters. The number of SQL queries is constant."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db.models import Case, Count, Exists, F, IntegerField, OuterRef, Q, QuerySet, Value, When
from django.db.models.functions import Concat, Lower

from apps.accounts.models import User
from apps.catalog.models import Column, Database, Table
from apps.catalog.names import WholeSchema, parse_column, parse_table, quoted, quoted_column, quoted_part
from apps.core.errors import Invalid
from apps.engines.base import TableName

__all__ = [
    "PAGE",
    "Found",
    "Resolved",
    "SchemaSummary",
    "classified_columns",
    "quoted",
    "quoted_column",
    "resolve",
    "resolve_columns",
    "schemas_of",
    "search",
]

PAGE = 50
_SHOWN_NAMES = 5  # of unknown tables in one sentence
_NAMES_IN_QUERY = 1000  # with more, reading all classified columns of the schemas is quicker than naming each table
_MAX_SEARCH = 200  # two names of 63 bytes, quoted, and some more


@dataclass(frozen=True)
class Resolved:
    """What a list of names stands for now. Both are sorted and distinct."""

    tables: tuple[TableName, ...]
    whole_schemas: tuple[str, ...]  # asked for with a wildcard


@dataclass(frozen=True)
class Found:
    """One page of tables; each has `classified`, whether a column of it is masked by default."""

    tables: list[Table]
    total: int


@dataclass(frozen=True)
class SchemaSummary:
    name: str
    tables: int
    classified_tables: int


def resolve(database: Database, patterns: Sequence[str]) -> Resolved:
    """Expand names and wildcards to the tables that are there. Raises Invalid about `tables`.

    A wildcard leaves partitions out: their rows are reached through their parent.
    """
    parsed = [parse_table(pattern) for pattern in patterns]
    if not parsed:
        raise Invalid("Name at least one table.", field="tables")
    names = {name for name in parsed if isinstance(name, TableName)}
    schemas = {name.schema for name in parsed if isinstance(name, WholeSchema)}
    rows = Table.objects.filter(
        Q(schema__in=schemas) | Q(schema__in={name.schema for name in names}, name__in={name.name for name in names}),
        database=database,
    ).values_list("schema", "name", "gone_at", "kind")
    there = {TableName(schema, name): kind for schema, name, gone_at, kind in rows if gone_at is None}
    _refuse_missing(database, names - there.keys(), gone={TableName(*row[:2]) for row in rows} - there.keys())
    whole = {table for table, kind in there.items() if table.schema in schemas and kind != "partition"}
    for schema in sorted(schemas - {table.schema for table in whole}):
        raise Invalid(
            f"{quoted_part(schema)}.* stands for nothing: {database.slug} has no table in a schema of this name. "
            "Upper and lower case count.",
            field="tables",
        )
    return Resolved(tuple(sorted(names | whole)), tuple(sorted(schemas)))


def resolve_columns(
    database: Database, tables: Iterable[TableName], patterns: Sequence[str]
) -> tuple[tuple[TableName, str], ...]:
    """Columns to unmask: sorted, distinct, each a classified one of `tables`. Raises Invalid about `unmask`."""
    wanted = sorted({parse_column(pattern) for pattern in patterns})
    if not wanted:
        return ()
    asked = set(tables)
    classified = classified_columns(database, {table for table, _ in wanted})
    masked = {(table, column.name) for table, columns in classified.items() for column in columns}
    for table, column in wanted:
        name = quoted_column(table, column)
        if table not in asked:
            raise Invalid(f"{name} is not in a table that you ask for: add {quoted(table)}.", field="unmask")
        if (table, column) not in masked:
            raise Invalid(f"{name} is no masked column: there is nothing to unmask.", field="unmask")
    return tuple(wanted)


def classified_columns(database: Database, tables: Iterable[TableName]) -> dict[TableName, list[Column]]:
    """The columns that are masked by default, by table; tables without any are left out."""
    wanted = set(tables)
    columns = (
        Column.objects.masked()
        .filter(table__database=database, table__schema__in={table.schema for table in wanted}, gone_at=None)
        .select_related("table")
    )
    names = {table.name for table in wanted}
    if len(names) <= _NAMES_IN_QUERY:
        columns = columns.filter(table__name__in=names)
    by_table = defaultdict(list)
    for column in columns.order_by("table__schema", "table__name", "position"):
        name = TableName(column.table.schema, column.table.name)
        if name in wanted:
            by_table[name].append(column)
    return dict(by_table)


def search(database: Database, text: str, limit: int, user: User, *, offset: int = 0) -> Found:
    """Tables of a database that `user` may see, whose `schema.name` holds every word of `text`, in any case.

    Names that begin with the text come first.
    """
    words = "".join(letter if letter.isprintable() else " " for letter in text[:_MAX_SEARCH]).replace('"', " ").split()
    tables = _present(database).filter(database__in=Database.objects.visible_to(user)).alias(full=_full_name())
    for word in words:
        tables = tables.filter(full__icontains=word)
    best = words[0] if words else ""
    rank = Case(
        When(name__istartswith=best, then=0),
        When(full__istartswith=best, then=1),
        default=2,
        output_field=IntegerField(),
    )
    page = tables.annotate(classified=Exists(_masked_columns())).order_by(rank, "schema", "name")
    return Found(list(page[offset : offset + limit]), tables.count())


def schemas_of(database: Database) -> list[SchemaSummary]:
    """Schemas with how many tables they have, ordered by name."""
    rows = (
        _present(database)
        .alias(masked=Exists(_masked_columns()))
        .values("schema")
        .annotate(tables=Count("pk"), classified_tables=Count("pk", filter=Q(masked=True)))
        .order_by("schema")
    )
    return [SchemaSummary(row["schema"], row["tables"], row["classified_tables"]) for row in rows]


def _present(database: Database) -> QuerySet[Table]:
    return Table.objects.filter(database=database, gone_at=None)


def _masked_columns() -> QuerySet[Column]:
    return Column.objects.masked().filter(table=OuterRef("pk"), gone_at=None)


def _full_name() -> Concat:
    return Concat(F("schema"), Value("."), F("name"))


def _refuse_missing(database: Database, missing: set[TableName], *, gone: set[TableName]) -> None:
    if not missing:
        return
    for table in sorted(missing & gone):
        raise Invalid(f"{quoted(table)} is gone from {database.slug}: it was there once.", field="tables")
    shown = ", ".join(quoted(table) for table in sorted(missing)[:_SHOWN_NAMES])
    more = f" and {len(missing) - _SHOWN_NAMES} more" if len(missing) > _SHOWN_NAMES else ""
    raise Invalid(
        f"{database.slug} has no table {shown}{more}.{_did_you_mean(database, missing)} "
        "Names are matched exactly, upper and lower case count.",
        field="tables",
    )


def _did_you_mean(database: Database, missing: set[TableName]) -> str:
    """The same name in another case, if there is one for the first that is missing."""
    first = min(missing)
    near = (
        _present(database)
        .alias(lower_schema=Lower("schema"), lower_name=Lower("name"))
        .filter(lower_schema=first.schema.lower(), lower_name=first.name.lower())
        .first()
    )
    return f" Did you mean {quoted(TableName(near.schema, near.name))}?" if near else ""
