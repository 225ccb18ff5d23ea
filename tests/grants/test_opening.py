from datetime import timedelta

import pytest

from apps.accounts.models import User
from apps.approvals.models import Decision
from apps.catalog.models import Column, Database, Server, Table
from apps.core import clock
from apps.grants import services
from apps.grants.models import Grant
from apps.requests.models import AccessRequest
from apps.requests.services import cancel
from tests.factories import Cast, leave
from tests.grants.stage import approved, approved_by_people, told

pytestmark = pytest.mark.django_db(transaction=True)


def test_open_approved_queues_a_grant_when_the_policy_said_yes(people: Cast) -> None:
    request = approved(people.alice)

    (grant,) = services.open_approved()

    assert (grant.request, grant.holder, grant.status) == (request, people.alice, "queued")
    assert grant.login == f"jit_alice_{grant.pk}"
    assert grant.scope_digest == request.scope_digest
    assert grant.password is None  # the clock holds no key
    assert told(grant) == ["grant.queued"]
    assert services.open_approved() == []


def test_open_approved_queues_a_grant_when_people_said_yes(people: Cast) -> None:
    request = approved_by_people(people)

    (grant,) = services.open_approved()

    assert grant.request == request


def test_open_approved_names_a_login_when_the_name_is_all_symbols(people: Cast) -> None:
    User.objects.filter(pk=people.alice.pk).update(username="★ ‘; DROP --")
    approved(people.alice)

    (grant,) = services.open_approved()

    assert grant.login == f"jit_drop_{grant.pk}"


def test_open_approved_waits_when_the_start_is_later(people: Cast) -> None:
    starts_at = clock.now() + timedelta(minutes=10)
    approved(people.alice, starts_at=starts_at)

    assert services.open_approved() == []

    with clock.shifted(timedelta(minutes=10)):
        assert len(services.open_approved()) == 1


def test_open_approved_leaves_it_when_the_request_is_not_approved(people: Cast) -> None:
    request = AccessRequest.objects.get(pk=approved(people.alice).pk)
    request.pk, request.idempotency_key = "undecided1", None
    request.status = "pending"
    request.save(force_insert=True)
    cancel(actor=people.alice, request_id=request.pk)

    services.open_approved()

    assert not Grant.objects.filter(request=request).exists()


@pytest.mark.parametrize(
    ("gone", "sentence"),
    [
        ("account", "closed"),
        ("right", "may not ask"),
        ("database", "switched off"),
        ("server", "switched off"),
        ("table", "is gone"),
        ("unclassified", "is masked"),
        ("vote of the peer", "do not stand"),
        ("duty of the owner", "do not stand"),
        ("vote for less", "do not stand"),
        ("scope", "not what was approved"),
        ("minutes", "not what was approved"),
    ],
)
def test_open_approved_refuses_with_a_sentence_when_it_does_not_hold_any_more(
    people: Cast, gone: str, sentence: str
) -> None:
    request = approved_by_people(people)
    _take_away(gone, request, people)

    assert services.open_approved() == []

    request.refresh_from_db()
    assert request.status == "denied"
    assert sentence in request.closed_reason
    assert not Grant.objects.exists()


def _take_away(what: str, request: AccessRequest, people: Cast) -> None:
    requests = AccessRequest.objects.filter(pk=request.pk)
    match what:
        case "account":
            User.objects.filter(pk=people.alice.pk).update(is_active=False)
        case "right":
            leave(people.alice, people.shop_team)
        case "database":
            Database.objects.filter(pk=people.shop.pk).update(is_active=False)
        case "server":
            Server.objects.filter(pk=people.shop.server_id).update(is_active=False)
        case "table":
            Table.objects.filter(database=people.shop, name="orders").update(gone_at=clock.now())
        case "unclassified":
            Column.objects.filter(table__database=people.shop, table__name="orders").update(classification="restricted")
        case "vote of the peer":
            leave(people.bob, people.shop_team)
        case "duty of the owner":
            User.objects.filter(pk=people.dana.pk).update(is_active=False)
        case "vote for less":
            decision = Decision.objects.filter(request=request)[0]
            decision.scope["tables"] = decision.scope["tables"][:1]
            decision.save()
        case "scope":
            requests.update(scope={**request.scope, "tables": [*request.scope["tables"], ["stock", "levels"]]})
        case "minutes":
            requests.update(minutes=6000)


def test_open_approved_refuses_when_more_would_be_granted_than_the_policy_saw(people: Cast) -> None:
    request = approved(people.alice)
    scope = {**request.scope, "tables": sorted([*request.scope["tables"], ["stock", "levels"]])}
    request.scope = scope
    digest = request.effective.digest()
    AccessRequest.objects.filter(pk=request.pk).update(scope=scope, scope_digest=digest)

    assert services.open_approved() == []

    request.refresh_from_db()
    assert "more than the policy approved" in request.closed_reason
