"""The request's page: what an approver needs, what its holder can do, and following it while it happens."""

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.approvals import services as approvals
from apps.audit.actions import Action
from apps.core.errors import NotAllowed
from apps.grants.models import Grant
from apps.requests.models import AccessRequest
from tests.factories import Cast
from tests.support.pages import PASSWORD, approve, ask, live
from tests.support.people import listening, signed_in

pytestmark = pytest.mark.django_db(transaction=True)


def page_of(client: Client, row: AccessRequest) -> str:
    return client.get(reverse("portal:request", args=[row.pk])).content.decode()


def test_show_request_when_an_approver_looks(people: Cast) -> None:
    row = ask(people.alice, ticket="OPS-1", reason="It is <urgent>")
    page = page_of(signed_in(people.bob), row)
    for words in (
        "Alice asks for shop",
        "It is &lt;urgent&gt;",
        "OPS-1",
        "sales.orders",
        "3 columns",
        "With a credential of your own",
        "row caps and download limits cannot hold there",
        "Medium risk",
        "The database is production.",
        "A peer",
        "An owner of the database",
        "asked for access (2 tables, 1 h)",
        "Your decision",
        row.scope_digest,
    ):
        assert words in page


def test_show_request_when_it_waits_names_who_can_say_yes(people: Cast) -> None:
    page = page_of(signed_in(people.alice), ask(people.alice))
    assert f"1 person can: {people.bob.name}" in page


@pytest.mark.parametrize("who", ["alice", "sam", "audrey", "dana"])
def test_show_request_when_it_is_not_ones_turn_offers_no_decision(people: Cast, who: str) -> None:
    assert "Your decision" not in page_of(signed_in(getattr(people, who)), ask(people.alice))


def test_approve_when_all_of_it(people: Cast) -> None:
    row = ask(people.alice)
    sent = {"seen_digest": row.scope_digest, "table": ["sales.orders", "stock.products"], "minutes": "60"}
    answer = signed_in(people.bob).post(reverse("portal:approve", args=[row.pk]), sent)
    assert answer.status_code == 302
    page = page_of(signed_in(people.dana), row)
    assert "Your yes" in page
    assert "said yes" in page
    assert "narrowed" not in page


def test_approve_when_only_a_part(people: Cast) -> None:
    row = ask(people.alice)
    sent = {"seen_digest": row.scope_digest, "table": ["sales.orders"], "minutes": "30", "comment": "Orders will do"}
    signed_in(people.bob).post(reverse("portal:approve", args=[row.pk]), sent)
    page = page_of(signed_in(people.alice), row)
    assert "<s>stock.products</s>" in page
    assert "<s>1 h</s>" in page
    assert "Orders will do" in page
    row.refresh_from_db()
    assert row.minutes == 30
    assert len(row.effective.tables) == 1


def test_approve_when_everything_was_unticked_says_so(people: Cast) -> None:
    row = ask(people.alice)
    answer = signed_in(people.bob).post(reverse("portal:approve", args=[row.pk]), {"seen_digest": row.scope_digest})
    assert answer.status_code == 422
    assert "Keep at least one table" in answer.content.decode()


def test_approve_when_it_changed_since_one_looked(people: Cast) -> None:
    row = ask(people.alice)
    sent = {"seen_digest": "0" * 64, "table": ["sales.orders"], "comment": "I typed this"}
    answer = signed_in(people.bob).post(reverse("portal:approve", args=[row.pk]), sent)
    assert answer.status_code == 409
    assert "has changed since you looked" in answer.content.decode()
    assert "I typed this" in answer.content.decode()


def test_approve_when_it_is_ones_own(people: Cast) -> None:
    row = ask(people.alice)
    answer = signed_in(people.alice).post(reverse("portal:approve", args=[row.pk]), {"seen_digest": row.scope_digest})
    assert answer.status_code in {403, 422}
    row.refresh_from_db()
    assert row.status == "pending"


