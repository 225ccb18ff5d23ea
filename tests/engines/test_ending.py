"""Taking a login away: at once, for good, whatever it has done, and believed only when read back."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
import pytest

from apps.core.ids import new_id
from apps.engines.base import Closed, Level, LoginSpec, Refused, SessionLimits
from apps.engines.postgresql import PostgresEngine, connect, names
from tests.engines.conftest import ORDERS, PASSWORD, SALARIES, Shop, a_spec


def opened(engine: PostgresEngine, shop: Shop, level: Level = Level.QUERY, *, person: str = "alice") -> LoginSpec:
    spec = a_spec(shop, ORDERS, level=level, person=person)
    engine.open_login(shop.target, spec)
    return spec


def close(engine: PostgresEngine, shop: Shop, *specs: LoginSpec) -> list[Closed]:
    return engine.close_logins(shop.target, [spec.login for spec in specs])


def sessions_of(shop: Shop, oid: int) -> int:
    return int(shop.value("SELECT count(*) FROM pg_stat_activity WHERE usesysid = %s", [oid]))


def oid_of(shop: Shop, login: str) -> int:
    return int(shop.value("SELECT oid FROM pg_roles WHERE rolname = %s", [login]))


def test_close_logins_when_a_session_is_open(engine: PostgresEngine, shop: Shop) -> None:
    spec = opened(engine, shop)
    with shop.login(PASSWORD, spec.login) as alice:
        alice.execute("BEGIN; DECLARE slow CURSOR FOR SELECT * FROM orders; FETCH slow")
        before = engine.now(shop.target)
        (closed,) = close(engine, shop, spec)
        after = engine.now(shop.target)
        with pytest.raises(psycopg.OperationalError):
            alice.execute("FETCH slow")
    assert (closed.login, closed.sessions_ended, closed.dropped, closed.leftover) == (spec.login, 1, True, "")
    assert before <= closed.locked_at <= closed.clean_at <= after
    assert not shop.role_is_there(spec.login)
    with pytest.raises(psycopg.OperationalError):
        shop.login(PASSWORD, spec.login)


def test_close_logins_when_called_twice(engine: PostgresEngine, shop: Shop) -> None:
    spec = opened(engine, shop)
    close(engine, shop, spec)
    (again,) = close(engine, shop, spec)
    assert (again.dropped, again.sessions_ended) == (True, 0)


def test_close_logins_when_there_are_many(engine: PostgresEngine, shop: Shop) -> None:
    specs = [opened(engine, shop, person=person) for person in ("alice", "bob", "carol", "dana")]
    never = a_spec(shop, ORDERS)
    sessions = [shop.login(PASSWORD, spec.login) for spec in specs for _ in range(3)]
    closed = {one.login: one for one in close(engine, shop, *specs, never)}
    for session in sessions:
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
        session.close()
    assert set(closed) == {spec.login for spec in [*specs, never]}
    assert all(one.dropped for one in closed.values())
    assert [closed[spec.login].sessions_ended for spec in specs] == [3, 3, 3, 3]


def test_close_logins_when_none_are_given(engine: PostgresEngine, newest: Shop) -> None:
    assert engine.close_logins(newest.target, []) == []


@contextmanager
def storm(shop: Shop, login: str, *, threads: int = 8) -> Iterator[list[psycopg.Connection[Any]]]:
    """Clients that sign in over and over and keep what they get."""
    stop, first = threading.Event(), threading.Event()
    kept: list[psycopg.Connection[Any]] = []

    def sign_in() -> None:
        while not stop.is_set():
            with suppress(psycopg.OperationalError):  # refused is what we hope for
                kept.append(shop.login(PASSWORD, login))
            first.set()

    workers = [threading.Thread(target=sign_in) for _ in range(threads)]
    for worker in workers:
        worker.start()
    first.wait(timeout=30)
    try:
        yield kept
    finally:
        stop.set()
        for worker in workers:
            worker.join(timeout=30)
        for session in kept:
            session.close()


def test_close_logins_when_clients_keep_signing_in(engine: PostgresEngine, shop: Shop) -> None:
    for _ in range(3):
        spec = opened(engine, shop)
        oid = oid_of(shop, spec.login)
        with storm(shop, spec.login) as kept:
            (closed,) = close(engine, shop, spec)
            assert closed.dropped
            assert sessions_of(shop, oid) == 0
            for session in list(kept):
                with pytest.raises(psycopg.OperationalError):
                    session.execute("SELECT 1")


def test_close_logins_when_the_login_left_things_everywhere(engine: PostgresEngine, shop: Shop) -> None:
    elsewhere = shop.server.create_database()
    shop.run("GRANT CREATE, USAGE ON SCHEMA hr TO PUBLIC", f"GRANT TEMPORARY ON DATABASE {shop.database} TO PUBLIC")
    shop.run("CREATE SCHEMA open; GRANT ALL ON SCHEMA open TO PUBLIC", database=elsewhere)
    spec = opened(engine, shop)
    with shop.login(PASSWORD, spec.login) as alice, shop.login(PASSWORD, spec.login, elsewhere) as other:
        alice.execute("CREATE TEMPORARY TABLE t (); CREATE TABLE hr.mine AS SELECT 1; SELECT lo_create(0)")
        alice.execute("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC; GRANT SELECT ON hr.mine TO PUBLIC")
        other.execute("CREATE TABLE open.mine (); SELECT lo_create(0)")
        (closed,) = close(engine, shop, spec)
    assert (closed.dropped, closed.leftover, closed.sessions_ended) == (True, "", 2)
    assert shop.value("SELECT to_regclass('hr.mine')") is None
    assert shop.value("SELECT count(*) FROM pg_largeobject_metadata", database=elsewhere) == 0
    shop.server.drop_database(elsewhere)


def test_close_logins_when_a_dba_gave_it_rights_by_hand(engine: PostgresEngine, shop: Shop) -> None:
    spec = opened(engine, shop)
    shop.run(f"GRANT SELECT ON hr.salaries TO {spec.login}")
    (closed,) = close(engine, shop, spec)
    assert not closed.dropped
    assert "cannot be dropped" in closed.leftover
    with pytest.raises(psycopg.OperationalError):
        shop.login(PASSWORD, spec.login)
    shop.run(f"REVOKE SELECT ON hr.salaries FROM {spec.login}")
    assert close(engine, shop, spec)[0].dropped


def test_close_logins_when_a_transaction_was_prepared(engine: PostgresEngine, two_phase: Shop) -> None:
    spec = opened(engine, two_phase, Level.CHANGE)
    with two_phase.login(PASSWORD, spec.login) as alice:
        alice.execute("BEGIN")
        alice.execute("DELETE FROM orders")
        alice.execute("PREPARE TRANSACTION 'a gid with ''quotes'''")
    (closed,) = close(engine, two_phase, spec)
    assert closed.dropped
    assert two_phase.value("SELECT count(*) FROM pg_prepared_xacts") == 0
    assert two_phase.value("SELECT count(*) FROM sales.orders") == 2


@pytest.mark.parametrize("comment", ["'jitportal portal=another request=request-1'", "NULL"])
def test_close_logins_when_one_is_another_portals(engine: PostgresEngine, shop: Shop, comment: str) -> None:
    mine, theirs = opened(engine, shop), opened(engine, shop, person="bob")
    shop.run(f"COMMENT ON ROLE {theirs.login} IS {comment}")
    with shop.login(PASSWORD, theirs.login) as bob:
        assert [one.login for one in close(engine, shop, mine, theirs)] == [mine.login]
        with pytest.raises(Refused, match="not marked as this portal's"):
            close(engine, shop, theirs)
        assert bob.execute("SELECT count(*) FROM orders").fetchall() == [(2,)]
    assert shop.role_is_there(theirs.login)
    with pytest.raises(Refused, match="not this request's"):
        engine.open_login(shop.target, theirs)
    assert theirs.login not in [use.login for use in engine.sessions(shop.target, SessionLimits())]


def test_close_logins_when_a_dba_renamed_it(engine: PostgresEngine, shop: Shop) -> None:
    spec = opened(engine, shop)
    shop.run(f"ALTER ROLE {spec.login} RENAME TO harmless", f"ALTER ROLE harmless PASSWORD '{PASSWORD}'")
    with shop.login(PASSWORD, "harmless") as alice:
        (closed,) = close(engine, shop, spec)
        with pytest.raises(psycopg.OperationalError):
            alice.execute("SELECT 1")
    assert (closed.login, closed.sessions_ended, closed.dropped) == (spec.login, 1, True)
    assert not shop.role_is_there("harmless")


def test_close_logins_when_the_name_is_not_a_logins(engine: PostgresEngine, newest: Shop) -> None:
    for name in ("postgres", "jitportal", "jitportal_masker", 'x"; DROP ROLE jitportal; --', ""):
        with pytest.raises(Refused, match="not the name of a login"):
            engine.close_logins(newest.target, [name])


def test_close_logins_when_a_dropped_role_still_has_a_session(engine: PostgresEngine, shop: Shop) -> None:
    """DROP ROLE succeeds under an open session (field notes R6); whose it was cannot be told any more."""
    spec = opened(engine, shop)
    with shop.login(PASSWORD, spec.login) as alice:
        shop.run(f"DROP ROLE {spec.login}")
        with pytest.raises(Refused, match="session of a role that no longer exists"):
            close(engine, shop, spec)
        assert alice.execute("SELECT 1").fetchall() == [(1,)]
    assert close(engine, shop, spec)[0].dropped


def test_close_logins_when_a_dba_holds_the_role(
    engine: PostgresEngine, newest: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One login that cannot be locked holds up no other."""
    monkeypatch.setitem(connect._SETTINGS, "lock_timeout", "50ms")
    held, free = opened(engine, newest), opened(engine, newest, person="bob")
    with newest.server.admin() as dba, dba.transaction():
        dba.execute(f"ALTER ROLE {held.login} CONNECTION LIMIT 3")
        assert [one.login for one in close(engine, newest, held, free)] == [free.login]
    assert close(engine, newest, held)[0].dropped


