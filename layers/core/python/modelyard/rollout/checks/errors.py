"""Requests that the challenger failed and the champion did not: it raised, or gave what no caller could use.

Where the champion fails as well, a request is held against nobody among pairs, and in arms its own share is taken off.
Errors are rare and their absence proves little: they are within their limit only where they surely are fewer than ten
times as many, which takes about 900 requests without any at the usual limit of 1 in 1,000.

The whole is all that the challenger was asked, unseen and seen. What it was asked in the canary is judged by itself as
well: a version that turns bad when it has traffic of its own shall not hide behind a long shadow in which it was good.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from modelyard.metrics import Floats, Rows
from modelyard.rollout.checks.look import FEWEST_OF_A_SLICE, Look, in_slices, worst
from modelyard.rollout.judging import Check, Question, Sides, percent, state_of, where
from modelyard.rollout.observations import Table
from modelyard.rollout.sequential import BETS, Stream

TIMES = 10
"""Within are errors that surely are fewer than so many times the limit."""
LEAST = 0.01
"""Or fewer than this, where none is allowed."""
_IN_ITS_ARM = " that the challenger was to answer"


def errors(look: Look) -> Iterator[Question]:
    """Requests that the challenger failed and the champion did not; a failed answer is what no caller could use."""
    found = [part for part in (failures(look, "pairs"), failures(look, "arms")) if part is not None]
    bad = np.concatenate([part.bad for part in found]) if found else np.zeros(0)
    own = look.observations.champion_arm
    opposed = np.zeros(0)
    if own.champion is not None:
        opposed = worst(look.problems(own.champion) > 0, own.of, len(own))
    yield _errors(look, bad, opposed, None, None)
    if len(found) > 1:
        yield _errors(look, found[1].bad, opposed, None, None, side="arms")
    for column, cut in look.cuts.items():
        parts = [(part, in_slices(part.rows_bad, part.table, column, cut, look, part.side)) for part in found]
        for place, value in enumerate(cut.parts):
            chosen = [shares[:, place] for _, shares in parts]
            in_slice = np.concatenate([one[~np.isnan(one)] for one in chosen]) if chosen else np.zeros(0)
            if len(in_slice):
                yield _errors(look, (in_slice > 0).astype(np.float64), np.zeros(0), column, value)


@dataclass(frozen=True, slots=True)
class Failures:
    """Which requests and rows of a table the challenger failed, and why."""

    side: str
    table: Table
    bad: Floats
    rows_bad: Floats
    problems: Rows


def failures(look: Look, side: str) -> Failures | None:
    """The challenger's failures among pairs or in its arm; None where it answered nothing there."""
    table = look.observations.pairs if side == "pairs" else look.observations.challenger_arm
    if table.challenger is None:
        return None
    problems = look.problems(table.challenger)
    rows = problems > 0
    if table.champion is not None:
        rows &= look.problems(table.champion) == 0
    return Failures(side, table, worst(rows, table.of, len(table)), rows.astype(np.float64), problems)


def _errors(
    look: Look, bad: Floats, opposed: Floats, column: str | None, value: str | None, *, side: Sides = "all"
) -> Question:
    policy, count, total = look.policy, float(bad.sum()), len(bad)
    limit, alpha = policy.max_error_rate, look.share("errors", sliced=column is not None, sides=1 if column else 2)
    against = len(opposed) > 0 and bool(opposed.any())
    most = min(1.0, max(TIMES * limit, 0.0 if limit else LEAST))
    needed = math.ceil((math.log(1 / alpha) + math.log(len(BETS))) / -math.log1p(-0.95 * most)) if most < 1 else 1
    a_part = column is not None or side == "arms"
    if a_part:
        needed = FEWEST_OF_A_SLICE
    streams = [Stream.of_share(count, total, alpha / 2 if against else alpha)]
    if against:
        streams.append(Stream.of_share(float(opposed.sum()), len(opposed), alpha / 2))

    which = _IN_ITS_ARM if side == "arms" else where(column, value)

    def answer(ends: Floats) -> Check:
        low, high = float(ends[0, 0]), float(ends[0, 1])
        rate = count / total if total else 0.0
        beside = ""
        if against:
            low, high, rate = low - ends[1, 1], high - ends[1, 0], rate - float(opposed.mean())
            beside = f", the champion {int(opposed.sum()):,} of {len(opposed):,}"
        fine = a_part or high <= most
        return Check(
            name="errors", side=side, column=column, value=value, limit=limit, samples=total, needed=needed,
            state=state_of(rate, low, limit, samples=total, needed=needed, fine=fine),
            statistic=rate if total else None, low=low, high=high,
            said=f"{int(count):,} of {total:,} requests{which} got no valid answer from the challenger{beside}"
            f" (interval {percent(max(0.0, low))} to {percent(high)}); at most {percent(limit)} is allowed",
        )  # fmt: skip

    return Question(streams, answer)
