"""Access that is being made, lives, or is being taken away."""

from datetime import timedelta
from typing import Any, Final

from django.db import models
from django.db.models import Case, F, Q, When

from apps.accounts.models import User
from apps.accounts.roles import answers_for_all
from apps.catalog.models import Database, Server
from apps.core.ids import LENGTH, new_id
from apps.grants.states import LIVE, EndCause, ExtensionStatus, GrantStatus
from apps.policies.models import Connection
from apps.requests.models import AccessRequest

# Taking access away is a matter of a second; whatever takes longer is said on every screen.
LATE_AFTER: Final = timedelta(seconds=5)


def is_late(now: Any, *, after: timedelta = LATE_AFTER) -> Q:
    """Access should be gone and has not been proven to be. `now` is a time or an expression."""
    since = now - after
    return Q(status=GrantStatus.ENDING, ending_since__lt=since) | Q(status=GrantStatus.ACTIVE, expires_at__lt=since)


def is_never_used() -> Q:
    """It worked, it is over, and no session was seen under it from first to last."""
    return Q(status=GrantStatus.ENDED, starts_at__isnull=False, sessions_seen=0, first_used_at=None)


class GrantQuerySet(models.QuerySet["Grant"]):
    """Scoped reads."""

    def visible_to(self, user: User) -> "GrantQuerySet":
        """A grant is visible to whoever may see its request."""
        return self.filter(request__in=AccessRequest.objects.visible_to(user))

    def answered_for_by(self, user: User) -> "GrantQuerySet":
        """Those that `user` may take away: of databases that are theirs, or of all."""
        return self if answers_for_all(user) else self.filter(database__in=Database.objects.owned_by(user))

    def live(self) -> "GrantQuerySet":
        """Grants under which somebody has, may soon have, or may still have access."""
        return self.filter(status__in=LIVE)

    def late(self, now: Any) -> "GrantQuerySet":
        """See is_late(); longest first, with `late_since`: when access should have been gone."""
        due = Case(When(status=GrantStatus.ACTIVE, then=F("expires_at")), default=F("ending_since"))
        return self.filter(is_late(now)).annotate(late_since=due).order_by("late_since", "pk")


class Grant(models.Model):
    """One login on one target. Times are the portal's clock; `expires_at` is also set on the target itself."""

    id = models.CharField(primary_key=True, max_length=LENGTH, default=new_id, editable=False)
    request = models.OneToOneField(AccessRequest, on_delete=models.PROTECT, related_name="grant")
    holder = models.ForeignKey(User, on_delete=models.PROTECT, related_name="grants")
    database = models.ForeignKey(Database, on_delete=models.PROTECT, related_name="grants")
    server = models.ForeignKey(Server, on_delete=models.PROTECT, related_name="grants")
    connection = models.CharField(max_length=16, choices=Connection)
    scope = models.JSONField()
    scope_digest = models.CharField(max_length=64)
    minutes = models.PositiveIntegerField()  # in all, extensions included
    break_glass = models.BooleanField(default=False)
    login = models.CharField(max_length=63, unique=True)
    scope_role = models.CharField(max_length=63, blank=True, db_index=True)
    scope_gone_at = models.DateTimeField(null=True, editable=False)  # the scope role was dropped after the last grant
    # Encrypted with the ring, bound to grant id and login; emptied when the grant ends.
    password = models.BinaryField(null=True, editable=False)
    status = models.CharField(max_length=8, choices=GrantStatus, default=GrantStatus.QUEUED)
    queued_at = models.DateTimeField()
    starts_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    valid_until = models.DateTimeField(null=True, editable=False)  # the same instant by the target's clock
    ending_since = models.DateTimeField(null=True, blank=True)  # when access should have been gone at the latest
    ended_at = models.DateTimeField(null=True, blank=True)
    warned_at = models.DateTimeField(null=True, blank=True, editable=False)
    late_told_at = models.DateTimeField(null=True, editable=False)  # its lateness was told, once
    end_cause = models.CharField(max_length=8, choices=EndCause, blank=True)
    end_reason = models.TextField(blank=True)
    ended_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    evidence = models.JSONField(null=True, blank=True)  # apps.engines.base.Evidence as JSON
    proof = models.JSONField(null=True, blank=True)  # apps.engines.base.Closed as JSON
    # Work on the target: a lease and what the last try said.
    claimed_by = models.CharField(max_length=64, blank=True, editable=False)
    claimed_until = models.DateTimeField(null=True, blank=True, editable=False)
    tries = models.PositiveIntegerField(default=0, editable=False)
    next_try_at = models.DateTimeField(null=True, blank=True, editable=False)
    problem = models.TextField(blank=True)  # the last try's sentence; empty when all is well
    # What has changed under it on the target since it was proven, one sentence a line; empty when all is as it was.
    drift = models.TextField(blank=True)
    drift_checked_at = models.DateTimeField(null=True, blank=True)
    # Use, from looks at the target's sessions.
    sessions_live = models.PositiveIntegerField(default=0)
    sessions_seen = models.PositiveIntegerField(default=0)
    first_used_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    sessions_cut = models.PositiveIntegerField(default=0)  # by us, because they stood in somebody's way

    objects = GrantQuerySet.as_manager()

    class Meta:
        ordering = ["-queued_at"]
        constraints = [
            models.CheckConstraint(condition=Q(status__in=GrantStatus.values), name="grant_status_known"),
            models.CheckConstraint(
                condition=~Q(status="active") | Q(expires_at__isnull=False), name="grant_active_has_an_end"
            ),
            models.CheckConstraint(
                condition=~Q(status__in=["ended", "failed"]) | Q(password__isnull=True),
                name="grant_over_keeps_no_secret",
            ),
        ]
        indexes = [
            models.Index(fields=["expires_at"], condition=Q(status="active"), name="grant_due"),
            models.Index(fields=["next_try_at"], condition=Q(status__in=["queued", "ending"]), name="grant_to_work_on"),
            models.Index(
                fields=["server", "scope_role", "database", "status"],
                condition=Q(scope_gone_at=None) & ~Q(scope_role=""),
                name="grant_scope_there",
            ),
        ]

    def __str__(self) -> str:
        return self.login

    @property
    def audit_id(self) -> str:
        return f"grant:{self.pk}"

    @property
    def never_used(self) -> bool:
        """See is_never_used()."""
        unseen = not self.sessions_seen and self.first_used_at is None
        return self.status == GrantStatus.ENDED and self.starts_at is not None and unseen


