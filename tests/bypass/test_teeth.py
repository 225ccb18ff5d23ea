"""The corpus itself: against a login that is given the tables as they are, it must find what it is made to find."""

from dataclasses import replace

import pytest

from apps.engines.base import Level, LoginSpec, Scope, TableName
from apps.engines.postgresql import PostgresEngine
from tests.bypass.assault import Attacker, Company, leaks_of
from tests.bypass.attack import Attack
from tests.bypass.attacks import CORPUS
from tests.bypass.wire import Wire

# Attacks on rows that a view leaves out, on instants that a view shortens; and the order of masked names, which only a
# view gives.
_NEED_A_VIEW = ("hidden rows by a key", "instants by the time zone", "order of the masked names")
# Those that infer nothing even here, because PostgreSQL does not choose such plans by itself, or estimates a unique
# column alike whatever the value: kept for the day that it does.
_BLUNT = (
    *("existence by a plan's estimate", "existence by an estimate of a join", "existence by writing the masked"),
    *("order by region", "order ordered by region", "order limited", "order distinct on", "order grouped"),
    *("order by a window", "order merged", "order by a cursor", "order distinct on, other plans switched off"),
)
TABLES = ("accounts", "events", "members", "people", "prices", "staff", "teams", "visits")


@pytest.fixture(scope="module")
def trusting(company: Company) -> LoginSpec:
    """A grant as it would be if nothing were classified."""
    spec = company.spec(Level.CHANGE)
    tables = tuple(sorted(TableName("app", name) for name in TABLES))
    with company.admin() as admin:
        known = {
            (TableName("app", table), column)
            for table, column in admin.execute(
                "SELECT c.relname::text, a.attname::text FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
                " WHERE c.relnamespace = 'app'::regnamespace AND a.attnum > 0"
            )
        }
        # A scope that deletes people would take their absences with it; those are not what this is about.
        scope = Scope(company.database, Level.CHANGE, tables)
        made = replace(spec, scope=scope, classified=frozenset(), known=frozenset(known))
        PostgresEngine().open_login(company.target, made)
    return made


@pytest.fixture
def reader(company: Company, wire: Wire, trusting: LoginSpec) -> Attacker:
    return Attacker(company, trusting, wire, schema="app")


@pytest.mark.parametrize(
    "attack",
    [attack for attack in CORPUS if attack.guess and attack.name not in (*_NEED_A_VIEW, *_BLUNT)],
    ids=lambda attack: attack.name,
)
def test_infers_when_nothing_is_masked(attack: Attack, reader: Attacker) -> None:
    assert leaks_of(attack, reader, "nobody")


def test_hears_when_nothing_is_masked(reader: Attacker) -> None:
    heard = []
    for attack in CORPUS:
        if attack.guess is None and leaks_of(attack, reader, "nobody"):
            heard.append(attack.name)
    assert len(heard) > 100
