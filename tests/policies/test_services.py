from typing import Any

import pytest

from apps.audit import services as audit
from apps.audit.actions import Action
from apps.core.errors import Invalid, NotAllowed, NotFound
from apps.policies.facts import Outcome
from apps.policies.models import PolicyVersion, Rule
from apps.policies.services import current_rules, ensure_default_rules, remove_rule, save_rule
from tests.factories import Cast, cast

pytestmark = pytest.mark.django_db(transaction=True)

STAGING_YES: dict[str, Any] = {"name": "staging", "environments": ["staging"], "outcome": "approve"}


@pytest.fixture
def people() -> Cast:
    return cast()


def names() -> list[str]:
    return [rule.name for rule in current_rules()[1]]


def changes() -> list[dict[str, Any]]:
    return [line.facts for line in audit.latest(limit=20) if line.action == Action.POLICY_CHANGED]


def test_current_rules_is_version_0_when_there_is_no_policy() -> None:
    assert current_rules() == (0, ())


def test_ensure_default_rules_makes_version_1_when_there_is_none() -> None:
    assert ensure_default_rules(actor="operator") == 1

    version, rules = current_rules()
    assert version == 1
    assert len(rules) == 7
    assert not any(rule.problem for rule in rules)
    assert rules[0].outcome is Outcome.DENY
    assert changes()[0]["policy"] == PolicyVersion.objects.get().rules  # the record alone tells what was in force


@pytest.mark.usefixtures("seconded")
def test_ensure_default_rules_changes_nothing_when_there_is_a_policy(people: Cast) -> None:
    save_rule(actor=people.dana, rule_id=None, **STAGING_YES)

    assert ensure_default_rules(actor="operator") == 1
    assert names() == ["staging"]


@pytest.mark.usefixtures("seconded")
def test_save_rule_makes_a_version_and_an_entry_when_a_rule_is_added(people: Cast) -> None:
    rule = save_rule(actor=people.dana, rule_id=None, **STAGING_YES)

    version = PolicyVersion.objects.get()
    assert (version.number, version.author) == (1, people.dana.audit_id)
    assert version.rules[0]["environments"] == ["staging"]
    entry = changes()[0]
    assert (entry["change"], entry["rule"], entry["content"]["name"]) == ("added", rule.pk, "staging")


@pytest.mark.usefixtures("seconded")
def test_save_rule_keeps_old_versions_when_a_rule_changes(people: Cast) -> None:
    rule = save_rule(actor=people.dana, rule_id=None, **STAGING_YES)
    save_rule(actor=people.dana, rule_id=rule.pk, max_minutes=30)

    assert [version.rules[0]["max_minutes"] for version in PolicyVersion.objects.all()] == [30, None]
    assert current_rules()[0] == 2


@pytest.mark.usefixtures("seconded")
def test_save_rule_moves_the_others_when_a_position_is_given(people: Cast) -> None:
    for name in "abc":
        save_rule(actor=people.dana, rule_id=None, name=name, outcome="deny")
    save_rule(actor=people.dana, rule_id=None, name="first", outcome="deny", position=1)
    last = Rule.objects.get(name="c")
    save_rule(actor=people.dana, rule_id=last.pk, position=2)

    assert names() == ["first", "c", "a", "b"]
    assert list(Rule.objects.values_list("position", flat=True)) == [1, 2, 3, 4]


@pytest.mark.usefixtures("seconded")
def test_save_rule_leaves_a_rule_out_when_it_is_switched_off(people: Cast) -> None:
    rule = save_rule(actor=people.dana, rule_id=None, **STAGING_YES)
    save_rule(actor=people.dana, rule_id=rule.pk, is_active=False)

    assert current_rules() == (2, ())


@pytest.mark.parametrize("who", ["alice", "sam", "audrey"])
def test_save_rule_refuses_when_the_person_is_no_administrator(people: Cast, who: str) -> None:
    with pytest.raises(NotAllowed):
        save_rule(actor=getattr(people, who), rule_id=None, **STAGING_YES)
    assert not Rule.objects.exists()


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "nul\0"}, "name"),
        ({"name": "\ud800"}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"environments": ["mars"]}, "environments"),
        ({"levels": ["god"]}, "levels"),
        ({"outcome": "perhaps"}, "outcome"),
        ({"outcome": "route"}, "steps"),
        ({"unmask_classes": ["no-such-class"]}, "unmask_classes"),
        ({"steps": [{"kind": "peer", "group": None, "needed": 1}]}, "steps"),
        ({"outcome": "route", "steps": [{"kind": "group", "group": "no-such-group", "needed": 1}]}, "steps"),
        ({"outcome": "route", "steps": "peer"}, "steps"),
        ({"max_minutes": 0}, "max_minutes"),
        ({"max_minutes": 10**12}, "max_minutes"),
        ({"position": 0}, "position"),
        ({"position": "1"}, "position"),
        ({"colour": "red"}, ""),
    ],
)
def test_save_rule_names_the_field_when_it_cannot_be_meant(people: Cast, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        save_rule(actor=people.dana, rule_id=None, **{**STAGING_YES, **fields})
    assert refusal.value.field == field
    assert not PolicyVersion.objects.exists()


@pytest.mark.usefixtures("seconded")
def test_save_rule_refuses_when_the_name_is_taken(people: Cast) -> None:
    save_rule(actor=people.dana, rule_id=None, **STAGING_YES)

    with pytest.raises(Invalid) as refusal:
        save_rule(actor=people.dana, rule_id=None, **STAGING_YES)
    assert refusal.value.field == "name"


@pytest.mark.usefixtures("seconded")
def test_save_rule_takes_a_group_when_it_exists_or_is_a_duty(people: Cast) -> None:
    steps = [{"kind": "group", "group": group, "needed": 1} for group in ("web-team", "security")]
    save_rule(actor=people.dana, rule_id=None, name="ask", outcome="route", steps=steps)

    assert [step.group for step in current_rules()[1][0].steps] == ["web-team", "security"]


@pytest.mark.usefixtures("seconded")
def test_save_rule_takes_data_classes_and_data_owners_when_they_are_known(people: Cast) -> None:
    steps = [{"kind": "data_owner", "group": None, "needed": 2}]
    save_rule(
        actor=people.dana, rule_id=None, name="cards", outcome="route", steps=steps, unmask_classes=["card", "iban"]
    )

    (rule,) = current_rules()[1]
    assert rule.unmask_classes == {"card", "iban"}
    assert [(step.key, step.needed) for step in rule.steps] == [("data_owner", 2)]


@pytest.mark.usefixtures("seconded")
def test_current_rules_reads_a_version_when_it_is_older_than_data_classes(people: Cast) -> None:
    save_rule(actor=people.dana, rule_id=None, **STAGING_YES)
    version = PolicyVersion.objects.get()
    del version.rules[0]["unmask_classes"]
    version.save()

    (rule,) = current_rules()[1]
    assert (rule.problem, rule.unmask_classes) == ("", frozenset())


@pytest.mark.usefixtures("seconded")
def test_remove_rule_makes_a_version_when_a_rule_goes(people: Cast) -> None:
    rule = save_rule(actor=people.dana, rule_id=None, **STAGING_YES)
    remove_rule(actor=people.dana, rule_id=rule.pk)

    assert current_rules() == (2, ())
    assert changes()[0]["change"] == "removed"
    with pytest.raises(NotFound):
        remove_rule(actor=people.dana, rule_id=rule.pk)
