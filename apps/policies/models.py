"""Rules as rows, and every version of them that ever decided anything."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from apps.catalog.models import Database
from apps.core.ids import LENGTH, new_id
from apps.engines.base import Level


class Outcome(models.TextChoices):
    APPROVE = "approve", "approve at once"
    ROUTE = "route", "ask people"
    DENY = "deny", "deny"


class Connection(models.TextChoices):
    CONSOLE = "console", "in the portal's console"
    DIRECT = "direct", "with a credential of one's own"


LEVEL_CHOICES = [(level.value, level.value) for level in Level]


class Rule(models.Model):
    """One line of the policy. Rules are tried in order of position; the first that matches decides.

    An empty condition matches everything.
    """

    id = models.CharField(primary_key=True, max_length=LENGTH, default=new_id, editable=False)
    position = models.PositiveIntegerField(unique=True)
    name = models.CharField(max_length=100, unique=True)
    environments = ArrayField(models.CharField(max_length=16, choices=Database.Environment), default=list, blank=True)
    levels = ArrayField(models.CharField(max_length=16, choices=LEVEL_CHOICES), default=list, blank=True)
    connections = ArrayField(models.CharField(max_length=16, choices=Connection), default=list, blank=True)
    classified = models.BooleanField(null=True, blank=True, help_text="Whether a classified table is asked for.")
    unmask = models.BooleanField(null=True, blank=True, help_text="Whether columns are to be unmasked.")
    unmask_classes = ArrayField(
        models.CharField(max_length=32), default=list, blank=True, help_text="Data classes that are to be unmasked."
    )
    whole_schema = models.BooleanField(null=True, blank=True, help_text="Whether a whole schema is asked for.")
    longer_than_minutes = models.PositiveIntegerField(null=True, blank=True)
    at_most_minutes = models.PositiveIntegerField(null=True, blank=True)
    outcome = models.CharField(max_length=8, choices=Outcome)
    # Ordered: [{"kind": "peer|owner|data_owner|group", "group": null|name, "needed": 1}]
    steps = models.JSONField(default=list, blank=True)
    max_minutes = models.PositiveIntegerField(null=True, blank=True, help_text="Cap on what this rule allows.")
    is_active = models.BooleanField(default=True)

    class Meta:
        ordering = ["position"]

    def __str__(self) -> str:
        return self.name


class PolicyVersion(models.Model):
    """All active rules at one time, frozen. Requests cite the number."""

    number = models.PositiveIntegerField(primary_key=True)
    rules = models.JSONField()
    created_at = models.DateTimeField()
    author = models.CharField(max_length=32)  # the record's opaque id

    class Meta:
        ordering = ["-number"]

    def __str__(self) -> str:
        return f"version {self.number}"
