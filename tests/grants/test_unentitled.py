"""Who left loses access, votes and tokens at once (field notes A5), each way of leaving."""

from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import Group
from django.test import Client
from pytest_django.fixtures import Settings

from apps.accounts import services as accounts
from apps.accounts.claims import Vouched, read
from apps.accounts.models import User
from apps.approvals.services import approve
from apps.audit import services as audit
from apps.catalog.models import Database, Server
from apps.catalog.services import set_rights
from apps.core import clock
from apps.core.errors import NotAllowed, NotSeen
from apps.grants import due, services, unentitled
from apps.grants.clock import Rounds
from apps.grants.models import Grant
from apps.grants.states import GrantStatus
from apps.grants.tasks import Task
from apps.grants.unentitled import Watch, end_unentitled
from apps.notifications.models import Notification
from apps.notifications.services import fold
from apps.requests.models import AccessRequest
from apps.requests.services import Ask, submit
from tests.factories import Cast, UserFactory, fresh, let_ask
from tests.grants.conftest import LeftBehind
from tests.grants.machinery import asked_for
from tests.grants.odd_engine import put_in
from tests.grants.shelf import Shelf
from tests.grants.stage import active, approved, approved_by_people, connected, now_in, queued, told
from tests.support.people import signed_in
from tests.support.threads import at_once

pytestmark = pytest.mark.django_db(transaction=True)

A_DAY = timedelta(hours=24)
A_MINUTE = timedelta(minutes=1)


