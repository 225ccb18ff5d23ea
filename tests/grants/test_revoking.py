"""The big red button: who may press it, how much it takes away, and that it does so once."""

from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection

from apps.audit import services as audit
from apps.audit.trail import Line
from apps.core import clock
from apps.core.errors import Conflict, Invalid, NotAllowed, NotFound, PortalError
from apps.core.ids import new_id
from apps.grants import revoking, services
from apps.grants.models import Grant
from apps.grants.states import GrantStatus
from apps.requests.models import AccessRequest
from apps.requests.services import Ask, submit
from jitportal.portal_database import WEB
from tests.factories import Cast, UserFactory, fresh, let_own
from tests.grants.conftest import LeftBehind
from tests.grants.machinery import running, wait_until
from tests.grants.odd_engine import put_in
from tests.grants.shelf import Shelf
from tests.grants.stage import active, approved, connected, now_in, queued, told
from tests.support.portal import PortalDatabase
from tests.support.threads import at_once

pytestmark = pytest.mark.django_db(transaction=True)


def press(actor: Any, expected: int, **selected: Any) -> services.Revoked:
    return services.revoke_all(actor=fresh(actor), reason="The laptop is gone.", expected=expected, **selected)


def orders() -> list[Line]:
    return audit.entries(limit=1000, where=audit.Filter(action="access.revoked"))


@pytest.mark.parametrize(
    ("selected", "gone"),
    [
        ({"person": "alice"}, {"a1", "a2"}),
        ({"database": "shop-staging"}, {"a1", "a2", "b"}),
        ({"server": "demo"}, {"a1", "a2", "b"}),
        ({"everything": True, "word": "REVOKE"}, {"a1", "a2", "b"}),
    ],
)
def test_revoke_all_ends_what_was_chosen_and_nothing_else(
    people: Cast, selected: dict[str, Any], gone: set[str]
) -> None:
    grants = {"a1": queued(people.alice), "a2": queued(people.alice), "b": queued(people.bob)}
    before = len(orders())

    done = press(people.sam, len(gone), **selected)

    assert done == services.Revoked(grants=len(gone), requests=0)
    for name, grant in grants.items():
        now_in(grant, GrantStatus.ENDING if name in gone else GrantStatus.QUEUED)
        assert (told(grant)[-1] == "grant.revoked") == (name in gone)
        assert (grant.end_reason == "The laptop is gone.") == (name in gone)
    (order,) = orders()[before:]
    assert (order.facts["grants"], order.facts["selection"]) == (len(gone), next(iter(selected)))
    assert order.disclosed["reason"] == "The laptop is gone."
    assert b"laptop" not in order.body


def test_revoke_all_refuses_what_is_approved_and_not_made_yet(people: Cast) -> None:
    live = active(people.alice, minutes=10)
    more = services.extend(actor=people.alice, grant_id=live.pk, minutes=5, reason="Nearly there.")
    later = approved(people.alice, starts_at=clock.now() + timedelta(days=1))
    soon = approved(people.bob)
    waiting = submit(actor=fresh(people.alice), ask=_ask(database="shop"))
    seen = services.affected(actor=people.dana, database="shop-staging")
    assert (seen.grants, seen.requests, seen.count) == (1, 3, 4)
    assert {(line.username, line.grants, line.requests) for line in seen.lines} == {("alice", 1, 2), ("bob", 0, 1)}

    press(people.dana, 4, database="shop-staging")

    for request in (later, soon, more):
        request.refresh_from_db()
        assert request.status == "denied"
        assert "The laptop is gone." in request.closed_reason
    waiting.refresh_from_db()
    assert waiting.status == "pending"
    assert services.open_approved() == []
    now_in(live, GrantStatus.ENDING)


def _ask(**parts: Any) -> Ask:
    usual = {"level": "query", "tables": ("sales.orders",), "connection": "direct", "minutes": 5, "reason": "Why not."}
    return Ask(**{**usual, **parts})


def test_revoke_all_cuts_sessions_when_workers_run(people: Cast, left_behind: LeftBehind) -> None:
    grants = [active(people.alice, minutes=30), active(people.bob, minutes=30)]
    sessions = [connected(grant) for grant in grants]

    with running(clocks=1, workers=1):
        press(people.sam, 2, everything=True, word="REVOKE")
        wait_until(lambda: Grant.objects.filter(status=GrantStatus.ENDED).count() == 2)

    for grant, session in zip(grants, sessions, strict=True):
        assert (left_behind.sessions(grant.login), left_behind.roles(grant.login)) == (0, [])
        session.close()


def test_revoke_all_is_for_an_owner_when_it_is_their_database(people: Cast) -> None:
    let_own(people.staging, people.carol)
    grant = queued(people.alice)
    for selected in ({"person": "alice"}, {"server": "demo"}, {"database": "shop"}, {"everything": True}):
        with pytest.raises(NotAllowed):
            press(people.carol, 1, word="REVOKE", **selected)
    now_in(grant, GrantStatus.QUEUED)

    press(people.carol, 1, database="shop-staging")

    now_in(grant, GrantStatus.ENDING)


