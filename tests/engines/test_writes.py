"""Changing rows through masked views: what works, and what would tell what a masked column holds."""

from typing import Any

import psycopg
import pytest

from apps.engines.base import Level, Opened, TableName
from apps.engines.postgresql import PostgresEngine
from tests.engines.conftest import Shop
from tests.engines.test_views import refusal
from tests.engines.viewing import MASKS, NOTES, PEOPLE, a_view_spec, make_crm, rows, using, viewed

DENIED = psycopg.errors.InsufficientPrivilege
CHANGE = Level.CHANGE
REFERRED = (
    "ALTER TABLE crm.people ADD UNIQUE (ssn)",
    "ALTER TABLE crm.notes ADD ssn text REFERENCES crm.people (ssn)",
)


def why(opened: Opened, table: str = "crm.people") -> dict[str, str]:
    (shown,) = [view for view in opened.evidence.views if view.table == table]
    return {column.name: column.why_read_only for column in shown.columns if column.why_read_only}


def writable(opened: Opened) -> set[str]:
    return {column.name for view in opened.evidence.views for column in view.columns if column.writable}


def denied(session: psycopg.Connection[Any], *statements: str) -> None:
    for statement in statements:
        with pytest.raises(DENIED):
            session.execute(statement)


def test_change_when_nothing_is_tied(shop: Shop) -> None:
    make_crm(shop)
    spec = a_view_spec(shop, viewed(shop, PEOPLE, MASKS), viewed(shop, NOTES), level=CHANGE)
    with using(shop, spec) as (alice, opened):
        assert rows(
            alice, "INSERT INTO people (name, grade) VALUES ('Xia', 3) RETURNING id, name, ssn, email, region"
        ) == [(3, "Xia", "***", None, "EU")]
        assert rows(alice, "INSERT INTO notes (person, body) VALUES (3, 'new') RETURNING id") == [(2,)]
        assert rows(alice, "UPDATE people SET name = 'Zora' WHERE id = 1 RETURNING email, salary") == [
            ("z***@example.com", 5000)
        ]
        assert alice.execute("DELETE FROM notes WHERE id = 1").rowcount == 1
        assert alice.execute("UPDATE people SET name = 'x' WHERE ssn = '123-45-6789'").rowcount == 0
        denied(
            alice,
            "SELECT currval('crm.people_id_seq')",
            "UPDATE crm.people SET name = 'x'",
        )
        for statement in (
            "UPDATE people SET ssn = 'x'",
            "UPDATE people SET salary = salary",
            "INSERT INTO people (name, email) VALUES ('x', 'x')",
        ):
            with pytest.raises(psycopg.errors.FeatureNotSupported):
                alice.execute(statement)
    assert writable(opened) == {"id", "name", "region", "grade", "person", "body"}
    assert why(opened) == dict.fromkeys(MASKS, "is masked")
    assert shop.value("SELECT ssn FROM crm.people WHERE id = 1") == "123-45-6789"


def test_change_when_rows_conflict(shop: Shop) -> None:
    make_crm(shop)
    with using(shop, a_view_spec(shop, viewed(shop, PEOPLE, MASKS), level=CHANGE)) as (alice, _):
        upsert = "INSERT INTO people (id, name) VALUES (1, 'New') ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name"
        assert rows(alice, f"{upsert} RETURNING name, ssn") == [("New", "***")]
        assert alice.execute("INSERT INTO people (id, name) VALUES (1, 'x') ON CONFLICT DO NOTHING").rowcount == 0
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            alice.execute("INSERT INTO people (id, name) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET ssn = 'x'")


def test_change_when_merging(shop: Shop) -> None:
    make_crm(shop)
    merge = (
        "MERGE INTO people p USING (VALUES (1, 'Merged'), (9, 'Added')) AS s(id, name) ON p.id = s.id"
        " WHEN MATCHED THEN UPDATE SET name = s.name WHEN NOT MATCHED THEN INSERT (id, name) VALUES (s.id, s.name)"
    )
    with using(shop, a_view_spec(shop, viewed(shop, PEOPLE, MASKS), level=CHANGE)) as (alice, _):
        if shop.server.version < 17:
            with pytest.raises(psycopg.errors.FeatureNotSupported):
                alice.execute(merge)
            return
        assert alice.execute(merge).rowcount == 2
        assert rows(alice, "SELECT name, ssn FROM people WHERE id IN (1, 9) ORDER BY id") == [
            ("Merged", "***"),
            ("Added", "***"),
        ]


