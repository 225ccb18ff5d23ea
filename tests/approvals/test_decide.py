"""Approving, narrowing and denying. A1–A6 are lines of the field notes: what went wrong in other tools."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from apps.approvals.models import Decision
from apps.approvals.services import approve, deny, inbox, route_of
from apps.audit import services as audit
from apps.audit.actions import Action
from apps.core import clock
from apps.core.errors import Conflict, Invalid, NotAllowed, NotFound, PortalError
from apps.requests.models import AccessRequest
from apps.requests.services import Ask, cancel, submit
from tests.factories import Cast, TableFactory, UserFactory, fresh, join, leave, let_own
from tests.support.threads import at_once

pytestmark = pytest.mark.django_db(transaction=True)

AskFor = Callable[..., Ask]
WAITING = [Action.REQUEST_SUBMITTED]


@pytest.fixture
def waiting(people: Cast, ask: AskFor) -> AccessRequest:
    """alice's request for production: bob or another peer, then dana."""
    return submit(actor=people.alice, ask=ask())


def lines(request: AccessRequest) -> list[audit.Line]:
    return audit.entries(limit=1000, where=audit.Filter(subjects=(request.audit_id,)))


def actions(request: AccessRequest) -> list[str]:
    return [line.action for line in lines(request)]


def status(request: AccessRequest) -> str:
    return AccessRequest.objects.get(pk=request.pk).status


def test_approve_completes_the_request_when_each_step_has_its_people(people: Cast, waiting: AccessRequest) -> None:
    assert approve(actor=people.bob, request_id=waiting.pk, comment="known bug").status == "pending"
    assert approve(actor=people.dana, request_id=waiting.pk).status == "approved"

    assert status(waiting) == "approved"
    assert actions(waiting) == [
        *WAITING,
        Action.DECISION_APPROVED,
        Action.DECISION_APPROVED,
        Action.REQUEST_APPROVED,
    ]
    vote = lines(waiting)[1]
    assert vote.actor == people.bob.audit_id
    assert vote.facts == {
        "digest": waiting.scope_digest,
        "narrowed_from": None,
        "step": 0,
        "kind": "peer",
        "group": None,
    }
    assert vote.disclosed == {"person": "Bob", "comment": "known bug"}


def test_approve_binds_the_vote_to_the_scope_when_it_is_cast(people: Cast, waiting: AccessRequest) -> None:
    approve(actor=people.bob, request_id=waiting.pk, seen_digest=waiting.scope_digest)

    vote = Decision.objects.get()
    assert (vote.decider, vote.step, vote.scope, vote.scope_digest) == (
        people.bob,
        0,
        waiting.scope,
        waiting.scope_digest,
    )


@pytest.mark.parametrize("way", [approve, deny])
def test_decide_is_not_allowed_when_it_is_one_s_own_request(
    people: Cast, ask: AskFor, way: Callable[..., AccessRequest]
) -> None:
    """A2: not even for an owner, an administrator or a superuser."""
    people.alice.is_superuser = people.alice.is_staff = True
    people.alice.save()
    join(people.alice, people.dba)
    join(people.alice, people.security)
    request = submit(actor=people.alice, ask=ask())

    with pytest.raises(NotAllowed, match="their own"):
        way(actor=fresh(people.alice), request_id=request.pk, comment="fine")

    assert status(request) == "pending"
    entry = lines(request)[-1]
    assert (entry.action, entry.actor) == (Action.DECISION_REFUSED, people.alice.audit_id)
    assert not Decision.objects.exists()


@pytest.mark.parametrize("who", ["dana", "sam", "audrey"])
def test_approve_is_not_allowed_when_somebody_else_s_step_is_next(
    people: Cast, waiting: AccessRequest, who: str
) -> None:
    with pytest.raises(NotAllowed, match="waits for a peer"):
        approve(actor=getattr(people, who), request_id=waiting.pk)
    assert actions(waiting) == [*WAITING, Action.DECISION_REFUSED]


def test_approve_is_not_allowed_when_a_superuser_is_nobody_here(people: Cast, waiting: AccessRequest) -> None:
    root = UserFactory(username="root", is_superuser=True, groups=[people.auditor])

    with pytest.raises(NotAllowed):
        approve(actor=root, request_id=waiting.pk)


