"""How far apart two versions' answers are, and what goes with it: numbers that the patterns are found by."""

import math
from collections.abc import Sequence

import numpy as np

from modelyard.evaluation.words import number
from modelyard.metrics import Floats
from modelyard.rollout.causes.paired import FEWEST, Paired
from modelyard.rollout.causes.relations import LEAST, log_odds
from modelyard.rollout.observations import Flags

SURE = 4.0
"""Standard errors between two shares that are called different."""
ONE_WAY = 3.0
"""Standard errors beyond which answers move one way."""


def alike(both: Paired, *, champion: bool) -> float:
    """The share of rows with the commonest answer of the process that answered, probabilities included."""
    keys, numbers = (both.keys, both.numbers) if champion else (both.other, both.others)
    table = np.column_stack([both.processes, 0 * keys if both.numeric else keys, np.nan_to_num(numbers)])
    answers, counts = np.unique(table, axis=0, return_counts=True)
    most: dict[float, int] = {}
    for process, count in zip(answers[:, 0].tolist(), counts.tolist(), strict=True):
        most[process] = max(count, most.get(process, 0))
    return sum(most.values()) / len(both)


def commonest(both: Paired, *, champion: bool) -> tuple[float, str]:
    """The most frequent answer of one side: its share of the rows, and its name."""
    if both.numeric:
        values, counts = np.unique(both.numbers if champion else both.others, return_counts=True)
        return float(counts.max() / counts.sum()), number(float(values[counts.argmax()]))
    values, counts = np.unique(both.keys if champion else both.other, return_counts=True)
    return float(counts.max() / counts.sum()), both.name(int(values[counts.argmax()]))


def deviations(happened: Flags, inside: Flags) -> float:
    """How many standard errors more often it happened inside than outside."""
    one, two = happened[inside], happened[~inside]
    if not len(one) or not len(two):
        return 0.0
    whole = float(happened.mean())
    error = math.sqrt(max(whole * (1 - whole), 1e-6) * (1 / len(one) + 1 / len(two)))
    return float(one.mean() - two.mean()) / error


def agreement_in_any_order(both: Paired, together: Flags) -> float:
    """The share of rows of batches that agree when both sides' answers are sorted."""
    rows = np.flatnonzero(together)
    if both.numeric:
        left = rows[np.lexsort((both.numbers[rows], both.of[rows]))]
        right = rows[np.lexsort((both.others[rows], both.of[rows]))]
        return both.agrees(both.numbers[left], both.others[right])
    left = rows[np.lexsort((both.keys[rows], both.of[rows]))]
    right = rows[np.lexsort((both.other[rows], both.of[rows]))]
    return float((both.keys[left] == both.other[right]).mean())


def away(both: Paired) -> Floats:
    """How far each row differs: by its number, by the probability that differs most, or whether it does."""
    moved = moved_by(both)
    return np.abs(np.array(moved)).max(axis=0) if moved else both.differ.astype(np.float64)


def sides(both: Paired, *, least: float = LEAST) -> tuple[list[Floats], list[Floats]]:
    """What champion and challenger say: numbers, or the log-odds of each of the most frequent classes."""
    if both.numeric:
        middle, most = float(np.median(both.numbers)), 20 * both.frozen.spread
        return [both.numbers], [np.clip(both.others, middle - most, middle + most)]
    if both.form != "classes":
        return [], []
    return (
        [log_odds(both.probability(name), least) for name in both.moving],
        [log_odds(both.probability(name, challenger=True), least) for name in both.moving],
    )


def moved_by(both: Paired) -> list[Floats]:
    """The challenger less the champion; whether they differ, where that is all that is known."""
    found = [two - one for one, two in zip(*sides(both), strict=True)]
    return found or [both.differ.astype(np.float64)]


def trend(moved: Floats) -> float:
    """By how many standard errors it goes with time."""
    return abs(correlation(np.arange(len(moved), dtype=np.float64), moved)) * math.sqrt(len(moved))


def one_way(both: Paired, moved: Sequence[Floats]) -> float:
    """By how many standard errors the answers to repeated inputs moved one way more often than the other."""
    order = np.argsort(both.inputs, kind="stable")
    same = np.flatnonzero(both.inputs[order][1:] == both.inputs[order][:-1])
    found = 0.0
    for one in moved:
        steps = one[order[same + 1]] - one[order[same]]
        steps = steps[np.abs(steps) > 1e-9]
        if len(steps) >= ONE_WAY**2:
            found = max(found, abs(float(np.sign(steps).mean())) * math.sqrt(len(steps)))
    return found


def straight(both: Paired, column: str, left: Floats) -> float:
    """The share of the scatter that a straight line in one input explains."""
    numbers = both.columns.numbers(column)
    if numbers is None:
        return 0.0
    known = np.isfinite(numbers)
    return correlation(numbers[known], left[known]) ** 2 if known.sum() >= 2 * FEWEST else 0.0


def left_by(one: Floats, two: Floats) -> Floats:
    """What a straight line in the champion's leaves of the challenger's."""
    slope = correlation(one, two) * float(two.std()) / max(float(one.std()), 1e-12)
    return two - slope * one


def apart(one: Floats, two: Floats) -> float:
    """By how many standard errors the second mean is larger."""
    error = math.sqrt(float(one.var()) / len(one) + float(two.var()) / len(two))
    return float(two.mean() - one.mean()) / max(error, 1e-12)


def correlation(one: Floats, two: Floats) -> float:
    """Pearson's; 0 where one of them does not vary."""
    return float(np.corrcoef(one, two)[0, 1]) if one.std() > 0 and two.std() > 0 else 0.0


def explained(both: Paired, column: str, away: Floats) -> float:
    """The share of the scatter of ``away`` between parts of a column, less what as many random parts would explain."""
    numbers = both.columns.numbers(column)
    if numbers is not None and len(np.unique(numbers[np.isfinite(numbers)])) > FEWEST:
        edges = np.unique(np.nanquantile(numbers, np.arange(1, 10) / 10))
        place = np.searchsorted(edges, numbers)
        masks = [place == one for one in range(len(edges) + 1)]
    else:
        masks = [part.inside for part in both.columns.parts(column)]
    whole = float(away.var()) * len(away)
    between = sum(
        float(mask.sum()) * (float(away[mask].mean()) - float(away.mean())) ** 2 for mask in masks if mask.any()
    )
    parts_there = sum(bool(mask.any()) for mask in masks)
    share = between / whole if whole else 0.0
    freedom = max(1, len(away) - parts_there)
    return 1 - (1 - share) * (len(away) - 1) / freedom


def majorities(both: Paired) -> list[tuple[int, int]]:
    """For each of the champion's classes the challenger's most frequent one, where it is clear and came twice.

    The rarest of the champion's classes comes first.
    """
    found = []
    keys, rows = np.unique(both.keys, return_counts=True)
    for key in keys[np.argsort(rows, kind="stable")]:
        answered, counts = np.unique(both.other[both.keys == key], return_counts=True)
        if counts.max() >= 2 and counts.max() >= 0.5 * counts.sum():
            found.append((int(key), int(answered[counts.argmax()])))
    return found


def kappa(both: Paired, agreement: float) -> float:
    """Cohen's kappa: an agreement of the two sides' answers, beyond what their distributions give by chance."""
    if both.numeric:
        chance = both.agrees(both.others, np.roll(both.numbers, len(both) // 2))
    else:
        size = len(both.look.observations.names)
        one, two = (np.bincount(side, minlength=size) / len(both) for side in (both.keys, both.other))
        chance = float(one @ two)
    return (agreement - chance) / max(1e-9, 1 - chance)
