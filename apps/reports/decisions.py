"""Who decided what, and where duties were not apart. Pure."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Final

from apps.audit.actions import Action
from apps.audit.trail import Line
from apps.reports.base import Asked, Column, Report, Row
from apps.reports.names import NAMING, Names
from apps.reports.reading import cited, listed, seconds, text, told, word

LATELY: Final = timedelta(days=7)
_KEPT: Final = timedelta(days=30)  # no request waits for as long
# What widens who may ask, who decides or what is asked of them.
_WIDENING: Final = frozenset(
    {
        Action.POLICY_CHANGED,
        Action.GROUP_CHANGED,
        Action.ACCOUNT_GROUPS_CHANGED,
        Action.RIGHTS_CHANGED,
        Action.COLUMN_CLASSIFIED,
        Action.CLASSIFICATION_IMPORTED,
        Action.DATA_CLASS_CHANGED,
        Action.FILTER_REMOVED,
    }
)
_DECISIONS: Final[dict[str, str]] = {
    Action.DECISION_APPROVED: "approved",
    Action.DECISION_DENIED: "denied",
    Action.REQUEST_APPROVED: "approved",
    Action.REQUEST_DENIED: "denied",
}
_CLOSES: Final = frozenset(
    {Action.REQUEST_APPROVED, Action.REQUEST_DENIED, Action.REQUEST_CANCELLED, Action.REQUEST_LAPSED}
)
_READS: Final[frozenset[Action]] = (
    NAMING | _WIDENING | _CLOSES | {Action(name) for name in _DECISIONS} | {Action.DECISION_NARROWED}
) | {Action.REQUEST_SUBMITTED}


@dataclass(frozen=True, slots=True)
class _Widened:
    """Somebody changed what decides."""

    actor: str
    action: str
    at: datetime
    index: int


@dataclass(slots=True)
class _Waiting:
    """A request that is not decided yet."""

    asker: str
    database: str = ""
    level: str = ""
    risk: str = ""
    reason: str = ""
    at: datetime | None = None
    index: int | None = None
    narrowed: int | None = None  # the entry that goes with the next yes
    problems: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Found:
    """What to say against a decision, and the entries that show it."""

    said: list[str] = field(default_factory=list)
    entries: list[int] = field(default_factory=list)

    def add(self, sentence: str, *entries: int) -> None:
        self.said.append(sentence)
        self.entries.extend(entries)


class _Decisions:
    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.names = Names()
        self.waiting: dict[str, _Waiting] = {}
        self.widened: deque[_Widened] = deque()
        self.yeses: dict[tuple[str, str], tuple[str, int]] = {}  # (who said yes, to whom) -> request, entry

    def take(self, line: Line) -> Row | None:
        self.names.learn(line)
        if line.action in _WIDENING:
            self._keep(line)
            return None
        if line.action == Action.REQUEST_SUBMITTED:
            self._ask(line)
            return None
        request = self.waiting.get(line.subject)
        row = self._decided(line, request or _Waiting("")) if line.action in _DECISIONS else None
        if request is not None and line.problem:
            request.problems.append(line.problem)
        elif request is not None and line.action == Action.DECISION_NARROWED:
            request.narrowed = line.index
        elif line.action in _CLOSES:
            self.waiting.pop(line.subject, None)
        return row

    def _keep(self, line: Line) -> None:
        while self.widened and self.widened[0].at < line.recorded_at - _KEPT:
            self.widened.popleft()
        # What single sign-on says of somebody is told with them as the actor.
        by_hand = line.action != Action.ACCOUNT_GROUPS_CHANGED or word(line.facts, "source") == "manual"
        if by_hand and line.actor.startswith("user:") and not line.problem:
            self.widened.append(_Widened(line.actor, line.action, line.recorded_at, line.index))

    def _ask(self, line: Line) -> None:
        facts = line.facts
        self.waiting[line.subject] = _Waiting(
            asker=line.actor,
            database=word(facts, "database"),
            level=word(facts, "level"),
            risk=word(facts, "risk"),
            reason=text(line, "reason"),
            at=line.recorded_at,
            index=line.index,
            problems=[line.problem] if line.problem else [],
        )

    def _decided(self, line: Line, request: _Waiting) -> Row | None:
        """None for what only sums up the decisions of people, and for what is not asked for."""
        is_person = line.actor.startswith("user:")
        if line.action in _CLOSES and is_person and "all_of" not in line.facts:
            return None
        if not self.asked.covers(line.recorded_at):
            return None
        found = self._exceptions(line, request) if is_person and not line.problem else _Found()
        if not self.names.is_asked(self.asked, people=(line.actor, request.asker), database=request.database):
            return None
        entries = [request.index, request.narrowed if line.action == Action.DECISION_APPROVED else None, line.index]
        row = self._row(line, request, found) | {
            "problems": " ".join([*request.problems, *([line.problem] if line.problem else [])]),
            "entries": cited([*(index for index in entries if index is not None), *found.entries]),
        }
        request.narrowed = None
        return row

    def _row(self, line: Line, request: _Waiting, found: _Found) -> dict[str, object]:
        return {
            "request": line.subject.partition(":")[2],
            "decided_at": told(line.recorded_at),
            "decision": _DECISIONS[line.action],
            "decider": self.names.of(line.actor),
            "decider_id": line.actor,
            "step": word(line.facts, "kind") or ("at once" if line.actor == "policy" else ""),
            "group": word(line.facts, "group"),
            "asker": self.names.of(request.asker),
            "asker_id": request.asker,
            "database": self.names.database(request.database),
            "level": request.level,
            "risk": request.risk,
            "reason": request.reason,
            "comment": text(line, "comment") or text(line, "why"),
            "narrowed": "yes" if word(line.facts, "narrowed_from") else "no",
            "digest": word(line.facts, "digest"),
            "seconds_to_decide": seconds(request.at, line.recorded_at),
            "exceptions": listed(found.said),
        }

    def _exceptions(self, line: Line, request: _Waiting) -> _Found:
        found = _Found()
        decider, asker = line.actor, request.asker
        if asker and decider == asker:
            found.add("own request: asker and decider are one person")
        if line.action == Action.DECISION_APPROVED and asker:
            if other := self.yeses.get((asker, decider)):
                sentence = f"reciprocal: the asker said yes to the decider's request {other[0].partition(':')[2]}"
                found.add(sentence, other[1])
            self.yeses[decider, asker] = (line.subject, line.index)
        for one in self.widened:
            if request.at is None or one.at < request.at - LATELY:
                continue
            if one.actor == asker and one.at < request.at:
                found.add(f"the asker made a change before asking: {one.action}", one.index)
            if one.actor == decider and decider != asker:
                found.add(f"the decider made a change before deciding: {one.action}", one.index)
        return found


def _approvals(lines: Iterable[Line], asked: Asked) -> Iterator[Row]:
    decisions = _Decisions(asked)
    for line in takewhile(lambda line: line.recorded_at < asked.until, lines):
        row = decisions.take(line)
        if row is not None:
            yield row


APPROVALS: Final = Report(
    name="approvals",
    title="Decisions",
    answers="Who decided on whose request, what had they seen, and were duties apart?",
    counts=(
        "A row is one decision of the period: a person's yes or no, or that of the policy or the portal. "
        f"Exceptions: a decision on one's own request; two people who said yes to each other within the period (told "
        "beside the later one); a change of rules, groups, rights or classification by whoever asked, or decided, in "
        f"the {LATELY.days} days before the request, and by the decider also until the decision."
    ),
    own_columns=(
        Column("request", "id of the request"),
        Column("decided_at", "when the decision was recorded"),
        Column("decision", "approved or denied"),
        Column("decider", "who decided, as the record named them last; or the policy, or the portal"),
        Column("decider_id", "the same, as entries name them"),
        Column("step", "in which place they decided: peer, owner, data_owner, group; at once where the policy did"),
        Column("group", "the group, where the step asks for one"),
        Column("asker", "who had asked, as the record named them last"),
        Column("asker_id", "the same person, as entries name them"),
        Column("database", "short name of the database"),
        Column("level", "query, export or change"),
        Column("risk", "low, medium, high or critical, as the policy judged it"),
        Column("reason", "why it was asked for"),
        Column("comment", "what the decider wrote, or why the portal said no"),
        Column("narrowed", "yes where the decider left less than had been asked for"),
        Column("digest", "SHA-256 of exactly what was decided on"),
        Column("seconds_to_decide", "from the request to this decision"),
        Column("exceptions", "where duties were not apart; empty where nothing was found"),
    ),
    reads=_READS,
    before=_READS,
    fold=_approvals,
)
