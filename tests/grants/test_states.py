"""The life cycle in PostgreSQL is the one in Python."""

import itertools

import pytest
from django.db import IntegrityError, connection, transaction

from apps.core.errors import Conflict
from apps.core.states import require
from apps.grants.models import Grant
from apps.grants.states import LIVE, OVER, TRANSITIONS, GrantStatus
from tests.factories import Cast
from tests.grants.stage import queued

pytestmark = pytest.mark.django_db(transaction=True)

_WAYS = {
    GrantStatus.QUEUED: [],
    GrantStatus.ACTIVE: [GrantStatus.ACTIVE],
    GrantStatus.ENDING: [GrantStatus.ENDING],
    GrantStatus.ENDED: [GrantStatus.ENDING, GrantStatus.ENDED],
    GrantStatus.FAILED: [GrantStatus.FAILED],
}


def move(grant: Grant, status: str) -> None:
    Grant.objects.filter(pk=grant.pk).update(status=status, expires_at=grant.queued_at, password=None)


def test_every_change_of_state_is_allowed_by_both_or_by_none(people: Cast) -> None:
    grant = queued(people.alice)
    for old, new in itertools.permutations(GrantStatus, 2):
        with transaction.atomic():
            for status in _WAYS[old]:
                move(grant, status)
            allowed = new in TRANSITIONS.get(old, frozenset())
            try:
                with transaction.atomic():
                    move(grant, new)
            except IntegrityError:
                assert not allowed, f"{old} → {new}"
                with pytest.raises(Conflict):
                    require(TRANSITIONS, old=old, new=new, noun="grant")
            else:
                assert allowed, f"{old} → {new}"
            transaction.set_rollback(True)


def test_a_grant_cannot_begin_as_anything_but_queued(people: Cast) -> None:
    grant = queued(people.alice)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM grants_grant WHERE id = %s", [grant.pk])
        grant.status, grant.expires_at = GrantStatus.ACTIVE, grant.queued_at
        with pytest.raises(IntegrityError), transaction.atomic():
            grant.save(force_insert=True)


@pytest.mark.parametrize("status", OVER)
def test_a_grant_that_is_over_keeps_no_secret(people: Cast, status: str) -> None:
    grant = queued(people.alice)
    move(grant, GrantStatus.ENDING)
    with pytest.raises(IntegrityError, match="grant_over_keeps_no_secret"), transaction.atomic():
        Grant.objects.filter(pk=grant.pk).update(status=status, password=b"x")


def test_every_state_is_live_or_over() -> None:
    assert {*LIVE, *OVER} == set(GrantStatus)
    assert not any(TRANSITIONS.get(status) for status in OVER)
