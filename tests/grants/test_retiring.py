"""Taking a server out of the catalog: only when nothing of the portal's is left there, or a person says it is gone."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from apps.audit import services as audit
from apps.catalog import services as catalog
from apps.catalog.models import Server
from apps.catalog.targets import target_for
from apps.core import clock
from apps.core.errors import Conflict, Invalid, NotAllowed, NotFound
from apps.engines.postgresql import PostgresEngine
from apps.grants import continuity, services
from apps.grants.clock import Rounds
from apps.grants.models import Grant, ServerState
from apps.grants.states import GrantStatus
from apps.grants.tasks import Cluster, Task
from tests.factories import Cast, ServerFactory, fresh
from tests.grants.machinery import asked_for, work_off
from tests.grants.odd_engine import put_in
from tests.grants.shelf import Fault, Shelf
from tests.grants.stage import active, connected, now_in, queued, told
from tests.support.people import signed_in
from tests.support.targets import TargetServer

pytestmark = pytest.mark.django_db(transaction=True)

WHY = "The machine is given back."


@pytest.fixture(autouse=True)
def remembered() -> Iterator[None]:
    continuity.memory.forget()
    yield
    continuity.memory.forget()


@pytest.fixture
def shelf(people: Cast, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    shelf = Shelf()
    put_in(monkeypatch, shelf)
    return shelf


def server(people: Cast) -> Server:
    return Server.objects.get(pk=people.shop.server_id)


def retired(people: Cast) -> list[audit.Line]:
    where = audit.Filter(subjects=(people.shop.server.audit_id,), action="server.retired")
    return audit.entries(where=where)


def test_retire_lets_a_server_go_when_nothing_is_left(people: Cast) -> None:
    grant, stray = active(people.alice), active(people.bob, tables=("stock.levels",))
    services.release(actor=people.alice, grant_id=grant.pk)
    services.end_due(server_id=grant.server_id)
    Grant.objects.filter(pk=stray.pk).delete()
    target = target_for(server(people))

    services.retire_server(actor=fresh(people.dana), server_id=grant.server_id, reason=WHY)
    found = server(people)
    assert (found.is_active, found.retiring_at is not None, found.retired_at) == (False, True, None)
    services.retire(server_id=grant.server_id)

    found = server(people)
    assert found.retire_problem == ""
    assert found.retired_at is not None
    assert found.manager_secret is None
    left = PostgresEngine().survey(target)
    assert (left.logins, left.scope_roles, left.view_schemas) == ((), (), ())
    (line,) = retired(people)
    assert (line.facts["proven"], line.facts["wanted_by"]) == (True, people.dana.audit_id)
    assert line.disclosed["reason"] == WHY
    with pytest.raises(Conflict, match="taken out of the catalog already"):
        services.retire_server(actor=fresh(people.dana), server_id=grant.server_id, reason=WHY)
    with pytest.raises(Conflict, match="was taken out of the catalog"):
        catalog.change_server(actor=fresh(people.dana), server_id=grant.server_id, is_active=True)
    services.retire(server_id=grant.server_id)
    services.reconcile(server_id=grant.server_id)
    Rounds().look()
    assert asked_for(Task.RETIRE) == asked_for(Task.RECONCILE) == asked_for(Task.DROP_SCOPES) == []


@pytest.mark.parametrize("state", ["queued", "active", "ending"])
def test_retire_server_refuses_when_somebody_has_access_there(people: Cast, shelf: Shelf, state: str) -> None:
    grant = queued(people.alice) if state == "queued" else active(people.alice)
    if state == "ending":
        services.release(actor=people.alice, grant_id=grant.pk)
    with pytest.raises(Conflict, match="1 grant lives on demo: revoke them first"):
        services.retire_server(actor=fresh(people.dana), server_id=grant.server_id, reason=WHY)
    assert server(people).is_active
    client = signed_in(people.dana)
    page = f"/admin/catalog/server/{grant.server_id}/take_out/"
    shown = client.post(page, {"reason": WHY}).content.decode()
    assert "revoke them first" in shown
    assert f"/admin/grants/grant/?database__server__id__exact={grant.server_id}" in shown


@pytest.mark.parametrize(
    ("who", "reason", "error"), [("alice", WHY, NotAllowed), ("sam", WHY, NotAllowed), ("dana", "", Invalid)]
)
def test_retire_server_refuses_when_one_may_not(people: Cast, who: str, reason: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        services.retire_server(actor=fresh(getattr(people, who)), server_id=people.shop.server_id, reason=reason)
    with pytest.raises(NotFound):
        services.retire_server(actor=fresh(people.dana), server_id="nowhere", reason=WHY)
    assert server(people).retiring_at is None


def test_retire_says_what_is_left_when_it_is_not_clean(people: Cast, target: TargetServer) -> None:
    login = "jit_mallory_abcdefghij"
    with target.admin() as admin:
        admin.execute(f"CREATE ROLE {login} LOGIN")
        admin.execute(f"COMMENT ON ROLE {login} IS 'jitportal portal=testportal login={login} request=r'")
        try:
            services.retire_server(actor=fresh(people.dana), server_id=people.shop.server_id, reason=WHY)
            Rounds().look()
            work_off(Cluster.BULK)
            assert login in server(people).retire_problem
            page = signed_in(people.dana).get(f"/admin/catalog/server/{people.shop.server_id}/change/")
            assert "being taken out" in page.content.decode()
            assert login in page.content.decode()
            assert "It is being taken out." in signed_in(people.dana).get("/admin/").content.decode()
            assert server(people).retired_at is None
            with pytest.raises(Conflict, match="being taken out already"):
                services.retire_server(actor=fresh(people.dana), server_id=people.shop.server_id, reason=WHY)
            with pytest.raises(Conflict, match="being taken out of the catalog"):
                catalog.change_server(actor=fresh(people.dana), server_id=people.shop.server_id, is_active=True)
        finally:
            admin.execute(f"DROP ROLE {login}")
    services.retire(server_id=people.shop.server_id)
    assert server(people).retired_at is not None


def test_nothing_is_granted_when_a_server_is_being_taken_out(people: Cast, shelf: Shelf) -> None:
    """Approved at the same moment: it is refused when its turn comes, and only then the server goes."""
    services.retire_server(actor=fresh(people.dana), server_id=people.shop.server_id, reason=WHY)
    Server.objects.filter(pk=people.shop.server_id).update(retiring_at=None, is_active=True)
    grant = queued(people.alice)
    Server.objects.filter(pk=people.shop.server_id).update(retiring_at=grant.queued_at, is_active=False)
    services.retire(server_id=grant.server_id)
    assert "have not ended yet: 1" in server(people).retire_problem
    services.issue(grant_id=grant.pk)
    now_in(grant, GrantStatus.FAILED)
    services.retire(server_id=grant.server_id)
    assert server(people).retired_at is not None


def test_retire_says_why_when_the_server_does_not_answer(people: Cast, shelf: Shelf) -> None:
    services.retire_server(actor=fresh(people.dana), server_id=people.shop.server_id, reason=WHY)
    shelf.fault = Fault.BEFORE
    services.retire(server_id=people.shop.server_id)
    assert server(people).retire_problem == "Lost."
    shelf.fault = Fault.NONE
    with clock.shifted(timedelta(minutes=6)):  # whoever does not answer is asked again a little later
        services.retire(server_id=people.shop.server_id)
    assert server(people).retired_at is not None


def test_retire_lets_a_server_go_unproven_when_it_does_not_exist(people: Cast, shelf: Shelf) -> None:
    ends = active(people.alice)
    services.revoke(actor=fresh(people.dana), grant_id=ends.pk, reason="The server burnt down.")
    shelf.fault = Fault.BEFORE
    services.end_due(server_id=ends.server_id)
    now_in(ends, GrantStatus.ENDING)
    client = signed_in(people.dana)
    page = f"/admin/catalog/server/{ends.server_id}/take_out/"

    shown = client.post(page, {"reason": WHY, "does_not_exist": "on"}, follow=True).content.decode()
    assert "is being taken out" in shown
    services.retire(server_id=ends.server_id)

    assert now_in(ends, GrantStatus.ENDED).proof == {"unproven": True, "said_by": people.dana.audit_id}
    assert told(ends)[-1] == "grant.ended"
    assert server(people).retired_at is not None
    assert retired(people)[0].facts["proven"] is False
    assert "Not proven" in signed_in(people.alice).get(f"/requests/{ends.request_id}/").content.decode()
    Rounds().look()
    assert asked_for(Task.DROP_SCOPES) == []


def test_retire_does_not_believe_it_when_a_server_answers(people: Cast, shelf: Shelf) -> None:
    grant = active(people.alice)
    with pytest.raises(Conflict, match="1 grant lives"):
        services.retire_server(actor=fresh(people.dana), server_id=grant.server_id, reason=WHY, does_not_exist=True)
    services.release(actor=people.alice, grant_id=grant.pk)
    services.retire_server(actor=fresh(people.dana), server_id=grant.server_id, reason=WHY, does_not_exist=True)
    services.retire(server_id=grant.server_id)
    assert "It answers" in server(people).retire_problem
    now_in(grant, GrantStatus.ENDING)
    services.end_due(server_id=grant.server_id)
    services.retire(server_id=grant.server_id)
    assert retired(people)[0].facts["proven"] is True


def test_retire_does_not_believe_it_when_a_server_answers_and_lets_nobody_in(people: Cast) -> None:
    """Its manager has another password by now; whoever has access there has it still."""
    grant = active(people.alice)
    with connected(grant) as session:
        services.release(actor=people.alice, grant_id=grant.pk)
        retire = {"server_id": grant.server_id, "reason": WHY, "does_not_exist": True}
        services.retire_server(actor=fresh(people.dana), **retire)
        catalog.set_manager_secret(actor="operator", server_id=grant.server_id, secret="another-than-on-the-server")
        services.retire(server_id=grant.server_id)

        now_in(grant, GrantStatus.ENDING)
        assert session.execute("SELECT 1").fetchone() == (1,)
    assert server(people).retired_at is None
    assert "It answers" in server(people).retire_problem


@pytest.mark.usefixtures("seconded")
def test_change_server_refuses_to_leave_when_somebody_has_access_there(people: Cast, shelf: Shelf) -> None:
    """On another machine the login is absent, and that would be read back as the proof of its end."""
    grant = active(people.alice)
    with pytest.raises(Conflict, match="Somebody has access on demo"):
        catalog.change_server(actor=fresh(people.dana), server_id=grant.server_id, port=1)
    assert server(people).port == people.shop.server.port

    ServerState.objects.filter(server=grant.server_id).update(unreachable_since=clock.now())
    catalog.change_server(actor=fresh(people.dana), server_id=grant.server_id, port=1)
    assert server(people).port == 1


def test_retire_lets_a_server_go_when_nothing_was_ever_made_there(people: Cast) -> None:
    new = ServerFactory(name="new", is_active=True)
    services.retire_server(actor="operator", server_id=new.pk, reason="A slip.")
    services.retire(server_id=new.pk)
    new.refresh_from_db()
    assert new.retired_at is not None


@pytest.mark.parametrize("page", ["catalog/server", "catalog/database"])
def test_admin_deletes_no_server_and_no_database(people: Cast, page: str) -> None:
    key = people.shop.server_id if page == "catalog/server" else people.shop.pk
    client = signed_in(people.dana)
    assert client.post(f"/admin/{page}/{key}/delete/", {"post": "yes"}).status_code == 403
    assert "delete_selected" not in client.get(f"/admin/{page}/").content.decode()


def test_retire_waits_when_nothing_may_be_done(people: Cast, shelf: Shelf) -> None:
    services.retire_server(actor=fresh(people.dana), server_id=people.shop.server_id, reason=WHY, does_not_exist=True)
    shelf.mark = "record=999999:0123456789abcdef"
    services.reconcile(server_id=people.shop.server_id)
    services.retire(server_id=people.shop.server_id)
    assert "Nothing is done on any server" in server(people).retire_problem
    assert server(people).retired_at is None
