"""A worker dies between any two statements of its work; the next one puts the world right."""

import os
import signal
import subprocess
import sys

import pytest
from django.conf import settings

from apps.core import clock
from apps.grants import services
from apps.grants.models import Grant
from apps.grants.states import GrantStatus
from jitportal.portal_database import WORKER
from tests.factories import Cast
from tests.faults.fuse import fuse
from tests.faults.world import SCOPES, World, leases_run_out, some
from tests.grants.stage import active, after, connected, now_in, queued
from tests.support.portal import PortalDatabase

pytestmark = pytest.mark.django_db(transaction=True)

FEW = 7  # of the statements, in the short profile


def issue(server_id: str, at: int = 0) -> int:
    """One round of a worker that dies before its `at`-th statement, if it gets so far; how many it made."""
    with fuse(at) as made:
        services.issue_queued(server_id=server_id)
    return made.count


def end(server_id: str, at: int = 0) -> int:
    with fuse(at) as made:
        services.end_due(server_id=server_id)
    return made.count


def the_next_worker_issues(grant: Grant) -> None:
    if grant.status != GrantStatus.ACTIVE:
        leases_run_out()
        services.issue_queued(server_id=grant.server_id)
    now_in(grant, GrantStatus.ACTIVE)


def test_issue_is_taken_up_when_its_worker_was_killed_at_any_statement(people: Cast, world: World) -> None:
    grant = queued(people.alice, tables=SCOPES[0])
    total = issue(grant.server_id)
    now_in(grant, GrantStatus.ACTIVE)
    for number, at in enumerate(some(total, FEW), start=1):
        grant = queued(people.alice, tables=SCOPES[number % len(SCOPES)])
        issue(grant.server_id, at)
        world.holds()
        the_next_worker_issues(grant)
        connected(grant).close()
        world.holds()
    with clock.shifted(after(grant)):
        services.end_due(server_id=grant.server_id)
    world.is_at_peace()


def test_end_is_taken_up_when_its_worker_was_killed_at_any_statement(people: Cast, world: World) -> None:
    grant = active(people.alice, tables=SCOPES[0])
    with clock.shifted(after(grant)):
        total = end(grant.server_id)
    now_in(grant, GrantStatus.ENDED)
    for at in some(total, FEW):
        grant = active(people.alice, tables=SCOPES[0])
        with connected(grant), clock.shifted(after(grant)):
            end(grant.server_id, at)
            world.holds()
            leases_run_out()
            services.end_due(server_id=grant.server_id)
            now_in(grant, GrantStatus.ENDED)
    world.is_at_peace()


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_killed_process_leaves_nothing_when_another_goes_on(
    people: Cast, world: World, portal_database: PortalDatabase, share: float
) -> None:
    """The same with a process of its own and a real `kill -9`."""
    first = queued(people.alice, tables=SCOPES[0])
    of_issue = issue(first.server_id)
    now_in(first, GrantStatus.ACTIVE)
    with clock.shifted(after(first)):
        of_end = end(first.server_id)

    grant = queued(people.alice, tables=SCOPES[1])
    mortal(portal_database, "issue", grant, int(of_issue * share))
    world.holds()
    the_next_worker_issues(grant)

    with connected(grant):
        services.release(actor=grant.holder, grant_id=grant.pk)
        mortal(portal_database, "end", grant, int(of_end * share))
        leases_run_out()
        services.end_due(server_id=grant.server_id)
    world.is_at_peace()


def mortal(portal: PortalDatabase, act: str, grant: Grant, at: int) -> None:
    environment = {
        **{name: value for name, value in os.environ.items() if name.startswith("JITPORTAL_")},
        "DJANGO_SETTINGS_MODULE": "jitportal.settings",
        "JITPORTAL_PROCESS": "worker",
        "DATABASE_URL": portal.urls[WORKER],
    }
    command = [sys.executable, "-m", "tests.faults.mortal", act, grant.server_id, str(at)]
    done = subprocess.run(
        command, env=environment, cwd=settings.BASE_DIR, capture_output=True, text=True, check=False, timeout=120
    )
    grant.refresh_from_db()
    assert done.returncode == -signal.SIGKILL, f"{grant.status}: {grant.problem} {done.stderr}"
