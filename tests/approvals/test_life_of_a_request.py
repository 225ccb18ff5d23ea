"""A request among people who vote, narrow, deny, leave, come back and click at the wrong time, in any order."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from apps.accounts.models import User
from apps.approvals.models import Decision
from apps.approvals.services import approve, deny, inbox
from apps.audit import services as audit
from apps.audit.actions import Action
from apps.core import clock
from apps.core.errors import PortalError
from apps.policies.approvers import may_take
from apps.policies.facts import Verdict
from apps.requests.models import AccessRequest
from apps.requests.scope import EffectiveScope
from apps.requests.services import Ask, cancel, lapse_due, submit
from tests.factories import Cast, UserFactory, fresh, join, leave

pytestmark = pytest.mark.django_db(transaction=True)

NAMES = ("alice", "bob", "bert", "carol", "dana", "olga", "sam")
CLOSING = {
    "approved": Action.REQUEST_APPROVED,
    "denied": Action.REQUEST_DENIED,
    "cancelled": Action.REQUEST_CANCELLED,
    "lapsed": Action.REQUEST_LAPSED,
}
names = st.sampled_from(NAMES)


class Life(RuleBasedStateMachine):
    """Everything goes through the verbs; what must hold is checked after each act."""

    def __init__(self, people: Cast, ask: Callable[..., Ask]) -> None:
        super().__init__()
        self.homes = {
            name: group
            for group, members in (
                (people.shop_team, ("alice", "bob", "bert")),
                (people.web_team, ("carol",)),
                (people.dba, ("dana", "olga")),
                (people.security, ("sam",)),
            )
            for name in members
        }
        for name, group in self.homes.items():
            person = UserFactory(username=name)
            User.objects.filter(pk=person.pk).update(is_active=True)
            join(person, group)
        self.request = submit(actor=self.person("alice"), ask=ask(level="change", tables=("sales.orders", "stock.*")))
        self.was = "pending"

    def person(self, name: str) -> User:
        return User.objects.get(username=name)

    @rule(
        name=names,
        minutes=st.none() | st.integers(0, 70),
        tables=st.none() | st.lists(st.sampled_from(["sales.orders", "stock.*", "stock.levels", "hr.employees"])),
    )
    def approves(self, name: str, minutes: int | None, tables: list[str] | None) -> None:
        with suppress(PortalError):
            approve(actor=self.person(name), request_id=self.request.pk, minutes=minutes, tables=tables)

    @rule(numbers=st.lists(st.integers(0, 6), min_size=1, max_size=3), shorter=st.booleans())
    def some_who_may_approve(self, numbers: list[int], shorter: bool) -> None:
        """Or else almost no request would ever be approved here."""
        for number in numbers:
            able = [name for name in NAMES if self.request in inbox(self.person(name))]
            if able:
                minutes = AccessRequest.objects.get(pk=self.request.pk).minutes - 1 if shorter else None
                with suppress(PortalError):
                    approve(actor=self.person(able[number % len(able)]), request_id=self.request.pk, minutes=minutes)

    @rule(name=names)
    def just_approves(self, name: str) -> None:
        may = self.request in inbox(self.person(name))
        sentence = ""
        try:
            approve(actor=self.person(name), request_id=self.request.pk)
        except PortalError as refusal:
            sentence = refusal.sentence
        assert may == (not sentence or "nobody is left" in sentence)

    @precondition(lambda self: Decision.objects.filter(request=self.request).exists())
    @rule(name=names)
    def denies(self, name: str) -> None:
        with suppress(PortalError):
            deny(actor=self.person(name), request_id=self.request.pk, comment="no")

    @precondition(lambda self: Decision.objects.filter(request=self.request).count() > 1)
    @rule(name=names)
    def cancels(self, name: str) -> None:
        with suppress(PortalError):
            cancel(actor=self.person(name), request_id=self.request.pk)
            assert name == "alice"

    @rule(name=names)
    def leaves(self, name: str) -> None:
        leave(self.person(name), self.homes[name])

    @rule(name=names)
    def comes_back(self, name: str) -> None:
        User.objects.filter(username=name).update(is_active=True)
        join(self.person(name), self.homes[name])

    @rule(name=names)
    def is_deactivated(self, name: str) -> None:
        User.objects.filter(username=name).update(is_active=False)

    @precondition(lambda self: Decision.objects.filter(request=self.request).count() > 1)
    @rule(really=st.sampled_from([False, False, True]))
    def waits_too_long(self, really: bool) -> None:
        if not really:
            return
        AccessRequest.objects.filter(pk=self.request.pk).update(lapses_at=clock.now())
        lapse_due()

    @invariant()
    def everything_holds(self) -> None:
        request = AccessRequest.objects.get(pk=self.request.pk)
        decisions = list(request.decisions.all())
        self.check_votes(request, decisions)
        self.check_record(request)
        if self.was != "pending":
            assert (self.was, request.status) in {(self.was, self.was), ("approved", "cancelled")}
        elif request.status == "approved":
            self.check_approval(request, decisions)
        self.was = request.status

    def check_votes(self, request: AccessRequest, decisions: list[Decision]) -> None:
        deciders = [decision.decider_id for decision in decisions]
        assert len(deciders) == len(set(deciders))
        assert request.requester_id not in deciders
        assert EffectiveScope.from_json(request.asked_scope).covers(request.effective)
        assert request.scope_digest == request.effective.digest()
        assert request.minutes == request.effective.minutes
        for decision in decisions:
            assert decision.scope_digest == EffectiveScope.from_json(decision.scope).digest()

    def check_record(self, request: AccessRequest) -> None:
        found = audit.entries(limit=1000, where=audit.Filter(subjects=(request.audit_id,)))
        closing = [entry.action for entry in found if entry.action in set(CLOSING.values())]
        if len(closing) == 2:  # approved, and taken back before its access was made
            assert closing.pop(0) == Action.REQUEST_APPROVED
            assert request.status == "cancelled"
        assert closing == ([CLOSING[request.status]] if request.status in CLOSING else [])

    def check_approval(self, request: AccessRequest, decisions: list[Decision]) -> None:
        """At the moment of approval every step has enough people who may decide it now, for at least this scope."""
        for index, step in enumerate(Verdict.from_json(request.verdict).steps):
            good = [
                decision.decider_id
                for decision in decisions
                if decision.step == index
                and decision.kind == "approve"
                and EffectiveScope.from_json(decision.scope).covers(request.effective)
                and may_take(decision.decider, step, requester=request.requester, database=request.database)
            ]
            assert len(set(good)) >= step.needed


def test_request_lives_by_the_rules_when_people_do_anything(
    people: Cast, ask: Callable[..., Ask], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.requests.services.MAX_WAITING", 1_000)  # each life leaves its request behind
    for name in NAMES:
        fresh(UserFactory(username=name))

    run_state_machine_as_test(
        lambda: Life(people, ask),
        settings=settings(
            max_examples=20,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
