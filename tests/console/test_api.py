"""Over the API; and every way in tried by strangers, with access that is over, and at the wrong level (E5)."""

import json
from typing import Any

import pytest
from django.test import Client

from apps.accounts import services as accounts
from apps.accounts.models import TokenScope, User
from apps.console.models import Statement
from apps.core import clock
from apps.grants import services as grants
from apps.grants.models import Grant
from tests.console.scene import entries, live, request
from tests.factories import Cast
from tests.grants.stage import after


def post(user: User, path: str, body: Any = None) -> Any:
    _, token = accounts.create_token(actor=user, name="test", scopes=TokenScope.values, days=1)
    return Client().post(
        f"/api/v1{path}",
        data=json.dumps(body or {}),
        content_type="application/json",
        headers={"Authorization": f"Bearer {token}"},
    )


def get(user: User, path: str) -> Any:
    _, token = accounts.create_token(actor=user, name="test", scopes=TokenScope.values, days=1)
    return Client().get(f"/api/v1{path}", headers={"Authorization": f"Bearer {token}"})


def test_query_when_all_is_well(people: Cast) -> None:
    grant = live(people)

    answer = post(people.alice, f"/grants/{grant.pk}/query", {"sql": "SELECT id, NULL AS n FROM orders"})

    body = answer.json()
    assert (answer.status_code, answer["Cache-Control"]) == (200, "no-store")
    assert body["columns"] == [{"name": "id", "type": "integer"}, {"name": "n", "type": "text"}]
    assert body["rows"] == [["4711", None]]
    assert body["truncated"] is False
    assert isinstance(body["elapsed_ms"], int)
    (past,) = get(people.alice, f"/grants/{grant.pk}/statements").json()["items"]
    assert (past["id"], past["text"]) == (body["statement"], "SELECT id, NULL AS n FROM orders")
    assert get(people.alice, f"/statements/{past['id']}").json()["status"] == "done"
    assert get(people.bob, f"/statements/{past['id']}").status_code == 404
    assert post(people.bob, f"/statements/{past['id']}/cancel").status_code == 404


@pytest.mark.parametrize(
    ("sql", "part"),
    [
        ("SELECT nothing", {"status": 422, "sqlstate": "42703", "position": 7, "why": "sql"}),
        ("SELECT 1; SELECT 2", {"status": 422, "field": "sql"}),
        ("LISTEN x", {"status": 422, "field": "sql"}),
        ("", {"status": 422, "field": "sql"}),
        ("SELECT * FROM hr.employees", {"status": 422, "sqlstate": "42501"}),
    ],
)
def test_query_when_it_cannot_be(people: Cast, sql: str, part: dict[str, Any]) -> None:
    grant = live(people)

    answer = post(people.alice, f"/grants/{grant.pk}/query", {"sql": sql})

    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json() | part == answer.json()
    assert answer.json()["detail"]


def test_export_when_all_is_well(people: Cast) -> None:
    grant = live(people, level="export")

    for file_format, content in (("csv", b"n,m\n1,\n"), ("jsonl", b'{"n":1,"m":null}\n')):
        answer = post(people.alice, f"/grants/{grant.pk}/export?format={file_format}", {"sql": "SELECT 1 n, NULL m"})
        assert answer.getvalue() == content
        statement = answer["X-Statement"]
        assert answer["Content-Disposition"].endswith(f'{statement}.{file_format}"')
        assert Statement.objects.get(pk=statement).status == "done"
    assert post(people.alice, f"/grants/{grant.pk}/export?format=../x", {"sql": "SELECT 1"}).status_code == 422


def test_change_when_it_is_tried_out_and_committed(people: Cast) -> None:
    grant = live(people, level="change", tables=("stock.products",))
    sql = "INSERT INTO stock.products (id, title) VALUES (100, 'x') RETURNING id"

    tried = post(people.alice, f"/grants/{grant.pk}/change", {"sql": sql}).json()
    assert (tried["committed"], tried["affected"], tried["results"][0]["rows"]) == (False, 1, [["100"]])
    made = post(people.alice, f"/grants/{grant.pk}/change", {"sql": sql, "commit": True, "expected_rows": 1}).json()
    assert (made["committed"], made["failed"]) == (True, None)
    again = post(people.alice, f"/grants/{grant.pk}/change", {"sql": sql, "commit": True}).json()
    assert (again["committed"], again["failed"]["sqlstate"]) == (False, "23505")
    post(
        people.alice, f"/grants/{grant.pk}/change", {"sql": "DELETE FROM stock.products WHERE id = 100", "commit": True}
    )


def test_change_when_all_results_together_are_large(people: Cast) -> None:
    grant = live(people, level="change", tables=("stock.products",))
    one = "SELECT repeat('x', 60000) FROM generate_series(1, 200)"

    body = post(people.alice, f"/grants/{grant.pk}/change", {"sql": ";".join([one] * 3), "commit": False}).json()

    assert [result["truncated"] for result in body["results"]] == [False, True, True]
    assert len(str(body)) < 17 * 1024 * 1024
    assert "16 MiB" in body["results"][2]["sentence"]


