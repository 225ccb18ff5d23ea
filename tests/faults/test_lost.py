"""The connection breaks at any statement, before it is done or before its answer is back. To a worker that is the same,
and a commit whose answer was lost is the normal case (field notes E6).
"""

import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import Error, connections

from apps.core import clock
from apps.grants import services
from apps.grants.models import Grant
from apps.grants.states import GrantStatus
from jitportal.portal_database import WORKER
from tests.factories import Cast
from tests.faults.world import SCOPES, World, leases_run_out, some
from tests.grants.stage import active, after, connected, now_in, queued, told
from tests.support.portal import PortalDatabase
from tests.support.proxy import Cut, Proxy, before

pytestmark = pytest.mark.django_db(transaction=True)

FEW = 5  # of the statements, in the short profile


def is_commit(statement: bytes) -> bool:
    return statement.upper().startswith(b"COMMIT")


def counted(proxy: Proxy, act: Callable[[], object]) -> int:
    """How many statements it sends."""
    proxy.set(at=1_000_000)
    act()
    return proxy.count


@pytest.mark.parametrize("cut", list(Cut))
def test_issue_goes_on_when_the_connection_broke_at_any_statement(
    people_behind: Cast, proxy: Proxy, world: World, cut: Cut
) -> None:
    alice = people_behind.alice
    grant = queued(alice, tables=SCOPES[0])
    total = counted(proxy, lambda: services.issue_queued(server_id=grant.server_id))
    for number, at in enumerate(some(total, FEW), start=1):
        grant = queued(alice, tables=SCOPES[number % len(SCOPES)])
        proxy.set(at, cut)
        services.issue_queued(server_id=grant.server_id)
        world.holds()
        proxy.set(0)
        if now_in(grant, GrantStatus.QUEUED, GrantStatus.ACTIVE).status == GrantStatus.QUEUED:
            assert "connection to the server was lost" in grant.problem or "could not be reached" in grant.problem
            leases_run_out()
            services.issue_queued(server_id=grant.server_id)
        now_in(grant, GrantStatus.ACTIVE)
        world.holds()
    with clock.shifted(after(grant)):
        services.end_due(server_id=grant.server_id)
    world.is_at_peace()


@pytest.mark.parametrize("cut", list(Cut))
def test_end_goes_on_when_the_connection_broke_at_any_statement(
    people_behind: Cast, proxy: Proxy, world: World, cut: Cut
) -> None:
    alice = people_behind.alice
    grant = active(alice, tables=SCOPES[0])
    with clock.shifted(after(grant)):
        total = counted(proxy, lambda: services.end_due(server_id=grant.server_id))
    for at in some(total, FEW):
        proxy.set(0)
        grant = active(alice, tables=SCOPES[0])
        with connected(grant), clock.shifted(after(grant)):
            proxy.set(at, cut)
            services.end_due(server_id=grant.server_id)
            world.holds()
            proxy.set(0)
            leases_run_out()
            services.end_due(server_id=grant.server_id)
        now_in(grant, GrantStatus.ENDED)
    world.is_at_peace()


@pytest.mark.parametrize("cut", list(Cut))
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_grant_lives_once_when_the_portals_own_commit_is_lost(
    people: Cast, portal_database: PortalDatabase, world: World, number: int, cut: Cut
) -> None:
    """The lease's commit, the claim's, and the outcome's; an end has no lease."""
    parts = urlsplit(portal_database.urls[WORKER])
    assert parts.hostname
    assert parts.port
    grant = queued(people.alice, tables=SCOPES[0])
    with before(parts.hostname, parts.port) as proxy:
        proxy.set(number, cut, is_commit)
        through(proxy, lambda: services.issue_queued(server_id=grant.server_id))
        assert proxy.has_cut
        world.holds()
        go_on(grant, lambda: services.issue_queued(server_id=grant.server_id), GrantStatus.ACTIVE)
        with connected(grant), clock.shifted(after(grant)):
            proxy.set(number, cut, is_commit)
            through(proxy, lambda: services.end_due(server_id=grant.server_id))
            assert proxy.has_cut or number == 3
            world.holds()
            go_on(grant, lambda: services.end_due(server_id=grant.server_id), GrantStatus.ENDED)
    world.is_at_peace()
    assert [told(grant).count(word) for word in ("grant.issuing", "grant.issued", "grant.ending", "grant.ended")] == [
        1
    ] * 4


def go_on(grant: Grant, act: Callable[[], object], wanted: str) -> None:
    grant.refresh_from_db()
    if grant.status != wanted:
        leases_run_out()
        act()
    now_in(grant, wanted)


def through(proxy: Proxy, act: Callable[[], Any]) -> None:
    """On a thread whose connection to the portal's database goes through the proxy; its errors are a task's."""

    def run() -> None:
        own = connections["default"]
        own.settings_dict = {**own.settings_dict, "HOST": "127.0.0.1", "PORT": proxy.port}
        try:
            act()
        except Error:
            return
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(timeout=120)
    assert not thread.is_alive()
