"""One rule as the policy reads it. Pure; what cannot be read is kept as a rule that counts against the request."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

from apps.policies.facts import Facts, Outcome, Step, StepKind

MAX_NEEDED: Final = 10  # people for one step
# What a rule says; its place in the order and whether it counts come on top.
PARTS: Final = (
    "name",
    "environments",
    "levels",
    "connections",
    "classified",
    "unmask",
    "unmask_classes",
    "whole_schema",
    "longer_than_minutes",
    "at_most_minutes",
    "outcome",
    "steps",
    "max_minutes",
)
# Exactly these: a condition that is missing or not understood must not widen what a rule allows.
KEYS: Final = frozenset(PARTS)
# Versions made before there was such a condition do without it.
LATER: Final = frozenset({"unmask_classes"})
_STEP_KEYS: Final = frozenset({"kind", "needed", "group"})


class Malformed(ValueError):
    """A sentence about what cannot be read. `field` names where."""

    def __init__(self, sentence: str, *, field: str = "") -> None:
        super().__init__(sentence)
        self.field = field


@dataclass(frozen=True, kw_only=True)
class RuleData:
    """Conditions that are all met or the rule does not match; an empty set and None match everything.

    `problem` says why a rule could not be read: nobody knows what it was to match, so it matches everything.
    """

    name: str
    outcome: Outcome = Outcome.ROUTE
    steps: tuple[Step, ...] = ()
    environments: frozenset[str] = frozenset()
    levels: frozenset[str] = frozenset()
    connections: frozenset[str] = frozenset()
    classified: bool | None = None
    unmask: bool | None = None
    unmask_classes: frozenset[str] = frozenset()
    whole_schema: bool | None = None
    longer_than_minutes: int | None = None
    at_most_minutes: int | None = None
    max_minutes: int | None = None
    problem: str = ""

    def matches(self, facts: Facts) -> bool:
        """Whether every condition holds."""
        return (
            (not self.environments or facts.environment in self.environments)
            and (not self.levels or facts.level in self.levels)
            and (not self.connections or facts.connection in self.connections)
            and self.classified in {None, bool(facts.classified_tables)}
            and self.unmask in {None, bool(facts.unmask)}
            and self._unmasks(facts)
            and self.whole_schema in {None, bool(facts.whole_schemas)}
            and (self.longer_than_minutes is None or facts.minutes > self.longer_than_minutes)
            and (self.at_most_minutes is None or facts.minutes <= self.at_most_minutes)
        )

    def _unmasks(self, facts: Facts) -> bool:
        """One such column is enough to be denied or to ask people, and one other column to be approved no more."""
        if not self.unmask_classes:
            return True
        asked = frozenset(facts.unmask_classes) if facts.unmask else frozenset()
        if self.outcome is Outcome.APPROVE:
            return bool(asked) and asked <= self.unmask_classes
        return not asked.isdisjoint(self.unmask_classes)


def parse_rules(value: object) -> tuple[RuleData, ...]:
    """The rules of a PolicyVersion, in order. Never raises: see RuleData.problem."""
    if not isinstance(value, list):
        return (RuleData(name="", problem="The rules are not a list."),)
    return tuple(_parsed(number, rule) for number, rule in enumerate(value, start=1))


def parse_rule(value: object) -> RuleData:
    """One rule. Raises Malformed."""
    if not isinstance(value, Mapping) or not KEYS - LATER <= set(value) <= KEYS:
        raise Malformed("A rule has exactly these parts: " + ", ".join(sorted(KEYS)) + ".")
    name = value["name"]
    if not isinstance(name, str) or not name.strip():
        raise Malformed("A rule has a name.", field="name")
    outcome = _outcome(value["outcome"])
    return RuleData(
        name=name,
        outcome=outcome,
        steps=_steps(value["steps"], outcome),
        environments=_texts("environments", value),
        levels=_texts("levels", value),
        connections=_texts("connections", value),
        classified=_flag("classified", value),
        unmask=_flag("unmask", value),
        unmask_classes=_texts("unmask_classes", value),
        whole_schema=_flag("whole_schema", value),
        longer_than_minutes=_minutes("longer_than_minutes", value),
        at_most_minutes=_minutes("at_most_minutes", value),
        max_minutes=_minutes("max_minutes", value),
    )


def parse_steps(value: object) -> tuple[Step, ...]:
    """The route of a rule. Raises Malformed."""
    if not isinstance(value, list):
        raise Malformed("The steps of a rule are a list.", field="steps")
    return tuple(_step(step) for step in value)


def _parsed(number: int, value: object) -> RuleData:
    try:
        return parse_rule(value)
    except Malformed as error:
        name = value.get("name") if isinstance(value, Mapping) else None
        return RuleData(name=name if isinstance(name, str) and name else f"number {number}", problem=str(error))


def _outcome(value: object) -> Outcome:
    try:
        return Outcome(value)  # type: ignore[arg-type]
    except ValueError as error:
        raise Malformed("The outcome of a rule is approve, route or deny.", field="outcome") from error


def _steps(value: object, outcome: Outcome) -> tuple[Step, ...]:
    steps = parse_steps(value)
    if outcome is Outcome.ROUTE and not steps:
        raise Malformed("A rule that asks people names at least one step.", field="steps")
    if outcome is not Outcome.ROUTE and steps:
        raise Malformed("Only a rule that asks people has steps.", field="steps")
    return steps


def _step(value: object) -> Step:
    if not isinstance(value, Mapping) or set(value) != _STEP_KEYS:
        raise Malformed("A step has exactly a kind, a group and the number of people needed.", field="steps")
    kind, needed, group = value["kind"], value["needed"], value["group"]
    if kind not in list(StepKind):
        raise Malformed("A step asks a peer, an owner, a data owner or a group.", field="steps")
    if not _is_int(needed) or not 1 <= needed <= MAX_NEEDED:
        raise Malformed(f"A step needs between 1 and {MAX_NEEDED} people.", field="steps")
    if (kind == StepKind.GROUP) != (isinstance(group, str) and bool(group)) or not isinstance(group, str | None):
        raise Malformed("A step that asks a group names it, and no other step does.", field="steps")
    return Step(StepKind(kind), needed, group)


def _texts(field: str, rule: Mapping[str, object]) -> frozenset[str]:
    value = rule.get(field, []) if field in LATER else rule[field]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise Malformed(f"{field} is a list of texts.", field=field)
    return frozenset(value)


def _flag(field: str, rule: Mapping[str, object]) -> bool | None:
    value = rule[field]
    if value is None or isinstance(value, bool):
        return value
    raise Malformed(f"{field} is true, false or nothing.", field=field)


def _minutes(field: str, rule: Mapping[str, object]) -> int | None:
    value = rule[field]
    if value is None or (_is_int(value) and value >= 1):
        return value
    raise Malformed(f"{field} is a whole number of minutes, at least 1, or nothing.", field=field)


def _is_int(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def step_text(step: Mapping[str, Any]) -> str:
    """How people write and read one step: `owner`, `2 group:security`."""
    circle = f"group:{step['group']}" if step["kind"] == "group" else step["kind"]
    return circle if step["needed"] == 1 else f"{step['needed']} {circle}"
