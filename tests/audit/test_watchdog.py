"""A session that keeps the record's lock is ended; those who only wait or write are left alone (field notes S4)."""

from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest

from apps.audit.watchdog import HEAD_SECONDS, CannotWatch, Watchdog, require_rights
from jitportal.portal_database import WEB, WORKER
from tests.support import record
from tests.support.portal import PortalDatabase
from tests.support.threads import waiting_for

pytestmark = pytest.mark.usefixtures("django_db_setup")


@pytest.fixture
def watcher(portal_database: PortalDatabase) -> Iterator[psycopg.Connection]:
    with portal_database.connect(WORKER) as connection:
        yield connection


@pytest.fixture
def holder(portal_database: PortalDatabase) -> Iterator[psycopg.Connection]:
    """The web's role, with the head locked for as long as it likes."""
    connection = portal_database.connect(WEB, autocommit=False)
    record.insert(connection, record.body())
    connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    yield connection
    connection.close()


def test_end_the_holder_when_the_head_is_kept(watcher: psycopg.Connection, holder: psycopg.Connection) -> None:
    dog = Watchdog()
    assert dog.look(watcher, at=0.0) == []
    assert dog.look(watcher, at=HEAD_SECONDS) == [holder.info.backend_pid]
    with pytest.raises(psycopg.OperationalError):
        holder.execute("SELECT 1")


def test_leave_the_holder_alone_when_it_is_another_transaction(
    watcher: psycopg.Connection, holder: psycopg.Connection
) -> None:
    dog = Watchdog()
    dog.look(watcher, at=0.0)
    holder.commit()
    record.insert(holder, record.body())
    holder.execute("SET CONSTRAINTS ALL IMMEDIATE")
    assert dog.look(watcher, at=HEAD_SECONDS) == []


def test_refuse_to_watch_when_the_role_cannot_end_sessions(portal_database: PortalDatabase) -> None:
    with portal_database.connect(WEB) as web, pytest.raises(CannotWatch, match="GRANT pg_monitor"):
        require_rights(web)


def test_end_the_holder_when_it_waits_for_an_accomplice(
    watcher: psycopg.Connection, holder: psycopg.Connection, portal_database: PortalDatabase
) -> None:
    with (
        closing(portal_database.connect(WEB)) as accomplice,
        closing(portal_database.connect(WORKER, autocommit=False)) as worker,
    ):
        accomplice.execute("SELECT pg_advisory_lock(4711)")
        holder.pgconn.send_query(b"SELECT pg_advisory_lock(4711)")
        record.insert(worker, record.body())
        worker.pgconn.send_query(b"SET CONSTRAINTS ALL IMMEDIATE")
        dog, blocked = Watchdog(), "SELECT cardinality(pg_blocking_pids(%s)) > 0"
        waiting_for(lambda: watcher.execute(blocked, [worker.info.backend_pid]).fetchone() == (True,))
        assert dog.look(watcher, at=0.0) == []
        assert dog.look(watcher, at=HEAD_SECONDS) == [holder.info.backend_pid]
