"""Every operation of the document: called once as it is meant, and by those who may not."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from django.core.management import call_command
from django.test import Client

from apps.accounts import services as accounts
from apps.accounts.models import TokenScope, User
from apps.api.api import api
from apps.approvals import services as approvals
from apps.audit import signing
from apps.audit.body import rfc3339
from apps.audit.models import RecordBreak
from apps.core import clock
from apps.reports import building
from apps.requests.models import AccessRequest
from apps.requests.services import Ask
from tests.audit.signers import signing_by
from tests.console.scene import live
from tests.factories import Cast, UserFactory, fresh, let_break_glass
from tests.grants.conftest import databases, people  # noqa: F401 - fixtures

pytestmark = pytest.mark.django_db(transaction=True)

PREFIX: Final = "/api/v1"


def _operations() -> dict[str, Any]:
    """`GET /me` -> what the document says of it."""
    paths = api.get_openapi_schema(path_prefix=PREFIX)["paths"]
    return {
        f"{method.upper()} {path.removeprefix(PREFIX)}": said
        for path, methods in paths.items()
        for method, said in methods.items()
    }


OPERATIONS: Final = _operations()


def token_of(user: User, *scopes: str) -> str:
    return accounts.create_token(actor=user, name="test", scopes=list(scopes or TokenScope.values), days=1)[1]


def send(method: str, path: str, token: str = "", body: Any = None) -> Any:
    return Client(raise_request_exception=False).generic(
        method,
        PREFIX + path,
        data="" if body is None else json.dumps(body),
        content_type="application/json",
        headers={"Authorization": f"Bearer {token}"} if token else {},
    )


class Walk:
    """Calls one operation after another, and keeps which."""

    def __init__(self) -> None:
        self.called: set[str] = set()

    def __call__(self, user: User, operation: str, body: Any = None, query: str = "", **names: str) -> Any:
        """Returns what is in the answer: of JSON the object, of a file its bytes."""
        method, path = operation.split(" ")
        answer = send(method, path.format(**names) + query, token_of(user), body)
        content = b"".join(answer.streaming_content) if answer.streaming else answer.content
        assert answer.status_code in {200, 201, 202}, (operation, answer.status_code, content)
        assert answer.status_code in OPERATIONS[operation]["responses"], operation
        self.called.add(operation)
        return json.loads(content) if answer["Content-Type"].startswith("application/json") else content


REASON: Final = {"reason": "It is a drill."}
COMMENT: Final = {"comment": "It is a drill."}
WANTED: Final = {
    "database": "shop",
    "level": "query",
    "tables": ["sales.orders"],
    "connection": "console",
    "minutes": 5,
    **REASON,
}


def test_call_every_operation_when_it_is_meant(people: Cast, settings: Any, tmp_path: Path) -> None:  # noqa: F811
    """A new operation fails here until somebody calls it: one that nobody calls can be broken for long."""
    walk = Walk()
    settings.SIGNING_KEY_FILE = ""
    walk_requests(walk, people)
    walk_grants(walk, people)
    walk_console(walk, people)
    signing_by(settings, tmp_path)
    walk_record(walk, people)
    assert set(OPERATIONS) - walk.called == set()


def walk_requests(walk: Walk, cast: Cast) -> None:
    assert walk(cast.alice, "GET /me")["username"] == "alice"
    assert {row["slug"] for row in walk(cast.alice, "GET /databases")["items"]} == {"shop", "shop-staging"}
    assert walk(cast.alice, "GET /databases/{slug}/tables", slug="shop")["items"]
    assert walk(cast.alice, "POST /requests/preview", WANTED)["route"]
    approved, denied, cancelled = (walk(cast.alice, "POST /requests", WANTED)["id"] for _ in range(3))
    assert walk(cast.bob, "POST /requests/{request_id}/approve", COMMENT, request_id=approved)["status"] == "pending"
    assert walk(cast.bob, "POST /requests/{request_id}/deny", COMMENT, request_id=denied)["status"] == "denied"
    gone = walk(cast.alice, "POST /requests/{request_id}/cancel", COMMENT, request_id=cancelled)
    assert gone["status"] == "cancelled"
    assert walk(cast.alice, "GET /requests/{request_id}", request_id=approved)["id"] == approved
    assert len(walk(cast.alice, "GET /requests")["items"]) == 3
    walk_review(walk, cast)


def walk_review(walk: Walk, cast: Cast) -> None:
    """Break-glass itself takes a step-up sign-in, which no token has."""
    let_break_glass(cast.shop, cast.shop_team)
    made = Ask(**{**WANTED, "tables": ("sales.orders",)})
    row = approvals.break_glass(actor=fresh(cast.alice), ask=made, stepped_up_at=clock.now())
    assert [found["request"] for found in walk(cast.sam, "GET /reviews")["items"]] == [row.pk]
    AccessRequest.objects.filter(pk=row.pk).update(status="cancelled")  # no verdict before it is over
    verdict = {"verdict": "justified", **COMMENT}
    assert walk(cast.sam, "POST /requests/{request_id}/review", verdict, request_id=row.pk)["id"] == row.pk


def walk_grants(walk: Walk, cast: Cast) -> None:
    grant = live(cast, connection="direct", tables=("sales.orders",))
    own = {"grant_id": grant.pk}
    assert grant.pk in {row["id"] for row in walk(cast.alice, "GET /grants")["items"]}
    assert walk(cast.alice, "GET /grants/{grant_id}", **own)["status"] == "active"
    assert walk(cast.alice, "POST /grants/{grant_id}/credential", {}, **own)["password"]
    assert walk(cast.alice, "POST /grants/{grant_id}/credential/reset", {}, **own)["id"] == grant.pk
    longer = walk(cast.alice, "POST /grants/{grant_id}/extend", {"minutes": 5, **REASON}, **own)
    assert longer["extends"] == grant.request_id
    assert walk(cast.alice, "POST /grants/{grant_id}/release", REASON, **own)["status"] == "ending"
    other = live(cast, tables=("sales.orders",))
    assert walk(cast.dana, "POST /grants/{grant_id}/revoke", REASON, grant_id=other.pk)["status"] == "ending"
    assert walk(cast.sam, "POST /grants/revoke", {"person": "alice", "dry_run": True})["dry_run"] is True


def walk_console(walk: Walk, cast: Cast) -> None:
    exporting = {"grant_id": live(cast, level="export", tables=("sales.orders",)).pk}
    changing = {"grant_id": live(cast, level="change", tables=("stock.products",)).pk}
    ran = walk(cast.alice, "POST /grants/{grant_id}/query", {"sql": "SELECT id FROM orders"}, **exporting)
    assert ran["rows"] == [["4711"]]
    file = walk(
        cast.alice, "POST /grants/{grant_id}/export", {"sql": "SELECT id FROM orders"}, "?format=csv", **exporting
    )
    assert file == b"id\n4711\n"
    update = "UPDATE stock.products SET title = title WHERE id = -1"
    assert walk(cast.alice, "POST /grants/{grant_id}/change", {"sql": update}, **changing)["committed"] is False
    statement = {"statement_id": ran["statement"]}
    assert len(walk(cast.alice, "GET /grants/{grant_id}/statements", **exporting)["items"]) == 2
    assert walk(cast.alice, "GET /statements/{statement_id}", **statement)["status"] == "done"
    assert walk(cast.alice, "POST /statements/{statement_id}/cancel", {}, **statement)["status"] == "done"
    walk_one_off(walk, cast, update)


def walk_one_off(walk: Walk, cast: Cast, update: str) -> None:
    grant = live(cast, level="change", tables=("stock.products",), statement=update, expected_rows=0)
    assert walk(cast.alice, "POST /grants/{grant_id}/explain", {}, grant_id=grant.pk)["plan"]
    assert walk(cast.alice, "POST /grants/{grant_id}/run", {}, grant_id=grant.pk)["committed"] is True


def walk_record(walk: Walk, cast: Cast) -> None:
    signing.sign_due()
    assert walk(cast.audrey, "GET /audit/entries", query="?limit=5")["next"] == "4"
    assert walk(cast.audrey, "GET /audit/checkpoint")["note"]
    assert len(walk(cast.audrey, "GET /reports")["items"]) == 12
    assert walk(cast.audrey, "GET /reports/{name}.csv", name="approvals").startswith(b"request,")
    assert walk(cast.audrey, "GET /reports/{name}.json", name="approvals")["sha256"]
    now = clock.now()
    period = {"from": rfc3339(now - timedelta(hours=1)), "to": rfc3339(now)}
    bundle = {"bundle_id": walk(cast.audrey, "POST /bundles", {**period, "reports": ["approvals"]})["id"]}
    assert building.build_wanted() == 1
    assert len(walk(cast.audrey, "GET /bundles")["items"]) == 1
    assert walk(cast.audrey, "GET /bundles/{bundle_id}", **bundle)["status"] == "ready"
    assert walk(cast.audrey, "GET /bundles/{bundle_id}/file", **bundle).startswith(b"PK")
    walk_break(walk, cast)


def walk_break(walk: Walk, cast: Cast) -> None:
    anchor, zero = "file:/mnt/worm/anchor.jsonl", "00" * 32
    made = RecordBreak.objects.create(
        found_at=clock.now(), anchor=anchor, size_there=9, hash_there=zero, size_here=8, hash_here=zero, why="Shorter."
    )
    call_command("confirm_record", anchor=anchor, person="dana", **REASON)
    assert [found["id"] for found in walk(cast.sam, "GET /audit/breaks")["items"]] == [made.pk]
    assert walk(cast.sam, "POST /audit/breaks/{break_id}/confirm", REASON, break_id=made.pk)["id"] == made.pk


def test_call_when_there_is_no_token() -> None:
    for operation in OPERATIONS:
        method, path = operation.split(" ")
        answer = send(method, path, body={})
        assert (answer.status_code, answer["Content-Type"]) == (401, "application/problem+json"), operation


def test_call_when_the_token_is_for_something_else() -> None:
    """Each operation belongs to one scope: a token with any other is refused, whoever holds it."""
    user = UserFactory()
    tokens = {scope: token_of(user, scope) for scope in TokenScope.values}
    for operation in OPERATIONS:
        method, path = operation.split(" ")
        refused = [
            scope for scope, token in tokens.items() if b"lacks the scope" in send(method, path, token, {}).content
        ]
        assert len(refused) == len(tokens) - 1, (operation, refused)
