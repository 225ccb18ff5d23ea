"""Whatever happens in whatever order, a grant keeps its promises. The target is a dictionary, so much can happen."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.catalog import targets
from apps.core import clock
from apps.core.errors import Conflict
from apps.engines.base import Closed, Evidence, LoginSpec, Opened, Refused, Target, TargetUnavailable
from apps.engines.postgresql import PostgresEngine
from apps.grants import services
from apps.grants.models import Grant
from apps.grants.states import OVER, GrantStatus
from tests.factories import Cast, fresh
from tests.grants.stage import queued, told

pytestmark = pytest.mark.django_db(transaction=True)


class Fault(StrEnum):
    NONE = "none"
    BEFORE = "the call is lost"
    AFTER = "the answer is lost"
    REFUSED = "refused"


class Act(StrEnum):
    ISSUE = "issue"
    END = "end"
    RELEASE = "release"
    REVOKE = "revoke"
    A_MOMENT = "20 s pass"
    A_WHILE = "5 min pass"


@dataclass
class Shelf(PostgresEngine):
    """A target that keeps logins on a shelf: login -> until when it is open."""

    logins: dict[str, datetime] = field(default_factory=dict)
    fault: Fault = Fault.NONE
    closed_at: dict[str, datetime] = field(default_factory=dict)

    def open_login(self, target: Target, spec: LoginSpec) -> Opened:
        self._may_fail(Fault.BEFORE, Fault.REFUSED)
        now = clock.now()
        if spec.login in self.closed_at:
            raise Refused("A name is never used twice.")
        until = self.logins.setdefault(spec.login, now + timedelta(seconds=spec.seconds))
        self._may_fail(Fault.AFTER)
        opened_at = until - timedelta(seconds=spec.seconds)
        evidence = Evidence(checked_at=clock.now(), reach=(), findings=())
        return Opened(opened_at=opened_at, valid_until=until, scope_role="jitscope_x", evidence=evidence)

    def close_logins(self, target: Target, logins: Sequence[str]) -> list[Closed]:
        self._may_fail(Fault.BEFORE)
        now = clock.now()
        for login in logins:
            if self.logins.pop(login, None):
                self.closed_at[login] = now
        self._may_fail(Fault.AFTER)
        return [Closed(login, locked_at=now, sessions_ended=0, clean_at=now, dropped=True) for login in logins]

    def _may_fail(self, *faults: Fault) -> None:
        if self.fault in faults:
            raise Refused("No.") if self.fault is Fault.REFUSED else TargetUnavailable("Lost.")


def do(act: Act, grant: Grant, people: Cast) -> timedelta:
    """Returns how much time passes."""
    try:
        match act:
            case Act.ISSUE:
                services.issue(grant_id=grant.pk)
            case Act.END:
                services.end_due(server_id=grant.server_id)
            case Act.RELEASE:
                services.release(actor=fresh(people.alice), grant_id=grant.pk)
            case Act.REVOKE:
                services.revoke(actor=fresh(people.dana), grant_id=grant.pk, reason="incident")
            case Act.A_MOMENT:
                return timedelta(seconds=20)
            case Act.A_WHILE:
                return timedelta(minutes=5)
    except Conflict:
        grant.refresh_from_db()
        assert grant.status in {GrantStatus.ENDING, *OVER}
    return timedelta(0)


def promises(grant: Grant, target: Shelf) -> None:
    grant.refresh_from_db()
    is_open = grant.login in target.logins
    if grant.status in OVER:
        assert not is_open
        assert grant.password is None
        assert grant.proof is not None
    if grant.status == GrantStatus.ACTIVE:
        assert is_open
        assert target.logins[grant.login] == grant.expires_at
    closed_at = target.closed_at.get(grant.login)
    if grant.end_cause == "expired" and closed_at is not None:
        assert grant.expires_at is not None
        assert closed_at >= grant.expires_at
    story = told(grant)
    for once in ("grant.queued", "grant.issuing", "grant.issued", "grant.ending"):
        assert story.count(once) <= 1
    assert story.count("grant.ended") + story.count("grant.failed") == (grant.status in OVER)


# As in life time passes, most goes well, and a clock looks after each passing of time.
acts = st.sampled_from([*[Act.ISSUE] * 3, *[Act.A_MOMENT] * 5, *Act])
steps = st.lists(st.tuples(acts, st.sampled_from([*[Fault.NONE] * 4, *Fault])), max_size=12)
PASSING = {Act.A_MOMENT, Act.A_WHILE}


@settings(max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_a_grant_keeps_its_promises_whatever_happens(
    people: Cast, monkeypatch: pytest.MonkeyPatch, steps: list[tuple[Act, Fault]]
) -> None:
    target = Shelf()
    monkeypatch.setitem(targets._ENGINES, "postgresql", target)
    grant = queued(people.alice, minutes=1)
    with ExitStack() as passing:
        for act, target.fault in steps:
            passing.enter_context(clock.shifted(do(act, grant, people)))
            if act in PASSING:
                do(Act.END, grant, people)
            promises(grant, target)
        target.fault = Fault.NONE
        for act in (Act.A_MOMENT, Act.ISSUE, Act.A_WHILE, Act.END, Act.A_MOMENT, Act.END):
            passing.enter_context(clock.shifted(do(act, grant, people)))
            promises(grant, target)
    assert grant.status in OVER
    assert target.logins == {}
