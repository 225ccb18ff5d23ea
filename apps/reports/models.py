"""Evidence bundles: what somebody wants, how far it is, and the file, kept for a while where every process sees it."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from apps.accounts.models import User
from apps.core.ids import LENGTH, new_id


class BundleStatus(models.TextChoices):
    QUEUED = "queued", "waiting"
    BUILDING = "building", "being made"
    READY = "ready", "ready"
    FAILED = "failed", "failed"
    GONE = "gone", "no longer kept"


class Bundle(models.Model):
    """One bundle for a period. `first` and `last` are indexes of the record; `done` and `total` count entries."""

    id = models.CharField(primary_key=True, max_length=LENGTH, default=new_id, editable=False)
    wanted_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    wanted_at = models.DateTimeField()
    since = models.DateTimeField()
    until = models.DateTimeField()
    reports = ArrayField(models.CharField(max_length=64), default=list)
    status = models.CharField(max_length=16, choices=BundleStatus, default=BundleStatus.QUEUED)
    claimed_until = models.DateTimeField(null=True)
    first = models.BigIntegerField(null=True)
    last = models.BigIntegerField(null=True)
    done = models.BigIntegerField(default=0)
    total = models.BigIntegerField(null=True)
    problem = models.TextField(blank=True)
    bytes = models.BigIntegerField(null=True)
    sha256 = models.CharField(max_length=64, blank=True)
    made_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-wanted_at"]
        constraints = [
            models.CheckConstraint(condition=Q(status__in=BundleStatus.values), name="bundle_status_known"),
            models.CheckConstraint(condition=Q(since__lt=F("until")), name="bundle_period_is_one"),
        ]

    def __str__(self) -> str:
        return f"bundle {self.pk}"

    @property
    def is_moving(self) -> bool:
        return self.status in {BundleStatus.QUEUED, BundleStatus.BUILDING}

    @property
    def percent(self) -> int:
        return min(99, 100 * self.done // self.total) if self.total else 0

    @property
    def file_name(self) -> str:
        return f"evidence-{self.since:%Y-%m-%d}-{self.until:%Y-%m-%d}-{self.pk}.zip"


class BundlePart(models.Model):
    """A piece of the file: web and worker may be on different hosts, and the database is what both see."""

    bundle = models.ForeignKey(Bundle, on_delete=models.CASCADE, related_name="parts")
    number = models.PositiveIntegerField()
    data = models.BinaryField()

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint("bundle", "number", name="bundle_part_once")]

    def __str__(self) -> str:
        return f"{self.bundle_id}: {self.number}"
