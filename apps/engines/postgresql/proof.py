"""Proof before use: what a login can reach, read from the catalogs and compared with what was approved."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from apps.engines.base import Evidence, Level, LoginSpec, Reach, TableName
from apps.engines.postgresql import names
from apps.engines.postgresql.connect import Connection
from apps.engines.postgresql.queries import query
from apps.engines.postgresql.scopes import Thing

_SHOWN = 8
# By another login, of its own: told, or any holder could keep all others from sharing the scope.
_GIVEN_AWAY = ["GIVEN AWAY"]

# What everybody has anyway: {count} and {names}. Worded for the approver and the DBA.
_EXPOSED = {
    "readable": "Beyond the grant, PUBLIC may read {count} relations of this database: {names}.",
    "writable": "Beyond the grant, PUBLIC may write to {count} relations of this database: {names}.",
    "definer": "{count} functions that run with their owner's rights can be called by this login: {names}.",
    "carried": "{count} functions of closed schemas run with their owner's rights through something open: {names}.",
    "unsafe language": "{count} functions in an untrusted language can be called by this login: {names}.",
    "catalog": "{count} functions of the server were opened to PUBLIC beyond the standard: {names}.",
    "create": "PUBLIC may create objects in {count} schemas: {names}.",
    "database": "PUBLIC may connect to {count} other databases of this server: {names}.",
    "temporary": "PUBLIC may create temporary tables in this database.",
    "foreign server": "PUBLIC may use {count} foreign servers: {names}.",
    "large object": "PUBLIC may read or write {count} large objects: {names}.",
    "parameter": "PUBLIC may set {count} parameters of the server: {names}.",
    "definer trigger": "Changes to these tables fire {count} triggers that run with their owner's rights: {names}.",
    "rule": "Changes to these tables are rewritten by {count} rules, which run with their owner's rights: {names}.",
}


@dataclass(frozen=True)
class Held:
    """A row of sql/held.sql."""

    kind: str
    schema: str
    name: str
    via: str
    privileges: list[str]


@dataclass(frozen=True)
class Leak:
    """A row of sql/leaks.sql."""

    schema: str
    name: str
    columns: list[str]
    gone: bool
    through: str
    through_schema: str
    through_name: str
    grantee: str


@dataclass(frozen=True)
class Proof:
    """`problems` are sentences; with any of them the login must not be opened."""

    evidence: Evidence
    problems: tuple[str, ...]


def prove(connection: Connection, spec: LoginSpec, things: Sequence[Thing]) -> Proof:
    """Compute the closure of a login in the database it is for. `things` are those of its scope."""
    checked_at: datetime = connection.execute("SELECT clock_timestamp()").fetchall()[0][0]
    held = _held(connection, spec.login)
    problems = [
        *_differences(spec, things, held),
        *_leaks(connection, spec),
        *_unknown(connection, spec, things),
        *_cascades(connection, spec, things),
    ]
    findings = (*_findings(connection, spec, things), *_left_objects(spec, held), *_given_away(held))
    evidence = Evidence(checked_at=checked_at, reach=_reach(held), findings=findings)
    return Proof(evidence=evidence, problems=tuple(problems))


def _held(connection: Connection, login: str) -> list[Held]:
    with connection.cursor(row_factory=class_row(Held)) as cursor:
        return cursor.execute(query("held"), {"login": login}).fetchall()


def _differences(spec: LoginSpec, things: Sequence[Thing], held: Sequence[Held]) -> Iterable[str]:
    """Everything approved is there, through the scope role, and nothing else is held."""
    role = names.scope_role_name(spec.scope)
    held = [one for one in held if not _left_behind(one, role) and one.privileges != _GIVEN_AWAY]
    approved = {(thing.key, right, role) for thing in things for right in thing.wanted}
    approved.add((("role", "", role), "MEMBER", "membership"))
    actual = {((one.kind, one.schema, one.name), right, one.via) for one in held for right in one.privileges}
    for key, right, via in sorted(actual - approved):
        yield f"It would also have {right} on {_described(key)} through {via}, which was not approved: take it away."
    for key, right, via in sorted(approved - actual):
        yield f"It would lack {right} on {_described(key)}, which was approved and should come through {via}."


def _left_behind(one: Held, role: str) -> bool:
    """Before 16 a login may become its scope role, and what it makes as such outlives it: told, and no right."""
    return one.kind == "other" and one.via == role and one.privileges == ["OWNER"]


def _leaks(connection: Connection, spec: LoginSpec) -> Iterable[str]:
    """Classified columns within reach."""
    if not spec.classified:
        return
    columns = sorted(spec.classified)
    parameters = {
        "login": spec.login,
        "schemas": [table.schema for table, _ in columns],
        "tables": [table.name for table, _ in columns],
        "columns": [column for _, column in columns],
    }
    with connection.cursor(row_factory=class_row(Leak)) as cursor:
        yield from map(_leak_sentence, cursor.execute(query("leaks"), parameters))


def _leak_sentence(leak: Leak) -> str:
    table = TableName(leak.schema, leak.name)
    through = TableName(leak.through_schema, leak.through_name)
    columns = ", ".join(leak.columns)
    if leak.gone:
        return f"{table} is within reach and its classified column {columns} is not found: read the catalog again."
    if leak.through == "view":
        return f"{table} ({columns}) is classified and can be read through the view {through}, open to {leak.grantee}."
    if leak.grantee == "PUBLIC":
        return f"{table} ({columns}) is classified and open to PUBLIC: REVOKE ALL ON {through} FROM PUBLIC."
    where = "" if through == table else f" through {through}"
    return f"{table} ({columns}) is classified and would be within reach{where}: leave it out, or ask for it masked."


def _unknown(connection: Connection, spec: LoginSpec, things: Sequence[Thing]) -> Iterable[str]:
    """Columns that the catalog has not seen: nobody can have said that they are harmless."""
    tables = {thing.oid: TableName(thing.schema, thing.name) for thing in things if thing.kind == "table"}
    rows = connection.execute(
        "SELECT attrelid, attname::text FROM pg_attribute"
        " WHERE attrelid = ANY (%s) AND attnum > 0 AND NOT attisdropped ORDER BY attrelid, attnum",
        [_oids(things)],
    )
    unknown: dict[TableName, list[str]] = {}
    for oid, column in rows:
        if (tables[oid], column) not in spec.known:
            unknown.setdefault(tables[oid], []).append(column)
    for table, columns in sorted(unknown.items()):
        listed = _listed(columns[:_SHOWN], len(columns))
        yield f"{table} has columns that the catalog has not seen ({listed}): read the catalog, then ask again."


def _cascades(connection: Connection, spec: LoginSpec, things: Sequence[Thing]) -> Iterable[str]:
    if spec.scope.level is not Level.CHANGE:
        return
    rows = connection.execute(query("cascades"), {"tables": _oids(things)}).fetchall()
    if rows:
        shown = _listed([str(TableName(*row)) for row in rows], len(rows))
        yield (
            f"Changing these tables would also change rows of tables outside the grant, by cascading foreign keys: "
            f"{shown}. Ask for these tables as well, or for less."
        )


def _findings(connection: Connection, spec: LoginSpec, things: Sequence[Thing]) -> Iterable[str]:
    parameters = {"login": spec.login, "tables": _oids(things), "writes": spec.scope.level is Level.CHANGE}
    for what, count, examples in connection.execute(query("exposure"), parameters):
        yield _EXPOSED[what].format(count=count, names=_listed(examples, count))


def _left_objects(spec: LoginSpec, held: Sequence[Held]) -> Iterable[str]:
    role = names.scope_role_name(spec.scope)
    if left := [one.name for one in held if _left_behind(one, role)]:
        yield f"Earlier logins of this scope left {len(left)} objects to {role}: {_listed(left[:_SHOWN], len(left))}."


def _given_away(held: Sequence[Held]) -> Iterable[str]:
    if given := [one.name for one in held if one.privileges == _GIVEN_AWAY]:
        listed = _listed(given[:_SHOWN], len(given))
        yield f"Other logins have given rights on {len(given)} things of their own: {listed}."


def _reach(held: Sequence[Held]) -> tuple[Reach, ...]:
    return tuple(
        Reach(object=_described((one.kind, one.schema, one.name)), privileges=tuple(one.privileges), via=one.via)
        for one in held
    )


def _oids(things: Sequence[Thing]) -> list[int]:
    return [thing.oid for thing in things if thing.kind == "table" and thing.oid is not None]


def _described(key: tuple[str, str, str]) -> str:
    kind, schema, name = key
    return name if kind == "other" else f"{kind} {TableName(schema, name) if schema else name}"


def _listed(shown: Sequence[str], count: int) -> str:
    some = ", ".join(shown[:_SHOWN])
    more = count - min(len(shown), _SHOWN)
    return f"{some} and {more} more" if more else some
