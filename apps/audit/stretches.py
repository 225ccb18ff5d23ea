"""The record in its order, for whoever folds all of it: stretch by stretch, in flat memory, only what is asked for."""

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from django.db import connection

from apps.audit import reader
from apps.audit.actions import Action
from apps.audit.body import columns
from apps.audit.chain import commitment
from apps.audit.checks import counts, is_listed
from apps.audit.reader import NO_CLOCK, Entry, Stretch, Text
from apps.audit.trail import Line, line_of

_IN_2000: Final = datetime(2000, 1, 1, tzinfo=UTC)  # where the database's own count begins
_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)


class Row(NamedTuple):
    """A seal with its entry's body."""

    index: int  # type: ignore[assignment]  # tuples have a method of that name
    recorded_at: datetime
    recorded_by: str
    hash: bytes
    body: bytes


def stretch(start: int, stop: int, actions: Collection[Action] | None = None) -> Iterator[Line]:
    """Entries with indexes from `start` up to, not including, `stop`; those of `actions`, or all where that is None.

    What kind an entry is stands in its seal, which is not hashed: an entry that is listed under another action than
    its body has is a finding of verification.
    """
    for part in _parts(start, stop, None if actions is None else sorted(action.value for action in actions)):
        # What is large goes one by one, so that only one of it is in memory.
        for entries in ([entry] for entry in part.entries()) if part.is_large else [list(part.entries())]:
            if entries:
                yield from _lines(entries)


def _lines(entries: Sequence[Entry]) -> Iterator[Line]:
    """Those with which all is well are put together here, and trail.line_of() has the rest to say."""
    held = columns([raw for _, raw, _ in entries])
    of_each = zip(entries, held.action, held.actor, held.at, held.disclosed, held.facts, held.subject, strict=True)
    for place, ((seal, raw, texts), action, actor, at, disclosed, facts, subject) in enumerate(of_each):
        index, recorded_at, recorded_by, digest, listed_action, listed_actor, listed_subject, _, database = seal
        told = {
            name: value for name, salt, value in texts if disclosed.get(name) == {"commit": commitment(salt, value)}
        }
        sealing = (index, _moment(recorded_at), recorded_by, digest)
        if (
            len(told) == len(texts) == len(disclosed)
            and action == listed_action
            and actor == listed_actor
            and subject == listed_subject
            and counts(action, recorded_by)
            and is_listed(database, subject, facts)
            and place not in held.odd
        ):
            yield Line._make((*sealing, raw, action, actor, subject, at, facts, told, (), ""))
        else:
            yield line_of(sealing, (listed_action, listed_actor, listed_subject, database), raw, texts)


def sealed(start: int, stop: int) -> Iterator[tuple[Row, Sequence[Text]]]:
    """The same as it is stored, for whoever takes the record itself along: rows, and the texts beside each."""
    for part in _parts(start, stop, None):
        for (index, recorded_at, recorded_by, digest, *_), raw, texts in part.entries():
            yield Row(index, _moment(recorded_at), recorded_by, digest, raw), texts


def _parts(start: int, stop: int, words: list[str] | None) -> Iterator[Stretch]:
    connection.ensure_connection()
    return reader.stretches(connection.connection, start, stop, words)


def first_index(moment: datetime) -> int:
    """Of the first entry that was sealed at `moment` or later; the size of the record where there is none."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce("
            "(SELECT index FROM audit.seal WHERE recorded_at >= %s ORDER BY recorded_at, index LIMIT 1), "
            "(SELECT size FROM audit.head))",
            [moment],
        )
        (index,) = cursor.fetchone()
    return int(index)


def _moment(recorded_at: int) -> datetime:
    """A time that no clock tells, written by whoever can write anything, becomes the earliest: that is a finding."""
    try:
        return _EARLIEST if abs(recorded_at) >= NO_CLOCK else _IN_2000 + timedelta(0, 0, recorded_at)
    except OverflowError:
        return _EARLIEST
