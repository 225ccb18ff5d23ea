"""The SQL that an administrator runs: once, twice, on odd names, and never over another portal."""

from dataclasses import replace

import pytest

from apps.engines.base import Refused, Severity, TableName
from apps.engines.postgresql import PostgresEngine, names, scram
from tests.engines.conftest import ORDERS, SALARIES, Shop, a_spec, psql
from tests.engines.viewing import a_view_spec, viewed

VERIFIER = scram.verifier("pencil")
ANOTHER = "COMMENT ON ROLE jitportal IS 'jitportal portal=another manager'"


def test_bootstrap_sql_when_run_again(engine: PostgresEngine, shop: Shop) -> None:
    before = _rights(shop)
    shop.bootstrap()
    assert _rights(shop) == before
    assert engine.open_login(shop.target, a_spec(shop, ORDERS))


def _rights(shop: Shop) -> object:
    return shop.value(
        "SELECT array_agg(concat(relname, relacl) ORDER BY relname) FROM pg_class "
        "WHERE relnamespace IN ('sales'::regnamespace, 'hr'::regnamespace)"
    )


def test_bootstrap_sql_when_the_roles_are_looked_at(shop: Shop) -> None:
    attributes = "SELECT concat(rolsuper, rolcreaterole, rolcanlogin, rolcreatedb, rolbypassrls, rolreplication)"
    assert shop.value(f"{attributes} FROM pg_roles WHERE rolname = 'jitportal'") == "ftt" + "fff"
    assert shop.value(f"{attributes} FROM pg_roles WHERE rolname = 'jitportal_masker'") == "ffffff"
    members = "SELECT array_agg(roleid::regrole::text) FROM pg_auth_members WHERE member = 'jitportal'::regrole"
    of_the_script = "roleid::regrole::text !~ '^jit.*(maker|scope|lock|_..........$)'"
    memberships = set(shop.value(f"{members} AND {of_the_script}"))
    old = {"pg_read_all_stats", "pg_signal_backend"}
    assert memberships == {"jitportal_masker"} | (old if shop.server.version < 16 else set())
    assert shop.value("SELECT has_table_privilege('jitportal', 'sales.orders', 'SELECT')") is (shop.server.version < 16)


def test_bootstrap_sql_when_tables_come_later(engine: PostgresEngine, shop: Shop) -> None:
    """Default privileges hold for each role that owns something, not only for who ran the script."""
    owner = f"owner_{shop.database}"
    shop.run(f"SET ROLE {owner}; CREATE TABLE sales.later (id serial)")
    later = ORDERS._replace(name="later")
    assert engine.open_login(shop.target, a_spec(shop, later))


def test_bootstrap_sql_when_only_some_schemas_are_named(engine: PostgresEngine, newest: Shop) -> None:
    other = newest.server.create_database()
    newest.run("CREATE SCHEMA a; CREATE SCHEMA b; CREATE TABLE a.t (); CREATE TABLE b.t ()", database=other)
    newest.bootstrap(other, schemas={other: ["a"]})
    there = replace(newest, database=other)
    assert engine.open_login(newest.target, a_spec(there, ORDERS._replace(schema="a", name="t")))
    with pytest.raises(Refused, match="cannot give"):
        engine.open_login(newest.target, a_spec(there, ORDERS._replace(schema="b", name="t")))
    newest.server.drop_database(other)


def test_open_login_when_a_schema_is_newer_than_the_bootstrap(engine: PostgresEngine, shop: Shop) -> None:
    """The SQL in the sentence is all that its administrator has to run."""
    shop.run('CREATE SCHEMA "Odd.Name"; CREATE TABLE "Odd.Name"."T" ()')
    spec = a_spec(shop, ORDERS._replace(schema="Odd.Name", name="T"))
    with pytest.raises(Refused) as refusal:
        engine.open_login(shop.target, spec)
    sentence = refusal.value.sentence
    assert 'USAGE on the schema “Odd.Name”; SELECT on "Odd.Name"."T"' in sentence
    shop.run(sentence.partition("The SQL is: ")[2])
    assert engine.open_login(shop.target, spec)