class ServerLease(models.Model):
    """Work on one server is serialised here, not by a lock on the target that a login could hold."""

    server = models.OneToOneField(Server, on_delete=models.CASCADE, related_name="lease")
    holder = models.CharField(max_length=64, blank=True)
    until = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.server}: {self.holder or 'free'}"


class Extension(models.Model):
    """More time for a live login, asked for and approved as a request of its own."""

    request = models.OneToOneField(AccessRequest, primary_key=True, on_delete=models.PROTECT, related_name="extension")
    grant = models.ForeignKey(Grant, on_delete=models.PROTECT, related_name="extensions")
    minutes = models.PositiveIntegerField()  # on top of what it has
    status = models.CharField(max_length=8, choices=ExtensionStatus, default=ExtensionStatus.QUEUED)
    queued_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    valid_until = models.DateTimeField(null=True)  # the new end by the target's clock, fixed before the first try
    # Work on the target: a lease and what the last try said.
    claimed_by = models.CharField(max_length=64, blank=True)
    claimed_until = models.DateTimeField(null=True)
    tries = models.PositiveIntegerField(default=0)
    next_try_at = models.DateTimeField(null=True)
    problem = models.TextField(blank=True)

    class Meta:
        ordering = ["queued_at"]
        constraints = [
            models.CheckConstraint(condition=Q(status__in=ExtensionStatus.values), name="extension_status_known"),
            models.UniqueConstraint("grant", condition=Q(status="queued"), name="extension_one_at_a_time"),
        ]

    def __str__(self) -> str:
        return f"{self.grant} + {self.minutes} minutes"


class ServerState(models.Model):
    """What work on a server has shown: whether it answers, and what was found there. Written by workers."""

    server = models.OneToOneField(Server, primary_key=True, on_delete=models.CASCADE, related_name="state")
    # The circuit: while it is open, nothing but one probe now and then goes to the server.
    unreachable_since = models.DateTimeField(null=True)
    failures = models.PositiveIntegerField(default=0)  # in a row
    next_probe_at = models.DateTimeField(null=True)
    problem = models.TextField(blank=True)  # what the last probe said
    # The last reconciliation.
    reconciled_at = models.DateTimeField(null=True)
    # Logins of this portal's that it does not know, newest first:
    # [{"login", "role", "comment", "found_at", "told", "disabled", "gone"}]
    # and whoever else has the rights of a grant there (strangers.py), with "of" and "problem".
    strays = models.JSONField(default=list)
    # What ended logins have left to the graveyard: [{"database", "object", "login", "at"}]
    graveyard = models.JSONField(default=list)

    def __str__(self) -> str:
        return f"{self.server}: {self.problem or 'answers'}"


class Continuity(models.Model):
    """One row, made when a target remembers more than this portal: its database was restored, or is a copy.

    While `confirmed_at` is empty nothing is done on any target.
    """

    id = models.CharField(primary_key=True, max_length=LENGTH, default=new_id, editable=False)
    found_at = models.DateTimeField()
    server = models.ForeignKey(Server, null=True, on_delete=models.SET_NULL, related_name="+")
    size_here = models.BigIntegerField()  # entries of the record when it was found
    size_there = models.BigIntegerField()  # entries that the target remembers
    why = models.TextField()
    confirmed_at = models.DateTimeField(null=True)
    confirmed_by = models.CharField(max_length=64, blank=True)  # the record's opaque id

    class Meta:
        ordering = ["-found_at"]
        verbose_name_plural = "continuity"
        constraints = [
            models.UniqueConstraint(
                "confirmed_at", condition=Q(confirmed_at=None), nulls_distinct=False, name="continuity_one_open"
            ),
        ]

    def __str__(self) -> str:
        return self.why


class Heartbeat(models.Model):
    """When a process last proved that it works. A worker's is written by a task it ran."""

    name = models.CharField(max_length=64, primary_key=True)  # clock:<host>:<pid> · worker:<cluster>
    kind = models.CharField(max_length=16)
    at = models.DateTimeField()
    # What a clock saw waiting in each cluster's queue, which the web process may not read.
    queues = models.JSONField(default=dict)

    def __str__(self) -> str:
        return self.name
