"""Tables as a masked login sees them, and what becomes of the views."""

from dataclasses import replace

import psycopg
import pytest
from psycopg import sql

from apps.engines.base import Level, LoginSpec, Operator, Refused, RowFilter, TableName
from apps.engines.postgresql import PostgresEngine, names
from tests.engines.conftest import CUSTOMERS, ODD_NAMES, ORDERS, Shop
from tests.engines.viewing import MASKS, NOTES, PEOPLE, a_view_spec, make_crm, rows, using, viewed

DENIED = psycopg.errors.InsufficientPrivilege
IN_EU = RowFilter("region", Operator.EQUAL, ("EU",))


def refusal(shop: Shop, spec: LoginSpec) -> str:
    with pytest.raises(Refused) as caught:
        PostgresEngine().open_login(shop.target, spec)
    assert not shop.role_is_there(spec.login)
    return caught.value.sentence


def drifted(shop: Shop, spec: LoginSpec) -> str:
    found = PostgresEngine().drift(shop.target, shop.database, [spec])
    return " ".join(sentence for drift in found for sentence in (*drift.opened, *drift.changed))


def schemas(shop: Shop) -> int:
    return int(shop.value("SELECT count(*) FROM pg_namespace WHERE nspowner = 'jitportal_masker'::regrole"))


def test_open_login_when_columns_are_masked(shop: Shop) -> None:
    make_crm(shop)
    with using(shop, a_view_spec(shop, viewed(shop, PEOPLE, MASKS))) as (alice, opened):
        assert rows(alice, "SELECT id, name, email, ssn, salary FROM people ORDER BY id") == [
            (1, "Zoe", "z***@example.com", "***", 5000),
            (2, "Yan", "y***@example.com", "***", 9000),
        ]
        assert rows(alice, "SELECT 1 FROM people WHERE ssn = '123-45-6789' OR email = 'zoe@example.com'") == []
        for statement in (
            "SELECT * FROM crm.people",
            "SELECT nextval('crm.people_id_seq')",
            "INSERT INTO people (name) VALUES ('x')",
            "UPDATE people SET name = 'x'",
            "DELETE FROM people",
        ):
            with pytest.raises(DENIED):
                alice.execute(statement)
    (shown,) = opened.evidence.views
    assert (shown.table, shown.ordered, shown.filters) == ("crm.people", False, ())
    assert {column.name: column.mask for column in shown.columns if column.mask} == MASKS
    assert not any(column.writable for column in shown.columns)


def test_open_login_when_a_column_is_approved_unmasked(shop: Shop) -> None:
    make_crm(shop)
    classified = frozenset((PEOPLE, column) for column in MASKS)
    spec = a_view_spec(shop, viewed(shop, PEOPLE, {"ssn": "hidden", "salary": "null"}), classified=classified)
    with using(shop, spec) as (alice, _):
        assert rows(alice, "SELECT email, ssn, salary FROM people WHERE id = 1") == [("zoe@example.com", "***", None)]


def test_open_login_when_a_column_is_left_out(shop: Shop) -> None:
    make_crm(shop)
    spec = a_view_spec(shop, viewed(shop, PEOPLE, columns=("id", "name")), classified=frozenset({(PEOPLE, "ssn")}))
    with using(shop, spec) as (alice, _):
        assert rows(alice, "SELECT * FROM people ORDER BY id") == [(1, "Zoe"), (2, "Yan")]


def test_open_login_when_an_index_mixes_a_masked_column(shop: Shop) -> None:
    make_crm(shop)
    shop.run("INSERT INTO crm.people (name, salary, region) VALUES ('Xia', 1000, 'EU'), ('Wu', 500, 'EU')")
    shop.run("CREATE INDEX ON crm.people (region, salary)")
    with using(shop, a_view_spec(shop, viewed(shop, PEOPLE, {"salary": "null"}))) as (alice, opened):
        alice.execute("SET enable_seqscan = off; SET enable_sort = off; SET enable_bitmapscan = off")
        assert rows(alice, "SELECT id FROM people WHERE region = 'EU'") == [(1,), (3,), (4,)]
    assert opened.evidence.views[0].ordered


