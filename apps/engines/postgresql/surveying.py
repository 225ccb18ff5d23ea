"""What of this portal's is on a server, and the word that it leaves there for itself."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from apps.engines.base import EngineError, FoundLogin, Refused, Survey, Target
from apps.engines.postgresql import foreign_members, names, roles, scopes
from apps.engines.postgresql.connect import Connection, session
from apps.engines.postgresql.errors import retried
from apps.engines.postgresql.queries import query

_REMEMBERED = re.compile(r"memory: (\S+)")
# Where the masker owns any schema; the others hold no view of ours.
_VIEWING = """
    SELECT DISTINCT b.datname::text, b.datallowconn FROM pg_shdepend d
    JOIN pg_roles m ON m.oid = d.refobjid JOIN pg_database b ON b.oid = d.dbid
    WHERE m.rolname = %s AND d.refclassid = 'pg_authid'::regclass AND d.deptype = 'o'
      AND d.classid = 'pg_namespace'::regclass
    ORDER BY 1
"""
_SCHEMAS = """
    SELECT n.nspname::text, d.description FROM pg_namespace n
    JOIN pg_description d ON d.classoid = 'pg_namespace'::regclass AND d.objoid = n.oid
    WHERE pg_get_userbyid(n.nspowner) = %s AND starts_with(d.description, %s) ORDER BY 1
"""


class _Role(NamedTuple):
    """A row of sql/survey.sql, of which there may be thousands."""

    role: str
    comment: str
    is_login: bool
    can_login: bool
    valid_until: datetime | None
    sessions: int
    home: str | None


def survey(target: Target, known: str = "") -> Survey:
    """As the contract says: one session for the whole server, and one for each database with views of ours."""
    with session(target, doing="looking for what is the portal's there") as connection:
        digest, found = _roles(connection, target, known)
        members = foreign_members.read(connection, target)
        viewing = connection.execute(_VIEWING, [names.MASKER]).fetchall()
        there = {name for (name,) in connection.execute("SELECT datname::text FROM pg_database")}
        mark = _word(target, _comment(connection))
        checked_at: datetime = connection.execute("SELECT clock_timestamp()").fetchall()[0][0]
    schemas: list[tuple[str, str, str]] = []
    unseen: list[str] = []
    for database, lets_in in viewing:
        try:
            if not lets_in:
                raise Refused(f"The database “{database}” lets nobody connect, and holds views of the portal's.")
            schemas += _view_schemas(target, database)
        except EngineError as error:  # that one database is broken must not hide a login
            unseen.append(error.sentence)
    return Survey(
        checked_at=checked_at,
        logins=None if digest == known else tuple(_logins(target, found)),
        digest=digest,
        scope_roles=tuple(_scope_roles(target, found, there)),
        view_schemas=tuple(schemas),
        mark=mark,
        unseen=tuple(unseen),
        members=tuple(members),
    )


def remember(target: Target, mark: str) -> None:
    """As the contract says. Nobody waits for it, and it waits for nobody but another one of its kind."""
    comment = names.comment(target.portal_id, f"memory: {names.checked_remembered(mark)}")
    retried(lambda: _remember(target, comment))


def recall(target: Target) -> str:
    with session(target, doing="reading what the portal left there") as connection:
        return _word(target, _comment(connection))


def _remember(target: Target, comment: str) -> None:
    with session(target, doing="leaving a word for the portal") as connection:
        before = _comment(connection)
        if before is None:
            roles.make_plain(connection, names.MEMORY)
        elif before and not names.is_ours(target.portal_id, before):
            raise Refused(f"The role {names.MEMORY} on the server is another portal's; it was not touched.")
        connection.execute(roles.mark(names.MEMORY, comment))


def _comment(connection: Connection) -> str | None:
    """Of the role that the word stands on; None where there is no such role."""
    statement = "SELECT coalesce(shobj_description(oid, 'pg_authid'), '') FROM pg_roles WHERE rolname = %s"
    row = connection.execute(statement, [names.MEMORY]).fetchone()
    return row[0] if row else None


def _word(target: Target, comment: str | None) -> str:
    if not comment or not names.is_ours(target.portal_id, comment):
        return ""
    found = _REMEMBERED.fullmatch(names.without_mark(target.portal_id, comment))
    return found[1] if found else ""


def _roles(connection: Connection, target: Target, known: str) -> tuple[str, list[_Role]]:
    """The digest, and the roles: without logins where it is `known`."""
    parameters = {
        what: names.comment(target.portal_id, word) for what, word in (("logins", "login="), ("scopes", "scope: "))
    }
    (digest, *first), *more = connection.execute(query("survey"), {**parameters, "known": known}).fetchall()
    found = [first, *(row for _, *row in more)]
    return digest, [_Role(*row) for row in found if row[0] is not None]


def _logins(target: Target, found: list[_Role]) -> Iterator[FoundLogin]:
    for one in found:
        login = names.login_of(target.portal_id, one.comment)
        if one.is_login and login:
            yield FoundLogin(
                login=login,
                role=one.role,
                comment=one.comment,
                can_login=one.can_login,
                valid_until=one.valid_until,
                sessions=one.sessions,
            )


def _scope_roles(target: Target, found: list[_Role], there: set[str]) -> Iterator[tuple[str, str]]:
    for one in found:
        if not one.is_login and names.is_scope_role(one.role):
            database = scopes.database_of(target.portal_id, one.comment)
            yield one.role, database if database in there else one.home or database


def _view_schemas(target: Target, database: str) -> list[tuple[str, str, str]]:
    with session(target, database, doing=f"looking for views of the portal's in “{database}”") as connection:
        rows = connection.execute(_SCHEMAS, [names.MASKER, names.comment(target.portal_id, "scope=")]).fetchall()
    found = [(names.scope_role_of(target.portal_id, comment), schema) for schema, comment in rows]
    return [(role, database, schema) for role, schema in found if role]
