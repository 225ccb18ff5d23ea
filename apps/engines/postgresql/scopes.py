"""Scope roles: all privileges of a grant, held once, whoever shares the scope. Logins are only members."""

from dataclasses import dataclass
from itertools import groupby

from psycopg import sql
from psycopg.rows import class_row

from apps.engines.base import Refused, Scope, TableName, Target
from apps.engines.postgresql import names, roles
from apps.engines.postgresql.connect import Connection, batch, makers_apply
from apps.engines.postgresql.queries import query

_SHOWN = 8


@dataclass(frozen=True)
class Thing:
    """A database, schema, table or sequence of a scope; see sql/scope.sql."""

    kind: str
    schema: str
    name: str
    relkind: str
    oid: int | None
    wanted: list[str]
    ungrantable: list[str]
    missing: list[str]

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.kind, self.schema, self.name)

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name) if self.schema else sql.Identifier(self.name)


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


def ensure(connection: Connection, target: Target, scope: Scope, *, maker: str) -> list[Thing]:
    """The scope role with every right it needs, made if it is new and mended if a right has gone; read back (R10)."""
    role = names.scope_role_name(scope)
    seen = _look(connection, target, role, maker)
    things = _things(connection, scope)
    _refuse_what_cannot_be_given(things, scope.database)
    if not _role_statements(connection, target, scope, seen=seen, maker=maker) and not any(t.missing for t in things):
        return things
    if not seen.lock:
        roles.make_lock(connection)
    with connection.transaction():
        roles.take_turn(connection, target.portal_id)
        seen = _look(connection, target, role, maker)  # again: somebody may have been faster
        if statements := _role_statements(connection, target, scope, seen=seen, maker=maker):
            batch(connection, statements)
        if missing := [thing for thing in _things(connection, scope) if thing.missing]:
            batch(connection, [roles.become(names.MASKER), *_grants(scope, missing)])
        things = _things(connection, scope)
        _refuse_what_was_not_given(things, scope.database)
    return things


def comment(target: Target, scope: Scope) -> str:
    """What stands on a scope role."""
    rights = ", ".join(names.RIGHTS[scope.level])
    return names.comment(target.portal_id, f"scope: {rights} on {len(scope.tables)} tables of {scope.database}")


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


def _things(connection: Connection, scope: Scope) -> list[Thing]:
    parameters = {
        "scope_role": names.scope_role_name(scope),
        "masker": names.MASKER,
        "schemas": [table.schema for table in scope.tables],
        "names": [table.name for table in scope.tables],
        "rights": list(names.RIGHTS[scope.level]),
    }
    with connection.cursor(row_factory=class_row(Thing)) as cursor:
        return cursor.execute(query("scope"), parameters).fetchall()


def _refuse_what_cannot_be_given(things: list[Thing], database: str) -> None:
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
            f"The role {names.MASKER} cannot give {', '.join(ungrantable[0].ungrantable)} on {_named(ungrantable)} "
            f"in the database “{database}”: run the bootstrap SQL again, or grant it WITH GRANT OPTION."
        )


def _refuse_what_was_not_given(things: list[Thing], database: str) -> None:
    if missing := [thing for thing in things if thing.missing]:
        raise Refused(
            f"The server took the GRANT of {', '.join(missing[0].missing)} on {_named(missing)} in the database "
            f"“{database}”, but the right is not there. Look at who owns it and run the bootstrap SQL again."
        )


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


def _grants(scope: Scope, missing: list[Thing]) -> list[sql.Composed]:
    """One statement for each kind of thing; `missing` is sorted by kind."""
    heads = {
        "database": sql.SQL("GRANT CONNECT ON DATABASE "),
        "schema": sql.SQL("GRANT USAGE ON SCHEMA "),
        "sequence": sql.SQL("GRANT SELECT, USAGE ON SEQUENCE "),
        "table": sql.SQL("GRANT {} ON TABLE ").format(sql.SQL(", ").join(map(sql.SQL, names.RIGHTS[scope.level]))),
    }
    to = sql.SQL(" TO {}").format(sql.Identifier(names.scope_role_name(scope)))
    return [
        heads[kind] + sql.SQL(", ").join(thing.identifier for thing in alike) + to
        for kind, alike in groupby(missing, key=lambda thing: thing.kind)
    ]


def _named(things: list[Thing]) -> str:
    shown = ", ".join(str(TableName(thing.schema, thing.name)).removeprefix(".") for thing in things[:_SHOWN])
    return shown + (f" and {len(things) - _SHOWN} more" if len(things) > _SHOWN else "")
