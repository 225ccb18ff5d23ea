"""The portal's three roles and its database."""

import psycopg
import pytest

from jitportal.portal_database import OWNER, WEB, WORKER, prepare, url
from tests.support.portal import DATABASE, PortalDatabase
from tests.support.targets import TargetServer

PASSWORDS = {"owner_password": "o", "web_password": "w:/@%", "worker_password": "k"}


@pytest.fixture
def fresh(target: TargetServer) -> TargetServer:
    """A server without our roles: they are of the whole server."""
    with target.admin() as admin:
        prepare(admin, database="prepared", **PASSWORDS)
    return target


def test_prepare_when_done_twice_takes_the_new_passwords(fresh: TargetServer) -> None:
    with fresh.admin() as admin:
        prepare(admin, database="prepared", **PASSWORDS | {"worker_password": "new"})
    with fresh.connect(WORKER, "new", "prepared") as worker:
        assert worker.execute("SELECT current_user").fetchone() == (WORKER,)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        fresh.connect(WORKER, "k", "prepared")


def test_prepare_when_a_password_has_characters_of_a_url(fresh: TargetServer) -> None:
    with psycopg.connect(url(WEB, "w:/@%", host=fresh.host, port=fresh.port, database="prepared")) as web:
        assert web.execute("SELECT current_user").fetchone() == (WEB,)


def test_prepare_when_another_login_wants_in(fresh: TargetServer) -> None:
    with fresh.admin() as admin:
        admin.execute("DROP ROLE IF EXISTS passer_by")
        admin.execute("CREATE ROLE passer_by LOGIN PASSWORD 'p'")
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        fresh.connect("passer_by", "p", "prepared")


@pytest.mark.parametrize("role", [WEB, WORKER])
def test_connect_when_a_runtime_role_would_make_a_table(portal_database: PortalDatabase, role: str) -> None:
    with portal_database.connect(role) as connection:
        for statement in ("CREATE TABLE public.mine ()", "CREATE TEMPORARY TABLE mine ()", "CREATE SCHEMA mine"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


def test_connect_when_the_owner_makes_a_database(portal_database: PortalDatabase) -> None:
    with portal_database.connect(OWNER) as owner:
        assert owner.execute("SELECT current_database()").fetchone() == (DATABASE,)
        owner.execute("CREATE DATABASE another")
        owner.execute("DROP DATABASE another")


def test_prepare_when_the_log_is_read_shows_no_password(fresh: TargetServer) -> None:
    with fresh.admin() as admin:
        admin.execute("SET log_statement = 'all'")
        prepare(admin, database="prepared", **PASSWORDS | {"owner_password": "in-clear-never"})
    assert "SCRAM-SHA-256$" in fresh.cluster.log.read_text()
    assert "in-clear-never" not in fresh.cluster.log.read_text()
