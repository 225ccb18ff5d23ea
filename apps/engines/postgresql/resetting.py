"""Setting the password of an open login again, which its holder may have changed (field notes R12)."""

from psycopg import sql

from apps.engines.base import Target
from apps.engines.postgresql import logins, names, roles, scram
from apps.engines.postgresql.connect import batch, session
from apps.engines.postgresql.errors import retried
from apps.engines.postgresql.extending import standing_until


def reset_password(target: Target, login: str, reference: str, verifier: str) -> None:
    """As the contract says."""
    names.checked_login(login)
    scram.checked(verifier)
    comment = logins.comment(target, login, names.checked_word(reference, what="request's id"))
    retried(lambda: _reset(target, login, comment, verifier))


def _reset(target: Target, login: str, comment: str, verifier: str) -> None:
    with session(target, doing=f"setting the password of {login} again") as connection:
        standing_until(connection, login, comment)
        statement = sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(login), sql.Literal(verifier))
        with connection.transaction():
            batch(connection, [*roles.become_maker(connection, login), roles.mark(login, comment)])
            # Looked at under the lock: what has begun to end gets no password back.
            standing_until(connection, login, comment)
            connection.execute(statement)
