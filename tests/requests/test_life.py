from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from apps.approvals.services import approve, deny
from apps.audit import services as audit
from apps.audit.actions import Action
from apps.core import clock
from apps.core.errors import Conflict, Invalid, NotAllowed, NotFound
from apps.core.states import Transitions
from apps.grants.models import Grant
from apps.requests.models import AccessRequest
from apps.requests.services import Ask, cancel, lapse_due, refuse_approved, submit
from apps.requests.states import TRANSITIONS, RequestStatus
from tests.factories import Cast, UserFactory, fresh, join, leave, let_own
from tests.support.threads import at_once

pytestmark = pytest.mark.django_db(transaction=True)

AskFor = Callable[..., Ask]


def actions(request: AccessRequest) -> list[str]:
    return [line.action for line in audit.entries(limit=1000, where=audit.Filter(subjects=(request.audit_id,)))]


def test_cancel_closes_the_request_when_it_waits(people: Cast, ask: AskFor) -> None:
    request = submit(actor=people.alice, ask=ask())

    cancel(actor=people.alice, request_id=request.pk, comment="found it elsewhere")

    request.refresh_from_db()
    assert request.status == "cancelled"
    assert request.closed_at is not None
    entry = audit.latest(limit=1)[0]
    assert (entry.action, entry.actor) == (Action.REQUEST_CANCELLED, people.alice.audit_id)
    assert entry.disclosed["comment"] == "found it elsewhere"


def test_cancel_is_not_allowed_when_it_is_anothers(people: Cast, ask: AskFor) -> None:
    request = submit(actor=people.alice, ask=ask())

    with pytest.raises(NotAllowed):
        cancel(actor=people.bob, request_id=request.pk)


@pytest.mark.parametrize("request_id", [None, "nope", "nul\0", ""])
def test_cancel_is_not_found_when_the_request_is_not_there_or_not_visible(
    people: Cast, ask: AskFor, request_id: str | None
) -> None:
    request = submit(actor=people.alice, ask=ask())

    with pytest.raises(NotFound):
        cancel(actor=people.carol, request_id=request.pk if request_id is None else request_id)


def test_cancel_conflicts_when_it_is_cancelled_already(people: Cast, ask: AskFor) -> None:
    request = submit(actor=people.alice, ask=ask())
    cancel(actor=people.alice, request_id=request.pk)

    with pytest.raises(Conflict):
        cancel(actor=people.alice, request_id=request.pk)
    assert actions(request) == [Action.REQUEST_SUBMITTED, Action.REQUEST_CANCELLED]


def test_cancel_calls_it_off_when_it_is_approved_and_has_not_started(people: Cast, ask: AskFor) -> None:
    start = clock.now() + timedelta(days=1)
    request = submit(actor=people.alice, ask=ask(database="shop-staging", starts_at=start))
    assert request.status == "approved"

    assert cancel(actor=people.alice, request_id=request.pk).status == "cancelled"
    assert actions(request)[-1] == Action.REQUEST_CANCELLED


def test_cancel_conflicts_when_access_was_made_of_it(people: Cast, ask: AskFor) -> None:
    request = submit(actor=people.alice, ask=ask(database="shop-staging"))
    Grant.objects.create(
        request=request,
        holder=people.alice,
        database=people.staging,
        server=people.staging.server,
        connection="direct",
        scope=request.scope,
        scope_digest=request.scope_digest,
        minutes=1,
        login="jit_alice_x",
        queued_at=clock.now(),
    )

    with pytest.raises(Conflict, match="give that back"):
        cancel(actor=people.alice, request_id=request.pk)


def test_cancel_names_the_field_when_the_comment_cannot_be_kept(people: Cast, ask: AskFor) -> None:
    request = submit(actor=people.alice, ask=ask())

    with pytest.raises(Invalid) as refusal:
        cancel(actor=people.alice, request_id=request.pk, comment="\0")
    assert refusal.value.field == "comment"


def test_lapse_due_closes_requests_when_nobody_decided_in_time(people: Cast, ask: AskFor) -> None:
    """Field notes E4: approvals that never lapse."""
    old = submit(actor=people.alice, ask=ask())
    with clock.shifted(timedelta(hours=71)):
        young = submit(actor=people.bob, ask=ask())
        assert lapse_due() == 0
    with clock.shifted(timedelta(hours=73)):
        assert lapse_due() == 1
        assert lapse_due() == 0

    old.refresh_from_db()
    young.refresh_from_db()
    assert (old.status, young.status) == ("lapsed", "pending")
    assert actions(old) == [Action.REQUEST_SUBMITTED, Action.REQUEST_LAPSED]


def test_lapse_due_closes_all_when_there_are_more_than_a_batch(people: Cast, ask: AskFor) -> None:
    first = submit(actor=people.alice, ask=ask())
    rows = []
    for number in range(149):
        row = AccessRequest.objects.get(pk=first.pk)
        row.pk = f"copy{number}"
        rows.append(row)
    AccessRequest.objects.bulk_create(rows)

    with clock.shifted(timedelta(hours=73)):
        assert lapse_due() == 150


