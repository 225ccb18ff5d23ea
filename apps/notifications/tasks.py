"""What workers run for notifications."""

from apps.grants.tasks import Task, enqueue, guarded
from apps.notifications import services


@guarded
def fold() -> None:
    services.fold()
    if services.unmailed().exists():
        enqueue(Task.SEND_MAIL)


@guarded
def send_mail() -> None:
    services.send_mail_due()
