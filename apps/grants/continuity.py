"""Whether this portal still remembers all that it has done: its database may have been restored, or be a copy.

What it did is left on each target as a mark, the head of its record at that time. A mark that the record does not
know means that this portal knows less than the one that left it: then it only looks, until an operator confirms
(field notes R14).
"""

import logging
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from django.db import IntegrityError, transaction
from django.db.models import Count, Max, Q

from apps.accounts.actors import Actor, actor_id, require_dba
from apps.accounts.models import User
from apps.audit import services as audit
from apps.audit.actions import Action
from apps.catalog.models import Server
from apps.catalog.targets import engine_for, target_for
from apps.core import clock
from apps.core.errors import Conflict, PortalError
from apps.core.nudge import nudge
from apps.core.texts import checked
from apps.core.verbs import verb
from apps.engines.base import Engine, EngineError, Target
from apps.grants.models import Continuity, ServerState
from apps.grants.record import WORKER

log = logging.getLogger(__name__)

MAX_REASON: Final = 2_000
_DIGITS: Final = 16  # of the hash: nobody forges one, it only has to differ
_MARK: Final = re.compile(rf"record=(\d{{1,18}}):([0-9a-f]{{{_DIGITS}}})")
_WAITS: Final = (
    "Nothing is done on any server at present: a server remembers more than the portal's own record, so its database "
    "was restored from an earlier copy, or is a copy. A database administrator must look at it and confirm."
)


class OnlyLooking(EngineError):
    """This portal must not act anywhere until somebody has confirmed what it has lost."""

    retry = True

    def __init__(self) -> None:
        super().__init__(_WAITS)


@dataclass(frozen=True)
class Mark:
    """An entry of the record, known by its place and the beginning of the chain's hash behind it."""

    index: int
    hash: str

    def __str__(self) -> str:
        return f"record={self.index}:{self.hash}"

    def is_known(self) -> bool:
        found = audit.hash_at(self.index)
        return found is not None and found.hex()[:_DIGITS] == self.hash


@dataclass
class _Memory:
    """Of this process: the newest entry it has seen, and the servers that it has asked for their mark."""

    seen: Mark | None = None
    confirmed_at: datetime | None = None  # the confirmation that all this is newer than
    asked: set[str] = field(default_factory=set)
    left: dict[str, Mark] = field(default_factory=dict)

    def keep_up_with(self, confirmed_at: datetime | None) -> None:
        """What was known before a confirmation is what was lost. An older one is not: it is of a restored database."""
        if confirmed_at is not None and (self.confirmed_at is None or confirmed_at > self.confirmed_at):
            self.forget()
            self.confirmed_at = confirmed_at

    def forget(self) -> None:
        self.seen = self.confirmed_at = None
        self.asked.clear()
        self.left.clear()


memory: Final = _Memory()


def check(server: Server, engine: Engine, target: Target) -> None:
    """Before anything is done on a server. Raises OnlyLooking, or why the server could not be asked for its mark."""
    if waits() or not _remembers():
        raise OnlyLooking
    if server.pk in memory.asked:
        return
    mark = engine.recall(target)
    if not agrees(server, mark):
        raise OnlyLooking
    if not mark:
        _leave(server, engine, target)
    memory.asked.add(server.pk)


def waits() -> bool:
    """Whether nothing may be done on any target."""
    is_open, confirmed_at = _state()
    if is_open and settle():
        is_open, confirmed_at = _state()
    if not is_open:
        memory.keep_up_with(confirmed_at)
    return is_open


def agrees(server: Server, mark: str) -> bool:
    """Whether the record knows the mark that was found on a server; where it does not, everybody is told."""
    found = _MARK.fullmatch(mark)
    there = Mark(int(found[1]), found[2]) if found else None
    if not mark or (there and there.is_known()) or _is_from_before(server):
        return True
    if there is None:
        why = f"The server {server} holds a word of the portal's that this portal does not understand."
    else:
        why = f"The server {server} remembers an entry of the portal's record that is not there, or is another one."
    _found(server_id=server.pk, size_there=there.index + 1 if there else 0, why=why)
    return False


def leave_mark(server: Server) -> None:
    """After a piece of work, which it never lets fail: the next one leaves another."""
    mark = _head()
    if mark is None or memory.left.get(server.pk) == mark:
        return
    try:
        _leave(server, engine_for(server), target_for(server))
    except PortalError as refusal:
        log.warning("No mark could be left on %s: %s", server, refusal.sentence)


def renew_mark(server: Server, engine: Engine, target: Target, *, found: str) -> None:
    """Leave a mark where `found` is not the present one. Raises EngineError."""
    mark = _head()
    if mark is not None and str(mark) != found and not _is_waiting():
        engine.remember(target, str(mark))
        memory.left[server.pk] = mark


