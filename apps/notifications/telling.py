"""What an entry of the record means for whom: short sentences without secrets, and the page to open."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

from apps.accounts import dual_control
from apps.accounts.models import Duty, ProposedEdit, User
from apps.accounts.roles import people_with_duty, seen_until
from apps.approvals.models import Review
from apps.approvals.reviews import has_reviewers
from apps.approvals.routes import standing_for, steps_of, tally_now
from apps.audit.actions import WORKER_ONLY, WORKER_ROLE, Action
from apps.audit.body import rfc3339
from apps.audit.models import RecordBreak
from apps.audit.services import Line
from apps.audit.verifying import last_run
from apps.catalog.models import Database, Server
from apps.engines.base import CutWhy
from apps.grants.models import Grant
from apps.grants.states import OVER, EndCause, GrantStatus
from apps.notifications.models import Notification
from apps.policies.approvers import eligible, owners
from apps.policies.facts import Step, StepKind
from apps.policies.risk import span
from apps.requests.models import AccessRequest
from apps.requests.services import POLICY
from apps.requests.states import RequestStatus


class Kind(StrEnum):
    WAITING = "waiting"
    DECIDED = "decided"
    READY = "ready"
    DELAYED = "delayed"
    FAILED = "failed"
    EXTENDED = "extended"
    EXPIRING = "expiring"
    ENDED = "ended"
    LATE = "late"
    LATE_OVER = "late_over"
    CUT = "cut"
    DRIFT = "drift"
    ALL_REVOKED = "all_revoked"
    GLASS = "glass"
    REVIEWED = "reviewed"
    LEFT = "left"
    SIGN_IN = "sign_in"
    STRAY = "stray"
    RESTORED = "restored"
    BROKEN = "broken"
    EDIT = "edit"
    EDIT_DECIDED = "edit_decided"


@dataclass(frozen=True)
class Told:
    """One thing told to one person."""

    user: User
    kind: Kind
    text: str
    path: str


_HOW_IT_ENDED: Final = {
    EndCause.EXPIRED.value: "Your access to {} has ended: its time was up.",
    EndCause.RELEASED.value: "Your access to {} has ended: you gave it back.",
    EndCause.REVOKED.value: "Your access to {} was revoked and has ended.",
    EndCause.VANISHED.value: "Your access to {} has ended: its login was removed on the server; its page says more.",
    EndCause.DRIFTED.value: "Your access to {} has ended: it was no longer as approved; its page says why.",
}
# Their reasons are sentences of our own, written for the holder.
_SAYS_WHY: Final = frozenset({EndCause.MASKED.value, EndCause.PAUSED.value, EndCause.LEFT.value})
# How not to be cut again; each fits into a message together with what happened.
_ADVICE: Final = {
    CutWhy.BLOCKED.value: "Commit as soon as you are done, or switch autocommit on in your client.",
    CutWhy.IDLED.value: "Switch autocommit on in your client, or commit before you leave it.",
    CutWhy.HELD_BACK.value: "Ask for less in one statement, and for one snapshot in shorter transactions.",
}
LONGEST_TEXT: Final = 300
_MINDERS: Final = (Duty.DBA, Duty.SECURITY)


def told_by(line: Line) -> list[Told]:
    """Whom this entry concerns, and how it is put to them."""
    tell = _TELLERS.get(line.action)
    is_claimed = line.action in WORKER_ONLY and line.recorded_by != WORKER_ROLE  # what only a worker can know
    return list(tell(line)) if tell and not is_claimed else []


def _of_request(tell: Callable[[Line, AccessRequest], Iterable[Told]]) -> Callable[[Line], Iterable[Told]]:
    def of_line(line: Line) -> Iterable[Told]:
        requests = AccessRequest.objects.select_related("requester", "database")
        request = requests.filter(pk=line.subject.removeprefix("request:")).first()
        return tell(line, request) if request else ()

    return of_line


def _of_grant(tell: Callable[[Line, Grant], Iterable[Told]]) -> Callable[[Line], Iterable[Told]]:
    def of_line(line: Line) -> Iterable[Told]:
        grants = Grant.objects.select_related("holder", "database")
        grant = grants.filter(pk=line.subject.removeprefix("grant:")).first()
        return tell(line, grant) if grant else ()

    return of_line


@_of_request
def _waiting(line: Line, request: AccessRequest) -> Iterator[Told]:
    """To everybody who could take the step it has reached, each once for a request, unless it is decided by now."""
    if request.status != RequestStatus.PENDING:
        return
    decisions = list(request.decisions.all())
    step = steps_of(request)[tally_now(request, decisions, standing_for([request], decisions)).step]
    path = _request_path(request)
    told = Notification.objects.filter(kind=Kind.WAITING, path=path).values("user")
    people = eligible(step, requester=request.requester, database=request.database)
    for person in people.exclude(pk__in=told).exclude(decisions__request=request):
        asks = f"{request.requester.username} asks for {_thing(request)}"
        text = f"{asks}; it waits for you to decide."
        yield Told(person, Kind.WAITING, text, path)


@_of_request
def _approved(line: Line, request: AccessRequest) -> Iterator[Told]:
    if line.actor != POLICY:  # that was said at once, on the page
        yield from _decided(request, f"Your request for {_thing(request)} was approved.")


@_of_request
def _denied(line: Line, request: AccessRequest) -> Iterator[Told]:
    if line.actor != POLICY:
        yield from _decided(request, f"Your request for {_thing(request)} was denied; its page says why.")


@_of_request
def _lapsed(line: Line, request: AccessRequest) -> Iterator[Told]:
    yield from _decided(request, f"Nobody decided your request for {_thing(request)} in time.")


def _thing(request: AccessRequest) -> str:
    """What is asked for: "access to shop", "30 min more on shop"."""
    slug = request.database.slug
    return f"{span(request.minutes)} more on {slug}" if request.extends_id else f"access to {slug}"


def _decided(request: AccessRequest, text: str) -> Iterator[Told]:
    yield Told(request.requester, Kind.DECIDED, text, _request_path(request))


@_of_grant
def _ready(line: Line, grant: Grant) -> Iterator[Told]:
    if grant.expires_at is not None:
        until = _at(grant.expires_at, grant.holder)
        yield from _to_holder(grant, Kind.READY, f"Your access to {grant.database.slug} is ready, until {until}.")


@_of_grant
def _delayed(line: Line, grant: Grant) -> Iterator[Told]:
    if line.facts.get("tries") == 1:
        text = f"Your access to {grant.database.slug} cannot be made yet; it is tried again."
        yield from _to_holder(grant, Kind.DELAYED, text)


@_of_grant
def _failed(line: Line, grant: Grant) -> Iterator[Told]:
    text = f"Your access to {grant.database.slug} could not be made; its page says why."
    yield from _to_holder(grant, Kind.FAILED, text)
    yield from _late_is_over(grant)


@_of_grant
def _extended(line: Line, grant: Grant) -> Iterator[Told]:
    if grant.status == GrantStatus.ACTIVE and grant.expires_at is not None:
        until = _at(grant.expires_at, grant.holder)
        yield from _to_holder(grant, Kind.EXTENDED, f"Your access to {grant.database.slug} goes on until {until}.")


@_of_grant
def _not_extended(line: Line, grant: Grant) -> Iterator[Told]:
    """Not of each try; and what nobody holds any more has been told already."""
    if line.facts.get("is_last") and grant.status == GrantStatus.ACTIVE and grant.expires_at is not None:
        at = _at(grant.expires_at, grant.holder)
        text = f"Your access to {grant.database.slug} was not made longer and ends at {at}: {_first(line, 'problem')}"
        yield from _to_holder(grant, Kind.FAILED, text[:LONGEST_TEXT])


@_of_grant
def _expiring(line: Line, grant: Grant) -> Iterator[Told]:
    if grant.status == GrantStatus.ACTIVE and grant.expires_at is not None:
        text = f"Your access to {grant.database.slug} ends at {_at(grant.expires_at, grant.holder)}."
        yield from _to_holder(grant, Kind.EXPIRING, text)


@_of_grant
def _ended(line: Line, grant: Grant) -> Iterator[Told]:
    slug = grant.database.slug
    if grant.end_cause in _SAYS_WHY:
        text = f"Your access to {slug} has ended. {grant.end_reason}"
    else:
        text = _HOW_IT_ENDED.get(grant.end_cause, "Your access to {} has ended.").format(slug)
    yield from _to_holder(grant, Kind.ENDED, text)
    yield from _late_is_over(grant)


@_of_grant
def _drifted(line: Line, grant: Grant) -> Iterator[Told]:
    """Access that ended is for owners and security, any other change for those who mind the server.

    Many logins drift at once, so the same text is told again only to who has read it.
    """
    slug = grant.database.slug
    if line.facts.get("ends"):
        owners = eligible(Step(StepKind.OWNER), requester=grant.holder, database=grant.database)
        people = _each(owners, people_with_duty(Duty.SECURITY))
        text = f"Live access to {slug} was ended, because it was no longer as approved: {_first(line, 'opened')}"
    else:
        people = _each(people_with_duty(Duty.DBA))
        text = f"On {slug} something has changed under live access: {_first(line, 'changed')}"
    text = text[:LONGEST_TEXT]
    waiting = Notification.objects.filter(kind=Kind.DRIFT, text=text, read_at=None).values_list("user", flat=True)
    for pk in people.keys() - {grant.holder_id, *waiting}:
        yield Told(people[pk], Kind.DRIFT, text, _grant_path(grant))


@_of_grant
def _unentitled(line: Line, grant: Grant) -> Iterator[Told]:
    """For owners; the holder is told when it has ended. Somebody may hold much there: once until it is read."""
    text = f"The access of {grant.holder.username} to {grant.database.slug} is taken away. {grant.end_reason}"
    text = text[:LONGEST_TEXT]
    owners = eligible(Step(StepKind.OWNER), requester=grant.holder, database=grant.database)
    waiting = Notification.objects.filter(kind=Kind.LEFT, text=text, read_at=None).values("user")
    for person in owners.exclude(pk__in=waiting):
        yield Told(person, Kind.LEFT, text, _grant_path(grant))


def _sign_in_wanted(line: Line) -> Iterator[Told]:
    user = User.objects.filter(pk=line.subject.removeprefix("user:")).first()
    until = seen_until(user) if user else None
    if user is None or until is None or rfc3339(until) != line.facts.get("until"):
        return  # they have signed in meanwhile
    text = f"Sign in once before {_at(until, user)} to keep your access: single sign-on has to vouch for you again."
    yield Told(user, Kind.SIGN_IN, text, "/")


@_of_grant
def _late(line: Line, grant: Grant) -> Iterator[Told]:
    """Once for a grant, to everybody who can do something about it, unless it is over by now."""
    if grant.status in OVER:
        return
    slug, why = grant.database.slug, line.disclosed.get("problem") or "no worker has begun to take it away."
    owners = eligible(Step(StepKind.OWNER), requester=grant.holder, database=grant.database)
    due = datetime.fromisoformat(str(line.facts["since"]))
    for person in _each(owners, *map(people_with_duty, _MINDERS)).values():
        text = f"Late: the access of {grant.holder.username} to {slug} should be gone since {_at(due, person)}: {why}"
        yield Told(person, Kind.LATE, text, _grant_path(grant))


def _late_is_over(grant: Grant) -> Iterator[Told]:
    """To those who were called, that it is over."""
    path = _grant_path(grant)
    called = User.objects.filter(notifications__kind=Kind.LATE, notifications__path=path).exclude(pk=grant.holder_id)
    for person in called.distinct():
        text = f"The access of {grant.holder.username} to {grant.database.slug}, which was late, is proven to be gone."
        yield Told(person, Kind.LATE_OVER, text, path)


@_of_grant
def _cut(line: Line, grant: Grant) -> Iterator[Told]:
    """A client that comes back and does it again is told again when the last message was read."""
    advice = _ADVICE.get(str(line.facts.get("cause")), "")
    text = f"A session of yours on {grant.database.slug} was ended. {line.disclosed.get('why', '')} {advice}"
    path = _grant_path(grant)
    unread = Notification.objects.filter(user=grant.holder, kind=Kind.CUT, path=path, read_at=None)
    if not unread.filter(text__endswith=advice).exists():
        yield from _to_holder(grant, Kind.CUT, text)


def _all_revoked(line: Line) -> Iterator[Told]:
    """To everybody else who may press that button for everything; each holder is told of their own access."""
    who, number = line.disclosed.get("person", "Somebody"), line.facts.get("grants")
    text = f"{who} took all access {_of_what(line)} away ({number} live)."
    for person in _each(*map(people_with_duty, _MINDERS)).values():
        if person.audit_id != line.actor:
            yield Told(person, Kind.ALL_REVOKED, text, "/revoke/")


def _of_what(line: Line) -> str:
    kind, _, key = line.subject.partition(":")
    names = {
        "user": User.objects.filter(pk=key).values_list("username", flat=True),
        "database": Database.objects.filter(pk=key).values_list("slug", flat=True),
        "server": Server.objects.filter(pk=key).values_list("name", flat=True),
    }
    name = names[kind].first() if kind in names else None
    return {"user": f"of {name}", "database": f"to {name}", "server": f"on the server {name}"}.get(kind, "there was")


@_of_request
def _glass_broken(line: Line, request: AccessRequest) -> Iterator[Told]:
    """Now, to everybody who answers for it; the holder knows."""
    who, slug = request.requester.username, request.database.slug
    text = f"{who} broke the glass on {slug}: access at once, for {span(request.minutes)}, without anybody's yes."
    text += " Security reviews it." if has_reviewers(request) else " Nobody in security can review it: add somebody."
    for person in _each(_owners(request), *map(people_with_duty, _MINDERS)).values():
        if person.pk != request.requester_id:
            yield Told(person, Kind.GLASS, text, _request_path(request))


@_of_request
def _reviewed(line: Line, request: AccessRequest) -> Iterator[Told]:
    """To the holder and the owners."""
    verdict = Review.Verdict(str(line.facts["verdict"])).label
    slug, path = request.database.slug, _request_path(request)
    yield Told(request.requester, Kind.REVIEWED, f"Your breaking of the glass on {slug} was called {verdict}.", path)
    text = f"That {request.requester.username} broke the glass on {slug} was called {verdict}."
    for owner in _owners(request):
        if owner.audit_id != line.actor:
            yield Told(owner, Kind.REVIEWED, text, path)


def _owners(request: AccessRequest) -> Iterable[User]:
    return eligible(Step(StepKind.OWNER), requester=request.requester, database=request.database)


def _stray(line: Line) -> Iterator[Told]:
    """To those who mind the server and to the owners of what is on it; again only to who has read it."""
    server = Server.objects.filter(pk=line.subject.removeprefix("server:")).first()
    if server is None or line.facts.get("disabled") or line.facts.get("removed"):
        return
    text = (
        f"On {server} a login of the portal's was found that it does not know, or whose time is over: it is disabled."
    )
    if "member_of" in line.facts:
        text = f"On {server}: {_first(line, 'why')}"[:LONGEST_TEXT]
    owning = _each(*map(owners, server.databases.all()))
    minders = _each(people_with_duty(Duty.DBA))
    for pk, person in (owning | minders).items():
        path = f"/admin/catalog/server/{server.pk}/change/" if pk in minders else "/"
        if not Notification.objects.filter(user=person, kind=Kind.STRAY, text=text, read_at=None).exists():
            yield Told(person, Kind.STRAY, text, path)


def _restored(line: Line) -> Iterator[Told]:
    """Where one may confirm it, and everywhere, stands why."""
    minders, security = (_each(people_with_duty(duty)) for duty in _MINDERS)
    text = f"The portal does nothing on any server until it is confirmed. {_first(line, 'why')}"
    for pk, person in (security | minders).items():
        yield Told(person, Kind.RESTORED, text[:LONGEST_TEXT], "/admin/" if pk in minders else "/")


def _broken(line: Line) -> Iterator[Told]:
    """To all who could know why, or have to: administrators, security and auditors."""
    found = RecordBreak.objects.filter(pk=line.subject.removeprefix("record_break:"), confirmed_at=None).first()
    if found is None:
        return
    for person in _each(*map(people_with_duty, Duty)).values():
        yield Told(person, Kind.BROKEN, found.why[:LONGEST_TEXT], f"/record/breaks/{found.pk}/")


def _altered(line: Line) -> Iterator[Told]:
    """As _broken(). A worker's row says so: the entry alone could be the web's."""
    found = last_run()
    if found is None or not found.problem_count:
        return
    first = found.problems[0] if found.problems else "Its page says what."
    for person in _each(*map(people_with_duty, Duty)).values():
        yield Told(person, Kind.BROKEN, f"The record is not as it was sealed. {first}"[:LONGEST_TEXT], "/")


def _edit_put(line: Line) -> Iterator[Told]:
    """To everybody who may be its second person."""
    edit = _edit(line)
    if edit is None or edit.status != ProposedEdit.Status.WAITING:
        return
    text = f"{edit.proposer.username} has put an edit that widens access and waits for a second person: {edit.about}."
    for person in dual_control.seconds(edit):
        yield Told(person, Kind.EDIT, text[:LONGEST_TEXT], f"/edits/{edit.pk}/")


def _edit_decided(line: Line) -> Iterator[Told]:
    """To whoever has put it."""
    edit = _edit(line)
    if edit is None:
        return
    who = edit.decided_by.username if edit.decided_by else "The operator"
    done = "agreed to your edit, and it is made" if line.action == Action.EDIT_AGREED else "declined your edit"
    yield Told(edit.proposer, Kind.EDIT_DECIDED, f"{who} {done}: {edit.about}."[:LONGEST_TEXT], f"/edits/{edit.pk}/")


def _edit(line: Line) -> ProposedEdit | None:
    found = ProposedEdit.objects.select_related("proposer", "decided_by")
    return found.filter(pk=line.subject.removeprefix("edit:")).first()


def _each(*circles: Iterable[User]) -> dict[str, User]:
    """Whoever is in one of them, once."""
    return {person.pk: person for circle in circles for person in circle}


def _first(line: Line, field: str) -> str:
    return line.disclosed.get(field, "its page says what.").split("\n")[0]


def _to_holder(grant: Grant, kind: Kind, text: str) -> Iterator[Told]:
    yield Told(grant.holder, kind, text, _grant_path(grant))


def _request_path(request: AccessRequest) -> str:
    return f"/requests/{request.pk}/"


def _grant_path(grant: Grant) -> str:
    return f"/grants/{grant.pk}/"


def _at(moment: datetime, user: User) -> str:
    """In the person's own time zone, which is named."""
    local = moment.astimezone(ZoneInfo(user.time_zone))
    return f"{local:%d %B, %H:%M} ({user.time_zone})"


