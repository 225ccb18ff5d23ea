import json
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.policies.defaults import DEFAULT_RULES
from apps.policies.evaluate import SECURITY, STRICTEST, can_fill, evaluate
from apps.policies.facts import Facts, Outcome, RiskLevel, Step, StepKind, Verdict
from apps.policies.risk import assess, span
from apps.policies.rules import KEYS, LATER, Malformed, RuleData, parse_rule, parse_rules

PEER, OWNER, DATA_OWNER = Step(StepKind.PEER), Step(StepKind.OWNER), Step(StepKind.DATA_OWNER)
ORDER = list(RiskLevel)

# Everybody is there: bob is alice's peer, dana owns the database, sam is security.
FACTS = Facts(
    requester="alice",
    environment="staging",
    level="query",
    connection="direct",
    minutes=60,
    tables=2,
    whole_schemas=(),
    classified_tables=(),
    highest_classification="",
    unmask=(),
    unmask_classes=(),
    highest_unmask="",
    unclassified=0,
    eligible={"peer": ("bob",), "owner": ("dana",), "data_owner": ("olga",), "group:security": ("sam",)},
)
EMPTY = {
    "environments": [],
    "levels": [],
    "connections": [],
    "classified": None,
    "unmask": None,
    "unmask_classes": [],
    "whole_schema": None,
    "longer_than_minutes": None,
    "at_most_minutes": None,
    "steps": [],
    "max_minutes": None,
}
DEFAULTS = parse_rules([{**EMPTY, **rule} for rule in DEFAULT_RULES])
YES = RuleData(name="yes", outcome=Outcome.APPROVE)
NO = RuleData(name="no", outcome=Outcome.DENY)


def rule(**parts: object) -> dict[str, object]:
    return {**EMPTY, "name": "a rule", "outcome": "approve", **parts}


names = st.text(max_size=8)
people = st.lists(st.sampled_from(["alice", "bob", "carol", "dana", "sam", "x", "y"]), max_size=4).map(tuple)
facts = st.builds(
    Facts,
    requester=st.sampled_from(["alice", "bob", ""]),
    environment=st.sampled_from(["production", "staging", "development"]) | names,
    level=st.sampled_from(["query", "export", "change"]) | names,
    connection=st.sampled_from(["console", "direct"]) | names,
    minutes=st.integers() | st.integers(1, 1000),
    tables=st.integers(),
    whole_schemas=st.lists(names, max_size=3).map(tuple),
    classified_tables=st.lists(names, max_size=3).map(tuple),
    highest_classification=st.sampled_from(["", "internal", "confidential", "restricted"]) | names,
    unmask=st.lists(names, max_size=3).map(tuple),
    unmask_classes=st.lists(st.sampled_from(["", "email", "card"]) | names, max_size=3).map(tuple),
    highest_unmask=st.sampled_from(["", "confidential", "restricted"]) | names,
    unclassified=st.integers(),
    eligible=st.dictionaries(
        st.sampled_from(["peer", "owner", "data_owner", "group:security", "group:g"]) | names, people
    ),
)
steps = st.lists(
    st.fixed_dictionaries(
        {"kind": st.sampled_from(["peer", "owner", "data_owner"]), "group": st.none(), "needed": st.integers(1, 3)}
    )
    | st.just({"kind": "group", "group": "g", "needed": 1}),
    max_size=3,
)
flags = st.sampled_from([None, True, False])
caps = st.none() | st.integers(1, 1000)
good_rules = st.fixed_dictionaries(
    {
        "name": st.text(min_size=1, max_size=5),
        "environments": st.lists(st.sampled_from(["production", "staging"]), max_size=2),
        "levels": st.lists(st.sampled_from(["query", "export", "change"]), max_size=2),
        "connections": st.lists(st.sampled_from(["console", "direct"]), max_size=1),
        "classified": flags,
        "unmask": flags,
        "unmask_classes": st.lists(st.sampled_from(["email", "card"]), max_size=2),
        "whole_schema": flags,
        "longer_than_minutes": caps,
        "at_most_minutes": caps,
        "outcome": st.sampled_from(["approve", "route", "deny"]),
        "steps": steps,
        "max_minutes": caps,
    }
)
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(KEYS)) | names, inner, max_size=4)
    ),
    max_leaves=8,
)
# Rules with one part spoilt come closest to being believed.
spoilt = st.builds(lambda good, key, value: {**good, key: value}, good_rules, st.sampled_from(sorted(KEYS)), junk)
any_rules = st.lists(good_rules | spoilt | junk, max_size=4)


