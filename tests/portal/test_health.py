"""What machines are told about the portal: strangers that it lives and how much is wrong, others the rest."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import LazySettings
from django.db import DatabaseError, connection
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from apps.approvals.models import Review
from apps.audit import services as audit
from apps.catalog.models import Server
from apps.core import clock
from apps.grants.clock import Rounds
from apps.grants.health import Kind, beat
from apps.grants.models import Continuity, Grant, Heartbeat, ServerState
from apps.grants.states import EndCause, GrantStatus
from apps.portal import figures
from jitportal.portal_database import WEB
from tests.factories import Cast
from tests.grants.odd_engine import fails
from tests.support.pages import ask
from tests.support.people import signed_in
from tests.support.portal import PortalDatabase

pytestmark = pytest.mark.django_db(transaction=True)

TOKEN = "a-token-for-prometheus"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
NAMES = ("alice", "bob", "dana", "jit_", "shop", "sales")


@pytest.fixture
def token(settings: LazySettings) -> str:
    settings.METRICS_TOKEN = TOKEN
    return TOKEN


@pytest.fixture
def trouble(people: Cast) -> Server:
    """One grant is late, one has ended, one server does not answer, the glass was broken."""
    now, server = clock.now(), people.shop.server
    Server.objects.filter(pk=server.pk).update(name="northern", manager_secret=b"sealed")
    made = {"holder": people.alice, "database": people.shop, "server": server, "connection": "direct", "scope": {}}
    made |= {"scope_digest": "0" * 64, "minutes": 60, "queued_at": now, "starts_at": now}
    requests = [ask(people.alice) for _ in range(3)]
    minute = timedelta(minutes=1)
    Grant.objects.create(request=requests[0], login="jit_alice_1", **made)
    Grant.objects.create(request=requests[1], login="jit_alice_2", sessions_cut=3, **made)
    late, over = Grant.objects.order_by("login")
    with connection.cursor() as cursor:  # as far as their life allows
        for status in ("active", "ending"):
            cursor.execute(
                "UPDATE grants_grant SET status = %s, expires_at = %s, ending_since = %s",
                [status, now, now - 2 * minute],
            )
        cursor.execute("UPDATE grants_grant SET status = 'ended', end_cause = 'revoked' WHERE id = %s", [over.pk])
    assert late.pk != over.pk
    ServerState.objects.create(
        server=server, unreachable_since=now - 5 * minute, problem="No answer.", strays=[{"login": "jit_x"}]
    )
    Review.objects.create(request=requests[2], opened_at=now)
    beat("clock:secrethost:1", kind=Kind.CLOCK, queues={"access": 4, "bulk": 0})
    beat("worker:access", kind=Kind.WORKER)
    beat("worker:bulk", kind=Kind.WORKER)
    Heartbeat.objects.filter(name="worker:bulk").update(at=now - 10 * minute)  # at something that takes its time
    return server


def health(client: Client, **headers: str) -> dict[str, Any]:
    answer = client.get("/healthz", headers=headers)
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json()
    assert body["ok"] is True
    return body["detail"]  # type: ignore[no-any-return]


def test_healthz_tells_counts_alone_when_a_stranger_asks(trouble: Server, token: str) -> None:
    for client, headers in ((Client(), {}), (Client(), {"Authorization": "Bearer guess"})):
        detail = health(client, **headers)
        assert detail == {
            "late_grants": 1,
            "unreachable_servers": 1,
            "queues": {"access": 4, "bulk": 0},
            "record_breaks": 0,
            "anchors_behind": 0,
        }


@pytest.mark.parametrize("who", ["alice", "audrey"])
def test_healthz_tells_counts_alone_when_it_is_not_ones_duty(people: Cast, trouble: Server, who: str) -> None:
    assert "unreachable" not in health(signed_in(getattr(people, who)))


@pytest.mark.parametrize("who", ["dana", "sam"])
def test_healthz_tells_more_when_it_is_ones_duty(people: Cast, trouble: Server, who: str) -> None:
    detail = health(signed_in(getattr(people, who)))
    assert 120 <= detail["oldest_late_seconds"] < 180
    assert 300 <= detail["unreachable"]["northern"] < 360
    assert detail["reconciled_seconds_ago"] == {"northern": None}
    assert set(detail["beat_seconds_ago"]) == {"clock", "worker:access", "worker:bulk"}
    assert 600 <= detail["beat_seconds_ago"]["worker:bulk"] < 700
    assert detail["beat_seconds_ago"]["clock"] < 60
    assert not [name for name in (*NAMES, "secrethost") if name in str(detail)]


def test_healthz_tells_more_when_the_token_is_sent(trouble: Server, token: str) -> None:
    assert "unreachable" in health(Client(), **BEARER)


def test_healthz_tells_counts_alone_when_there_is_no_token_at_all(trouble: Server, settings: LazySettings) -> None:
    settings.METRICS_TOKEN = ""
    assert "unreachable" not in health(Client(), Authorization="Bearer ")


def test_healthz_tells_no_more_when_the_account_was_closed(people: Cast, trouble: Server) -> None:
    client = signed_in(people.dana)
    people.dana.is_active = False
    people.dana.save()
    assert "unreachable" not in health(client)


def test_healthz_says_what_is_wrong_when_the_database_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", fails(DatabaseError()))
    answer = Client().get("/healthz")
    assert answer.status_code == 503
    assert answer.json()["detail"] == {}


def test_metrics_are_not_there_when_no_token_is_set(people: Cast, settings: LazySettings) -> None:
    settings.METRICS_TOKEN = ""
    for headers in ({}, BEARER, {"Authorization": "Bearer "}):
        assert Client().get("/metrics", headers=headers).status_code == 404


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Bearer guess", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer Ünïcode"]
)
def test_metrics_are_refused_when_the_token_is_wrong(people: Cast, token: str, header: str) -> None:
    for client in (Client(), signed_in(people.dana)):
        answer = client.get("/metrics", headers={"Authorization": header} if header else {})
        assert answer.status_code == 401
        assert answer["WWW-Authenticate"] == "Bearer"
        assert b"jitportal_" not in answer.content
    assert Client().post("/metrics", headers=BEARER).status_code == 405


def scraped() -> dict[tuple[str, str], float]:
    """(name, the value of its label) -> value, as Prometheus reads it."""
    answer = Client().get("/metrics", headers=BEARER)
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain; version=")
    text = answer.content.decode()
    assert not [name for name in (*NAMES, "secrethost") if name in text]
    return {
        (sample.name.removeprefix("jitportal_"), next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_tell_the_figures_when_the_token_is_sent(trouble: Server, token: str) -> None:
    found = scraped()
    assert found["grants", "ending"] == found["grants", "ended"] == found["grants_late", ""] == 1
    assert found["grants", "active"] == 0
    assert 120 <= found["grants_late_oldest_seconds", ""] < 180
    assert (found["grants_issued_total", ""], found["sessions_cut_total", ""]) == (2, 3)
    assert (found["grants_ended_total", "revoked"], found["grants_ended_total", "expired"]) == (1, 0)
    assert found["servers_unreachable", ""] == found["server_strays", "northern"] == 1
    assert 300 <= found["server_unreachable_seconds", "northern"] < 360
    assert found["server_reconciled_seconds", "northern"] == float("inf")
    assert (found["queue_length", "access"], found["queue_length", "bulk"]) == (4, 0)
    assert found["heartbeat_age_seconds", "clock"] < 60
    assert 600 <= found["heartbeat_age_seconds", "worker:bulk"] < 700
    assert found["record_entries", ""] == audit.head().size
    assert (found["reviews_open", ""], found["unconfirmed", ""]) == (1, 0)


def test_metrics_tell_when_the_portal_waits_for_an_operator(people: Cast, token: str) -> None:
    Continuity.objects.create(found_at=clock.now(), size_here=1, size_there=2, why="It remembers more.")
    found = scraped()
    assert found["unconfirmed", ""] == 1
    assert ("queue_length", "access") not in found  # no clock has looked
    assert {status for name, status in found if name == "grants"} == set(GrantStatus.values)
    assert {cause for name, cause in found if name == "grants_ended_total"} == set(EndCause.values)


def test_metrics_say_unavailable_when_the_database_does_not_answer(
    people: Cast, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures.clock, "now", fails(DatabaseError()))
    assert Client().get("/metrics", headers=BEARER).status_code == 503


@pytest.fixture
def as_web(trouble: Server, portal_database: PortalDatabase) -> Iterator[None]:
    """The rights of the web process, which may not look into the queues."""
    before = dict(connection.settings_dict)
    connection.close()
    connection.settings_dict |= {"USER": WEB, "PASSWORD": urlsplit(portal_database.urls[WEB]).password}
    yield
    connection.close()
    connection.settings_dict |= before


def test_metrics_and_health_are_read_with_the_rights_of_the_web_process(as_web: None, token: str) -> None:
    assert scraped()["queue_length", "access"] == 4
    assert "unreachable" in health(Client(), **BEARER)


def test_metrics_tell_the_queues_when_a_clock_has_looked(people: Cast, token: str) -> None:
    Rounds().look()
    found = scraped()
    assert found["queue_length", "bulk"] > 0
    assert found["queue_length", "access"] >= 0
