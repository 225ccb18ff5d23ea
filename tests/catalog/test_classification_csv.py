"""Classification as a file: the way round changes nothing, bad lines are named, nothing is unmasked unseen."""

import csv
import io
import time

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.catalog import services
from apps.catalog.classification_csv import BadFile, Imported
from apps.catalog.models import Column, Table
from apps.core.errors import Conflict, Invalid, NotAllowed, NotFound
from tests.catalog.said import last_entry, said
from tests.factories import Cast, TableFactory, cast

pytestmark = pytest.mark.django_db

HEADER = "schema,table,column,classification,data_class,mask\r\n"


@pytest.fixture
def people() -> Cast:
    return cast()


def exported(people: Cast) -> str:
    return "".join(services.export_classification(actor=people.dana, database_id=people.shop.pk))


def imported(people: Cast, file: str | bytes, **how: object) -> Imported:
    return services.import_classification(
        actor=people.dana,
        database_id=people.shop.pk,
        file=file,
        **how,  # type: ignore[arg-type]
    )


def labels(people: Cast) -> list[tuple[str, ...]]:
    columns = Column.objects.filter(table__database=people.shop).order_by("pk")
    return list(columns.values_list("classification", "data_class", "mask_override"))


def problems(people: Cast, file: str | bytes) -> list[str]:
    before, entries = labels(people), said()
    with pytest.raises(BadFile) as refusal:
        imported(people, file)
    assert (labels(people), said()) == (before, entries)
    assert refusal.value.field == "file"
    return refusal.value.problems


def test_export_classification_when_asked(people: Cast) -> None:
    Column.objects.filter(name="salary").update(mask_override="null")
    Column.objects.filter(name="region").update(gone_at=timezone.now())
    rows = list(csv.DictReader(io.StringIO(exported(people), newline="")))
    assert [row["column"] for row in rows if row["table"] == "customers"] == ["id", "email"]
    assert {"Odd.Name", "hr", "sales", "stock"} == {row["schema"] for row in rows}
    assert [row for row in rows if row["column"] == "salary"] == [
        {
            "schema": "hr",
            "table": "employees",
            "column": "salary",
            "type": "text",
            "classification": "restricted",
            "data_class": "salary",
            "mask": "null",
        }
    ]
    entry = last_entry()
    assert (entry.action, entry.subject) == ("classification.exported", people.shop.audit_id)
    assert entry.facts == {"columns": len(rows), "unclassified": len(rows) - 2}


def test_import_classification_when_it_went_round(people: Cast) -> None:
    Column.objects.filter(name="salary").update(mask_override="null")
    before = labels(people)
    file, entries = exported(people), said()
    for text in (file, "\ufeff" + file, file.encode(), b"\xef\xbb\xbf" + file.encode(), file.replace("\r\n", "\n")):
        assert imported(people, text).changes == ()
    assert (labels(people), said()) == (before, entries)


