"""What a login reaches, as evidence, compared with what the server says; and what everybody reaches."""

import pytest

from apps.engines.base import Evidence, Exposure, Level, Severity, TableName
from apps.engines.postgresql import PostgresEngine
from tests.engines.conftest import CUSTOMERS, EMAIL, ORDERS, SALARIES, Shop, a_spec
from tests.engines.viewing import MASKS, NOTES, PEOPLE, a_view_spec, make_crm, using, viewed

TELLING = (
    "CREATE FUNCTION hr.tell() RETURNS trigger LANGUAGE plpgsql AS "
    "'BEGIN PERFORM PG_NOTIFY(''changes'', row_to_json(new)::text); RETURN new; END'"
)

# Everything that the server lets this role do, asked of the server's own functions.
_PRIVILEGES = """
WITH me AS (SELECT %(login)s::name AS login),
own AS (SELECT oid, nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'),
usable AS (SELECT own.* FROM own, me WHERE has_schema_privilege(login, own.oid, 'USAGE')),
relations AS (
  SELECT c.oid, format('%%I.%%I', nspname, relname) AS name,
         CASE relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table'
                      ELSE 'table' END AS kind
  FROM pg_class c JOIN usable n ON n.oid = relnamespace WHERE relkind IN ('r', 'p', 'v', 'm', 'f')
)
SELECT kind || ' ' || name, p FROM relations, me,
  unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) p
WHERE has_table_privilege(login, oid, p)
UNION ALL
SELECT 'column ' || r.name || '.' || quote_ident(attname), p
FROM relations r JOIN pg_attribute a ON attrelid = r.oid, me,
  unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) p
WHERE attnum > 0 AND NOT attisdropped
  AND has_column_privilege(login, r.oid, attnum, p) AND NOT has_table_privilege(login, r.oid, p)
UNION ALL
SELECT format('sequence %%I.%%I', nspname, relname), p
FROM pg_class c JOIN own n ON n.oid = relnamespace, me, unnest(ARRAY['USAGE', 'SELECT', 'UPDATE']) p
WHERE relkind = 'S' AND has_sequence_privilege(login, c.oid, p)
UNION ALL
SELECT 'schema ' || quote_ident(nspname), p FROM own, me, unnest(ARRAY['USAGE', 'CREATE']) p
WHERE has_schema_privilege(login, own.oid, p)
UNION ALL
SELECT 'database ' || quote_ident(datname), CASE p WHEN 'TEMP' THEN 'TEMPORARY' ELSE p END
FROM pg_database d, me, unnest(ARRAY['CONNECT', 'CREATE', 'TEMP']) p
WHERE datallowconn AND has_database_privilege(login, d.oid, p)
UNION ALL
SELECT 'function ' || p.oid::regprocedure, 'EXECUTE' FROM pg_proc p JOIN usable n ON n.oid = pronamespace, me
WHERE prosecdef AND has_function_privilege(login, p.oid, 'EXECUTE')
UNION ALL
SELECT 'foreign server ' || quote_ident(srvname), 'USAGE' FROM pg_foreign_server s, me
WHERE has_server_privilege(login, s.oid, 'USAGE')
UNION ALL
SELECT 'large object ' || o.oid, a.privilege_type FROM pg_largeobject_metadata o, aclexplode(lomacl) a WHERE grantee = 0
"""
_ASKED = ("table", "view", "materialized", "column", "sequence", "schema", "database", "function", "foreign", "large")


def reached(evidence: Evidence) -> set[tuple[str, str]]:
    """Without what only a carrier, a cascade or an owner's name leads to."""
    return {
        (one.object, privilege)
        for one in evidence.reach
        for privilege in one.privileges
        if one.object.startswith(_ASKED) and not one.via.startswith(("operator", "aggregate", "cast", "view"))
    }


def told_by_the_server(shop: Shop, login: str) -> set[tuple[str, str]]:
    with shop.server.admin(shop.database) as admin:
        admin.execute("SET search_path = pg_catalog")
        return {(what, privilege) for what, privilege in admin.execute(_PRIVILEGES, {"login": login})}


