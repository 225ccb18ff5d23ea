"""Changing the policy. Every change makes a new version of all active rules; requests cite the version that decided."""

import hashlib
import json
from typing import Any, Final

import rfc8785
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import connection

from apps.accounts.actors import OPERATOR, Actor, actor_id, require_dba
from apps.accounts.dual_control import Line, require_second, widening
from apps.accounts.models import Duty
from apps.audit import services as audit
from apps.audit.actions import Action
from apps.catalog.models import DataClass
from apps.core import clock
from apps.core.errors import Invalid, NotFound
from apps.core.nudge import nudge
from apps.core.texts import checked
from apps.core.verbs import verb
from apps.policies.defaults import DEFAULT_RULES
from apps.policies.models import PolicyVersion, Rule
from apps.policies.rules import PARTS, Malformed, RuleData, parse_rule, parse_rules

_FIELDS: Final = frozenset({*PARTS, "position", "is_active"})
_LISTED_BYTES: Final = 24_000  # a body of the record holds 64 KiB
_ASIDE: Final = 1_000_000  # positions are unique at every moment, so rules are moved out of the way first


def current_rules() -> tuple[int, tuple[RuleData, ...]]:
    """The newest version and its rules; version 0 without rules before there is any."""
    newest = PolicyVersion.objects.first()
    return (newest.number, parse_rules(newest.rules)) if newest else (0, ())


def as_data(rule: Rule) -> dict[str, Any]:
    """What a rule says, as a PolicyVersion keeps it."""
    return {name: getattr(rule, name) for name in PARTS}


@widening("rule.save")
def save_rule(*, actor: Actor, rule_id: str | None, **fields: Any) -> Rule:
    """Add a rule (`rule_id` None) or change the given fields of one.

    `position` counts from 1; the others make room. Raises Invalid about a field, NotFound, NotAllowed, and Waits: what
    a rule widens depends on all the others, so that every edit of one takes a second person.
    """
    require_dba(actor, what="change the policy")
    if unknown := set(fields) - _FIELDS:
        raise Invalid(f"A rule has no {', '.join(sorted(unknown))}.")
    _lock()
    rule = Rule() if rule_id is None else _rule(rule_id)
    before = _said(None if rule_id is None else rule)
    position = fields.pop("position", None)
    for name, value in fields.items():
        setattr(rule, name, value)
    _check(rule)
    _place(rule, position)
    _require_second(actor, rule, before, _said(rule))
    _new_version(actor, rule, change="added" if rule_id is None else "changed")
    return rule


@widening("rule.remove")
def remove_rule(*, actor: Actor, rule_id: str) -> None:
    """Take a rule out of the policy. Versions that held it keep it. Raises NotFound, NotAllowed, Waits."""
    require_dba(actor, what="change the policy")
    _lock()
    rule = _rule(rule_id)
    _require_second(actor, rule, _said(rule), _said(None))
    Rule.objects.filter(pk=rule.pk).delete()
    _new_version(actor, rule, change="removed")


@verb
def ensure_default_rules(*, actor: Actor = OPERATOR) -> int:
    """Give a portal without any policy the rules of apps.policies.defaults; returns the version in force."""
    require_dba(actor, what="change the policy")
    _lock()
    newest = PolicyVersion.objects.first()
    if newest:
        return newest.number
    rules = [Rule(position=position, **content) for position, content in enumerate(DEFAULT_RULES, start=1)]
    _check(*rules)
    Rule.objects.bulk_create(rules)
    return _new_version(actor, None, change="defaults")


def _said(rule: Rule | None) -> dict[str, str]:
    """What a rule says, by what people call it; no two rules that differ are told alike. Of none, nothing."""
    if rule is None:
        return {}
    said = {name.replace("_", " "): _shown(getattr(rule, name)) for name in ("position", "is_active", *PARTS[:-2])}
    steps = {f"step {number}": _step(step) for number, step in enumerate(rule.steps, start=1)}
    return said | steps | {"max minutes": _shown(rule.max_minutes)}


def _shown(value: object) -> str:
    if value in (None, "", [], ()):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else str(value)


def _step(step: object) -> str:
    """A group in quotes: its name is free text."""
    match step:
        case {"kind": "group", "group": str() as group, "needed": int() as needed}:
            return f"{needed} of the group {json.dumps(group, ensure_ascii=False)}"
        case {"kind": str() as kind, "group": None, "needed": int() as needed}:
            return f"{needed} {kind}"
    return json.dumps(step, ensure_ascii=False, sort_keys=True)


