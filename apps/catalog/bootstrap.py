"""The SQL that a server's administrator runs once with psql. It holds a verifier, never a password."""

from django.conf import settings

from apps.catalog.models import Server
from apps.catalog.targets import engine_for
from apps.core.errors import Invalid, PortalError
from apps.engines.base import EngineError
from apps.engines.postgresql import scram
from apps.engines.postgresql.bootstrap import MANAGER


def bootstrap_sql(*, server: Server, secret: str) -> str:
    """The SQL that makes the portal's roles on `server`, with `secret` as the manager's password."""
    return print_bootstrap(server, verifier_of(secret))


def print_bootstrap(server: Server, verifier: str) -> str:
    """The same with a verifier that is known already. It opens all schemas that are there when it runs."""
    if not settings.PORTAL_ID:
        raise PortalError("JITPORTAL_PORTAL_ID is not set: logins could not be told from another portal's.")
    if server.manager != MANAGER:
        raise Invalid(
            f"{server.name} is set to use {server.manager}, but the SQL would make {MANAGER}.", field="manager"
        )
    databases = list(server.databases.filter(is_active=True).order_by("datname").values_list("datname", flat=True))
    if not databases:
        raise Invalid(f"{server.name} has no database here yet: add one, so that the SQL knows what to open.")
    try:
        return engine_for(server).bootstrap_sql(
            databases=databases, schemas={}, verifier=verifier, portal_id=settings.PORTAL_ID
        )
    except EngineError as error:
        raise Invalid(error.sentence) from error


def verifier_of(secret: str) -> str:
    """What stands for `secret` on a server."""
    try:
        return scram.verifier(secret)
    except EngineError as error:
        raise Invalid(error.sentence, field="secret") from error
