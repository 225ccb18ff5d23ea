"""A portal whose database was restored, or copied, acts on no server until an operator has confirmed it."""

import contextlib
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from psycopg import sql

from apps.audit import services as audit
from apps.catalog.models import Database, Server
from apps.catalog.services import run_preflight, run_sync
from apps.catalog.targets import seal_secret, target_for
from apps.core.errors import Conflict, Invalid, NotAllowed
from apps.engines.base import EngineError, Target
from apps.engines.postgresql import PostgresEngine
from apps.grants import continuity, services
from apps.grants.clock import Rounds
from apps.grants.models import Continuity, Grant, ServerState
from apps.grants.states import GrantStatus
from apps.grants.tasks import Cluster, Task
from apps.notifications import services as notifications
from apps.notifications.models import Cursor, Notification
from jitportal.portal_database import WEB
from tests.factories import Cast, ServerFactory, fresh
from tests.grants.machinery import asked_for, nothing_remembered, work_off
from tests.grants.odd_engine import OddEngine, put_in
from tests.grants.shelf import Shelf
from tests.grants.stage import active, now_in, queued, told
from tests.support.people import signed_in
from tests.support.portal import DATABASE, PortalDatabase
from tests.support.targets import TargetServer

pytestmark = pytest.mark.django_db(transaction=True)

LOST = "f" * 16


@pytest.fixture(autouse=True)
def remembered(target: TargetServer) -> Iterator[None]:
    """Each test begins with workers that have just been started, and leaves nothing from the future behind."""
    with nothing_remembered(target):
        yield


@pytest.fixture
def server(people: Cast) -> Server:
    Cursor.objects.create(pk=1, next_index=audit.head().size)
    return Server.objects.get(pk=people.shop.server_id)


