"""Which value of which column stands out: where what is asked about happens far more often than elsewhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from modelyard.evaluation.slices import MOST_VALUES
from modelyard.metrics import Floats, Rows
from modelyard.rollout.observations import Flags
from modelyard.rollout.slicing import number_of, text_of, value_of

FEWEST = 3
MOST_COLUMNS = 200
QUARTERS = (0.25, 0.5, 0.75)


@dataclass(frozen=True, slots=True)
class Part:
    """The rows with one value of one column."""

    column: str
    value: str
    inside: Flags
    is_text: bool


class Columns:
    """The inputs of some rows, column by column; a column is read once."""

    def __init__(self, instances: Sequence[Any]) -> None:
        self._instances = instances
        self._numbers: dict[str, Floats | None] = {}
        self._parts: dict[str, list[Part]] = {}
        self.names = columns_of(instances)

    def numbers(self, column: str) -> Floats | None:
        """As `numbers_of`."""
        if column not in self._numbers:
            self._numbers[column] = numbers_of(self._instances, column)
        return self._numbers[column]

    def parts(self, column: str) -> list[Part]:
        """As `parts_of`."""
        if column not in self._parts:
            self._parts[column] = parts_of(self._instances, column, self.numbers(column))
        return self._parts[column]


def columns_of(instances: Sequence[Any]) -> list[str]:
    """The names of the inputs that hold one number or one text each."""
    if not instances:
        return []
    first = instances[0]
    if isinstance(first, Mapping):
        return [name for name, value in first.items() if not isinstance(value, list | dict)][:MOST_COLUMNS]
    if isinstance(first, list):
        return [str(place) for place, value in enumerate(first) if not isinstance(value, list | dict)][:MOST_COLUMNS]
    return []


def numbers_of(instances: Sequence[Any], column: str) -> Floats | None:
    """A column as numbers, NaN where a row has none; None where it holds text."""
    values = [value_of(instance, column) for instance in instances]
    there = [value for value in values if value is not None]
    if not there or any(isinstance(value, str) and np.isnan(number_of(value)) for value in there):
        return None
    return np.array([number_of(value) for value in values])


def parts_of(instances: Sequence[Any], column: str, numbers: Floats | None) -> list[Part]:
    """A column cut into its values, or its numbers, where it holds some, into quarters."""
    if numbers is not None:
        there = numbers[np.isfinite(numbers)]
        distinct = np.unique(there)
        if len(distinct) > MOST_VALUES:
            edges = np.unique(np.quantile(there, QUARTERS))
            place = np.searchsorted(edges, numbers)
            bounds = ["", *(f"{edge:g}" for edge in edges), ""]
            return [
                Part(column, _between(bounds[number], bounds[number + 1]), (place == number) & np.isfinite(numbers),
                     is_text=False)
                for number in range(len(edges) + 1)
            ]  # fmt: skip
    texts = [None if value is None else text_of(value) for value in (value_of(one, column) for one in instances)]
    names, counts = np.unique([text for text in texts if text is not None], return_counts=True)
    most = names[np.argsort(-counts, kind="stable")][:MOST_VALUES]
    array = np.array(["" if text is None else text for text in texts])
    return [Part(column, str(name), array == name, is_text=numbers is None) for name in most]


def standing_out(columns: Columns, happened: Flags, *, of: Rows | None = None, text_only: bool = False) -> Part | None:
    """The part in which it happened most clearly more often than outside, by the deviance that it explains.

    Args:
        columns: The rows.
        happened: Whether it did, for each row, or for each request.
        of: The request of each row; then a request is inside where any of its rows is.
        text_only: Leave out numbers.
    """
    best, most = None, 0.0
    for column in columns.names:
        for part in columns.parts(column):
            if text_only and not part.is_text:
                continue
            inside = part.inside if of is None else np.bincount(of[part.inside], minlength=len(happened)) > 0
            count = int(inside.sum())
            if count < FEWEST or count == len(happened):
                continue
            shares = float(happened[inside].mean()), float(happened[~inside].mean())
            gain = _gain(*shares, count, len(happened))
            if shares[0] > shares[1] and gain > most:
                best, most = replace(part, inside=inside), gain
    return best


def _gain(inside: float, outside: float, count: int, total: int) -> float:
    whole = (inside * count + outside * (total - count)) / total
    return _deviance(whole, total) - _deviance(inside, count) - _deviance(outside, total - count)


def _deviance(share: float, count: int) -> float:
    parts = (share, 1 - share)
    return -2 * count * sum(part * float(np.log(part)) for part in parts if part > 0)


def _between(low: str, high: str) -> str:
    if not low:
        return f"up to {high}"
    return f"above {low}, up to {high}" if high else f"above {low}"
