"""What roles hold and what leaks to them, from a target's catalogs: for one login (proof) or thousands (drift)."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from psycopg import sql
from psycopg.rows import args_row, class_row

from apps.engines.base import Level, LoginSpec, Scope, TableName
from apps.engines.postgresql.connect import Connection, ask
from apps.engines.postgresql.queries import oid_array, query, text_array

PUBLIC = 0
SHOWN = 8
OWNED, GIVEN_AWAY = ["OWNER"], ["GIVEN AWAY"]

Columns = frozenset[tuple[TableName, str]]

_RELATIONS = frozenset({"view", "materialized view", "foreign table"})
_WORDS = {"sequence": "SEQUENCE ", "schema": "SCHEMA ", "database": "DATABASE "}


@dataclass(frozen=True)
class Identity:
    """A login and every role that it is, inherits, may become or may give itself."""

    login: str
    comment: str
    locked: bool  # NOLOGIN
    roles: frozenset[int]
    memberships: frozenset[tuple[str, str]]  # (role, who is its member)
    attributes: frozenset[tuple[str, str]]  # (SUPERUSER …, which role has it)


class Held(NamedTuple):
    """A row of sql/held.sql, in its order; `object` is the quoted name. There may be thousands."""

    kind: str
    schema: str
    name: str
    column: str
    object: str
    role: int
    via: str
    privileges: list[str]


class Right(NamedTuple):
    """One privilege on one thing through one role; relations of every kind are tables here. There may be thousands."""

    kind: str
    schema: str
    name: str
    column: str
    privilege: str
    via: str

    def __str__(self) -> str:
        if self.kind == "other":
            return f"{self.privilege} on {self.name}"
        parts = [part for part in (self.schema, self.name, self.column) if part]
        return f"{self.privilege} on {self.kind} {'.'.join(parts)}"

    @property
    def fix(self) -> str:
        """SQL that takes it away; empty where a person must look."""
        where = sql.Identifier(*(part for part in (self.schema, self.name) if part)).as_string(None)
        whom = sql.Identifier(self.via).as_string(None)
        what = self.privilege.removesuffix(" WITH GRANT OPTION")
        match self.kind:
            case "other":
                return ""
            case "role":
                return f"REVOKE {where} FROM {whom};"
            case "attribute":
                return f"ALTER ROLE {whom} NO{self.name};"
            case "column":
                return f"REVOKE {what} ({sql.Identifier(self.column).as_string(None)}) ON {where} FROM {whom};"
            case kind:
                return f"REVOKE {what} ON {_WORDS.get(kind, '')}{where} FROM {whom};"


@dataclass(frozen=True)
class Leak:
    """A row of sql/leaks.sql. `grantee` None: it is behind a relation that our own views show."""

    schema: str
    name: str
    columns: list[str]
    gone: list[str]
    through: str
    oid: int
    through_schema: str
    through_name: str
    object: str
    grantee: int | None
    via: str
    usage_by: list[int] | None  # roles that have USAGE of the schema, where that is needed

    @property
    def table(self) -> TableName:
        return TableName(self.schema, self.name)

    def reaches(self, roles: frozenset[int]) -> bool:
        """Whether a login with these roles comes this way."""
        everybody = roles | {PUBLIC}
        return self.grantee in everybody and (self.usage_by is None or not everybody.isdisjoint(self.usage_by))


@dataclass(frozen=True)
class Cascade:
    """A row of sql/cascades.sql. `scope` is the number that its start had."""

    scope: int
    schema: str
    name: str
    object: str
    events: list[str]
    origin: str
    outside: bool
    seen: bool  # by a trigger or another key, where rows are only deleted


@dataclass(frozen=True)
class Start:
    """Rows of a relation that somebody may change. `columns` None: all of them."""

    scope: int
    rel: int
    event: str  # DELETE | UPDATE | NONE
    columns: tuple[str, ...] | None = None


def identities(connection: Connection, logins: Sequence[str]) -> dict[str, Identity]:
    """Those of the logins that are there. There may be thousands, and few roles that they share."""
    found = {}
    rows = connection.execute(query("members"), {"logins": text_array(logins)}).fetchall()
    for (login, locked, comment), some in groupby(rows, key=itemgetter(0, 1, 2)):
        reached = list(some)
        found[login] = Identity(
            login,
            comment,
            locked,
            roles=frozenset([oid for *_, oid, _, _, _ in reached]),
            memberships=frozenset([(role, member) for *_, role, member, _ in reached if member is not None]),
            attributes=frozenset([(name, role) for *_, role, _, has in reached for name in has]),
        )
    return found


def ask_held(connection: Connection, roles: Iterable[int]) -> Callable[[], list[Held]]:
    """What the roles hold or own, in any database of the server; see connect.ask()."""
    return ask(connection, query("held"), {"roles": oid_array(sorted(roles))}, args_row(Held))


def held(connection: Connection, roles: Iterable[int]) -> dict[int, list[Held]]:
    """The same by role."""
    found: dict[int, list[Held]] = {}
    for one in ask_held(connection, roles)():
        found.setdefault(one.role, []).append(one)
    return found


def left_behind(one: Held, scope_role: str) -> bool:
    """Before 16 a login may become its scope role, and what it makes as such outlives it: told, and no right."""
    return one.kind == "other" and one.via == scope_role and one.privileges == OWNED


def rights(identity: Identity, owned: Iterable[Held], scope_role: str) -> set[Right]:
    """Everything that a login holds, for comparing; without what other logins have left or given away."""
    found = {
        Right("table" if one.kind in _RELATIONS else one.kind, one.schema, one.name, one.column, privilege, one.via)
        for one in owned
        if not left_behind(one, scope_role) and one.privileges != GIVEN_AWAY
        for privilege in one.privileges
    }
    found |= {Right("role", "", role, "", "MEMBER", member) for role, member in identity.memberships}
    return found | {Right("attribute", "", name, "", "HAS", role) for name, role in identity.attributes}


def membership(login: str, scope_role: str) -> Right:
    """The one that each login has."""
    return Right("role", "", scope_role, "", "MEMBER", login)


def ask_leaks(
    connection: Connection, roles: Iterable[int], classified: Columns, sources: Sequence[int]
) -> Callable[[], list[Leak]]:
    """Each way to a classified column that these roles or PUBLIC have; and what is behind the sources of views."""
    if not classified:
        return list
    parameters = {**as_arrays(classified), "roles": oid_array(sorted(roles)), "sources": oid_array(sources)}
    return ask(connection, query("leaks"), parameters, class_row(Leak))


def as_arrays(columns: Iterable[tuple[TableName, str]]) -> dict[str, str]:
    ordered = sorted(columns)
    return {
        "schemas": text_array(table.schema for table, _ in ordered),
        "tables": text_array(table.name for table, _ in ordered),
        "columns": text_array(column for _, column in ordered),
    }


def leak_sentence(leak: Leak, *, live: bool = False) -> str:
    columns = ", ".join(leak.columns)
    away = f"REVOKE ALL ON {leak.object} FROM {leak.via if leak.grantee == PUBLIC else quoted(leak.via)};"
    if leak.through == "rule":
        away = f"leave {leak.object} out, or drop the rule."
    if leak.through == "statistics":
        return f"The server's statistics, which hold values of classified columns, are open to {leak.via}: {away}"
    through = TableName(leak.through_schema, leak.through_name)
    if leak.gone:
        gone = ", ".join(leak.gone)
        return f"{leak.table} is within reach and its classified column {gone} is not found: read the catalog again."
    if leak.through in ("view", "materialized view", "rule"):
        way = "reached by a rule on" if leak.through == "rule" else "read through the view"
        return f"{leak.table} ({columns}) is classified and can be {way} {through}, open to {leak.via}: {away}"
    if leak.grantee == PUBLIC:
        return f"{leak.table} ({columns}) is classified and open to PUBLIC: {away}"
    where = "" if through == leak.table else f" through {through}"
    if live:
        return f"{leak.table} ({columns}) is classified and within reach{where}, open to {leak.via}."
    return (
        f"{leak.table} ({columns}) is classified and would be within reach{where}: leave it out, or ask for it masked."
    )


def behind_views(
    scope: Scope, sources: Iterable[tuple[TableName, int]], leaks: Iterable[Leak], classified: Columns
) -> Iterator[str]:
    """Classified columns that the scope's own views would show without anybody having approved it.

    `sources`: (table, oid) of what each view shows.
    """
    behind: dict[int, list[Leak]] = {}
    for leak in leaks:
        if leak.grantee is None:
            behind.setdefault(leak.oid, []).append(leak)
    plain = {viewed.table: set(viewed.columns) - {name for name, _ in viewed.masks} for viewed in scope.views}
    for table, oid in sources:
        for leak in behind.get(oid, ()):
            yield from _shown_by(table, leak, plain.get(table, set()), classified)


def _shown_by(table: TableName, leak: Leak, plain: set[str], classified: Columns) -> Iterator[str]:
    columns = ", ".join(leak.columns)
    if leak.through == "source view":
        yield (
            f"{table} is a view built on {leak.table}, whose {columns} is classified: what it shows of it cannot "
            "be masked. Ask for the table itself."
        )
    elif leak.gone:
        gone = ", ".join(leak.gone)
        yield f"{leak.table}, shown by {table}, has no classified column {gone} any more: read the catalog again."
    elif leak.table != table:
        shown = [name for name in leak.columns if name in plain and (table, name) not in classified]
        if shown:
            listing = ", ".join(shown)
            yield (
                f"{leak.table} ({listing}) is classified, and its rows are also those of {table}, where {listing} "
                f"would be shown: classify {listing} of {table} as well."
            )


def cascades(connection: Connection, starts: Sequence[Start]) -> list[Cascade]:
    """What changes beyond the starts, by foreign keys."""
    if not any(start.event in ("DELETE", "UPDATE") for start in starts):
        return []
    given = json.dumps([vars(start) for start in starts])
    with connection.cursor(row_factory=class_row(Cascade)) as cursor:
        return cursor.execute(query("cascades"), {"starts": given}).fetchall()


def starts(
    number: int, level: Level, held: Iterable[Right], relations: Mapping[tuple[str, str], int]
) -> Iterator[Start]:
    """Where changes may begin. `relations`: (schema, name) of a table or view of the scope -> the table behind it."""
    if level is not Level.CHANGE:
        return
    updated: dict[int, list[str]] = {}
    for right in sorted(held):
        rel = relations.get((right.schema, right.name))
        if rel is None:
            continue
        if right.kind == "table" and right.privilege in ("DELETE", "UPDATE"):
            yield Start(number, rel, right.privilege)
        elif right.kind == "column" and right.privilege == "UPDATE":
            updated.setdefault(rel, []).append(right.column)
    yield from (Start(number, rel, "UPDATE", tuple(columns)) for rel, columns in updated.items())
    # Not changed by itself, and in the scope all the same, with its partitions.
    yield from (Start(number, rel, "NONE") for rel in sorted(set(relations.values())))


def outside(scope: Scope, found: Iterable[Cascade]) -> list[Cascade]:
    """Those that reach a table which is not in the scope."""
    return [one for one in found if one.outside and TableName(one.schema, one.name) not in scope.tables]


def over_masked(found: Iterable[Cascade], hidden: Iterable[tuple[str, str, str]]) -> list[Cascade]:
    """Those that change rows with hidden columns: it is done with their owner's rights, and an error shows the row."""
    tables = {(schema, table) for schema, table, _ in hidden}
    return [one for one in found if (one.schema, one.name) in tables and ("UPDATE" in one.events or one.seen)]


