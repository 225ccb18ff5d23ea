"""What every page of the portal shows around its content. Nothing is asked of the database until a page shows it."""

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from django.db.models import Count, Exists, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest

from apps.accounts import dual_control
from apps.accounts.adminsite import person
from apps.accounts.models import ProposedEdit, User
from apps.accounts.roles import answers_for_record, is_auditor, is_dba, is_seen, is_welcome, may_second, seen_until
from apps.approvals import services as approvals
from apps.approvals.models import Review
from apps.audit.models import RecordBreak, VerificationRun
from apps.audit.signing import open_breaks
from apps.audit.verifying import last_run
from apps.core import clock
from apps.grants import continuity
from apps.grants.models import Continuity, Grant
from apps.grants.revoking import may_revoke_all
from apps.grants.states import GrantStatus
from apps.grants.unentitled import ASK_BEFORE
from apps.notifications import services as notifications
from apps.portal.reviewing import OpenReview, open_reviews
from apps.requests.models import AccessRequest

_KEY: Final = "_portal_surroundings"
_LOUDEST: Final = 5


class Surroundings:
    """For one request of one person."""

    def __init__(self, user: User) -> None:
        self.user = user

    @cached_property
    def _pulse(self) -> Mapping[str, Any]:
        """What every page shows, in one query."""
        unread = notifications.unread(self.user).order_by().values("user").annotate(number=Count("pk")).values("number")
        return User.objects.filter(pk=self.user.pk).values(
            now=clock.in_sql(),
            unread=Coalesce(Subquery(unread), 0),
            late=Exists(Grant.objects.late(clock.in_sql())),
            glass=Exists(Review.objects.opened()),
            restored=Exists(Continuity.objects.filter(confirmed_at=None)),
            edits=Exists(dual_control.waiting()),
            altered=VerificationRun.objects.exclude(finished_at=None).values("problem_count")[:1],
            broken=Exists(RecordBreak.objects.filter(confirmed_at=None)),
        )[0]

    @cached_property
    def now(self) -> datetime:
        """One moment for the whole page."""
        moment: datetime = self._pulse["now"]
        return moment

    @cached_property
    def inbox(self) -> QuerySet[AccessRequest]:
        """Who may decide what is worked out once for the page and for the number beside its name."""
        return approvals.inbox(self.user)

    @cached_property
    def edits(self) -> list[ProposedEdit]:
        """Edits that widen access and that this person could agree to."""
        if not self._pulse["edits"]:
            return []
        return list(dual_control.in_short(dual_control.waiting_for(self.user)))

    @cached_property
    def waiting(self) -> int:
        return self.inbox.count() + len(self.edits)

    @cached_property
    def may_second(self) -> bool:
        return may_second(self.user)

    @cached_property
    def unread(self) -> int:
        number: int = self._pulse["unread"]
        return number

    @cached_property
    def late(self) -> list[Grant]:
        """What should be gone and is not, as far as this person may see it."""
        if not self._pulse["late"]:
            return []
        found = Grant.objects.late(self.now).visible_to(self.user)
        return list(found.select_related("database", "holder")[:_LOUDEST])

    @cached_property
    def reviews(self) -> list[OpenReview]:
        """Of access taken at once: open ones that this person answers for, or that are about them."""
        return open_reviews(self.user, at_most=_LOUDEST) if self._pulse["glass"] else []

    @cached_property
    def sign_in_by(self) -> datetime | None:
        """Until when to sign in once more to keep live access; None while there is time, or none to lose."""
        until = seen_until(self.user)
        if until is None or not self.now < until <= self.now + ASK_BEFORE:
            return None
        held = Grant.objects.filter(holder=self.user, status=GrantStatus.ACTIVE, expires_at__gt=until)
        return until if held.exists() else None

    @cached_property
    def is_unseen(self) -> bool:
        until = seen_until(self.user)
        return until <= self.now if until is not None else not is_seen(self.user)

    @cached_property
    def restored(self) -> Continuity | None:
        """Why nothing is done on any server at present, if that is so."""
        return continuity.waiting() if self._pulse["restored"] else None

    @cached_property
    def answers_for_record(self) -> bool:
        return answers_for_record(self.user)

    @cached_property
    def broken(self) -> RecordBreak | None:
        """Another history than an anchor has seen, for those who answer for the record."""
        if not self._pulse["broken"] or not self.answers_for_record:
            return None
        return next(iter(open_breaks()), None)

    @cached_property
    def altered(self) -> VerificationRun | None:
        """A record that is not as it was sealed, for those who answer for it."""
        if not self._pulse["altered"] or not self.answers_for_record:
            return None
        return last_run()

    @cached_property
    def is_dba(self) -> bool:
        return is_dba(self.user)

    @cached_property
    def may_revoke_all(self) -> bool:
        return may_revoke_all(self.user)

    @cached_property
    def begins_with_all(self) -> bool:
        """Whether lists show what others have as well, unless they are asked for one's own."""
        return self.may_revoke_all or self.may_read_record

    @cached_property
    def may_read_record(self) -> bool:
        return is_auditor(self.user)


def is_of_all(request: HttpRequest) -> bool:
    """Whether a list shows what others have as well."""
    whose = request.GET.get("whose")
    return whose == "all" if whose else surroundings(request).begins_with_all


def surroundings(request: HttpRequest) -> Surroundings:
    """The same object for the view and for the page around it."""
    found = request.__dict__.get(_KEY)
    if found is None:
        found = request.__dict__[_KEY] = Surroundings(person(request))
    return found


def portal(request: HttpRequest) -> dict[str, Any]:
    """Context processor: `portal`, for whoever is signed in."""
    user = getattr(request, "user", None)
    if not isinstance(user, User) or not is_welcome(user):
        return {}
    return {"portal": surroundings(request)}
