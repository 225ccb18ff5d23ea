"""Entries written and looked at behind the portal's back."""

from typing import Any

import psycopg

from apps.audit.body import Body, write
from apps.audit.chain import commitment

SALT = bytes(range(32))


def body(
    *,
    action: str = "request.submitted",
    actor: str = "user:alice",
    subject: str = "request:r1",
    facts: dict[str, Any] | None = None,
    **texts: str,
) -> bytes:
    """Canonical bytes of an entry that commits to `texts` under SALT."""
    return write(
        Body(
            action=action,
            actor=actor,
            at="2026-11-22T12:00:00.000000Z",
            subject=subject,
            facts=facts or {},
            commitments={field: commitment(SALT, value) for field, value in texts.items()},
        )
    )


def insert(connection: psycopg.Connection, raw: bytes) -> int:
    """Add an entry as the connection's role; returns its id."""
    row = connection.execute("INSERT INTO audit.entry (body) VALUES (%s) RETURNING id", [raw]).fetchone()
    assert row is not None
    return int(row[0])


def disclose(connection: psycopg.Connection, entry: int, field: str, value: str, salt: bytes = SALT) -> None:
    connection.execute(
        "INSERT INTO audit.disclosure (entry_id, field, salt, value) VALUES (%s, %s, %s, %s)",
        [entry, field, salt, value],
    )


def size(connection: psycopg.Connection) -> int:
    row = connection.execute("SELECT size FROM audit.head").fetchone()
    assert row is not None
    return int(row[0])


def seal_of(connection: psycopg.Connection, entry: int) -> tuple[Any, ...] | None:
    """(index, recorded_at, recorded_by, hash) of one entry."""
    return connection.execute(
        "SELECT index, recorded_at, recorded_by, hash FROM audit.seal WHERE entry_id = %s", [entry]
    ).fetchone()
