"""R12: the holder has changed the login's password; they are told, and may have it set again."""

import psycopg
import pytest
from psycopg import sql

from apps.console import services as console
from apps.console.errors import Unavailable
from apps.core import clock
from apps.core.errors import Conflict, NotAllowed
from apps.grants import due, services
from apps.grants.tasks import Task
from apps.requests.models import AccessRequest
from tests.factories import Cast
from tests.grants.stage import active, after, connected, told


def test_reset_password_when_its_holder_has_changed_it(people: Cast) -> None:
    grant = active(people.alice)
    console.check_login(actor=people.alice, grant_id=grant.pk)
    with connected(grant) as mine:
        mine.execute(sql.SQL("ALTER ROLE {} PASSWORD 'a'").format(sql.Identifier(grant.login)))
    with pytest.raises(psycopg.OperationalError):
        connected(grant)
    with pytest.raises(Unavailable) as told_so:
        console.check_login(actor=people.alice, grant_id=grant.pk)
    assert told_so.value.offers_reset

    services.reset_password(actor=people.alice, grant_id=grant.pk, address="::1")
    (work,) = due.resets(clock.now())
    assert (work.task, work.argument) == (Task.RESET_PASSWORD, grant.server_id)
    services.reset_wanted(server_id=grant.server_id)

    connected(grant).close()
    console.check_login(actor=people.alice, grant_id=grant.pk)
    assert told(grant)[-4:-1] == ["credential.reset_wanted", "credential.resetting", "credential.reset"]
    assert list(due.resets(clock.now())) == []


def test_reset_password_when_it_is_not_theirs_or_over(people: Cast) -> None:
    grant = active(people.alice)

    with pytest.raises(NotAllowed):
        services.reset_password(actor=people.dana, grant_id=grant.pk)
    with clock.shifted(after(grant)), pytest.raises(Conflict):
        services.reset_password(actor=people.alice, grant_id=grant.pk)


def test_reset_wanted_when_it_has_ended_meanwhile(people: Cast) -> None:
    grant = active(people.alice)
    services.reset_password(actor=people.alice, grant_id=grant.pk)
    services.release(actor=people.alice, grant_id=grant.pk)

    services.reset_wanted(server_id=grant.server_id)

    assert "credential.resetting" not in told(grant)
    assert AccessRequest.objects.get(pk=grant.request_id).password_reset_wanted_at is not None
