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
from apps.approvals import services as approvals
from apps.audit import services as audit
from apps.catalog.models import Column, DataClass
from apps.core import clock
from apps.grants.models import Grant
from apps.policies.services import ensure_default_rules
from apps.requests import services as requests
from apps.requests.models import AccessRequest
from tests.factories import Cast, cast, let_break_glass, let_own_data

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
        "mask": "email",
    }
    assert [column["mask"] for column in customers["columns"]] == [None, "email", None]
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


def test_list_tables_when_masks_come_from_columns_classes_and_the_database(
    people: Cast, django_assert_max_num_queries: Callable[..., Any]
) -> None:
    Column.objects.filter(name="email").update(mask_override="partial(1,0)")
    DataClass.objects.filter(name="salary").update(mask="null")
    people.shop.hides_unclassified = True
    people.shop.save()
    caller = Caller(people.alice)
    with django_assert_max_num_queries(14):
        _, page = caller.call("GET", "/databases/shop/tables")
    masks = {f"{table['name']}.{c['name']}": c["mask"] for table in page["items"] for c in table["columns"]}
    assert (masks["customers.email"], masks["employees.salary"], masks["orders.id"]) == (
        "partial(1,0)",
        "null",
        "hidden",
    )
    _, page = caller.call("GET", "/databases/shop-staging/tables?search=orders")
    assert [column["mask"] for column in page["items"][0]["columns"]] == [None, None, None]


def test_preview_tells_masks_when_tables_are_classified(people: Cast) -> None:
    wanted = ask(tables=["sales.customers", "hr.employees"], unmask=["sales.customers.email"], level="change")
    status, preview = Caller(people.alice).call("POST", "/requests/preview", wanted)
    assert (status, preview["route"][-1]["kind"]) == (200, "group")  # nobody owns the data: security decides
    assert preview["views"] == {"tables": 2, "masked": 1, "unmasked": 1, "filters": 0}
    salary = {"name": "hr.employees.salary", "table": "hr.employees", "column": "salary", "level": "restricted"}
    assert preview["masked"] == [{**salary, "data_class": "salary", "mask": "hidden"}]
    assert [(column["name"], column["mask"]) for column in preview["unmasked"]] == [("sales.customers.email", "email")]
    assert preview["read_only"] == [
        {"name": "hr.employees.salary", "table": "hr.employees", "column": "salary", "why": "is masked"}
    ]
    assert (preview["refused_writes"], preview["filters"]) == ([], [])


def test_unmask_has_its_own_step_and_its_own_lines(people: Cast) -> None:
    let_own_data(people.shop, people.security)
    wanted = ask(database="shop", tables=["sales.customers", "sales.orders"], unmask=["sales.customers.email"])
    _, made = Caller(people.alice).call("POST", "/requests", wanted)
    assert made["unmask"] == ["sales.customers.email"]
    assert [step["kind"] for step in made["route"]] == ["peer", "owner", "data_owner"]
    assert made["unmasked"] == [
        {
            "name": "sales.customers.email",
            "table": "sales.customers",
            "column": "email",
            "mask": "email",
            "level": "confidential",
            "data_class": "email",
        }
    ]
    path = f"/requests/{made['id']}"
    limit = {"sales.orders": [{"column": "customer_id", "operator": "in", "values": ["1", "2"]}]}
    status, seen = Caller(people.bob).call("POST", f"{path}/approve", {"filters": limit})
    assert (status, [line["text"] for line in seen["filters"]]) == (200, ["customer_id in ('1', '2')"])
    assert seen["scope_digest"] != made["scope_digest"]
    Caller(people.dana).call("POST", f"{path}/approve", {})
    assert Caller(people.carol).call("POST", f"{path}/approve", {})[0] == 404
    assert Caller(people.sam).call("POST", f"{path}/approve", {})[1]["status"] == "approved"
    _, page = Caller(people.alice).call("GET", "/requests")
    assert (page["items"][0]["unmasked"], page["items"][0]["masked"]) == (None, None)
    assert page["items"][0]["views"] == {"tables": 2, "masked": 0, "unmasked": 1, "filters": 1}


@pytest.mark.parametrize(
    "filters",
    [
        {"sales.customers": [{"column": "email", "operator": "=", "values": ["a@b"]}]},
        {"sales.customers": [{"column": "region", "operator": "~", "values": ["a"]}]},
        {"sales.customers": [{"column": "region", "operator": "=", "values": [1]}]},
        {"sales.customers": [{"column": "region", "operator": "=", "values": ["EU"], "sql": "true"}]},
        {"sales.customers": {"column": "region"}},
        {"stock.levels": [{"column": "count", "operator": "=", "values": ["1"]}]},
        "region = 'EU'",
    ],
)
def test_refuse_when_a_limit_to_rows_is_bad(people: Cast, filters: Any) -> None:
    _, made = Caller(people.alice).call("POST", "/requests", ask(database="shop", tables=["sales.customers"]))
    status, problem = Caller(people.bob).call("POST", f"/requests/{made['id']}/approve", {"filters": filters})
    assert (status, problem["field"].split(".")[0]) == (422, "filters"), problem


