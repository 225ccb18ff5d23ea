"""Reading the record: its head, and entries with their texts, page by page or as one stream."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Final

from django.conf import settings
from django.db import connection

from apps.audit.actions import Action
from apps.audit.body import Body, read, rfc3339
from apps.audit.canonical import Json
from apps.audit.chain import Head, commitment, micros
from apps.audit.checks import check_seal, check_texts
from apps.audit.models import Seal, SealQuerySet
from apps.core import csvsafe
from apps.core.errors import Invalid

_BATCH: Final = 1_000
# Texts that have a column of their own in the CSV; others share one.
TEXT_COLUMNS: Final = ("person", "reason", "comment")


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which entries. `action` may be a beginning (`grant.`); `since` is inclusive, `until` exclusive."""

    action: str = ""
    actor: str = ""
    subjects: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None


EVERYTHING: Final = Filter()


@dataclass(frozen=True, kw_only=True)
class Line:
    """One entry as people and the API read it. A text that was erased is named in `erased`, not in `disclosed`.

    `problem` says in a sentence why the entry is not to be believed as it stands. Where the body is not what the
    portal writes, only the seal's words are shown.
    """

    index: int
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
    """What an auditor writes down today, to see tomorrow that nothing before it has changed; `hash` is hex.

    `note` is the signed form; there is none as long as checkpoints are not signed.
    """
    now = head()
    return {"origin": settings.AUDIT_ORIGIN, "size": now.size, "hash": now.hash.hex(), "note": None}


def entries(*, after: int = -1, limit: int = 100, where: Filter = EVERYTHING) -> list[Line]:
    """Oldest first, beginning behind the index `after`."""
    return [_line(seal) for seal in _found(where).filter(index__gt=after).order_by("index").with_texts()[:limit]]


def latest(*, before: int | None = None, limit: int = 100, where: Filter = EVERYTHING) -> list[Line]:
    """Newest first, beginning in front of the index `before`."""
    found = _found(where) if before is None else _found(where).filter(index__lt=before)
    return [_line(seal) for seal in found.order_by("-index").with_texts()[:limit]]


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


def _found(where: Filter) -> SealQuerySet:
    return Seal.objects.matching(
        action=where.action, actor=where.actor, subjects=where.subjects, since=where.since, until=where.until
    )


def _line(seal: Seal) -> Line:
    raw = bytes(seal.entry.body)
    texts = [(text.field, bytes(text.salt), text.value) for text in seal.entry.disclosures.all()]
    body, problem = _readable(seal, raw, texts)
    disclosed = {name: value for name, salt, value in texts if body.commitments.get(name) == commitment(salt, value)}
    return Line(
        index=seal.index,
        recorded_at=seal.recorded_at,
        recorded_by=seal.recorded_by,
        hash=bytes(seal.hash),
        body=raw,
        action=body.action,
        actor=body.actor,
        subject=body.subject,
        at=body.at,
        facts=body.facts,
        disclosed=disclosed,
        erased=tuple(sorted(body.commitments.keys() - {name for name, _, _ in texts})),
        problem=problem,
    )


def _readable(seal: Seal, raw: bytes, texts: list[tuple[str, bytes, str]]) -> tuple[Body, str]:
    """One malformed body, written past the portal's code, must not take the page away from the auditor."""
    try:
        body = read(raw)
    except Invalid as error:
        words = Body(
            action=seal.action, actor=seal.actor, subject=seal.subject, at=rfc3339(seal.recorded_at), facts={},
            commitments={},
        )  # fmt: skip
        return words, error.sentence
    listed_as = (seal.action, seal.actor, seal.subject)
    problems = check_seal(seal.index, listed_as, seal.recorded_by, body), check_texts(seal.index, texts, body)
    return body, " ".join(chain.from_iterable(problems))


def _cells(line: Line) -> list[object]:
    texts = {**line.disclosed, **dict.fromkeys(line.erased, "[erased]")}
    columns = [texts.pop(name, "") for name in TEXT_COLUMNS]
    names = [line.recorded_by, line.at, line.actor, line.action, line.subject]
    said = [_json(line.facts), line.problem]
    return [line.index, rfc3339(line.recorded_at), *names, *said, *columns, _json(texts), line.hash.hex()]


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) if value else ""
