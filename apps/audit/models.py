"""The record as Django reads it, and what is signed about it.

Entries, seals and disclosures are unmanaged: their tables are made by SQL, so that a flush leaves them alone.
"""

from django.db import models

from apps.core.ids import LENGTH, new_id


class Entry(models.Model):
    """One thing that was done. `body` is canonical JSON, hashed as it is stored."""

    id = models.BigAutoField(primary_key=True)
    body = models.BinaryField()

    class Meta:
        managed = False
        default_permissions = ("view",)
        db_table = '"audit"."entry"'
        verbose_name_plural = "entries"

    def __str__(self) -> str:
        return f"entry {self.pk}"


class SealQuerySet(models.QuerySet["Seal"]):
    """`index` is the order of the record, and what pages continue from; finding.py finds entries."""

    def with_texts(self) -> "SealQuerySet":
        """Together with body and disclosures, in two queries."""
        return self.select_related("entry").prefetch_related("entry__disclosures")


class Seal(models.Model):
    """The place of an entry in the chain, given by the database at commit."""

    index = models.BigIntegerField(primary_key=True)
    entry = models.OneToOneField(Entry, on_delete=models.DO_NOTHING, related_name="seal")
    recorded_at = models.DateTimeField()
    recorded_by = models.TextField()
    hash = models.BinaryField()
    action = models.TextField()
    actor = models.TextField()
    subject = models.TextField()
    database = models.TextField(null=True)  # the one that the entry is about, and "*" where there are several

    objects = SealQuerySet.as_manager()

    class Meta:
        managed = False
        default_permissions = ("view",)
        db_table = '"audit"."seal"'

    def __str__(self) -> str:
        return f"seal {self.index}"


class Disclosure(models.Model):
    """A text about people that a body only commits to; it can be erased without breaking the chain."""

    pk = models.CompositePrimaryKey("entry_id", "field")
    entry = models.ForeignKey(Entry, on_delete=models.DO_NOTHING, related_name="disclosures")
    field = models.TextField()
    salt = models.BinaryField()
    value = models.TextField()

    class Meta:
        managed = False
        default_permissions = ("view",)
        db_table = '"audit"."disclosure"'

    def __str__(self) -> str:
        return f"{self.field} of entry {self.entry_id}"


class SigningKey(models.Model):
    """The public part of a key that signs checkpoints, good from a size on, up to where the next one begins."""

    key = models.CharField(max_length=400, unique=True)  # as auditors pin it: name+id+base64
    from_size = models.BigIntegerField()
    added_at = models.DateTimeField()

    class Meta:
        default_permissions = ("view",)
        ordering = ["pk"]

    def __str__(self) -> str:
        return self.key


class Checkpoint(models.Model):
    """A signed size and head of the record. Only workers write them, and nobody changes one."""

    size = models.BigIntegerField()
    hash = models.BinaryField()
    note = models.TextField()
    at = models.DateTimeField()
    key = models.ForeignKey(SigningKey, on_delete=models.PROTECT, related_name="checkpoints")

    class Meta:
        default_permissions = ("view",)
        ordering = ["pk"]
        indexes = [models.Index(fields=["size"], name="checkpoint_by_size")]

    def __str__(self) -> str:
        return f"checkpoint of {self.size} entries"


class AnchorState(models.Model):
    """How one anchor did when it was last written to; `size` is what it has seen by its own account."""

    address = models.CharField(primary_key=True, max_length=300)
    size = models.BigIntegerField(default=0)
    succeeded_at = models.DateTimeField(null=True)
    failed_at = models.DateTimeField(null=True)  # since when it fails; empty while it does not
    error = models.TextField(blank=True)

    class Meta:
        default_permissions = ("view",)
        ordering = ["address"]

    def __str__(self) -> str:
        return self.address


class VerificationRun(models.Model):
    """One time that a worker followed the record, from an index on; only workers write them."""

    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    from_index = models.BigIntegerField()
    reached = models.BigIntegerField(default=0)  # entries that were followed, those before `from_index` counted
    size = models.BigIntegerField()
    hash = models.CharField(max_length=64, blank=True)
    erased = models.BigIntegerField(default=0)
    problem_count = models.BigIntegerField(default=0)
    problems = models.JSONField(default=list)  # the first twenty, sentences
    anchors = models.JSONField(default=list)  # [{"address", "size", "at", "error"}], as they were known then

    class Meta:
        default_permissions = ("view",)
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"entries {self.from_index} to {self.reached}"

    @property
    def percent(self) -> int:
        """How far one is that is on its way."""
        return 100 * max(0, self.reached - self.from_index) // max(1, self.size - self.from_index)


class RecordBreak(models.Model):
    """An anchor has seen a history that is not the one here. While one is not confirmed nothing is signed."""

    id = models.CharField(primary_key=True, max_length=LENGTH, default=new_id, editable=False)
    found_at = models.DateTimeField()
    anchor = models.CharField(max_length=300)
    size_there = models.BigIntegerField()
    hash_there = models.CharField(max_length=64)
    size_here = models.BigIntegerField()
    hash_here = models.CharField(max_length=64)
    why = models.TextField()
    confirmed_at = models.DateTimeField(null=True)
    confirmed_by = models.CharField(max_length=200, blank=True)  # two people: the record's opaque ids

    class Meta:
        default_permissions = ("view",)
        ordering = ["-found_at"]
        constraints = [
            models.UniqueConstraint(
                "anchor", "size_there", "hash_there", condition=models.Q(confirmed_at=None), name="break_found_once"
            ),
        ]

    def __str__(self) -> str:
        return self.why
