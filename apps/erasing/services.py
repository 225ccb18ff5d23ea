"""Erasing a person who has left: who they are and what they wrote goes; that it was done, by whom it was allowed, and
when it ended stays (design §6).

The record holds no text about people, only commitments to them: their texts are deleted beside it and the chain still
verifies. Runs as the owner of the tables, because nobody else may delete such a text.
"""

from dataclasses import dataclass
from typing import Any, Final

from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.contrib.admin.models import LogEntry
from django.db import connections, transaction
from django.db.models import Q
from guardian.models import UserObjectPermission

from apps.accounts.actors import OPERATOR
from apps.accounts.models import ApiToken, Membership, ProposedEdit, User
from apps.approvals.models import Decision, Review
from apps.audit.erasing import erase_texts
from apps.audit.rights import OWNER_ALIAS
from apps.console.models import Command
from apps.core import clock
from apps.core.errors import Conflict, Invalid, NotFound
from apps.core.texts import checked
from apps.grants.models import Grant
from apps.grants.states import OVER
from apps.notifications.models import Notification
from apps.reports.models import Bundle, BundlePart, BundleStatus
from apps.requests.models import AccessRequest
from apps.requests.states import RequestStatus

ERASED: Final = "[erased]"
_MAX_REASON: Final = 1_000


@dataclass(frozen=True, kw_only=True)
class Erased:
    """`person`: the record's id of whoever it was, which stays. `texts` beside `entries` of the record are gone."""

    person: str
    name: str  # what the pages call them from now on
    texts: int
    entries: int


def erase_person(*, username: str, reason: str, confirmed: bool = False) -> Erased:
    """Erase whoever has left, for good; recorded without their name.

    Without `confirmed` nothing is done but counting. Raises NotFound, Conflict while they are active or something of
    theirs is still open, Invalid for a reason that is empty or names them.
    """
    reason = checked(reason, what="The reason", field="reason", at_most=_MAX_REASON, required=True)
    with transaction.atomic(using=OWNER_ALIAS, durable=True):
        person = _locked(username)
        _check_reason(person, reason)
        _check_gone(person)
        done = erase_texts(
            actor=OPERATOR,
            person=person.audit_id,
            subjects=_told_of(person),
            wholly=[f"edit:{pk}" for pk in _edits_about(person).values_list("pk", flat=True)],
            reason=reason,
            using=OWNER_ALIAS,
        )
        _forget(person)
        if not confirmed:
            transaction.set_rollback(True, using=OWNER_ALIAS)
    return Erased(person=person.audit_id, name=person.name, texts=done.texts, entries=done.entries)


def _locked(username: str) -> User:
    found: User | None = (
        None if "\0" in username else _rows(User).select_for_update(of=("self",)).filter(username=username).first()
    )
    if found is None:
        raise NotFound(f"There is nobody called ‘{username}’ here.")
    return found


def _check_reason(person: User, reason: str) -> None:
    """It stands in the record for good, as to erase the erasing would have no end."""
    names = {person.username, person.email, *person.get_full_name().split()} - {""}
    said = reason.casefold().split()
    if any(name.casefold() in said for name in names):
        raise Invalid("The reason must not name whom it is about: it stays in the record.", field="reason")


def _check_gone(person: User) -> None:
    if person.is_active:
        raise Conflict(f"{person.username} is active: deactivate them first, which ends their access.")
    if _rows(Grant).filter(holder=person).exclude(status__in=OVER).exists():
        raise Conflict(
            f"Access of {person.username} has not ended yet: try again when the targets say that it is gone."
        )
    if _rows(AccessRequest).filter(requester=person, status=RequestStatus.PENDING).exists():
        raise Conflict(f"A request of {person.username} is still open: it closes in a moment, as they are deactivated.")
    if _rows(Review).filter(closed_at=None, request__requester=person).exists():
        raise Conflict(
            f"{person.username} has broken the glass, and that is not reviewed yet: security closes it first."
        )


