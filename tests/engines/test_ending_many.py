"""Many logins that end at once: as one batch, and none waits for another."""

from collections.abc import Sequence

import psycopg
import pytest

from apps.core.ids import new_id
from apps.engines.base import Closed
from apps.engines.postgresql import PostgresEngine, connect, ending, names
from tests.engines.conftest import ORDERS, PASSWORD, Shop, a_spec
from tests.support.crowd import make_logins


def crowd(engine: PostgresEngine, shop: Shop, size: int) -> list[str]:
    first = a_spec(shop, ORDERS)
    engine.open_login(shop.target, first)
    logins = [names.login_name("crowd", new_id()) for _ in range(size)]
    make_logins(shop.target, names.scope_role_name(first.scope), logins)
    return [first.login, *logins]


def test_close_logins_when_there_are_hundreds_and_some_resist(
    engine: PostgresEngine, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connect._SETTINGS, "lock_timeout", "200ms")
    logins = crowd(engine, shop, 300)
    used, held, foreign = logins[0], logins[1], logins[2]
    shop.run(f"COMMENT ON ROLE {foreign} IS 'jitportal portal=another'")
    heard: list[Sequence[Closed]] = []
    with shop.login(PASSWORD, used) as alice, shop.server.admin() as dba, dba.transaction():
        dba.execute(f"ALTER ROLE {held} CONNECTION LIMIT 3")
        closed = engine.close_logins(shop.target, logins, heard.append)
        with pytest.raises(psycopg.OperationalError):
            alice.execute("SELECT 1")
    assert {one.login for one in closed} == set(logins) - {held, foreign}
    assert all(one.dropped for one in closed)
    assert [one for portion in heard for one in portion] == closed
    assert len(heard) > 1
    there = "SELECT array_agg(rolname::text ORDER BY rolname) FROM pg_roles WHERE rolname = ANY (%s::name[])"
    assert shop.value(there, [logins]) == sorted([held, foreign])
    (last,) = engine.close_logins(shop.target, [held])
    assert last.dropped


def test_close_logins_locks_all_before_it_drops_one(
    engine: PostgresEngine, newest: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "_PORTION", 20)
    logins = crowd(engine, newest, 60)
    may_log_in = "SELECT count(*) FROM pg_roles WHERE rolname = ANY (%s::name[]) AND rolcanlogin"
    seen: list[int] = []
    engine.close_logins(newest.target, logins, lambda portion: seen.append(newest.value(may_log_in, [logins])))
    assert len(seen) >= 3
    assert set(seen) == {0}


def test_close_logins_goes_on_when_whoever_hears_of_it_fails(engine: PostgresEngine, newest: Shop) -> None:
    """Nothing is lost: the next call finds them gone."""
    logins = crowd(engine, newest, 5)

    def fails(portion: Sequence[Closed]) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        engine.close_logins(newest.target, logins, fails)
    assert {one.login for one in engine.close_logins(newest.target, logins)} == set(logins)


@pytest.mark.parametrize("number", [1, 12])
def test_close_logins_when_several_hold_their_own_roles(engine: PostgresEngine, newest: Shop, number: int) -> None:
    specs = [a_spec(newest, ORDERS, person=f"mallory{n}") for n in range(number)]
    for spec in specs:
        engine.open_login(newest.target, spec)
    sessions = [newest.login(PASSWORD, spec.login) for spec in specs]
    for session in sessions:
        session.execute("BEGIN; ALTER ROLE CURRENT_USER PASSWORD 'mine'")
    wanted = [spec.login for spec in specs]
    closed = engine.close_logins(newest.target, wanted)
    if number > ending._HELD_AT_ONCE:  # what is left after the patience of one call is for the next one
        closed += engine.close_logins(newest.target, wanted)
    assert {one.login for one in closed if one.dropped} == set(wanted)
    for session in sessions:
        session.close()
