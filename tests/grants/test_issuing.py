import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from django.test import override_settings

from apps.accounts.models import User
from apps.audit import services as audit
from apps.catalog.models import Server
from apps.catalog.services import change_server, set_manager_secret
from apps.core import clock
from apps.engines.base import Opened
from apps.grants import leases, services
from apps.grants.issuing import PATIENCE
from apps.grants.models import Grant, ServerLease
from apps.grants.states import GrantStatus
from tests.factories import Cast
from tests.grants.conftest import LeftBehind, prepare
from tests.grants.odd_engine import LOST, OddEngine, fails, put_in
from tests.grants.stage import active, connected, now_in, queued, told
from tests.support.targets import TargetServer

pytestmark = pytest.mark.django_db(transaction=True)

A_MINUTE = timedelta(minutes=1)
# Longer than the first pause between tries; with more, the target's clock would seem to be off.
A_MOMENT = timedelta(seconds=10)


def test_issue_makes_a_login_that_works_when_all_is_well(people: Cast) -> None:
    grant = active(people.alice, minutes=5)

    with connected(grant) as client:
        assert client.execute("SELECT id FROM orders").fetchall() == [(4711,)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            client.execute("SELECT id FROM stock.products")
    assert grant.expires_at is not None
    assert grant.starts_at is not None
    assert grant.expires_at - grant.starts_at == timedelta(minutes=5)
    assert grant.evidence is not None
    assert [view["table"] for view in grant.evidence["views"]] == ["sales.order_lines", "sales.orders"]
    assert told(grant) == ["grant.queued", "grant.issuing", "grant.issued", "credential.shown"]
    (issued,) = audit.entries(where=audit.Filter(subjects=(grant.audit_id,), action="grant.issued"))
    assert issued.facts["objects"] == grant.evidence["reach"]
    assert [view["view"] for view in issued.facts["views"]] == [view["view"] for view in grant.evidence["views"]]  # type: ignore[union-attr,index,call-overload]


def test_issue_keeps_the_password_out_of_the_record_when_it_makes_a_login(people: Cast) -> None:
    grant = active(people.alice)
    password = services.credential(actor=people.alice, grant_id=grant.pk).password

    lines = audit.entries(limit=1000, where=audit.Filter(subjects=(grant.audit_id,)))

    assert password not in json.dumps([[line.body.decode(), dict(line.disclosed)] for line in lines])
    assert password not in repr(services.credential(actor=people.alice, grant_id=grant.pk))
    assert grant.login not in "".join(line.body.decode() for line in lines)  # it holds a part of a name
    assert password.encode() not in bytes(grant.password or b"")


def test_issue_says_so_and_tries_again_when_nobody_answers(people: Cast, target: TargetServer, tmp_path: Path) -> None:
    grant = queued(people.alice)
    _move(grant.server, port=1)

    services.issue(grant_id=grant.pk)

    now_in(grant, GrantStatus.QUEUED)
    assert "could not be reached" in grant.problem
    assert grant.next_try_at is not None
    _move(grant.server, port=target.port)
    prepare(target, grant.server, tmp_path)
    with clock.shifted(grant.next_try_at - clock.now()):
        services.issue(grant_id=grant.pk)
    now_in(grant, GrantStatus.ACTIVE)
    assert grant.problem == ""
    assert told(grant) == ["grant.queued", "grant.issuing", "grant.issue_failed", "grant.issued"]


def _move(server: Server, *, port: int) -> None:
    change_server(actor="operator", server_id=server.pk, port=port)
    set_manager_secret(actor="operator", server_id=server.pk, secret="another-long-random-password")


def test_issue_is_recorded_once_when_the_same_thing_goes_wrong_again(
    people: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in(monkeypatch, OddEngine(before_open=fails(LOST), again=True))
    grant = queued(people.alice)

    for tries in range(3):
        with clock.shifted(tries * A_MINUTE):
            services.issue(grant_id=grant.pk)

    assert now_in(grant, GrantStatus.QUEUED).tries == 3
    assert told(grant) == ["grant.queued", "grant.issuing", "grant.issue_failed"]


def test_issue_waits_when_its_next_try_is_not_due(people: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in(monkeypatch, OddEngine(before_open=fails(LOST)))
    grant = queued(people.alice)
    services.issue(grant_id=grant.pk)

    assert not services.issue(grant_id=grant.pk)

    assert now_in(grant, GrantStatus.QUEUED).tries == 1


def test_issue_takes_over_what_is_there_when_the_answer_was_lost(
    people: Cast, monkeypatch: pytest.MonkeyPatch, target: TargetServer
) -> None:
    put_in(monkeypatch, OddEngine(after_open=fails(LOST)))
    grant = queued(people.alice, minutes=5)
    services.issue(grant_id=grant.pk)
    now_in(grant, GrantStatus.QUEUED)
    opened_until = _valid_until(target, grant.login)

    with clock.shifted(A_MOMENT):
        services.issue(grant_id=grant.pk)

    now_in(grant, GrantStatus.ACTIVE)
    assert _valid_until(target, grant.login) == opened_until
    with connected(grant) as client:
        assert client.execute("SELECT current_user").fetchone() == (grant.login,)
    assert told(grant).count("grant.issued") == 1


def _valid_until(target: TargetServer, login: str) -> object:
    with target.admin() as admin:
        return admin.execute("SELECT rolvaliduntil FROM pg_roles WHERE rolname = %s", [login]).fetchone()


def test_issue_ends_with_the_target_when_its_clock_is_off(people: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """Times of the target are never taken for the portal's: the end is the same instant on both."""
    off = timedelta(seconds=20)
    put_in(monkeypatch, OddEngine(change=lambda opened: _with_clock_off(opened, off)))
    before = clock.now()

    grant = active(people.alice, minutes=5)

    assert grant.starts_at is not None
    assert before <= grant.starts_at <= clock.now()


def test_issue_is_refused_when_the_targets_clock_is_far_off(
    people: Cast, monkeypatch: pytest.MonkeyPatch, left_behind: LeftBehind
) -> None:
    put_in(monkeypatch, OddEngine(change=lambda opened: _with_clock_off(opened, timedelta(seconds=45))))
    grant = queued(people.alice)

    services.issue(grant_id=grant.pk)

    now_in(grant, GrantStatus.FAILED)
    assert "45 s ahead" in grant.problem
    assert left_behind.roles(grant.login) == []


def _with_clock_off(opened: Opened, off: timedelta) -> Opened:
    evidence = replace(opened.evidence, checked_at=opened.evidence.checked_at + off)
    return replace(opened, opened_at=opened.opened_at + off, valid_until=opened.valid_until + off, evidence=evidence)


def test_issue_fails_with_the_reason_when_the_target_would_leak(
    people: Cast, target: TargetServer, left_behind: LeftBehind
) -> None:
    grant = queued(people.alice)
    with target.admin(grant.database.datname) as admin:
        admin.execute("GRANT SELECT ON sales.customers TO PUBLIC")
        try:
            services.issue(grant_id=grant.pk)
        finally:
            admin.execute("REVOKE ALL ON sales.customers FROM PUBLIC")

    now_in(grant, GrantStatus.FAILED)
    assert "sales.customers" in grant.problem
    assert grant.password is None
    assert left_behind.roles(grant.login) == []
    assert told(grant) == ["grant.queued", "grant.issuing", "grant.ending", "grant.failed"]


def test_issue_gives_up_when_it_was_tried_for_long_enough(people: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in(monkeypatch, OddEngine(before_open=fails(LOST), again=True))
    grant = queued(people.alice, minutes=5)
    services.issue(grant_id=grant.pk)

    with clock.shifted(PATIENCE + A_MINUTE):
        services.issue(grant_id=grant.pk)

    now_in(grant, GrantStatus.FAILED)
    assert "could not be done in time" in grant.problem
    assert told(grant)[-2:] == ["grant.ending", "grant.failed"]


def test_issue_stays_ending_when_it_is_given_up_and_absence_is_not_proven(
    people: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in(monkeypatch, OddEngine(before_open=fails(LOST), before_close=fails(LOST), again=True))
    grant = queued(people.alice, minutes=5)

    with clock.shifted(PATIENCE + A_MINUTE):
        services.issue(grant_id=grant.pk)

    assert now_in(grant, GrantStatus.ENDING).password is not None
    assert told(grant)[-1] == "grant.end_failed"


def test_issue_takes_the_login_back_when_it_was_revoked_meanwhile(
    people: Cast, monkeypatch: pytest.MonkeyPatch, left_behind: LeftBehind
) -> None:
    grant = queued(people.alice)
    revoke = lambda: services.revoke(actor=people.dana, grant_id=grant.pk, reason="wrong one")  # noqa: E731
    put_in(monkeypatch, OddEngine(after_open=lambda: [revoke(), None][1]))

    services.issue(grant_id=grant.pk)

    assert left_behind.roles(grant.login) == []
    now_in(grant, GrantStatus.ENDING)
    services.end_due(server_id=grant.server_id)
    assert now_in(grant, GrantStatus.ENDED).end_cause == "revoked"
    assert "grant.issued" not in told(grant)


@pytest.mark.parametrize("gone", ["account", "right", "database", "vote"])
def test_issue_fails_when_the_grant_may_not_be_made_any_more(people: Cast, gone: str) -> None:
    grant = queued(people.alice)
    if gone == "account":
        User.objects.filter(pk=people.alice.pk).update(is_active=False)
    elif gone == "right":
        people.alice.groups.clear()
    elif gone == "database":
        type(people.staging).objects.filter(pk=people.staging.pk).update(is_active=False)
    else:
        type(grant.request).objects.filter(pk=grant.request_id).update(scope_digest="0" * 64)

    services.issue(grant_id=grant.pk)

    assert now_in(grant, GrantStatus.FAILED).end_reason


def test_issue_waits_for_a_person_when_the_server_is_not_ready(people: Cast) -> None:
    finding = {"severity": "error", "sentence": "The masker is missing.", "fix": ""}
    grant = queued(people.alice)
    Server.objects.filter(pk=grant.server_id).update(findings=[finding], check_wanted_at=None)

    services.issue(grant_id=grant.pk)

    assert "The masker is missing." in now_in(grant, GrantStatus.QUEUED).problem
    assert Server.objects.get(pk=grant.server_id).check_wanted_at is not None


def test_issue_is_tried_again_when_something_unexpected_happens(
    people: Cast, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    put_in(monkeypatch, OddEngine(before_open=fails(ZeroDivisionError())))
    grant = queued(people.alice)

    services.issue(grant_id=grant.pk)

    assert "worker's log" in now_in(grant, GrantStatus.QUEUED).problem
    assert "ZeroDivisionError" in caplog.text
    with clock.shifted(A_MOMENT):
        services.issue(grant_id=grant.pk)
    now_in(grant, GrantStatus.ACTIVE)


def test_issue_leaves_it_to_the_other_when_somebody_works_on_the_server(people: Cast) -> None:
    grant = queued(people.alice)

    with leases.server_lease(grant.server_id) as token:
        assert token
        assert not services.issue(grant_id=grant.pk)
    assert now_in(grant, GrantStatus.QUEUED).tries == 0

    assert services.issue(grant_id=grant.pk)
    now_in(grant, GrantStatus.ACTIVE)


def test_issue_goes_on_when_the_worker_before_died(people: Cast) -> None:
    grant = queued(people.alice)
    ServerLease.objects.create(server=grant.server, holder="dead", until=clock.now() + A_MOMENT)
    assert not services.issue(grant_id=grant.pk)

    with clock.shifted(A_MOMENT):
        assert services.issue(grant_id=grant.pk)

    now_in(grant, GrantStatus.ACTIVE)


def test_issue_queued_makes_all_that_wait_when_there_are_several(people: Cast) -> None:
    grants = [queued(person) for person in (people.alice, people.bob, people.carol)]

    while Grant.objects.filter(status=GrantStatus.QUEUED).exists():
        services.issue_queued(server_id=grants[0].server_id)

    assert len({now_in(grant, GrantStatus.ACTIVE).scope_role for grant in grants}) == 1


@override_settings(GRANT_PASSWORD_RING=[])
def test_issue_opens_nothing_when_the_worker_has_no_ring(people: Cast, left_behind: LeftBehind) -> None:
    grant = queued(people.alice)

    with pytest.raises(IndexError):
        services.issue(grant_id=grant.pk)

    assert now_in(grant, GrantStatus.QUEUED).tries == 0
    assert left_behind.roles(grant.login) == []
