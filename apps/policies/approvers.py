"""Who may approve what: one definition for the preview, for the decision and for what a person may see.

Two ways of asking: `eligible()` finds everybody for one step, `standing()` judges many people and many requests
in a fixed number of queries. Nobody is ever eligible for a request of their own; superusers are exempt from nothing.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any, Final

from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet
from guardian.models import GroupObjectPermission, UserObjectPermission

from apps.accounts.models import Duty, User
from apps.accounts.roles import has_duty, people_with_duty, seen, teams_of, welcome, welcome_people
from apps.catalog.models import Database
from apps.policies.facts import Step, StepKind

# Steps that go by a right on the database, held by a group or by a person.
_RIGHTS: Final = {StepKind.OWNER: "own_database", StepKind.DATA_OWNER: "own_data"}
_ON_DATABASE: Final = {
    "permission__content_type__app_label": "catalog",
    "permission__content_type__model": "database",
}


def eligible(step: Step, *, requester: User, database: Database) -> QuerySet[User]:
    """Everybody who could take `step` now: active, and not the requester."""
    match step.kind:
        case StepKind.PEER:
            people = welcome_people().filter(groups__in=teams_of(requester))
        case StepKind.OWNER | StepKind.DATA_OWNER:
            people = welcome_people().filter(_holds(_RIGHTS[step.kind], database))
        case StepKind.GROUP:
            people = _members(step.group or "")
    return people.exclude(pk=requester.pk).distinct()


def owners(database: Database) -> QuerySet[User]:
    """Everybody who owns it."""
    return welcome_people().filter(_holds(_RIGHTS[StepKind.OWNER], database)).distinct()


def may_take(user: User, step: Step, *, requester: User, database: Database) -> bool:
    """Whether `user` is one of them, asked of the database now."""
    return eligible(step, requester=requester, database=database).filter(pk=user.pk).exists()


def circles(*, requester: User, database: Database, groups: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The ids of everybody who could take a step of each kind, as Facts.eligible wants them."""
    steps = [Step(kind) for kind in StepKind if kind is not StepKind.GROUP]
    steps += [Step(StepKind.GROUP, group=group) for group in groups]
    return {
        step.key: tuple(
            eligible(step, requester=requester, database=database).order_by("pk").values_list("pk", flat=True)
        )
        for step in steps
    }


def visible_requests(user: User) -> Q:
    """Requests that `user` may look at. May give a row twice: use it in a subquery."""
    if any(has_duty(user, duty) for duty in Duty):
        return ~Q(pk__in=[])
    seen = Q(requester=user) | Q(database__in=Database.objects.owned_by(user)) | Q(decisions__decider=user)
    seen |= _asks(Step(StepKind.DATA_OWNER)) & Q(database__in=Database.objects.data_owned_by(user))
    peers = User.objects.filter(groups__in=teams_of(user)).values("pk")
    seen |= _asks(Step(StepKind.PEER)) & Q(requester__in=peers)
    names = user.groups.values_list("name", flat=True)
    return reduce(or_, (_asks(Step(StepKind.GROUP, group=name)) for name in names), seen)


@dataclass(frozen=True)
class Person:
    """What decides whether somebody is eligible."""

    is_welcome: bool
    is_seen: bool
    groups: frozenset[str]
    teams: frozenset[int]
    duties: frozenset[str]


_NOBODY: Final = Person(is_welcome=False, is_seen=False, groups=frozenset(), teams=frozenset(), duties=frozenset())


