"""What is on a server against what should be: logins that came back or are gone, and what is left of scopes."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from apps.audit import services as audit
from apps.catalog.models import Database, Server
from apps.catalog.services import want_reconcile
from apps.catalog.targets import engine_for, target_for
from apps.core import clock
from apps.engines.base import Target
from apps.engines.postgresql import PostgresEngine
from apps.grants import continuity, due, issuing, services
from apps.grants.clock import Rounds
from apps.grants.models import Grant, ServerState
from apps.grants.states import GrantStatus
from apps.grants.tasks import Cluster, Task, enqueue
from apps.notifications import services as notifications
from apps.notifications.models import Cursor, Notification
from jitportal.embedded import Cluster as Embedded
from tests.factories import Cast, ServerFactory, fresh
from tests.grants.conftest import TABLES, LeftBehind, prepare
from tests.grants.machinery import asked_for, work_off
from tests.grants.odd_engine import OddEngine, put_in
from tests.grants.stage import active, connected, now_in, queued, told, until_next
from tests.support.people import signed_in
from tests.support.targets import TargetServer, versions

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def remembered() -> Iterator[None]:
    continuity.memory.forget()
    yield
    continuity.memory.forget()


@pytest.fixture
def server(people: Cast) -> Server:
    """Without what earlier tests have left on it: their rows are gone, so all of it is stray."""
    server = Server.objects.get(pk=people.shop.server_id)
    services.reconcile(server_id=server.pk)
    ServerState.objects.all().delete()
    Cursor.objects.create(pk=1, next_index=audit.head().size)
    return server


@pytest.fixture
def engine(server: Server) -> PostgresEngine:
    found = engine_for(server)
    assert isinstance(found, PostgresEngine)
    return found


def strays(server: Server) -> list[dict[str, Any]]:
    return ServerState.objects.get(server=server).strays


def entries(server: Server) -> list[audit.Line]:
    """Of strays, of this test's server alone."""
    where = audit.Filter(subjects=(server.audit_id,), action="login.stray")
    return [line for line in audit.entries(limit=1000, where=where) if line.index >= Cursor.objects.get().next_index]


def told_to(username: str) -> list[tuple[str, str]]:
    before = Cursor.objects.get().next_index
    notifications.fold()
    Cursor.objects.update(next_index=before)
    return list(Notification.objects.filter(user__username=username).order_by("pk").values_list("kind", "text"))


def forgotten(grant: Grant) -> str:
    """As if the portal's row had never been: what a login is whose grant nobody knows."""
    Grant.objects.filter(pk=grant.pk).delete()
    return grant.login


def come_back(grant: Grant) -> str:
    """Ended and gone, and there again, as after a restore of the server."""
    spec = issuing._spec(grant)
    services.release(actor=fresh(grant.holder), grant_id=grant.pk)
    services.end_due(server_id=grant.server_id)
    now_in(grant, GrantStatus.ENDED)
    PostgresEngine().open_login(target_for(grant.server), spec)
    return grant.login


def test_reconcile_leaves_all_alone_when_all_is_well(people: Cast, server: Server) -> None:
    grants = [active(people.alice), active(people.bob), queued(people.carol)]
    before = audit.head().size

    services.reconcile(server_id=server.pk)

    assert audit.head().size == before
    assert [grant.status for grant in Grant.objects.order_by("queued_at")] == ["active", "active", "queued"]
    state = ServerState.objects.get(server=server)
    assert (state.strays, state.reconciled_at is not None) == ([], True)
    with connected(grants[0]):
        pass


def test_reconcile_disables_a_login_when_no_grant_knows_it(
    people: Cast, server: Server, left_behind: LeftBehind
) -> None:
    grant, other = active(people.alice), active(people.bob)
    with connected(grant) as session:
        login = forgotten(grant)
        services.reconcile(server_id=server.pk)
        with pytest.raises(Exception, match="terminat"):
            session.execute("SELECT 1")

    assert left_behind.roles(login) == []
    assert left_behind.roles(other.login) == [other.login]
    (stray,) = strays(server)
    assert (stray["login"], stray["disabled"], stray["gone"]) == (login, True, True)
    intent, outcome = entries(server)
    assert (intent.facts["disabled"], intent.facts["could_log_in"], intent.facts["sessions"]) == (False, True, 1)
    assert intent.disclosed["login"] == login
    assert (outcome.facts["disabled"], outcome.facts["sessions_ended"], outcome.facts["dropped"]) == (True, 1, True)
    assert login not in outcome.body.decode()
    for person in ("dana",):
        assert [kind for kind, _ in told_to(person)] == ["stray"]
    assert told_to("alice") == []


