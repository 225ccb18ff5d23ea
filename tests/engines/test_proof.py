"""What a login could reach beyond what was approved, by every way that a target leaves open."""

import re
from dataclasses import replace

import psycopg
import pytest

from apps.engines.base import Level, LoginSpec, Opened, Refused, TableName
from apps.engines.postgresql import PostgresEngine, names
from tests.engines.conftest import CUSTOMERS, EMAIL, ORDERS, PASSWORD, SALARIES, Shop, a_spec

SALARY = frozenset({(SALARIES, "salary")})


def refusal(engine: PostgresEngine, shop: Shop, spec: LoginSpec) -> str:
    """The sentence; and nothing of the login is left, nor of its scope."""
    with pytest.raises(Refused) as caught:
        engine.open_login(shop.target, spec)
    assert not shop.role_is_there(spec.login)
    assert not shop.role_is_there(names.scope_role_name(spec.scope))
    return caught.value.sentence


def test_open_login_when_a_classified_column_is_in_the_scope(engine: PostgresEngine, shop: Shop) -> None:
    sentence = refusal(engine, shop, a_spec(shop, CUSTOMERS, ORDERS, classified=EMAIL))
    assert "sales.customers (email) is classified and would be within reach" in sentence


@pytest.mark.parametrize(
    ("leak", "sentence"),
    [
        ("GRANT SELECT ON sales.customers TO PUBLIC", "sales.customers (email) is classified and open to PUBLIC"),
        ("GRANT SELECT (email) ON sales.customers TO PUBLIC", "(email) is classified and open to PUBLIC"),
        (
            "CREATE VIEW sales.v AS SELECT id, email FROM sales.customers; GRANT SELECT ON sales.v TO PUBLIC",
            "can be read through the view sales.v, open to PUBLIC",
        ),
        (
            "CREATE VIEW sales.v AS SELECT c FROM sales.customers c; GRANT SELECT ON sales.v TO PUBLIC",
            "can be read through the view sales.v, open to PUBLIC",
        ),
        (
            "CREATE VIEW sales.v AS SELECT id FROM sales.customers WHERE email > 'z';GRANT SELECT ON sales.v TO PUBLIC",
            "can be read through the view sales.v, open to PUBLIC",
        ),
        (
            "CREATE VIEW hr.inner AS SELECT * FROM sales.customers; CREATE VIEW sales.v AS SELECT * FROM hr.inner;"
            "GRANT SELECT (email) ON sales.v TO PUBLIC",
            "can be read through the view sales.v, open to PUBLIC",
        ),
        (
            "CREATE MATERIALIZED VIEW sales.m AS SELECT * FROM sales.customers; GRANT SELECT ON sales.m TO PUBLIC",
            "can be read through the view sales.m, open to PUBLIC",
        ),
        (
            "CREATE TABLE sales.everybody (LIKE sales.customers); ALTER TABLE sales.customers INHERIT sales.everybody;"
            "GRANT SELECT ON sales.everybody TO PUBLIC",
            "sales.customers (email) is classified and open to PUBLIC: REVOKE ALL ON sales.everybody",
        ),
        ("ALTER TABLE sales.customers RENAME email TO e_mail; GRANT SELECT ON sales.customers TO PUBLIC", "not found"),
        (
            # Its owner has filled it, whoever the view within would have asked.
            "CREATE VIEW sales.asks WITH (security_invoker) AS TABLE sales.customers;"
            "CREATE MATERIALIZED VIEW hr.filled AS TABLE sales.asks; GRANT SELECT ON hr.filled TO PUBLIC",
            "can be read through the view hr.filled, open to PUBLIC: REVOKE ALL ON hr.filled FROM PUBLIC;",
        ),
        (
            "CREATE TABLE sales.part () INHERITS (sales.customers); GRANT SELECT (email) ON sales.part TO PUBLIC",
            "(email) is classified and open to PUBLIC: REVOKE ALL ON sales.part FROM PUBLIC;",
        ),
        (
            'CREATE VIEW sales."V w" AS SELECT email FROM sales.customers; GRANT SELECT ON sales."V w" TO PUBLIC',
            'REVOKE ALL ON sales."V w" FROM PUBLIC;',
        ),
    ],
)
def test_open_login_when_public_reaches_a_classified_column(
    engine: PostgresEngine, shop: Shop, leak: str, sentence: str
) -> None:
    shop.run(leak)
    assert sentence in refusal(engine, shop, a_spec(shop, ORDERS, classified=EMAIL))


