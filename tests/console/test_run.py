"""Reading in the console: what comes back, what is cut, and what the record says."""

import pytest
from psycopg import sql

from apps.audit.services import disclosed_texts
from apps.catalog.models import Database
from apps.console import services as console
from apps.console.errors import RefusedStatement
from apps.console.events import Why
from apps.console.models import Statement
from apps.core.errors import Conflict, Invalid
from tests.console.scene import columns, done, entries, failed, live, names, rows
from tests.factories import Cast
from tests.support.targets import TargetServer


def test_run_when_all_is_well(people: Cast) -> None:
    grant = live(people)

    events = list(
        console.run(actor=people.alice, grant_id=grant.pk, sql="SELECT id, email FROM customers", address="::1")
    )

    assert names(events) == ["started", "columns", "done"]
    assert columns(events) == [("id", "integer"), ("email", "text")]
    assert done(events).tag == "SELECT 0"
    started, finished = entries(grant, "statement.")
    assert (started.action, finished.action) == ("statement.started", "statement.finished")
    assert started.disclosed["statement"] == "SELECT id, email FROM customers"
    assert started.disclosed["login"] == grant.login
    assert started.disclosed["address"] == "::1"
    assert started.facts["kind"] == "query"
    assert (finished.facts["outcome"], finished.facts["rows"]) == ("done", 0)


@pytest.mark.parametrize(
    ("sql", "shown"),
    [
        ("SELECT NULL, '', 'x'", (None, "", "x")),
        ("SELECT 0.1::numeric, 1e300::float8, 9007199254740993", ("0.1", "1e+300", "9007199254740993")),
        (r"SELECT '\x00ff'::bytea", (r"\x00ff",)),
        ("SELECT '{\"a\": 1}'::jsonb, ARRAY[1,NULL]", ('{"a": 1}', "{1,NULL}")),
        ("SELECT '<script>alert(1)</script>'", ("<script>alert(1)</script>",)),
        ("SELECT E'a\\tb\\nc', '表'", ("a\tb\nc", "表")),
        ("SELECT '2026-01-31'::date", ("2026-01-31",)),
    ],
)
def test_run_when_values_are_odd(people: Cast, sql: str, shown: tuple[str | None, ...]) -> None:
    grant = live(people)

    assert rows(console.run(actor=people.alice, grant_id=grant.pk, sql=sql)) == [shown]


def test_run_when_somebody_has_made_the_type(people: Cast, target: TargetServer) -> None:
    """Its name is asked for by another connection, and where that is not let in it goes without."""
    grant = live(people, tables=("stock.products",))
    asked = "SELECT 'glad'::stock.mood AS one, ARRAY['sad']::stock.mood[] AS more, 3 AS n"
    with target.admin(grant.database.datname) as admin:
        admin.execute("CREATE TYPE stock.mood AS ENUM ('glad', 'sad')")
    try:
        events = list(console.run(actor=people.alice, grant_id=grant.pk, sql=asked))
        assert columns(events) == [("one", "mood"), ("more", "mood[]"), ("n", "integer")]
        assert rows(events) == [("glad", "{sad}", "3")]

        with target.admin() as admin:
            admin.execute(sql.SQL("ALTER ROLE {} CONNECTION LIMIT 1").format(sql.Identifier(grant.login)))
        events = list(console.run(actor=people.alice, grant_id=grant.pk, sql=asked))
        assert [kind.split()[0] for _, kind in columns(events)] == ["type", "type", "integer"]
        assert rows(events) == [("glad", "{sad}", "3")]
    finally:
        with target.admin(grant.database.datname) as admin:
            admin.execute("DROP TYPE stock.mood")


def test_run_when_it_is_several(people: Cast) -> None:
    grant = live(people)

    text = "SELECT 1; -- one\nSELECT ';'; SELECT nothing; SELECT 3"
    events = list(console.run(actor=people.alice, grant_id=grant.pk, sql=text))

    assert names(events) == ["started", "columns", "rows", "done"] * 2 + ["started", "failed"]
    error = failed(events)
    assert (error.sqlstate, error.why, text[error.position or 0 :][:7]) == ("42703", Why.SQL, "nothing")
    assert [row.status for row in Statement.objects.order_by("started_at", "pk")] == ["done", "done", "failed"]
    assert len(entries(grant, "statement.finished")) == 3


