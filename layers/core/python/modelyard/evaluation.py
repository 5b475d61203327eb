"""Is the challenger the model that was trained, and is it better than the champion? The gate and what it looks at.

The rule: the deciding part (`decide`) is a pure function of numbers, and what is measured is what would be served: the
ONNX file's answers through a predictor, on rows that no version was trained on, the same for challenger and champion.
It runs on the serving layer (numpy, no scikit-learn), because the training layer has no onnxruntime. So the training
step hands over an `EvaluationSet` as JSON, with the framework's own answers to compare with.

A predictor is anything called with instances ``[{input: value}]`` that gives one prediction each: ``{"label": …,
"probabilities": {class: p}}`` for classes, a number for regression.
"""

from collections.abc import Callable, Sequence
from typing import Any, Self

import msgspec
import numpy as np

from modelyard.errors import UsageError
from modelyard.metrics import METRICS, Labelled, Measured, score_all

Predict = Callable[[list[dict[str, Any]]], list[Any]]
Answers = Labelled | Measured

BATCH = 1_000
"""Instances per call of a predictor: bounds memory, and stays below its own limit."""
RESAMPLES = 1_000
LEVEL = 0.95
ROUNDING = 1e-12
"""So that 0.57 - 0.56, which a computer puts just below 0.01, is an improvement of 0.01."""
WORST = 5
"""How many rows a parity report shows."""


