"""The policy: facts and rules in, a verdict out. Pure and total, and what it cannot judge it gives to people.

The first rule that matches decides. No rule, a rule that cannot be read and a rule that fails are all answered
with the strictest route: the rules behind a broken one are not searched for a yes. In an emergency nobody is asked, so
that there a rule that cannot be read or fails denies.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from apps.policies.facts import Facts, Outcome, Step, StepKind, Verdict
from apps.policies.risk import assess, span
from apps.policies.rules import RuleData

SECURITY: Final = Step(StepKind.GROUP, 1, "security")
STRICTEST: Final = (Step(StepKind.PEER), Step(StepKind.OWNER), SECURITY)
DATA_OWNER: Final = Step(StepKind.DATA_OWNER)  # on every route on which a column is to be unmasked


@dataclass(frozen=True)
class _Answer:
    """What a rule says, before the risk is added."""

    outcome: Outcome
    reasons: tuple[str, ...]
    steps: tuple[Step, ...] = ()
    rule: str = ""
    max_minutes: int | None = None


def evaluate(facts: Facts, rules: Sequence[RuleData], version: int) -> Verdict:
    """What happens with a request. `rules` are those of `version`, in order."""
    answer = _in_an_emergency(facts, rules) if facts.break_glass else _answer(facts, rules)
    return Verdict(
        outcome=answer.outcome,
        steps=answer.steps,
        risk=assess(facts),
        rule=answer.rule,
        version=version,
        max_minutes=answer.max_minutes,
        reasons=answer.reasons,
    )


def _answer(facts: Facts, rules: Sequence[RuleData]) -> _Answer:
    for rule in rules:
        if rule.problem:
            return _ask(facts, STRICTEST, f"Rule “{rule.name}” cannot be read, so the strictest route holds.", rule)
        try:
            matched = rule.matches(facts)
        except Exception:  # whatever went wrong, it must not end in a yes
            return _ask(facts, STRICTEST, f"Rule “{rule.name}” failed, so the strictest route holds.", rule)
        if matched:
            return _by(rule, facts)
    return _ask(facts, STRICTEST, "No rule covers this, so the strictest route holds.")


def _in_an_emergency(facts: Facts, rules: Sequence[RuleData]) -> _Answer:
    """Breaking the glass stands for the yes of people, and for nothing else: what a rule denies stays denied."""
    if facts.minutes > facts.break_glass_minutes:
        cap = span(facts.break_glass_minutes)
        return _not_broken(f"In an emergency access lasts {cap} at most: ask for {cap} or less.")
    if facts.unmask:
        return _not_broken(
            "Masked columns stay masked in an emergency. Leave them out, or ask in the normal way to see their values."
        )
    for rule in rules:
        if rule.problem:
            return _not_broken(f"Rule “{rule.name}” cannot be read, so nobody knows whether it forbids this.", rule)
        try:
            matched = rule.matches(facts)
        except Exception:  # whatever went wrong, it must not end in a yes
            return _not_broken(f"Rule “{rule.name}” failed, so nobody knows whether it forbids this.", rule)
        if matched:
            return _forbidden(rule, facts) or _broken(facts)
    return _broken(facts)


def _broken(facts: Facts) -> _Answer:
    said = "This is given at once, because the glass is broken: owners and security are told now, and a review follows."
    return _Answer(Outcome.APPROVE, (said, "Masked columns stay masked."), max_minutes=facts.break_glass_minutes)


def _not_broken(said: str, rule: RuleData | None = None) -> _Answer:
    return _Answer(Outcome.DENY, (said,), rule=rule.name if rule else "")


def _by(rule: RuleData, facts: Facts) -> _Answer:
    if denied := _forbidden(rule, facts):
        return denied
    if rule.outcome is Outcome.ROUTE:
        return _ask(facts, rule.steps, f"Rule “{rule.name}” asks for this.", rule)
    if facts.unmask or facts.widened_lately:
        return _ask(facts, (), f"Rule “{rule.name}” approves everything else at once.", rule)
    said = (f"This is approved at once by rule “{rule.name}”.",)
    return _Answer(Outcome.APPROVE, said, rule=rule.name, max_minutes=rule.max_minutes)


def _forbidden(rule: RuleData, facts: Facts) -> _Answer | None:
    if rule.outcome is Outcome.DENY:
        return _denied(rule, rule.longer_than_minutes)
    if rule.max_minutes is not None and facts.minutes > rule.max_minutes:
        return _denied(rule, rule.max_minutes)
    return None


def _denied(rule: RuleData, cap: int | None) -> _Answer:
    if cap is None:
        said = f"Rule “{rule.name}” denies this."
    else:
        said = f"Access for more than {span(cap)} is denied by rule “{rule.name}”: ask for {span(cap)} or less."
    return _Answer(Outcome.DENY, (said,), rule=rule.name, max_minutes=cap)


def _ask(facts: Facts, wanted: Sequence[Step], why: str, rule: RuleData | None = None) -> _Answer:
    if facts.unmask and DATA_OWNER.kind not in {step.kind for step in wanted}:
        wanted = (*wanted, DATA_OWNER)
        why = f"{why} Whether columns are shown unmasked is for a data owner to say."
    if facts.widened_lately and SECURITY.key not in {step.key for step in wanted}:
        wanted = (*wanted, SECURITY)
        why = f"{why} You have changed in the last seven days what people get, so security looks at this too."
    steps, said = _takeable(wanted, facts)
    order = ", then ".join(_people(step, facts) for step in steps)
    return _Answer(
        Outcome.ROUTE,
        (f"This needs a yes of {order}.", why, *said),
        steps,
        rule.name if rule else "",
        rule.max_minutes if rule else None,
    )


def _takeable(wanted: Sequence[Step], facts: Facts) -> tuple[tuple[Step, ...], list[str]]:
    """`wanted`, with security in the place of each step that nobody is left for; and what to say about it."""
    people = {key: [person for person in ids if person != facts.requester] for key, ids in facts.eligible.items()}
    steps: list[Step] = []
    said: list[str] = []
    for step in wanted:
        if can_fill([*steps, step], people):
            steps.append(step)
            continue
        instead = Step(StepKind.GROUP, step.needed, SECURITY.group)
        steps.append(instead)
        if step.key != SECURITY.key:
            said.append(f"{_why_not(step, people)}, so this step goes to security.")
        if not can_fill(steps, people):
            said.append(
                "The group security has too few people for it: nobody can approve this request as things are. "
                "Please tell your database administrators."
            )
    return tuple(steps), said


def _why_not(step: Step, people: Mapping[str, Sequence[str]]) -> str:
    if people.get(step.key):
        return f"Whoever could decide as {_role(step)} is needed for another step"
    return f"Nobody is there who could decide as {_role(step)}"


def can_fill(steps: Sequence[Step], people: Mapping[str, Sequence[str]]) -> bool:
    """Whether distinct people could take all of `steps`. `people` by Step.key."""
    slots = [people.get(step.key, ()) for step in steps for _ in range(step.needed)]
    taken: dict[str, int] = {}

    def seat(slot: int, seen: set[str]) -> bool:
        """Find somebody for `slot`, moving others to other slots where that helps (an augmenting path)."""
        for person in slots[slot]:
            if person not in seen:
                seen.add(person)
                if person not in taken or seat(taken[person], seen):
                    taken[person] = slot
                    return True
        return False

    return all(seat(slot, set()) for slot in range(len(slots)))


def _people(step: Step, facts: Facts) -> str:
    count = len(set(facts.eligible.get(step.key, ())) - {facts.requester})
    circle = {
        StepKind.PEER: f"your {count} peers",
        StepKind.OWNER: f"the {count} owners of the database",
        StepKind.DATA_OWNER: f"the {count} owners of the data",
        StepKind.GROUP: f"the {count} people of the group {step.group}",
    }[step.kind]
    if step.needed == 1 and count <= 1:
        return _role(step)
    return f"{step.needed} of {circle}"


def _role(step: Step) -> str:
    return {
        StepKind.PEER: "a peer of yours",
        StepKind.OWNER: "an owner of the database",
        StepKind.DATA_OWNER: "an owner of the data",
        StepKind.GROUP: f"a member of the group {step.group}",
    }[step.kind]