def plant(shop: Shop) -> None:
    """All sorts of things that are open to everybody, and none of them classified."""
    shop.run(
        "GRANT USAGE, CREATE ON SCHEMA hr TO PUBLIC; GRANT SELECT, UPDATE ON hr.salaries TO PUBLIC",
        'CREATE TABLE hr."Odd.Name" (id int, "se lect" int)',
        'GRANT SELECT ("se lect"), INSERT (id) ON hr."Odd.Name" TO PUBLIC',
        "CREATE VIEW hr.v AS SELECT id FROM hr.salaries; GRANT SELECT ON hr.v TO PUBLIC",
        "CREATE MATERIALIZED VIEW hr.m AS SELECT id FROM hr.salaries; GRANT SELECT ON hr.m TO PUBLIC",
        "CREATE SEQUENCE hr.s; GRANT USAGE ON SEQUENCE hr.s TO PUBLIC",
        "CREATE SCHEMA closed; CREATE TABLE closed.t (); GRANT SELECT ON closed.t TO PUBLIC",
        "CREATE VIEW closed.v AS SELECT 1; GRANT SELECT ON closed.v TO PUBLIC",
        "CREATE FUNCTION hr.pay() RETURNS int LANGUAGE sql SECURITY DEFINER RETURN 1",
        "CREATE FUNCTION closed.eq(int, int) RETURNS bool LANGUAGE sql SECURITY DEFINER RETURN true",
        "CREATE OPERATOR hr.=== (FUNCTION = closed.eq, LEFTARG = int, RIGHTARG = int)",
        "CREATE FUNCTION closed.step(int, int) RETURNS int LANGUAGE sql SECURITY DEFINER RETURN 1",
        "CREATE AGGREGATE hr.steps(int) (SFUNC = closed.step, STYPE = int, INITCOND = '0')",
        "CREATE TYPE hr.pair AS (a int, b int)",
        "CREATE FUNCTION closed.as_text(hr.pair) RETURNS text LANGUAGE sql SECURITY DEFINER RETURN 'x'",
        "CREATE CAST (hr.pair AS text) WITH FUNCTION closed.as_text(hr.pair)",
        "CREATE FUNCTION closed.now() RETURNS int LANGUAGE sql SECURITY DEFINER RETURN 1",
        "CREATE VIEW closed.inner AS SELECT closed.now(); CREATE VIEW hr.outer AS TABLE closed.inner",
        "GRANT SELECT ON hr.outer TO PUBLIC",
        "CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER far FOREIGN DATA WRAPPER nothing",
        "GRANT USAGE ON FOREIGN SERVER far TO PUBLIC",
        "SELECT lo_create(77); GRANT SELECT ON LARGE OBJECT 77 TO PUBLIC",
        f"GRANT TEMPORARY ON DATABASE {shop.database} TO PUBLIC",
    )


def test_open_login_when_its_evidence_is_compared_with_the_server(engine: PostgresEngine, shop: Shop) -> None:
    make_crm(shop)
    plant(shop)
    shop.bootstrap()
    view = viewed(shop, PEOPLE, MASKS)
    for spec in (
        a_view_spec(shop, view, viewed(shop, NOTES), direct=[ORDERS], level=Level.CHANGE),
        a_view_spec(shop, view, direct=[SALARIES]),
        a_spec(shop, ORDERS, CUSTOMERS, level=Level.CHANGE),
        a_spec(shop, TableName("hr", "m"), classified=EMAIL),
    ):
        evidence = engine.open_login(shop.target, spec).evidence
        told = told_by_the_server(shop, spec.login)
        assert reached(evidence) == told
        assert len(told) > 15


