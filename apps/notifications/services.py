"""Telling people: the record is folded behind a cursor, so that each thing is told once, whatever crashes."""

import logging
from collections.abc import Sequence
from datetime import timedelta
from smtplib import SMTPException
from typing import Final

from django.conf import settings
from django.core import mail
from django.core.mail.backends.base import BaseEmailBackend
from django.db import OperationalError, transaction
from django.db.models import QuerySet

from apps.accounts.models import User
from apps.audit import services as audit
from apps.core import clock
from apps.core.verbs import verb
from apps.notifications.models import Cursor, Notification
from apps.notifications.telling import LONGEST_TEXT, told_by

log = logging.getLogger(__name__)

_BATCH: Final = 200
# Later than this a message is no news: it stays in the portal and is not mailed.
_MAILED_WITHIN: Final = timedelta(days=1)
_BODY: Final = "{text}\n\n{url}\n\nThe link opens a page of the portal; nothing is decided by following it.\n"


def fold() -> int:
    """Turn new entries of the record into notifications; returns how many entries were read."""
    total = 0
    while count := _fold_batch():
        total += count
    return total


@verb
def _fold_batch() -> int:
    # A second worker waits here, and then begins where the first one ended.
    cursor, _ = Cursor.objects.select_for_update(no_key=True).get_or_create(pk=1)
    lines = audit.entries(after=cursor.next_index - 1, limit=_BATCH)
    for line in lines:
        Notification.objects.bulk_create(_notifications(line), ignore_conflicts=True)
    if lines:
        cursor.next_index = lines[-1].index + 1
        cursor.save(update_fields=["next_index"])
    return len(lines)


def _notifications(line: audit.Line) -> list[Notification]:
    """None for an entry that cannot be made sense of: it must not keep the others from being told."""
    try:
        with transaction.atomic():
            told = told_by(line)
    except OperationalError:
        raise  # of the database, not of the entry: the whole batch is tried again
    except Exception:
        log.exception("Nobody is told of entry %s of the record.", line.index)
        return []
    return [
        Notification(
            user=one.user,
            entry_index=line.index,
            kind=one.kind.value,
            text=one.text[:LONGEST_TEXT],
            path=one.path,
            created_at=line.recorded_at,
        )
        for one in told
    ]


def unmailed() -> QuerySet[Notification]:
    """What is to be mailed: to people with an address, unless they have read it in the portal."""
    since = clock.now() - _MAILED_WITHIN
    found = Notification.objects.filter(mailed_at=None, read_at=None, created_at__gte=since, user__is_active=True)
    return found.exclude(user__email="").order_by("created_at", "pk")


def send_mail_due() -> int:
    """Mail what is due; returns how many were sent.

    A row is marked before its mail is sent: a worker that dies in between loses this one mail and sends none twice.
    Where the mail server says no, the mark is taken back and the next run tries again.
    """
    sent = 0
    ids = list(unmailed().values_list("pk", flat=True)[:_BATCH])
    try:
        with mail.get_connection() as connection:
            for notification_id in ids:
                sent += _send(notification_id, connection)
    except (SMTPException, OSError) as error:
        log.warning("The mail server does not take messages (%s); %s wait for the next try.", error, len(ids) - sent)
    return sent


def unread(user: User) -> QuerySet[Notification]:
    return Notification.objects.filter(user=user, read_at=None)


def unread_count(user: User) -> int:
    return unread(user).count()


def mark_read(*, actor: User, ids: Sequence[int] | None = None) -> int:
    """One's own notifications: these, or all of them; returns how many were unread."""
    unread = Notification.objects.filter(user=actor, read_at=None)
    if ids is not None:
        unread = unread.filter(pk__in=ids)
    return unread.update(read_at=clock.now())


def _send(notification_id: int, connection: BaseEmailBackend) -> bool:
    """False where another worker has it. Raises what the mail server said."""
    # Conditions on the row alone: behind a join, a worker that had to wait would not look again whether it is marked.
    mine = Notification.objects.filter(pk=notification_id, mailed_at=None, read_at=None)
    if not mine.update(mailed_at=clock.now()):
        return False
    notification = Notification.objects.select_related("user").get(pk=notification_id)
    message = mail.EmailMessage(
        subject=" ".join(notification.text.split()),
        body=_BODY.format(text=notification.text, url=settings.BASE_URL + notification.path),
        to=[notification.user.email],
        connection=connection,
    )
    try:
        message.send()
    except (SMTPException, OSError):
        Notification.objects.filter(pk=notification_id).update(mailed_at=None)
        raise
    return True
