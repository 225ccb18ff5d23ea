"""The record as Django reads it. Unmanaged: its tables are made by SQL, so that a flush leaves them alone."""

from datetime import datetime

from django.db import models


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
    """Ways to find entries. `index` is the order of the record, and what pages continue from."""

    def matching(
        self,
        *,
        action: str = "",
        actor: str = "",
        subjects: tuple[str, ...] = (),
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> "SealQuerySet":
        """`action` may be a beginning such as `grant.`; `since` is inclusive, `until` exclusive."""
        found = self
        if action:
            found = found.filter(action__startswith=action)
        if actor:
            found = found.filter(actor=actor)
        if subjects:
            found = found.filter(subject__in=subjects)
        if since is not None:
            found = found.filter(recorded_at__gte=since)
        if until is not None:
            found = found.filter(recorded_at__lt=until)
        return found

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
