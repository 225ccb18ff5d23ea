"""The same row three times."""

import pghistory
from auditlog.registry import auditlog
from django.db import models


class Row(models.Model):
    """About as wide as a request."""

    status = models.CharField(max_length=20)
    minutes = models.IntegerField(default=60)
    reason = models.TextField()
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        abstract = True


class Plain(Row):
    """Nobody takes notice."""


class Logged(Row):
    """By signals of Django: django-auditlog."""


@pghistory.track(pghistory.UpdateEvent())
class Remembered(Row):
    """By a trigger: django-pghistory."""


auditlog.register(Logged)
