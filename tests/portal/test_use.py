"""What the pages say of how access was used."""

import pytest

from apps.core import clock
from apps.grants import services
from apps.grants.models import Grant
from tests.factories import Cast
from tests.grants import conftest as grants
from tests.grants.odd_engine import put_in
from tests.grants.shelf import Shelf
from tests.grants.stage import active
from tests.support.people import signed_in

pytestmark = pytest.mark.django_db(transaction=True)

databases, people = grants.databases, grants.people


def test_pages_tell_of_use_when_there_was_some_or_none(people: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in(monkeypatch, Shelf())
    unused, used = active(people.alice), active(people.alice)
    now = clock.now()
    Grant.objects.filter(pk=used.pk).update(
        sessions_live=1, sessions_seen=4, sessions_cut=2, first_used_at=now, last_used_at=now
    )
    services.release(actor=people.alice, grant_id=unused.pk)
    services.end_due(server_id=unused.server_id)
    client = signed_in(people.alice)

    rows = client.get("/grants/").content.decode()
    page = client.get(f"/requests/{used.request_id}/").content.decode()
    other = client.get(f"/requests/{unused.request_id}/").content.decode()

    assert "1 open, 4 seen, 2 cut" in rows
    assert "never used" in rows
    assert "1 open, 4 seen, 2 cut" in page
    assert "What was cut stood in others' way" in page
    assert "Never used" in other
    assert "no session was seen until the end" in other
