"""What a file changed: the model that was trained with it against the one that was trained without it."""

import math

import msgspec
import numpy as np

from modelyard.evaluation.intervals import LEVEL, Interval, improvement_interval, slack_of
from modelyard.evaluation.rows import EvaluationSet, Predict, answers_of, scorable
from modelyard.evaluation.words import number, quoted
from modelyard.metrics import METRICS, score_all


class Ablation(msgspec.Struct, frozen=True, rename={"with_file": "with"}):
    """What a file changed.

    Attributes:
        file: Its name.
        without: Every metric of the model that was trained without it; None for what is no number.
        with_file: Of the model that was trained with it; ``with`` in JSON.
        improvement: By how much the file makes the deciding metric better.
        interval: Of that.
        said: All of it in a sentence.
    """

    file: str
    without: dict[str, float | None]
    with_file: dict[str, float | None]
    improvement: float | None
    interval: Interval
    said: str


def ablate(
    rows: EvaluationSet,
    *,
    file: str,
    metric: str,
    with_file: Predict,
    without_file: Predict,
    level: float = LEVEL,
    seed: int = 0,
) -> Ablation:
    """Compare the two on the frozen rows.

    Args:
        rows: The frozen rows; neither model was trained on them.
        file: The file's name.
        metric: The metric's name.
        with_file: Answers as the model that was trained with the file.
        without_file: Answers as the other.
        level: Of the interval.
        seed: Makes the interval repeatable.

    Raises:
        UsageError: When there are no rows, or an answer has another form than the task's.
    """
    rows.check()
    answered = [answers_of(predict, rows.instances) for predict in (with_file, without_file)]
    one, other = scorable(rows.task, rows.truth, *answered)
    with np.errstate(over="ignore", invalid="ignore"):
        interval = improvement_interval(one, other, metric=metric, level=level, seed=seed)
        scores = score_all(one), score_all(other)
    kind = METRICS[metric]
    improvement = kind.improvement(scores[0][metric], scores[1][metric])
    return Ablation(
        file=file,
        without=finite(scores[1]),
        with_file=finite(scores[0]),
        improvement=improvement if math.isfinite(improvement) else None,
        interval=interval,
        said=_says(file, metric, improvement, interval, slack_of(scores[0][metric], scores[1][metric])),
    )


def finite(scores: dict[str, float]) -> dict[str, float | None]:
    """Scores as JSON has them: None for what is no number."""
    return {name: value if math.isfinite(value) else None for name, value in scores.items()}


def _says(file: str, metric: str, improvement: float, interval: Interval, slack: float) -> str:
    named = quoted(file)
    if not math.isfinite(improvement) or interval.low is None or interval.high is None:
        return f"what {named} changes in {metric} is not to be measured"
    if abs(improvement) <= slack:
        return f"{named} does not change {metric}"
    verb = "improves" if improvement > 0 else "worsens"
    span = f"{100 * interval.level:g} % interval {number(interval.low)} to {number(interval.high)}"
    doubt = "; zero lies within, so chance may explain it" if interval.low <= 0 <= interval.high else ""
    return f"{named} {verb} {metric} by {number(abs(improvement))} ({span} of the improvement{doubt})"
