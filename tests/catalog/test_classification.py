"""Levels, data classes and masks: what fits, what is refused, what the record says."""

import pytest

from apps.catalog import services
from apps.catalog.data_classes import ensure_defaults
from apps.catalog.labels import hides_as_much
from apps.catalog.masking import class_masks, mask_of
from apps.catalog.models import Column, DataClass
from apps.core.errors import Conflict, Invalid, NotAllowed
from apps.engines.masks import parse
from tests.catalog.said import last_entry, said
from tests.factories import Cast, TableFactory, cast

pytestmark = pytest.mark.django_db


@pytest.fixture
def people() -> Cast:
    return cast()


@pytest.fixture
def email(people: Cast) -> Column:
    return Column.objects.get(table__database=people.shop, name="email")


def column(people: Cast, name: str, type_: str, **fields: str) -> Column:
    table = TableFactory(database=people.shop, name="payments", columns=[])
    return Column.objects.create(
        table=table, name=name, type=type_, position=1, first_seen_at=people.shop.synced_at, **fields
    )


def classify(people: Cast, column: Column, level: str = "restricted", **said: str | None) -> None:
    services.classify_many(actor=people.dana, column_ids=[column.pk], classification=level, **said)  # type: ignore[arg-type]
    column.refresh_from_db()


def effective(column: Column) -> str:
    return str(mask_of(column, class_masks(), column.table.database.server))


@pytest.mark.usefixtures("seconded")
def test_classify_when_a_mask_is_set_and_taken_away(people: Cast, email: Column) -> None:
    assert effective(email) == "email"
    classify(people, email, mask="partial(2,0)")
    assert (email.mask_override, effective(email)) == ("partial(2,0)", "partial(2,0)")
    assert last_entry().facts["mask_override"] == "partial(2,0)"
    classify(people, email)
    assert email.mask_override == "partial(2,0)"
    classify(people, email, mask="")
    assert (email.mask_override, effective(email)) == ("", "email")
    assert last_entry().facts["mask_override"] == ""
    before = last_entry()
    classify(people, email, mask="")
    assert last_entry() == before


@pytest.mark.usefixtures("seconded")
def test_classify_when_one_column_is_said_all_of(people: Cast, email: Column) -> None:
    services.classify(
        actor=people.dana, column_id=email.pk, classification="restricted", data_class="name", mask="null"
    )
    email.refresh_from_db()
    assert (email.classification, email.data_class, email.mask_override) == ("restricted", "name", "null")


@pytest.mark.parametrize("mask", ["rot13", "partial(0,0)", "partial(1", "bucket(1)", "hidden(1)", "date(week)", "'--"])
def test_classify_when_it_is_no_mask(people: Cast, email: Column, mask: str) -> None:
    with pytest.raises(Invalid) as refusal:
        classify(people, email, mask=mask)
    assert refusal.value.field == "mask_override"
    assert Column.objects.get(pk=email.pk).classification == "confidential"


@pytest.mark.parametrize(
    ("mask", "type_", "fitting"),
    [
        ("email", "integer", "hidden, null, partial(1,4), bucket(1000)"),
        ("bucket(10)", "text", "hidden, null, partial(1,4), email"),
        ("date(year)", "jsonb", "hidden, null"),
        ("partial(1,1)", "date", "hidden, null, date(year)"),
    ],
)
def test_classify_when_the_mask_does_not_fit(people: Cast, mask: str, type_: str, fitting: str) -> None:
    with pytest.raises(Invalid) as refusal:
        classify(people, column(people, "x", type_), mask=mask)
    assert f"does not fit sales.payments.x, which is of type {type_}" in refusal.value.sentence
    assert f"Masks that fit: {fitting}." in refusal.value.sentence


@pytest.mark.usefixtures("seconded")
def test_classify_when_the_data_class_is_unknown(people: Cast, email: Column) -> None:
    with pytest.raises(Invalid, match=r"There is no data class emial\. Did you mean email") as refusal:
        classify(people, email, data_class="emial")
    assert refusal.value.field == "data_class"
    with pytest.raises(Invalid, match="Known are: address, biometric"):
        classify(people, email, data_class="zzzzzzzz")
    services.save_data_class(actor=people.dana, name="zzzzzzzz")
    classify(people, email, data_class="zzzzzzzz")