@pytest.fixture
def shelf(people: Cast, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    shelf = Shelf()
    put_in(monkeypatch, shelf)
    return shelf


def lives_long(grant: Grant) -> Grant:
    """As if it had been asked for two days; what matters here is who holds it."""
    grant.refresh_from_db()
    assert grant.expires_at is not None
    Grant.objects.filter(pk=grant.pk).update(expires_at=grant.expires_at + 2 * A_DAY)
    return grant


def claims(user: User, *groups: str) -> Vouched:
    return Vouched(issuer=user.issuer, subject=user.subject, username=user.username, groups=frozenset(groups))


def sign_in(user: User, *groups: str) -> None:
    accounts.sign_in_from_sso(vouched=claims(user, *groups), address="192.0.2.1")


def the_entry(grant: Grant) -> audit.Line:
    (line,) = audit.entries(where=audit.Filter(subjects=(grant.audit_id,), action="grant.unentitled"))
    return line


def ask(people: Cast, actor: User, **parts: Any) -> AccessRequest:
    usual = {"database": "shop", "level": "query", "tables": ("sales.orders",), "connection": "console", "minutes": 60}
    return submit(actor=fresh(actor), ask=Ask(**{**usual, "reason": "Order 4711 is charged twice.", **parts}))


# Each way of leaving, on a real target --------------------------------------------------------------------------


def deactivated(people: Cast) -> None:
    accounts.deactivate(actor=fresh(people.dana), user=people.alice, reason="has left the company")


def out_of_the_group_at_sign_in(people: Cast) -> None:
    sign_in(people.alice)


def out_of_the_group_by_hand(people: Cast) -> None:
    """What was given by hand is taken by hand."""
    people.alice.memberships.update(source="manual")
    accounts.set_membership(actor=fresh(people.dana), user=people.alice, group=people.shop_team, present=False)


def the_group_lost_the_right(people: Cast) -> None:
    set_rights(
        actor=fresh(people.dana),
        database_id=people.staging.pk,
        permission="request_database",
        group=people.shop_team,
        present=False,
    )


def not_seen_for_a_day(people: Cast) -> None:
    User.objects.filter(pk=people.alice.pk).update(seen_at=clock.now() - A_DAY)


UNSEEN = "Single sign-on has not vouched for alice for 24 hours. Sign in and ask again."


@pytest.mark.parametrize(
    ("leave", "why", "sentence"),
    [
        (deactivated, "account_closed", "The account of alice was closed."),
        (out_of_the_group_at_sign_in, "right_lost", "alice may not ask for access to shop-staging any more."),
        (out_of_the_group_by_hand, "right_lost", "alice may not ask for access to shop-staging any more."),
        (the_group_lost_the_right, "right_lost", "alice may not ask for access to shop-staging any more."),
        (
            not_seen_for_a_day,
            "not_seen",
            "Single sign-on has not vouched for alice for 24 hours. Sign in and ask again.",
        ),
    ],
)
def test_rounds_end_a_real_login_when_its_holder_left(
    people: Cast, left_behind: LeftBehind, leave: Any, why: str, sentence: str
) -> None:
    grant = active(people.alice)
    with connected(grant) as client:
        assert client.execute("SELECT id FROM orders").fetchall() == [(4711,)]
        ticking = Rounds()
        ticking.look()

        leave(people)
        ticking.look()

        assert asked_for(Task.END) == [(grant.server_id,)]
        services.end_due(server_id=grant.server_id)
        with pytest.raises(psycopg.OperationalError):
            client.execute("SELECT 1")
    now_in(grant, GrantStatus.ENDED)
    assert (grant.end_cause, grant.end_reason) == ("left", sentence)
    assert left_behind.roles(grant.login) == []
    assert told(grant)[-3:] == ["grant.unentitled", "grant.ending", "grant.ended"]
    line = the_entry(grant)
    assert (line.actor, line.facts["why"], line.facts["holder"]) == ("clock", why, people.alice.audit_id)
    assert line.disclosed["reason"] == sentence
    assert "alice" not in line.body.decode()


def test_end_unentitled_leaves_others_alone_when_one_left(people: Cast, shelf: Shelf) -> None:
    gone, stays = active(people.alice), active(people.bob)
    deactivated(people)

    assert end_unentitled() == (1, True)

    now_in(gone, GrantStatus.ENDING)
    now_in(stays, GrantStatus.ACTIVE)
    assert end_unentitled() == (0, True)


def test_end_unentitled_leaves_it_when_another_way_to_the_right_is_left(people: Cast, shelf: Shelf) -> None:
    grant = active(people.alice)
    let_ask(people.staging, people.alice)
    the_group_lost_the_right(people)

    assert end_unentitled() == (0, True)

    now_in(grant, GrantStatus.ACTIVE)


@pytest.mark.parametrize("what", [Database, Server])
def test_end_unentitled_leaves_it_when_the_database_is_only_switched_off(
    people: Cast, shelf: Shelf, what: type[Database] | type[Server]
) -> None:
    grant = active(people.alice)
    what._default_manager.all().update(is_active=False)
    assert end_unentitled() == (0, True)
    now_in(grant, GrantStatus.ACTIVE)


@pytest.mark.usefixtures("seconded")
def test_end_unentitled_is_content_with_the_right_to_break_the_glass_when_it_was_broken(
    people: Cast, shelf: Shelf
) -> None:
    broken, usual = active(people.alice), active(people.alice)
    Grant.objects.filter(pk=broken.pk).update(break_glass=True)
    give = {"actor": fresh(people.dana), "database_id": people.staging.pk, "group": people.shop_team}
    set_rights(**give, permission="break_glass", present=True)
    the_group_lost_the_right(people)

    assert end_unentitled() == (1, True)
    now_in(usual, GrantStatus.ENDING)
    now_in(broken, GrantStatus.ACTIVE)

    set_rights(**give, permission="break_glass", present=False)
    assert end_unentitled() == (1, True)


def test_end_unentitled_ends_what_is_queued_when_its_holder_left(people: Cast, shelf: Shelf) -> None:
    grant = queued(people.alice)
    deactivated(people)
    end_unentitled()
    services.end_due(server_id=grant.server_id)
    now_in(grant, GrantStatus.ENDED)
    assert shelf.logins == {}


def test_end_unentitled_leaves_no_login_when_somebody_left_while_it_was_made(people: Cast, shelf: Shelf) -> None:
    grant = queued(people.alice)
    before = shelf.open_login

    def left_meanwhile(*arguments: Any) -> Any:
        opened = before(*arguments)
        deactivated(people)
        assert Watch().look() == 1
        return opened

    shelf.open_login = left_meanwhile  # type: ignore[method-assign]
    services.issue(grant_id=grant.pk)

    assert shelf.logins == {}
    services.end_due(server_id=grant.server_id)
    now_in(grant, GrantStatus.ENDED)
    assert "grant.issued" not in told(grant)


def test_end_unentitled_takes_no_group_for_a_person_when_they_only_share_its_number(people: Cast, shelf: Shelf) -> None:
    """A right is held by a group whose member somebody is, or by themselves; never by being alike in some key."""
    grant = active(people.alice)
    the_group_lost_the_right(people)
    let_ask(people.staging, people.bob)
    let_ask(people.shop, people.alice)
    assert end_unentitled() == (1, True)
    now_in(grant, GrantStatus.ENDING)


# Not seen ---------------------------------------------------------------------------------------------------------


def test_end_unentitled_is_exact_in_time_when_nobody_has_seen_them_for_a_day(people: Cast, shelf: Shelf) -> None:
    grant = lives_long(active(people.alice))
    seen_at = fresh(people.alice).seen_at
    assert seen_at is not None
    watch = Watch()
    watch.look()
    almost = seen_at + A_DAY - clock.now() - timedelta(seconds=30)

    with clock.shifted(almost):
        assert watch.look() == 0
        assert due.next_instant(clock.now()) == seen_at + A_DAY
        with clock.shifted(timedelta(seconds=30)):
            assert watch.look() == 1
    now_in(grant, GrantStatus.ENDING)
    assert grant.ending_since == seen_at + A_DAY


def test_end_unentitled_leaves_it_when_they_signed_in_meanwhile(people: Cast, shelf: Shelf) -> None:
    grant = lives_long(active(people.alice))
    with clock.shifted(A_DAY - A_MINUTE):
        sign_in(people.alice, "shop-team")
        with clock.shifted(2 * A_MINUTE):
            assert Watch().look() == 0
    now_in(grant, GrantStatus.ACTIVE)


def test_end_unentitled_looks_at_nobodys_seeing_when_that_is_switched_off(
    people: Cast, shelf: Shelf, settings: Settings
) -> None:
    settings.SEEN_WITHIN_HOURS = 0
    grant = lives_long(active(people.alice))
    User.objects.update(seen_at=None)
    with clock.shifted(A_DAY):
        assert end_unentitled() == (0, True)
        assert unentitled.next_leaving(clock.now()) is None
    now_in(grant, GrantStatus.ACTIVE)


def test_end_unentitled_asks_no_provider_about_an_emergency_administrator(people: Cast, shelf: Shelf) -> None:
    grant = lives_long(active(people.alice))
    until = clock.now() + 2 * A_DAY
    User.objects.filter(pk=people.alice.pk).update(seen_at=None, emergency_until=until)
    with clock.shifted(A_DAY + A_MINUTE):
        assert end_unentitled() == (0, True)
        assert due.next_instant(clock.now()) == min(until, now_in(grant, GrantStatus.ACTIVE).expires_at or until)
    User.objects.filter(pk=people.alice.pk).update(emergency_until=clock.now())
    assert end_unentitled() == (1, True)
    assert "emergency administrator is over" in now_in(grant, GrantStatus.ENDING).end_reason


def test_ask_to_sign_in_tells_once_when_an_hour_is_left(people: Cast, shelf: Shelf) -> None:
    grant = lives_long(active(people.alice))
    seen_at = fresh(people.alice).seen_at
    assert seen_at is not None
    first, second = Watch(), Watch()
    with clock.shifted(A_DAY - 2 * timedelta(hours=1)):
        assert first.ask_to_sign_in() == 0
        assert due.next_instant(clock.now()) == seen_at + A_DAY - timedelta(hours=1)
        assert "Sign in once more" not in signed_in(people.alice).get("/").content.decode()
    with clock.shifted(A_DAY - timedelta(minutes=59)):
        assert sum(at_once(first.ask_to_sign_in, second.ask_to_sign_in)) == 1
        assert [first.ask_to_sign_in(), second.ask_to_sign_in(), Watch().ask_to_sign_in()] == [0, 0, 0]
        fold()
        (notice,) = Notification.objects.filter(kind="sign_in")
        assert (notice.user_id, notice.path) == (people.alice.pk, "/")
        assert notice.text.startswith("Sign in once before ")
        assert "Sign in once more" in signed_in(people.alice).get("/").content.decode()
        assert "Sign in once more" not in signed_in(people.bob).get("/").content.decode()
        sign_in(people.alice, "shop-team")
        assert "Sign in once more" not in signed_in(people.alice).get("/").content.decode()
        assert first.ask_to_sign_in() == 0
    now_in(grant, GrantStatus.ACTIVE)


def test_ask_to_sign_in_tells_nobody_when_the_access_ends_before(people: Cast, shelf: Shelf) -> None:
    active(people.alice, minutes=30)
    User.objects.filter(pk=people.alice.pk).update(seen_at=clock.now() - A_DAY + timedelta(minutes=45))
    assert Watch().ask_to_sign_in() == 0


def test_sign_in_changes_nothing_when_the_groups_claim_is_absent(people: Cast, shelf: Shelf) -> None:
    """One mistake at the provider would else end every grant there is (field notes S12)."""
    grant = active(people.alice)
    with pytest.raises(NotAllowed):
        read({"sub": people.alice.subject}, issuer=people.alice.issuer, groups_claim="groups")
    assert Watch().look() == 0
    now_in(grant, GrantStatus.ACTIVE)


# Votes ------------------------------------------------------------------------------------------------------------


def test_a_vote_does_not_count_while_its_voter_is_not_seen(people: Cast, shelf: Shelf) -> None:
    request = ask(people, people.alice)
    approve(actor=fresh(people.bob), request_id=request.pk)
    User.objects.filter(pk=people.bob.pk).update(seen_at=clock.now() - A_DAY)

    with pytest.raises(NotAllowed, match="waits for a peer"):
        approve(actor=fresh(people.dana), request_id=request.pk)

    sign_in(people.bob, "shop-team")
    assert approve(actor=fresh(people.dana), request_id=request.pk).status == "approved"


def test_approve_refuses_with_a_sentence_when_the_approver_is_not_seen(people: Cast) -> None:
    request = ask(people, people.alice)
    User.objects.filter(pk=people.bob.pk).update(seen_at=clock.now() - A_DAY)
    with pytest.raises(NotAllowed, match="Sign in once more"):
        approve(actor=fresh(people.bob), request_id=request.pk)
    page = signed_in(people.bob).get(f"/requests/{request.pk}/").content.decode()
    assert "has not vouched for you lately" in page


def test_look_approves_when_the_voter_comes_back_whose_vote_was_missing(people: Cast, shelf: Shelf) -> None:
    """Two have to say yes: the first was not seen any more when the second did."""
    request = ask(people, people.alice)
    steps = [{"kind": "group", "group": "security", "needed": 2}]
    AccessRequest.objects.filter(pk=request.pk).update(verdict={**request.verdict, "steps": steps})
    sam, second = people.sam, UserFactory(username="sue", groups=[people.security])
    approve(actor=fresh(sam), request_id=request.pk)
    User.objects.filter(pk=sam.pk).update(seen_at=clock.now() - A_DAY)
    assert approve(actor=fresh(second), request_id=request.pk).status == "pending"
    watch = Watch()
    watch.look()
    assert AccessRequest.objects.get(pk=request.pk).status == "pending"

    sign_in(sam, "security")
    watch.look()

    assert AccessRequest.objects.get(pk=request.pk).status == "approved"
    (line,) = audit.entries(where=audit.Filter(subjects=(request.audit_id,), action="request.approved"))
    assert (line.actor, line.facts["returned"]) == ("clock", True)


@pytest.mark.parametrize("voter", ["bob", "dana"])
def test_open_approved_opens_when_a_voter_has_not_been_seen_since_the_approval(
    people: Cast, shelf: Shelf, voter: str
) -> None:
    """A yes of Friday for Monday."""
    request = approved_by_people(people, connection="console")
    User.objects.filter(username=voter).update(seen_at=clock.now() - A_DAY)
    assert [grant.request_id for grant in services.open_approved()] == [request.pk]


def test_open_approved_waits_when_the_requester_is_not_seen_any_more(people: Cast, shelf: Shelf) -> None:
    request = approved(people.alice)
    not_seen_for_a_day(people)
    assert services.open_approved() == []
    assert "starts when you have signed in" in signed_in(people.alice).get(f"/requests/{request.pk}/").content.decode()

    sign_in(people.alice, "shop-team")
    assert [grant.request_id for grant in services.open_approved()] == [request.pk]


def test_open_approved_refuses_when_the_requester_does_not_come_back_in_time(people: Cast, shelf: Shelf) -> None:
    request = approved(people.alice)
    with clock.shifted(timedelta(days=4)):
        assert services.open_approved() == []
    request.refresh_from_db()
    assert request.closed_reason == "Single sign-on has not vouched for alice lately: sign in once and ask again."


# Requests ---------------------------------------------------------------------------------------------------------


def test_look_closes_what_was_asked_for_when_somebody_is_deactivated(people: Cast, shelf: Shelf) -> None:
    tomorrow = clock.now() + A_DAY
    waiting, scheduled = ask(people, people.alice), approved(people.alice, starts_at=tomorrow)
    others = ask(people, people.bob)
    over = active(people.alice)
    services.release(actor=fresh(people.alice), grant_id=over.pk)
    watch = Watch()
    watch.look()

    deactivated(people)
    watch.look()

    for request in (waiting, scheduled):
        request.refresh_from_db()
        assert (request.status, request.closed_reason) == ("denied", "The account of alice was closed.")
        (line,) = audit.entries(where=audit.Filter(subjects=(request.audit_id,), action="request.denied"))
        assert (line.actor, line.disclosed["why"]) == ("clock", request.closed_reason)
    others.refresh_from_db()
    assert others.status == "pending"
    assert AccessRequest.objects.get(pk=over.request_id).status == "approved"


def test_reactivate_brings_nothing_back_when_somebody_returns(people: Cast, shelf: Shelf) -> None:
    grant, request = active(people.alice), ask(people, people.alice)
    scheduled = approved(people.alice, starts_at=clock.now() + A_DAY)
    deactivated(people)
    ticking = Rounds()
    ticking.look()
    services.end_due(server_id=grant.server_id)

    accounts.reactivate(actor="operator", user=people.alice, reason="it was a mistake")
    ticking.look()

    now_in(grant, GrantStatus.ENDED)
    for closed in (request, scheduled):
        closed.refresh_from_db()
        assert closed.status == "denied"
    assert Grant.objects.count() == 1


def test_open_approved_refuses_when_the_requester_was_deactivated_before_the_start(people: Cast, shelf: Shelf) -> None:
    """Also where nobody has looked in between."""
    request = approved(people.alice)
    deactivated(people)
    assert services.open_approved() == []
    request.refresh_from_db()
    assert "The account of alice is closed" in request.closed_reason


# Many, and several clocks -------------------------------------------------------------------------------------------


def test_look_ends_each_once_when_two_clocks_look_at_once(people: Cast, shelf: Shelf) -> None:
    grants = [active(people.alice) for _ in range(4)]
    deactivated(people)

    assert sum(at_once(Watch().look, Watch().look)) == 4

    for grant in grants:
        assert told(grant).count("grant.unentitled") == 1


def test_look_ends_thousands_when_a_group_loses_the_right(people: Cast, shelf: Shelf) -> None:
    many = multiplied(active(people.alice), 2_000)
    the_group_lost_the_right(people)
    watch = Watch()

    begun = 0
    while count := watch.look():
        begun += count

    assert begun == many
    assert not Grant.objects.filter(status=GrantStatus.ACTIVE).exists()


def test_look_asks_next_to_nothing_when_nothing_has_changed(
    people: Cast, shelf: Shelf, django_assert_num_queries: Any
) -> None:
    active(people.alice)
    watch = Watch()
    watch.look()
    with django_assert_num_queries(2):
        watch.look()


def test_look_finds_it_when_nobody_told_of_the_change(
    people: Cast, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    active(people.alice)
    watch = Watch()
    watch.look()
    Group.objects.filter(pk=people.shop_team.pk).delete()
    assert watch.look() == 0

    monkeypatch.setattr(unentitled, "_EVERY", 0.0)

    assert watch.look() == 1


def test_fold_tells_holder_and_owners_once_when_somebody_left(people: Cast, shelf: Shelf) -> None:
    grants = [active(people.alice) for _ in range(3)]
    the_group_lost_the_right(people)
    end_unentitled()
    services.end_due(server_id=grants[0].server_id)

    fold()

    (owner,) = Notification.objects.filter(kind="left")
    assert (owner.user_id, owner.text) == (
        people.dana.pk,
        "The access of alice to shop-staging is taken away. alice may not ask for access to shop-staging any more.",
    )
    ended = Notification.objects.filter(kind="ended", user=people.alice)
    assert {notice.text for notice in ended} == {
        "Your access to shop-staging has ended. alice may not ask for access to shop-staging any more."
    }
    page = signed_in(people.alice).get("/").content.decode()
    assert "ended before its time" in page


# Tokens -------------------------------------------------------------------------------------------------------------


def test_a_token_works_again_when_its_person_has_signed_in(people: Cast) -> None:
    _, plaintext = accounts.create_token(actor=people.alice, name="script", scopes=["read"], days=30)
    not_seen_for_a_day(people)
    with pytest.raises(NotSeen, match="Sign in once"):
        accounts.authenticate_token(plaintext)
    headers = {"authorization": f"Bearer {plaintext}"}
    answer = Client().get("/api/v1/me", headers=headers)
    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Bearer")
    assert "Sign in once in the portal" in answer.json()["detail"]

    sign_in(people.alice, "shop-team")

    assert Client().get("/api/v1/me", headers=headers).status_code == 200


def multiplied(grant: Grant, number: int) -> int:
    """As many grants like this one, made as rows: what is on the target does not matter here. Returns how many."""
    request, keys = grant.request, [f"{index:010}" for index in range(number - 1)]
    rows = {**_values(request), "status": "pending", "idempotency_key": None}
    AccessRequest.objects.bulk_create(AccessRequest(**{**rows, "id": key}) for key in keys)
    AccessRequest.objects.filter(pk__in=keys).update(status="approved")
    rows = {**_values(grant), "status": "queued"}
    Grant.objects.bulk_create(
        Grant(**{**rows, "id": key, "request_id": key, "login": f"jit_alice_{key}"}) for key in keys
    )
    Grant.objects.filter(pk__in=keys).update(status="active")
    return number


def _values(row: AccessRequest | Grant) -> dict[str, Any]:
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}