def test_open_login_when_the_refusals_sql_is_run(engine: PostgresEngine, shop: Shop) -> None:
    shop.run(
        "GRANT SELECT ON sales.customers TO PUBLIC",
        'CREATE VIEW sales."V w" AS SELECT email FROM sales.customers; GRANT SELECT ON sales."V w" TO PUBLIC',
        "CREATE MATERIALIZED VIEW sales.m AS TABLE sales.customers; GRANT SELECT (email) ON sales.m TO PUBLIC",
    )
    spec = a_spec(shop, ORDERS, classified=EMAIL)
    fixes = re.findall(r"REVOKE [^;]+;", refusal(engine, shop, spec))
    assert len(fixes) == 3
    shop.run(*fixes)
    assert opened(engine, shop, a_spec(shop, ORDERS, classified=EMAIL))


def test_open_login_when_another_login_gave_rights_on_its_own(engine: PostgresEngine, shop: Shop) -> None:
    """Or whoever holds a grant could keep everybody else from the same tables."""
    alice, bob = a_spec(shop, ORDERS), a_spec(shop, ORDERS, person="bob")
    scope_role = names.scope_role_name(alice.scope)
    engine.open_login(shop.target, alice)
    with shop.login(PASSWORD, alice.login) as session:
        session.execute("SELECT lo_create(4711)")
        session.execute(f"GRANT SELECT ON LARGE OBJECT 4711 TO {scope_role}")
        session.execute(f"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {scope_role}")
    findings = engine.open_login(shop.target, bob).evidence.findings
    assert any(finding.startswith("Other logins have given rights on 2 things of their own") for finding in findings)
    shop.run("SELECT lo_create(4712)", f"GRANT SELECT ON LARGE OBJECT 4712 TO {scope_role}")
    with pytest.raises(Refused, match="large object 4712"):
        engine.open_login(shop.target, a_spec(shop, ORDERS))


@pytest.mark.parametrize("grant", ["SELECT ON", "SELECT (stavalues1) ON"])
def test_open_login_when_all_statistics_are_open(engine: PostgresEngine, shop: Shop, grant: str) -> None:
    shop.run(f"GRANT {grant} pg_catalog.pg_statistic TO PUBLIC")
    sentence = refusal(engine, shop, a_spec(shop, ORDERS, classified=EMAIL))
    assert "are open to PUBLIC: REVOKE ALL ON pg_catalog.pg_statistic FROM PUBLIC;" in sentence
    findings = opened(engine, shop, a_spec(shop, ORDERS)).evidence.findings
    assert "1 relations of the server were opened to PUBLIC beyond the standard: pg_catalog.pg_statistic." in findings


def test_open_login_when_statistics_of_a_closed_schema_would_show_it(engine: PostgresEngine, shop: Shop) -> None:
    shop.run("GRANT SELECT ON hr.salaries TO PUBLIC")
    assert "hr.salaries (salary)" in refusal(engine, shop, a_spec(shop, ORDERS, classified=SALARY))


