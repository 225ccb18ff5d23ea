"""Any story that people, clocks, workers, crashes and a server that comes and goes can play together.

Hypothesis tells it, a real PostgreSQL plays the target. After every step the promises are looked up where they count:
on the server, and in the record. JITPORTAL_SOAK=1 tells long stories.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as tell

from apps.accounts import services as accounts
from apps.accounts.models import User
from apps.approvals import services as approvals
from apps.approvals.models import Decision
from apps.audit.verification import verify
from apps.catalog import targets
from apps.catalog.models import Database
from apps.core import clock
from apps.core.errors import PortalError
from apps.grants import services, tasks
from apps.grants.clock import Rounds
from apps.grants.models import Grant
from apps.grants.states import LIVE, OVER, GrantStatus
from apps.policies.services import ensure_default_rules
from apps.requests.services import Ask, submit
from apps.requests.states import RequestStatus
from jitportal.embedded import Cluster
from tests.factories import Cast, ServerFactory, cast, fresh
from tests.faults.server_of_stories import Killed, Moment, World
from tests.grants.conftest import TABLES, prepare
from tests.grants.machinery import work_off
from tests.grants.stage import told
from tests.support.soak import SOAK
from tests.support.targets import TargetServer

pytestmark = pytest.mark.django_db(transaction=True)

_SETTINGS = settings(
    max_examples=50 if SOAK else 12,
    stateful_step_count=60 if SOAK else 25,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
_LOOKED_LONG_ENOUGH = 6  # rounds after which everything has been tried again and again

askers = st.sampled_from(["alice", "bob", "carol"])
everybody = st.sampled_from(["alice", "bob", "carol", "dana", "sam"])
moments = st.sampled_from(list(Moment))
databases = st.sampled_from(["shop-staging", "shop"])
selections = st.sampled_from([{"person": "alice"}, {"database": "shop"}, {"everything": True}])


class Story(RuleBasedStateMachine):
    """One portal, one server, everybody of the cast."""

    asked = Bundle("asked")

    def __init__(self, people: Cast, world: World) -> None:
        super().__init__()
        self.people, self.world, self.up = people, world, True
        self.clients: dict[str, list[psycopg.Connection[Any]]] = defaultdict(list)  # by login
        self.mine: list[str] = []  # requests
        self.since = verify().size

    # What people do --------------------------------------------------------------------------------------------------

    @rule(target=asked, who=askers, database=databases, minutes=st.sampled_from([1, 30]))
    def submit(self, who: str, database: str, minutes: int) -> str:
        tables = ("sales.orders", "sales.customers") if database == "shop" else ("sales.orders",)
        ask = Ask(
            database=database, level="query", tables=tables, connection="direct", minutes=minutes, reason="A story."
        )
        try:
            self.mine.append(submit(actor=self._person(who), ask=ask).pk)
            return self.mine[-1]
        except PortalError:
            return ""  # somebody who has left, or who waits for too much already

    @rule(request=asked, who=everybody)
    def approve(self, request: str, who: str) -> None:
        self._may_be_refused(lambda: approvals.approve(actor=self._person(who), request_id=request))

    @rule(request=consumes(asked), who=everybody)
    def deny(self, request: str, who: str) -> None:
        self._may_be_refused(lambda: approvals.deny(actor=self._person(who), request_id=request, comment="No."))

    @rule(request=asked)
    def approve_by_all(self, request: str) -> None:
        for who in ("bob", "alice", "dana"):
            self.approve(request, who)

    @rule(request=asked)
    @precondition(lambda self: self.up)
    def use(self, request: str) -> None:
        """A client connects as somebody does who kept the credential, and stays."""
        grant = self._grant(request)
        if grant is None or grant.status != GrantStatus.ACTIVE:
            return
        try:
            url = services.credential(actor=fresh(grant.holder), grant_id=grant.pk).url
        except PortalError:
            return
        client = psycopg.connect(url, autocommit=True, connect_timeout=10)
        assert client.execute("SELECT count(*) FROM orders").fetchone() == (1,)
        self.clients[grant.login].append(client)

    @rule(request=asked)
    def release(self, request: str) -> None:
        grant = self._grant(request)
        if grant is not None:
            self._may_be_refused(lambda: services.release(actor=fresh(grant.holder), grant_id=grant.pk))

    @rule(request=asked, who=everybody)
    def revoke(self, request: str, who: str) -> None:
        grant = self._grant(request)
        if grant is not None:
            person = self._person(who)
            self._may_be_refused(lambda: services.revoke(actor=person, grant_id=grant.pk, reason="A story."))

    @rule(target=asked, request=asked, minutes=st.sampled_from([1, 30]))
    def extend(self, request: str, minutes: int) -> str:
        """Its answer is a request like others, to be decided by others."""
        grant = self._grant(request)
        if grant is None:
            return ""
        try:
            made = services.extend(actor=fresh(grant.holder), grant_id=grant.pk, minutes=minutes, reason="A story.")
        except PortalError:
            return ""
        self.mine.append(made.pk)
        return made.pk

    @rule(who=st.sampled_from(["dana", "sam", "alice"]), what=selections)
    def revoke_all(self, who: str, what: dict[str, Any]) -> None:
        person = self._person(who)
        with suppress(PortalError):
            count = services.affected(actor=person, **what).count
            services.revoke_all(actor=person, **what, expected=count, word="REVOKE", reason="A story.")

    @rule()
    def leave(self) -> None:
        """carol leaves, or comes back."""
        carol = self._person("carol")
        change = accounts.deactivate if carol.is_active else accounts.reactivate
        change(actor="operator", user=carol, reason="A story.")  # back in takes two, or the operator

    # What the portal does --------------------------------------------------------------------------------------------

    @rule()
    def work(self) -> None:
        """One look of a clock, and a worker that does what it asks for, unless it is killed at it."""
        Rounds().look()
        with suppress(Killed):
            work_off()

    @rule()
    def sweep(self) -> None:
        """What may take a moment."""
        for task in (tasks.reconcile, tasks.drop_scopes, tasks.check_drift, tasks.look_at_sessions):
            task(self._server())

    # What happens to them --------------------------------------------------------------------------------------------

    @rule(moment=moments)
    def kill(self, moment: Moment) -> None:
        """The next worker that talks to the server dies at it."""
        self.world.dies = moment

    @rule(seconds=st.sampled_from([20, 40, 70, 1900]))
    def pass_time(self, seconds: int) -> None:
        self.world.pass_time(timedelta(seconds=seconds))

    @rule()
    @precondition(lambda self: self.up)
    def go_down(self) -> None:
        self.up = False
        self.world.stop()

    @rule()
    @precondition(lambda self: not self.up)
    def come_up(self) -> None:
        self.world.start()
        self.up = True

    # What holds whatever happens -------------------------------------------------------------------------------------

    @invariant()
    def no_login_without_a_live_grant(self) -> None:
        if not self.up:
            return
        now, grants = clock.now(), self._by_login()
        for login, (can_login, until, _) in self.world.logins().items():
            assert login in grants, f"{login} belongs to nobody"
            grant = grants[login]
            assert grant.request.status == RequestStatus.APPROVED
            assert grant.status in LIVE, f"{login} is there, and its grant is {grant.status}"
            assert "grant.issuing" in told(grant), f"{login} was made before anybody said so"
            if can_login and until is not None and until > now and grant.expires_at is not None:
                asked = [extension.valid_until for extension in grant.extensions.exclude(valid_until=None)]
                assert until <= max([grant.expires_at, *asked]) + timedelta(seconds=1)
        assert self.world.strangers() == []

    @invariant()
    def nothing_lives_after_the_end(self) -> None:
        there = self.world.logins() if self.up else {}
        for login, grant in self._by_login().items():
            if grant.status in OVER:
                assert login not in there
                assert grant.password is None
                assert grant.proof is not None
                assert all(_is_dead(client) for client in self.clients[login])

    @invariant()
    def nobody_approves_their_own(self) -> None:
        for decision in Decision.objects.filter(request__in=self.mine, kind="approve").select_related("request"):
            assert decision.decider_id != decision.request.requester_id

    @invariant()
    def intent_comes_first(self) -> None:
        for grant in self._by_login().values():
            story = [word for word in told(grant) if word in _ORDER]
            assert story == sorted(story, key=_ORDER.index), story
            assert len(story) == len(set(story)), story

    @invariant()
    def the_record_is_whole(self) -> None:
        checked = verify(from_index=max(0, self.since - 1))
        assert checked.ok, checked.problems
        self.since = checked.size

    def teardown(self) -> None:
        """The faults are over and everybody's time as well: then nothing is left, anywhere."""
        try:
            if not self.up:
                self.come_up()
            self.world.dies = None
            for _ in range(_LOOKED_LONG_ENOUGH):
                self.pass_time(2000)
                self.work()
                self.sweep()
            self.no_login_without_a_live_grant()
            self.nothing_lives_after_the_end()
            assert not Grant.objects.filter(request__in=self.mine, status__in=LIVE).exists()
            assert self.world.logins() == {}
            assert self.world.scopes() == []
        finally:
            for opened in self.clients.values():
                for client in opened:
                    client.close()
            self.world.end()
            if not self.up:
                self.world.start()

    # -----------------------------------------------------------------------------------------------------------------

    def _person(self, name: str) -> User:
        return fresh(getattr(self.people, name))

    def _server(self) -> str:
        return self.people.shop.server_id

    def _grant(self, request_id: str) -> Grant | None:
        return Grant.objects.select_related("holder").filter(request=request_id).first()

    def _by_login(self) -> dict[str, Grant]:
        grants = Grant.objects.filter(request__in=self.mine).select_related("request")
        return {grant.login: grant for grant in grants}

    def _may_be_refused(self, act: Any) -> None:
        with suppress(PortalError):
            act()