def test_run_when_it_wants_to_write(people: Cast) -> None:
    grant = live(people, level="change", tables=("stock.products",))

    events = list(console.run(actor=people.alice, grant_id=grant.pk, sql="DELETE FROM stock.products"))

    assert failed(events).sqlstate == "25006"


def test_run_when_there_are_more_rows_than_are_shown(people: Cast) -> None:
    grant = live(people)
    Database.objects.filter(pk=grant.database_id).update(console_rows=5)

    text = "SELECT generate_series(1, 10000000); SELECT 'still here'"
    events = list(console.run(actor=people.alice, grant_id=grant.pk, sql=text))

    first = next(event for event in events if event.event == "done")
    assert (first.truncated, first.why) == (True, Why.ROWS)  # type: ignore[attr-defined]
    assert "first 5 rows" in first.sentence  # type: ignore[attr-defined]
    assert rows(events) == [(str(number),) for number in range(1, 6)] + [("still here",)]


def test_run_when_a_cell_is_huge(people: Cast) -> None:
    grant = live(people)

    events = list(console.run(actor=people.alice, grant_id=grant.pk, sql="SELECT 1, repeat('x', 5000000)"))

    (batch,) = [event for event in events if event.event == "rows"]
    assert len(batch.rows[0][1]) == 65536  # type: ignore[attr-defined]
    (cut,) = batch.cut  # type: ignore[attr-defined]
    assert (cut.row, cut.column, cut.bytes) == (0, 1, 5_000_000)


def test_run_when_a_cell_is_more_than_is_taken(people: Cast) -> None:
    grant = live(people)

    events = list(console.run(actor=people.alice, grant_id=grant.pk, sql="SELECT repeat('x', 100000000)"))

    error = failed(events)
    assert error.why is Why.BYTES
    assert "64 MiB" in error.sentence
    assert Statement.objects.get().status == "failed"


def test_run_when_columns_are_too_many(people: Cast) -> None:
    grant = live(people)

    text = "SELECT " + ", ".join(f"{number} AS c{number}" for number in range(10_000))
    events = list(console.run(actor=people.alice, grant_id=grant.pk, sql=text))

    assert failed(events).sqlstate == "54011"


@pytest.mark.parametrize(
    "sql",
    [
        "LISTEN x",
        "NOTIFY x",
        "SELECT pg_notify('a', 'b')",
        "SELECT U&\"\\0070g_notify\"('a', 'b')",
        "SET ROLE postgres",
        "SET SESSION AUTHORIZATION postgres",
        "BEGIN",
        "commit",
        "SELECT set_config('role', 'postgres', false)",
        "COPY sales.orders FROM PROGRAM 'id'",
        "SELECT 1; ROLLBACK",
        "DO $$ BEGIN EXECUTE 'noTify x'; END $$",
    ],
)
def test_run_when_the_console_refuses_it(people: Cast, sql: str) -> None:
    grant = live(people)

    with pytest.raises(RefusedStatement):
        console.run(actor=people.alice, grant_id=grant.pk, sql=sql)

    assert not Statement.objects.exists()
    assert [line.action for line in entries(grant, "statement.")] == ["statement.refused"]


@pytest.mark.parametrize(
    "sql", ["", " ;; -- nothing", "SELECT '\0'", "x" * 200_001, "SELECT 1;" * 101, "SELECT '\ud800'"]
)
def test_run_when_there_is_nothing_to_run(people: Cast, sql: str) -> None:
    grant = live(people)

    with pytest.raises(Invalid):
        console.run(actor=people.alice, grant_id=grant.pk, sql=sql)


@pytest.mark.parametrize(
    "sql", ["SELECT 'unfinished", "SELECT $$unfinished", 'SELECT "unfinished', "SELECT /* unfinished"]
)
def test_run_when_a_quote_is_not_finished(people: Cast, sql: str) -> None:
    grant = live(people)

    assert failed(console.run(actor=people.alice, grant_id=grant.pk, sql=sql)).sqlstate == "42601"


