"""Deleting texts about a person beside the record. The entries stay, and with them what they commit to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db import connections

from apps.audit import services as audit
from apps.audit.actions import Action

# What entries about somebody hold besides, and does not speak of them: the name of whoever acted, and what of a
# database they are about.
_OF_OTHERS: Final = ("person", "filters", "columns", "tables", "slug", "datname", "host", "group", "what", "difference")
_ABOUT: Final = """
SELECT d.entry_id, d.field FROM audit.disclosure d
JOIN audit.entry e ON e.id = d.entry_id JOIN audit.seal s ON s.entry_id = d.entry_id
WHERE s.action <> %(erasing)s AND (
  s.actor = %(person)s OR s.subject = %(person)s OR s.subject = ANY(%(wholly)s)
  OR d.field <> ALL(%(others)s)
    AND (s.subject = ANY(%(subjects)s) OR position(convert_to(%(quoted)s, 'UTF8') IN e.body) > 0))
ORDER BY d.entry_id, d.field
"""


@dataclass(frozen=True)
class ErasedTexts:
    texts: int
    entries: int


def erase_texts(
    *, actor: str, person: str, subjects: Sequence[str], wholly: Sequence[str], reason: str, using: str
) -> ErasedTexts:
    """All that the record discloses of `person` (its id of them, `user:…`), and of `subjects` that are theirs. Of the
    subjects `wholly` every text goes, because all of it speaks of them.

    Inside the caller's transaction on `using`, as the owner of the tables. Recorded with the numbers; the reason stays.
    """
    about: dict[str, Any] = {
        "erasing": Action.PERSON_ERASED.value,
        "person": person,
        "subjects": list(subjects),
        "wholly": list(wholly),
        "quoted": f'"{person}"',
        "others": list(_OF_OTHERS),
    }
    with connections[using].cursor() as cursor:
        cursor.execute(_ABOUT, about)
        found: list[tuple[int, str]] = cursor.fetchall()
        done = ErasedTexts(texts=len(found), entries=len({entry for entry, _ in found}))
        entry = audit.record(
            Action.PERSON_ERASED,
            actor=actor,
            subject=person,
            facts={"texts": done.texts, "entries": done.entries},
            disclosed={"reason": reason},
            using=using,
        )
        ids, fields = [entry_id for entry_id, _ in found], [field for _, field in found]
        cursor.execute("SELECT audit.erase(%s, %s::bigint[], %s::text[])", [entry, ids, fields])
    return done
