"""The life of a grant. `ending` stays until zero access is proven: it never gives up."""

from typing import Final

from django.db import models

from apps.core.states import Transitions


class GrantStatus(models.TextChoices):
    QUEUED = "queued", "being made"
    ACTIVE = "active", "live"
    ENDING = "ending", "ending"
    ENDED = "ended", "ended"
    FAILED = "failed", "failed"


LIVE: Final = (GrantStatus.QUEUED, GrantStatus.ACTIVE, GrantStatus.ENDING)
OVER: Final = (GrantStatus.ENDED, GrantStatus.FAILED)


class EndCause(models.TextChoices):
    EXPIRED = "expired", "its time was up"
    RELEASED = "released", "given back"
    REVOKED = "revoked", "revoked"
    REFUSED = "refused", "refused by the target"
    DRIFTED = "drifted", "the target had changed under it"
    MASKED = "masked", "a column that it showed is masked by now"
    PAUSED = "paused", "its masking was paused for a migration"
    LEFT = "left", "its holder may no longer hold it"
    VANISHED = "vanished", "its login was removed on the server"


class ExtensionStatus(models.TextChoices):
    QUEUED = "queued", "being applied"
    APPLIED = "applied", "applied"
    FAILED = "failed", "failed"


EXTENSION_TRANSITIONS: Final[Transitions] = {
    ExtensionStatus.QUEUED: frozenset({ExtensionStatus.APPLIED, ExtensionStatus.FAILED}),
}

TRANSITIONS: Final[Transitions] = {
    GrantStatus.QUEUED: frozenset({GrantStatus.ACTIVE, GrantStatus.ENDING, GrantStatus.FAILED}),
    GrantStatus.ACTIVE: frozenset({GrantStatus.ENDING}),
    GrantStatus.ENDING: frozenset({GrantStatus.ENDED, GrantStatus.FAILED}),
}
