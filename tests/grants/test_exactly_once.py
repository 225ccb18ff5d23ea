"""Two of everything at once: each grant is queued, issued and ended once, and nothing is left on the target."""

from collections import Counter

import pytest

from apps.accounts.models import User
from apps.audit import services as audit
from apps.core import clock
from apps.core.nudge import nudge
from apps.grants import services
from apps.grants.models import Grant
from apps.grants.states import GrantStatus
from tests.factories import Cast, UserFactory, fresh
from tests.grants.conftest import LeftBehind
from tests.grants.machinery import running, wait_until
from tests.grants.stage import after, approved, told
from tests.support.threads import at_once

pytestmark = pytest.mark.django_db(transaction=True)

_LIFE = ["grant.queued", "grant.issuing", "grant.issued", "grant.ending", "grant.ended"]


def test_every_grant_lives_once_when_two_clocks_and_two_workers_run(people: Cast, left_behind: LeftBehind) -> None:
    asking: list[User] = [UserFactory(username=f"dev{n}", groups=[people.shop_team]) for n in range(10)]
    for number, person in enumerate(asking):
        approved(person, minutes=1, tables=("sales.orders",) if number % 2 else ("sales.orders", "stock.levels"))

    with running(clocks=2, workers=2):
        wait_until(lambda: Grant.objects.filter(status=GrantStatus.ACTIVE).count() == len(asking))
        with clock.shifted(after(Grant.objects.all()[0])):
            nudge()
            wait_until(lambda: Grant.objects.filter(status=GrantStatus.ENDED).count() == len(asking))

    for grant in Grant.objects.all():
        assert [action for action in told(grant) if action != "grant.expiring"] == _LIFE
        assert left_behind.roles(grant.login) == []
        assert left_behind.sessions(grant.login) == 0


def test_open_approved_makes_one_grant_when_two_clocks_look_at_once(people: Cast) -> None:
    requests = [approved(people.alice), approved(people.bob)]

    found = at_once(services.open_approved, services.open_approved)

    opened = [grant.request_id for grants in found for grant in grants]
    assert sorted(opened) == sorted(request.pk for request in requests)
    assert Grant.objects.count() == 2


def test_issue_records_one_outcome_when_two_workers_try_at_once(people: Cast) -> None:
    approved(people.alice)
    (grant,) = services.open_approved()

    results = at_once(lambda: services.issue(grant_id=grant.pk), lambda: services.issue(grant_id=grant.pk))

    assert Counter(map(type, results)) == {bool: 2}
    assert any(results)
    assert told(grant) == ["grant.queued", "grant.issuing", "grant.issued"]


def test_end_due_records_one_outcome_when_two_workers_try_at_once(people: Cast) -> None:
    approved(people.alice, minutes=1)
    (grant,) = services.open_approved()
    services.issue(grant_id=grant.pk)

    with clock.shifted(after(grant)):
        results = at_once(*[lambda: services.end_due(server_id=grant.server_id)] * 2)

    assert results == [None, None]
    assert told(grant)[-2:] == ["grant.ending", "grant.ended"]


def test_release_and_revoke_at_once_end_it_once_when_both_are_fast(people: Cast) -> None:
    approved(people.alice)
    (grant,) = services.open_approved()
    services.issue(grant_id=grant.pk)

    results = at_once(
        lambda: services.release(actor=fresh(people.alice), grant_id=grant.pk),
        lambda: services.revoke(actor=fresh(people.dana), grant_id=grant.pk, reason="incident"),
    )

    assert sorted(type(result).__name__ for result in results) == ["Conflict", "Grant"]
    lines = audit.entries(limit=1000, where=audit.Filter(subjects=(grant.audit_id,)))
    assert len([line for line in lines if line.action in {"grant.released", "grant.revoked"}]) == 1
