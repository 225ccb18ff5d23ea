"""Who calls a verb: a person, or somebody with a shell on the server."""

from typing import Final, Literal, TypeAlias

from apps.accounts.models import User
from apps.accounts.roles import is_dba
from apps.core.errors import NotAllowed

Actor: TypeAlias = User | Literal["operator"]
OPERATOR: Final = "operator"  # a management command: whoever runs it holds the portal's keys already


def actor_id(actor: Actor) -> str:
    """How the record names them."""
    return actor.audit_id if isinstance(actor, User) else actor


def require_dba(actor: Actor, *, what: str) -> None:
    """Raise NotAllowed unless `actor` administers databases. `what` ends the sentence: 'add a server'."""
    if isinstance(actor, User):
        if not is_dba(actor):
            raise NotAllowed(f"Only a database administrator may {what}.")
    elif actor != OPERATOR:
        raise NotAllowed(f"‘{actor}’ is nobody who may {what}.")
