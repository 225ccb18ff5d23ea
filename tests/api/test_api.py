"""The contract of the JSON API, over the same verbs that the pages call."""

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from apps.accounts import services as accounts
from apps.accounts.models import TokenScope, User
from apps.core import clock
from apps.policies.services import ensure_default_rules
from apps.requests.models import AccessRequest
from tests.factories import Cast, cast

pytestmark = pytest.mark.django_db(transaction=True)

Call = Callable[..., Any]


class Caller:
    """One person with a token; `call` answers (status, JSON)."""

    def __init__(self, user: User, scopes: list[str] | None = None) -> None:
        made = accounts.create_token(actor=user, name="test", scopes=scopes or TokenScope.values, days=1)
        self.token = made[1]

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        answer = Client().generic(
            method,
            f"/api/v1{path}",
            data=body if isinstance(body, str) else json.dumps(body) if body is not None else "",
            content_type="application/json",
            headers={"Authorization": f"Bearer {self.token}", **headers},
        )
        return answer.status_code, json.loads(answer.content)


@pytest.fixture
def people() -> Cast:
    ensure_default_rules()
    return cast()


def ask(**changes: Any) -> dict[str, Any]:
    return {
        "database": "shop-staging",
        "level": "query",
        "tables": ["sales.orders", "stock.products"],
        "connection": "direct",
        "minutes": 5,
        "reason": "Two reports differ",
        **changes,
    }


def test_show_me_when_token_is_good(people: Cast) -> None:
    status, me = Caller(people.dana).call("GET", "/me")
    assert (status, me["username"], me["duties"]) == (200, "dana", ["dba"])


def test_refuse_when_token_is_missing_wrong_or_revoked(people: Cast) -> None:
    caller = Caller(people.alice)
    token = people.alice.api_tokens.get()
    accounts.revoke_token(actor=people.alice, token_id=token.pk)
    assert caller.call("GET", "/me")[0] == 401
    caller.token = "jit_" + "x" * 43
    assert caller.call("GET", "/me")[0] == 401
    anonymous = Client().get("/api/v1/me")
    assert (anonymous.status_code, anonymous["WWW-Authenticate"]) == (401, "Bearer")
    assert anonymous["Content-Type"] == "application/problem+json"


def test_refuse_when_token_has_expired(people: Cast) -> None:
    caller = Caller(people.alice)
    with clock.shifted(timedelta(days=2)):
        assert caller.call("GET", "/me")[0] == 401


def test_refuse_when_token_lacks_the_scope(people: Cast) -> None:
    reader = Caller(people.alice, scopes=["read"])
    assert reader.call("GET", "/databases")[0] == 200
    status, problem = reader.call("POST", "/requests", ask())
    assert (status, problem["status"]) == (403, 403)
    assert "request" in problem["detail"]


def test_list_tables_when_database_is_mine_to_ask_for(people: Cast) -> None:
    status, page = Caller(people.alice).call("GET", "/databases/shop/tables")
    assert status == 200
    customers = next(table for table in page["items"] if table["name"] == "customers")
    email = next(column for column in customers["columns"] if column["name"] == "email")
    assert email == {
        "name": "email",
        "type": "text",
        "classification": "confidential",
        "data_class": "email",
        "mask": "hidden",
    }
    assert Caller(people.audrey).call("GET", "/databases/shop/tables")[0] == 404


def test_page_tables_when_limit_is_small(people: Cast) -> None:
    caller, names, path = Caller(people.alice), [], "/databases/shop/tables?limit=2"
    while path:
        _, page = caller.call("GET", path)
        names += [(table["schema"], table["name"]) for table in page["items"]]
        path = page["next"] and f"/databases/shop/tables?limit=2&cursor={page['next']}"
    assert len(names) == 7
    assert names == sorted(names)
    assert caller.call("GET", "/databases/shop/tables?cursor=zzz")[0] == 422


def test_preview_is_what_submit_decides(people: Cast) -> None:
    caller = Caller(people.alice)
    _, preview = caller.call("POST", "/requests/preview", ask())
    status, made = caller.call("POST", "/requests", ask())
    assert (preview["outcome"], status, made["status"]) == ("approve", 201, "approved")
    assert preview["risk"] == made["risk"]
    assert AccessRequest.objects.count() == 1


def test_route_when_production(people: Cast) -> None:
    status, made = Caller(people.alice).call("POST", "/requests", ask(database="shop"))
    assert (status, made["status"]) == (201, "pending")
    assert [(step["kind"], step["needed"], step["approved_by"]) for step in made["route"]] == [
        ("peer", 1, []),
        ("owner", 1, []),
    ]
    path = f"/requests/{made['id']}"
    assert Caller(people.alice).call("POST", f"{path}/approve", {"comment": ""})[0] == 403
    assert Caller(people.carol).call("GET", path)[0] == 404
    assert Caller(people.carol).call("POST", f"{path}/approve", {"comment": ""})[0] == 404
    assert Caller(people.bob).call("POST", f"{path}/approve", {"comment": "ok"})[1]["route"][0]["approved_by"] == [
        "bob"
    ]
    status, done = Caller(people.dana).call("POST", f"{path}/approve", {"comment": "ok", "minutes": 3})
    assert (status, done["status"], done["minutes"]) == (200, "approved", 3)