def test_approve_is_not_found_and_recorded_when_the_request_is_not_visible(
    people: Cast, waiting: AccessRequest
) -> None:
    """A4: guessing an id."""
    with pytest.raises(NotFound):
        approve(actor=people.carol, request_id=waiting.pk)
    assert lines(waiting)[-1].actor == people.carol.audit_id


@pytest.mark.parametrize("request_id", ["nope", "", "nul\0", "x'; --"])
def test_approve_is_not_found_when_there_is_no_such_request(people: Cast, request_id: str) -> None:
    before = audit.head().size

    with pytest.raises(NotFound):
        approve(actor=people.bob, request_id=request_id)
    assert audit.head().size == before


def test_approve_conflicts_when_one_person_approves_twice(people: Cast, waiting: AccessRequest) -> None:
    """A2: one person filling two steps."""
    let_own(people.shop, people.bob)
    approve(actor=people.bob, request_id=waiting.pk)

    with pytest.raises(Conflict, match="already"):
        approve(actor=people.bob, request_id=waiting.pk)
    assert status(waiting) == "pending"
    assert Decision.objects.count() == 1


def test_approve_needs_distinct_people_when_a_step_needs_two(people: Cast, waiting: AccessRequest) -> None:
    steps = [{"kind": "owner", "group": None, "needed": 2}]
    AccessRequest.objects.update(verdict={**waiting.verdict, "steps": steps})
    second = UserFactory(username="olga", groups=[people.dba])
    third = UserFactory(username="otto", groups=[people.dba])

    assert approve(actor=people.dana, request_id=waiting.pk).status == "pending"
    assert approve(actor=second, request_id=waiting.pk).status == "approved"
    with pytest.raises(Conflict):
        approve(actor=third, request_id=waiting.pk)


@pytest.mark.parametrize("state", ["approved", "denied", "cancelled"])
def test_approve_conflicts_when_the_request_is_closed(people: Cast, waiting: AccessRequest, state: str) -> None:
    AccessRequest.objects.update(status=state)

    with pytest.raises(Conflict, match="nothing left to decide"):
        approve(actor=people.bob, request_id=waiting.pk)


def test_approve_conflicts_when_the_scope_has_changed_since_the_look(people: Cast, waiting: AccessRequest) -> None:
    approve(actor=people.bob, request_id=waiting.pk, minutes=30)

    with pytest.raises(Conflict, match="has changed since you looked"):
        approve(actor=people.dana, request_id=waiting.pk, seen_digest=waiting.scope_digest)
    assert status(waiting) == "pending"


def test_approve_narrows_when_less_is_given(people: Cast, waiting: AccessRequest) -> None:
    approve(actor=people.bob, request_id=waiting.pk, minutes=30, tables=["sales.orders"])

    request = AccessRequest.objects.get()
    assert (request.minutes, request.scope["tables"]) == (30, [["sales", "orders"]])
    assert request.asked_scope == waiting.asked_scope
    assert request.scope_digest == request.effective.digest() != waiting.scope_digest
    narrowing, vote = lines(waiting)[1:]
    assert (narrowing.action, vote.action) == (Action.DECISION_NARROWED, Action.DECISION_APPROVED)
    assert narrowing.facts["from"] == waiting.scope_digest
    assert narrowing.facts["tables"] == ["sales.orders"]
    assert (vote.facts["digest"], vote.facts["narrowed_from"]) == (request.scope_digest, waiting.scope_digest)


def test_approve_keeps_earlier_votes_when_a_later_one_narrows(people: Cast, waiting: AccessRequest) -> None:
    approve(actor=people.bob, request_id=waiting.pk)
    request = approve(actor=people.dana, request_id=waiting.pk, minutes=5)

    assert (request.status, request.minutes) == ("approved", 5)
    first, second = Decision.objects.all()
    assert (first.scope_digest, second.scope_digest) == (waiting.scope_digest, request.scope_digest)