@dataclass(frozen=True)
class Standing:
    """Some people and some databases, as they are at one moment."""

    people: Mapping[str, Person]
    owners: Mapping[tuple[StepKind, str], frozenset[str]]  # OWNER or DATA_OWNER, database id -> ids of people

    def counts(self, user_id: str, step: Step, *, requester_id: str, database_id: str) -> bool:
        """Whether a vote given earlier counts now: its voter could still cast it, and single sign-on still knows them.

        Whoever comes to vote has just been seen; whoever voted yesterday may have left since.
        """
        is_seen = self.people.get(user_id, _NOBODY).is_seen
        return is_seen and self.may_take(user_id, step, requester_id=requester_id, database_id=database_id)

    def may_take(self, user_id: str, step: Step, *, requester_id: str, database_id: str) -> bool:
        """The same answer as approvers.may_take()."""
        person = self.people.get(user_id, _NOBODY)
        if not person.is_welcome or user_id == requester_id:
            return False
        match step.kind:
            case StepKind.PEER:
                return bool(person.teams & self.people.get(requester_id, _NOBODY).teams)
            case StepKind.OWNER | StepKind.DATA_OWNER:
                return user_id in self.owners.get((step.kind, database_id), frozenset())
            case StepKind.GROUP:
                return step.group in (person.duties if step.group in Duty.values else person.groups)


def standing(*, people: Iterable[str], databases: Iterable[str]) -> Standing:
    """Read what is needed to judge `people` (ids) for requests of any of them for `databases` (ids)."""
    ids, database_ids = set(people), set(databases)
    return Standing(_people(ids), _owners(ids, database_ids))


def _holds(right: str, database: Database) -> Q:
    held = {"object_pk": database.pk, "permission__codename": right, **_ON_DATABASE}
    groups = GroupObjectPermission.objects.filter(**held).values("group")
    users = UserObjectPermission.objects.filter(**held).values("user")
    return Q(groups__in=groups) | Q(pk__in=users)


def _members(group: str) -> QuerySet[User]:
    """A duty's word stands for whoever carries the duty, whatever the group is called here."""
    if group in Duty.values:
        return people_with_duty(Duty(group))
    return welcome_people().filter(groups__name=group)


def _asks(step: Step) -> Q:
    """The request's route has a step for this circle."""
    wanted: dict[str, Any] = {"kind": step.kind.value}
    if step.kind is StepKind.GROUP:
        wanted["group"] = step.group
    return Q(verdict__steps__contains=[wanted])


def _people(ids: set[str]) -> dict[str, Person]:
    # One row for each group of a person, and one without a group for whoever is in none.
    rows = (
        User.objects.filter(pk__in=ids)
        .annotate(
            is_welcome=ExpressionWrapper(welcome(), output_field=BooleanField()),
            is_seen=ExpressionWrapper(seen(), output_field=BooleanField()),
        )
        .values_list(
            *("pk", "is_welcome", "is_seen", "emergency_until"),
            *("groups", "groups__name", "groups__profile__is_team", "groups__profile__duty"),
        )
    )
    found: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for user_id, *row in rows:
        found[user_id].append(tuple(row))
    return {user_id: _person(of_one) for user_id, of_one in found.items()}


def _person(rows: Sequence[tuple[Any, ...]]) -> Person:
    is_welcome, is_seen, emergency_until = rows[0][:3]
    return Person(
        is_welcome=is_welcome,
        is_seen=bool(is_seen),
        groups=frozenset(name for *_, name, _, _ in rows if name is not None),
        teams=frozenset(group_id for *_, group_id, _, is_team, _ in rows if is_team),
        # The emergency administrator has one duty and no other, as in accounts.roles.
        duties=frozenset({Duty.DBA}) if emergency_until else frozenset(duty for *_, duty in rows if duty),
    )


def _owners(ids: set[str], databases: set[str]) -> dict[tuple[StepKind, str], frozenset[str]]:
    held = {"object_pk__in": databases, "permission__codename__in": _RIGHTS.values(), **_ON_DATABASE}
    by_user = UserObjectPermission.objects.filter(user__in=ids, **held)
    by_group = GroupObjectPermission.objects.filter(group__user__in=ids, **held)
    rows = by_user.values_list("permission__codename", "object_pk", "user").union(
        by_group.values_list("permission__codename", "object_pk", "group__user")
    )
    kinds = {right: kind for kind, right in _RIGHTS.items()}
    owners: dict[tuple[StepKind, str], set[str]] = defaultdict(set)
    for right, database_id, user_id in rows:
        owners[kinds[right], database_id].add(user_id)
    return {key: frozenset(people) for key, people in owners.items()}
