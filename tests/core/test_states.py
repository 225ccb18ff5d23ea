"""The life cycles as Python knows them and as PostgreSQL enforces them are the same."""

from importlib import import_module

import pytest

from apps.core.errors import Conflict
from apps.core.states import Transitions, require
from apps.grants.states import TRANSITIONS as GRANTS
from apps.requests.states import TRANSITIONS as REQUESTS

TRIGGERS = [
    ("apps.requests.migrations.0003_status_trigger", REQUESTS),
    ("apps.grants.migrations.0002_status_trigger", GRANTS),
]


@pytest.mark.parametrize(("migration", "transitions"), TRIGGERS)
def test_trigger_allows_what_python_does_when_compared(migration: str, transitions: Transitions) -> None:
    assert {str(old): set(map(str, news)) for old, news in transitions.items()} == {
        old: set(news) for old, news in import_module(migration).TRANSITIONS.items()
    }


def test_require_raises_when_a_life_would_go_backwards() -> None:
    require(GRANTS, old="queued", new="active", noun="grant")
    with pytest.raises(Conflict, match="This grant is ended"):
        require(GRANTS, old="ended", new="active", noun="grant")
