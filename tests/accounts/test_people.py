"""Groups, duties and leaving."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth.models import AnonymousUser, Group
from django.db import connection

from apps.accounts import services
from apps.accounts.claims import Vouched
from apps.accounts.models import Duty, GroupProfile, Membership, User
from apps.accounts.roles import has_duty, is_auditor, is_dba, is_security, is_welcome, people_with_duty, teams_of
from apps.core.errors import Conflict, Invalid, NotAllowed
from tests.support.people import Told, known

pytestmark = pytest.mark.django_db(transaction=True)


def fresh(user: User) -> User:
    return User.objects.get(pk=user.pk)


def test_duties_follow_groups_both_ways(groups: None) -> None:
    dana, sam, audrey = known("dana", "claim-dba"), known("sam", "claim-security"), known("audrey", "claim-auditor")
    everybody = [dana, sam, audrey, known("alice", "claim-storefront")]
    for duty, ask in ((Duty.DBA, is_dba), (Duty.SECURITY, is_security), (Duty.AUDITOR, is_auditor)):
        assert [user for user in everybody if ask(user)] == list(people_with_duty(duty))
    assert not has_duty(AnonymousUser(), Duty.DBA)
    assert not is_welcome(AnonymousUser())


def test_duties_when_deactivated_are_gone(dana: User) -> None:
    services.deactivate(actor="operator", user=dana, reason="left")
    assert not is_dba(fresh(dana))
    assert not people_with_duty(Duty.DBA).exists()


def test_teams_are_the_groups_flagged_as_such(groups: None) -> None:
    alice = known("alice", "claim-storefront", "claim-billing", "claim-security")
    assert sorted(team.name for team in teams_of(alice)) == ["billing", "storefront"]


@pytest.mark.usefixtures("seconded")
def test_set_membership_by_hand(alice: User, dana: User, told: Told) -> None:
    security = Group.objects.get(name="security")
    services.set_membership(actor=dana, user=alice, group=security, present=True)
    assert is_security(fresh(alice))
    services.set_membership(actor=dana, user=alice, group=security, present=True)
    services.set_membership(actor=dana, user=alice, group=security, present=False)
    assert not is_security(fresh(alice))
    entries = told("account.groups_changed")
    assert [line.disclosed for line in entries] == [{"added": "security"}, {"removed": "security"}]
    assert {line.actor for line in entries} == {dana.audit_id}
    assert entries[0].facts == {"source": "manual", "added": [security.pk], "removed": []}


@pytest.mark.usefixtures("seconded")
def test_set_membership_when_sso_says_it_too_needs_both_to_go(alice: User, dana: User) -> None:
    storefront = Group.objects.get(name="storefront")
    services.set_membership(actor=dana, user=alice, group=storefront, present=True)
    services.set_membership(actor=dana, user=alice, group=storefront, present=False)
    assert list(fresh(alice).groups.all()) == [storefront]
    assert Membership.objects.get(user=alice).source == Membership.Source.SSO


def test_set_membership_when_it_is_ones_own_is_refused(dana: User) -> None:
    with pytest.raises(NotAllowed):
        services.set_membership(actor=dana, user=dana, group=Group.objects.get(name="security"), present=True)
    assert not is_security(fresh(dana))


def test_verbs_when_not_a_dba_are_refused(alice: User, groups: None, told: Told) -> None:
    bob = known("bob")
    group = Group.objects.get(name="dba")
    for verb in (
        lambda: services.set_membership(actor=alice, user=bob, group=group, present=True),
        lambda: services.save_group(actor=alice, name="x", claim=None, is_team=False, duty=None),
        lambda: services.deactivate(actor=alice, user=bob, reason="why"),
        lambda: services.reactivate(actor=alice, user=bob, reason="why"),
        lambda: services.set_membership(actor="worker", user=bob, group=group, present=True),  # type: ignore[arg-type]
    ):
        with pytest.raises(NotAllowed):
            verb()
    assert told("group.") == told("account.deactivated") == told("account.groups_changed") == []


@pytest.mark.usefixtures("seconded")
def test_deactivate_when_it_makes_no_sense(alice: User, dana: User) -> None:
    with pytest.raises(NotAllowed):
        services.deactivate(actor=dana, user=dana, reason="why")
    with pytest.raises(Invalid):
        services.deactivate(actor=dana, user=alice, reason=" ")
    services.deactivate(actor=dana, user=alice, reason="left")
    with pytest.raises(Conflict):
        services.deactivate(actor=dana, user=alice, reason="left")
    services.reactivate(actor=dana, user=alice, reason="came back")
    assert is_welcome(fresh(alice))
    with pytest.raises(Conflict):
        services.reactivate(actor=dana, user=alice, reason="came back")


def test_save_group_when_the_duty_moves_moves_who_enters_the_admin(alice: User, dana: User) -> None:
    services.save_group(actor=dana, name="dba", claim="claim-dba", is_team=False, duty=None)
    assert not fresh(dana).is_staff
    services.save_group(actor="operator", name="storefront", claim="claim-storefront", is_team=True, duty=Duty.DBA)
    assert fresh(alice).is_staff
    assert is_dba(fresh(alice))


def test_save_group_when_another_has_it_is_refused(dana: User) -> None:
    before = list(GroupProfile.objects.order_by("pk").values())
    for changed in ({"claim": "claim-billing"}, {"duty": Duty.SECURITY}):
        asked = {"claim": None, "duty": None} | changed
        with pytest.raises(Conflict) as refusal:
            services.save_group(actor=dana, name="storefront", is_team=True, **asked)  # type: ignore[arg-type]
        assert refusal.value.field in changed
    with pytest.raises(Invalid):
        services.save_group(actor=dana, name=" ", claim=None, is_team=True, duty=None)
    assert list(GroupProfile.objects.order_by("pk").values()) == before


@pytest.mark.usefixtures("seconded")
def test_save_group_is_recorded(dana: User, told: Told) -> None:
    profile = services.save_group(actor=dana, name="payments", claim="grp-payments", is_team=True, duty=None)
    (entry,) = told()
    assert (entry.action, entry.actor, entry.subject) == ("group.changed", dana.audit_id, f"group:{profile.group_id}")
    assert entry.facts == {"is_team": True, "duty": None}
    assert entry.disclosed == {"name": "payments", "claim": "grp-payments"}


def test_provision_when_repeated_changes_nothing(groups: None, told: Told) -> None:
    first = known("alice", "claim-storefront")
    assert [line.action for line in told("account.")] == ["account.groups_changed", "account.provisioned"]
    assert known("alice", "claim-storefront").pk == first.pk
    assert len(told("account.")) == 2


def test_sign_in_when_twice_at_once_is_one_person(groups: None) -> None:
    """Two tabs, the first sign-in ever; and three people of one name at the same moment."""
    people = [("sub-1", "alice")] * 4 + [("sub-2", "alice"), ("sub-3", "alice")]

    def come(identity: tuple[str, str]) -> str:
        subject, username = identity
        vouched = Vouched(
            issuer="https://idp", subject=subject, username=username, groups=frozenset({"claim-storefront"})
        )
        try:
            return services.sign_in_from_sso(vouched=vouched, address="127.0.0.1").pk
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=len(people)) as pool:
        ids = list(pool.map(come, people))
    assert len(set(ids)) == 3
    assert sorted(User.objects.values_list("username", flat=True)) == ["alice", "alice-2", "alice-3"]
    assert Membership.objects.count() == 3