def test_open_login_when_rows_lie_in_the_order_of_a_masked_column(shop: Shop) -> None:
    make_crm(shop)
    shop.run("INSERT INTO crm.people (name, salary) VALUES ('Xia', 1000)", "CREATE INDEX pay ON crm.people (salary)")
    shop.run("CLUSTER crm.people USING pay")
    with using(shop, a_view_spec(shop, viewed(shop, PEOPLE, {"salary": "null"}))) as (alice, _):
        assert rows(alice, "SELECT id FROM people") == [(1,), (2,), (3,)]


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        ("ALTER TABLE crm.people DROP CONSTRAINT people_pkey CASCADE", "no primary key to order them by"),
        (
            "ALTER TABLE crm.people DROP CONSTRAINT people_pkey CASCADE, ADD PRIMARY KEY (id, salary)",
            "is masked itself (salary)",
        ),
    ],
)
def test_open_login_when_there_is_nothing_to_order_by(newest: Shop, spoil: str, sentence: str) -> None:
    make_crm(newest)
    newest.run("CREATE INDEX ON crm.people (region, salary)", spoil)
    assert sentence in refusal(newest, a_view_spec(newest, viewed(newest, PEOPLE, {"salary": "null"})))


def test_open_login_when_rows_are_filtered(shop: Shop) -> None:
    make_crm(shop)
    view = viewed(shop, PEOPLE, MASKS, filters=[IN_EU, RowFilter("grade", Operator.AT_MOST, ("1",))])
    with using(shop, a_view_spec(shop, view)) as (alice, opened):
        assert rows(alice, "SELECT id, ssn FROM people") == [(1, "***")]
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
            alice.execute("UPDATE people SET grade = 3")
        plan = "\n".join(row[0] for row in rows(alice, "EXPLAIN SELECT 1 FROM people WHERE id > 0"))
        assert "Subquery Scan" in plan
    assert opened.evidence.views[0].filters == ("grade <= '1'", "region = 'EU'")
    change = a_view_spec(shop, view, level=Level.CHANGE)
    assert "shows only some of its rows" in refusal(shop, change)


def test_open_login_when_a_table_is_filtered_in_an_open_schema(shop: Shop) -> None:
    """The schema is given directly for its other tables; the filtered one is not reached through it."""
    spec = a_view_spec(
        shop, viewed(shop, ORDERS, filters=[RowFilter("total", Operator.MORE, ("15",))]), direct=[CUSTOMERS]
    )
    with using(shop, spec) as (alice, _):
        assert rows(alice, "SELECT total FROM orders") == [(20,)]
        assert rows(alice, "SELECT count(*) FROM sales.customers") == [(2,)]
        with pytest.raises(DENIED):
            alice.execute("SELECT * FROM sales.orders")


def test_open_login_when_two_tables_have_one_name(shop: Shop) -> None:
    make_crm(shop)
    shop.run(f"SET ROLE owner_{shop.database}; CREATE SCHEMA abc; CREATE TABLE abc.people AS SELECT 7 AS id")
    shop.bootstrap()
    abc = TableName("abc", "people")
    spec = a_view_spec(shop, viewed(shop, PEOPLE, MASKS), viewed(shop, abc), direct=[ORDERS])
    with using(shop, spec) as (alice, _):
        assert rows(alice, "SELECT * FROM people") == [(7,)]
        path = rows(alice, "SHOW search_path")[0][0]
        assert [part.rsplit("_", 1)[-1] for part in path.split(", ")] == ["abc", "crm", "sales"]
        crm = names.view_schemas(spec.scope)["crm"]
        assert rows(alice, f"SELECT ssn FROM {crm}.people LIMIT 1") == [("***",)]
        assert rows(alice, "SELECT count(*) FROM orders") == [(2,)]


def test_drop_scopes_when_two_logins_share_the_views(engine: PostgresEngine, shop: Shop) -> None:
    make_crm(shop)
    first, second = (a_view_spec(shop, viewed(shop, PEOPLE, MASKS), viewed(shop, NOTES)) for _ in range(2))
    role = engine.open_login(shop.target, first).scope_role
    before = shop.value("SELECT array_agg(oid ORDER BY oid) FROM pg_class WHERE relname = 'people'")
    assert engine.open_login(shop.target, second).scope_role == role
    assert shop.value("SELECT array_agg(oid ORDER BY oid) FROM pg_class WHERE relname = 'people'") == before
    engine.close_logins(shop.target, [first.login])
    assert engine.drop_scopes(shop.target, [(role, shop.database)]) == []
    assert schemas(shop) == 1
    engine.close_logins(shop.target, [second.login])
    assert engine.drop_scopes(shop.target, [(role, shop.database)]) == [role]
    assert schemas(shop) == 0
    assert engine.drop_scopes(shop.target, [(role, shop.database)]) == [role]


