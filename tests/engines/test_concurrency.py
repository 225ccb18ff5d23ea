"""Many workers on one server, on real connections."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg

from apps.engines.base import Level, Opened, TableName
from apps.engines.postgresql import PostgresEngine, names
from tests.engines.conftest import CUSTOMERS, ORDERS, PASSWORD, SALARIES, Shop, a_spec
from tests.engines.viewing import MASKS, NOTES, a_view_spec, make_crm, viewed
from tests.engines.viewing import PEOPLE as PEOPLE_TABLE

PEOPLE = ("alice", "bob", "carol", "dana", "sam", "audrey", "alice", "bob")


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    with ThreadPoolExecutor(len(acts)) as pool:
        return [future.result() for future in [pool.submit(act) for act in acts]]


def test_open_login_when_eight_share_a_new_scope(engine: PostgresEngine, shop: Shop) -> None:
    specs = [a_spec(shop, ORDERS, SALARIES, level=Level.CHANGE, person=person) for person in PEOPLE]
    opened = at_once(*[lambda spec=spec: engine.open_login(shop.target, spec) for spec in specs])
    assert len({one.scope_role for one in opened}) == 1
    for spec in specs:
        with shop.login(PASSWORD, spec.login) as session:
            assert session.execute("SELECT count(*) FROM orders").fetchall() == [(2,)]
    closed = at_once(*[lambda spec=spec: engine.close_logins(shop.target, [spec.login]) for spec in specs])
    assert all(one.dropped for (one,) in closed)


def test_open_login_when_eight_scopes_overlap(engine: PostgresEngine, shop: Shop) -> None:
    shop.run(*[f"CREATE TABLE sales.t{number} ()" for number in range(8)])
    shop.bootstrap()
    extra = [TableName("sales", f"t{number}") for number in range(8)]
    specs = [a_spec(shop, ORDERS, CUSTOMERS, SALARIES, one, level=Level.CHANGE) for one in extra]
    opened = at_once(*[lambda spec=spec: engine.open_login(shop.target, spec) for spec in specs])
    assert len({one.scope_role for one in opened}) == 8
    at_once(*[lambda spec=spec: engine.close_logins(shop.target, [spec.login]) for spec in specs])
    pairs = [(one.scope_role, shop.database) for one in opened]
    gone = at_once(*[lambda pair=pair: engine.drop_scopes(shop.target, [pair]) for pair in pairs])
    assert sorted(role for (role,) in gone) == sorted(role for role, _ in pairs)


def test_open_login_when_a_task_was_doubled(engine: PostgresEngine, shop: Shop) -> None:
    spec = a_spec(shop, ORDERS)
    opened: list[Opened] = at_once(*[lambda: engine.open_login(shop.target, spec)] * 4)
    assert len({(one.opened_at, one.valid_until) for one in opened}) == 1
    shop.login(PASSWORD, spec.login).close()


def test_drop_scopes_when_a_login_is_just_being_made(engine: PostgresEngine, shop: Shop) -> None:
    """Whichever comes first: the login works in the end, and no membership is left without its role (R15)."""
    role = names.scope_role_name(a_spec(shop, ORDERS).scope)
    for _ in range(5):
        spec = a_spec(shop, ORDERS)
        at_once(
            lambda spec=spec: engine.open_login(shop.target, spec),
            lambda: engine.drop_scopes(shop.target, [(role, shop.database)]),
        )
        with shop.login(PASSWORD, spec.login) as alice:
            assert alice.execute("SELECT count(*) FROM orders").fetchall() == [(2,)]
        at_once(
            lambda spec=spec: engine.close_logins(shop.target, [spec.login]),
            lambda: engine.drop_scopes(shop.target, [(role, shop.database)]),
        )
    orphans = "SELECT count(*) FROM pg_auth_members WHERE roleid NOT IN (SELECT oid FROM pg_roles)"
    assert shop.value(orphans) == 0


def test_open_login_when_a_login_holds_what_locks_it_can(engine: PostgresEngine, shop: Shop) -> None:
    """No lock of ours is one that a login could hold (field notes S10)."""
    mallory = a_spec(shop, ORDERS, level=Level.CHANGE, person="mallory")
    opened = engine.open_login(shop.target, mallory)
    with shop.login(PASSWORD, mallory.login) as session:
        session.execute("BEGIN; LOCK TABLE sales.orders IN EXCLUSIVE MODE; SELECT * FROM orders FOR UPDATE")
        session.execute("SELECT pg_advisory_lock(key) FROM generate_series(0, 99) key")
        engine.open_login(shop.target, a_spec(shop, ORDERS, SALARIES))
        session.execute("LOCK TABLE sales.orders")  # from 18 on GRANT waits for such a one, as every reader does
        assert [table.table for table in engine.read_tables(shop.target, shop.database)]
        assert "error" not in [finding.severity for finding in engine.preflight(shop.target, [shop.database])]
        with shop.login(PASSWORD, mallory.login) as other:
            for role in (names.LOCK, opened.scope_role, mallory.login):
                try:
                    other.execute(f"COMMENT ON ROLE {role} IS 'mine'")
                except psycopg.errors.InsufficientPrivilege:
                    continue
                raise AssertionError(role)


def test_open_login_when_eight_share_new_views(engine: PostgresEngine, shop: Shop) -> None:
    make_crm(shop)
    masked, notes = viewed(shop, PEOPLE_TABLE, MASKS), viewed(shop, NOTES)
    specs = [a_view_spec(shop, masked, notes, level=Level.CHANGE) for _ in PEOPLE]
    opened = at_once(*[lambda spec=spec: engine.open_login(shop.target, spec) for spec in specs])
    (role,) = {one.scope_role for one in opened}
    for spec in specs:
        with shop.login(PASSWORD, spec.login) as session:
            assert session.execute("SELECT ssn FROM people WHERE id = 1").fetchall() == [("***",)]
    at_once(*[lambda spec=spec: engine.close_logins(shop.target, [spec.login]) for spec in specs])
    gone = at_once(*[lambda: engine.drop_scopes(shop.target, [(role, shop.database)])] * 3)
    assert gone == [[role]] * 3
    assert shop.value("SELECT count(*) FROM pg_namespace WHERE nspowner = 'jitportal_masker'::regrole") == 0


def test_drop_scopes_when_its_views_are_just_wanted_again(engine: PostgresEngine, shop: Shop) -> None:
    make_crm(shop)
    masked = viewed(shop, PEOPLE_TABLE, MASKS)
    for _ in range(3):
        last, fresh = a_view_spec(shop, masked), a_view_spec(shop, masked)
        role = engine.open_login(shop.target, last).scope_role
        engine.close_logins(shop.target, [last.login])
        at_once(
            lambda role=role: engine.drop_scopes(shop.target, [(role, shop.database)]),
            lambda fresh=fresh: engine.open_login(shop.target, fresh),
        )
        with shop.login(PASSWORD, fresh.login) as session:
            assert session.execute("SELECT count(*) FROM people").fetchall() == [(2,)]
        engine.close_logins(shop.target, [fresh.login])
