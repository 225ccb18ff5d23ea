"""The demo's target databases: a small company, its rows made on the server in seconds."""

from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from jitportal.embedded import Cluster

OWNER = "shop_owner"
SCHEMAS = ("sales", "hr", "support", "logistics")
_SQL = Path(__file__).parent / "sql"


@dataclass(frozen=True)
class ShopDatabase:
    """One database of the demo; everything in it grows with the number of customers."""

    name: str
    customers: int


PRODUCTION = ShopDatabase("shop", 40_000)
STAGING = ShopDatabase("shop-staging", 4_000)


def load(cluster: Cluster, database: ShopDatabase) -> bool:
    """Make the database and fill it, all or nothing; False if that was done before."""
    with cluster.connect() as admin:
        _make(admin, database.name)
    with cluster.connect(database.name) as admin:
        if admin.execute("SELECT to_regclass('logistics.shipments')").fetchone() != (None,):
            return False
        with admin.transaction():
            admin.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(OWNER)))
            admin.execute("SELECT set_config('demo.customers', %s, true)", [str(database.customers)])
            for name in ("schema.sql", "rows.sql", "keys.sql"):
                admin.execute((_SQL / name).read_bytes())
        admin.execute("ANALYZE")
    return True


def harden(cluster: Cluster) -> None:
    """What every production server should have, and preflight asks for: CONNECT and TEMPORARY are PUBLIC by default."""
    with cluster.connect() as admin:
        for (name,) in admin.execute("SELECT datname FROM pg_database WHERE datallowconn").fetchall():
            admin.execute(sql.SQL("REVOKE CONNECT, TEMPORARY ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))


def _make(admin: psycopg.Connection, name: str) -> None:
    owner = sql.Identifier(OWNER)
    if admin.execute("SELECT FROM pg_roles WHERE rolname = %s", [OWNER]).fetchone() is None:
        admin.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(owner))
    if admin.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
        admin.execute(sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0").format(sql.Identifier(name), owner))
