"""How good answers are: accuracy, balanced accuracy, macro F1, log loss, mean absolute and squared error, R².

The rule: one implementation, for the leaderboard of the training step and for the gate of the evaluation step, which
runs where scikit-learn is not. Answers are turned into arrays once (`Labelled`, `Measured`); a metric is then a
function of them, cheap enough to be computed again for each of a thousand resamples. The tests compare every one with
scikit-learn's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

CERTAINTY = float(np.finfo(np.float32).eps)
"""Probabilities are kept this far from 0 and 1, so that one impossible label costs 15.9 nats and not infinity. It is
the resolution of the float32 that models answer in, and what scikit-learn uses for such answers."""


class Answers(Protocol):
    """What was true and what was answered, row by row."""

    def __len__(self) -> int:
        """How many rows there are."""
        ...

    def take(self, rows: Rows) -> Self:
        """The answers of some rows, in that order; a row may come more than once."""
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

    @classmethod
    def of(cls, truth: Sequence[str], answer: Sequence[str], probability: Sequence[float]) -> "Labelled":
        """Number the classes of both sides together.

        Args:
            truth: The true labels.
            answer: The answered labels.
            probability: The probability that was given to each true label.
        """
        numbers = {name: number for number, name in enumerate(sorted({*truth, *answer}))}
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


def accuracy(answers: Labelled) -> float:
    """The share of rows whose class was answered."""
    return float(np.mean(answers.truth == answers.answer))


def balanced_accuracy(answers: Labelled) -> float:
    """The mean over the classes that occur of the share of their rows that were answered right.

    Source: Brodersen et al., "The balanced accuracy and its posterior distribution", ICPR 2010, generalised to several
    classes as mean recall. A class without a true row has no recall and does not count.
    """
    rows, right, _ = _counts(answers)
    occurs = rows > 0
    return float(np.mean(right[occurs] / rows[occurs]))


def f1_macro(answers: Labelled) -> float:
    """The mean over classes of F1, the harmonic mean of precision and recall.

    Source: van Rijsbergen, "Information Retrieval", 1979, as ``2 TP / (2 TP + FP + FN)``. Counted are the classes that
    are true or answered somewhere; one that is never right has 0.
    """
    rows, right, answered = _counts(answers)
    seen = rows + answered > 0
    return float(np.mean(2 * right[seen] / (rows + answered)[seen]))


def log_loss(answers: Labelled) -> float:
    """The mean of ``-ln p``, where p is the probability given to the true class, in nats.

    Source: Good, "Rational Decisions", Journal of the Royal Statistical Society B 14, 1952.
    """
    return float(np.mean(-np.log(np.clip(answers.probability, CERTAINTY, 1 - CERTAINTY))))


def mae(answers: Measured) -> float:
    """The mean absolute error, in the target's unit."""
    return float(np.mean(np.abs(answers.truth - answers.answer)))


def rmse(answers: Measured) -> float:
    """The root of the mean squared error, in the target's unit."""
    return float(np.sqrt(np.mean((answers.truth - answers.answer) ** 2)))


def r2(answers: Measured) -> float:
    """One minus the squared error over that of always answering the mean.

    Source: Wright, "Correlation and causation", Journal of Agricultural Research 20, 1921. Where all true values are
    equal it is 1 for right answers and else 0, as in scikit-learn.
    """
    error = float(np.sum((answers.truth - answers.answer) ** 2))
    spread = float(np.sum((answers.truth - np.mean(answers.truth)) ** 2))
    if spread == 0:
        return 1.0 if error == 0 else 0.0
    return 1 - error / spread


def _counts(answers: Labelled) -> tuple[Floats, Floats, Floats]:
    """Per class: its true rows, those of them that were answered right, and the rows answered with it."""
    hits = answers.truth[answers.truth == answers.answer]
    counted = [
        np.bincount(column, minlength=answers.classes).astype(np.float64)
        for column in (answers.truth, hits, answers.answer)
    ]
    return counted[0], counted[1], counted[2]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric and which way is better.

    Attributes:
        score: From answers to one number.
        lower_is_better: Whether it measures error.
        classification: Whether it is for classes.
    """

    score: Callable[[Any], float]
    lower_is_better: bool
    classification: bool

    def improvement(self, challenger: float, other: float) -> float:
        """By how much the challenger is better; negative when it is worse."""
        return other - challenger if self.lower_is_better else challenger - other


METRICS: dict[str, Metric] = {
    "accuracy": Metric(accuracy, lower_is_better=False, classification=True),
    "balanced_accuracy": Metric(balanced_accuracy, lower_is_better=False, classification=True),
    "f1_macro": Metric(f1_macro, lower_is_better=False, classification=True),
    "log_loss": Metric(log_loss, lower_is_better=True, classification=True),
    "mae": Metric(mae, lower_is_better=True, classification=False),
    "rmse": Metric(rmse, lower_is_better=True, classification=False),
    "r2": Metric(r2, lower_is_better=False, classification=False),
}


def score_all(answers: Labelled | Measured) -> dict[str, float]:
    """Every metric that fits the answers."""
    classification = isinstance(answers, Labelled)
    return {name: metric.score(answers) for name, metric in METRICS.items() if metric.classification == classification}
