"""What the record says, read inside a test's own transaction, where nothing is sealed yet."""

import json
from dataclasses import dataclass
from typing import Any

from apps.audit.models import Disclosure, Entry


@dataclass(frozen=True)
class Said:
    pk: int
    action: str
    actor: str
    subject: str
    facts: dict[str, Any]
    texts: dict[str, str]


def said() -> list[Said]:
    """Entries of this test, oldest first."""
    return [_said(entry) for entry in Entry.objects.filter(seal=None).order_by("pk")]


def last_entry() -> Any:
    """The newest of them, or None."""
    entries = said()
    return entries[-1] if entries else None


def _said(entry: Entry) -> Said:
    body = json.loads(bytes(entry.body))
    texts = dict(Disclosure.objects.filter(entry_id=entry.pk).values_list("field", "value"))
    return Said(entry.pk, body["action"], body["actor"], body["subject"], body["facts"], texts)
