"""Statements in the console are use of the access, although their sessions are over before anybody looks."""

import pytest

from apps.console import kept
from apps.console import services as console
from apps.grants import services as grants
from apps.grants.sessions import use_in_words
from apps.grants.states import GrantStatus
from tests.console import scene
from tests.factories import Cast
from tests.grants.stage import now_in
from tests.support.people import signed_in

pytestmark = pytest.mark.django_db(transaction=True)


def test_tell_use_when_a_statement_was_run(people: Cast) -> None:
    grant = scene.live(people)
    scene.rows(console.run(actor=people.alice, grant_id=grant.pk, sql="SELECT 1; SELECT 2"))
    assert use_in_words(grant) == "not yet"
    assert console.tell_use() == 1
    grant = now_in(grant, GrantStatus.ACTIVE)
    assert (use_in_words(grant), grant.sessions_seen) == ("in the console", 0)
    assert grant.first_used_at is not None
    assert grant.last_used_at > grant.first_used_at
    assert console.tell_use() == 0


def test_tell_use_when_the_access_has_ended_meanwhile(people: Cast) -> None:
    grant = scene.live(people)
    scene.rows(console.run(actor=people.alice, grant_id=grant.pk, sql="SELECT 1"))
    kept.close_all()  # nothing is seen
    grants.release(actor=people.alice, grant_id=grant.pk)
    grants.end_due(server_id=grant.server_id)
    assert console.tell_use() == 1
    assert use_in_words(now_in(grant, GrantStatus.ENDED)) == "in the console"


def test_request_page_counts_statements_when_nobody_has_told_yet(people: Cast) -> None:
    grant = scene.live(people)
    scene.rows(console.run(actor=people.alice, grant_id=grant.pk, sql="SELECT 1"))
    page = signed_in(people.alice).get(f"/requests/{grant.request_id}/").content.decode()
    assert "1 statement in the console" in page
    assert "Not yet" not in page
