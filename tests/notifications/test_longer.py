"""Who is told of more time: asked for, decided, applied, failed; and of the big red button."""

from datetime import timedelta

import pytest

from apps.accounts.models import User
from apps.approvals.services import approve, deny
from apps.core import clock
from apps.engines.base import Refused
from apps.grants import services as grants
from apps.grants.models import Grant
from apps.notifications.models import Notification
from apps.notifications.services import fold
from tests.factories import Cast, fresh
from tests.grants.odd_engine import LOST, OddEngine, fails, put_in
from tests.grants.stage import active

pytestmark = pytest.mark.django_db(transaction=True)


def news(user: User) -> list[str]:
    """What this person has been told since the last look, newest last."""
    fold()
    unread = Notification.objects.filter(user=user, read_at=None).order_by("pk")
    texts = [notification.text for notification in unread]
    unread.update(read_at=clock.now())
    return texts


def more(people: Cast, grant: Grant, minutes: int = 30) -> str:
    made = grants.extend(actor=fresh(people.alice), grant_id=grant.pk, minutes=minutes, reason="Slower than thought.")
    return made.pk


@pytest.fixture
def grant(people: Cast) -> Grant:
    made = active(people.alice, minutes=40)
    news(people.alice)
    return made


def test_fold_tells_of_more_time_when_it_is_asked_for_and_given(people: Cast, grant: Grant) -> None:
    request_id = more(people, grant)
    assert news(people.dana) == ["alice asks for 30 minutes more on shop-staging; it waits for you to decide."]
    assert news(people.alice) == news(people.bob) == []

    approve(actor=fresh(people.dana), request_id=request_id)
    assert news(people.alice) == ["Your request for 30 minutes more on shop-staging was approved."]

    grants.open_approved()
    grants.extend_queued(server_id=grant.server_id)
    (text,) = news(people.alice)
    assert text.startswith("Your access to shop-staging goes on until ")


def test_fold_tells_of_more_time_when_it_is_denied(people: Cast, grant: Grant) -> None:
    deny(actor=fresh(people.dana), request_id=more(people, grant), comment="Enough.")
    assert news(people.alice) == ["Your request for 30 minutes more on shop-staging was denied; its page says why."]


def test_fold_tells_once_when_more_time_cannot_be_given(
    people: Cast, grant: Grant, monkeypatch: pytest.MonkeyPatch
) -> None:
    more(people, grant, minutes=5)
    grants.open_approved()
    engine = OddEngine(before_extend=fails(LOST))
    put_in(monkeypatch, engine)
    grants.extend_queued(server_id=grant.server_id)
    assert news(people.alice) == []  # it is tried again
    engine.before_extend = fails(Refused("The login is not on the server any more."))
    with clock.shifted(timedelta(seconds=30)):
        grants.extend_queued(server_id=grant.server_id)
    (text,) = news(people.alice)
    assert text.startswith("Your access to shop-staging was not made longer and ends at ")
    assert text.endswith("The login is not on the server any more.")


def test_fold_tells_dbas_and_security_when_all_access_is_taken_away(people: Cast, grant: Grant) -> None:
    grants.revoke_all(actor=fresh(people.dana), reason="The laptop is gone.", expected=1, person="alice")
    assert news(people.sam) == ["Dana took all access of alice away (1 live)."]
    assert news(people.dana) == news(people.bob) == []
    grants.end_due(server_id=grant.server_id)
    assert news(people.alice) == ["Your access to shop-staging was revoked and has ended."]
