"""What everybody may reach in a database beyond any grant, and which of it a DBA has accepted."""

from dataclasses import asdict, dataclass
from typing import Final

from apps.accounts.actors import Actor, actor_id, require_dba
from apps.accounts.dual_control import Line, require_second, widening
from apps.audit import services as audit
from apps.audit.actions import Action
from apps.catalog.models import Database
from apps.catalog.targets import engine_for
from apps.core import clock
from apps.core.errors import Conflict, Invalid, NotFound
from apps.core.nudge import nudge
from apps.engines.base import EngineError, Exposure, Finding, Severity, Target

NOTIFIES: Final = "notifies"


@dataclass(frozen=True)
class Looks:
    """One look at each database of a server."""

    found: dict[str, list[Exposure]]  # by the database's id
    findings: tuple[Finding, ...]


def look_at(databases: list[Database], target: Target) -> Looks:
    """Ask for the exposure of each; where that fails it is a finding, and what was known stays."""
    found, findings = {}, []
    for database in databases:
        try:
            found[database.pk] = engine_for(database.server).exposure(target, database.datname)
        except EngineError as problem:
            # Before the first look nothing is known about functions that notify: then nothing is issued.
            severity = Severity.WARNING if database.exposure_at else Severity.ERROR
            findings.append(
                Finding(severity, f"What everybody may reach in {database.datname} is unknown: {problem.sentence}")
            )
    return Looks(found, tuple(findings))


def keep(found: dict[str, list[Exposure]]) -> None:
    """Inside the transaction of the preflight."""
    now = clock.now()
    for database_id, exposures in found.items():
        Database.objects.filter(pk=database_id).update(exposure=list(map(asdict, exposures)), exposure_at=now)


def exposures(database: Database) -> list[Exposure]:
    """As last seen."""
    return [Exposure(**(row | {"objects": tuple(row["objects"])})) for row in database.exposure]


def notifying_unaccepted(database: Database) -> list[str]:
    """Functions that notify and that no DBA has accepted: a direct connection could listen to them."""
    accepted = set(database.notifying_accepted)
    unaccepted = [name for one in _notifying(database) for name in one.objects if name not in accepted]
    unnamed = sum(one.count - len(one.objects) for one in _notifying(database))
    return sorted(unaccepted) + ([f"{unnamed} more"] if unnamed > 0 else [])


@widening("notifying.accept")
def accept_notifying(*, actor: Actor, database_id: str) -> list[str]:
    """Let direct connections be asked for although functions notify; a new such function wants a new acceptance.

    Returns their names.
    """
    require_dba(actor, what="accept functions that notify")
    database = Database.objects.select_for_update(no_key=True).filter(pk=database_id).first()
    if database is None:
        raise NotFound("There is no such database.")
    if not notifying_unaccepted(database):
        raise Conflict(f"In {database} no function that notifies waits to be accepted.")
    notifying = _notifying(database)
    if any(one.count > len(one.objects) for one in notifying):
        raise Invalid(
            f"More functions notify in {database} than can be listed, so they cannot be accepted by name. "
            "Take EXECUTE from PUBLIC, or let people use the console there."
        )
    names = sorted({name for one in notifying for name in one.objects})
    new = [Line("direct connections may listen to", "", name) for name in notifying_unaccepted(database)]
    require_second(actor, about=f"Functions that notify in {database}", subject=database.audit_id, difference=new)
    database.notifying_accepted = names
    database.save(update_fields=["notifying_accepted"])
    audit.record(
        Action.NOTIFYING_ACCEPTED,
        actor=actor_id(actor),
        subject=database.audit_id,
        facts={"functions": len(names)},
        disclosed={"functions": "\n".join(names)},
    )
    nudge()
    return names


def _notifying(database: Database) -> list[Exposure]:
    return [one for one in exposures(database) if one.kind == NOTIFIES]
