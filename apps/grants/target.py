"""The engine and the way to a server, for workers: whatever stands in the way is one kind of error."""

from apps.catalog.models import Server
from apps.catalog.targets import engine_for, target_for
from apps.core.errors import PortalError
from apps.core.sealed import CannotOpen
from apps.engines.base import Engine, Target, TargetUnavailable
from apps.grants import continuity


def reach(server: Server) -> tuple[Engine, Target]:
    """To act there.

    Raises TargetUnavailable where a person must first give the portal what it needs, and OnlyLooking.
    """
    engine, target = reach_to_look(server)
    continuity.check(server, engine, target)
    return engine, target


def reach_to_look(server: Server) -> tuple[Engine, Target]:
    """For what changes nothing there. Raises TargetUnavailable."""
    try:
        return engine_for(server), target_for(server)
    except PortalError as refusal:
        raise TargetUnavailable(refusal.sentence) from refusal
    except CannotOpen as error:
        sentence = f"The manager's password for {server} does not open with this worker's key: set it again."
        raise TargetUnavailable(sentence) from error