def test_open_login_when_a_masked_schema_is_newer_than_the_bootstrap(engine: PostgresEngine, shop: Shop) -> None:
    shop.run("CREATE SCHEMA later; CREATE TABLE later.people (id int PRIMARY KEY, email text)")
    spec = a_view_spec(shop, viewed(shop, TableName("later", "people"), {"email": "hidden"}))
    with pytest.raises(Refused, match="may not use the schema of") as refusal:
        engine.open_login(shop.target, spec)
    shop.run(refusal.value.sentence.partition("again, or: ")[2])
    assert engine.open_login(shop.target, spec)


def test_bootstrap_sql_when_the_server_is_another_portals(newest: Shop) -> None:
    newest.run(ANOTHER)
    try:
        with pytest.raises(AssertionError, match="not this portal's"):
            newest.bootstrap()
        another = replace(newest, target=replace(newest.target, portal_id="another"))
        with pytest.raises(AssertionError, match="not this portal's"):
            another.bootstrap()  # the masker's comment still names the first
    finally:
        newest.run("COMMENT ON ROLE jitportal IS NULL")


def test_bootstrap_sql_when_a_similar_portal_was_there(newest: Shop) -> None:
    newest.run(f"COMMENT ON ROLE jitportal IS 'jitportal portal={newest.target.portal_id}x manager'")
    with pytest.raises(AssertionError, match="not this portal's"):
        newest.bootstrap()
    newest.run("COMMENT ON ROLE jitportal IS NULL")


@pytest.mark.parametrize("bad", ["line\nbreak", "carriage\rreturn", "", "nul\0"])
def test_bootstrap_sql_when_psql_could_not_connect(engine: PostgresEngine, bad: str) -> None:
    with pytest.raises(Refused, match="line break"):
        engine.bootstrap_sql(databases=[bad], schemas={}, verifier=VERIFIER, portal_id="p")


def test_bootstrap_sql_when_given_nonsense(engine: PostgresEngine) -> None:
    with pytest.raises(Refused, match="malformed"):
        engine.bootstrap_sql(databases=[], schemas={}, verifier="pencil", portal_id="p")
    with pytest.raises(Refused, match="portal id"):
        engine.bootstrap_sql(databases=[], schemas={}, verifier=VERIFIER, portal_id="p' OR '")


def test_bootstrap_sql_when_schema_names_quote(engine: PostgresEngine, newest: Shop) -> None:
    odd = ["$jit$", "$j$jit$", "'; DROP ROLE x; --", 'a"b', "back\\slash", ":name", "%I"]
    script = engine.bootstrap_sql(
        databases=[newest.database],
        schemas={newest.database: odd},
        verifier=scram.verifier(newest.target.password),
        portal_id=newest.target.portal_id,
    )
    psql(newest.server, script)


def test_bootstrap_sql_when_applications_lose_connect(engine: PostgresEngine, newest: Shop) -> None:
    script = engine.bootstrap_sql(databases=["shop"], schemas={}, verifier=VERIFIER, portal_id="p")
    assert 'GRANT CONNECT ON DATABASE "shop" TO your_application;' in script
    assert "pencil" not in script
    newest.run("CREATE ROLE jit_nobody_aaaaaaaaaa LOGIN")
    assert not newest.value(f"SELECT has_database_privilege('jit_nobody_aaaaaaaaaa', '{newest.database}', 'CONNECT')")


def sentences(engine: PostgresEngine, shop: Shop, severity: Severity, *databases: str) -> str:
    found = engine.preflight(shop.target, list(databases) or [shop.database])
    return "\n".join(finding.sentence + finding.fix for finding in found if finding.severity is severity)