@verb
def confirm_restored(*, actor: Actor, reason: str) -> Continuity:
    """Let this portal go on with the record that it has; what is lost is named. Raises NotAllowed, Conflict, Invalid.

    The entry itself is the confirmation, which clock and workers take up: the web may not write what holds them back.
    """
    require_dba(actor, what="confirm that the portal may go on with a restored database")
    reason = checked(reason, what="The reason", field="reason", at_most=MAX_REASON, required=True)
    found = Continuity.objects.filter(confirmed_at=None).first()
    if found is None:
        raise Conflict("Nothing waits for a confirmation: the record and the servers agree.")
    if _confirmation(found):
        raise Conflict("This is confirmed already; workers go on in a moment.")
    facts = {"server": found.server_id, "size_here": found.size_here, "size_there": found.size_there}
    person = {"person": actor.name} if isinstance(actor, User) else {}
    disclosed = {"reason": reason, "why": found.why, **person}
    audit.record(
        Action.PORTAL_CONFIRMED, actor=actor_id(actor), subject=_subject(found), facts=facts, disclosed=disclosed
    )
    nudge()
    return found


def waiting() -> Continuity | None:
    """What an operator has to confirm, for pages and commands."""
    return Continuity.objects.filter(confirmed_at=None).select_related("server").first()


def confirmed_at() -> datetime | None:
    """When an operator has last confirmed a break."""
    return _state()[1]


def settle() -> bool:
    """Take up a confirmation. Whether there was one."""
    return _is_waiting() and _settle()


@verb
def _settle() -> bool:
    found = Continuity.objects.select_for_update(no_key=True).filter(confirmed_at=None).first()
    line = _confirmation(found) if found else None
    if found is None:
        return True
    if line is None:
        return False
    found.confirmed_at, found.confirmed_by = clock.now(), line.actor
    found.save(update_fields=["confirmed_at", "confirmed_by"])
    nudge()
    return True


@verb
def _found(*, server_id: str | None, size_there: int, why: str) -> None:
    """Idempotent: there is one open break, which comes to know the longest memory of all servers."""
    Continuity.objects.filter(confirmed_at=None, size_there__lt=size_there).update(size_there=size_there)
    if _is_waiting():
        return
    size_here = audit.head().size
    made = Continuity(found_at=clock.now(), server_id=server_id, size_here=size_here, size_there=size_there, why=why)
    try:
        with transaction.atomic():  # a savepoint: somebody may be faster
            made.save(force_insert=True)
    except IntegrityError:
        return
    facts = {"server": server_id, "size_here": size_here, "size_there": size_there}
    audit.record(Action.PORTAL_RESTORED, actor=WORKER, subject=_subject(made), facts=facts, disclosed={"why": why})
    nudge()


def _remembers() -> bool:
    """Whether what this very process has seen of the record is still there; then it looks at what is there now."""
    now = _head()
    if memory.seen is not None and memory.seen != now and not memory.seen.is_known():
        why = "The portal's record has become another one, or a shorter one, while a worker was running."
        _found(server_id=None, size_there=memory.seen.index + 1, why=why)
        return False
    memory.seen = now
    return True


def _leave(server: Server, engine: Engine, target: Target) -> None:
    try:
        renew_mark(server, engine, target, found="")
    except EngineError as error:
        log.warning("No mark could be left on %s: %s", server, error.sentence)


def _head() -> Mark | None:
    head = audit.head()
    return Mark(head.size - 1, head.hash.hex()[:_DIGITS]) if head.size else None


def _is_from_before(server: Server) -> bool:
    """A mark of what was lost, which a confirmation has made void; comparing the server replaces it."""
    _, confirmed_at = _state()
    if confirmed_at is None:
        return False
    return not ServerState.objects.filter(server=server, reconciled_at__gt=confirmed_at).exists()


def _is_waiting() -> bool:
    return Continuity.objects.filter(confirmed_at=None).exists()


def _state() -> tuple[bool, datetime | None]:
    """Whether something waits to be confirmed, and when anything was last."""
    unconfirmed = Count("pk", filter=Q(confirmed_at=None))
    found = Continuity.objects.aggregate(unconfirmed=unconfirmed, confirmed_at=Max("confirmed_at"))
    return bool(found["unconfirmed"]), found["confirmed_at"]


def _confirmation(found: Continuity) -> audit.Line | None:
    where = audit.Filter(action=Action.PORTAL_CONFIRMED, subjects=(_subject(found),))
    return next(iter(audit.latest(limit=1, where=where)), None)


def _subject(found: Continuity) -> str:
    return f"continuity:{found.pk}"
