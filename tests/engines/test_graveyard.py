"""What an ended login owned and others need is kept, by a role that has no right and that nobody can become."""

import psycopg
import pytest

from apps.engines.base import Closed, LeftObject, LoginSpec
from apps.engines.postgresql import PostgresEngine, names
from tests.engines.conftest import ORDERS, PASSWORD, Shop, a_spec


def opened(engine: PostgresEngine, shop: Shop, person: str = "alice") -> LoginSpec:
    """A login that may make things in the schema hr."""
    shop.run("GRANT CREATE, USAGE ON SCHEMA hr TO PUBLIC")
    spec = a_spec(shop, ORDERS, person=person)
    engine.open_login(shop.target, spec)
    return spec


def left_by(engine: PostgresEngine, shop: Shop, spec: LoginSpec) -> Closed:
    (closed,) = engine.close_logins(shop.target, [spec.login])
    assert (closed.dropped, closed.leftover) == (True, "")
    assert not shop.role_is_there(spec.login)
    return closed


def owner(shop: Shop, relation: str) -> str:
    return str(shop.value("SELECT relowner::regrole::text FROM pg_class WHERE oid = %s::regclass", [relation]))


def test_what_others_need_is_buried_and_the_rest_is_dropped(engine: PostgresEngine, shop: Shop) -> None:
    spec = opened(engine, shop)
    with shop.login(PASSWORD, spec.login) as alice:
        alice.execute("CREATE TABLE hr.mine AS SELECT 1 AS one; CREATE TABLE hr.nobodys (); SELECT lo_create(0)")
        alice.execute("CREATE FUNCTION hr.unused() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    shop.run("CREATE VIEW hr.theirs AS SELECT * FROM hr.mine")
    closed = left_by(engine, shop, spec)
    grave = names.graveyard_name(spec.login)
    assert closed.left == (LeftObject(shop.database, "table hr.mine"),)
    assert owner(shop, "hr.mine") == grave
    assert shop.value("SELECT count(*) FROM hr.theirs") == 1
    assert shop.value("SELECT to_regclass('hr.nobodys')") is None
    assert shop.value("SELECT to_regproc('hr.unused')") is None
    assert shop.value("SELECT count(*) FROM pg_largeobject_metadata") == 0
    assert shop.value("SELECT rolcanlogin OR rolcreaterole FROM pg_roles WHERE rolname = %s", [grave]) is False
    memberships = "SELECT count(*) FROM pg_auth_members WHERE member = %s::text::regrole"
    assert shop.value(memberships, [grave]) == 0
    assert names.is_ours(
        shop.target.portal_id, shop.value("SELECT shobj_description(%s::text::regrole, 'pg_authid')", [grave])
    )


def test_a_graveyard_is_told_again_when_the_answer_was_lost_and_goes_when_it_is_empty(
    engine: PostgresEngine, shop: Shop
) -> None:
    spec = opened(engine, shop)
    with shop.login(PASSWORD, spec.login) as alice:
        alice.execute("CREATE TABLE hr.mine AS SELECT 1 AS one")
    shop.run("CREATE VIEW hr.theirs AS SELECT * FROM hr.mine")
    first = left_by(engine, shop, spec)
    assert left_by(engine, shop, spec).left == first.left
    shop.run("DROP VIEW hr.theirs; DROP TABLE hr.mine")
    assert left_by(engine, shop, spec).left == ()
    assert not shop.role_is_there(names.graveyard_name(spec.login))


def test_what_two_logins_left_cannot_reach_each_other(engine: PostgresEngine, shop: Shop) -> None:
    """A function that runs as its owner must not read what another login has left behind."""
    alice, mallory = opened(engine, shop), opened(engine, shop, "mallory")
    with shop.login(PASSWORD, mallory.login) as client:
        client.execute("SET check_function_bodies = off")
        body = "SELECT secret FROM hr.copied"
        client.execute(f"CREATE FUNCTION hr.peek() RETURNS text LANGUAGE sql SECURITY DEFINER AS '{body}'")
    shop.run("CREATE VIEW hr.peeking AS SELECT hr.peek() AS peeked")
    with shop.login(PASSWORD, alice.login) as client:
        client.execute("CREATE TABLE hr.copied AS SELECT 'raw'::text AS secret")
    shop.run("CREATE VIEW hr.theirs AS SELECT * FROM hr.copied")
    assert left_by(engine, shop, alice).left == (LeftObject(shop.database, "table hr.copied"),)
    assert left_by(engine, shop, mallory).left == (LeftObject(shop.database, "function hr.peek()"),)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        shop.value("SELECT peeked FROM hr.peeking")


def test_a_trigger_function_runs_with_no_more_rights_when_its_maker_is_gone(engine: PostgresEngine, shop: Shop) -> None:
    spec = opened(engine, shop)
    shop.run("CREATE TABLE hr.seen (salary int); GRANT INSERT ON hr.seen TO PUBLIC; CREATE TABLE hr.watched (id int)")
    with shop.login(PASSWORD, spec.login) as alice:
        body = "BEGIN INSERT INTO hr.seen SELECT salary FROM hr.salaries; RETURN NEW; END"
        alice.execute(f"CREATE FUNCTION hr.spy() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS '{body}'")
    shop.run("CREATE TRIGGER spy BEFORE INSERT ON hr.watched FOR EACH ROW EXECUTE FUNCTION hr.spy()")
    assert left_by(engine, shop, spec).left == (LeftObject(shop.database, "function hr.spy()"),)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        shop.run("INSERT INTO hr.watched VALUES (1)")
    assert shop.value("SELECT count(*) FROM hr.seen") == 0


def test_a_graveyard_that_is_somebody_elses_is_left_alone(engine: PostgresEngine, newest: Shop) -> None:
    spec = opened(engine, newest)
    newest.run(f"CREATE ROLE {names.graveyard_name(spec.login)} SUPERUSER")
    with newest.login(PASSWORD, spec.login) as alice:
        alice.execute("CREATE TABLE hr.mine AS SELECT 1 AS one")
    newest.run("CREATE VIEW hr.theirs AS SELECT * FROM hr.mine")
    (closed,) = engine.close_logins(newest.target, [spec.login])
    assert not closed.dropped
    assert "is not this portal's" in closed.leftover
    assert owner(newest, "hr.mine") == spec.login
    newest.run("DROP VIEW hr.theirs", f"DROP ROLE {names.graveyard_name(spec.login)}")
    assert engine.close_logins(newest.target, [spec.login])[0].dropped
