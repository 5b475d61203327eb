"""Values in another column's place, which every check of a single value passes: pure, over columns.

The rule: a finding only where chance and drift are no explanation, because a finding refuses the whole file. What is
merely unusual is a remark (`modelyard.training.contract.remarks_on_upload`).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard.training.rows import NUMBER

Column = NDArray[Any]
Ends = tuple[float, float]

FEWEST = 10
"""Rows of a file that must have another answer than its most frequent one: so many that a feature repeats by chance
hardly ever."""


def says_the_same(column: Column, target: Column) -> bool:
    """Whether a feature is the target, whatever the spelling of its numbers."""
    if column.dtype == object and target.dtype == object:
        return bool((column == target).all())
    numbers = [_as_numbers(values) for values in (column, target)]
    return numbers[0] is not None and numbers[1] is not None and bool((numbers[0] == numbers[1]).all())


def answers_among(features: Mapping[str, Column], target: Column) -> Iterator[str]:
    """Features that hold the answer in each row of a file, in words. What other files hold is not looked at.

    Args:
        features: Of one file.
        target: Of the same rows.
    """
    counts = Counter(target.tolist())
    if len(target) - max(counts.values(), default=0) < FEWEST:
        return
    for name, column in features.items():
        if says_the_same(column, target):
            yield f"column {name!r} equals the target in all {len(target)} rows: it is the answer; leave it out"


def changed_places(numbers: Mapping[str, Column], files: NDArray[np.int64], names: Sequence[str]) -> Iterator[str]:
    """Pairs of number columns that have each other's values in one file, in words.

    Each of the two lies outside everything that the files before say of it, and where they have the other one.

    Args:
        numbers: Columns of all files, NaN where missing.
        files: Which file each row comes from, ascending.
        names: Of the files.
    """
    there, starts = np.unique(files, return_index=True)
    if len(there) < 2:
        return
    found = {name: _ends(column, starts) for name, column in numbers.items()}
    for place in range(1, len(there)):
        here = {name: (ends[0][place], ends[1][place]) for name, ends in found.items()}
        before = {name: _before(ends, place) for name, ends in found.items()}
        strange = [name for name in found if _known(here[name], before[name]) and not _meet(here[name], before[name])]
        for at, one in enumerate(strange):
            for other in strange[at + 1 :]:
                if _meet(here[one], before[other]) and _meet(here[other], before[one]):
                    yield (
                        f"{names[there[place]]}: columns {one!r} and {other!r} have changed places: {one!r} is "
                        f"{_said(here[one])} here and {_said(before[one])} in the files before, {other!r} is "
                        f"{_said(here[other])} and {_said(before[other])}"
                    )


def _ends(column: Column, starts: NDArray[np.int64]) -> tuple[Column, Column]:
    """Least and largest value of each file; NaN where it has none."""
    return np.fmin.reduceat(column, starts), np.fmax.reduceat(column, starts)


def _before(ends: tuple[Column, Column], place: int) -> Ends:
    return float(np.fmin.reduce(ends[0][:place])), float(np.fmax.reduce(ends[1][:place]))


def _known(*ranges: Ends) -> bool:
    return not any(np.isnan(low) for low, _ in ranges)


def _meet(one: Ends, other: Ends) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]


def _said(ends: Ends) -> str:
    return f"{ends[0]:g} to {ends[1]:g}"


def _as_numbers(values: Column) -> Column | None:
    if values.dtype != object:
        return values
    if not all(NUMBER.fullmatch(text) for text in values.tolist()):
        return None
    return values.astype(np.float64)