def test_approve_narrows_nothing_when_all_of_it_is_given(people: Cast, waiting: AccessRequest) -> None:
    approve(actor=people.bob, request_id=waiting.pk, minutes=60, tables=["sales.*"])

    assert Action.DECISION_NARROWED not in actions(waiting)
    assert AccessRequest.objects.get().scope_digest == waiting.scope_digest


@pytest.mark.parametrize(
    ("less", "field"),
    [
        ({"minutes": 61}, "minutes"),
        ({"minutes": 0}, "minutes"),
        ({"tables": []}, "tables"),
        ({"tables": ["stock.levels"]}, "tables"),
        ({"tables": ["sales.customers"]}, "tables"),
        ({"unmask": ["sales.customers.email"]}, "unmask"),
        ({"comment": "nul\0"}, "comment"),
        ({"comment": "x" * 2001}, "comment"),
    ],
)
def test_approve_names_the_field_when_it_would_not_be_less(
    people: Cast, waiting: AccessRequest, less: dict[str, Any], field: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        approve(actor=people.bob, request_id=waiting.pk, **less)
    assert refusal.value.field == field
    assert not Decision.objects.exists()
    assert AccessRequest.objects.get().scope == waiting.scope


def test_approve_does_not_widen_when_a_wildcard_means_more_than_before(people: Cast, waiting: AccessRequest) -> None:
    TableFactory(database=people.shop, schema="sales", name="brand_new")

    approve(actor=people.bob, request_id=waiting.pk, tables=["sales.*"])

    assert AccessRequest.objects.get().scope == waiting.scope


def test_approve_is_refused_when_the_approver_left_the_team(people: Cast, waiting: AccessRequest) -> None:
    """A5: checked at the decision, whatever the page or the session still says."""
    leave(people.bob, people.shop_team)

    with pytest.raises(PortalError):
        approve(actor=people.bob, request_id=waiting.pk)
    assert not Decision.objects.exists()


def test_approve_is_refused_when_the_approver_s_account_was_closed(people: Cast, waiting: AccessRequest) -> None:
    stale = fresh(people.bob)
    people.bob.is_active = False
    people.bob.save()

    with pytest.raises(NotAllowed):
        approve(actor=stale, request_id=waiting.pk)


@pytest.mark.parametrize("how", ["closed", "left"])
def test_approve_asks_again_when_an_earlier_voter_is_gone(people: Cast, waiting: AccessRequest, how: str) -> None:
    """A5: a removed approver's vote."""
    other = UserFactory(username="bert", groups=[people.shop_team])
    approve(actor=people.bob, request_id=waiting.pk)
    if how == "closed":
        people.bob.is_active = False
        people.bob.save()
    else:
        leave(people.bob, people.shop_team)

    with pytest.raises(NotAllowed, match="waits for a peer"):
        approve(actor=people.dana, request_id=waiting.pk)
    assert approve(actor=other, request_id=waiting.pk).status == "pending"
    assert approve(actor=people.dana, request_id=waiting.pk).status == "approved"


def test_approve_completes_when_a_voter_who_was_gone_has_come_back(people: Cast, waiting: AccessRequest) -> None:
    """A3: more votes than needed must not stick."""
    steps = [{"kind": "owner", "group": None, "needed": 2}]
    AccessRequest.objects.update(verdict={**waiting.verdict, "steps": steps})
    olga, otto, omar = (UserFactory(username=name, groups=[people.dba]) for name in ("olga", "otto", "omar"))
    approve(actor=olga, request_id=waiting.pk)
    leave(olga, people.dba)
    approve(actor=otto, request_id=waiting.pk)
    join(olga, people.dba)

    assert waiting in inbox(omar)
    assert approve(actor=omar, request_id=waiting.pk).status == "approved"


def test_approve_conflicts_when_nobody_would_be_left_for_a_later_step(people: Cast, waiting: AccessRequest) -> None:
    join(people.dana, people.shop_team)

    with pytest.raises(Conflict, match="nobody is left"):
        approve(actor=people.dana, request_id=waiting.pk)
    approve(actor=people.bob, request_id=waiting.pk)
    assert approve(actor=people.dana, request_id=waiting.pk).status == "approved"


def test_approve_takes_a_vote_when_the_route_cannot_be_completed_anyway(people: Cast, waiting: AccessRequest) -> None:
    leave(people.dana, people.dba)

    assert approve(actor=people.bob, request_id=waiting.pk).status == "pending"


def test_deny_closes_the_request_when_a_reason_is_given(people: Cast, waiting: AccessRequest) -> None:
    deny(actor=people.bob, request_id=waiting.pk, comment="Use the replica.")

    request = AccessRequest.objects.get()
    assert (request.status, request.closed_reason) == ("denied", "Bob denied it: Use the replica.")
    assert actions(waiting) == [*WAITING, Action.DECISION_DENIED, Action.REQUEST_DENIED]
    assert lines(waiting)[1].disclosed == {"person": "Bob", "comment": "Use the replica."}


@pytest.mark.parametrize("comment", ["", "  \n"])
def test_deny_names_the_comment_when_it_is_empty(people: Cast, waiting: AccessRequest, comment: str) -> None:
    with pytest.raises(Invalid) as refusal:
        deny(actor=people.bob, request_id=waiting.pk, comment=comment)
    assert refusal.value.field == "comment"


def test_deny_conflicts_when_the_person_has_approved(people: Cast, waiting: AccessRequest) -> None:
    approve(actor=people.bob, request_id=waiting.pk)

    with pytest.raises(Conflict, match="you approved it"):
        deny(actor=people.bob, request_id=waiting.pk, comment="changed my mind")


def test_approve_counts_each_once_when_two_approvers_come_at_once(people: Cast, ask: AskFor) -> None:
    """A3: both passed the pending check."""
    other = UserFactory(username="bert", groups=[people.shop_team])
    for _ in range(5):
        request = submit(actor=people.alice, ask=ask())
        results = at_once(
            lambda pk=request.pk: approve(actor=people.bob, request_id=pk),
            lambda pk=request.pk: approve(actor=other, request_id=pk),
        )
        # The second finds that the step it came for is taken.
        assert sorted(type(result).__name__ for result in results) == ["AccessRequest", "Conflict"]
        assert status(request) == "pending"
        assert Decision.objects.filter(request=request).count() == 1
        assert approve(actor=people.dana, request_id=request.pk).status == "approved"
        assert actions(request).count(Action.REQUEST_APPROVED) == 1


def test_approve_ends_the_request_once_when_the_last_two_votes_come_at_once(people: Cast, ask: AskFor) -> None:
    olga = UserFactory(username="olga", groups=[people.dba])
    for _ in range(5):
        request = submit(actor=people.alice, ask=ask(database="shop-staging", level="change"))
        results = at_once(
            lambda pk=request.pk: approve(actor=people.dana, request_id=pk),
            lambda pk=request.pk: approve(actor=olga, request_id=pk),
        )
        assert sorted(type(result).__name__ for result in results) == ["AccessRequest", "Conflict"]
        assert actions(request).count(Action.REQUEST_APPROVED) == 1


def test_approve_counts_once_when_the_button_is_clicked_twice(people: Cast, ask: AskFor) -> None:
    for _ in range(5):
        request = submit(actor=people.alice, ask=ask())
        results = at_once(*[lambda pk=request.pk: approve(actor=people.bob, request_id=pk)] * 3)
        assert sorted(type(result).__name__ for result in results) == ["AccessRequest", "Conflict", "Conflict"]
        assert Decision.objects.filter(request=request).count() == 1


def test_approve_and_deny_end_in_one_state_when_they_come_at_once(people: Cast, ask: AskFor) -> None:
    olga = UserFactory(username="olga", groups=[people.dba])
    for _ in range(5):
        request = submit(actor=people.alice, ask=ask(database="shop-staging", level="change"))
        at_once(
            lambda pk=request.pk: approve(actor=people.dana, request_id=pk),
            lambda pk=request.pk: deny(actor=olga, request_id=pk, comment="no"),
        )
        ends = {Action.REQUEST_APPROVED, Action.REQUEST_DENIED} & set(actions(request))
        assert ends == {f"request.{status(request)}"}


def offered(user: Any) -> set[str]:
    return set(inbox(fresh(user)).values_list("pk", flat=True))


def test_inbox_offers_a_request_when_the_person_could_decide_it_now(people: Cast, waiting: AccessRequest) -> None:
    assert offered(people.bob) == {waiting.pk}
    for person in (people.alice, people.carol, people.dana, people.sam, people.audrey):
        assert offered(person) == set()

    approve(actor=people.bob, request_id=waiting.pk)
    assert offered(people.bob) == set()
    assert offered(people.dana) == {waiting.pk}

    approve(actor=people.dana, request_id=waiting.pk)
    assert offered(people.dana) == set()


def test_inbox_is_empty_when_the_request_is_closed_or_past_its_time(people: Cast, ask: AskFor) -> None:
    first, second = submit(actor=people.alice, ask=ask()), submit(actor=people.alice, ask=ask())
    cancel(actor=people.alice, request_id=first.pk)

    assert offered(people.bob) == {second.pk}
    with clock.shifted(timedelta(hours=73)):
        assert offered(people.bob) == set()


def test_inbox_agrees_with_approve_when_people_and_votes_are_of_every_kind(people: Cast, ask: AskFor) -> None:
    let_own(people.shop, people.carol)
    join(people.dana, people.web_team)
    asked = [
        submit(actor=person, ask=ask(database=database, level=level))
        for person in (people.alice, people.carol)
        for database in ("shop", "shop-staging")
        for level in ("query", "change")
    ]
    pending = [request for request in asked if status(request) == "pending"]
    approve(actor=people.bob, request_id=pending[0].pk)

    cast_ = (people.alice, people.bob, people.carol, people.dana, people.sam, people.audrey)
    for person in cast_:
        for request in AccessRequest.objects.filter(status="pending"):
            may = request.pk in offered(person)
            try:
                approve(actor=fresh(person), request_id=request.pk)
                did = True
            except Conflict as refusal:
                did = "nobody is left" in refusal.sentence
            except PortalError:
                did = False
            assert may == did, (person, request)


def test_inbox_needs_few_queries_when_many_wait(
    people: Cast, ask: AskFor, django_assert_max_num_queries: Callable[..., Any]
) -> None:
    other = UserFactory(username="bert", groups=[people.shop_team])
    for _ in range(6):
        request = submit(actor=people.alice, ask=ask())
        approve(actor=other, request_id=request.pk)
    bob, dana = fresh(people.bob), fresh(people.dana)

    with django_assert_max_num_queries(12):
        assert len(inbox(dana)) == 6
    with django_assert_max_num_queries(12):
        assert len(inbox(bob)) == 0


def test_route_of_names_who_approved_when_some_have(people: Cast, waiting: AccessRequest) -> None:
    approve(actor=people.bob, request_id=waiting.pk)

    expected = [
        {"kind": "peer", "group": None, "needed": 1, "approved_by": ["bob"], "eligible": 1, "people": []},
        {"kind": "owner", "group": None, "needed": 1, "approved_by": [], "eligible": 1, "people": ["dana"]},
    ]
    assert route_of(waiting) == expected
    assert route_of(waiting, live=False) == [{**step, "people": []} for step in expected]


def test_route_of_leaves_out_votes_that_count_no_more_when_it_waits(people: Cast, waiting: AccessRequest) -> None:
    approve(actor=people.bob, request_id=waiting.pk)
    people.bob.is_active = False
    people.bob.save()

    route = route_of(AccessRequest.objects.get())
    assert (route[0]["approved_by"], route[0]["eligible"]) == ([], 0)


def test_route_of_tells_history_when_the_request_is_closed(people: Cast, waiting: AccessRequest) -> None:
    approve(actor=people.bob, request_id=waiting.pk)
    approve(actor=people.dana, request_id=waiting.pk)
    leave(people.bob, people.shop_team)

    assert [step["approved_by"] for step in route_of(AccessRequest.objects.get())] == [["bob"], ["dana"]]


def test_route_of_needs_no_query_when_decisions_are_prefetched(
    people: Cast, waiting: AccessRequest, django_assert_num_queries: Callable[..., Any]
) -> None:
    approve(actor=people.bob, request_id=waiting.pk)
    request = AccessRequest.objects.prefetch_related("decisions__decider").get()

    with django_assert_num_queries(0):
        route_of(request, live=False)
