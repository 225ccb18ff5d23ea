"""The cast on a real target, as for grants; and once more behind a proxy that can lose what goes through it."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jitportal.embedded import Cluster
from tests.grants.conftest import TABLES, databases, left_behind, people, prepare
from tests.support.proxy import Proxy, before
from tests.support.targets import TargetServer

if TYPE_CHECKING:
    from tests.factories import Cast
    from tests.faults.world import World

__all__ = ["databases", "left_behind", "people"]


@pytest.fixture
def world(target: TargetServer) -> "World":
    from tests.faults.world import World

    return World(target)


@pytest.fixture
def proxy(target: TargetServer) -> Iterator[Proxy]:
    with before(target.host, target.port) as proxy:
        yield proxy


@pytest.fixture
def people_behind(
    transactional_db: None, target: TargetServer, proxy: Proxy, databases: dict[str, str], tmp_path: Path
) -> "Cast":
    """As `people`, with the proxy between portal and target."""
    return _cast(target, proxy.port, databases, tmp_path)


@pytest.fixture(scope="session")
def two_phase_target(cluster_folder: Path) -> Iterator[TargetServer]:
    """A server that allows prepared transactions."""
    cluster = Cluster(cluster_folder / "twophase", fast=True, settings={"max_prepared_transactions": "5"})
    cluster.start()
    yield TargetServer(cluster)
    cluster.destroy()


@pytest.fixture
def people_two_phase(transactional_db: None, two_phase_target: TargetServer, tmp_path: Path) -> "Cast":
    made = {slug: two_phase_target.create_database() for slug in ("shop", "shop-staging")}
    for name in made.values():
        with two_phase_target.admin(name) as admin:
            admin.execute(TABLES)
    return _cast(two_phase_target, two_phase_target.port, made, tmp_path)


def _cast(target: TargetServer, port: int, databases: dict[str, str], folder: Path) -> "Cast":
    from apps.catalog.models import Database
    from apps.policies.services import ensure_default_rules
    from tests.factories import ServerFactory, cast

    made = cast(ServerFactory(name="demo", host=target.host, port=port))
    for database in (made.shop, made.staging):
        database.datname = databases[database.slug]
        Database.objects.filter(pk=database.pk).update(datname=database.datname)
    prepare(target, made.shop.server, folder)
    ensure_default_rules(actor="operator")
    return made
