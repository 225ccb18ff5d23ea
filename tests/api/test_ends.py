"""Over the API: more time for live access, and all of it taken away."""

import json
from typing import Any

import pytest
from django.test import Client

from apps.accounts import services as accounts
from apps.accounts.models import TokenScope, User
from apps.grants.models import Grant
from apps.policies.services import ensure_default_rules
from tests.factories import Cast, cast
from tests.support.pages import approve, ask, live

pytestmark = pytest.mark.django_db(transaction=True)


def call(user: User, path: str, body: Any = None, *scopes: str, **headers: str) -> tuple[int, Any]:
    """With a body a POST."""
    _, token = accounts.create_token(actor=user, name="test", scopes=list(scopes) or TokenScope.values, days=1)
    answer = Client().generic(
        "GET" if body is None else "POST",
        f"/api/v1{path}",
        data="" if body is None else json.dumps(body),
        content_type="application/json",
        headers={"Authorization": f"Bearer {token}", **headers},
    )
    return answer.status_code, json.loads(answer.content)


@pytest.fixture
def people() -> Cast:
    ensure_default_rules()
    return cast()


@pytest.fixture
def grant(people: Cast) -> Grant:
    row = ask(people.alice)
    approve(people, row)
    return live(people, row)


def test_reset_password_asks_for_it_and_only_of_ones_own_live_grant(people: Cast, grant: Grant) -> None:
    status, body = call(people.alice, f"/grants/{grant.pk}/credential/reset", {})
    assert (status, body["id"], body["status"]) == (202, grant.pk, "active")
    for stranger in (people.bob, people.carol):
        assert call(stranger, f"/grants/{grant.pk}/credential/reset", {})[0] in {403, 404}
    assert call(people.alice, f"/grants/{grant.pk}/credential/reset", {}, "read")[0] == 403
    call(people.alice, f"/grants/{grant.pk}/release", {"reason": "Done"})
    assert call(people.alice, f"/grants/{grant.pk}/credential/reset", {})[0] == 409


MORE = {"minutes": 30, "reason": "Slower than thought"}


def test_extend_makes_a_request_that_extends_the_grant(people: Cast, grant: Grant) -> None:
    status, body = call(people.alice, f"/grants/{grant.pk}/extend", MORE)

    assert status == 201
    assert (body["status"], body["minutes"], body["extends"]) == ("pending", 30, grant.request_id)
    assert body["grant"] == {"id": grant.pk, "status": "active"}
    assert body["extension"] is None
    assert body["tables"] == ["sales.orders", "stock.products"]
    assert [step["kind"] for step in body["route"]] == ["peer", "owner"]
    _, listed = call(people.alice, "/requests")
    assert [row["extends"] for row in listed["items"]] == [grant.request_id, None]
    assert [row["grant"]["id"] for row in listed["items"]] == [grant.pk, grant.pk]


def test_extend_answers_the_same_when_the_key_is_sent_again(people: Cast, grant: Grant) -> None:
    sent = {"Idempotency-Key": "once"}
    first = call(people.alice, f"/grants/{grant.pk}/extend", MORE, **sent)
    assert call(people.alice, f"/grants/{grant.pk}/extend", MORE, **sent) == first
    assert call(people.alice, f"/grants/{grant.pk}/extend", {**MORE, "minutes": 5}, **sent)[0] == 409


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({**MORE, "minutes": 0}, 422),
        ({**MORE, "minutes": "30"}, 422),
        ({**MORE, "minutes": 10**12}, 422),
        ({**MORE, "reason": "x" * 10_000}, 422),
        ({"minutes": 30}, 422),
        ({**MORE, "tables": ["hr.employees"]}, 422),
    ],
)
def test_extend_is_a_problem_when_the_body_cannot_be_meant(
    people: Cast, grant: Grant, body: dict[str, Any], status: int
) -> None:
    found, problem = call(people.alice, f"/grants/{grant.pk}/extend", body)
    assert found == status
    assert problem["detail"]


def test_extend_is_a_problem_when_it_is_not_ones_own_or_over(people: Cast, grant: Grant) -> None:
    path = f"/grants/{grant.pk}/extend"
    assert call(people.carol, path, MORE)[0] == 404
    assert call(people.dana, path, MORE)[0] == 403
    assert call(people.alice, path, MORE, "read", "use")[0] == 403
    assert call(people.alice, path, MORE)[0] == 201
    assert call(people.alice, path, MORE)[0] == 409
    call(people.alice, f"/grants/{grant.pk}/release", {"reason": ""})
    assert call(people.alice, path, MORE)[0] == 409


def test_approve_is_a_problem_when_a_table_of_an_extension_is_left_out(people: Cast, grant: Grant) -> None:
    _, made = call(people.alice, f"/grants/{grant.pk}/extend", MORE)
    status, problem = call(people.bob, f"/requests/{made['id']}/approve", {"tables": ["sales.orders"]})
    assert (status, "can only be shortened" in problem["detail"]) == (422, True)
    status, body = call(people.bob, f"/requests/{made['id']}/approve", {"minutes": 10})
    assert (status, body["minutes"]) == (200, 10)


def test_revoke_all_counts_first_and_then_does_it(people: Cast, grant: Grant) -> None:
    status, seen = call(people.sam, "/grants/revoke", {"person": "alice", "dry_run": True})
    assert (status, seen["count"], seen["dry_run"]) == (200, 1, True)
    assert seen["affected"] == [{"person": "alice", "database": "shop", "grants": 1, "requests": 0}]
    sent = {"person": "alice", "reason": "The laptop is gone."}
    assert call(people.sam, "/grants/revoke", sent)[0] == 422
    assert call(people.sam, "/grants/revoke", {**sent, "expected": 7})[0] == 409
    grant.refresh_from_db()
    assert grant.status == "active"

    status, done = call(people.sam, "/grants/revoke", {**sent, "expected": 1})

    assert (status, done["grants"], done["requests"], done["dry_run"]) == (200, 1, 0, False)
    grant.refresh_from_db()
    assert grant.status == "ending"


@pytest.mark.parametrize(
    ("who", "body", "status"),
    [
        ("alice", {"person": "alice"}, 403),
        ("audrey", {"everything": True, "word": "REVOKE"}, 403),
        ("sam", {"everything": True}, 422),
        ("sam", {}, 422),
        ("sam", {"person": "alice", "database": "shop"}, 422),
        ("sam", {"server": "nowhere"}, 404),
        ("sam", {"everything": "yes"}, 422),
    ],
)
def test_revoke_all_is_a_problem_when_it_may_not_be(
    people: Cast, grant: Grant, who: str, body: dict[str, Any], status: int
) -> None:
    found, problem = call(getattr(people, who), "/grants/revoke", {"reason": "Why", "expected": 1, **body})
    assert found == status
    assert problem["detail"]
    grant.refresh_from_db()
    assert grant.status == "active"