@pytest.mark.parametrize(
    "harmless",
    [
        "CREATE VIEW sales.v AS SELECT id, name FROM sales.customers; GRANT SELECT ON sales.v TO PUBLIC",
        "CREATE VIEW sales.v WITH (security_invoker) AS TABLE sales.customers; GRANT SELECT ON sales.v TO PUBLIC",
        "CREATE VIEW hr.v AS SELECT * FROM sales.customers; GRANT SELECT ON hr.v TO PUBLIC",
        "CREATE VIEW hr.v WITH (security_invoker) AS TABLE sales.customers; CREATE VIEW sales.v AS TABLE hr.v;"
        "GRANT SELECT ON sales.v TO PUBLIC",
        "CREATE VIEW sales.v AS SELECT * FROM sales.customers",
        "GRANT SELECT (name) ON sales.customers TO PUBLIC",
    ],
)
def test_open_login_when_no_classified_column_is_reached(engine: PostgresEngine, shop: Shop, harmless: str) -> None:
    shop.run(harmless)
    spec = a_spec(shop, ORDERS, classified=EMAIL)
    engine.open_login(shop.target, spec)
    with shop.login(PASSWORD, spec.login) as alice, pytest.raises(psycopg.errors.InsufficientPrivilege):
        alice.execute("SELECT email FROM sales.customers")


@pytest.mark.parametrize("kind", ["VIEW", "MATERIALIZED VIEW"])
def test_open_login_when_a_view_is_asked_for(engine: PostgresEngine, shop: Shop, kind: str) -> None:
    shop.run(
        f"CREATE {kind} sales.named AS SELECT id, name FROM sales.customers",
        f"CREATE {kind} sales.mailed AS SELECT id, email FROM sales.customers",
    )
    shop.bootstrap()
    named, mailed = TableName("sales", "named"), TableName("sales", "mailed")
    spec = a_spec(shop, named, classified=EMAIL)
    engine.open_login(shop.target, spec)
    with shop.login(PASSWORD, spec.login) as alice:
        assert alice.execute("SELECT name FROM named ORDER BY id").fetchall() == [("Zoe",), ("Yan",)]
    sentence = refusal(engine, shop, a_spec(shop, mailed, classified=EMAIL))
    assert "can be read through the view sales.mailed" in sentence


def test_open_login_when_a_partition_is_asked_for(engine: PostgresEngine, shop: Shop) -> None:
    shop.run(
        "CREATE TABLE hr.reviews (id int, verdict text) PARTITION BY RANGE (id)",
        "CREATE TABLE hr.reviews_1 PARTITION OF hr.reviews FOR VALUES FROM (0) TO (10)",
    )
    shop.bootstrap()
    parent, part = TableName("hr", "reviews"), TableName("hr", "reviews_1")
    for asked, classified in ((part, parent), (parent, part)):
        spec = a_spec(shop, asked, classified=frozenset({(classified, "verdict")}))
        assert "is classified and would be within reach through" in refusal(engine, shop, spec)


def test_open_login_when_everybody_has_more(engine: PostgresEngine, shop: Shop) -> None:
    shop.run(
        "GRANT USAGE, CREATE ON SCHEMA hr TO PUBLIC; GRANT SELECT, UPDATE ON hr.salaries TO PUBLIC",
        "CREATE FUNCTION hr.pay() RETURNS int LANGUAGE sql SECURITY DEFINER RETURN 1",
        "CREATE SCHEMA closed",
        "CREATE FUNCTION closed.eq(int, int) RETURNS bool LANGUAGE sql SECURITY DEFINER RETURN true",
        "CREATE OPERATOR hr.=== (FUNCTION = closed.eq, LEFTARG = int, RIGHTARG = int)",
        f"GRANT TEMPORARY ON DATABASE {shop.database} TO PUBLIC",
        "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO PUBLIC",
    )
    findings = " ".join(engine.open_login(shop.target, a_spec(shop, ORDERS)).evidence.findings)
    shop.run("REVOKE EXECUTE ON FUNCTION pg_read_file(text) FROM PUBLIC")
    for said in (
        "PUBLIC may read 1 relations of this database: hr.salaries.",
        "PUBLIC may write to 1 relations of this database: hr.salaries.",
        "1 functions that run with their owner's rights can be called by this login: hr.pay().",
        "1 functions of closed schemas run with their owner's rights through something open: closed.eq(integer,",
        "1 functions of the server were opened to PUBLIC beyond the standard: pg_read_file(text).",
        "PUBLIC may create objects in 1 schemas: hr.",
        "PUBLIC may create temporary tables in this database.",
    ):
        assert said in findings


