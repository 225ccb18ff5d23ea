"""What people decided, bound to exactly what they saw."""

from django.db import models

from apps.accounts.models import User
from apps.core.ids import LENGTH, new_id
from apps.requests.models import AccessRequest


class Decision(models.Model):
    """One person's word on one request. `scope` is what they agreed to; nobody decides twice."""

    class Kind(models.TextChoices):
        APPROVE = "approve", "approved"
        DENY = "deny", "denied"

    id = models.CharField(primary_key=True, max_length=LENGTH, default=new_id, editable=False)
    request = models.ForeignKey(AccessRequest, on_delete=models.PROTECT, related_name="decisions")
    decider = models.ForeignKey(User, on_delete=models.PROTECT, related_name="decisions")
    kind = models.CharField(max_length=8, choices=Kind)
    step = models.PositiveSmallIntegerField()  # index into the route
    scope = models.JSONField()
    scope_digest = models.CharField(max_length=64)
    comment = models.TextField(blank=True)
    decided_at = models.DateTimeField()

    class Meta:
        ordering = ["decided_at"]
        constraints = [models.UniqueConstraint("request", "decider", name="decision_once_per_person")]

    def __str__(self) -> str:
        return f"{self.decider} {self.get_kind_display()}"