@given(facts, any_rules | junk, st.integers(0, 10))
def test_evaluate_answers_when_facts_and_rules_are_anything(asked: Facts, rules: object, version: int) -> None:
    verdict = evaluate(asked, parse_rules(rules), version)

    assert verdict.version == version
    assert verdict.reasons
    assert all(verdict.reasons)
    assert (verdict.outcome is Outcome.ROUTE) == bool(verdict.steps)
    assert Verdict.from_json(json.loads(json.dumps(verdict.to_json()))) == verdict


@given(facts, any_rules)
def test_evaluate_approves_when_an_approving_rule_matches_and_never_else(asked: Facts, rules: list[object]) -> None:
    parsed = parse_rules(rules)

    if evaluate(asked, parsed, 1).outcome is Outcome.APPROVE:
        first = next(rule for rule in parsed if rule.matches(asked))
        assert first.outcome is Outcome.APPROVE
        assert not first.problem
        assert first.max_minutes is None or asked.minutes <= first.max_minutes
        assert not asked.unmask


@given(facts, any_rules)
def test_evaluate_asks_a_data_owner_or_security_in_their_place_when_columns_are_to_be_unmasked(
    asked: Facts, rules: list[object]
) -> None:
    verdict = evaluate(asked, parse_rules(rules), 1)

    if asked.unmask and verdict.outcome is not Outcome.DENY:
        assert {StepKind.DATA_OWNER, SECURITY.kind} & {step.kind for step in verdict.steps}
        assert verdict.steps[-1] in {DATA_OWNER, SECURITY} or DATA_OWNER.kind in {s.kind for s in verdict.steps}


@given(facts, any_rules, good_rules | spoilt)
def test_evaluate_never_turns_to_yes_when_a_rule_that_does_not_approve_comes_first(
    asked: Facts, rules: list[object], earlier: dict[str, object]
) -> None:
    if earlier.get("outcome") == "approve":
        earlier = {**earlier, "outcome": "deny", "steps": []}
    after = evaluate(asked, parse_rules([earlier, *rules]), 1)

    if after.outcome is Outcome.APPROVE:
        assert evaluate(asked, parse_rules(rules), 1).outcome is Outcome.APPROVE
        assert not parse_rules([earlier])[0].matches(asked)


@given(facts, any_rules)
def test_evaluate_denies_when_a_deny_that_matches_everything_comes_first(asked: Facts, rules: list[object]) -> None:
    assert evaluate(asked, [NO, *parse_rules(rules)], 1).outcome is Outcome.DENY


@given(facts, st.integers(0, 10_000), st.lists(names, max_size=3), st.lists(names, max_size=3))
def test_assess_never_sees_less_risk_when_more_is_asked_for(
    asked: Facts, longer: int, unmask: list[str], schemas: list[str]
) -> None:
    more = replace(
        asked,
        minutes=asked.minutes + longer,
        unmask=(*asked.unmask, *unmask),
        whole_schemas=(*asked.whole_schemas, *schemas),
    )

    assert ORDER.index(assess(more).level) >= ORDER.index(assess(asked).level)
    assert sum(f.weight for f in assess(more).factors) >= sum(f.weight for f in assess(asked).factors)


