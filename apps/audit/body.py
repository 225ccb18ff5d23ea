"""What an entry says, and the bytes that say it (docs/audit-format.md). Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeGuard

from apps.audit import canonical
from apps.audit.canonical import Json
from apps.core.errors import Invalid

MAX_NAME_BYTES: Final = 200  # of an action, an actor, a subject, a field's name; constraints say the same
_KEYS: Final = {"action", "actor", "at", "disclosed", "facts", "subject"}


@dataclass(frozen=True, kw_only=True)
class Body:
    """`at` is when it was done, by the portal's clock. `commitments`: field -> hex, for texts kept beside the entry."""

    action: str
    actor: str
    at: str
    subject: str
    facts: Mapping[str, Json]
    commitments: Mapping[str, str]


def write(body: Body) -> bytes:
    """Canonical bytes. Raises Invalid."""
    for name, value in (("action", body.action), ("actor", body.actor), ("subject", body.subject)):
        _check_name(name, value)
    for field in body.commitments:
        _check_name("field", field)
    return canonical.encode(
        {
            "action": body.action,
            "actor": body.actor,
            "at": body.at,
            "disclosed": {field: {"commit": commit} for field, commit in body.commitments.items()},
            "facts": body.facts,
            "subject": body.subject,
        }
    )


def read(raw: bytes) -> Body:
    """The way back. Raises Invalid, in a sentence, for every body that write() does not make."""
    content = canonical.decode(raw)
    if set(content) != _KEYS:
        raise Invalid(f"The body has the keys {', '.join(sorted(content))}; it must have {', '.join(sorted(_KEYS))}.")
    action, actor, at, subject = (content[key] for key in ("action", "actor", "at", "subject"))
    facts, disclosed = content["facts"], content["disclosed"]
    if not (_text(action) and _text(actor) and _text(at) and _text(subject) and isinstance(facts, dict)):
        raise Invalid("In the body action, actor, at and subject must be texts, and facts an object.")
    if not isinstance(disclosed, dict):
        raise Invalid("In the body disclosed must be an object.")
    commitments = {field: _commitment(held) for field, held in disclosed.items()}
    return Body(action=action, actor=actor, at=at, subject=subject, facts=facts, commitments=commitments)


def rfc3339(moment: datetime) -> str:
    """UTC, always with microseconds, so that texts sort as times do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def _check_name(what: str, value: str) -> None:
    if not 1 <= len(canonical.text(value).encode()) <= MAX_NAME_BYTES:
        raise Invalid(f"The {what} of an entry is a text of 1 to {MAX_NAME_BYTES} bytes.")


def _text(value: Json) -> TypeGuard[str]:
    return isinstance(value, str)


def _commitment(held: Json) -> str:
    commit = held.get("commit") if isinstance(held, dict) and set(held) == {"commit"} else None
    if not _text(commit):
        raise Invalid('In the body each disclosed field must be {"commit": text}.')
    return commit
