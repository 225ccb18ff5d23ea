"""What ran under a grant, and the transactions that could change something. Values are never here."""

from django.db import models
from django.db.models import Q

from apps.accounts.models import User
from apps.core.ids import LENGTH, new_id
from apps.grants.models import Grant


class Kind(models.TextChoices):
    QUERY = "query", "read"
    EXPORT = "export", "export"
    CHANGE = "change", "change"
    ONE_OFF = "one_off", "approved statement"
    EXPLAIN = "explain", "plan"


class StatementStatus(models.TextChoices):
    RUNNING = "running", "running"
    DONE = "done", "done"
    FAILED = "failed", "failed"
    CANCELLED = "cancelled", "cancelled"
    UNKNOWN = "unknown", "outcome unknown"  # whoever ran it is gone


class ChangeStatus(models.TextChoices):
    OPEN = "open", "open"
    COMMITTED = "committed", "committed"
    ROLLED_BACK = "rolled_back", "rolled back"
    UNKNOWN = "unknown", "outcome unknown"


class Change(models.Model):
    """A transaction that can change something, held by one stream of one process."""

    id = models.CharField(primary_key=True, max_length=LENGTH, default=new_id, editable=False)
    grant = models.ForeignKey(Grant, on_delete=models.PROTECT, related_name="changes")
    person = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=8, choices=Kind)
    status = models.CharField(max_length=16, choices=ChangeStatus, default=ChangeStatus.OPEN)
    takes_commands = models.BooleanField(default=False)
    expected_rows = models.BigIntegerField(null=True)
    affected = models.BigIntegerField(null=True)
    why = models.CharField(max_length=16, blank=True)  # apps.console.events.Why
    sentence = models.TextField(blank=True)
    begun_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    page_seen_at = models.DateTimeField()  # when the page was last heard
    held_at = models.DateTimeField()  # when whoever holds it last said so

    class Meta:
        ordering = ["-begun_at"]
        constraints = [
            models.UniqueConstraint("grant", condition=Q(status="open"), name="change_one_open_per_grant"),
            models.CheckConstraint(condition=Q(status__in=ChangeStatus.values), name="change_status_known"),
        ]

    def __str__(self) -> str:
        return f"{self.grant}: {self.status}"


class Command(models.Model):
    """What a person says to an open transaction. The text is emptied as soon as it is taken."""

    id = models.BigAutoField(primary_key=True)
    change = models.ForeignKey(Change, on_delete=models.CASCADE, related_name="commands")
    do = models.CharField(max_length=8)  # run | commit | rollback
    sql = models.TextField(blank=True)
    address = models.CharField(max_length=64, blank=True)
    once = models.CharField(max_length=64, null=True)
    said_at = models.DateTimeField()
    taken_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["pk"]
        constraints = [models.UniqueConstraint("change", "once", name="command_once")]
        indexes = [models.Index(fields=["change"], condition=Q(taken_at=None), name="command_waiting")]

    def __str__(self) -> str:
        return f"{self.change_id}: {self.do}"


class Statement(models.Model):
    """One statement. Its text is in the record alone, with entry `entry_id`, where it can be erased."""

    id = models.CharField(primary_key=True, max_length=LENGTH, default=new_id, editable=False)
    grant = models.ForeignKey(Grant, on_delete=models.PROTECT, related_name="statements")
    person = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    change = models.ForeignKey(Change, null=True, on_delete=models.PROTECT, related_name="statements")
    kind = models.CharField(max_length=8, choices=Kind)
    file_format = models.CharField(max_length=8, blank=True)
    entry_id = models.BigIntegerField(null=True)
    once = models.CharField(max_length=64, null=True)
    status = models.CharField(max_length=16, choices=StatementStatus, default=StatementStatus.RUNNING)
    started_at = models.DateTimeField()
    deadline_at = models.DateTimeField()  # it runs no longer than this
    finished_at = models.DateTimeField(null=True)
    # Where it runs on the target, for whoever cancels it from another process.
    backend_pid = models.IntegerField()
    backend_name = models.CharField(max_length=63)
    cancel_wanted_at = models.DateTimeField(null=True)
    rows = models.BigIntegerField(null=True)  # given out
    affected = models.BigIntegerField(null=True)  # as the tag counts them
    bytes = models.BigIntegerField(null=True)
    elapsed_ms = models.BigIntegerField(null=True)
    sha256 = models.CharField(max_length=64, blank=True)  # of a whole export
    sqlstate = models.CharField(max_length=5, blank=True)
    why = models.CharField(max_length=16, blank=True)  # apps.console.events.Why
    sentence = models.TextField(blank=True)

    class Meta:
        ordering = ["-started_at", "-id"]
        constraints = [
            models.UniqueConstraint("grant", "once", name="statement_once"),
            models.UniqueConstraint("grant", condition=Q(kind="one_off"), name="statement_approved_runs_once"),
            models.CheckConstraint(condition=Q(status__in=StatementStatus.values), name="statement_status_known"),
        ]
        indexes = [
            models.Index(fields=["grant", "-started_at"]),
            models.Index(fields=["person", "-started_at"]),
            models.Index(fields=["started_at"], name="statement_started"),
            models.Index(fields=["deadline_at"], condition=Q(status="running"), name="statement_running"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"
