"""Whoever changed lately what people get, and then asks or approves, brings security into the route."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from apps.accounts.dual_control import Waits, agree
from apps.accounts.models import ProposedEdit, User
from apps.approvals.services import approve, inbox, route_of
from apps.audit import services as audit
from apps.core import clock
from apps.core.errors import Conflict
from apps.policies.services import save_rule
from apps.requests.models import AccessRequest
from apps.requests.services import Ask, preview, submit
from tests.factories import Cast, fresh, join, let_own

pytestmark = pytest.mark.django_db(transaction=True)

AskFor = Callable[..., Ask]


def widened(first: User, second: User) -> None:
    """An edit of a rule, which two people made just now."""
    with pytest.raises(Waits) as waits:
        save_rule(actor=first, rule_id=None, name=f"of {first.username}", environments=["staging"], outcome="approve")
    agree(actor=second, edit_id=waits.value.edit.pk)


def circles(request: AccessRequest) -> list[str]:
    return [step["group"] or step["kind"] for step in route_of(request)]


def again(request: AccessRequest) -> AccessRequest:
    return AccessRequest.objects.get(pk=request.pk)


def test_submit_when_they_widened_access_lately_goes_to_security(people: Cast, ask: AskFor) -> None:
    join(people.dana, people.shop_team)
    let_own(people.shop, people.web_team)  # carol's
    widened(people.dana, people.sam)

    request = submit(actor=fresh(people.dana), ask=ask())

    assert circles(request) == ["peer", "owner", "security"]
    assert any(factor["name"] == "widened_lately" for factor in request.verdict["risk"]["factors"])
    assert "security looks at this too" in " ".join(preview(actor=fresh(people.dana), ask=ask()).verdict.reasons)


def test_submit_when_it_would_be_approved_at_once_waits_for_security(people: Cast, ask: AskFor) -> None:
    join(people.dana, people.shop_team)
    assert submit(actor=fresh(people.dana), ask=ask(database="shop-staging", tables=("sales.orders",))).status == (
        "approved"
    )
    widened(people.dana, people.sam)

    request = submit(actor=fresh(people.dana), ask=ask(database="shop-staging", tables=("sales.orders",)))

    assert (request.status, circles(request)) == ("pending", ["security"])


def test_submit_when_the_edit_is_a_week_old(people: Cast, ask: AskFor) -> None:
    join(people.dana, people.shop_team)
    let_own(people.shop, people.web_team)
    widened(people.dana, people.sam)
    ProposedEdit.objects.update(decided_at=clock.now() - timedelta(days=8))

    assert circles(submit(actor=fresh(people.dana), ask=ask())) == ["peer", "owner"]


def test_approve_when_they_widened_access_lately_brings_security_in(people: Cast, ask: AskFor) -> None:
    request = submit(actor=people.alice, ask=ask())
    widened(people.dana, people.sam)
    approve(actor=people.bob, request_id=request.pk)

    assert approve(actor=fresh(people.dana), request_id=request.pk).status == "pending"

    assert circles(again(request)) == ["peer", "owner", "security"]
    (vote,) = [line for line in audit.latest(limit=10) if line.facts.get("adds_security")]
    assert vote.actor == people.dana.audit_id
    assert list(inbox(fresh(people.sam))) == [again(request)]
    assert approve(actor=fresh(people.sam), request_id=request.pk).status == "approved"


def test_approve_when_security_is_asked_anyway_adds_nothing(people: Cast, ask: AskFor) -> None:
    join(people.carol, people.dba)
    widened(people.carol, people.sam)
    request = submit(actor=people.alice, ask=ask())
    let_own(people.shop, people.dba)
    widened(fresh(people.dana), people.sam)
    approve(actor=people.bob, request_id=request.pk)
    approve(actor=fresh(people.dana), request_id=request.pk)

    approve(actor=fresh(people.sam), request_id=request.pk)

    assert circles(again(request)) == ["peer", "owner", "security"]
    assert again(request).status == "approved"


def test_approve_when_the_widener_is_security_takes_another_of_them(people: Cast, ask: AskFor) -> None:
    join(people.sam, people.dba)
    widened(fresh(people.sam), people.dana)
    widened(fresh(people.dana), people.sam)
    request = submit(actor=people.alice, ask=ask())
    approve(actor=people.bob, request_id=request.pk)
    with pytest.raises(Conflict, match="Nobody of security is left"):
        approve(actor=fresh(people.dana), request_id=request.pk)
    join(people.carol, people.security)
    approve(actor=fresh(people.dana), request_id=request.pk)

    assert approve(actor=fresh(people.sam), request_id=request.pk).status == "pending"

    assert circles(again(request)) == ["peer", "owner", "security", "security"]
    assert approve(actor=fresh(people.carol), request_id=request.pk).status == "approved"


def test_approve_when_they_widened_access_after_their_yes_brings_security_in(people: Cast, ask: AskFor) -> None:
    join(people.bob, people.dba)
    request = submit(actor=people.alice, ask=ask())
    approve(actor=fresh(people.bob), request_id=request.pk)
    widened(fresh(people.bob), people.sam)

    assert approve(actor=people.dana, request_id=request.pk).status == "pending"
    assert circles(again(request))[-1] == "security"


def test_approve_when_the_requester_widened_access_after_asking_brings_security_in(people: Cast, ask: AskFor) -> None:
    join(people.alice, people.dba)
    request = submit(actor=fresh(people.alice), ask=ask())
    widened(fresh(people.alice), people.sam)
    approve(actor=people.bob, request_id=request.pk)

    assert approve(actor=people.dana, request_id=request.pk).status == "pending"
    assert approve(actor=fresh(people.sam), request_id=request.pk).status == "approved"
