"""What goes wrong with answers, one pattern each, the most specific first: from the paired rows to a code or None."""

import math
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from modelyard.evaluation.words import number
from modelyard.metrics import Floats
from modelyard.rollout.causes.columns import columns_of, numbers_of, parts_of, standing_out
from modelyard.rollout.causes.paired import Paired
from modelyard.rollout.causes.relations import LEAST, log_odds, relation_of_numbers, shift_of_odds
from modelyard.rollout.judging import Check, percent
from modelyard.rollout.observations import Flags

Found = tuple[str, str] | None
Pattern = Callable[[Paired, Sequence[Check]], Found]
NEARLY_ALL = 0.98
FEWEST = 10
SURE = 4.0
"""Standard errors between two shares that are called different."""
EXPLAINED = 0.3
STRAIGHT, LEFT = 0.5, 0.1
"""Of what the champion leaves unexplained, at least a tenth of all, explained by a straight line in one input."""
ONE_WAY = 3.0
CERTAIN = 0.99
UNRELATED, HARDLY = 0.35, 0.55
SAME_LABELS = 0.85
GONE = 0.05
"""A correlation, or a kappa, below which two models have nothing in common."""


def constant_answer(both: Paired, _: Sequence[Check]) -> Found:
    """Nearly every row is answered alike, with the same probability, and not by the champion."""
    own, most = _commonest(both, champion=False)
    champion, _name = _commonest(both, champion=True)
    scores = both.others[np.isfinite(both.others)]
    alike = float(np.unique(scores, return_counts=True)[1].max() / len(scores)) if len(scores) else 1.0
    if own < NEARLY_ALL or alike < NEARLY_ALL or champion > NEARLY_ALL - 0.05:
        return None
    return "constant_answer", _constant(both, own, most, champion)


def one_class(both: Paired, _: Sequence[Check]) -> Found:
    """Nearly every row is answered with one class, whatever its probability."""
    own, most = _commonest(both, champion=False)
    champion, _name = _commonest(both, champion=True)
    if both.numeric or own < NEARLY_ALL or champion > NEARLY_ALL - 0.05:
        return None
    return "constant_answer", _constant(both, own, most, champion)


def _constant(both: Paired, own: float, most: str, champion: float) -> str:
    return (
        f"the challenger answers {most} for {percent(own)} of {len(both):,} rows; the champion's most frequent answer "
        f"has {percent(champion)}"
    )


def batches(both: Paired, _: Sequence[Check]) -> Found:
    """Rows that are asked together are answered otherwise than rows that are asked alone."""
    alone, together = both.size == 1, both.size > 1
    if min(alone.sum(), together.sum()) < FEWEST:
        return None
    away = _away(both)
    for measured in (away, both.differ.astype(np.float64)):
        fine, bad = float(measured[alone].mean()), float(measured[together].mean())
        if bad > 2 * fine and _apart(measured[alone], measured[together]) > SURE:
            break
    else:
        return None
    agreed, differed = 1 - float(both.differ[alone].mean()), 1 - float(both.differ[together].mean())
    said = f"rows asked alone agree with the champion in {percent(agreed)}, rows of batches in {percent(differed)}"
    ordered = _agreement_in_any_order(both, together)
    if differed < agreed and 1 - ordered <= max(1.5 * (1 - agreed), 0.4 * (1 - differed)):
        return "rows_reordered", f"{said}, and in {percent(ordered)} where the order within a batch is not looked at"
    return "batch_dependent", f"{said}: an answer depends on the other rows"


def previous_answer(both: Paired, _: Sequence[Check]) -> Found:
    """The champion's answer to the row before."""
    later = slice(1, None)
    if both.numeric:
        found = both.agrees(both.others[later], both.numbers[:-1])
    else:
        found = float((both.other[later] == both.keys[:-1]).mean())
    if found < both.asked or found < both.agreement + 0.15:
        return None
    return "previous_answer", (
        f"the challenger agrees with the champion's answer to the row before in {percent(found)}, with that to the "
        f"same row in {percent(both.agreement)}"
    )