def test_answer_the_same_request_when_key_is_repeated(people: Cast) -> None:
    caller = Caller(people.alice)
    first = caller.call("POST", "/requests", ask(), **{"Idempotency-Key": "k1"})
    second = caller.call("POST", "/requests", ask(), **{"Idempotency-Key": "k1"})
    assert first[0] == second[0] == 201
    assert first[1]["id"] == second[1]["id"]
    assert caller.call("POST", "/requests", ask(minutes=6), **{"Idempotency-Key": "k1"})[0] == 409


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"tables": ["sales.nothing"]}, "tables"),
        ({"tables": []}, "tables"),
        ({"tables": ["nothing.*"]}, "tables"),
        ({"tables": ["sales.customers"]}, "tables"),
        ({"tables": ['sales."orders']}, "tables"),
        ({"tables": ["sales.orders; DROP TABLE x"]}, "tables"),
        ({"tables": [7]}, "tables"),
        ({"reason": "  "}, "reason"),
        ({"reason": "a\0b"}, "reason"),
        ({"minutes": 0}, "minutes"),
        ({"minutes": -1}, "minutes"),
        ({"minutes": 10**9}, "minutes"),
        ({"minutes": 10**30}, "minutes"),
        ({"minutes": True}, "minutes"),
        ({"minutes": "5"}, "minutes"),
        ({"level": "admin"}, "level"),
        ({"connection": "'; DROP ROLE jitportal; --"}, "connection"),
        ({"starts_at": "2001-01-01T00:00:00Z"}, "starts_at"),
        ({"starts_at": "yesterday"}, "starts_at"),
        ({"unmask": ["sales.orders.id"]}, "unmask"),
        ({"requester": "bob"}, "requester"),
    ],
)
def test_refuse_when_input_is_bad(people: Cast, change: dict[str, Any], field: str) -> None:
    status, problem = Caller(people.alice).call("POST", "/requests", ask(**change))
    assert status == 422, problem
    assert problem["field"].split(".")[0] == field
    assert problem["detail"]
    assert not AccessRequest.objects.exists()


def test_refuse_when_body_is_no_json(people: Cast) -> None:
    status, problem = Caller(people.alice).call("POST", "/requests", "{")
    assert (status, problem["status"]) == (400, 400)


def test_answer_not_found_when_database_is_not_mine(people: Cast) -> None:
    assert Caller(people.audrey).call("POST", "/requests", ask())[0] == 404
    assert Caller(people.alice).call("POST", "/requests", ask(database="nope"))[0] == 404


def test_read_the_record_when_auditor(people: Cast) -> None:
    _, made = Caller(people.alice).call("POST", "/requests", ask())
    auditor = Caller(people.audrey)
    found, after = [], -1
    while True:
        status, page = auditor.call("GET", f"/audit/entries?after={after}&limit=2")
        assert status == 200
        found += page["items"]
        if page["next"] is None:
            break
        after = int(page["next"])
    bodies = [(json.loads(base64.b64decode(entry["body"])), entry["disclosed"]) for entry in found]
    mine = [(body, disclosed) for body, disclosed in bodies if body["subject"] == f"request:{made['id']}"]
    assert [body["action"] for body, _ in mine] == ["request.submitted", "request.approved"]
    assert mine[0][1]["reason"] == "Two reports differ"
    assert "Two reports differ" not in json.dumps(mine[0][0])
    assert auditor.call("GET", "/audit/checkpoint")[1]["size"] >= len(found)


@pytest.mark.parametrize("name", ["alice", "dana", "sam"])
def test_refuse_the_record_when_not_auditor(people: Cast, name: str) -> None:
    caller = Caller(getattr(people, name))
    assert caller.call("GET", "/audit/entries")[0] == 403
    assert caller.call("GET", "/audit/checkpoint")[0] == 403


def test_describe_itself_in_openapi() -> None:
    document = Client().get("/api/v1/openapi.json").json()
    assert "/api/v1/grants/{grant_id}/credential" in document["paths"]


@pytest.mark.parametrize(
    "path",
    [
        "/requests/%00",
        "/grants/a%00b",
        "/databases/%00/tables",
        "/requests?status=%00",
        "/databases/shop/tables?search=%00",
    ],
)
def test_read_when_the_address_holds_a_nul(people: Cast, path: str) -> None:
    status, problem = Caller(people.alice).call("GET", path)
    assert (status, problem["status"]) == (404, 404)


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("/requests", ["x", "y"]),
        ("/requests", ["2026-01-01T00:00:00Z", "\0"]),
        ("/requests", ["2026-13-01T00:00:00Z", "y"]),
        ("/grants", ["0001-01-01T00:00:00+23:59", "y"]),
        ("/grants", ["9999-12-31T23:59:59.999999-23:59", "y"]),
        ("/databases/shop/tables", ["\ud800", "y"]),
    ],
)
def test_list_when_the_cursor_is_forged(people: Cast, path: str, values: list[str]) -> None:
    cursor = base64.urlsafe_b64encode(json.dumps(values).encode()).decode()
    status, problem = Caller(people.alice).call("GET", f"{path}?cursor={cursor}")
    assert (status, problem["field"]) == (422, "cursor")


def test_submit_when_the_body_is_too_large(people: Cast) -> None:
    status, problem = Caller(people.alice).call("POST", "/requests", json.dumps(ask(reason="x" * 1_100_000)))
    assert (status, problem["title"]) == (413, "Request Entity Too Large")


@pytest.mark.parametrize("query", ["limit=0", "limit=-1", "limit=1001", "after=-2", f"after={10**30}"])
def test_read_entries_when_the_page_is_out_of_bounds(people: Cast, query: str) -> None:
    status, problem = Caller(people.audrey).call("GET", f"/audit/entries?{query}")
    assert (status, problem["field"]) == (422, query.partition("=")[0])
