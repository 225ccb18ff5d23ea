"""A second person for what widens access (dual control): edits of rules, labels, masks, ownership, groups and hosts.

A verb that can widen access is marked with `widening()` and says what it is about to change with `require_second()`,
after its checks and before it records anything. Unless another person is just agreeing, that takes everything back and
keeps the call, with the difference it would make. When another database administrator or security agrees, the same
call runs again in the name of whoever put it, and goes on only if it makes the same difference as was shown. So the
difference tells all that the call changes, and what that is to people, not only what was typed.

The operator needs no second person: whoever has a shell on the server holds the portal's keys, and is named as such.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from functools import wraps
from typing import Any, Final, NamedTuple, ParamSpec, TypeVar

from django.apps import apps
from django.db.models import F, Func, IntegerField, Model, Q, QuerySet

from apps.accounts.actors import OPERATOR, Actor, actor_id
from apps.accounts.models import Duty, ProposedEdit, User
from apps.accounts.roles import answers_for_all, is_security, is_seen, may_second, people_with_duty
from apps.audit import services as audit
from apps.audit.actions import Action
from apps.audit.canonical import Json
from apps.core import clock
from apps.core.errors import Conflict, NotAllowed, NotFound, PortalError
from apps.core.nudge import nudge
from apps.core.texts import checked
from apps.core.verbs import verb

_MOVED_ON: Final = "What this would change is no longer what was shown: the catalog or the policy has changed since."
P = ParamSpec("P")
R = TypeVar("R")

WAITS: Final = timedelta(days=14)
LATELY: Final = timedelta(days=7)  # for so long whoever widened access brings security into what they ask and approve
MAX_COMMENT: Final = 2_000
_LISTED: Final = 900_000  # characters of a difference, in one text of the record
_LONGEST_ABOUT: Final = 300
_VERBS: Final[dict[str, Callable[..., object]]] = {}


@dataclass
class _Agreement:
    """What is being agreed to, and whether the verb has been found to make just that."""

    edit: ProposedEdit
    is_the_same: bool = False


_agreed_to: ContextVar[_Agreement | None] = ContextVar("agreed_to", default=None)


class Line(NamedTuple):
    """One line of a difference; `before` and `after` are as people read them, "" where there is nothing."""

    what: str
    before: str
    after: str

    def __str__(self) -> str:
        text = f"{self.what}: {self.before or 'nothing'} → {self.after or 'nothing'}"
        return text.replace("\n", "⏎").replace("\r", "⏎")  # or one would look like several


class Waits(PortalError):
    """Understood, kept, and not done: another person has to agree first."""

    status = 202
    title = "Waits for a second person"

    def __init__(self, sentence: str, edit: ProposedEdit) -> None:
        super().__init__(sentence)
        self.edit = edit


class _Wanted(Exception):
    def __init__(self, actor: User, about: str, subject: str, difference: Sequence[Line]) -> None:
        super().__init__(about)
        self.actor, self.about, self.subject, self.difference = actor, about, subject, difference


def widening(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A verb that may raise Waits. It takes keyword arguments only: plain values, rows, and lists of these.

    `name` stands in rows and in the record: it is never changed or reused.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if name in _VERBS:
            raise ValueError(f"There is a verb {name} already.")
        _VERBS[name] = function
        run = verb(function)

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return run(*args, **kwargs)
            except _Wanted as wanted:
                found = wanted
            given = {key: _frozen(value) for key, value in kwargs.items() if key != "actor"}
            raise _waits(_propose(name=name, given=given, wanted=found))

        return call

    return decorate


def require_second(actor: Actor, *, about: str, subject: str, difference: Sequence[Line], widens: bool = True) -> None:
    """Inside a verb: return if nothing of this widens access, or a second person is just agreeing to it.

    `about` is what is changed, for people; `subject` is the record's name of it; `difference` is all that the call
    changes. Raises Conflict where that is another difference than was shown.
    """
    agreement = _agreed_to.get()
    if agreement is not None:
        if _plain(difference) != agreement.edit.difference:
            raise Conflict(f"{_MOVED_ON} {agreement.edit.proposer.name} has to put it again.")
        agreement.is_the_same = True
    elif widens and difference and isinstance(actor, User):
        raise _Wanted(actor, about, subject, difference)


def waiting() -> QuerySet[ProposedEdit]:
    """What waits for a second person, longest first."""
    found = ProposedEdit.objects.filter(status=ProposedEdit.Status.WAITING, expires_at__gt=clock.in_sql())
    return found.select_related("proposer").order_by("proposed_at")


def in_short(edits: QuerySet[ProposedEdit]) -> QuerySet[ProposedEdit]:
    """For lists: without the call and its difference, which may be long; with `first_line` and `line_count`."""
    return edits.defer("arguments", "difference").annotate(
        first_line=F("difference__0"),
        line_count=Func(F("difference"), function="jsonb_array_length", output_field=IntegerField()),
    )


def waiting_for(user: User) -> QuerySet[ProposedEdit]:
    """Of those, the ones that `user` may decide."""
    if not may_second(user):
        return ProposedEdit.objects.none()
    return waiting().exclude(proposer=user).exclude(subject=user.audit_id)


def visible_to(user: User) -> QuerySet[ProposedEdit]:
    """Every edit that ever waited, newest first, for administrators and security; their own for everybody else."""
    found = ProposedEdit.objects.select_related("proposer", "decided_by").order_by("-proposed_at")
    return found if answers_for_all(user) else found.filter(proposer=user)


def seconds(edit: ProposedEdit) -> QuerySet[User]:
    """Who may agree to it."""
    found = people_with_duty(Duty.DBA) | people_with_duty(Duty.SECURITY)
    others = found.exclude(pk=edit.proposer_id).exclude(pk=edit.subject.removeprefix("user:"))
    return others.filter(emergency_until=None).distinct()


def widened_lately(user: User) -> bool:
    """Whether an edit that widens access, and that they put or agreed to, was made in the last seven days.

    Security that agreed has only looked at it.
    """
    return user.pk in who_widened_lately([user])


def who_widened_lately(people: Iterable[User]) -> set[str]:
    """Of these people, the ids of those for whom widened_lately() is true."""
    by_id = {person.pk: person for person in people}
    made = ProposedEdit.objects.filter(status=ProposedEdit.Status.MADE, decided_at__gte=clock.now() - LATELY)
    theirs = made.filter(Q(proposer__in=by_id) | Q(decided_by__in=by_id))
    rows = list(theirs.values_list("proposer", "decided_by"))
    put, agreed = ({row[place] for row in rows} & by_id.keys() for place in (0, 1))
    return put | {pk for pk in agreed if not is_security(by_id[pk])}


def agree(*, actor: Actor, edit_id: str, comment: str = "") -> ProposedEdit:
    """Make the edit: `actor` is its second person, or the operator. Raises what its verb raises, and as decline()."""
    return _recorded(_agree, actor=actor, edit_id=edit_id, comment=comment)


def decline(*, actor: User, edit_id: str, comment: str) -> ProposedEdit:
    """Say no, with a reason. Raises NotFound, NotAllowed, Conflict, Invalid."""
    return _recorded(_decline, actor=actor, edit_id=edit_id, comment=comment)


@verb
def withdraw(*, actor: User, edit_id: str) -> ProposedEdit:
    """Take back what one has put oneself. Raises NotFound, NotAllowed, Conflict."""
    edit = _locked(edit_id, actor)
    if edit.proposer_id != actor.pk:
        raise NotAllowed(f"{edit.proposer.name} has put this: you can decline it.")
    return _close(edit, ProposedEdit.Status.WITHDRAWN, Action.EDIT_WITHDRAWN, actor, "")


@verb
def _agree(*, actor: Actor, edit_id: str, comment: str) -> ProposedEdit:
    comment = checked(comment, what="The comment", field="comment", at_most=MAX_COMMENT)
    edit = _locked(edit_id, actor)
    _require_second_person(actor, edit)
    arguments = {key: _thawed(value) for key, value in edit.arguments.items()}
    try:
        with agreeing(edit) as agreement:
            _VERBS[edit.verb](actor=edit.proposer, **arguments)
    except NotAllowed as refusal:  # of whoever put it: nothing that the second person did wrong
        raise Conflict(f"{edit.proposer.name} may not do this any more. {refusal.sentence}") from refusal
    if not agreement.is_the_same:
        raise Conflict(f"{_MOVED_ON} It would change nothing any more: decline it.")
    return _close(edit, ProposedEdit.Status.MADE, Action.EDIT_AGREED, actor, comment)


@verb
def _decline(*, actor: Actor, edit_id: str, comment: str) -> ProposedEdit:
    comment = checked(comment, what="The reason", field="comment", at_most=MAX_COMMENT, required=True)
    edit = _locked(edit_id, actor)
    _require_second_person(actor, edit)
    return _close(edit, ProposedEdit.Status.DECLINED, Action.EDIT_DECLINED, actor, comment)


@contextmanager
def agreeing(edit: ProposedEdit) -> Iterator[_Agreement]:
    """While a second person agrees to `edit`: verbs go on that make its difference. For agree() alone."""
    agreement = _Agreement(edit)
    token = _agreed_to.set(agreement)
    try:
        yield agreement
    finally:
        _agreed_to.reset(token)


def _recorded(decide: Callable[..., ProposedEdit], *, actor: Actor, edit_id: str, comment: str) -> ProposedEdit:
    """Whoever tries what they may not is recorded, after the rollback."""
    try:
        return decide(actor=actor, edit_id=edit_id, comment=comment)
    except NotAllowed as refusal:
        if isinstance(actor, User):
            about = ("edit", ProposedEdit, edit_id)
            audit.record_attempt(Action.EDIT_REFUSED, refusal, actor=actor.audit_id, person=actor.name, about=about)
        raise


@verb
def _propose(*, name: str, given: Mapping[str, Any], wanted: _Wanted) -> ProposedEdit:
    """The same edit of the same person, put twice, waits once."""
    difference = _plain(wanted.difference)
    digest = hashlib.sha256(json.dumps([name, given, difference], sort_keys=True).encode()).hexdigest()
    proposer = User.objects.select_for_update(no_key=True).get(pk=wanted.actor.pk)
    now = clock.now()
    same = ProposedEdit.objects.filter(proposer=proposer, digest=digest, status=ProposedEdit.Status.WAITING)
    same.filter(expires_at__lte=now).update(status=ProposedEdit.Status.LAPSED, decided_at=now)
    if (first := same.select_related("proposer").first()) is not None:
        return first
    edit = ProposedEdit.objects.create(
        verb=name,
        arguments=given,
        about=wanted.about if len(wanted.about) <= _LONGEST_ABOUT else f"{wanted.about[: _LONGEST_ABOUT - 1]}…",
        subject=wanted.subject,
        difference=difference,
        digest=digest,
        proposer=proposer,
        proposed_at=now,
        expires_at=now + WAITS,
    )
    _record(Action.EDIT_PROPOSED, edit, proposer, "")
    nudge()
    return edit


def _waits(edit: ProposedEdit) -> Waits:
    if seconds(edit).exists():
        who = "It is made as soon as another database administrator or security agrees."
    else:
        who = (
            "Nobody else is a database administrator or security, so only the operator can agree, on the server: "
            f"manage.py agree_to_edit {edit.pk}."
        )
    return Waits(f"{edit.about}: this widens access, so nothing is changed yet. {who}", edit)


def _locked(edit_id: str, actor: Actor) -> ProposedEdit:
    rows = ProposedEdit.objects if actor == OPERATOR else visible_to(actor)
    edit = None if "\0" in edit_id else rows.select_for_update(no_key=True, of=("self",)).filter(pk=edit_id).first()
    if edit is None:
        raise NotFound("There is no such edit.")
    if edit.status != ProposedEdit.Status.WAITING:
        raise Conflict(f"This edit was {edit.get_status_display()} already.")
    if edit.expires_at <= clock.now():
        raise Conflict(f"This edit has waited for more than {WAITS.days} days: it has to be put again.")
    return edit


def _require_second_person(actor: Actor, edit: ProposedEdit) -> None:
    if not isinstance(actor, User):
        return
    if not may_second(actor):
        raise NotAllowed("Only a database administrator or security agrees to an edit.")
    if edit.proposer_id == actor.pk:
        raise NotAllowed("You have put this edit: another database administrator or security decides about it.")
    if edit.subject == actor.audit_id:
        raise NotAllowed("This edit is about you: somebody else decides about it.")
    if not is_seen(actor):
        raise NotAllowed("Single sign-on has not vouched for you lately. Sign in once more, and then decide.")


def _close(edit: ProposedEdit, status: str, action: Action, actor: Actor, comment: str) -> ProposedEdit:
    edit.status, edit.decided_at, edit.comment = status, clock.now(), comment
    edit.decided_by = actor if isinstance(actor, User) else None
    edit.save(update_fields=["status", "decided_at", "decided_by", "comment"])
    _record(action, edit, actor, comment)
    nudge()
    return edit


def _record(action: Action, edit: ProposedEdit, actor: Actor, comment: str) -> None:
    facts: dict[str, Json] = {
        "verb": edit.verb,
        "about": edit.subject,
        "proposed_by": edit.proposer.audit_id,
        "lines": len(edit.difference),
        "digest": edit.digest,
    }
    texts = {"what": edit.about, "difference": _text(edit.lines)} | ({"comment": comment} if comment else {})
    audit.record(action, actor=actor_id(actor), subject=edit.audit_id, facts=facts, disclosed=texts)


def _text(lines: Sequence[Sequence[str]]) -> str:
    text = "\n".join(str(Line(*line)) for line in lines)
    if len(text) <= _LISTED:
        return text
    return f"{text[:_LISTED]}…\n({len(lines)} lines in all)"


def _plain(difference: Sequence[Line]) -> list[list[str]]:
    return [list(map(str, line)) for line in difference]


def _frozen(value: Any) -> Any:
    """As JSON keeps it. Raises TypeError for what is no plain value, row, list or mapping."""
    match value:
        case Model():
            return {"row": value._meta.label_lower, "pk": value.pk}
        case bytes():
            return {"bytes": base64.b64encode(value).decode()}
        case Enum():
            return value.value
        case Mapping():
            return {"mapping": {str(key): _frozen(one) for key, one in value.items()}}
        case str() | int() | float() | None:
            return value
        case list() | tuple() | set() | frozenset():
            return [_frozen(one) for one in value]
    raise TypeError(f"A {type(value).__name__} cannot be kept for a second person.")


def _thawed(value: Any) -> Any:
    match value:
        case {"row": str() as label, "pk": pk}:
            row = apps.get_model(label)._default_manager.filter(pk=pk).first()
            if row is None:
                raise NotFound("What this edit is about is not there any more: decline it.")
            return row
        case {"bytes": str() as text}:
            return base64.b64decode(text)
        case {"mapping": dict() as held}:
            return {key: _thawed(one) for key, one in held.items()}
        case list():
            return [_thawed(one) for one in value]
    return value
