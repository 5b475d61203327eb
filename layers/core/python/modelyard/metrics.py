"""How good answers are: accuracy, balanced accuracy, macro F1, log loss, mean absolute and squared error, R².

The rule: one implementation, for the leaderboard of the training step and for the gate of the evaluation step, which
runs where scikit-learn is not. Answers are turned into arrays once (`Labelled`, `Measured`). A metric is a function of
them and of how often each row counts, for many such counts at once: that is what a bootstrap asks thousands of times.
The tests compare every one with scikit-learn's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Counts = Floats
"""How often each row counts: one draw a line, one row a column. A row may count 0 times, or half."""

Score = TypeVar("Score", float, Floats)

CERTAINTY = float(np.finfo(np.float32).eps)
"""Probabilities are kept this far from 0 and 1, so that one impossible label costs 15.9 nats and not infinity. It is
the resolution of the float32 that models answer in, and what scikit-learn uses for such answers."""

ROUNDING = 1e-12
"""What computers lose: a spread that much smaller than the values is none, and 0.57 - 0.56 is as good as 0.01."""


class Answers(Protocol):
    """What was true and what was answered, row by row."""

    def __len__(self) -> int:
        """How many rows there are."""
        ...

    def take(self, rows: Rows) -> Self:
        """The answers of some rows, in that order; a row may come more than once."""
        ...

    def followed_by(self, other: Self) -> Self:
        """These answers and then the others', of the same numbering."""
        ...


@dataclass(frozen=True, slots=True)
class Labelled:
    """Answers of a classifier.

    Attributes:
        truth: The true class of each row, as a number.
        answer: The class that was answered, as a number of the same numbering.
        probability: The probability that was given to the true class; 0 for a class that the model does not know.
        classes: How many classes the numbering has.
    """

    truth: Rows
    answer: Rows
    probability: Floats
    classes: int

    def __len__(self) -> int:
        return len(self.truth)

    def take(self, rows: Rows) -> "Labelled":
        """The answers of some rows."""
        return Labelled(self.truth[rows], self.answer[rows], self.probability[rows], self.classes)

    def followed_by(self, other: "Labelled") -> "Labelled":
        """These answers and then the others'."""
        return Labelled(
            np.concatenate([self.truth, other.truth]),
            np.concatenate([self.answer, other.answer]),
            np.concatenate([self.probability, other.probability]),
            self.classes,
        )

    @classmethod
    def of(
        cls,
        truth: Sequence[str],
        answer: Sequence[str],
        probability: Sequence[float],
        *,
        classes: Sequence[str] | None = None,
    ) -> "Labelled":
        """Number the classes of both sides together.

        Args:
            truth: The true labels.
            answer: The answered labels.
            probability: The probability that was given to each true label.
            classes: The numbering, where it must be that of other answers; it holds every label of both.
        """
        if classes is None:
            classes = sorted({*truth, *answer})
        numbers = {name: number for number, name in enumerate(classes)}
        return cls(
            np.array([numbers[name] for name in truth], dtype=np.int64),
            np.array([numbers[name] for name in answer], dtype=np.int64),
            np.asarray(probability, dtype=np.float64),
            len(numbers),
        )

    @classmethod
    def from_matrix(cls, truth: Sequence[str], probabilities: NDArray[Any], classes: Sequence[str]) -> "Labelled":
        """From a matrix of probabilities, one column per class; the most probable class is the answer."""
        columns = {name: column for column, name in enumerate(classes)}
        answer = [classes[column] for column in probabilities.argmax(axis=1)]
        given = [probabilities[row, columns[name]] if name in columns else 0.0 for row, name in enumerate(truth)]
        return cls.of(truth, answer, given)


@dataclass(frozen=True, slots=True)
class Measured:
    """Answers of a regressor: what was true and what was answered."""

    truth: Floats
    answer: Floats

    def __len__(self) -> int:
        return len(self.truth)

    def take(self, rows: Rows) -> "Measured":
        """The answers of some rows."""
        return Measured(self.truth[rows], self.answer[rows])

    def followed_by(self, other: "Measured") -> "Measured":
        """These answers and then the others'."""
        return Measured(np.concatenate([self.truth, other.truth]), np.concatenate([self.answer, other.answer]))


def accuracy(answers: Labelled, counts: Counts) -> Floats:
    """The share of rows whose class was answered."""
    return _mean(answers.truth == answers.answer, counts)


def balanced_accuracy(answers: Labelled, counts: Counts) -> Floats:
    """The mean over the classes that occur of the share of their rows that were answered right.

    Source: Brodersen et al., "The balanced accuracy and its posterior distribution", ICPR 2010, generalised to several
    classes as mean recall. A class without a true row has no recall and does not count.
    """
    rows, right, _ = _of_classes(answers, counts)
    return _mean_where(rows > 0, right, rows)


