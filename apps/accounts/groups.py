"""The verbs about groups: who is in one, what the portal knows about it. What widens access takes a second person."""

from django.contrib.auth.models import Group
from guardian.models import GroupObjectPermission

from apps.accounts import memberships
from apps.accounts.actors import Actor, actor_id, require_dba
from apps.accounts.dual_control import Line, require_second, widening
from apps.accounts.models import Duty, GroupProfile, User
from apps.audit import services as audit
from apps.audit.actions import Action
from apps.core.errors import Conflict, Invalid, NotAllowed
from apps.core.nudge import nudge
from apps.core.texts import checked


@widening("membership.set")
def set_membership(*, actor: Actor, user: User, group: Group, present: bool) -> None:
    """Put somebody into a group by hand, which takes a second person, or take that back. What single sign-on says is
    another matter. Raises NotAllowed, Waits.
    """
    require_dba(actor, what="change who is in a group")
    if isinstance(actor, User) and actor.pk == user.pk:
        raise NotAllowed("Nobody changes their own groups: ask another database administrator.")
    locked = memberships.locked(user)
    change = memberships.set_by_hand(locked, group, present=present)
    joins = [line for one in change.added for line in [Line("group", "", one.name), *what_it_gives(one)]]
    require_second(actor, about=f"Groups of {user.name}", subject=user.audit_id, difference=joins)
    memberships.tell(locked, change, actor=actor_id(actor))
    nudge()


@widening("group.save")
def save_group(*, actor: Actor, name: str, claim: str | None, is_team: bool, duty: Duty | None) -> GroupProfile:
    """Make a group, or change what the portal knows about it. `claim` is its name in the sign-on's groups claim.

    What puts other people into it, makes peers of them or gives them a duty takes a second person. Raises Invalid,
    Conflict, NotAllowed, Waits.
    """
    duty = Duty(duty) if duty else None
    require_dba(actor, what="change groups")
    name = _printable(name, what="The name of a group", field="name", at_most=150)
    claim = _printable(claim, what="A claim", field="claim", at_most=255) if claim and claim.strip() else None
    group, is_new = Group.objects.get_or_create(name=name)
    profile, _ = GroupProfile.objects.select_for_update(no_key=True).get_or_create(group=group)
    _check_free(profile, claim=claim, duty=duty)
    before = profile.duty
    difference, widens = _difference(profile, claim=claim, is_team=is_team, duty=duty)
    profile.claim, profile.is_team, profile.duty = claim, is_team, duty
    profile.save()
    subject = "group:new" if is_new else f"group:{group.pk}"  # a number that is taken back is nobody's
    require_second(actor, about=f"Group “{name}”", subject=subject, difference=difference, widens=widens)
    if Duty.DBA in {before, duty} and before != duty:
        User.objects.filter(groups=group, emergency_until=None).update(is_staff=duty == Duty.DBA)
    audit.record(
        Action.GROUP_CHANGED,
        actor=actor_id(actor),
        subject=f"group:{group.pk}",
        facts={"is_team": is_team, "duty": str(duty) if duty else None},
        disclosed={"name": name, **({"claim": claim} if claim else {})},
    )
    nudge()
    return profile


def what_it_gives(group: Group) -> list[Line]:
    """What whoever is in it has by that, as it is now: whoever agrees to more people has to know."""
    held = GroupObjectPermission.objects.filter(group=group)
    held = held.select_related("permission").prefetch_related("content_object")
    gives = sorted(
        f"{one.permission.codename.replace('_', ' ')} ({one.content_object or one.object_pk})" for one in held
    )
    duty = getattr(getattr(group, "profile", None), "duty", None)
    if duty:
        gives.append(f"the duty {dict(Duty.choices).get(duty, duty)}")
    return [Line(f"its people may: {one}", "", "yes") for one in gives]


def _check_free(profile: GroupProfile, *, claim: str | None, duty: Duty | None) -> None:
    others = GroupProfile.objects.exclude(pk=profile.pk).select_related("group")
    if claim and (other := others.filter(claim=claim).first()):
        raise Conflict(f"The claim ‘{claim}’ stands for the group {other.group.name} already.", field="claim")
    if duty and (other := others.filter(duty=duty).first()):
        raise Conflict(
            f"The group {other.group.name} carries this duty. Take it away there first: a duty has one group.",
            field="duty",
        )


def _difference(
    profile: GroupProfile, *, claim: str | None, is_team: bool, duty: Duty | None
) -> tuple[list[Line], bool]:
    """What an edit changes, and whether any of it puts people into a group, makes peers of them or gives a duty."""
    duties = dict(Duty.choices)
    lines = []
    if claim != profile.claim:
        lines.append(Line("claim", profile.claim or "", claim or ""))
    if is_team != profile.is_team:
        lines.append(Line("is a team", *("yes" if one else "no" for one in (profile.is_team, is_team))))
    if duty != profile.duty:
        lines.append(Line("duty", str(duties.get(profile.duty or "", "")), str(duties.get(duty or "", ""))))
    maps = bool(claim) and claim != profile.claim
    widens = maps or (is_team and not profile.is_team) or (duty is not None and duty != profile.duty)
    return (lines + what_it_gives(profile.group) if widens else lines), widens


def _printable(text: str, *, what: str, field: str, at_most: int) -> str:
    """Names stand in lines that somebody agrees to."""
    text = checked(text, what=what, field=field, at_most=at_most, required=True)
    if not text.isprintable():
        raise Invalid(f"{what} holds characters that cannot be seen; remove them.", field=field)
    return text