@given(facts, any_rules)
def test_evaluate_asks_enough_distinct_people_when_it_does_not_say_that_nobody_can(
    asked: Facts, rules: list[object]
) -> None:
    verdict = evaluate(asked, parse_rules(rules), 1)

    others = {key: [p for p in ids if p != asked.requester] for key, ids in asked.eligible.items()}
    if not any("nobody can approve this request as things are" in reason for reason in verdict.reasons):
        assert can_fill(verdict.steps, others)


@pytest.mark.parametrize("field", sorted(KEYS))
@given(value=junk)
def test_parse_rule_reads_or_refuses_when_a_part_is_anything(field: str, value: object) -> None:
    with suppress(Malformed):
        parse_rule(rule(**{field: value}))


@pytest.mark.parametrize("field", sorted(KEYS - LATER))
def test_evaluate_asks_the_strictest_people_when_a_rule_lacks_a_part(field: str) -> None:
    broken = {key: value for key, value in rule().items() if key != field}

    verdict = evaluate(FACTS, parse_rules([broken, rule()]), 3)

    assert (verdict.outcome, verdict.steps) == (Outcome.ROUTE, STRICTEST)
    assert "cannot be read" in verdict.reasons[1]


@pytest.mark.parametrize(
    "spoilt",
    [
        {"steps": [{"kind": "peer", "group": None, "needed": 0}], "outcome": "route"},
        {"steps": [{"kind": "peer", "group": None, "needed": True}], "outcome": "route"},
        {"steps": [{"kind": "peer", "group": "x", "needed": 1}], "outcome": "route"},
        {"steps": [{"kind": "group", "group": None, "needed": 1}], "outcome": "route"},
        {"steps": [{"kind": "god", "group": None, "needed": 1}], "outcome": "route"},
        {"steps": [], "outcome": "route"},
        {"steps": [{"kind": "peer", "group": None, "needed": 1}], "outcome": "approve"},
        {"outcome": "yes"},
        {"outcome": ["approve"]},
        {"max_minutes": -1},
        {"max_minutes": True},
        {"at_most_minutes": "60"},
        {"environments": "staging"},
        {"unmask_classes": "card"},
        {"unmask_classes": None},
        {"unmask_classes": [1]},
        {"steps": [{"kind": "data_owner", "group": "x", "needed": 1}], "outcome": "route"},
        {"classified": 0},
        {"unless": "the moon is full"},
        {"name": " "},
    ],
)
def test_evaluate_asks_the_strictest_people_when_a_rule_is_malformed(spoilt: dict[str, object]) -> None:
    verdict = evaluate(FACTS, parse_rules([rule(**spoilt)]), 3)

    assert (verdict.outcome, verdict.steps) == (Outcome.ROUTE, STRICTEST)


def test_evaluate_asks_the_strictest_people_when_no_rule_matches() -> None:
    verdict = evaluate(FACTS, [replace(YES, environments=frozenset({"production"}))], 3)

    assert (verdict.outcome, verdict.steps, verdict.rule) == (Outcome.ROUTE, STRICTEST, "")
    assert verdict.reasons == (
        "This needs a yes of a peer of yours, then an owner of the database, then a member of the group security.",
        "No rule covers this, so the strictest route holds.",
    )


def test_evaluate_searches_no_further_when_a_rule_fails() -> None:
    """Field notes A1: a rule that errors was skipped, and the next one said yes."""
    failing = replace(YES, name="fails", environments=3)  # type: ignore[arg-type]

    verdict = evaluate(FACTS, [failing, YES], 3)

    assert (verdict.outcome, verdict.steps) == (Outcome.ROUTE, STRICTEST)
    assert verdict.reasons[1] == "Rule “fails” failed, so the strictest route holds."


def test_evaluate_denies_when_auto_approval_is_asked_for_longer_than_its_cap() -> None:
    verdict = evaluate(FACTS, [replace(YES, max_minutes=45)], 3)

    assert (verdict.outcome, verdict.max_minutes) == (Outcome.DENY, 45)
    assert verdict.reasons == ("Access for more than 45 minutes is denied by rule “yes”: ask for 45 minutes or less.",)


