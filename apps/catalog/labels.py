"""What a column may be labelled with: level, data class, mask of its own. And which of two labels hides less."""

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from apps.catalog.differences import Label
from apps.catalog.guards import check_classification
from apps.catalog.masking import class_masks, mask_of
from apps.catalog.models import MASKED_LEVELS, Classification, Column, Server
from apps.catalog.targets import engine_for
from apps.core.errors import Invalid
from apps.engines.masks import HIDDEN, BadMask, Mask, MaskKind, parse

NOBODY_HAS_LOOKED: Final = "none"  # how people write an empty label
CARD: Final = "card"
_CARD_SHOWN: Final = (6, 4)  # PCI DSS 3.4.1
_CARD_MASKS: Final = frozenset({MaskKind.HIDDEN, MaskKind.NULL, MaskKind.PARTIAL})
_EXAMPLES: Final = ("hidden", "null", "partial(1,4)", "email", "bucket(1000)", "date(year)")
_SHOWN_NAMES: Final = 8
_RANK: Final = {level.value: rank for rank, level in enumerate(Classification)}


def parsed(mask: str, *, field: str = "mask_override") -> Mask:
    """Raises Invalid about `field`."""
    try:
        return parse(mask)
    except BadMask as error:
        raise Invalid(str(error), field=field) from error


def check_card(mask: Mask, *, what: str, field: str = "mask_override") -> None:
    """Raise Invalid where this mask would show more of a card's number than PCI DSS allows. `what` begins it."""
    shown = mask.arguments if mask.kind is MaskKind.PARTIAL else (0, 0)
    if mask.kind not in _CARD_MASKS or any(int(part) > most for part, most in zip(shown, _CARD_SHOWN, strict=True)):
        raise Invalid(
            f"{what} shows more of a card's number than its first six and last four digits: "
            "use hidden, null or partial(6,4) at most.",
            field=field,
        )


@dataclass(frozen=True)
class Checker:
    """Looks at many columns of the servers given, each answer asked for once."""

    classes: Mapping[str, str] = field(default_factory=class_masks)

    def check(self, column: Column, label: Label) -> None:
        """Raise Invalid unless the column may have this label; needs its table, database and server."""
        check_classification(label.classification, label.data_class)
        if label.data_class and label.data_class not in self.classes:
            raise Invalid(_unknown_class(label.data_class, self.classes), field="data_class")
        if not label.mask_override:
            return
        mask = parsed(label.mask_override)
        fits = engine_for(column.table.database.server).mask_fits
        if not fits(mask, column.type):
            raise Invalid(
                f"The mask {mask} does not fit {column}, which is of type {column.type}. "
                f"Masks that fit: {', '.join(_fitting(fits, column.type))}.",
                field="mask_override",
            )
        if label.data_class == CARD:
            check_card(mask, what=f"The mask {mask} of {column}")


def _fitting(fits: Callable[[Mask, str], bool], type_: str) -> list[str]:
    return [text for text in _EXAMPLES if fits(parse(text), type_)]


def _unknown_class(name: str, classes: Iterable[str]) -> str:
    known = sorted(classes)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    meant = f"Did you mean {' or '.join(near)}?" if near else f"Known are: {', '.join(known[:_SHOWN_NAMES])} …"
    return f"There is no data class {name}. {meant} Under “Data classes” you can add it."


@dataclass(frozen=True)
class Protection:
    """What somebody with a grant gets to see of a column, as far as its label decides it."""

    rank: int
    mask: Mask | None  # None: the value
    data_class: str

    def is_less_than(self, other: "Protection") -> bool:
        """Whether this one shows more than the other, or may: what cannot be compared counts as more."""
        if self.rank < other.rank:
            return True
        if other.mask is None:
            return False
        # Rules of the policy may name the class, such as the one about cards.
        if self.data_class != other.data_class:
            return True
        return self.mask is None or not hides_as_much(self.mask, other.mask)


def protection(type_: str, label: Label, classes: Mapping[str, str], server: Server, *, hides: bool) -> Protection:
    """`hides`: whether the database hides what nobody has classified."""
    given = Column(
        type=type_,
        classification=label.classification,
        data_class=label.data_class,
        mask_override=label.mask_override,
    )
    is_masked = label.classification in MASKED_LEVELS or (hides and not label.classification)
    rank = _RANK[label.classification] if label.classification else (len(_RANK) if hides else 0)
    return Protection(rank, mask_of(given, classes, server) if is_masked else None, label.data_class)


def lowers(changed: Mapping[Column, tuple[Label, Label]]) -> dict[Column, bool]:
    """Of each column, whether its second label protects it less than its first, or may. Needs table, database, server.

    A level that is taken away always does: what hides the unclassified may be switched off. Thousands of columns have a
    handful of types and labels.
    """
    classes = class_masks()

    @cache
    def protected(type_: str, label: Label, server: Server, *, hides: bool) -> Protection:
        return protection(type_, label, classes, server, hides=hides)

    def of(column: Column, label: Label) -> Protection:
        database = column.table.database
        return protected(column.type, label, database.server, hides=database.hides_unclassified)

    return {
        column: (before.classification in MASKED_LEVELS and not after.classification)
        or of(column, after).is_less_than(of(column, before))
        for column, (before, after) in changed.items()
    }


@cache
def hides_as_much(mask: Mask, other: Mask) -> bool:
    """Whether nothing can be learned through `mask` that could not be learned through `other`.

    No partial mask hides as much as another one: the one that shows less at the ends shows it of shorter values too.
    """
    if mask in (other, HIDDEN) or mask.kind is MaskKind.NULL:
        return True
    if mask.kind is not other.kind:
        return False
    match mask.kind, mask.arguments, other.arguments:
        case MaskKind.BUCKET, (int() as width,), (int() as other_width,):
            return width % other_width == 0
        case MaskKind.DATE, _, _:
            return mask.arguments == ("year",)
        case _:
            return False