def test_open_login_when_the_owner_alters_a_table(engine: PostgresEngine, shop: Shop) -> None:
    """The server refuses and names the view; its comment says what to do (field notes M10)."""
    make_crm(shop)
    spec = a_view_spec(shop, viewed(shop, PEOPLE, MASKS))
    engine.open_login(shop.target, spec)
    schema = names.view_schemas(spec.scope)["crm"]
    for change in ("ALTER COLUMN name TYPE varchar(99)", "DROP COLUMN email", "ALTER COLUMN salary TYPE bigint"):
        with pytest.raises(psycopg.Error) as caught:
            shop.run(f"SET ROLE owner_{shop.database}; ALTER TABLE crm.people {change}")
        assert f"view {schema}.people" in str(caught.value)
    comment = shop.value("SELECT obj_description(%s::regclass)", [f"{schema}.people"])
    assert f"scope={names.scope_role_name(spec.scope)} " in comment
    assert "pause masking of the table in the portal" in comment


def test_open_login_when_the_owner_has_dropped_the_table(engine: PostgresEngine, shop: Shop) -> None:
    make_crm(shop)
    spec = a_view_spec(shop, viewed(shop, PEOPLE, MASKS), viewed(shop, NOTES))
    role = engine.open_login(shop.target, spec).scope_role
    shop.run(f"SET ROLE owner_{shop.database}; DROP TABLE crm.people CASCADE")
    assert "is gone" in drifted(shop, spec)
    again = replace(spec, login=names.login_name("bob", "k3v5x2m7qa"))
    assert "There is no table crm.people in the database" in refusal(shop, again)
    shop.run(f"SET ROLE owner_{shop.database}; DROP SCHEMA crm CASCADE")
    engine.close_logins(shop.target, [spec.login])
    assert engine.drop_scopes(shop.target, [(role, shop.database)]) == [role]
    assert schemas(shop) == 0


def test_drop_scopes_when_a_dba_has_dropped_the_role(engine: PostgresEngine, shop: Shop) -> None:
    make_crm(shop)
    spec = a_view_spec(shop, viewed(shop, PEOPLE, MASKS))
    role = engine.open_login(shop.target, spec).scope_role
    engine.close_logins(shop.target, [spec.login])
    schema = names.view_schemas(spec.scope)["crm"]
    shop.run(
        f"SET ROLE jitportal_masker; REVOKE CONNECT ON DATABASE {shop.database} FROM {role};"
        f"REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {role}; REVOKE ALL ON SCHEMA {schema} FROM {role}",
        f"RESET ROLE; DROP ROLE {role}",
    )
    assert schemas(shop) == 1
    assert engine.drop_scopes(shop.target, [(role, shop.database)]) == [role]
    assert schemas(shop) == 0


def test_drop_scopes_when_somebody_has_built_on_the_views(engine: PostgresEngine, newest: Shop) -> None:
    make_crm(newest)
    spec = a_view_spec(newest, viewed(newest, PEOPLE, MASKS))
    role = engine.open_login(newest.target, spec).scope_role
    newest.run(f"CREATE VIEW public.mine AS SELECT * FROM {names.view_schemas(spec.scope)['crm']}.people")
    engine.close_logins(newest.target, [spec.login])
    assert engine.drop_scopes(newest.target, [(role, newest.database)]) == [role]
    assert newest.value("SELECT to_regclass('public.mine')") is None


@pytest.mark.parametrize(
    "rename",
    ["TABLE crm.people RENAME ssn TO number", "TABLE crm.people RENAME TO persons", "SCHEMA crm RENAME TO crm2"],
)
def test_open_login_when_something_was_renamed(engine: PostgresEngine, shop: Shop, rename: str) -> None:
    make_crm(shop)
    shop.run("ALTER TABLE crm.people ALTER ssn SET DEFAULT 'x'")
    spec = a_view_spec(shop, viewed(shop, PEOPLE, {"ssn": "partial(0,4)"}))
    engine.open_login(shop.target, spec)
    shop.run(f"ALTER {rename}")
    assert "not as it was made" in drifted(shop, spec)
    again = replace(spec, login=names.login_name("bob", "k3v5x2m7qa"))
    sentence = refusal(shop, again)
    assert "no column ssn any more" in sentence or "There is no table crm.people" in sentence


