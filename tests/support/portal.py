"""The portal's database for one run of tests, and how it is emptied between tests that commit."""

from dataclasses import dataclass
from urllib.parse import urlsplit

import psycopg
from django.conf import settings
from django.db import connections
from psycopg import sql

from jitportal.embedded import Cluster, new_password
from jitportal.portal_database import OWNER, WEB, WORKER, prepare, urls
from tests.support.targets import forget_the_record

DATABASE = "jitportal"
_LONG = 300  # entries of the record
# Made by migrations for code to read; no test changes them.
_KEPT = {"django_content_type", "auth_permission", "django_migrations"}


@dataclass(frozen=True)
class PortalDatabase:
    """A prepared database of an embedded cluster; `urls` by role name."""

    cluster: Cluster
    urls: dict[str, str]

    @property
    def environment(self) -> dict[str, str]:
        """What a process of the portal needs to find it."""
        return {
            "DATABASE_URL": self.urls[WORKER],
            "DATABASE_OWNER_URL": self.urls[OWNER],
            "DATABASE_WEB_URL": self.urls[WEB],
            "DATABASE_DIRECT_URL": self.urls[WORKER],
        }

    def connect(self, role: str, *, autocommit: bool = True) -> psycopg.Connection:
        """A connection of its own as jitportal_owner, jitportal_web or jitportal_worker."""
        return psycopg.connect(self.urls[role], autocommit=autocommit, connect_timeout=10)

    def superuser(self) -> psycopg.Connection:
        return self.cluster.connect(DATABASE)


def make(cluster: Cluster) -> PortalDatabase:
    passwords = {role: new_password() for role in (OWNER, WEB, WORKER)}
    with cluster.connect() as superuser:
        prepare(
            superuser,
            database=DATABASE,
            owner_password=passwords[OWNER],
            web_password=passwords[WEB],
            worker_password=passwords[WORKER],
        )
    return PortalDatabase(cluster, urls(passwords, host=cluster.host, port=cluster.port, database=DATABASE))


def point_django_at(portal: PortalDatabase) -> None:
    """Settings were read before the server was started; only its address and passwords were missing."""
    settings.DATABASE_DIRECT_URL = portal.urls[WORKER]
    for alias, role in (("default", WORKER), ("owner", OWNER)):
        parts = urlsplit(portal.urls[role])
        assert settings.DATABASES[alias]["USER"] == role
        settings.DATABASES[alias] |= {"HOST": parts.hostname, "PORT": parts.port, "PASSWORD": parts.password}
        assert connections[alias].settings_dict is settings.DATABASES[alias]


class Emptier:
    """Puts the tables back to what they were after the migrations, as a superuser.

    Django's flush would run as the worker, who may not TRUNCATE, and would lose the rows that migrations made.
    The record (schema audit) is no managed model. It grows from test to test, as in life, until it is long: whatever
    folds all of it, or follows it, would take ever more time. Then a new one begins.
    """

    def __init__(self, portal: PortalDatabase) -> None:
        self._portal = portal
        tables = connections["owner"].introspection.django_table_names(only_existing=True, include_views=False)
        self._tables = sorted(set(tables) - _KEPT)
        with portal.superuser() as superuser:
            superuser.execute("CREATE SCHEMA as_migrated")
            seeded = self._filled(superuser)
            for table in seeded:
                kept = sql.Identifier("as_migrated", table)
                superuser.execute(sql.SQL("CREATE TABLE {} AS TABLE {}").format(kept, sql.Identifier(table)))
            self._restore = sql.SQL("; ").join(self._restoring(superuser, table) for table in seeded)
            self._begin_anew = self._beginning_anew(superuser)

    def empty(self) -> None:
        with self._portal.superuser() as superuser:
            superuser.execute("SET lock_timeout = '20s'")  # a test left a transaction open: say so, do not hang
            superuser.execute("SET session_replication_role = replica")
            self._empty_tables(superuser)
            (size,) = superuser.execute("SELECT size FROM audit.head").fetchone() or (0,)
            if size > _LONG:
                superuser.execute(self._begin_anew)
                _forget_the_old_one()

    def _empty_tables(self, superuser: psycopg.Connection) -> None:
        filled = self._filled(superuser)
        if filled:
            # To truncate makes new files of each table and index; the few rows that a test leaves go sooner alone.
            deleting = [sql.SQL("DELETE FROM {}").format(sql.Identifier(name)) for name in filled]
            superuser.execute(sql.SQL("; ").join([*deleting, self._restore]))

    def _filled(self, superuser: psycopg.Connection) -> list[str]:
        looks = [
            sql.SQL("SELECT {} WHERE EXISTS (SELECT FROM {})").format(sql.Literal(name), sql.Identifier(name))
            for name in self._tables
        ]
        return [name for (name,) in superuser.execute(sql.SQL(" UNION ALL ").join(looks))]

    def _beginning_anew(self, superuser: psycopg.Connection) -> sql.Composed:
        """As lay_down() of the benchmarks does: the triggers sleep meanwhile, for which it takes a superuser."""
        assert superuser.execute("SELECT size FROM audit.head").fetchone() == (0,)
        rows = superuser.execute(
            "SELECT tgrelid::regclass::text, tgname::text FROM pg_trigger"
            " WHERE tgrelid::regclass::text LIKE 'audit.%' AND tgenabled = 'A' ORDER BY 1, 2"
        ).fetchall()
        assert {table for table, _ in rows} == {f"audit.{name}" for name in ("entry", "seal", "disclosure", "head")}
        turn = [(sql.Identifier(*table.split(".")), sql.Identifier(trigger)) for table, trigger in rows]
        return sql.SQL("; ").join(
            [
                *(sql.SQL("ALTER TABLE {} DISABLE TRIGGER {}").format(*one) for one in turn),
                sql.SQL("TRUNCATE audit.entry, audit.seal, audit.disclosure"),
                sql.SQL("UPDATE audit.head SET size = 0, hash = decode(repeat('00', 32), 'hex')"),
                *(sql.SQL("ALTER TABLE {} ENABLE ALWAYS TRIGGER {}").format(*one) for one in turn),
            ]
        )

    def _restoring(self, superuser: psycopg.Connection, table: str) -> sql.Composed:
        rows = superuser.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass"
            " AND attnum > 0 AND NOT attisdropped AND attgenerated = ''",
            [f'"{table}"'],
        )
        columns = sql.SQL(", ").join(sql.Identifier(name) for (name,) in rows)
        return sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {}").format(
            sql.Identifier(table), columns, columns, sql.Identifier("as_migrated", table)
        )


def _forget_the_old_one() -> None:
    """This process has seen it, and servers have been told of it: they would say that it is lost."""
    from apps.grants import continuity  # this file is read before Django is set up

    continuity.memory.forget()
    forget_the_record()
