from datetime import timedelta
from smtplib import SMTPServerDisconnected

import pytest
from django.conf import settings
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend

from apps.accounts.models import User
from apps.core import clock
from apps.grants.tasks import Cluster, Task, enqueue
from apps.notifications import services, tasks
from apps.notifications.models import Notification
from tests.factories import UserFactory
from tests.grants.machinery import asked_for, work_off
from tests.support.threads import at_once

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def alice(transactional_db: None) -> User:
    return UserFactory(username="alice")


def tell(user: User, number: int = 1, text: str = "Your access to shop is ready.") -> Notification:
    return Notification.objects.create(
        user=user, entry_index=number, kind="ready", text=text, path="/grants/abc/", created_at=clock.now()
    )


def test_send_mail_due_sends_each_once_when_it_runs_twice(alice: User) -> None:
    tell(alice)

    assert (services.send_mail_due(), services.send_mail_due()) == (1, 0)

    (message,) = mail.outbox
    assert (message.subject, message.to) == ("Your access to shop is ready.", ["alice@example.org"])
    assert f"{settings.BASE_URL}/grants/abc/" in message.body
    assert Notification.objects.get().mailed_at is not None


def test_send_mail_due_sends_each_once_when_two_workers_run_at_once(alice: User) -> None:
    for number in range(20):
        tell(alice, number)

    assert sum(at_once(services.send_mail_due, services.send_mail_due)) == 20

    assert len(mail.outbox) == 20


def test_send_mail_due_puts_the_subject_on_one_line_when_a_name_is_odd(alice: User) -> None:
    tell(alice, text="alice\r\nBcc: everybody@example.org asks")
    services.send_mail_due()
    assert mail.outbox[0].subject == "alice Bcc: everybody@example.org asks"


@pytest.mark.parametrize("why", ["no address", "inactive", "read", "old"])
def test_send_mail_due_skips_when_mail_is_of_no_use(alice: User, why: str) -> None:
    notification = tell(alice)
    if why == "no address":
        User.objects.update(email="")
    elif why == "inactive":
        User.objects.update(is_active=False)
    elif why == "read":
        services.mark_read(actor=alice)
    else:
        notification.created_at -= timedelta(days=2)
        notification.save()

    assert services.send_mail_due() == 0
    assert mail.outbox == []


def test_send_mail_due_tries_again_when_the_mail_server_says_no(
    alice: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):
        tell(alice, number)
    with monkeypatch.context() as patch:
        patch.setattr(EmailBackend, "send_messages", _refuse)
        assert services.send_mail_due() == 0
    assert "3 wait for the next try" in caplog.text
    assert Notification.objects.filter(mailed_at=None).count() == 3

    assert services.send_mail_due() == 3


def _refuse(self: EmailBackend, messages: object) -> int:
    raise SMTPServerDisconnected("gone")


def test_send_mail_due_says_so_when_there_is_no_mail_server(
    alice: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tell(alice)
    monkeypatch.setattr(EmailBackend, "open", _no_server, raising=False)

    assert services.send_mail_due() == 0

    assert "does not take messages" in caplog.text
    assert Notification.objects.filter(mailed_at=None).count() == 1


def _no_server(self: EmailBackend) -> None:
    raise ConnectionRefusedError(111, "nobody listens")


def test_fold_asks_for_mail_when_there_is_some(alice: User) -> None:
    tasks.fold()
    assert asked_for(Task.SEND_MAIL) == []

    tell(alice)
    enqueue(Task.FOLD)
    work_off(Cluster.BULK)

    assert len(mail.outbox) == 1
