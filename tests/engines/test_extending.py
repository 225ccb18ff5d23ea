"""A later end for a login that is open: its sessions notice nothing, and nothing else gets one."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial

import pytest

from apps.engines.base import Refused
from apps.engines.postgresql import PostgresEngine
from tests.engines.conftest import ORDERS, PASSWORD, Shop, a_spec

HOUR = timedelta(hours=1)


def end_of(shop: Shop, login: str) -> datetime:
    moment: datetime = shop.value("SELECT rolvaliduntil FROM pg_roles WHERE rolname = %s", [login])
    return moment


def test_extend_login_when_a_session_is_open_lets_it_read_on(engine: PostgresEngine, shop: Shop) -> None:
    spec = a_spec(shop, ORDERS, seconds=3)
    until = engine.open_login(shop.target, spec).valid_until
    with shop.login(PASSWORD, spec.login) as alice:
        assert engine.extend_login(shop.target, spec.login, spec.reference, until + HOUR) == until + HOUR
        shop.value("SELECT pg_sleep(extract(epoch FROM %s::timestamptz - clock_timestamp()))", [until])
        assert alice.execute("SELECT count(*) FROM orders").fetchone() == (2,)
    with shop.login(PASSWORD, spec.login):  # and a new one is let in
        assert end_of(shop, spec.login) == until + HOUR


def test_extend_login_when_it_lives_longer_already_never_shortens(engine: PostgresEngine, shop: Shop) -> None:
    spec = a_spec(shop, ORDERS, seconds=600)
    until = engine.open_login(shop.target, spec).valid_until
    for earlier in (until, until - timedelta(minutes=5)):
        assert engine.extend_login(shop.target, spec.login, spec.reference, earlier) == until
    assert end_of(shop, spec.login) == until


def test_extend_login_when_two_do_it_at_once_keeps_the_later_end(engine: PostgresEngine, shop: Shop) -> None:
    spec = a_spec(shop, ORDERS)
    until = engine.open_login(shop.target, spec).valid_until
    ends = [until + HOUR, until + 2 * HOUR]
    with ThreadPoolExecutor() as pool:
        extend = partial(engine.extend_login, shop.target, spec.login, spec.reference)
        assert max(pool.map(extend, ends * 2)) == max(ends)
    assert end_of(shop, spec.login) == max(ends)


@pytest.mark.parametrize("how", ["closed", "locked", "past its end", "renamed"])
def test_extend_login_when_it_is_over_is_refused(engine: PostgresEngine, shop: Shop, how: str) -> None:
    spec = a_spec(shop, ORDERS, seconds=600)
    until = engine.open_login(shop.target, spec).valid_until
    match how:
        case "closed":
            engine.close_logins(shop.target, [spec.login])
        case "locked":
            shop.run(f"ALTER ROLE {spec.login} NOLOGIN")
        case "past its end":
            shop.run(f"ALTER ROLE {spec.login} VALID UNTIL 'yesterday'")
        case "renamed":
            shop.run(f"ALTER ROLE {spec.login} RENAME TO {spec.login}x")
    with pytest.raises(Refused, match=r"not on the server|not open"):
        engine.extend_login(shop.target, spec.login, spec.reference, until + HOUR)


def test_extend_login_when_it_is_not_this_requests_leaves_it_alone(engine: PostgresEngine, shop: Shop) -> None:
    spec = a_spec(shop, ORDERS, seconds=600)
    until = engine.open_login(shop.target, spec).valid_until
    with pytest.raises(Refused, match="not this request's"):
        engine.extend_login(shop.target, spec.login, "another", until + HOUR)
    comment = "jitportal portal=elsewhere login=x request=y"
    shop.run(f"COMMENT ON ROLE {spec.login} IS '{comment}'")
    with pytest.raises(Refused, match="not this request's"):
        engine.extend_login(shop.target, spec.login, spec.reference, until + HOUR)
    assert end_of(shop, spec.login) == until
    said = "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s"
    assert shop.value(said, [spec.login]) == comment


@pytest.mark.parametrize("login", ["postgres", "jitportal", "jit_x_y; DROP ROLE alice"])
def test_extend_login_when_it_is_no_login_of_ours_is_refused(engine: PostgresEngine, shop: Shop, login: str) -> None:
    with pytest.raises(Refused, match="not the name of a login"):
        engine.extend_login(shop.target, login, "r", datetime.now().astimezone() + HOUR)


def test_extend_login_when_the_end_is_years_away_is_refused(engine: PostgresEngine, shop: Shop) -> None:
    spec = a_spec(shop, ORDERS)
    until = engine.open_login(shop.target, spec).valid_until
    with pytest.raises(Refused, match="a year at most"):
        engine.extend_login(shop.target, spec.login, spec.reference, until + timedelta(days=400))
    assert end_of(shop, spec.login) == until