def test_evaluate_sends_a_step_to_security_when_nobody_could_take_it() -> None:
    asked = replace(FACTS, environment="production", eligible={**FACTS.eligible, "peer": ("alice",)})

    verdict = evaluate(asked, DEFAULTS, 1)

    assert verdict.steps == (SECURITY, OWNER)
    assert verdict.reasons == (
        "This needs a yes of a member of the group security, then an owner of the database.",
        "Rule “production: read” asks for this.",
        "Nobody is there who could decide as a peer of yours, so this step goes to security.",
    )


def test_evaluate_sends_a_step_to_security_when_one_person_would_have_to_take_two() -> None:
    asked = replace(FACTS, environment="production", eligible={**FACTS.eligible, "peer": ("dana",)})

    assert evaluate(asked, DEFAULTS, 1).steps == (PEER, SECURITY)


def test_evaluate_says_so_when_nobody_can_approve_at_all() -> None:
    asked = replace(FACTS, environment="production", eligible={})

    verdict = evaluate(asked, DEFAULTS, 1)

    assert (verdict.outcome, verdict.steps) == (Outcome.ROUTE, (SECURITY, SECURITY))
    assert sum("nobody can approve this request as things are" in reason for reason in verdict.reasons) == 2


@pytest.mark.parametrize(
    ("changes", "outcome", "steps_", "rule_"),
    [
        ({}, Outcome.APPROVE, (), "staging: read what is not classified for an hour"),
        ({"minutes": 1}, Outcome.APPROVE, (), "staging: read what is not classified for an hour"),
        ({"connection": "console"}, Outcome.APPROVE, (), "staging: read what is not classified for an hour"),
        ({"minutes": 61}, Outcome.ROUTE, (OWNER,), "staging and development: everything else"),
        ({"level": "change"}, Outcome.ROUTE, (OWNER,), "staging and development: everything else"),
        ({"classified_tables": ("a.b",)}, Outcome.ROUTE, (OWNER,), "staging and development: everything else"),
        ({"environment": "development"}, Outcome.ROUTE, (OWNER,), "staging and development: everything else"),
        ({"environment": "production"}, Outcome.ROUTE, (PEER, OWNER), "production: read"),
        ({"environment": "production", "minutes": 480}, Outcome.ROUTE, (PEER, OWNER), "production: read"),
        ({"environment": "production", "level": "export"}, Outcome.ROUTE, STRICTEST, "production: change or export"),
        (
            {"environment": "production", "level": "change", "connection": "console"},
            Outcome.ROUTE,
            STRICTEST,
            "production: change or export",
        ),
        (
            {"environment": "production", "unmask": ("a.b.c",)},
            Outcome.ROUTE,
            (PEER, OWNER, DATA_OWNER),
            "production: unmask",
        ),
        (
            {"environment": "production", "level": "change", "unmask": ("a.b.c",)},
            Outcome.ROUTE,
            (*STRICTEST, DATA_OWNER),
            "production: change or export",
        ),
        (
            {"unmask": ("a.b.c",)},
            Outcome.ROUTE,
            (OWNER, DATA_OWNER),
            "staging and development: everything else",
        ),
        (
            {"unmask": ("a.b.c", "a.b.d"), "unmask_classes": ("card", "email")},
            Outcome.DENY,
            (),
            "no unmasked cards outside the console",
        ),
        (
            {"unmask": ("a.b.c",), "unmask_classes": ("card",), "connection": "console"},
            Outcome.ROUTE,
            (OWNER, DATA_OWNER),
            "staging and development: everything else",
        ),
        (
            {"environment": "production", "unmask": ("a.b.c",), "unmask_classes": ("email",)},
            Outcome.ROUTE,
            (PEER, OWNER, DATA_OWNER),
            "production: unmask",
        ),
        ({"environment": "production", "minutes": 481}, Outcome.DENY, (), "no longer than a working day"),
        ({"minutes": 481}, Outcome.DENY, (), "no longer than a working day"),
        ({"environment": "mars"}, Outcome.ROUTE, STRICTEST, ""),
    ],
)
def test_evaluate_follows_the_default_rules_when_asked_for(
    changes: dict[str, object], outcome: Outcome, steps_: tuple[Step, ...], rule_: str
) -> None:
    verdict = evaluate(replace(FACTS, **changes), DEFAULTS, 1)

    assert (verdict.outcome, verdict.steps, verdict.rule) == (outcome, steps_, rule_)