@pytest.mark.parametrize(
    ("tie", "tied", "said"),
    [
        ("ALTER TABLE crm.people ADD CHECK (salary < 100000 * grade)", {"grade"}, "check constraint people_check"),
        ("CREATE UNIQUE INDEX tight ON crm.people (region, ssn)", {"region"}, "unique index tight"),
        ("CREATE INDEX odd ON crm.people ((grade * salary))", {"grade"}, "index on an expression odd"),
        ("CREATE INDEX part ON crm.people (name) WHERE salary > 100", {"name"}, "index on an expression part"),
    ],
)
def test_change_when_a_column_is_tied(shop: Shop, tie: str, tied: set[str], said: str) -> None:
    make_crm(shop)
    shop.run(tie)
    with using(shop, a_view_spec(shop, viewed(shop, PEOPLE, MASKS), level=CHANGE)) as (alice, opened):
        for column in tied:
            assert said in why(opened)[column]
            denied(alice, f"UPDATE people SET {column} = NULL", f"INSERT INTO people ({column}) VALUES (NULL)")
        assert writable(opened) == {"id", "name", "region", "grade"} - tied


def test_change_when_the_tied_column_is_left_out_of_the_view(shop: Shop) -> None:
    """What is classified and not shown at all is an oracle's aim just the same."""
    make_crm(shop)
    shop.run("ALTER TABLE crm.people ADD CHECK (salary < 100000 * grade)")
    view = viewed(shop, PEOPLE, columns=("id", "name", "grade"))
    with using(shop, a_view_spec(shop, view, level=CHANGE, classified=frozenset({(PEOPLE, "salary")}))) as (
        alice,
        opened,
    ):
        assert writable(opened) == {"id", "name"}
        denied(alice, "UPDATE people SET grade = 1")
    shown = viewed(shop, PEOPLE, columns=("id", "name", "grade", "salary"))
    with using(shop, a_view_spec(shop, shown, level=CHANGE, classified=frozenset({(PEOPLE, "salary")}))) as (_, opened):
        assert writable(opened) == {"id", "name", "grade", "salary"}


def test_change_when_a_foreign_key_leads_to_a_masked_column(shop: Shop) -> None:
    make_crm(shop)
    shop.run(*REFERRED)
    both = frozenset({(PEOPLE, "ssn"), (NOTES, "ssn")})
    spec = a_view_spec(shop, viewed(shop, NOTES, {"ssn": "hidden"}), level=CHANGE, classified=both)
    with using(shop, spec) as (alice, opened):
        assert why(opened, "crm.notes")["ssn"] == "is masked"
        for statement in ("INSERT INTO notes (ssn) VALUES ('123-45-6789')", "UPDATE notes SET ssn = '123-45-6789'"):
            with pytest.raises(psycopg.errors.FeatureNotSupported):
                alice.execute(statement.encode())


def test_change_when_a_masked_column_is_referred_to(shop: Shop) -> None:
    make_crm(shop)
    shop.run(*REFERRED)
    masks = {"ssn": "hidden"}
    spec = a_view_spec(shop, viewed(shop, PEOPLE, masks), viewed(shop, NOTES, masks), level=CHANGE)
    with using(shop, spec) as (alice, _):
        denied(alice, "DELETE FROM people WHERE id = 2")
        assert alice.execute("UPDATE people SET name = 'x' WHERE id = 2").rowcount == 1


