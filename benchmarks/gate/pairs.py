"""Pairs of models that do not exist: their answers to random rows, with a true improvement that is known.

Every pair shares what is hard about a row: ``correlation`` is how much of their errors they have in common. A model's
answers are made by ``skill``; two models of one skill are equally good, and answer differently all the same.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelyard.metrics import Labelled, Measured

Answers = Labelled | Measured


@dataclass(frozen=True)
class Family:
    """A kind of data and the metrics that are tried on it."""

    name: str
    metrics: tuple[str, ...]
    frequent: tuple[float, ...] = ()
    heavy: bool = False


FAMILIES = (
    Family("two classes", ("accuracy", "balanced_accuracy", "f1_macro", "log_loss"), frequent=(0.0, 0.0)),
    Family("two classes, one rare", ("balanced_accuracy", "f1_macro"), frequent=(1.5, -1.5)),
    Family(
        "ten classes",
        ("accuracy", "balanced_accuracy", "f1_macro", "log_loss"),
        frequent=tuple(np.linspace(1.5, -1.5, 10).tolist()),
    ),
    Family("numbers", ("mae", "rmse", "r2")),
    Family("numbers, rare large errors", ("mae", "rmse"), heavy=True),
)


def equal_pair(family: Family, rows: int, correlation: float, draw: np.random.Generator) -> tuple[Answers, Answers]:
    """Two models of one quality."""
    if family.frequent:
        return _classes(family.frequent, rows, correlation, draw)
    return numbers(rows, correlation, draw, heavy=family.heavy)


def _classes(
    frequent: tuple[float, ...], rows: int, correlation: float, draw: np.random.Generator
) -> tuple[Labelled, Labelled]:
    count = len(frequent)
    known = np.array(frequent) + draw.normal(0, 1.2, (rows, count))
    odds = np.exp(known)
    odds /= odds.sum(axis=1, keepdims=True)
    truth = (draw.random((rows, 1)) > odds.cumsum(axis=1)).sum(axis=1).clip(0, count - 1)
    shared = draw.normal(size=(rows, count))
    sides = []
    for _ in range(2):
        seen = known + _mixed(shared, draw.normal(size=(rows, count)), correlation)
        given = np.exp(seen)
        given /= given.sum(axis=1, keepdims=True)
        sides.append(Labelled(truth, given.argmax(axis=1), given[np.arange(rows), truth], count))
    return sides[0], sides[1]


def numbers(
    rows: int, correlation: float, draw: np.random.Generator, *, heavy: bool = False, better: float = 0.0
) -> tuple[Measured, Measured]:
    """Two regressions; the first one's errors are smaller by the share ``better``.

    The champion's errors are normal with a standard deviation of 1. With ``heavy`` each row has a scale of its own,
    log-normal, so that a few rows make most of the squared error.
    """
    truth = draw.normal(0, 2, rows)
    scale = np.exp(draw.normal(0, 0.7, rows)) if heavy else np.ones(rows)
    shared = draw.normal(size=rows)
    errors = [scale * _mixed(shared, draw.normal(size=rows), correlation) for _ in range(2)]
    return Measured(truth, truth + (1 - better) * errors[0]), Measured(truth, truth + errors[1])


def unlike_numbers(rows: int, correlation: float, draw: np.random.Generator) -> tuple[Measured, Measured]:
    """Two regressions of one mean absolute error, but the first errs four times as far in 1 of 20 rows."""
    one, two = numbers(rows, correlation, draw)
    rare = np.where(draw.random(rows) < 0.05, 4.0, 1.0) / (0.95 + 0.05 * 4)
    return Measured(one.truth, one.truth + (one.answer - one.truth) * rare), two


def labels(
    rows: int, correlation: float, draw: np.random.Generator, *, right: float = 0.8, better: float = 0.0
) -> tuple[Labelled, Labelled]:
    """Two classifiers: the champion is right with probability ``right``, the first one with ``better`` more."""
    truth = draw.integers(0, 2, rows)
    same = draw.random(rows) < correlation
    luck = draw.random(rows)
    hits = luck < right + better, np.where(same, luck, draw.random(rows)) < right
    one, two = (Labelled(truth, np.where(hit, truth, 1 - truth), np.where(hit, 0.8, 0.2), 2) for hit in hits)
    return one, two


def _mixed(shared: NDArray[np.float64], own: NDArray[np.float64], correlation: float) -> NDArray[np.float64]:
    return np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own