def drifting(both: Paired, _: Sequence[Check]) -> Found:
    """Fine at first, then further and further away, in one direction."""
    quarter = len(both) // 4
    if quarter < FEWEST:
        return None
    early, late = float(both.differ[:quarter].mean()), float(both.differ[-quarter:].mean())
    moved = _moved(both)
    trend = max((_trend(one) for one in moved), default=0.0)
    if early > 1 - both.asked + 0.1 and trend < 2 * SURE:
        return None
    if trend < SURE + 0.5 and _one_way(both, moved) < ONE_WAY:
        return None
    return "drifting", (
        f"the challenger agreed with the champion in {percent(1 - early)} of the first {quarter:,} rows and in "
        f"{percent(1 - late)} of the last {quarter:,}, and its answers move on and on in one direction"
    )


def unstable(_: Paired, beyond: Sequence[Check]) -> Found:
    """The same input, other answers."""
    for check in beyond:
        if check.name == "stability":
            return "unstable", check.said
    return None


def swapped_classes(both: Paired, _: Sequence[Check]) -> Found:
    """Another name for each class makes them agree."""
    if both.form not in ("label", "classes"):
        return None
    names = dict(_majorities(both))
    if len(set(names.values())) < len(names) or all(key == value for key, value in names.items()):
        return None
    renamed = np.array([names.get(int(key), int(key)) for key in both.keys])
    found = float((renamed == both.other).mean())
    if found < both.asked - 0.1 or found < both.agreement + 0.15:
        return None
    told = ", ".join(f"{both.name(key)} is {both.name(value)}" for key, value in names.items() if key != value)
    return "swapped_classes", (
        f"the challenger's classes have other names: {told}; renamed they agree in {percent(found)} of {len(both):,} "
        f"rows, and as they are in {percent(both.agreement)}"
    )


def formula(both: Paired, _: Sequence[Check]) -> Found:
    """One formula turns the champion's numbers into the challenger's."""
    found = relation_of_numbers(both) if both.numeric else None
    return None if found is None else (found.code, found.said)


def scaled_odds(both: Paired, _: Sequence[Check]) -> Found:
    """Labels agree, and every class is answered with less certainty, or with more."""
    if both.form != "classes" or both.agreement < SAME_LABELS:
        return None
    one, two = both.certainty(), both.certainty(challenger=True)
    odds, other = log_odds(one), log_odds(two)
    moves = []
    for key in np.unique(both.keys[~both.differ]):
        rows = ~both.differ & (both.keys == key)
        if rows.sum() >= 5:
            lower, higher = float((other < 0.9 * odds)[rows].mean()), float((other > 1.1 * odds)[rows].mean())
            moves.append(0 if min(lower, higher) > 0.25 or max(lower, higher) < 0.6 else 1 if higher > lower else -1)
    middle = float(np.median((two - one)[~both.differ]))
    if len(moves) < 2 or abs(sum(moves)) < 0.8 * len(moves) or abs(middle) < 0.03:
        return None
    return "scaled_scores", (
        f"labels agree in {percent(both.agreement)}, but the challenger is {'less' if middle < 0 else 'more'} certain "
        f"of them: {number(float(np.median(two)))} against {number(float(np.median(one)))} at the median"
    )


def shifted_odds(both: Paired, _: Sequence[Check]) -> Found:
    """The log-odds of one class are higher, or lower, by nearly as much in every row."""
    found = shift_of_odds(both)
    return None if found is None else (found.code, found.said)


def one_line(both: Paired, _: Sequence[Check]) -> Found:
    """What the champion says does not explain what the challenger says, and with one input it does."""
    best, most = "", 0.0
    for one, two in zip(*_sides(both, least=1e-4), strict=True):
        left = _left_by(one, two)
        if two.std() == 0 or float(left.var()) < LEFT * float(two.var()):
            continue
        for column in columns_of(both.instances):
            share = _straight(both, column, left)
            if share > most:
                best, most = column, share
    if most < STRAIGHT:
        return None
    return "stale_preprocessing", (
        f"of what the champion's answers do not explain of the challenger's, the input {best!r} alone explains "
        f"{percent(most)}: its unit or its scale has changed"
    )


