"""Taking a server out of the catalog: nobody holds access there any more, and nothing of the portal's is left on it."""

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from apps.accounts.actors import Actor, actor_id, require_dba
from apps.accounts.models import User
from apps.audit import services as audit
from apps.audit.actions import Action
from apps.audit.body import rfc3339
from apps.catalog.models import Server
from apps.core import clock
from apps.core.errors import Conflict, NotFound
from apps.core.nudge import nudge
from apps.core.texts import checked
from apps.core.verbs import verb
from apps.engines.base import EngineError, FoundLogin, Survey, TargetUnavailable
from apps.grants import circuit, continuity
from apps.grants.models import Grant
from apps.grants.reconcile import reconcile
from apps.grants.record import WORKER, record
from apps.grants.scopes import drop_unused_scopes
from apps.grants.states import LIVE, EndCause, GrantStatus
from apps.grants.target import reach_to_look

log = logging.getLogger(__name__)

MAX_REASON: Final = 2_000
_BATCH: Final = 100
_LISTED: Final = 5


@verb
def retire_server(*, actor: Actor, server_id: str, reason: str, does_not_exist: bool = False) -> Server:
    """Have a server taken out of the catalog: from now on nothing is granted there, and a worker cleans it up.

    `does_not_exist`: it is gone for good, so that nothing can be proven there; the record says so.
    Raises NotAllowed, NotFound, Conflict, Invalid.
    """
    require_dba(actor, what="take a server out of the catalog")
    reason = checked(reason, what="The reason", field="reason", at_most=MAX_REASON, required=True)
    server = Server.objects.select_for_update(no_key=True).filter(pk=server_id).first()
    if server is None:
        raise NotFound("There is no such server.")
    if server.retired_at is not None:
        raise Conflict(f"{server} was taken out of the catalog already.")
    if server.retiring_at is not None and server.retire_unseen == does_not_exist:
        raise Conflict(f"{server} is being taken out already. {server.retire_problem}".strip())
    _refuse_while_used(server, does_not_exist=does_not_exist)
    server.retiring_at, server.retiring_by, server.retire_reason = clock.now(), actor_id(actor), reason
    server.retire_unseen, server.retire_problem, server.is_active = does_not_exist, "", False
    server.save()
    person = {"person": actor.name} if isinstance(actor, User) else {}
    audit.record(
        Action.SERVER_CHANGED,
        actor=actor_id(actor),
        subject=server.audit_id,
        facts={"changed": ["retiring_at"], "is_active": False, "does_not_exist": does_not_exist},
        disclosed={"name": server.name, "reason": reason, **person},
    )
    nudge()
    return server


def retire(*, server_id: str) -> None:
    """A worker's part: clean up, read back, and only then let it go. What is left is said, and tried again."""
    server = Server.objects.get(pk=server_id)
    if server.retiring_at is None or server.retired_at is not None:
        return
    if continuity.waits():
        _keep_problem(server_id=server.pk, problem=continuity.OnlyLooking().sentence)
    elif server.retire_unseen:
        _let_go_unseen(server)
    elif server.manager_secret is None and not Grant.objects.filter(server=server).exists():
        _let_go(server_id=server.pk, checked_at=None)  # nothing was ever made there
    else:
        _clean_and_let_go(server)


def _clean_and_let_go(server: Server) -> None:
    try:
        problem, checked_at = _clean(server)
    except EngineError as error:
        problem, checked_at = error.sentence, None
    if problem:
        _keep_problem(server_id=server.pk, problem=problem)
    else:
        _let_go(server_id=server.pk, checked_at=checked_at)


def living_on(server: Server, *, statuses: tuple[GrantStatus, ...] = LIVE) -> int:
    """How many grants somebody has, may soon have, or may still have there."""
    return Grant.objects.filter(server=server, status__in=statuses).count()


def _refuse_while_used(server: Server, *, does_not_exist: bool) -> None:
    """Where a server does not exist, what ends there cannot end otherwise."""
    statuses = (GrantStatus.QUEUED, GrantStatus.ACTIVE) if does_not_exist else LIVE
    if number := living_on(server, statuses=statuses):
        live = "1 grant lives" if number == 1 else f"{number} grants live"
        raise Conflict(f"{live} on {server}: revoke them first, and come back when they have ended.")


