"""What was changed about the portal itself, and what it refused. Pure."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Final

from apps.audit.actions import Action
from apps.audit.trail import Line
from apps.reports.base import Asked, Column, Report, Row
from apps.reports.names import NAMING, Names
from apps.reports.reading import cited, key, listed, number, text, told, word, words

_EDITS: Final = frozenset(
    {Action.EDIT_PROPOSED, Action.EDIT_AGREED, Action.EDIT_DECLINED, Action.EDIT_WITHDRAWN}
)  # of what takes two people
_CHANGES: Final = _EDITS | frozenset(
    {
        Action.POLICY_CHANGED,
        Action.RIGHTS_CHANGED,
        Action.GROUP_CHANGED,
        Action.ACCOUNT_GROUPS_CHANGED,
        Action.ACCOUNT_PROVISIONED,
        Action.ACCOUNT_DEACTIVATED,
        Action.ACCOUNT_REACTIVATED,
        Action.ACCOUNT_EMERGENCY_CREATED,
        Action.TOKEN_CREATED,
        Action.TOKEN_REVOKED,
        Action.SERVER_ADDED,
        Action.SERVER_CHANGED,
        Action.SERVER_RETIRED,
        Action.SERVER_PORTAL_CONFIRMED,
        Action.PORTAL_CONFIRMED,
        Action.DATABASE_ADDED,
        Action.DATABASE_CHANGED,
        Action.CATALOG_SYNCED,
        Action.COLUMN_CLASSIFIED,
        Action.CLASSIFICATION_IMPORTED,
        Action.DATA_CLASS_CHANGED,
        Action.SUGGESTION_DISMISSED,
        Action.FILTER_ADDED,
        Action.FILTER_REMOVED,
        Action.TABLE_PAUSED,
        Action.TABLE_RESUMED,
        Action.NOTIFYING_ACCEPTED,
    }
)
_LONG: Final = frozenset({"policy", "ids"})  # facts that the entry itself is the place to read


def _changes(lines: Iterable[Line], asked: Asked) -> Iterator[Row]:
    names = Names()
    for line in takewhile(lambda line: line.recorded_at < asked.until, lines):
        names.learn(line)
        if line.recorded_at < asked.since or line.action not in _CHANGES:
            continue
        subject = word(line.facts, "about") if line.action in _EDITS else line.subject
        kind, _, about = subject.partition(":")
        people = (line.actor, subject if kind == "user" else word(line.facts, "owner"), word(line.facts, "proposed_by"))
        if names.is_asked(asked, people=people, database=about if kind == "database" else ""):
            yield {
                "at": told(line.recorded_at),
                "action": line.action,
                "person": names.of(line.actor),
                "person_id": line.actor,
                "about": names.of(line.subject),
                "about_id": line.subject,
                "details": _details(line),
                "texts": _texts(line),
                "problems": line.problem,
                "entries": cited([line.index]),
            }


def _details(line: Line) -> str:
    facts = {name: value for name, value in line.facts.items() if name not in _LONG}
    return json.dumps(facts, ensure_ascii=False, sort_keys=True) if facts else ""


def _texts(line: Line) -> str:
    """Texts beside the entry, but for the actor's own name."""
    fields = sorted((line.disclosed.keys() | set(line.erased)) - {"person"})
    return "\n".join(f"{field}: {text(line, field)}" for field in fields)


CHANGES: Final = Report(
    name="changes",
    title="Changes of configuration",
    answers="Who changed rules, groups, rights, classification, masks, servers or accounts, and what exactly?",
    counts="A row is one change that was recorded in the period.",
    own_columns=(
        Column("at", "when it was recorded"),
        Column("action", "what kind of change, in the record's own word"),
        Column("person", "who made it, as the record named them last; or the portal, or an operator on the server"),
        Column("person_id", "the same, as entries name them"),
        Column("about", "what was changed, as the record named it last"),
        Column("about_id", "the same, as entries name it"),
        Column("details", "facts of the entry as JSON: values before and after where it has them"),
        Column("texts", "texts beside the entry, one a line: names, reasons, columns"),
    ),
    reads=NAMING | _CHANGES,
    before=NAMING,
    fold=_changes,
)


_REFUSALS: Final[dict[str, str]] = {
    Action.EDIT_REFUSED: "second person of an edit refused",
    Action.REQUEST_DENIED: "request denied",
    Action.REQUEST_REFUSED: "request not possible",
    Action.DECISION_REFUSED: "decision refused",
    Action.GRANT_REFUSED: "use or end of access refused",
    Action.REVIEW_REFUSED: "review refused",
    Action.STATEMENT_REFUSED: "statement refused",
    Action.ACCOUNT_SIGN_IN_REFUSED: "sign-in refused",
    Action.GRANT_FAILED: "access refused by the server",
}
_DECIDED: Final = frozenset({Action.REQUEST_DENIED, Action.GRANT_FAILED})
_ENDS: Final = frozenset({Action.REQUEST_CANCELLED, Action.REQUEST_LAPSED, Action.REQUEST_DENIED, Action.GRANT_FAILED})
_DENIED: Final[frozenset[Action]] = frozenset({Action(action) for action in _REFUSALS} | _ENDS) | {
    Action.REQUEST_SUBMITTED,
    Action.GRANT_ISSUED,
}


