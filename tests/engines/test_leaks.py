"""Ways to a classified column, and to tables outside the scope, beside and behind the views of a scope."""

import pytest

from apps.engines.base import Level, TableName
from apps.engines.postgresql import PostgresEngine, names
from tests.engines.conftest import ORDERS, Shop
from tests.engines.test_proof import opened, refusal
from tests.engines.viewing import MASKS, PEOPLE, a_view_spec, make_crm, viewed


def reviews(shop: Shop) -> tuple[TableName, TableName]:
    """A partitioned table and its partition."""
    shop.run(
        "CREATE TABLE hr.reviews (id int, verdict text) PARTITION BY RANGE (id)",
        "CREATE TABLE hr.reviews_1 PARTITION OF hr.reviews FOR VALUES FROM (0) TO (10)",
    )
    shop.bootstrap()
    return TableName("hr", "reviews"), TableName("hr", "reviews_1")


def test_open_login_when_a_view_shows_what_is_classified_in_a_partition(engine: PostgresEngine, shop: Shop) -> None:
    parent, part = reviews(shop)
    both = frozenset({(parent, "verdict"), (part, "verdict")})
    plain, masked = viewed(shop, parent), viewed(shop, parent, {"verdict": "hidden"})
    sentence = refusal(engine, shop, a_view_spec(shop, plain, classified=both - {(parent, "verdict")}))
    assert "hr.reviews_1 (verdict) is classified, and its rows are also those of hr.reviews" in sentence
    assert "classify verdict of hr.reviews as well" in sentence
    for view in (masked, plain):  # the latter was approved, as the column is known to be classified
        assert opened(engine, shop, a_view_spec(shop, view, classified=both))


@pytest.mark.parametrize(
    ("action", "masks", "sentence"),
    [
        ("DELETE CASCADE", {"ssn": "hidden"}, "outside the grant, by cascading foreign keys: hr.logs."),
        ("DELETE SET NULL", {"ssn": "hidden"}, "outside the grant, by cascading foreign keys: hr.logs."),
        ("UPDATE CASCADE", {"ssn": "hidden"}, "outside the grant, by cascading foreign keys: hr.logs."),
        ("UPDATE CASCADE", {"ssn": "hidden", "id": "null"}, ""),  # nobody can change what is referred to
        ("DELETE NO ACTION", {"ssn": "hidden"}, ""),
    ],
)
def test_open_login_when_changes_through_a_view_would_cascade(
    engine: PostgresEngine, newest: Shop, action: str, masks: dict[str, str], sentence: str
) -> None:
    make_crm(newest)
    newest.run(f"CREATE TABLE hr.logs (person int REFERENCES crm.people ON {action})")
    newest.bootstrap()
    view, logs = viewed(newest, PEOPLE, masks), TableName("hr", "logs")
    assert opened(engine, newest, a_view_spec(newest, view))
    change = a_view_spec(newest, view, level=Level.CHANGE)
    if not sentence:
        assert opened(engine, newest, change)
        return
    assert sentence in refusal(engine, newest, change)
    named = a_view_spec(newest, view, direct=[logs], level=Level.CHANGE)
    reach = opened(engine, newest, named).evidence.reach
    (cascade,) = [one for one in reach if one.via == "cascade from crm.people"]
    assert cascade.object == "table hr.logs"


def test_open_login_when_the_same_table_leaks_beside_its_view(engine: PostgresEngine, shop: Shop) -> None:
    """The scope's own views are the only way; others to the same column are none."""
    make_crm(shop)
    spec = a_view_spec(shop, viewed(shop, PEOPLE, MASKS), direct=[ORDERS])
    other = a_view_spec(shop, viewed(shop, PEOPLE, {"ssn": "hidden"}), classified=spec.classified)
    assert opened(engine, shop, other)
    schema = names.view_schemas(other.scope)["crm"]
    shop.run(f'CREATE VIEW sales.v AS TABLE "{schema}".people; GRANT SELECT ON sales.v TO PUBLIC')
    assert "can be read through the view sales.v, open to PUBLIC" in refusal(engine, shop, spec)
    shop.run("DROP VIEW sales.v; GRANT SELECT (email) ON crm.people TO PUBLIC")
    assert "crm.people (email) is classified and open to PUBLIC" in refusal(engine, shop, spec)


@pytest.mark.parametrize("reading", ["SELECT ssn FROM crm.people", "SELECT * FROM crm.v", "SELECT p FROM crm.people p"])
def test_open_login_when_a_rule_answers_with_what_is_classified(
    engine: PostgresEngine, shop: Shop, reading: str
) -> None:
    make_crm(shop)
    shop.run("CREATE VIEW crm.v AS TABLE crm.people", f"CREATE RULE r AS ON INSERT TO sales.orders DO ALSO {reading}")
    classified = frozenset({(PEOPLE, "ssn")})
    change = a_view_spec(shop, direct=[ORDERS], level=Level.CHANGE, classified=classified)
    assert "a rule on sales.orders" in refusal(engine, shop, change)
    assert opened(engine, shop, a_view_spec(shop, direct=[ORDERS], classified=classified))


def test_open_login_when_an_open_table_cascades_into_masked_rows(engine: PostgresEngine, shop: Shop) -> None:
    make_crm(shop)
    shop.run(
        "CREATE TABLE hr.teams (id int PRIMARY KEY)",
        "CREATE TABLE crm.members (team int REFERENCES hr.teams ON UPDATE CASCADE, oath text)",
    )
    shop.bootstrap()
    members, teams = viewed(shop, TableName("crm", "members"), {"oath": "hidden"}), TableName("hr", "teams")
    sentence = refusal(engine, shop, a_view_spec(shop, members, direct=[teams], level=Level.CHANGE))
    assert "Changing hr.teams would also change rows of crm.members" in sentence
    assert opened(engine, shop, a_view_spec(shop, members, direct=[teams]))
    plain = viewed(shop, members.table)
    change = a_view_spec(shop, plain, direct=[teams], level=Level.CHANGE)
    assert opened(engine, shop, change)
    shop.run("ALTER TABLE crm.members DROP CONSTRAINT members_team_fkey")
    live = a_view_spec(shop, members, direct=[teams], level=Level.CHANGE)
    assert opened(engine, shop, live)
    shop.run("ALTER TABLE crm.members ADD FOREIGN KEY (team) REFERENCES hr.teams ON UPDATE CASCADE")
    (drift,) = engine.drift(shop.target, shop.database, [live])
    assert any("changes rows of crm.members by now" in sentence for sentence in drift.opened)
