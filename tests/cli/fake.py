"""A portal that answers what a test tells it to, over real HTTP on loopback."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Answer = tuple[int, Any] | Callable[["Call"], Any]

ALICE = {
    "id": "aaaaaaaaaa",
    "username": "alice",
    "name": "Alice Archer",
    "email": "alice@shop.example",
    "time_zone": "UTC",
    "groups": ["storefront"],
    "duties": [],
    "scopes": ["read", "request"],
}


@dataclass(frozen=True)
class Call:
    """What was asked; `handler` for answers that are no plain JSON."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Any
    handler: BaseHTTPRequestHandler


@dataclass
class FakePortal:
    """`answers`: "GET /me" -> one answer for ever, or a list of them, the last of which stays."""

    url: str = ""
    answers: dict[str, Answer | list[Answer]] = field(default_factory=lambda: {"GET /me": (200, ALICE)})
    calls: list[Call] = field(default_factory=list)

    def asked(self, what: str) -> list[Call]:
        return [call for call in self.calls if f"{call.method} {call.path}" == what]

    def answer(self, call: Call) -> None:
        self.calls.append(call)
        found = self.answers.get(f"{call.method} {call.path}", (404, problem(404, "Nothing here.")))
        if isinstance(found, list):
            found = found.pop(0) if len(found) > 1 else found[0]
        if callable(found):
            found = found(call)
        if found is not None:
            send(call.handler, *found)


def problem(status: int, detail: str, **more: Any) -> dict[str, Any]:
    return {"type": "about:blank", "title": "No", "status": status, "detail": detail, **more}


def send(handler: BaseHTTPRequestHandler, status: int, body: Any, **headers: str) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    handler.send_response(status)
    for name, value in {"Content-Type": "application/json", "Content-Length": str(len(raw)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(raw)


@contextmanager
def fake_portal() -> Iterator[FakePortal]:
    portal = FakePortal()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def _do(self) -> None:
            parts = urlsplit(self.path)
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            is_form = "urlencoded" in self.headers.get("Content-Type", "")
            body = parse_qs(raw.decode()) if is_form else json.loads(raw or b"null")
            path = parts.path.removeprefix("/api/v1")
            portal.answer(Call(self.command, path, parse_qs(parts.query), dict(self.headers), body, self))

        do_GET = do_POST = do_CONNECT = _do  # noqa: N815 - http.server's names

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    portal.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield portal
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def page(*items: Any, cursor: str | None = None) -> tuple[int, Any]:
    return 200, {"items": list(items), "next": cursor}


def grant(**changes: Any) -> dict[str, Any]:
    return {
        "id": "gggggggggg",
        "status": "active",
        "request": "rrrrrrrrrr",
        "holder": "alice",
        "database": "shop",
        "connection": "direct",
        "break_glass": False,
        "login": "jit_alice_gggggggggg",
        "starts_at": "2026-01-01T10:00:00.000000Z",
        "expires_at": "2099-01-01T10:00:00.000000Z",
        "ended_at": None,
        "end_cause": None,
        "end_reason": "",
        "problem": "",
        "sessions": {"live": 0, "seen": 0, "first_at": None, "last_at": None},
        "evidence": {"checked_at": None, "reach": [], "findings": [], "views": []},
        **changes,
    }


def request(**changes: Any) -> dict[str, Any]:
    return {
        "id": "rrrrrrrrrr",
        "status": "pending",
        "requester": "alice",
        "database": "shop",
        "level": "query",
        "connection": "direct",
        "tables": ["sales.orders"],
        "unmask": [],
        "minutes": 60,
        "starts_at": None,
        "reason": "Two reports differ",
        "ticket": "",
        "submitted_at": "2026-01-01T10:00:00.000000Z",
        "lapses_at": "2026-01-04T10:00:00.000000Z",
        "closed_reason": "",
        "risk": {"level": "medium", "factors": [{"name": "production", "weight": 3, "why": "It is production."}]},
        "route": [
            {"kind": "peer", "group": None, "needed": 1, "approved_by": [], "eligible": 3, "people": ["bob", "carla"]}
        ],
        "grant": None,
        "extends": None,
        "extension": None,
        "filters": [],
        **changes,
    }


def preview(**changes: Any) -> dict[str, Any]:
    return {
        "outcome": "route",
        "reasons": ["Production needs a peer."],
        "rule": "production",
        "version": 1,
        "max_minutes": None,
        "tables": ["sales.orders"],
        "scope_digest": "00",
        "risk": {"level": "high", "factors": [{"name": "production", "weight": 3, "why": "It is production."}]},
        "route": [{"kind": "peer", "group": None, "needed": 1, "eligible": 1}],
        "views": {"tables": 0, "masked": 0, "unmasked": 0, "filters": 0},
        "masked": [],
        "unmasked": [],
        "read_only": [],
        "refused_writes": [],
        "filters": [],
        **changes,
    }


CREDENTIAL = {
    "host": "127.0.0.1",
    "port": 5433,
    "database": "shop",
    "username": "jit_alice_gggggggggg",
    "password": "a'b\"c d%",
    "valid_until": "2099-01-01T10:00:00.000000Z",
    "url": "postgresql://jit_alice_gggggggggg:x@127.0.0.1:5433/shop?sslmode=verify-full",
}
