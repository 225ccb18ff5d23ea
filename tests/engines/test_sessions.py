"""The session look: who is there, and that what stands in others' way for too long is ended, and nothing else."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Any

import psycopg
import pytest
from psycopg import sql

from apps.engines.base import CutWhy, Level, SessionCut, SessionLimits, SessionUse
from apps.engines.postgresql import PostgresEngine, names
from apps.engines.postgresql import sessions as looking
from tests.engines.conftest import ORDERS, PASSWORD, Shop, a_spec
from tests.support.threads import waiting_for

Session = psycopg.Connection[Any]
BLOCKS, IDLES, HOLDS = SessionLimits(blocks=1), SessionLimits(idles=1), SessionLimits(holds_back=1)
EVERYTHING = SessionLimits(blocks=1, idles=1, holds_back=1)


def a_login(engine: PostgresEngine, shop: Shop, level: Level = Level.QUERY, *, person: str = "alice") -> str:
    spec = a_spec(shop, ORDERS, level=level, person=person)
    engine.open_login(shop.target, spec)
    return spec.login


def client(shop: Shop, login: str) -> closing[Session]:
    """Closed at the end as it is: one that was cut cannot commit."""
    return closing(shop.login(PASSWORD, login))


def cuts(engine: PostgresEngine, shop: Shop, limits: SessionLimits) -> dict[str, tuple[SessionCut, ...]]:
    return {use.login: use.cut for use in engine.sessions(shop.target, limits) if use.cut}


def pid_of(session: Session) -> int:
    return session.info.backend_pid


def is_over(session: Session) -> bool:
    try:
        session.execute("SELECT 1")
    except psycopg.OperationalError:
        return True
    return False


def since(shop: Shop, what: str, pid: int) -> bool:
    """Whether the moment `what` of a session is more than a second ago by the server's own clock."""
    query = f"SELECT clock_timestamp() - {what} > interval '1 second' FROM pg_stat_activity WHERE pid = %s"
    return bool(shop.value(query, [pid]))


@contextmanager
def stuck(shop: Shop, statement: str, *, login: str = "") -> Iterator[Session]:
    """Somebody who runs `statement` and has waited for a lock for more than a second. The application: a superuser."""
    session = shop.login(PASSWORD, login) if login else shop.server.admin(shop.database)
    with ExitStack() as stack:
        stack.callback(session.close)
        session.pgconn.send_query(statement.encode())
        waits = "SELECT bool_or(clock_timestamp() - waitstart > interval '1 second') FROM pg_locks WHERE pid = %s"
        waiting_for(lambda: shop.value(waits, [pid_of(session)]))
        yield session


def goes_on(session: Session) -> bool:
    """The statement of somebody who was stuck came to its end."""
    result = session.pgconn.get_result()
    return result is not None and result.status in {
        psycopg.pq.ExecStatus.COMMAND_OK,
        psycopg.pq.ExecStatus.TUPLES_OK,
    }


def test_sessions_when_an_open_transaction_blocks_the_owner(engine: PostgresEngine, shop: Shop) -> None:
    login = a_login(engine, shop)
    with client(shop, login) as alice, client(shop, login) as bystander:
        alice.execute("BEGIN; SELECT * FROM orders")
        blocker = pid_of(alice)
        with stuck(shop, "ALTER TABLE sales.orders ADD COLUMN note text") as owner:
            assert cuts(engine, shop, SessionLimits(blocks=3600)) == {}
            ((cut,),) = cuts(engine, shop, BLOCKS).values()
            assert goes_on(owner)
        assert is_over(alice)
        assert not is_over(bystander)
    assert (cut.pid, cut.why) == (blocker, CutWhy.BLOCKED)
    assert cut.seconds >= 1
    assert cuts(engine, shop, BLOCKS) == {}


