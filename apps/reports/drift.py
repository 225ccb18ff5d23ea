"""Where servers were not as they had been proven to be. Pure."""

from collections.abc import Iterable, Iterator
from typing import Final

from apps.audit.actions import Action
from apps.audit.trail import Line
from apps.reports.base import Asked, Column, Report, Row
from apps.reports.names import NAMING, Names
from apps.reports.reading import cited, flag, key, number, seconds, text, told, word

_FOUND: Final[dict[str, str]] = {
    Action.DRIFT_FOUND: "drift",
    Action.GRANT_WITHDRAWN: "no longer allowed",
    Action.GRANT_UNENTITLED: "holder no longer entitled",
    Action.LOGIN_STRAY: "unknown login",
    Action.OBJECTS_LEFT: "objects left behind",
    Action.SERVER_PREFLIGHTED: "server not in order",
    Action.PORTAL_RESTORED: "record behind the servers",
    Action.PORTAL_CONFIRMED: "record behind the servers, confirmed",
}
_FIELDS: Final = ("opened", "changed", "reason", "findings", "objects", "why")
_DRIFT: Final[frozenset[Action]] = frozenset({Action(action) for action in _FOUND} | {Action.GRANT_ENDED})


def _drifts(lines: Iterable[Line], asked: Asked) -> Iterator[Row]:
    names, ending = Names(), dict[str, list[Line]]()
    for line in lines:
        begins = line.recorded_at < asked.until
        if not begins and not ending:
            break
        names.learn(line)
        if line.action == Action.GRANT_ENDED and not line.problem:
            for found in ending.pop(line.subject, ()):
                yield from _row(found, line, names, asked)
        elif begins and line.recorded_at >= asked.since and _counts(line):
            if _ends(line) and not line.problem:
                ending.setdefault(line.subject, []).append(line)
            else:
                yield from _row(line, None, names, asked)
    for waiting in ending.values():
        for found in waiting:
            yield from _row(found, None, names, asked)


def _counts(line: Line) -> bool:
    if line.action == Action.SERVER_PREFLIGHTED:
        return bool(number(line.facts, "errors"))
    return line.action in _FOUND


def _ends(line: Line) -> bool:
    if line.action == Action.DRIFT_FOUND:
        return flag(line.facts, "ends")
    return line.action in {Action.GRANT_WITHDRAWN, Action.GRANT_UNENTITLED}


def _row(found: Line, ended: Line | None, names: Names, asked: Asked) -> Iterator[Row]:
    facts, holder = found.facts, word(found.facts, "holder")
    kind, about = found.subject.partition(":")[0], key(found.subject)
    database = word(facts, "database")
    if names.is_asked(asked, people=(holder,), database=database):
        server = about if kind == "server" else word(facts, "server")
        yield {
            "at": told(found.recorded_at),
            "what": _FOUND[found.action],
            "cause": word(facts, "cause") or word(facts, "why"),
            "server": names.of(f"server:{server}") if server else "",
            "database": names.database(database),
            "grant": about if kind == "grant" else word(facts, "grant"),
            "person": names.of(holder) if holder else "",
            "person_id": holder,
            "found": "\n".join(said for field in _fields(found) if (said := text(found, field))),
            "ends_access": "yes" if _ends(found) else "no",
            "gone_at": told(ended.recorded_at) if ended else "",
            "seconds_to_gone": seconds(found.recorded_at, ended.recorded_at) if ended else "",
            "problems": found.problem,
            "entries": cited([found.index] if ended is None else [found.index, ended.index]),
        }


def _fields(found: Line) -> tuple[str, ...]:
    return ("login", "why") if found.action == Action.LOGIN_STRAY else _FIELDS


DRIFT: Final = Report(
    name="drift",
    title="Drift",
    answers="Where did servers, rights or the catalog change under live access, and was that access ended?",
    counts=(
        "A row is one finding that was recorded in the period. Where it ended access, it stands there when the end is "
        "proven; those whose access is not proven gone stand last."
    ),
    own_columns=(
        Column("at", "when it was recorded"),
        Column("what", "what kind of finding"),
        Column("cause", "the record's word for why access ended, where it did"),
        Column("server", "name of the server"),
        Column("database", "short name of the database"),
        Column("grant", "id of the access"),
        Column("person", "its holder, as the record named them last"),
        Column("person_id", "the same person, as entries name them"),
        Column("found", "what was found, in sentences"),
        Column("ends_access", "yes where the portal ended the access because of it"),
        Column("gone_at", "when the proof of its absence was recorded; empty where there is none, or nothing to end"),
        Column("seconds_to_gone", "from the finding to that proof"),
    ),
    reads=NAMING | _DRIFT,
    before=NAMING,
    fold=_drifts,
)
