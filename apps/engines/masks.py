"""Masks: what a grant shows instead of a value. Pure; an engine turns them into expressions of its own.

As text, in the catalog and in every scope: `hidden`, `null`, `partial(1,4)`, `email`, `bucket(1000)`, `date(year)`.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MOST_SHOWN: Final = 32  # letters at each end
WIDEST_BUCKET: Final = 10**15
_CALL: Final = re.compile(r"([a-z]+)(?:\(([a-z0-9, ]*)\))?")


class MaskKind(StrEnum):
    HIDDEN = "hidden"  # one constant for all values, NULL too
    NULL = "null"
    PARTIAL = "partial"  # the first and the last letters; a value too short for that is hidden whole
    EMAIL = "email"  # the first letter and the domain
    BUCKET = "bucket"  # a number, rounded down to a multiple of the width
    DATE = "date"  # the first day of its year or month


class BadMask(ValueError):
    """A sentence about what is wrong with a mask."""


@dataclass(frozen=True, order=True)
class Mask:
    """`arguments` by kind: partial (first, last), bucket (width,), date ("year" | "month",)."""

    kind: MaskKind
    arguments: tuple[int | str, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind}({','.join(map(str, self.arguments))})" if self.arguments else self.kind.value


HIDDEN: Final = Mask(MaskKind.HIDDEN)


def parse(text: str) -> Mask:
    """The mask that `text` stands for. Raises BadMask."""
    found = _CALL.fullmatch(text.strip())
    if found is None or found[1] not in set(MaskKind):
        raise BadMask(f"“{text}” is no mask. Masks are: hidden, null, partial(1,4), email, bucket(1000), date(year).")
    kind = MaskKind(found[1])
    given = [part.strip() for part in found[2].split(",")] if found[2] else []
    match kind:
        case MaskKind.PARTIAL:
            return Mask(kind, _partial(given))
        case MaskKind.BUCKET:
            return Mask(kind, _bucket(given))
        case MaskKind.DATE:
            return Mask(kind, _date(given))
        case _ if given:
            raise BadMask(f"The mask {kind} takes nothing in brackets.")
        case _:
            return Mask(kind)


def _partial(given: list[str]) -> tuple[int, int]:
    if len(given) != 2 or not all(part.isdecimal() and int(part) <= MOST_SHOWN for part in given):
        raise BadMask(f"partial(first,last) takes two numbers from 0 to {MOST_SHOWN}: partial(1,4).")
    first, last = int(given[0]), int(given[1])
    if not first + last:
        raise BadMask("partial(0,0) would show nothing: use hidden.")
    return first, last


def _bucket(given: list[str]) -> tuple[int]:
    if len(given) != 1 or not given[0].isdecimal() or not 2 <= int(given[0]) <= WIDEST_BUCKET:
        raise BadMask(f"bucket(width) takes a whole number from 2 to {WIDEST_BUCKET}: bucket(1000).")
    return (int(given[0]),)


def _date(given: list[str]) -> tuple[str]:
    if given not in (["year"], ["month"]):
        raise BadMask("date(…) takes year or month: date(year).")
    return (given[0],)


def fewest_hidden(mask: Mask) -> int:
    """How many letters a partial mask must hide at least, or the value is hidden whole."""
    return max(4, (sum(int(part) for part in mask.arguments) + 1) // 2)
