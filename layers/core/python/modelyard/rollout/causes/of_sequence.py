"""Patterns of when, and beside what, a row was asked: order within a batch, the row before, time, repetition."""

from collections.abc import Sequence

import numpy as np

from modelyard.metrics import Rows
from modelyard.rollout.causes.measures import (
    ONE_WAY,
    SURE,
    agreement_in_any_order,
    apart,
    away,
    kappa,
    moved_by,
    one_way,
    trend,
)
from modelyard.rollout.causes.paired import FEWEST, NOT_BY_CHANCE, Found, Paired
from modelyard.rollout.judging import Check, percent


def batches(both: Paired, _: Sequence[Check]) -> Found:
    """Rows that are asked together are answered otherwise than rows that are asked alone."""
    alone, together = both.size == 1, both.size > 1
    if min(alone.sum(), together.sum()) < FEWEST:
        return None
    gone = away(both)
    for measured in (gone, both.differ.astype(np.float64)):
        fine, bad = float(measured[alone].mean()), float(measured[together].mean())
        if bad > 2 * fine and apart(measured[alone], measured[together]) > SURE:
            break
    else:
        return None
    agreed, differed = 1 - float(both.differ[alone].mean()), 1 - float(both.differ[together].mean())
    said = f"rows asked alone agree with the champion in {percent(agreed)}, rows of batches in {percent(differed)}"
    ordered = agreement_in_any_order(both, together)
    if differed < agreed and 1 - ordered <= max(1.5 * (1 - agreed), 0.4 * (1 - differed)):
        return "rows_reordered", f"{said}, and in {percent(ordered)} where the order within a batch is not looked at"
    return "batch_dependent", f"{said}: an answer depends on the other rows"


def previous_answer(both: Paired, _: Sequence[Check]) -> Found:
    """The champion's answer to the row before: of all rows, of those of the same process, or of those asked alone."""
    found = max(
        _agreement_with_the_row_before(both, order)
        for order in (np.arange(len(both)), np.argsort(both.processes, kind="stable"), np.flatnonzero(both.size == 1))
    )
    if found < both.asked or found < both.agreement + 0.15 or kappa(both, found) < NOT_BY_CHANCE:
        return None
    return "previous_answer", (
        f"the challenger agrees with the champion's answer to the row before in {percent(found)}, with that to the "
        f"same row in {percent(both.agreement)}"
    )


def _agreement_with_the_row_before(both: Paired, order: Rows) -> float:
    later, earlier = order[1:], order[:-1]
    if len(later) < FEWEST:
        return 0.0
    if both.numeric:
        return both.agrees(both.others[later], both.numbers[earlier])
    return float((both.other[later] == both.keys[earlier]).mean())


def drifting(both: Paired, _: Sequence[Check]) -> Found:
    """Fine at first, then further and further away, in one direction."""
    quarter = len(both) // 4
    if quarter < FEWEST:
        return None
    early, late = float(both.differ[:quarter].mean()), float(both.differ[-quarter:].mean())
    moved = moved_by(both)
    going = max((trend(one) for one in moved), default=0.0)
    if early > 1 - both.asked + 0.1 and going < 2 * SURE:
        return None
    if going < SURE + 0.5 and one_way(both, moved) < ONE_WAY:
        return None
    return "drifting", (
        f"the challenger agreed with the champion in {percent(1 - early)} of the first {quarter:,} rows and in "
        f"{percent(1 - late)} of the last {quarter:,}, and its answers move on and on in one direction"
    )


def unstable(_: Paired | None, beyond: Sequence[Check]) -> Found:
    """The same input, other answers."""
    for check in beyond:
        if check.name == "stability":
            return "unstable", check.said
    return None
