from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from apps.approvals.tally import Vote, tally
from apps.engines.base import Level, TableName
from apps.policies.facts import Step, StepKind
from apps.requests.scope import EffectiveScope

ORDERS, LINES, LEVELS = TableName("sales", "orders"), TableName("sales", "order_lines"), TableName("stock", "levels")
WIDE = EffectiveScope(
    database="db",
    level=Level.QUERY,
    connection="direct",
    minutes=60,
    starts_at=None,
    tables=(LINES, ORDERS),
    unmask=((ORDERS, "note"),),
)
NARROW = replace(WIDE, tables=(ORDERS,), minutes=30)
ROUTE = (Step(StepKind.PEER), Step(StepKind.OWNER))


def test_tally_waits_for_the_first_step_when_nobody_voted() -> None:
    assert tally(ROUTE, [], WIDE).step == 0
    assert not tally(ROUTE, [], WIDE).complete


def test_tally_is_complete_when_each_step_has_its_people() -> None:
    done = tally(ROUTE, [Vote("bob", 0, WIDE), Vote("dana", 1, WIDE)], WIDE)

    assert done.complete
    assert done.approved_by == (("bob",), ("dana",))


def test_tally_counts_people_when_a_step_needs_two() -> None:
    """Field notes A2: N counted groups, not people."""
    route = (Step(StepKind.OWNER, 2),)

    assert not tally(route, [Vote("dana", 0, WIDE), Vote("dana", 0, WIDE)], WIDE).complete
    assert tally(route, [Vote("dana", 0, WIDE), Vote("olga", 0, WIDE)], WIDE).complete


def test_tally_counts_one_person_for_one_step_when_they_voted_in_two() -> None:
    assert tally(ROUTE, [Vote("bob", 0, WIDE), Vote("bob", 1, WIDE)], WIDE).step == 1


def test_tally_is_complete_when_more_than_enough_voted() -> None:
    """Field notes A3: `approved == needed` sticks when overshot."""
    assert tally(ROUTE, [Vote("bob", 0, WIDE), Vote("bert", 0, WIDE), Vote("dana", 1, WIDE)], WIDE).complete


def test_tally_keeps_a_vote_when_the_scope_became_smaller() -> None:
    assert tally(ROUTE, [Vote("bob", 0, WIDE), Vote("dana", 1, NARROW)], NARROW).complete


def test_tally_drops_a_vote_when_it_was_for_less() -> None:
    assert tally(ROUTE, [Vote("bob", 0, NARROW)], WIDE).step == 0


def test_tally_goes_back_when_an_earlier_vote_counts_no_more() -> None:
    assert tally(ROUTE, [Vote("dana", 1, WIDE)], WIDE).step == 0


def test_tally_is_never_complete_when_the_route_is_empty() -> None:
    assert not tally((), [Vote("bob", 0, WIDE)], WIDE).complete


def test_covers_is_false_when_the_access_is_of_another_kind() -> None:
    for other in (
        replace(WIDE, database="other"),
        replace(WIDE, level=Level.CHANGE),
        replace(WIDE, connection="console"),
        replace(WIDE, starts_at="2030-01-01T00:00:00.000000Z"),
        replace(WIDE, minutes=61),
        replace(WIDE, tables=(LINES, ORDERS, LEVELS)),
        replace(WIDE, unmask=((ORDERS, "note"), (LINES, "note"))),
    ):
        assert not WIDE.covers(other)
        assert not other.covers(WIDE) or other != WIDE


scopes = st.builds(
    lambda tables, minutes: replace(WIDE, tables=tuple(sorted(tables)), minutes=minutes, unmask=()),
    st.sets(st.sampled_from([ORDERS, LINES, LEVELS]), min_size=1),
    st.integers(1, 3),
)
votes = st.lists(st.builds(Vote, st.sampled_from("abcd"), st.integers(-1, 3), scopes), max_size=6)
routes = st.lists(st.builds(Step, st.just(StepKind.PEER), st.integers(1, 2)), max_size=3).map(tuple)


@given(routes, votes, scopes)
def test_tally_is_complete_only_when_enough_distinct_people_covered_the_scope(
    route: tuple[Step, ...], cast: list[Vote], scope: EffectiveScope
) -> None:
    result = tally(route, cast, scope)

    counted = [person for persons in result.approved_by for person in persons]
    assert len(counted) == len(set(counted))
    for index, persons in enumerate(result.approved_by):
        for person in persons:
            assert any(v.person == person and v.step == index and v.scope.covers(scope) for v in cast)
    enough = [len(persons) >= step.needed for step, persons in zip(route, result.approved_by, strict=True)]
    assert result.complete == (bool(route) and all(enough))


@given(routes, votes, scopes, scopes)
def test_tally_never_loses_when_the_scope_becomes_smaller(
    route: tuple[Step, ...], cast: list[Vote], scope: EffectiveScope, other: EffectiveScope
) -> None:
    # One vote per person, as the database has it.
    single = list({vote.person: vote for vote in cast}.values())
    if scope.covers(other) and tally(route, single, scope).complete:
        assert tally(route, single, other).complete
