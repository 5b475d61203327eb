"""What a report draws: how sure the answers are and how right, which class is taken for which, how far numbers are off.

None of it decides. Everything is small, whatever the number of rows: ten bins, thirty classes, four hundred points.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from modelyard.evaluation.rows import classified
from modelyard.evaluation.words import quoted
from modelyard.metrics import Floats, Measured

BINS = 10
MOST_CLASSES = 30
MOST_POINTS = 400
OTHER = "(other)"


class Bin(msgspec.Struct, frozen=True):
    """Rows whose answered class was given about the same probability.

    Attributes:
        low: The least probability among them.
        high: The largest.
        rows: How many rows.
        predicted: The mean of those probabilities.
        observed: The share of the rows that were answered right.
    """

    low: float
    high: float
    rows: int
    predicted: float
    observed: float


class Calibration(msgspec.Struct, frozen=True):
    """How often answers of a probability were right."""

    challenger: list[Bin]
    champion: list[Bin] | None


class Confusion(msgspec.Struct, frozen=True):
    """Counts: truth by row, answer by column, both in the order of ``classes``."""

    classes: list[str]
    challenger: list[list[int]]
    champion: list[list[int]] | None


class Residuals(msgspec.Struct, frozen=True):
    """Pairs of what was true and what was answered, of the same rows for both."""

    challenger: list[list[float]]
    champion: list[list[float]] | None


def calibration(truth: Sequence[str | float], challenger: Sequence[Any], champion: Sequence[Any] | None) -> Calibration:
    """Both sides' bins.

    Args:
        truth: The true classes.
        challenger: The new model's predictions.
        champion: The champion's, if there is one.
    """
    return Calibration(_bins(truth, challenger), None if champion is None else _bins(truth, champion))


def _bins(truth: Sequence[str | float], predictions: Sequence[Any]) -> list[Bin]:
    """Of about equal count; rows of one probability stay together."""
    answered = [classified(found, row) for row, found in enumerate(predictions)]
    given = np.array([probabilities.get(label, 0.0) for label, probabilities in answered])
    right = np.array([label == str(true) for (label, _), true in zip(answered, truth, strict=True)])
    edges = np.unique(np.quantile(given, np.arange(1, BINS) / BINS, method="inverted_cdf"))
    place = np.searchsorted(edges, given)
    bins = []
    for number in np.unique(place).tolist():
        mine = place == number
        probability: Floats = given[mine]
        bins.append(
            Bin(
                low=float(probability.min()),
                high=float(probability.max()),
                rows=int(mine.sum()),
                predicted=float(probability.mean()),
                observed=float(right[mine].mean()),
            )
        )
    return bins


def confusion(truth: Sequence[str | float], challenger: Sequence[Any], champion: Sequence[Any] | None) -> Confusion:
    """Both sides' counts; beyond 30 classes, the ones that are most often true are shown and the rest is one.

    Args:
        truth: The true classes.
        challenger: The new model's predictions.
        champion: The champion's, if there is one.
    """
    true = [str(label) for label in truth]
    sides = [[classified(found, row)[0] for row, found in enumerate(side)] for side in (challenger, champion or [])]
    often = Counter(true)
    names = sorted({*true, *sides[0], *sides[1]}, key=lambda name: (-often[name], name))
    shown = sorted(names[:MOST_CLASSES])
    places = {name: place for place, name in enumerate(shown)}
    size = len(shown) + (len(names) > MOST_CLASSES)

    def counts(answered: list[str]) -> list[list[int]]:
        found = np.zeros((size, size), dtype=np.int64)
        rows = [places.get(name, len(shown)) for name in true]
        np.add.at(found, (rows, [places.get(name, len(shown)) for name in answered]), 1)
        return [[int(count) for count in row] for row in found]

    classes = [quoted(name) for name in shown] + [OTHER] * (size - len(shown))
    return Confusion(classes, counts(sides[0]), None if champion is None else counts(sides[1]))


def residuals(challenger: Measured, champion: Measured | None, *, seed: int = 0) -> Residuals:
    """Both sides' pairs, of at most 400 rows drawn by chance.

    Args:
        challenger: The new model's answers.
        champion: The champion's, if there is one.
        seed: Makes the choice repeatable.
    """
    rows = np.arange(len(challenger))
    if len(rows) > MOST_POINTS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, MOST_POINTS, replace=False))

    def pairs(side: Measured) -> list[list[float]]:
        found: list[list[float]] = np.column_stack([side.truth[rows], side.answer[rows]]).tolist()
        return found

    return Residuals(pairs(challenger), None if champion is None else pairs(champion))