_TELLERS: Final[dict[str, Callable[[Line], Iterable[Told]]]] = {
    Action.REQUEST_SUBMITTED: _waiting,
    Action.DECISION_APPROVED: _waiting,
    Action.REQUEST_APPROVED: _approved,
    Action.REQUEST_DENIED: _denied,
    Action.REQUEST_LAPSED: _lapsed,
    Action.GRANT_ISSUED: _ready,
    Action.GRANT_ISSUE_FAILED: _delayed,
    Action.GRANT_FAILED: _failed,
    Action.GRANT_EXTENDED: _extended,
    Action.GRANT_EXTEND_FAILED: _not_extended,
    Action.GRANT_EXPIRING: _expiring,
    Action.ACCESS_REVOKED: _all_revoked,
    Action.GRANT_ENDED: _ended,
    Action.GRANT_UNENTITLED: _unentitled,
    Action.ACCOUNT_SIGN_IN_WANTED: _sign_in_wanted,
    Action.GRANT_LATE: _late,
    Action.GRANT_SESSION_CUT: _cut,
    Action.DRIFT_FOUND: _drifted,
    Action.REVIEW_OPENED: _glass_broken,
    Action.REVIEW_CLOSED: _reviewed,
    Action.LOGIN_STRAY: _stray,
    Action.PORTAL_RESTORED: _restored,
    Action.RECORD_BROKEN: _broken,
    Action.RECORD_ALTERED: _altered,
    Action.EDIT_PROPOSED: _edit_put,
    Action.EDIT_AGREED: _edit_decided,
    Action.EDIT_DECLINED: _edit_decided,
}
