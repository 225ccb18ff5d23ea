"""What happens after a login was opened: the tables change under it, or its time ends."""

import contextlib
from collections.abc import Callable, Iterator

import psycopg
import pytest

from apps.engines.base import Level, LoginSpec
from apps.engines.postgresql import PostgresEngine
from tests.bypass.assault import Attacker, Company, founded, leaks_of
from tests.bypass.attack import Attack
from tests.bypass.wire import Wire, listening
from tests.support.targets import TargetServer

EVERYTHING = Attack(
    "everything",
    "drift",
    (
        "SELECT * FROM people",
        "SELECT p::text, to_jsonb(p) FROM people p",
        "SELECT * FROM @v@.people",
        "SELECT ssn FROM people",
        "SELECT social FROM people",
        "SELECT added FROM people",
        "SELECT * FROM events",
        "SELECT * FROM app.people",
        "UPDATE people SET note = 'x' WHERE id = 7 RETURNING *",
    ),
)
# What an application's owner may do at any time, and how it is undone.
CHANGES = {
    "a column is added": (
        "ALTER TABLE app.people ADD COLUMN added text; UPDATE app.people SET added = ssn",
        "ALTER TABLE app.people DROP COLUMN added",
    ),
    "a generated column is added": (
        "ALTER TABLE app.people ADD COLUMN added text GENERATED ALWAYS AS (ssn) STORED",
        "ALTER TABLE app.people DROP COLUMN added",
    ),
    "a masked column is renamed": (
        "ALTER TABLE app.people RENAME COLUMN ssn TO social",
        "ALTER TABLE app.people RENAME COLUMN social TO ssn",
    ),
    "a masked and a shown column change names": (
        "ALTER TABLE app.people RENAME COLUMN ssn TO x; ALTER TABLE app.people RENAME COLUMN note TO ssn;"
        " ALTER TABLE app.people RENAME COLUMN x TO note",
        "ALTER TABLE app.people RENAME COLUMN note TO x; ALTER TABLE app.people RENAME COLUMN ssn TO note;"
        " ALTER TABLE app.people RENAME COLUMN x TO ssn",
    ),
    "another table takes the name": (
        "ALTER TABLE app.people RENAME TO persons; CREATE TABLE app.people AS SELECT * FROM app.persons",
        "DROP TABLE app.people; ALTER TABLE app.persons RENAME TO people",
    ),
    "the table moves": (
        "CREATE SCHEMA moved; ALTER TABLE app.people SET SCHEMA moved",
        "ALTER TABLE moved.people SET SCHEMA app; DROP SCHEMA moved",
    ),
    "the schema is renamed": ("ALTER SCHEMA app RENAME TO other", "ALTER SCHEMA other RENAME TO app"),
    "a partition joins": (
        "CREATE TABLE app.joined (LIKE app.events INCLUDING ALL);"
        " INSERT INTO app.joined SELECT id + 1000, '1990-01-01', kind, who FROM app.events;"
        " ALTER TABLE app.events ATTACH PARTITION app.joined FOR VALUES FROM ('1980-01-01') TO ('1999-01-01')",
        "DROP TABLE app.joined",
    ),
    "a child joins": (
        "CREATE TABLE app.child () INHERITS (app.people);"
        " INSERT INTO app.child (id, region, grade, ssn, salary)"
        " SELECT id + 1000, region, grade, ssn, salary FROM ONLY app.people",
        "DROP TABLE app.child",
    ),
    "rules for rows come": (
        "ALTER TABLE app.people ENABLE ROW LEVEL SECURITY; CREATE POLICY open ON app.people USING (true)",
        "DROP POLICY open ON app.people; ALTER TABLE app.people DISABLE ROW LEVEL SECURITY",
    ),
    "PUBLIC may read the table": (
        "GRANT SELECT ON app.people TO PUBLIC",
        "REVOKE SELECT ON app.people FROM PUBLIC",
    ),
    "PUBLIC may read a column": (
        "GRANT SELECT (salary) ON app.people TO PUBLIC",
        "REVOKE SELECT (salary) ON app.people FROM PUBLIC",
    ),
    "statistics are taken anew": ("ANALYZE app.people", "SELECT"),
    "a view for PUBLIC is made beside the table": (
        "CREATE VIEW app.more AS SELECT * FROM app.people; GRANT SELECT ON app.more TO PUBLIC",
        "DROP VIEW app.more",
    ),
}


