"""At the edges of a grant's life: starts that come later, ends that meet, neighbours, and hands on the target."""

from collections import Counter
from contextlib import ExitStack
from datetime import timedelta

import psycopg
import pytest
from psycopg import sql

from apps.accounts.services import deactivate
from apps.catalog.models import Server
from apps.core import clock
from apps.core.errors import Conflict, Invalid
from apps.grants import services
from apps.grants.models import Grant
from apps.grants.states import GrantStatus
from apps.requests.services import cancel
from tests.factories import Cast, fresh
from tests.grants.conftest import LeftBehind
from tests.grants.machinery import running, wait_until
from tests.grants.odd_engine import OddEngine, put_in
from tests.grants.stage import active, after, approved, connected, now_in, queued, told
from tests.support.targets import TargetServer
from tests.support.threads import at_once

pytestmark = pytest.mark.django_db(transaction=True)

TOMORROW = timedelta(days=1)


def ids_read_by(session: psycopg.Connection) -> list[tuple[int]]:
    return session.execute("SELECT id FROM orders").fetchall()


# A start that comes later


def test_a_scheduled_start_is_opened_by_the_clock_and_lasts_from_when_it_works(people: Cast) -> None:
    soon = timedelta(seconds=20)  # less than the clocks of portal and target may be apart
    starts_at = clock.now() + soon
    request = approved(people.alice, starts_at=starts_at, minutes=30)

    with running(clocks=1, workers=1), clock.shifted(soon):
        wait_until(lambda: Grant.objects.filter(status=GrantStatus.ACTIVE).exists())

    grant = Grant.objects.get(request=request)
    assert grant.starts_at is not None
    assert grant.expires_at is not None
    assert grant.starts_at >= starts_at
    assert grant.expires_at - grant.starts_at == timedelta(minutes=30)


def test_a_scheduled_start_comes_to_nothing_when_it_is_cancelled(people: Cast) -> None:
    request = approved(people.alice, starts_at=clock.now() + TOMORROW)
    cancel(actor=fresh(people.alice), request_id=request.pk)

    with clock.shifted(TOMORROW):
        assert services.open_approved() == []

    assert not Grant.objects.exists()


def test_a_scheduled_start_comes_to_nothing_when_the_person_has_left(people: Cast) -> None:
    request = approved(people.alice, starts_at=clock.now() + TOMORROW)
    deactivate(actor=people.dana, user=people.alice, reason="Left the company.")

    with clock.shifted(TOMORROW):
        assert services.open_approved() == []

    request.refresh_from_db()
    assert not Grant.objects.exists()
    assert request.status in {"denied", "cancelled"}
    assert request.closed_reason


def test_a_start_in_the_past_is_invalid_when_it_is_more_than_a_minute_ago(people: Cast) -> None:
    assert approved(people.alice, starts_at=clock.now() - timedelta(seconds=50)).status == "approved"
    with pytest.raises(Invalid, match="lies in the past"):
        approved(people.alice, starts_at=clock.now() - timedelta(seconds=61))
    assert len(services.open_approved()) == 1


# Ends that meet


def test_ends_that_meet_end_it_once_when_all_come_at_the_same_instant(people: Cast, left_behind: LeftBehind) -> None:
    grant = active(people.alice, minutes=1)

    with clock.shifted(after(grant)):
        results = at_once(
            lambda: services.end_due(server_id=grant.server_id),
            lambda: services.release(actor=fresh(people.alice), grant_id=grant.pk),
            lambda: services.revoke(actor=fresh(people.dana), grant_id=grant.pk, reason="incident"),
            lambda: services.end_due(server_id=grant.server_id),
        )
        assert {type(result) for result in results} <= {type(None), Grant, Conflict}
        services.end_due(server_id=grant.server_id)

    now_in(grant, GrantStatus.ENDED)
    count = Counter(told(grant))
    assert (count["grant.ending"], count["grant.ended"]) == (1, 1)
    assert count["grant.released"] + count["grant.revoked"] == (grant.end_cause != "expired")
    assert left_behind.roles(grant.login) == []


def test_revoke_takes_back_what_was_opened_when_a_worker_is_making_it(
    people: Cast, monkeypatch: pytest.MonkeyPatch, left_behind: LeftBehind
) -> None:
    grant = queued(people.alice)

    def revoked() -> None:
        services.revoke(actor=fresh(people.dana), grant_id=grant.pk, reason="incident")

    put_in(monkeypatch, OddEngine(after_open=revoked))
    services.issue(grant_id=grant.pk)

    assert left_behind.roles(grant.login) == []  # at once, whoever comes to end it
    services.end_due(server_id=grant.server_id)
    now_in(grant, GrantStatus.ENDED)
    assert "grant.issued" not in told(grant)


def test_release_conflicts_when_it_is_done_twice(people: Cast) -> None:
    grant = active(people.alice)
    services.release(actor=fresh(people.alice), grant_id=grant.pk)
    for _ in range(2):
        with pytest.raises(Conflict, match="already"):
            services.release(actor=fresh(people.alice), grant_id=grant.pk)
        services.end_due(server_id=grant.server_id)
    assert told(grant).count("grant.released") == 1