def test_query_when_it_is_two_statements(people: Cast) -> None:
    grant = live(people)

    with pytest.raises(Invalid, match="2 statements"):
        console.query(actor=people.alice, grant_id=grant.pk, sql="SELECT 1; SELECT 2")


def test_run_when_the_same_click_comes_twice(people: Cast) -> None:
    grant = live(people)

    console.run(actor=people.alice, grant_id=grant.pk, sql="SELECT 1", once="c1").close()
    with pytest.raises(Conflict, match="already"):
        console.run(actor=people.alice, grant_id=grant.pk, sql="SELECT 1", once="c1")


def test_run_when_values_of_statements_are_not_kept(people: Cast) -> None:
    grant = live(people)
    Database.objects.filter(pk=grant.database_id).update(keeps_literals=False)

    list(console.run(actor=people.alice, grant_id=grant.pk, sql="SELECT 1 WHERE 'zoe@example.com' = /* Zoe */ $a$x$a$"))

    row = Statement.objects.get()
    assert disclosed_texts([row.entry_id or 0], "statement") == {row.entry_id: "SELECT $ WHERE $ =   $"}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 --\r, (SELECT max(email) FROM customers) --\n",  # to the server a comment ends with CR as well
        # In GBK the last byte of the letter takes the backslash to itself, so that the string ends sooner.
        "SET client_encoding = 'GBK'; SELECT E'表\\', (SELECT max(email) FROM customers), '' AS \"x\"",
        "SET standard_conforming_strings = off; SELECT 'a\\'', (SELECT max(email) FROM customers), 'b'",
    ],
)
def test_run_when_values_are_not_kept_and_it_hides_what_it_reads(people: Cast, sql: str) -> None:
    grant = live(people)
    Database.objects.filter(pk=grant.database_id).update(keeps_literals=False)

    events = list(console.run(actor=people.alice, grant_id=grant.pk, sql=sql))

    row = Statement.objects.order_by("started_at", "pk").last()
    assert row is not None
    told = disclosed_texts([row.entry_id or 0], "statement")[row.entry_id or 0]
    assert "email" in told or failed(events).sqlstate == "42601"


def test_run_when_a_column_is_masked(people: Cast, target: TargetServer) -> None:
    with target.admin(people.shop.datname) as admin:
        admin.execute("INSERT INTO sales.customers VALUES (7, 'zoe@example.com', 'EU') ON CONFLICT DO NOTHING")
    grant = live(people)

    found = rows(
        console.run(actor=people.alice, grant_id=grant.pk, sql="SELECT email, region FROM customers WHERE id = 7")
    )

    assert found[0][1] == "EU"
    assert "zoe" not in str(found)


def test_open_console_when_it_is_live(people: Cast) -> None:
    grant = live(people)
    list(console.run(actor=people.alice, grant_id=grant.pk, sql="SELECT 1"))

    seen = console.open_console(actor=people.alice, grant_id=grant.pk)

    tables = {table.table: table for table in seen.tables}
    email = next(column for column in tables["customers"].columns if column.name == "email")
    assert email.mask is not None
    assert tables["customers"].is_view
    assert seen.why_not == ""
    assert 0 < seen.seconds_left <= 1800
    assert [past.text for past in seen.history] == ["SELECT 1"]
    for table in seen.tables:
        assert (
            failed_or_none(console.run(actor=people.alice, grant_id=grant.pk, sql=f"SELECT * FROM {table.name}"))
            is None
        )


def failed_or_none(events: console.Stream) -> object:
    return next((event for event in events if event.event == "failed"), None)


def test_run_when_the_record_cannot_be_written(
    people: Cast, monkeypatch: pytest.MonkeyPatch, target: TargetServer
) -> None:
    grant = live(people)

    def full(*_: object, **__: object) -> int:
        raise RuntimeError("There is no room in the record.")

    monkeypatch.setattr("apps.audit.services.record", full)
    ran: list[str] = []
    monkeypatch.setattr("apps.engines.postgresql.running.Session.execute", lambda *given: ran.append(str(given)))

    with pytest.raises(RuntimeError):
        console.run(actor=people.alice, grant_id=grant.pk, sql="SELECT 1")
    assert ran == []
    assert not Statement.objects.exists()
