"""The life of each access from request to proven end, as its entries tell it. Pure.

Only what is open is kept. An entry that is not to be believed (Line.problem) changes nothing: it is cited with its
problem by the life that it speaks of, and a life that nothing but such an entry tells of is never over.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from apps.audit.actions import Action
from apps.audit.trail import Line
from apps.reports.names import NAMING, Names
from apps.reports.reading import flag, inside, key, moment, number, text, word, words

_DECISIONS: Final = frozenset({Action.DECISION_APPROVED, Action.DECISION_NARROWED, Action.REQUEST_APPROVED})
_CLOSES: Final = frozenset({Action.REQUEST_DENIED, Action.REQUEST_CANCELLED, Action.REQUEST_LAPSED})
_WANTS_AN_END: Final = frozenset(
    {Action.GRANT_RELEASED, Action.GRANT_REVOKED, Action.GRANT_WITHDRAWN, Action.GRANT_UNENTITLED, Action.DRIFT_FOUND}
)
LIVES: Final[frozenset[Action]] = (
    NAMING
    | _DECISIONS
    | _CLOSES
    | _WANTS_AN_END
    | {
        Action.REQUEST_SUBMITTED,
        Action.GRANT_QUEUED,
        Action.GRANT_ISSUED,
        Action.GRANT_EXTENDED,
        Action.GRANT_EXTEND_FAILED,
        Action.GRANT_ENDING,
        Action.GRANT_END_FAILED,
        Action.GRANT_LATE,
        Action.GRANT_ENDED,
        Action.GRANT_FAILED,
    }
)
# What is done under it, as far as the portal sees it. Counted where a report reads these.
USES: Final = frozenset({Action.STATEMENT_STARTED, Action.STATEMENT_FINISHED, Action.CREDENTIAL_SHOWN})
_TOLD: Final = LIVES - NAMING
_LONGER: Final = frozenset({Action.GRANT_EXTENDED, Action.GRANT_EXTEND_FAILED})
# What tells of access by itself, also where nothing before it is known.
_TELLING: Final = frozenset({Action.GRANT_ISSUED, Action.GRANT_ENDED, Action.GRANT_FAILED})


@dataclass(frozen=True, slots=True)
class Yes:
    """One person's yes, or the policy's."""

    actor: str
    kind: str  # of the step: peer, owner, group, data_owner; empty for the policy
    index: int


@dataclass(slots=True, kw_only=True)
class Life:
    """Times of acts are those of sealing; `starts_at` and `expires_at` are the login's, in the portal's time."""

    request: str
    grant: str = ""
    holder: str = ""  # user:…
    database: str = ""
    level: str = ""
    connection: str = ""
    risk: str = ""
    rule: str = ""
    tables: tuple[str, ...] = ()
    table_count: int = 0
    unmask: tuple[str, ...] = ()
    unmask_count: int = 0
    masked: tuple[str, ...] = ()
    masked_count: int = 0
    reason: str = ""
    ticket: str = ""
    login: str = ""
    break_glass: bool = False
    extends: str = ""  # the request whose access this one makes longer
    asked_at: datetime | None = None
    approved_at: datetime | None = None
    opened_at: datetime | None = None
    starts_at: datetime | None = None
    expires_at: datetime | None = None
    cause: str = ""
    since: datetime | None = None  # when access should have been gone at the latest
    ending_at: datetime | None = None
    ended_by: str = ""
    end_reason: str = ""
    locked_at: datetime | None = None  # these two by the target's clock
    clean_at: datetime | None = None
    sessions_ended: int = 0
    unproven: bool = False  # the end is a person's word
    ended_at: datetime | None = None
    failed: bool = False
    late: int = 0
    credentials: int = 0
    statements: int = 0
    exports: int = 0
    exported_rows: int = 0
    last_use_at: datetime | None = None
    last_use: int | None = None  # its entry
    yeses: list[Yes] = field(default_factory=list)
    entries: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        return self.ended_at is not None

    def was_open(self, since: datetime, until: datetime) -> bool:
        """Whether its login was open at any time in between, by what is proven; also where it only may have been."""
        if self.opened_at is None:
            return bool(self.problems)
        return self.opened_at < until and (self.ended_at is None or self.ended_at >= since)


class Lives:
    """State of all that is open, by request."""

    def __init__(self) -> None:
        self.names = Names()
        self.open: dict[str, Life] = {}

    def take(self, line: Line, *, begins: bool = True) -> Life | None:
        """Follow one entry; returns the life that it ends. `begins`: whether it may be the first one of a life."""
        self.names.learn(line)
        if line.action in USES:
            self._use(line)
        if line.action not in _TOLD:
            return None
        life = self._life(line, begins=begins)
        if line.action in _LONGER and not line.problem:
            self._close_request_for_more(line, life)
        if life is None:
            return None
        life.entries.append(line.index)
        if line.problem:
            life.problems.append(line.problem)
            return None
        if line.action in _CLOSES and not life.grant:
            return self.open.pop(life.request)
        if takes := _TAKES.get(line.action):
            takes(life, line)
        return self.open.pop(life.request) if life.is_over else None

    def _life(self, line: Line, *, begins: bool) -> Life | None:
        request = key(line.subject) if line.subject.startswith("request:") else word(line.facts, "request")
        name = request or line.subject
        life = self.open.get(name)
        if life is None and begins and (line.action == Action.REQUEST_SUBMITTED or line.action in _TELLING):
            life = self.open[name] = Life(request=name)
            if line.action in _TELLING:
                _identified(life, line)
        return life

    def _use(self, line: Line) -> None:
        life = self.open.get(word(line.facts, "request"))
        if life is None or line.problem:
            return
        life.last_use_at, life.last_use = line.recorded_at, line.index
        if line.action == Action.CREDENTIAL_SHOWN:
            life.credentials += 1
        elif line.action == Action.STATEMENT_STARTED:
            life.statements += 1
        elif word(line.facts, "kind") == "export":
            life.exports += 1
            life.exported_rows += number(line.facts, "rows") or 0

    def _close_request_for_more(self, line: Line, life: Life | None) -> None:
        """It has become a part of the access that it was about; or nothing, also where that is over meanwhile."""
        name = word(line.facts, "extension")
        is_settled = line.action == Action.GRANT_EXTENDED or flag(line.facts, "is_last")
        if not is_settled or (life is not None and life.request == name):
            return
        asked = self.open.pop(name, None)
        if asked is not None and life is not None and line.action == Action.GRANT_EXTENDED:
            life.entries += asked.entries
            life.yeses += asked.yeses


def over_and_open(lives: Lives, lines: Iterable[Line], until: datetime) -> Iterator[Life]:
    """Lives of what was told of before `until`: as they end, then those that are still open, oldest first.

    What begins later is left alone; reading stops when nothing of before is open.
    """
    for line in lines:
        begins = line.recorded_at < until
        if not begins and not lives.open:
            return
        ended = lives.take(line, begins=begins)
        if ended is not None:
            yield ended
    yield from lives.open.values()


def _submitted(life: Life, line: Line) -> None:
    facts = line.facts
    life.holder, life.asked_at = line.actor, line.recorded_at
    life.risk, life.break_glass = word(facts, "risk"), flag(facts, "break_glass")
    life.rule = _rule(line)
    life.reason, life.ticket = text(line, "reason"), text(line, "ticket")
    life.extends = word(facts, "extends")
    _scoped(life, line)


def _scoped(life: Life, line: Line) -> None:
    facts = line.facts
    life.database, life.level = word(facts, "database"), word(facts, "level")
    life.connection = word(facts, "connection")
    life.tables, life.table_count = words(facts, "tables"), number(facts, "table_count") or 0
    life.unmask, life.unmask_count = words(facts, "unmask"), number(facts, "unmask_count") or 0
    life.masked, life.masked_count = words(facts, "masked"), number(facts, "masked_count") or 0


def _rule(line: Line) -> str:
    """`3: small and harmless`; a version without a rule matched none."""
    version = number(line.facts, "version")
    rule = word(line.facts, "rule") or "no rule"
    return "" if version is None else f"{version}: {rule}"


def _narrowed(life: Life, line: Line) -> None:
    _scoped(life, line)


def _voted(life: Life, line: Line) -> None:
    life.yeses.append(Yes(line.actor, word(line.facts, "kind"), line.index))


def _approved(life: Life, line: Line) -> None:
    life.approved_at = line.recorded_at
    if not line.actor.startswith("user:") and not life.yeses:
        life.yeses.append(Yes(line.actor, "", line.index))


def _identified(life: Life, line: Line) -> None:
    facts = line.facts
    life.grant = key(line.subject)
    life.holder = life.holder or word(facts, "holder")
    life.database = life.database or word(facts, "database")
    life.login = text(line, "login") or life.login


def _issued(life: Life, line: Line) -> None:
    facts = line.facts
    _identified(life, line)
    life.opened_at = line.recorded_at
    life.starts_at, life.expires_at = moment(facts, "starts_at"), moment(facts, "expires_at")
    life.connection = life.connection or word(facts, "connection")


def _extended(life: Life, line: Line) -> None:
    life.expires_at = moment(line.facts, "expires_at") or life.expires_at


def _ended_by(life: Life, line: Line) -> None:
    if line.action == Action.DRIFT_FOUND and not flag(line.facts, "ends"):
        return
    life.ended_by = line.actor
    life.end_reason = text(line, "reason") or text(line, "opened")


def _ending(life: Life, line: Line) -> None:
    life.cause = word(line.facts, "cause") or life.cause
    life.since = moment(line.facts, "since") or life.since
    life.ending_at = line.recorded_at


def _late(life: Life, line: Line) -> None:
    life.late += 1


def _ended(life: Life, line: Line) -> None:
    _identified(life, line)
    proof = inside(line.facts, "proof")
    life.cause = word(line.facts, "cause") or life.cause
    life.since = moment(line.facts, "since") or life.since
    life.locked_at, life.clean_at = moment(proof, "locked_at"), moment(proof, "clean_at")
    life.sessions_ended = number(proof, "sessions_ended") or 0
    life.unproven = flag(proof, "unproven")
    life.ended_at = line.recorded_at


def _failed(life: Life, line: Line) -> None:
    _ended(life, line)
    life.failed = True


_TAKES: Final[dict[str, Callable[[Life, Line], None]]] = {
    Action.REQUEST_SUBMITTED: _submitted,
    Action.REQUEST_APPROVED: _approved,
    Action.DECISION_APPROVED: _voted,
    Action.DECISION_NARROWED: _narrowed,
    Action.GRANT_QUEUED: _identified,
    Action.GRANT_ISSUED: _issued,
    Action.GRANT_EXTENDED: _extended,
    Action.GRANT_ENDING: _ending,
    Action.GRANT_LATE: _late,
    Action.GRANT_ENDED: _ended,
    Action.GRANT_FAILED: _failed,
    **dict.fromkeys(_WANTS_AN_END, _ended_by),
}
