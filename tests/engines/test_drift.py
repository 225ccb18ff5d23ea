"""What changes on the target under logins that live."""

from collections.abc import Sequence
from dataclasses import replace

import psycopg
import pytest

from apps.core.ids import new_id
from apps.engines.base import Drift, Level, LoginSpec
from apps.engines.postgresql import PostgresEngine, names
from tests.engines.conftest import CUSTOMERS, EMAIL, ORDERS, PORTAL, SALARIES, Shop, a_spec
from tests.engines.viewing import MASKS, NOTES, PEOPLE, a_view_spec, make_crm, viewed

SECRETS = frozenset({(SALARIES, "salary"), *EMAIL, *((PEOPLE, column) for column in MASKS)})


def live(engine: PostgresEngine, shop: Shop, spec: LoginSpec) -> LoginSpec:
    engine.open_login(shop.target, spec)
    return spec


def a_direct_login(engine: PostgresEngine, shop: Shop, level: Level = Level.QUERY) -> LoginSpec:
    return live(engine, shop, a_spec(shop, ORDERS, level=level, classified=SECRETS))


def a_masked_login(engine: PostgresEngine, shop: Shop, level: Level = Level.QUERY) -> LoginSpec:
    views = viewed(shop, PEOPLE, MASKS), viewed(shop, NOTES)
    return live(engine, shop, a_view_spec(shop, *views, direct=[ORDERS], level=level, classified=SECRETS))


def found(engine: PostgresEngine, shop: Shop, specs: Sequence[LoginSpec]) -> dict[str, Drift]:
    return {one.login: one for one in engine.drift(shop.target, shop.database, specs)}


def test_drift_when_nothing_has_changed(engine: PostgresEngine, shop: Shop) -> None:
    make_crm(shop)
    specs = [make(engine, shop, level) for make in (a_direct_login, a_masked_login) for level in Level]
    assert engine.drift(shop.target, shop.database, specs) == []
    assert engine.drift(shop.target, shop.database, []) == []


@pytest.mark.parametrize(
    ("leak", "sentence"),
    [
        ("GRANT SELECT ON hr.salaries TO PUBLIC", "hr.salaries (salary) is classified and open to PUBLIC: REVOKE ALL"),
        ("GRANT SELECT (salary) ON hr.salaries TO PUBLIC", "hr.salaries (salary) is classified and open to PUBLIC"),
        (
            "CREATE VIEW sales.v AS SELECT salary FROM hr.salaries; GRANT SELECT ON sales.v TO PUBLIC",
            "hr.salaries (salary) is classified and can be read through the view sales.v, open to PUBLIC",
        ),
        (
            "CREATE MATERIALIZED VIEW hr.m AS TABLE hr.salaries; GRANT SELECT ON hr.m TO PUBLIC",
            "can be read through the view hr.m, open to PUBLIC",
        ),
        ("GRANT SELECT ON pg_statistic TO PUBLIC", "statistics, which hold values of classified columns"),
    ],
)
def test_drift_when_public_opens_a_classified_column(
    engine: PostgresEngine, shop: Shop, leak: str, sentence: str
) -> None:
    make_crm(shop)
    specs = [a_direct_login(engine, shop), a_masked_login(engine, shop), a_direct_login(engine, shop)]
    shop.run(leak)
    drifts = found(engine, shop, specs)
    shop.run("REVOKE ALL ON pg_statistic FROM PUBLIC")
    assert list(drifts) == [spec.login for spec in specs]
    for drift in drifts.values():
        assert len(drift.opened) == 1
        assert sentence in drift.opened[0]
        assert drift.changed == ()


def test_drift_when_a_view_is_open_in_a_schema_that_one_may_use(engine: PostgresEngine, shop: Shop) -> None:
    in_sales, in_hr = a_direct_login(engine, shop), live(engine, shop, a_spec(shop, SALARIES, classified=EMAIL))
    shop.run("CREATE VIEW hr.v AS TABLE sales.customers; GRANT SELECT ON hr.v TO PUBLIC")
    assert set(found(engine, shop, [in_sales, in_hr])) == {in_hr.login}


