"""One embedded portal database for each test process, and target servers where a test asks for them.

Servers start when the first test wants one. Settings are read before that, so they get an address that nobody
answers, and the true one when it is known.
"""

import gc
import os
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import django
import hypothesis
import pytest
from django.core.management import call_command
from django.db import connections
from django.test import TransactionTestCase
from xdist.remote import Producer

from apps.core.sealed import new_keypair, new_ring_key
from jitportal.embedded import Cluster
from jitportal.embedded_install import installed
from jitportal.portal_database import OWNER, WEB, WORKER, urls
from tests.support import portal as support
from tests.support.demo import RunningDemo, running_demo
from tests.support.distribution import InOrder, rank
from tests.support.folders import short_lived
from tests.support.identity import IdentityProvider, started
from tests.support.portal import PortalDatabase
from tests.support.targets import TargetServer, versions


def _environment() -> dict[str, str]:
    private, public = new_keypair()
    nowhere = urls(dict.fromkeys((OWNER, WEB, WORKER), "none"), host="127.0.0.1", port=1, database=support.DATABASE)
    return {
        "DJANGO_SETTINGS_MODULE": "jitportal.settings",
        "DATABASE_URL": nowhere[WORKER],
        "DATABASE_OWNER_URL": nowhere[OWNER],
        "JITPORTAL_TESTING": "1",
        "JITPORTAL_SECRET_KEY": "tests-only-" + "x" * 50,
        "JITPORTAL_GRANT_PASSWORD_RING": new_ring_key(),
        "JITPORTAL_MANAGER_PUBLIC_KEY": public,
        "JITPORTAL_MANAGER_PRIVATE_KEY": private,
        "JITPORTAL_PORTAL_ID": "testportal",
        "JITPORTAL_LOOPBACK_TARGETS": "1",
        "JITPORTAL_SSO_ISSUER": "http://127.0.0.1:1",
        "JITPORTAL_SSO_CLIENT_ID": "jitportal",
        "JITPORTAL_SSO_CLIENT_SECRET": "tests-only",
        "EMAIL_URL": "memory://",
    }


# A process of xdist has inherited it, and the settings were read from that before this file.
if "PYTEST_XDIST_WORKER" not in os.environ:
    for _name in [name for name in os.environ if name.startswith(("JITPORTAL_", "DATABASE_", "EMAIL_URL"))]:
        if not _name.startswith(("JITPORTAL_REQUIRE_", "JITPORTAL_SOAK")):
            del os.environ[_name]
    os.environ |= _environment()


def pytest_configure() -> None:
    django.setup()
    # A busy machine is no failure, and the same code is told the same every time: `make soak` looks for what is new.
    slow, is_known = [hypothesis.HealthCheck.too_slow], "JITPORTAL_SOAK" not in os.environ
    hypothesis.settings.register_profile(
        "portal", deadline=None, suppress_health_check=slow, database=None, derandomize=is_known
    )
    hypothesis.settings.load_profile("portal")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With JITPORTAL_REQUIRE_BROWSER a skipped browser test has failed: on CI nobody reads what was skipped."""
    report = yield
    if report.skipped and item.get_closest_marker("browser") and os.environ.get("JITPORTAL_REQUIRE_BROWSER"):
        report.outcome = "failed"
        report.longrepr = f"Skipped, but JITPORTAL_REQUIRE_BROWSER is set: {report.longreprtext}"
    return report


def pytest_report_header() -> list[str]:
    found = installed()
    missing = [str(version) for version in versions() if version not in found]
    lines = [f"PostgreSQL: {', '.join(f'{version} ({path})' for version, path in found.items())}"]
    return [*lines, f"PostgreSQL not found, its tests are skipped: {', '.join(missing)}"] if missing else lines


@pytest.fixture(scope="session")
def cluster_folder() -> Iterator[Path]:
    """A short-lived folder for servers, which their own user may enter."""
    with short_lived("jt-") as folder:
        yield folder


@pytest.fixture(scope="session")
def portal_database(cluster_folder: Path) -> Iterator[PortalDatabase]:
    """The portal's server and database, roles made, nothing migrated."""
    cluster = Cluster(cluster_folder / "portal", fast=True)
    cluster.start()
    try:
        portal = support.make(cluster)
        os.environ |= portal.environment
        yield portal
    finally:
        cluster.destroy()


@pytest.fixture(scope="session")
def django_db_setup(portal_database: PortalDatabase, django_db_blocker: pytest.FixtureRequest) -> Iterator[None]:
    """Two aliases, one database (field notes S13): the owner migrates, the tests run as the worker."""
    support.point_django_at(portal_database)
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        call_command("migrate", database="owner", verbosity=0)
        emptier = support.Emptier(portal_database)
        connections.close_all()
    before = TransactionTestCase._fixture_teardown
    TransactionTestCase._fixture_teardown = lambda self: emptier.empty()
    yield
    TransactionTestCase._fixture_teardown = before
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        connections.close_all()


@pytest.fixture(scope="session")
def start_target(cluster_folder: Path) -> Iterator[Callable[[int], TargetServer]]:
    """Version -> its running server, started once; skips where the version is not installed."""
    started: dict[int, TargetServer] = {}

    def start(version: int) -> TargetServer:
        if version not in installed():
            pytest.skip(f"PostgreSQL {version} is not installed here.")
        if version not in started:
            cluster = Cluster(cluster_folder / f"target{version}", version=version, fast=True)
            cluster.start()
            started[version] = TargetServer(cluster)
        return started[version]

    yield start
    for target in started.values():
        target.cluster.destroy()


@pytest.fixture(scope="session", params=versions(), ids=lambda version: f"pg{version}")
def target_server(request: pytest.FixtureRequest, start_target: Callable[[int], TargetServer]) -> TargetServer:
    """Each version of PostgreSQL in turn: for what the engine does."""
    return start_target(request.param)


@pytest.fixture(scope="session")
def target(start_target: Callable[[int], TargetServer]) -> TargetServer:
    """PostgreSQL 18 alone: for what the portal does, whatever the version of its target."""
    return start_target(18)


@pytest.fixture(scope="session")
def identity_provider() -> Iterator[IdentityProvider]:
    """The demo's identity provider in a process of its own; django_settings point at it with `use()`."""
    with started() as provider:
        yield provider


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: rank(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> InOrder:
    return InOrder(config, log)


def pytest_collection_finish() -> None:
    """What has been collected stays to the end: nobody need look through it for garbage again and again."""
    gc.freeze()


@pytest.fixture(autouse=True)
def sessions_kept() -> Iterator[None]:
    """None waits for the next test, whose server may have another login of that name."""
    yield
    if (kept := sys.modules.get("apps.console.kept")) is not None:
        kept.close_all()


class _Whatever:
    """What a second person agrees to without looking."""

    def __ne__(self, other: object) -> bool:
        return False

    __eq__ = object.__eq__
    __hash__ = object.__hash__


@pytest.fixture
def seconded() -> Iterator[None]:
    """For tests of what an edit does: a second person agrees at once. accounts/test_dual_control.py is about them."""
    from apps.accounts import dual_control
    from apps.accounts.models import ProposedEdit

    with dual_control.agreeing(ProposedEdit(difference=_Whatever())):
        yield


@pytest.fixture(scope="session")
def demo() -> Iterator[RunningDemo]:
    """The whole portal as `make demo` runs it; started once in a process: see distribution.py."""
    with running_demo() as demo:
        yield demo