def _require_second(actor: Actor, rule: Rule, before: dict[str, str], after: dict[str, str]) -> None:
    """What a rule does depends on all the others: whoever agrees, agrees to it beside those that there are now."""
    differs = [name for name in {**before, **after} if before.get(name, "") != after.get(name, "")]
    version, _ = current_rules()
    difference = [
        *(Line(name, before.get(name, ""), after.get(name, "")) for name in differs),
        Line("policy", f"version {version}", f"version {version + 1}"),
    ]
    require_second(actor, about=f"Rule “{rule.name}”", subject="policy", difference=difference, widens=bool(differs))


def _lock() -> None:
    """One change of the policy at a time; readers are not held up."""
    with connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {connection.ops.quote_name(Rule._meta.db_table)} IN SHARE ROW EXCLUSIVE MODE")


def _rule(rule_id: str) -> Rule:
    rule = Rule.objects.filter(pk=rule_id).first()
    if rule is None:
        raise NotFound("There is no such rule; it may have been removed.")
    return rule


def _check(*rules: Rule) -> None:
    """Raise Invalid unless the model and evaluate() both understand the rules, and what they name is there."""
    steps = [step for rule in rules for step in _parsed(rule).steps]
    # A class that does not exist would never be met: the rule would be passed over without a word.
    classes = {name for rule in rules for name in rule.unmask_classes}
    known = DataClass.objects.filter(name__in=classes).values_list("name", flat=True)
    if unheard := classes - set(known):
        raise Invalid(f"There is no data class {', '.join(sorted(unheard))}.", field="unmask_classes")
    groups = {step.group for step in steps if step.group} - set(Duty.values)
    if unknown := groups - set(Group.objects.filter(name__in=groups).values_list("name", flat=True)):
        raise Invalid(f"There is no group {', '.join(sorted(unknown))} to ask.", field="steps")


def _parsed(rule: Rule) -> RuleData:
    """Raises Invalid unless the rule alone is as it should be."""
    rule.name = checked(rule.name, what="The name of a rule", field="name", at_most=100, required=True)
    try:
        rule.clean_fields(exclude=["position"])
        rule.validate_unique(exclude={"position"})
        return parse_rule(as_data(rule))
    except ValidationError as error:
        field, sentences = next(iter(error.message_dict.items()))
        raise Invalid(f"{field}: {' '.join(sentences)}", field=field) from error
    except Malformed as error:
        raise Invalid(str(error), field=error.field) from error


def _place(rule: Rule, position: object) -> None:
    """Save `rule` at `position` among the others, numbered 1, 2, 3 …; without one it stays, or goes last."""
    others = list(Rule.objects.exclude(pk=rule.pk).order_by("position"))
    if position is None:
        index = len(others) if rule._state.adding else sum(other.position < rule.position for other in others)
    elif isinstance(position, int) and not isinstance(position, bool) and position >= 1:
        index = min(position - 1, len(others))
    else:
        raise Invalid("The position of a rule is a whole number, from 1.", field="position")
    ordered = [*others[:index], rule, *others[index:]]
    for number, other in enumerate(others, start=_ASIDE):
        Rule.objects.filter(pk=other.pk).update(position=number)
    rule.position = index + 1
    rule.save()
    for number, other in enumerate(ordered, start=1):
        if other is not rule:
            Rule.objects.filter(pk=other.pk).update(position=number)


def _new_version(actor: Actor, rule: Rule | None, *, change: str) -> int:
    newest = PolicyVersion.objects.first()
    number = newest.number + 1 if newest else 1
    rules = [as_data(active) for active in Rule.objects.filter(is_active=True).order_by("position")]
    canonical = rfc8785.dumps(rules)
    PolicyVersion.objects.create(number=number, rules=rules, created_at=clock.now(), author=actor_id(actor))
    audit.record(
        Action.POLICY_CHANGED,
        actor=actor_id(actor),
        subject=f"policy:{number}",
        facts={
            "change": change,
            "rule": rule.pk if rule else None,
            "content": as_data(rule) | {"is_active": rule.is_active} if rule else None,
            "rules": len(rules),
            "digest": hashlib.sha256(canonical).hexdigest(),
            # The whole policy, in its order: the record alone tells what a version says.
            **({"policy": rules} if len(canonical) <= _LISTED_BYTES else {}),
        },
    )
    nudge()
    return number
