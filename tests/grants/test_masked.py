"""Masked access from the request to the end, on a real target: what its holder sees, and what ends it."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from apps.approvals.services import approve
from apps.audit import services as audit
from apps.catalog.classification import classify_many
from apps.catalog.models import Column, Table
from apps.catalog.pausing import pause_table
from apps.catalog.services import run_sync
from apps.grants import services
from apps.grants.clock import Rounds
from apps.grants.models import Grant
from apps.grants.states import GrantStatus
from apps.grants.tasks import Cluster
from tests.factories import Cast, fresh
from tests.grants.conftest import LeftBehind
from tests.grants.machinery import work_off
from tests.grants.stage import approved_by_people, connected, now_in, told
from tests.support.targets import TargetServer

pytestmark = pytest.mark.django_db(transaction=True)

EMAIL = "rosa.meier@example.org"


@pytest.fixture
def customers(people: Cast, target: TargetServer) -> Iterator[None]:
    """One customer in shop; the catalog knows the tables as they are there."""
    with target.admin(people.shop.datname) as admin:
        admin.execute("INSERT INTO sales.customers VALUES (1, %s, 'EU')", [EMAIL])
        run_sync(database_id=people.shop.pk)
        yield
        admin.execute("TRUNCATE sales.customers")


def live(people: Cast, **parts: Any) -> Grant:
    request = approved_by_people(people, **{"tables": ("sales.customers", "sales.orders"), **parts})
    if request.status == "pending":  # the data owner's step
        request = approve(actor=fresh(people.sam), request_id=request.pk)
    services.open_approved()
    grant = Grant.objects.get(request=request)
    services.issue(grant_id=grant.pk)
    return now_in(grant, GrantStatus.ACTIVE)


def everything() -> None:
    """What clock and workers were asked for."""
    for cluster in Cluster:
        work_off(cluster)


def classify(people: Cast, column: str) -> None:
    found = Column.objects.get(table__database=people.shop, table__name="customers", name=column)
    classify_many(actor=fresh(people.dana), column_ids=[found.pk], classification="confidential")


def test_login_sees_masks_when_a_table_holds_masked_columns(people: Cast, customers: None) -> None:
    grant = live(people)

    with connected(grant) as client:
        assert client.execute("SELECT email, region FROM customers").fetchall() == [("r***@example.org", "EU")]
        assert client.execute("SELECT id FROM customers WHERE email = %s", [EMAIL]).fetchall() == []
        assert client.execute("SELECT id FROM orders").fetchall() == [(4711,)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            client.execute("SELECT email FROM sales.customers")
    assert grant.evidence is not None
    views = {view["table"]: view for view in grant.evidence["views"]}
    assert {column["name"]: column["mask"] for column in views["sales.customers"]["columns"]} == {
        "id": None,
        "email": "email",
        "region": None,
    }
    (issued,) = audit.entries(where=audit.Filter(subjects=(grant.audit_id,), action="grant.issued"))
    told_views = {view["table"]: view for view in issued.facts["views"]}  # type: ignore[union-attr,index,call-overload]
    assert told_views["sales.customers"]["masked"] == {"email": "email"}


def test_login_sees_a_value_when_its_column_was_approved_unmasked(people: Cast, customers: None) -> None:
    grant = live(people, unmask=("sales.customers.email",))
    with connected(grant) as client:
        assert client.execute("SELECT email FROM customers").fetchall() == [(EMAIL,)]


def test_rounds_end_the_session_when_a_column_is_classified_under_it(people: Cast, customers: None) -> None:
    grant = live(people)
    ticking = Rounds()
    with connected(grant) as client:
        ticking.look()
        classify(people, "region")
        ticking.look()
        work_off()
        with pytest.raises(psycopg.OperationalError):
            client.execute("SELECT region FROM customers")

    assert now_in(grant, GrantStatus.ENDED).end_cause == "masked"
    assert "sales.customers.region is masked" in grant.end_reason


def test_check_drift_finds_nothing_when_nothing_has_changed(people: Cast, customers: None) -> None:
    grants = [live(people), live(people, tables=("stock.products",))]
    services.check_drift(server_id=grants[0].server_id)
    for grant in grants:
        assert now_in(grant, GrantStatus.ACTIVE).drift == ""
        assert grant.drift_checked_at is not None


def test_check_drift_ends_the_access_when_a_masked_column_is_opened_to_everybody(
    people: Cast, customers: None, target: TargetServer
) -> None:
    grant = live(people)
    with target.admin(people.shop.datname) as admin:
        admin.execute("GRANT USAGE ON SCHEMA hr TO PUBLIC; GRANT SELECT ON hr.employees TO PUBLIC")
        try:
            services.check_drift(server_id=grant.server_id)
        finally:
            admin.execute("REVOKE USAGE ON SCHEMA hr FROM PUBLIC; REVOKE SELECT ON hr.employees FROM PUBLIC")

    assert now_in(grant, GrantStatus.ENDING).end_cause == "drifted"
    assert "hr.employees" in grant.end_reason
    services.end_due(server_id=grant.server_id)
    assert told(now_in(grant, GrantStatus.ENDED))[-3:] == ["drift.found", "grant.ending", "grant.ended"]


def test_rounds_free_the_table_for_its_owner_when_it_is_paused(
    people: Cast, customers: None, target: TargetServer, left_behind: LeftBehind
) -> None:
    """On a table that no other test has left views of."""
    grant = live(people, tables=("hr.employees",))
    ticking = Rounds()
    ticking.look()
    everything()
    with target.admin(people.shop.datname) as owner:
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            owner.execute("ALTER TABLE hr.employees ALTER COLUMN id TYPE bigint")
        employees = Table.objects.get(database=people.shop, name="employees")

        pause_table(actor=fresh(people.dana), table_id=employees.pk, reason="ids become bigint")
        for _ in range(2):  # the session goes, and then the views
            ticking.look()
            everything()

        owner.execute("ALTER TABLE hr.employees ALTER COLUMN id TYPE bigint")
        owner.execute("ALTER TABLE hr.employees ALTER COLUMN id TYPE int")
    assert now_in(grant, GrantStatus.ENDED).end_cause == "paused"
    assert left_behind.roles(grant.scope_role) == []