def test_reconcile_tells_what_came_of_each_when_there_are_more_strays_than_are_listed(
    people: Cast, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.grants.strays._LISTED", 1)
    logins = {forgotten(active(person)) for person in (people.alice, people.bob, people.carol)}
    services.reconcile(server_id=server.pk)
    told_of = [(line.disclosed["login"], line.facts["disabled"]) for line in entries(server)]
    assert sorted(told_of) == sorted((login, disabled) for login in logins for disabled in (False, True))


@pytest.mark.parametrize("rounds", [2])
def test_reconcile_twice_is_as_once(people: Cast, server: Server, rounds: int) -> None:
    login = forgotten(active(people.alice))
    come_back(active(people.bob, tables=("stock.levels",)))
    services.reconcile(server_id=server.pk)
    after_one, found = len(entries(server)), strays(server)
    for _ in range(rounds):
        services.reconcile(server_id=server.pk)
    assert (len(entries(server)), strays(server)) == (after_one, found)
    assert login in {stray["login"] for stray in found}


def test_reconcile_disables_a_login_when_its_grant_is_over(
    people: Cast, server: Server, left_behind: LeftBehind
) -> None:
    grant = active(people.alice)
    login = come_back(grant)
    assert left_behind.roles(login) == [login]

    services.reconcile(server_id=server.pk)

    assert left_behind.roles(login) == []
    assert entries(server)[0].facts["grant"] == grant.pk
    now_in(grant, GrantStatus.ENDED)


def test_reconcile_tells_again_when_a_login_comes_back_again(people: Cast, server: Server) -> None:
    grant = active(people.alice)
    spec, login = issuing._spec(grant), forgotten(grant)
    for _ in range(2):
        services.reconcile(server_id=server.pk)
        PostgresEngine().open_login(target_for(server), spec)
    services.reconcile(server_id=server.pk)
    assert [line.facts["disabled"] for line in entries(server)] == [False, True] * 3
    assert [stray["login"] for stray in strays(server)] == [login] * 1


def test_reconcile_finds_a_stray_when_it_was_renamed(people: Cast, server: Server, target: TargetServer) -> None:
    login = forgotten(active(people.alice))
    with target.admin() as admin:
        admin.execute(f"ALTER ROLE {login} RENAME TO innocent")  # type: ignore[arg-type]
        services.reconcile(server_id=server.pk)
        assert admin.execute("SELECT count(*) FROM pg_roles WHERE rolname = 'innocent'").fetchone() == (0,)
    assert [(stray["login"], stray["role"]) for stray in strays(server)] == [(login, "innocent")]


def test_reconcile_leaves_another_portals_login_alone(
    people: Cast, server: Server, target: TargetServer, left_behind: LeftBehind
) -> None:
    login = forgotten(active(people.alice))
    with target.admin() as admin:
        admin.execute(f"COMMENT ON ROLE {login} IS 'jitportal portal=another login={login} request=r'")  # type: ignore
        services.reconcile(server_id=server.pk)
        assert left_behind.roles(login) == [login]
        assert login not in {stray["login"] for stray in strays(server)}
        admin.execute(f"DROP OWNED BY {login}; DROP ROLE {login}")  # type: ignore[arg-type]


def strays_or_none(server: Server) -> list[str]:
    return [stray["login"] for stray in strays(server)]


class Counts(OddEngine):
    """How many logins each look has told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[int | None] = []

    def survey(self, target: Target, known: str = "") -> Any:
        found = super().survey(target, known)
        self.told.append(None if found.logins is None else len(found.logins))
        return found


def test_reconcile_reads_no_login_again_when_rows_and_server_are_as_they_were(
    people: Cast, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant, _ = active(people.alice), active(people.bob)
    engine = Counts()
    put_in(monkeypatch, engine)
    for _ in range(3):
        services.reconcile(server_id=server.pk)
    assert engine.told == [2, None, None]

    Grant.objects.filter(pk=grant.pk).update(claimed_until=clock.now() + timedelta(minutes=1))
    for _ in range(2):  # what is claimed is looked at until it is settled
        services.reconcile(server_id=server.pk)
    assert engine.told[3:] == [2, 2]


WRONG = {
    "the login is gone": ("DROP OWNED BY {0}; DROP ROLE {0}", "vanished"),
    "it works for longer": ("ALTER ROLE {0} VALID UNTIL 'infinity'", "drifted"),
    "its mark is gone": ("COMMENT ON ROLE {0} IS NULL", "vanished"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_reconcile_ends_a_grant_when_all_was_well_until_now(
    people: Cast, server: Server, target: TargetServer, wrong: str
) -> None:
    grant = active(people.alice)
    for _ in range(2):
        services.reconcile(server_id=server.pk)
    statement, cause = WRONG[wrong]
    with target.admin() as admin:
        admin.execute(statement.format(grant.login))  # type: ignore[arg-type]

    services.reconcile(server_id=server.pk)

    assert now_in(grant, GrantStatus.ENDING).end_cause == cause
    if wrong == "its mark is gone":  # so that nobody would find it
        with target.admin() as admin:
            admin.execute(WRONG["the login is gone"][0].format(grant.login))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["aaa_copy", "zzz_copy"])
def test_reconcile_ends_a_grant_when_another_role_has_its_mark(
    people: Cast, server: Server, target: TargetServer, left_behind: LeftBehind, name: str
) -> None:
    grant, other = active(people.alice), active(people.bob)
    services.reconcile(server_id=server.pk)
    with target.admin() as admin:
        (comment,) = admin.execute(
            "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s", [grant.login]
        ).fetchone()  # type: ignore[misc]
        admin.execute(f"CREATE ROLE {name} NOLOGIN; COMMENT ON ROLE {name} IS '{comment}'")  # type: ignore[arg-type]
        admin.execute(f"ALTER ROLE {grant.login} VALID UNTIL 'infinity'")  # type: ignore[arg-type]
    try:
        services.reconcile(server_id=server.pk)
        assert now_in(grant, GrantStatus.ENDING).end_cause == "drifted"
        now_in(other, GrantStatus.ACTIVE)
        services.end_due(server_id=server.pk)
        assert left_behind.roles(grant.login) == []
    finally:
        with target.admin() as admin:
            admin.execute(f"DROP ROLE IF EXISTS {name}")  # type: ignore[arg-type]


def test_reconcile_disables_a_login_when_all_was_well_until_now(
    people: Cast, server: Server, left_behind: LeftBehind
) -> None:
    grant = active(people.alice)
    for _ in range(2):
        services.reconcile(server_id=server.pk)
    login = forgotten(grant)

    services.reconcile(server_id=server.pk)

    assert left_behind.roles(login) == []


def test_reconcile_says_so_when_a_login_cannot_be_disabled(
    people: Cast, server: Server, target: TargetServer, left_behind: LeftBehind, caplog: pytest.LogCaptureFixture
) -> None:
    """Made by somebody else than the portal, with its mark: only an administrator can take it away."""
    login, fine = "jit_mallory_abcdefghij", forgotten(active(people.alice))
    with target.admin() as admin:
        admin.execute(f"CREATE ROLE {login} LOGIN")
        admin.execute(f"COMMENT ON ROLE {login} IS 'jitportal portal={settings.PORTAL_ID} login={login} request=r'")
        try:
            for _ in range(2):
                services.reconcile(server_id=server.pk)
            assert left_behind.roles(fine) == []
            assert {stray["login"]: stray["disabled"] for stray in strays(server)} == {login: False, fine: True}
            assert [line.facts["disabled"] for line in entries(server) if line.disclosed["login"] == login] == [False]
        finally:
            admin.execute(f"DROP ROLE {login}")


@pytest.mark.parametrize("moment", ["queued", "issuing", "opened"])
def test_reconcile_is_not_mistaken_when_a_login_is_being_made(
    people: Cast, server: Server, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    odd = OddEngine(again=True)
    look: Callable[[], None] = lambda: services.reconcile(server_id=server.pk)  # noqa: E731
    if moment == "issuing":
        odd.before_open = look
    if moment == "opened":
        odd.after_open = look
    put_in(monkeypatch, odd)
    grant = queued(people.alice)
    if moment == "queued":
        look()
    services.issue(grant_id=grant.pk)
    now_in(grant, GrantStatus.ACTIVE)
    assert strays_or_none(server) == []
    with connected(grant):
        pass


@pytest.mark.parametrize("when", ["before_close", "after_close"])
def test_reconcile_is_not_mistaken_when_an_end_is_under_way(
    people: Cast, server: Server, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    grant = active(people.alice)
    odd = OddEngine()
    setattr(odd, when, lambda: services.reconcile(server_id=server.pk))
    put_in(monkeypatch, odd)
    services.release(actor=people.alice, grant_id=grant.pk)
    services.end_due(server_id=server.pk)
    assert now_in(grant, GrantStatus.ENDED).end_cause == "released"
    assert strays_or_none(server) == []
    assert "drift.found" not in told(grant)


class EndsMeanwhile(OddEngine):
    """A grant ends between two looks at rows: its login is seen, and over when rows are read."""

    def __init__(self, grant: Grant, *, after: bool) -> None:
        super().__init__()
        self._grant, self._after = grant, after

    def survey(self, target: Target, known: str = "") -> Any:
        if not self._after:
            self._end()
        found = super().survey(target, known)
        self._end()
        return found

    def _end(self) -> None:
        services.end_due(server_id=self._grant.server_id)


@pytest.mark.parametrize("after", [True, False])
def test_reconcile_is_not_mistaken_when_a_grant_ends_during_the_look(
    people: Cast, server: Server, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    grant = active(people.alice)
    services.release(actor=people.alice, grant_id=grant.pk)
    put_in(monkeypatch, EndsMeanwhile(grant, after=after))
    services.reconcile(server_id=server.pk)
    assert now_in(grant, GrantStatus.ENDED).end_cause == "released"
    assert entries(server) == []


def test_reconcile_ends_a_grant_when_its_login_has_vanished(people: Cast, server: Server, target: TargetServer) -> None:
    grant, other = active(people.alice), active(people.bob)
    with target.admin() as admin:
        admin.execute(f"DROP OWNED BY {grant.login}; DROP ROLE {grant.login}")  # type: ignore[arg-type]

    services.reconcile(server_id=server.pk)

    assert now_in(grant, GrantStatus.ENDING).end_cause == "vanished"
    assert "removed on the server" in grant.end_reason
    now_in(other, GrantStatus.ACTIVE)
    services.end_due(server_id=server.pk)
    assert now_in(grant, GrantStatus.ENDED).proof["dropped"] is True
    assert told(grant)[-3:] == ["drift.found", "grant.ending", "grant.ended"]
    assert "its login was removed on the server" in dict(told_to("alice"))["ended"]


def test_reconcile_waits_when_the_login_is_back_at_the_second_look(
    people: Cast, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant = active(people.alice)

    class Blinks(OddEngine):
        looks = 0

        def survey(self, target: Target, known: str = "") -> Any:
            found = super().survey(target, known)
            self.looks += 1
            return replace(found, logins=()) if self.looks == 1 else found

    put_in(monkeypatch, Blinks())
    services.reconcile(server_id=server.pk)
    now_in(grant, GrantStatus.ACTIVE)


@pytest.mark.parametrize("claimed", [True, False])
def test_reconcile_leaves_a_claimed_grant_alone_when_its_login_is_gone(
    people: Cast, server: Server, target: TargetServer, claimed: bool
) -> None:
    grant = active(people.alice)
    if claimed:
        Grant.objects.filter(pk=grant.pk).update(claimed_until=clock.now() + timedelta(minutes=1))
    with target.admin() as admin:
        admin.execute(f"DROP OWNED BY {grant.login}; DROP ROLE {grant.login}")  # type: ignore[arg-type]
    services.reconcile(server_id=server.pk)
    now_in(grant, GrantStatus.ACTIVE if claimed else GrantStatus.ENDING)


@pytest.mark.parametrize(
    ("until", "ends"),
    [
        ("'infinity'", True),
        ("'20000-01-01'", True),
        ("now() + interval '1 day'", True),
        ("now() + interval '1 minute'", False),
    ],
)
def test_reconcile_ends_a_grant_when_its_login_works_for_longer(
    people: Cast, server: Server, target: TargetServer, until: str, ends: bool
) -> None:
    grant = active(people.alice)
    with target.admin() as admin:
        (moment,) = admin.execute(f"SELECT ({until})::timestamptz::text").fetchone()  # type: ignore
        admin.execute(f"ALTER ROLE {grant.login} VALID UNTIL '{moment}'")  # type: ignore[arg-type]

    services.reconcile(server_id=server.pk)

    now_in(grant, GrantStatus.ENDING if ends else GrantStatus.ACTIVE)
    assert grant.end_cause == ("drifted" if ends else "")


def test_reconcile_does_not_open_it_again_when_a_login_was_locked_by_hand(
    people: Cast, server: Server, target: TargetServer
) -> None:
    grant = active(people.alice)
    with target.admin() as admin:
        admin.execute(f"ALTER ROLE {grant.login} NOLOGIN")  # type: ignore[arg-type]
        for _ in range(2):
            services.reconcile(server_id=server.pk)
            services.check_drift(server_id=server.pk)
        assert admin.execute("SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", [grant.login]).fetchone() == (
            False,
        )
    assert "NOLOGIN" in now_in(grant, GrantStatus.ACTIVE).drift
    assert told(grant).count("drift.found") == 1


def test_reconcile_collects_scopes_and_views_when_nobody_needs_them(
    people: Cast, server: Server, engine: PostgresEngine
) -> None:
    target = target_for(server)
    orphan, needed = active(people.alice, tables=("stock.products",)), active(people.bob)
    waits = active(people.carol, tables=("stock.levels",))
    forgotten(orphan)
    services.release(actor=people.carol, grant_id=waits.pk)
    services.end_due(server_id=server.pk)
    assert orphan.scope_role in dict(engine.survey(target).scope_roles)

    services.reconcile(server_id=server.pk)

    # What rows tell of goes its own way.
    assert set(dict(engine.survey(target).scope_roles)) == {needed.scope_role, waits.scope_role}
    services.drop_unused_scopes(server_id=server.pk)
    with_row = {needed.scope_role}
    assert set(dict(engine.survey(target).scope_roles)) == with_row
    with connected(needed):
        pass


def test_reconcile_collects_a_scope_when_it_came_back_after_it_was_dropped(
    people: Cast, server: Server, engine: PostgresEngine
) -> None:
    grant = active(people.alice)
    login = come_back(grant)
    Grant.objects.filter(pk=grant.pk).update(scope_gone_at=clock.now())
    services.reconcile(server_id=server.pk)
    found = engine.survey(target_for(server))
    assert (found.logins, found.scope_roles) == ((), ())
    assert login


def test_reconcile_collects_views_when_their_scope_role_is_gone(
    people: Cast, server: Server, engine: PostgresEngine, target: TargetServer
) -> None:
    role = "jitscope_00000000000000000000000000000000"
    mark = f"jitportal portal={settings.PORTAL_ID} scope={role} views for temporary grants on the schema sales"
    with target.admin(people.shop.datname) as admin:
        admin.execute("SET ROLE jitportal_masker")
        admin.execute("CREATE SCHEMA jit_0000000000_sales")
        admin.execute(f"COMMENT ON SCHEMA jit_0000000000_sales IS '{mark}'")  # type: ignore[arg-type]
    assert engine.survey(target_for(server)).view_schemas == ((role, people.shop.datname, "jit_0000000000_sales"),)
    services.reconcile(server_id=server.pk)
    assert engine.survey(target_for(server)).view_schemas == ()


def test_look_asks_for_a_comparison_when_nothing_is_granted_any_more_but_somebody_has_access(
    people: Cast, server: Server
) -> None:
    grant = active(people.alice)
    Server.objects.filter(pk=server.pk).update(is_active=False)
    Rounds().look()
    assert asked_for(Task.RECONCILE) == [(grant.server_id,)]


def test_look_asks_for_a_comparison_each_minute_and_when_wanted(people: Cast, server: Server) -> None:
    ticking = Rounds()
    within = until_next(due.RECONCILE_EVERY)
    with clock.shifted(within):
        for _ in range(2):
            ticking.look()
        assert len(asked_for(Task.RECONCILE)) == 1
        want_reconcile(actor=fresh(people.dana), server_id=server.pk)
        for _ in range(2):
            ticking.look()
        assert len(asked_for(Task.RECONCILE)) == 2
        work_off(Cluster.BULK)
    server.refresh_from_db()
    assert server.reconcile_wanted_at is None
    with clock.shifted(within + due.RECONCILE_EVERY):
        ticking.look()
    assert len(asked_for(Task.RECONCILE)) == 1


def test_compare_now_is_asked_for_on_the_page_of_a_server(people: Cast, server: Server) -> None:
    login = forgotten(active(people.alice))
    page = f"/admin/catalog/server/{server.pk}/"
    client = signed_in(people.dana)
    assert "A worker compares it now" in client.post(f"{page}compare_now/", follow=True).content.decode()
    assert "being compared" in client.get(f"{page}change/").content.decode()
    Rounds().look()
    work_off(Cluster.BULK)
    shown = client.get(f"{page}change/").content.decode()
    assert login in shown
    assert "disabled and dropped" in shown
    assert signed_in(people.alice).post(f"{page}compare_now/").status_code in {302, 403}


def test_reconcile_command_asks_for_the_servers_that_it_is_told(people: Cast, server: Server) -> None:
    other = ServerFactory(name="other")
    call_command("reconcile", "demo")
    server.refresh_from_db()
    other.refresh_from_db()
    assert (server.reconcile_wanted_at is not None, other.reconcile_wanted_at) == (True, None)
    call_command("reconcile")
    other.refresh_from_db()
    assert other.reconcile_wanted_at is not None
    with pytest.raises(CommandError, match="known: demo, other"):
        call_command("reconcile", "nowhere")


def test_reconcile_says_it_in_a_line_when_the_server_does_not_answer(
    people: Cast, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    Server.objects.filter(pk=server.pk).update(maintenance_database="nowhere")
    enqueue(Task.RECONCILE, server.pk)
    work_off(Cluster.BULK)
    assert "could not be done" in caplog.text
    assert "Traceback" not in caplog.text
    assert not ServerState.objects.filter(server=server, reconciled_at__isnull=False).exists()


@pytest.fixture(params=versions(), ids=lambda version: f"pg{version}")
def own_server(
    request: pytest.FixtureRequest, cluster_folder: Path, people: Cast, tmp_path: Path
) -> Iterator[tuple[TargetServer, Server]]:
    """A server of this test's own, with shop-staging on it."""
    from jitportal.embedded_install import installed

    if request.param not in installed():
        pytest.skip(f"PostgreSQL {request.param} is not installed here.")
    cluster = Embedded(cluster_folder / f"restored{request.param}", version=request.param, fast=True)
    cluster.start()
    target = TargetServer(cluster)
    datname = target.create_database("staging")
    with target.admin(datname) as admin:
        admin.execute(TABLES)  # type: ignore[arg-type]
    server = ServerFactory(name="restored", host=target.host, port=target.port)
    Database.objects.filter(pk=people.staging.pk).update(server=server, datname=datname)
    prepare(target, server, tmp_path)
    yield target, server
    cluster.destroy()


def test_reconcile_makes_it_right_when_a_server_was_restored_from_an_earlier_copy(
    people: Cast, own_server: tuple[TargetServer, Server], tmp_path: Path
) -> None:
    target, server = own_server
    folder, copy = target.cluster.folder, target.cluster.folder.with_name(f"copy{target.version}")
    ended, lives = active(people.alice), active(people.bob)
    services.reconcile(server_id=server.pk)
    target.cluster.stop()
    subprocess.run(["cp", "-a", str(folder), str(copy)], check=True)  # with its owner, whose server it is
    target.cluster.start()
    services.release(actor=people.alice, grant_id=ended.pk)
    services.end_due(server_id=server.pk)
    vanishes = active(people.carol, tables=("stock.levels",))
    target.cluster.stop()
    shutil.rmtree(folder)
    copy.rename(folder)
    target.cluster.start()
    Server.objects.filter(pk=server.pk).update(port=target.port)
    assert LeftBehind(target).roles(ended.login) == [ended.login]

    services.reconcile(server_id=server.pk)
    services.end_due(server_id=server.pk)

    left = LeftBehind(target)
    assert left.roles(ended.login) == []
    assert [stray["login"] for stray in strays(server)] == [ended.login]
    assert now_in(vanishes, GrantStatus.ENDED).end_cause == "vanished"
    now_in(lives, GrantStatus.ACTIVE)
    with connected(lives):
        pass
