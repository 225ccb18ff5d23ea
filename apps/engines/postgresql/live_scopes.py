"""Scopes that live logins share, as they are on the target and as they would be made now."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from apps.engines.base import Level, LoginSpec, Refused, Scope, TableName, Target, ViewedTable
from apps.engines.postgresql import names, views
from apps.engines.postgresql.closure import Columns, Right
from apps.engines.postgresql.connect import Connection
from apps.engines.postgresql.queries import query
from apps.engines.postgresql.view_plans import Plan, plans, read_sources


@dataclass
class LiveScope:
    """One scope and the logins that have it. Sentences in `opened` and `changed` are about its views."""

    number: int
    scope: Scope
    role: str
    role_oid: int | None
    classified: Columns
    specs: list[LoginSpec]
    direct: dict[TableName, int] = field(default_factory=dict)
    sources: list[tuple[TableName, int]] = field(default_factory=list)  # what the views show
    own_views: set[int] = field(default_factory=set)  # those that are as they were made
    view_names: dict[tuple[str, str], int] = field(default_factory=dict)  # -> the table behind
    expected: set[Right] = field(default_factory=set)
    unplanned: frozenset[tuple[str, str]] = frozenset()  # views that would not be made now
    opened: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)

    @property
    def relations(self) -> dict[tuple[str, str], int]:
        """(schema, name) of tables and views of the scope -> oid of the table behind."""
        return {(table.schema, table.name): oid for table, oid in self.direct.items()} | self.view_names


@dataclass(frozen=True)
class _Relation:
    oid: int
    sequences: list[list[str]]  # [column, schema, name]


def read_scopes(connection: Connection, target: Target, specs: Sequence[LoginSpec]) -> list[LiveScope]:
    """One for each different scope; the same one with other knowledge of the catalog counts as another."""
    grouped: dict[tuple[Scope, Columns, Columns], list[LoginSpec]] = {}
    for spec in specs:
        grouped.setdefault((spec.scope, spec.classified, spec.known), []).append(spec)
    roles = {scope: names.scope_role_name(scope) for scope, _, _ in grouped}
    oids = _role_oids(connection, list(roles.values()))
    relations = _relations(connection, sorted({table for scope in roles for table in scope.tables}))
    found = []
    for number, ((scope, classified, _), sharing) in enumerate(grouped.items()):
        role = roles[scope]
        live = LiveScope(number, scope, role, oids.get(role), classified, sharing)
        _expect_direct(live, relations)
        if scope.views:
            _look_at_views(connection, target, live, relations)
        found.append(live)
    return found


def _role_oids(connection: Connection, roles: Sequence[str]) -> dict[str, int]:
    statement = "SELECT rolname::text, oid FROM pg_roles WHERE rolname = ANY (%s::text[]::name[])"
    return dict(connection.execute(statement, [list(roles)]).fetchall())


def _relations(connection: Connection, tables: Sequence[TableName]) -> dict[TableName, _Relation]:
    parameters = {"schemas": [table.schema for table in tables], "names": [table.name for table in tables]}
    rows = connection.execute(query("drift"), parameters)
    return {TableName(schema, name): _Relation(oid, sequences) for schema, name, oid, sequences in rows}


def _expect_direct(live: LiveScope, relations: Mapping[TableName, _Relation]) -> None:
    """What the scope role should hold, but for its views."""

    def expect(kind: str, schema: str, name: str, *privileges: str) -> None:
        live.expected |= {Right(kind, schema, name, "", privilege, live.role) for privilege in privileges}

    expect("database", "", live.scope.database, "CONNECT")
    for table in live.scope.direct:
        expect("table", table.schema, table.name, *names.RIGHTS[live.scope.level])
        expect("schema", "", table.schema, "USAGE")
        if found := relations.get(table):
            live.direct[table] = found.oid
            for _, schema, name in found.sequences if live.scope.level is Level.CHANGE else ():
                expect("sequence", schema, name, "SELECT", "USAGE")


def _look_at_views(
    connection: Connection, target: Target, live: LiveScope, relations: Mapping[TableName, _Relation]
) -> None:
    standing = dict(zip(live.scope.views, views.stand(connection, live.scope), strict=True))
    planned, live.unplanned = _planned(connection, live, standing)
    for viewed, one in standing.items():
        live.expected.add(Right("schema", "", one.schema, "", "USAGE", live.role))
        if one.sources:
            live.view_names[one.key] = one.sources[0]
            live.sources.append((viewed.table, one.sources[0]))
        plan = planned.get(viewed)
        _compare(target, live, viewed, one, plan)
        if plan is not None:
            live.expected |= set(_rights(live, one, plan, relations))


def _compare(target: Target, live: LiveScope, viewed: ViewedTable, one: views.Standing, plan: Plan | None) -> None:
    view, table = names.quoted(TableName(*one.key)), names.quoted(viewed.table)
    if one.oid is None:
        live.changed.append(f"The view {view} of {table} is gone: its owner dropped the table, or somebody the view.")
        return
    made_of = one.made_of(target, live.role)
    if made_of is None:
        live.opened.append(
            f"The view {view} of {table} is not as it was made: it, or the table, was altered or renamed."
        )
        return
    live.own_views.add(one.oid)
    if not one.schema_ours:
        live.changed.append(f"The schema {one.schema} belongs to another role, which may put things of its own there.")
    if plan is None:
        return
    if one.sources != [plan.source.oid]:
        live.opened.append(f"{view} shows another table than the one that is called {table} now.")
    if plan.shown.ordered and not made_of[1]:
        live.opened.append(f"{table} has got an index that can give its rows in the order of a masked column.")


def _planned(
    connection: Connection, live: LiveScope, standing: Mapping[ViewedTable, views.Standing]
) -> tuple[dict[ViewedTable, Plan], frozenset[tuple[str, str]]]:
    """The views as they would be made now, and the names of those that would not be made."""
    try:
        found = plans(connection, live.scope, live.classified)
    except Refused:
        return _planned_one_by_one(connection, live, standing)
    return dict(zip(live.scope.views, found, strict=True)), frozenset()


def _planned_one_by_one(
    connection: Connection, live: LiveScope, standing: Mapping[ViewedTable, views.Standing]
) -> tuple[dict[ViewedTable, Plan], frozenset[tuple[str, str]]]:
    """One table that cannot be shown any more makes the whole scope impossible: which is it, and does it tell?"""
    sources, planned, unplanned = read_sources(connection, live.scope), {}, set()
    shown = {(one.table, column) for one in standing for column in {*one.columns} - {name for name, _ in one.masks}}
    for viewed, one in standing.items():
        alone = Scope(live.scope.database, live.scope.level, (viewed.table,), (viewed,))
        try:
            (planned[viewed],) = plans(connection, alone, live.classified - shown)
        except Refused as refusal:
            unplanned.add(one.key)
            source = sources[viewed.table]
            lost = source.oid is None or source.lacking or not source.usable
            (live.changed if lost else live.opened).append(refusal.sentence)
    return planned, frozenset(unplanned)


def _rights(
    live: LiveScope, one: views.Standing, plan: Plan, relations: Mapping[TableName, _Relation]
) -> Iterator[Right]:
    for privilege in plan.rights:
        yield Right("table", *one.key, "", privilege, live.role)
    for column, privileges in plan.writes.items():
        for privilege in privileges:
            yield Right("column", *one.key, column, privilege, live.role)
    source = relations.get(plan.viewed.table)
    if source and any("INSERT" in privileges for privileges in plan.writes.values()):
        for column, schema, name in source.sequences:
            if column not in plan.hidden:
                yield Right("sequence", schema, name, "", "USAGE", live.role)
