"""Whatever happens in whatever order, a grant keeps its promises. The target is a dictionary, so much can happen."""

from contextlib import ExitStack
from datetime import timedelta
from enum import StrEnum

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.catalog import targets
from apps.catalog.models import Table
from apps.core import clock
from apps.core.errors import Conflict
from apps.engines.base import Drift
from apps.grants import drift, services
from apps.grants.models import Grant
from apps.grants.states import OVER, GrantStatus
from apps.grants.withdrawal import Watch
from apps.requests.errors import Refused
from tests.factories import Cast, fresh
from tests.grants.shelf import Fault, Shelf
from tests.grants.stage import queued, told
from tests.support.soak import SOAK

pytestmark = pytest.mark.django_db(transaction=True)


class Act(StrEnum):
    ISSUE = "issue"
    END = "end"
    ASK_FOR_MORE = "a minute more is asked for"
    EXTEND = "extend"
    RELEASE = "release"
    REVOKE = "revoke"
    DRIFT = "the target has drifted"
    PAUSE = "a table of it is paused"
    A_MOMENT = "20 s pass"
    A_WHILE = "5 min pass"


PASSING = {Act.A_MOMENT: timedelta(seconds=20), Act.A_WHILE: timedelta(minutes=5)}


def do(act: Act, grant: Grant, people: Cast) -> timedelta:
    """Returns how much time passes."""
    try:
        _do(act, grant, people)
    except Refused:  # a table of it is paused
        if act is not Act.ASK_FOR_MORE:
            raise
    except Conflict:
        grant.refresh_from_db()
        assert act is Act.ASK_FOR_MORE or grant.status in {GrantStatus.ENDING, *OVER}
    return PASSING.get(act, timedelta(0))


def _do(act: Act, grant: Grant, people: Cast) -> None:
    match act:
        case Act.ISSUE:
            services.issue(grant_id=grant.pk)
        case Act.END:
            services.end_due(server_id=grant.server_id)
        case Act.ASK_FOR_MORE:
            services.extend(actor=fresh(people.alice), grant_id=grant.pk, minutes=1, reason="Nearly there.")
        case Act.EXTEND:
            services.open_approved()
            services.extend_queued(server_id=grant.server_id)
        case Act.RELEASE:
            services.release(actor=fresh(people.alice), grant_id=grant.pk)
        case Act.REVOKE:
            services.revoke(actor=fresh(people.dana), grant_id=grant.pk, reason="incident")
        case Act.DRIFT:
            drift.check_drift(server_id=grant.server_id)
        case Act.PAUSE:
            Table.objects.filter(database=grant.database_id, name="orders").update(paused_at=clock.now())
            Watch().look()


def promises(grant: Grant, target: Shelf) -> None:
    grant.refresh_from_db()
    is_open = grant.login in target.logins
    if grant.status in OVER:
        assert not is_open
        assert grant.password is None
        assert grant.proof is not None
    if grant.status == GrantStatus.ACTIVE:
        assert is_open
        tried = [extension.valid_until for extension in grant.extensions.all() if extension.status != "applied"]
        assert target.logins[grant.login] in {grant.expires_at, *tried}
    closed_at = target.closed_at.get(grant.login)
    if grant.end_cause == "expired" and closed_at is not None:
        assert grant.expires_at is not None
        assert closed_at >= grant.expires_at
    story = told(grant)
    applied = grant.extensions.filter(status="applied").count()
    assert story.count("grant.extended") == applied == grant.minutes - 1
    for once in ("grant.queued", "grant.issuing", "grant.issued", "grant.withdrawn", "drift.found", "grant.ending"):
        assert story.count(once) <= 1
    assert story.count("grant.ended") + story.count("grant.failed") == (grant.status in OVER)


# As in life time passes, most goes well, and a clock looks after each passing of time.
acts = st.sampled_from([*[Act.ISSUE] * 3, *[Act.A_MOMENT] * 5, *Act])
steps = st.lists(st.tuples(acts, st.sampled_from([*[Fault.NONE] * 4, *Fault])), max_size=12)


@settings(
    max_examples=1_000 if SOAK else 60,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=steps)
def test_a_grant_keeps_its_promises_whatever_happens(
    people: Cast, monkeypatch: pytest.MonkeyPatch, steps: list[tuple[Act, Fault]]
) -> None:
    target = Shelf(drifts=lambda spec: Drift(spec.login, opened=("Too much is within reach.",)))
    Table.objects.update(paused_at=None)
    monkeypatch.setitem(targets._ENGINES, "postgresql", target)
    grant = queued(people.alice, minutes=1)
    with ExitStack() as passing:
        for act, target.fault in steps:
            passing.enter_context(clock.shifted(do(act, grant, people)))
            if act in PASSING:
                do(Act.END, grant, people)
            promises(grant, target)
        target.fault = Fault.NONE
        for act in (Act.A_MOMENT, Act.ISSUE, Act.EXTEND, *[Act.A_WHILE] * 3, Act.END, Act.A_MOMENT, Act.END):
            passing.enter_context(clock.shifted(do(act, grant, people)))
            promises(grant, target)
    assert grant.status in OVER
    assert target.logins == {}
    do(Act.EXTEND, grant, people)
    assert not grant.extensions.filter(status="queued").exists()