@pytest.mark.parametrize("who", ["alice", "bob", "audrey"])
@pytest.mark.parametrize("selected", [{"person": "alice"}, {"database": "shop-staging"}, {"everything": True}])
def test_revoke_all_is_not_allowed_when_one_answers_for_nothing(
    people: Cast, who: str, selected: dict[str, Any]
) -> None:
    grant = queued(people.alice)
    before = len(audit.entries(limit=1000, where=audit.Filter(action="grant.refused")))

    with pytest.raises(NotAllowed):
        press(getattr(people, who), 1, word="REVOKE", **selected)
    with pytest.raises(NotAllowed):
        services.affected(actor=fresh(getattr(people, who)), **selected)

    now_in(grant, GrantStatus.QUEUED)
    assert len(audit.entries(limit=1000, where=audit.Filter(action="grant.refused"))) == before + 1
    assert not services.may_revoke_all(fresh(getattr(people, who)))


@pytest.mark.parametrize(
    ("parts", "kind", "sentence"),
    [
        ({"expected": 2}, Conflict, "it is 1 by now"),
        ({"expected": 0}, Conflict, "it is 1 by now"),
        ({"reason": ""}, Invalid, "empty"),
        ({"reason": "x" * 10_000}, Invalid, "10000 characters"),
        ({"person": None}, Invalid, "Say whose"),
        ({"database": "shop"}, Invalid, "Say whose"),
        ({"person": "nobody"}, NotFound, "no person “nobody”"),
        ({"person": "a\0b"}, Invalid, "NUL"),
        ({"person": "bob"}, Conflict, "no access of bob"),
        ({"person": None, "everything": True}, Invalid, "type REVOKE"),
        ({"person": None, "everything": True, "word": "revoke"}, Invalid, "type REVOKE"),
    ],
)
def test_revoke_all_does_nothing_when_it_cannot_be_meant(
    people: Cast, parts: dict[str, Any], kind: type[PortalError], sentence: str
) -> None:
    grant = queued(people.alice)
    before = len(orders())
    given = {"person": "alice", "expected": 1, "reason": "incident", **parts}

    with pytest.raises(kind, match=sentence):
        services.revoke_all(actor=people.dana, **given)

    now_in(grant, GrantStatus.QUEUED)
    assert len(orders()) == before


def test_revoke_all_does_the_rest_when_it_was_cut_short(people: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    grants = [queued(people.alice) for _ in range(3)]
    monkeypatch.setattr(revoking, "_BATCH", 2)
    batch, calls = revoking._revoke_batch, []

    def dies_at_the_second(**given: Any) -> int | None:
        calls.append(given)
        if len(calls) == 2:
            raise ConnectionError
        return batch(**given)

    with monkeypatch.context() as dying:
        dying.setattr(revoking, "_revoke_batch", dies_at_the_second)
        with pytest.raises(ConnectionError):
            press(people.dana, 3, person="alice")

    assert press(people.dana, 1, person="alice").grants == 1
    for grant in grants:
        now_in(grant, GrantStatus.ENDING)
        assert told(grant).count("grant.revoked") == 1


def test_revoke_all_ends_each_once_when_two_press_at_once(people: Cast) -> None:
    grants = [queued(people.alice) for _ in range(4)]

    results = at_once(*[lambda: press(people.dana, 4, person="alice"), lambda: press(people.sam, 4, person="alice")])

    assert sum(result.grants for result in results if isinstance(result, services.Revoked)) == 4
    for grant in grants:
        assert told(grant).count("grant.revoked") == 1


def test_revoke_all_leaves_nothing_when_the_clock_opens_what_was_approved(people: Cast) -> None:
    requests = [approved(people.alice) for _ in range(6)]

    done, _, _ = at_once(lambda: press(people.dana, 6, person="alice"), services.open_approved, services.open_approved)

    assert done.grants + done.requests == 6
    for request in requests:
        request.refresh_from_db()
        made = Grant.objects.filter(request=request).first()
        assert made.status == "ending" if made else request.status == "denied"


def test_revoke_all_takes_thousands_when_there_are(people: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """As rows; how fast that many logins go is a benchmark."""
    put_in(monkeypatch, Shelf())
    model = queued(people.alice)
    holders = [UserFactory(username=f"dev{n}") for n in range(20)]
    requests, grants = [], []
    for number in range(2_000):
        request = AccessRequest.objects.get(pk=model.request_id) if not requests else _copy(requests[0])
        request.pk, request.requester, request.status = new_id(), holders[number % 20], "pending"
        grant = _copy(model)
        grant.pk, grant.request, grant.holder = new_id(), request, request.requester
        grant.login = f"jit_dev_{grant.pk}"
        requests.append(request)
        grants.append(grant)
    AccessRequest.objects.bulk_create(requests)
    AccessRequest.objects.update(status="approved")
    Grant.objects.bulk_create(grants)

    done = press(people.sam, 2_001, server="demo")

    assert done.grants == 2_001
    assert Grant.objects.filter(status=GrantStatus.ENDING, next_try_at__lte=clock.now()).count() == 2_001
    for _ in range(3):  # a busy machine has not done with them in one task
        services.end_due(server_id=model.server_id)
    assert not Grant.objects.exclude(status=GrantStatus.ENDED).exists()


def _copy(row: Any) -> Any:
    fields = {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}
    return type(row)(**fields)


def test_revoke_all_works_when_the_web_process_calls_it(people: Cast, portal_database: PortalDatabase) -> None:
    grant, request = active(people.alice), approved(people.bob)
    before = dict(connection.settings_dict)
    connection.close()
    connection.settings_dict |= {"USER": WEB, "PASSWORD": urlsplit(portal_database.urls[WEB]).password}
    try:
        press(people.dana, 2, database="shop-staging")
    finally:
        connection.close()
        connection.settings_dict |= before
    now_in(grant, GrantStatus.ENDING)
    request.refresh_from_db()
    assert request.status == "denied"