@pytest.fixture
def shelf(people: Cast, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    shelf = Shelf()
    put_in(monkeypatch, shelf)
    return shelf


def future(entries: int = 10) -> str:
    """What a portal leaves that knows so many more entries than this one."""
    return f"record={audit.head().size - 1 + entries}:{LOST}"


def restored(shelf: Shelf) -> None:
    """As workers find it that are started after the portal's database was restored."""
    shelf.mark = future()
    continuity.memory.forget()


def worked(server: Server) -> None:
    """Everything that workers are asked for, and some more."""
    for act in (
        services.issue_queued,
        services.end_due,
        services.drop_unused_scopes,
        services.look_at_sessions,
        services.reconcile,
        services.retire,
    ):
        with contextlib.suppress(continuity.OnlyLooking):
            act(server_id=server.pk)


def is_known(mark: str) -> bool:
    index, beginning = mark.removeprefix("record=").split(":")
    found = audit.hash_at(int(index))
    return found is not None and found.hex().startswith(beginning)


def test_issue_leaves_a_mark_when_the_record_has_moved(people: Cast, server: Server) -> None:
    engine, target = PostgresEngine(), target_for(server)
    assert engine.recall(target) == ""
    grant = queued(people.alice)
    services.issue_queued(server_id=server.pk)
    now_in(grant, GrantStatus.ACTIVE)
    first = engine.recall(target)
    (issuing,) = audit.entries(where=audit.Filter(subjects=(grant.audit_id,), action="grant.issuing"))
    assert first.startswith(f"record={issuing.index}:")  # before there is anything to be taken for a stranger's
    assert is_known(first)

    services.release(actor=people.alice, grant_id=grant.pk)
    services.end_due(server_id=server.pk)
    assert engine.recall(target) != first
    assert is_known(engine.recall(target))
    continuity.memory.forget()
    services.reconcile(server_id=server.pk)
    assert Continuity.objects.count() == 0


def test_issue_leaves_a_mark_before_there_is_a_login(
    people: Cast, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of the portal that looks at this very moment must not take the login for a stray."""
    marks: list[str] = []
    odd = OddEngine(before_open=lambda: marks.append(PostgresEngine().recall(target_for(server))))
    put_in(monkeypatch, odd)
    grant = active(people.alice)
    (intent,) = audit.entries(where=audit.Filter(subjects=(grant.audit_id,), action="grant.issuing"))
    assert int(marks[0].removeprefix("record=").split(":")[0]) >= intent.index
    assert is_known(marks[0])


def test_leave_mark_is_asked_of_the_server_once_when_nothing_has_moved(
    people: Cast, server: Server, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[str] = []
    monkeypatch.setattr(Shelf, "remember", lambda self, target, mark: left.append(mark))
    for _ in range(3):
        continuity.leave_mark(server)
    assert len(left) == 1


@pytest.mark.parametrize("mark", ["future", "another", "garbage"])
def test_workers_do_nothing_when_a_server_remembers_what_the_record_does_not(
    people: Cast, server: Server, shelf: Shelf, mark: str
) -> None:
    lives, ends, waits = active(people.alice), active(people.bob), queued(people.carol)
    services.release(actor=people.bob, grant_id=ends.pk)
    stray = forgotten(active(people.alice, tables=("stock.levels",)), shelf)
    before = dict(shelf.logins)
    marks = {"future": future(), "another": f"record=0:{LOST}", "garbage": "something"}
    shelf.mark = marks[mark]
    continuity.memory.forget()

    for _ in range(2):
        worked(server)

    assert (shelf.logins, shelf.mark, shelf.closed_at) == (before, marks[mark], {})
    assert stray in before
    found = Continuity.objects.get()
    assert (found.server, found.confirmed_at) == (server, None)
    assert "does nothing" not in now_in(lives, GrantStatus.ACTIVE).problem
    assert "Nothing is done on any server" in now_in(ends, GrantStatus.ENDING).problem
    assert "Nothing is done on any server" in now_in(waits, GrantStatus.QUEUED).problem
    if mark != "garbage":
        assert "remembers an entry" in found.why
    (line,) = audit.entries(where=audit.Filter(action="portal.restored", subjects=(f"continuity:{found.pk}",)))
    assert line.facts == {"server": server.pk, "size_here": found.size_here, "size_there": found.size_there}


def forgotten(grant: Grant, shelf: Shelf) -> str:
    Grant.objects.filter(pk=grant.pk).delete()
    return grant.login


def test_reconcile_lists_what_it_would_disable_when_it_only_looks(people: Cast, server: Server, shelf: Shelf) -> None:
    login = forgotten(active(people.alice), shelf)
    restored(shelf)
    services.reconcile(server_id=server.pk)
    state = ServerState.objects.get(server=server)
    assert [(stray["login"], stray["disabled"]) for stray in state.strays] == [(login, False)]
    assert state.reconciled_at is None
    continuity.confirm_restored(actor=fresh(people.dana), reason="Restored last night's copy.")
    services.reconcile(server_id=server.pk)
    assert login not in shelf.logins
    (stray,) = ServerState.objects.get(server=server).strays
    assert (stray["told"], stray["gone"]) == (True, True)


def test_looks_go_on_when_nothing_may_be_done(people: Cast, server: Server) -> None:
    grant = active(people.alice)
    PostgresEngine().remember(target_for(server), future())
    continuity.memory.forget()
    services.reconcile(server_id=server.pk)

    services.check_drift(server_id=server.pk)
    run_preflight(server_id=server.pk)
    run_sync(database_id=people.staging.pk)

    grant.refresh_from_db()
    assert grant.drift_checked_at is not None
    assert Database.objects.get(pk=people.staging.pk).sync_error == ""
    assert Continuity.objects.get().confirmed_at is None


def test_everybody_sees_it_when_nothing_may_be_done(people: Cast, server: Server, shelf: Shelf) -> None:
    restored(shelf)
    services.reconcile(server_id=server.pk)
    notifications.fold()
    told = Notification.objects.filter(kind="restored").order_by("user__username")
    assert list(told.values_list("user__username", "path")) == [("dana", "/admin/"), ("sam", "/")]

    assert "The portal does nothing on any server" in signed_in(people.alice).get("/").content.decode()
    assert "Look at it and confirm" not in signed_in(people.alice).get("/").content.decode()
    client = signed_in(people.dana)
    front = client.get("/admin/").content.decode()
    page = f"/admin/grants/continuity/{Continuity.objects.get().pk}/confirm/"
    assert page in front
    assert "This field is required" in client.post(page, {"reason": ""}).content.decode()
    assert (
        "workers compare every server" in client.post(page, {"reason": "A disk broke."}, follow=True).content.decode()
    )
    assert "confirmed already" in client.post(page, {"reason": "Again."}).content.decode()
    Rounds().look()
    assert Continuity.objects.get().confirmed_by == people.dana.audit_id
    assert "The portal does nothing" not in client.get("/").content.decode()
    assert signed_in(people.sam).post(page, {"reason": "x"}).status_code in {302, 403}


def test_confirm_restored_lets_workers_go_on(people: Cast, server: Server, shelf: Shelf) -> None:
    ends, waits = active(people.bob), queued(people.carol)
    services.release(actor=people.bob, grant_id=ends.pk)
    restored(shelf)
    worked(server)
    found = Continuity.objects.get()

    continuity.confirm_restored(actor=fresh(people.dana), reason="A disk broke.")
    ticking = Rounds()
    ticking.look()
    assert asked_for(Task.RECONCILE) == [(server.pk,)]
    Grant.objects.update(next_try_at=None)
    Grant.objects.filter(pk=ends.pk).update(next_try_at=found.found_at)
    work_off(Cluster.BULK)
    worked(server)

    now_in(ends, GrantStatus.ENDED)
    now_in(waits, GrantStatus.ACTIVE)
    assert is_known(shelf.mark)
    found.refresh_from_db()
    assert (found.confirmed_by, found.confirmed_at is not None) == (people.dana.audit_id, True)
    (line,) = audit.entries(where=audit.Filter(action="portal.confirmed", subjects=(f"continuity:{found.pk}",)))
    assert line.facts == {"server": server.pk, "size_here": found.size_here, "size_there": found.size_there}
    assert line.disclosed["reason"] == "A disk broke."
    continuity.memory.forget()
    worked(server)
    assert Continuity.objects.count() == 1


@pytest.mark.parametrize(
    ("who", "reason", "error"), [("alice", "x", NotAllowed), ("sam", "x", NotAllowed), ("dana", " ", Invalid)]
)
def test_confirm_restored_refuses_when_it_may_not_be(
    people: Cast, shelf: Shelf, who: str, reason: str, error: type[Exception]
) -> None:
    restored(shelf)
    services.reconcile(server_id=people.shop.server_id)
    with pytest.raises(error):
        continuity.confirm_restored(actor=fresh(getattr(people, who)), reason=reason)
    assert continuity.waits()


def test_confirm_restored_refuses_when_nothing_waits(people: Cast, server: Server, shelf: Shelf) -> None:
    with pytest.raises(Conflict, match="Nothing waits"):
        continuity.confirm_restored(actor=fresh(people.dana), reason="Just so.")
    with pytest.raises(CommandError, match="Nothing waits"):
        call_command("confirm_restore", "--reason", "Just so.")


def test_confirm_restore_command_lets_workers_go_on(people: Cast, server: Server, shelf: Shelf) -> None:
    restored(shelf)
    services.reconcile(server_id=server.pk)
    call_command("confirm_restore", "--reason", "A disk broke.")
    assert not continuity.waits()
    assert Continuity.objects.get().confirmed_by == "operator"


def test_running_worker_finds_it_before_its_next_act(people: Cast, server: Server, shelf: Shelf) -> None:
    """Its server has a mark that the restored record knows as well: only the process itself remembers more."""
    grant = active(people.alice)
    services.release(actor=people.alice, grant_id=grant.pk)
    continuity.memory.seen = continuity.Mark(audit.head().size + 5, LOST)

    services.end_due(server_id=server.pk)

    assert grant.login in shelf.logins
    assert "Nothing is done" in now_in(grant, GrantStatus.ENDING).problem
    found = Continuity.objects.get()
    assert (found.server, found.size_there) == (None, audit.head().size + 5) or found.size_there > found.size_here
    continuity.confirm_restored(actor=fresh(people.dana), reason="A disk broke.")
    Grant.objects.update(next_try_at=found.found_at)
    services.end_due(server_id=server.pk)
    now_in(grant, GrantStatus.ENDED)
    assert Continuity.objects.count() == 1


def test_other_worker_that_still_remembers_what_was_lost_forgets_it_when_confirmed(
    people: Cast, server: Server, shelf: Shelf
) -> None:
    restored(shelf)
    services.reconcile(server_id=server.pk)
    continuity.confirm_restored(actor=fresh(people.dana), reason="A disk broke.")
    assert continuity.settle()
    # Another process, which was at work before.
    continuity.memory.forget()
    continuity.memory.seen = continuity.Mark(audit.head().size + 5, LOST)
    continuity.memory.asked.add(server.pk)
    services.reconcile(server_id=server.pk)
    grant = active(people.alice)
    assert grant.login in shelf.logins
    assert Continuity.objects.count() == 1


def test_reconcile_renews_the_mark_of_every_server_when_confirmed(people: Cast, server: Server, shelf: Shelf) -> None:
    """One was out of reach meanwhile, and has an old mark still: that is no new break."""
    other = ServerFactory(name="other")
    Server.objects.filter(pk=other.pk).update(manager_secret=seal_secret(other, "x" * 20))
    restored(shelf)
    services.reconcile(server_id=server.pk)
    continuity.confirm_restored(actor=fresh(people.dana), reason="A disk broke.")
    services.reconcile(server_id=server.pk)
    assert is_known(shelf.mark)
    shelf.mark = future()
    services.reconcile(server_id=other.pk)
    assert is_known(shelf.mark)
    assert not continuity.waits()
    # A second restore is a second break.
    restored(shelf)
    services.reconcile(server_id=server.pk)
    assert Continuity.objects.count() == 2
    assert continuity.waits()


def test_work_goes_on_when_no_mark_can_be_left(
    people: Cast, server: Server, shelf: Shelf, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: Shelf, target: Target, mark: str) -> None:
        raise EngineError("No room.")

    monkeypatch.setattr(Shelf, "remember", refuse)
    grant = queued(people.alice)
    services.issue_queued(server_id=server.pk)
    now_in(grant, GrantStatus.ACTIVE)
    assert "No mark could be left on demo: No room." in caplog.text


def test_confirm_restored_when_the_web_process_calls_it(
    people: Cast, server: Server, shelf: Shelf, portal_database: PortalDatabase
) -> None:
    restored(shelf)
    services.reconcile(server_id=server.pk)
    before = dict(connection.settings_dict)
    connection.close()
    connection.settings_dict |= {"USER": WEB, "PASSWORD": urlsplit(portal_database.urls[WEB]).password}
    try:
        continuity.confirm_restored(actor=fresh(people.dana), reason="A disk broke.")
    finally:
        connection.close()
        connection.settings_dict |= before
    assert not continuity.waits()


@pytest.fixture
def copied(portal_database: PortalDatabase) -> Iterator[Callable[[], None]]:
    """Take a copy of the portal's database, and another time put it in the place of the database."""
    copy, in_use = "jitportal_copy", connection.settings_dict["NAME"]

    def take() -> None:
        connection.close()
        with portal_database.cluster.connect() as superuser:
            superuser.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER jitportal_owner").format(
                    sql.Identifier(copy), sql.Identifier(DATABASE)
                )
            )

    yield take
    connection.close()
    connection.settings_dict["NAME"] = in_use
    with portal_database.cluster.connect() as superuser:
        superuser.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(copy)))


