"""The cast on a real target: `shop` and `shop-staging` are databases of an embedded PostgreSQL 18.

Imports are inside: this file is read before Django is set up.
"""

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from psycopg import sql

from tests.support.targets import TargetServer

if TYPE_CHECKING:
    from apps.catalog.models import Server
    from tests.factories import Cast

TABLES = """
CREATE SCHEMA sales; CREATE SCHEMA stock; CREATE SCHEMA hr; CREATE SCHEMA "Odd.Name";
CREATE TABLE sales.orders (id int PRIMARY KEY, customer_id int, placed_at timestamptz);
CREATE TABLE sales.order_lines (order_id int, product_id int, quantity int);
CREATE TABLE sales.customers (id int PRIMARY KEY, email text, region text);
CREATE TABLE stock.products (id int PRIMARY KEY, title text, price numeric);
CREATE TABLE stock.levels (product_id int, count int);
CREATE TABLE hr.employees (id int PRIMARY KEY, title text, salary int);
CREATE TABLE "Odd.Name"."T" (id int);
INSERT INTO sales.orders VALUES (4711, 1, now());
"""


@pytest.fixture(scope="session")
def databases(target: TargetServer) -> dict[str, str]:
    """Slug -> name on the target, made once with the tables of `factories.fill`."""
    made = {}
    for slug in ("shop", "shop-staging"):
        made[slug] = target.create_database()
        with target.admin(made[slug]) as admin:
            admin.execute(TABLES)
    return made


@pytest.fixture
def people(transactional_db: None, target: TargetServer, databases: dict[str, str], tmp_path: Path) -> "Cast":
    """The cast, the default policy, and a server that the portal may work on."""
    from apps.catalog.models import Database
    from apps.policies.services import ensure_default_rules
    from tests.factories import ServerFactory, cast

    made = cast(ServerFactory(name="demo", host=target.host, port=target.port))
    for database in (made.shop, made.staging):
        database.datname = databases[database.slug]
        Database.objects.filter(pk=database.pk).update(datname=database.datname)
    prepare(target, made.shop.server, tmp_path)
    ensure_default_rules(actor="operator")
    return made


def prepare(target: TargetServer, server: "Server", folder: Path) -> None:
    """Run the bootstrap SQL, as the server's administrator does."""
    from apps.catalog.services import make_bootstrap

    script = folder / "bootstrap.sql"
    script.write_text(make_bootstrap(actor="operator", server_id=server.pk))
    command = [str(target.psql), "-X", "-q", "-f", str(script), target.cluster.superuser_conninfo()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def left_behind(target: TargetServer) -> "LeftBehind":
    return LeftBehind(target)


class LeftBehind:
    """What the target itself says is there of a login."""

    def __init__(self, target: TargetServer) -> None:
        self._target = target

    def roles(self, login: str) -> list[str]:
        with self._target.admin() as admin:
            return [name for (name,) in admin.execute("SELECT rolname FROM pg_roles WHERE rolname = %s", [login])]

    def sessions(self, login: str) -> int:
        with self._target.admin() as admin:
            row = admin.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", [login]).fetchone()
        assert row is not None
        return int(row[0])

    def can_read(self, role: str, table: str, database: str) -> bool:
        schema, name = table.split(".")
        with self._target.admin(database) as admin:
            relation = sql.Identifier(schema, name).as_string(None)
            row = admin.execute("SELECT has_table_privilege(%s, %s, 'SELECT')", [role, relation]).fetchone()
        assert row is not None
        return bool(row[0])
