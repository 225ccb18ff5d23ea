"""The database that tests run on: the worker's rights, and emptied after tests that commit."""

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connection, connections

from apps.accounts.models import User
from jitportal.portal_database import OWNER, WORKER


def as_whom(alias: str) -> str:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT session_user")
        return str(cursor.fetchone()[0])


@pytest.mark.django_db(databases=["default", "owner"])
def test_connect_when_a_test_asks_for_the_database() -> None:
    assert (as_whom("default"), as_whom("owner")) == (WORKER, OWNER)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("turn", [1, 2])
def test_empty_when_a_test_has_committed(turn: int) -> None:
    assert not User.objects.filter(username="left-behind").exists()
    User.objects.create(username="left-behind")
    assert ContentType.objects.exists()


@pytest.mark.django_db
def test_empty_when_the_last_test_has_committed() -> None:
    assert not User.objects.exists()
    assert not connection.in_atomic_block or connection.savepoint_ids == []
