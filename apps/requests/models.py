"""Who asked for what, and why."""

from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Q

from apps.accounts.models import User
from apps.catalog.models import Database
from apps.core.ids import LENGTH, new_id
from apps.policies.models import LEVEL_CHOICES, Connection
from apps.requests.states import RequestStatus

if TYPE_CHECKING:
    from apps.requests.scope import EffectiveScope


class RequestQuerySet(models.QuerySet["AccessRequest"]):
    """Scoped reads."""

    def visible_to(self, user: User) -> "RequestQuerySet":
        """See apps.policies.approvers for who else may look: requester, whoever may decide, and the duties."""
        from apps.policies.approvers import visible_requests  # noqa: PLC0415 - approvers read the user's groups

        seen = AccessRequest.objects.filter(visible_requests(user))
        return self.filter(pk__in=seen.values("pk"))


class AccessRequest(models.Model):
    """A request. `scope` is what would be granted now; `asked_scope` is what was first asked for.

    Shape of a scope: see apps.requests.scope.EffectiveScope.
    """

    id = models.CharField(primary_key=True, max_length=LENGTH, default=new_id, editable=False)
    requester = models.ForeignKey(User, on_delete=models.PROTECT, related_name="access_requests")
    database = models.ForeignKey(Database, on_delete=models.PROTECT, related_name="access_requests")
    level = models.CharField(max_length=16, choices=LEVEL_CHOICES)
    connection = models.CharField(max_length=16, choices=Connection)
    minutes = models.PositiveIntegerField()
    starts_at = models.DateTimeField(null=True, blank=True)
    reason = models.TextField()
    ticket = models.CharField(max_length=100, blank=True)
    break_glass = models.BooleanField(default=False)
    # More time for the access that this earlier request became; `minutes` are those on top.
    extends = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="extended_by")
    # The holder has changed the login's password and wants it set again; a worker empties this when it is done.
    password_reset_wanted_at = models.DateTimeField(null=True, editable=False)
    status = models.CharField(max_length=16, choices=RequestStatus, default=RequestStatus.PENDING)
    asked_scope = models.JSONField()
    scope = models.JSONField()
    scope_digest = models.CharField(max_length=64)  # hex SHA-256 of the canonical scope
    facts = models.JSONField()  # what evaluate() saw
    verdict = models.JSONField()  # what it answered
    policy_version = models.PositiveIntegerField()
    submitted_at = models.DateTimeField()
    lapses_at = models.DateTimeField()
    # When a grant, or more time for one, was made of it: years of such rows are not looked through for those that wait.
    opened_at = models.DateTimeField(null=True, editable=False)
    closed_at = models.DateTimeField(null=True, blank=True)
    closed_reason = models.TextField(blank=True)  # a sentence for the requester
    idempotency_key = models.CharField(max_length=255, null=True, blank=True)
    body_digest = models.CharField(max_length=64, blank=True)  # of the body first sent with the key

    objects = RequestQuerySet.as_manager()

    class Meta:
        ordering = ["-submitted_at"]
        constraints = [
            models.UniqueConstraint("requester", "idempotency_key", name="request_once_per_key"),
            models.CheckConstraint(condition=Q(minutes__gte=1), name="request_lasts_a_minute_at_least"),
            models.CheckConstraint(condition=Q(status__in=RequestStatus.values), name="request_status_known"),
        ]
        indexes = [
            models.Index(fields=["requester", "-submitted_at"]),
            models.Index(fields=["lapses_at"], condition=Q(status="pending"), name="request_waiting"),
            models.Index(fields=["starts_at"], condition=Q(status="approved", opened_at=None), name="request_to_open"),
            models.Index(
                fields=["password_reset_wanted_at"],
                condition=Q(password_reset_wanted_at__isnull=False),
                name="request_password_reset",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.requester} → {self.database}"

    @property
    def audit_id(self) -> str:
        return f"request:{self.pk}"

    @property
    def statement(self) -> str:
        """Exact SQL that alone may run under it; empty where any may."""
        return str(self.scope.get("statement", ""))

    @property
    def expected_rows(self) -> int | None:
        """How many rows that statement should affect; another number rolls it back."""
        rows: int | None = self.scope.get("expected_rows")
        return rows

    @property
    def effective(self) -> "EffectiveScope":
        from apps.requests.scope import EffectiveScope  # noqa: PLC0415 - scope is pure and knows no model

        return EffectiveScope.from_json(self.scope)
