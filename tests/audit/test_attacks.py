"""What a taken-over runtime process tries with its own database role: field notes W1, S1, S4 and S11.

Everything here is raw SQL as jitportal_web and as jitportal_worker; nothing of it may change what was recorded.
"""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from apps.audit.chain import ZERO, Head, Sealed, micros, verify
from jitportal.portal_database import OWNER, WEB, WORKER
from tests.support import record
from tests.support.portal import PortalDatabase

DENIED = psycopg.errors.InsufficientPrivilege
TABLES = ("entry", "seal", "head", "disclosure", "reading")

pytestmark = pytest.mark.usefixtures("django_db_setup")


@pytest.fixture(params=[WEB, WORKER])
def role(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def attacker(portal_database: PortalDatabase, role: str) -> Iterator[psycopg.Connection]:
    with portal_database.connect(role) as connection:
        yield connection


@pytest.fixture
def owner(portal_database: PortalDatabase) -> Iterator[psycopg.Connection]:
    with portal_database.connect(OWNER) as connection:
        yield connection


def chain(connection: psycopg.Connection) -> tuple[list[Sealed], Head]:
    """The whole record as an independent reader sees it."""
    rows = connection.execute(
        "SELECT s.index, s.recorded_at, s.recorded_by, e.body, s.hash FROM audit.seal s"
        " JOIN audit.entry e ON e.id = s.entry_id ORDER BY s.index"
    ).fetchall()
    head = connection.execute("SELECT size, hash, recorded_at FROM audit.head").fetchone()
    assert head is not None
    return [Sealed(row[0], micros(row[1]), *row[2:]) for row in rows], Head(head[0], head[1], micros(head[2]))


def test_insert_when_done_plainly_is_sealed_with_the_role_that_did_it(attacker: psycopg.Connection, role: str) -> None:
    entry = record.insert(attacker, record.body())
    seal = record.seal_of(attacker, entry)
    assert seal is not None
    assert seal[2] == role
    assert verify(*chain(attacker)) == []


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit.{} SET {} = {}",
        "DELETE FROM audit.{}",
        "TRUNCATE audit.{} CASCADE",
        "SELECT * FROM audit.{} FOR UPDATE",
        "SELECT * FROM audit.{} FOR KEY SHARE",
        "BEGIN; LOCK TABLE audit.{} IN ROW SHARE MODE",
        "DROP TABLE audit.{} CASCADE",
        "ALTER TABLE audit.{} DISABLE TRIGGER ALL",
        "ALTER TABLE audit.{} OWNER TO CURRENT_USER",
        "CREATE TRIGGER mine BEFORE INSERT ON audit.{} EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "CREATE RULE mine AS ON INSERT TO audit.{} DO INSTEAD NOTHING",
        "CREATE INDEX ON audit.{} ((1/0))",
    ],
)
def test_change_when_a_runtime_role_tries_is_refused(attacker: psycopg.Connection, table: str, statement: str) -> None:
    column = {"entry": "body", "seal": "hash", "head": "hash", "disclosure": "value", "reading": "reader"}[table]
    attack = statement.replace("{}", table, 1).replace("{}", column)
    with pytest.raises(DENIED):
        attacker.execute(attack.encode())


@pytest.mark.parametrize(
    "attack",
    [
        "INSERT INTO audit.entry (id, body) OVERRIDING SYSTEM VALUE VALUES (1, '{}')",
        "INSERT INTO audit.seal VALUES (0, 1, now(), 'jitportal_worker', '\\x00', 'a', 'a', 'a')",
        "INSERT INTO audit.head (size, hash, recorded_at) VALUES (0, '\\x00', now())",
        "SELECT setval('audit.entry_id_seq', 1)",
        "SELECT nextval('audit.entry_id_seq')",
        "CREATE TABLE audit.mine (id int)",
        "CREATE TABLE public.mine (id int)",
        "CREATE SCHEMA mine",
        "DROP FUNCTION audit.seal_entry() CASCADE",
        "ALTER FUNCTION audit.seal_entry() RESET ALL",
        "CREATE OR REPLACE FUNCTION audit.seal_entry() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "SET session_replication_role = replica",
        "SET SESSION AUTHORIZATION jitportal_worker",
        "SET ROLE jitportal_owner",
        "ALTER ROLE jitportal_owner SET search_path = pg_temp",
        "CREATE TEMP TABLE mine (id bigint, body bytea)",
    ],
)
def test_forge_when_a_runtime_role_tries_is_refused(attacker: psycopg.Connection, role: str, attack: str) -> None:
    if role == WORKER and "SESSION AUTHORIZATION" in attack:
        attack = attack.replace(WORKER, WEB)
    with pytest.raises(DENIED):
        attacker.execute(attack.encode())


