"""What was run in the console. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from apps.audit.actions import Action
from apps.audit.trail import Line
from apps.reports.base import Asked, Column, Report, Row
from apps.reports.names import NAMING, Names
from apps.reports.reading import cited, flag, key, number, text, told, word, yes

_STATEMENTS: Final = frozenset({Action.STATEMENT_STARTED, Action.STATEMENT_FINISHED, Action.CHANGE_ENDED})


@dataclass(slots=True)
class _Run:
    person: str
    grant: str
    request: str
    database: str
    kind: str
    statement: str
    literals_kept: bool
    address: str
    change: str
    at: datetime
    outcome: str = ""
    why: str = ""
    rows: int | None = None
    affected: int | None = None
    size: int | None = None
    sha256: str = ""
    milliseconds: int | None = None
    sqlstate: str = ""
    transaction: str = ""
    entries: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class _Runs:
    """Those that have not ended; and those whose transaction has not, because what became of them depends on it."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.names = Names()
        self.running: dict[str, _Run] = {}
        self.held: dict[str, list[_Run]] = {}  # by transaction

    @property
    def is_empty(self) -> bool:
        return not self.running and not self.held

    def take(self, line: Line, *, begins: bool) -> list[_Run]:
        """What is certain by this entry."""
        self.names.learn(line)
        if line.action == Action.STATEMENT_STARTED:
            if begins and line.recorded_at >= self.asked.since:
                # A number that was told twice is no reason to lose the first one.
                number_of = word(line.facts, "statement") or f"entry {line.index}"
                before = self.running.pop(number_of, None)
                self.running[number_of] = _started(line)
                return [before] if before else []
        elif line.action == Action.STATEMENT_FINISHED:
            return self._finished(line)
        elif line.action == Action.CHANGE_ENDED and not line.problem:
            runs = self.held.pop(word(line.facts, "change"), [])
            for run in runs:
                run.transaction = word(line.facts, "outcome")
                run.entries.append(line.index)
            return runs
        return []

    def rest(self) -> Iterator[_Run]:
        yield from self.running.values()
        for runs in self.held.values():
            yield from runs

    def _finished(self, line: Line) -> list[_Run]:
        name = word(line.facts, "statement")
        run = self.running.get(name)
        if run is None:
            return []
        run.entries.append(line.index)
        if line.problem:
            run.problems.append(line.problem)
            return []
        _finish(self.running.pop(name), line)
        if run.change:
            self.held.setdefault(run.change, []).append(run)
            return []
        return [run]


def _statements(lines: Iterable[Line], asked: Asked) -> Iterator[Row]:
    runs = _Runs(asked)
    for line in lines:
        begins = line.recorded_at < asked.until
        if not begins and runs.is_empty:
            break
        for run in runs.take(line, begins=begins):
            yield from _row(run, runs.names, asked)
    for run in runs.rest():
        yield from _row(run, runs.names, asked)


def _started(line: Line) -> _Run:
    facts = line.facts
    return _Run(
        person=line.actor,
        grant=key(line.subject),
        request=word(facts, "request"),
        database=word(facts, "database"),
        kind=word(facts, "kind"),
        statement=text(line, "statement"),
        literals_kept=flag(facts, "literals_kept"),
        address=text(line, "address"),
        change=word(facts, "change"),
        at=line.recorded_at,
        entries=[line.index],
        problems=[line.problem] if line.problem else [],
    )


def _finish(run: _Run, line: Line) -> None:
    facts = line.facts
    run.outcome, run.why, run.sqlstate = word(facts, "outcome"), word(facts, "why"), word(facts, "sqlstate")
    run.rows, run.affected, run.size = number(facts, "rows"), number(facts, "affected"), number(facts, "bytes")
    run.sha256, run.milliseconds = word(facts, "sha256"), number(facts, "milliseconds")


def _row(run: _Run, names: Names, asked: Asked) -> Iterator[Row]:
    if names.is_asked(asked, people=(run.person,), database=run.database):
        yield {
            "started_at": told(run.at),
            "person": names.of(run.person),
            "person_id": run.person,
            "database": names.database(run.database),
            "grant": run.grant,
            "request": run.request,
            "kind": run.kind,
            "statement": run.statement,
            "values_kept": yes(run.literals_kept),
            "address": run.address,
            "outcome": run.outcome or "not ended",
            "why": run.why,
            "transaction": run.transaction or ("open" if run.change else ""),
            "rows": run.rows,
            "affected": run.affected,
            "bytes": run.size,
            "sha256": run.sha256,
            "milliseconds": run.milliseconds,
            "sqlstate": run.sqlstate,
            "problems": " ".join(run.problems),
            "entries": cited(run.entries),
        }


STATEMENTS: Final = Report(
    name="statements",
    title="Statements and exports",
    answers="What was run in the console, by whom, under which access, and what came of it?",
    counts=(
        "A row is one statement that was started in the console in the period. It stands there when it has ended, and "
        "with its transaction where it has one. What people run with a credential is in the server's own log."
    ),
    own_columns=(
        Column("started_at", "when it was recorded, which is before it ran"),
        Column("person", "who ran it, as the record named them last"),
        Column("person_id", "the same person, as entries name them"),
        Column("database", "short name of the database"),
        Column("grant", "id of the access it ran under"),
        Column("request", "id of the request behind that"),
        Column("kind", "query, export, change, one_off (the one approved statement) or explain"),
        Column("statement", "its SQL; values are left out where the database is set so"),
        Column("values_kept", "yes where the SQL stands there with its values"),
        Column("address", "where the person was"),
        Column("outcome", "done, failed, cancelled, unknown; or not ended"),
        Column("why", "why it failed or was cancelled"),
        Column("transaction", "committed, rolled_back, unknown or open; empty where it had none of its own"),
        Column("rows", "rows that were shown or exported"),
        Column("affected", "rows that were changed"),
        Column("bytes", "size of an exported file"),
        Column("sha256", "SHA-256 of an exported file"),
        Column("milliseconds", "how long it took"),
        Column("sqlstate", "the server's code, where it said no"),
    ),
    reads=NAMING | _STATEMENTS,
    before=NAMING,
    fold=_statements,
)