def test_drop_scopes_when_members_remain(engine: PostgresEngine, shop: Shop) -> None:
    first, second = opened(engine, shop), opened(engine, shop, person="bob")
    pair = (names.scope_role_name(first.scope), shop.database)
    close(engine, shop, first)
    assert engine.drop_scopes(shop.target, [pair]) == []
    shop.login(PASSWORD, second.login).close()
    close(engine, shop, second)
    assert engine.drop_scopes(shop.target, [pair]) == [pair[0]]
    assert engine.drop_scopes(shop.target, [pair]) == [pair[0]]
    nobodys = "SELECT count(*) FROM pg_class, aclexplode(relacl) WHERE grantee NOT IN (SELECT oid FROM pg_roles)"
    assert shop.value(f"{nobodys} AND grantee > 0") == 0


def test_drop_scopes_when_others_gave_it_rights(engine: PostgresEngine, shop: Shop) -> None:
    spec = opened(engine, shop)
    role = names.scope_role_name(spec.scope)
    close(engine, shop, spec)
    shop.run(f"GRANT SELECT ON hr.salaries TO {role}")
    assert engine.drop_scopes(shop.target, [(role, shop.database)]) == []
    shop.run(f"REVOKE SELECT ON hr.salaries FROM {role}")
    assert engine.drop_scopes(shop.target, [(role, shop.database)]) == [role]