@pytest.mark.parametrize(
    "tampering",
    [
        "CREATE OR REPLACE VIEW {view} AS SELECT * FROM crm.people",
        "ALTER VIEW {view} SET (security_barrier = false)",
        "ALTER VIEW {view} SET (security_invoker = true)",
        "CREATE RULE noting AS ON INSERT TO {view} DO ALSO SELECT 1",
        "COMMENT ON VIEW {view} IS NULL",
        "DROP VIEW {view}",
        "ALTER VIEW {view} OWNER TO postgres",
    ],
)
def test_open_login_when_a_view_was_tampered_with(engine: PostgresEngine, newest: Shop, tampering: str) -> None:
    make_crm(newest)
    spec = a_view_spec(newest, viewed(newest, PEOPLE, {"ssn": "hidden"}))
    engine.open_login(newest.target, spec)
    newest.run(tampering.format(view=f"{names.view_schemas(spec.scope)['crm']}.people"))
    assert ("is gone" if "DROP" in tampering else "not as it was made") in drifted(newest, spec)
    with using(newest, replace(spec, login=names.login_name("bob", "k3v5x2m7qa"))) as (bob, _):
        assert rows(bob, "SELECT ssn FROM people WHERE id = 1") == [("***",)]
    assert drifted(newest, spec) == ""


def test_open_login_when_the_tables_have_changed_since(engine: PostgresEngine, shop: Shop) -> None:
    """A shared scope follows the target: columns lose their write rights, and rows get an order."""
    make_crm(shop)
    spec = a_view_spec(shop, viewed(shop, PEOPLE, {"salary": "null"}), level=Level.CHANGE)
    engine.open_login(shop.target, spec)
    assert drifted(shop, spec) == ""
    shop.run(
        "ALTER TABLE crm.people ADD CHECK (salary < 100000 * grade)", "CREATE INDEX ON crm.people (region, salary)"
    )
    assert "index that can give its rows in the order" in drifted(shop, spec)
    again = replace(spec, login=names.login_name("bob", "k3v5x2m7qa"))
    with using(shop, again) as (bob, opened):
        bob.execute("UPDATE people SET name = 'x' WHERE id = 1")
        with pytest.raises(DENIED):
            bob.execute("UPDATE people SET grade = 3")
    assert opened.evidence.views[0].ordered
    shop.run("ALTER TABLE crm.people DROP CONSTRAINT people_check")
    back = replace(spec, login=names.login_name("carol", "k3v5x2m7qb"))
    with using(shop, back) as (carol, _):
        carol.execute("UPDATE people SET grade = 3")


@pytest.mark.parametrize("given", ["INSERT, TRUNCATE ON {view}", "UPDATE (ssn) ON {view}", "REFERENCES (id) ON {view}"])
def test_open_login_when_the_scope_holds_more_on_a_view(engine: PostgresEngine, newest: Shop, given: str) -> None:
    make_crm(newest)
    spec = a_view_spec(newest, viewed(newest, PEOPLE, {"ssn": "hidden"}))
    role = engine.open_login(newest.target, spec).scope_role
    view = f"{names.view_schemas(spec.scope)['crm']}.people"
    newest.run(f"SET ROLE jitportal_masker; GRANT {given.format(view=view)} TO {role}")
    engine.open_login(newest.target, replace(spec, login=names.login_name("bob", "k3v5x2m7qa")))
    whole = "SELECT array_agg(privilege_type) FROM pg_class c, aclexplode(relacl) WHERE c.oid = %s::regclass"
    assert newest.value(f"{whole} AND grantee = %s::regrole", [view, role]) == ["SELECT"]
    columns = "SELECT count(*) FROM pg_attribute, aclexplode(attacl) WHERE attrelid = %s::regclass"
    assert newest.value(f"{columns} AND grantee = %s::regrole", [view, role]) == 0