def test_attach_when_a_runtime_role_may_have_temporary_tables_is_refused(
    portal_database: PortalDatabase, attacker: psycopg.Connection, role: str
) -> None:
    """S4: the function was attached to the attacker's own table and sealed an entry that does not exist."""
    with portal_database.superuser() as superuser:
        superuser.execute(sql.SQL("GRANT TEMPORARY ON DATABASE jitportal TO {}").format(sql.Identifier(role)))
        try:
            attacker.execute("CREATE TEMP TABLE entry (id bigint, body bytea)")
            with pytest.raises(DENIED):
                attacker.execute(
                    "CREATE TRIGGER mine AFTER INSERT ON pg_temp.entry FOR EACH ROW EXECUTE FUNCTION audit.seal_entry()"
                )
        finally:
            superuser.execute(sql.SQL("REVOKE TEMPORARY ON DATABASE jitportal FROM {}").format(sql.Identifier(role)))


@pytest.mark.parametrize("function", ["seal_entry", "check_disclosure"])
def test_attach_when_even_the_owner_does_it_seals_nothing(owner: psycopg.Connection, function: str) -> None:
    before = record.size(owner)
    owner.execute(
        "CREATE TEMP TABLE entry (id bigint, body bytea, entry_id bigint, field text, salt bytea, value text)"
    )
    owner.execute(
        f"CREATE TRIGGER mine AFTER INSERT ON pg_temp.entry FOR EACH ROW EXECUTE FUNCTION audit.{function}()".encode()
    )
    with pytest.raises(DENIED):
        owner.execute("INSERT INTO pg_temp.entry (id, body) VALUES (1, '{}')")
    assert record.size(owner) == before


@pytest.mark.parametrize("table", ["entry", "seal", "disclosure"])
@pytest.mark.parametrize(
    "statement", ["UPDATE audit.{} SET {} = {}", "DELETE FROM audit.{}", "TRUNCATE audit.{} CASCADE"]
)
def test_change_when_the_owner_does_it_by_accident_is_refused(
    owner: psycopg.Connection, table: str, statement: str
) -> None:
    column = {"entry": "body", "seal": "hash", "disclosure": "value"}[table]
    with pytest.raises(DENIED, match="only grows"):
        owner.execute(statement.replace("{}", table, 1).replace("{}", column).encode())


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM audit.head",
        "TRUNCATE audit.head",
        "UPDATE audit.head SET size = size - 1",
        "UPDATE audit.head SET size = size + 1, recorded_at = '1970-01-01'",
    ],
)
def test_set_back_when_the_owner_does_it_by_accident_is_refused(owner: psycopg.Connection, statement: str) -> None:
    with pytest.raises(DENIED, match="only grows"):
        owner.execute(statement.encode())


def test_change_when_replication_role_is_replica_is_refused(portal_database: PortalDatabase) -> None:
    """W1: triggers that are not ENABLE ALWAYS sleep then, and the entry would get no seal."""
    with portal_database.superuser() as superuser:
        superuser.execute("SET session_replication_role = replica")
        entry = record.insert(superuser, record.body())
        assert record.seal_of(superuser, entry) is not None
        with pytest.raises(DENIED):
            superuser.execute("DELETE FROM audit.seal")


