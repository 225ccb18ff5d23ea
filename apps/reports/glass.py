"""Emergencies: access that nobody had agreed to before it began. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from apps.audit.actions import Action
from apps.audit.trail import Line
from apps.reports.base import Asked, Column, Report, Row
from apps.reports.names import NAMING, Names
from apps.reports.reading import cited, flag, key, listed, moment, number, seconds, text, told, word, words

_READS: Final[frozenset[Action]] = NAMING | {
    Action.REQUEST_SUBMITTED,
    Action.REQUEST_DENIED,
    Action.REVIEW_OPENED,
    Action.REVIEW_CLOSED,
    Action.GRANT_ISSUED,
    Action.GRANT_ENDED,
    Action.GRANT_FAILED,
}


@dataclass(slots=True)
class _Glass:
    asker: str
    database: str
    level: str
    tables: str
    reason: str
    ticket: str
    at: datetime
    proved_at: datetime | None = None
    opened_at: datetime | None = None
    ended_at: datetime | None = None
    reviewer: str = ""
    verdict: str = ""
    comment: str = ""
    reviewed_at: datetime | None = None
    refused: str = ""
    entries: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        return self.reviewed_at is not None or bool(self.refused)


def _glasses(lines: Iterable[Line], asked: Asked) -> Iterator[Row]:
    names, broken = Names(), dict[str, _Glass]()
    for line in lines:
        begins = line.recorded_at < asked.until
        if not begins and not broken:
            break
        names.learn(line)
        if line.action == Action.REQUEST_SUBMITTED:
            if begins and line.recorded_at >= asked.since and flag(line.facts, "break_glass"):
                broken[key(line.subject)] = _broken(line)
            continue
        request = key(line.subject) if line.subject.startswith("request:") else word(line.facts, "request")
        glass = broken.get(request)
        if glass is None or line.action in NAMING:
            continue
        _follow(glass, line)
        if glass.is_over:
            yield from _row(request, broken.pop(request), names, asked)
    for request, glass in broken.items():
        yield from _row(request, glass, names, asked)


def _broken(line: Line) -> _Glass:
    facts = line.facts
    tables = listed(words(facts, "tables")) or str(number(facts, "table_count") or "")
    return _Glass(
        asker=line.actor,
        database=word(facts, "database"),
        level=word(facts, "level"),
        tables=tables,
        reason=text(line, "reason"),
        ticket=text(line, "ticket"),
        at=line.recorded_at,
        entries=[line.index],
        problems=[line.problem] if line.problem else [],
    )


def _follow(glass: _Glass, line: Line) -> None:
    glass.entries.append(line.index)
    if line.problem:
        glass.problems.append(line.problem)
    elif line.action == Action.REVIEW_OPENED:
        glass.proved_at = moment(line.facts, "stepped_up_at")
    elif line.action == Action.GRANT_ISSUED:
        glass.opened_at = moment(line.facts, "starts_at") or line.recorded_at
    elif line.action in {Action.GRANT_ENDED, Action.GRANT_FAILED}:
        glass.ended_at = line.recorded_at
    elif line.action == Action.REVIEW_CLOSED:
        glass.reviewer, glass.reviewed_at = line.actor, line.recorded_at
        glass.verdict, glass.comment = word(line.facts, "verdict"), text(line, "comment")
    elif line.action == Action.REQUEST_DENIED:
        glass.refused = text(line, "why") or listed(words(line.facts, "reasons")) or "denied"


def _row(request: str, glass: _Glass, names: Names, asked: Asked) -> Iterator[Row]:
    if names.is_asked(asked, people=(glass.asker, glass.reviewer), database=glass.database):
        yield {
            "request": request,
            "person": names.of(glass.asker),
            "person_id": glass.asker,
            "database": names.database(glass.database),
            "level": glass.level,
            "tables": glass.tables,
            "reason": glass.reason,
            "ticket": glass.ticket,
            "broken_at": told(glass.at),
            "proved_at": told(glass.proved_at),
            "opened_at": told(glass.opened_at),
            "ended_at": told(glass.ended_at),
            "seconds_open": seconds(glass.opened_at, glass.ended_at),
            "review": _review(glass),
            "reviewed_by": names.of(glass.reviewer) if glass.reviewer else "",
            "reviewed_at": told(glass.reviewed_at),
            "comment": glass.comment or glass.refused,
            "seconds_to_review": seconds(glass.ended_at or glass.at, glass.reviewed_at),
            "exceptions": "reviewed by its own holder" if glass.reviewer == glass.asker else "",
            "problems": " ".join(glass.problems),
            "entries": cited(glass.entries),
        }


def _review(glass: _Glass) -> str:
    if glass.refused:
        return "denied"
    return glass.verdict or "open"


BREAK_GLASS: Final = Report(
    name="break-glass",
    title="Emergencies",
    answers="Who took access at once in an emergency, why, and who has looked at it since?",
    counts=(
        "A row is one request to break the glass, made in the period; what became of it is told also where it came "
        "later. It stands there as soon as its review is closed; open ones stand last."
    ),
    own_columns=(
        Column("request", "id of the request"),
        Column("person", "who broke the glass, as the record named them last"),
        Column("person_id", "the same person, as entries name them"),
        Column("database", "short name of the database"),
        Column("level", "query, export or change"),
        Column("tables", "tables that it reached; their number where the entry does not list them"),
        Column("reason", "why, in the person's words"),
        Column("ticket", "the ticket they named"),
        Column("broken_at", "when it was asked for"),
        Column("proved_at", "when the person had proved anew who they are"),
        Column("opened_at", "when the login opened on the server, in the portal's time"),
        Column("ended_at", "when its absence was recorded as read back from the server"),
        Column("seconds_open", "from the opening to that proof"),
        Column("review", "justified, unjustified, open; or denied by the policy at once"),
        Column("reviewed_by", "who closed the review"),
        Column("reviewed_at", "when"),
        Column("comment", "what the reviewer wrote, or why it was denied"),
        Column("seconds_to_review", "from the end of the access to the close of the review"),
        Column("exceptions", "where duties were not apart; empty where nothing was found"),
    ),
    reads=_READS,
    before=NAMING,
    fold=_glasses,
)
