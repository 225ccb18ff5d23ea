"""The life of a request."""

from typing import Final

from django.db import models

from apps.core.states import Transitions


class RequestStatus(models.TextChoices):
    PENDING = "pending", "waiting"
    APPROVED = "approved", "approved"
    DENIED = "denied", "denied"
    CANCELLED = "cancelled", "cancelled"
    LAPSED = "lapsed", "lapsed"


TRANSITIONS: Final[Transitions] = {
    RequestStatus.PENDING: frozenset(
        {RequestStatus.APPROVED, RequestStatus.DENIED, RequestStatus.CANCELLED, RequestStatus.LAPSED}
    ),
    # Approved, but its access never started: it can still be called off or refused at issue.
    RequestStatus.APPROVED: frozenset({RequestStatus.CANCELLED, RequestStatus.DENIED}),
}