def test_lapse_due_closes_each_once_when_two_clocks_look(people: Cast, ask: AskFor) -> None:
    requests = [submit(actor=people.alice, ask=ask()) for _ in range(5)]

    with clock.shifted(timedelta(hours=73)):
        assert sum(at_once(lapse_due, lapse_due)) == 5

    for request in requests:
        assert actions(request) == [Action.REQUEST_SUBMITTED, Action.REQUEST_LAPSED]


def test_approve_conflicts_when_the_request_is_past_its_time_but_not_yet_lapsed(people: Cast, ask: AskFor) -> None:
    request = submit(actor=people.alice, ask=ask())

    with clock.shifted(timedelta(hours=73)), pytest.raises(Conflict, match="too long"):
        approve(actor=people.bob, request_id=request.pk)


def test_refuse_approved_denies_with_a_sentence_when_access_may_not_be_made(people: Cast, ask: AskFor) -> None:
    request = submit(actor=people.alice, ask=ask(database="shop-staging"))

    refuse_approved(request_id=request.pk, why="The person has left.")

    request.refresh_from_db()
    assert (request.status, request.closed_reason) == ("denied", "The person has left.")
    assert actions(request)[-1] == Action.REQUEST_DENIED


@pytest.mark.parametrize("old", RequestStatus.values)
@pytest.mark.parametrize("new", RequestStatus.values)
def test_status_changes_in_the_database_when_the_table_of_transitions_says_so(
    people: Cast, ask: AskFor, old: str, new: str
) -> None:
    table: Transitions = TRANSITIONS
    request = submit(actor=people.alice, ask=ask())
    if old != RequestStatus.PENDING:
        AccessRequest.objects.filter(pk=request.pk).update(status=old)

    def change() -> None:
        with transaction.atomic():
            AccessRequest.objects.filter(pk=request.pk).update(status=new)

    if new == old or new in table.get(old, ()):
        change()
    else:
        with pytest.raises(IntegrityError):
            change()


def test_submit_makes_one_request_when_the_same_key_is_sent_at_once(people: Cast, ask: AskFor) -> None:
    def send() -> AccessRequest:
        return submit(actor=people.alice, ask=ask(), idempotency_key="k1")

    results = at_once(send, send, send)

    assert len({request.pk for request in results}) == 1
    assert actions(results[0]) == [Action.REQUEST_SUBMITTED]


def test_cancel_has_the_last_word_when_the_last_vote_comes_at_once(people: Cast, ask: AskFor) -> None:
    for _ in range(5):
        request = submit(actor=people.alice, ask=ask())
        approve(actor=people.bob, request_id=request.pk)
        _, vote = at_once(
            lambda pk=request.pk: cancel(actor=people.alice, request_id=pk),
            lambda pk=request.pk: approve(actor=people.dana, request_id=pk),
        )
        request.refresh_from_db()
        assert request.status == "cancelled"
        assert actions(request)[-1] == Action.REQUEST_CANCELLED
        assert (Action.REQUEST_APPROVED in actions(request)) == (not isinstance(vote, Conflict))


def seen(user: Any) -> set[str]:
    return set(AccessRequest.objects.visible_to(fresh(user)).values_list("pk", flat=True))


def test_visible_to_shows_a_request_when_the_person_has_to_do_with_it(people: Cast, ask: AskFor) -> None:
    owner = UserFactory(username="olga")
    let_own(people.shop, owner)

    request = submit(actor=people.alice, ask=ask())

    for person in (people.alice, people.bob, people.dana, people.sam, people.audrey, owner):
        assert seen(person) == {request.pk}, person
    assert seen(people.carol) == set()
    assert seen(UserFactory(username="root", is_superuser=True)) == set()


def test_visible_to_hides_a_request_from_peers_when_no_peer_is_asked(people: Cast, ask: AskFor) -> None:
    submit(actor=people.alice, ask=ask(database="shop-staging"))

    assert seen(people.bob) == set()


def test_visible_to_shows_a_request_to_a_group_when_a_step_names_it(people: Cast, ask: AskFor) -> None:
    request = submit(actor=people.alice, ask=ask())
    step = {"kind": "group", "group": "web-team", "needed": 1}
    AccessRequest.objects.update(verdict={**request.verdict, "steps": [step]})

    assert seen(people.carol) == {request.pk}
    assert seen(people.bob) == set()


def test_visible_to_keeps_showing_a_request_when_a_decider_left_the_team(people: Cast, ask: AskFor) -> None:
    request = submit(actor=people.alice, ask=ask())
    approve(actor=people.bob, request_id=request.pk)
    leave(people.bob, people.shop_team)

    assert seen(people.bob) == {request.pk}


def test_visible_to_gives_each_request_once_when_many_decided(people: Cast, ask: AskFor) -> None:
    join(people.dana, people.web_team)
    request = submit(actor=people.alice, ask=ask())
    approve(actor=people.bob, request_id=request.pk)
    deny(actor=people.dana, request_id=request.pk, comment="not today")

    for person in (people.alice, people.bob, people.dana):
        assert AccessRequest.objects.visible_to(fresh(person)).count() == 1
