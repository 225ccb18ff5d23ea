"""New passwords for managers, and secrets sealed anew after a new key. Run where a worker runs, by an operator.

A manager's new password is kept, sealed, before the server hears of it, and takes the old one's place when the server
has let the manager in with it. Broken off anywhere, the same call goes on: what the server says decides.
"""

import secrets
from dataclasses import replace

from apps.accounts.actors import Actor, actor_id, require_dba
from apps.audit import services as audit
from apps.audit.actions import Action
from apps.catalog.bootstrap import verifier_of
from apps.catalog.models import Server
from apps.catalog.services import locked_server
from apps.catalog.targets import engine_for, open_next, seal_secret, target_for
from apps.core.errors import PortalError
from apps.core.nudge import nudge
from apps.core.verbs import verb
from apps.engines.base import EngineError


def rotate_manager_password(*, actor: Actor, server_id: str) -> None:
    """Give the manager of a server another password, made here and shown to nobody.

    Raises NotFound, NotAllowed, Conflict, and PortalError where the server could not be asked: then either password may
    hold, nothing is lost, and the same call finds out.
    """
    require_dba(actor, what="rotate the password of a server's manager")
    server = _begun(actor=actor, server_id=server_id)
    engine, old = engine_for(server), target_for(server)
    new = replace(old, password=open_next(server))
    try:
        is_let_in = engine.lets_in(new)
        if not is_let_in:
            engine.set_own_password(old, verifier_of(new.password))
            is_let_in = engine.lets_in(new)
    except EngineError as error:
        raise PortalError(f"{error.sentence} Run this again: it goes on where it stopped.") from error
    if not is_let_in:
        raise PortalError(f"{server.name} does not let the manager in with the new password; the old one is kept.")
    _done(actor=actor, server_id=server.pk, verifier=verifier_of(new.password))


@verb
def reseal_secrets(*, actor: Actor) -> int:
    """Seal the managers' passwords with the present key; returns how many. Raises PortalError where none opens one."""
    require_dba(actor, what="seal secrets again")
    servers = Server.objects.select_for_update(no_key=True).exclude(manager_secret=None)
    for server in servers:
        server.manager_secret = seal_secret(server, target_for(server).password)
        if server.next_manager_secret is not None:
            server.next_manager_secret = seal_secret(server, open_next(server))
        server.save(update_fields=["manager_secret", "next_manager_secret"])
    return len(servers)


@verb
def _begun(*, actor: Actor, server_id: str) -> Server:
    """The intent, and the password that is going to be."""
    server = locked_server(server_id)
    target_for(server)  # its own sentence where there is no password yet
    if server.next_manager_secret is None:
        server.next_manager_secret = seal_secret(server, secrets.token_urlsafe(32))
        server.save(update_fields=["next_manager_secret"])
    audit.record(Action.MANAGER_PASSWORD_CHANGING, actor=actor_id(actor), subject=server.audit_id)
    return server


@verb
def _done(*, actor: Actor, server_id: str, verifier: str) -> None:
    server = Server.objects.select_for_update(no_key=True).get(pk=server_id)
    if server.next_manager_secret is None:
        return  # somebody else's call was done first: it was the same password
    server.manager_secret, server.next_manager_secret = server.next_manager_secret, None
    server.manager_verifier = verifier
    server.save(update_fields=["manager_secret", "next_manager_secret", "manager_verifier"])
    audit.record(Action.MANAGER_PASSWORD_CHANGED, actor=actor_id(actor), subject=server.audit_id)
    nudge()
