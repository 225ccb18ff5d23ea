"""The portal's own database goes away and comes back while clock and worker are at work."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from django.conf import settings
from django.db import Error, close_old_connections, connections
from django_q.brokers import get_broker

from apps.core import clock
from apps.core.nudge import nudge
from apps.grants.clock import Clock
from apps.grants.models import Grant
from apps.grants.states import GrantStatus
from apps.grants.tasks import Cluster as Queue
from jitportal.embedded import Cluster
from tests.factories import Cast, UserFactory
from tests.faults.conftest import _cast
from tests.faults.world import World
from tests.grants.machinery import nothing_remembered, wait_until, work
from tests.grants.stage import after, approved
from tests.support import portal as support
from tests.support.portal import PortalDatabase
from tests.support.soak import SOAK
from tests.support.targets import TargetServer

pytestmark = pytest.mark.django_db(transaction=True)

RESTARTS = 10 if SOAK else 2


@pytest.fixture
def own_portal(
    transactional_db: None, portal_database: PortalDatabase, cluster_folder: Path
) -> Iterator[PortalDatabase]:
    """A portal database that may be stopped, in the place of the one that all tests share."""
    cluster = Cluster(cluster_folder / "restarted", fast=True)
    cluster.start()
    made = support.make(cluster)
    connections.close_all()
    support.point_django_at(made)
    try:
        migrate(made)
        yield made
    finally:
        connections.close_all()
        support.point_django_at(portal_database)
        cluster.destroy()


def migrate(portal: PortalDatabase) -> None:
    environment = {name: value for name, value in os.environ.items() if name.startswith(("JITPORTAL_", "DJANGO_"))}
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "migrate", "--database", "owner", "-v", "0"]
    environment |= {name: portal.environment[name] for name in ("DATABASE_URL", "DATABASE_OWNER_URL")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def unmarked(target: TargetServer) -> Iterator[None]:
    """The target bears the mark of another record: of the portal that all other tests share."""
    with nothing_remembered(target):
        yield


@pytest.fixture
def people_there(
    unmarked: None,
    own_portal: PortalDatabase,
    target: TargetServer,
    databases: dict[str, str],
    tmp_path: Path,
) -> Cast:
    return _cast(target, target.port, databases, tmp_path)


def test_every_grant_lives_and_ends_when_the_portals_database_is_restarted(
    people_there: Cast, own_portal: PortalDatabase, world: World
) -> None:
    asking = [UserFactory(username=f"dev{n}", groups=[people_there.shop_team]) for n in range(6)]
    for person in asking:
        approved(person, minutes=1)
    with at_work():
        for _ in range(RESTARTS):
            restart(own_portal)
        wait_until(lambda: Grant.objects.filter(status=GrantStatus.ACTIVE).count() == len(asking), seconds=120)
        with clock.shifted(after(Grant.objects.all()[0])):
            nudge()
            restart(own_portal)
            wait_until(lambda: Grant.objects.filter(status=GrantStatus.ENDED).count() == len(asking), seconds=120)
    world.is_at_peace()


def restart(portal: PortalDatabase) -> None:
    """`pg_ctl stop -m fast`, and a start."""
    portal.cluster.stop()
    portal.cluster.start()
    connections.close_all()


@contextmanager
def at_work() -> Iterator[None]:
    """A clock and a worker. The worker is started again when it dies, as a supervisor does with the process."""
    stopped, ticking = threading.Event(), Clock()
    threads = [threading.Thread(target=act, daemon=True) for act in (ticking.run, lambda: _work_on_and_on(stopped))]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopped.set()
        ticking.stop()
        for thread in threads:
            thread.join(timeout=60)
    assert not [thread for thread in threads if thread.is_alive()]


def _work_on_and_on(stopped: threading.Event) -> None:
    broker = get_broker(Queue.ACCESS.value)
    while not stopped.is_set():
        try:
            work(broker)
        except Error:
            with suppress(Error):
                close_old_connections()
            connections.close_all()
            time.sleep(0.1)
    broker.close()
    connections.close_all()
