"""What is wrong with a challenger that aborts: a stable code, and a sentence with numbers.

The rule: a verdict never rests on a cause. Checks decide, with their error rates; a cause is the likeliest explanation
of what they saw, found afterwards in the same columns by trying one explanation after another, the most specific first.
Failures come before answers, answers before memory and time, because what callers get wrong is worse than what they
wait for. Where no explanation fits, the cause says which check it was.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from modelyard.rollout.causes.failing import why_it_fails
from modelyard.rollout.causes.of_sequence import unstable
from modelyard.rollout.causes.paired import Found, Paired, numbers_one_by_one, paired
from modelyard.rollout.causes.patterns import PATTERNS
from modelyard.rollout.causes.resources import why_it_grows, why_it_is_slow
from modelyard.rollout.causes.unpaired import why_arms_differ
from modelyard.rollout.checks.look import Look
from modelyard.rollout.judging import Check
from modelyard.rollout.slicing import FREEZE, Frozen, freeze

CAUSES: Final[dict[str, str]] = {
    "raises": "the challenger raised",
    "refuses_input": "it refused inputs that the champion takes: another signature, or another contract",
    "not_loaded": "it could not be loaded",
    "missing_values": "it fails, or answers otherwise, where an input is missing",
    "category_unseen": "it fails, or answers otherwise, for one category of an input",
    "not_finite": "it answered NaN or infinity",
    "wrong_shape": "it gave more or fewer answers than rows, or lists of another length",
    "wrong_type": "its answers have another form than the champion's: text for a number, a label of another type",
    "probabilities_invalid": "its probabilities are not between 0 and 1, or do not sum to 1",
    "unknown_class": "it answered a class that the champion does not have",
    "class_missing": "its probabilities lack a class that the champion has",
    "constant_answer": "it answers nearly every row alike",
    "swapped_classes": "its classes are the champion's under other names",
    "class_dropped": "it never answers a class that the champion answers",
    "shifted_scores": "its numbers, or the log-odds of a class, are the champion's plus a constant",
    "scaled_scores": "they are the champion's times a constant",
    "sign_flipped": "they are the champion's with the opposite sign",
    "transformed_scores": "they are the champion's before or after a transformation, as a logarithm not undone",
    "clipped_scores": "they stop at a value beyond which the champion's go on",
    "rounded_scores": "they take few values where the champion's take many",
    "rows_reordered": "the answers of a batch are there, in another order",
    "previous_answer": "it answers what was asked one row before",
    "batch_dependent": "its answer to a row depends on the other rows of the request",
    "unstable": "it answers the same input in different ways",
    "drifting": "it began well and got worse with time",
    "stale_preprocessing": "one input explains where it disagrees, or it is nearly always certain: a unit changed",
    "unrelated_answers": "its answers have nothing to do with the champion's",
    "bad_slice": "it is bad for one value of one column",
    "worse_by_labels": "it agrees with the champion, and labels say that it is worse",
    "slow": "it takes too long",
    "slow_sometimes": "it takes too long for a part of the requests",
    "slowing": "it takes longer and longer",
    "memory_leak": "its memory grows with the number of requests",
    "memory_jump": "its memory grew in a few large steps",
    "distribution_shifted": "its answers are distributed otherwise than the champion's",
    "disagrees": "it disagrees with the champion, and nothing above explains it",
}
"""Every cause, and what it means."""


def diagnose(look: Look, beyond: Sequence[Check]) -> tuple[str, str]:
    """The likeliest cause of what some checks saw, as a code of `CAUSES` and a sentence.

    Args:
        look: Everything that was observed.
        beyond: The checks that are surely beyond their limits; at least one.
    """
    if look.frozen is None:  # what is surely wrong already is explained by what there is
        look = replace(look, frozen=_provisional(look))
    names = {check.name for check in beyond}
    if "errors" in names:
        return why_it_fails(look)
    answers = [check for check in beyond if check.name not in ("memory", "latency", "slow_tail")]
    if answers:
        return _why_answers_differ(look, answers)
    if "memory" in names:
        return why_it_grows(look)
    return why_it_is_slow(look, names)


def _provisional(look: Look) -> Frozen | None:
    tables = (look.observations.pairs, look.observations.champion_arm)
    sound = sum(int((table.champion.problem == 0).sum()) for table in tables if table.champion is not None)
    return freeze(look.observations, look.policy.slices, rows=min(FREEZE, sound)) if sound else None


def _why_answers_differ(look: Look, beyond: Sequence[Check]) -> tuple[str, str]:
    both = paired(look)
    if both is not None and any(check.side != "arms" for check in beyond):
        found = _first_pattern(both, beyond)
    else:
        found = unstable(None, beyond) or why_arms_differ(look)
    if found is not None:
        return found
    return _by_check(beyond, both)


def _first_pattern(both: Paired, beyond: Sequence[Check]) -> Found:
    """The first pattern that is there; of lists of numbers the first that most of the numbers have that differ."""
    views = numbers_one_by_one(both) or [both]
    for pattern in PATTERNS:
        found = [one for one in (pattern(view, beyond) for view in views) if one is not None]
        same = [one for one in found if one[0] == found[0][0]]
        if same and 2 * len(same) >= len(views):
            return same[0]
    return None


def _by_check(beyond: Sequence[Check], both: Paired | None) -> tuple[str, str]:
    """What is left to say when nothing explains it."""
    del both
    names = [check.name for check in beyond]
    sliced = all(check.column is not None for check in beyond)
    first = next((check for check in beyond if check.column is not None), beyond[0]) if sliced else beyond[0]
    if sliced:
        return "bad_slice", f"the challenger is bad where {first.column} = {first.value}: {first.said}"
    if "stability" in names:
        return "unstable", next(check.said for check in beyond if check.name == "stability")
    if names == ["quality"] or set(names) == {"quality"}:
        return "worse_by_labels", next(check.said for check in beyond if check.name == "quality")
    if "agreement" in names:
        return "disagrees", next(check.said for check in beyond if check.name == "agreement")
    if "quality" in names:
        return "worse_by_labels", next(check.said for check in beyond if check.name == "quality")
    return "distribution_shifted", beyond[0].said