@pytest.mark.parametrize("odd", [*ODD_NAMES, "表" * 21, "source", "ordered=yes: "])
def test_open_login_when_views_have_odd_names(engine: PostgresEngine, newest: Shop, odd: str) -> None:
    with newest.server.admin(newest.database) as admin:
        for statement in (
            "CREATE SCHEMA {}",
            "CREATE TABLE {}.{} ({} text PRIMARY KEY, ssn text)",
            "INSERT INTO {}.{} VALUES ('found', 'secret')",
            "CREATE INDEX ON {}.{} ({}, ssn)",
        ):
            admin.execute(sql.SQL(statement).format(*[sql.Identifier(odd)] * statement.count("{}")))
    newest.bootstrap()
    table = TableName(odd, odd)
    masks, filters = {"ssn": "partial(1,1)"}, [RowFilter(odd, Operator.ONE_OF, ("found", odd))]
    filtered = a_view_spec(newest, viewed(newest, table, masks, filters=filters))
    change = a_view_spec(newest, viewed(newest, table, masks), level=Level.CHANGE)
    with using(newest, filtered) as (alice, opened):
        statement = sql.SQL("SELECT * FROM {}").format(sql.Identifier(odd))
        assert alice.execute(statement).fetchall() == [("found", "s***t")]
    with using(newest, change) as (alice, changed):
        assert len(names.view_schemas(change.scope)[odd].encode()) <= 63
        alice.execute(sql.SQL("SELECT {} FROM {}").format(sql.Identifier(odd), sql.Identifier(odd)))
    engine.close_logins(newest.target, [filtered.login, change.login])
    pairs = [(opened.scope_role, newest.database), (changed.scope_role, newest.database)]
    assert sorted(engine.drop_scopes(newest.target, pairs)) == sorted(role for role, _ in pairs)
    assert schemas(newest) == 0


def test_open_login_when_there_are_a_hundred_tables(engine: PostgresEngine, shop: Shop) -> None:
    make_crm(shop)
    shop.run(
        *[f"CREATE TABLE crm.t{number} (id serial PRIMARY KEY, ssn text, region text)" for number in range(20)],
        *[f"CREATE INDEX ON crm.t{number} (region, ssn)" for number in range(20)],
    )
    shop.run(*[f"CREATE TABLE sales.t{number} (id serial PRIMARY KEY, name text)" for number in range(80)])
    shop.bootstrap()
    shown = [viewed(shop, TableName("crm", f"t{number}"), {"ssn": "hidden"}) for number in range(20)]
    direct = [TableName("sales", f"t{number}") for number in range(80)]
    for level in (Level.QUERY, Level.CHANGE):
        for _ in range(2):
            with using(shop, a_view_spec(shop, *shown, direct=direct, level=level)) as (alice, opened):
                assert rows(alice, "SELECT * FROM t7") == []
            assert len(opened.evidence.views) == 20


def test_open_login_when_the_source_is_a_view(shop: Shop) -> None:
    make_crm(shop)
    shop.run(
        f"SET ROLE owner_{shop.database}; CREATE VIEW crm.names AS SELECT id, name FROM crm.people;"
        "CREATE VIEW crm.leaky AS SELECT id, ssn AS number FROM crm.people;"
        "CREATE VIEW crm.deep AS SELECT number FROM crm.leaky;"
        "CREATE VIEW crm.whole AS SELECT p.id, p FROM crm.people p;"
        "CREATE VIEW crm.invoker WITH (security_invoker) AS SELECT id FROM crm.notes;"
        "CREATE MATERIALIZED VIEW crm.counted AS SELECT count(*) FROM crm.notes;"
        "CREATE MATERIALIZED VIEW crm.copied AS SELECT ssn FROM crm.people",
    )
    shop.bootstrap()

    def spec(name: str, level: Level = Level.QUERY) -> LoginSpec:
        classified = frozenset({(PEOPLE, "ssn")})
        return a_view_spec(shop, viewed(shop, TableName("crm", name)), level=level, classified=classified)

    with using(shop, spec("names")) as (alice, _):
        assert rows(alice, "SELECT name FROM names ORDER BY 1") == [("Yan",), ("Zoe",)]
    with using(shop, spec("counted")) as (alice, _):
        assert rows(alice, "SELECT * FROM counted") == [(1,)]
    assert "can only be read there" in refusal(shop, spec("names", Level.CHANGE))
    for name in ("leaky", "deep", "whole"):
        assert f"crm.{name} is a view that is built on classified columns (crm.people.ssn)" in refusal(shop, spec(name))
    assert "crm.copied is a materialized view that is built on classified" in refusal(shop, spec("copied"))
    assert "security_invoker" in refusal(shop, spec("invoker"))