def test_evaluate_reads_older_versions_when_they_know_no_data_classes() -> None:
    older = {key: value for key, value in rule(unmask=False).items() if key not in LATER}

    assert parse_rules([older]) == parse_rules([rule(unmask=False)])
    assert evaluate(FACTS, parse_rules([older]), 1).outcome is Outcome.APPROVE


def test_evaluate_asks_a_data_owner_when_a_rule_would_approve_an_unmask() -> None:
    verdict = evaluate(replace(FACTS, unmask=("a.b.c",)), [replace(YES, max_minutes=60)], 3)

    assert (verdict.outcome, verdict.steps, verdict.rule) == (Outcome.ROUTE, (DATA_OWNER,), "yes")
    assert verdict.max_minutes == 60
    assert verdict.reasons == (
        "This needs a yes of an owner of the data.",
        "Rule “yes” approves everything else at once. Whether columns are shown unmasked is for a data owner to say.",
    )


def test_evaluate_asks_a_data_owner_once_when_the_rule_asks_one_already() -> None:
    route = RuleData(name="route", steps=(replace(DATA_OWNER, needed=1), PEER))

    assert evaluate(replace(FACTS, unmask=("a.b.c",)), [route], 1).steps == (DATA_OWNER, PEER)


def test_evaluate_asks_a_data_owner_when_no_rule_matches_and_when_one_is_broken() -> None:
    asked = replace(FACTS, unmask=("a.b.c",))

    assert evaluate(asked, [], 1).steps == (*STRICTEST, DATA_OWNER)
    assert evaluate(asked, parse_rules([{}]), 1).steps == (*STRICTEST, DATA_OWNER)


@pytest.mark.parametrize(
    ("circle", "why"),
    [
        ((), "Nobody is there who could decide as an owner of the data"),
        (("alice",), "Nobody is there who could decide as an owner of the data"),
        (("dana",), "Whoever could decide as an owner of the data is needed for another step"),
    ],
)
def test_evaluate_sends_the_data_owner_s_step_to_security_when_nobody_else_is_left_for_it(
    circle: tuple[str, ...], why: str
) -> None:
    asked = replace(
        FACTS,
        environment="production",
        unmask=("a.b.c",),
        highest_unmask="confidential",
        eligible={**FACTS.eligible, "data_owner": circle},
    )

    verdict = evaluate(asked, DEFAULTS, 1)

    assert verdict.steps == (PEER, OWNER, SECURITY)
    assert verdict.reasons[-1] == f"{why}, so this step goes to security."


@pytest.mark.parametrize(
    ("outcome", "asked", "expected"),
    [
        ("deny", ("card", "email"), True),
        ("deny", ("email",), False),
        ("deny", (), False),
        ("route", ("card", "email"), True),
        ("route", ("",), False),
        ("approve", ("card",), True),
        ("approve", ("card", "email"), False),
        ("approve", ("card", ""), False),
        ("approve", (), False),
    ],
)
def test_rule_matches_by_data_class_so_that_nothing_more_is_allowed(
    outcome: str, asked: tuple[str, ...], expected: bool
) -> None:
    one = replace(YES, outcome=Outcome(outcome), unmask_classes=frozenset({"card"}))
    unmask = tuple("a.b.c" for _ in asked)

    assert one.matches(replace(FACTS, unmask=unmask, unmask_classes=asked)) is expected


