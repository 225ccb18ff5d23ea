"""Two and more real connections at once: forks, deadlocks, gaps (field notes S3, S11, W2)."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import psycopg
import pytest

from apps.audit.chain import verify
from jitportal.portal_database import OWNER, WEB, WORKER
from tests.audit.test_attacks import chain
from tests.support import record
from tests.support.portal import PortalDatabase

pytestmark = pytest.mark.usefixtures("django_db_setup")


@pytest.fixture
def web(portal_database: PortalDatabase) -> Iterator[psycopg.Connection]:
    with portal_database.connect(WEB, autocommit=False) as connection:
        yield connection


@pytest.fixture
def worker(portal_database: PortalDatabase) -> Iterator[psycopg.Connection]:
    with portal_database.connect(WORKER, autocommit=False) as connection:
        yield connection


@pytest.fixture
def family(portal_database: PortalDatabase) -> Iterator[None]:
    """A parent and its children with a deferred foreign key, as Django makes them."""
    with portal_database.connect(OWNER) as owner:
        owner.execute("""
            CREATE TABLE parent (id int PRIMARY KEY, note text);
            CREATE TABLE child (parent int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
            GRANT ALL ON parent, child TO jitportal_web, jitportal_worker;
            INSERT INTO parent VALUES (1)""")
        yield
        owner.execute("DROP TABLE child, parent")


def wait_until_blocked(portal: PortalDatabase, pid: int) -> None:
    """Until that session waits for another one's lock."""
    with portal.superuser() as superuser:
        while superuser.execute("SELECT cardinality(pg_blocking_pids(%s))", [pid]).fetchone() == (0,):
            pass


def commit_while(portal: PortalDatabase, blocked: psycopg.Connection, pool: ThreadPoolExecutor) -> Future[None]:
    """Commit on another thread; returns when the commit waits for somebody."""
    pid = blocked.info.backend_pid
    done = pool.submit(blocked.commit)
    wait_until_blocked(portal, pid)
    return done


@pytest.mark.parametrize("level", list(psycopg.IsolationLevel)[1:])
def test_seal_when_two_snapshots_saw_the_same_head_never_forks(
    portal_database: PortalDatabase, web: psycopg.Connection, worker: psycopg.Connection, level: psycopg.IsolationLevel
) -> None:
    """S11: both read the head before either commits. The second takes the next index, or fails with 40001."""
    for connection in (web, worker):
        connection.isolation_level = level
        record.size(connection)
    record.insert(web, record.body(subject="request:first"))
    record.insert(worker, record.body(subject="request:second"))
    web.commit()
    try:
        worker.commit()
    except psycopg.errors.SerializationFailure:
        assert level > psycopg.IsolationLevel.READ_COMMITTED
    else:
        assert level <= psycopg.IsolationLevel.READ_COMMITTED
    worker.isolation_level = None
    worker.rollback()
    assert verify(*chain(worker)) == []


def test_seal_when_another_holds_the_head_waits_for_it(
    portal_database: PortalDatabase, web: psycopg.Connection, worker: psycopg.Connection
) -> None:
    before = record.size(web)
    first = record.insert(web, record.body())
    web.execute("SET CONSTRAINTS ALL IMMEDIATE")  # the lock that a commit would hold for a moment
    second = record.insert(worker, record.body())
    with ThreadPoolExecutor(1) as pool:
        waiting = commit_while(portal_database, worker, pool)
        web.commit()
        waiting.result()
    seals = [record.seal_of(web, entry) for entry in (first, second)]
    assert [seal[0] for seal in seals if seal] == [before, before + 1]
    assert verify(*chain(web)) == []


@pytest.mark.usefixtures("family")
def test_commit_when_the_entry_is_last_does_not_deadlock_with_a_locked_parent(
    portal_database: PortalDatabase, web: psycopg.Connection, worker: psycopg.Connection
) -> None:
    """S3: the child's key is checked before the head is locked, so whoever waits holds nothing that others need."""
    worker.execute("SELECT FROM parent FOR UPDATE")
    web.execute("INSERT INTO child VALUES (1)")
    record.insert(web, record.body())
    with ThreadPoolExecutor(1) as pool:
        waiting = commit_while(portal_database, web, pool)
        record.insert(worker, record.body())
        worker.commit()
        waiting.result()
    assert verify(*chain(web)) == []


@pytest.mark.usefixtures("family")
def test_commit_when_the_entry_came_first_deadlocks_with_a_parent_locked_for_update(
    portal_database: PortalDatabase, web: psycopg.Connection, worker: psycopg.Connection
) -> None:
    """S3, as it bit: head then parent against parent then head. One of the two is refused; the record stays whole."""
    worker.execute("SELECT FROM parent FOR UPDATE")
    record.insert(web, record.body())
    web.execute("INSERT INTO child VALUES (1)")
    with ThreadPoolExecutor(1) as pool:
        waiting = commit_while(portal_database, web, pool)
        record.insert(worker, record.body())
        refused = 0
        for commit in (worker.commit, waiting.result):
            try:
                commit()
            except psycopg.errors.DeadlockDetected:
                refused += 1
    assert refused == 1
    web.rollback()
    assert verify(*chain(web)) == []


@pytest.mark.usefixtures("family")
def test_commit_when_the_parent_is_locked_as_our_verbs_do_never_waits_for_it(
    web: psycopg.Connection, worker: psycopg.Connection
) -> None:
    """FOR NO KEY UPDATE lets a child's key be checked, whatever the order of the writes."""
    worker.execute("SELECT FROM parent FOR NO KEY UPDATE")
    record.insert(web, record.body())
    web.execute("INSERT INTO child VALUES (1)")
    web.commit()
    record.insert(worker, record.body())
    worker.commit()
    assert verify(*chain(web)) == []


def test_seal_when_many_write_at_once_leaves_no_gap(portal_database: PortalDatabase) -> None:
    def work(connection: psycopg.Connection) -> list[int]:
        return [record.insert(connection, record.body(facts={"n": number})) for number in range(20)]

    with ExitStack() as stack, ThreadPoolExecutor(8) as pool:
        connections = [stack.enter_context(portal_database.connect(role)) for role in (WEB, WORKER) * 4]
        before = record.size(connections[0])
        entries = [entry for done in pool.map(work, connections) for entry in done]
        indexes = [seal[0] for entry in entries if (seal := record.seal_of(connections[0], entry))]
        assert sorted(indexes) == list(range(before, before + 160))
        assert verify(*chain(connections[0])) == []