def test_preflight_when_the_server_was_just_prepared(engine: PostgresEngine, shop: Shop) -> None:
    found = engine.preflight(shop.target, [shop.database])
    assert sentences(engine, shop, Severity.ERROR) == ""
    assert [finding.severity for finding in found] == sorted(
        (finding.severity for finding in found), key=[Severity.ERROR, Severity.WARNING, Severity.OK].index
    )
    well = sentences(engine, shop, Severity.OK)
    assert f"PostgreSQL {shop.server.version}." in well
    assert f"Logins can be made in the database “{shop.database}”." in well
    assert f"database “{shop.database}”, which" not in sentences(engine, shop, Severity.WARNING)


@pytest.mark.parametrize(
    ("spoil", "mend", "sentence"),
    [
        ("ALTER ROLE jitportal SUPERUSER", "ALTER ROLE jitportal NOSUPERUSER", "is a superuser"),
        ("ALTER ROLE jitportal NOCREATEROLE", "ALTER ROLE jitportal CREATEROLE", "may not create roles"),
        ("ALTER ROLE jitportal NOLOGIN", "ALTER ROLE jitportal LOGIN", "and then said no"),
        ("ALTER ROLE jitportal PASSWORD 'x'", "", "and then said no"),
        ("COMMENT ON ROLE jitportal IS NULL", "", "does not carry this portal's id"),
        (
            "COMMENT ON ROLE jitportal IS 'jitportal portal=another manager'",
            "COMMENT ON ROLE jitportal IS NULL",
            "belongs to another portal",
        ),
        ("REVOKE jitportal_masker FROM jitportal", "", "may not become jitportal_masker"),
        ("ALTER ROLE jitportal_masker BYPASSRLS", "ALTER ROLE jitportal_masker NOBYPASSRLS", "must not have"),
        ("REVOKE GRANT OPTION FOR CONNECT ON DATABASE {db} FROM jitportal_masker", "", "cannot give CONNECT"),
        ("REVOKE CONNECT ON DATABASE {db} FROM jitportal, jitportal_masker", "", "has not let us in"),
    ],
)
def test_preflight_when_nothing_can_be_issued(
    engine: PostgresEngine, newest: Shop, spoil: str, mend: str, sentence: str
) -> None:
    newest.run(spoil.format(db=newest.database))
    errors = sentences(engine, newest, Severity.ERROR)
    newest.run(*([mend] if mend else []))
    newest.bootstrap()
    assert sentence in errors
    assert sentences(engine, newest, Severity.ERROR) == ""


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            "REVOKE ALL ON sales.orders FROM jitportal_masker; CREATE TABLE sales.unseen ()",
            (
                "2 tables or views cannot be asked for",
                "sales.orders, sales.unseen",
                "GRANT SELECT, INSERT, UPDATE, DELETE",
            ),
        ),
        (
            "CREATE ROLE owner_shop_late; GRANT CREATE ON SCHEMA sales TO owner_shop_late;"
            "SET ROLE owner_shop_late; CREATE TABLE sales.late ()",
            ("still to be made", "sales of owner_shop_late", "ALTER DEFAULT PRIVILEGES FOR ROLE owner_shop_late"),
        ),
        (
            'CREATE FUNCTION sales.odd("Int" int) RETURNS int LANGUAGE sql SECURITY DEFINER RETURN 1',
            (
                "may run 1 functions with their owner's rights",
                "REVOKE EXECUTE ON FUNCTION sales.odd(integer) FROM PUBLIC;",
            ),
        ),
        (
            "CREATE FUNCTION sales.tell() RETURNS void LANGUAGE plpgsql AS "
            "'BEGIN PERFORM pg_notify(''a'', ''b''); END'",
            ("1 functions notify: sales.tell()",),
        ),
        (
            "CREATE POLICY mine ON sales.orders USING (CURRENT_USER = 'x');"
            "CREATE POLICY tenant ON sales.orders WITH CHECK (total > current_setting('app.t')::int);"
            "CREATE POLICY who ON hr.salaries USING (session_user::text = 'x');"
            "CREATE POLICY plain ON sales.orders USING (total > 0 AND current_date > '2000-01-01')",
            ("3 row security policies", "mine on sales.orders, tenant on sales.orders, who on hr.salaries"),
        ),
        (
            "GRANT TEMPORARY ON DATABASE {db} TO PUBLIC",
            ("which is offered here", "REVOKE CONNECT, TEMPORARY ON DATABASE"),
        ),
        ("REVOKE ALL ON SCHEMA sales, hr, public FROM jitportal_masker CASCADE", ("no schema is open to the portal",)),
    ],
)
def test_preflight_when_something_is_dangerous(
    engine: PostgresEngine, shop: Shop, spoil: str, said: tuple[str, ...]
) -> None:
    shop.run(spoil.format(db=shop.database))
    warnings = sentences(engine, shop, Severity.WARNING)
    for part in said:
        assert part in warnings
    assert sentences(engine, shop, Severity.ERROR) == ""