class EvaluationSet(msgspec.Struct, frozen=True):
    """What the training step hands over: the held-out rows and how the trained pipeline answered them.

    Attributes:
        task: regression, binary or multiclass.
        instances: The rows as requests; ``None`` for a missing number.
        truth: The target of each row: text for classes, a number for regression.
        predictions: The framework's own answers, in the form of a response.
        baseline: The one answer of the model without learning.
    """

    task: str
    instances: list[dict[str, Any]]
    truth: list[str | float]
    predictions: list[Any]
    baseline: Any

    def to_json(self) -> bytes:
        """The form in which it is handed over."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, document: bytes) -> Self:
        """Read what `to_json` wrote."""
        return msgspec.json.decode(document, type=cls)


class Disagreement(msgspec.Struct, frozen=True):
    """A row that the ONNX file and the framework answer differently."""

    row: int
    difference: float
    expected: Any
    answered: Any


class Parity(msgspec.Struct, frozen=True):
    """Whether the ONNX file answers as the framework did.

    Attributes:
        passed: Whether every row is within the tolerance.
        largest: The largest difference found: of a probability, or of a value relative to its size beyond 1.
        tolerance: What was allowed.
        rows: How many rows were compared.
        worst: The rows with the largest differences, worst first; empty when all are equal.
    """

    passed: bool
    largest: float
    tolerance: float
    rows: int
    worst: tuple[Disagreement, ...]


class Interval(msgspec.Struct, frozen=True):
    """Where the improvement lies, as far as these rows tell."""

    low: float
    high: float
    level: float = LEVEL
    resamples: int = RESAMPLES


class Decision(msgspec.Struct, frozen=True):
    """What the gate says, and why in words with numbers."""

    passed: bool
    reason: str


class Report(msgspec.Struct, frozen=True):
    """Everything an evaluation found; stored with the run and on the version.

    Attributes:
        passed: Whether the challenger may become a version.
        reason: Why, in words with numbers.
        metric: What decided.
        metrics: All metrics of the task for ``challenger``, ``champion`` (None at the first version) and ``baseline``.
        improvement: By how much the challenger beats the champion, or the baseline at the first version.
        interval: Of that improvement.
        parity: Whether the ONNX file answers as the framework did.
        rows: How many rows were evaluated.
    """

    passed: bool
    reason: str
    metric: str
    metrics: dict[str, dict[str, float] | None]
    improvement: float
    interval: Interval
    parity: Parity
    rows: int


def evaluate(
    rows: EvaluationSet,
    *,
    metric: str,
    min_improvement: float,
    tolerance: float,
    challenger: Predict,
    champion: Predict | None,
    seed: int = 0,
) -> Report:
    """Compare, score and decide.

    Args:
        rows: What the training step handed over.
        metric: The name of the metric that decides.
        min_improvement: The least improvement that justifies a new version.
        tolerance: The largest difference allowed between the ONNX file and the framework.
        challenger: Answers with the ONNX file that was trained.
        champion: Answers with the live version; None when there is none.
        seed: Makes the interval repeatable.

    Raises:
        UsageError: When there are no rows, or an answer has another form than the task's.
    """
    if not rows.instances:
        raise UsageError(
            "there are no held-out rows to evaluate on",
            code="too_few_rows",
            next_step="Upload more rows, or raise evaluation.holdout in model.toml.",
        )
    answered = _answers_of(challenger, rows.instances)
    parity = compare(rows.predictions, answered, tolerance=tolerance)
    challenging = _scorable(rows, answered)
    reigning = None if champion is None else _scorable(rows, _answers_of(champion, rows.instances))
    simplest = _scorable(rows, [rows.baseline] * len(rows.instances))
    opposed = simplest if reigning is None else reigning
    interval = improvement_interval(challenging, opposed, metric=metric, seed=seed)
    score = METRICS[metric].score
    decision = decide(
        champion=None if reigning is None else score(reigning),
        challenger=score(challenging),
        baseline=score(simplest),
        metric=metric,
        min_improvement=min_improvement,
        interval=interval,
        rows=len(rows.instances),
    )
    if not parity.passed:
        decision = Decision(passed=False, reason=_says_disparity(parity))
    return Report(
        passed=decision.passed,
        reason=decision.reason,
        metric=metric,
        metrics={
            "challenger": score_all(challenging),
            "champion": None if reigning is None else score_all(reigning),
            "baseline": score_all(simplest),
        },
        improvement=METRICS[metric].improvement(score(challenging), score(opposed)),
        interval=interval,
        parity=parity,
        rows=len(rows.instances),
    )


def decide(
    *,
    champion: float | None,
    challenger: float,
    baseline: float,
    metric: str,
    min_improvement: float,
    interval: Interval | None = None,
    rows: int | None = None,
) -> Decision:
    """The gate.

    A first version must beat the baseline. After that a challenger must beat the champion by more than nothing and by
    at least ``min_improvement``. The interval is told and does not bind: on few held-out rows it is wide, and a gate
    that waits for certainty would keep a champion that the data has left behind.

    Args:
        champion: The live version's metric; None when there is none.
        challenger: The new model's metric, on the same rows.
        baseline: The metric of answering without learning, on the same rows.
        metric: The metric's name.
        min_improvement: The least improvement that justifies a new version.
        interval: Of the improvement that decides.
        rows: How many rows were evaluated.
    """
    first = champion is None
    opponent = "the baseline without learning" if first else "the champion"
    opposed = baseline if champion is None else champion
    needed = 0.0 if first else min_improvement
    improvement = METRICS[metric].improvement(challenger, opposed)
    if not np.isfinite(improvement):
        said = f"{metric} is {_number(challenger)} against {_number(opposed)} of {opponent}: not to be compared"
        return Decision(passed=False, reason=said)
    passed = improvement > 0 and improvement >= needed - ROUNDING
    where = "" if rows is None else f" on {rows:,} held-out rows"
    how = "better" if improvement > 0 else "worse" if improvement < 0 else "no different"
    by = f" by {_number(abs(improvement))}" if improvement else ""
    asked = ""
    if needed and improvement > 0:
        asked = f", at least {_number(needed)} was asked for" if passed else f", but {_number(needed)} is asked for"
    reason = f"{metric} {_number(challenger)} against {_number(opposed)} of {opponent}{where}: {how}{by}{asked}"
    return Decision(passed=passed, reason=f"{reason}{_says_interval(interval)}")


def improvement_interval(
    challenger: Answers, other: Answers, *, metric: str, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0
) -> Interval:
    """A percentile interval of the improvement, by drawing rows with replacement, the same rows for both sides.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13. Paired, because both sides
    answer the same rows: what is hard for both cancels out.

    Args:
        challenger: The new model's answers.
        other: The champion's or the baseline's answers to the same rows.
        metric: The metric's name.
        resamples: How often rows are drawn.
        level: The share of resamples that the interval covers.
        seed: Makes it repeatable.
    """
    draw = np.random.default_rng(seed)
    kind = METRICS[metric]
    found = np.empty(resamples)
    for number in range(resamples):
        rows = draw.integers(0, len(challenger), len(challenger))
        found[number] = kind.improvement(kind.score(challenger.take(rows)), kind.score(other.take(rows)))
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level, resamples)


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
    worst = tuple(Disagreement(row, float(differences[row]), *pairs[row]) for row in order if differences[row] > 0)
    largest = float(differences.max(initial=0.0))
    return Parity(largest <= tolerance, largest, tolerance, len(pairs), worst)


def _difference(expected: Any, answered: Any, tolerance: float, row: int) -> float:
    if isinstance(expected, dict):
        label, given = _classified(expected, row)
        other_label, other = _classified(answered, row)
        difference = max(abs(given.get(name, 0.0) - other.get(name, 0.0)) for name in {*given, *other})
        tied = abs(given.get(label, 0.0) - given.get(other_label, 0.0)) <= tolerance
        return difference if label == other_label or tied else 1.0
    value, other_value = _number_in(expected, row), _number_in(answered, row)
    return abs(value - other_value) / max(1.0, abs(value))


def _scorable(rows: EvaluationSet, predictions: Sequence[Any]) -> Labelled | Measured:
    if rows.task == "regression":
        values = [_number_in(prediction, row) for row, prediction in enumerate(predictions)]
        return Measured(np.array(rows.truth, dtype=np.float64), np.array(values, dtype=np.float64))
    truth = [str(label) for label in rows.truth]
    classified = [_classified(prediction, row) for row, prediction in enumerate(predictions)]
    given = [probabilities.get(name, 0.0) for name, (_, probabilities) in zip(truth, classified, strict=True)]
    return Labelled.of(truth, [label for label, _ in classified], given)


def _classified(prediction: Any, row: int) -> tuple[str, dict[str, float]]:
    match prediction:
        case {"label": str(label), "probabilities": dict(probabilities)}:
            return label, probabilities
    raise _unknown_form(prediction, row, 'an object {"label": text, "probabilities": {class: number}}')


def _number_in(prediction: Any, row: int) -> float:
    match prediction:
        case float() | int():
            return float(prediction)
    raise _unknown_form(prediction, row, "a number")


def _unknown_form(prediction: Any, row: int, expected: str) -> UsageError:
    return UsageError(
        f"prediction {row} is {str(prediction)[:80]}; expected {expected}", code="wrong_predictions", row=row
    )


def _answers_of(predict: Predict, instances: list[dict[str, Any]]) -> list[Any]:
    answers: list[Any] = []
    for start in range(0, len(instances), BATCH):
        answers.extend(predict(instances[start : start + BATCH]))
    if len(answers) != len(instances):
        raise UsageError(f"{len(answers)} answers for {len(instances)} rows", code="wrong_predictions")
    return answers


def _says_interval(interval: Interval | None) -> str:
    if interval is None:
        return ""
    share = f"{100 * interval.level:g} % interval"
    certain = "" if interval.low > 0 or interval.high < 0 else "; zero lies within, so chance may explain it"
    return f" ({share} of the improvement {_number(interval.low)} to {_number(interval.high)}{certain})"


def _says_disparity(parity: Parity) -> str:
    row = parity.worst[0]
    return (
        f"the ONNX file does not answer as the trained model did: row {row.row} differs by {_number(row.difference)}, "
        f"at most {_number(parity.tolerance)} is allowed (expected {row.expected}, answered {row.answered})"
    )


def _number(value: float) -> str:
    return f"{value:.4g}"