def test_open_login_when_functions_are_carried(engine: PostgresEngine, shop: Shop) -> None:
    plant(shop)
    spec = a_spec(shop, ORDERS, classified=EMAIL)
    evidence = engine.open_login(shop.target, spec).evidence
    ways = {(one.object, one.via) for one in evidence.reach}
    assert {
        ("function hr.pay()", "PUBLIC"),
        ("function closed.eq(integer,integer)", "operator hr.==="),
        ("function closed.step(integer,integer)", "aggregate hr.steps(integer)"),
        ("function closed.as_text(hr.pair)", "cast hr.pair to text"),
        ("function closed.now()", 'view closed."inner"'),
        ("role postgres", "definer function hr.pay()"),
    } <= ways
    readers = next(one for one in evidence.findings if "cannot be proven" in one)
    assert readers.startswith("5 of these functions run as somebody who may read classified columns")
    assert "hr.pay()" in readers
    assert (
        "PUBLIC may read the statistics of 1 relations in closed schemas, values among them: closed.t."
        in evidence.findings
    )


def test_open_login_when_functions_belong_to_somebody_harmless(engine: PostgresEngine, shop: Shop) -> None:
    shop.run(
        "CREATE ROLE owner_shop_harmless; GRANT ALL ON SCHEMA sales TO owner_shop_harmless;"
        "SET ROLE owner_shop_harmless;"
        "CREATE FUNCTION sales.harmless() RETURNS int LANGUAGE sql SECURITY DEFINER RETURN 1"
    )
    findings = engine.open_login(shop.target, a_spec(shop, ORDERS, classified=EMAIL)).evidence.findings
    assert any("sales.harmless()" in one for one in findings)
    assert not any("cannot be proven" in one for one in findings)


def test_open_login_when_thousands_of_things_are_open(engine: PostgresEngine, newest: Shop) -> None:
    newest.run(
        "GRANT USAGE ON SCHEMA hr TO PUBLIC",
        "DO $$ BEGIN FOR i IN 1..700 LOOP EXECUTE format('CREATE TABLE hr.t%s ();"
        " GRANT SELECT ON hr.t%s TO PUBLIC', i, i); END LOOP; END $$",
        "CREATE FUNCTION hr.pay() RETURNS int LANGUAGE sql SECURITY DEFINER RETURN 1",
    )
    evidence = engine.open_login(newest.target, a_spec(newest, ORDERS)).evidence
    public = [one for one in evidence.reach if one.via == "PUBLIC"]
    assert 450 < len(public) <= 500
    assert "function hr.pay()" in {one.object for one in public}
    (cut,) = [one for one in evidence.findings if "not listed one by one" in one]
    assert 200 <= int(cut.split()[6]) <= 210
    assert any(one.startswith("Beyond the grant, PUBLIC may read 700 relations") for one in evidence.findings)


def exposures(engine: PostgresEngine, shop: Shop) -> dict[str, Exposure]:
    return {one.kind: one for one in engine.exposure(shop.target, shop.database)}


def test_exposure_when_nothing_is_open(engine: PostgresEngine, shop: Shop) -> None:
    found = exposures(engine, shop)
    # Of the server: template1, and postgres, which this database's script does not close.
    assert set(found) <= {"database"}


def test_exposure_when_much_is_open(engine: PostgresEngine, shop: Shop) -> None:
    plant(shop)
    found = exposures(engine, shop)
    assert set(found) - {"database"} == {
        *("readable", "writable", "sequence", "definer", "create", "temporary", "foreign server", "large object"),
    }
    assert found["readable"].count == len(found["readable"].objects) == 7
    assert found["writable"].objects == ('hr."Odd.Name"', "hr.salaries")
    assert found["definer"].count == 5
    shop.run(*[one.fix for one in found.values() if one.kind != "database"])
    assert set(exposures(engine, shop)) <= {"database"}


def test_exposure_when_thousands_are_open(engine: PostgresEngine, newest: Shop) -> None:
    newest.run(
        "DO $$ BEGIN FOR i IN 1..700 LOOP EXECUTE format('CREATE TABLE hr.t%s (a int, b int);"
        " GRANT SELECT (a, b) ON hr.t%s TO PUBLIC', i, i); END LOOP; END $$"
    )
    readable = exposures(engine, newest)["readable"]
    assert (readable.count, len(readable.objects), len(readable.fix.splitlines())) == (700, 100, 100)