def _clean(server: Server) -> tuple[str, datetime]:
    """What is left, as a sentence, and when that was looked at by the target's clock."""
    reconcile(server_id=server.pk)
    drop_unused_scopes(server_id=server.pk)
    with circuit.through(server) as (engine, target):
        survey = engine.survey(target)
    return " ".join(_left(server, survey)), survey.checked_at


def _left(server: Server, survey: Survey) -> Iterator[str]:
    if number := living_on(server):
        yield f"Grants that live there or have not ended yet: {number}."
    kinds = (
        ("Logins", [one.role for one in _told(survey)]),
        ("Scope roles", [role for role, _ in survey.scope_roles]),
        ("View schemas", [f"{schema} in {database}" for _, database, schema in survey.view_schemas]),
    )
    for kind, found in kinds:
        if found:
            more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
            yield f"{kind} of the portal's: {', '.join(found[:_LISTED])}{more}."
    yield from survey.unseen


def _told(survey: Survey) -> Sequence[FoundLogin]:
    if survey.logins is None:  # whoever does not look must not find it clean
        raise AssertionError("The logins were not read.")
    return survey.logins


def _let_go_unseen(server: Server) -> None:
    """Nothing can be proven; but a server that answers does exist, and is not believed to be gone."""
    try:
        engine, target = reach_to_look(server)
        engine.survey(target)
    except EngineError as error:
        if isinstance(error, TargetUnavailable) and not error.answered:
            _give_up_on(server)
            return
        _keep_problem(server_id=server.pk, problem=f"It answers, so it does exist: {error.sentence}", exists=True)
    else:
        _keep_problem(server_id=server.pk, problem="It answers, so it does exist, and is cleaned up.", exists=True)


def _give_up_on(server: Server) -> None:
    while _end_unproven(server_id=server.pk):
        pass
    if living_on(server):
        _keep_problem(server_id=server.pk, problem="A grant there is being worked on; it is tried again.")
    else:
        _let_go(server_id=server.pk, checked_at=None)


@verb
def _end_unproven(*, server_id: str) -> int:
    """What was ending on a server that does not exist: a person's word stands where a proof should."""
    now, server = clock.now(), Server.objects.get(pk=server_id)
    found = Grant.objects.select_for_update(no_key=True).filter(server=server, status=GrantStatus.ENDING)
    grants = list(found.exclude(claimed_until__gt=now).order_by("pk")[:_BATCH])
    for grant in grants:
        refused = grant.end_cause == EndCause.REFUSED
        grant.status = GrantStatus.FAILED if refused else GrantStatus.ENDED
        grant.ended_at, grant.password, grant.next_try_at, grant.sessions_live = now, None, None, 0
        grant.scope_gone_at, grant.proof = now, {"unproven": True, "said_by": server.retiring_by}
        grant.problem = ""
        grant.save()
    for grant in grants:
        action = Action.GRANT_FAILED if grant.status == GrantStatus.FAILED else Action.GRANT_ENDED
        since = rfc3339(grant.ending_since) if grant.ending_since else None
        record(action, grant, actor=WORKER, cause=grant.end_cause, since=since, proof=grant.proof)
    return len(grants)


@verb
def _keep_problem(*, server_id: str, problem: str, exists: bool = False) -> None:
    server = Server.objects.select_for_update(no_key=True).get(pk=server_id)
    server.retire_problem = problem
    server.retire_unseen &= not exists
    server.save(update_fields=["retire_problem", "retire_unseen"])


@verb
def _let_go(*, server_id: str, checked_at: datetime | None) -> None:
    """`checked_at` None: it was not proven. The portal's password for it is of no use any more."""
    server = Server.objects.select_for_update(no_key=True).get(pk=server_id)
    if server.retired_at is not None or living_on(server):
        return
    now = clock.now()
    Grant.objects.filter(server=server, scope_gone_at=None).update(scope_gone_at=now)
    server.retired_at, server.retire_problem = now, ""
    server.manager_secret, server.manager_verifier = None, ""
    server.reconcile_wanted_at = server.check_wanted_at = None
    server.save()
    facts: dict[str, Any] = {"wanted_by": server.retiring_by, "proven": checked_at is not None}
    facts |= {"checked_at": rfc3339(checked_at)} if checked_at else {}
    disclosed = {"name": server.name, "host": server.host, "reason": server.retire_reason}
    audit.record(Action.SERVER_RETIRED, actor=WORKER, subject=server.audit_id, facts=facts, disclosed=disclosed)
    nudge()
