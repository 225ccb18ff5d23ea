"""Going on after a break of the record: an anchor has seen a history that is not the one here.

It takes two people. The operator proposes it on the server for one of them, which a web process cannot do; another
confirms it in the portal. The record names what is lost, and from then on signing goes on.
"""

from typing import Final

from apps.accounts.actors import OPERATOR
from apps.accounts.models import User
from apps.accounts.roles import may_second
from apps.audit import services as audit
from apps.audit import signing
from apps.audit.actions import WORKER_ROLE, Action
from apps.audit.models import RecordBreak
from apps.core import clock
from apps.core.errors import Conflict, NotAllowed, NotFound
from apps.core.nudge import nudge
from apps.core.texts import checked
from apps.core.verbs import verb

MAX_REASON: Final = 2_000


@verb
def propose(*, anchor: str, username: str, reason: str) -> RecordBreak:
    """The first of two: the operator, in the name of a person who answers for it. Raises NotFound, NotAllowed,
    Conflict, Invalid.
    """
    found = RecordBreak.objects.filter(anchor=anchor, confirmed_at=None).first()
    if found is None:
        waiting = ", ".join(row.anchor for row in signing.open_breaks()) or "none"
        raise NotFound(f"No break waits that the anchor {anchor!a} has shown; waiting: {waiting}.")
    person = User.objects.filter(username=username).first()
    if person is None:
        raise NotFound(f"Nobody here has the user name {username!a}.")
    _require_duty(person)
    _told(Action.RECORD_BREAK_PROPOSED, found, person, reason, actor=OPERATOR)
    return found


@verb
def confirm(*, actor: User, break_id: str, reason: str) -> RecordBreak:
    """The second of two. Raises NotAllowed, NotFound, Conflict, Invalid.

    The entry itself is the confirmation, which a worker takes up: the web may not write what holds signing back.
    """
    _require_duty(actor)
    found = RecordBreak.objects.filter(pk=break_id, confirmed_at=None).first()
    if found is None:
        raise NotFound("There is no such break, or it is confirmed already.")
    first = proposed_by(found)
    if not first:
        raise Conflict(
            "Nobody has proposed it yet: the operator does, on the server, with "
            f"`manage.py confirm_record --anchor {found.anchor} --person NAME --reason …`."
        )
    if first == actor.audit_id:
        raise NotAllowed("You have proposed this; another person of the administrators or security confirms it.")
    _told(Action.RECORD_BREAK_CONFIRMED, found, actor, reason, actor=actor.audit_id)
    nudge()
    return found


def proposal(found: RecordBreak) -> audit.Line | None:
    """The first of two; only a worker's entry counts."""
    line = _last(Action.RECORD_BREAK_PROPOSED, found)
    return line if line and line.recorded_by == WORKER_ROLE else None


def agreed_by(found: RecordBreak) -> tuple[str, User] | None:
    """The record's id of the first, and the second, who may say so now; a worker may not have taken it up yet."""
    line, first = _last(Action.RECORD_BREAK_CONFIRMED, found), proposed_by(found)
    second = User.objects.filter(pk=line.actor.removeprefix("user:")).first() if line else None
    if not first or second is None or first == second.audit_id or not may_second(second):
        return None
    return first, second


def proposed_by(found: RecordBreak) -> str:
    """The record's id of the first person; empty while there is none."""
    line = proposal(found)
    return str(line.facts.get("by", "")) if line else ""


def settle() -> None:
    """Take up what two people have agreed to."""
    for found in signing.open_breaks():
        _settle(found.pk)


@verb
def _settle(break_id: str) -> None:
    found = RecordBreak.objects.select_for_update(no_key=True).filter(pk=break_id, confirmed_at=None).first()
    if found is None:
        return
    two = agreed_by(found)
    if two is None:
        return
    found.confirmed_at, found.confirmed_by = clock.now(), f"{two[0]} {two[1].audit_id}"
    found.save(update_fields=["confirmed_at", "confirmed_by"])
    nudge()


def _told(action: Action, found: RecordBreak, person: User, reason: str, *, actor: str) -> None:
    reason = checked(reason, what="The reason", field="reason", at_most=MAX_REASON, required=True)
    facts = {**signing.facts_of(found), "by": person.audit_id}
    disclosed = {"person": person.name, "reason": reason}
    audit.record(action, actor=actor, subject=f"record_break:{found.pk}", facts=facts, disclosed=disclosed)


def _last(action: Action, found: RecordBreak) -> audit.Line | None:
    where = audit.Filter(action=action, subjects=(f"record_break:{found.pk}",))
    return next(iter(audit.latest(limit=1, where=where)), None)


def _require_duty(person: User) -> None:
    if not may_second(person):
        raise NotAllowed(
            "Only a database administrator or security may say that the record goes on after a break; an emergency "
            "administrator is no other person."
        )
