"""Tables read from a target: added, changed, gone, returned; classification outlives all of it."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.catalog import services
from apps.catalog.masking import tie_from_json
from apps.catalog.models import Column, Database, Table
from apps.catalog.sync import run_sync
from apps.core.errors import NotFound
from apps.engines.base import Refused, TableName, TargetUnavailable
from apps.engines.ties import Tie, TieKind
from tests.catalog.fakes import FakeEngine
from tests.catalog.said import last_entry, said

pytestmark = pytest.mark.django_db

NOTHING = {
    "tables_added": 0,
    "tables_changed": 0,
    "tables_gone": 0,
    "tables_returned": 0,
    "columns_added": 0,
    "columns_changed": 0,
    "columns_gone": 0,
    "columns_returned": 0,
}


def sync(database: Database) -> None:
    run_sync(database.pk)
    database.refresh_from_db()


def present(database: Database) -> dict[str, list[str]]:
    """What the catalog says is there, in the form of FakeEngine.tables, with every type."""
    return {
        str(table): [f"{column.name} {column.type}" for column in table.columns.filter(gone_at=None)]
        for table in database.tables.filter(gone_at=None)
    }


@pytest.fixture
def orders(database: Database, engine: FakeEngine) -> Database:
    """`crm` with one table, one of whose columns is classified."""
    engine.tables = {"sales.orders": ["id bigint", "email text"]}
    sync(database)
    services.classify(actor="operator", column_id=Column.objects.get(name="email").pk, classification="confidential")
    return database


def test_run_sync_when_first(database: Database, engine: FakeEngine) -> None:
    engine.tables = {"sales.orders": ["id bigint", "email text"], "hr.people": ["id"]}
    sync(database)
    assert engine.asked == ["crm"]
    assert present(database) == {"hr.people": ["id text"], "sales.orders": ["id bigint", "email text"]}
    assert database.synced_at is not None
    assert (database.sync_wanted_at, database.sync_error) == (None, "")
    entry = last_entry()
    assert (entry.action, entry.actor, entry.subject) == ("catalog.synced", "worker", database.audit_id)
    assert entry.facts == NOTHING | {"tables_added": 2, "columns_added": 3, "tables": 2}


def test_run_sync_when_nothing_changed(orders: Database) -> None:
    before = last_entry()
    sync(orders)
    assert last_entry() == before
    services.want_sync(actor="operator", database_id=orders.pk)
    sync(orders)
    assert last_entry().facts == NOTHING | {"tables": 1}  # somebody asked, so there is an answer


def test_run_sync_when_columns_change(orders: Database, engine: FakeEngine) -> None:
    engine.tables = {"sales.orders": ["id integer", "email varchar", "note"]}
    sync(orders)
    assert present(orders) == {"sales.orders": ["id integer", "email varchar", "note text"]}
    assert Column.objects.get(name="email").classification == "confidential"
    assert Column.objects.get(name="note").classification == ""
    assert last_entry().facts == NOTHING | {"columns_changed": 2, "columns_added": 1, "tables": 1}


def test_run_sync_when_a_column_is_renamed(orders: Database, engine: FakeEngine) -> None:
    """It is another column at the same position, so it is classified as before; the old one is remembered."""
    engine.tables = {"sales.orders": ["id bigint", "mail text"]}
    sync(orders)
    assert Column.objects.get(name="mail").classification == "confidential"
    assert Column.objects.get(name="email").gone_at is not None
    followed = {"columns_added": 1, "columns_gone": 1, "tables": 1, "labels_followed": 1}
    assert last_entry().facts == NOTHING | followed
    assert last_entry().texts == {"labels": "sales.orders.mail: none → confidential"}
    engine.tables = {"sales.orders": ["id bigint", "email text", "mail text"]}
    sync(orders)
    email = Column.objects.get(name="email")
    assert (email.gone_at, email.classification) == (None, "confidential")
    assert last_entry().facts["columns_returned"] == 1


@pytest.mark.parametrize(
    "columns", [["id", "note"], ["id", "note", "email", "other"], ["id", "note", "extra", "email"]]
)
def test_run_sync_when_a_masked_column_takes_a_known_name(
    database: Database, engine: FakeEngine, columns: list[str]
) -> None:
    """`note` is dropped, or has another name now, and `email` is called `note`: its values are still masked."""
    engine.tables = {"sales.orders": ["id", "email", "note"]}
    sync(database)
    for name, level in (("email", "confidential"), ("note", "internal")):
        services.classify(actor="operator", column_id=Column.objects.get(name=name).pk, classification=level)
    engine.tables = {"sales.orders": columns}
    sync(database)
    note = Column.objects.get(name="note")
    assert note.classification == "confidential"
    assert last_entry().texts["labels"].splitlines()[0] == "sales.orders.note: internal → confidential"
    sync(database)  # the next reading finds nothing new
    assert Column.objects.get(name="note").classification == "confidential"


def test_run_sync_when_a_new_name_is_given_to_a_column_whose_name_lives_on(
    orders: Database, engine: FakeEngine
) -> None:
    """`email` is renamed, and what is added then is called `email`."""
    engine.tables = {"sales.orders": ["id bigint", "plain text", "email text"]}
    sync(orders)
    assert set(Column.objects.exclude(name="id").values_list("name", "classification")) == {
        ("plain", "confidential"),
        ("email", "confidential"),
    }


def test_run_sync_when_masked_columns_change_names(database: Database, engine: FakeEngine) -> None:
    """Which mask is whose cannot be told for certain, so that both hide everything."""
    engine.tables = {"s.t": ["phone", "mail"]}
    sync(database)
    for name, mask in (("phone", "partial(0,2)"), ("mail", "email")):
        column = Column.objects.get(name=name)
        services.classify(actor="operator", column_id=column.pk, classification="confidential", mask=mask)
    engine.tables = {"s.t": ["mail", "phone"]}
    sync(database)
    assert set(Column.objects.values_list("classification", "mask_override")) == {("confidential", "hidden")}


@pytest.mark.parametrize("known_as", ["gone", "there"])
def test_run_sync_when_a_masked_table_takes_a_known_name(orders: Database, engine: FakeEngine, known_as: str) -> None:
    """Also where a table of that name was there once, or until now."""
    masked, other = engine.tables, {"sales.old": ["id int"]}
    engine.tables = masked | other
    sync(orders)
    if known_as == "gone":
        engine.tables = masked
        sync(orders)
    services.add_filter(
        actor="operator",
        table_id=Table.objects.get(name="orders").pk,
        column="id",
        operator="<",
        values=["7"],
    )
    engine.tables = {"sales.old": masked["sales.orders"]}
    sync(orders)
    old = Table.objects.get(name="old")
    assert old.columns.get(name="email").classification == "confidential"
    assert [str(row.row_filter) for row in old.standing_filters.all()] == ["id < '7'"]
    sync(orders)
    assert old.standing_filters.count() == 1


def test_run_sync_when_a_masked_table_is_renamed_and_another_one_takes_its_name(
    orders: Database, engine: FakeEngine
) -> None:
    engine.tables = {"sales.orders": ["number int"], "sales.orders_old": ["id bigint", "email text"]}
    sync(orders)
    assert Table.objects.get(name="orders_old").columns.get(name="email").classification == "confidential"


@pytest.mark.parametrize(
    ("columns", "classification"),
    [
        (["id bigint", "email text"], "confidential"),
        (["id bigint", "mail text", "note text"], "confidential"),
        (["id bigint", "email int"], ""),
    ],
)
def test_run_sync_when_a_table_is_renamed(
    orders: Database, engine: FakeEngine, columns: list[str], classification: str
) -> None:
    """A new table made like the one that is gone is taken for it."""
    engine.tables = {"archive.orders_2": columns}
    sync(orders)
    table = Table.objects.get(name="orders_2")
    assert list(table.columns.values_list("classification", flat=True))[:2] == ["", classification]


def test_run_sync_when_a_table_is_copied(orders: Database, engine: FakeEngine) -> None:
    """Nothing is gone, so nobody was renamed: it is for a DBA to classify."""
    engine.tables |= {"sales.copy": ["id bigint", "email text"]}
    sync(orders)
    assert not Table.objects.get(name="copy").columns.exclude(classification="").exists()


def test_run_sync_when_a_table_goes_and_returns(orders: Database, engine: FakeEngine) -> None:
    tables, engine.tables = engine.tables, {}
    sync(orders)
    assert present(orders) == {}
    assert Table.objects.get().gone_at is not None
    assert last_entry().facts == NOTHING | {"tables_gone": 1, "tables": 0}
    sync(orders)
    assert last_entry().facts["tables_gone"] == 1  # it is gone once
    engine.tables = tables
    sync(orders)
    assert present(orders) == {"sales.orders": ["id bigint", "email text"]}
    assert Column.objects.get(name="email").classification == "confidential"
    assert last_entry().facts == NOTHING | {"tables_returned": 1, "tables": 1}


@pytest.mark.parametrize("name", ["a.b", 'a"b', "a b", "Ä", "UPPER", "*", "x" * 63, "é" * 31, "'; --", "a\tb\\N"])
def test_run_sync_when_names_are_odd(database: Database, engine: FakeEngine, name: str) -> None:
    """COPY and arrays carry them unharmed."""
    engine.tables = {f"s.{name}": ["id"], "s.t": [name.replace(" ", "_")]}
    sync(database)
    sync(database)
    assert {table.name for table in Table.objects.all()} == {name, "t"}
    assert Column.objects.filter(name=name.replace(" ", "_")).exists()
    assert len([entry for entry in said() if entry.action == "catalog.synced"]) == 1


@pytest.mark.parametrize("error", [TargetUnavailable("Nobody answered."), Refused("It said no.")])
def test_run_sync_when_the_target_fails(orders: Database, engine: FakeEngine, error: Any) -> None:
    services.want_sync(actor="operator", database_id=orders.pk)
    before, entry, engine.error = orders.synced_at, last_entry(), error
    sync(orders)
    assert (orders.sync_error, orders.synced_at, orders.sync_wanted_at) == (error.sentence, before, None)
    assert len(present(orders)) == 1
    assert last_entry() == entry
    engine.error = None
    sync(orders)
    assert orders.sync_error == ""


def test_run_sync_when_there_is_no_secret(database: Database, engine: FakeEngine) -> None:
    services.change_server(actor="operator", server_id=database.server_id, port=6432)
    sync(database)
    assert "no password for its manager" in database.sync_error
    assert engine.asked == []


def test_run_sync_when_there_is_no_such_database() -> None:
    with pytest.raises(NotFound):
        run_sync("nothing")


def test_run_sync_when_wanted_again_meanwhile(
    orders: Database, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wish that comes while a worker reads is a wish for another look."""

    def read(*args: object) -> Any:
        services.want_sync(actor="operator", database_id=orders.pk)
        return iter(())

    monkeypatch.setattr(engine, "read_tables", read)
    sync(orders)
    assert orders.sync_wanted_at is not None


