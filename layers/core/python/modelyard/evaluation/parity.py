"""Does the ONNX file answer as the framework did? Row by row, and the worst rows when it does not."""

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from modelyard.errors import UsageError
from modelyard.evaluation.rows import classified, number_in, unknown_form

WORST = 5
"""How many rows a parity report shows."""


class Disagreement(msgspec.Struct, frozen=True):
    """A row that the ONNX file and the framework answer differently; a difference of None cannot be measured."""

    row: int
    difference: float | None
    expected: Any
    answered: Any


class Parity(msgspec.Struct, frozen=True):
    """Whether the ONNX file answers as the framework did.

    Attributes:
        passed: Whether every row is within the tolerance.
        largest: The largest difference found: of a probability, or of a value relative to its size beyond 1. None
            where an answer is no number.
        tolerance: What was allowed.
        rows: How many rows were compared; 0 where the framework's own answers are not there.
        worst: The rows with the largest differences, worst first; empty when all are equal.
    """

    passed: bool
    largest: float | None
    tolerance: float
    rows: int
    worst: tuple[Disagreement, ...]


def compare(expected: Sequence[Any], answered: Sequence[Any], *, tolerance: float) -> Parity:
    """Parity of two lists of predictions.

    Probabilities differ by their largest absolute difference, values by their difference relative to their size where
    that is above 1 (a float32 holds seven digits). Another label counts as a difference of 1, unless the framework gave
    both labels the same probability within the tolerance.

    Args:
        expected: The framework's predictions.
        answered: The ONNX file's.
        tolerance: The largest difference allowed.

    Raises:
        UsageError: When the lists differ in length or a prediction has no known form.
    """
    if len(expected) != len(answered):
        raise UsageError(f"{len(answered)} answers for {len(expected)} rows", code="wrong_predictions")
    pairs = list(zip(expected, answered, strict=True))
    differences = np.array([_difference(one, two, tolerance, row) for row, (one, two) in enumerate(pairs)])
    differences[np.isnan(differences)] = np.inf  # an answer that is no number is as far off as can be
    order = np.argsort(-differences, kind="stable")[:WORST].tolist()
    worst = tuple(
        Disagreement(row, _finite(differences[row]), *(_plain(side) for side in pairs[row]))
        for row in order
        if differences[row] > 0
    )
    largest = float(differences.max(initial=0.0))
    return Parity(largest <= tolerance, _finite(largest), tolerance, len(pairs), worst)


def _difference(expected: Any, answered: Any, tolerance: float, row: int) -> float:
    if isinstance(expected, dict):
        label, given = classified(expected, row)
        other_label, other = classified(answered, row)
        # Not `max`: it passes over a NaN that does not come first.
        try:
            differences = [abs(given.get(name, 0.0) - other.get(name, 0.0)) for name in {*given, *other}]
        except TypeError:
            raise unknown_form(answered, row, "probabilities that are numbers") from None
        difference = math.nan if any(map(math.isnan, differences)) else max(differences, default=0.0)
        tied = abs(given.get(label, 0.0) - given.get(other_label, 0.0)) <= tolerance
        return difference if label == other_label or tied else max(1.0, difference)
    value, other_value = number_in(expected, row), number_in(answered, row)
    return abs(value - other_value) / max(1.0, abs(value))


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _plain(prediction: Any) -> Any:
    """A prediction as JSON has it: None for what is no number."""
    match prediction:
        case float():
            return _finite(prediction)
        case {"label": label, "probabilities": dict(given)}:
            return {"label": label, "probabilities": {name: _plain(value) for name, value in given.items()}}
    return prediction
