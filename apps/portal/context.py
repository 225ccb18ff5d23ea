"""What every page of the portal shows around its content. Nothing is asked of the database until a page shows it."""

from datetime import datetime
from functools import cached_property
from typing import Any, Final

from django.db.models import Q, QuerySet
from django.http import HttpRequest

from apps.accounts.adminsite import person
from apps.accounts.models import User
from apps.accounts.roles import is_auditor, is_dba, is_security, is_welcome
from apps.approvals import services as approvals
from apps.core import clock
from apps.grants.models import LATE_AFTER, Grant
from apps.grants.states import GrantStatus
from apps.notifications import services as notifications
from apps.requests.models import AccessRequest

_KEY: Final = "_portal_surroundings"
_LOUDEST: Final = 5


class Surroundings:
    """For one request of one person."""

    def __init__(self, user: User) -> None:
        self.user = user

    @cached_property
    def now(self) -> datetime:
        """One moment for the whole page."""
        return clock.now()

    @cached_property
    def inbox(self) -> QuerySet[AccessRequest]:
        """Who may decide what is worked out once for the page and for the number beside its name."""
        return approvals.inbox(self.user)

    @cached_property
    def waiting(self) -> int:
        return self.inbox.count()

    @cached_property
    def unread(self) -> int:
        return notifications.unread_count(self.user)

    @cached_property
    def late(self) -> list[Grant]:
        """What should be gone and is not, as far as this person may see it."""
        overdue = Q(status=GrantStatus.ACTIVE, expires_at__lt=self.now - LATE_AFTER)
        late = Grant.objects.late(self.now) | Grant.objects.filter(overdue)
        return list(late.visible_to(self.user).select_related("database", "holder")[:_LOUDEST])

    @cached_property
    def is_dba(self) -> bool:
        return is_dba(self.user)

    @cached_property
    def may_read_record(self) -> bool:
        return is_auditor(self.user) or is_security(self.user) or self.is_dba

    @cached_property
    def has_a_duty(self) -> bool:
        return self.may_read_record


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