def test_drop_scopes_when_the_database_is_gone(engine: PostgresEngine, newest: Shop) -> None:
    spec = opened(engine, newest)
    role = names.scope_role_name(spec.scope)
    newest.server.drop_database(newest.database)
    assert close(engine, newest, spec)[0].dropped
    assert engine.drop_scopes(newest.target, [(role, newest.database)]) == [role]
    assert not newest.role_is_there(role)


def test_drop_scopes_when_it_is_another_portals(engine: PostgresEngine, newest: Shop) -> None:
    spec = opened(engine, newest)
    role = names.scope_role_name(spec.scope)
    close(engine, newest, spec)
    newest.run(f"COMMENT ON ROLE {role} IS 'jitportal portal=another scope'")
    assert engine.drop_scopes(newest.target, [(role, newest.database)]) == []
    assert newest.role_is_there(role)
    with pytest.raises(Refused, match="not the name of a scope role"):
        engine.drop_scopes(newest.target, [("jitportal_masker", newest.database)])


def test_drop_scopes_when_a_login_had_become_its_scope(engine: PostgresEngine, shop: Shop) -> None:
    """16+: it may not. Before, what it leaves behind in that name is told, and goes with the scope."""
    spec = opened(engine, shop)
    role = names.scope_role_name(spec.scope)
    with shop.login(PASSWORD, spec.login) as alice:
        if shop.server.version >= 16:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                alice.execute(f"SET ROLE {role}")
            return
        alice.execute(f"SET ROLE {role}; SELECT lo_create(0)")
    next_one = a_spec(shop, ORDERS)
    findings = " ".join(engine.open_login(shop.target, next_one).evidence.findings)
    assert "left 1 objects" in findings
    close(engine, shop, spec, next_one)
    assert engine.drop_scopes(shop.target, [(role, shop.database)]) == [role]


