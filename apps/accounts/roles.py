"""Who carries which duty: one definition that answers both "may this person?" and "who may?"."""

from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.models import AnonymousUser, Group
from django.db.models import DateTimeField, DurationField, ExpressionWrapper, F, Q, QuerySet, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce

from apps.accounts.models import Duty, User
from apps.core import clock

_CACHE = "_portal_duties"


def is_welcome(user: User | AnonymousUser) -> bool:
    """Whether this person may do anything here at all: not deactivated, and no emergency administrator past the end."""
    if not isinstance(user, User) or not user.is_active:
        return False
    return user.emergency_until is None or user.emergency_until > clock.now()


def has_duty(user: User | AnonymousUser, duty: Duty) -> bool:
    """Asked of the database once per user object."""
    return isinstance(user, User) and duty in _duties(user)


def is_dba(user: User | AnonymousUser) -> bool:
    """A database administrator, or the emergency administrator while there is one."""
    return has_duty(user, Duty.DBA)


def is_security(user: User | AnonymousUser) -> bool:
    return has_duty(user, Duty.SECURITY)


def answers_for_all(user: User | AnonymousUser) -> bool:
    """For access to every database, as its owners do for one."""
    return is_dba(user) or is_security(user)


def may_second(user: User) -> bool:
    """As the second one of two. An emergency administrator is a password that somebody holds, not another person."""
    return user.emergency_until is None and answers_for_all(user)


def is_auditor(user: User | AnonymousUser) -> bool:
    return has_duty(user, Duty.AUDITOR)


def answers_for_record(user: User | AnonymousUser) -> bool:
    return is_auditor(user) or answers_for_all(user)


def people_with_duty(duty: Duty) -> QuerySet[User]:
    """Everybody for whom has_duty() is true."""
    return welcome_people().filter(_carries(duty)).distinct()


def welcome() -> Q:
    """is_welcome() as a condition."""
    return Q(is_active=True) & (Q(emergency_until=None) | Q(emergency_until__gt=clock.in_sql()))


def welcome_people() -> QuerySet[User]:
    """Everybody for whom is_welcome() is true."""
    return User.objects.filter(welcome())


def is_seen(user: User, *, at: datetime | None = None) -> bool:
    """Whether the identity provider has vouched for them lately. Whoever is not seen may sign in, and is seen then.

    Emergency administrators have an end of their own.
    """
    if user.emergency_until is not None or not settings.SEEN_WITHIN_HOURS:
        return True
    until = seen_until(user)
    return until is not None and until > (at or clock.now())


def seen_until(user: User) -> datetime | None:
    """When they stop being seen unless they sign in; None where that is not asked, and where they never were."""
    if user.emergency_until is not None or not settings.SEEN_WITHIN_HOURS or user.seen_at is None:
        return None
    return user.seen_at + _seen_within()


def seen() -> Q:
    """is_seen() as a condition."""
    if not settings.SEEN_WITHIN_HOURS:
        return ~Q(pk__in=[])
    since = ExpressionWrapper(clock.in_sql() - Value(_seen_within(), DurationField()), output_field=DateTimeField())
    return Q(emergency_until__isnull=False) | Q(seen_at__gt=since)


def seen_people() -> QuerySet[User]:
    """Everybody for whom is_seen() is true."""
    return User.objects.filter(seen())


def leaves_at(person: str = "") -> Combinable:
    """When somebody stops being welcome or seen by nothing but time; NULL: never. `person` is the path to the row."""
    emergency_until = F(f"{person}emergency_until")
    if not settings.SEEN_WITHIN_HOURS:
        return emergency_until
    until = F(f"{person}seen_at") + Value(_seen_within(), DurationField())
    return Coalesce(emergency_until, ExpressionWrapper(until, output_field=DateTimeField()))


def teams_of(user: User) -> QuerySet[Group]:
    """The groups whose members are each other's peers."""
    return Group.objects.filter(user=user, profile__is_team=True)


def forget_duties(user: User) -> None:
    """After a change of groups, for an object that lives on."""
    user.__dict__.pop(_CACHE, None)


def _duties(user: User) -> frozenset[str]:
    known: frozenset[str] | None = user.__dict__.get(_CACHE)
    if known is None:
        known = user.__dict__[_CACHE] = _read_duties(user)
    return known


def _read_duties(user: User) -> frozenset[str]:
    if not is_welcome(user):
        return frozenset()
    if user.emergency_until is not None:
        return frozenset({Duty.DBA})
    found = Group.objects.filter(user=user).values_list("profile__duty", flat=True)
    return frozenset(duty for duty in found if duty)


def _carries(duty: Duty) -> Q:
    by_group = Q(groups__profile__duty=duty, emergency_until=None)
    return by_group | Q(emergency_until__isnull=False) if duty == Duty.DBA else by_group


def _seen_within() -> timedelta:
    return timedelta(hours=settings.SEEN_WITHIN_HOURS)
