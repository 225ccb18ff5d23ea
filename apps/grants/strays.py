"""Logins of this portal's that it does not know: disabled, told, and listed for the database administrator."""

import logging
from collections.abc import Iterator, Sequence
from typing import Any, Final

from apps.audit import services as audit
from apps.audit.actions import Action
from apps.audit.body import rfc3339
from apps.catalog.models import Server
from apps.core import clock
from apps.core.nudge import nudge
from apps.core.verbs import verb
from apps.engines.base import Closed, Engine, EngineError, FoundLogin, Refused, Target
from apps.grants.models import Grant, ServerState
from apps.grants.record import WORKER

log = logging.getLogger(__name__)

_LISTED: Final = 200


def keep_seen(server: Server, found: Sequence[FoundLogin]) -> None:
    """List them without touching them."""
    _keep(server_id=server.pk, found=found, told=False)


def disable(server: Server, engine: Engine, target: Target, found: Sequence[FoundLogin]) -> None:
    """Close them as any login is closed: told first, done then, and what was read back is told."""
    # No more at once than the list keeps, which holds what is told of each.
    for start in range(0, len(found), _LISTED):
        batch = found[start : start + _LISTED]
        _keep(server_id=server.pk, found=batch, told=True)
        closed = {done.login: done for done in _close(engine, target, [one.login for one in batch])}
        if closed:
            _disabled(server_id=server.pk, closed=closed)


def _close(engine: Engine, target: Target, logins: list[str]) -> Iterator[Closed]:
    """What could be proven to be gone; the others are found again by the next look."""
    try:
        yield from engine.close_logins(target, logins)
    except Refused as error:
        if len(logins) == 1:
            log.error("The login %s is not known to the portal and cannot be disabled: %s", logins[0], error.sentence)
            return
        for login in logins:  # one that may not be touched must not keep the others alive
            yield from _close(engine, target, [login])
    except EngineError as error:
        log.error("Logins that the portal does not know could not be disabled (%s): %s", len(logins), error.sentence)


@verb
def _keep(*, server_id: str, found: Sequence[FoundLogin], told: bool) -> None:
    """Each is told once for each time that it comes up."""
    if not found:
        return
    state = locked(server_id)
    listed = {stray["login"]: stray for stray in state.strays if not stray["gone"]}
    now = rfc3339(clock.now())
    news = [one for one in found if told and not listed.get(one.login, {}).get("told")]
    for one in found:
        new = {"login": one.login, "found_at": now, "told": False, "disabled": False, "gone": False}
        stray = listed.setdefault(one.login, new)
        stray |= {"role": one.role, "comment": one.comment, "told": stray["told"] or told}
    save(state, list(listed.values()))
    grants = dict(Grant.objects.filter(login__in=[one.login for one in news]).values_list("login", "pk"))
    for one in news:
        facts = {"grant": grants.get(one.login), "could_log_in": one.can_login, "sessions": one.sessions}
        tell(state, {"login": one.login, "role": one.role, "comment": one.comment}, disabled=False, **facts)
    if news:
        nudge()


@verb
def _disabled(*, server_id: str, closed: dict[str, Closed]) -> None:
    """A role that cannot be dropped yet gives access to nobody: it stays on the list and is tried again."""
    state = locked(server_id)
    changed = []
    for stray in state.strays:
        done = None if stray["gone"] else closed.get(stray["login"])
        if done is not None and (done.dropped or not stray["disabled"]):
            stray |= {"disabled": True, "gone": done.dropped}
            changed.append(stray)
    save(state, changed)
    for stray in changed:
        done = closed[stray["login"]]
        proof = {"clean_at": rfc3339(done.clean_at), "sessions_ended": done.sessions_ended, "dropped": done.dropped}
        tell(state, {"login": done.login}, disabled=True, **proof)


def locked(server_id: str) -> ServerState:
    """With its list of strays, to be written by save()."""
    ServerState.objects.get_or_create(server_id=server_id)
    return ServerState.objects.select_for_update(no_key=True).select_related("server").get(pk=server_id)


def save(state: ServerState, changed: list[dict[str, Any]]) -> None:
    """The changed ones first, then those of before, as many as a page shows."""
    names = {stray["login"] for stray in changed}
    kept = [stray for stray in state.strays if stray["login"] not in names]
    state.strays = [*changed, *kept][:_LISTED]
    state.save(update_fields=["strays"])


def tell(state: ServerState, disclosed: dict[str, str], **facts: Any) -> None:
    """In the record, as something of a server."""
    audit.record(Action.LOGIN_STRAY, actor=WORKER, subject=state.server.audit_id, facts=facts, disclosed=disclosed)