def test_sessions_when_an_advisory_lock_blocks_the_application(engine: PostgresEngine, shop: Shop) -> None:
    login = a_login(engine, shop)
    with client(shop, login) as alice:
        alice.execute("SELECT pg_advisory_lock(4711)")
        alice.execute("SELECT 1")  # outside of any transaction, and busy again and again
        with stuck(shop, "SELECT pg_advisory_lock(4711)") as application:
            assert [cut.why for cut in cuts(engine, shop, BLOCKS)[login]] == [CutWhy.BLOCKED]
            assert goes_on(application)
        assert is_over(alice)


def test_sessions_when_a_changed_row_blocks_the_application(engine: PostgresEngine, shop: Shop) -> None:
    login = a_login(engine, shop, Level.CHANGE)
    with client(shop, login) as alice:
        alice.execute("BEGIN; UPDATE orders SET total = 0 WHERE id = 1")
        with stuck(shop, "UPDATE sales.orders SET total = 11 WHERE id = 1") as application:
            assert [cut.why for cut in cuts(engine, shop, EVERYTHING)[login]] == [CutWhy.BLOCKED]
            assert goes_on(application)
        assert is_over(alice)


def test_sessions_when_one_of_ours_blocks_another_login(engine: PostgresEngine, shop: Shop) -> None:
    """Whoever waits, waits: also under a grant. The one who only waits is not ended."""
    first, second = a_login(engine, shop), a_login(engine, shop, person="bob")
    with client(shop, first) as alice:
        alice.execute("SELECT pg_advisory_lock(1)")
        with stuck(shop, "SELECT pg_advisory_lock(1)", login=second) as bob:
            assert list(cuts(engine, shop, BLOCKS)) == [first]
            assert goes_on(bob)
        assert is_over(alice)


def test_sessions_when_a_login_blocks_only_itself(engine: PostgresEngine, shop: Shop) -> None:
    login = a_login(engine, shop)
    with client(shop, login) as alice:
        alice.execute("SELECT pg_advisory_lock(2)")
        with stuck(shop, "SELECT pg_advisory_lock(2)", login=login):
            assert cuts(engine, shop, BLOCKS) == {}
        assert not is_over(alice)


def test_sessions_when_the_blocker_is_not_ours(engine: PostgresEngine, shop: Shop) -> None:
    login = a_login(engine, shop)
    foreign = a_login(engine, shop, person="bob")
    shop.run(f"COMMENT ON ROLE {foreign} IS 'jitportal portal=another login={foreign} request=request-1'")
    with (
        client(shop, login) as alice,
        client(shop, foreign) as bob,
        shop.server.admin(shop.database) as application,
    ):
        application.execute("BEGIN; SELECT pg_advisory_xact_lock(3)")
        bob.execute("BEGIN; SELECT pg_advisory_xact_lock(4)")
        with stuck(shop, "SELECT pg_advisory_lock(3)"), stuck(shop, "SELECT pg_advisory_lock(4)"):
            waiting_for(lambda: since(shop, "state_change", pid_of(application)))
            assert engine.sessions(shop.target, EVERYTHING) == [SessionUse(login, 1, started(shop, alice))]
        assert not is_over(application)
        assert not is_over(bob)


def test_sessions_when_a_chain_is_freed_by_its_first_end(engine: PostgresEngine, newest: Shop) -> None:
    """The holder goes first; who had only stood in its queue before the application is let alone."""
    holder, queued = a_login(engine, newest), a_login(engine, newest, person="bob")
    with client(newest, holder) as alice:
        alice.execute("SELECT pg_advisory_lock(5)")
        with (
            stuck(newest, "SELECT pg_advisory_lock(5), pg_advisory_unlock(5)", login=queued) as bob,
            stuck(newest, "SELECT pg_advisory_lock(5)") as application,
        ):
            assert list(cuts(engine, newest, BLOCKS)) == [holder]
            assert goes_on(bob)
            assert goes_on(application)
        assert is_over(alice)


