"""The verbs that pages and the API call, with no more database rights than the web process has."""

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from django.db import connection

from apps.approvals.services import approve, deny, inbox
from apps.policies.services import save_rule
from apps.requests.services import Ask, cancel, preview, submit
from jitportal.portal_database import WEB
from tests.factories import Cast
from tests.support.portal import PortalDatabase

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def as_web(people: Cast, portal_database: PortalDatabase) -> Iterator[None]:
    before = dict(connection.settings_dict)
    connection.close()
    connection.settings_dict |= {"USER": WEB, "PASSWORD": urlsplit(portal_database.urls[WEB]).password}
    yield
    connection.close()
    connection.settings_dict |= before


@pytest.mark.usefixtures("as_web")
@pytest.mark.usefixtures("seconded")
def test_verbs_work_when_the_web_process_calls_them(people: Cast, ask: Callable[..., Ask]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT session_user")
        assert cursor.fetchone() == (WEB,)

    preview(actor=people.alice, ask=ask())
    first, second, third = (submit(actor=people.alice, ask=ask(), idempotency_key=key) for key in "abc")
    approve(actor=people.bob, request_id=first.pk, minutes=5)
    assert first in inbox(people.dana)
    assert approve(actor=people.dana, request_id=first.pk).status == "approved"
    assert deny(actor=people.bob, request_id=second.pk, comment="no").status == "denied"
    assert cancel(actor=people.alice, request_id=third.pk).status == "cancelled"
    save_rule(actor=people.dana, rule_id=None, name="new", outcome="deny", position=1)
    assert submit(actor=people.alice, ask=ask()).status == "denied"
