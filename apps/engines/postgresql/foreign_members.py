"""Roles that somebody made members of the portal's own, so that they have the rights of a grant without being one."""

from collections.abc import Sequence

import psycopg
from psycopg import sql

from apps.engines.base import Expelled, ForeignMember, Target
from apps.engines.postgresql import names, roles
from apps.engines.postgresql.connect import Connection, batch, makers_apply, session
from apps.engines.postgresql.errors import retried
from apps.engines.postgresql.queries import query


def read(connection: Connection, target: Target) -> list[ForeignMember]:
    """All on the server, those first that the portal itself has made members."""
    parameters = {
        "own": [names.MASKER, *names.makers()],
        "logins": names.comment(target.portal_id, "login="),
        "scopes": names.comment(target.portal_id, "scope: "),
        "login": names.MARKED_LOGIN,
        "scope": names.SCOPE_ROLE,
    }
    rows = connection.execute(query("foreign_members"), parameters).fetchall()
    return [ForeignMember(role, of, tuple(givers), *rest) for role, of, givers, *rest in rows]


def expel(target: Target, members: Sequence[ForeignMember]) -> list[Expelled]:
    """As the contract says. Looked at anew before and after: it may be a login whose mark was put back."""
    return retried(lambda: _expel(target, members))


def _expel(target: Target, members: Sequence[ForeignMember]) -> list[Expelled]:
    wanted = {(one.role, one.of) for one in members}
    with session(target, doing="taking rights from roles that are not the portal's") as connection:
        for one in read(connection, target):
            if (one.role, one.of) in wanted:
                _revoke(connection, one)
        left = {(one.role, one.of): _mending(connection, one) for one in read(connection, target)}
    return [Expelled(one, left.get((one.role, one.of), "")) for one in members]


def _mending(connection: Connection, member: ForeignMember) -> str:
    return " ".join(f"{statement.as_string(None)};" for _, statement in _revoking(connection, member))


def _revoke(connection: Connection, member: ForeignMember) -> None:
    """What was given by a role that we cannot act as stays: the look afterwards tells."""
    for giver, statement in _revoking(connection, member):
        # The manager does not inherit from its makers: it has to be the one that gave it.
        acting = [roles.become(giver)] if giver in names.makers() and makers_apply(connection) else []
        try:
            batch(connection, [*acting, statement])
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedObject):
            continue


def _revoking(connection: Connection, member: ForeignMember) -> list[tuple[str, sql.Composed]]:
    """Who gave it, and what takes it back. CASCADE: what the member has passed on goes as well."""
    revoke = sql.SQL("REVOKE {} FROM {}").format(sql.Identifier(member.of), sql.Identifier(member.role))
    if not makers_apply(connection):  # one membership, whoever gave it
        return [("", revoke + sql.SQL(" CASCADE"))]
    by = sql.SQL(" GRANTED BY {} CASCADE")
    return [(giver, revoke + by.format(sql.Identifier(giver))) for giver in member.given_by]
