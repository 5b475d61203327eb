"""Why the answers of two arms differ, where no row was answered by both: from their distributions alone."""

import numpy as np

from modelyard.evaluation.words import number
from modelyard.metrics import Floats
from modelyard.rollout.answers import FORMS
from modelyard.rollout.checks.look import Look
from modelyard.rollout.judging import percent

NEARLY_ALL = 0.98
QUANTILES = np.arange(1, 20) / 20
LIKE_ONE = (0.8, 1.25)


def why_arms_differ(look: Look) -> tuple[str, str] | None:
    """A constant answer, a class that is never answered, a shift or a scale; None where nothing fits."""
    left, right = look.observations.champion_arm.champion, look.observations.challenger_arm.challenger
    if left is None or right is None or look.frozen is None:
        return None
    useful, other = look.problems(left) == 0, look.problems(right) == 0
    if not useful.any() or not other.any():
        return None
    if FORMS[look.form] == "number":
        return _numbers(left.number[useful], right.number[other], look.frozen.spread)
    return _classes(look, left.key[useful], right.key[other])


def _numbers(one: Floats, two: Floats, spread: float) -> tuple[str, str] | None:
    values, counts = np.unique(two, return_counts=True)
    if counts.max() >= NEARLY_ALL * len(two) and len(np.unique(one)) > 1:
        return (
            "constant_answer",
            f"the challenger answers {number(float(values[counts.argmax()]))} for nearly every row",
        )
    left, right = np.quantile(one, QUANTILES), np.quantile(two, QUANTILES)
    slope, offset = np.polyfit(left, right, 1) if left.std() > 0 else (1.0, 0.0)
    fits = float(np.abs(slope * left + offset - right).max()) < 0.3 * max(float(right.std()), 1e-12) * 2
    if not fits:
        return None
    if LIKE_ONE[0] < slope < LIKE_ONE[1] and abs(float(np.median(right - left))) > 0.25 * spread:
        return "shifted_scores", (
            f"the challenger's answers are distributed as the champion's plus {number(float(np.median(right - left)))}"
        )
    if slope > 0 and not LIKE_ONE[0] < slope < LIKE_ONE[1]:
        return (
            "scaled_scores",
            f"the challenger's answers are distributed as the champion's times {number(float(slope))}",
        )
    return None


def _classes(look: Look, one: Floats, two: Floats) -> tuple[str, str] | None:
    names = list(look.observations.names)
    size = len(names)
    left, right = (np.bincount(side, minlength=size) / len(side) for side in (one, two))
    most = int(right.argmax())
    if right[most] >= NEARLY_ALL and left[most] < NEARLY_ALL - 0.05:
        return "constant_answer", f"the challenger answers {names[most]} for {percent(float(right[most]))} of its rows"
    gone = np.flatnonzero((left >= 0.03) & (right == 0))
    if len(gone):
        return "class_dropped", (
            f"the challenger never answers {names[int(gone[0])]}, which the champion answers for "
            f"{percent(float(left[gone[0]]))} of its rows"
        )
    return None
