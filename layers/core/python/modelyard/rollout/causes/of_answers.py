"""Patterns of the answers themselves: what turns the champion's into the challenger's, or that nothing does."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np

from modelyard.evaluation.words import number, quoted
from modelyard.rollout.causes.measures import alike, commonest, correlation, kappa, majorities, sides
from modelyard.rollout.causes.of_inputs import saturated
from modelyard.rollout.causes.paired import FEWEST, NOT_BY_CHANCE, Found, Paired
from modelyard.rollout.causes.relations import log_odds, relation_of_numbers, shift_of_odds
from modelyard.rollout.judging import Check, percent

TYPES: Final[dict[type, str]] = {bool: "boolean", int: "integer", str: "text"}
NEARLY_ALL = 0.98
UNRELATED, HARDLY = 0.35, 0.55
"""A correlation, or a kappa, below which two models have nothing in common, or little."""
SAME_LABELS = 0.85
MOSTLY, MOST_TOLD = 0.9, 6
"""Of the rows, how many are of classes that the challenger keeps apart; and how many new names are told."""
GONE = 0.05
"""A probability that a class which is never answered hardly ever exceeds."""


def constant_answer(both: Paired, _: Sequence[Check]) -> Found:
    """Nearly every row is answered alike, with the same probability, and not by the champion."""
    found, same = alike(both, champion=False), alike(both, champion=True)
    if found < NEARLY_ALL or same > NEARLY_ALL - 0.05:
        return None
    own, most = commonest(both, champion=False)
    if own < NEARLY_ALL:
        return "constant_answer", (
            f"in each process the challenger answers nearly every row alike, {percent(found)} of {len(both):,} rows in "
            f"all; the champion {percent(same)}"
        )
    champion, _name = commonest(both, champion=True)
    told = _constant(both, found, most, champion)
    if percent(same) != percent(champion):  # one class, and many probabilities of it
        told += f", and {percent(same)} with its probabilities or numbers alike"
    return "constant_answer", told


def one_class(both: Paired, _: Sequence[Check]) -> Found:
    """Nearly every row is answered with one class, whatever its probability."""
    own, most = commonest(both, champion=False)
    champion, _name = commonest(both, champion=True)
    if both.numeric or own < NEARLY_ALL or champion > NEARLY_ALL - 0.05:
        return None
    return "constant_answer", _constant(both, own, most, champion)


def _constant(both: Paired, own: float, most: str, champion: float) -> str:
    return (
        f"the challenger answers {most} for {percent(own)} of {len(both):,} rows; the champion's most frequent answer "
        f"has {percent(champion)}"
    )


def swapped_classes(both: Paired, _: Sequence[Check]) -> Found:
    """Another name for each class makes them agree."""
    clear = dict(majorities(both))
    names = {key: value for value, key in {value: key for key, value in clear.items()}.items()}
    moved = {key: value for key, value in names.items() if key != value}
    rows, told = np.isin(both.keys, list(moved)), np.isin(both.keys, list(names))
    several = len(moved) > 1 or (len(moved) == 1 and _reversed(both))  # one class alone may be the only answer
    if not several or told.sum() < MOSTLY * np.isin(both.keys, list(clear)).sum():
        return None
    same = np.array([names.get(int(key), -1) for key in both.keys]) == both.other
    found, before = float(same[told].mean()), 1 - float(both.differ[rows].mean())
    enough = rows.sum() >= FEWEST and told.mean() >= 0.5 and float(same[rows].mean()) >= max(0.5, before + 0.15)
    if not enough or found < both.asked - 0.1 or kappa(both, found) < NOT_BY_CHANCE:
        return None
    names_told = ", ".join(f"{both.name(key)} is {both.name(value)}" for key, value in list(moved.items())[:MOST_TOLD])
    return "swapped_classes", (
        f"the challenger's classes have other names: {names_told}; renamed they agree in {percent(found)} of "
        f"{len(both):,} rows, and as they are in {percent(both.agreement)}"
    )


def _reversed(both: Paired) -> bool:
    """Whether the more likely the champion calls a class, the less likely the challenger does."""
    related = [correlation(one, two) for one, two in zip(*sides(both), strict=True)]
    return bool(related) and float(np.mean(related)) < -HARDLY


def other_outline(both: Paired, _: Sequence[Check]) -> Found:
    """Other JSON with other fields, or with values of other types."""
    if both.form != "other":
        return None
    names = list(both.look.observations.names)
    outlines = [{int(key): _outline(names[key]) for key in np.unique(side)} for side in (both.keys, both.other)]
    known = set(outlines[0].values())
    strange = [key for key, outline in outlines[1].items() if outline not in known]
    if float(np.isin(both.other, strange).mean()) < NEARLY_ALL:
        return None
    own = outlines[1][strange[0]]
    return (
        "wrong_type",
        f"the challenger's answers are built as {own}, the champion's as {outlines[0][int(both.keys[0])]}",
    )


def _outline(key: str) -> str:
    """The fields and the types of JSON that is a key, in which fractional numbers are null."""

    def typed(value: Any) -> Any:
        match value:
            case dict():
                return {name: typed(one) for name, one in value.items()}
            case list():
                return [typed(one) for one in value[:1]]
        return "number" if value is None else TYPES[type(value)]

    try:
        return quoted(msgspec.json.encode(typed(msgspec.json.decode(key))).decode())
    except msgspec.DecodeError:  # of a value that JSON cannot hold
        return quoted(key)


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


def unrelated(both: Paired, _: Sequence[Check]) -> Found:
    """No more alike than chance."""
    return _unrelated(both, UNRELATED)


def hardly_related(both: Paired, _: Sequence[Check]) -> Found:
    """Little more alike than chance, where nothing else explains it."""
    return _unrelated(both, HARDLY)


def _unrelated(both: Paired, least: float) -> Found:
    certain = not both.numeric and float(np.median(both.certainty(challenger=True))) > 0.9
    if certain and commonest(both, champion=False)[0] > 0.9:
        return None  # one class with certainty is saturated, and correlates with nothing
    related = [abs(correlation(one, two)) for one, two in zip(*sides(both), strict=True)]
    if related and float(np.mean(related)) > least:
        return None
    if both.numeric:
        said = f"their correlation is {number(related[0])} in {len(both):,} rows"
    else:
        found = kappa(both, both.same)
        if found > least:
            return None
        said = f"they agree in {percent(both.agreement)} of {len(both):,} rows, with a kappa of {number(found)}"
    return "unrelated_answers", f"the challenger's answers have little to do with the champion's: {said}"