@pytest.mark.parametrize(
    ("mask", "is_allowed"),
    [
        ("partial(6,4)", True),
        ("partial(0,4)", True),
        ("hidden", True),
        ("null", True),
        ("partial(7,4)", False),
        ("partial(6,5)", False),
        ("partial(0,16)", False),
        ("bucket(1000)", False),
    ],
)
def test_classify_when_it_is_a_card(people: Cast, mask: str, is_allowed: bool) -> None:
    """PCI DSS: the first six and the last four. A bucket of a thousand would show all but three digits."""
    number = column(people, "card_number", "bigint")
    if is_allowed:
        classify(people, number, data_class="card", mask=mask)
        assert effective(number) == mask
        return
    with pytest.raises(Invalid, match="first six and last four"):
        classify(people, number, data_class="card", mask=mask)
    classify(people, number, mask=mask)
    with pytest.raises(Invalid, match="first six and last four"):  # also when the class comes later
        classify(people, number, data_class="card")


@pytest.mark.usefixtures("seconded")
def test_classify_when_the_column_has_a_standing_filter(people: Cast) -> None:
    region = Column.objects.get(table__database=people.shop, name="region")
    services.add_filter(actor=people.dana, table_id=region.table_id, column="region", operator="=", values=["EU"])
    classify(people, region, level="internal")
    with pytest.raises(Conflict, match=r"sales\.customers\.region cannot be masked while the standing filter"):
        classify(people, region)
    classify(people, region, level="")
    with pytest.raises(Conflict, match="standing filter"):
        services.change_database(actor=people.dana, database_id=people.shop.pk, hides_unclassified=True)
    people.shop.refresh_from_db()
    assert people.shop.hides_unclassified is False


# Data classes --------------------------------------------------------------------------------------------------


def test_save_data_class_when_new_and_changed(people: Cast) -> None:
    made = services.save_data_class(actor=people.dana, name="plate", description="Number plates", mask=" partial(2,0) ")
    assert (made.mask, made.description) == ("partial(2,0)", "Number plates")
    entry = last_entry()
    assert (entry.action, entry.subject) == ("data_class.changed", "data_class:plate")
    assert entry.facts == {"before": None, "after": "partial(2,0)", "columns": 0}
    services.save_data_class(actor=people.dana, name="email", description="Mail", mask="hidden")
    assert last_entry().facts == {"before": "email", "after": "hidden", "columns": 2}
    assert last_entry().texts == {"description": "E-mail addresses → Mail"}
    assert effective(Column.objects.filter(name="email")[0]) == "hidden"
    entries = said()
    services.save_data_class(actor=people.dana, name="email", description="Mail", mask="hidden")
    assert said() == entries


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "none"}, "name"),
        ({"name": "E-Mail"}, "name"),
        ({"name": "1st"}, "name"),
        ({"name": "x" * 33}, "name"),
        ({"name": "plate", "mask": ""}, "mask"),
        ({"name": "plate", "mask": "rot13"}, "mask"),
        ({"name": "card", "mask": "partial(8,4)"}, "mask"),
        ({"name": "card", "mask": "email"}, "mask"),
        ({"name": "plate", "description": "x" * 201}, "description"),
    ],
)
def test_save_data_class_when_malformed(people: Cast, fields: dict[str, str], field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        services.save_data_class(actor=people.dana, **fields)
    assert refusal.value.field == field
    assert DataClass.objects.get(pk="card").mask == "partial(0,4)"


def test_ensure_defaults_when_columns_name_others(people: Cast, email: Column) -> None:
    """Classified before data classes had rows; and what a DBA has changed stays."""
    Column.objects.filter(pk=email.pk).update(data_class="plate")
    services.save_data_class(actor=people.dana, name="name", mask="hidden")
    ensure_defaults()
    assert DataClass.objects.get(pk="plate").mask == "hidden"
    assert DataClass.objects.get(pk="name").mask == "hidden"


def test_save_data_class_when_not_a_dba(people: Cast) -> None:
    with pytest.raises(NotAllowed):
        services.save_data_class(actor=people.alice, name="email", mask="hidden")


@pytest.mark.parametrize(
    ("mask", "other", "is_as_strong"),
    [
        ("hidden", "partial(1,4)", True),
        ("null", "hidden", True),
        ("hidden", "null", True),
        ("partial(1,4)", "hidden", False),
        ("partial(1,2)", "partial(1,4)", False),
        ("partial(2,2)", "partial(1,4)", False),
        ("bucket(1000)", "bucket(100)", True),
        ("bucket(150)", "bucket(100)", False),
        ("bucket(10)", "bucket(100)", False),
        ("date(year)", "date(month)", True),
        ("date(month)", "date(year)", False),
        ("email", "partial(1,4)", False),
        ("email", "email", True),
    ],
)
def test_hides_as_much_when_compared(mask: str, other: str, is_as_strong: bool) -> None:
    assert hides_as_much(parse(mask), parse(other)) is is_as_strong
