"""The manager's own password: setting it, and whether the server lets it in."""

from psycopg import sql

from apps.engines.base import Target
from apps.engines.postgresql import scram
from apps.engines.postgresql.connect import SignInFailed, session


def set_own_password(target: Target, verifier: str) -> None:
    """As the contract says."""
    scram.checked(verifier)
    with session(target, doing="setting the manager's password") as connection:
        connection.execute(sql.SQL("ALTER ROLE CURRENT_USER PASSWORD {}").format(sql.Literal(verifier)))


def lets_in(target: Target) -> bool:
    """As the contract says."""
    try:
        with session(target, doing="signing in as the manager"):
            return True
    except SignInFailed as error:
        if error.asked_for_password:
            return False
        raise