def test_list_requests_needs_as_many_queries_for_many(
    people: Cast, django_assert_max_num_queries: Callable[..., Any]
) -> None:
    caller = Caller(people.alice)
    for _ in range(6):
        caller.call("POST", "/requests", ask(database="shop", tables=["sales.*"], unmask=["sales.customers.email"]))
    with django_assert_max_num_queries(20):
        _, page = caller.call("GET", "/requests")
    assert len(page["items"]) == 6


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"tables": ["sales.nothing"]}, "tables"),
        ({"tables": []}, "tables"),
        ({"tables": ["nothing.*"]}, "tables"),
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
    auditor = Caller(people.audrey)
    found, after = [], audit.head().size - 1  # what other tests have left may be more than one may read in a minute
    _, made = Caller(people.alice).call("POST", "/requests", ask())
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
    assert auditor.call("GET", "/audit/checkpoint")[1]["size"] == found[-1]["index"] + 1


@pytest.mark.parametrize("name", ["alice", "dana", "sam"])
def test_refuse_the_record_when_not_auditor(people: Cast, name: str) -> None:
    caller = Caller(getattr(people, name))
    assert caller.call("GET", "/audit/entries")[0] == 403
    assert caller.call("GET", "/audit/checkpoint")[0] == 403


def test_describe_itself_in_openapi() -> None:
    document = Client().get("/api/v1/openapi.json").json()
    assert "/api/v1/grants/{grant_id}/credential" in document["paths"]
    schemas = document["components"]["schemas"]
    assert schemas["StepOut"]["properties"]["kind"]["enum"] == ["peer", "owner", "data_owner", "group"]
    assert "sales.orders" in schemas["DecisionIn"]["properties"]["filters"]["examples"][0]


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


def test_show_grant_when_it_ended_before_its_time_says_why(people: Cast) -> None:
    alice = Caller(people.alice)
    _, made = alice.call("POST", "/requests", ask(database="shop-staging"))
    grant = Grant.objects.create(
        id="g1",
        request=AccessRequest.objects.get(pk=made["id"]),
        holder=people.alice,
        database=people.staging,
        server=people.staging.server,
        connection="direct",
        scope={},
        scope_digest="d",
        minutes=5,
        login="jit_alice_g1",
        queued_at=clock.now(),
    )
    Grant.objects.filter(pk=grant.pk).update(end_cause="masked", end_reason="crm.people.name is masked.")
    status, shown = alice.call("GET", "/grants/g1")
    assert (status, shown["end_cause"], shown["end_reason"]) == (200, "masked", "crm.people.name is masked.")


def test_break_glass_by_a_token_is_refused(people: Cast) -> None:
    let_break_glass(people.shop, people.shop_team)
    alice = Caller(people.alice)
    status, problem = alice.call("POST", "/requests", ask(database="shop", break_glass=True))
    assert (status, problem["field"]) == (403, "break_glass")
    assert "sign in in the portal" in problem["detail"]
    assert not AccessRequest.objects.exists()
    status, shown = alice.call("POST", "/requests/preview", ask(database="shop", break_glass=True))
    assert (status, shown["outcome"], shown["risk"]["level"]) == (200, "approve", "critical")
    assert Caller(people.carol).call("POST", "/requests/preview", ask(database="shop", break_glass=True))[0] == 403


def test_reviews_are_listed_and_closed(people: Cast) -> None:
    let_break_glass(people.shop, people.shop_team)
    made = requests.Ask(**ask(database="shop", tables=("sales.orders",)))
    row = approvals.break_glass(actor=people.alice, ask=made, stepped_up_at=clock.now())
    sam, alice = Caller(people.sam), Caller(people.alice)
    (line,) = sam.call("GET", "/reviews")[1]["items"]
    assert (line["request"], line["requester"], line["verdict"], line["closed_at"]) == (row.pk, "alice", None, None)
    assert alice.call("GET", "/reviews")[1]["items"] == [line]
    assert Caller(people.carol).call("GET", "/reviews")[1]["items"] == []
    assert sam.call("GET", "/reviews?status=closed")[1]["items"] == []
    assert sam.call("GET", "/reviews?status=odd")[0] == 422
    path, word = f"/requests/{row.pk}/review", {"verdict": "justified", "comment": "The shop was down"}
    assert sam.call("POST", path, word)[0] == 409  # it is not over
    AccessRequest.objects.filter(pk=row.pk).update(status="cancelled")
    assert alice.call("POST", path, word)[0] == 403
    assert Caller(people.sam, ["read", "request", "use"]).call("POST", path, word)[0] == 403
    assert Caller(people.carol).call("POST", path, word)[0] == 404
    assert sam.call("POST", path, {"verdict": "justified"})[0] == 422
    assert sam.call("POST", path, {**word, "verdict": "fine"})[0] == 422
    status, shown = sam.call("POST", path, word)
    assert (status, shown["break_glass"]) == (200, True)
    assert (shown["review"]["verdict"], shown["review"]["closed_by"]) == ("justified", "sam")
    assert sam.call("POST", path, word)[0] == 409
    assert sam.call("GET", "/reviews")[1]["items"] == []
    assert [one["request"] for one in sam.call("GET", "/reviews?status=all&limit=1")[1]["items"]] == [row.pk]
