"""What people were told, and the admin's front page."""

import pytest

from apps.catalog.models import Server
from apps.notifications import services as notifications
from apps.notifications.models import Notification
from tests.factories import Cast
from tests.support.pages import ask
from tests.support.people import signed_in

pytestmark = pytest.mark.django_db(transaction=True)


def test_show_notifications_when_something_waits(people: Cast) -> None:
    ask(people.alice)
    notifications.fold()
    client = signed_in(people.bob)
    assert "1 unread" in client.get("/").content.decode()
    told = Notification.objects.get(user=people.bob)
    assert client.get(told.path, follow=True).status_code == 200
    assert "unread" not in client.get("/").content.decode()  # the page was looked at
    Notification.objects.update(read_at=None)
    client.post("/notifications/read/")
    assert "unread" not in client.get("/notifications/").content.decode()


def test_read_notifications_when_they_are_somebody_elses(people: Cast) -> None:
    ask(people.alice)
    notifications.fold()
    told = Notification.objects.get(user=people.bob)
    signed_in(people.carol).post("/notifications/read/", {"id": [told.pk, "x", "9" * 30]})
    told.refresh_from_db()
    assert told.read_at is None


def test_show_admin_when_servers_need_somebody(people: Cast) -> None:
    Server.objects.update(findings=[{"severity": "error", "sentence": "The manager may not sign in.", "fix": ""}])
    page = signed_in(people.dana).get("/admin/").content.decode()
    assert "The manager may not sign in." in page
    assert "No clock has worked lately" in page


@pytest.mark.parametrize("who", ["alice", "sam", "audrey"])
def test_show_admin_when_one_is_no_database_administrator(people: Cast, who: str) -> None:
    assert signed_in(getattr(people, who)).get("/admin/").status_code in {302, 403}
