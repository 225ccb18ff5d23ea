"""Pages about masks, row filters, pauses, what is open to everybody, and classification as a file."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.catalog import services
from apps.catalog.models import Column, Database, DataClass, Server, StandingFilter, Table
from apps.catalog.rights import groups_with
from tests.catalog.said import last_entry
from tests.factories import Cast, cast

pytestmark = pytest.mark.django_db

HEADER = "schema,table,column,classification,data_class,mask\r\n"


@pytest.fixture
def people() -> Cast:
    return cast()


@pytest.fixture
def dana(client: Client, people: Cast) -> Client:
    client.force_login(people.dana, backend="apps.accounts.backends.SsoBackend")
    return client


@pytest.fixture
def customers(people: Cast) -> Table:
    return Table.objects.get(database=people.shop, name="customers")


def address(model: str, page: str, *args: object) -> str:
    return reverse(f"admin:catalog_{model}_{page}", args=args)


def text(response: Any) -> str:
    assert response.status_code == 200
    return str(response.content.decode())


def every_page(people: Cast, table: Table) -> list[str]:
    return [
        address("table", "pause", table.pk),
        address("table", "limit_rows", table.pk),
        address("database", "upload_classification", people.shop.pk),
    ]


def test_pages_when_not_a_dba(client: Client, people: Cast, customers: Table) -> None:
    client.force_login(people.alice, backend="apps.accounts.backends.SsoBackend")
    pages = [
        *every_page(people, customers),
        address("database", "download_classification", people.shop.pk),
        address("database", "accept_notifying", people.shop.pk),
    ]
    for page in pages:
        for call in (client.get, client.post):
            assert call(page, {"reason": "x", "column": "region"}).status_code in {302, 403}
    customers.refresh_from_db()
    assert customers.paused_at is None
    assert last_entry() is None


def test_pages_when_there_is_no_such_row(dana: Client) -> None:
    assert dana.get(address("table", "pause", 10**9)).status_code == 404
    assert dana.get(address("database", "upload_classification", "nothing")).status_code == 404


# Columns and data classes --------------------------------------------------------------------------------------


def test_columns_when_masked(dana: Client, people: Cast) -> None:
    Column.objects.filter(name="salary").update(type="integer", data_class="email")
    page = text(dana.get(address("column", "changelist"), {"table__database__id__exact": people.shop.pk}))
    assert '<td class="field-mask">email</td>' in page
    assert '<td class="field-mask">hidden, as email does not fit its type</td>' in page
    assert '<td class="field-mask">shown</td>' in page
    services.change_database(actor=people.dana, database_id=people.shop.pk, hides_unclassified=True)
    assert '<td class="field-mask">shown</td>' not in text(
        dana.get(address("column", "changelist"), {"table__database__id__exact": people.shop.pk})
    )


@pytest.mark.usefixtures("seconded")
def test_classify_when_a_mask_is_given_to_many(dana: Client, people: Cast) -> None:
    columns = Column.objects.filter(table__database=people.shop, name__in=["email", "salary"])

    def act(**said: str) -> None:
        chosen = {"action": "classify_restricted", "_selected_action": [column.pk for column in columns]}
        answer = dana.post(address("column", "changelist"), {**chosen, **said}, follow=True)
        assert "Columns that changed: 2." in text(answer)

    act(mask_override="partial(1,0)")
    assert set(columns.values_list("classification", "data_class", "mask_override")) == {
        ("restricted", "email", "partial(1,0)"),
        ("restricted", "salary", "partial(1,0)"),
    }
    act(mask_override="none", data_class="none")
    assert set(columns.values_list("data_class", "mask_override")) == {("", "")}


def test_classify_when_one_has_a_mask_of_its_own(dana: Client, people: Cast) -> None:
    email = Column.objects.get(table__database=people.shop, name="email")
    page = address("column", "change", email.pk)
    assert "partial(1,4), email, bucket(1000)" in text(dana.get(page))
    said = {"classification": "confidential", "data_class": "email", "mask_override": "null"}
    assert dana.post(page, said).status_code == 302
    email.refresh_from_db()
    assert email.mask_override == "null"
    answer = dana.post(page, said | {"mask_override": "bucket(10)"})
    assert list(answer.context["adminform"].form.errors) == ["mask_override"]
    assert "Masks that fit: hidden, null, partial(1,4), email." in text(answer)


def test_data_classes_when_added_and_changed(dana: Client) -> None:
    answer = dana.post(
        address("dataclass", "add"), {"name": "plate", "description": "Number plates", "mask": "partial(2,0)"}
    )
    assert answer.status_code == 302
    assert last_entry().subject == "data_class:plate"
    page = address("dataclass", "change", "email")
    assert dana.post(page, {"description": "Mail", "mask": "hidden"}).status_code == 302
    assert DataClass.objects.get(pk="email").mask == "hidden"
    answer = dana.post(page, {"description": "Mail", "mask": "rot13"})
    assert list(answer.context["adminform"].form.errors) == ["mask"]
    assert DataClass.objects.get(pk="email").mask == "hidden"
    assert f'{address("column", "changelist")}?data_class=email">2</a>' in text(
        dana.get(address("dataclass", "changelist"))
    )


# Tables --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", ["sales.customers", '"sales"."customers"', "customers"])
def test_tables_when_looked_for_by_their_full_name(dana: Client, customers: Table, wanted: str) -> None:
    listed = dana.get(address("table", "changelist"), {"q": wanted}).context["cl"].result_list
    assert customers in listed


def test_columns_when_looked_for_by_their_full_name(dana: Client, customers: Table) -> None:
    column = customers.columns.get(name="email")
    listed = dana.get(address("column", "changelist"), {"q": str(column)}).context["cl"].result_list
    assert {str(one) for one in listed} == {str(column)}


def test_limit_rows_when_its_column_is_gone(dana: Client, people: Cast) -> None:
    orders = Table.objects.get(database=people.shop, name="orders")
    services.add_filter(actor=people.dana, table_id=orders.pk, column="id", operator="=", values=["1"])
    said = "This column is not there any more"
    pages = (address("table", "limit_rows", orders.pk), address("table", "change", orders.pk))
    assert not any(said in text(dana.get(page)) for page in pages)
    orders.columns.filter(name="id").update(gone_at=timezone.now())
    assert all(said in text(dana.get(page)) for page in pages)


def test_pause_when_confirmed_with_a_reason(dana: Client, people: Cast, customers: Table) -> None:
    page, row = address("table", "pause", customers.pk), address("table", "change", customers.pk)
    assert page in text(dana.get(row))
    assert "Every grant on sales.customers in shop ends within seconds" in text(dana.get(page))
    assert "This field is required" in text(dana.post(page, {"reason": ""}))
    answer = text(dana.post(page, {"reason": "Wider <columns>"}, follow=True))
    assert "Paused: grants on sales.customers in shop end now" in answer
    assert "paused by dana since" in answer
    assert f'<a href="{page}">Resume masking</a>' in answer
    assert "Wider &lt;columns&gt;" in answer
    customers.refresh_from_db()
    assert customers.paused_by == people.dana
    listed = dana.get(address("table", "changelist"), {"paused": "yes"}).context["cl"].result_list
    assert list(listed) == [customers]
    assert "Wider &lt;columns&gt;" in text(dana.get(page))
    assert "can be asked for again" in text(dana.post(page, follow=True))
    customers.refresh_from_db()
    assert customers.paused_at is None


@pytest.mark.usefixtures("seconded")
def test_limit_rows_when_added_and_taken_away(dana: Client, customers: Table) -> None:
    page = address("table", "limit_rows", customers.pk)
    offered = dana.get(page).context["form"].fields["column"].choices
    assert [name for name, _ in offered] == ["id", "region"]  # the masked one is not
    answer = text(dana.post(page, {"column": "region", "operator": "in", "values": "EU\r\nUS\r\n"}, follow=True))
    assert "<code>region in (&#x27;EU&#x27;, &#x27;US&#x27;)</code>" in answer
    row = StandingFilter.objects.get()
    assert row.values == ["EU", "US"]
    assert "<code>region in" in text(dana.get(address("table", "change", customers.pk)))
    assert "Taken away" in text(dana.post(page, {"remove": row.pk}, follow=True))
    assert not StandingFilter.objects.exists()
    assert "taken away already" in text(dana.post(page, {"remove": row.pk}))
    assert "taken away already" in text(dana.post(page, {"remove": "x"}))


def test_limit_rows_when_refused(dana: Client, customers: Table) -> None:
    page = address("table", "limit_rows", customers.pk)
    answer = dana.post(page, {"column": "region", "operator": "=", "values": ""})
    assert answer.context["form"].errors == {"values": ["“=” takes one value."]}
    Column.objects.filter(name="region").update(type="integer")
    answer = dana.post(page, {"column": "region", "operator": "=", "values": "EU"})
    assert "which is of type integer" in text(answer)
    assert "column" in dana.post(page, {"column": "email", "operator": "=", "values": "x"}).context["form"].errors
    assert not StandingFilter.objects.exists()


def test_limit_rows_when_the_filter_is_another_tables(dana: Client, people: Cast, customers: Table) -> None:
    orders = Table.objects.get(database=people.shop, name="orders")
    row = services.add_filter(actor=people.dana, table_id=orders.pk, column="id", operator="=", values=["1"])
    dana.post(address("table", "limit_rows", customers.pk), {"remove": row.pk})
    assert StandingFilter.objects.filter(pk=row.pk).exists()


# Databases -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("seconded")
def test_change_database_when_it_hides_the_unclassified(dana: Client, people: Cast) -> None:
    same = {"slug": "shop", "environment": "production", "is_active": "on", "own_database": [people.dba.pk]}
    same |= {"console_rows": 500, "console_seconds": 60, "keeps_literals": "on"}
    page = address("database", "change", people.shop.pk)
    dana.post(page, same | {"hides_unclassified": "on", "own_data": [people.security.pk]})
    people.shop.refresh_from_db()
    assert people.shop.hides_unclassified is True
    assert (people.shop.console_rows, people.shop.console_seconds, people.shop.keeps_literals) == (500, 60, True)
    assert list(groups_with(people.shop, "own_data")) == [people.security]
    assert dana.get(page).context["adminform"].form["own_data"].initial.get() == people.security


def test_databases_when_columns_are_unclassified(dana: Client, people: Cast) -> None:
    query = f"classification=none&table__database__id__exact={people.shop.pk}"
    link = f'<a href="{address("column", "changelist")}?{query}">16 unclassified columns</a>'
    assert link in text(dana.get(address("database", "changelist")))
    assert link in text(dana.get(address("database", "change", people.shop.pk)))
    there = dana.get(f"{address('column', 'changelist')}?{query}")
    assert there.context["cl"].result_count == 16
    Column.objects.filter(classification="").update(classification="internal")
    assert '<td class="field-unclassified_columns">none</td>' in text(dana.get(address("database", "changelist")))


def exposed(database: Database) -> None:
    database.exposure = [
        {
            "kind": "readable",
            "sentence": "Everybody may read <one> table.",
            "count": 120,
            "objects": ["table public.notes"],
            "fix": "REVOKE SELECT ON public.notes FROM PUBLIC;",
        },
        {"kind": "notifies", "sentence": "A function notifies.", "count": 1, "objects": ["app.tell()"], "fix": ""},
    ]
    database.exposure_at = timezone.now()
    database.save()


@pytest.mark.parametrize("model", ["server", "database"])
def test_pages_when_something_is_open_to_everybody(dana: Client, people: Cast, model: str) -> None:
    exposed(people.shop)
    row = people.shop if model == "database" else people.shop.server
    page = text(dana.get(address(model, "change", row.pk)))
    assert "Everybody may read &lt;one&gt; table." in page
    assert "<strong>120</strong> readable" in page
    assert "The first 1 of 120" in page
    assert "<li>table public.notes</li>" in page
    assert "<pre>REVOKE SELECT ON public.notes FROM PUBLIC;</pre>" in page
    assert "<strong>shop</strong>: 121 objects, seen" in page
    if model == "server":
        assert "<strong>shop-staging</strong>: not looked at yet" in page


@pytest.mark.usefixtures("seconded")
def test_accept_notifying_when_pressed(dana: Client, people: Cast) -> None:
    exposed(people.shop)
    page = address("database", "change", people.shop.pk)
    assert "nobody may connect directly: app.tell()" in text(dana.get(page))
    answer = text(dana.post(address("database", "accept_notifying", people.shop.pk), follow=True))
    assert "Accepted: app.tell()." in answer
    assert "nobody may connect directly" not in answer
    assert "Accept functions that notify" not in answer  # there is nothing to press for
    answer = text(dana.post(address("database", "accept_notifying", people.shop.pk), follow=True))
    assert "no function that notifies waits" in answer


# Classification as a file --------------------------------------------------------------------------------------


@pytest.fixture
def upload(dana: Client, people: Cast) -> Callable[[str | bytes], Any]:
    def upload(content: str | bytes) -> Any:
        raw = content.encode() if isinstance(content, str) else content
        page = address("database", "upload_classification", people.shop.pk)
        return dana.post(page, {"file": SimpleUploadedFile("classification.csv", raw)})

    return upload


def confirm(dana: Client, people: Cast, answer: Any) -> Any:
    signed = answer.context["form"]["signed"].value()
    return dana.post(address("database", "upload_classification", people.shop.pk), {"signed": signed}, follow=True)


def test_download_classification_when_pressed(dana: Client, people: Cast) -> None:
    page = address("database", "download_classification", people.shop.pk)
    assert dana.get(page).status_code == 405
    answer = dana.post(page)
    assert answer.headers["Content-Disposition"] == 'attachment; filename="classification-shop.csv"'
    assert "hr,employees,salary,text,restricted,salary," in text(answer)
    assert last_entry().action == "classification.exported"


@pytest.mark.usefixtures("seconded")
def test_upload_classification_when_confirmed(dana: Client, people: Cast, upload: Callable[[str | bytes], Any]) -> None:
    answer = upload(HEADER + "sales,customers,region,internal,,\r\nhr,employees,salary,public,,\r\n")
    page = text(answer)
    assert "Rows read: 2; columns that would change: 2" in page
    assert "1 column will be LESS protected than now." in page
    assert page.index("hr.employees.salary") < page.index("sales.customers.region")
    assert last_entry() is None
    done = text(confirm(dana, people, answer))
    assert "Columns that changed: 2; less protected now: 1." in done
    assert Column.objects.get(table__database=people.shop, name="salary").classification == "public"


def test_upload_classification_when_it_changes_nothing(upload: Callable[[str | bytes], Any]) -> None:
    assert upload(HEADER + "sales,customers,id,,,\r\n").status_code == 302


def test_upload_classification_when_lines_are_wrong(upload: Callable[[str | bytes], Any]) -> None:
    page = text(upload(HEADER + "sales,customers,regoin,<b>,,\r\nsales,customers,id,<b>,,\r\n"))
    assert "<li>Line 2: there is no column regoin in sales.customers, or it is gone.</li>" in page
    assert "<li>Line 3: there is no level “&lt;b&gt;”:" in page
    assert "Nothing was changed." in page


@pytest.mark.parametrize(
    ("content", "because"),
    [(b"\xff\xfe", "not in UTF-8"), (b"a,b\r\n", "has to name the columns"), (b"", "The submitted file is empty")],
)
def test_upload_classification_when_it_is_no_such_file(
    upload: Callable[[str | bytes], Any], content: bytes, because: str
) -> None:
    assert because in text(upload(content))


def test_upload_classification_when_not_what_was_shown(
    dana: Client, people: Cast, upload: Callable[[str | bytes], Any]
) -> None:
    answer = upload(HEADER + "sales,customers,email,public,,\r\n")
    signed = answer.context["form"]["signed"].value()
    other = address("database", "upload_classification", people.staging.pk)
    assert "not what was shown to you" in text(dana.post(other, {"signed": signed}))
    page = address("database", "upload_classification", people.shop.pk)
    assert "not what was shown to you" in text(dana.post(page, {"signed": signed[:-1] + "!"}))
    email = Column.objects.get(table__database=people.shop, name="email")
    services.classify(actor=people.dana, column_id=email.pk, classification="restricted", data_class="email")
    assert "The catalog has changed since you looked" in text(confirm(dana, people, answer))
    email.refresh_from_db()
    assert email.classification == "restricted"


def test_server_page_when_there_is_no_database(dana: Client) -> None:
    server = services.add_server(actor="operator", name="empty", host="db.example.com")
    assert "no active databases" in text(dana.get(address("server", "change", server.pk)))
    assert Server.objects.filter(pk=server.pk).exists()
