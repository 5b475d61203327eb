"""Inputs that come again, and whether the challenger answers them as it did before."""

from collections.abc import Iterator

import numpy as np

from modelyard.metrics import Floats, Rows
from modelyard.rollout.checks.agreement import lengths_between
from modelyard.rollout.checks.look import Look
from modelyard.rollout.judging import Check, Question, percent, state_of
from modelyard.rollout.observations import Flags, Side, Table
from modelyard.rollout.sequential import Stream

FEWEST_REPEATS = 50
UNSTABLE = 0.01
"""Share of repeated inputs that may get another answer than before, where the champion's stayed the same."""
SAME_NUMBER, SAME_SCORE = 0.01, 0.01
"""How far two answers to one input may differ, in spreads or in probability, and still be the same."""


def stability(look: Look) -> Iterator[Question]:
    """Inputs that come again: does the challenger answer as before?"""
    for side in ("pairs", "arms"):
        table = look.observations.pairs if side == "pairs" else look.observations.challenger_arm
        changed = changes(look, table)
        if changed is not None and len(changed):
            yield _stability(look, side, changed)


def changes(look: Look, table: Table) -> Floats | None:
    """For each repeated input 1 where the challenger's answer changed and the champion's did not, else 0."""
    if table.challenger is None or look.frozen is None:
        return None
    order = np.argsort(table.inputs, kind="stable")
    same = np.flatnonzero(table.inputs[order][1:] == table.inputs[order][:-1])
    earlier, later = order[same], order[same + 1]
    sound = look.problems(table.challenger) == 0
    kept = sound[earlier] & sound[later]
    earlier, later = earlier[kept], later[kept]
    changed = _changed(look, table.challenger, earlier, later)
    if table.champion is not None:
        changed &= ~_changed(look, table.champion, earlier, later)
    return changed.astype(np.float64)


def _changed(look: Look, side: Side, earlier: Rows, later: Rows) -> Flags:
    frozen = look.frozen
    changed: Flags = side.key[earlier] != side.key[later]
    if frozen is None:
        return changed
    if frozen.form == "vector":
        vectors = [side.answers[row].vector for row in earlier], [side.answers[row].vector for row in later]
        return changed | (lengths_between(*vectors) > SAME_NUMBER * frozen.spread)
    allowed = SAME_NUMBER * frozen.spread if frozen.form == "number" else SAME_SCORE
    with np.errstate(invalid="ignore"):
        return changed | (np.abs(side.number[earlier] - side.number[later]) > allowed)


def _stability(look: Look, side: str, changed: Floats) -> Question:
    samples = len(changed)
    whom = "the challenger alone" if side == "pairs" else "the challenger"

    def answer(ends: Floats) -> Check:
        share, low, high = float(changed.mean()), float(ends[0, 0]), float(ends[0, 1])
        return Check(
            name="stability", side="pairs" if side == "pairs" else "arms", limit=UNSTABLE, samples=samples,
            needed=FEWEST_REPEATS,
            state=state_of(share, low, UNSTABLE, samples=samples, needed=FEWEST_REPEATS),
            statistic=share, low=low, high=high,
            said=f"{int(changed.sum()):,} of {samples:,} inputs that came again got another answer from {whom} "
            f"(interval {percent(low)} to {percent(high)}); at most {percent(UNSTABLE)} is allowed",
        )  # fmt: skip

    return Question([Stream.of(changed, look.share("stability", sides=2))], answer)