@pytest.fixture
def fresh(target_server: TargetServer) -> Iterator[Company]:
    with founded(target_server) as made:
        yield made


@pytest.fixture
def opened(fresh: Company) -> Callable[[Level], LoginSpec]:
    def issue(level: Level) -> LoginSpec:
        spec = fresh.spec(level)
        PostgresEngine().open_login(fresh.target, spec)
        return spec

    return issue


@pytest.fixture
def line(fresh: Company) -> Iterator[Wire]:
    with listening(fresh.target.host, fresh.target.port) as wire:
        yield wire


@pytest.mark.parametrize("level", [Level.QUERY, Level.CHANGE])
def test_keeps_every_secret_when_the_owner_changes_tables(
    level: Level, fresh: Company, opened: Callable[[Level], LoginSpec], line: Wire, subtests: pytest.Subtests
) -> None:
    attacker = Attacker(fresh, opened(level), line)
    for change, (done, undone) in CHANGES.items():
        with subtests.test(change), fresh.admin() as admin:
            admin.execute(done.encode())
            try:
                assert leaks_of(EVERYTHING, attacker, "nobody") == []
            finally:
                admin.execute(undone.encode())


def test_ends_an_open_cursor_when_the_login_is_closed(
    fresh: Company, opened: Callable[[Level], LoginSpec], line: Wire
) -> None:
    spec = opened(Level.QUERY)
    attacker = Attacker(fresh, spec, line)
    with contextlib.suppress(psycopg.OperationalError), attacker.connected():
        attacker.run("BEGIN", "DECLARE c CURSOR FOR SELECT * FROM prices a, prices b")
        assert len(attacker.rows("FETCH 5 FROM c")) == 5
        PostgresEngine().close_logins(fresh.target, [spec.login])
        assert attacker.rows("FETCH 5 FROM c") == []
        assert attacker.connection.closed


def test_refuses_a_second_session_when_the_login_is_closed(
    fresh: Company, opened: Callable[[Level], LoginSpec], line: Wire
) -> None:
    spec = opened(Level.QUERY)
    PostgresEngine().close_logins(fresh.target, [spec.login])
    with pytest.raises(psycopg.OperationalError), Attacker(fresh, spec, line).connected():
        pass


def test_leaves_no_view_when_the_last_login_is_closed(fresh: Company, opened: Callable[[Level], LoginSpec]) -> None:
    engine, specs = PostgresEngine(), [opened(Level.QUERY), opened(Level.CHANGE)]
    engine.close_logins(fresh.target, [spec.login for spec in specs])
    roles = [(role, fresh.database) for role in _scope_roles(fresh)]
    assert sorted(engine.drop_scopes(fresh.target, roles)) == sorted(role for role, _ in roles)
    with fresh.admin() as admin:
        assert admin.execute("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'jit%'").fetchone() == (0,)
        admin.execute("ALTER TABLE app.prices ALTER COLUMN cost TYPE numeric")


def _scope_roles(company: Company) -> list[str]:
    with company.admin() as admin:
        rows = admin.execute(
            "SELECT DISTINCT r.rolname::text FROM pg_namespace n CROSS JOIN aclexplode(n.nspacl) a"
            " JOIN pg_roles r ON r.oid = a.grantee WHERE r.rolname LIKE 'jitscope%'"
        ).fetchall()
    return [role for (role,) in rows]
