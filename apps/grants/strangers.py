"""Roles that have the rights of a grant without being a login of the portal's: told, and their rights taken away.

They stand in one list with the logins that the portal does not know (strays.py), by role and what it is a member of.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from apps.audit.body import rfc3339
from apps.catalog.models import Server
from apps.core import clock
from apps.core.nudge import nudge
from apps.core.verbs import verb
from apps.engines.base import Engine, EngineError, ForeignMember, Target
from apps.grants import strays
from apps.grants.models import ServerState

log = logging.getLogger(__name__)

_AT_ONCE: Final = 50  # more than that are for the next round


def keep_seen(server: Server, found: Sequence[ForeignMember]) -> None:
    """List them without touching them."""
    if found:
        _keep(server_id=server.pk, found=found[:_AT_ONCE], told=False)


def expel(server: Server, engine: Engine, target: Target, found: Sequence[ForeignMember]) -> None:
    """Told first, done then, and what was read back is told. Whoever made them members can do so again."""
    if not found and not _listed(ServerState.objects.filter(server=server).only("strays").first()):
        return
    some = found[:_AT_ONCE]
    _keep(server_id=server.pk, found=some, told=True)
    if some:
        _settle(server_id=server.pk, problems=_expelled(server, engine, target, some))


def _expelled(server: Server, engine: Engine, target: Target, found: Sequence[ForeignMember]) -> dict[str, str]:
    """A sentence for each that is still a member; an empty one where it is gone."""
    try:
        return {_key(one.member): _still(one.member, one.fix) for one in engine.expel(target, found)}
    except EngineError as error:
        log.error("Roles on %s have rights of grants that could not be taken away: %s", server, error.sentence)
        return {_key(one): f"They could not be taken away: {error.sentence}" for one in found}


def _still(member: ForeignMember, fix: str) -> str:
    return fix and (
        f"“{member.role}” still has the rights of {member.of}: somebody else than the portal gave them to it, and only "
        f"they or a superuser can take them away: {fix}"
    )


@verb
def _keep(*, server_id: str, found: Sequence[ForeignMember], told: bool) -> None:
    """Each is told once for each time that it comes up. Those that somebody else has taken out are told as well."""
    state = strays.locked(server_id)
    listed, now = _listed(state), rfc3339(clock.now())
    news = [one for one in found if told and not listed.get(_key(one), {}).get("told")]
    for one in found:
        new = {"login": _key(one), "found_at": now, "told": False, "disabled": False, "gone": False, "problem": ""}
        entry = listed.setdefault(_key(one), new)
        entry |= {"role": one.role, "of": one.of, "comment": _why(one), "told": entry["told"] or told}
    there = {_key(one) for one in found}
    gone = [entry for key, entry in listed.items() if told and key not in there and len(found) < _AT_ONCE]
    for entry in gone:
        entry |= {"gone": True, "problem": ""}
    strays.save(state, list(listed.values()))
    for one in news:
        facts = {"could_log_in": one.can_login, "sessions": one.sessions, "given_by_portal": one.given_by_portal}
        _tell(state, listed[_key(one)], _why(one), removed=False, **facts)
    for entry in gone:
        _tell(state, entry, removed=True)
    if news or gone:
        nudge()


@verb
def _settle(*, server_id: str, problems: Mapping[str, str]) -> None:
    """What cannot be taken away is tried again each minute, and told once for each reason."""
    state = strays.locked(server_id)
    changed = [entry for key, entry in _listed(state).items() if _is_news(entry, problems.get(key))]
    for entry in changed:
        problem = problems[entry["login"]]
        entry |= {"problem": problem, "gone": not problem}
    strays.save(state, changed)
    for entry in changed:
        _tell(state, entry, entry["problem"], removed=entry["gone"])
    if changed:
        nudge()


def _is_news(entry: dict[str, Any], problem: str | None) -> bool:
    return problem is not None and (not problem or problem != entry["problem"])


def _listed(state: ServerState | None) -> dict[str, dict[str, Any]]:
    """Those that were there at the last look."""
    return {one["login"]: one for one in (state.strays if state else ()) if "of" in one and not one["gone"]}


def _tell(state: ServerState, entry: dict[str, Any], why: str = "", **facts: Any) -> None:
    disclosed = {"login": entry["role"]} | ({"why": why} if why else {})
    strays.tell(state, disclosed, member_of=entry["of"], **facts)


def _why(member: ForeignMember) -> str:
    if member.given_by_portal:
        return (
            f"“{member.role}” has the rights of {member.of}, which the portal itself gave it, and does not carry the "
            "portal's mark. It may be one of its logins, renamed and with its comment removed, so that it is not found."
        )
    return (
        f"“{member.role}” is no login of the portal's and was given the rights of {member.of} by "
        f"{', '.join(member.given_by) or 'somebody'}: it can do all that this access can."
    )


def _key(member: ForeignMember) -> str:
    """Never the name of a login."""
    return f"{member.role} in {member.of}"
