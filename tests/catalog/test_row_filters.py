"""Standing filters: which rows every grant shows."""

import pytest
from django.utils import timezone

from apps.catalog import services
from apps.catalog.masking import standing_filters
from apps.catalog.models import Column, StandingFilter, Table
from apps.catalog.row_filters import row_filter
from apps.core.errors import Conflict, Invalid, NotAllowed, NotFound
from apps.engines.base import Operator, RowFilter, TableName
from tests.catalog.said import last_entry
from tests.factories import Cast, cast

pytestmark = pytest.mark.django_db

CUSTOMERS = TableName("sales", "customers")


@pytest.fixture
def people() -> Cast:
    return cast()


@pytest.fixture
def customers(people: Cast) -> Table:
    return Table.objects.get(database=people.shop, name="customers")


def add(people: Cast, table: Table, column: str = "region", operator: str = "=", *values: str) -> StandingFilter:
    return services.add_filter(
        actor=people.dana, table_id=table.pk, column=column, operator=operator, values=values or ["EU"]
    )


@pytest.mark.usefixtures("seconded")
def test_add_filter_when_it_fits(people: Cast, customers: Table) -> None:
    row = add(people, customers)
    assert standing_filters(people.shop, [CUSTOMERS]) == {CUSTOMERS: [RowFilter("region", Operator.EQUAL, ("EU",))]}
    entry = last_entry()
    assert (entry.action, entry.subject) == ("filter.added", people.shop.audit_id)
    assert entry.facts == {"table": customers.pk, "operator": "="}
    assert entry.texts == {"filter": "region = 'EU'", "table": "sales.customers"}
    services.remove_filter(actor=people.dana, filter_id=row.pk)
    assert standing_filters(people.shop, [CUSTOMERS]) == {}
    assert (last_entry().action, last_entry().texts) == ("filter.removed", entry.texts)
    with pytest.raises(NotFound):
        services.remove_filter(actor=people.dana, filter_id=row.pk)


def test_add_filter_when_it_is_there(people: Cast, customers: Table) -> None:
    add(people, customers)
    with pytest.raises(Conflict, match="limited by “region = 'EU'” already"):
        add(people, customers)
    add(people, customers, "region", "in", "EU", "US")
    assert len(standing_filters(people.shop, [CUSTOMERS])[CUSTOMERS]) == 2


def test_add_filter_when_the_column_is_masked(people: Cast, customers: Table) -> None:
    """Whoever reads the filter would know the value."""
    with pytest.raises(Invalid, match=r"sales\.customers\.email is masked") as refusal:
        add(people, customers, "email", "=", "x@example.org")
    assert refusal.value.field == "column"
    services.change_database(actor=people.dana, database_id=people.shop.pk, hides_unclassified=True)
    with pytest.raises(Invalid, match="is masked"):
        add(people, customers)
    assert not StandingFilter.objects.exists()


def test_add_filter_when_the_column_is_not_there(people: Cast, customers: Table) -> None:
    with pytest.raises(Invalid, match=r"no column sales\.customers\.regoin in shop"):
        add(people, customers, "regoin")
    Column.objects.filter(name="region").update(gone_at=timezone.now())
    with pytest.raises(Invalid, match="no column"):
        add(people, customers)


def test_add_filter_when_the_table_is_not_there(people: Cast, customers: Table) -> None:
    customers.gone_at = timezone.now()
    customers.save()
    with pytest.raises(Invalid, match="no column"):
        add(people, customers)
    customers.pk = 10**9
    with pytest.raises(NotFound):
        add(people, customers)


@pytest.mark.parametrize(
    ("type_", "operator", "value"),
    [("integer", "=", "EU"), ("date", "<", "yesterday"), ("jsonb", "<", "{}"), ("uuid", "=", "x")],
)
def test_add_filter_when_it_does_not_fit(people: Cast, customers: Table, type_: str, operator: str, value: str) -> None:
    Column.objects.filter(name="region").update(type=type_)
    with pytest.raises(Invalid, match=f"which is of type {type_}") as refusal:
        add(people, customers, "region", operator, value)
    assert refusal.value.field == "values"


@pytest.mark.parametrize(
    ("operator", "values", "field"),
    [
        ("like", ["E%"], "operator"),
        ("= 'EU' OR 1", ["x"], "operator"),
        ("=", [], "values"),
        ("=", ["a", "b"], "values"),
        ("in", [], "values"),
        ("in", ["x"] * 101, "values"),
        ("is null", ["x"], "values"),
        ("=", ["x\0"], "values"),
        ("=", ["x" * 201], "values"),
        ("=", ["\u202eEU"], "values"),
    ],
)
def test_row_filter_when_malformed(operator: str, values: list[str], field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        row_filter("region", operator, values)
    assert refusal.value.field == field


def test_row_filter_when_it_takes_no_value() -> None:
    assert str(row_filter("region", "is not null", [])) == "region is not null"


def test_filters_when_not_a_dba(people: Cast, customers: Table) -> None:
    row = add(people, customers)
    for actor in (people.alice, people.sam):
        with pytest.raises(NotAllowed):
            services.add_filter(actor=actor, table_id=customers.pk, column="region", operator="=", values=["EU"])
        with pytest.raises(NotAllowed):
            services.remove_filter(actor=actor, filter_id=row.pk)
