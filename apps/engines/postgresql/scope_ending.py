"""Unmaking scope roles that no login needs any more, and their views."""

from collections.abc import Iterable
from itertools import groupby

import psycopg
from psycopg import sql

from apps.engines.base import Target
from apps.engines.postgresql import names, roles
from apps.engines.postgresql.connect import Connection, batch, makers_apply, session
from apps.engines.postgresql.errors import retried
from apps.engines.postgresql.queries import query


def drop_scopes(target: Target, pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Drop the scope roles that no login is a member of; returns those that are not there any more."""
    databases = {names.checked_scope_role(role): database for role, database in pairs}
    with session(target, doing="looking for unused scope roles") as connection:
        there = {name for (name,) in connection.execute("SELECT datname::text FROM pg_database WHERE datallowconn")}
    # With its database everything a scope role held is gone; it can be dropped from anywhere.
    places = sorted((name if name in there else target.maintenance_db, role) for role, name in databases.items())
    gone: list[str] = []
    for database, group in groupby(places, key=lambda place: place[0]):
        gone += _drop_in(target, database, [role for _, role in group])
    return gone


def _drop_in(target: Target, database: str, scope_roles: list[str]) -> list[str]:
    def attempt() -> list[str]:
        with session(target, database, doing="dropping unused scope roles") as connection:
            roles.make_lock(connection)
            return [role for role in scope_roles if _dropped(connection, target, role)]

    return retried(attempt)


def _dropped(connection: Connection, target: Target, role: str) -> bool:
    try:
        with connection.transaction():
            roles.take_turn(connection, target.portal_id)
            comment, members = _use(connection, role)
            if members is None:  # the role is gone; what was made for it goes as well
                batch(connection, _dropping_views(connection, target, role))
                return True
            if comment is None or not names.is_ours(target.portal_id, comment):
                return False
            # The comment locks the role: whoever was making a login its member has committed, or waits and fails.
            connection.execute(roles.mark(role, comment))
            if _use(connection, role)[1]:
                return False
            batch(connection, _dropping(connection, role, _dropping_views(connection, target, role)))
    except psycopg.errors.DependentObjectsStillExist:
        return False  # others' grants name it; without members it gives access to nobody
    return True


def _use(connection: Connection, role: str) -> tuple[str | None, int | None]:
    """Its comment and its number of members; no number if there is no such role."""
    row = connection.execute(query("scope_use"), {"scope_role": role}).fetchone()
    return (row[0], row[1]) if row else (None, None)


def _dropping_views(connection: Connection, target: Target, role: str) -> list[sql.Composable]:
    """Known by their comments; some may be gone, with the tables that they showed. CASCADE: what others have built on
    them must not keep them.
    """
    mark = names.view_schema_comment(target.portal_id, role, "")
    statement = """
        SELECT nspname::text FROM pg_namespace
        WHERE pg_get_userbyid(nspowner) = %s AND starts_with(obj_description(oid, 'pg_namespace'), %s) ORDER BY 1
    """
    schemas = [sql.Identifier(name) for (name,) in connection.execute(statement, [names.MASKER, mark])]
    drop = [sql.SQL("DROP SCHEMA {} CASCADE").format(sql.SQL(", ").join(schemas))] if schemas else []
    return [roles.become(names.MASKER), *drop]


def _dropping(connection: Connection, role: str, dropping_views: list[sql.Composable]) -> list[sql.Composable]:
    """As the masker: rights can be taken back only by who gave them, and a superuser's DROP OWNED leaves them."""
    scope, masker = sql.Identifier(role), sql.Identifier(names.MASKER)
    options = sql.SQL(" WITH INHERIT TRUE, SET FALSE" if makers_apply(connection) else "")
    return [
        sql.SQL("GRANT {} TO {}{}").format(scope, masker, options),
        *dropping_views,
        sql.SQL("DROP OWNED BY {}").format(scope),
        sql.SQL("SET LOCAL ROLE NONE"),
        sql.SQL("DROP ROLE {}").format(scope),
    ]
