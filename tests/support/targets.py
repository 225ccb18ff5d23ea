"""Target servers for one run of tests: real PostgreSQL, one embedded cluster for each version."""

import itertools
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

from jitportal.embedded import Cluster
from jitportal.embedded_install import installed

VERSIONS = (18, 16)  # the wheel's, wanted everywhere; others join in where they are installed


@dataclass(frozen=True)
class TargetServer:
    """A server that a test may do anything to; roles are of the whole server, so give them names of your own."""

    cluster: Cluster
    _numbers: itertools.count = field(default_factory=lambda: itertools.count(1), repr=False)  # type: ignore[type-arg]

    def __post_init__(self) -> None:
        _made.append(self)

    @property
    def version(self) -> int:
        return self.cluster.version

    @property
    def host(self) -> str:
        return self.cluster.host

    @property
    def port(self) -> int:
        return self.cluster.port

    @property
    def psql(self) -> Path:
        return self.cluster.psql

    def admin(self, database: str = "postgres") -> psycopg.Connection:
        """An autocommit superuser connection; close it."""
        return self.cluster.connect(database)

    def connect(self, user: str, password: str, database: str = "postgres") -> psycopg.Connection:
        """As a person would: TCP and a password."""
        return psycopg.connect(
            host=self.host,
            port=self.port,
            user=user,
            password=password,
            dbname=database,
            autocommit=True,
            connect_timeout=10,
        )

    def create_database(self, name: str = "") -> str:
        """A fresh, empty database; returns its name."""
        name = name or f"t{next(self._numbers)}"
        how = sql.SQL("STRATEGY file_copy" if self.version >= 15 else "")  # without a log of it; the way before 15
        with self.admin() as admin:
            admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0 {}").format(sql.Identifier(name), how))
        return name

    def forget_the_record(self) -> None:
        """Take away what a portal left here of its record, by which it would know that it has lost some."""
        with self.admin() as admin:
            admin.execute("DROP ROLE IF EXISTS jitportal_memory")

    def drop_database(self, name: str) -> None:
        """Drop it and cut whoever is connected."""
        with self.admin() as admin:
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


_made: list[TargetServer] = []


def forget_the_record() -> None:
    """A record that begins anew has never been on any of these servers."""
    for server in _made:
        if server.cluster.running:
            server.forget_the_record()


def versions() -> list[int]:
    """What to test on: the wanted ones first, found or not."""
    return list(dict.fromkeys([*VERSIONS, *sorted(installed(), reverse=True)]))