@pytest.mark.parametrize(
    ("tampering", "sentence"),
    [
        ("GRANT SELECT ON hr.salaries TO {scope}", "SELECT on table hr.salaries"),
        ("GRANT SELECT (salary) ON hr.salaries TO {scope}", "SELECT on column hr.salaries.salary"),
        ("GRANT UPDATE ON sales.orders TO {scope}", "UPDATE on table sales.orders"),
        ("GRANT SELECT ON sales.orders TO {scope} WITH GRANT OPTION", "SELECT WITH GRANT OPTION on table sales.orders"),
        ("GRANT pg_read_all_data TO {scope}", "MEMBER on role pg_read_all_data"),
        ("ALTER ROLE {scope} CREATEDB", "CREATEDB"),
        ("GRANT CREATE ON SCHEMA sales TO {scope}", "CREATE on schema sales"),
        ("GRANT CONNECT ON DATABASE postgres TO {scope}", "CONNECT on database postgres"),
        ("GRANT EXECUTE ON FUNCTION pg_ls_waldir() TO {scope}", "pg_ls_waldir"),
        ("GRANT CREATE ON TABLESPACE pg_default TO {scope}", "tablespace pg_default"),
        ("GRANT SET ON PARAMETER log_statement TO {scope}", "log_statement"),
    ],
)
def test_open_login_when_somebody_gave_the_scope_more(
    engine: PostgresEngine, newest: Shop, tampering: str, sentence: str
) -> None:
    scope = engine.open_login(newest.target, a_spec(newest, ORDERS)).scope_role
    newest.run(tampering.format(scope=scope))
    spec = a_spec(newest, ORDERS)
    with pytest.raises(Refused) as caught:
        engine.open_login(newest.target, spec)
    assert "not approved" in caught.value.sentence
    assert sentence in caught.value.sentence
    assert not newest.role_is_there(spec.login)
    if fixes := re.findall(r"(?:REVOKE|ALTER) [^;]+;", caught.value.sentence):
        newest.run(*fixes)
        assert opened(engine, newest, a_spec(newest, ORDERS))


def test_open_login_when_a_leak_opens_up_later(engine: PostgresEngine, shop: Shop) -> None:
    spec = a_spec(shop, ORDERS, classified=EMAIL)
    engine.open_login(shop.target, spec)
    with shop.login(PASSWORD, spec.login) as alice:
        shop.run("GRANT SELECT ON sales.customers TO PUBLIC")
        assert "open to PUBLIC" in refusal(engine, shop, spec)
        with pytest.raises(psycopg.OperationalError):
            alice.execute("SELECT 1")


@pytest.mark.parametrize("action", ["DELETE CASCADE", "DELETE SET NULL", "UPDATE CASCADE"])
def test_open_login_when_changes_would_cascade(engine: PostgresEngine, newest: Shop, action: str) -> None:
    newest.run(
        f"CREATE TABLE hr.notes (id int, customer int REFERENCES sales.customers ON {action})",
        "CREATE TABLE hr.more (id int, customer int REFERENCES sales.customers)",
    )
    newest.bootstrap()
    sentence = refusal(engine, newest, a_spec(newest, CUSTOMERS, level=Level.CHANGE))
    assert "outside the grant, by cascading foreign keys: hr.notes." in sentence
    notes = TableName("hr", "notes")
    assert opened(engine, newest, a_spec(newest, CUSTOMERS, notes, level=Level.CHANGE))
    assert opened(engine, newest, a_spec(newest, CUSTOMERS, level=Level.QUERY))


def opened(engine: PostgresEngine, shop: Shop, spec: LoginSpec) -> Opened:
    return engine.open_login(shop.target, spec)


def test_open_login_when_a_cascade_goes_on(engine: PostgresEngine, shop: Shop) -> None:
    shop.run(
        "ALTER TABLE sales.orders ADD UNIQUE (customer)",
        "ALTER TABLE sales.orders ADD FOREIGN KEY (customer) REFERENCES sales.customers ON DELETE CASCADE",
        "CREATE TABLE hr.notes (customer int REFERENCES sales.orders (customer) ON DELETE CASCADE)",
    )
    assert "hr.notes, sales.orders" in refusal(engine, shop, a_spec(shop, CUSTOMERS, level=Level.CHANGE))