def test_deny_when_the_comment_is_missing_says_so_beside_it(people: Cast) -> None:
    row = ask(people.alice)
    answer = signed_in(people.bob).post(reverse("portal:deny", args=[row.pk]), {"seen_digest": row.scope_digest})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "comment is empty" in page[page.index('id="error-comment"') :][:200]


def test_deny_tells_the_requester_why(people: Cast) -> None:
    row = ask(people.alice)
    sent = {"seen_digest": row.scope_digest, "comment": "Use the replica"}
    signed_in(people.bob).post(reverse("portal:deny", args=[row.pk]), sent)
    page = page_of(signed_in(people.alice), row)
    assert "Denied" in page
    assert "Use the replica" in page


def test_cancel_when_it_waits(people: Cast) -> None:
    row = ask(people.alice)
    client = signed_in(people.alice)
    assert "Take it back" in page_of(client, row)
    client.post(reverse("portal:cancel", args=[row.pk]))
    row.refresh_from_db()
    assert row.status == "cancelled"
    assert client.post(reverse("portal:cancel", args=[row.pk])).status_code == 409


def test_cancel_when_it_is_approved_for_later(people: Cast) -> None:
    row = ask(people.alice, starts_at=timezone.now() + timedelta(days=1))
    approve(people, row)
    client = signed_in(people.alice)
    page = page_of(client, row)
    assert "Starts" in page
    assert "Take it back" in page
    client.post(reverse("portal:cancel", args=[row.pk]))
    assert "Taken back" in page_of(client, row)


def test_follow_when_nothing_changed_sends_nothing(people: Cast) -> None:
    row = ask(people.alice)
    client = signed_in(people.alice)
    path = re.search(r'hx-get="([^"]+state=[^"]+)"', page_of(client, row))
    assert path
    poll = {"HX-Request": "true"}
    assert client.get(path[1], headers=poll).status_code == 204
    approve(people, row)
    changed = client.get(path[1], headers=poll)
    assert changed.status_code == 200
    assert "The login is being made" in changed.content.decode()


