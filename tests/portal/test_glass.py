"""An emergency on the pages: the way in, which loses nothing, and the review that stays on the screens."""

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from apps.accounts.models import User
from apps.approvals.models import Review
from apps.approvals.services import break_glass
from apps.core import clock
from apps.grants import services as grants
from apps.grants.models import Grant
from apps.requests.models import AccessRequest
from apps.requests.services import Ask
from tests.factories import Cast, fresh, join, leave, let_break_glass
from tests.support.pages import fields, live
from tests.support.people import signed_in

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def on_call(people: Cast) -> Cast:
    let_break_glass(people.shop, people.shop_team)
    return people


def step_up(client: Client, user: User) -> None:
    """As coming back from the identity provider leaves the session; the way there is tested in tests/accounts."""
    session = client.session
    session["stepped_up"] = {"user": user.pk, "at": clock.now().isoformat()}
    session.save()


def broken(user: User, **parts: Any) -> AccessRequest:
    usual: dict[str, Any] = {"database": "shop", "level": "query", "tables": ("sales.orders",), "connection": "direct"}
    ask = Ask(**usual | {"minutes": 30, "reason": "The shop is down"} | parts)
    return break_glass(actor=fresh(user), ask=ask, stepped_up_at=clock.now())


def ended(request: AccessRequest) -> None:
    grants.open_approved()
    Grant.objects.filter(request=request).update(status="ending")
    Grant.objects.filter(request=request).update(status="ended", ended_at=clock.now(), password=None)


def page(user: User, path: str = "/") -> str:
    answer = signed_in(user).get(path)
    assert answer.status_code == 200
    return str(answer.content.decode())


def test_break_glass_when_the_form_is_sent_twice_is_one_access_with_one_review(on_call: Cast) -> None:
    client = signed_in(on_call.alice)
    step_up(client, on_call.alice)
    for _ in range(2):
        client.post("/ask/", fields(break_glass="on", minutes="30", once="k3v5x2m7qa"))
    assert AccessRequest.objects.count() == Review.objects.count() == 1


def test_form_offers_it_to_those_who_may_and_to_nobody_else(on_call: Cast) -> None:
    offered = page(on_call.alice, "/ask/")
    assert "It is an emergency" in offered
    assert "masked columns stay masked" in offered
    assert 'name="break_glass"' in offered
    assert "It is an emergency" not in page(on_call.carol, "/ask/")


def test_ask_in_an_emergency_when_not_stepped_up_keeps_what_was_typed(on_call: Cast) -> None:
    client = signed_in(on_call.alice)
    typed = fields(break_glass="on", reason="The <shop> is down", ticket="INC-7", minutes="45", level="change")
    answer = client.post("/ask/", typed)
    assert (answer.status_code, answer["Location"]) == (302, "/accounts/step-up/?next=%2Fask%2F%3Fdraft%3Dkept")
    assert not AccessRequest.objects.exists()
    assert client.get(answer["Location"])["Refresh"].startswith("0; url=/accounts/sso/step-up/")
    step_up(client, on_call.alice)
    back = client.get("/ask/?draft=kept").content.decode()
    for words in (
        "The &lt;shop&gt; is down",
        'value="INC-7"',
        'value="45"',
        "sales.orders\nstock.products",
        'value="change" checked',
        'id="break_glass" checked',
        "You have just proved who you are.",
        "The glass will be broken",
        "Critical risk",
    ):
        assert words in back
    answer = client.post("/ask/", typed)
    row = AccessRequest.objects.get()
    assert (answer["Location"], row.break_glass, row.reason) == (f"/requests/{row.pk}/", True, "The <shop> is down")
    assert "The <shop>" not in client.get("/ask/?draft=kept").content.decode()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"reason": ""}, "The reason is empty"),
        ({"minutes": "61"}, "1 hour at most"),
        ({"database": "shop-staging"}, "at once in an emergency"),
        ({"starts_at": "2040-01-01T10:00"}, "An emergency is now"),
    ],
)
def test_ask_in_an_emergency_when_it_would_be_refused_says_so_first(
    on_call: Cast, wrong: dict[str, str], says: str
) -> None:
    """Nobody proves who they are for nothing."""
    client = signed_in(on_call.alice)
    answer = client.post("/ask/", fields(break_glass="on") | wrong)
    assert answer.status_code == 422
    assert says in answer.content.decode()
    assert "ask_draft" not in client.session


def test_draft_is_of_its_own_session(on_call: Cast) -> None:
    signed_in(on_call.alice).post("/ask/", fields(break_glass="on", reason="The shop is down"))
    assert "The shop is down" not in page(on_call.alice, "/ask/?draft=kept")


def test_stamp_of_another_person_does_not_count(on_call: Cast) -> None:
    client = signed_in(on_call.alice)
    step_up(client, on_call.bob)
    assert client.post("/ask/", fields(break_glass="on"))["Location"].startswith("/accounts/step-up/")
    assert not AccessRequest.objects.exists()


def test_preview_tells_what_breaking_the_glass_does(on_call: Cast) -> None:
    answer = signed_in(on_call.alice).post("/ask/preview/", fields(break_glass="on")).content.decode()
    assert "The glass will be broken: access at once" in answer
    assert 'id="error-break_glass" hx-swap-oob' in answer
    assert "break_glass" not in signed_in(on_call.carol).post("/ask/preview/", fields()).content.decode()