def class_dropped(both: Paired, beyond: Sequence[Check]) -> Found:
    """A class that is never answered, and else they agree."""
    if both.form not in ("label", "classes") or saturated(both, beyond) is not None:
        return None
    for key, count in zip(*np.unique(both.keys, return_counts=True), strict=True):
        if count >= max(FEWEST, 0.02 * len(both)) and not (both.other == key).any():
            if (
                both.form == "classes"
                and np.quantile(both.probability(both.name(int(key)), challenger=True), 0.9) > GONE
            ):
                continue
            rest = both.differ[both.keys != key]
            if len(rest) and 1 - float(rest.mean()) >= both.asked - 0.1:
                return "class_dropped", (
                    f"the challenger never answers {both.name(int(key))}, which the champion answers for "
                    f"{int(count):,} of {len(both):,} rows; the others agree in {percent(1 - float(rest.mean()))}"
                )
    return None


def missing_values(both: Paired, _: Sequence[Check]) -> Found:
    """Only rows with a missing input differ."""
    there = both.missing
    if there.sum() < 5 or (~there).sum() < 5 or _deviations(both.differ, there) < SURE:
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
    best = standing_out(both.instances, both.differ)
    if best is None:
        return None
    inside, outside = float(both.differ[best.inside].mean()), float(both.differ[~best.inside].mean())
    enough = outside <= 0.34 * inside and outside <= max(0.06, 0.6 * (1 - both.asked))
    if not enough or inside < 0.3 or _deviations(both.differ, best.inside) < SURE:
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


def one_input(both: Paired, _: Sequence[Check]) -> Found:
    """What the champion's answers do not explain goes with one input, in whatever way."""
    best, most = "", 0.0
    for one, two in zip(*_sides(both), strict=True):
        left = _left_by(one, two)
        if two.std() > 0 and float(left.var()) > LEFT * float(two.var()):
            for column in columns_of(both.instances):
                share = _explained(both, column, left)
                if share > most:
                    best, most = column, share
    if most < EXPLAINED:
        return None
    return "stale_preprocessing", (
        f"of what the champion's answers do not explain of the challenger's, {percent(most)} goes with the input "
        f"{best!r}: its unit, its scale or how it is prepared has changed"
    )


def unrelated(both: Paired, _: Sequence[Check]) -> Found:
    """No more alike than chance."""
    return _unrelated(both, UNRELATED)


def hardly_related(both: Paired, _: Sequence[Check]) -> Found:
    """Little more alike than chance, where nothing else explains it."""
    return _unrelated(both, HARDLY)


def _unrelated(both: Paired, least: float) -> Found:
    certain = not both.numeric and float(np.median(both.certainty(challenger=True))) > 0.9
    if certain and _commonest(both, champion=False)[0] > 0.9:
        return None  # one class with certainty is saturated, and correlates with nothing
    alike = [abs(_correlation(one, two)) for one, two in zip(*_sides(both), strict=True)]
    if alike and float(np.mean(alike)) > least:
        return None
    if both.numeric:
        said = f"their correlation is {number(alike[0])} in {len(both):,} rows"
    else:
        found = _kappa(both)
        if found > least:
            return None
        said = f"they agree in {percent(both.agreement)} of {len(both):,} rows, with a kappa of {number(found)}"
    return "unrelated_answers", f"the challenger's answers have little to do with the champion's: {said}"


PATTERNS: Final[tuple[Pattern, ...]] = (
    constant_answer,
    batches,
    previous_answer,
    drifting,
    unstable,
    swapped_classes,
    missing_values,
    scaled_odds,
    formula,
    class_dropped,
    bad_slice,
    unrelated,
    one_line,
    shifted_odds,
    saturated,
    one_input,
    one_class,
    hardly_related,
)


# -- of rows ----------------------------------------------------------------------------------------------------------


def _commonest(both: Paired, *, champion: bool) -> tuple[float, str]:
    if both.numeric:
        values, counts = np.unique(both.numbers if champion else both.others, return_counts=True)
        return float(counts.max() / counts.sum()), number(float(values[counts.argmax()]))
    values, counts = np.unique(both.keys if champion else both.other, return_counts=True)
    return float(counts.max() / counts.sum()), both.name(int(values[counts.argmax()]))


def _deviations(happened: Flags, inside: Flags) -> float:
    """How many standard errors more often it happened inside than outside."""
    one, two = happened[inside], happened[~inside]
    if not len(one) or not len(two):
        return 0.0
    whole = float(happened.mean())
    error = math.sqrt(max(whole * (1 - whole), 1e-6) * (1 / len(one) + 1 / len(two)))
    return float(one.mean() - two.mean()) / error


