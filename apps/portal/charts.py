"""Bars as SVG, drawn here: a strict CSP lets no script do it. Each chart stands beside a table that says the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 640
HEIGHT: Final = 220
_LEFT: Final = 52  # room for the scale
_BOTTOM: Final = 26  # room for the weeks
_TOP: Final = 12
_LINES: Final = 4


@dataclass(frozen=True)
class Part:
    """A rectangle; `kind` is its class."""

    x: float
    y: float
    width: float
    height: float
    kind: str


@dataclass(frozen=True)
class Mark:
    """A word on an axis."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Chart:
    parts: tuple[Part, ...]
    weeks: tuple[Mark, ...]
    scale: tuple[Mark, ...]

    @property
    def view(self) -> str:
        return f"0 0 {WIDTH} {HEIGHT}"


def bars(columns: Sequence[tuple[str, Sequence[tuple[str, float]]]], *, stacked: bool) -> Chart:
    """`columns`: a word for each, and (kind, value) of its parts, on top of each other or side by side."""
    tops = [
        sum(value for _, value in parts) if stacked else max((v for _, v in parts), default=0) for _, parts in columns
    ]
    most = _round_up(max(tops, default=0.0))
    step = (WIDTH - _LEFT) / max(1, len(columns))
    drawn: list[Part] = []
    for number, (_, parts) in enumerate(columns):
        drawn += _column(parts, x=_LEFT + number * step + step * 0.15, width=step * 0.7, most=most, stacked=stacked)
    weeks = tuple(
        Mark(round(_LEFT + (number + 0.5) * step, 1), HEIGHT - 8, word) for number, (word, _) in enumerate(columns)
    )
    return Chart(tuple(drawn), weeks, _scale(most))


def _column(parts: Sequence[tuple[str, float]], *, x: float, width: float, most: float, stacked: bool) -> list[Part]:
    drawn, base, each = [], 0.0, width if stacked else width / max(1, len(parts))
    for number, (kind, value) in enumerate(parts):
        if value > 0:
            left = x if stacked else x + number * each
            top, foot = _y(base + value, most), _y(base, most)
            drawn.append(Part(round(left, 1), round(top, 1), round(each, 1), round(max(1.0, foot - top), 1), kind))
        base += value if stacked else 0
    return drawn


def _y(value: float, most: float) -> float:
    return HEIGHT - _BOTTOM - (HEIGHT - _BOTTOM - _TOP) * value / most


def _scale(most: float) -> tuple[Mark, ...]:
    values = [most * number / _LINES for number in range(_LINES + 1)]
    return tuple(Mark(_LEFT - 8, round(_y(value, most), 1), f"{value:g}") for value in values)


def _round_up(value: float) -> float:
    """1, 2, 4 or 8 times a power of ten, so that quarters of it can be read."""
    size = 1.0
    while size * 10 < value:
        size *= 10
    return next((size * factor for factor in (1, 2, 4, 8) if size * factor >= value), size * 10)
