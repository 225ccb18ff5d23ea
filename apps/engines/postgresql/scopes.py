"""Scope roles: all privileges of a grant, held once, whoever shares the scope. Logins are only members."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from psycopg import sql
from psycopg.rows import args_row, class_row

from apps.engines.base import Refused, Scope, TableName, Target
from apps.engines.postgresql import names, roles, view_plans, views
from apps.engines.postgresql.connect import Connection, ask, batch, makers_apply
from apps.engines.postgresql.queries import query, text_array
from apps.engines.postgresql.view_plans import Classified, Plan, mending, usable
from apps.engines.postgresql.views import Standing, View

_SHOWN = 8
_RIGHTS = {
    word: sql.SQL(word)
    for word in (
        *("CONNECT", "USAGE", "SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"),
        "MAINTAIN",  # 17 and newer
    )
}
_COMMENT = re.compile(r"scope: [A-Z, ]+ on \d+ tables of (.+?)(?:, \d+ of them through views)?", re.DOTALL)
_CLASSES = {
    "database": sql.SQL("DATABASE"),
    "schema": sql.SQL("SCHEMA"),
    "sequence": sql.SQL("SEQUENCE"),
    "table": sql.SQL("TABLE"),
    "view": sql.SQL("TABLE"),
}


class Thing(NamedTuple):
    """What a scope consists of: database, schema, table, view, column (of a view) or sequence; see sql/scope.sql, whose
    row it is, in its order.
    """

    kind: str
    schema: str
    name: str
    column: str
    relkind: str
    oid: int | None
    wanted: list[str]
    ungrantable: list[str]
    missing: list[str]
    surplus: list[str]  # of views and their columns: held and not wanted any more

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.kind, self.schema, self.name)

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name) if self.schema else sql.Identifier(self.name)


@dataclass(frozen=True)
class Made:
    """A scope on its target: every thing that its role holds, and its views."""

    things: list[Thing]
    views: list[View]


@dataclass(frozen=True)
class Found:
    """A scope as it should be and as it is."""

    planned: list[Plan]
    standing: list[Standing]
    things: list[Thing]

    def stale(self, target: Target, scope: Scope) -> list[Plan]:
        return views.stale(target, scope, self.planned, self.standing)

    def complete(self, target: Target, scope: Scope) -> bool:
        return not any(thing.missing or thing.surplus for thing in self.things) and not self.stale(target, scope)

    def made(self) -> Made:
        made = [views.as_made(*pair) for pair in zip(self.planned, self.standing, strict=True)]
        return Made([thing for thing in self.things if thing.wanted], made)


@dataclass(frozen=True)
class Look:
    """The row of sql/look.sql."""

    superuser: bool
    manager_comment: str | None
    masker: bool
    lock: bool
    maker: bool
    scope: bool
    scope_comment: str | None
    maker_may_grant_scope: bool


def ensure(
    connection: Connection, target: Target, scope: Scope, *, maker: str, classified: Classified = frozenset()
) -> Made:
    """The scope role with its views and every right it needs, made if it is new and mended if something has gone or
    the target has changed; read back (R10).

    `classified`: (table, column) of the whole database, as in LoginSpec.
    """
    seen = _look(connection, target, names.scope_role_name(scope), maker)
    found = _find(connection, scope, classified) if seen.scope else None
    complete = found is not None and found.complete(target, scope)
    if found and complete and not _role_statements(connection, target, scope, seen=seen, maker=maker):
        return found.made()
    if not seen.lock:
        roles.make_lock(connection)
    with connection.transaction():
        roles.take_turn(connection, target.portal_id)
        seen = _look(connection, target, names.scope_role_name(scope), maker)  # again: somebody may have been faster
        if statements := _role_statements(connection, target, scope, seen=seen, maker=maker):
            batch(connection, statements)
        if not found or not complete or not seen.scope:  # since dropped as unused, perhaps
            connection.execute(roles.become(names.MASKER))
            found = _mend(connection, target, scope, classified)
    return found.made()


def _mend(connection: Connection, target: Target, scope: Scope, classified: Classified) -> Found:
    """As the masker, on tables that are held as they are until the transaction ends."""
    found = _find(connection, scope, classified, lock=True)
    stale = found.stale(target, scope)
    standing = views.make(connection, target, scope, stale, found.standing)
    anew = {plan.key for plan in stale}
    things = [one._replace(missing=one.wanted) if (one.schema, one.name) in anew else one for one in found.things]
    batch(connection, [*views.comments(target, scope, stale, standing), *_changes(scope, things)])
    if stale:
        standing = views.stand(connection, scope)
    found = Found(found.planned, standing, _ask_things(connection, scope, found.planned)())
    _refuse_what_was_not_given(found, target, scope)
    return found


def _find(connection: Connection, scope: Scope, classified: Classified, *, lock: bool = False) -> Found:
    """Refuses what is asked for and cannot be given."""
    planned: list[Plan] = []
    tell_standing: Callable[[], list[Standing]] = list
    if scope.views:
        basis = view_plans.read_basis(connection, scope, classified, lock=lock)
        with connection.pipeline():  # while the server reads its views, it is planned how they should be
            tell_standing = views.ask_stand(connection, scope)
            planned = view_plans.planned(scope, classified, basis)
    with connection.pipeline():
        tell_things = _ask_things(connection, scope, planned)
        standing = tell_standing()
    things = tell_things()
    _refuse_what_cannot_be_given(connection, things, scope.database)
    return Found(planned, standing, things)


def database_of(portal_id: str, comment: str) -> str:
    """The database that a scope role with this comment() is for."""
    found = _COMMENT.fullmatch(names.without_mark(portal_id, comment))
    return found[1] if found else ""


def comment(target: Target, scope: Scope) -> str:
    """What stands on a scope role."""
    rights = ", ".join(names.RIGHTS[scope.level])
    shown = f", {len(scope.views)} of them through views" if scope.views else ""
    return names.comment(target.portal_id, f"scope: {rights} on {len(scope.tables)} tables of {scope.database}{shown}")


def _look(connection: Connection, target: Target, role: str, maker: str) -> Look:
    """Refuses a server that was not prepared for this portal."""
    parameters = {"masker": names.MASKER, "lock": names.LOCK, "maker": maker, "scope_role": role}
    with connection.cursor(row_factory=class_row(Look)) as cursor:
        (seen,) = cursor.execute(query("look"), parameters)
    if seen.superuser:
        raise Refused(f"The manager “{target.user}” is a superuser; give the portal a role that is none.")
    if not names.is_ours(target.portal_id, seen.manager_comment):
        raise Refused(f"The server's manager “{target.user}” is not marked as this portal's: run the bootstrap SQL.")
    if not seen.masker:
        raise Refused(f"The role {names.MASKER} is missing on the server: run the bootstrap SQL.")
    if seen.scope and not names.is_ours(target.portal_id, seen.scope_comment):
        raise Refused(f"The role {role} is on the server and not marked as this portal's; a DBA must look at it.")
    return seen


def _ask_things(connection: Connection, scope: Scope, planned: list[Plan]) -> Callable[[], list[Thing]]:
    parameters = {
        "scope_role": names.scope_role_name(scope),
        "masker": names.MASKER,
        "schemas": text_array(table.schema for table in scope.direct),
        "names": text_array(table.name for table in scope.direct),
        "rights": list(names.RIGHTS[scope.level]),
        "views": json.dumps([_wanted(plan) for plan in planned]),
    }
    return ask(connection, query("scope"), parameters, args_row(Thing))


def _wanted(plan: Plan) -> dict[str, object]:
    """See sql/scope.sql. A default takes the next number also where its own column cannot be written."""
    inserts = any("INSERT" in rights for rights in plan.writes.values())
    return {
        "schema": plan.schema,
        "name": plan.source.name,
        "rights": plan.rights,
        "columns": plan.writes,
        "source": plan.source.oid,
        "inserts": inserts,
        "hidden": plan.hidden,
    }


def _refuse_what_cannot_be_given(connection: Connection, things: list[Thing], database: str) -> None:
    tables = [thing for thing in things if thing.kind == "table"]
    if absent := [thing for thing in tables if not thing.relkind]:
        raise Refused(f"There is no table {_named(absent)} in the database “{database}”.")
    if system := [thing for thing in tables if thing.schema.startswith("pg_") or thing.schema == "information_schema"]:
        raise Refused(f"{_named(system)} is the server's own and is never granted.")
    if foreign := [thing for thing in tables if thing.relkind == "f"]:
        raise Refused(
            f"{_named(foreign)} is a foreign table: what is behind it is not for this server to judge, "
            "so it is not granted. Ask for the table where it is."
        )
    if ungrantable := [thing for thing in things if thing.ungrantable]:
        raise Refused(
            f"The role {names.MASKER} cannot give {_rights_on(ungrantable)} "
            f"in the database “{database}”: run the bootstrap SQL again, or grant it WITH GRANT OPTION."
            + _mending(connection, ungrantable)
        )


def _rights_on(things: list[Thing]) -> str:
    """`USAGE on the schema “a”; SELECT on a.b, a.c`: alike rights together."""
    by_rights: dict[tuple[str, ...], list[Thing]] = {}
    for thing in things:
        by_rights.setdefault(tuple(thing.ungrantable), []).append(thing)
    return "; ".join(f"{', '.join(rights)} on {_named(alike)}" for rights, alike in by_rights.items())


def _mending(connection: Connection, things: list[Thing]) -> str:
    """For tables also whose they are, as default privileges hold for the very role that makes a table."""
    schemas = [usable(thing.name) for thing in things if thing.kind == "schema"]
    tables = [thing for thing in things if thing.kind == "table"]
    parts, made = schemas[:_SHOWN], ""
    if tables:
        statement = "SELECT DISTINCT pg_get_userbyid(relowner)::text FROM pg_class WHERE oid = ANY (%s) ORDER BY 1"
        owners = [owner for (owner,) in connection.execute(statement, [[thing.oid for thing in tables]])]
        made = f" Made by {', '.join(f'“{owner}”' for owner in owners[:_SHOWN])}."
        parts.append(mending(tables[0].schema, tables[0].name, owners[0]))
    if not parts:
        return ""
    more = " and so on" if len(tables) > 1 or len(schemas) > _SHOWN else ""
    return f"{made} The SQL is: {' '.join(parts)}{more}"


def _refuse_what_was_not_given(found: Found, target: Target, scope: Scope) -> None:
    if missing := [thing for thing in found.things if thing.missing]:
        raise Refused(
            f"The server took the GRANT of {', '.join(missing[0].missing)} on {_named(missing)} in the database "
            f"“{scope.database}”, but the right is not there. Look at who owns it and run the bootstrap SQL again."
        )
    if surplus := [thing for thing in found.things if thing.surplus]:
        raise Refused(
            f"Somebody else than {names.MASKER} has given {', '.join(surplus[0].surplus)} on {_named(surplus)} to the "
            f"role {names.scope_role_name(scope)}: take it away."
        )
    if stale := found.stale(target, scope):
        listed = ", ".join(plan.shown.view for plan in stale[:_SHOWN])
        raise Refused(f"The server took the text of {listed}, but the view is not there as it was made.")


def _role_statements(
    connection: Connection, target: Target, scope: Scope, *, seen: Look, maker: str
) -> list[sql.Composable]:
    """What is left to do until scope role and maker are there; nothing, as a rule."""
    role = names.scope_role_name(scope)
    found: list[sql.Composable] = []
    if not seen.scope:
        found.append(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))
        found.append(roles.mark(role, comment(target, scope)))
    if makers_apply(connection) and not seen.maker:
        found += roles.new_maker(maker)
    if makers_apply(connection) and not seen.maker_may_grant_scope:
        grant = sql.SQL("GRANT {} TO {} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE")
        found.append(grant.format(sql.Identifier(role), sql.Identifier(maker)))
    return found


def _changes(scope: Scope, things: list[Thing]) -> list[sql.Composed]:
    """GRANT of what is missing, REVOKE of what is too much; one for all things that are alike."""
    role = sql.Identifier(names.scope_role_name(scope))
    grants = [sql.SQL("GRANT {} TO {}").format(what, role) for what in _alike(things, lambda thing: thing.missing)]
    revokes = [sql.SQL("REVOKE {} FROM {}").format(what, role) for what in _alike(things, lambda thing: thing.surplus)]
    return grants + revokes


def _alike(things: list[Thing], rights_of: Callable[[Thing], list[str]]) -> Iterator[sql.Composed]:
    """`SELECT ON TABLE a, b`, `INSERT (x, y), UPDATE (x) ON TABLE c`."""
    wholes: dict[tuple[str, tuple[str, ...]], list[sql.Identifier]] = {}
    columns: dict[tuple[str, str], dict[str, list[sql.Identifier]]] = {}
    for thing in things:
        if not (rights := rights_of(thing)):
            continue
        if thing.kind == "column":
            for right in rights:
                by_right = columns.setdefault((thing.schema, thing.name), {})
                by_right.setdefault(right, []).append(sql.Identifier(thing.column))
        else:
            wholes.setdefault((thing.kind, tuple(rights)), []).append(thing.identifier)
    for (kind, given), alike in wholes.items():
        listed = sql.SQL(", ").join(map(_right, given))
        yield sql.SQL("{} ON {} {}").format(listed, _CLASSES[kind], sql.SQL(", ").join(alike))
    for view, by_right in columns.items():
        parts = [
            sql.SQL("{} ({})").format(_right(right), sql.SQL(", ").join(which)) for right, which in by_right.items()
        ]
        yield sql.SQL("{} ON TABLE {}").format(sql.SQL(", ").join(parts), sql.Identifier(*view))


def _right(word: str) -> sql.SQL:
    return _RIGHTS[word]


def _named(things: list[Thing]) -> str:
    shown = ", ".join(
        names.quoted(TableName(thing.schema, thing.name)) if thing.schema else f"the {thing.kind} “{thing.name}”"
        for thing in things[:_SHOWN]
    )
    return shown + (f" and {len(things) - _SHOWN} more" if len(things) > _SHOWN else "")
