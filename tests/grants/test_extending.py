"""More time without a gap (field notes E3): what is decided anew, what the target holds, what comes in between."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from apps.approvals.services import approve
from apps.catalog.models import Column, Table
from apps.core import clock
from apps.core.errors import Conflict, Invalid, NotAllowed, NotFound, PortalError
from apps.engines.base import Refused as RefusedByTarget
from apps.grants import due, extending, leases, services
from apps.grants.models import Extension, Grant
from apps.grants.states import GrantStatus
from apps.grants.tasks import Task
from apps.requests.errors import Refused
from apps.requests.models import AccessRequest
from apps.requests.services import cancel, lapse_due
from tests.factories import Cast, fresh, leave
from tests.grants.conftest import LeftBehind
from tests.grants.odd_engine import LOST, OddEngine, fails, put_in
from tests.grants.stage import active, approved_by_people, connected, now_in, queued, told
from tests.support.targets import TargetServer
from tests.support.threads import at_once

pytestmark = pytest.mark.django_db(transaction=True)

REASON = "The import is slower than thought."


def more(grant: Grant, minutes: Any = 30, **parts: Any) -> AccessRequest:
    given = {"actor": fresh(grant.holder), "grant_id": grant.pk, "minutes": minutes, "reason": REASON, **parts}
    return services.extend(**given)


def work(grant: Grant) -> Extension:
    """Clock and worker: the newest extension of the grant, as they leave it."""
    services.open_approved()
    services.extend_queued(server_id=grant.server_id)
    grant.refresh_from_db()
    return Extension.objects.filter(grant=grant).latest("queued_at")


def killed(**_: object) -> None:
    raise KeyboardInterrupt


def on_target(target: TargetServer, grant: Grant) -> Any:
    with target.admin() as admin:
        row = admin.execute("SELECT rolvaliduntil FROM pg_roles WHERE rolname = %s", [grant.login]).fetchone()
    return row[0] if row else None


def test_extend_when_the_policy_says_yes_moves_the_end(people: Cast, target: TargetServer) -> None:
    grant = active(people.alice, minutes=20)
    ended_at = grant.expires_at

    request = more(grant)

    assert (request.status, request.extends, request.minutes) == ("approved", grant.request, 30)
    assert request.facts["minutes"] == 50
    assert request.effective.tables == grant.request.effective.tables
    assert work(grant).status == "applied"
    assert ended_at is not None
    assert grant.expires_at == ended_at + timedelta(minutes=30)
    assert on_target(target, grant) == grant.valid_until
    assert (grant.minutes, grant.warned_at, grant.status) == (50, None, GrantStatus.ACTIVE)
    assert told(grant)[-2:] == ["grant.extending", "grant.extended"]
    assert Grant.objects.count() == 1
    assert services.open_approved() == []


def test_extend_when_a_session_is_open_leaves_no_gap(people: Cast, left_behind: LeftBehind) -> None:
    grant = active(people.alice, minutes=10)
    with connected(grant) as alice:
        alice.execute("BEGIN")
        alice.execute("SELECT count(*) FROM orders")
        more(grant)
        work(grant)
        with clock.shifted(timedelta(minutes=11)):
            services.end_due(server_id=grant.server_id)
            assert alice.execute("SELECT id FROM orders").fetchone() == (4711,)
            alice.execute("COMMIT")
            connected(grant).close()
        with clock.shifted(timedelta(minutes=41)):
            services.end_due(server_id=grant.server_id)
        with pytest.raises(psycopg.OperationalError):
            alice.execute("SELECT 1")
    now_in(grant, GrantStatus.ENDED)
    assert left_behind.roles(grant.login) == []


def test_extend_when_it_would_climb_over_a_cap_is_denied(people: Cast) -> None:
    request = approved_by_people(people, minutes=470)
    services.open_approved()
    grant = Grant.objects.get(request=request)
    services.issue(grant_id=grant.pk)

    denied = more(now_in(grant, GrantStatus.ACTIVE), 30)

    assert denied.status == "denied"
    assert "no longer than a working day" in denied.closed_reason
    assert "would last 8 hours 20 minutes in all" in denied.closed_reason
    assert more(grant, 10).status == "pending"


def test_extend_twice_counts_from_the_start_when_the_policy_looks(people: Cast) -> None:
    grant = active(people.alice, minutes=30)
    assert more(grant, 20).status == "approved"
    work(grant)

    second = more(grant, 20)

    assert second.status == "pending"  # an hour in all is what the policy gives at once
    assert (second.facts["minutes"], second.extends) == (70, grant.request)
    approve(actor=fresh(people.dana), request_id=second.pk, minutes=5)
    work(grant)
    assert grant.minutes == 55


@pytest.mark.parametrize("less", [{"tables": ["sales.orders"]}, {"unmask": ["sales.orders.id"]}])
def test_approve_an_extension_when_something_is_left_out_is_invalid(people: Cast, less: dict[str, Any]) -> None:
    grant = active(people.alice, minutes=60)
    request = more(grant)

    with pytest.raises(Invalid):
        approve(actor=fresh(people.dana), request_id=request.pk, **less)

    approve(actor=fresh(people.dana), request_id=request.pk, tables=["sales.orders", "sales.order_lines"])


def stranger(people: Cast, grant: Grant) -> None:
    more(grant, actor=fresh(people.carol))


def colleague_who_may_look(people: Cast, grant: Grant) -> None:
    more(grant, actor=fresh(people.dana))


def second_while_one_waits(people: Cast, grant: Grant) -> None:
    more(grant, 120)
    more(grant, 10)


def second_while_one_is_applied(people: Cast, grant: Grant) -> None:
    more(grant, 10)
    services.open_approved()
    more(grant, 10)


def after_the_end(people: Cast, grant: Grant) -> None:
    with clock.shifted(timedelta(minutes=11)):
        more(grant)


def after_giving_it_back(people: Cast, grant: Grant) -> None:
    services.release(actor=fresh(people.alice), grant_id=grant.pk)
    more(grant)


def after_breaking_the_glass(people: Cast, grant: Grant) -> None:
    Grant.objects.filter(pk=grant.pk).update(break_glass=True)
    more(grant)


def after_leaving_the_team(people: Cast, grant: Grant) -> None:
    leave(people.alice, people.shop_team)
    more(grant)


def after_a_column_was_classified(people: Cast, grant: Grant) -> None:
    Column.objects.filter(table__database=people.staging, table__name="orders").update(classification="restricted")
    more(grant)


def after_a_table_was_paused(people: Cast, grant: Grant) -> None:
    Table.objects.filter(database=people.staging, name="orders").update(paused_at=clock.now())
    more(grant)


def after_a_table_has_gone(people: Cast, grant: Grant) -> None:
    Table.objects.filter(database=people.staging, name="orders").update(gone_at=clock.now())
    more(grant)


@pytest.mark.parametrize(
    ("attempt", "kind", "sentence"),
    [
        (stranger, NotFound, "no such grant"),
        (colleague_who_may_look, NotAllowed, "Only its holder"),
        (second_while_one_waits, Conflict, "already"),
        (second_while_one_is_applied, Conflict, "already"),
        (after_the_end, Conflict, "is over"),
        (after_giving_it_back, Conflict, "is over"),
        (after_breaking_the_glass, Refused, "never extended"),
        (after_leaving_the_team, PortalError, "may not ask|no such database"),
        (after_a_column_was_classified, Refused, "is masked"),
        (after_a_table_was_paused, Refused, "paused"),
        (after_a_table_has_gone, Refused, "is gone"),
    ],
)
def test_extend_is_refused_with_a_sentence_when(
    people: Cast, attempt: Callable[[Cast, Grant], None], kind: type[PortalError], sentence: str
) -> None:
    grant = active(people.alice, minutes=10)

    with pytest.raises(kind, match=sentence):
        attempt(people, grant)

    assert not Extension.objects.filter(grant=grant, status="applied").exists()
    assert "grant.extended" not in told(grant)


def test_extend_when_it_is_still_being_made_conflicts(people: Cast) -> None:
    with pytest.raises(Conflict, match="still being made"):
        more(queued(people.alice))


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ({"minutes": 0}, "minutes"),
        ({"minutes": -5}, "minutes"),
        ({"minutes": 10**9}, "minutes"),
        ({"minutes": True}, "minutes"),
        ({"minutes": 60 * 24 * 30}, "minutes"),  # with those that it has it is more than can be
        ({"reason": "x" * 10_000}, "reason"),
        ({"reason": "  "}, "reason"),
        ({"reason": "a\0b"}, "reason"),
    ],
)
def test_extend_is_invalid_when_what_is_given_cannot_be_meant(people: Cast, parts: dict[str, Any], field: str) -> None:
    grant = active(people.alice, minutes=10)

    with pytest.raises(Invalid) as refusal:
        more(grant, **parts)

    assert refusal.value.field == field
    assert AccessRequest.objects.count() == 1


def test_extend_with_a_key_answers_the_same_when_it_is_sent_again(people: Cast) -> None:
    grant = active(people.alice, minutes=10)
    first = more(grant, idempotency_key="k")
    work(grant)

    assert more(grant, idempotency_key="k") == first
    with pytest.raises(Conflict, match="Idempotency-Key"):
        more(grant, 5, idempotency_key="k")


def test_extend_makes_one_request_when_it_is_asked_twice_at_once(people: Cast) -> None:
    grant = active(people.alice, minutes=10)

    results = at_once(lambda: more(grant, 5), lambda: more(grant, 5))

    assert sorted(type(result).__name__ for result in results) == ["AccessRequest", "Conflict"]


def test_an_extension_that_nobody_decides_lapses_when_its_access_ends(people: Cast) -> None:
    grant = active(people.alice, minutes=60)
    request = more(grant)

    with clock.shifted(timedelta(minutes=61)):
        with pytest.raises(Conflict, match="waited too long"):
            approve(actor=fresh(people.dana), request_id=request.pk)
        assert lapse_due() == 1


def test_an_extension_that_nobody_decides_is_closed_when_its_access_is_given_back(people: Cast) -> None:
    grant = active(people.alice, minutes=60)
    request = more(grant)
    assert services.close_pointless() == 0
    services.release(actor=fresh(people.alice), grant_id=grant.pk)

    assert services.close_pointless() == 1

    request.refresh_from_db()
    assert (request.status, request.closed_reason) == ("lapsed", "The access that this was to extend is over.")


def test_open_approved_refuses_an_extension_when_its_access_is_over(people: Cast) -> None:
    grant = active(people.alice, minutes=10)
    request = more(grant)
    services.revoke(actor=fresh(people.dana), grant_id=grant.pk, reason="incident")

    assert services.open_approved() == []

    request.refresh_from_db()
    assert request.status == "denied"
    assert "had ended" in request.closed_reason


@pytest.mark.parametrize("when", ["past its end", "given back", "left the team"])
def test_an_extension_fails_when_what_it_was_for_is_over_meanwhile(
    people: Cast, target: TargetServer, when: str
) -> None:
    grant = active(people.alice, minutes=10)
    request, shift = more(grant), timedelta(0)
    services.open_approved()
    until = on_target(target, grant)
    if when == "past its end":
        shift = timedelta(minutes=10, seconds=1)
    elif when == "given back":
        services.release(actor=fresh(people.alice), grant_id=grant.pk)
    else:
        leave(people.alice, people.shop_team)

    with clock.shifted(shift):
        assert [work.task for work in due.extensions(clock.now())] == [Task.EXTEND]
        services.extend_queued(server_id=grant.server_id)
        assert list(due.extensions(clock.now())) == []

    assert request.extension.status == "failed"
    assert request.extension.problem
    assert on_target(target, grant) == until
    assert told(grant)[-1] == "grant.extend_failed"


def test_an_extension_is_applied_once_when_the_answer_was_lost(
    people: Cast, monkeypatch: pytest.MonkeyPatch, target: TargetServer
) -> None:
    grant = active(people.alice, minutes=10)
    put_in(monkeypatch, OddEngine(after_extend=fails(LOST)))
    more(grant)
    assert (work(grant).status, grant.minutes) == ("queued", 10)
    until = on_target(target, grant)

    with clock.shifted(timedelta(seconds=30)):
        assert work(grant).status == "applied"

    assert on_target(target, grant) == grant.valid_until == until
    assert grant.minutes == 40
    assert told(grant)[-3:] == ["grant.extending", "grant.extend_failed", "grant.extended"]


def test_an_extension_is_applied_once_when_its_worker_dies_before_it_can_record(
    people: Cast, monkeypatch: pytest.MonkeyPatch, target: TargetServer
) -> None:
    grant = active(people.alice, minutes=10)
    more(grant)
    services.open_approved()
    with monkeypatch.context() as dying:
        dying.setattr(extending, "_record_extended", killed)
        with pytest.raises(KeyboardInterrupt):
            services.extend_queued(server_id=grant.server_id)
    until = on_target(target, grant)
    assert list(due.extensions(clock.now())) == []  # claimed by the dead

    with clock.shifted(leases.LEASE):
        assert work(grant).status == "applied"

    assert grant.valid_until == on_target(target, grant) == until
    assert told(grant).count("grant.extended") == 1


def test_the_end_wins_when_it_comes_between_the_target_and_the_record(
    people: Cast, monkeypatch: pytest.MonkeyPatch, left_behind: LeftBehind
) -> None:
    grant = active(people.alice, minutes=10)
    more(grant)

    def given_back() -> None:
        services.release(actor=fresh(people.alice), grant_id=grant.pk)

    put_in(monkeypatch, OddEngine(after_extend=given_back))
    assert work(grant).status == "failed"
    assert (grant.status, grant.minutes) == (GrantStatus.ENDING, 10)

    services.end_due(server_id=grant.server_id)
    now_in(grant, GrantStatus.ENDED)
    assert left_behind.roles(grant.login) == []


def test_an_extension_fails_when_the_target_refuses(people: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    grant = active(people.alice, minutes=10)
    put_in(monkeypatch, OddEngine(before_extend=fails(RefusedByTarget("The login is not there."))))
    more(grant)

    assert (work(grant).status, work(grant).problem) == ("failed", "The login is not there.")
    assert (grant.minutes, grant.status) == (10, GrantStatus.ACTIVE)
    assert more(grant).status == "approved"  # it can be asked again


def test_two_workers_apply_an_extension_once_when_both_try_at_once(people: Cast) -> None:
    grant = active(people.alice, minutes=10)
    more(grant)
    services.open_approved()

    assert at_once(*[lambda: services.extend_queued(server_id=grant.server_id)] * 2) == [None, None]

    grant.refresh_from_db()
    assert grant.minutes == 40
    assert told(grant).count("grant.extended") == 1


def test_cancel_an_extension_conflicts_when_it_is_being_applied(people: Cast) -> None:
    grant = active(people.alice, minutes=10)
    request = more(grant)
    services.open_approved()

    with pytest.raises(Conflict):
        cancel(actor=people.alice, request_id=request.pk)


def test_warn_expiring_tells_again_when_the_new_end_is_near(people: Cast) -> None:
    grant = active(people.alice, minutes=10)
    with clock.shifted(timedelta(minutes=8, seconds=1)):
        assert services.warn_expiring() == 1
        more(grant)
        work(grant)
        assert services.warn_expiring() == 0
    with clock.shifted(timedelta(minutes=37, seconds=1)):
        assert services.warn_expiring() == 1
