"""Scales of pictures: round values that enclose what is shown, and where on them a value stands."""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Self, TypeGuard

import msgspec

from modelyard.pages.words import figure

LARGEST = 1e100
"""Further out nothing is drawn: the distance of two such values is no number any more."""
MARGIN = 3.0
"""Percent on either side, so that a mark at the end has room."""
NEAR = 8.0
"""Percent from an end within which text stands beside its place and not in the middle of it."""
LONGEST_FRACTION = 3
"""Digits after the point from which on a smaller unit is the shorter one."""
ROUNDING = 1e-9
_UNITS = ((1e12, 1e12, "T"), (1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k"))
"""From which size on a mark is told in which unit."""


class Scale(msgspec.Struct, frozen=True):
    """From a value to a place across, in percent of the width.

    Attributes:
        low: The value at the left end.
        high: The value at the right end.
        margin: Percent that is left free on either side.
        marks: Round values on it, evenly apart.
    """

    low: float
    high: float
    margin: float = MARGIN
    marks: tuple[float, ...] = ()

    @classmethod
    def over(cls, values: Iterable[float | None], *, margin: float = MARGIN, most: int = 5) -> Self | None:
        """A scale that has these values on it, with about so many marks; None where there is nothing to show."""
        shown = [value for value in values if is_drawable(value)]
        if not shown:
            return None
        low, high = min(shown), max(shown)
        enclosing = ticks(low, high, most)
        marks = tuple(mark for mark in enclosing if low <= mark <= high)
        if len(marks) > 1:
            return cls(low, high, margin, marks)
        return cls(enclosing[0], enclosing[-1], margin, tuple(enclosing))

    def place(self, value: float) -> float:
        """Where a value stands, in percent; what is off the scale stands at its end."""
        part = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return round(self.margin + (100 - 2 * self.margin) * min(1.0, max(0.0, part)), 1)

    def at(self, value: float) -> str:
        """The same, as a length of SVG."""
        return f"{self.place(value):g}%"

    def up(self, value: float) -> str:
        """The same from the bottom."""
        return f"{round(100 - self.place(value), 1):g}%"

    def labels(self) -> list[str]:
        """The marks as short text, all in one unit."""
        largest = max(map(abs, self.marks))
        if not 1e-4 <= largest < 1e15:
            return [figure(mark) for mark in self.marks]
        step = min(after - before for before, after in itertools.pairwise(self.marks))
        fitting = ((unit, name) for least, unit, name in _UNITS if largest >= least)
        unit, name = next((pair for pair in fitting if _digits(step / pair[0]) < LONGEST_FRACTION), (1.0, ""))
        return [f"{mark / unit:,.{_digits(step / unit)}f}{name}" for mark in self.marks]

    def text(self, *, y: str, dy: int = 0) -> str:
        """The labels below a picture, as SVG; those at an end do not reach beyond it."""
        down = f'y="{y}" dy="{dy}"' if dy else f'y="{y}"'
        return "".join(
            f'<text class="{anchor(self.place(mark))}" x="{self.at(mark)}" {down}>{label}</text>'
            for mark, label in zip(self.marks, self.labels(), strict=True)
        )


def _digits(step: float) -> int:
    """How many digits after the point steps of 1, 2 or 5 times a power of ten need."""
    return max(0, -math.floor(math.log10(step) + ROUNDING))


def anchor(place: float) -> str:
    """On which side of a place its text stands: s, m or e."""
    return "s" if place < NEAR else "e" if place > 100 - NEAR else "m"


def is_drawable(value: float | None) -> TypeGuard[float]:
    """Whether a value can stand on a scale."""
    return value is not None and math.isfinite(value) and abs(value) < LARGEST


def ticks(low: float, high: float, most: int = 4) -> Sequence[float]:
    """Round values that enclose the range, at most ``most`` steps of 1, 2 or 5 times a power of ten apart.

    Example:
        >>> ticks(0.71, 0.93)
        [0.7, 0.8, 0.9, 1.0]
    """
    low, high = (0.0 if abs(end) < 1 / LARGEST else end for end in (low, high))
    if not high - low > abs(low) * 1e-12:
        low, high = low - (abs(low) or 1) / 20, high + (abs(high) or 1) / 20
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    for factor in (1, 2, 5, 10, 20):
        step = factor * power
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first <= most:
            break
    digits = max(0, -math.floor(math.log10(step)))
    return [round(mark * step, digits) for mark in range(first, last + 1)]