@dataclass(frozen=True, slots=True)
class _Asked:
    actor: str
    database: str
    index: int


class _Refusals:
    """Remembers who asked for what is not decided, or not open, yet."""

    def __init__(self) -> None:
        self.names = Names()
        self.waiting: dict[str, _Asked] = {}

    def follow(self, line: Line) -> _Asked | None:
        """What the entry is about, where that is a request of somebody."""
        self.names.learn(line)
        request = key(line.subject) if line.subject.startswith("request:") else word(line.facts, "request")
        if line.action == Action.REQUEST_SUBMITTED:
            self.waiting[request] = _Asked(line.actor, word(line.facts, "database"), line.index)
        found = self.waiting.get(request)
        if not line.problem and (line.action in _ENDS or line.action == Action.GRANT_ISSUED):
            self.waiting.pop(request, None)
        return found


def _denied(lines: Iterable[Line], asked: Asked) -> Iterator[Row]:
    state = _Refusals()
    for line in takewhile(lambda line: line.recorded_at < asked.until, lines):
        about = state.follow(line)
        if line.recorded_at < asked.since or line.action not in _REFUSALS:
            continue
        person, database = _concerned(line, about)
        if state.names.is_asked(asked, people=(person, line.actor), database=database):
            yield {
                "at": told(line.recorded_at),
                "what": _REFUSALS[line.action],
                "person": state.names.of(person),
                "person_id": person,
                "database": state.names.database(database),
                "about": line.subject,
                "tried": word(line.facts, "tried"),
                "decided_by": state.names.of(line.actor) if line.action in _DECIDED else "",
                "why": _why(line),
                "status": number(line.facts, "status") or "",
                "problems": line.problem,
                "entries": cited([line.index] if about is None else [about.index, line.index]),
            }


def _concerned(line: Line, about: _Asked | None) -> tuple[str, str]:
    """Whom it was refused to, and the database."""
    kind, _, named = line.subject.partition(":")
    if line.action in _DECIDED:
        holder, database = word(line.facts, "holder"), word(line.facts, "database")
        return (about.actor, about.database) if about else (holder, database)
    if line.action == Action.ACCOUNT_SIGN_IN_REFUSED:
        return line.subject, ""
    return line.actor, named if kind == "database" else about.database if about else word(line.facts, "database")


def _why(line: Line) -> str:
    for field in ("why", "comment", "problem"):
        if said := text(line, field):
            return said
    return listed(words(line.facts, "reasons"))


DENIED: Final = Report(
    name="denied",
    title="What was refused",
    answers="What was asked for or tried and refused, to whom, by whom, and why?",
    counts=(
        "A row is one refusal that was recorded in the period: a request denied by a person, the policy or the portal; "
        "an attempt at what somebody may not do; a sign-in that was not let in; access that a server would not give."
    ),
    own_columns=(
        Column("at", "when it was recorded"),
        Column("what", "what kind of refusal"),
        Column("person", "to whom, as the record named them last"),
        Column("person_id", "the same, as entries name them"),
        Column("database", "short name of the database, where the entry tells one"),
        Column("about", "request, access, database or account that it concerned"),
        Column("tried", "what was tried, where that is not the request itself"),
        Column("decided_by", "who or what refused, where that was a decision; empty where the portal did at once"),
        Column("why", "the sentence that was given"),
        Column("status", "status of the answer, where there was one: 403, 404, 409"),
    ),
    reads=NAMING | _DENIED,
    before=NAMING | _ENDS | {Action.REQUEST_SUBMITTED, Action.GRANT_ISSUED},
    fold=_denied,
)


_READERS: Final = frozenset({Action.RECORD_READ, Action.RECORD_EXPORTED, Action.CLASSIFICATION_EXPORTED})


def _readers(lines: Iterable[Line], asked: Asked) -> Iterator[Row]:
    names = Names()
    for line in takewhile(lambda line: line.recorded_at < asked.until, lines):
        names.learn(line)
        if line.recorded_at < asked.since or line.action not in _READERS:
            continue
        if names.is_asked(asked, people=(line.actor,), database=""):
            yield {
                "at": told(line.recorded_at),
                "person": names.of(line.actor),
                "person_id": line.actor,
                "what": _what(line),
                "report": word(line.facts, "report"),
                "details": _details(line),
                "looked_for": _texts(line),
                "problems": line.problem,
                "entries": cited([line.index]),
            }


def _what(line: Line) -> str:
    if line.action == Action.RECORD_READ:
        return "read"
    if line.action == Action.CLASSIFICATION_EXPORTED:
        return "copy of the classification"
    return "report" if word(line.facts, "report") else "copy"


RECORD_READERS: Final = Report(
    name="record-readers",
    title="Readers of the record",
    answers="Who read the record, and who took which copies of it?",
    counts="A row is one reader in one hour, or one copy or report that was taken in the period.",
    by_database=False,
    own_columns=(
        Column("at", "when it was recorded"),
        Column("person", "who, as the record named them last; or an operator on the server"),
        Column("person_id", "the same, as entries name them"),
        Column("what", "read (told once an hour), copy, report, or copy of the classification"),
        Column("report", "name of the report"),
        Column("details", "facts of the entry as JSON: period, size of the record, the hour"),
        Column("looked_for", "filters that they typed, one a line"),
    ),
    reads=NAMING | _READERS,
    before=NAMING,
    fold=_readers,
)