def test_show_request_when_much_happened_shows_the_newest_and_says_so(
    people: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is refused often enough must not push what came of it off the page."""
    row = ask(people.alice)
    for _ in range(3):
        with pytest.raises(NotAllowed):
            approvals.approve(actor=people.alice, request_id=row.pk)
    monkeypatch.setattr("apps.portal.views.requests._TRAIL", 3)
    approvals.deny(actor=people.bob, request_id=row.pk, comment="Not like this")
    page = page_of(signed_in(people.alice), row)
    assert "denied the request" in page
    assert "asked for access" not in page
    assert "Only the newest entries are shown" in page


def test_credential_when_it_is_mine_is_shown_and_recorded(people: Cast) -> None:
    row = ask(people.alice)
    approve(people, row)
    grant = live(people, row)
    told = listening()
    client = signed_in(people.alice)
    assert PASSWORD not in page_of(client, row)
    answer = client.post(reverse("portal:credential", args=[grant.pk]))
    page = answer.content.decode()
    assert answer["Cache-Control"] == "no-store"
    assert PASSWORD in page
    command = re.search(r'<pre class="terminal"[^>]*>(.*?)</pre>', page, re.DOTALL)
    assert command
    assert grant.login in command[1]
    assert PASSWORD not in command[1]
    assert [line.action for line in told("credential.")] == [Action.CREDENTIAL_SHOWN]
    assert client.get(reverse("portal:credential", args=[grant.pk])).status_code == 302


@pytest.mark.parametrize(("who", "status"), [("bob", 403), ("dana", 403), ("sam", 403), ("carol", 404)])
def test_credential_when_it_is_somebody_elses(people: Cast, who: str, status: int) -> None:
    row = ask(people.alice)
    approve(people, row)
    grant = live(people, row)
    client = signed_in(getattr(people, who))
    answer = client.post(reverse("portal:credential", args=[grant.pk]))
    assert answer.status_code == status
    assert PASSWORD not in answer.content.decode()
    if status == 403:
        assert "Show the credential" not in page_of(client, row)


def test_credential_when_refused_under_htmx_leaves_the_page(people: Cast) -> None:
    row = ask(people.alice)
    approve(people, row)
    grant = live(people, row, minutes=-1)
    answer = signed_in(people.alice).post(reverse("portal:credential", args=[grant.pk]), headers={"HX-Request": "true"})
    assert answer.status_code == 409
    assert answer["HX-Retarget"] == "#messages"
    assert "<html" not in answer.content.decode()


def test_release_when_it_is_mine(people: Cast) -> None:
    row = ask(people.alice)
    approve(people, row)
    grant = live(people, row)
    signed_in(people.alice).post(reverse("portal:release", args=[grant.pk]))
    grant.refresh_from_db()
    assert (grant.status, grant.end_cause) == ("ending", "released")


@pytest.mark.parametrize(("who", "ends"), [("dana", True), ("sam", True), ("bob", False)])
def test_revoke_when_one_answers_for_the_database(people: Cast, who: str, ends: bool) -> None:
    row = ask(people.alice)
    approve(people, row)
    grant = live(people, row)
    client = signed_in(getattr(people, who))
    assert ("Take this access away" in page_of(client, row)) is ends
    client.post(reverse("portal:revoke", args=[grant.pk]), {"reason": "The incident is over"})
    assert Grant.objects.get().status == ("ending" if ends else "active")


def test_show_any_page_when_access_is_late_says_so_loudest(people: Cast) -> None:
    row = ask(people.alice)
    approve(people, row)
    grant = live(people, row, minutes=-5)
    Grant.objects.filter(pk=grant.pk).update(problem="The server does not answer.")
    for who in (people.alice, people.dana, people.sam):
        client = signed_in(who)
        for path in ("/", "/ask/", "/requests/", f"/requests/{row.pk}/"):
            page = client.get(path).content.decode()
            assert page.index("Access has not ended yet") < page.index("<main")
            assert "The server does not answer." in page
    assert "Access has not ended yet" in signed_in(people.dana).get("/admin/").content.decode()
    assert "Access has not ended yet" not in signed_in(people.carol).get("/").content.decode()


def test_inbox_counts_what_i_can_decide(people: Cast) -> None:
    row = ask(people.alice)
    ask(people.bob)
    page = signed_in(people.bob).get("/inbox/").content.decode()
    assert "Alice asks for shop" in page
    assert "Bob asks for shop" not in page
    assert '<span class="count">1<span class="sr"> waiting</span></span>' in page
    assert f"/requests/{row.pk}/" in page
    assert "Nothing waits for you" in signed_in(people.carol).get("/inbox/").content.decode()


def test_list_requests_when_filtered(people: Cast) -> None:
    ask(people.alice)
    ask(people.alice, database="shop-staging")
    mine = signed_in(people.alice).get("/requests/?status=pending").content.decode()
    assert mine.count('class="cover"') == 1
    assert signed_in(people.carol).get("/requests/?whose=all").content.decode().count('class="cover"') == 0
    assert signed_in(people.sam).get("/requests/?whose=all").content.decode().count('class="cover"') == 2
    odd = signed_in(people.sam).get("/requests/?whose=all&status=x&database=%00&page=99999999999999999999")
    assert odd.status_code == 200


def test_show_grant_leads_to_its_request(people: Cast) -> None:
    row = ask(people.alice)
    approve(people, row)
    grant = live(people, row)
    assert signed_in(people.alice).get(f"/grants/{grant.pk}/")["Location"] == f"/requests/{row.pk}/"
    assert signed_in(people.carol).get(f"/grants/{grant.pk}/").status_code == 404
    assert grant.login in signed_in(people.alice).get("/grants/?state=live").content.decode()