def _agreement_in_any_order(both: Paired, together: Flags) -> float:
    """The share of rows of batches that agree when both sides' answers are sorted."""
    rows = np.flatnonzero(together)
    if both.numeric:
        left = rows[np.lexsort((both.numbers[rows], both.of[rows]))]
        right = rows[np.lexsort((both.others[rows], both.of[rows]))]
        return both.agrees(both.numbers[left], both.others[right])
    left = rows[np.lexsort((both.keys[rows], both.of[rows]))]
    right = rows[np.lexsort((both.other[rows], both.of[rows]))]
    return float((both.keys[left] == both.other[right]).mean())


def _away(both: Paired) -> Floats:
    """How far each row differs: by its number, by the probability that differs most, or whether it does."""
    moved = _moved(both)
    return np.abs(np.array(moved)).max(axis=0) if moved else both.differ.astype(np.float64)


def _sides(both: Paired, *, least: float = LEAST) -> tuple[list[Floats], list[Floats]]:
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


def _moved(both: Paired) -> list[Floats]:
    """The challenger less the champion; whether they differ, where that is all that is known."""
    found = [two - one for one, two in zip(*_sides(both), strict=True)]
    return found or [both.differ.astype(np.float64)]


def _trend(moved: Floats) -> float:
    """By how many standard errors it goes with time."""
    return abs(_correlation(np.arange(len(moved), dtype=np.float64), moved)) * math.sqrt(len(moved))


def _one_way(both: Paired, moved: Sequence[Floats]) -> float:
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


def _straight(both: Paired, column: str, left: Floats) -> float:
    """The share of the scatter that a straight line in one input explains."""
    numbers = numbers_of(both.instances, column)
    if numbers is None:
        return 0.0
    known = np.isfinite(numbers)
    return _correlation(numbers[known], left[known]) ** 2 if known.sum() >= 2 * FEWEST else 0.0


def _left_by(one: Floats, two: Floats) -> Floats:
    """What a straight line in the champion's leaves of the challenger's."""
    slope = _correlation(one, two) * float(two.std()) / max(float(one.std()), 1e-12)
    return two - slope * one


def _apart(one: Floats, two: Floats) -> float:
    """By how many standard errors the second mean is larger."""
    error = math.sqrt(float(one.var()) / len(one) + float(two.var()) / len(two))
    return float(two.mean() - one.mean()) / max(error, 1e-12)


def _correlation(one: Floats, two: Floats) -> float:
    return float(np.corrcoef(one, two)[0, 1]) if one.std() > 0 and two.std() > 0 else 0.0


def _explained(both: Paired, column: str, away: Floats) -> float:
    """The share of the scatter of ``away`` between parts of a column, less what as many random parts would explain."""
    parts = parts_of(both.instances, column)
    numbers = numbers_of(both.instances, column)
    if numbers is not None and len(np.unique(numbers[np.isfinite(numbers)])) > FEWEST:
        edges = np.unique(np.nanquantile(numbers, np.arange(1, 10) / 10))
        place = np.searchsorted(edges, numbers)
        masks = [place == one for one in range(len(edges) + 1)]
    else:
        masks = [part.inside for part in parts]
    whole = float(away.var()) * len(away)
    between = sum(
        float(mask.sum()) * (float(away[mask].mean()) - float(away.mean())) ** 2 for mask in masks if mask.any()
    )
    parts_there = sum(bool(mask.any()) for mask in masks)
    share = between / whole if whole else 0.0
    freedom = max(1, len(away) - parts_there)
    return 1 - (1 - share) * (len(away) - 1) / freedom


def _majorities(both: Paired) -> list[tuple[int, int]]:
    """For each of the champion's classes the challenger's most frequent one, where it is clear."""
    found = []
    for key in np.unique(both.keys):
        answered, counts = np.unique(both.other[both.keys == key], return_counts=True)
        if counts.sum() >= 5 and counts.max() >= 0.5 * counts.sum():
            found.append((int(key), int(answered[counts.argmax()])))
    return found


def _kappa(both: Paired) -> float:
    """Cohen's kappa: agreement beyond what the two distributions give by chance."""
    size = len(both.look.observations.names)
    one, two = (np.bincount(side, minlength=size) / len(both) for side in (both.keys, both.other))
    chance = float(one @ two)
    return (both.agreement - chance) / max(1e-9, 1 - chance)
