"""One company on each version of PostgreSQL, and a relay before it."""

from collections.abc import Callable, Iterator

import pytest

from apps.engines.base import Level, LoginSpec
from apps.engines.postgresql import PostgresEngine
from tests.bypass.assault import Attacker, Company, founded
from tests.bypass.wire import Wire, listening
from tests.support.targets import TargetServer


# Of one file: in between, others set up the same server for themselves.
@pytest.fixture(scope="module")
def company(target_server: TargetServer) -> Iterator[Company]:
    with founded(target_server) as made:
        yield made


@pytest.fixture(scope="module")
def wire(company: Company) -> Iterator[Wire]:
    with listening(company.target.host, company.target.port) as opened:
        yield opened


@pytest.fixture(scope="module")
def issued(company: Company) -> Callable[[Level], LoginSpec]:
    """Credentials of each level, issued once for all attacks."""
    made: dict[Level, LoginSpec] = {}

    def issue(level: Level) -> LoginSpec:
        if level not in made:
            made[level] = company.spec(level)
            PostgresEngine().open_login(company.target, made[level])
        return made[level]

    return issue


@pytest.fixture
def attacker(company: Company, wire: Wire, issued: Callable[[Level], LoginSpec]) -> Callable[[Level], Attacker]:
    return lambda level: Attacker(company, issued(level), wire)
