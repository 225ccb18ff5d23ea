from datetime import timedelta

import pytest
from django.test import Client

from apps.core import clock
from apps.grants import services
from apps.grants.models import Grant, ServerState
from apps.grants.states import GrantStatus
from tests.factories import Cast
from tests.grants.odd_engine import LOST, OddEngine, fails, put_in
from tests.grants.stage import active, after, now_in, queued
from tests.support.people import signed_in

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/grants/grant/"


def revoke(client: Client, grant: Grant, **more: str) -> str:
    answer = client.post(LIST, {"action": "revoke_now", "_selected_action": [grant.pk], **more}, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


def test_list_shows_what_is_late_when_it_is(people: Cast) -> None:
    late, fine = active(people.alice, minutes=1), active(people.bob, minutes=60)
    client = signed_in(people.dana)

    with clock.shifted(after(late) + timedelta(seconds=10)):
        shown = client.get(LIST, {"late": "yes"}).content.decode()

    assert late.login in shown
    assert fine.login not in shown
    assert fine.login in client.get(LIST).content.decode()


def test_list_shows_what_was_never_used_when_that_is_looked_for(people: Cast) -> None:
    unused, used, cut, live = (active(people.alice) for _ in range(4))
    Grant.objects.filter(pk=used.pk).update(sessions_seen=1)
    Grant.objects.filter(pk=cut.pk).update(sessions_seen=2, sessions_cut=1)
    for grant in (unused, used, cut):
        services.release(actor=people.alice, grant_id=grant.pk)
    services.end_due(server_id=unused.server_id)
    client = signed_in(people.dana)

    shown = {use: client.get(LIST, {"use": use}).content.decode() for use in ("", "never", "cut")}
    found = {use: {one.login for one in (unused, used, cut, live) if one.login in page} for use, page in shown.items()}
    assert found["never"] == {unused.login}
    assert found["cut"] == {cut.login}
    assert len(found[""]) == 4
    assert "never used" in shown["never"]
    assert "2 seen, 1 cut" in shown["cut"]


def test_front_page_shows_reason_and_since_when_something_is_late(
    people: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing, unbegun = active(people.alice, minutes=1), active(people.bob, minutes=1)
    put_in(monkeypatch, OddEngine(before_close=fails(LOST), again=True))
    client = signed_in(people.dana)
    with clock.shifted(after(failing)):
        services.release(actor=people.alice, grant_id=failing.pk)
        services.end_due(server_id=failing.server_id)
    Grant.objects.filter(pk=unbegun.pk).update(problem="")
    with clock.shifted(after(failing) + timedelta(minutes=2)):
        page = client.get("/admin/").content.decode()
        home = client.get("/").content.decode()

    assert LOST.sentence in page
    assert "A worker is at it" in page
    assert page.count("should be gone since") == 2
    assert "Access has not ended yet" in home


def test_page_of_a_grant_shows_no_secret_and_changes_nothing(people: Cast) -> None:
    grant = active(people.alice)
    client = signed_in(people.dana)

    page = client.get(f"{LIST}{grant.pk}/change/")

    assert page.status_code == 200
    assert "sales.orders" in page.content.decode()
    assert 'name="_save"' not in page.content.decode()
    assert client.post(f"{LIST}{grant.pk}/change/", {"status": "ended"}).status_code == 403
    assert client.post(f"{LIST}{grant.pk}/delete/", {"post": "yes"}).status_code == 403
    assert client.get(f"{LIST}add/").status_code == 403
    now_in(grant, GrantStatus.ACTIVE)


def test_revoke_now_asks_for_a_reason_first_when_it_is_chosen(people: Cast) -> None:
    grant = queued(people.alice)
    client = signed_in(people.dana)

    assert "Revoke now" in revoke(client, grant)
    now_in(grant, GrantStatus.QUEUED)
    assert "required" in revoke(client, grant, confirmed="yes", reason=" ")
    now_in(grant, GrantStatus.QUEUED)

    assert "Being taken away: 1." in revoke(client, grant, confirmed="yes", reason="incident 7")
    assert now_in(grant, GrantStatus.ENDING).end_reason == "incident 7"
    assert "taken away already" in revoke(client, grant, confirmed="yes", reason="again")


@pytest.mark.parametrize("who", ["alice", "sam", "audrey"])
def test_admin_is_closed_when_one_is_no_dba(people: Cast, who: str) -> None:
    grant = queued(people.alice)
    answer = signed_in(getattr(people, who)).post(
        LIST, {"action": "revoke_now", "_selected_action": [grant.pk], "confirmed": "yes", "reason": "x"}
    )
    assert answer.status_code in {302, 403}
    now_in(grant, GrantStatus.QUEUED)


def test_page_of_a_server_tells_what_was_left_behind_and_that_nobody_answers(people: Cast) -> None:
    server = people.shop.server
    client = signed_in(people.dana)
    address = f"/admin/catalog/server/{server.pk}/change/"
    assert "as far as is known" in client.get(address).content.decode()

    left = {"database": "shop", "object": "table public.<mine>", "login": "jit_alice_abcdefghij", "at": "2026-11-28T"}
    ServerState.objects.create(
        server=server,
        unreachable_since=clock.now(),
        next_probe_at=clock.now(),
        problem="It could not be reached.",
        graveyard=[left],
    )
    page = client.get(address).content.decode()

    assert "It could not be reached." in page
    assert "demo: It could" not in page  # the state of the server as people know it, not what workers write
    assert "It has not answered since" in client.get("/admin/").content.decode()
    assert "table public.&lt;mine&gt;, owned by <code>jitportal_graveyard_abcdefghij</code>" in page
