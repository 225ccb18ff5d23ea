"""What a login leaves behind: prepared transactions, and what it owns in any database of the server."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby

import psycopg
from psycopg import sql

from apps.engines.base import EngineError, LeftObject, Target
from apps.engines.postgresql import graveyard, roles
from apps.engines.postgresql.connect import Connection, batch, makers_apply, session


@dataclass
class Ending:
    """One login on its way out."""

    login: str
    role: str  # its name on the server, which a DBA may have changed
    oid: int
    comment: str | None
    locked: bool
    locked_at: datetime | None = None
    clean_at: datetime | None = None
    clean_scans: int = 0
    cut: set[int] = field(default_factory=set)  # pids
    leftover: str = ""
    left: tuple[LeftObject, ...] = ()
    failure: psycopg.Error | None = None  # of the last statement on it

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.role)


def roll_back_prepared(connection: Connection, target: Target, endings: list[Ending]) -> None:
    """A prepared transaction outlives its session and holds its locks; only its owner or a superuser may end it."""
    by_name = {one.role: one for one in endings}
    statement = "SELECT owner::text, gid, database::text FROM pg_prepared_xacts WHERE owner = ANY (%s::text[]::name[])"
    for owner, gid, database in connection.execute(statement, [list(by_name)]).fetchall():
        one = by_name[owner]
        with (
            _keeping_leftover(one, f"a prepared transaction in the database “{database}”"),
            session(target, database, doing="rolling back a prepared transaction") as there,
        ):
            options = sql.SQL(" WITH SET TRUE" if makers_apply(there) else "")
            grant = sql.SQL("GRANT {} TO CURRENT_USER").format(one.identifier) + options
            batch(there, [*roles.become_maker(there, one.login), grant])
            there.execute(sql.SQL("SET ROLE {}").format(one.identifier))
            there.execute(sql.SQL("ROLLBACK PREPARED {}").format(sql.Literal(gid)))


def burdened(connection: Connection, endings: list[Ending]) -> set[int]:
    """Oids of those that own or hold anything in any database, or have prepared a transaction: most never do."""
    statement = """
        SELECT refobjid FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass AND refobjid = ANY (%s::oid[])
        UNION SELECT r.oid FROM pg_prepared_xacts p JOIN pg_roles r ON r.rolname = p.owner WHERE r.oid = ANY (%s::oid[])
    """
    oids = [one.oid for one in endings]
    return {oid for (oid,) in connection.execute(statement, [oids, oids])}


def drop_owned(connection: Connection, target: Target, endings: list[Ending]) -> None:
    """Only where pg_shdepend says so. What others depend on goes to the login's graveyard."""
    by_oid = {one.oid: one for one in endings}
    statement = """
        SELECT DISTINCT d.refobjid, coalesce(b.datname::text, current_database()::text)
        FROM pg_shdepend d LEFT JOIN pg_database b ON b.oid = d.dbid
        WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = ANY (%s::oid[]) ORDER BY 2, 1
    """
    rows = connection.execute(statement, [list(by_oid)]).fetchall()
    for database, group in groupby(rows, key=lambda row: str(row[1])):
        for one in [by_oid[oid] for oid, _ in group]:
            with (
                _keeping_leftover(one, f"objects in the database “{database}”"),
                session(target, database, doing=f"dropping what {one.login} owns") as there,
            ):
                _drop_owned(there, target, one)


def _drop_owned(there: Connection, target: Target, one: Ending) -> None:
    try:
        batch(there, _dropping_owned(there, one))
    except psycopg.errors.DependentObjectsStillExist:
        graveyard.bury(there, target, one.login, one.identifier)


def _dropping_owned(connection: Connection, one: Ending) -> list[sql.Composable]:
    # Before 16 the manager is no member of what it creates, and only a member may drop what a role owns.
    own = [] if makers_apply(connection) else [sql.SQL("GRANT {} TO CURRENT_USER").format(one.identifier)]
    drop = sql.SQL("DROP OWNED BY {}").format(one.identifier)
    return [*roles.become_maker(connection, one.login), *own, drop]


@contextmanager
def _keeping_leftover(one: Ending, what: str) -> Iterator[None]:
    """Access is already zero: what cannot be cleaned up now is told, and tried again by the next call."""
    try:
        yield
    except EngineError as error:
        one.leftover = f"{one.login} left {what}. {error.sentence}"
