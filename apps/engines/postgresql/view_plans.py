"""What the views of a scope should be, from what the target says of their tables now: text, rights, reasons."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from psycopg import sql
from psycopg.rows import class_row

from apps.engines import ties
from apps.engines.base import Level, Refused, Scope, Shown, ShownColumn, TableName, ViewedTable
from apps.engines.postgresql import masking, names, rowfilters, table_facts
from apps.engines.postgresql.closure import as_arrays
from apps.engines.postgresql.connect import Connection
from apps.engines.postgresql.queries import oid_array, query, text_array
from apps.engines.postgresql.table_facts import TableFacts

_SHOWN = 8
_ALIAS = sql.Identifier("source")
_WRITES = ("INSERT", "UPDATE")
_VIEWS = ("v", "m")

Classified = frozenset[tuple[TableName, str]]


@dataclass(frozen=True)
class Source:
    """What a view is to show: a row of sql/view_sources.sql."""

    schema: str
    name: str
    oid: int | None
    relkind: str
    namespace: int | None
    owner: str
    usable: bool  # by the masker: USAGE on its schema
    lacking: list[str]  # rights that the masker needs on it
    invoker: bool

    @property
    def table(self) -> TableName:
        return TableName(self.schema, self.name)

    @property
    def is_view(self) -> bool:
        return self.relkind in _VIEWS


@dataclass(frozen=True)
class Plan:
    """A view as it should be."""

    source: Source
    viewed: ViewedTable
    schema: str  # of the view; its name is the table's
    text: sql.Composed
    digest: str  # of the text
    rights: tuple[str, ...]  # on the view as a whole
    hidden: tuple[str, ...]  # columns that are masked in it, or classified and left out
    shown: Shown

    @property
    def key(self) -> tuple[str, str]:
        return (self.schema, self.source.name)

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(*self.key)

    @property
    def writes(self) -> dict[str, tuple[str, ...]]:
        """Column -> INSERT, UPDATE."""
        return {column.name: column.writable for column in self.shown.columns}


@dataclass(frozen=True)
class Basis:
    """What the target says of the tables to be shown."""

    sources: Mapping[TableName, Source]
    facts: Mapping[int, TableFacts]  # by oid
    built_on: Mapping[int, list[str]]  # source view -> the classified columns behind it


def plans(connection: Connection, scope: Scope, classified: Classified, *, lock: bool = False) -> list[Plan]:
    """One for each view of the scope, in its order. Refused, with a sentence for each table that cannot be shown.

    `classified`: (table, column) of the whole database that nobody may reach unless the scope shows it.
    `lock`: until the transaction ends no column is dropped or renamed; for this the session must be the masker's.
    """
    return planned(scope, classified, read_basis(connection, scope, classified, lock=lock))


def read_basis(connection: Connection, scope: Scope, classified: Classified, *, lock: bool = False) -> Basis:
    """What plans are made of. Arguments as those of plans()."""
    _refuse_what_makes_no_sense(scope)
    sources = read_sources(connection, scope)
    if lock:
        _lock(connection, sources.values())
    oids = [source.oid for source in sources.values() if source.oid is not None]
    facts = table_facts.read(connection, oids, written=scope.level is Level.CHANGE)
    return Basis(sources, facts, _built_on(connection, sources.values(), classified))


def planned(scope: Scope, classified: Classified, basis: Basis) -> list[Plan]:
    """plans() from what has been read."""
    elsewhere, schemas = masked_elsewhere(scope, classified), names.view_schemas(scope)
    found, problems = [], []
    for viewed in scope.views:
        source = basis.sources[viewed.table]
        try:
            _refuse_source(source, scope, basis.built_on)
            here = basis.facts[source.oid or 0]
            hidden = _hidden(viewed, elsewhere)
            _refuse_table(viewed, here, hidden)
            _refuse_copies(viewed, here, hidden, elsewhere)
            # Generated of masked ones and left out of the view: as telling as these.
            hidden = sorted({*hidden, *ties.shows_masked(here.ties, hidden)})
            plan = _plan(schemas[source.schema], source, viewed, here, hidden)
            found.append(_with_rights(plan, scope.level, here, elsewhere))
        except Refused as refusal:
            problems.append(refusal.sentence)
    if problems:
        more = f" The same or the like holds for {len(problems) - _SHOWN} more." if len(problems) > _SHOWN else ""
        raise Refused(" ".join(problems[:_SHOWN]) + more)
    return found


def masked_elsewhere(scope: Scope, classified: Classified) -> frozenset[tuple[str, str, str]]:
    """(schema, table, column) of what is classified and not shown by the scope."""
    shown = {
        (view.table, column)
        for view in scope.views
        for column in view.columns
        if column not in {masked for masked, _ in view.masks}
    }
    return frozenset((table.schema, table.name, column) for table, column in classified - shown)


def _hidden(viewed: ViewedTable, elsewhere: frozenset[tuple[str, str, str]]) -> list[str]:
    """The columns of a table that are masked in its view, or classified and left out of it."""
    here = (viewed.table.schema, viewed.table.name)
    left_out = {column for *table, column in elsewhere if tuple(table) == here}
    return sorted(left_out | {column for column, _ in viewed.masks})


def read_sources(connection: Connection, scope: Scope) -> dict[TableName, Source]:
    parameters = {
        "masker": names.MASKER,
        "rights": list(names.RIGHTS[scope.level]),
        "schemas": text_array(view.table.schema for view in scope.views),
        "names": text_array(view.table.name for view in scope.views),
    }
    with connection.cursor(row_factory=class_row(Source)) as cursor:
        return {source.table: source for source in cursor.execute(query("view_sources"), parameters).fetchall()}


def _refuse_what_makes_no_sense(scope: Scope) -> None:
    tables = [view.table for view in scope.views]
    if len(set(tables)) < len(tables) or not set(tables) <= set(scope.tables):
        raise Refused("The scope shows a table twice, or one that is not in it; this is the portal's own mistake.")
    for view in scope.views:
        if view.filters and scope.level is Level.CHANGE:
            raise Refused(
                f"{names.quoted(view.table)} shows only some of its rows, and such a table cannot be changed: "
                "ask for query or export, or for a scope without it."
            )


def _built_on(connection: Connection, sources: Iterable[Source], classified: Classified) -> dict[int, list[str]]:
    """Source view -> the classified columns behind it."""
    views = [source.oid for source in sources if source.is_view and source.oid is not None]
    if not views:
        return {}
    parameters = {**as_arrays(classified), "views": oid_array(views)}
    return dict(connection.execute(query("view_lineage"), parameters).fetchall())


def _refuse_source(source: Source, scope: Scope, built_on: Mapping[int, list[str]]) -> None:
    table, masker = names.quoted(source.table), names.MASKER
    if source.oid is None:
        raise Refused(f"There is no table {table} in the database “{scope.database}”.")
    if source.schema.startswith("pg_") or source.schema == "information_schema":
        raise Refused(f"{table} is the server's own and is never granted.")
    if source.relkind == "f":
        raise Refused(
            f"{table} is a foreign table: what is behind it is not for this server to judge, so it is not granted. "
            "Ask for the table where it is."
        )
    if not source.usable:
        also = f" {mending(source.schema, source.name, source.owner)}" if source.lacking else ""
        raise Refused(
            f"The role {masker} may not use the schema of {table}: run the bootstrap SQL again, or: "
            f"{usable(source.schema)}{also}"
        )
    if source.lacking:
        raise Refused(
            f"The role {masker} lacks {', '.join(source.lacking)} on {table}, which belongs to “{source.owner}”: "
            f"run the bootstrap SQL again, or: {mending(source.schema, source.name, source.owner)}"
        )
    if source.is_view:
        _refuse_view(source, scope, built_on)


def usable(schema: str) -> str:
    """What a DBA runs when the masker may not use a schema, or not let others use it."""
    return _fix("GRANT USAGE ON SCHEMA {} TO {} WITH GRANT OPTION;", sql.Identifier(schema))


def mending(schema: str, table: str, owner: str) -> str:
    """What a DBA runs when the masker lacks rights on a table: for it, and for the next ones of its owner."""
    rights = "SELECT, INSERT, UPDATE, DELETE"
    grant = _fix(f"GRANT {rights} ON TABLE {{}} TO {{}} WITH GRANT OPTION;", sql.Identifier(schema, table))
    default = _fix(
        f"ALTER DEFAULT PRIVILEGES FOR ROLE {{}} IN SCHEMA {{}} GRANT {rights} ON TABLES TO {{}} WITH GRANT OPTION;",
        sql.Identifier(owner),
        sql.Identifier(schema),
    )
    return f"{grant} {default}"


def _fix(statement: str, *parts: sql.Identifier) -> str:
    return sql.SQL(statement).format(*parts, sql.Identifier(names.MASKER)).as_string(None)


def _refuse_view(source: Source, scope: Scope, built_on: Mapping[int, list[str]]) -> None:
    view = f"{names.quoted(source.table)} is a {'materialized ' if source.relkind == 'm' else ''}view"
    if scope.level is Level.CHANGE:
        raise Refused(f"{view} in a schema that is reached through masks, and can only be read there: ask for query.")
    if source.invoker:
        raise Refused(f"{view} that reads as whoever asks (security_invoker): ask for the tables behind it.")
    if behind := built_on.get(source.oid or 0):
        listed = ", ".join(behind[:_SHOWN])
        raise Refused(f"{view} that is built on classified columns ({listed}): ask for the tables behind it.")


def _plan(schema: str, source: Source, viewed: ViewedTable, facts: TableFacts, hidden: Sequence[str]) -> Plan:
    """Of what can be read in it; see _with_rights()."""
    ordered = ties.needs_order(facts.ties, hidden)
    if ordered:
        _refuse_without_order(viewed, facts, hidden)
    types = tuple((name, facts.columns[name]) for name in facts.columns if _uses(viewed, name))
    text, digest = _text(schema, source.relkind, viewed, types, facts.primary_key if ordered else ())
    shown = Shown(
        view=names.quoted(TableName(schema, source.name)),
        table=names.quoted(source.table),
        columns=_columns(viewed),
        filters=tuple(map(str, viewed.filters)),
        ordered=ordered,
    )
    return Plan(source, viewed, schema, text, digest, ("SELECT",), tuple(hidden), shown)


def _refuse_table(viewed: ViewedTable, facts: TableFacts, hidden: Sequence[str]) -> None:
    table = names.quoted(viewed.table)
    if facts.row_security:
        raise Refused(
            f"{table} has row security, whose policies would be asked of another role behind a mask: "
            "it cannot be shown through one."
        )
    if facts.is_partition:
        raise Refused(f"{table} is a partition or an inheritance child: ask for its parent.")
    if column := ties.told_by_place(facts.ties, hidden):
        raise Refused(
            f"{table} is divided by its masked column {column}, and a plan tells in which part a row lies: "
            "it cannot be shown with masks."
        )
    if not viewed.columns:
        raise Refused(f"{table} has no column that the catalog knows: read the catalog, then ask again.")
    if lost := [one for one in viewed.filters if one.column not in facts.columns]:
        raise Refused(
            f"Rows of {table} are limited to {lost[0]}, and it has no column {lost[0].column} any more: a database "
            "administrator has to change that limit."
        )
    if gone := [column for column in viewed.columns if column not in facts.columns]:
        raise Refused(f"{table} has no column {', '.join(gone)} any more: read the catalog, then ask again.")
    for column, mask in viewed.masks:
        if column in viewed.columns and not masking.fits(mask, facts.columns[column]):
            raise Refused(f"The mask {mask} does not fit {table}.{column}, which is {facts.columns[column]}.")
    for one in viewed.filters:
        if not rowfilters.fits(one, facts.columns[one.column]):
            raise Refused(
                f"The filter “{one}” does not fit {table}.{one.column}, which is {facts.columns[one.column]}."
            )
    for column, origin in ties.shows_masked(facts.ties, hidden).items():
        if column in viewed.columns:
            raise Refused(f"{table}.{column} is made of the masked {origin} and shows it: classify it as well.")


def _refuse_copies(
    viewed: ViewedTable, facts: TableFacts, hidden: Sequence[str], elsewhere: frozenset[tuple[str, str, str]]
) -> None:
    for column, origin in ties.copies(facts.ties, hidden, masked_elsewhere=elsewhere).items():
        if column in viewed.columns:
            table = names.quoted(viewed.table)
            raise Refused(f"{table}.{column} refers to the masked {origin} and holds its values: classify it as well.")


def _refuse_without_order(viewed: ViewedTable, facts: TableFacts, hidden: Sequence[str]) -> None:
    table = names.quoted(viewed.table)
    if not facts.primary_key:
        raise Refused(
            f"{table} has an index that could give its rows in the order of a masked column, and no primary key to "
            "order them by instead: it cannot be shown with masks."
        )
    if within := sorted(set(hidden).intersection(facts.primary_key)):
        raise Refused(
            f"{table} has an index that could give its rows in the order of a masked column, and the primary key, by "
            f"which they would be ordered instead, is masked itself ({', '.join(within)}): it cannot be shown."
        )


def _uses(viewed: ViewedTable, column: str) -> bool:
    return column in viewed.columns or any(one.column == column for one in viewed.filters)


@lru_cache(maxsize=512)
def _text(
    schema: str, relkind: str, viewed: ViewedTable, types: tuple[tuple[str, str], ...], order: tuple[str, ...]
) -> tuple[sql.Composed, str]:
    """With its digest. Kept, as all of it follows from the arguments: who shares a scope has the same views.

    Names are qualified by an alias: in ORDER BY a bare one would mean the column as it is shown.
    """
    masks, type_of = dict(viewed.masks), dict(types)
    shown = [
        masking.expression(masks[column], column, type_of[column], stored=relkind != "v")
        if column in masks
        else _of_source(column)
        for column in viewed.columns
    ]
    table = viewed.table
    parts = [
        sql.SQL("CREATE VIEW {} ({}) WITH ({}) AS SELECT {} FROM {} AS {}").format(
            sql.Identifier(schema, table.name),
            sql.SQL(", ").join(map(sql.Identifier, viewed.columns)),
            sql.SQL(_options(relkind, viewed)),
            sql.SQL(", ").join(shown),
            sql.Identifier(table.schema, table.name),
            _ALIAS,
        )
    ]
    if viewed.filters:
        conditions = [rowfilters.condition(one, type_of[one.column]) for one in viewed.filters]
        parts.append(sql.SQL(" WHERE ") + sql.SQL(" AND ").join(sql.SQL("({})").format(one) for one in conditions))
    if order:
        parts.append(sql.SQL(" ORDER BY ") + sql.SQL(", ").join(map(_of_source, order)))
    if viewed.filters:
        parts.append(sql.SQL(" OFFSET {}").format(0))  # nothing is pushed down below the filter (field notes S8)
    text = sql.Composed(parts)
    return text, hashlib.sha256(text.as_string(None).encode()).hexdigest()[: names.DIGEST_LENGTH]


def _of_source(column: str) -> sql.Composed:
    return sql.SQL("{}.{}").format(_ALIAS, sql.Identifier(column))


def _options(relkind: str, viewed: ViewedTable) -> str:
    always = "security_barrier = true, security_invoker = false"
    writable = relkind not in _VIEWS and not viewed.filters and len(viewed.masks) < len(viewed.columns)
    return f"{always}, check_option = cascaded" if writable else always


def _columns(viewed: ViewedTable) -> tuple[ShownColumn, ...]:
    masks = dict(viewed.masks)
    return tuple(ShownColumn(name, str(masks[name]) if name in masks else None) for name in viewed.columns)


def _with_rights(plan: Plan, level: Level, facts: TableFacts, elsewhere: frozenset[tuple[str, str, str]]) -> Plan:
    """At level change: what may be written, and why the rest may not."""
    if level is not Level.CHANGE:
        return plan
    why = ties.read_only(facts.ties, plan.viewed.columns, plan.hidden, masked_elsewhere=elsewhere)
    refused = ties.refused_writes(facts.ties, plan.hidden, masked_elsewhere=elsewhere)
    kept = ties.not_updatable(facts.ties, plan.viewed.columns, masked_elsewhere=elsewhere)
    generated = {tie.name for tie in facts.ties if tie.kind is ties.TieKind.GENERATED}
    columns = tuple(
        replace(column, why_read_only=why.get(column.name, "is computed from other columns"))
        if column.name in why or column.name in generated
        else _writable(column, refused, kept.get(column.name, ""))
        for column in plan.shown.columns
    )
    rights = ("SELECT",) if "DELETE" in refused else ("DELETE", "SELECT")
    return replace(plan, rights=rights, shown=replace(plan.shown, columns=columns))


def _writable(column: ShownColumn, refused: dict[str, str], kept: str) -> ShownColumn:
    """`kept`: why it may not be updated, for itself."""
    if kept:
        refused = {"UPDATE": kept} | refused
    reasons = [f"{event} {refused[event]}" for event in _WRITES if event in refused]
    allowed = tuple(event for event in _WRITES if event not in refused)
    return replace(column, writable=allowed, why_read_only="; ".join(reasons))


def _lock(connection: Connection, sources: Iterable[Source]) -> None:
    tables = [
        sql.SQL("ONLY {}").format(sql.Identifier(source.schema, source.name))
        for source in sources
        if source.relkind in ("r", "p") and source.usable and not source.lacking
    ]
    if tables:
        connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(sql.SQL(", ").join(tables)))