def test_run_when_a_statement_was_approved(people: Cast) -> None:
    sql = "UPDATE stock.products SET title = title WHERE id = -1"
    row = request(people, level="change", tables=("stock.products",), statement=sql, expected_rows=1)
    assert get(people.bob, f"/requests/{row.pk}").json()["statement"] == sql
    grants.open_approved()
    grant = Grant.objects.get(request=row)
    grants.issue(grant_id=grant.pk)

    assert "Update on products" in str(post(people.alice, f"/grants/{grant.pk}/explain").json()["plan"])
    ran = post(people.alice, f"/grants/{grant.pk}/run").json()

    assert (ran["committed"], ran["why"]) == (False, "count")
    assert post(people.alice, f"/grants/{grant.pk}/run").status_code == 409
    shown = get(people.bob, f"/requests/{row.pk}").json()["one_off"]
    assert "0 rows were affected" in shown["outcome"]
    assert shown["ran"]["text"] == sql


WAYS = {
    "query": {"sql": "SELECT 1"},
    "export": {"sql": "SELECT 1"},
    "change": {"sql": "SELECT 1"},
    "explain": {},
    "run": {},
}


def statuses(user: User, grant: Grant) -> dict[str, int]:
    return {way: post(user, f"/grants/{grant.pk}/{way}", body).status_code for way, body in WAYS.items()}


def test_use_when_it_is_somebody_elses(people: Cast) -> None:
    grant = live(people, level="change", tables=("stock.products",))

    assert set(statuses(people.carol, grant).values()) == {404}
    for person in (people.bob, people.dana, people.sam):
        assert set(statuses(person, grant).values()) == {403}
    assert not Statement.objects.exists()
    assert {line.action for line in entries(grant, "statement.")} == {"statement.refused"}
    assert get(people.bob, f"/grants/{grant.pk}/statements").status_code == 403
    assert get(people.carol, f"/grants/{grant.pk}/statements").status_code == 404


def test_use_when_the_level_is_another(people: Cast) -> None:
    assert statuses(people.alice, live(people)) == {
        "query": 200,
        "export": 403,
        "change": 403,
        "explain": 403,
        "run": 403,
    }
    change = live(people, level="change", tables=("stock.products",))
    assert statuses(people.alice, change) == {"query": 200, "export": 403, "change": 200, "explain": 403, "run": 403}


def test_use_when_it_has_expired(people: Cast) -> None:
    grants_of_all_kinds = [live(people, level="export"), live(people, level="change", tables=("stock.products",))]

    with clock.shifted(after(grants_of_all_kinds[0])):
        for grant in grants_of_all_kinds:
            assert set(statuses(people.alice, grant).values()) == {409}


def test_use_when_it_is_revoked_or_given_back(people: Cast) -> None:
    revoked, released = live(people, level="export"), live(people, level="change", tables=("stock.products",))
    grants.revoke(actor=people.dana, grant_id=revoked.pk, reason="No more")
    grants.release(actor=people.alice, grant_id=released.pk)

    for grant in (revoked, released):
        assert set(statuses(people.alice, grant).values()) == {409}
    grants.end_due(server_id=revoked.server_id)
    for grant in (revoked, released):
        assert set(statuses(people.alice, grant).values()) == {409}


def test_use_when_it_is_not_made_yet(people: Cast) -> None:
    row = request(people, level="export")
    grants.open_approved()

    assert set(statuses(people.alice, Grant.objects.get(request=row)).values()) == {409}
    assert set(statuses(people.alice, Grant(pk="nothing")).values()) == {404}


def test_query_when_it_is_too_often(people: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.console.record.PER_MINUTE", 1)
    grant = live(people)

    answers = [post(people.alice, f"/grants/{grant.pk}/query", {"sql": "SELECT 1"}) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 429]
    assert answers[1]["Retry-After"] == "60"


def test_call_when_it_is_too_often(people: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    from apps.api.api import api

    (throttle,) = api.throttle  # type: ignore[attr-defined]
    monkeypatch.setattr(throttle, "num_requests", 2)

    answers = [get(people.alice, "/me") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert int(answers[2]["Retry-After"]) >= 1


@pytest.mark.django_db
def test_openapi_when_it_is_read() -> None:
    document = Client().get("/api/v1/openapi.json").json()

    for way in WAYS:
        assert f"/api/v1/grants/{{grant_id}}/{way}" in document["paths"]
    assert "text/csv" in str(document["paths"]["/api/v1/grants/{grant_id}/export"])
    assert document["components"]["schemas"]["QueryIn"]["properties"]["sql"]["examples"]
