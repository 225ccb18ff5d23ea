"""What of a portal's is found on a server, and the word that it leaves there."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest
from psycopg import sql

from apps.core.ids import new_id
from apps.engines.base import FoundLogin, Refused, Survey, Target
from apps.engines.postgresql import PostgresEngine, names
from apps.engines.postgresql.connect import session
from apps.engines.postgresql.roles import make_lock, take_turn
from tests.engines.conftest import CUSTOMERS, ORDERS, PASSWORD, PORTAL, Shop, a_spec
from tests.engines.viewing import MASKS, PEOPLE, a_view_spec, make_crm, viewed
from tests.support.threads import waiting_for


@pytest.fixture(autouse=True)
def forgotten(shop: Shop) -> Iterator[None]:
    """The word is of the whole server, and other tests work there too."""
    yield
    shop.run(f"DROP ROLE IF EXISTS {names.MEMORY}", database="postgres")


def looked(engine: PostgresEngine, shop: Shop) -> Survey:
    """What is there, and only of this test's database."""
    found = engine.survey(shop.target)
    assert found.unseen == ()
    return found


def of(found: Survey, login: str) -> FoundLogin:
    (one,) = [one for one in found.logins or () if one.login == login]
    return one


def test_survey_when_logins_live(engine: PostgresEngine, shop: Shop) -> None:
    busy, idle = a_spec(shop, ORDERS), a_spec(shop, CUSTOMERS, reference="request-2")
    opened = {spec.login: engine.open_login(shop.target, spec) for spec in (busy, idle)}
    with shop.login(PASSWORD, busy.login), shop.login(PASSWORD, busy.login):
        found = looked(engine, shop)

    assert [one.login for one in found.logins] == sorted(opened)
    assert of(found, busy.login) == FoundLogin(
        login=busy.login,
        role=busy.login,
        comment=f"jitportal portal={PORTAL} login={busy.login} request=request-1",
        can_login=True,
        valid_until=opened[busy.login].valid_until,
        sessions=2,
    )
    assert of(found, idle.login).sessions == 0
    assert set(found.scope_roles) == {(one.scope_role, shop.database) for one in opened.values()}
    assert found.view_schemas == ()
    assert abs(found.checked_at - engine.now(shop.target)) < timedelta(minutes=1)


CHANGES = {
    "it is locked": "ALTER ROLE {} NOLOGIN",
    "it works for longer": "ALTER ROLE {} VALID UNTIL '2100-01-01'",
    "it has another name": "ALTER ROLE {} RENAME TO innocent",
    "it has another mark": "COMMENT ON ROLE {} IS 'mine'",
    "it is gone": "DROP OWNED BY {0}; DROP ROLE {0}",
}


@pytest.mark.parametrize("change", CHANGES)
def test_survey_tells_logins_again_when(engine: PostgresEngine, shop: Shop, change: str) -> None:
    spec = a_spec(shop, ORDERS)
    scope_role = engine.open_login(shop.target, spec).scope_role
    before = looked(engine, shop)
    with shop.login(PASSWORD, spec.login):  # sessions are no news
        again = engine.survey(shop.target, before.digest)
    assert (again.logins, again.digest) == (None, before.digest)
    assert [role for role, _ in again.scope_roles] == [scope_role]
    waiting_for(lambda: of(looked(engine, shop), spec.login).sessions == 0)  # a server takes its time to let go

    shop.run(*CHANGES[change].format(spec.login).split("; "))

    after = engine.survey(shop.target, before.digest)
    assert after.logins is not None
    assert after.digest != before.digest
    assert after.logins == looked(engine, shop).logins != before.logins
    if change == "it has another mark":  # so that nobody would find it
        shop.run(f"COMMENT ON ROLE {spec.login} IS 'jitportal portal={PORTAL} login={spec.login} request=request-1'")
    engine.close_logins(shop.target, [spec.login])


def test_survey_when_nothing_was_ever_made(engine: PostgresEngine, shop: Shop) -> None:
    found = looked(engine, shop)
    assert (found.logins, found.scope_roles, found.view_schemas, found.mark) == ((), (), (), "")


def test_survey_finds_a_login_by_its_comment_when_it_was_renamed(engine: PostgresEngine, shop: Shop) -> None:
    spec = a_spec(shop, ORDERS)
    engine.open_login(shop.target, spec)
    shop.run(f"ALTER ROLE {spec.login} RENAME TO innocent", "ALTER ROLE innocent NOLOGIN VALID UNTIL 'infinity'")

    one = of(looked(engine, shop), spec.login)

    assert (one.role, one.can_login, one.valid_until) == ("innocent", False, None)
    engine.close_logins(shop.target, [spec.login])
    assert looked(engine, shop).logins == ()


def test_survey_leaves_out_what_is_not_this_portals(engine: PostgresEngine, shop: Shop) -> None:
    other = names.login_name("alice", new_id())
    shop.run(
        f"CREATE ROLE {other} LOGIN",
        f"COMMENT ON ROLE {other} IS 'jitportal portal={PORTAL}2 login={other} request=r'",
        f"CREATE ROLE {names.login_name('bob', new_id())} LOGIN",
        "CREATE ROLE jitscope_0123456789abcdef0123456789abcdef",
        "CREATE SCHEMA jit_0123456789_sales",
    )
    found = looked(engine, shop)
    assert (found.logins, found.scope_roles, found.view_schemas) == ((), (), ())


