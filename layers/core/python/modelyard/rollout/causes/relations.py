"""Formulas between the champion's numbers and the challenger's: shifted, scaled, flipped, transformed, cut, rounded."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from modelyard.evaluation.words import number
from modelyard.metrics import Floats
from modelyard.rollout.causes.paired import Paired
from modelyard.rollout.judging import percent
from modelyard.rollout.slicing import spread_of

BETTER = 0.15
"""How much more of the rows a formula must make agree."""
LIKE_ONE = (0.8, 1.25)
ALIKE = 0.6
"""The least correlation of a formula's numbers with the challenger's."""
SIMPLER = 0.8
"""A formula that comes later must leave less than this share of what an earlier one leaves."""
LEAST_OFFSET = 0.1
"""In spreads; what is shifted by less is not shifted."""
AT_THE_END = 0.15
MOST_STEPS = 12
LEAST, INNER = 0.005, 5.0
"""Probabilities are kept so far from 0 and 1, where any difference of log-odds is large; and log-odds within."""
SCATTER = 0.75
"""A shift of log-odds is one where they scatter by less than this share of it."""
TRANSFORMATIONS: Final[dict[str, Callable[[Floats], Floats]]] = {
    "log(x)": np.log,
    "log(1 + x)": np.log1p,
    "exp(x)": np.exp,
    "exp(x) - 1": np.expm1,
    "sqrt(x)": np.sqrt,
    "x squared": np.square,
}


@dataclass(frozen=True, slots=True)
class Relation:
    """A formula that fits: the cause, and the formula in words."""

    code: str
    said: str


def relation_of_numbers(both: Paired) -> Relation | None:
    """The formula that makes the numbers agree."""
    one, two = both.numbers, both.others
    if one.std() == 0 or two.std() == 0:
        return None
    found = _clipped(both) or _rounded(both)
    if found is not None:
        return found
    asked = max(both.asked - 0.1, both.agreement + BETTER)
    spread = spread_of(two)
    best: tuple[float, Relation] | None = None
    for code, formula, mapped in formulas(one, two):
        known = np.isfinite(mapped)
        if known.mean() < 0.9 or mapped[known].std() == 0:
            continue
        off = np.abs(mapped - two)[known] / spread
        share, typical = float((off <= both.look.policy.tolerance).mean()), float(np.median(off))
        if share < asked or float(np.corrcoef(mapped[known], two[known])[0, 1]) < ALIKE:
            continue
        if best is None or typical < SIMPLER * best[0]:
            said = (
                f"where the champion answers x, the challenger answers {formula}: so in {percent(share)} of "
                f"{len(both):,} rows; as they are, {percent(both.agreement)} agree"
            )
            best = typical, Relation(code, said)
    return None if best is None else best[1]


def shift_of_odds(both: Paired) -> Relation | None:
    """A shift of the log-odds of the class that moved most."""
    if both.form != "classes":
        return None
    best: tuple[float, Relation] | None = None
    for name in both.moving:
        one, two = log_odds(both.probability(name)), log_odds(both.probability(name, challenger=True))
        inner = (np.abs(one) < INNER) & (np.abs(two) < INNER)
        if inner.sum() < 20:
            continue
        moved = (two - one)[inner]
        middle = float(np.median(moved))
        scatter = float(np.quantile(moved, 0.84) - np.quantile(moved, 0.16)) / 2
        # log-odds that are compared with others' fall where theirs rise: the class that moved is the steadiest
        steadiness = abs(middle) / max(scatter, 1e-3)
        if abs(middle) < 0.5 or steadiness * SCATTER < 1 or (best is not None and steadiness < best[0]):
            continue
        if _towards(both, name, more=middle > 0):
            said = (
                f"the challenger gives {name} log-odds that are {number(abs(middle))} "
                f"{'higher' if middle > 0 else 'lower'} than the champion's, nearly the same for every row"
            )
            best = steadiness, Relation("shifted_scores", said)
    return None if best is None else best[1]


def log_odds(given: Floats, least: float = LEAST) -> Floats:
    """Of probabilities, away from 0 and 1."""
    given = np.clip(given, least, 1 - least)
    found: Floats = np.log(given / (1 - given))
    return found


def _towards(both: Paired, name: str, *, more: bool) -> bool:
    """Whether the rows that differ went to a class, or away from it."""
    label, changed = both.look.observations.names.get(name, -1), both.differ
    if changed.sum() < 5:
        return True
    side = both.other if more else both.keys
    return float((side[changed] == label).mean()) >= 0.75


def formulas(one: Floats, two: Floats) -> Iterator[tuple[str, str, Floats]]:
    """What turns the champion's numbers into the challenger's, the simplest first: code, words, numbers."""
    offset = float(np.median(two - one))
    if abs(offset) > LEAST_OFFSET * spread_of(one):
        yield "shifted_scores", _line(1.0, offset), one + offset
    yield "sign_flipped", "-x", -one
    with np.errstate(all="ignore"):
        for words, function in TRANSFORMATIONS.items():
            yield "transformed_scores", words, function(one)
    there = np.abs(one) > 0.1 * one.std()
    ratio = float(np.median(two[there] / one[there])) if there.any() else 1.0
    slope = float(np.sign(np.corrcoef(one, two)[0, 1]) * two.std() / one.std())
    for times, rest in ((ratio, 0.0), (slope, float(np.median(two) - slope * np.median(one)))):
        if times and not LIKE_ONE[0] < times < LIKE_ONE[1]:
            yield "scaled_scores", _line(times, rest), times * one + rest


def _line(slope: float, offset: float) -> str:
    times = "x" if slope == 1 else f"{number(slope)} x"
    return f"{times} {'+' if offset > 0 else '-'} {number(abs(offset))}" if offset else times


def _clipped(both: Paired) -> Relation | None:
    one, two = both.numbers, both.others
    for end, own, side in ((two.max(), one.max(), "above"), (two.min(), one.min(), "below")):
        at_end = np.isclose(two, end, rtol=1e-9, atol=1e-12)
        champion = float(np.isclose(one, own, rtol=1e-9, atol=1e-12).mean())
        past = one[at_end] > end if side == "above" else one[at_end] < end
        if at_end.mean() < max(AT_THE_END, 3 * champion) or past.mean() < 0.7:
            continue
        if (~at_end).any() and both.agrees(one[~at_end], two[~at_end]) >= both.asked - 0.1:
            said = (
                f"{percent(float(at_end.mean()))} of the challenger's answers are exactly {number(float(end))} and "
                f"none lies {side} it, where the champion's do"
            )
            return Relation("clipped_scores", said)
    return None


def _rounded(both: Paired) -> Relation | None:
    one, two = np.unique(both.numbers), np.unique(both.others)
    if len(two) < 2 or len(two) > min(0.25 * len(one), MOST_STEPS):
        return None
    steps = np.diff(two)
    if float(np.diff(one).min()) > 0.5 * float(steps.min()):
        return None  # whole numbers, as the champion's
    if not np.allclose(steps / steps.min(), np.round(steps / steps.min()), atol=0.05):
        return None
    said = (
        f"the challenger answers {len(two):,} different numbers, {number(float(steps.min()))} apart, where the "
        f"champion answers {len(one):,}"
    )
    return Relation("rounded_scores", said)
