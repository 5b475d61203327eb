"""The frozen rows, and how models answer them: from instances to arrays that a metric takes.

The rule: an answer is believed only in the form in which callers get it. A label with a probability for each class,
which are between 0 and 1 and sum to 1; or a finite number. A model that gives 1 to every class would have no log loss
at all, and one that answers NaN would be neither better nor worse than anything.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Self

import msgspec
import numpy as np

from modelyard.errors import UsageError
from modelyard.metrics import Labelled, Measured
from modelyard.training.plan import FeatureKind

Predict = Callable[[list[dict[str, Any]]], list[Any]]
"""Answers instances ``[{input: value}]``: ``{"label": …, "probabilities": {class: p}}`` each, or a number."""
Answers = Labelled | Measured

BATCH = 1_000
"""Instances per call of a predictor: bounds memory, and stays below its own limit."""
SUM = 0.01
"""How far the probabilities of a row may be from 1 together: float16 of a hundred classes, and no more."""


class EvaluationSet(msgspec.Struct, frozen=True):
    """The frozen rows, and how the trained pipeline answered them.

    Attributes:
        task: regression, binary or multiclass.
        instances: The rows as requests; ``None`` for a missing number.
        truth: The target of each row: text for classes, a number for regression.
        predictions: The framework's own answers, in the form of a response; None where the training gave none.
        baseline: The one answer of the model without learning.
        columns: Of each column that is sliced, its value in each row as the file had it. It need not be a feature.
        kinds: What a sliced column holds, where that is declared; else it is read off the values.
    """

    task: str
    instances: list[dict[str, Any]]
    truth: list[str | float]
    predictions: list[Any] | None
    baseline: Any
    columns: dict[str, list[Any]] = {}
    kinds: dict[str, FeatureKind] = {}

    def to_json(self) -> bytes:
        """The form in which it is handed over."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, document: bytes) -> Self:
        """Read what `to_json` wrote."""
        return msgspec.json.decode(document, type=cls)

    def check(self) -> None:
        """Refuse a set without rows, or with lists of different lengths.

        Raises:
            UsageError: With code ``too_few_rows`` or ``wrong_evaluation_set``.
        """
        if not self.instances:
            raise UsageError(
                "there are no held-out rows to evaluate on",
                code="too_few_rows",
                next_step="Upload more rows, or raise evaluation.holdout in model.toml.",
            )
        lengths = {"truth": len(self.truth)} | {f"column {name!r}": len(found) for name, found in self.columns.items()}
        for what, found in lengths.items():
            if found != len(self.instances):
                raise UsageError(
                    f"{what} has {found:,} values for {len(self.instances):,} rows", code="wrong_evaluation_set"
                )


class Sample(msgspec.Struct, frozen=True):
    """Some rows that were trained on, with their target."""

    instances: list[dict[str, Any]]
    truth: list[str | float]


def answers_of(predict: Predict, instances: Sequence[dict[str, Any]]) -> list[Any]:
    """One answer for each instance, asked for in batches.

    Raises:
        UsageError: With code ``wrong_predictions`` when there are more or fewer.
    """
    answers: list[Any] = []
    for start in range(0, len(instances), BATCH):
        answers.extend(predict(list(instances[start : start + BATCH])))
    if len(answers) != len(instances):
        raise UsageError(f"{len(answers)} answers for {len(instances)} rows", code="wrong_predictions")
    return answers


def scorable(task: str, truth: Sequence[str | float], *sides: Sequence[Any]) -> list[Answers]:
    """Predictions of several models for the same rows as arrays; classes have one numbering for all.

    Args:
        task: regression, binary or multiclass.
        truth: The target of each row.
        sides: Each model's predictions.

    Raises:
        UsageError: With code ``wrong_predictions`` and the row, when a prediction has another form than the task's.
    """
    if task == "regression":
        true = np.array(truth, dtype=np.float64)
        if not np.isfinite(true).all():
            row = int(np.argmin(np.isfinite(true)))
            raise UsageError(f"the target of row {row} is no number", code="wrong_evaluation_set", row=row)
        return [Measured(true, np.array([_finite(found, row) for row, found in enumerate(side)])) for side in sides]
    names = [str(label) for label in truth]
    labels = [[_sound(found, row) for row, found in enumerate(side)] for side in sides]
    classes = sorted({*names, *(label for side in labels for label, _ in side)})
    return [
        Labelled.of(
            names,
            [label for label, _ in side],
            [given.get(name, 0.0) for name, (_, given) in zip(names, side, strict=True)],
            classes=classes,
        )
        for side in labels
    ]


def classified(prediction: Any, row: int) -> tuple[str, dict[str, float]]:
    """The label and the probabilities of a prediction.

    Raises:
        UsageError: When it has another form.
    """
    match prediction:
        case {"label": str(label), "probabilities": dict(probabilities)}:
            return label, probabilities
    raise unknown_form(prediction, row, 'an object {"label": text, "probabilities": {class: number}}')


def number_in(prediction: Any, row: int) -> float:
    """The number that a prediction is.

    Raises:
        UsageError: When it is none.
    """
    match prediction:
        case bool():
            pass
        case float() | int():
            try:
                return float(prediction)
            except OverflowError:  # an integer of more than 300 digits
                return math.inf
    raise unknown_form(prediction, row, "a number")


def _sound(prediction: Any, row: int) -> tuple[str, dict[str, float]]:
    label, probabilities = classified(prediction, row)
    try:
        sums_to = math.fsum(probabilities.values())
        sound = min(probabilities.values(), default=0.0) >= -SUM and abs(sums_to - 1) <= SUM
    except (TypeError, OverflowError, ValueError):  # not numbers; beyond float; infinities of both signs
        raise unknown_form(prediction, row, "probabilities that are numbers") from None
    if not sound:
        raise unknown_form(prediction, row, f"probabilities from 0 to 1 that sum to 1, not to {sums_to:.4g}")
    return label, probabilities


def _finite(prediction: Any, row: int) -> float:
    value = number_in(prediction, row)
    if not math.isfinite(value):
        raise unknown_form(prediction, row, "a finite number")
    return value


def unknown_form(prediction: Any, row: int, expected: str) -> UsageError:
    """The refusal of a prediction."""
    try:
        shown = str(prediction)[:80]
    except ValueError:  # Python writes no integer of more than 4,300 digits
        shown = "a number of thousands of digits"
    return UsageError(f"prediction {row} is {shown}; expected {expected}", code="wrong_predictions", row=row)