odd_names = st.text(
    st.one_of(st.sampled_from("=+-@'\"\t\r\n;, "), st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    min_size=1,
    max_size=12,
)


@given(st.lists(odd_names, min_size=1, max_size=6, unique=True))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_import_classification_when_names_are_odd(people: Cast, names: list[str]) -> None:
    """What is made safe for spreadsheets comes back as what it was, also where both forms are there."""
    Table.objects.filter(database=people.shop).delete()
    twice = sorted({*names, *(f"'{name}" for name in names)})
    for name in twice:
        TableFactory(database=people.shop, schema=name, name=name, columns=[*twice])
    Column.objects.update(classification="")
    file = exported(people)
    assert imported(people, file).changes == ()
    rows = list(csv.DictReader(io.StringIO(file, newline="")))
    wanted = names[0]
    place = [row for row in rows if Column.objects.filter(name=wanted).exists()]
    assert len(place) == len(twice) ** 2
    changed = imported(people, file.replace(",text,,,", ",text,internal,,", 1))
    assert len(changed.changes) == 1


@pytest.mark.usefixtures("seconded")
def test_import_classification_when_it_says_something(people: Cast) -> None:
    file = (
        HEADER
        + "sales,customers,region,internal,,\r\n"
        + "hr,employees,salary,,,null\r\n"
        + "\r\n"
        + "sales,customers,email,Restricted,none,none\r\n"
    ).replace("Restricted", "restricted")
    found = imported(people, file)
    assert (found.rows, len(found.changes), found.lowered) == (3, 3, 1)
    assert found.changes[0].column == "sales.customers.email"  # its data class has gone, and its rules with it
    salary = Column.objects.get(table__database=people.shop, name="salary")
    assert (salary.classification, salary.data_class, salary.mask_override) == ("restricted", "salary", "null")
    email = Column.objects.get(table__database=people.shop, name="email")
    assert (email.classification, email.data_class) == ("restricted", "")
    entry = last_entry()
    assert (entry.action, entry.actor) == ("classification.imported", people.dana.audit_id)
    before, after = {"confidential": 1, "none": 1, "restricted": 1}, {"restricted": 2, "internal": 1}
    assert entry.facts == {"rows": 3, "columns": 3, "lowered": 1, "before": before, "after": after}
    assert entry.texts["columns"].splitlines() == [
        "sales.customers.email: confidential email → restricted",
        "hr.employees.salary: restricted salary → restricted salary null",
        "sales.customers.region: none → internal",
    ]


@pytest.mark.parametrize(
    ("row", "is_lowered"),
    [
        ("hr,employees,salary,none,none,none", True),
        ("hr,employees,salary,public,,", True),
        ("hr,employees,salary,confidential,,", True),
        ("hr,employees,salary,,email,", True),
        ('hr,employees,salary,,,"partial(1,0)"', True),
        ("hr,employees,salary,,,null", False),
        ("sales,customers,email,restricted,,hidden", False),
        ("sales,customers,region,public,,", False),
        ("sales,customers,region,restricted,name,", False),
    ],
)
def test_import_classification_when_something_is_lowered(people: Cast, row: str, is_lowered: bool) -> None:
    before = labels(people)
    found = imported(people, HEADER + row, dry_run=True)
    assert [change.is_lowered for change in found.changes] == [is_lowered]
    assert labels(people) == before
    assert last_entry() is None


def test_import_classification_when_unclassified_is_hidden(people: Cast) -> None:
    """There, to classify a column as public shows it."""
    services.change_database(actor=people.dana, database_id=people.shop.pk, hides_unclassified=True)
    assert imported(people, HEADER + "sales,customers,region,public,,", dry_run=True).lowered == 1
    # What hides it now may be switched off.
    assert imported(people, HEADER + "hr,employees,salary,none,,", dry_run=True).lowered == 1


@pytest.mark.usefixtures("seconded")
def test_import_classification_when_the_catalog_has_moved_on(people: Cast) -> None:
    file = HEADER + "sales,customers,email,public,none,none"
    seen = imported(people, file, dry_run=True)
    column = Column.objects.get(table__database=people.shop, name="email")
    services.classify(actor=people.dana, column_id=column.pk, classification="restricted", data_class="email")
    with pytest.raises(Conflict, match="has changed since you looked"):
        imported(people, file, seen=seen.digest)
    assert imported(people, file, seen=imported(people, file, dry_run=True).digest).lowered == 1


def test_import_classification_when_lines_are_wrong(people: Cast) -> None:
    file = HEADER + "\r\n".join(
        [
            "sales,customers,region,internal,,",
            "sales,custmers,region,internal,,",
            "sales,customers,regoin,internal,,",
            "sales,customers,id,secret,,",
            "sales,customers,email,,emial,",
            "sales,orders,id,,,rot13",
            "sales,orders,placed_at,,,bucket(10)",
            "sales,customers,region,public,,",
        ]
    )
    found = problems(people, file)
    assert found == [
        "Line 3: there is no table sales.custmers in shop, or it is gone.",
        "Line 4: there is no column regoin in sales.customers, or it is gone.",
        "Line 5: there is no level “secret”: write public, internal, confidential, restricted or none.",
        "Line 6: There is no data class emial. Did you mean email? Under “Data classes” you can add it.",
        "Line 7: “rot13” is no mask. Masks are: hidden, null, partial(1,4), email, bucket(1000), date(year).",
        "Line 8: The mask bucket(10) does not fit sales.orders.placed_at, which is of type text. "
        "Masks that fit: hidden, null, partial(1,4), email.",
        "Line 9: sales.customers.region stands on line 2 already.",
    ]


def test_import_classification_when_very_many_lines_are_wrong(people: Cast) -> None:
    with pytest.raises(BadFile, match="50 lines are wrong") as refusal:
        imported(people, HEADER + "".join(f"sales,t{n},x,internal,,\r\n" for n in range(50)))
    assert len(refusal.value.problems) == 20
    assert refusal.value.sentence.endswith("… and 30 more.")


@pytest.mark.parametrize(
    ("file", "because"),
    [
        ("", "has to name the columns"),
        ("a,b,c\r\n", "missing: schema, table, column"),
        ("schema,table,column\r\n", "missing: classification or data_class or mask"),
        ("schema,table,column,mask,note\r\n", "unknown or there twice: note"),
        ("schema,table,column,mask,mask\r\n", "unknown or there twice: mask"),
        ("schema,table,column,mask\r\nsales,orders\r\n", "Line 2 has 2 cells"),
        (HEADER + 'sales,"orders"x,id,,,', "is no CSV"),
        (HEADER + 'sales,"orders', "is no CSV"),
        (HEADER.encode() + b"s\xe4les,orders,id,internal,,", "not in UTF-8"),
        ("x" * 10_000_001, "more than 10 MB"),
    ],
)
def test_import_classification_when_it_is_no_such_file(people: Cast, file: str | bytes, because: str) -> None:
    with pytest.raises(Invalid, match=because) as refusal:
        imported(people, file)
    assert refusal.value.field == "file"


@pytest.mark.usefixtures("seconded")
def test_import_classification_when_a_spreadsheet_wrote_semicolons(people: Cast) -> None:
    assert len(imported(people, "Schema;Table;Column;Mask\r\nsales;customers;email;partial(1,4)\r\n").changes) == 1


def test_import_classification_when_a_filter_stands_on_it(people: Cast) -> None:
    table = Table.objects.get(database=people.shop, name="customers")
    services.add_filter(actor=people.dana, table_id=table.pk, column="region", operator="=", values=["EU"])
    with pytest.raises(Conflict, match="standing filter"):
        imported(people, HEADER + "sales,customers,region,restricted,,")


def test_classification_files_when_not_a_dba(people: Cast) -> None:
    for dry_run in (True, False):
        with pytest.raises(NotAllowed):
            services.import_classification(actor=people.sam, database_id=people.shop.pk, file=HEADER, dry_run=dry_run)
    with pytest.raises(NotAllowed):
        services.export_classification(actor=people.audrey, database_id=people.shop.pk)
    with pytest.raises(NotFound):
        services.export_classification(actor=people.dana, database_id="nothing")


def test_classification_files_when_there_are_thousands(people: Cast) -> None:
    now = timezone.now()
    tables = Table.objects.bulk_create(
        Table(database=people.shop, schema=f"s{n % 9}", name=f"table_{n}", kind="table", first_seen_at=now)
        for n in range(2_000)
    )
    Column.objects.bulk_create(
        Column(table=table, name=f"column_{n}", type="text", position=n, first_seen_at=now)
        for table in tables
        for n in range(10)
    )
    file = exported(people).replace(",text,,,", ",text,confidential,name,")
    started = time.monotonic()
    found = imported(people, file)
    print(f"{time.monotonic() - started:.1f} s")
    assert len(found.changes) >= 20_000
    assert len(last_entry().texts["columns"].splitlines()) == 200
    assert imported(people, exported(people)).changes == ()
