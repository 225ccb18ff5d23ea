"""More time, from the page of the access to the end of the request for it."""

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.grants.models import Extension, Grant
from apps.requests.models import AccessRequest
from tests.factories import Cast
from tests.support.pages import approve, ask, live
from tests.support.people import signed_in

pytestmark = pytest.mark.django_db(transaction=True)


def page_of(client: Client, row: AccessRequest) -> str:
    return client.get(reverse("portal:request", args=[row.pk])).content.decode()


def access(people: Cast, minutes: int = 30) -> Grant:
    row = ask(people.alice)
    approve(people, row)
    return live(people, row, minutes=minutes)


def more(people: Cast, grant: Grant, **sent: str) -> AccessRequest:
    answer = signed_in(people.alice).post(
        reverse("portal:extend", args=[grant.pk]), {"minutes": "30", "reason": "Slower than thought", **sent}
    )
    assert answer.status_code == 302, answer.content.decode()
    row = AccessRequest.objects.latest("submitted_at")
    assert answer["Location"] == reverse("portal:request", args=[row.pk])
    return row


def test_extend_offers_a_form_when_the_access_is_live(people: Cast) -> None:
    grant = access(people)
    page = page_of(signed_in(people.alice), grant.request)
    assert "Ask for more time" in page
    assert '<details class="more" id="more-time">' in page  # closed: there is time
    for other in (people.bob, people.dana):
        assert "Ask for more time" not in page_of(signed_in(other), grant.request)


def test_extend_is_the_first_thing_when_the_end_is_near(people: Cast) -> None:
    page = page_of(signed_in(people.alice), access(people, minutes=5).request)
    assert '<details class="more" id="more-time" open>' in page
    assert "It ends soon" in page


def test_extend_offers_nothing_when_it_cannot_be(people: Cast) -> None:
    grant = access(people)
    Grant.objects.filter(pk=grant.pk).update(break_glass=True)
    assert "Ask for more time" not in page_of(signed_in(people.alice), grant.request)
    Grant.objects.filter(pk=grant.pk).update(break_glass=False, expires_at=timezone.now() - timedelta(seconds=1))
    assert "Ask for more time" not in page_of(signed_in(people.alice), grant.request)


def test_extension_is_shown_as_one_when_it_waits(people: Cast) -> None:
    grant = access(people)
    row = more(people, grant)
    alice, bob = signed_in(people.alice), signed_in(people.bob)

    page = page_of(bob, row)
    for words in (
        "Alice asks for 30 min more on shop",
        "+30 min",
        "1 h 30 min in all, until",
        "Slower than thought",
        "Your decision",
        "Approve less time",
        reverse("portal:request", args=[grant.request_id]),
    ):
        assert words in page
    assert 'name="table"' not in page
    assert "30 min more on" in bob.get(reverse("portal:inbox")).content.decode()
    assert "+30 min" in alice.get(reverse("portal:requests")).content.decode()
    of_access = page_of(alice, grant.request)
    assert reverse("portal:request", args=[row.pk]) in of_access
    assert "It is decided anew" not in of_access  # one at a time


def test_extension_is_narrowed_when_an_approver_gives_less_time(people: Cast) -> None:
    row = more(people, access(people))
    for approver, minutes in ((people.bob, "10"), (people.dana, "10")):
        row.refresh_from_db()
        sent = {"seen_digest": row.scope_digest, "minutes": minutes, "table": ["sales.orders"]}
        assert signed_in(approver).post(reverse("portal:approve", args=[row.pk]), sent).status_code == 302
    row.refresh_from_db()
    assert (row.status, row.minutes) == ("approved", 10)
    page = page_of(signed_in(people.alice), row)
    assert "The server is told the later end" in page
    assert "(<s>30 min</s>, shortened)" in page


@pytest.mark.parametrize(("status", "words"), [("applied", "Longer by 30 min"), ("failed", "It had ended.")])
def test_extension_tells_what_became_of_it(people: Cast, status: str, words: str) -> None:
    grant = access(people)
    row = more(people, grant)
    approve(people, row)
    Extension.objects.create(request=row, grant=grant, minutes=30, queued_at=timezone.now())
    Extension.objects.update(status=status, closed_at=timezone.now(), problem="It had ended." * (status == "failed"))
    page = page_of(signed_in(people.alice), row)
    assert words in page
    assert "hx-get" not in page  # nothing changes any more
    pill = "Added" if status == "applied" else status.capitalize()
    assert pill in signed_in(people.alice).get(reverse("portal:home")).content.decode()


@pytest.mark.parametrize(
    ("sent", "status", "sentence"),
    [
        ({"minutes": "0"}, 422, "whole number of minutes, from 1"),
        ({"minutes": "x"}, 422, "whole number of minutes."),
        ({"minutes": "99999999"}, 422, "whole number of minutes, from 1"),
        ({"reason": ""}, 422, "The reason is empty"),
        ({"reason": "x" * 10_000}, 422, "10000 characters"),
    ],
)
def test_extend_says_why_when_it_is_refused(people: Cast, sent: dict[str, str], status: int, sentence: str) -> None:
    grant = access(people)
    address = reverse("portal:extend", args=[grant.pk])
    answer = signed_in(people.alice).post(address, {"minutes": "30", "reason": "Slower", **sent})
    assert answer.status_code == status
    page = answer.content.decode()
    assert sentence in page
    assert 'id="more-time" open' in page
    assert AccessRequest.objects.count() == 1


def test_extend_is_refused_when_it_is_too_late_or_not_ones_own(people: Cast) -> None:
    grant = access(people)
    address, sent = reverse("portal:extend", args=[grant.pk]), {"minutes": "30", "reason": "Slower"}
    assert signed_in(people.carol).post(address, sent).status_code == 404
    assert signed_in(people.dana).post(address, sent).status_code == 403
    assert signed_in(people.alice).get(address).status_code == 405
    more(people, grant)
    answer = signed_in(people.alice).post(address, sent)
    assert (answer.status_code, "already" in answer.content.decode()) == (409, True)
    Grant.objects.filter(pk=grant.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    answer = signed_in(people.alice).post(address, sent)
    assert (answer.status_code, "This access is over" in answer.content.decode()) == (409, True)