def f1_macro(answers: Labelled, counts: Counts) -> Floats:
    """The mean over classes of F1, the harmonic mean of precision and recall.

    Source: van Rijsbergen, "Information Retrieval", 1979, as ``2 TP / (2 TP + FP + FN)``. Counted are the classes that
    are true or answered somewhere; one that is never right has 0.
    """
    rows, right, answered = _of_classes(answers, counts)
    seen = rows + answered
    return _mean_where(seen > 0, 2 * right, seen)


def log_loss(answers: Labelled, counts: Counts) -> Floats:
    """The mean of ``-ln p``, where p is the probability given to the true class, in nats.

    Source: Good, "Rational Decisions", Journal of the Royal Statistical Society B 14, 1952.
    """
    return _mean(-np.log(np.clip(answers.probability, CERTAINTY, 1 - CERTAINTY)), counts)


def mae(answers: Measured, counts: Counts) -> Floats:
    """The mean absolute error, in the target's unit."""
    return _mean(np.abs(answers.truth - answers.answer), counts)


def rmse(answers: Measured, counts: Counts) -> Floats:
    """The root of the mean squared error, in the target's unit."""
    return np.sqrt(_mean((answers.truth - answers.answer) ** 2, counts))


def r2(answers: Measured, counts: Counts) -> Floats:
    """One minus the squared error over that of always answering the mean.

    Source: Wright, "Correlation and causation", Journal of Agricultural Research 20, 1921. Where all true values are
    equal it is 1 for right answers and else 0, as in scikit-learn.
    """
    equal = answers.truth.min() == answers.truth.max()
    centred = np.zeros(len(answers)) if equal else answers.truth - np.mean(answers.truth)
    error, around, offset, rows = _totals(counts, (answers.truth - answers.answer) ** 2, centred**2, centred)
    spread = around - offset**2 / rows
    constant = spread <= ROUNDING * around
    found = 1 - error / np.where(constant, 1.0, spread)
    return np.where(constant, np.where(error == 0, 1.0, 0.0), found)


def _mean(values: NDArray[Any], counts: Counts) -> Floats:
    total, rows = _totals(counts, values)
    return total / rows


def _totals(counts: Counts, *columns: NDArray[Any]) -> list[Floats]:
    """The sum of each column over the rows as they count, and at last how many rows count."""
    return [*(counts @ column.astype(np.float64) for column in columns), counts.sum(axis=1)]


def _mean_where(occurs: NDArray[np.bool_], part: Floats, whole: Floats) -> Floats:
    """The mean of ``part / whole`` over the classes that occur, for each line."""
    shares = np.where(occurs, part / np.where(occurs, whole, 1.0), 0.0)
    found: Floats = shares.sum(axis=1) / occurs.sum(axis=1)
    return found


def _of_classes(answers: Labelled, counts: Counts) -> tuple[Floats, Floats, Floats]:
    """Per line and class: its true rows, those of them that were answered right, and the rows answered with it."""
    right = counts * (answers.truth == answers.answer)
    return (
        _sums(counts, answers.truth, answers.classes),
        _sums(right, answers.truth, answers.classes),
        _sums(counts, answers.answer, answers.classes),
    )


def _sums(counts: Counts, group: Rows, groups: int) -> Floats:
    """The sum over the rows of each group. Not by a product with an indicator: thousands of classes are possible."""
    order = np.argsort(group, kind="stable")
    present, first = np.unique(group[order], return_index=True)
    found = np.zeros((len(counts), groups))
    found[:, present] = np.add.reduceat(counts[:, order], first, axis=1)
    return found


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric and which way is better.

    Attributes:
        scores: From answers and how often each row counts to one number for each line of the counts.
        lower_is_better: Whether it measures error.
        classification: Whether it is for classes.
        labels_only: Whether it sees of a row only the true and the answered class, so that many rows are alike to it.
    """

    scores: Callable[[Any, Counts], Floats]
    lower_is_better: bool
    classification: bool
    labels_only: bool = False

    def score(self, answers: Answers) -> float:
        """From answers to one number; each row counts once."""
        return float(self.scores(answers, np.ones((1, len(answers))))[0])

    def improvement(self, challenger: Score, other: Score) -> Score:
        """By how much the challenger is better; negative when it is worse."""
        return other - challenger if self.lower_is_better else challenger - other


METRICS: dict[str, Metric] = {
    "accuracy": Metric(accuracy, lower_is_better=False, classification=True, labels_only=True),
    "balanced_accuracy": Metric(balanced_accuracy, lower_is_better=False, classification=True, labels_only=True),
    "f1_macro": Metric(f1_macro, lower_is_better=False, classification=True, labels_only=True),
    "log_loss": Metric(log_loss, lower_is_better=True, classification=True),
    "mae": Metric(mae, lower_is_better=True, classification=False),
    "rmse": Metric(rmse, lower_is_better=True, classification=False),
    "r2": Metric(r2, lower_is_better=False, classification=False),
}


def score_all(answers: Labelled | Measured) -> dict[str, float]:
    """Every metric that fits the answers."""
    classification = isinstance(answers, Labelled)
    return {name: metric.score(answers) for name, metric in METRICS.items() if metric.classification == classification}