@pytest.mark.parametrize(
    ("tampering", "sentence"),
    [
        ("GRANT SELECT ON hr.salaries TO {scope}", "hr.salaries (salary) is classified and within reach"),
        ("GRANT SELECT (salary) ON hr.salaries TO {login}", "hr.salaries (salary) is classified and within reach"),
        ("GRANT pg_read_all_data TO {login}", "MEMBER on role pg_read_all_data"),
        ("GRANT pg_read_all_data TO {scope}", "MEMBER on role pg_read_all_data"),
        ("ALTER ROLE {login} SUPERUSER", "HAS on attribute SUPERUSER"),
        ("ALTER ROLE {scope} BYPASSRLS", "HAS on attribute BYPASSRLS"),
        ("CREATE ROLE owner_shop_x; GRANT owner_shop_x TO {login}", "MEMBER on role owner_shop_x"),
        (
            "CREATE VIEW sales.v AS TABLE hr.salaries; GRANT SELECT ON sales.v TO {login}",
            "can be read through the view sales.v, open to jit_alice_",
        ),
    ],
)
def test_drift_when_somebody_gave_it_reach(engine: PostgresEngine, shop: Shop, tampering: str, sentence: str) -> None:
    spec, other = a_direct_login(engine, shop), live(engine, shop, a_spec(shop, CUSTOMERS))
    shop.run(tampering.format(login=spec.login, scope=names.scope_role_name(spec.scope)))
    drifts = found(engine, shop, [spec, other])
    assert set(drifts) == {spec.login}
    assert sentence in " ".join(drifts[spec.login].opened)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("REVOKE SELECT ON sales.orders FROM {scope}", "It lacks SELECT on table sales.orders"),
        ("GRANT INSERT ON sales.orders TO {scope}", "It has INSERT on table sales.orders through jitscope_"),
        ("GRANT SELECT (id) ON hr.salaries TO {login}", "It has SELECT on column hr.salaries.id through jit_alice_"),
        ("ALTER ROLE {login} CREATEDB", "HAS on attribute CREATEDB"),
        ("REVOKE {scope} FROM {login}", "It lacks MEMBER on role jitscope_"),
        ("COMMENT ON ROLE {login} IS NULL", "does not carry this portal's mark"),
        ("ALTER ROLE {login} RENAME TO jit_alice_aaaaaaaaaa", "The login is gone"),
        ("DROP OWNED BY {login}; DROP ROLE {login}", "The login is gone"),
        ("ALTER TABLE sales.orders ADD card text", "sales.orders has columns that the catalog had not seen (card)"),
        ("DROP TABLE sales.orders", "It lacks SELECT on table sales.orders"),
        ("ALTER TABLE sales.orders RENAME TO purchases", "It lacks SELECT on table sales.orders"),
    ],
)
def test_drift_when_something_else_changed(engine: PostgresEngine, shop: Shop, change: str, sentence: str) -> None:
    spec, other = a_direct_login(engine, shop), live(engine, shop, a_spec(shop, CUSTOMERS))
    revoking = "SET ROLE jitportal_masker;" if change.startswith("REVOKE SELECT") else ""
    member = change.startswith("REVOKE {scope}") and shop.server.version >= 16
    by = f" GRANTED BY {names.maker_name(spec.login)}" if member else ""
    shop.run(revoking + change.format(login=spec.login, scope=names.scope_role_name(spec.scope)) + by)
    drifts = found(engine, shop, [spec, other])
    assert set(drifts) == {spec.login}
    assert drifts[spec.login].opened == ()
    assert sentence in " ".join(drifts[spec.login].changed)


def test_drift_when_an_added_column_is_classified(engine: PostgresEngine, shop: Shop) -> None:
    spec = a_direct_login(engine, shop)
    shop.run("ALTER TABLE sales.orders ADD card text")
    later = replace(spec, classified=spec.classified | {(ORDERS, "card")})
    (drift,) = engine.drift(shop.target, shop.database, [later])
    assert "sales.orders (card) is classified and within reach" in drift.opened[0]
    assert drift.changed == ()


@pytest.mark.parametrize(
    ("tampering", "opened", "changed"),
    [
        (
            "CREATE OR REPLACE VIEW {view} AS "
            "SELECT id, name, email, ssn, salary::numeric, region, grade FROM crm.people",
            "is not as it was made",
            "",
        ),
        ("ALTER VIEW {view} SET (security_barrier = false)", "is not as it was made", ""),
        ("ALTER VIEW {view} OWNER TO postgres", "is not as it was made", ""),
        ("COMMENT ON VIEW {view} IS NULL", "is not as it was made", ""),
        ("ALTER TABLE crm.people RENAME ssn TO number", "has no classified column ssn any more", ""),
        ("DROP VIEW {view}", "", "is gone"),
        ("DROP TABLE crm.people CASCADE", "", "is gone"),
        ("CREATE INDEX ON crm.people (region, salary)", "in the order of a masked column", ""),
        ("ALTER TABLE crm.people ADD CHECK (salary > grade)", "It has INSERT on column", ""),
        ("CREATE UNIQUE INDEX ON crm.people (ssn, grade)", "It has UPDATE on column", ""),
        ("ALTER TABLE crm.people ENABLE ROW LEVEL SECURITY", "crm.people has row security", ""),
        ("GRANT TRUNCATE ON {view} TO {scope}", "", "It has TRUNCATE on table jit_"),
        ("REVOKE SELECT ON {view} FROM {scope}", "", "It lacks SELECT on table jit_"),
        ("REVOKE SELECT ON crm.people FROM jitportal_masker CASCADE", "", "lacks SELECT on crm.people"),
        ("GRANT SELECT ON {view} TO PUBLIC", "", ""),
        ("ALTER TABLE crm.people ADD extra text", "", ""),
        ("CREATE TABLE hr.child (person int REFERENCES crm.people ON DELETE CASCADE)", "", "Changes cascade"),
    ],
)
def test_drift_when_a_view_or_its_table_changed(
    engine: PostgresEngine, shop: Shop, tampering: str, opened: str, changed: str
) -> None:
    make_crm(shop)
    spec = a_masked_login(engine, shop, Level.CHANGE)
    view = f'"{names.view_schemas(spec.scope)["crm"]}".people'
    shop.run(tampering.format(view=view, scope=names.scope_role_name(spec.scope)))
    drifts = engine.drift(shop.target, shop.database, [spec])
    if not opened and not changed:
        assert drifts == []
        return
    (drift,) = drifts
    assert bool(drift.opened) == bool(opened)
    assert opened in " ".join(drift.opened)
    assert changed in " ".join(drift.changed)