def test_run_sync_when_another_worker_was_faster(
    orders: Database, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read before the other's look does not undo it."""

    def read(*args: object) -> Any:
        monkeypatch.undo()
        monkeypatch.setattr("apps.catalog.sync.engine_for", lambda server: engine)
        engine.tables["sales.newer"] = ["id"]
        run_sync(orders.pk)
        return iter(())

    monkeypatch.setattr(engine, "read_tables", read)
    sync(orders)
    assert set(present(orders)) == {"sales.orders", "sales.newer"}


def test_run_sync_when_there_are_thousands(database: Database, engine: FakeEngine) -> None:
    """The number of SQL statements does not follow the number of tables."""
    columns = [f"column_{n}" for n in range(10)]
    engine.tables = {f"schema_{n % 7}.table_{n}": columns for n in range(2_000)}
    with CaptureQueriesContext(connection) as first:
        sync(database)
    assert Column.objects.count() == 20_000
    engine.tables = {name: [f"{column} integer" for column in columns] for name in list(engine.tables)[1_000:]}
    with CaptureQueriesContext(connection) as second:
        sync(database)
    assert last_entry().facts == NOTHING | {"tables_gone": 1_000, "columns_changed": 10_000, "tables": 1_000}
    assert len(first) < 20
    assert len(second) < 20


table_names = st.sampled_from(["s.a", "s.b", "s.c"])
column_lists = st.lists(
    st.sampled_from(["x text", "y text", "z text", "x integer"]), unique_by=lambda column: column[0]
)


@given(st.lists(st.dictionaries(table_names, column_lists), min_size=1, max_size=5))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_run_sync_when_anything_happens(
    database: Database, engine: FakeEngine, history: list[dict[str, list[str]]]
) -> None:
    """Whatever a database becomes, the catalog shows just that, and has one row for each name."""
    for engine.tables in history:
        sync(database)
        assert present(database) == engine.tables
    assert Table.objects.count() <= 3
    assert Column.objects.count() <= 9


# What holds in a table, and what limits it ---------------------------------------------------------------------

TIE = Tie(TieKind.CHECK, "positive", ("id", "email"))
OTHER = Tie(TieKind.FOREIGN_KEY, "buyer", ("email",), (("hr", "people", "mail"),))


def ties_in(database: Database) -> dict[TableName, tuple[Tie, ...]]:
    return {TableName(row.schema, row.name): tuple(map(tie_from_json, row.ties)) for row in database.tables.all()}


def test_run_sync_when_ties_change(orders: Database, engine: FakeEngine) -> None:
    """They are kept and are not told of: the record says what people see."""
    entry, name = last_entry(), TableName("sales", "orders")
    engine.ties, engine.keys = {"sales.orders": [TIE, OTHER]}, {"sales.orders": ("id",)}
    sync(orders)
    table = Table.objects.get()
    assert table.primary_key == ["id"]
    assert ties_in(orders) == {name: tuple(sorted([TIE, OTHER]))}
    assert last_entry() == entry
    engine.ties = {"sales.orders": [OTHER, TIE]}
    with CaptureQueriesContext(connection) as again:
        sync(orders)
    assert not [query for query in again if "UPDATE" in query["sql"] and "primary_key" in query["sql"]]
    engine.ties = {"sales.orders": [TIE]}
    sync(orders)
    assert ties_in(orders) == {name: (TIE,)}


def test_run_sync_when_a_new_table_has_ties(database: Database, engine: FakeEngine) -> None:
    engine.tables, engine.ties = {"s.t": ["id", "email"]}, {"s.t": [TIE]}
    engine.keys = {"s.t": ("email", "id")}
    sync(database)
    assert Table.objects.get().primary_key == ["email", "id"]
    assert ties_in(database) == {TableName("s", "t"): (TIE,)}


def test_run_sync_when_a_masked_column_is_renamed(orders: Database, engine: FakeEngine) -> None:
    Column.objects.filter(name="email").update(mask_override="partial(1,0)")
    engine.tables = {"sales.orders": ["id bigint", "mail text"]}
    sync(orders)
    assert Column.objects.get(name="mail").mask_override == "partial(1,0)"
    engine.tables = {"sales.bills": ["id bigint", "post text"]}
    sync(orders)
    assert Column.objects.get(name="post").mask_override == "partial(1,0)"
    engine.tables = {"sales.orders": ["id bigint", "mail text"], "sales.bills": ["id bigint", "post text"]}
    sync(orders)
    assert Column.objects.get(name="mail").mask_override == "partial(1,0)"


def test_run_sync_when_a_limited_table_is_renamed(orders: Database, engine: FakeEngine) -> None:
    """To give a table another name must not show the rows that were left out, nor end a pause."""
    table = Table.objects.get()
    services.add_filter(actor="operator", table_id=table.pk, column="id", operator="<", values=["7"])
    services.pause_table(actor="operator", table_id=table.pk, reason="Migration")
    engine.tables = {"sales.orders_2": ["number bigint", "email text"]}
    sync(orders)
    renamed = Table.objects.get(name="orders_2")
    assert [str(row.row_filter) for row in renamed.standing_filters.all()] == ["number < '7'"]
    assert renamed.pause_reason == "Migration"
    assert renamed.paused_at is not None
