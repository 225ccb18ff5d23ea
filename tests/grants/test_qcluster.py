"""A killed worker must not leave the others waiting for ever, with nothing ended on time any more."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta

import psutil
import pytest
from django.conf import settings

from apps.core import clock
from apps.grants import leases
from apps.grants.models import Heartbeat, ServerLease
from apps.grants.tasks import Cluster, Task, enqueue
from jitportal.portal_database import WORKER
from tests.factories import ServerFactory
from tests.grants.machinery import wait_until
from tests.support.portal import PortalDatabase

A_MINUTE = timedelta(minutes=1)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def workers(transactional_db: None, portal_database: PortalDatabase) -> Iterator[psutil.Popen]:
    """The command as a process of its own."""
    environment = {
        **{name: value for name, value in os.environ.items() if name.startswith("JITPORTAL_")},
        "DJANGO_SETTINGS_MODULE": "jitportal.settings",
        "JITPORTAL_PROCESS": "worker",
        "DATABASE_URL": portal_database.urls[WORKER],
        "Q_CLUSTER_NAME": Cluster.ACCESS.value,
    }
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "qcluster"]
    process = psutil.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        enqueue(Task.BEAT, "access", cluster=Cluster.ACCESS)
        wait_until(lambda: Heartbeat.objects.filter(name="worker:access").exists())
        yield process
    finally:
        left = [process, *_family(process)]
        for one in left:
            _quietly(one.kill)
        process.communicate()


def _family(process: psutil.Popen) -> list[psutil.Process]:
    return process.children(recursive=True) if process.is_running() else []


def _quietly(act: Callable[[], None]) -> None:
    try:
        act()
    except psutil.NoSuchProcess:
        return


def test_qcluster_ends_cleanly_when_it_is_told_to(workers: psutil.Popen) -> None:
    family = _family(workers)
    workers.terminate()
    _, said = workers.communicate(timeout=60)
    assert (workers.returncode, "Traceback" in said) == (0, False)
    assert psutil.wait_procs(family, timeout=10)[1] == []


@pytest.mark.parametrize("number", range(4), ids=["worker", "another worker", "monitor", "pusher"])
def test_qcluster_ends_as_a_whole_when_a_process_is_killed(workers: psutil.Popen, number: int) -> None:
    family = _family(workers)
    (sentinel,) = workers.children()
    killed = sentinel.children()[number]
    lease = ServerLease.objects.create(server=ServerFactory(), holder=_token(killed.pid), until=clock.now() + A_MINUTE)
    killed.kill()

    _, said = workers.communicate(timeout=60)

    assert workers.returncode == 1
    assert "Start this command again" in said
    assert psutil.wait_procs(family, timeout=10)[1] == []
    lease.refresh_from_db()
    assert lease.until is None


def _token(pid: int) -> str:
    """As the process `pid` would name its work."""
    return leases.new_token().replace(f":{os.getpid()}:", f":{pid}:")