@pytest.mark.parametrize("statement", ["SELECT 1", "SELECT 1/0"], ids=["idle", "aborted"])
def test_sessions_when_one_idles_in_a_transaction(engine: PostgresEngine, shop: Shop, statement: str) -> None:
    login = a_login(engine, shop)
    with client(shop, login) as alice, client(shop, login) as outside:
        alice.execute("BEGIN")
        with suppress(psycopg.errors.DivisionByZero):
            alice.execute(statement)
        outside.execute("SELECT 1")
        waiting_for(lambda: since(shop, "state_change", pid_of(outside)))
        assert cuts(engine, shop, SessionLimits(blocks=1, idles=3600, holds_back=3600)) == {}
        ((cut,),) = cuts(engine, shop, IDLES).values()
        assert (cut.pid, cut.why) == (pid_of(alice), CutWhy.IDLED)
        assert is_over(alice)
        assert not is_over(outside)


def test_sessions_when_a_snapshot_is_kept_open(engine: PostgresEngine, shop: Shop) -> None:
    login = a_login(engine, shop)
    with client(shop, login) as alice:
        alice.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM orders")
        waiting_for(lambda: since(shop, "xact_start", pid_of(alice)))
        assert cuts(engine, shop, BLOCKS) == {}
        ((cut,),) = cuts(engine, shop, HOLDS).values()
        assert (cut.pid, cut.why) == (pid_of(alice), CutWhy.HELD_BACK)
        assert is_over(alice)


def test_sessions_when_a_statement_runs_for_long(engine: PostgresEngine, shop: Shop) -> None:
    login = a_login(engine, shop)
    with client(shop, login) as alice:
        alice.pgconn.send_query(b"SELECT pg_sleep(600)")
        waiting_for(lambda: since(shop, "xact_start", pid_of(alice)))
        assert cuts(engine, shop, IDLES) == {}
        assert [cut.why for cut in cuts(engine, shop, HOLDS)[login]] == [CutWhy.HELD_BACK]
        assert not goes_on(alice)


def test_sessions_when_a_transaction_keeps_no_snapshot(engine: PostgresEngine, shop: Shop) -> None:
    """It has read and is done with it: vacuum does not wait for it, and the limit for idling is its own."""
    login = a_login(engine, shop)
    with client(shop, login) as alice:
        alice.execute("BEGIN; SELECT * FROM orders")
        waiting_for(lambda: since(shop, "xact_start", pid_of(alice)))
        assert cuts(engine, shop, HOLDS) == {}


def test_sessions_when_the_limits_are_off(engine: PostgresEngine, shop: Shop) -> None:
    login = a_login(engine, shop)
    with client(shop, login) as alice:
        alice.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM orders; SELECT pg_advisory_lock(6)")
        with stuck(shop, "SELECT pg_advisory_lock(6)"):
            assert cuts(engine, shop, SessionLimits()) == {}
        assert not is_over(alice)


def test_sessions_when_a_dba_has_renamed_the_login(engine: PostgresEngine, shop: Shop) -> None:
    login = a_login(engine, shop)
    shop.run(f"ALTER ROLE {login} RENAME TO harmless", f"ALTER ROLE harmless PASSWORD '{PASSWORD}'")
    with client(shop, "harmless") as alice:
        alice.execute("BEGIN; SELECT 1")
        waiting_for(lambda: since(shop, "state_change", pid_of(alice)))
        assert list(cuts(engine, shop, IDLES)) == [login]
        assert is_over(alice)
    shop.run(f"ALTER ROLE harmless RENAME TO {login}")


