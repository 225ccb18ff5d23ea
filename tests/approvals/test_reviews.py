"""Breaking the glass: who may, what it takes, and the review that nobody gets rid of but security."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, transaction

from apps.accounts.models import User
from apps.accounts.stepping_up import StepUpNeeded
from apps.approvals.models import Review
from apps.approvals.services import break_glass, close_review
from apps.audit import services as audit
from apps.core import clock
from apps.core.errors import Conflict, Invalid, NotAllowed, NotFound, PortalError
from apps.grants import services as grants
from apps.grants.models import Grant
from apps.policies.services import save_rule
from apps.requests.errors import Refused
from apps.requests.models import AccessRequest
from apps.requests.services import Ask, preview, submit
from tests.approvals.test_as_web import as_web
from tests.factories import Cast, fresh, join, leave, let_break_glass
from tests.support.people import Told, listening
from tests.support.threads import at_once

__all__ = ["as_web"]
pytestmark = pytest.mark.django_db(transaction=True)

Asks = Callable[..., Ask]


@pytest.fixture
def on_call(people: Cast) -> Cast:
    """alice, bob and their team may break the glass on shop."""
    let_break_glass(people.shop, people.shop_team)
    return people


@pytest.fixture
def told(transactional_db: None) -> Told:
    return listening()


def broken(user: User, ask: Ask) -> AccessRequest:
    return break_glass(actor=fresh(user), ask=ask, stepped_up_at=clock.now())


def over(request: AccessRequest) -> AccessRequest:
    """Its grant, ended as a worker leaves it."""
    grants.open_approved()
    grant = Grant.objects.get(request=request)
    grant.status = "ending"
    grant.save()
    Grant.objects.filter(pk=grant.pk).update(status="ended", ended_at=clock.now(), password=None)
    return request


def closed(actor: User, request: AccessRequest, **parts: Any) -> Review:
    usual: dict[str, Any] = {"verdict": "justified", "comment": "The shop was down."}
    return close_review(actor=fresh(actor), request_id=request.pk, **usual | parts)


def test_break_glass_gives_access_at_once_and_opens_a_review(on_call: Cast, ask: Asks, told: Told) -> None:
    request = broken(on_call.alice, ask())
    assert (request.status, request.break_glass, request.verdict["outcome"]) == ("approved", True, "approve")
    assert request.verdict["risk"]["level"] == "critical"
    assert (request.facts["break_glass"], request.facts["break_glass_minutes"]) == (True, 60)
    review = Review.objects.get()
    assert (review.request, review.opened_at, review.closed_at) == (request, request.submitted_at, None)
    entries = told()
    assert [line.action for line in entries] == ["request.submitted", "request.approved", "review.opened"]
    assert entries[0].facts["break_glass"] is True
    assert entries[2].facts["stepped_up_at"]
    assert entries[2].disclosed == {"person": "Alice", "reason": request.reason}
    (grant,) = grants.open_approved()
    assert (grant.break_glass, grant.minutes) == (True, 60)


def test_break_glass_when_the_person_may_not_ask_otherwise(people: Cast, ask: Asks) -> None:
    """The right to break the glass stands alone."""
    let_break_glass(people.shop, people.security)
    assert broken(people.sam, ask()).status == "approved"
    with pytest.raises(NotAllowed, match="in the normal way"):
        submit(actor=fresh(people.sam), ask=ask())
    assert len(grants.open_approved()) == 1


def test_break_glass_when_one_may_not(on_call: Cast, ask: Asks, told: Told) -> None:
    for user, parts in ((on_call.carol, {}), (on_call.alice, {"database": "shop-staging"}), (on_call.dana, {})):
        with pytest.raises(NotAllowed, match="at once in an emergency"):
            broken(user, ask(**parts))
    with pytest.raises(NotFound):
        broken(on_call.audrey, ask())
    assert not AccessRequest.objects.exists()
    assert [line.action for line in told()] == ["request.refused"] * 3


def test_break_glass_when_a_superuser_may_not(people: Cast, ask: Asks) -> None:
    User.objects.filter(pk=people.alice.pk).update(is_superuser=True)
    with pytest.raises(NotAllowed):
        broken(people.alice, ask())


@pytest.mark.parametrize("age", [None, settings.STEP_UP_SECONDS + 1, -60])
def test_break_glass_when_the_proof_does_not_count(on_call: Cast, ask: Asks, told: Told, age: int | None) -> None:
    at = None if age is None else clock.now() - timedelta(seconds=age)
    with pytest.raises(StepUpNeeded, match="sign in again"):
        break_glass(actor=on_call.alice, ask=ask(), stepped_up_at=at)
    assert not AccessRequest.objects.exists()
    assert told() == []


def test_break_glass_when_the_proof_grows_old_on_the_way(on_call: Cast, ask: Asks) -> None:
    at = clock.now()
    with clock.shifted(timedelta(seconds=settings.STEP_UP_SECONDS + 1)), pytest.raises(StepUpNeeded):
        break_glass(actor=on_call.alice, ask=ask(), stepped_up_at=at)


@pytest.mark.parametrize(
    ("parts", "says"),
    [({"minutes": 61}, "1 hour at most"), ({"unmask": ("sales.customers.email",)}, "stay masked in an emergency")],
)
def test_break_glass_when_it_is_too_much_is_denied(on_call: Cast, ask: Asks, parts: dict[str, Any], says: str) -> None:
    request = broken(on_call.alice, ask(tables=("sales.customers",), **parts))
    assert request.status == "denied"
    assert says in request.closed_reason
    assert not Review.objects.exists()
    assert grants.open_approved() == []


@pytest.mark.usefixtures("seconded")
def test_break_glass_when_a_rule_denies(on_call: Cast, ask: Asks) -> None:
    save_rule(actor=on_call.dana, rule_id=None, name="never", outcome="deny", position=1)
    assert broken(on_call.alice, ask()).status == "denied"
    assert not Review.objects.exists()


def test_break_glass_keeps_masked_columns_masked(on_call: Cast, ask: Asks) -> None:
    request = broken(on_call.alice, ask(tables=("sales.customers",)))
    assert [str(mask) for *_, mask in request.effective.masked()] != []


def test_break_glass_when_it_is_to_start_later(on_call: Cast, ask: Asks) -> None:
    with pytest.raises(Invalid, match="An emergency is now"):
        broken(on_call.alice, ask(starts_at=clock.now() + timedelta(hours=1)))


def test_break_glass_when_much_waits_already(on_call: Cast, ask: Asks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.requests.services.MAX_WAITING", 0)
    with pytest.raises(Refused):
        submit(actor=on_call.alice, ask=ask())
    assert broken(on_call.alice, ask()).status == "approved"


def test_submit_is_no_way_to_break_the_glass(on_call: Cast, ask: Asks, told: Told) -> None:
    with pytest.raises(NotAllowed, match="a token cannot give"):
        submit(actor=on_call.alice, ask=ask(break_glass=True))
    assert not AccessRequest.objects.exists()
    assert [line.action for line in told()] == ["request.refused"]
    assert preview(actor=on_call.alice, ask=ask(break_glass=True)).verdict.outcome.value == "approve"


def test_grant_is_not_opened_when_the_right_is_gone(on_call: Cast, ask: Asks) -> None:
    request = broken(on_call.alice, ask())
    leave(on_call.alice, on_call.shop_team)
    assert grants.open_approved() == []
    request.refresh_from_db()
    assert request.status == "denied"
    assert "may not break the glass" in request.closed_reason
    assert Review.objects.get().closed_at is None


def test_grant_is_not_opened_when_there_is_no_review(on_call: Cast, ask: Asks) -> None:
    """A row that somebody wrote past the verb."""
    request = submit(actor=on_call.alice, ask=ask(database="shop-staging"))
    AccessRequest.objects.filter(pk=request.pk).update(break_glass=True)
    let_break_glass(on_call.staging, on_call.shop_team)
    assert grants.open_approved() == []
    request.refresh_from_db()
    assert "without a review" in request.closed_reason


def test_close_review_says_what_was_found_once(on_call: Cast, ask: Asks, told: Told) -> None:
    request = over(broken(on_call.alice, ask()))
    closed(on_call.sam, request, verdict="unjustified", comment="  There was no fire.  ")
    review = Review.objects.get()
    assert (review.closed_by, review.verdict, review.comment) == (on_call.sam, "unjustified", "There was no fire.")
    (entry,) = told("review.closed")
    assert (entry.actor, entry.subject) == (on_call.sam.audit_id, request.audit_id)
    assert entry.facts["verdict"] == "unjustified"
    assert entry.disclosed == {"person": "Sam", "comment": "There was no fire."}
    with pytest.raises(Conflict, match="closed already: Sam called it unjustified"):
        closed(on_call.sam, request)


@pytest.mark.parametrize(
    ("who", "says"),
    [("alice", "access of their own"), ("dana", "closed by security"), ("audrey", "closed by security")],
)
def test_close_review_when_one_may_not(on_call: Cast, ask: Asks, told: Told, who: str, says: str) -> None:
    request = over(broken(on_call.alice, ask()))
    with pytest.raises(NotAllowed, match=says):
        closed(getattr(on_call, who), request)
    (entry,) = told("review.refused")
    assert entry.actor == getattr(on_call, who).audit_id
    assert says in entry.disclosed["why"]
    assert Review.objects.get().closed_at is None


def test_close_review_when_the_holder_is_security(on_call: Cast, ask: Asks) -> None:
    """Nor when they became it afterwards."""
    request = over(broken(on_call.alice, ask()))
    join(on_call.alice, on_call.security)
    with pytest.raises(NotAllowed, match="access of their own"):
        closed(on_call.alice, request)
    closed(on_call.sam, request)


def test_close_review_when_security_is_no_longer_security(on_call: Cast, ask: Asks) -> None:
    request = over(broken(on_call.alice, ask()))
    leave(on_call.sam, on_call.security)
    with pytest.raises(PortalError):
        closed(on_call.sam, request)
    assert Review.objects.get().closed_at is None


def test_close_review_when_the_access_is_not_over(on_call: Cast, ask: Asks) -> None:
    request = broken(on_call.alice, ask())
    with pytest.raises(Conflict, match="revoke it, or wait for its end"):
        closed(on_call.sam, request)
    (grant,) = grants.open_approved()
    for status in ("queued", "ending"):
        Grant.objects.filter(pk=grant.pk).update(status=status)
        with pytest.raises(Conflict, match="not over yet"):
            closed(on_call.sam, request)
    Grant.objects.filter(pk=grant.pk).update(status="ended", ended_at=clock.now(), password=None)
    closed(on_call.sam, request)


def test_close_review_when_no_access_came_of_it(on_call: Cast, ask: Asks) -> None:
    request = broken(on_call.alice, ask())
    leave(on_call.alice, on_call.shop_team)
    grants.open_approved()
    closed(on_call.sam, request)


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ({"comment": " "}, "comment"),
        ({"comment": "x" * 2001}, "comment"),
        ({"comment": "nul\0"}, "comment"),
        ({"verdict": "fine"}, "verdict"),
        ({"verdict": ""}, "verdict"),
    ],
)
def test_close_review_when_it_cannot_be_meant(on_call: Cast, ask: Asks, parts: dict[str, Any], field: str) -> None:
    request = over(broken(on_call.alice, ask()))
    with pytest.raises(Invalid) as refusal:
        closed(on_call.sam, request, **parts)
    assert refusal.value.field == field
    assert Review.objects.get().closed_at is None


def test_close_review_when_there_is_none(on_call: Cast, ask: Asks) -> None:
    request = submit(actor=on_call.alice, ask=ask())
    with pytest.raises(Conflict, match="no glass was broken"):
        closed(on_call.sam, request)
    for missing in ("nothing", "nul\0"):
        with pytest.raises(NotFound):
            close_review(actor=on_call.sam, request_id=missing, verdict="justified", comment="x")


def test_close_review_when_two_do_it_at_once(on_call: Cast, ask: Asks) -> None:
    join(on_call.bob, on_call.security)
    request = over(broken(on_call.alice, ask()))

    def try_to(who: User) -> str:
        try:
            return closed(who, request).verdict
        except Conflict as conflict:
            return conflict.sentence

    answers = at_once(lambda: try_to(on_call.sam), lambda: try_to(on_call.bob))
    assert sum(answer == "justified" for answer in answers) == 1
    assert sum("closed already" in answer for answer in answers) == 1
    closings = audit.Filter(subjects=(request.audit_id,), action="review.closed")
    assert len(audit.entries(limit=10, where=closings)) == 1


def test_review_concerns_whoever_answers_for_it_and_its_holder(on_call: Cast, ask: Asks) -> None:
    broken(on_call.alice, ask())
    seen = {
        name: Review.objects.opened().concerning(fresh(getattr(on_call, name))).exists()
        for name in ("alice", "bob", "carol", "dana", "sam", "audrey")
    }
    assert seen == {"alice": True, "bob": False, "carol": False, "dana": True, "sam": True, "audrey": False}


def test_review_is_closed_with_a_verdict_or_not_at_all(on_call: Cast, ask: Asks) -> None:
    """Whoever writes rows past the verb."""
    request = broken(on_call.alice, ask())
    with pytest.raises(Exception, match="review_closed_with_a_verdict"), transaction.atomic():
        Review.objects.filter(pk=request.pk).update(closed_at=clock.now())


@pytest.mark.usefixtures("as_web")
def test_verbs_work_when_the_web_process_calls_them(on_call: Cast, ask: Asks) -> None:
    request = break_glass(actor=on_call.alice, ask=ask(), stepped_up_at=clock.now())
    with connection.cursor() as cursor:
        cursor.execute("UPDATE access_requests_accessrequest SET status = 'denied' WHERE id = %s", [request.pk])
    close_review(actor=on_call.sam, request_id=request.pk, verdict="justified", comment="ok")