@pytest.mark.parametrize(
    ("prepare", "table", "sentence"),
    [
        ("ALTER TABLE crm.people ENABLE ROW LEVEL SECURITY", "people", "has row security"),
        ("CREATE TABLE crm.part PARTITION OF crm.parted DEFAULT", "part", "crm.part is a partition"),
        ("CREATE TABLE crm.child () INHERITS (crm.people)", "child", "ask for its parent"),
        (
            "CREATE TABLE crm.child (CHECK (ssn < 'k')) INHERITS (crm.people)",
            "people",
            "divided by its masked column ssn",
        ),
        (
            "ALTER TABLE crm.people ADD low text GENERATED ALWAYS AS (lower(ssn)) STORED",
            "people",
            "crm.people.low is made of the masked ssn",
        ),
        (
            "ALTER TABLE crm.people ALTER salary TYPE text",
            "people",
            "The mask bucket(1000) does not fit crm.people.salary",
        ),
        ("SELECT 1", "nowhere", "There is no table crm.nowhere"),
        ("CREATE FOREIGN TABLE crm.far (id int) SERVER elsewhere", "far", "crm.far is a foreign table"),
    ],
)
def test_open_login_when_a_table_cannot_be_shown(shop: Shop, prepare: str, table: str, sentence: str) -> None:
    make_crm(shop)
    shop.run(
        "CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER elsewhere FOREIGN DATA WRAPPER nothing",
        "CREATE TABLE crm.parted (id int, ssn text, salary int) PARTITION BY LIST (id)",
        prepare,
    )
    shop.bootstrap()
    name = TableName("crm", table)
    masks = {"ssn": "hidden", "salary": "bucket(1000)"} if table in ("people", "part", "child") else {}
    columns = None if masks else ("id",)
    assert sentence in refusal(shop, a_view_spec(shop, viewed(shop, name, masks, columns=columns)))
    assert schemas(shop) == 0


def test_open_login_when_a_column_refers_to_a_masked_one(shop: Shop) -> None:
    """It holds the same values; with the masked one shown by approval, it tells nothing more."""
    make_crm(shop)
    shop.run("ALTER TABLE crm.people ADD UNIQUE (ssn); ALTER TABLE crm.notes ADD who text REFERENCES crm.people (ssn)")
    ssn = frozenset({(PEOPLE, "ssn")})
    notes = a_view_spec(shop, viewed(shop, NOTES), classified=ssn)
    assert "crm.notes.who refers to the masked crm.people.ssn and holds its values" in refusal(shop, notes)
    for spec in (
        a_view_spec(shop, viewed(shop, NOTES, {"who": "hidden"}), classified=ssn | {(NOTES, "who")}),
        a_view_spec(shop, viewed(shop, NOTES, columns=("id", "body")), classified=ssn),
        a_view_spec(shop, viewed(shop, NOTES), viewed(shop), classified=ssn),
    ):
        with using(shop, spec) as (alice, _):
            assert rows(alice, "SELECT body FROM notes") == [("called",)]


