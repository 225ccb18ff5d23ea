"""From a row of the catalog to what an engine works with. Opening a manager's secret is for workers only."""

from contextlib import suppress

from django.conf import settings

from apps.catalog.models import Server
from apps.core import sealed
from apps.core.errors import PortalError
from apps.engines.base import Engine, Target, Tls
from apps.engines.postgresql import PostgresEngine

_ENGINES: dict[str, Engine] = {Server.Kind.POSTGRESQL: PostgresEngine()}


def engine_for(server: Server) -> Engine:
    return _ENGINES[server.kind]


def target_for(server: Server) -> Target:
    """How the manager reaches this server. Raises PortalError where its secret is missing or does not open."""
    if server.manager_secret is None:
        raise PortalError(
            f"The portal has no password for its manager on {server.name}: make the bootstrap SQL and run it there."
        )
    if not settings.MANAGER_PRIVATE_KEY:
        raise PortalError("JITPORTAL_MANAGER_PRIVATE_KEY is not set: only a worker opens a server's secret.")
    if not settings.PORTAL_ID:
        raise PortalError("JITPORTAL_PORTAL_ID is not set: logins could not be told from another portal's.")
    return Target(
        host=server.host,
        port=server.port,
        user=server.manager,
        password=_open(server, server.manager_secret),
        maintenance_db=server.maintenance_database,
        tls=Tls(server.tls),
        ca_pem=server.ca_certificate,
        portal_id=settings.PORTAL_ID,
    )


def target_as(server: Server, login: str, password: str) -> Target:
    """How the holder of a grant reaches this server, by its login and nothing more."""
    return Target(
        host=server.host,
        port=server.port,
        user=login,
        password=password,
        maintenance_db=server.maintenance_database,
        tls=Tls(server.tls),
        ca_pem=server.ca_certificate,
        portal_id=settings.PORTAL_ID,
    )


def seal_secret(server: Server, secret: str) -> bytes:
    """Seal the manager's password to the workers, bound to this server at this address."""
    if not settings.MANAGER_PUBLIC_KEY:
        raise PortalError("JITPORTAL_MANAGER_PUBLIC_KEY is not set: no server's secret can be kept.")
    return sealed.seal(secret, public_key=settings.MANAGER_PUBLIC_KEY, bound_to=_binding(server))


def open_next(server: Server) -> str:
    """The manager's password that is going to be. Raises PortalError."""
    return _open(server, server.next_manager_secret)


def _open(server: Server, secret: bytes | memoryview | None) -> str:
    for key in (settings.MANAGER_PRIVATE_KEY, *settings.MANAGER_PRIVATE_KEY_FALLBACKS):
        with suppress(sealed.CannotOpen):
            return sealed.unseal(bytes(secret or b""), private_key=key, bound_to=_binding(server))
    raise PortalError(
        f"The password of the manager on {server.name} does not open: it was sealed to another key "
        "or for another address. Make a new one and run the bootstrap SQL again."
    )


def _binding(server: Server) -> str:
    return f"server:{server.pk}:{server.host}:{server.port}"
