"""The distribution of answers, and of the probabilities that come with labels, beside the champion's."""

from collections.abc import Iterator

import numpy as np

from modelyard.evaluation.words import number
from modelyard.metrics import Floats, Rows
from modelyard.rollout.checks.look import Look, after
from modelyard.rollout.judging import Check, Name, Question, state_of
from modelyard.rollout.observations import Side
from modelyard.rollout.shift import Binned
from modelyard.rollout.slicing import Frozen, length_of


def shift(look: Look) -> Iterator[Question]:
    """The distribution of answers, and of the probabilities that come with labels."""
    if look.policy.max_shift is None:
        return
    for name in ("shift", "score_shift"):
        for side in ("pairs", "arms"):
            binned = bins_of(look, name, side)
            if binned is not None:
                yield _shift(look, name, side, binned)


def bins_of(look: Look, name: str, side: str) -> Binned | None:
    """Champion's and challenger's answers in the frozen bins; None where there is nothing to compare."""
    frozen, seen = look.frozen, look.observations
    left = seen.pairs if side == "pairs" else seen.champion_arm
    right = seen.pairs if side == "pairs" else seen.challenger_arm
    if frozen is None or left.champion is None or right.challenger is None:
        return None
    if name == "score_shift" and not (frozen.form in ("classes", "other") and frozen.score_edges):
        return None
    if name == "shift" and frozen.form == "other":
        return None
    if name == "shift" and frozen.form in ("number", "vector") and not frozen.edges:
        return None
    useful = after(left, frozen) & (look.problems(left.champion) == 0)
    other = after(right, frozen) & (look.problems(right.challenger) == 0)
    if side == "pairs":
        useful &= other
        other = useful
    one, two = (_binned(look, answers, frozen, name)[kept] for answers, kept in
                ((left.champion, useful), (right.challenger, other)))  # fmt: skip
    bins = len(frozen.score_edges) + 1 if name == "score_shift" else max(len(frozen.edges), len(frozen.classes)) + 1
    return Binned(
        np.bincount(one, minlength=bins).astype(np.float64),
        np.bincount(two, minlength=bins).astype(np.float64),
    )


def _binned(look: Look, side: Side, frozen: Frozen, name: str) -> Rows:
    if name == "score_shift":
        told = side.number
        if frozen.form == "other":
            told = np.where(np.isnan(told), [length_of(one) for one in side.answers], told)
        return np.searchsorted(frozen.score_edges, np.nan_to_num(told)).astype(np.int64)
    if frozen.form == "vector":
        return np.searchsorted(frozen.edges, [length_of(one) for one in side.answers])
    if frozen.form == "number":
        return np.searchsorted(frozen.edges, np.nan_to_num(side.number)).astype(np.int64)
    table = np.full(len(look.observations.names) + 1, len(frozen.classes), dtype=np.int64)
    for place, label in enumerate(frozen.classes):
        if label in look.observations.names:
            table[look.observations.names[label]] = place
    return table[side.key]


def _shift(look: Look, name: Name, side: str, binned: Binned) -> Question:
    samples, needed = int(binned.challenger.sum()), look.policy.min_samples
    limit, what = look.policy.max_shift or 0.0, "answers" if name == "shift" else "probabilities"

    def answer(ends: Floats) -> Check:
        low, high = binned.interval(ends)
        psi = binned.psi()
        return Check(
            name=name, side="pairs" if side == "pairs" else "arms", limit=limit, samples=samples, needed=needed,
            state=state_of(psi, low, limit, samples=samples, needed=needed),
            statistic=psi if samples else None, low=low, high=high,
            said=f"the challenger's {what} are distributed with a PSI of {number(psi)} against the champion's "
            f"(interval {number(low)} to {number(high)}; Jensen-Shannon {number(binned.jensen_shannon())} bits) in "
            f"{samples:,} {side}; at most {number(limit)} is allowed",
        )  # fmt: skip

    return Question(binned.streams(look.share(name, sides=2)), answer)
