"""The portal's own database: three roles and a database, made once by a superuser.

What each role may do with each table is said by the migrations, which know these three names.
"""

from collections.abc import Mapping
from urllib.parse import quote

import psycopg
from psycopg import sql

OWNER = "jitportal_owner"
WEB = "jitportal_web"
WORKER = "jitportal_worker"


def prepare(
    superuser: psycopg.Connection,
    *,
    database: str,
    owner_password: str,
    web_password: str,
    worker_password: str,
) -> None:
    """Make roles and database, or bring existing ones to this state. `superuser` is an autocommit connection."""
    # Only the owner creates databases: a test run makes its own.
    _role(superuser, OWNER, "CREATEDB", owner_password)
    _role(superuser, WEB, "NOCREATEDB", web_password)
    _role(superuser, WORKER, "NOCREATEDB", worker_password)
    # The clock ends sessions that keep the record's lock (apps/audit/watchdog.py).
    superuser.execute(sql.SQL("GRANT pg_monitor, pg_signal_backend TO {}").format(sql.Identifier(WORKER)))
    name, owner = sql.Identifier(database), sql.Identifier(OWNER)
    if superuser.execute("SELECT FROM pg_database WHERE datname = %s", [database]).fetchone() is None:
        superuser.execute(sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0").format(name, owner))
    superuser.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
    for role in (WEB, WORKER):
        superuser.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(name, sql.Identifier(role)))


def url(role: str, password: str, *, host: str, port: int, database: str) -> str:
    """What settings.py reads as DATABASE_URL, DATABASE_OWNER_URL or DATABASE_WEB_URL."""
    return f"postgres://{role}:{quote(password, safe='')}@{host}:{port}/{quote(database, safe='')}"


def urls(passwords: Mapping[str, str], *, host: str, port: int, database: str) -> dict[str, str]:
    """Role -> URL for each role with a password."""
    return {role: url(role, password, host=host, port=port, database=database) for role, password in passwords.items()}


def _role(superuser: psycopg.Connection, name: str, attribute: str, password: str) -> None:
    role = sql.Identifier(name)
    if superuser.execute("SELECT FROM pg_roles WHERE rolname = %s", [name]).fetchone() is None:
        superuser.execute(sql.SQL("CREATE ROLE {}").format(role))
    # The verifier is computed on this side: the plaintext would stand in the server's log.
    verifier = superuser.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
    superuser.execute(
        sql.SQL("ALTER ROLE {} LOGIN NOSUPERUSER NOCREATEROLE NOREPLICATION NOBYPASSRLS {} PASSWORD {}").format(
            role, sql.SQL(attribute), sql.Literal(verifier)
        )
    )
