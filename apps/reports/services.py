"""Taking a report: for auditors, recorded each time, and the same bytes again for the same part of the record."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Final

from django.conf import settings

from apps.accounts.actors import OPERATOR, Actor, actor_id
from apps.accounts.models import User
from apps.accounts.roles import is_auditor
from apps.audit import services as audit
from apps.audit.body import rfc3339
from apps.audit.canonical import Json
from apps.audit.stretches import first_index, stretch
from apps.audit.trail import Line
from apps.core import clock, csvsafe
from apps.core.errors import Invalid, NotAllowed, NotFound
from apps.core.texts import checked
from apps.reports.base import Asked, Report, Row
from apps.reports.listing import REPORTS
from apps.reports.lives import LIVES
from apps.reports.weeks import BEFORE, Week, by_week, period

USUAL: Final = timedelta(days=30)  # the period when nobody says which
_MAX_FILTER: Final = 200
_PIECE: Final = 32_768  # characters of a file that are sent at once


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What somebody asks for, as they gave it. Times have their zone; `size`: fold only that many entries."""

    since: datetime | None = None
    until: datetime | None = None
    person: str = ""
    database: str = ""
    size: int | None = None


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a report was folded from: the first `size` entries of the record; `hash` (hex) is that of the last."""

    origin: str
    size: int
    hash: str


class Taken:
    """One report on its way. `rows()` can be run through once; what was counted is there when that is done."""

    def __init__(self, report: Report, asked: Asked, checkpoint: Checkpoint) -> None:
        self.report, self.asked, self.checkpoint = report, asked, checkpoint
        self.entry_count = 0  # entries that the fold was given
        self.row_count = 0
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Hex, of the bytes of csv() so far."""
        return self._digest.hexdigest()

    @property
    def file_name(self) -> str:
        """With the size of the record, so that two files of one period can be told apart."""
        days = f"{self.asked.since:%Y-%m-%d}-{self.asked.until:%Y-%m-%d}"
        return f"{self.report.name}-{days}-of-{self.checkpoint.size}.csv"

    def rows(self) -> Iterator[Row]:
        for row in self.report.fold(self._lines(), self.asked):
            self.row_count += 1
            yield row

    def csv(self, rows: Iterable[Row] | None = None) -> Iterator[bytes]:
        """The file, a line at a time; `rows` where somebody listens in on rows()."""
        names = [column.name for column in self.report.columns]
        told = ([row[name] for name in names] for row in (self.rows() if rows is None else rows))
        for line in csvsafe.stream(names, told):
            data = line.encode()
            self._digest.update(data)
            yield data

    def _lines(self) -> Iterator[Line]:
        for line in chain(*self._stretches()):
            self.entry_count += 1
            yield line

    def _stretches(self) -> Iterator[Iterator[Line]]:
        """From the record's beginning what has to be known of the time before, from the period on everything."""
        size, report = self.checkpoint.size, self.report
        if report.before == report.reads:
            return iter([stretch(0, size, report.reads)])
        # One entry earlier: what is in the period has to follow from something.
        begin = max(0, min(first_index(self.asked.since), size) - 1)
        known = [stretch(0, begin, report.before)] if report.before else []
        return iter([*known, stretch(begin, size, report.reads)])


def take(*, actor: Actor, name: str, wanted: Wanted, as_what: str) -> Taken:
    """A report for an auditor, or for whoever has a shell on the server; that they take it is in the record.

    `as_what`: csv, json or page. Entries after those that there are now are not read, this one included.
    Raises NotAllowed, NotFound, Invalid.
    """
    require_auditor(actor)
    report = named(name)
    checkpoint = _checkpoint(wanted.size)
    asked = _asked(report, wanted)
    facts: dict[str, Json] = {
        "report": name,
        "as": as_what,
        "from": rfc3339(asked.since),
        "to": rfc3339(asked.until),
        "size": checkpoint.size,
    }
    typed = {"person_asked": asked.person, "database_asked": asked.database}
    audit.export_recorded(actor_id(actor), facts=facts, disclosed={key: text for key, text in typed.items() if text})
    return Taken(report, asked, checkpoint)


def check(name: str, wanted: Wanted) -> None:
    """Raise what take() would, before anything is read. Raises NotFound, Invalid."""
    _checkpoint(wanted.size)
    _asked(named(name), wanted)


@dataclass(frozen=True, kw_only=True)
class Figures:
    weeks: list[Week]
    entry_count: int  # that were read
    size: int  # of the record