def test_banner_stays_until_the_review_is_closed(on_call: Cast) -> None:
    row = broken(on_call.alice)
    for who, says in (
        ("sam", "It waits for your verdict"),
        ("dana", "Security has not closed its review yet"),
        ("alice", "<strong>You broke the glass on shop"),
    ):
        for path in ("/", "/requests/", "/accounts/profile/"):
            assert says in page(getattr(on_call, who), path)
    assert "broke the glass" not in page(on_call.bob)
    assert "broke the glass" not in page(on_call.carol)
    assert f"/requests/{row.pk}/#review" in page(on_call.dana, "/admin/")
    assert "Glass broken" in page(on_call.dana, "/admin/")
    ended(row)
    path = reverse("portal:review", args=[row.pk])
    sent = {"verdict": "justified", "comment": "It was down, and it was short."}
    assert signed_in(on_call.sam).post(path, sent).status_code == 302
    for who in ("sam", "dana", "alice"):
        assert "broke the glass" not in page(getattr(on_call, who))
    assert "Glass broken" not in page(on_call.dana, "/admin/")
    shown = page(on_call.alice, f"/requests/{row.pk}/")
    assert "It was down, and it was short." in shown
    assert "closed the review: justified" in shown


def test_home_poll_when_a_review_is_opened_is_not_unchanged(on_call: Cast) -> None:
    client = signed_in(on_call.sam)
    state = re.search(r"\?state=(\w+)", client.get("/").content.decode())
    assert state
    again = {"state": state.group(1)}
    assert client.get("/", again, headers={"HX-Request": "true"}).status_code == 204
    broken(on_call.alice)
    assert client.get("/", again, headers={"HX-Request": "true"}).status_code == 200


def test_marks_of_broken_glass_are_on_every_list(on_call: Cast) -> None:
    row = broken(on_call.alice)
    live(on_call, row)
    for path in ("/", "/requests/", "/grants/", f"/requests/{row.pk}/"):
        assert '<span class="tag glass">glass broken</span>' in page(on_call.alice, path), path
    assert "Break glass" in page(on_call.dana, "/admin/grants/grant/")


def test_review_page_shows_what_a_verdict_needs(on_call: Cast) -> None:
    row = broken(on_call.alice)
    live(on_call, row)
    shown = page(on_call.sam, f"/requests/{row.pk}/")
    for words in (
        "Your review",
        "The shop is down",
        "Not yet",
        "table sales.orders",
        "broke the glass; a review is open",
    ):
        assert words in shown
    assert "You can say so when the access is over: wait for its end, or revoke it below" in shown
    assert 'name="verdict"' not in shown
    answer = signed_in(on_call.sam).post(
        reverse("portal:review", args=[row.pk]), {"verdict": "justified", "comment": "x"}
    )
    assert answer.status_code == 409
    assert "This access is not over yet" in answer.content.decode()
    ended(row)
    assert 'name="verdict"' in page(on_call.sam, f"/requests/{row.pk}/")


def test_review_when_somebody_was_quicker_says_so(on_call: Cast) -> None:
    row = broken(on_call.alice)
    ended(row)
    sent = {"verdict": "justified", "comment": "It was down"}
    for status in (302, 409):
        answer = signed_in(on_call.sam).post(reverse("portal:review", args=[row.pk]), sent)
        assert answer.status_code == status
    assert 'class="error" role="alert"' in answer.content.decode()


@pytest.mark.parametrize(("who", "status"), [("alice", 403), ("dana", 403), ("audrey", 403), ("carol", 404)])
def test_review_when_one_may_not_is_refused_and_not_offered(on_call: Cast, who: str, status: int) -> None:
    row = broken(on_call.alice)
    ended(row)
    user = getattr(on_call, who)
    answer = signed_in(user).post(
        reverse("portal:review", args=[row.pk]), {"verdict": "justified", "comment": "Nothing to see"}
    )
    assert answer.status_code == status
    assert Review.objects.get().closed_at is None
    if status == 403:
        assert "Close the review" not in page(user, f"/requests/{row.pk}/")


def test_review_when_something_is_missing_keeps_the_rest(on_call: Cast) -> None:
    row = broken(on_call.alice)
    ended(row)
    answer = signed_in(on_call.sam).post(reverse("portal:review", args=[row.pk]), {"comment": "It was down"})
    assert answer.status_code == 422
    assert "Choose one of these verdicts" in answer.content.decode()
    assert ">It was down</textarea>" in answer.content.decode()


def test_review_when_the_holder_is_all_of_security_says_who_must_act(on_call: Cast) -> None:
    let_break_glass(on_call.shop, on_call.security)
    row = broken(on_call.sam)
    for who, path in (("sam", "/"), ("dana", "/"), ("dana", f"/requests/{row.pk}/"), ("sam", f"/requests/{row.pk}/")):
        assert "must add somebody to that group" in page(getattr(on_call, who), path)
    assert "Add somebody to that group" in page(on_call.dana, "/admin/")
    join(on_call.bob, on_call.security)
    assert "must add somebody" not in page(on_call.dana)
    assert "It waits for your verdict" in page(on_call.bob)
    leave(on_call.bob, on_call.security)
