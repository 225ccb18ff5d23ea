"""How a grant is told in the record: opaque ids and times in the facts; names and sentences are disclosed."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import rfc8785

from apps.audit import services as audit
from apps.audit.actions import Action
from apps.audit.canonical import Json
from apps.grants.models import Grant

CLOCK: Final = "clock"
WORKER: Final = "worker"


def record(
    action: Action, grant: Grant, *, actor: str, disclosed: Mapping[str, str] | None = None, **facts: Json
) -> None:
    """One entry about a grant."""
    record_all([(action, grant, {**facts, "disclosed": disclosed or {}})], actor=actor)


def record_all(told: Iterable[tuple[Action, Grant, Mapping[str, Any]]], *, actor: str) -> None:
    """As record(), for many grants. The login holds a part of the person's name, so it is disclosed."""
    tellings = []
    for action, grant, more in told:
        facts = dict(more)
        texts = {"login": grant.login, **facts.pop("disclosed", {})}
        identity: dict[str, Json] = {
            "request": grant.request_id,
            "holder": f"user:{grant.holder_id}",
            "database": grant.database_id,
            "server": grant.server_id,
        }
        tellings.append(
            audit.Telling(action=action, actor=actor, subject=grant.audit_id, facts=identity | facts, disclosed=texts)
        )
    audit.record_all(tellings)


def digest(value: Any) -> str:
    """Hex SHA-256 of the canonical JSON: what the record keeps of something too long to repeat."""
    return hashlib.sha256(rfc8785.dumps(value)).hexdigest()
