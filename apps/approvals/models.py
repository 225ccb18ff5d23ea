"""What people decided, bound to exactly what they saw."""

from django.db import models
from django.db.models import Q

from apps.accounts.models import User
from apps.accounts.roles import answers_for_all
from apps.catalog.models import Database
from apps.core.ids import LENGTH, new_id
from apps.requests.models import AccessRequest


class ReviewQuerySet(models.QuerySet["Review"]):
    """Scoped reads."""

    def opened(self) -> "ReviewQuerySet":
        """Nobody has closed them yet."""
        return self.filter(closed_at=None)

    def visible_to(self, user: User) -> "ReviewQuerySet":
        """A review is visible to whoever may see its request."""
        return self.filter(request__in=AccessRequest.objects.visible_to(user))

    def concerning(self, user: User) -> "ReviewQuerySet":
        """Those that `user` answers for, or that are about access of theirs."""
        if answers_for_all(user):
            return self
        return self.filter(Q(request__requester=user) | Q(request__database__in=Database.objects.owned_by(user)))


class Review(models.Model):
    """What security says afterwards to access that nobody was asked about. Open until somebody has said it."""

    class Verdict(models.TextChoices):
        JUSTIFIED = "justified", "justified"
        UNJUSTIFIED = "unjustified", "not justified"

    request = models.OneToOneField(AccessRequest, primary_key=True, on_delete=models.PROTECT, related_name="review")
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    closed_by = models.ForeignKey(User, null=True, on_delete=models.PROTECT, related_name="reviews")
    verdict = models.CharField(max_length=16, choices=Verdict, blank=True)
    comment = models.TextField(blank=True)

    objects = ReviewQuerySet.as_manager()

    class Meta:
        ordering = ["opened_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(closed_at=None, closed_by=None, verdict="")
                | Q(closed_at__isnull=False, closed_by__isnull=False, verdict__in=["justified", "unjustified"]),
                name="review_closed_with_a_verdict",
            )
        ]
        indexes = [models.Index(fields=["opened_at"], condition=Q(closed_at=None), name="review_open")]

    def __str__(self) -> str:
        return f"review of {self.request}"


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