@pytest.mark.parametrize(
    ("event", "left"), [("INSERT", ("UPDATE",)), ("UPDATE", ("INSERT",)), ("DELETE", ("INSERT", "UPDATE"))]
)
def test_change_when_a_trigger_fires(newest: Shop, event: str, left: tuple[str, ...]) -> None:
    make_crm(newest)
    newest.run(
        "CREATE FUNCTION crm.tell() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN COALESCE(NEW, OLD); END'",
        f"CREATE TRIGGER telling BEFORE {event} ON crm.people FOR EACH ROW EXECUTE FUNCTION crm.tell()",
    )
    with using(newest, a_view_spec(newest, viewed(newest, PEOPLE, MASKS), level=CHANGE)) as (alice, opened):
        statements = {
            "INSERT": "INSERT INTO people (name) VALUES ('x')",
            "UPDATE": "UPDATE people SET grade = 1 WHERE id = 2",
            "DELETE": "DELETE FROM people WHERE id = 2",
        }
        for other, statement in statements.items():
            if other == event:
                denied(alice, statement)
            else:
                alice.execute(statement)
        (name,) = [column for column in opened.evidence.views[0].columns if column.name == "name"]
        assert name.writable == left
        assert (name.why_read_only == "") is (event == "DELETE")
        assert event == "DELETE" or "fires the trigger telling" in name.why_read_only


def test_change_when_a_column_is_generated(shop: Shop) -> None:
    make_crm(shop)
    shop.run("ALTER TABLE crm.people ADD twice int GENERATED ALWAYS AS (grade * 2) STORED")
    with using(shop, a_view_spec(shop, viewed(shop, PEOPLE, MASKS), level=CHANGE)) as (alice, opened):
        assert rows(alice, "UPDATE people SET grade = 4 WHERE id = 1 RETURNING twice") == [(8,)]
        assert why(opened)["twice"] == "is computed from other columns"
        assert "grade" in writable(opened)


def test_change_when_a_serial_column_is_masked(newest: Shop) -> None:
    """Its sequence would tell where it stands."""
    make_crm(newest)
    with using(newest, a_view_spec(newest, viewed(newest, PEOPLE, {"id": "hidden"}), level=CHANGE)) as (alice, opened):
        denied(alice, "INSERT INTO people (name) VALUES ('x')")
        assert not [reach for reach in opened.evidence.reach if reach.object.startswith("sequence")]


def test_change_when_all_columns_are_masked(shop: Shop) -> None:
    make_crm(shop)
    shop.run("CREATE TABLE crm.secrets (ssn text, pin int)", "INSERT INTO crm.secrets VALUES ('1', 1)")
    shop.bootstrap()
    table = TableName("crm", "secrets")
    with using(shop, a_view_spec(shop, viewed(shop, table, {"ssn": "hidden", "pin": "null"}), level=CHANGE)) as (
        alice,
        _,
    ):
        assert rows(alice, "SELECT * FROM secrets") == [("***", None)]
        with pytest.raises(psycopg.Error):
            alice.execute("UPDATE secrets SET pin = 1")


def test_change_when_another_scope_only_reads(engine: PostgresEngine, newest: Shop) -> None:
    make_crm(newest)
    read, change = (a_view_spec(newest, viewed(newest, NOTES), level=level) for level in (Level.EXPORT, CHANGE))
    with using(newest, change) as (alice, _), using(newest, read) as (bob, _):
        alice.execute("INSERT INTO notes (body) VALUES ('x')")
        denied(bob, "INSERT INTO notes (body) VALUES ('x')", "DELETE FROM notes")


def test_change_when_the_masker_may_not_write(newest: Shop) -> None:
    make_crm(newest)
    newest.run("REVOKE INSERT, DELETE ON crm.people FROM jitportal_masker")
    spec = a_view_spec(newest, viewed(newest, PEOPLE, MASKS), level=CHANGE)
    assert "jitportal_masker lacks INSERT, DELETE on crm.people" in refusal(newest, spec)


@pytest.mark.parametrize(
    ("key", "statement"),
    [
        ("int REFERENCES crm.people ON UPDATE CASCADE CHECK (person < 500)", "UPDATE people SET id = 999 WHERE id = 2"),
        ("int NOT NULL REFERENCES crm.people ON DELETE SET NULL", "DELETE FROM people WHERE id = 2"),
    ],
)
def test_change_when_a_cascade_would_fail_on_masked_rows(shop: Shop, key: str, statement: str) -> None:
    """It is done as the owner of the other table, to whom an error shows the whole row."""
    make_crm(shop)
    shop.run(f"CREATE TABLE crm.oaths (person {key}, oath text); INSERT INTO crm.oaths VALUES (2, 'sworn')")
    shop.bootstrap()
    oaths = viewed(shop, TableName("crm", "oaths"), {"oath": "hidden"})
    with using(shop, a_view_spec(shop, viewed(shop, PEOPLE), oaths, level=CHANGE)) as (alice, _):
        denied(alice, statement)
        alice.execute("INSERT INTO people (id, name) VALUES (77, 'x'); UPDATE people SET name = 'y' WHERE id = 77")
    plain = a_view_spec(shop, viewed(shop, PEOPLE), viewed(shop, oaths.table), level=CHANGE)
    with using(shop, plain) as (alice, _), pytest.raises(psycopg.errors.IntegrityError, match="sworn"):
        alice.execute(statement)


