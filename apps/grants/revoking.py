"""The big red button: all access of a person, to a database, on a server, or all there is, taken away at once.

Whoever presses it has seen how much that is. What is approved and not made yet is refused first, so that nothing comes
after; then each grant begins to end, and workers do the rest as for any other end.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from django.db.models import Count, QuerySet

from apps.accounts.models import User
from apps.accounts.roles import answers_for_all
from apps.audit import services as audit
from apps.audit.actions import Action
from apps.audit.canonical import Json
from apps.catalog.models import Database, Server
from apps.core import clock
from apps.core.errors import Conflict, Invalid, NotAllowed, NotFound, PortalError
from apps.core.nudge import nudge
from apps.core.texts import checked
from apps.core.verbs import verb
from apps.grants import ending
from apps.grants.models import Grant, GrantQuerySet
from apps.grants.opening import waiting_to_open
from apps.grants.record import record
from apps.grants.states import EndCause, GrantStatus
from apps.requests.changes import close
from apps.requests.models import AccessRequest
from apps.requests.states import RequestStatus

WORD: Final = "REVOKE"  # to be typed before everything is taken away
MAX_REASON: Final = 2_000
_BATCH: Final = 100  # rows in one transaction; each is an entry of the record
_LIVING: Final = (GrantStatus.QUEUED, GrantStatus.ACTIVE)


class Kind(StrEnum):
    PERSON = "person"
    DATABASE = "database"
    SERVER = "server"
    EVERYTHING = "everything"


@dataclass(frozen=True)
class Selection:
    """Whose access, or to what. `key` is the id of the row, `name` what people call it; both empty for everything."""

    kind: Kind
    key: str = ""
    name: str = ""

    @property
    def subject(self) -> str:
        """As the record names it."""
        names = {Kind.PERSON: "user", Kind.DATABASE: "database", Kind.SERVER: "server"}
        return f"{names[self.kind]}:{self.key}" if self.key else "portal:everything"

    @property
    def words(self) -> str:
        """Completes "All access …"."""
        match self.kind:
            case Kind.PERSON:
                return f"of {self.name}"
            case Kind.DATABASE:
                return f"to {self.name}"
            case Kind.SERVER:
                return f"on the server {self.name}"
        return "of everybody to everything"

    def grants(self, *states: GrantStatus) -> GrantQuerySet:
        return Grant.objects.filter(status__in=states, **self._where("holder", "server"))

    def approved(self) -> QuerySet[AccessRequest]:
        """Requests of which access, or more time for it, would be made."""
        where = self._where("requester", "database__server")
        return waiting_to_open().filter(**where)

    def _where(self, person: str, server: str) -> dict[str, str]:
        fields = {Kind.PERSON: person, Kind.DATABASE: "database", Kind.SERVER: server}
        return {fields[self.kind]: self.key} if self.key else {}


@dataclass(frozen=True)
class Line:
    """Of one person in one database."""

    person: str
    username: str
    database: str
    grants: int
    requests: int


@dataclass(frozen=True)
class Affected:
    """What would be taken away now. `ending` is on its way already and is not counted."""

    selection: Selection
    lines: tuple[Line, ...]
    ending: int

    @property
    def grants(self) -> int:
        return sum(line.grants for line in self.lines)

    @property
    def requests(self) -> int:
        return sum(line.requests for line in self.lines)

    @property
    def count(self) -> int:
        """What whoever presses the button has to have seen."""
        return self.grants + self.requests


@dataclass(frozen=True)
class Revoked:
    grants: int
    requests: int


def may_revoke_all(user: User) -> bool:
    """Whether the button is of use to `user` at all."""
    return answers_for_all(user) or Database.objects.owned_by(user).exists()


def affected(*, actor: User, **selected: Any) -> Affected:
    """Read only. `selected` as for revoke_all(). Raises NotAllowed, NotFound, Invalid."""
    return _affected(_selection(actor, **selected))


def revoke_all(
    *,
    actor: User,
    reason: str,
    expected: int,
    person: str | None = None,
    database: str | None = None,
    server: str | None = None,
    everything: bool = False,
    word: str = "",
) -> Revoked:
    """Take away all access of one person (username), to one database (slug), on one server (name), or all there is.

    `expected` is the count that was seen. DBAs and security may, owners for their own databases. Where it is cut short
    the same call, with the new count, does the rest. Raises NotAllowed, NotFound, Invalid, Conflict.
    """
    reason = checked(reason, what="The reason", field="reason", at_most=MAX_REASON, required=True)
    selected = {"person": person, "database": database, "server": server, "everything": everything}
    try:
        selection = _order(actor=actor, reason=reason, expected=expected, word=word, selected=selected)
    except (NotAllowed, NotFound) as refusal:
        _record_refusal(actor, refusal)
        raise
    requests = 0
    try:
        requests = _all(lambda: _refuse_batch(actor=actor, selection=selection, reason=reason))
    finally:  # also where a request cannot be refused: access that is there matters more
        # Every request that was approved when this was ordered is refused, or has become a grant, by now.
        until = clock.now()
        grants = _all(lambda: _revoke_batch(actor=actor, selection=selection, reason=reason, until=until))
    return Revoked(grants=grants, requests=requests)


def _all(batch: Callable[[], int | None]) -> int:
    """`batch` says how many it has done, and None when there is nothing left."""
    total = 0
    while (done := batch()) is not None:
        total += done
    return total


@verb
def _order(*, actor: User, reason: str, expected: int, word: str, selected: Mapping[str, Any]) -> Selection:
    """Everything is checked, and in the record, before anything is taken away."""
    selection = _selection(actor, **selected)
    if selection.kind is Kind.EVERYTHING and word != WORD:
        raise Invalid(f"This takes away all access there is: type {WORD} to say that you mean it.", field="word")
    now = _affected(selection)
    if now.count == 0:
        raise Conflict(f"There is no access {selection.words} to take away.")
    if expected != now.count:
        raise Conflict(f"This has changed since you looked: it is {now.count} by now. Look again.", field="expected")
    facts: dict[str, Json] = {
        "selection": selection.kind.value,
        "grants": now.grants,
        "requests": now.requests,
        "people": len({line.username for line in now.lines}),
    }
    texts = {"person": actor.name, "reason": reason}
    audit.record(Action.ACCESS_REVOKED, actor=actor.audit_id, subject=selection.subject, facts=facts, disclosed=texts)
    return selection


@verb
def _refuse_batch(*, actor: User, selection: Selection, reason: str) -> int | None:
    ids = list(selection.approved().order_by("pk").values_list("pk", flat=True)[:_BATCH])
    locked = {row.pk for row in AccessRequest.objects.select_for_update(no_key=True).filter(pk__in=ids).order_by("pk")}
    # Asked again under the lock: the clock may have been faster.
    requests = list(selection.approved().filter(pk__in=locked).order_by("pk"))
    for request in requests:
        close(request, RequestStatus.DENIED, f"{actor.name} took all access {selection.words} away: {reason}")
    for request in requests:
        audit.record(
            Action.REQUEST_DENIED,
            actor=actor.audit_id,
            subject=request.audit_id,
            facts={"digest": request.scope_digest, "after_approval": True, "all_of": selection.subject},
            disclosed={"person": actor.name, "why": reason},
        )
    nudge()
    return len(requests) if ids else None


@verb
def _revoke_batch(*, actor: User, selection: Selection, reason: str, until: datetime) -> int | None:
    rows = selection.grants(*_LIVING).filter(queued_at__lte=until).select_for_update(no_key=True, of=("self",))
    # What is looked at to end a grant is small, and there may be thousands.
    grants = list(rows.defer("scope", "evidence", "proof").order_by("pk")[:_BATCH])
    now = clock.now()
    for grant in grants:
        ending.begin(grant, cause=EndCause.REVOKED, since=now, reason=reason, by=actor)
    texts = {"person": actor.name, "reason": reason}
    for grant in grants:
        record(Action.GRANT_REVOKED, grant, actor=actor.audit_id, disclosed=texts, all_of=selection.subject)
    nudge()
    return len(grants) or None


def _selection(
    actor: User,
    *,
    person: str | None = None,
    database: str | None = None,
    server: str | None = None,
    everything: bool = False,
) -> Selection:
    given = {Kind.PERSON: person, Kind.DATABASE: database, Kind.SERVER: server, Kind.EVERYTHING: everything or None}
    named = [(kind, value) for kind, value in given.items() if value is not None]
    if len(named) != 1:
        raise Invalid("Say whose access, or to what: one person, one database, one server, or everything.")
    kind, value = named[0]
    name = "" if kind is Kind.EVERYTHING else checked(value, what="The name", field=kind, at_most=150, required=True)
    owned = Database.objects.owned_by(actor)
    if not answers_for_all(actor) and not (kind is Kind.DATABASE and owned.filter(slug=name).exists()):
        raise NotAllowed(
            "All access is taken away by a database administrator or security, and to a database by its owners."
        )
    if kind is Kind.EVERYTHING:
        return Selection(kind)
    row = _named(kind, name)
    if row is None:
        raise NotFound(f"There is no {kind} “{name}”.", field=kind)
    return Selection(kind, row, name)


def _named(kind: Kind, name: str) -> str | None:
    rows: QuerySet[Any] = {
        Kind.PERSON: User.objects.filter(username=name),
        Kind.DATABASE: Database.objects.filter(slug=name),
        Kind.SERVER: Server.objects.filter(name=name),
    }[kind]
    found: str | None = rows.values_list("pk", flat=True).first()
    return found


def _affected(selection: Selection) -> Affected:
    counted: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for index, (rows, who) in enumerate(((selection.grants(*_LIVING), "holder"), (selection.approved(), "requester"))):
        found = rows.order_by().values_list(who, "database__slug").annotate(number=Count("pk"))
        for user_id, slug, number in found:
            counted[user_id, slug][index] = number
    people = User.objects.in_bulk({user_id for user_id, _ in counted})
    lines = [
        Line(people[user_id].name, people[user_id].username, slug, *numbers)
        for (user_id, slug), numbers in counted.items()
    ]
    lines.sort(key=lambda line: (-line.grants - line.requests, line.username, line.database))
    return Affected(selection, tuple(lines), selection.grants(GrantStatus.ENDING).count())


def _record_refusal(actor: User, refusal: PortalError) -> None:
    audit.record_refusal(
        Action.GRANT_REFUSED,
        actor=actor.audit_id,
        subject="portal:everything",
        facts={"tried": "revoke_all", "status": refusal.status},
        disclosed={"person": actor.name, "why": refusal.sentence},
    )
