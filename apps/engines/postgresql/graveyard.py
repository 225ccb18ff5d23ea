"""What an ended login has left behind and others need: it goes to a role of its own that nobody can become.

Never to a role that is shared: a function that runs as its owner could then reach what other logins have left. The
graveyard of a login has no right at all but to what it owns, so that nothing runs with more rights than before.
"""

from collections.abc import Sequence

import psycopg
from psycopg import sql

from apps.engines.base import LeftObject, Refused, Target
from apps.engines.postgresql import names, roles
from apps.engines.postgresql.connect import Connection, batch, makers_apply, session

# Kinds that pg_identify_object names as DROP does, and gives an identity that DROP takes.
_DROPPED = frozenset(
    {
        *("table", "view", "materialized view", "foreign table", "sequence", "type", "schema", "collation"),
        *("function", "procedure", "aggregate", "operator", "operator class", "operator family", "conversion"),
        *("text search configuration", "text search dictionary"),
    }
)
_LOOKED_THROUGH = 100  # objects of one login in one database that are looked at one by one
_OWNED = """
SELECT i.type, i.identity, d.objid FROM pg_shdepend d, pg_identify_object(d.classid, d.objid, 0) i
WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = %s::text::regrole AND d.deptype = 'o'
  AND d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY d.objid DESC
"""
_DESCRIBED = """
SELECT pg_describe_object(d.classid, d.objid, 0) FROM pg_shdepend d
WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = %s AND d.deptype = 'o'
  AND d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY 1
"""
_THERE = "SELECT rolname::text, oid, shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = ANY (%s::name[])"
_PLACES = """
SELECT DISTINCT b.datname::text FROM pg_shdepend d JOIN pg_database b ON b.oid = d.dbid
WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = %s ORDER BY 1
"""


def bury(there: Connection, target: Target, login: str, role: sql.Identifier) -> None:
    """In one database: all that `role` owns to the graveyard of `login`, then away with what nobody depends on."""
    graveyard = names.graveyard_name(login)
    _make(there, target, login, graveyard)
    grave = sql.Identifier(graveyard)
    # Before 16 the manager is no member of what it creates.
    join = sql.SQL("GRANT {}, {} TO CURRENT_USER").format(role, grave)
    statements = [
        *roles.become_maker(there, login),
        *([] if makers_apply(there) else [join]),
        sql.SQL("REASSIGN OWNED BY {} TO {}").format(role, grave),
        sql.SQL("DROP OWNED BY {}").format(role),
    ]
    batch(there, statements)
    _drop_what_nobody_needs(there, login, graveyard)


def left(connection: Connection, target: Target, logins: Sequence[str]) -> dict[str, tuple[LeftObject, ...]]:
    """By login, what lies in its graveyard; an empty graveyard goes."""
    by_name = {names.graveyard_name(login): login for login in logins}
    found: dict[str, tuple[LeftObject, ...]] = {}
    for name, oid, comment in connection.execute(_THERE, [list(by_name)]).fetchall():
        if not names.is_ours(target.portal_id, comment):
            continue
        objects = _contents(connection, target, oid)
        if objects:
            found[by_name[name]] = objects
        else:
            _unmake(connection, by_name[name], name)
    return found


def _contents(connection: Connection, target: Target, oid: int) -> tuple[LeftObject, ...]:
    objects: list[LeftObject] = []
    for (database,) in connection.execute(_PLACES, [oid]).fetchall():
        with session(target, database, doing="reading what a login has left behind") as there:
            objects += [LeftObject(database, text) for (text,) in there.execute(_DESCRIBED, [oid])]
    return tuple(objects)


def _make(there: Connection, target: Target, login: str, graveyard: str) -> None:
    """Its comment says whose it is and is never taken for a login's."""
    comment = names.comment(target.portal_id, f"graveyard of {login}: owns what it has left behind and others need")
    # The maker has to inherit from it and to be able to become it, to give it anything.
    both = [sql.SQL("SET LOCAL createrole_self_grant = 'set, inherit'")] if makers_apply(there) else []
    create = sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(graveyard))
    try:
        batch(there, [*both, *roles.become_maker(there, login), create, roles.mark(graveyard, comment)])
    except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
        rows = there.execute(_THERE, [[graveyard]]).fetchall()
        if not all(names.is_ours(target.portal_id, found) for _, _, found in rows):
            raise Refused(f"The role {graveyard} is there and is not this portal's: rename or drop it.") from None


def _unmake(connection: Connection, login: str, graveyard: str) -> None:
    drop = sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(graveyard))
    try:
        batch(connection, [*roles.become_maker(connection, login), drop])
    except psycopg.errors.DependentObjectsStillExist:
        return  # others' rights name it; it owns nothing


def _drop_what_nobody_needs(there: Connection, login: str, graveyard: str) -> None:
    """One by one, as often as the last round has made a difference."""
    owned = there.execute(_OWNED, [graveyard]).fetchall()
    if len(owned) > _LOOKED_THROUGH:
        return
    while owned:
        kept = [row for row in owned if not _dropped(there, login, *row)]
        if len(kept) == len(owned):
            return
        owned = there.execute(_OWNED, [graveyard]).fetchall()


def _dropped(there: Connection, login: str, kind: str, identity: str, oid: int) -> bool:
    if kind == "large object":
        drop = sql.SQL("SELECT lo_unlink({})").format(sql.Literal(oid))
    elif kind in _DROPPED:
        drop = sql.SQL("DROP {} {}").format(_verbatim(kind.upper()), _verbatim(identity))
    else:
        return False
    try:
        batch(there, [*roles.become_maker(there, login), drop])
    except psycopg.Error:
        if there.broken:
            raise
        return False
    return True


def _verbatim(text: str) -> sql.SQL:
    """As the server has quoted it."""
    return sql.SQL(text)
