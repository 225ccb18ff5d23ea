"""Suggestions: made by a worker, taken up by a database administrator. No value is kept, nothing changes by itself."""

import logging
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.serializers import serialize
from django.test import Client
from django.urls import reverse

from apps.catalog import services
from apps.catalog.models import Column, Database, Server
from apps.catalog.suggestions import LOOK_AGAIN, run_suggest, to_suggest, waiting
from apps.core import clock
from apps.core.errors import Invalid, NotAllowed, NotFound
from apps.engines.base import Refused, TargetUnavailable
from tests.catalog.fakes import FakeEngine
from tests.catalog.said import last_entry, said
from tests.catalog.test_real_server import psql
from tests.factories import Cast, cast
from tests.support.targets import TargetServer

pytestmark = pytest.mark.django_db

EMAILS = [f"person{number}@example.org" for number in range(20)]


@pytest.fixture
def shop(database: Database, engine: FakeEngine) -> Database:
    """`crm` with three tables read and nothing classified."""
    engine.tables = {
        "sales.customers": ["id bigint", "name text", "contact text", "born date", "vip boolean"],
        "sales.orders": ["id bigint", "customer_id bigint", "note text"],
        "hr.staff": ["id bigint", "salary numeric", "iban text"],
    }
    engine.values = {"sales.customers.contact": EMAILS}
    services.run_sync(database.pk)
    return Database.objects.get(pk=database.pk)


@pytest.fixture
def people() -> Cast:
    return cast()


def suggest(database: Database) -> dict[str, str]:
    run_suggest(database.pk)
    return suggested()


def suggested() -> dict[str, str]:
    return {
        str(column): f"{column.suggestion['classification']} {column.suggestion['data_class']}"
        for column in waiting().order_by("table__schema", "table__name", "position")
        if column.suggestion
    }


def column(name: str) -> Column:
    return Column.objects.get(name=name, table__database__slug="crm")


ALL = {
    "hr.staff.salary": "restricted salary",
    "hr.staff.iban": "restricted iban",
    "sales.customers.name": "confidential name",
    "sales.customers.contact": "confidential email",
    "sales.customers.born": "confidential date_of_birth",
    "sales.orders.note": "confidential free_text",
}


def test_run_suggest_when_first(shop: Database, engine: FakeEngine) -> None:
    before = last_entry()
    assert suggest(shop) == ALL
    assert column("contact").suggestion == {
        "classification": "confidential",
        "data_class": "email",
        "why": "20 of 20 different sampled values are e-mail addresses.",
    }
    assert not Column.objects.exclude(classification="").exists()
    assert last_entry() == before
    shop.refresh_from_db()
    assert shop.suggested_at == shop.synced_at


def test_run_suggest_when_it_asks_for_values(shop: Database, engine: FakeEngine) -> None:
    """Only of columns whose values can tell, and that nobody has classified."""
    services.classify(actor="operator", column_id=column("note").pk, classification="internal")
    run_suggest(shop.pk)
    assert sorted(engine.asked[-1]) == [
        "hr.staff.iban", "hr.staff.id", "hr.staff.salary",
        "sales.customers.contact", "sales.customers.id", "sales.customers.name",
        "sales.orders.customer_id", "sales.orders.id",
    ]  # fmt: skip


