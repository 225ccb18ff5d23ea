import itertools
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group

from apps.accounts.models import Duty, User
from apps.core import clock
from apps.policies.approvers import circles, eligible, may_take, standing
from apps.policies.facts import Step, StepKind
from tests.factories import Cast, DutyFactory, TeamFactory, UserFactory, cast, join, leave, let_own, let_own_data

pytestmark = pytest.mark.django_db

PEER, OWNER, DATA_OWNER = Step(StepKind.PEER), Step(StepKind.OWNER), Step(StepKind.DATA_OWNER)


def group(name: str) -> Step:
    return Step(StepKind.GROUP, group=name)


@pytest.fixture
def people() -> Cast:
    return cast()


def who(step: Step, people: Cast, requester: User | None = None) -> set[str]:
    found = eligible(step, requester=requester or people.alice, database=people.shop)
    return set(found.values_list("username", flat=True))


def test_eligible_finds_the_team_when_a_peer_is_asked(people: Cast) -> None:
    assert who(PEER, people) == {"bob"}
    assert who(PEER, people, people.carol) == set()


def test_eligible_finds_nobody_when_a_shared_group_is_no_team(people: Cast) -> None:
    everybody = Group.objects.create(name="everybody")
    for person in (people.carol, people.dana):
        join(person, everybody)

    assert who(PEER, people, people.carol) == set()


def test_eligible_finds_owners_by_group_and_by_person_when_an_owner_is_asked(people: Cast) -> None:
    let_own(people.shop, people.bob)

    assert who(OWNER, people) == {"bob", "dana"}
    assert who(OWNER, people, people.dana) == {"bob"}


def test_eligible_finds_data_owners_by_group_and_by_person_when_one_is_asked(people: Cast) -> None:
    let_own_data(people.shop, people.security)
    let_own_data(people.shop, people.alice)
    let_own_data(people.staging, people.carol)

    assert who(DATA_OWNER, people) == {"sam"}  # not dana, who owns the database, and not alice, who asks
    assert who(DATA_OWNER, people, people.carol) == {"alice", "sam"}


def test_eligible_finds_no_superuser_when_they_own_nothing(people: Cast) -> None:
    UserFactory(username="root", is_superuser=True, is_staff=True)

    for step in (PEER, OWNER, DATA_OWNER, group("security"), group("web-team")):
        assert "root" not in who(step, people)


def test_eligible_leaves_out_who_is_inactive_when_asked_for_any_step(people: Cast) -> None:
    User.objects.update(is_active=False)

    for step in (PEER, OWNER, DATA_OWNER, group("security"), group("web-team")):
        assert who(step, people) == set()


def test_eligible_goes_by_duty_when_the_step_names_one(people: Cast) -> None:
    people.security.name = "the guards"
    people.security.save()
    join(people.bob, Group.objects.create(name="security"))

    assert who(group("security"), people) == {"sam"}


def test_eligible_finds_members_when_the_step_names_a_group(people: Cast) -> None:
    assert who(group("web-team"), people) == {"carol"}
    assert who(group("shop-team"), people) == {"bob"}
    assert who(group("no such group"), people) == set()


def test_circles_names_everybody_by_step_when_asked(people: Cast) -> None:
    assert circles(requester=people.alice, database=people.shop, groups=["security"]) == {
        "peer": (people.bob.pk,),
        "owner": (people.dana.pk,),
        "data_owner": (),
        "group:security": (people.sam.pk,),
    }


def test_standing_agrees_with_eligible_when_people_are_of_every_kind(people: Cast) -> None:
    """Two ways of asking, one answer: the inbox must not offer what approve() refuses."""
    hour = timedelta(hours=1)
    UserFactory(username="root", is_superuser=True)
    UserFactory(username="gone", groups=[people.shop_team, people.dba, people.security], is_active=False)
    UserFactory(username="firefighter", groups=[people.shop_team], emergency_until=clock.now() + hour)
    UserFactory(username="late", groups=[people.shop_team, people.dba], emergency_until=clock.now() - hour)
    UserFactory(username="both", groups=[people.shop_team, people.web_team, people.security])
    let_own(people.shop, people.bob)
    let_own(people.staging, people.web_team)
    let_own_data(people.shop, people.web_team)
    let_own_data(people.staging, people.alice)
    everybody = list(User.objects.all())
    databases = [people.shop, people.staging]
    known = standing(people=[user.pk for user in everybody], databases=[database.pk for database in databases])

    steps = [
        PEER,
        OWNER,
        DATA_OWNER,
        *(group(name) for name in ("security", "dba", "web-team", "shop-team", "nothing")),
    ]
    found_anybody = False
    for step, requester, database in itertools.product(steps, everybody, databases):
        found = set(eligible(step, requester=requester, database=database))
        found_anybody |= bool(found)
        for user in everybody:
            judged = known.may_take(user.pk, step, requester_id=requester.pk, database_id=database.pk)
            assert judged == (user in found), (user, step, requester, database)
    assert found_anybody


def test_standing_knows_nobody_when_people_were_not_read(people: Cast) -> None:
    known = standing(people=[], databases=[people.shop.pk])

    assert not known.may_take(people.dana.pk, OWNER, requester_id=people.alice.pk, database_id=people.shop.pk)


def test_may_take_is_false_when_the_group_was_left(people: Cast) -> None:
    assert may_take(people.bob, PEER, requester=people.alice, database=people.shop)
    leave(people.bob, people.shop_team)
    assert not may_take(people.bob, PEER, requester=people.alice, database=people.shop)


def test_eligible_counts_a_person_once_when_two_teams_are_shared(people: Cast) -> None:
    second = TeamFactory(name="second-team")
    join(people.alice, second)
    join(people.bob, second)

    assert eligible(PEER, requester=people.alice, database=people.shop).count() == 1


def test_eligible_finds_the_duty_when_a_second_group_is_made_for_it(people: Cast) -> None:
    assert DutyFactory(duty=Duty.SECURITY).pk == people.security.pk
