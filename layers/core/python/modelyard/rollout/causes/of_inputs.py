"""Patterns of the inputs: which one, or which part of the rows, goes with where they disagree."""

from collections.abc import Callable, Sequence

import numpy as np

from modelyard.metrics import Floats
from modelyard.rollout.causes.columns import standing_out
from modelyard.rollout.causes.measures import SURE, deviations, explained, left_by, sides, straight
from modelyard.rollout.causes.paired import Found, Paired
from modelyard.rollout.causes.relations import LEAST
from modelyard.rollout.judging import Check, percent

EXPLAINED = 0.3
STRAIGHT, LEFT = 0.5, 0.1
"""Of what the champion leaves unexplained, at least a tenth of all, explained by a straight line in one input."""
CERTAIN = 0.99


def one_line(both: Paired, _: Sequence[Check]) -> Found:
    """What the champion says does not explain what the challenger says, and with one input it does."""
    column, share = _input_behind(both, straight, least=1e-4)
    if share < STRAIGHT:
        return None
    return "stale_preprocessing", (
        f"of what the champion's answers do not explain of the challenger's, the input {column!r} alone explains "
        f"{percent(share)}: its unit or its scale has changed"
    )


def one_input(both: Paired, _: Sequence[Check]) -> Found:
    """What the champion's answers do not explain goes with one input, in whatever way."""
    column, share = _input_behind(both, explained)
    if share < EXPLAINED:
        return None
    return "stale_preprocessing", (
        f"of what the champion's answers do not explain of the challenger's, {percent(share)} goes with the input "
        f"{column!r}: its unit, its scale or how it is prepared has changed"
    )


def _input_behind(
    both: Paired, share_of: Callable[[Paired, str, Floats], float], *, least: float = LEAST
) -> tuple[str, float]:
    """The input that has the largest share in what the champion's answers leave unexplained, and that share."""
    best, most = "", 0.0
    for one, two in zip(*sides(both, least=least), strict=True):
        left = left_by(one, two)
        if two.std() == 0 or float(left.var()) < LEFT * float(two.var()):
            continue
        for column in both.columns.names:
            share = share_of(both, column, left)
            if share > most:
                best, most = column, share
    return best, most


def missing_values(both: Paired, _: Sequence[Check]) -> Found:
    """Only rows with a missing input differ."""
    there = both.missing
    if there.sum() < 5 or (~there).sum() < 5 or deviations(both.differ, there) < SURE:
        return None
    inside, outside = float(both.differ[there].mean()), float(both.differ[~there].mean())
    if outside > 0.5 * inside or outside > 1 - both.asked:
        return None
    return "missing_values", (
        f"where an input is missing the challenger agrees with the champion in {percent(1 - inside)} of "
        f"{int(there.sum()):,} rows, elsewhere in {percent(1 - outside)}"
    )


def bad_slice(both: Paired, beyond: Sequence[Check]) -> Found:
    """One value of one column is where they differ, and elsewhere they agree."""
    if not any(check.name in ("agreement", "quality") for check in beyond):
        return None
    best = standing_out(both.columns, both.differ)
    if best is None:
        return None
    inside, outside = float(both.differ[best.inside].mean()), float(both.differ[~best.inside].mean())
    enough = outside <= 0.34 * inside and outside <= max(0.06, 0.6 * (1 - both.asked))
    first = np.unique(both.inputs, return_index=True)[1]  # an input that comes again and again is one witness
    sure = min(deviations(both.differ, best.inside), deviations(both.differ[first], best.inside[first]) + 1)
    if not enough or inside < 0.3 or sure < SURE:
        return None
    known = both.frozen.cuts.get(best.column)
    code = "bad_slice"
    if best.is_text and known is not None and known.values is not None and best.value not in known.values:
        code = "category_unseen"
    return code, (
        f"where {best.column} = {best.value} the challenger agrees with the champion in {percent(1 - inside)} of "
        f"{int(best.inside.sum()):,} rows, elsewhere in {percent(1 - outside)}"
    )


def saturated(both: Paired, _: Sequence[Check]) -> Found:
    """Nearly always certain, where the champion is not: inputs of another scale drive a model to its ends."""
    if both.form != "classes":
        return None
    own, champion = (float((side >= CERTAIN).mean()) for side in (both.certainty(challenger=True), both.certainty()))
    if own < champion + 0.3 or own < 0.5 or both.agreement > 0.9:
        return None
    return "stale_preprocessing", (
        f"the challenger is certain (at least {percent(CERTAIN)}) of {percent(own)} of its answers, the champion of "
        f"{percent(champion)}: its inputs look scaled otherwise than those that it was trained on"
    )
