"""Groups of a person: the union of what single sign-on says and what was set by hand.

`user.groups` is written here and nowhere else. All of it runs inside a verb that holds the lock on the user's row.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from django.contrib.auth.models import Group

from apps.accounts.models import GroupProfile, Membership, User
from apps.accounts.roles import forget_duties, is_dba
from apps.audit import services as audit
from apps.audit.actions import Action
from apps.core import clock


@dataclass(frozen=True)
class Change:
    """What became different, for the record."""

    source: Membership.Source
    added: tuple[Group, ...] = ()
    removed: tuple[Group, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)

    @property
    def facts(self) -> dict[str, list[int] | str]:
        return {
            "source": str(self.source),
            "added": [group.pk for group in self.added],
            "removed": [group.pk for group in self.removed],
        }

    @property
    def names(self) -> dict[str, str]:
        """What the groups are called now; ids outlive names."""
        words = {"added": self.added, "removed": self.removed}
        return {word: ", ".join(group.name for group in groups) for word, groups in words.items() if groups}


def locked(user: User) -> User:
    """The row as it is now, held until the verb has ended."""
    return User.objects.select_for_update(no_key=True).get(pk=user.pk)


def tell(user: User, change: Change, *, actor: str) -> None:
    """The record hears of a change, if there was one."""
    if change:
        audit.record(
            Action.ACCOUNT_GROUPS_CHANGED,
            actor=actor,
            subject=user.audit_id,
            facts=change.facts,
            disclosed=change.names,
        )


def follow_claims(user: User, claims: Iterable[str]) -> Change:
    """Make the memberships from single sign-on what the claims say; unknown claims mean nothing here."""
    profiles = GroupProfile.objects.filter(claim__in=list(claims)).select_related("group")
    return _become(user, Membership.Source.SSO, {profile.group for profile in profiles})


def set_by_hand(user: User, group: Group, *, present: bool) -> Change:
    """Put the person into the group by hand, or take back that it was done by hand."""
    source = Membership.Source.MANUAL
    now = set(Group.objects.filter(memberships__user=user, memberships__source=source))
    return _become(user, source, now | {group} if present else now - {group})


def _become(user: User, source: Membership.Source, wanted: set[Group]) -> Change:
    rows = Membership.objects.filter(user=user, source=source).select_related("group")
    had = {row.group for row in rows}
    rows.filter(group__in=had - wanted).delete()
    since = clock.now()
    Membership.objects.bulk_create(
        Membership(user=user, group=group, source=source, since=since) for group in wanted - had
    )
    _write_union(user)
    return Change(source, added=_sorted(wanted - had), removed=_sorted(had - wanted))


def _write_union(user: User) -> None:
    user.groups.set(Group.objects.filter(memberships__user=user).distinct())
    forget_duties(user)
    if user.is_staff != is_dba(user):
        user.is_staff = not user.is_staff
        user.save(update_fields=["is_staff"])


def _sorted(groups: set[Group]) -> tuple[Group, ...]:
    return tuple(sorted(groups, key=lambda group: group.name))
