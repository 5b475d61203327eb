"""Why the answers of two arms differ, where no row was answered by both: from their distributions alone."""

import numpy as np

from modelyard.evaluation.words import number
from modelyard.metrics import Floats
from modelyard.rollout.answers import FORMS
from modelyard.rollout.causes.relations import SIMPLER, formulas
from modelyard.rollout.checks.look import Look
from modelyard.rollout.judging import percent
from modelyard.rollout.observations import Flags, Side
from modelyard.rollout.slicing import spread_of

NEARLY_ALL = 0.98
QUANTILES = np.arange(1, 20) / 20
BY_CHANCE = 0.01
"""How likely it may be that a class of the champion's is missing by luck."""
FARTHEST = 0.6
"""In spreads, how far any quantile may be off a formula's."""


def why_arms_differ(look: Look) -> tuple[str, str] | None:
    """A constant answer, a class that is never answered, a shift or a scale; None where nothing fits."""
    left, right = look.observations.champion_arm.champion, look.observations.challenger_arm.challenger
    if left is None or right is None or look.frozen is None:
        return None
    useful, other = look.problems(left) == 0, look.problems(right) == 0
    if not useful.any() or not other.any():
        return None
    if FORMS[look.form] == "number":
        return _numbers(left.number[useful], right.number[other])
    if _commonest(right, other) >= NEARLY_ALL and _commonest(left, useful) < NEARLY_ALL - 0.05:
        return "constant_answer", "the challenger answers nearly every row alike, with the same probability"
    return _classes(look, left.key[useful], right.key[other])


def _commonest(side: Side, useful: Flags) -> float:
    """The share of the commonest answer, with its probability."""
    answers = np.column_stack([side.key, np.nan_to_num(side.number)])[useful]
    return float(np.unique(answers, axis=0, return_counts=True)[1].max() / len(answers))


def _numbers(one: Floats, two: Floats) -> tuple[str, str] | None:
    values, counts = np.unique(two, return_counts=True)
    if counts.max() >= NEARLY_ALL * len(two) and len(np.unique(one)) > 1:
        return (
            "constant_answer",
            f"the challenger answers {number(float(values[counts.argmax()]))} for nearly every row",
        )
    left, right = np.quantile(one, QUANTILES), np.quantile(two, QUANTILES)
    wide = max(spread_of(right), 1e-12)
    best: tuple[float, str, str] | None = None
    for code, formula, mapped in formulas(left, right):
        off = np.abs(np.sort(mapped) - right)
        if not np.isfinite(mapped).all() or float(off.max()) > FARTHEST * wide:
            continue
        if best is None or float(np.median(off)) < SIMPLER * best[0]:
            best = float(np.median(off)), code, formula
    if best is None or float(np.abs(left - right).max()) <= FARTHEST * wide:
        return None
    return best[1], f"where the champion answers x, the challenger's answers are distributed as {best[2]}"


def _classes(look: Look, one: Floats, two: Floats) -> tuple[str, str] | None:
    names = list(look.observations.names)
    size = len(names)
    left, right = (np.bincount(side, minlength=size) / len(side) for side in (one, two))
    most = int(right.argmax())
    if right[most] >= NEARLY_ALL and left[most] < NEARLY_ALL - 0.05:
        return "constant_answer", f"the challenger answers {names[most]} for {percent(float(right[most]))} of its rows"
    by_chance = (1 - left) ** len(two) * size
    gone = np.flatnonzero((left >= 0.03) & (right == 0) & (by_chance < BY_CHANCE))
    if len(gone):
        return "class_dropped", (
            f"the challenger never answers {names[int(gone[0])]}, which the champion answers for "
            f"{percent(float(left[gone[0]]))} of its rows"
        )
    return None