@pytest.mark.parametrize("restarted", [True, False])
def test_workers_find_it_when_the_database_was_really_restored(
    people: Cast, server: Server, copied: Callable[[], None], restarted: bool
) -> None:
    """Real databases on both sides: what is issued after the copy is unknown to the one that is restored."""
    ends = active(people.bob)
    services.reconcile(server_id=server.pk)
    copied()
    grant = queued(people.alice)
    services.issue_queued(server_id=server.pk)
    now_in(grant, GrantStatus.ACTIVE)
    connection.close()
    connection.settings_dict["NAME"] = "jitportal_copy"
    if restarted:
        continuity.memory.forget()

    services.release(actor=people.bob, grant_id=ends.pk)
    services.end_due(server_id=server.pk)

    assert "Nothing is done on any server" in now_in(ends, GrantStatus.ENDING).problem
    found = Continuity.objects.get()
    assert found.size_there > found.size_here - 5
    services.reconcile(server_id=server.pk)
    assert grant.login in {stray["login"] for stray in ServerState.objects.get(server=server).strays}
    there = {login.login: login for login in PostgresEngine().survey(target_for(server)).logins}
    assert there[grant.login].can_login

    continuity.confirm_restored(actor="operator", reason="A disk broke.")
    services.reconcile(server_id=server.pk)
    Grant.objects.update(next_try_at=found.found_at)
    services.end_due(server_id=server.pk)
    now_in(ends, GrantStatus.ENDED)
    assert {ends.login, grant.login} & {
        one.login for one in PostgresEngine().survey(target_for(server)).logins
    } == set()
    assert told(ends)[-1] == "grant.ended"
    assert Continuity.objects.count() == 1