def unknown(spec: LoginSpec, columns: Iterable[tuple[TableName, str]]) -> dict[TableName, list[str]]:
    """Columns of tables given directly that the catalog has not seen, by table."""
    found: dict[TableName, list[str]] = {}
    for table, column in columns:
        if (table, column) not in spec.known:
            found.setdefault(table, []).append(column)
    return dict(sorted(found.items()))


def columns_of(connection: Connection, tables: Mapping[int, TableName]) -> list[tuple[TableName, str]]:
    """By table, in their order."""
    rows = connection.execute(
        "SELECT attrelid, array_agg(attname::text ORDER BY attnum) FROM pg_attribute"
        " WHERE attrelid = ANY (%s::oid[]) AND attnum > 0 AND NOT attisdropped GROUP BY attrelid ORDER BY attrelid",
        [oid_array(tables)],
    ).fetchall()
    return [(tables[oid], column) for oid, columns in rows for column in columns]


def quoted(*name: str) -> str:
    return sql.Identifier(*name).as_string(None)


def listed(shown: Sequence[str], count: int = 0) -> str:
    """The first few, and how many more there are."""
    some = ", ".join(shown[:SHOWN])
    more = (count or len(shown)) - min(len(shown), SHOWN)
    return f"{some} and {more} more" if more else some
