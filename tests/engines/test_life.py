"""The whole life of a login, seen by a client that uses it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from apps.engines.base import Level, Refused, SessionLimits, SessionUse, TableName
from apps.engines.postgresql import PostgresEngine, names, scram
from tests.engines.conftest import CUSTOMERS, EMAIL, ODD_NAMES, ORDERS, PASSWORD, SALARIES, Shop, a_spec

INSUFFICIENT_PRIVILEGE = psycopg.errors.InsufficientPrivilege


def rows(session: psycopg.Connection[Any], query: str) -> list[tuple[Any, ...]]:
    return session.execute(query).fetchall()


def test_open_login_when_two_tables_are_asked_for(engine: PostgresEngine, shop: Shop) -> None:
    spec = a_spec(shop, ORDERS, SALARIES)
    engine.open_login(shop.target, spec)
    with shop.login(PASSWORD, spec.login) as alice:
        assert rows(alice, "SELECT total FROM orders ORDER BY id") == [(10,), (20,)]
        assert rows(alice, "SELECT salary FROM salaries") == [(5000,)]
        for statement in (
            "SELECT * FROM sales.customers",
            "INSERT INTO sales.orders (customer, total) VALUES (1, 1)",
            "UPDATE sales.orders SET total = 0",
            "DELETE FROM hr.salaries",
            "TRUNCATE sales.orders",
            "CREATE TABLE sales.mine ()",
            "CREATE TEMPORARY TABLE mine ()",
            "CREATE SCHEMA mine",
            "CREATE ROLE mine",
            "SET ROLE jitportal",
            "SET ROLE jitportal_masker",
            "SELECT pg_read_file('/etc/passwd')",
            "COPY sales.orders TO PROGRAM 'true'",
        ):
            with pytest.raises(INSUFFICIENT_PRIVILEGE):
                alice.execute(statement)


def test_open_login_when_there_are_other_databases(engine: PostgresEngine, shop: Shop) -> None:
    other = shop.server.create_database()
    shop.bootstrap(other)
    spec = a_spec(shop, ORDERS)
    engine.open_login(shop.target, spec)
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        shop.login(PASSWORD, spec.login, other)
    shop.server.drop_database(other)


def test_open_login_when_it_may_change(engine: PostgresEngine, shop: Shop) -> None:
    spec = a_spec(shop, ORDERS, level=Level.CHANGE)
    engine.open_login(shop.target, spec)
    with shop.login(PASSWORD, spec.login) as alice:
        assert rows(alice, "INSERT INTO orders (customer, total) VALUES (1, 30) RETURNING id") == [(3,)]
        assert alice.execute("UPDATE orders SET total = 31 WHERE id = 3").rowcount == 1
        assert alice.execute("DELETE FROM orders WHERE id = 3").rowcount == 1
        with pytest.raises(INSUFFICIENT_PRIVILEGE):
            alice.execute("TRUNCATE orders")


def test_open_login_when_it_ends_by_itself(engine: PostgresEngine, shop: Shop) -> None:
    spec = a_spec(shop, ORDERS, seconds=1)
    opened = engine.open_login(shop.target, spec)
    assert opened.valid_until - opened.opened_at == timedelta(seconds=1)
    in_force = shop.value("SELECT rolvaliduntil FROM pg_roles WHERE rolname = %s", [spec.login])
    assert in_force == opened.valid_until
    shop.value("SELECT pg_sleep(extract(epoch FROM %s::timestamptz - clock_timestamp()))", [opened.valid_until])
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        shop.login(PASSWORD, spec.login)


def test_open_login_when_it_comes_to_the_times(engine: PostgresEngine, shop: Shop) -> None:
    before = engine.now(shop.target)
    opened = engine.open_login(shop.target, a_spec(shop, ORDERS))
    after = engine.now(shop.target)
    assert before <= opened.evidence.checked_at <= opened.opened_at <= after


def test_open_login_when_called_twice(engine: PostgresEngine, shop: Shop) -> None:
    spec = a_spec(shop, ORDERS)
    first = engine.open_login(shop.target, spec)
    second = engine.open_login(shop.target, spec)
    assert (second.opened_at, second.valid_until, second.scope_role) == (
        first.opened_at,
        first.valid_until,
        first.scope_role,
    )
    assert second.evidence.reach == first.evidence.reach
    shop.login(PASSWORD, spec.login).close()


def test_open_login_when_an_earlier_try_made_it_half(
    engine: PostgresEngine, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = a_spec(shop, ORDERS)
    with monkeypatch.context() as patch:
        patch.setattr("apps.engines.postgresql.logins._unlock", _lose_the_connection)
        with pytest.raises(ConnectionError):
            engine.open_login(shop.target, spec)
    with pytest.raises(psycopg.OperationalError):
        shop.login(PASSWORD, spec.login)
    assert engine.open_login(shop.target, spec).valid_until
    shop.login(PASSWORD, spec.login).close()


def _lose_the_connection(*_: object) -> None:
    raise ConnectionError


def test_open_login_when_the_login_has_ended(engine: PostgresEngine, shop: Shop) -> None:
    spec = a_spec(shop, ORDERS)
    engine.open_login(shop.target, spec)
    shop.run(f"ALTER ROLE {spec.login} NOLOGIN PASSWORD NULL VALID UNTIL '-infinity'")
    with pytest.raises(Refused, match="has ended"):
        engine.open_login(shop.target, spec)
    assert not shop.value("SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", [spec.login])


def test_open_login_when_the_name_is_another_requests(engine: PostgresEngine, shop: Shop) -> None:
    spec = a_spec(shop, ORDERS)
    opened = engine.open_login(shop.target, spec)
    with pytest.raises(Refused, match="not this request's"):
        engine.open_login(shop.target, replace(spec, reference="request-2", seconds=9000))
    assert engine.open_login(shop.target, spec).valid_until == opened.valid_until


def test_open_login_when_people_share_a_scope(engine: PostgresEngine, shop: Shop) -> None:
    opened = [engine.open_login(shop.target, a_spec(shop, ORDERS, person=person)) for person in ("alice", "bob")]
    assert len({one.scope_role for one in opened}) == 1
    export = engine.open_login(shop.target, a_spec(shop, ORDERS, level=Level.EXPORT))
    assert export.scope_role == opened[0].scope_role
    change = engine.open_login(shop.target, a_spec(shop, ORDERS, level=Level.CHANGE))
    assert change.scope_role != opened[0].scope_role


def test_open_login_when_it_is_the_evidence_that_counts(engine: PostgresEngine, shop: Shop) -> None:
    opened = engine.open_login(shop.target, a_spec(shop, ORDERS, classified=EMAIL))
    held = {(reach.object, reach.privileges, reach.via) for reach in opened.evidence.reach if reach.via != "PUBLIC"}
    assert held == {
        (f"database {shop.database}", ("CONNECT",), opened.scope_role),
        ("schema sales", ("USAGE",), opened.scope_role),
        ("table sales.orders", ("SELECT",), opened.scope_role),
        (f"role {opened.scope_role}", ("MEMBER",), "membership"),
    }


@pytest.mark.parametrize("odd", ODD_NAMES)
def test_open_login_when_names_are_odd(engine: PostgresEngine, newest: Shop, odd: str) -> None:
    with newest.server.admin(newest.database) as admin:
        for statement in (
            "CREATE SCHEMA {}",
            "CREATE TABLE {}.{} (id serial, {} text)",
            "INSERT INTO {}.{} VALUES (1, 'found')",
        ):
            wanted = statement.count("{}")
            admin.execute(sql.SQL(statement).format(*[sql.Identifier(odd)] * wanted))
    newest.bootstrap()
    table = TableName(odd, odd)
    spec = a_spec(newest, table, level=Level.CHANGE, classified=frozenset({(CUSTOMERS, odd)}))
    opened = engine.open_login(newest.target, spec)
    assert f"table {names.quoted(table)}" in [reach.object for reach in opened.evidence.reach]
    with newest.login(PASSWORD, spec.login) as alice:
        qualified = sql.SQL("SELECT * FROM {}").format(sql.Identifier(odd, odd))
        assert alice.execute(qualified).fetchall() == [(1, "found")]
        assert alice.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(odd))).fetchall() == [(1, "found")]
    (closed,) = engine.close_logins(newest.target, [spec.login])
    assert closed.dropped
    assert engine.drop_scopes(newest.target, [(opened.scope_role, newest.database)]) == [opened.scope_role]
    assert newest.value("SELECT count(*) FROM sales.orders") == 2


@pytest.mark.parametrize("odd", ODD_NAMES)
def test_open_login_when_the_database_has_an_odd_name(engine: PostgresEngine, newest: Shop, odd: str) -> None:
    newest.server.create_database(odd)
    newest.run("CREATE TABLE public.t AS SELECT 1 AS one", database=odd)
    newest.bootstrap(odd)
    here = replace(newest, database=odd)
    spec = a_spec(here, TableName("public", "t"))
    opened = engine.open_login(newest.target, spec)
    with here.login(PASSWORD, spec.login) as alice:
        assert rows(alice, "SELECT * FROM t") == [(1,)]
    assert [table.table.name for table in engine.read_tables(newest.target, odd)] == ["t"]
    engine.close_logins(newest.target, [spec.login])
    assert engine.drop_scopes(newest.target, [(opened.scope_role, odd)]) == [opened.scope_role]
    newest.server.drop_database(odd)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"login": "postgres"}, "not the name of a login"),
        ({"login": "jit_alice_k3v5x2m7qa; DROP ROLE x"}, "not the name of a login"),
        ({"verifier": "SCRAM-SHA-256$4096:short"}, "malformed"),
        ({"verifier": "plaintext"}, "malformed"),
        ({"seconds": 0}, "between a second and a year"),
        ({"seconds": 10**9}, "between a second and a year"),
        ({"reference": "x' y"}, "request's id"),
    ],
)
def test_open_login_when_it_cannot_be_meant(
    engine: PostgresEngine, newest: Shop, change: dict[str, Any], sentence: str
) -> None:
    spec = a_spec(newest, ORDERS)
    with pytest.raises(Refused, match=sentence):
        engine.open_login(newest.target, replace(spec, **change))
    assert not newest.role_is_there(spec.login)


def test_open_login_when_the_login_changes_its_own_settings(engine: PostgresEngine, shop: Shop) -> None:
    spec = a_spec(shop, ORDERS)
    opened = engine.open_login(shop.target, spec)
    with shop.login(PASSWORD, spec.login) as alice:
        alice.execute("ALTER ROLE CURRENT_USER PASSWORD 'x'")
        for statement in ("VALID UNTIL 'infinity'", "CONNECTION LIMIT -1", "CREATEROLE", "LOGIN"):
            with pytest.raises(INSUFFICIENT_PRIVILEGE):
                alice.execute(f"ALTER ROLE CURRENT_USER {statement}")
    engine.close_logins(shop.target, [spec.login])
    with pytest.raises(psycopg.OperationalError):
        shop.login("x", spec.login)
    assert engine.drop_scopes(shop.target, [(opened.scope_role, shop.database)]) == [opened.scope_role]


def test_sessions_when_some_are_open(engine: PostgresEngine, shop: Shop) -> None:
    busy, idle = a_spec(shop, ORDERS), a_spec(shop, ORDERS)
    for spec in (busy, idle):
        engine.open_login(shop.target, spec)
    assert engine.sessions(shop.target, SessionLimits()) == []
    with shop.login(PASSWORD, busy.login) as first, shop.login(PASSWORD, busy.login):
        started = rows(first, "SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()")[0][0]
        assert engine.sessions(shop.target, SessionLimits()) == [SessionUse(busy.login, 2, started)]


def test_now_when_asked(engine: PostgresEngine, shop: Shop) -> None:
    before = shop.value("SELECT clock_timestamp()")
    assert before <= engine.now(shop.target) <= shop.value("SELECT clock_timestamp()")


def test_open_login_when_the_password_is_logged(engine: PostgresEngine, newest: Shop) -> None:
    newest.run("ALTER ROLE jitportal SET log_statement = 'all'")
    password = scram.new_password()
    spec = replace(a_spec(newest, ORDERS), verifier=scram.verifier(password))
    engine.open_login(newest.target, spec)
    newest.login(password, spec.login).close()
    newest.run("ALTER ROLE jitportal RESET log_statement")
    log = newest.server.cluster.log.read_text()
    assert spec.login in log
    assert password not in log
    assert newest.target.password not in log


def test_login_name_when_people_are_called_anything() -> None:
    for person, expected in (
        ("alice", "jit_alice_k3v5x2m7qa"),
        ("Zoë O'Brien", "jit_zoeobrien_k3v5x2m7qa"),
        ("田中", "jit_user_k3v5x2m7qa"),
        ("!!!", "jit_user_k3v5x2m7qa"),
        ("x" * 60, f"jit_{'x' * 24}_k3v5x2m7qa"),
        ('a"; DROP ROLE', "jit_adroprole_k3v5x2m7qa"),
    ):
        assert names.login_name(person, "k3v5x2m7qa") == expected
