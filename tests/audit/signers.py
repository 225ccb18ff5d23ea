"""A portal that signs, on real disks and real sockets, and ways to make its record another one."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.db import transaction

from apps.audit import services as audit
from apps.audit.actions import Action
from apps.audit.notes import Checkpoint, Signer, new_signer, opened, signed
from tests.support.portal import PortalDatabase
from witness.witness import Server, Witness, read_key, served

ORIGIN = "tests.example.org"


def signing_by(settings: Any, folder: Path, *anchors: str) -> Signer:
    """Settings of a worker that has a key of its own and these anchors."""
    signer = new_signer(ORIGIN)
    path = folder / f"{signer.key.id.hex()}.key"
    path.touch(mode=0o600)
    path.write_text(f"{signer}\n", encoding="ascii")
    settings.AUDIT_ORIGIN = ORIGIN
    settings.SIGNING_KEY_FILE = str(path)
    settings.ANCHORS = list(anchors)
    return signer


def happened(count: int = 1) -> None:
    """So many entries more."""
    for _ in range(count):
        with transaction.atomic(durable=True):
            audit.record(Action.RECORD_READ, actor="user:auditor", subject="record")


def holds(note: str, signer: Signer) -> int:
    """The size that a note tells of, signed by this key and of the record here."""
    found, _ = opened(note, [signer.key])
    assert audit.hash_at(found.size - 1) == found.hash
    return found.size


def of_another_history(signer: Signer, *, more: int = 0) -> str:
    """What an anchor holds that has seen a record of as many entries, or more, with another end."""
    return signed(Checkpoint(ORIGIN, audit.head().size + more, bytes([7] * 32)), signer)


def cut_off(portal: PortalDatabase, count: int) -> None:
    """A superuser takes the last entries away, so that the record is whole in itself; they have no texts."""
    size = audit.head().size - count
    with portal.superuser() as superuser, superuser.transaction():
        for table in ("entry", "seal", "head"):
            superuser.execute(f"ALTER TABLE audit.{table} DISABLE TRIGGER USER".encode())
        superuser.execute(
            "DELETE FROM audit.entry e USING audit.seal s WHERE s.entry_id = e.id AND s.index >= %s", [size]
        )
        superuser.execute("DELETE FROM audit.seal WHERE index >= %s", [size])
        superuser.execute(
            "UPDATE audit.head SET size = %s, hash = s.hash, recorded_at = s.recorded_at"
            " FROM audit.seal s WHERE s.index = %s",
            [size, size - 1],
        )
        for table in ("entry", "seal", "head"):
            superuser.execute(f"ALTER TABLE audit.{table} ENABLE TRIGGER USER".encode())
        for trigger in ("entry.seal_entry", "entry.refuse_change", "seal.refuse_change", "head.refuse_change"):
            table, name = trigger.split(".")
            superuser.execute(f"ALTER TABLE audit.{table} ENABLE ALWAYS TRIGGER {name}".encode())
        superuser.execute("ALTER TABLE audit.head ENABLE ALWAYS TRIGGER refuse_step_back")


@contextmanager
def listening(witness: Witness) -> Iterator[str]:
    """Its address."""
    server = served(witness, "127.0.0.1", 0)
    with _serving(server):
        yield f"http://127.0.0.1:{server.server_address[1]}"


@contextmanager
def _serving(server: Server) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def witness_of(signer: Signer, path: Path) -> Witness:
    return Witness(str(path), [read_key(str(signer.key))])
