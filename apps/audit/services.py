"""The face of the record towards other apps: its only writer, its readers and its verifier.

Verbs of other apps call `record()` as the last write of their own transaction, so that an entry and the change it
tells of are committed together or not at all.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.models import Model

from apps.audit import canonical
from apps.audit.actions import Action
from apps.audit.body import Body, rfc3339, write
from apps.audit.canonical import Json
from apps.audit.chain import SALT_BYTES, commitment
from apps.audit.finding import Filter
from apps.audit.models import Disclosure
from apps.audit.trail import Line, checkpoint, entries, hash_at, head, iterate, last_index, latest, trail_csv
from apps.audit.verification import Verification, verify
from apps.core import clock
from apps.core.errors import Invalid, PortalError

__all__ = [
    "Filter",
    "Line",
    "Telling",
    "Verification",
    "checkpoint",
    "disclosed_texts",
    "entries",
    "export_recorded",
    "hash_at",
    "head",
    "iterate",
    "last_index",
    "latest",
    "read_recorded",
    "record",
    "record_all",
    "record_attempt",
    "record_refusal",
    "trail_csv",
    "verify",
]

MAX_TEXT_BYTES: Final = 1_048_576  # what the database's constraint says
RECORD: Final = "record"  # the subject of entries about the record itself
# One statement for hundreds of rows, whose parameters Django would write out one by one: entries one after another, and
# beside each what it discloses.
_TELL: Final = """
WITH told AS (
  INSERT INTO audit.entry (body) SELECT body FROM unnest(%s::bytea[]) WITH ORDINALITY t (body, n) ORDER BY n
  RETURNING id
), numbered AS (SELECT id, row_number() OVER (ORDER BY id) AS n FROM told), disclosed AS (
  INSERT INTO audit.disclosure (entry_id, field, salt, value)
  SELECT e.id, d.field, d.salt, d.value
  FROM numbered e JOIN unnest(%s::int[], %s::text[], %s::bytea[], %s::text[]) d (n, field, salt, value) USING (n)
)
SELECT id FROM told ORDER BY id
"""


@dataclass(frozen=True, kw_only=True)
class Telling:
    """An entry to be: see record()."""

    action: Action
    actor: str
    subject: str
    facts: Mapping[str, Json] = field(default_factory=dict)
    disclosed: Mapping[str, str] = field(default_factory=dict)


def record(
    action: Action,
    *,
    actor: str,
    subject: str,
    facts: Mapping[str, Json] | None = None,
    disclosed: Mapping[str, str] | None = None,
    at: datetime | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> int:
    """Add an entry inside the caller's transaction; returns its id (its index is given at commit).

    `actor` and `subject` are opaque, such as `user:k3v5x2m7qa` or `request:…`. What says something about a person
    (names, addresses, reasons, comments, statements) goes into `disclosed`, never into `facts`.
    `at`: the portal's time, where its clock has just been asked. `using`: for whoever works as the owner.
    Raises Invalid for what cannot be recorded, and TransactionManagementError outside a transaction.
    """
    telling = Telling(action=action, actor=actor, subject=subject, facts=facts or {}, disclosed=disclosed or {})
    return record_all([telling], at=at, using=using)[0]


def record_all(tellings: Sequence[Telling], *, at: datetime | None = None, using: str = DEFAULT_DB_ALIAS) -> list[int]:
    """As record(), for many at once. They are sealed together, and all others wait for that (decision 0003): a few
    hundred are the most that one transaction should hold.
    """
    connection = connections[using]
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError(
            "An entry belongs into the transaction of what it tells of: call record() inside atomic()."
        )
    if not tellings:
        return []
    told_at = rfc3339(at or clock.now())
    texts = [
        {field: (secrets.token_bytes(SALT_BYTES), _text(field, value)) for field, value in telling.disclosed.items()}
        for telling in tellings
    ]
    bodies = [_body(telling, told, told_at) for telling, told in zip(tellings, texts, strict=True)]
    rows = [
        (number, field, salt, value)
        for number, told in enumerate(texts, start=1)
        for field, (salt, value) in told.items()
    ]
    columns = [[row[place] for row in rows] for place in range(4)]
    with connection.cursor() as cursor:
        cursor.execute(_TELL, [bodies, *columns])
        return [pk for (pk,) in cursor.fetchall()]


def _body(telling: Telling, texts: Mapping[str, tuple[bytes, str]], at: str) -> bytes:
    body = Body(
        action=telling.action,
        actor=telling.actor,
        at=at,
        subject=telling.subject,
        facts=telling.facts,
        commitments={field: commitment(salt, value) for field, (salt, value) in texts.items()},
    )
    return write(body)


@transaction.atomic(durable=True)
def record_refusal(
    action: Action,
    *,
    actor: str,
    subject: str,
    facts: Mapping[str, Json] | None = None,
    disclosed: Mapping[str, str] | None = None,
) -> None:
    """Record that a verb refused. The verb's own transaction is rolled back by then, so this is a new one."""
    record(action, actor=actor, subject=subject, facts=facts, disclosed=disclosed)


def record_attempt(
    action: Action,
    refusal: PortalError,
    *,
    actor: str,
    person: str,
    about: tuple[str, type[Model], str],
    facts: Mapping[str, Json] | None = None,
    disclosed: Mapping[str, str] | None = None,
) -> None:
    """As record_refusal(), of somebody who tried what they may not. `about`: as in `grant:…`, its model, its key as it
    was given. What does not exist at all is a slip, not an attempt, and is not recorded.
    """
    kind, model, key = about
    if "\0" in key or not model._default_manager.filter(pk=key).exists():
        return
    record_refusal(
        action,
        actor=actor,
        subject=f"{kind}:{key}",
        facts={**(facts or {}), "status": refusal.status},
        disclosed={"person": person, "why": refusal.sentence, **(disclosed or {})},
    )


@transaction.atomic(durable=True)
def read_recorded(reader: str) -> None:
    """Somebody reads the record: one entry per reader and hour, however many processes are asked at once."""
    hour = clock.now().replace(minute=0, second=0, microsecond=0)
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        # A second one waits here until the first has committed, and then finds its entry.
        cursor.execute(
            "INSERT INTO audit.reading (reader, hour) VALUES (%s, %s) ON CONFLICT DO NOTHING", [reader, hour]
        )
    told = latest(limit=1, where=Filter(action=Action.RECORD_READ, actor=reader))
    # The row alone would do for an honest database; a row that was put there beforehand must not hide a reader.
    if not told or told[0].facts.get("hour") != rfc3339(hour):
        record(Action.RECORD_READ, actor=reader, subject=RECORD, facts={"hour": rfc3339(hour)})


@transaction.atomic(durable=True)
def export_recorded(reader: str, *, facts: Mapping[str, Json], disclosed: Mapping[str, str] | None = None) -> None:
    """Somebody takes a copy of the record along: one entry each time. `facts` and what they typed say which part."""
    record(Action.RECORD_EXPORTED, actor=reader, subject=RECORD, facts=facts, disclosed=disclosed)


def disclosed_texts(entry_ids: Sequence[int], field: str) -> dict[int, str]:
    """One disclosed text of each of these entries, by the entry's id; those that were erased are left out."""
    rows = Disclosure.objects.filter(entry_id__in=entry_ids, field=field)
    return dict(rows.values_list("entry_id", "value"))


def _text(field: str, value: str) -> str:
    if len(canonical.text(value).encode()) > MAX_TEXT_BYTES:
        raise Invalid(f"The record keeps at most {MAX_TEXT_BYTES} bytes of a {field}.", field=field)
    return value
