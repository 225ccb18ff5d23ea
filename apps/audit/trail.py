"""Reading the record: its head, and entries with their texts, page by page or as one stream."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from django.conf import settings
from django.db import connection

from apps.audit.actions import Action
from apps.audit.body import Body, read, rfc3339
from apps.audit.canonical import Json
from apps.audit.chain import Head, commitment, micros
from apps.audit.checks import check_listing, check_seal, check_texts
from apps.audit.finding import EVERYTHING, Filter, find
from apps.audit.models import Checkpoint, Seal
from apps.core import csvsafe
from apps.core.errors import Invalid

_BATCH: Final = 1_000
# Texts that have a column of their own in the CSV; others share one.
TEXT_COLUMNS: Final = ("person", "reason", "comment")


class Line(NamedTuple):
    """One entry as people and the API read it. A text that was erased is named in `erased`, not in `disclosed`.

    `problem` says in a sentence why the entry is not to be believed as it stands. Where the body is not what the
    portal writes, only the seal's words are shown. (No dataclass, because a report makes millions of them.)
    """

    index: int  # type: ignore[assignment]  # tuples have a method of that name
    recorded_at: datetime
    recorded_by: str
    hash: bytes
    body: bytes
    action: str
    actor: str
    subject: str
    at: str
    facts: Mapping[str, Json]
    disclosed: Mapping[str, str]
    erased: tuple[str, ...]
    problem: str


def head() -> Head:
    """The size of the record, the hash and the time of its last entry."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT size, hash, recorded_at FROM audit.head")
        size, digest, recorded_at = cursor.fetchone()
    return Head(size=size, hash=bytes(digest), recorded_at=micros(recorded_at))


def hash_at(index: int) -> bytes | None:
    """The chain's hash behind the entry with this index; None where the record has no such entry."""
    found = Seal.objects.filter(index=index).values_list("hash", flat=True).first()
    return None if found is None else bytes(found)


def last_index(actions: Iterable[Action]) -> int:
    """Where one of `actions` was told last; -1 where none was. Cheap enough to be asked all the time."""
    with connection.cursor() as cursor:
        # For each word apart: that is one step in the index, however long the record is.
        cursor.execute(
            "SELECT coalesce(max(last.index), -1) FROM unnest(%s::text[]) word, LATERAL"
            " (SELECT index FROM audit.seal WHERE action = word ORDER BY index DESC LIMIT 1) last",
            [sorted(action.value for action in actions)],
        )
        (index,) = cursor.fetchone()
    return int(index)


def checkpoint() -> dict[str, str | int | None]:
    """The head as it is now; `hash` is hex. Nobody has signed it yet: see signed_checkpoint()."""
    now = head()
    return {"origin": settings.AUDIT_ORIGIN, "size": now.size, "hash": now.hash.hex(), "note": None}


def signed_checkpoint() -> dict[str, str | int | None]:
    """What an auditor keeps today, to see tomorrow that nothing before it has changed: the newest signed note.

    `size` and `hash` are those that it signs. Where nothing is signed it is the head, and `note` is None.
    """
    newest = Checkpoint.objects.last()
    if newest is None:
        return checkpoint()
    origin = newest.note.partition("\n")[0]
    return {"origin": origin, "size": newest.size, "hash": bytes(newest.hash).hex(), "note": newest.note}


def entries(*, after: int = -1, limit: int = 100, where: Filter = EVERYTHING) -> list[Line]:
    """Oldest first, beginning behind the index `after`."""
    return _read(find(where, low=after + 1, limit=limit))


def latest(*, before: int | None = None, limit: int = 100, where: Filter = EVERYTHING) -> list[Line]:
    """Newest first, beginning in front of the index `before`."""
    high = {} if before is None else {"high": before}
    return _read(find(where, **high, limit=limit, newest=True))


def iterate(where: Filter = EVERYTHING) -> Iterator[Line]:
    """Oldest first, as many as there are, in flat memory and without a long transaction."""
    page = entries(limit=_BATCH, where=where)
    while page:
        yield from page
        page = entries(after=page[-1].index, limit=_BATCH, where=where)


def trail_csv(lines: Iterable[Line]) -> Iterator[str]:
    """Lines of a CSV file that a spreadsheet can open safely. It is for reading: proofs need the bodies."""
    header = ["index", "recorded_at", "recorded_by", "at", "actor", "action", "subject", "details", "problem"]
    return csvsafe.stream([*header, *TEXT_COLUMNS, "other_texts", "hash"], map(_cells, lines))


def _read(indexes: list[int]) -> list[Line]:
    """In this order."""
    seals = Seal.objects.filter(index__in=indexes).with_texts().in_bulk()
    return [_line(seals[index]) for index in indexes]


def _line(seal: Seal) -> Line:
    raw = bytes(seal.entry.body)
    texts = [(text.field, bytes(text.salt), text.value) for text in seal.entry.disclosures.all()]
    sealing = (seal.index, seal.recorded_at, seal.recorded_by, bytes(seal.hash))
    return line_of(sealing, (seal.action, seal.actor, seal.subject, seal.database), raw, texts)


def line_of(
    sealing: tuple[int, datetime, str, bytes],
    listed_as: tuple[str, str, str, str | None],
    raw: bytes,
    texts: Sequence[tuple[str, bytes, str]],
) -> Line:
    """`sealing`: index, time, role and hash. `listed_as`: what the seal says of action, actor, subject and database.
    `raw` is the body, `texts` are (field, salt, value).
    """
    index, recorded_at, recorded_by, _ = sealing
    disclosed: dict[str, str] = {}
    try:
        body = read(raw)
    except Invalid as error:
        # One malformed body, written past the portal's code, must not take the page away from the auditor.
        body, problems = Body(*listed_as[:2], rfc3339(recorded_at), listed_as[2], {}, {}), [error.sentence]
    else:
        commitments = body.commitments
        problems = list(check_seal(index, listed_as[:3], recorded_by, body))
        problems += check_listing(index, listed_as[3], body)
        disclosed |= {name: text for name, salt, text in texts if commitments.get(name) == commitment(salt, text)}
        if len(disclosed) < len(texts):
            problems += check_texts(index, texts, body)
    erased = tuple(sorted(body.commitments.keys() - {name for name, _, _ in texts}))
    action, actor, at, subject, facts, _ = body
    return Line(*sealing, raw, action, actor, subject, at, facts, disclosed, erased, " ".join(problems))


def _cells(line: Line) -> list[object]:
    texts = {**line.disclosed, **dict.fromkeys(line.erased, "[erased]")}
    columns = [texts.pop(name, "") for name in TEXT_COLUMNS]
    names = [line.recorded_by, line.at, line.actor, line.action, line.subject]
    said = [_json(line.facts), line.problem]
    return [line.index, rfc3339(line.recorded_at), *names, *said, *columns, _json(texts), line.hash.hex()]


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) if value else ""