def test_open_login_when_triggers_and_rules_act_for_their_owner(engine: PostgresEngine, shop: Shop) -> None:
    shop.run(
        "CREATE FUNCTION hr.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN RETURN NEW; END'",
        "CREATE TRIGGER noting BEFORE INSERT ON sales.orders FOR EACH ROW EXECUTE FUNCTION hr.note()",
        "CREATE RULE copying AS ON DELETE TO sales.orders DO ALSO SELECT 1",
    )
    change = " ".join(opened(engine, shop, a_spec(shop, ORDERS, level=Level.CHANGE)).evidence.findings)
    assert "fire 1 triggers that run with their owner's rights: sales.orders (noting)." in change
    assert "rewritten by 1 rules" in change
    assert "noting" not in " ".join(opened(engine, shop, a_spec(shop, ORDERS)).evidence.findings)


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (TableName("sales", "nowhere"), "There is no table sales.nowhere"),
        (TableName("nowhere", "orders"), "There is no table nowhere.orders"),
        (TableName("sales", "orders; DROP TABLE sales.orders"), "There is no table"),
        (TableName("sales", "orders_id_seq"), "There is no table sales.orders_id_seq"),
        (TableName("pg_catalog", "pg_authid"), "is the server's own"),
        (TableName("information_schema", "sql_features"), "is the server's own"),
    ],
)
def test_open_login_when_the_table_cannot_be_granted(
    engine: PostgresEngine, newest: Shop, table: TableName, sentence: str
) -> None:
    assert sentence in refusal(engine, newest, a_spec(newest, ORDERS, table))


def test_open_login_when_a_name_is_longer_than_names_can_be(engine: PostgresEngine, newest: Shop) -> None:
    newest.run(f"CREATE TABLE sales.{'x' * 63} ()")
    newest.bootstrap()
    assert "There is no table" in refusal(engine, newest, a_spec(newest, TableName("sales", "x" * 64)))


def test_open_login_when_a_foreign_table_is_asked_for(engine: PostgresEngine, shop: Shop) -> None:
    shop.run(
        "CREATE FOREIGN DATA WRAPPER nothing",
        "CREATE SERVER elsewhere FOREIGN DATA WRAPPER nothing",
        "CREATE FOREIGN TABLE sales.far (id int) SERVER elsewhere",
    )
    shop.bootstrap()
    assert "sales.far is a foreign table" in refusal(engine, shop, a_spec(shop, TableName("sales", "far")))


def test_open_login_when_the_right_to_grant_is_missing(engine: PostgresEngine, shop: Shop) -> None:
    shop.run("REVOKE GRANT OPTION FOR SELECT ON sales.orders FROM jitportal_masker CASCADE")
    sentence = refusal(engine, shop, a_spec(shop, ORDERS))
    assert "jitportal_masker cannot give SELECT on sales.orders" in sentence