def test_survey_tells_of_view_schemas_where_they_are(engine: PostgresEngine, shop: Shop) -> None:
    make_crm(shop)
    spec = a_view_spec(shop, viewed(shop, PEOPLE, MASKS), direct=[ORDERS])
    opened = engine.open_login(shop.target, spec)

    found = looked(engine, shop)

    (views,) = found.view_schemas
    assert views == (opened.scope_role, shop.database, names.view_schema_name(opened.scope_role, PEOPLE.schema))
    assert found.scope_roles == ((opened.scope_role, shop.database),)


def test_survey_says_so_when_a_database_cannot_be_looked_into(engine: PostgresEngine, shop: Shop) -> None:
    make_crm(shop)
    spec = a_view_spec(shop, viewed(shop, PEOPLE, MASKS))
    engine.open_login(shop.target, spec)
    database = sql.Identifier(shop.database).as_string(None)
    shop.run(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false", database="postgres")
    try:
        found = engine.survey(shop.target)
    finally:
        shop.run(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true", database="postgres")

    assert found.view_schemas == ()
    assert [shop.database in sentence for sentence in found.unseen] == [True]
    assert of(found, spec.login).can_login


def test_survey_finds_the_database_of_a_scope_when_it_was_renamed(engine: PostgresEngine, shop: Shop) -> None:
    spec = a_spec(shop, ORDERS)
    opened = engine.open_login(shop.target, spec)
    engine.close_logins(shop.target, [spec.login])
    before, after = (sql.Identifier(name).as_string(None) for name in (shop.database, f"{shop.database}_new"))
    shop.run(f"ALTER DATABASE {before} RENAME TO {after}", database="postgres")
    try:
        pairs = engine.survey(shop.target).scope_roles
        assert pairs == ((opened.scope_role, f"{shop.database}_new"),)
        assert engine.drop_scopes(shop.target, pairs) == [opened.scope_role]
    finally:
        shop.run(f"ALTER DATABASE {after} RENAME TO {before}", database="postgres")


@pytest.mark.parametrize("database", ["plain", "odd, 3 of them through views", 'quo"te\nand more', "ÜMLAUT"])
def test_database_of_reads_what_stands_on_a_scope_role(database: str) -> None:
    from apps.engines.base import Level, Scope, Tls
    from apps.engines.postgresql import scopes

    target = Target(host="h", port=1, user="u", password="p", tls=Tls.LOOPBACK_PLAINTEXT, portal_id=PORTAL)
    for level in Level:
        told = scopes.comment(target, Scope(database, level, (ORDERS, CUSTOMERS)))
        assert scopes.database_of(PORTAL, told) == database or ", 3 of them" in database


def test_recall_when_remembered(engine: PostgresEngine, shop: Shop) -> None:
    assert engine.recall(shop.target) == ""
    for word in ("record=1:0123456789abcdef", "record=2:0123456789abcdef", "record=2:0123456789abcdef"):
        engine.remember(shop.target, word)
        assert engine.recall(shop.target) == looked(engine, shop).mark == word


def test_recall_when_turns_were_taken_meanwhile(engine: PostgresEngine, shop: Shop) -> None:
    engine.remember(shop.target, "record=1:0123456789abcdef")
    engine.open_login(shop.target, a_spec(shop, ORDERS))
    with session(shop.target, doing="taking a turn") as connection:
        make_lock(connection)
        with connection.transaction():
            take_turn(connection, PORTAL)
            # Whoever is at work holds up nobody who remembers.
            engine.remember(shop.target, "record=2:0123456789abcdef")
    assert engine.recall(shop.target) == "record=2:0123456789abcdef"


def test_remember_when_many_do_at_once(engine: PostgresEngine, shop: Shop) -> None:
    words = [f"record={number}:0123456789abcdef" for number in range(8)]
    with ThreadPoolExecutor(len(words)) as pool:
        assert list(pool.map(lambda word: engine.remember(shop.target, word), words)) == [None] * 8
    assert engine.recall(shop.target) in words


@pytest.mark.parametrize("word", ["", "two words", "x" * 201, "it's", "line\n"])
def test_remember_refuses_when_it_is_no_word(engine: PostgresEngine, shop: Shop, word: str) -> None:
    with pytest.raises(Refused):
        engine.remember(shop.target, word)


def test_remember_when_the_word_is_another_portals(engine: PostgresEngine, shop: Shop) -> None:
    engine.remember(shop.target, "record=1:0123456789abcdef")
    other = replace(shop.target, portal_id="other")
    assert engine.recall(other) == ""
    with pytest.raises(Refused, match="another portal's"):
        engine.remember(other, "record=9:0123456789abcdef")
    assert engine.recall(shop.target) == "record=1:0123456789abcdef"


def test_remember_when_a_login_tries(engine: PostgresEngine, shop: Shop) -> None:
    spec = a_spec(shop, ORDERS)
    engine.open_login(shop.target, spec)
    engine.remember(shop.target, "record=1:0123456789abcdef")
    with shop.login(PASSWORD, spec.login) as mallory, pytest.raises(psycopg.errors.InsufficientPrivilege):
        mallory.execute(f"COMMENT ON ROLE {names.MEMORY} IS 'x'")