def test_preflight_when_an_event_trigger_runs_somebodys_function(engine: PostgresEngine, shop: Shop) -> None:
    """The portal makes views and grants, which fires it: as the masker, in the manager's session."""
    shop.run(
        "CREATE FUNCTION sales.watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
        "CREATE EVENT TRIGGER w ON ddl_command_end EXECUTE FUNCTION sales.watch()",
    )
    assert sentences(engine, shop, Severity.ERROR) == ""
    shop.run(f"ALTER FUNCTION sales.watch() OWNER TO owner_{shop.database}")
    errors = sentences(engine, shop, Severity.ERROR)
    assert f"w (sales.watch() of owner_{shop.database})" in errors
    assert "ALTER EVENT TRIGGER w DISABLE;" in errors


def test_preflight_when_its_fixes_are_run(engine: PostgresEngine, shop: Shop) -> None:
    shop.run(
        "REVOKE ALL ON sales.orders FROM jitportal_masker",
        'CREATE FUNCTION hr."odd fn"() RETURNS int LANGUAGE sql SECURITY DEFINER RETURN 1',
        f"GRANT CONNECT, TEMPORARY ON DATABASE {shop.database} TO PUBLIC",
    )
    found = engine.preflight(shop.target, [shop.database])
    shop.run(*[one.fix for one in found if one.fix and shop.database in one.sentence and one.severity == "warning"])
    left = "\n".join(
        one.sentence for one in engine.preflight(shop.target, [shop.database]) if one.severity == "warning"
    )
    assert shop.database not in left
    assert engine.open_login(shop.target, a_spec(shop, ORDERS, SALARIES))


def test_preflight_when_transactions_can_be_prepared(engine: PostgresEngine, two_phase: Shop) -> None:
    assert "max_prepared_transactions = 0" in sentences(engine, two_phase, Severity.WARNING)


def test_preflight_when_a_database_is_not_there(engine: PostgresEngine, newest: Shop) -> None:
    errors = sentences(engine, newest, Severity.ERROR, "nowhere", newest.database)
    assert errors == "There is no database “nowhere” on this server, or nobody may connect."


def test_preflight_when_nobody_answers(engine: PostgresEngine, newest: Shop) -> None:
    unreachable = replace(newest, target=replace(newest.target, port=1))
    assert "could not be reached" in sentences(engine, unreachable, Severity.ERROR)


def test_preflight_when_there_is_no_masker(engine: PostgresEngine, newest: Shop) -> None:
    newest.run("ALTER ROLE jitportal_masker RENAME TO jitportal_masked")
    errors = sentences(engine, newest, Severity.ERROR)
    newest.run("ALTER ROLE jitportal_masked RENAME TO jitportal_masker")
    assert f"The role {names.MASKER} is missing." in errors