def test_close_logins_when_the_scope_holds_many_tables(engine: PostgresEngine, newest: Shop) -> None:
    """Ending does not touch tables: a lock that somebody holds on one is not in its way."""
    spec = a_spec(newest, ORDERS, SALARIES)
    engine.open_login(newest.target, spec)
    with newest.server.admin(newest.database) as dba, dba.transaction():
        dba.execute("LOCK TABLE sales.orders, hr.salaries")
        assert close(engine, newest, spec)[0].dropped


def test_close_logins_when_the_id_is_new(engine: PostgresEngine, newest: Shop) -> None:
    (closed,) = engine.close_logins(newest.target, [names.login_name("alice", new_id())])
    assert closed.dropped


def test_close_logins_when_the_login_holds_its_own_role(engine: PostgresEngine, shop: Shop) -> None:
    """Whoever changes their own password in a transaction left open would hold up NOLOGIN for as long as they like."""
    held, free = opened(engine, shop), opened(engine, shop, person="bob")
    with shop.login(PASSWORD, held.login) as mallory:
        mallory.execute("BEGIN; ALTER ROLE CURRENT_USER PASSWORD 'mine'")
        closed = {one.login: one for one in close(engine, shop, held, free)}
        with pytest.raises(psycopg.OperationalError):
            mallory.execute("COMMIT")
    assert closed[held.login].dropped
    assert closed[held.login].sessions_ended == 1
    assert closed[free.login].dropped


def test_close_logins_when_many_hold_the_role_in_turn(engine: PostgresEngine, shop: Shop) -> None:
    spec = opened(engine, shop)
    oid, stop = oid_of(shop, spec.login), threading.Event()

    def hold() -> None:
        while not stop.is_set():
            with suppress(psycopg.Error), shop.login(PASSWORD, spec.login) as mallory:
                mallory.execute(f"BEGIN; ALTER ROLE CURRENT_USER PASSWORD '{PASSWORD}'")
                mallory.execute("SELECT pg_sleep(60)")

    workers = [threading.Thread(target=hold) for _ in range(4)]
    for worker in workers:
        worker.start()
    try:
        (closed,) = close(engine, shop, spec)
        assert closed.dropped
        assert sessions_of(shop, oid) == 0
    finally:
        stop.set()
        for worker in workers:
            worker.join(timeout=30)


def test_close_logins_when_a_prepared_transaction_holds_the_role(engine: PostgresEngine, two_phase: Shop) -> None:
    spec = opened(engine, two_phase)
    with two_phase.login(PASSWORD, spec.login) as mallory:
        mallory.execute("BEGIN; ALTER ROLE CURRENT_USER PASSWORD 'mine'")
        mallory.execute("PREPARE TRANSACTION 'held'")
    assert close(engine, two_phase, spec)[0].dropped
