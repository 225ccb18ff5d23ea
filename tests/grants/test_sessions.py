from datetime import timedelta

import pytest

from apps.core import clock
from apps.grants import services
from apps.grants.states import GrantStatus
from tests.factories import Cast
from tests.grants.stage import active, connected, now_in

pytestmark = pytest.mark.django_db(transaction=True)


def test_look_at_sessions_counts_when_people_come_and_go(people: Cast) -> None:
    grant = active(people.alice)
    look = lambda: services.look_at_sessions(server_id=grant.server_id)  # noqa: E731

    look()
    now_in(grant, GrantStatus.ACTIVE)
    assert (grant.sessions_live, grant.sessions_seen, grant.first_used_at) == (0, 0, None)

    with connected(grant), connected(grant):
        look()
        look()
        now_in(grant, GrantStatus.ACTIVE)
        assert (grant.sessions_live, grant.sessions_seen) == (2, 2)
        first_used_at, last_used_at = grant.first_used_at, grant.last_used_at
    services.release(actor=people.alice, grant_id=grant.pk)
    services.end_due(server_id=grant.server_id)

    now_in(grant, GrantStatus.ENDED)
    assert (grant.sessions_live, grant.sessions_seen) == (0, 2)
    assert (grant.first_used_at, grant.last_used_at) == (first_used_at, last_used_at)


def test_look_at_sessions_counts_anew_when_all_have_been_replaced(people: Cast) -> None:
    grant = active(people.alice)
    with connected(grant):
        services.look_at_sessions(server_id=grant.server_id)
    with connected(grant):
        services.look_at_sessions(server_id=grant.server_id)

    now_in(grant, GrantStatus.ACTIVE)

    assert (grant.sessions_live, grant.sessions_seen) == (1, 2)
    assert grant.first_used_at is not None
    assert abs(grant.first_used_at - clock.now()) < timedelta(minutes=1)
