"""The one way in which the record is read as it is stored: stretch by stretch of indexes, in flat memory. No Django.

Each stretch is a few queries of its own. That is sound because nothing below the head may change: if it does, that is
a finding. Seals, entries and texts are fetched by range and put together here, which costs the server half of a join.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

import psycopg
from psycopg.rows import TupleRow, tuple_row
from psycopg.types.numeric import Int8BinaryLoader

from apps.audit.chain import Head

Connection: TypeAlias = psycopg.Connection[Any]
# index, recorded_at (see micros()), recorded_by, hash, action, actor, subject, entry_id, database
Seal: TypeAlias = tuple[int, int, str, bytes, str, str, str, int, str | None]
Text: TypeAlias = tuple[str, bytes, str]  # field, salt, value
Entry: TypeAlias = tuple[Seal, bytes, Sequence[Text]]

AT_ONCE: Final = 1_000  # indexes that one query goes over
FROM_2000: Final = 946_684_800_000_000  # µs from 1970 to 2000, where PostgreSQL's own count begins
NO_CLOCK: Final = 10**18  # µs: the year 33658
_STRETCH: Final = 100  # are looked at together: about what a processor's own cache holds, which is three times as fast
_LARGE: Final = 16_384  # bytes: larger ones are fetched one by one, so that a stretch of them is not in memory at once
_SEALS: Final = """
SELECT index, recorded_at, recorded_by, hash, action, actor, subject, entry_id, database FROM audit.seal
WHERE index >= %s AND index < %s {} ORDER BY index
"""
_ANY_ACTION: Final = _SEALS.format("")
_SOME_ACTIONS: Final = _SEALS.format("AND action = ANY (%s)")
_NEXT: Final = "SELECT min(index) FROM audit.seal WHERE index >= %s"
_BODIES: Final = "SELECT id, CASE WHEN octet_length(body) <= %s THEN body END FROM audit.entry WHERE id {}"
_TEXTS: Final = """
SELECT entry_id, field, salt, CASE WHEN octet_length(value) <= %s THEN value END FROM audit.disclosure
WHERE entry_id {}
"""
_RANGE: Final = "BETWEEN %s AND %s"
_LIST: Final = "= ANY (%s)"
_BODY: Final = "SELECT body FROM audit.entry WHERE id = %s"
_ALL_OF_ONE: Final = "SELECT field, salt, value FROM audit.disclosure WHERE entry_id = %s"


@dataclass(frozen=True, slots=True)
class Stretch:
    """Seals, and in the same places the bodies of their entries. What is large is fetched when it is asked for."""

    connection: Connection
    seals: list[Seal]
    bodies: list[bytes | None]  # None: the entry is gone, or large
    texts: dict[int, list[tuple[str, bytes, str | None]]]  # by entry, others' too; None: large
    is_large: bool  # something that was read together with it

    def __len__(self) -> int:
        return len(self.seals)

    def entries(self) -> Iterator[Entry]:
        """Those that are not gone."""
        for place, (seal, body) in enumerate(zip(self.seals, self.bodies, strict=True)):
            raw = self.body(place) if body is None else body
            if raw is not None:
                yield seal, raw, self.texts_of(place)

    def body(self, place: int) -> bytes | None:
        """None: the entry is gone."""
        body = self.bodies[place]
        return _one(self.connection, _BODY, self.seals[place][7]) if body is None else body

    def texts_of(self, place: int) -> Sequence[Text]:
        entry_id = self.seals[place][7]
        texts = self.texts.get(entry_id, ())
        if self.is_large and any(value is None for _, _, value in texts):
            return [(name, salt, value or "") for name, salt, value in rows(self.connection, _ALL_OF_ONE, entry_id)]
        return cast("Sequence[Text]", texts)


def stretches(connection: Connection, start: int, stop: int, actions: Sequence[str] | None = None) -> Iterator[Stretch]:
    """All with indexes from `start` up to, not including, `stop`; those that are listed under `actions`, or all."""
    first: int | None = start
    while first is not None and first < stop:
        behind = min(first + AT_ONCE, stop)
        some = [] if actions is None else [list(actions)]
        seals = rows(connection, _SOME_ACTIONS if some else _ANY_ACTION, first, behind, *some)
        if seals:
            yield from _joined(connection, seals)
        # There may be a gap of any width: somebody can have written any index.
        first = behind if len(seals) > 0 else _one(connection, _NEXT, behind)


def micros(recorded_at: int) -> int:
    """µs since 1970. A time that no clock tells (it can be infinite) becomes the earliest of all, and so a finding."""
    moment = recorded_at + FROM_2000
    return moment if abs(moment) < NO_CLOCK else Head().recorded_at


def rows(connection: Connection, query: str, *parameters: Any) -> list[Any]:
    """As they come in binary form, where a time of any kind is a number: µs since 2000."""
    with psycopg.Cursor(connection, row_factory=tuple_row) as cursor:
        cursor.adapters.register_loader("timestamptz", Int8BinaryLoader)
        cursor.execute(query.encode(), parameters or None, binary=True)
        return cursor.fetchall()


def _joined(connection: Connection, seals: list[Seal]) -> Iterator[Stretch]:
    ids = [seal[7] for seal in seals]
    first, last = min(ids), max(ids)
    # Entries are numbered as they begin and sealed as they commit, so those of a stretch lie close to each other.
    where, wanted = (_RANGE, (first, last)) if last - first < 2 * AT_ONCE else (_LIST, (ids,))
    found = rows(connection, _BODIES.format(where), _LARGE, *wanted)
    bodies = dict(found)
    if len(bodies) < len(found):  # only where somebody has taken the key away
        copies = Counter(entry_id for entry_id, _ in found)
        seals = [seal for seal in seals for _ in range(max(1, copies[seal[7]]))]
    texts: dict[int, list[tuple[str, bytes, str | None]]] = {}
    for entry_id, name, salt, value in rows(connection, _TEXTS.format(where), _LARGE, *wanted):
        texts.setdefault(entry_id, []).append((name, salt, value))
    is_large = None in bodies.values() or any(value is None for one in texts.values() for _, _, value in one)
    for start in range(0, len(seals), _STRETCH):
        some = seals[start : start + _STRETCH]
        yield Stretch(connection, some, [bodies.get(seal[7]) for seal in some], texts, is_large)


def _one(connection: Connection, query: str, *parameters: Any) -> Any:
    found: list[TupleRow] = rows(connection, query, *parameters)
    return found[0][0] if found else None
