"""Logins that do not want to go: they sign in again and again, do not read, or have prepared a transaction."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import psycopg
import pytest

from apps.core import clock
from apps.grants import services
from apps.grants.models import Grant
from apps.grants.states import GrantStatus
from tests.factories import Cast
from tests.faults.world import World
from tests.grants.stage import active, after, connected, now_in
from tests.support.soak import SOAK
from tests.support.targets import TargetServer

pytestmark = pytest.mark.django_db(transaction=True)

STORMS = 40 if SOAK else 5
_ABOUT_100_MB = "SELECT repeat('x', 1000) FROM generate_series(1, 100000)"


@contextmanager
def storm(url: str, *, threads: int = 8) -> Iterator[list[psycopg.Connection[Any]]]:
    """Clients that sign in as fast as they can, and keep what they get."""
    stop, first = threading.Event(), threading.Event()
    kept: list[psycopg.Connection[Any]] = []

    def sign_in() -> None:
        while not stop.is_set():
            with suppress(psycopg.OperationalError):  # refused is what we hope for
                kept.append(psycopg.connect(url, autocommit=True, connect_timeout=10))
            first.set()

    workers = [threading.Thread(target=sign_in, daemon=True) for _ in range(threads)]
    for worker in workers:
        worker.start()
    assert first.wait(timeout=60)
    try:
        yield kept
    finally:
        stop.set()
        for worker in workers:
            worker.join(timeout=60)
        for session in kept:
            session.close()


def ended(grant: Grant) -> None:
    with clock.shifted(after(grant)):
        services.end_due(server_id=grant.server_id)
    now_in(grant, GrantStatus.ENDED)


def oid_of(target: TargetServer, login: str) -> int:
    with target.admin() as admin:
        return int(admin.execute("SELECT oid FROM pg_roles WHERE rolname = %s", [login]).fetchall()[0][0])


def sessions_of(target: TargetServer, oid: int) -> int:
    """By the role's number, which a session keeps when the role is dropped under it (field notes R6)."""
    with target.admin() as admin:
        return int(admin.execute("SELECT count(*) FROM pg_stat_activity WHERE usesysid = %s", [oid]).fetchall()[0][0])


def test_nothing_is_alive_when_a_storm_of_sign_ins_has_ended(people: Cast, target: TargetServer, world: World) -> None:
    for _ in range(STORMS):
        grant = active(people.alice, tables=("stock.levels",))
        oid = oid_of(target, grant.login)
        url = services.credential(actor=people.alice, grant_id=grant.pk).url
        with storm(url) as kept:
            ended(grant)
            assert sessions_of(target, oid) == 0
            for session in list(kept):
                with pytest.raises(psycopg.OperationalError):
                    session.execute("SELECT 1")
        assert sessions_of(target, oid) == 0
    world.is_at_peace()


def test_end_cuts_a_client_when_it_does_not_read(people: Cast, target: TargetServer, world: World) -> None:
    """Its server process waits in the middle of a large result, for a client that never takes the rest."""
    grant = active(people.alice)
    oid = oid_of(target, grant.login)
    with closing(connected(grant)) as client:
        client.pgconn.send_query(_ABOUT_100_MB.encode())
        client.pgconn.flush()
        wait_for(target, oid, "ClientWrite")
        ended(grant)
        assert sessions_of(target, oid) == 0
    world.is_at_peace()


def test_end_rolls_back_what_was_prepared_when_nobody_finishes_it(
    people_two_phase: Cast, two_phase_target: TargetServer
) -> None:
    grant = active(people_two_phase.alice, tables=("stock.levels",))
    with connected(grant) as client:
        client.execute("BEGIN")
        client.execute("ALTER ROLE CURRENT_USER SET work_mem = '8MB'")  # it holds its own role
        client.execute("PREPARE TRANSACTION 'held'")
    ended(grant)
    assert grant.proof is not None
    assert grant.proof["dropped"]
    with two_phase_target.admin() as admin:
        assert admin.execute("SELECT gid FROM pg_prepared_xacts").fetchall() == []
    World(two_phase_target).is_at_peace()


def wait_for(target: TargetServer, oid: int, event: str) -> None:
    statement = "SELECT count(*) FROM pg_stat_activity WHERE usesysid = %s AND wait_event = %s"
    with target.admin() as admin:
        for _ in range(2_000):
            if admin.execute(statement, [oid, event]).fetchall()[0][0]:
                return
            admin.execute("SELECT pg_sleep(0.02)")
    raise AssertionError(f"No session waits for {event}.")