def test_insert_when_the_session_twists_its_settings_seals_the_same_way(
    attacker: psycopg.Connection, role: str
) -> None:
    for name, value in {
        "standard_conforming_strings": "off",
        "backslash_quote": "on",
        "escape_string_warning": "off",
        "bytea_output": "escape",
        "search_path": "pg_temp, audit, public",
        "timezone": "Asia/Kathmandu",
        "datestyle": "German",
        "intervalstyle": "iso_8601",
        "client_encoding": "LATIN1",
        "extra_float_digits": "-15",
        "transform_null_equals": "on",
        "quote_all_identifiers": "on",
        "row_security": "off",
        "application_name": "jitportal_owner",
        "synchronous_commit": "off",
    }.items():
        attacker.execute("SELECT set_config(%s, %s, false)", [name, value])
    entry = record.insert(attacker, record.body(facts={"name": "Zoë"}))
    attacker.execute("RESET ALL")
    seal = record.seal_of(attacker, entry)
    assert seal is not None
    assert seal[2] == role
    assert verify(*chain(attacker)) == []


def test_seal_when_a_transaction_wants_it_early_cannot_add_texts_or_change_anything_after(
    attacker: psycopg.Connection,
) -> None:
    """S4: after SET CONSTRAINTS the head is locked and the seal readable; going on must not help."""
    with attacker.transaction():
        entry = record.insert(attacker, record.body())
        attacker.execute("SET CONSTRAINTS ALL IMMEDIATE")
        sealed = record.seal_of(attacker, entry)
        assert sealed is not None
        with pytest.raises(psycopg.errors.CheckViolation), attacker.transaction():
            record.disclose(attacker, entry, "reason", "written afterwards")
        second = record.insert(attacker, record.body(subject="request:r2"))
        following = record.seal_of(attacker, second)
        assert following is not None
        assert following[0] == sealed[0] + 1
        assert following[1] >= sealed[1]
    assert record.seal_of(attacker, entry) == sealed
    assert verify(*chain(attacker)) == []


def test_seal_when_a_transaction_rolls_back_leaves_no_gap(attacker: psycopg.Connection) -> None:
    before = record.size(attacker)
    with attacker.transaction() as transaction:
        record.insert(attacker, record.body())
        attacker.execute("SET CONSTRAINTS ALL IMMEDIATE")
        assert record.size(attacker) == before + 1
        raise psycopg.Rollback(transaction)
    entry = record.insert(attacker, record.body())
    seal = record.seal_of(attacker, entry)
    assert seal is not None
    assert seal[0] == before


def test_insert_when_the_database_clock_was_set_back_keeps_time_in_order(
    portal_database: PortalDatabase, owner: psycopg.Connection
) -> None:
    """The head of an hour ahead stands for a clock that was an hour ahead."""
    with portal_database.connect(OWNER, autocommit=False) as connection:
        connection.execute("ALTER TABLE audit.head DISABLE TRIGGER refuse_step_back")
        connection.execute("UPDATE audit.head SET recorded_at = recorded_at + interval '1 hour'")
        entry = record.insert(connection, record.body())
        connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        seal = record.seal_of(connection, entry)
        ahead = connection.execute("SELECT recorded_at FROM audit.head").fetchone()
        assert seal is not None
        assert ahead == (seal[1],)
        connection.rollback()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"no json",
        b'{"action":"a","actor":"b"',
        b'{"action":"a","actor":"b"}',
        b'{"action":"a","actor":"b","subject":null}',
        b'{"action":"","actor":"b","subject":"c"}',
        b'{"action":"a","actor":"b","subject":"' + b"c" * 201 + b'"}',
        b'{"action":"a","actor":"b","subject":"\\u0000"}',
        b'{"action":"a","actor":"b","subject":"\xff"}',
        b'{"action":"a","actor":"b","disclosed":7,"subject":"c"}',
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    ],
)
def test_insert_when_the_body_is_no_entry_is_refused(attacker: psycopg.Connection, raw: bytes) -> None:
    before = record.size(attacker)
    with pytest.raises(psycopg.Error) as refusal:
        record.insert(attacker, raw)
    assert (refusal.value.sqlstate or "")[:2] in {"22", "23", "54"}
    assert record.size(attacker) == before


