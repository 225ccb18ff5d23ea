"""A table is paused while its owner migrates it."""

import pytest

from apps.catalog import services
from apps.catalog.models import Table
from apps.core.errors import Conflict, Invalid, NotAllowed, NotFound
from tests.catalog.said import last_entry
from tests.factories import Cast, cast

pytestmark = pytest.mark.django_db


@pytest.fixture
def people() -> Cast:
    return cast()


@pytest.fixture
def orders(people: Cast) -> Table:
    return Table.objects.get(database=people.shop, name="orders")


def test_pause_table_when_it_is_resumed_later(people: Cast, orders: Table) -> None:
    services.pause_table(actor=people.dana, table_id=orders.pk, reason=" New column types ")
    orders.refresh_from_db()
    assert orders.paused_at is not None
    assert (orders.paused_by, orders.pause_reason) == (people.dana, "New column types")
    entry = last_entry()
    assert (entry.action, entry.subject, entry.facts) == ("table.paused", people.shop.audit_id, {"table": orders.pk})
    assert entry.texts == {"table": "sales.orders", "reason": "New column types"}
    with pytest.raises(Conflict, match="paused already"):
        services.pause_table(actor=people.dana, table_id=orders.pk, reason="Again")
    services.resume_table(actor=people.dana, table_id=orders.pk)
    orders.refresh_from_db()
    assert (orders.paused_at, orders.paused_by, orders.pause_reason) == (None, None, "")
    assert last_entry().action == "table.resumed"
    with pytest.raises(Conflict, match="not paused"):
        services.resume_table(actor=people.dana, table_id=orders.pk)


def test_pause_table_when_an_operator_does(orders: Table) -> None:
    assert services.pause_table(actor="operator", table_id=orders.pk, reason="Migration").paused_by is None


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501, "a\0b"])
def test_pause_table_when_there_is_no_reason(people: Cast, orders: Table, reason: str) -> None:
    with pytest.raises(Invalid) as refusal:
        services.pause_table(actor=people.dana, table_id=orders.pk, reason=reason)
    assert refusal.value.field == "reason"


def test_pause_table_when_refused(people: Cast, orders: Table) -> None:
    with pytest.raises(NotFound):
        services.pause_table(actor=people.dana, table_id=10**9, reason="Migration")
    for actor in (people.alice, people.sam):
        with pytest.raises(NotAllowed):
            services.pause_table(actor=actor, table_id=orders.pk, reason="Migration")
        with pytest.raises(NotAllowed):
            services.resume_table(actor=actor, table_id=orders.pk)
