"""What a labelled row costs: the gate's metrics where they are means over rows, and what stands in for the others.

The rule: a sequence of bets takes values within a range, so every loss is a mean over rows within one. Accuracy and
the mean absolute error are; the root of the mean squared error is compared as the mean squared error; macro F1 and
balanced accuracy are no means over rows, and accuracy stands in for them, R² is a squared error in another unit. What a
single row may cost is capped: log loss at 3 nats more or less than the champion, errors of numbers at 3 spreads of its
answers. Beyond that a row is as wrong as a row can be.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelyard.labels import class_name
from modelyard.metrics import CERTAINTY, Floats
from modelyard.rollout.answers import Answer
from modelyard.rollout.policy import Policy
from modelyard.rollout.slicing import Frozen, number_of

MOST_NATS = 3.0
MOST_SPREADS = 3.0
LOSS_OF_A_CLASS = 0.02
LOSS_OF_A_PROBABILITY = 0.05
LOSS_OF_A_NUMBER = 0.05
"""The largest loss of quality where the policy names none: of accuracy, of log loss, of spreads of the champion's
answers. No smaller, because the same training with another seed may lose as much."""
TIMES_OF_A_SLICE = 3


@dataclass(frozen=True, slots=True)
class Loss:
    """What is summed over rows.

    Attributes:
        name: accuracy, log_loss, mae or mse.
        metric: The metric that was asked for.
        cap: Most that a row may cost more, or less, than with the champion.
        limit: Most that the mean may be more.
        slice_limit: The same within a slice.
    """

    name: str
    metric: str
    cap: float
    limit: float
    slice_limit: float

    def of(self, answer: Answer, truth: Any) -> float:
        """What an answer costs; NaN where answer and label do not go together."""
        if answer.problem:
            return math.nan
        if self.name in ("mae", "mse"):
            error = abs(answer.number - number_of(truth))
            return error if self.name == "mae" else error * error
        name = class_name(truth)
        if self.name == "accuracy":
            return float(answer.key != name)
        given = (answer.probabilities or {}).get(name, 0.0)
        return -math.log(min(max(given, CERTAINTY), 1 - CERTAINTY))


def loss_for(policy: Policy, frozen: Frozen, champion_losses: Floats | None = None) -> Loss | None:
    """The loss that stands for the policy's metric; None where answers have no quality that labels tell.

    Args:
        policy: Names metric and limits.
        frozen: Says what form answers have.
        champion_losses: The champion's squared errors, where they are known: a limit of RMSE depends on them.
    """
    if frozen.form == "number":
        return _of_numbers(policy, frozen, champion_losses)
    if frozen.form not in ("label", "classes"):
        return None
    metric = policy.metric if policy.metric in ("accuracy", "log_loss", "balanced_accuracy", "f1_macro") else "accuracy"
    if metric == "log_loss" and frozen.form == "classes":
        return _loss("log_loss", metric, MOST_NATS, policy, LOSS_OF_A_PROBABILITY)
    return _loss("accuracy", metric, 1.0, policy, LOSS_OF_A_CLASS)


def _of_numbers(policy: Policy, frozen: Frozen, champion_losses: Floats | None) -> Loss:
    metric = policy.metric if policy.metric in ("mae", "rmse", "r2") else "mae"
    cap, usual = MOST_SPREADS * frozen.spread, LOSS_OF_A_NUMBER * frozen.spread
    if metric == "mae":
        return _loss("mae", metric, cap, policy, usual)
    there = champion_losses is not None and len(champion_losses) > 0
    squared = float(np.minimum(champion_losses, cap**2).mean()) if there and champion_losses is not None else 0.0
    asked = usual if policy.max_quality_loss is None else policy.max_quality_loss
    if metric == "r2" and policy.max_quality_loss is not None:
        limit = asked * frozen.spread**2
    else:  # (rmse + asked)² - rmse²
        limit = asked * asked + 2 * asked * math.sqrt(squared)
    in_slices = policy.max_slice_loss
    times = TIMES_OF_A_SLICE if in_slices is None or not asked else in_slices / asked
    return Loss("mse", metric, cap**2, limit, times * limit)


def _loss(name: str, metric: str, cap: float, policy: Policy, usual: float) -> Loss:
    limit = usual if policy.max_quality_loss is None else policy.max_quality_loss
    in_slices = policy.max_slice_loss
    return Loss(name, metric, cap, limit, TIMES_OF_A_SLICE * limit if in_slices is None else in_slices)
