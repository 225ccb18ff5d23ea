"""What the web process may do to access, by its verbs and by hand: let it end, and nothing that keeps it alive."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest
from django.db import connection

from apps.grants import services
from apps.grants.models import Grant
from apps.grants.states import GrantStatus
from jitportal.portal_database import WEB
from tests.factories import Cast, fresh
from tests.grants.stage import active, now_in, queued
from tests.support.portal import PortalDatabase

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def web(portal_database: PortalDatabase) -> Iterator[psycopg.Connection]:
    with portal_database.connect(WEB) as web:
        yield web


@pytest.fixture
def grants(people: Cast, portal_database: PortalDatabase) -> Iterator[list[Grant]]:
    """Three live grants, and then the rights of the web process."""
    made = [active(people.alice), active(people.alice), queued(people.alice)]
    before = dict(connection.settings_dict)
    connection.close()
    connection.settings_dict |= {"USER": WEB, "PASSWORD": urlsplit(portal_database.urls[WEB]).password}
    yield made
    connection.close()
    connection.settings_dict |= before


def test_verbs_work_when_the_web_process_calls_them(people: Cast, grants: list[Grant]) -> None:
    first, second, third = grants

    assert services.credential(actor=people.alice, grant_id=first.pk).username == first.login
    services.release(actor=people.alice, grant_id=first.pk)
    services.revoke(actor=fresh(people.dana), grant_id=second.pk, reason="Enough.")
    services.revoke(actor=fresh(people.sam), grant_id=third.pk, reason="Enough.")

    for grant in grants:
        now_in(grant, GrantStatus.ENDING)


@pytest.mark.parametrize(
    "change",
    [
        "expires_at = now() + interval '1 year'",
        "claimed_by = 'me', claimed_until = '2100-01-01'",
        "scope = '{}'",
        "minutes = 40000",
        "login = 'postgres'",
        "problem = 'nothing wrong'",
        "next_try_at = '2100-01-01'",
        "status = 'ending', next_try_at = '2100-01-01', ending_since = now()",
        "status = 'ending', next_try_at = NULL, ending_since = now()",
        "status = 'ending', next_try_at = now(), ending_since = '2100-01-01'",
        # What nobody can read or count on from would keep clock and workers from every end.
        "status = 'ending', next_try_at = '-infinity', ending_since = now()",
        "status = 'ending', next_try_at = now(), ending_since = '-infinity'",
        "status = 'ending', next_try_at = now(), ending_since = now(), tries = 2147483647",
        "status = 'ending', next_try_at = now(), ending_since = now(), end_cause = 'refused'",
        "status = 'ending', next_try_at = now(), ending_since = now(), end_reason = repeat('x', 2000000)",
    ],
)
def test_update_of_a_live_grant_is_refused_when_the_web_role_does_it_by_hand(
    people: Cast, web: psycopg.Connection, change: str
) -> None:
    active(people.alice)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        web.execute(f"UPDATE grants_grant SET {change}".encode())


@pytest.mark.parametrize("change", ["status = 'ended'", "next_try_at = '2100-01-01'"])
def test_update_of_an_ending_grant_is_refused_when_the_web_role_does_it_by_hand(
    people: Cast, web: psycopg.Connection, change: str
) -> None:
    services.release(actor=people.alice, grant_id=active(people.alice).pk)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        web.execute(f"UPDATE grants_grant SET {change}".encode())


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO grants_grant SELECT * FROM grants_grant",
        "DELETE FROM grants_grant",
        "TRUNCATE grants_grant",
        "UPDATE grants_serverlease SET until = '2100-01-01'",
        "INSERT INTO grants_heartbeat VALUES ('clock:x', 'clock', now())",
    ],
)
def test_grants_are_out_of_reach_when_the_web_role_writes_by_hand(
    people: Cast, web: psycopg.Connection, statement: str
) -> None:
    active(people.alice)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        web.execute(statement.encode())


@pytest.mark.parametrize(
    "change",
    [
        "catalog_server SET checked_at = 'infinity'",
        "catalog_server SET reconcile_wanted_at = '-infinity'",
        "catalog_database SET synced_at = '20000-01-01'",
        "access_requests_accessrequest SET submitted_at = '-infinity'",
        "accounts_user SET seen_at = 'infinity'",
    ],
)
def test_times_that_nobody_can_read_are_refused_when_the_web_role_writes_them(
    people: Cast, web: psycopg.Connection, change: str
) -> None:
    active(people.alice)
    with pytest.raises(psycopg.errors.CheckViolation):
        web.execute(f"UPDATE {change}".encode())
