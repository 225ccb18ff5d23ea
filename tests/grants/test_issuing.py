from datetime import timedelta

import psycopg
import pytest

from apps.grants import services
from apps.grants.models import Grant
from tests.factories import Cast
from tests.grants.conftest import LeftBehind
from tests.grants.stage import active, connected, queued, told

pytestmark = pytest.mark.django_db(transaction=True)


def test_issue_makes_a_login_that_works_when_all_is_well(people: Cast, left_behind: LeftBehind) -> None:
    grant = active(people.alice, minutes=5)

    with connected(grant) as client:
        assert client.execute("SELECT id FROM sales.orders").fetchall() == [(4711,)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            client.execute("SELECT id FROM stock.products")
    assert grant.expires_at is not None
    assert grant.starts_at is not None
    assert grant.expires_at - grant.starts_at == timedelta(minutes=5)
    assert told(grant) == ["grant.queued", "grant.issuing", "grant.issued", "credential.shown"]
