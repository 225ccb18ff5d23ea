"""The catalog's pages for database administrators."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from apps.accounts.models import User
from apps.catalog import services
from apps.catalog.models import Column, Database, Server, Table
from apps.catalog.rights import groups_with
from tests.catalog.said import last_entry
from tests.factories import Cast, cast

pytestmark = pytest.mark.django_db


@pytest.fixture
def people() -> Cast:
    return cast()


@pytest.fixture
def sign_in(client: Client) -> Callable[[User], Client]:
    def sign_in(user: User) -> Client:
        client.force_login(user, backend="apps.accounts.backends.SsoBackend")
        return client

    return sign_in


@pytest.fixture
def dana(people: Cast, sign_in: Callable[[User], Client]) -> Client:
    return sign_in(people.dana)


def address(model: str, page: str, *args: object) -> str:
    return reverse(f"admin:catalog_{model}_{page}", args=args)


def errors(response: Any) -> dict[str, list[str]]:
    return dict(response.context["adminform"].form.errors)


SERVER = {
    "name": "eu-1",
    "host": "db.example.com",
    "port": "5432",
    "tls": "verify-full",
    "ca_certificate": "",
    "maintenance_database": "postgres",
    "block_seconds": "30",
    "idle_seconds": "300",
    "snapshot_seconds": "1800",
}


@pytest.mark.parametrize("model", ["server", "database", "table", "column", "dataclass"])
def test_pages_when_not_a_dba(people: Cast, sign_in: Callable[[User], Client], model: str) -> None:
    people.alice.is_staff = people.alice.is_superuser = True
    people.alice.save()
    client = sign_in(people.alice)
    assert client.get(address(model, "changelist")).status_code in {302, 403}
    if model == "server":
        pressed = client.post(address("server", "new_password", people.shop.server.pk))
        assert pressed.status_code in {302, 403}
        people.shop.server.refresh_from_db()
        assert people.shop.server.manager_secret is None


@pytest.mark.parametrize("model", ["server", "database", "table", "column", "dataclass"])
def test_changelist_when_a_dba(dana: Client, model: str) -> None:
    page = dana.get(address(model, "changelist"), {"q": "o"})
    assert page.status_code == 200
    rows = page.context["cl"].result_list
    assert len(rows)
    assert dana.get(address(model, "change", rows[0].pk)).status_code == 200


@pytest.mark.parametrize("model", ["server", "database", "table", "column", "dataclass"])
def test_delete_when_a_dba(dana: Client, model: str) -> None:
    row = dana.get(address(model, "changelist")).context["cl"].result_list[0]
    assert dana.post(address(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    assert dana.post(address(model, "changelist"), {"action": "delete_selected", "_selected_action": row.pk})
    assert type(row).objects.filter(pk=row.pk).exists()


def test_add_server_when_posted(dana: Client, people: Cast) -> None:
    answer = dana.post(address("server", "add"), SERVER)
    server = Server.objects.get(name="eu-1")
    assert answer.status_code == 302
    assert last_entry().action == "server.added"
    assert last_entry().actor == people.dana.audit_id
    page = dana.get(address("server", "change", server.pk))
    assert "none yet: make the bootstrap SQL" in page.content.decode()
    assert "manager_secret" not in page.content.decode()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("host", "a,b"), ("host", "/tmp"), ("name", "demo"), ("tls", "loopback-plaintext"), ("port", "0")),
        *(("block_seconds", "-1"), ("idle_seconds", ""), ("snapshot_seconds", "604801")),
    ],
)
def test_add_server_when_refused(dana: Client, field: str, value: str) -> None:
    """The sentence stands beside the field, and nothing is kept."""
    answer = dana.post(address("server", "add"), SERVER | {field: value})
    assert answer.status_code == 200
    assert list(errors(answer)) == [field]
    assert not Server.objects.filter(name="eu-1").exists()


@pytest.mark.usefixtures("seconded")
def test_change_server_when_posted(dana: Client, people: Cast) -> None:
    server = people.shop.server
    same = {name: str(getattr(server, name)) for name in SERVER} | {"is_active": "on"}
    dana.post(address("server", "change", server.pk), same | {"port": "6432"})
    server.refresh_from_db()
    assert server.port == 6432
    assert last_entry().facts["changed"] == ["port"]


def test_server_page_when_something_was_found(dana: Client, people: Cast) -> None:
    server = people.shop.server
    server.findings = [{"severity": "error", "sentence": "No <right>.", "fix": "GRANT x TO y;"}]
    server.save()
    page = dana.get(address("server", "change", server.pk)).content.decode()
    assert "No &lt;right&gt;." in page
    assert "<pre>GRANT x TO y;</pre>" in page


def test_bootstrap_when_pressed(dana: Client, people: Cast) -> None:
    server = people.shop.server
    page = dana.get(address("server", "change", server.pk)).content.decode()
    assert address("server", "bootstrap", server.pk) in page
    assert dana.get(address("server", "bootstrap", server.pk)).status_code == 405
    answer = dana.post(address("server", "bootstrap", server.pk))
    assert answer.headers["Content-Disposition"] == 'attachment; filename="bootstrap-demo.sql"'
    assert "no-store" in answer.headers["Cache-Control"]
    server.refresh_from_db()
    assert server.manager_verifier in answer.content.decode()
    assert dana.post(address("server", "bootstrap", server.pk)).content == answer.content
    assert dana.post(address("server", "new_password", server.pk)).content != answer.content
    assert dana.post(address("server", "bootstrap", "nothing")).status_code == 404


def test_bootstrap_when_refused(dana: Client) -> None:
    server = services.add_server(actor="operator", name="empty", host="db.example.com")
    answer = dana.post(address("server", "bootstrap", server.pk), follow=True)
    assert "no database here yet" in answer.content.decode()


def test_check_when_asked(dana: Client, people: Cast) -> None:
    server = people.shop.server
    dana.post(address("server", "check_now", server.pk))
    server.refresh_from_db()
    first = server.check_wanted_at
    assert first is not None
    dana.post(address("server", "changelist"), {"action": "check_servers", "_selected_action": server.pk})
    server.refresh_from_db()
    assert server.check_wanted_at is not None
    assert server.check_wanted_at > first


@pytest.mark.usefixtures("seconded")
def test_add_database_when_posted(dana: Client, people: Cast) -> None:
    answer = dana.post(
        address("database", "add"),
        {
            "server": people.shop.server.pk,
            "slug": "crm",
            "console_rows": 1000,
            "console_seconds": 600,
            "datname": "CRM.main",
            "environment": "production",
            "description": "",
            "request_database": [people.shop_team.pk, people.web_team.pk],
            "own_database": [people.dba.pk],
        },
    )
    assert answer.status_code == 302
    crm = Database.objects.get(slug="crm")
    assert crm.datname == "CRM.main"
    assert set(groups_with(crm, "request_database")) == {people.shop_team, people.web_team}
    assert list(groups_with(crm, "own_database")) == [people.dba]
    assert last_entry().action == "rights.changed"


def test_add_database_when_refused(dana: Client, people: Cast) -> None:
    answer = dana.post(
        address("database", "add"),
        {
            "server": people.shop.server.pk,
            "slug": "crm",
            "datname": "host=evil",
            "environment": "production",
            "console_rows": 1000,
            "console_seconds": 600,
        },
    )
    assert errors(answer) == {"datname": ["This is a connection string: give the name of one database."]}


@pytest.mark.usefixtures("seconded")
def test_change_database_when_rights_change(dana: Client, people: Cast) -> None:
    page = dana.get(address("database", "change", people.shop.pk))
    form = page.context["adminform"].form
    assert set(form["request_database"].initial) == {people.shop_team, people.web_team}
    dana.post(
        address("database", "change", people.shop.pk),
        {
            "slug": "shop",
            "console_rows": 1000,
            "console_seconds": 600,
            "environment": "production",
            "description": "What we sell.",
            "is_active": "on",
            "request_database": [people.shop_team.pk, people.security.pk],
            "own_database": [people.dba.pk],
        },
    )
    people.shop.refresh_from_db()
    assert people.shop.description == "What we sell."
    assert set(groups_with(people.shop, "request_database")) == {people.shop_team, people.security}
    assert list(groups_with(people.shop, "own_database")) == [people.dba]


def test_read_when_asked(dana: Client, people: Cast) -> None:
    dana.post(address("database", "read_now", people.shop.pk))
    dana.post(address("database", "changelist"), {"action": "read", "_selected_action": people.staging.pk})
    assert Database.objects.filter(sync_wanted_at=None).count() == 0


def test_classify_when_many_are_selected(dana: Client, people: Cast) -> None:
    columns = Column.objects.filter(table__database=people.shop, table__name="orders")
    answer = dana.post(
        address("column", "changelist"),
        {
            "action": "classify_internal",
            "data_class": "name",
            "_selected_action": [column.pk for column in columns],
        },
        follow=True,
    )
    assert "Columns that changed: 3." in answer.content.decode()
    assert set(columns.values_list("classification", "data_class")) == {("internal", "name")}
    assert last_entry().facts["columns"] == 3


def test_classify_when_refused(dana: Client, people: Cast) -> None:
    column = Column.objects.filter(classification="")[0]
    answer = dana.post(
        address("column", "changelist"),
        {"action": "classify_public", "mask_override": "rot13", "_selected_action": column.pk},
        follow=True,
    )
    assert "is no mask" in answer.content.decode()
    column.refresh_from_db()
    assert column.classification == ""


def test_classify_when_one_is_changed(dana: Client, people: Cast) -> None:
    column = Column.objects.get(table__database=people.shop, name="email")
    dana.post(address("column", "change", column.pk), {"classification": "restricted", "data_class": "email"})
    column.refresh_from_db()
    assert column.classification == "restricted"
    answer = dana.post(address("column", "change", column.pk), {"classification": "public", "data_class": "a b"})
    assert list(errors(answer)) == ["data_class"]


def found(client: Client, model: str, **query: str) -> set[str]:
    return {str(row) for row in client.get(address(model, "changelist"), query).context["cl"].result_list}


def test_columns_when_filtered(dana: Client, people: Cast) -> None:
    database = {"table__database__id__exact": people.shop.pk}
    assert found(dana, "column", classification="restricted", **database) == {"hr.employees.salary"}
    assert "sales.orders.id" in found(dana, "column", classification="none", **database)
    assert "hr.employees.salary" not in found(dana, "column", classification="none", **database)
    Column.objects.filter(name="salary").update(gone_at=timezone.now())
    assert found(dana, "column", classification="restricted") == set()
    assert found(dana, "column", presence="gone", **database) == {"hr.employees.salary"}
    assert "hr.employees.salary" in found(dana, "column", presence="all", **database)


def fill(database: Database, tables: int) -> None:
    now = timezone.now()
    made = Table.objects.bulk_create(
        Table(database=database, schema=f"s{n % 9}", name=f"table_{n}", kind="table", first_seen_at=now)
        for n in range(tables)
    )
    Column.objects.bulk_create(
        Column(table=table, name=name, type="text", position=1, first_seen_at=now)
        for table in made
        for name in ("a", "b")
    )


def queries(client: Client, model: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(address(model, "changelist"), {"q": "o"}).status_code == 200
    return len(captured)


def test_changelist_when_there_are_thousands(dana: Client, people: Cast) -> None:
    """As many queries as for a handful."""
    models = ["server", "database", "table", "column", "dataclass"]
    for model in models:
        queries(dana, model)  # what is cached for the process is cached now
    few = [queries(dana, model) for model in models]
    fill(people.shop, tables=3_000)
    many = [queries(dana, model) for model in models]
    assert all(after <= before + 1 for before, after in zip(few, many, strict=True))  # one more for a second page
