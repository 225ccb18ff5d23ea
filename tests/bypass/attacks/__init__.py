"""The corpus. Add what you think of: others will."""

from tests.bypass.attack import Attack
from tests.bypass.attacks import errors, identity, inference, metadata, reading, shapes, side_doors, writing

CORPUS: tuple[Attack, ...] = (
    *reading.ATTACKS,
    *errors.ATTACKS,
    *shapes.ATTACKS,
    *metadata.ATTACKS,
    *writing.ATTACKS,
    *identity.ATTACKS,
    *side_doors.ATTACKS,
    *inference.ATTACKS,
)