def test_drift_when_the_schema_of_a_view_is_given_away(engine: PostgresEngine, shop: Shop) -> None:
    """Its owner could drop the view and put something else in front of the login."""
    make_crm(shop)
    spec = a_masked_login(engine, shop)
    schema = names.view_schemas(spec.scope)["crm"]
    shop.run(f'ALTER SCHEMA "{schema}" OWNER TO CURRENT_USER')
    drift = found(engine, shop, [spec])[spec.login]
    assert f"The schema {schema} belongs to another role" in " ".join(drift.changed)


def test_drift_when_a_view_of_another_scope_is_opened(engine: PostgresEngine, shop: Shop) -> None:
    """It may show what was approved there and not here."""
    make_crm(shop)
    unmasked = live(engine, shop, a_view_spec(shop, viewed(shop, PEOPLE, {"ssn": "hidden"}), classified=SECRETS))
    other = a_direct_login(engine, shop)
    schema = names.view_schemas(unmasked.scope)["crm"]
    shop.run(f'GRANT USAGE ON SCHEMA "{schema}" TO PUBLIC; GRANT SELECT ON "{schema}".people TO PUBLIC')
    drifts = found(engine, shop, [unmasked, other])
    assert set(drifts) == {other.login}
    assert "can be read through the view jit_" in drifts[other.login].opened[0]


@pytest.mark.parametrize("action", ["DELETE CASCADE", "UPDATE SET NULL"])
def test_drift_when_a_cascade_is_new(engine: PostgresEngine, shop: Shop, action: str) -> None:
    reader, writer = a_direct_login(engine, shop), a_direct_login(engine, shop, Level.CHANGE)
    shop.run(f"CREATE TABLE hr.more (o int REFERENCES sales.orders ON {action})")
    assert found(engine, shop, [reader, writer]) == {
        writer.login: Drift(writer.login, changed=("Changes cascade to tables outside the grant by now: hr.more.",))
    }


def test_drift_when_hundreds_are_live(engine: PostgresEngine, newest: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many queries as for one."""
    first = a_direct_login(engine, newest)
    scope = names.scope_role_name(first.scope)
    specs = [replace(first, login=names.login_name("bob", new_id())) for _ in range(500)]
    mark = names.comment(PORTAL, "login")
    newest.run(
        *[f"CREATE ROLE {one.login} LOGIN IN ROLE {scope}; COMMENT ON ROLE {one.login} IS '{mark}'" for one in specs]
    )
    newest.run("GRANT SELECT ON hr.salaries TO PUBLIC")
    queries: list[object] = []
    execute = psycopg.Cursor.execute

    def counted(self: psycopg.Cursor[object], query: object, *args: object, **options: object) -> object:
        queries.append(query)
        return execute(self, query, *args, **options)  # type: ignore[arg-type, type-var]

    monkeypatch.setattr(psycopg.Cursor, "execute", counted)
    assert len(engine.drift(newest.target, newest.database, [first])) == 1
    for_one = len(queries)
    assert len(engine.drift(newest.target, newest.database, [first, *specs])) == 501
    assert len(queries) == 2 * for_one
    assert for_one < 12


def test_drift_tells_when_a_login_was_locked_by_hand(engine: PostgresEngine, shop: Shop) -> None:
    locked, fine = a_direct_login(engine, shop), a_direct_login(engine, shop)
    shop.run(f"ALTER ROLE {locked.login} NOLOGIN")
    told = found(engine, shop, [locked, fine])
    assert list(told) == [locked.login]
    assert told[locked.login].opened == ()
    assert "NOLOGIN" in told[locked.login].changed[0]
