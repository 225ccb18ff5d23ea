"""Migration 0006 on a record that has entries already: they get the database, and nothing else of them changes."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests.support import record
from tests.support.portal import PortalDatabase

MIGRATIONS = Path(__file__).resolve().parents[2] / "apps/audit/migrations"
NAME = "migrating"
BEFORE = [
    (record.body(subject="request:r1", facts={"database": "d1"}), "d1"),
    (record.body(subject="request:r1", action="decision.approved"), "d1"),
    (record.body(subject="grant:g1", action="grant.queued", facts={"database": "d1"}), "d1"),
    (record.body(subject="request:r2", action="decision.refused"), None),
    (record.body(subject="request:r2", facts={"database": "d2"}), "d2"),
    (record.body(subject="database:d3", action="database.changed", reason="why"), "d3"),
    (record.body(subject="catalog", action="column.classified", facts={"databases": ["d1", "d2"]}), "*"),
    (record.body(subject="record", action="record.read"), None),
    (b'{"action":"x","actor":"y","subject":"z","disclosed":{},"facts":[1]}', None),
]
SEALS = "SELECT index, entry_id, recorded_at, recorded_by, hash, action, actor, subject FROM audit.seal ORDER BY index"


@pytest.fixture
def owner(portal_database: PortalDatabase) -> Iterator[psycopg.Connection]:
    """The owner in a database that has the record as it was before."""
    cluster = portal_database.cluster
    with cluster.connect() as superuser:
        superuser.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(NAME)))
        superuser.execute(sql.SQL("CREATE DATABASE {} OWNER jitportal_owner").format(sql.Identifier(NAME)))
    with cluster.connect(NAME) as connection:
        connection.execute("SET ROLE jitportal_owner")
        for file in ("0001_initial", "0002_sealed_together", "0003_erasing"):
            connection.execute((MIGRATIONS / f"{file}.sql").read_bytes())
        yield connection
    with cluster.connect() as superuser:
        superuser.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(NAME)))


def add(owner: psycopg.Connection, body: bytes) -> None:
    with owner.transaction():
        entry = record.insert(owner, body)
        if b'"reason"' in body:
            record.disclose(owner, entry, "reason", "why")


def listed(owner: psycopg.Connection) -> list[str | None]:
    return [name for (name,) in owner.execute("SELECT database FROM audit.seal ORDER BY index").fetchall()]


def migrate(owner: psycopg.Connection) -> None:
    with owner.transaction():
        owner.execute((MIGRATIONS / "0006_found_by_database.sql").read_bytes())


def test_migrate_when_the_record_has_entries_lists_each_and_changes_nothing_else(owner: psycopg.Connection) -> None:
    for body, _ in BEFORE:
        add(owner, body)
    seals = owner.execute(SEALS).fetchall()
    migrate(owner)
    assert listed(owner) == [name for _, name in BEFORE]
    assert owner.execute(SEALS).fetchall() == seals
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="only grows"):
        owner.execute("UPDATE audit.seal SET database = 'd9'")
    enabled = owner.execute("SELECT tgenabled FROM pg_trigger WHERE tgrelid = 'audit.seal'::regclass").fetchall()
    assert enabled == [("A",)]


def test_seal_when_migrated_lists_the_same_as_the_migration_would(owner: psycopg.Connection) -> None:
    migrate(owner)
    for body, _ in BEFORE:
        add(owner, body)
    assert listed(owner) == [name for _, name in BEFORE]


def test_migrate_when_a_body_cannot_be_read_goes_on(owner: psycopg.Connection) -> None:
    """Somebody has written past the sealing: that is for verification to find, and must not stop an upgrade."""
    add(owner, BEFORE[0][0])
    owner.execute("ALTER TABLE audit.entry DISABLE TRIGGER refuse_change")
    owner.execute("UPDATE audit.entry SET body = 'no json'")
    owner.execute("ALTER TABLE audit.entry ENABLE ALWAYS TRIGGER refuse_change")
    migrate(owner)
    assert listed(owner) == [None]
