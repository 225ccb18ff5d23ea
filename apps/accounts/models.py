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
