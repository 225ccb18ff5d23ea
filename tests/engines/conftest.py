"""A prepared database on each version of PostgreSQL, and a small company in it."""

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from apps.core.ids import new_id
from apps.engines.base import Level, LoginSpec, Scope, TableName, Target, Tls
from apps.engines.postgresql import PostgresEngine, names, scram
from jitportal.embedded import Cluster
from tests.support.targets import TargetServer

PORTAL = "testportal"
ORDERS, CUSTOMERS, SALARIES = TableName("sales", "orders"), TableName("sales", "customers"), TableName("hr", "salaries")
EMAIL = frozenset({(CUSTOMERS, "email")})

ODD_NAMES = (
    "Odd.Name",
    'quo"ted',
    "it's",
    "with space",
    "ÜMLAUT-表",
    "x" * 63,
    'x"; DROP TABLE sales.orders; --',
    "'); DROP ROLE jitportal; --",
    "%s {} %(login)s",
    "$jit$",
    "back\\slash",
)

_COMPANY = """
    CREATE SCHEMA sales; CREATE SCHEMA hr;
    CREATE TABLE sales.customers (id int PRIMARY KEY, name text, email text);
    CREATE TABLE sales.orders (id serial PRIMARY KEY, customer int, total int);
    CREATE TABLE hr.salaries (id int PRIMARY KEY, salary int);
    INSERT INTO sales.customers VALUES (1, 'Zoe', 'zoe@example.com'), (2, 'Yan', 'yan@example.com');
    INSERT INTO sales.orders (customer, total) VALUES (1, 10), (2, 20);
    INSERT INTO hr.salaries VALUES (1, 5000);
"""


@dataclass(frozen=True)
class Shop:
    """A database that the portal manages, on one server."""

    server: TargetServer
    database: str
    target: Target

    def run(self, *statements: str, database: str = "") -> None:
        """As the server's superuser."""
        with self.server.admin(database or self.database) as admin:
            for statement in statements:
                admin.execute(statement)

    def value(self, query: str, parameters: Any = None, *, database: str = "") -> Any:
        with self.server.admin(database or self.database) as admin:
            row = admin.execute(query, parameters).fetchone()
        return row[0] if row else None

    def bootstrap(self, *databases: str, schemas: dict[str, list[str]] | None = None) -> None:
        """Run the printed SQL as an administrator would."""
        script = PostgresEngine().bootstrap_sql(
            databases=databases or [self.database],
            schemas=schemas or {},
            verifier=scram.verifier(self.target.password),
            portal_id=self.target.portal_id,
        )
        psql(self.server, script)

    def login(self, password: str, login: str, database: str = "") -> psycopg.Connection[Any]:
        return self.server.connect(login, password, database or self.database)

    def role_is_there(self, role: str) -> bool:
        return bool(self.value("SELECT count(*) FROM pg_roles WHERE rolname = %s", [role], database="postgres"))


def psql(server: TargetServer, script: str) -> None:
    conninfo = server.cluster.superuser_conninfo()
    command = [str(server.psql), "-X", "-q", conninfo]
    done = subprocess.run(command, input=script, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def prepared(server: TargetServer) -> Iterator[Shop]:
    """A fresh database with the company, opened to the portal; taken away with all logins afterwards."""
    database = server.create_database(f"shop_{new_id()}")
    target = Target(
        host=server.host,
        port=server.port,
        user="jitportal",
        password=scram.new_password(),
        tls=Tls.LOOPBACK_PLAINTEXT,
        portal_id=PORTAL,
    )
    shop = Shop(server, database, target)
    owner = f"owner_{database}"
    with server.admin(database) as admin:
        admin.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(owner)))
        admin.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(*map(sql.Identifier, (database, owner))))
        admin.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(owner)))
        admin.execute(_COMPANY)
    shop.bootstrap()
    yield shop
    server.drop_database(database)
    _forget_roles(server)


def _forget_roles(server: TargetServer) -> None:
    with server.admin() as admin:
        mine = (
            "SELECT rolname FROM pg_roles WHERE rolname ~ '^(jit_|jitscope_|owner_shop_|jitportal_graveyard_)'"
            " OR shobj_description(oid, 'pg_authid') LIKE 'jitportal portal=% login=%'"  # renamed since
        )
        for (role,) in admin.execute(mine).fetchall():
            with contextlib.suppress(psycopg.Error):
                admin.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))
                admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


@pytest.fixture
def engine() -> PostgresEngine:
    return PostgresEngine()


@pytest.fixture
def shop(target_server: TargetServer) -> Iterator[Shop]:
    """On each version in turn."""
    yield from prepared(target_server)


@pytest.fixture
def newest(target: TargetServer) -> Iterator[Shop]:
    """On PostgreSQL 18 alone, for what does not differ."""
    yield from prepared(target)


@pytest.fixture(scope="session")
def two_phase_server(cluster_folder: Path) -> Iterator[TargetServer]:
    """A server that allows prepared transactions."""
    cluster = Cluster(cluster_folder / "twophase", fast=True, settings={"max_prepared_transactions": "5"})
    cluster.start()
    yield TargetServer(cluster)
    cluster.destroy()


@pytest.fixture
def two_phase(two_phase_server: TargetServer) -> Iterator[Shop]:
    yield from prepared(two_phase_server)


PASSWORD = scram.new_password()


def columns_of(shop: Shop, *tables: TableName) -> frozenset[tuple[TableName, str]]:
    """What a catalog read just now would know of them."""
    with shop.server.admin(shop.database) as admin:
        rows = admin.execute(
            "SELECT n.nspname::text, c.relname::text, a.attname::text FROM pg_attribute a"
            " JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE a.attnum > 0 AND NOT a.attisdropped"
        ).fetchall()
    found = {(TableName(schema, name), column) for schema, name, column in rows}
    return frozenset((table, column) for table, column in found if table in tables)


def a_spec(
    shop: Shop,
    *tables: TableName,
    level: Level = Level.QUERY,
    person: str = "alice",
    seconds: int = 600,
    classified: frozenset[tuple[TableName, str]] = frozenset(),
    reference: str = "request-1",
) -> LoginSpec:
    """A login nobody has had before; its password is PASSWORD."""
    return LoginSpec(
        login=names.login_name(person, new_id()),
        verifier=scram.verifier(PASSWORD),
        reference=reference,
        seconds=seconds,
        scope=Scope(shop.database, level, tuple(sorted(tables))),
        classified=classified,
        known=columns_of(shop, *tables),
    )
