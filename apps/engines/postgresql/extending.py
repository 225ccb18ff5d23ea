"""Letting an open login live longer. Its sessions notice nothing."""

from datetime import datetime, timedelta

import psycopg
from psycopg import sql

from apps.engines.base import Refused, Target
from apps.engines.postgresql import logins, names, roles
from apps.engines.postgresql.connect import Connection, batch, session
from apps.engines.postgresql.errors import retried
from apps.engines.postgresql.queries import query


def extend_login(target: Target, login: str, reference: str, until: datetime) -> datetime:
    """As the contract says."""
    names.checked_login(login)
    comment = logins.comment(target, login, names.checked_word(reference, what="request's id"))
    return retried(lambda: _extend(target, login, comment, until))


def _extend(target: Target, login: str, comment: str, until: datetime) -> datetime:
    with session(target, doing=f"extending {login}") as connection:
        # Before the lock, which is a comment of ours: on another portal's login it must not be left.
        standing_until(connection, login, comment)
        locking = [*roles.become_maker(connection, login), roles.mark(login, comment)]
        with connection.transaction():
            try:
                batch(connection, locking)
            except psycopg.errors.UndefinedObject as error:
                raise Refused(f"The login {login} was removed while it was being extended.") from error
            if standing_until(connection, login, comment, until) < until:
                later = sql.SQL("ALTER ROLE {} VALID UNTIL {}")
                connection.execute(later.format(sql.Identifier(login), sql.Literal(until.isoformat())))
            return standing_until(connection, login, comment)


def standing_until(connection: Connection, login: str, comment: str, until: datetime | None = None) -> datetime:
    """Until when the login lives. Refused where that is not for this request of this portal to change."""
    row = connection.execute(query("login"), {"login": login}).fetchone()
    if row is None:
        raise Refused(f"The login {login} is not on the server any more, so it cannot be extended.")
    standing = logins.Standing(*row)
    if standing.comment != comment:
        raise Refused(f"The login {login} is there and is not this request's of this portal; it was not touched.")
    if not standing.opened or standing.ended or standing.until is None:
        raise Refused(f"The login {login} is not open any more, and what has ended is not opened again.")
    if until is not None and until > standing.now + timedelta(seconds=logins.LONGEST):
        raise Refused(f"A login lives for a year at most, and {until:%Y-%m-%d} is later.")
    return standing.until
