"""Rows that both versions answered: the same label, or numbers that differ by less than the tolerance."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from modelyard.metrics import Floats
from modelyard.rollout.answers import FORMS
from modelyard.rollout.checks.look import FEWEST_OF_A_SLICE, Look, in_slices, of_requests
from modelyard.rollout.judging import Check, Name, Question, percent, state_of, where
from modelyard.rollout.sequential import Stream

Vector = tuple[float, ...] | None


def agreement(look: Look) -> Iterator[Question]:
    """Rows that both answered, and not alike."""
    policy, table = look.policy, look.observations.pairs
    if policy.min_agreement is None:
        return
    differ = disagreements(look)
    if differ is None:
        if len(table):
            yield _waiting(look)
        return
    whole = look.share("agreement")
    yield agreement_in(look, of_requests(differ, table), policy.min_agreement, None, None, wrong=whole)
    for column, cut in look.cuts.items():
        shares = in_slices(differ, table, column, cut, look, "pairs")
        for place, value in enumerate(cut.parts):
            in_slice = shares[:, place]
            in_slice = in_slice[~np.isnan(in_slice)]
            if len(in_slice) and policy.slice_agreement is not None:
                wrong = look.share("agreement", sliced=True)
                yield agreement_in(look, in_slice, policy.slice_agreement, column, value, wrong=wrong)


def disagreements(look: Look) -> Floats | None:
    """1 for each row of the pairs whose answers differ, 0 where they agree, NaN where one is of no use."""
    table = look.observations.pairs
    one, two = table.champion, table.challenger
    if one is None or two is None or look.form < 0:
        return None
    form = FORMS[look.form]
    if form in ("number", "vector") and look.frozen is None:
        return None
    useless = (look.problems(one) > 0) | (look.problems(two) > 0)
    numeric = form in ("number", "vector")
    differ = distances(look) > look.policy.tolerance if numeric else one.key != two.key
    return np.where(useless, np.nan, differ.astype(np.float64))


def distances(look: Look) -> Floats:
    """How far the two answers to each row of the pairs are apart, in spreads of the champion's; NaN for no numbers."""
    table, spread = look.observations.pairs, look.frozen.spread if look.frozen is not None else 1.0
    one, two = table.champion, table.challenger
    if one is None or two is None:
        return np.zeros(0)
    with np.errstate(invalid="ignore", over="ignore"):
        if FORMS[look.form] != "vector":
            found: Floats = np.abs(one.number - two.number) / spread
            return found
        return lengths_between([one.vector for one in one.answers], [two.vector for two in two.answers]) / spread


def lengths_between(one: Sequence[Vector], two: Sequence[Vector]) -> Floats:
    """How far each two lists of numbers are apart; NaN where they have no two of one length."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.array([
            float(np.linalg.norm(np.subtract(left, right)))
            if left and right and len(left) == len(right) else math.nan
            for left, right in zip(one, two, strict=True)
        ])  # fmt: skip


def agreement_in(
    look: Look,
    differ: Floats,
    least: float,
    column: str | None,
    value: str | None,
    *,
    wrong: float,
    check: Name = "agreement",
) -> Question:
    """Ask whether the versions agree in some requests.

    Args:
        look: For the samples that the policy asks for.
        differ: Of each request, the share of its rows that differ.
        least: How many are to agree.
        column: What these requests have in common; None for all of them.
        value: Its value.
        wrong: What the interval may go wrong.
        check: The check's name.
    """
    samples, needed = len(differ), look.policy.min_samples if column is None else FEWEST_OF_A_SLICE
    limit = round(1 - least, 10)

    def answer(ends: Floats) -> Check:
        low, high = float(ends[0, 0]), float(ends[0, 1])
        share = float(differ.mean()) if samples else 0.0
        return Check(
            name=check, side="pairs", column=column, value=value, limit=least, samples=samples, needed=needed,
            state=state_of(share, low, limit, samples=samples, needed=needed),
            statistic=1 - share if samples else None, low=1 - high, high=1 - low,
            said=f"challenger and champion agree on {percent(1 - share)} of {samples:,} requests{where(column, value)} "
            f"(interval {percent(1 - high)} to {percent(1 - low)}); at least {percent(least)} is asked for",
        )  # fmt: skip

    return Question([Stream.of(differ, wrong)], answer)


def _waiting(look: Look) -> Question:
    def answer(_: Floats) -> Check:
        return Check(
            name="agreement", state="waiting", side="pairs", needed=look.policy.min_samples,
            said="agreement waits for pairs, and for the champion's first 100 rows",
        )  # fmt: skip

    return Question([], answer)
