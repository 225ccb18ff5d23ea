"""The holder has changed the login's password on the server, and wants the one back that the portal shows (R12).

The wish is a time on the request's row, as the web may not write grants; a worker sets the same password again.
"""

import logging
from typing import Final

from django.db.models import QuerySet

from apps.accounts.models import User
from apps.audit.actions import Action
from apps.core import clock
from apps.core.nudge import nudge
from apps.core.verbs import verb
from apps.engines.base import EngineError, Refused
from apps.engines.postgresql import scram
from apps.grants import circuit
from apps.grants.circuit import Patience
from apps.grants.issuing import password_of
from apps.grants.models import Grant
from apps.grants.record import WORKER, record
from apps.grants.states import GrantStatus
from apps.requests.models import AccessRequest

log = logging.getLogger(__name__)

AGAIN: Final = 5.0  # seconds between tries


def want(grant: Grant, actor: User, address: str) -> None:
    """Within a verb, of one's own live grant, locked."""
    now = clock.now()
    AccessRequest.objects.filter(pk=grant.request_id).update(password_reset_wanted_at=now)
    texts = {"person": actor.name} | ({"address": address} if address else {})
    record(Action.CREDENTIAL_RESET_WANTED, grant, actor=actor.audit_id, disclosed=texts)
    nudge()


def wanted() -> QuerySet[Grant]:
    return Grant.objects.filter(status=GrantStatus.ACTIVE, request__password_reset_wanted_at__isnull=False)


def reset_wanted(*, server_id: str) -> None:
    """Those of one server. To set the same password twice does no harm."""
    for grant_id in list(wanted().filter(server=server_id).values_list("pk", flat=True)):
        grant = _begin(grant_id=grant_id)
        if grant is None:
            continue
        try:
            with circuit.through(grant.server, patience=Patience.ISSUING) as (engine, target):
                engine.reset_password(target, grant.login, grant.request_id, scram.verifier(password_of(grant)))
        except Refused as error:
            _end(grant_id=grant_id, problem=error.sentence)
        except EngineError as error:
            log.warning("The password of %s could not be set again yet: %s", grant.audit_id, error.sentence)
        else:
            _end(grant_id=grant_id)


@verb
def _begin(*, grant_id: str) -> Grant | None:
    """With the intent in the record; None where it is over meanwhile."""
    grants = Grant.objects.select_for_update(no_key=True, of=("self",)).select_related("server")
    grant = grants.get(pk=grant_id)
    if not wanted().filter(pk=grant_id).exists() or grant.expires_at is None or grant.expires_at <= clock.now():
        return None
    record(Action.CREDENTIAL_RESETTING, grant, actor=WORKER)
    return grant


@verb
def _end(*, grant_id: str, problem: str = "") -> None:
    grant = Grant.objects.select_for_update(no_key=True).get(pk=grant_id)
    AccessRequest.objects.filter(pk=grant.request_id).update(password_reset_wanted_at=None)
    record(
        Action.CREDENTIAL_RESET,
        grant,
        actor=WORKER,
        done=not problem,
        disclosed={"problem": problem} if problem else {},
    )
    nudge()
