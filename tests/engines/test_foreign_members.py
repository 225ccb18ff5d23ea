"""Who has the rights of a grant without being one: seen at each look, and taken out where the manager can."""

from collections.abc import Iterator

import psycopg
import pytest

from apps.core.ids import new_id
from apps.engines.base import ForeignMember, LoginSpec, Refused, Survey
from apps.engines.postgresql import PostgresEngine, names
from tests.engines.conftest import ORDERS, PASSWORD, PORTAL, Shop, a_spec

READ = "SELECT count(*) FROM sales.orders"


@pytest.fixture
def strange(shop: Shop) -> Iterator[str]:
    """A role of somebody's, which can sign in."""
    role = f"strange_{new_id()}"
    shop.run(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'", database="postgres")
    yield role
    shop.run(f"DROP ROLE IF EXISTS {role}", database="postgres")


def opened(engine: PostgresEngine, shop: Shop) -> tuple[LoginSpec, str]:
    spec = a_spec(shop, ORDERS)
    return spec, engine.open_login(shop.target, spec).scope_role


def read_as(shop: Shop, role: str) -> int:
    with shop.login(PASSWORD, role) as mallory:
        row = mallory.execute(READ).fetchone()
    assert row is not None
    return int(row[0])


def hide(shop: Shop, spec: LoginSpec) -> str:
    """What a superuser does who wants to keep a login."""
    role = f"kept_{new_id()}"
    shop.run(
        f"COMMENT ON ROLE {spec.login} IS NULL",
        f"ALTER ROLE {spec.login} RENAME TO {role}",
        f"ALTER ROLE {role} VALID UNTIL 'infinity'",
    )
    return role


def who(found: Survey) -> list[tuple[str, str, bool]]:
    return [(one.role, one.of, one.given_by_portal) for one in found.members]


def test_survey_tells_of_no_member_when_all_are_the_portals(engine: PostgresEngine, shop: Shop) -> None:
    specs = [a_spec(shop, ORDERS, person=person) for person in ("alice", "bob")]
    for spec in specs:
        engine.open_login(shop.target, spec)
    assert engine.survey(shop.target).members == ()
    engine.close_logins(shop.target, [specs[0].login])
    assert engine.survey(shop.target).members == ()


def test_survey_tells_of_a_member_when_the_logins_are_as_they_were(
    engine: PostgresEngine, shop: Shop, strange: str
) -> None:
    _, scope_role = opened(engine, shop)
    before = engine.survey(shop.target)
    shop.run(f"GRANT {scope_role} TO {strange}")
    with shop.login(PASSWORD, strange):
        after = engine.survey(shop.target, before.digest)

    assert after.logins is None
    giver = shop.value("SELECT current_user::text")
    assert after.members == (ForeignMember(strange, scope_role, (giver,), False, can_login=True, sessions=1),)


def test_survey_tells_of_a_member_when_it_is_one_of_a_login(engine: PostgresEngine, shop: Shop, strange: str) -> None:
    spec, _ = opened(engine, shop)
    shop.run(f"GRANT {spec.login} TO {strange}")
    assert who(engine.survey(shop.target)) == [(strange, spec.login, False)]


@pytest.mark.parametrize("mark", ["login={} ", "login=anything request=r", "graveyard of {}"])
def test_survey_tells_of_a_member_when_its_mark_is_not_a_logins(
    engine: PostgresEngine, shop: Shop, strange: str, mark: str
) -> None:
    _, scope_role = opened(engine, shop)
    shop.run(
        f"GRANT {scope_role} TO {strange}",
        f"COMMENT ON ROLE {strange} IS 'jitportal portal={PORTAL} {mark.format(strange)}'",
    )
    assert who(engine.survey(shop.target)) == [(strange, scope_role, False)]


def test_survey_leaves_out_members_of_another_portals_roles(engine: PostgresEngine, shop: Shop, strange: str) -> None:
    scope, login = "jitscope_0123456789abcdef0123456789abcdef", names.login_name("bob", new_id())
    shop.run(
        f"CREATE ROLE {scope}; COMMENT ON ROLE {scope} IS 'jitportal portal={PORTAL}2 scope: SELECT on 1 tables of x'",
        f"CREATE ROLE {login}; COMMENT ON ROLE {login} IS 'jitportal portal={PORTAL}2 login={login} request=r'",
        f"GRANT {scope}, {login} TO {strange}",
    )
    assert engine.survey(shop.target).members == ()
    mine = ForeignMember(strange, scope, (), False, can_login=True, sessions=0)
    engine.expel(shop.target, [mine])
    assert shop.value("SELECT pg_has_role(%s, %s, 'MEMBER')", [strange, scope]) is True


def test_expel_when_the_portal_itself_gave_it(engine: PostgresEngine, shop: Shop) -> None:
    spec, scope_role = opened(engine, shop)
    other, _ = opened(engine, shop)
    kept = hide(shop, spec)
    assert read_as(shop, kept) == 2
    found = engine.survey(shop.target).members
    assert [(one.role, one.of, one.given_by_portal) for one in found] == [(kept, scope_role, True)]

    (expelled,) = engine.expel(shop.target, found)

    assert (expelled.member, expelled.fix) == (found[0], "")
    assert engine.survey(shop.target).members == ()
    with pytest.raises(psycopg.Error):  # it may not even connect
        read_as(shop, kept)
    assert read_as(shop, other.login) == 2
    assert engine.expel(shop.target, found) == [expelled]
    shop.run(f"DROP ROLE {kept}")


def test_expel_when_somebody_else_gave_it(engine: PostgresEngine, shop: Shop, strange: str) -> None:
    """From PostgreSQL 16 on, only whoever gave it can take it back: then the SQL for it is told."""
    spec, scope_role = opened(engine, shop)
    shop.run(f"GRANT {scope_role} TO {strange}")
    found = engine.survey(shop.target).members

    (expelled,) = engine.expel(shop.target, found)

    if expelled.fix:
        assert shop.server.version >= 16
        giver = found[0].given_by[0]
        assert expelled.fix == f'REVOKE "{scope_role}" FROM "{strange}" GRANTED BY "{giver}" CASCADE;'
        shop.run(expelled.fix)
    assert engine.survey(shop.target).members == ()
    assert shop.value("SELECT pg_has_role(%s, %s, 'MEMBER')", [strange, scope_role]) is False
    assert read_as(shop, spec.login) == 2


@pytest.mark.parametrize("giver", ["jitportal", "maker"])
def test_expel_when_it_was_given_in_the_portals_name_and_passed_on(
    engine: PostgresEngine, shop: Shop, strange: str, giver: str
) -> None:
    spec, scope_role = opened(engine, shop)
    other = f"{strange}_too"
    name = "jitportal" if giver == "jitportal" or shop.server.version < 16 else names.maker_name(spec.login)
    by = f" GRANTED BY {name}" if shop.server.version >= 16 else ""
    shop.run(
        f"CREATE ROLE {other}",
        f"GRANT {scope_role} TO {strange} WITH ADMIN OPTION{by}",
        f"SET ROLE {strange}; GRANT {scope_role} TO {other}",
    )
    found = engine.survey(shop.target).members
    assert [one.role for one in found if one.role in {strange, other}] == [one.role for one in found]
    assert len(found) == 2

    engine.expel(shop.target, found)

    assert engine.survey(shop.target).members == ()
    assert read_as(shop, spec.login) == 2
    shop.run(f"DROP ROLE {other}")


def test_expel_leaves_a_login_alone_when_its_mark_was_put_back(engine: PostgresEngine, shop: Shop) -> None:
    spec, _ = opened(engine, shop)
    comment = shop.value("SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s", [spec.login])
    kept = hide(shop, spec)
    found = engine.survey(shop.target).members
    shop.run(f"ALTER ROLE {kept} RENAME TO {spec.login}", f"COMMENT ON ROLE {spec.login} IS '{comment}'")

    engine.expel(shop.target, found)

    assert read_as(shop, spec.login) == 2


def test_close_logins_does_not_believe_it_when_a_role_without_a_mark_may_be_the_login(
    engine: PostgresEngine, shop: Shop
) -> None:
    spec, _ = opened(engine, shop)
    lives, _ = opened(engine, shop)
    kept = hide(shop, spec)

    with pytest.raises(Refused, match=f"“{kept}” may be it, renamed and with its mark removed; "):
        engine.close_logins(shop.target, [spec.login])
    assert [done.login for done in engine.close_logins(shop.target, [spec.login, lives.login])] == [lives.login]

    engine.expel(shop.target, engine.survey(shop.target).members)
    (done,) = engine.close_logins(shop.target, [spec.login])
    assert (done.login, done.dropped) == (spec.login, True)
    shop.run(f"DROP ROLE {kept}")


def test_close_logins_believes_it_when_a_stranger_was_made_a_member_by_hand(
    engine: PostgresEngine, shop: Shop, strange: str
) -> None:
    """It is told by the survey, and cannot be the login."""
    spec, scope_role = opened(engine, shop)
    shop.run(f"GRANT {scope_role} TO {strange}", f"DROP OWNED BY {spec.login}", f"DROP ROLE {spec.login}")
    assert [done.dropped for done in engine.close_logins(shop.target, [spec.login])] == [True]