@pytest.mark.parametrize(
    ("planted", "objects"),
    [
        (
            f"{TELLING}; CREATE TRIGGER telling AFTER INSERT ON hr.salaries FOR EACH ROW EXECUTE FUNCTION hr.tell()",
            ("hr.tell(), fired by hr.salaries (telling)",),
        ),
        (
            "CREATE FUNCTION hr.say() RETURNS void LANGUAGE plpgsql AS 'BEGIN NOTIFY changes; END';"
            "CREATE FUNCTION hr.calls() RETURNS void LANGUAGE sql AS 'SELECT hr.say()'",
            ("hr.calls()", "hr.say()"),
        ),
        (
            "CREATE FUNCTION hr.parsed() RETURNS void LANGUAGE sql BEGIN ATOMIC SELECT pg_notify('a', 'b'); END;"
            "CREATE FUNCTION hr.calls() RETURNS void LANGUAGE sql BEGIN ATOMIC SELECT hr.parsed(); END",
            ("hr.calls()", "hr.parsed()"),
        ),
        (
            "CREATE FUNCTION hr.other(text, text) RETURNS void LANGUAGE internal AS 'pg_notify'",
            ("hr.other(text,text)",),
        ),
    ],
)
def test_exposure_when_functions_notify(
    engine: PostgresEngine, shop: Shop, planted: str, objects: tuple[str, ...]
) -> None:
    shop.run(
        "CREATE FUNCTION hr.notified_at() RETURNS text LANGUAGE sql AS 'SELECT ''not_a_notification''::text'", planted
    )
    found = exposures(engine, shop)["notifies"]
    assert (found.count, found.objects) == (len(objects), objects)


def test_exposure_when_a_login_listens(engine: PostgresEngine, shop: Shop) -> None:
    """What exposure warns of (field notes S6): a trigger tells a masked login the raw value."""
    make_crm(shop)
    shop.run(
        TELLING,
        "CREATE TRIGGER telling AFTER INSERT ON crm.people FOR EACH ROW EXECUTE FUNCTION hr.tell()",
    )
    with using(shop, a_view_spec(shop, viewed(shop, PEOPLE, MASKS))) as (alice, _):
        alice.execute("LISTEN changes")
        shop.run("INSERT INTO crm.people (name, ssn) VALUES ('Xu', 'S-1234')")
        (told,) = alice.notifies(timeout=20, stop_after=1)
    assert "S-1234" in told.payload
    assert exposures(engine, shop)["notifies"].objects == ("hr.tell(), fired by crm.people (telling)",)


def test_exposure_when_code_would_run(engine: PostgresEngine, newest: Shop) -> None:
    """Others' code is looked at, never run (field notes S2)."""
    newest.run(
        "CREATE TABLE hr.ran (who text); GRANT INSERT ON hr.ran TO PUBLIC; GRANT USAGE ON SCHEMA hr TO PUBLIC",
        "CREATE FUNCTION hr.trap(anyelement) RETURNS bool LANGUAGE plpgsql AS "
        "'BEGIN INSERT INTO hr.ran VALUES (current_user); RETURN true; END'",
        "CREATE VIEW hr.trapped AS SELECT id FROM hr.salaries WHERE hr.trap(id); GRANT SELECT ON hr.trapped TO PUBLIC",
    )
    assert exposures(engine, newest)["readable"].objects == ("hr.trapped",)
    assert newest.value("SELECT count(*) FROM hr.ran") == 0


@pytest.mark.parametrize("kind", list(Severity))
def test_preflight_when_masking_is_looked_at(engine: PostgresEngine, newest: Shop, kind: Severity) -> None:
    newest.run(TELLING, f"REVOKE CREATE ON DATABASE {newest.database} FROM jitportal_masker")
    found = engine.preflight(newest.target, [newest.database])
    said = " ".join(f"{one.sentence} {one.fix}" for one in found if one.severity is kind)
    expected = {
        Severity.ERROR: f"no column can be masked. GRANT CREATE ON DATABASE {newest.database}",
        Severity.WARNING: "1 functions notify: hr.tell(). What they send is read by whoever listens",
        Severity.OK: "answers, and asks for SCRAM",
    }
    assert expected[kind].lower() in said.replace('"', "").lower()