def test_change_when_a_cascade_is_seen_by_a_trigger(shop: Shop) -> None:
    make_crm(shop)
    shop.run("CREATE TABLE crm.oaths (person int REFERENCES crm.people ON DELETE CASCADE, oath text)")
    shop.bootstrap()
    oaths = viewed(shop, TableName("crm", "oaths"), {"oath": "hidden"})
    with using(shop, a_view_spec(shop, viewed(shop, PEOPLE), oaths, level=CHANGE)) as (alice, _):
        alice.execute("DELETE FROM people WHERE id = 2")
    shop.run(
        "CREATE FUNCTION crm.f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE NOTICE '%', old; RETURN old; END$$",
        "CREATE TRIGGER f BEFORE DELETE ON crm.oaths FOR EACH ROW EXECUTE FUNCTION crm.f()",
    )
    with using(shop, a_view_spec(shop, viewed(shop, PEOPLE), oaths, level=CHANGE)) as (alice, _):
        denied(alice, "DELETE FROM people WHERE id = 1")


@pytest.mark.parametrize(
    "prepare",
    [
        "ALTER TABLE crm.people ADD CHECK (ssn::numeric > 0) NOT VALID",
        "ALTER TABLE crm.people ADD CHECK (crm.fine(ssn))",
        "CREATE INDEX ON crm.people (crm.fine(ssn))",
    ],
)
def test_change_when_an_update_would_evaluate_the_masked(shop: Shop, prepare: str) -> None:
    make_crm(shop)
    shop.run(
        "CREATE FUNCTION crm.fine(text) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS"
        " $$BEGIN RAISE DEBUG 'is % fine?', $1; RETURN true; END$$",
        prepare,
    )
    with using(shop, a_view_spec(shop, viewed(shop, PEOPLE, MASKS), level=CHANGE)) as (alice, opened):
        denied(alice, "UPDATE people SET name = 'x' WHERE id = 1")
        alice.execute("INSERT INTO people (name) VALUES ('x')")
    assert "on masked columns, and what that says cannot be told" in why(opened)["name"]
    with using(shop, a_view_spec(shop, viewed(shop, PEOPLE, {"email": "email"}), level=CHANGE)) as (alice, _):
        alice.execute("DELETE FROM people WHERE name = 'x'")


def test_change_when_an_insert_would_collide_with_a_masked_default(shop: Shop) -> None:
    make_crm(shop)
    shop.run("ALTER TABLE crm.people ADD boss boolean DEFAULT false; UPDATE crm.people SET boss = (id = 1)")
    with using(shop, a_view_spec(shop, viewed(shop, PEOPLE, {"boss": "hidden"}), level=CHANGE)) as (alice, _):
        alice.execute("INSERT INTO people (name) VALUES ('x')")
    shop.run("DELETE FROM crm.people WHERE name = 'x'; CREATE UNIQUE INDEX ON crm.people (boss)")
    with using(shop, a_view_spec(shop, viewed(shop, PEOPLE, {"boss": "null"}), level=CHANGE)) as (alice, _):
        denied(alice, "INSERT INTO people (name) VALUES ('y')")


def test_change_when_a_generated_column_is_left_out(shop: Shop) -> None:
    """It tells of the masked one that it is made of, whether the catalog knows it or not."""
    make_crm(shop)
    before = viewed(shop, PEOPLE, {"salary": "null"})
    shop.run("ALTER TABLE crm.people ADD twice int GENERATED ALWAYS AS (salary * 2) STORED, ADD CHECK (twice > grade)")
    shop.run("CREATE INDEX ON crm.people (region, twice)")
    with using(shop, a_view_spec(shop, before, level=CHANGE)) as (_, opened):
        assert why(opened)["grade"] == "is tied to the masked twice by the check constraint people_check"
        assert opened.evidence.views[0].ordered
