"""Counting votes. Pure.

A vote is a yes to one scope at one step of the route. It counts as long as its scope covers what would be granted
now, so a later narrowing keeps earlier votes, and nothing that grew could.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from apps.policies.facts import Step
from apps.requests.scope import EffectiveScope


@dataclass(frozen=True)
class Vote:
    """One person's yes. Whoever may no longer decide has none: the caller leaves their votes out."""

    person: str
    step: int  # index into the route
    scope: EffectiveScope


@dataclass(frozen=True)
class Tally:
    """`step` is the one to decide next: the first that still needs people, or the last one when none does.

    A waiting route can be complete without a new vote, when somebody whose vote did not count comes back.
    """

    step: int
    approved_by: tuple[tuple[str, ...], ...]  # persons, for each step
    complete: bool


def tally(steps: Sequence[Step], votes: Sequence[Vote], scope: EffectiveScope) -> Tally:
    """Where the route stands. Each person counts once; a route without steps is never complete."""
    approved_by: list[list[str]] = [[] for _ in steps]
    counted: set[str] = set()
    for vote in votes:
        if vote.person not in counted and 0 <= vote.step < len(steps) and vote.scope.covers(scope):
            counted.add(vote.person)
            approved_by[vote.step].append(vote.person)
    waiting = [index for index, step in enumerate(steps) if len(approved_by[index]) < step.needed]
    return Tally(
        step=waiting[0] if waiting else max(len(steps) - 1, 0),
        approved_by=tuple(map(tuple, approved_by)),
        complete=bool(steps) and not waiting,
    )