# Neighbours (field notes E3)


def test_the_end_of_one_leaves_the_other_when_two_overlap(people: Cast, left_behind: LeftBehind) -> None:
    first, second = active(people.alice, minutes=10), active(people.alice, minutes=30)
    assert first.scope_role == second.scope_role
    with connected(first) as one, connected(second) as two:
        with clock.shifted(after(first)):
            services.end_due(server_id=first.server_id)
        services.drop_unused_scopes(server_id=first.server_id)

        with pytest.raises(psycopg.OperationalError):
            ids_read_by(one)
        assert ids_read_by(two) == [(4711,)]
        connected(second).close()
    now_in(first, GrantStatus.ENDED)
    now_in(second, GrantStatus.ACTIVE)
    assert left_behind.roles(first.login) == []


def test_the_end_of_some_leaves_the_others_when_fifty_overlap(people: Cast, left_behind: LeftBehind) -> None:
    for _ in range(50):
        approved(people.alice)
    services.open_approved()
    grants = list(Grant.objects.order_by("pk"))
    for grant in grants:
        services.issue(grant_id=grant.pk)
        now_in(grant, GrantStatus.ACTIVE)
    with ExitStack() as open_sessions:
        sessions = {grant.pk: open_sessions.enter_context(connected(grant)) for grant in grants}
        over, alive = grants[::2], grants[1::2]
        for grant in over:
            services.release(actor=fresh(people.alice), grant_id=grant.pk)
        services.end_due(server_id=grants[0].server_id)
        services.drop_unused_scopes(server_id=grants[0].server_id)

        for grant in over:
            now_in(grant, GrantStatus.ENDED)
            assert left_behind.roles(grant.login) == []
            with pytest.raises(psycopg.OperationalError):
                ids_read_by(sessions[grant.pk])
        for grant in alive:
            assert ids_read_by(sessions[grant.pk]) == [(4711,)]
    services.revoke_all(actor=people.sam, reason="incident", expected=25, person="alice")
    services.end_due(server_id=grants[0].server_id)
    assert set(Grant.objects.values_list("status", flat=True)) == {GrantStatus.ENDED}


# Hands on the target and in the catalog


@pytest.mark.parametrize("how", ["dropped", "renamed", "locked", "password changed"])
def test_release_ends_it_when_a_hand_was_on_its_login(
    people: Cast, target: TargetServer, left_behind: LeftBehind, how: str
) -> None:
    grant = active(people.alice)
    session, login = connected(grant), sql.Identifier(grant.login)
    other = sql.Identifier(f"{grant.login}_kept")
    with target.admin() as admin:
        match how:
            case "dropped":
                session.close()
                admin.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(login))
            case "renamed":
                admin.execute(sql.SQL("ALTER ROLE {} RENAME TO {}").format(login, other))
            case "locked":
                admin.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(login))
            case "password changed":
                admin.execute(sql.SQL("ALTER ROLE {} PASSWORD 'x'").format(login))

    services.release(actor=fresh(people.alice), grant_id=grant.pk)
    services.end_due(server_id=grant.server_id)

    now_in(grant, GrantStatus.ENDED)
    for name in (grant.login, f"{grant.login}_kept"):
        assert left_behind.roles(name) == []
        assert left_behind.sessions(name) == 0
    if how != "dropped":
        with pytest.raises(psycopg.OperationalError):
            ids_read_by(session)
        session.close()


def test_an_end_goes_on_when_the_server_is_switched_off_in_the_catalog(people: Cast, left_behind: LeftBehind) -> None:
    grant, later = active(people.alice, minutes=1), approved(people.bob)
    Server.objects.filter(pk=grant.server_id).update(is_active=False)

    with clock.shifted(after(grant)):
        services.open_approved()
        services.end_due(server_id=grant.server_id)

    now_in(grant, GrantStatus.ENDED)
    assert left_behind.roles(grant.login) == []
    later.refresh_from_db()
    assert (later.status, "switched off" in later.closed_reason) == ("denied", True)


def test_a_queued_grant_fails_when_the_server_is_switched_off_before_it_is_made(people: Cast) -> None:
    grant = queued(people.alice)
    Server.objects.filter(pk=grant.server_id).update(is_active=False)

    services.issue(grant_id=grant.pk)

    now_in(grant, GrantStatus.FAILED)
    assert "switched off" in grant.problem


def test_a_reason_of_ten_thousand_characters_is_refused_with_a_sentence(people: Cast) -> None:
    grant = active(people.alice)
    for act in (services.release, services.revoke):
        with pytest.raises(Invalid, match="10000 characters; at most 2000"):
            act(actor=fresh(people.alice), grant_id=grant.pk, reason="x" * 10_000)
    with pytest.raises(Invalid, match="10000 characters; at most 2000"):
        approved(people.alice, reason="x" * 10_000)
    now_in(grant, GrantStatus.ACTIVE)
