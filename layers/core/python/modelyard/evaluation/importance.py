"""What each column is worth: by how much the metric suffers when its values are dealt to other rows.

The rule: the ONNX file is asked, on frozen rows, with values that the column really has. So it says what the served
model leans on, and not what the trained one was told. A column that says the same as another one seems to be worth
little, because the other is still there. Source: Breiman, "Random Forests", Machine Learning 45, 2001; for any model
Fisher, Rudin and Dominici, "All Models are Wrong, but Many are Useful", JMLR 20, 2019.
"""

import math
from typing import Any

import msgspec
import numpy as np

from modelyard.errors import ModelyardError
from modelyard.evaluation.intervals import LEVEL, expanded_tail
from modelyard.evaluation.rows import Answers, Predict, answers_of, scorable
from modelyard.metrics import METRICS, Floats

MOST_ROWS = 1_000
MOST_PREDICTIONS = 200_000
SECONDS = 60.0
"""About the most that all columns may take; where a model is slow, fewer rows are asked for."""
DEALS = 5
FEWEST_ROWS = 20
RESAMPLES = 1_000


class Importance(msgspec.Struct, frozen=True):
    """By how much the metric is worse without what a column says; above 0 the column helps."""

    feature: str
    loss: float
    low: float
    high: float


def measure_importance(
    task: str,
    instances: list[dict[str, Any]],
    truth: list[str | float],
    answered: list[Any],
    *,
    predict: Predict,
    metric: str,
    row_ms: float,
    seed: int = 0,
) -> list[Importance]:
    """Every column's worth, the largest first; empty where the rows are too few, or the model too slow, to tell.

    Args:
        task: regression, binary or multiclass.
        instances: The frozen rows.
        truth: Their target.
        answered: The model's answers to them.
        predict: The model.
        metric: The metric's name.
        row_ms: About what one row takes, which bounds how many are asked for.
        seed: Which rows are taken, and how values are dealt.
    """
    features = list(instances[0])
    affordable = min(MOST_PREDICTIONS, int(1_000 * SECONDS / max(row_ms, 1e-6))) // max(1, len(features))
    size = min(MOST_ROWS, len(instances), affordable)
    if size < min(FEWEST_ROWS, len(instances)) or size < 2:
        return []
    deals = max(1, min(DEALS, affordable // size))
    draw = np.random.default_rng(seed)
    rows = np.sort(draw.choice(len(instances), size, replace=False)).tolist()
    asked, true, given = ([whole[row] for row in rows] for whole in (instances, truth, answered))
    counts = draw.multinomial(size, np.full(size, 1 / size), size=RESAMPLES).astype(np.float64)
    found = []
    for feature in features:
        dealt = [_dealt(asked, feature, draw.permutation(size).tolist()) for _ in range(deals)]
        try:
            sides = scorable(task, true, given, *(answers_of(predict, shuffled) for shuffled in dealt))
        except ModelyardError:  # a model may refuse a combination that no row had; that is no reason to refuse it
            continue
        worth = _worth(feature, sides[0], sides[1:], counts, metric)
        if math.isfinite(worth.loss) and math.isfinite(worth.low) and math.isfinite(worth.high):
            found.append(worth)
    return sorted(found, key=lambda one: (-one.loss, one.feature))


def _dealt(instances: list[dict[str, Any]], feature: str, order: list[int]) -> list[dict[str, Any]]:
    return [{**row, feature: instances[other][feature]} for row, other in zip(instances, order, strict=True)]


def _worth(feature: str, whole: Answers, without: list[Answers], counts: Floats, metric: str) -> Importance:
    kind = METRICS[metric]
    with np.errstate(over="ignore", invalid="ignore"):
        loss = np.mean([kind.improvement(kind.score(whole), kind.score(side)) for side in without])
        scores = kind.scores(whole, counts)
        drawn = np.mean([kind.improvement(scores, kind.scores(side, counts)) for side in without], axis=0)
        tail = expanded_tail((1 - LEVEL) / 2, len(whole))
        low, high = np.quantile(drawn, [tail, 1 - tail])
    return Importance(feature, float(loss), float(low), float(high))