def weekly(*, actor: User, weeks: int) -> Figures:
    """Access by week, the present one last. Reading it counts as reading the record. Raises NotAllowed."""
    require_auditor(actor)
    audit.read_recorded(actor.audit_id)
    now, size = clock.now(), audit.head().size
    asked = period(now, weeks=weeks)
    count = 0

    def lines() -> Iterator[Line]:
        nonlocal count
        for line in stretch(min(first_index(asked.since - BEFORE), size), size, LIVES):
            count += 1
            yield line

    found = by_week(lines(), asked, now)
    return Figures(weeks=found, entry_count=count, size=size)


def named(name: str) -> Report:
    """Raises NotFound."""
    report = REPORTS.get(name)
    if report is None:
        raise NotFound(f"There is no report {name[:50]!r}. There are: {', '.join(REPORTS)}.")
    return report


def require_auditor(actor: Actor) -> None:
    """Raise NotAllowed unless `actor` may read the record."""
    allowed = is_auditor(actor) if isinstance(actor, User) else actor == OPERATOR
    if not allowed:
        raise NotAllowed("Reports are for auditors. Ask one of them for a copy of what concerns you.")


def parameters(report: Report) -> list[str]:
    """What it can be limited by."""
    filters = {"person": report.by_person, "database": report.by_database}
    return ["from", "to", *(name for name, is_there in filters.items() if is_there), "size"]


def first_rows(taken: Taken, *, at_most: int) -> list[Row]:
    """Read all of it, for its counts and its digest, and keep the first rows."""
    kept: list[Row] = []

    def listening() -> Iterator[Row]:
        for row in taken.rows():
            if len(kept) < at_most:
                kept.append(row)
            yield row

    for _ in taken.csv(listening()):
        pass
    return kept


def in_pieces(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Lines put together as a network likes them; the first one goes out at once."""
    held, size, is_first = list[bytes](), 0, True
    for line in lines:
        held.append(line)
        size += len(line)
        if is_first or size >= _PIECE:
            yield b"".join(held)
            held, size, is_first = [], 0, False
    if held:
        yield b"".join(held)


def moment(text: str, *, field: str) -> datetime | None:
    """`2026-11-01` (its beginning, UTC) or RFC 3339 with a zone; None for an empty text. Raises Invalid."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None:
        raise Invalid(f"{text[:50]!r} is no time: give a day, 2026-11-01, or 2026-11-01T12:00:00Z.", field=field)
    if found.tzinfo is None and len(text) > len("2026-11-01"):
        raise Invalid("A time needs its zone: 2026-11-01T12:00:00Z, or with +01:00 at its end.", field=field)
    try:
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except OverflowError as error:
        raise Invalid("This time lies beyond the calendar.", field=field) from error


def check_period(since: datetime, until: datetime) -> None:
    """Raises Invalid."""
    if since >= until:
        raise Invalid("The period ends before it begins: it has to begin earlier than it ends.", field="from")


def said(taken: Taken) -> Mapping[str, object]:
    """What is to be known of a report besides its rows, once all of them were read."""
    return {
        "name": taken.report.name,
        "title": taken.report.title,
        "answers": taken.report.answers,
        "counts": taken.report.counts,
        "from": rfc3339(taken.asked.since),
        "to": rfc3339(taken.asked.until),
        "person": taken.asked.person,
        "database": taken.asked.database,
        "entries": taken.entry_count,
        "rows": taken.row_count,
        "sha256": taken.sha256,
        "checkpoint": {
            "origin": taken.checkpoint.origin,
            "size": taken.checkpoint.size,
            "hash": taken.checkpoint.hash,
        },
    }


def _asked(report: Report, wanted: Wanted) -> Asked:
    now = clock.now()
    until = wanted.until or now
    try:
        since = wanted.since or until - USUAL
    except OverflowError as error:
        raise Invalid("This period lies beyond the calendar.", field="to") from error
    check_period(since, until)
    asked = Asked(
        since=since,
        until=until,
        person=checked(wanted.person, what="The person", field="person", at_most=_MAX_FILTER),
        database=checked(wanted.database, what="The database", field="database", at_most=_MAX_FILTER),
    )
    if asked.person and not report.by_person:
        raise Invalid(f"The report {report.name} is not about people, so it cannot be limited to one.", field="person")
    if asked.database and not report.by_database:
        raise Invalid(f"The report {report.name} is not about databases: leave `database` out.", field="database")
    return asked


def _checkpoint(size: int | None) -> Checkpoint:
    head = audit.head()
    if size is None or size == head.size:
        return Checkpoint(origin=settings.AUDIT_ORIGIN, size=head.size, hash=head.hash.hex())
    found = audit.hash_at(size - 1) if 0 < size < head.size else None
    if found is None:
        raise Invalid(f"The record has {head.size} entries: `size` is a number from 1 to that.", field="size")
    return Checkpoint(origin=settings.AUDIT_ORIGIN, size=size, hash=found.hex())
