"""Acting as another role, and the lock that keeps two managers from changing the same rights at once."""

import psycopg
from psycopg import sql

from apps.engines.postgresql import names
from apps.engines.postgresql.connect import Connection, makers_apply


def become(role: str) -> sql.Composed:
    """For the rest of the transaction."""
    return sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role))


def become_maker(connection: Connection, login: str) -> list[sql.Composable]:
    """What comes before a statement on `login`: on 16+ only its maker may alter, cut and drop it."""
    return [become(names.maker_name(login))] if makers_apply(connection) else []


def mark(role: str, comment: str) -> sql.Composed:
    """Comment on a role. This also locks it until the transaction ends, against others who do the same and DROP."""
    return sql.SQL("COMMENT ON ROLE {} IS {}").format(sql.Identifier(role), sql.Literal(comment))


def take_turn(connection: Connection, portal_id: str) -> None:
    """Until the transaction ends, no other manager session changes rights on this server.

    Not an advisory lock: a login could hold one for as long as it likes (field notes S10). Commenting on a role
    takes a lock that needs ADMIN on it. It is the whole cluster's, as roles are (R15).
    """
    connection.execute(mark(names.LOCK, names.comment(portal_id, "lock: has no rights, is commented on to take turns")))


def make_lock(connection: Connection) -> None:
    """Once per server, on its own, so that it is there to be locked."""
    make_plain(connection, names.LOCK)


def make_plain(connection: Connection, role: str) -> None:
    """A role without any right, unless it is there."""
    try:
        connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))
    except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
        return


def new_maker(maker: str) -> list[sql.Composable]:
    """The manager may become it and does not inherit from it."""
    name = sql.Identifier(maker)
    return [
        sql.SQL("CREATE ROLE {} NOLOGIN CREATEROLE").format(name),
        sql.SQL("GRANT {} TO CURRENT_USER WITH SET TRUE, INHERIT FALSE").format(name),
    ]
