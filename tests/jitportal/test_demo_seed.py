"""What the demo's portal knows from the start, and that telling it twice changes nothing."""

from collections.abc import Iterator

import pytest

from apps.accounts.models import User
from apps.accounts.roles import is_auditor, is_dba, is_security, teams_of
from apps.audit.models import Seal
from apps.catalog.models import MASKED_LEVELS, Column, Database, Server, Table
from jitportal.demo import shop
from jitportal.demo.classification import CLASSIFIED
from jitportal.demo.seed import seed
from tests.support.shop import hardened
from tests.support.targets import TargetServer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def seeded(target: TargetServer) -> Iterator[list[str]]:
    for name in ("shop", "shop-staging"):
        shop.load(target.cluster, shop.ShopDatabase(name, 100))
    said: list[str] = []
    with hardened(target):
        seed(target.cluster, said.append)
        yield said
    for name in ("shop", "shop-staging"):
        target.drop_database(name)


def test_seed_when_done_everything_is_ready(seeded: list[str]) -> None:
    assert seeded[:2] == ["shop: 17 tables", "shop-staging: 17 tables"]
    assert_everybody_can_do_their_part()
    assert Table.objects.count() == 34
    assert not Column.objects.filter(classification="").exists()
    assert Column.objects.filter(classification__in=MASKED_LEVELS).count() == 2 * len(CLASSIFIED)
    server = Server.objects.get()
    assert server.checked_at is not None
    assert [finding for finding in server.findings if finding["severity"] == "error"] == []


def assert_everybody_can_do_their_part() -> None:
    people = {user.username: user for user in User.objects.all()}
    assert sorted(people) == ["alice", "audrey", "bob", "carol", "dana", "sam"]
    assert set(teams_of(people["alice"])) == set(teams_of(people["bob"])) != set(teams_of(people["carol"]))
    assert [name for name in people if is_dba(people[name])] == ["dana"]
    assert [name for name in people if is_security(people[name])] == ["sam"]
    assert [name for name in people if is_auditor(people[name])] == ["audrey"]
    for name in ("alice", "bob", "carol"):
        askable = Database.objects.askable_by(people[name]).values_list("slug", "environment")
        assert set(askable) == {("shop", "production"), ("shop-staging", "staging")}
    assert Database.objects.owned_by(people["dana"]).count() == 2
    assert [name for name in people if Database.objects.glass_breakable_by(people[name]).count() == 2] == ["bob"]
    assert [name for name in people if Database.objects.data_owned_by(people[name]).count() == 2] == ["sam"]


def test_seed_when_done_again_records_nothing_new(seeded: list[str], target: TargetServer) -> None:
    before = list(Seal.objects.values_list("index", "action"))
    seed(target.cluster, lambda line: None)
    assert list(Seal.objects.values_list("index", "action")) == before


def test_seed_when_a_person_has_classified_otherwise_keeps_it(seeded: list[str], target: TargetServer) -> None:
    Column.objects.filter(table__schema="logistics", name="city").update(classification="restricted")
    seed(target.cluster, lambda line: None)
    kept = Column.objects.filter(table__schema="logistics", name="city").values_list("classification", flat=True)
    assert set(kept) == {"restricted"}
