"""A column's mask, in words for the admin's pages."""

from collections.abc import Mapping
from typing import Final

from apps.catalog.classification import is_masked_as, label_of
from apps.catalog.masking import mask_of
from apps.catalog.models import Column

SHOWN: Final = "shown"


def shown_as(column: Column, classes: Mapping[str, str]) -> str:
    """What grants show of it; needs its table, database and server. `classes`: see masking.class_masks()."""
    if not is_masked_as(column, label_of(column)):
        return SHOWN
    mask = str(mask_of(column, classes, column.table.database.server))
    wanted = column.mask_override or classes.get(column.data_class, "")
    return mask if wanted in {"", mask} else f"{mask}, as {wanted} does not fit its type"