def test_run_suggest_when_values_are_secret(
    shop: Database, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """No row of the catalog or of the record, and no log, holds any."""
    caplog.set_level(logging.DEBUG)
    engine.values |= {
        "sales.customers.name": ["Sentinel"] * 3 + EMAILS,
        "sales.orders.note": [f"Sentinel {n}" for n in range(40)],
    }
    run_suggest(shop.pk)
    kept = serialize("json", [*Column.objects.all(), *Database.objects.all()]) + str(said()) + caplog.text
    assert "person1@" not in kept
    assert "Sentinel" not in kept


@pytest.mark.parametrize("error", [TargetUnavailable("Nobody answered."), Refused("It said no.")])
def test_run_suggest_when_sampling_fails(shop: Database, engine: FakeEngine, error: Any) -> None:
    """What had come by then counts; of the rest the names do."""
    engine.sample_error = error
    assert suggest(shop) == ALL
    Column.objects.update(suggestion=None)
    engine.values = {}
    assert suggest(shop) == {name: what for name, what in ALL.items() if name != "sales.customers.contact"}
    shop.refresh_from_db()
    assert (shop.sync_error, shop.suggested_at) == ("", shop.synced_at)


def test_run_suggest_when_there_is_no_secret(shop: Database, engine: FakeEngine) -> None:
    services.change_server(actor="operator", server_id=shop.server_id, port=6432)
    engine.asked.clear()
    assert "sales.customers.contact" not in suggest(shop)
    assert engine.asked == []
    assert len(suggested()) == len(ALL) - 1


def test_run_suggest_when_there_is_no_such_database() -> None:
    with pytest.raises(NotFound):
        run_suggest("nothing")


def test_run_suggest_when_again(shop: Database, engine: FakeEngine) -> None:
    """What waits is left as it is, also when the values tell something else by now."""
    run_suggest(shop.pk)
    engine.values = {"sales.customers.name": EMAILS}
    assert suggest(shop) == ALL


def test_run_suggest_when_classified_meanwhile(
    shop: Database, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def classify(*args: object) -> Any:
        services.classify(actor="operator", column_id=column("contact").pk, classification="public")
        return FakeEngine.samples(engine, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(engine, "samples", classify)
    assert "sales.customers.contact" not in suggest(shop)
    assert column("contact").suggestion is None


def test_run_suggest_when_gone(shop: Database, engine: FakeEngine) -> None:
    del engine.tables["hr.staff"]
    engine.tables["sales.customers"].remove("born date")
    services.run_sync(shop.pk)
    assert set(suggest(shop)) == {"sales.customers.name", "sales.customers.contact", "sales.orders.note"}


def due() -> list[str]:
    return [database.slug for database in to_suggest(clock.now())]


def test_to_suggest_when_never_read(database: Database) -> None:
    assert due() == []


def test_to_suggest_when_read(shop: Database, engine: FakeEngine) -> None:
    """Once after the first reading, then where there is something new."""
    assert due() == ["crm"]
    run_suggest(shop.pk)
    assert due() == []
    services.run_sync(shop.pk)
    assert due() == []
    engine.tables["sales.orders"].append("gift_note text")
    services.run_sync(shop.pk)
    assert due() == ["crm"]
    assert "sales.orders.gift_note" in suggest(shop)
    assert due() == []


def test_to_suggest_when_a_day_has_passed(shop: Database) -> None:
    """Empty tables may have been filled; but not again and again while the server cannot be read."""
    run_suggest(shop.pk)
    Database.objects.update(suggested_at=clock.now() - LOOK_AGAIN - timedelta(minutes=1))
    assert due() == ["crm"]
    run_suggest(shop.pk)
    assert due() == []
    long_ago = clock.now() - 2 * LOOK_AGAIN
    Database.objects.update(suggested_at=long_ago, synced_at=long_ago)
    Column.objects.update(first_seen_at=long_ago)
    assert due() == []


def test_to_suggest_when_read_meanwhile(shop: Database, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns that came after we had looked at the list are still to be searched."""

    def read(*args: object) -> Any:
        engine.tables["sales.orders"].append("phone text")
        services.run_sync(shop.pk)
        return iter(())

    monkeypatch.setattr(engine, "samples", read)
    run_suggest(shop.pk)
    assert due() == ["crm"]


@pytest.mark.parametrize("inactive", ["database", "server"])
def test_to_suggest_when_not_active(shop: Database, inactive: str) -> None:
    if inactive == "database":
        services.change_database(actor="operator", database_id=shop.pk, is_active=False)
    else:
        services.change_server(actor="operator", server_id=shop.server_id, is_active=False)
    assert due() == []


def ids(*names: str) -> list[int]:
    return [column(name).pk for name in names]


def test_accept_suggestions_when_some_wait(shop: Database, people: Cast) -> None:
    run_suggest(shop.pk)
    before = len(said())
    wanted = ids("contact", "born", "salary", "vip")
    assert services.accept_suggestions(actor=people.dana, column_ids=wanted) == 3
    assert {
        (name, found.classification, found.data_class, found.suggestion)
        for name in ("contact", "born", "salary", "vip")
        for found in [column(name)]
    } == {
        ("contact", "confidential", "email", None),
        ("born", "confidential", "date_of_birth", None),
        ("salary", "restricted", "salary", None),
        ("vip", "", "", None),
    }
    told = said()[before:]
    assert {entry.action for entry in told} == {"column.classified"}
    assert {(entry.facts["classification"], entry.facts["data_class"]) for entry in told} == {
        ("confidential", "email"), ("confidential", "date_of_birth"), ("restricted", "salary"),
    }  # fmt: skip
    assert all(entry.facts["before"] == {"none": 1} for entry in told)
    assert sorted(entry.texts["columns"] for entry in told) == [
        "hr.staff.salary: none → restricted salary",
        "sales.customers.born: none → confidential date_of_birth",
        "sales.customers.contact: none → confidential email",
    ]


def test_accept_suggestions_when_classified_meanwhile(shop: Database) -> None:
    """Somebody's word stands."""
    run_suggest(shop.pk)
    services.classify(actor="operator", column_id=column("contact").pk, classification="public")
    before = last_entry()
    assert services.accept_suggestions(actor="operator", column_ids=ids("contact")) == 0
    assert column("contact").classification == "public"
    assert last_entry() == before


def test_accept_suggestions_when_the_label_may_not_be(shop: Database) -> None:
    """The same checks as when somebody classifies by hand, and all or nothing."""
    run_suggest(shop.pk)
    Column.objects.filter(name="born").update(suggestion={"classification": "odd", "data_class": "email", "why": ""})
    with pytest.raises(Invalid):
        services.accept_suggestions(actor="operator", column_ids=ids("contact", "born"))
    assert column("contact").classification == ""


def test_dismiss_suggestions_when_some_wait(shop: Database, engine: FakeEngine, people: Cast) -> None:
    """The same one does not come back; another may."""
    run_suggest(shop.pk)
    assert services.dismiss_suggestions(actor=people.dana, column_ids=ids("contact", "note", "vip")) == 2
    assert (column("contact").suggestion, column("contact").classification) == (None, "")
    entry = last_entry()
    assert (entry.action, entry.subject) == ("suggestion.dismissed", shop.audit_id)
    assert entry.facts["suggested"] == {"confidential email": 1, "confidential free_text": 1}
    assert entry.texts["columns"] == "sales.customers.contact\nsales.orders.note"
    assert set(ALL) - set(suggest(shop)) == {"sales.customers.contact", "sales.orders.note"}
    engine.values["sales.customers.contact"] = [f"+4930901820{number}" for number in range(10, 30)]
    assert suggest(shop)["sales.customers.contact"] == "confidential phone"


def test_dismiss_suggestions_when_none_waits(shop: Database) -> None:
    before = last_entry()
    assert services.dismiss_suggestions(actor="operator", column_ids=ids("contact")) == 0
    assert last_entry() == before


@pytest.mark.parametrize("verb", [services.accept_suggestions, services.dismiss_suggestions])
def test_verbs_when_not_allowed(shop: Database, people: Cast, verb: Callable[..., int]) -> None:
    run_suggest(shop.pk)
    for person in (people.alice, people.sam, people.audrey):
        with pytest.raises(NotAllowed):
            verb(actor=person, column_ids=ids("contact"))
    with pytest.raises(NotFound):
        verb(actor="operator", column_ids=[*ids("contact"), 0])
    assert suggested() == ALL


@pytest.fixture
def dana(people: Cast, client: Client) -> Client:
    client.force_login(people.dana, backend="apps.accounts.backends.SsoBackend")
    return client


COLUMNS = "admin:catalog_column_changelist"


def test_admin_when_suggestions_wait(shop: Database, dana: Client) -> None:
    run_suggest(shop.pk)
    page = dana.get(reverse(COLUMNS)).content.decode()
    assert "suggests how to classify 6 columns" in page
    assert "20 of 20 different sampled values are e-mail addresses." in page
    listed = dana.get(reverse(COLUMNS), {"suggestion": "yes"})
    assert {found.name for found in listed.context["cl"].queryset} == {name.rsplit(".", 1)[1] for name in ALL}
    assert "suggests how to classify" not in listed.content.decode()
    databases = dana.get(reverse("admin:catalog_database_changelist")).content.decode()
    assert "6 with a suggestion" in databases
    assert "20 of 20" in dana.get(reverse("admin:catalog_column_change", args=ids("contact"))).content.decode()


def test_admin_when_suggestions_are_taken_up(shop: Database, dana: Client) -> None:
    run_suggest(shop.pk)
    for action, names in (("accept_suggestions", ["contact", "salary"]), ("dismiss_suggestions", ["note"])):
        said = {"action": action, "_selected_action": ids(*names)}
        assert dana.post(reverse(COLUMNS), said).status_code == 302
    assert (column("contact").data_class, column("salary").classification) == ("email", "restricted")
    assert column("note").suggestion_dismissed == "confidential free_text"
    page = dana.get(reverse(COLUMNS)).content.decode()
    assert "Columns classified as suggested: 2." in page
    assert "Suggestions dismissed: 1." in page
    assert "suggests how to classify 3 columns" in page


def test_admin_when_no_suggestion_waits(shop: Database, dana: Client) -> None:
    assert "suggests how to classify" not in dana.get(reverse(COLUMNS)).content.decode()
    assert "with a suggestion" not in dana.get(reverse("admin:catalog_database_changelist")).content.decode()


@pytest.fixture
def real(target: TargetServer, tmp_path: Path) -> Database:
    """A database on a server that was bootstrapped, with e-mail addresses in columns whose names tell nothing."""
    name = target.create_database()
    with target.admin(name) as admin:
        admin.execute(
            "CREATE SCHEMA sales;"
            "CREATE TABLE sales.leads (id bigint PRIMARY KEY, c1 text, c2 text, note text, score numeric(8, 2));"
            "INSERT INTO sales.leads SELECT n, 'person' || n || '@example.org', 'Chair ' || n, NULL, n / 7.0"
            " FROM generate_series(1, 50) n;"
            "CREATE TABLE sales.guarded (c1 text, iban text);"
            "ALTER TABLE sales.guarded ENABLE ROW LEVEL SECURITY;"
            "INSERT INTO sales.guarded SELECT c1 FROM sales.leads"
        )
    server = services.add_server(
        actor="operator", name="real", host=target.host, port=target.port, tls=Server.TlsMode.LOOPBACK_PLAINTEXT
    )
    database = services.add_database(
        actor="operator", server_id=server.pk, slug="crm", datname=name, environment="staging"
    )
    psql(target, services.make_bootstrap(actor="operator", server_id=server.pk), tmp_path)
    services.run_sync(database.pk)
    return Database.objects.get(pk=database.pk)


def test_run_suggest_when_the_server_is_real(real: Database) -> None:
    """Values of the plain table tell; of the one with row security only names do."""
    assert suggest(real) == {
        "sales.guarded.iban": "restricted iban",
        "sales.leads.c1": "confidential email",
        "sales.leads.note": "confidential free_text",
    }
    found = Column.objects.get(name="c1", table__name="leads").suggestion
    assert found is not None
    assert found["why"] == "50 of 50 different sampled values are e-mail addresses."