_ORDER = ("grant.queued", "grant.issuing", "grant.issued", "grant.ending", "grant.ended")


def _is_dead(client: psycopg.Connection[Any]) -> bool:
    try:
        client.execute("SELECT 1")
    except (psycopg.OperationalError, psycopg.InterfaceError):
        return True
    return False


def on_stage(server: TargetServer, folder: Path) -> Cast:
    """The cast and its databases on this server."""
    ensure_default_rules(actor="operator")
    people = cast(ServerFactory(name="demo", host=server.host, port=server.port))
    for database in (people.shop, people.staging):
        name = server.create_database()
        with server.admin(name) as admin:
            admin.execute(TABLES)
        Database.objects.filter(pk=database.pk).update(datname=name)
    prepare(server, people.shop.server, folder)
    return people


@pytest.fixture
def world(cluster_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A server of its own, because it is stopped."""
    cluster = Cluster(cluster_folder / "story", fast=True)
    cluster.start()
    world = World(server=TargetServer(cluster))
    monkeypatch.setitem(targets._ENGINES, "postgresql", world)
    yield world
    cluster.destroy()


def test_promises_hold_when_anything_happens_in_any_order(transactional_db: None, world: World, tmp_path: Path) -> None:
    people = on_stage(world.server, tmp_path)
    tell(lambda: Story(people, world), settings=_SETTINGS)
