"""What people are told, folded from the record."""

from django.db import models

from apps.accounts.models import User


class Cursor(models.Model):
    """How far the record has been folded: the next index to read. One row."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    next_index = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="cursor_is_one_row")]

    def __str__(self) -> str:
        return str(self.next_index)


class Notification(models.Model):
    """One thing told to one person, once. `path` opens a page; nothing is decided by a link."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="notifications")
    entry_index = models.BigIntegerField()
    kind = models.CharField(max_length=32)
    text = models.CharField(max_length=300)
    path = models.CharField(max_length=200)
    created_at = models.DateTimeField()
    read_at = models.DateTimeField(null=True, blank=True)
    mailed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [models.UniqueConstraint("user", "entry_index", "kind", name="notification_once")]
        indexes = [models.Index(fields=["user", "-created_at"])]

    def __str__(self) -> str:
        return self.text