def _told_of(person: User) -> list[str]:
    """Subjects of the record that are theirs."""
    kinds: tuple[tuple[str, Any], ...] = (
        ("request", _rows(AccessRequest).filter(requester=person)),
        ("grant", _rows(Grant).filter(holder=person)),
        ("token", _rows(ApiToken).filter(user=person)),
    )
    return [f"{kind}:{pk}" for kind, rows in kinds for pk in rows.values_list("pk", flat=True)]


def _edits_about(person: User) -> Any:
    return _rows(ProposedEdit).filter(subject=person.audit_id)


def _forget(person: User) -> None:
    """The rows that the pages show."""
    names = [name for name in (person.name, person.username, person.email) if name]
    _forget_texts(person)
    _forget_copies()
    _forget_messages(person, names)
    for rows in (
        _rows(UserSession).filter(user=person),
        _rows(SocialAccount).filter(user=person),
        _rows(EmailAddress).filter(user=person),
        _rows(ApiToken).filter(user=person),
        _rows(UserObjectPermission).filter(user=person),
        _rows(Membership).filter(user=person),
        _rows(LogEntry).filter(Q(user=person) | Q(object_id=person.pk)),
    ):
        rows.delete()
    person.groups.through.objects.using(OWNER_ALIAS).filter(user_id=person.pk).delete()
    person.username, person.first_name, person.last_name, person.email = f"erased-{person.pk}", "", "", ""
    person.issuer, person.subject, person.time_zone, person.last_login = "", "", "UTC", None
    person.set_unusable_password()
    person.save(using=OWNER_ALIAS)


def _forget_texts(person: User) -> None:
    requests = _rows(AccessRequest).filter(requester=person)
    requests.update(reason=ERASED, ticket="", closed_reason="", idempotency_key=None, body_digest="")
    for request in requests.filter(scope__statement__gt=""):
        for scope in (request.asked_scope, request.scope):
            scope["statement"] = ERASED
        request.save(using=OWNER_ALIAS, update_fields=["asked_scope", "scope"])
    decided = _rows(Decision).filter(Q(decider=person) | Q(request__requester=person)).exclude(comment="")
    decided.update(comment=ERASED)
    _rows(Review).filter(Q(closed_by=person) | Q(request__requester=person)).exclude(comment="").update(comment=ERASED)
    _rows(Command).filter(change__person=person).update(sql="", address="")
    for grant in _rows(Grant).filter(holder=person):
        grant.login, grant.end_reason, grant.problem, grant.drift = f"erased_{grant.pk}", "", "", ""
        if grant.scope.get("statement"):
            grant.scope["statement"] = ERASED
        grant.save(using=OWNER_ALIAS, update_fields=["login", "end_reason", "problem", "drift", "scope"])
    waiting = _rows(ProposedEdit).filter(status=ProposedEdit.Status.WAITING)
    for mine in (waiting.filter(proposer=person), waiting.filter(subject=person.audit_id)):
        mine.update(status=ProposedEdit.Status.WITHDRAWN, decided_at=clock.now())
    _edits_about(person).update(about=ERASED)
    said = Q(decided_by=person) | Q(subject=person.audit_id)
    _rows(ProposedEdit).filter(said).exclude(comment="").update(comment=ERASED)
    _rows(Grant).filter(ended_by=person).exclude(end_reason="").update(end_reason=ERASED)


def _forget_copies() -> None:
    """Bundles hold texts in the clear: whoever still needs one asks again."""
    _rows(BundlePart).delete()
    _rows(Bundle).filter(status=BundleStatus.READY).update(status=BundleStatus.GONE)


def _forget_messages(person: User, names: list[str]) -> None:
    named = Q(user=person)
    for name in names:
        named |= Q(text__icontains=name)
    _rows(Notification).filter(named).delete()


def _rows(model: Any) -> Any:
    return model._default_manager.using(OWNER_ALIAS)


def has_owner() -> bool:
    """Whether this process was told how to reach the portal's database as its owner."""
    return OWNER_ALIAS in connections