def test_open_login_when_a_grant_does_nothing(
    engine: PostgresEngine, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GRANT without the right to grant ends in a warning (field notes R10), so that it must be read back."""
    shop.run("REVOKE GRANT OPTION FOR SELECT ON sales.orders FROM jitportal_masker CASCADE")
    monkeypatch.setattr("apps.engines.postgresql.scopes._refuse_what_cannot_be_given", lambda *_: None)
    assert "but the right is not there" in refusal(engine, shop, a_spec(shop, ORDERS, SALARIES))


def test_open_login_when_a_shared_scope_has_lost_a_right(engine: PostgresEngine, shop: Shop) -> None:
    scope = opened(engine, shop, a_spec(shop, ORDERS)).scope_role
    shop.run(f"SET ROLE jitportal_masker; REVOKE SELECT ON sales.orders FROM {scope}")
    spec = a_spec(shop, ORDERS)
    opened(engine, shop, spec)
    with shop.login(PASSWORD, spec.login) as alice:
        assert alice.execute("SELECT count(*) FROM orders").fetchall() == [(2,)]


@pytest.mark.parametrize(
    ("spoiling", "sentence"),
    [
        ("ALTER ROLE jitportal SUPERUSER", "is a superuser"),
        ("COMMENT ON ROLE jitportal IS 'jitportal portal=another manager'", "not marked as this portal's"),
        ("COMMENT ON ROLE jitportal IS NULL", "not marked as this portal's"),
    ],
)
def test_open_login_when_the_server_is_not_ours(
    engine: PostgresEngine, newest: Shop, spoiling: str, sentence: str
) -> None:
    newest.run(spoiling)
    try:
        assert sentence in refusal(engine, newest, a_spec(newest, ORDERS))
    finally:
        newest.run("ALTER ROLE jitportal NOSUPERUSER", "COMMENT ON ROLE jitportal IS NULL")


def test_open_login_when_the_scope_role_is_somebody_elses(engine: PostgresEngine, shop: Shop) -> None:
    spec = a_spec(shop, ORDERS)
    role = names.scope_role_name(spec.scope)
    shop.run(f"CREATE ROLE {role}", f"COMMENT ON ROLE {role} IS 'jitportal portal=another scope'")
    with pytest.raises(Refused, match="not marked as this portal's"):
        engine.open_login(shop.target, spec)
    assert shop.role_is_there(role)


def test_open_login_when_the_manager_is_tempted_to_run_code(engine: PostgresEngine, newest: Shop) -> None:
    """What others have defined is looked at, never run (field notes S2)."""
    newest.run(
        "CREATE TABLE public.ran (who text)",
        "GRANT INSERT ON public.ran TO PUBLIC; GRANT USAGE ON SCHEMA public TO PUBLIC",
        "CREATE FUNCTION public.trap(anyelement) RETURNS bool LANGUAGE plpgsql AS "
        "'BEGIN INSERT INTO public.ran VALUES (current_user); RETURN true; END'",
        "CREATE VIEW sales.trapped AS SELECT id FROM sales.orders WHERE public.trap(id)",
        "CREATE POLICY trapped ON sales.orders USING (public.trap(id))",
        "ALTER TABLE sales.orders ENABLE ROW LEVEL SECURITY",
        "CREATE FUNCTION public.obj_description(oid, name) RETURNS text LANGUAGE sql RETURN public.trap(1)::text",
        "ALTER ROLE jitportal SET search_path = public, pg_catalog",
    )
    newest.bootstrap()
    spec = a_spec(newest, ORDERS, TableName("sales", "trapped"), classified=EMAIL)
    opened(engine, newest, spec)
    list(engine.read_tables(newest.target, newest.database))
    engine.preflight(newest.target, [newest.database])
    engine.close_logins(newest.target, [spec.login])
    newest.run("ALTER ROLE jitportal RESET search_path")
    assert newest.value("SELECT count(*) FROM public.ran WHERE who <> 'postgres'") == 0


def test_open_login_when_the_tables_are_given_in_any_order(engine: PostgresEngine, newest: Shop) -> None:
    spec = a_spec(newest, ORDERS, SALARIES)
    shuffled = replace(spec.scope, tables=tuple(reversed(spec.scope.tables)))
    assert names.scope_role_name(shuffled) == names.scope_role_name(spec.scope)


def test_open_login_when_a_column_was_added_since_the_catalog_was_read(engine: PostgresEngine, shop: Shop) -> None:
    spec = a_spec(shop, ORDERS)
    shop.run("ALTER TABLE sales.orders ADD card text")
    assert "sales.orders has columns that the catalog has not seen (card)" in refusal(engine, shop, spec)


def test_open_login_when_a_classified_table_has_taken_an_approved_name(engine: PostgresEngine, shop: Shop) -> None:
    spec = a_spec(shop, ORDERS, classified=EMAIL)
    shop.run("ALTER TABLE sales.orders RENAME TO before", "ALTER TABLE sales.customers RENAME TO orders")
    assert "the catalog has not seen (name, email)" in refusal(engine, shop, spec)
