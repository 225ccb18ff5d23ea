"""Where requests stand on their routes: what the votes of people who may still decide add up to."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from apps.accounts.dual_control import who_widened_lately
from apps.accounts.models import User
from apps.approvals.models import Decision
from apps.approvals.tally import Tally, Vote, tally
from apps.policies.approvers import Standing, eligible, standing
from apps.policies.evaluate import SECURITY, can_fill
from apps.policies.facts import Step, Verdict
from apps.requests.models import AccessRequest
from apps.requests.scope import EffectiveScope
from apps.requests.states import RequestStatus

# More names than that help nobody to decide whom to ask.
_NAMED: Final = 5


def steps_of(request: AccessRequest) -> tuple[Step, ...]:
    """The route as it was decided at submission."""
    return Verdict.from_json(request.verdict).steps


def tally_now(request: AccessRequest, decisions: Iterable[Decision], people: Standing) -> Tally:
    """What the votes add up to (field notes A5). A vote counts while its voter could cast it.

    On a waiting request it counts only while single sign-on still knows them. What is complete stands without that: a
    yes of Friday for Monday must not fail because nobody has signed in by then.
    """
    steps = steps_of(request)
    counts = people.counts if request.status == RequestStatus.PENDING else people.may_take
    votes = [
        Vote(decision.decider_id, decision.step, EffectiveScope.from_json(decision.scope))
        for decision in decisions
        if decision.kind == Decision.Kind.APPROVE
        and decision.step < len(steps)
        and counts(
            decision.decider_id,
            steps[decision.step],
            requester_id=request.requester_id,
            database_id=request.database_id,
        )
    ]
    return tally(steps, votes, request.effective)


def standing_for(requests: Iterable[AccessRequest], decisions: Iterable[Decision], *others: User) -> Standing:
    """Everybody who matters to these requests, in a fixed number of queries."""
    requests = list(requests)
    people = {request.requester_id for request in requests} | {user.pk for user in others}
    return standing(
        people=people | {decision.decider_id for decision in decisions},
        databases={request.database_id for request in requests},
    )


def lacks_security(request: AccessRequest, decisions: Iterable[Decision], now: Tally) -> bool:
    """Whether whoever asked, or somebody whose yes counts, has widened access lately, and nobody of security who has
    not has said yes.
    """
    counted = {person for by in now.approved_by for person in by}
    people = {decision.decider_id: decision.decider for decision in decisions if decision.decider_id in counted}
    widened = who_widened_lately([request.requester, *people.values()])
    if not widened:
        return False
    steps = zip(steps_of(request), now.approved_by, strict=True)
    looked = {person for step, by in steps if step.key == SECURITY.key for person in by}
    return not looked - widened


def leaves_enough(request: AccessRequest, decisions: Iterable[Decision], now: Tally, actor: User) -> bool:
    """Whether the route can still be filled with distinct people once `actor` has taken the step it has reached.

    False only where `actor` makes the difference: what nobody could complete anyway is not held against them.
    """
    steps = steps_of(request)
    decided = {decision.decider_id for decision in decisions}
    people = {
        step.key: [
            person
            for person in eligible(step, requester=request.requester, database=request.database).values_list(
                "pk", flat=True
            )
            if person not in decided
        ]
        for step in steps[now.step :]
    }
    left = [replace(step, needed=step.needed - len(by)) for step, by in zip(steps, now.approved_by, strict=True)]
    left = left[now.step :]
    after = [replace(left[0], needed=left[0].needed - 1), *left[1:]]
    others = {key: [person for person in ids if person != actor.pk] for key, ids in people.items()}
    return can_fill(after, others) or not can_fill(left, people)


def route_of(request: AccessRequest, *, live: bool = True) -> list[dict[str, Any]]:
    """The route in the API's shape: kind, group, needed, approved_by (user names), eligible, people.

    `people` are some of those who could say yes now (user names), for whoever waits to know whom to nudge.

    With `live`, a waiting request shows who could decide now; without, and when it waits no more, it shows what was
    known when it was submitted, and needs no query beyond its decisions (prefetch `decisions__decider` for lists).
    """
    steps = steps_of(request)
    decisions = list(request.decisions.all())
    names = {decision.decider_id: decision.decider.username for decision in decisions}
    live = live and request.status == RequestStatus.PENDING
    if live:
        people = standing_for([request], decisions)
        approved_by: Iterable[Iterable[str]] = tally_now(request, decisions, people).approved_by
    else:
        approved_by = [[d.decider_id for d in decisions if _is_yes(d, index)] for index in range(len(steps))]
    return [
        {
            "kind": step.kind.value,
            "group": step.group,
            "needed": step.needed,
            "approved_by": [names[person] for person in persons],
            **_eligible(request, step, live=live),
        }
        for step, persons in zip(steps, approved_by, strict=True)
    ]


def _is_yes(decision: Decision, step: int) -> bool:
    return decision.kind == Decision.Kind.APPROVE and decision.step == step


def _eligible(request: AccessRequest, step: Step, *, live: bool) -> dict[str, Any]:
    if not live:
        return {"eligible": len(request.facts["eligible"].get(step.key, ())), "people": []}
    found = eligible(step, requester=request.requester, database=request.database).order_by("username")
    able = list(found.values_list("pk", "username"))
    decided = {decision.decider_id for decision in request.decisions.all()}
    return {"eligible": len(able), "people": [name for person, name in able if person not in decided][:_NAMED]}