def test_sessions_when_it_is_another_by_the_time_of_the_cut(
    engine: PostgresEngine, newest: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the end the transaction was over, and a new one began: that one has done nothing yet."""
    login = a_login(engine, newest)
    with client(newest, login) as alice:
        alice.execute("BEGIN; SELECT 1")
        waiting_for(lambda: since(newest, "state_change", pid_of(alice)))
        look = looking._look

        def then_a_new_one(*arguments: Any) -> Any:
            found = look(*arguments)
            alice.execute("COMMIT; BEGIN; SELECT 1")
            return found

        monkeypatch.setattr(looking, "_look", then_a_new_one)
        assert cuts(engine, newest, IDLES) == {}
        assert not is_over(alice)


def test_sessions_when_the_connection_is_lost_after_a_cut(
    engine: PostgresEngine, newest: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    login = a_login(engine, newest)
    with client(newest, login) as alice, client(newest, login) as bob:
        for session in (alice, bob):
            session.execute("BEGIN; SELECT 1")
        waiting_for(lambda: since(newest, "state_change", pid_of(bob)))
        end, calls = looking._end, []

        def once(*arguments: Any) -> bool:
            if calls:
                raise psycopg.OperationalError("lost")
            calls.append(1)
            return end(*arguments)

        monkeypatch.setattr(looking, "_end", once)
        assert len(cuts(engine, newest, IDLES)[login]) == 1
        assert is_over(alice) != is_over(bob)


def test_sessions_when_the_manager_may_not_end_one(engine: PostgresEngine, newest: Shop) -> None:
    """Somebody took the right away: the look tells what it sees and goes on."""
    taken, left = a_login(engine, newest), a_login(engine, newest, person="bob")
    maker = sql.Identifier(names.maker_name(taken)).as_string(None)
    with client(newest, taken) as alice, client(newest, left) as bob:
        for session in (alice, bob):
            session.execute(f"SELECT pg_advisory_lock({pid_of(session)})")
        newest.run(f"GRANT {taken} TO {maker} WITH INHERIT FALSE GRANTED BY {maker}")
        with (
            stuck(newest, f"SELECT pg_advisory_lock({pid_of(alice)})"),
            stuck(newest, f"SELECT pg_advisory_lock({pid_of(bob)})"),
        ):
            uses = {use.login: use for use in engine.sessions(newest.target, BLOCKS)}
        assert (uses[taken].live, uses[taken].cut) == (1, ())
        assert len(uses[left].cut) == 1


@pytest.mark.parametrize(
    ("limits", "why"), [(BLOCKS, CutWhy.BLOCKED), (IDLES, CutWhy.IDLED), (HOLDS, CutWhy.HELD_BACK)]
)
def test_sessions_when_a_prepared_transaction_is_in_the_way(
    engine: PostgresEngine, two_phase: Shop, limits: SessionLimits, why: CutWhy
) -> None:
    login = a_login(engine, two_phase, Level.CHANGE)
    with client(two_phase, login) as alice:
        alice.execute("BEGIN; DELETE FROM orders WHERE id = 1")
        alice.execute("PREPARE TRANSACTION 'a gid with ''quotes'''")
    two_phase.run("BEGIN; SELECT pg_advisory_xact_lock(7); PREPARE TRANSACTION 'not ours'")
    with stuck(two_phase, "DELETE FROM sales.orders WHERE id = 1") as application:
        assert cuts(engine, two_phase, SessionLimits(blocks=3600, idles=3600, holds_back=3600)) == {}
        ((cut,),) = cuts(engine, two_phase, limits).values()
        assert goes_on(application)
    assert (cut.pid, cut.why) == (0, why)
    assert two_phase.value("SELECT array_agg(gid) FROM pg_prepared_xacts") == ["not ours"]
    two_phase.run("ROLLBACK PREPARED 'not ours'")
    may = "SELECT bool_or(set_option) FROM pg_auth_members WHERE roleid = %s::regrole AND member <> 10"
    assert two_phase.value(may, [login]) is False


def started(shop: Shop, session: Session) -> Any:
    return shop.value("SELECT backend_start FROM pg_stat_activity WHERE pid = %s", [pid_of(session)])


def test_sessions_when_two_looks_are_made(engine: PostgresEngine, newest: Shop) -> None:
    """A session is told by its pid and its beginning, so that it can be known again."""
    login = a_login(engine, newest)
    with client(newest, login) as alice:
        alice.execute("BEGIN; SELECT 1")
        pid, start = pid_of(alice), started(newest, alice)
        waiting_for(lambda: since(newest, "state_change", pid))
        (cut,) = cuts(engine, newest, IDLES)[login]
        assert (cut.pid, cut.started_at) == (pid, start)
        assert is_over(alice)
    assert cuts(engine, newest, IDLES) == {}