def test_evaluate_names_the_cap_when_more_than_a_working_day_is_asked_for() -> None:
    verdict = evaluate(replace(FACTS, minutes=10**9), DEFAULTS, 1)

    assert verdict.max_minutes == 480
    assert "more than 8 hours" in verdict.reasons[0]


def test_assess_adds_named_factors_when_each_is_there() -> None:
    risk = assess(
        replace(
            FACTS,
            environment="production",
            level="change",
            minutes=600,
            whole_schemas=("sales",),
            classified_tables=("sales.customers",),
            highest_classification="restricted",
            unmask=("sales.customers.email",),
            unclassified=3,
        )
    )

    assert risk.level is RiskLevel.CRITICAL
    assert {factor.name for factor in risk.factors} == {
        "environment",
        "level",
        "classification",
        "unmask",
        "unclassified",
        "direct",
        "whole_schema",
        "duration",
    }
    assert all(factor.why.endswith(".") for factor in risk.factors)


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ({}, RiskLevel.LOW),
        ({"environment": "production", "connection": "console"}, RiskLevel.MEDIUM),
        ({"environment": "production"}, RiskLevel.MEDIUM),
        ({"environment": "production", "level": "change"}, RiskLevel.HIGH),
        ({"environment": "nobody knows"}, RiskLevel.MEDIUM),
    ],
)
def test_assess_has_a_level_when_factors_add_up(changes: dict[str, object], level: RiskLevel) -> None:
    assert assess(replace(FACTS, **changes)).level is level


def weight(name: str, **changes: object) -> int:
    factors = {factor.name: factor.weight for factor in assess(replace(FACTS, **changes)).factors}
    return factors.get(name, 0)


def test_assess_weighs_masked_columns_little_and_unmasked_ones_by_level_and_number() -> None:
    masked = {level: weight("classification", highest_classification=level) for level in ("confidential", "restricted")}
    one = {level: weight("unmask", unmask=("a",), highest_unmask=level) for level in ("confidential", "restricted")}

    assert 0 < masked["confidential"] < masked["restricted"] < one["confidential"] < one["restricted"]
    assert weight("unmask", unmask=("a", "b"), highest_unmask="confidential") > one["confidential"]
    assert weight("unmask", highest_unmask="restricted") == 0


def test_assess_weighs_as_the_worst_what_it_does_not_know() -> None:
    worst = weight("unmask", unmask=("a",), highest_unmask="restricted")

    assert weight("unmask", unmask=("a",), highest_unmask="") == worst
    assert weight("unmask", unmask=("a",), highest_unmask="secret of the moon") == worst
    assert weight("classification", highest_classification="secret") == weight(
        "classification", highest_classification="restricted"
    )


def test_assess_says_how_many_columns_nobody_has_classified() -> None:
    (factor,) = [one for one in assess(replace(FACTS, unclassified=12)).factors if one.name == "unclassified"]

    assert factor.why == "12 columns are shown that nobody has classified yet."
    assert 0 < factor.weight < 5


@pytest.mark.parametrize(
    ("minutes", "words"),
    [(1, "1 minute"), (45, "45 minutes"), (60, "1 hour"), (90, "1 hour 30 minutes"), (2880, "2 days")],
)
def test_span_reads_as_words_when_given_minutes(minutes: int, words: str) -> None:
    assert span(minutes) == words


@given(st.dictionaries(st.sampled_from(["peer", "owner"]), people), st.integers(1, 3), st.integers(1, 3))
def test_can_fill_agrees_with_trying_everything(circles: dict[str, tuple[str, ...]], peers: int, owners: int) -> None:
    wanted = [Step(StepKind.PEER, peers), Step(StepKind.OWNER, owners)]
    first, second = set(circles.get("peer", ())), set(circles.get("owner", ()))
    # Hall's condition for two circles.
    expected = len(first) >= peers and len(second) >= owners and len(first | second) >= peers + owners

    assert can_fill(wanted, circles) == expected


