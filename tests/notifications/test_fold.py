from datetime import timedelta
from typing import Any

import pytest
from django.urls import resolve

from apps.accounts.models import User
from apps.approvals.services import approve, break_glass, close_review, deny
from apps.audit import services as audit
from apps.audit.actions import Action
from apps.catalog.models import Table
from apps.catalog.pausing import pause_table
from apps.core import clock
from apps.engines.base import CutWhy, Drift, SessionCut, SessionLimits, SessionUse, Target
from apps.grants import services as grants
from apps.grants.states import GrantStatus
from apps.grants.withdrawal import Watch
from apps.notifications import services
from apps.notifications.models import Cursor, Notification
from apps.notifications.telling import _ADVICE
from apps.requests.models import AccessRequest
from apps.requests.services import Ask, lapse_due, submit
from jitportal.portal_database import WEB
from tests.factories import Cast, fresh, let_break_glass
from tests.grants.odd_engine import LOST, OddEngine, fails, put_in
from tests.grants.shelf import Shelf
from tests.grants.stage import active, after, approved_by_people, now_in, queued
from tests.support.portal import PortalDatabase
from tests.support.record import body, insert
from tests.support.threads import at_once

pytestmark = pytest.mark.django_db(transaction=True)


def told(user: User) -> list[str]:
    """What somebody was told since the test began, in order."""
    services.fold()
    return [row.kind for row in Notification.objects.filter(user=user).order_by("entry_index", "pk")]


def asked(people: Cast, **parts: Any) -> AccessRequest:
    usual: dict[str, Any] = {
        "database": "shop",
        "level": "query",
        "tables": ("sales.orders",),
        "connection": "direct",
        "minutes": 60,
        "reason": "Order 4711 is charged twice.",
    }
    return submit(actor=fresh(people.alice), ask=Ask(**usual | parts))


def test_fold_tells_whoever_can_decide_when_a_request_waits(people: Cast) -> None:
    request = asked(people)

    assert told(people.bob) == ["waiting"]
    assert told(people.dana) == told(people.alice) == told(people.carol) == told(people.sam) == []
    notification = Notification.objects.get()
    assert notification.text == "alice asks for access to shop; it waits for you to decide."
    match = resolve(notification.path)
    assert (match.view_name, match.kwargs) == ("portal:request", {"request_id": request.pk})


def test_fold_tells_the_next_circle_when_a_step_is_taken(people: Cast) -> None:
    request = asked(people)
    approve(actor=fresh(people.bob), request_id=request.pk)

    assert told(people.dana) == ["waiting"]

    approve(actor=fresh(people.dana), request_id=request.pk)
    assert told(people.dana) == ["waiting"]
    assert told(people.alice) == ["decided"]


def test_fold_tells_nobody_to_decide_when_it_is_decided_by_then(people: Cast) -> None:
    deny(actor=fresh(people.bob), request_id=asked(people).pk, comment="not now")

    assert told(people.bob) == told(people.dana) == []
    assert told(people.alice) == ["decided"]


def test_fold_tells_the_requester_when_nobody_decided(people: Cast) -> None:
    asked(people)
    with clock.shifted(timedelta(days=30)):
        lapse_due()

    assert told(people.alice) == ["decided"]


def test_fold_tells_the_requester_when_the_yes_does_not_hold_any_more(people: Cast) -> None:
    request = approved_by_people(people)
    User.objects.filter(pk=people.dana.pk).update(is_active=False)
    grants.open_approved()

    assert now_is(request) == "denied"
    assert told(people.alice) == ["decided", "decided"]


def now_is(request: AccessRequest) -> str:
    request.refresh_from_db()
    return request.status


