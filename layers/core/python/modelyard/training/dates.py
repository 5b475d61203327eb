"""A date as the model sees it: its place in the year, as a point on a circle.

The rule: the year itself never reaches the model. A trained model meets only later years, so a feature that tells years
apart is memory of the training data, not knowledge. And 31 December lies beside 1 January, which a plain day number
hides.

Places are those of a leap year, so 1 March has the same place in every year. The points come from a table, here and
in the ONNX graph: both sides take the very same float32 numbers, where two implementations of sine would differ in the
last bit and send a row down the other branch of a tree. They are rounded to six decimals, so that days with equal sines
have equal numbers.
"""

import datetime as dt
import re

import numpy as np
from numpy.typing import NDArray

DAYS = 366
NO_DATE = DAYS
"""The row of `POINTS` for a missing date: the circle's centre, equally far from every day."""

SHAPE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
"""What a date looks like, for Python's `re` and for ONNX's RE2 alike."""

_LEAP_YEAR = 2000


def _places() -> dict[str, int]:
    first = dt.date(_LEAP_YEAR, 1, 1)
    return {(first + dt.timedelta(days=day)).strftime("%m%d"): day for day in range(DAYS)}


def _points() -> NDArray[np.float32]:
    angle = 2 * np.pi * np.arange(DAYS) / DAYS
    circle = np.column_stack([np.sin(angle), np.cos(angle)]).round(6) + 0.0
    return np.vstack([circle, [[0.0, 0.0]]]).astype(np.float32)


PLACES = _places()
"""Month and day as text, like ``0229``, to the day's number from 0 to 365."""
POINTS = _points()
"""Sine and cosine for each place, and a last row for no date."""

_SHAPE = re.compile(SHAPE)


def place_of(text: str) -> int:
    """The row of `POINTS` for ISO text such as ``2012-02-29``; `NO_DATE` for anything that is not a date."""
    if not _SHAPE.fullmatch(text):
        return NO_DATE
    return PLACES.get(text[5:7] + text[8:10], NO_DATE)