GLASS = replace(FACTS, break_glass=True, break_glass_minutes=60)


def test_in_an_emergency_access_is_given_at_once_and_is_critical() -> None:
    for rules in ((), (YES,), (RuleData(name="ask", steps=(PEER, OWNER)),), DEFAULTS):
        verdict = evaluate(GLASS, rules, 1)
        assert (verdict.outcome, verdict.steps, verdict.max_minutes) == (Outcome.APPROVE, (), 60)
        assert "because the glass is broken" in verdict.reasons[0]
        assert verdict.risk.level is RiskLevel.CRITICAL
        assert verdict.risk.factors[0].name == "break_glass"


@pytest.mark.parametrize(
    ("facts", "rules", "says"),
    [
        (replace(GLASS, minutes=61), (YES,), "1 hour at most"),
        (replace(GLASS, break_glass_minutes=0), (YES,), "at most"),
        (replace(GLASS, unmask=("sales.customers.email",)), (YES,), "stay masked in an emergency"),
        (GLASS, (NO,), "“no” denies this"),
        (GLASS, (RuleData(name="short", outcome=Outcome.DENY, longer_than_minutes=30),), "30 minutes or less"),
        (GLASS, (RuleData(name="capped", steps=(OWNER,), max_minutes=30),), "30 minutes or less"),
        (GLASS, (RuleData(name="broken", problem="torn"), YES), "cannot be read"),
    ],
)
def test_in_an_emergency_what_is_denied_stays_denied(facts: Facts, rules: tuple[RuleData, ...], says: str) -> None:
    verdict = evaluate(facts, rules, 1)
    assert (verdict.outcome, verdict.steps) == (Outcome.DENY, ())
    assert says in verdict.reasons[0]


def test_in_an_emergency_a_rule_that_fails_denies(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: RuleData, facts: Facts) -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr(RuleData, "matches", fails)
    assert evaluate(GLASS, (YES,), 1).outcome is Outcome.DENY


def test_in_an_emergency_the_first_rule_that_matches_says_whether_it_is_denied() -> None:
    assert evaluate(GLASS, (RuleData(name="ask", steps=(OWNER,)), NO), 1).outcome is Outcome.APPROVE


def test_facts_of_before_there_were_emergencies_are_of_none() -> None:
    stored = FACTS.to_json()
    for name in ("break_glass", "break_glass_minutes"):
        del stored[name]
    assert Facts(**stored) == FACTS


def test_evaluate_when_they_widened_access_lately_asks_security_after_all_others() -> None:
    lately = replace(FACTS, widened_lately=True)

    assert evaluate(lately, [YES], 1).steps == (SECURITY,)
    assert evaluate(lately, [RuleData(name="peer", steps=(PEER,))], 1).steps == (PEER, SECURITY)
    assert evaluate(lately, [RuleData(name="both", steps=(SECURITY, PEER))], 1).steps == (SECURITY, PEER)
    assert evaluate(lately, [NO], 1).outcome is Outcome.DENY
    assert evaluate(lately, [], 1).steps == STRICTEST
    assert "widened_lately" in {factor.name for factor in assess(lately).factors}


@given(facts, st.lists(st.sampled_from([YES, NO, RuleData(name="peer", steps=(PEER,))]), max_size=3))
def test_evaluate_never_says_yes_at_once_when_they_widened_access_lately(given: Facts, rules: list[RuleData]) -> None:
    lately = replace(given, widened_lately=True, break_glass=False)
    verdict = evaluate(lately, rules, 1)
    assert verdict.outcome is not Outcome.APPROVE
    if verdict.outcome is Outcome.ROUTE:
        assert SECURITY.key in {step.key for step in verdict.steps}