def test_insert_when_the_body_is_too_large_is_refused_at_once(attacker: psycopg.Connection) -> None:
    """S4: sealing 200 MB took four seconds, with everybody waiting."""
    with pytest.raises(psycopg.errors.CheckViolation) as refusal:
        record.insert(attacker, b"{" + b" " * 65_535 + b"}")
    assert refusal.value.diag.constraint_name == "entry_body_at_most_64_kib"


def test_disclose_when_the_entry_commits_to_it_is_kept(attacker: psycopg.Connection) -> None:
    with attacker.transaction():
        entry = record.insert(attacker, record.body(reason="Ticket OPS-1"))
        record.disclose(attacker, entry, "reason", "Ticket OPS-1")
    row = attacker.execute("SELECT value FROM audit.disclosure WHERE entry_id = %s", [entry]).fetchone()
    assert row == ("Ticket OPS-1",)


@pytest.mark.parametrize(
    ("field", "value", "salt"),
    [
        ("reason", "another reason", record.SALT),
        ("reason", "Ticket OPS-1", bytes(32)),
        ("comment", "Ticket OPS-1", record.SALT),
    ],
)
def test_disclose_when_the_entry_commits_to_something_else_is_refused(
    attacker: psycopg.Connection, field: str, value: str, salt: bytes
) -> None:
    with attacker.transaction(force_rollback=True):
        entry = record.insert(attacker, record.body(reason="Ticket OPS-1"))
        with pytest.raises(psycopg.errors.CheckViolation):
            record.disclose(attacker, entry, field, value, salt)


def test_disclose_when_the_entry_is_of_another_transaction_is_refused(attacker: psycopg.Connection) -> None:
    with attacker.transaction():
        entry = record.insert(attacker, record.body(reason="Ticket OPS-1"))
        record.disclose(attacker, entry, "reason", "Ticket OPS-1")
    for field, value in (("reason", "Ticket OPS-1"), ("comment", "more")):
        with pytest.raises((psycopg.errors.CheckViolation, psycopg.errors.UniqueViolation)):
            record.disclose(attacker, entry, field, value)


def test_insert_when_a_committed_text_is_left_out_is_refused(attacker: psycopg.Connection) -> None:
    """An entry that commits to a text nobody has would be a hole in the record from its first day."""
    with pytest.raises(psycopg.errors.CheckViolation, match="commits to a text"):
        record.insert(attacker, record.body(reason="never written down"))


def test_queue_when_web_touches_django_q_is_refused(portal_database: PortalDatabase) -> None:
    """S1: a row there names any callable, and its pickles run in the worker."""
    with portal_database.connect(WORKER) as worker, portal_database.connect(WEB) as web:
        names = worker.execute(
            "SELECT relname FROM pg_class WHERE starts_with(relname, 'django_q_') AND relkind IN ('r', 'S')"
        )
        found = [sql.Identifier(name) for (name,) in names]
        assert len(found) >= 3
        for name in found:
            with pytest.raises(DENIED):
                web.execute(sql.SQL("SELECT * FROM {}").format(name))
        for table in ("django_q_ormq", "django_q_schedule", "django_q_task"):
            worker.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(table)))
            for attack in ("INSERT INTO {} DEFAULT VALUES", "DELETE FROM {}", "TRUNCATE {}"):
                with pytest.raises(DENIED):
                    web.execute(sql.SQL(attack).format(sql.Identifier(table)))


def test_migrations_when_a_runtime_role_forges_one_is_refused(attacker: psycopg.Connection) -> None:
    assert attacker.execute("SELECT FROM django_migrations").fetchall()
    with pytest.raises(DENIED):
        attacker.execute("DELETE FROM django_migrations")


def test_chain_when_empty_begins_with_zeros() -> None:
    assert Head().hash == ZERO == bytes(32)
