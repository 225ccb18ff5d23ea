"""People, their groups and their API tokens."""

from django.contrib.auth.models import AbstractUser, Group
from django.contrib.postgres.fields import ArrayField
from django.db import models

from apps.core.ids import LENGTH, new_id


class User(AbstractUser):
    """A person. Identity is (issuer, subject) of the single sign-on, never a name or an address."""

    id = models.CharField(primary_key=True, max_length=LENGTH, default=new_id, editable=False)
    issuer = models.CharField(max_length=255, blank=True)
    subject = models.CharField(max_length=255, blank=True)
    time_zone = models.CharField(max_length=63, default="UTC")
    seen_at = models.DateTimeField(null=True, blank=True, help_text="When the identity provider last vouched for them.")
    # Set only for the local emergency administrator, who signs in with a password until then.
    emergency_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "person"
        verbose_name_plural = "people"
        constraints = [
            models.UniqueConstraint("issuer", "subject", name="user_one_per_identity", condition=~models.Q(subject="")),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        """What to call them on a page."""
        return self.get_full_name() or self.username

    @property
    def audit_id(self) -> str:
        """How the record names them: opaque, never a name."""
        return f"user:{self.pk}"


class Duty(models.TextChoices):
    """Groups that carry a duty in the portal; membership comes from single sign-on or by hand."""

    DBA = "dba", "database administrators"
    SECURITY = "security", "security"
    AUDITOR = "auditor", "auditors"


class GroupProfile(models.Model):
    """What the portal knows about a group beyond its name."""

    group = models.OneToOneField(Group, on_delete=models.CASCADE, related_name="profile")
    claim = models.CharField(
        max_length=255, unique=True, null=True, blank=True, help_text="The value in the sign-on's groups claim."
    )
    is_team = models.BooleanField(default=False, help_text="People of one team are each other's peers.")
    duty = models.CharField(max_length=16, choices=Duty, unique=True, null=True, blank=True)

    class Meta:
        verbose_name = "group"

    def __str__(self) -> str:
        return self.group.name


class Membership(models.Model):
    """Why a person is in a group. `user.groups` is the union of these rows and is written by one verb only."""

    class Source(models.TextChoices):
        SSO = "sso", "single sign-on"
        MANUAL = "manual", "by hand"

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    group = models.ForeignKey(Group, on_delete=models.CASCADE, related_name="memberships")
    source = models.CharField(max_length=8, choices=Source)
    since = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint("user", "group", "source", name="membership_once_per_source")]

    def __str__(self) -> str:
        return f"{self.user} in {self.group} ({self.get_source_display()})"


class TokenScope(models.TextChoices):
    """What an API token may do; a page session may do all of it."""

    READ = "read", "see databases, requests and grants"
    REQUEST = "request", "ask for access and cancel"
    APPROVE = "approve", "decide other people's requests"
    USE = "use", "fetch credentials, run statements, release grants"
    AUDIT = "audit", "read the record"


class ApiToken(models.Model):
    """A bearer token of one person. Only its SHA-256 is kept."""

    id = models.CharField(primary_key=True, max_length=LENGTH, default=new_id, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    scopes = ArrayField(models.CharField(max_length=16, choices=TokenScope))
    digest = models.BinaryField(max_length=32, unique=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        verbose_name = "API token"

    def __str__(self) -> str:
        return self.name


class ProposedEdit(models.Model):
    """A call of a verb that widens access, kept until a second person agrees to it; see dual_control.py."""

    class Status(models.TextChoices):
        WAITING = "waiting", "waiting"
        MADE = "made", "agreed to and made"
        DECLINED = "declined", "declined"
        WITHDRAWN = "withdrawn", "withdrawn"
        LAPSED = "lapsed", "left to lapse"

    id = models.CharField(primary_key=True, max_length=LENGTH, default=new_id, editable=False)
    verb = models.CharField(max_length=64)
    arguments = models.JSONField()
    about = models.CharField(max_length=300)  # what is changed, for people
    subject = models.CharField(max_length=128)  # and as the record names it
    difference = models.JSONField()  # [[what, before, after]], as it was shown
    digest = models.CharField(max_length=64)  # hex SHA-256 of the call and its difference
    proposer = models.ForeignKey(User, on_delete=models.PROTECT, related_name="proposed_edits")
    proposed_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    status = models.CharField(max_length=16, choices=Status, default=Status.WAITING)
    decided_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="decided_edits")
    decided_at = models.DateTimeField(null=True)
    comment = models.TextField(blank=True)

    class Meta:
        ordering = ["-proposed_at"]
        constraints = [
            models.UniqueConstraint("proposer", "digest", name="edit_waits_once", condition=models.Q(status="waiting")),
            models.CheckConstraint(
                condition=models.Q(status="waiting", decided_at=None)
                | models.Q(status__in=["made", "declined", "withdrawn", "lapsed"], decided_at__isnull=False),
                name="edit_decided_at_some_time",
            ),
            # Not even a mistake of ours lets somebody agree to their own.
            models.CheckConstraint(
                condition=~models.Q(status="made", decided_by=models.F("proposer")), name="edit_made_by_two"
            ),
        ]
        indexes = [
            models.Index(fields=["proposer", "decided_at"], condition=models.Q(status="made"), name="edit_lately")
        ]

    def __str__(self) -> str:
        return self.about

    @property
    def audit_id(self) -> str:
        return f"edit:{self.pk}"

    @property
    def lines(self) -> list[list[str]]:
        """What, before, after."""
        lines: list[list[str]] = self.difference
        return lines


class Passing(models.Model):
    """What web processes tell each other for some minutes; see passing.py."""

    key = models.CharField(primary_key=True, max_length=64)
    value = models.TextField()
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        verbose_name = "passing fact"

    def __str__(self) -> str:
        return self.key