def test_open_login_when_a_partitioned_table_is_shown(shop: Shop) -> None:
    make_crm(shop)
    shop.run(
        "CREATE TABLE crm.parted (id int PRIMARY KEY, ssn text) PARTITION BY LIST (id)",
        "CREATE TABLE crm.part PARTITION OF crm.parted DEFAULT",
        "INSERT INTO crm.parted VALUES (1, '123')",
    )
    shop.bootstrap()
    spec = a_view_spec(shop, viewed(shop, TableName("crm", "parted"), {"ssn": "hidden"}), level=Level.CHANGE)
    with using(shop, spec) as (alice, _):
        assert rows(alice, "INSERT INTO parted (id) VALUES (2) RETURNING ssn") == [("***",)]


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (
            "REVOKE CREATE ON DATABASE {db} FROM jitportal_masker",
            'GRANT CREATE ON DATABASE "{db}" TO "jitportal_masker";',
        ),
        (
            "REVOKE ALL ON SCHEMA crm FROM jitportal_masker CASCADE",
            'GRANT USAGE ON SCHEMA "crm" TO "jitportal_masker" WITH GRANT OPTION;',
        ),
        (
            "CREATE ROLE owner_{db}_m; GRANT ALL ON SCHEMA crm TO owner_{db}_m; DROP TABLE crm.people CASCADE;"
            "SET ROLE owner_{db}_m; CREATE TABLE crm.people (id int PRIMARY KEY, ssn text)",
            "lacks SELECT on crm.people, which belongs to “owner_{db}_m”: run the bootstrap SQL again, or: GRANT",
        ),
    ],
)
def test_open_login_when_the_masker_lacks_a_right(shop: Shop, spoil: str, sentence: str) -> None:
    make_crm(shop)
    shop.run(spoil.format(db=shop.database))
    spec = a_view_spec(shop, viewed(shop, PEOPLE, {"ssn": "hidden"}, columns=("id", "ssn")))
    said = refusal(shop, spec)
    assert sentence.format(db=shop.database) in said
    assert schemas(shop) == 0
    fixes = said.replace("run the bootstrap SQL again, or", "").split(": ", 1)[1]
    shop.run(fixes[fixes.index(" GRANT ") + 1 :] if " GRANT " in fixes else fixes)
    with using(shop, spec) as (alice, _):
        alice.execute("SELECT ssn FROM people")


def test_open_login_when_a_migrators_table_is_asked_for_directly(shop: Shop) -> None:
    migrator = f"owner_{shop.database}_migrator"
    shop.run(
        f"CREATE ROLE {migrator}; GRANT CREATE, USAGE ON SCHEMA sales TO {migrator};"
        f"SET ROLE {migrator}; CREATE TABLE sales.late ()"
    )
    said = refusal(shop, a_view_spec(shop, direct=[TableName("sales", "late")]))
    assert f"Made by “{migrator}”. The SQL is: GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE" in said
    assert f'ALTER DEFAULT PRIVILEGES FOR ROLE "{migrator}" IN SCHEMA "sales"' in said


def test_open_login_when_the_schema_is_somebody_elses(engine: PostgresEngine, newest: Shop) -> None:
    make_crm(newest)
    spec = a_view_spec(newest, viewed(newest, PEOPLE, MASKS))
    newest.run(f"CREATE SCHEMA {names.view_schemas(spec.scope)['crm']}")
    assert "is not the portal's" in refusal(newest, spec)


def test_open_login_when_the_column_that_limits_rows_is_gone(newest: Shop) -> None:
    make_crm(newest)
    spec = a_view_spec(newest, viewed(newest, PEOPLE, MASKS, filters=[RowFilter("region", Operator.EQUAL, ("EU",))]))
    newest.run("ALTER TABLE crm.people RENAME COLUMN region TO area")
    spec = replace(spec, scope=replace(spec.scope, views=(replace(spec.scope.views[0], columns=("id", "email")),)))
    said = refusal(newest, spec)
    assert "Rows of crm.people are limited to region = 'EU', and it has no column region any more" in said
    assert "read the catalog" not in said


def test_open_login_when_several_tables_cannot_be_shown(newest: Shop) -> None:
    make_crm(newest)
    newest.run("ALTER TABLE crm.notes ENABLE ROW LEVEL SECURITY")
    spec = a_view_spec(newest, viewed(newest, NOTES), viewed(newest, PEOPLE, columns=("gone",)))
    said = refusal(newest, spec)
    assert "crm.notes has row security" in said
    assert "crm.people has no column gone any more" in said


def test_login_when_it_looks_for_more(newest: Shop) -> None:
    """What the issued password opens is what was shown, and nothing beside it."""
    make_crm(newest)
    with using(newest, a_view_spec(newest, viewed(newest, PEOPLE, MASKS))) as (alice, _):
        for statement in ("CREATE TABLE {0}.t ()", "DROP VIEW {0}.people", "COMMENT ON VIEW {0}.people IS 'x'"):
            schema = rows(alice, "SELECT current_schema()")[0][0]
            with pytest.raises(DENIED):
                alice.execute(statement.format(schema))