def test_fold_tells_the_holder_each_step_when_a_grant_lives_and_ends(people: Cast) -> None:
    grant = active(people.alice, minutes=5)
    assert told(people.alice) == ["ready"]

    with clock.shifted(timedelta(minutes=4)):
        grants.warn_expiring()
    assert told(people.alice) == ["ready", "expiring"]

    with clock.shifted(after(grant)):
        grants.end_due(server_id=grant.server_id)
    assert told(people.alice) == ["ready", "expiring", "ended"]
    last = Notification.objects.filter(user=people.alice).order_by("-entry_index")[0]
    assert "its time was up" in last.text
    match = resolve(last.path)
    assert (match.view_name, match.kwargs) == ("portal:grant", {"grant_id": grant.pk})
    assert Notification.objects.exclude(user=people.alice).count() == 0


def test_fold_names_the_holders_own_time_when_it_names_a_time(people: Cast) -> None:
    User.objects.filter(pk=people.alice.pk).update(time_zone="Asia/Kathmandu")
    active(people.alice)

    assert told(people.alice) == ["ready"]
    assert "(Asia/Kathmandu)" in Notification.objects.get().text


def test_fold_tells_once_when_a_grant_cannot_be_made_at_first(people: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in(monkeypatch, OddEngine(before_open=fails(LOST)))
    grant = queued(people.alice)
    grants.issue(grant_id=grant.pk)
    assert told(people.alice) == ["delayed"]

    with clock.shifted(timedelta(seconds=10)):
        grants.issue(grant_id=grant.pk)
    now_in(grant, GrantStatus.ACTIVE)
    assert told(people.alice) == ["delayed", "ready"]


def test_fold_tells_everybody_concerned_once_when_an_end_is_late(people: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    grant = active(people.alice, minutes=1)
    put_in(monkeypatch, OddEngine(before_close=fails(LOST), again=True))
    with clock.shifted(after(grant)):
        grants.end_due(server_id=grant.server_id)
    assert told(people.dana) == []  # it may be a hiccup
    with clock.shifted(after(grant) + timedelta(minutes=2)):
        grants.end_due(server_id=grant.server_id)
        for _ in range(2):
            grants.tell_late()

    assert told(people.alice) == ["ready"]
    assert told(people.dana) == told(people.sam) == ["late"]
    assert told(people.bob) == told(people.carol) == []
    late = Notification.objects.get(user=people.dana)
    assert "alice" in late.text
    assert LOST.sentence in late.text


def test_fold_tells_those_who_were_called_when_what_was_late_is_over(
    people: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant = active(people.alice, minutes=1)
    engine = OddEngine(before_close=fails(LOST), again=True)
    put_in(monkeypatch, engine)
    with clock.shifted(after(grant) + timedelta(minutes=2)):
        grants.end_due(server_id=grant.server_id)
        grants.tell_late()
        assert told(people.sam) == ["late"]
        engine.before_close = lambda: None
    with clock.shifted(after(grant) + timedelta(minutes=3)):
        grants.end_due(server_id=grant.server_id)

    assert told(people.alice) == ["ready", "ended"]
    assert told(people.dana) == told(people.sam) == ["late", "late_over"]
    assert told(people.bob) == []


@pytest.mark.parametrize("why", list(CutWhy))
def test_fold_tells_the_holder_how_to_avoid_it_when_a_session_was_cut(
    people: Cast, monkeypatch: pytest.MonkeyPatch, why: CutWhy
) -> None:
    class Cutting(Shelf):
        def sessions(self, target: Target, limits: SessionLimits) -> list[SessionUse]:
            pids = next(looks)
            return [SessionUse(grant.login, 0, None, tuple(SessionCut(pid, why, 61, clock.now()) for pid in pids))]

    looks = iter([(1, 2), (3,), (4,)])
    put_in(monkeypatch, Cutting())
    grant = active(people.alice)
    grants.look_at_sessions(server_id=grant.server_id)
    grants.look_at_sessions(server_id=grant.server_id)

    assert told(people.alice) == ["ready", "cut"]  # the same again is said when that was read
    text = Notification.objects.get(kind="cut").text
    assert text.startswith("A session of yours on shop-staging was ended.")
    assert "61 s" in text
    assert text.endswith(_ADVICE[why])
    services.mark_read(actor=people.alice)
    grants.look_at_sessions(server_id=grant.server_id)
    assert told(people.alice) == ["ready", "cut", "cut"]
    assert Notification.objects.exclude(user=people.alice).count() == 0


def test_fold_is_not_late_when_it_is_over_by_then(people: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    grant = active(people.alice, minutes=1)
    put_in(monkeypatch, OddEngine(before_close=fails(LOST)))
    with clock.shifted(after(grant) + timedelta(minutes=2)):
        grants.end_due(server_id=grant.server_id)
        grants.tell_late()
    with clock.shifted(after(grant) + timedelta(minutes=3)):
        grants.end_due(server_id=grant.server_id)

    assert told(people.alice) == ["ready", "ended"]
    assert told(people.dana) == []


def test_fold_believes_only_workers_when_a_grant_is_said_to_be_issued(
    people: Cast, portal_database: PortalDatabase
) -> None:
    grant = active(people.alice)
    told(people.alice)
    with portal_database.connect(WEB) as web:
        insert(web, body(action=Action.GRANT_ENDED, actor="worker", subject=grant.audit_id))

    assert told(people.alice) == ["ready"]


@pytest.mark.parametrize("subject", ["grant:nowhere", "request:nowhere", "nothing", "grant:"])
@pytest.mark.parametrize("action", [Action.GRANT_EXPIRING, Action.REQUEST_SUBMITTED])
def test_fold_goes_on_when_an_entry_is_about_nothing(
    people: Cast, portal_database: PortalDatabase, action: str, subject: str
) -> None:
    with portal_database.connect(WEB) as web:
        insert(web, body(action=action, subject=subject))
    asked(people)

    assert told(people.bob) == ["waiting"]
    assert Cursor.objects.get().next_index == audit.head().size


def test_fold_tells_the_others_when_one_entry_makes_no_sense(people: Cast, caplog: pytest.LogCaptureFixture) -> None:
    active(people.alice)
    User.objects.filter(pk=people.alice.pk).update(time_zone="Middle/Earth")
    asked(people)

    assert told(people.alice) == []
    assert told(people.bob) == ["waiting"]
    assert "Nobody is told of entry" in caplog.text


def test_fold_tells_once_when_two_workers_fold_at_once(people: Cast) -> None:
    for _ in range(5):
        asked(people)

    results = at_once(services.fold, services.fold)

    assert sum(results) == 5
    assert Notification.objects.filter(user=people.bob, kind="waiting").count() == 5


def test_fold_starts_at_the_beginning_when_there_is_no_cursor(people: Cast) -> None:
    Cursor.objects.all().delete()
    asked(people)

    services.fold()

    # The record only grows: it also holds what other tests have told of the whole portal.
    assert Notification.objects.get(kind="waiting").user == people.bob


def test_mark_read_is_for_ones_own_when_ids_are_given(people: Cast) -> None:
    asked(people)
    asked(people)
    services.fold()
    first, _ = Notification.objects.filter(user=people.bob).values_list("pk", flat=True)
    assert services.unread_count(people.bob) == 2

    assert services.mark_read(actor=people.carol, ids=[first]) == 0
    assert services.mark_read(actor=people.bob, ids=[first]) == 1
    assert services.unread_count(people.bob) == 1
    assert services.mark_read(actor=people.bob, ids=None) == 1
    assert services.unread_count(people.bob) == 0


def test_fold_tells_the_holder_why_when_a_table_is_paused(people: Cast) -> None:
    grant = queued(people.alice)
    orders = Table.objects.get(database=people.staging, name="orders")
    pause_table(actor=fresh(people.dana), table_id=orders.pk, reason="ids become bigint")
    Watch().look()
    grants.end_due(server_id=grant.server_id)

    assert told(people.alice) == ["ended"]
    assert Notification.objects.get().text == (
        "Your access to shop-staging has ended. sales.orders is paused for a migration by Dana (ids become bigint). "
        "Ask again when that is over."
    )


@pytest.fixture
def shelf(people: Cast, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    shelf = Shelf()
    put_in(monkeypatch, shelf)
    return shelf


def test_fold_tells_owners_and_security_once_when_live_access_had_to_end(people: Cast, shelf: Shelf) -> None:
    grant, _ = active(people.alice), active(people.bob)
    shelf.drifts = lambda spec: Drift(spec.login, opened=("PUBLIC may read sales.customers.email.", "And more."))
    grants.check_drift(server_id=grant.server_id)
    grants.end_due(server_id=grant.server_id)

    assert told(people.alice) == told(people.bob) == ["ready", "ended"]
    assert "it was no longer as approved" in Notification.objects.filter(user=people.alice).latest("pk").text
    assert told(people.dana) == told(people.sam) == ["drift"]
    assert told(people.carol) == told(people.audrey) == []
    assert Notification.objects.get(user=people.sam).text == (
        "Live access to shop-staging was ended, because it was no longer as approved: "
        "PUBLIC may read sales.customers.email."
    )


def test_fold_tells_database_administrators_when_something_has_changed(people: Cast, shelf: Shelf) -> None:
    grant = active(people.alice)
    shelf.drifts = lambda spec: Drift(spec.login, changed=("A column is new.",))
    for _ in range(2):
        grants.check_drift(server_id=grant.server_id)

    assert told(people.dana) == ["drift"]
    assert told(people.sam) == []
    assert told(people.alice) == ["ready"]


def test_fold_tells_again_when_the_first_was_read(people: Cast, shelf: Shelf) -> None:
    grant = active(people.alice)
    for sentences in (("A column is new.",), (), ("A column is new.",)):
        shelf.drifts = lambda spec, said=sentences: Drift(spec.login, changed=said)  # type: ignore[misc]
        grants.check_drift(server_id=grant.server_id)
        told(people.dana)
        services.mark_read(actor=people.dana)

    assert told(people.dana) == ["drift", "drift"]


def broken(people: Cast, user: User) -> AccessRequest:
    let_break_glass(people.shop, people.shop_team)
    let_break_glass(people.shop, people.security)
    ask = Ask(
        database="shop", level="query", tables=("sales.orders",), connection="direct", minutes=30, reason="It burns."
    )
    return break_glass(actor=fresh(user), ask=ask, stepped_up_at=clock.now())


def test_fold_tells_owners_dbas_and_security_when_the_glass_is_broken(people: Cast) -> None:
    request = broken(people, people.alice)
    assert told(people.dana) == told(people.sam) == ["glass"]
    assert told(people.alice) == told(people.bob) == told(people.carol) == told(people.audrey) == []
    text = Notification.objects.filter(user=people.sam).get().text
    assert text.startswith("alice broke the glass on shop: access at once, for 30 minutes")
    assert "It burns" not in text
    assert Notification.objects.filter(path=f"/requests/{request.pk}/", mailed_at=None).count() == 2


def test_fold_tells_dbas_when_nobody_could_review_it(people: Cast) -> None:
    broken(people, people.sam)
    assert told(people.sam) == []
    assert "Nobody in security can review it" in Notification.objects.get(user=people.dana).text


def test_fold_tells_holder_and_owners_of_a_verdict(people: Cast) -> None:
    request = broken(people, people.alice)
    AccessRequest.objects.filter(pk=request.pk).update(status="cancelled")
    close_review(actor=fresh(people.sam), request_id=request.pk, verdict="unjustified", comment="There was no fire.")
    assert told(people.alice) == ["reviewed"]
    assert told(people.dana) == ["glass", "reviewed"]
    assert told(people.sam) == ["glass"]
    assert (
        Notification.objects.get(user=people.alice).text
        == "Your breaking of the glass on shop was called not justified."
    )
