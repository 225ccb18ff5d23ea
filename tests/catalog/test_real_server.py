"""The way of a DBA on a real server: add it, run the bootstrap SQL with psql, look, read the tables."""

import subprocess
from pathlib import Path

import pytest
from psycopg import sql

from apps.catalog import services
from apps.catalog.models import Column, Database, Server
from apps.catalog.tables import resolve
from apps.catalog.targets import engine_for, target_for
from apps.engines.base import TableName
from tests.catalog.said import last_entry
from tests.support.targets import TargetServer

pytestmark = pytest.mark.django_db

ODD = ["a.b", 'a"b', "a b", "Ä", "UPPER", "x" * 63, "é" * 31, "'; --", "a\\N\tb", "*"]


def psql(target: TargetServer, script: str, folder: Path) -> None:
    """As the server's administrator runs it."""
    file = folder / "bootstrap.sql"
    file.write_text(script)
    done = subprocess.run(
        [str(target.psql), "-X", "-v", "ON_ERROR_STOP=1", "-f", str(file), target.cluster.superuser_conninfo()],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def crm(target: TargetServer, tmp_path: Path) -> Database:
    """A registered, bootstrapped database with a few tables."""
    name = target.create_database()
    with target.admin(name) as admin:
        admin.execute(
            "CREATE SCHEMA sales;"
            "CREATE TABLE sales.orders (id bigint PRIMARY KEY, placed_at timestamptz NOT NULL);"
            "COMMENT ON TABLE sales.orders IS 'What was bought.';"
            "CREATE VIEW sales.recent AS SELECT * FROM sales.orders"
        )
    server = services.add_server(
        actor="operator",
        name="real",
        host=target.host,
        port=target.port,
        tls=Server.TlsMode.LOOPBACK_PLAINTEXT,
    )
    database = services.add_database(
        actor="operator", server_id=server.pk, slug="crm", datname=name, environment="staging"
    )
    psql(target, services.make_bootstrap(actor="operator", server_id=server.pk), tmp_path)
    return Database.objects.get(pk=database.pk)


def sync(database: Database) -> list[str]:
    services.run_sync(database.pk)
    database.refresh_from_db()
    assert database.sync_error == ""
    return [str(table) for table in database.tables.filter(gone_at=None)]


def test_run_sync_when_the_server_is_real(crm: Database, target: TargetServer) -> None:
    assert sync(crm) == ["sales.orders", "sales.recent"]
    orders = crm.tables.get(name="orders")
    assert (orders.kind, orders.comment) == ("table", "What was bought.")
    assert [(column.name, column.type, column.not_null) for column in orders.columns.all()] == [
        ("id", "bigint", True),
        ("placed_at", "timestamp with time zone", True),
    ]
    assert crm.tables.get(name="recent").kind == "view"
    entry = last_entry()
    sync(crm)
    assert last_entry() == entry
    services.classify(
        actor="operator", column_id=orders.columns.get(name="placed_at").pk, classification="confidential"
    )
    with target.admin(crm.datname) as admin:
        admin.execute("DROP VIEW sales.recent; ALTER TABLE sales.orders ALTER placed_at TYPE date, ADD note text")
    assert sync(crm) == ["sales.orders"]
    placed_at = Column.objects.get(table__name="orders", name="placed_at")
    assert (placed_at.type, placed_at.classification) == ("date", "confidential")
    assert last_entry().facts["columns_changed"] == 1


def test_run_sync_when_names_are_odd(crm: Database, target: TargetServer) -> None:
    with target.admin(crm.datname) as admin:
        for name in ODD:
            admin.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
            admin.execute(sql.SQL("CREATE TABLE {} ({} int)").format(sql.Identifier(name, name), sql.Identifier(name)))
    sync(crm)
    for name in ODD:
        pattern = '"' + name.replace('"', '""') + '"'
        assert resolve(crm, [f"{pattern}.{pattern}", f"{pattern}.*"]).tables == (TableName(name, name),)
        assert Column.objects.filter(table__name=name, name=name).exists()


def test_run_preflight_when_the_server_is_real(crm: Database) -> None:
    services.run_preflight(crm.server_id)
    server = Server.objects.get(pk=crm.server_id)
    assert server.checked_at is not None
    assert server.skew_seconds == pytest.approx(0, abs=5)
    assert [finding for finding in server.findings if finding["severity"] == "error"] == []


def test_run_preflight_when_the_password_is_another(crm: Database) -> None:
    """A new password counts once its SQL has run; until then the portal says so."""
    services.new_manager_secret(actor="operator", server_id=crm.server_id)
    services.run_preflight(crm.server_id)
    server = Server.objects.get(pk=crm.server_id)
    assert server.findings[0]["severity"] == "error"
    services.run_sync(crm.pk)
    crm.refresh_from_db()
    assert crm.sync_error


def test_new_manager_secret_when_its_sql_has_run(crm: Database, target: TargetServer, tmp_path: Path) -> None:
    before = target_for(crm.server)
    psql(target, services.new_manager_secret(actor="operator", server_id=crm.server_id), tmp_path)
    server = Server.objects.get(pk=crm.server_id)
    assert target_for(server).password != before.password
    assert engine_for(server).now(target_for(server)).tzinfo is not None
    assert sync(crm) == ["sales.orders", "sales.recent"]


def test_run_sync_when_nobody_listens(crm: Database) -> None:
    services.change_server(actor="operator", server_id=crm.server_id, port=1)
    services.set_manager_secret(actor="operator", server_id=crm.server_id, secret="a-long-random-password")
    services.run_sync(crm.pk)
    crm.refresh_from_db()
    assert crm.sync_error
    services.run_preflight(crm.server_id)
    server = Server.objects.get(pk=crm.server_id)
    assert server.findings[0]["severity"] == "error"
    assert server.skew_seconds is None
