"""Where an improvement lies, as far as the rows tell; and what luck alone would have given.

The rule: rows are drawn and answers swapped in pairs, the same rows for both models, because both answer the same
rows: what is hard for both cancels out. Two questions are asked, and the interval keeps to the more careful answer.

**How far could it be from what was measured?** Rows are drawn with replacement, and the improvement is computed again
for each draw. The quantiles of those are the interval, taken a little further out: the plain percentile interval is
too narrow by ``sqrt((n - 1) / n)`` and takes the normal's quantile where Student's is due. Source: Hesterberg, "What
Teachers Should Know about the Bootstrap", The American Statistician 69, 2015, section 5.3 (expanded percentile).

**Could it be nothing?** If both models were equally good, it would be luck which of them gave which of the two answers
to a row. So the answers are swapped in rows chosen by a coin, and it is counted how often the improvement is as large.
Where that happens more often than the confidence allows, the interval is made to reach zero. This one is exact for any
number of rows and any metric, where either model could have given either answer: with 4 rows that differ, even 4 wins
come by luck once in 16 times. Sources: Fisher, "The
Design of Experiments", 1935; Noreen, "Computer-Intensive Methods for Testing Hypotheses", 1989; the +1 in the share is
of Phipson and Smyth, "Permutation P-values Should Never Be Zero", 2010.

How it was chosen: by counting false promotions (`benchmarks/gate/intervals.py`, at 5 % stated). On 30 rows with ten
classes BCa promoted 12.3 % of equal models by F1, and draws that are stratified by class 14.6 % by balanced accuracy: a
class of one row has no uncertainty there. With rare large errors the expanded interval alone promoted 8.0 % by RMSE;
with the swaps it was 5.7 %. So draws are not stratified. A class that is missing in a draw has no share in that draw's
balanced accuracy and F1, and where all true values of a draw are equal, models that err have the same R².
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import msgspec
import numpy as np
from numpy.typing import NDArray

from modelyard.evaluation.rows import Answers
from modelyard.metrics import METRICS, ROUNDING, Counts, Floats, Labelled, Metric, Rows

RESAMPLES = 2_000
MOST_RESAMPLES = 20_000
LEVEL = 0.95
FEWEST_TO_JUDGE_FROM = 10
"""Rows from which on it can be guessed how many would do."""
MOST_ROWS = 10_000_000
"""No advice is to gather more than these."""
AT_ONCE = 1_000_000
"""Counts that are in memory at a time, 8 bytes each."""
_NORMAL = NormalDist()


class Interval(msgspec.Struct, frozen=True):
    """Where the improvement lies, as far as these rows tell.

    Attributes:
        low: Its lower end; None where the metric is no number.
        high: Its upper end.
        level: The share of such intervals that hold the true improvement. The lower end alone is right more often, with
            the confidence (1 + level) / 2.
        resamples: How often rows were drawn, and how often answers were swapped.
        chance: How often swapping the answers of equal models would give an improvement as large as was measured.
    """

    low: float | None
    high: float | None
    level: float = LEVEL
    resamples: int = RESAMPLES
    chance: float = 0.0

    @property
    def confidence(self) -> float:
        """How sure it is that the improvement is at least ``low``."""
        return round((1 + self.level) / 2, 10)


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two models' answers to the same rows, and how often each pair of answers occurs.

    Attributes:
        one: The first model's answers; of each kind of row one, where rows are alike to the metric.
        two: The second model's.
        times: How many rows are of that kind.
        kind_of: Which kind each row is; None where each is its own.
    """

    one: Answers
    two: Answers
    times: Rows
    kind_of: Rows | None

    @property
    def rows(self) -> int:
        return int(self.times.sum())


@dataclass(frozen=True, slots=True)
class Resampled:
    """An improvement, and what it was when rows were drawn and answers swapped; from which intervals are read off.

    Attributes:
        found: As measured.
        drawn: With rows drawn again; None where one of them is no number.
        swapped: With answers swapped.
        rows: How many rows there are.
        slack: What rounding alone does.
    """

    found: float
    drawn: Floats | None
    swapped: Floats
    rows: int
    slack: float

    def interval(self, level: float) -> Interval:
        """The interval that holds the true improvement in a share ``level`` of all cases."""
        tail, resamples = (1 - level) / 2, len(self.swapped)
        if self.drawn is None:
            return Interval(None, None, level, resamples, 1.0)
        low, high = _ends(self.drawn, tail, self.rows)
        better = (1 + int((self.swapped >= self.found - self.slack).sum())) / (resamples + 1)
        worse = (1 + int((self.swapped <= self.found + self.slack).sum())) / (resamples + 1)
        if better > tail:
            low = min(low, 0.0)
        if worse > tail:
            high = max(high, 0.0)
        return Interval(low, high, level, resamples, better)


def improvement_interval(
    challenger: Answers,
    other: Answers,
    *,
    metric: str,
    level: float = LEVEL,
    resamples: int | None = None,
    seed: int = 0,
) -> Interval:
    """The interval of the improvement; see the module for how and why.

    Args:
        challenger: The new model's answers.
        other: The champion's or the baseline's answers to the same rows, with the same numbering of classes.
        metric: The metric's name.
        level: The share of intervals that are to hold the true improvement.
        resamples: How often rows are drawn; left out, 2,000 or as many as the level needs.
        seed: Makes it repeatable.
    """
    if resamples is None:
        resamples = min(MOST_RESAMPLES, max(RESAMPLES, math.ceil(40 / (1 - level))))
    return resample(challenger, other, metric=metric, resamples=resamples, seed=seed).interval(level)


def resample(
    challenger: Answers, other: Answers, *, metric: str, resamples: int = RESAMPLES, seed: int = 0
) -> Resampled:
    """Draw and swap; the arguments are those of `improvement_interval`."""
    kind, draw = METRICS[metric], np.random.default_rng(seed)
    pair = _pair(challenger, other, labels_only=kind.labels_only)
    with np.errstate(over="ignore", invalid="ignore"):
        scores = kind.score(challenger), kind.score(other)
        found = kind.improvement(*scores)
        drawn = np.concatenate([_improvements(kind, pair, counts) for counts in _draws(pair, resamples, draw)])
        swapped = np.concatenate([_swapped(kind, pair, counts) for counts in _swaps(pair, resamples, draw)])
    finite = math.isfinite(found) and bool(np.isfinite(drawn).all())
    return Resampled(found, drawn if finite else None, swapped, pair.rows, slack_of(*scores))


def score_intervals(answers: Answers, *, level: float = LEVEL, seed: int = 0) -> dict[str, list[float | None]]:
    """The interval of every metric that fits the answers of one model: ``{name: [low, high]}``."""
    classification = isinstance(answers, Labelled)
    kinds = {name: kind for name, kind in METRICS.items() if kind.classification == classification}
    found: dict[str, list[float | None]] = {}
    for alike in (True, False):
        names = [name for name, kind in kinds.items() if kind.labels_only == alike]
        if not names:
            continue
        draw, pair = np.random.default_rng(seed), _pair(answers, answers, labels_only=alike)
        drawn: dict[str, list[Floats]] = {name: [] for name in names}
        with np.errstate(over="ignore", invalid="ignore"):
            for counts in _draws(pair, RESAMPLES, draw):
                for name in names:
                    drawn[name].append(kinds[name].scores(pair.one, counts))
        for name in names:
            values = np.concatenate(drawn[name])
            finite = bool(np.isfinite(values).all())
            found[name] = list(_ends(values, (1 - level) / 2, pair.rows)) if finite else [None, None]
    return {name: found[name] for name in kinds}


def rows_needed(improvement: float, interval: Interval, *, asked: float, rows: int) -> int | None:
    """About how many rows would let this improvement pass, if it is what it looks like; None where none would.

    The interval narrows with the square root of the rows, and so does what luck can do.

    Args:
        improvement: As measured.
        interval: Of it.
        asked: The improvement that is asked for.
        rows: On how many it was measured.
    """
    if interval.low is None or improvement <= asked or interval.chance >= 0.5 or rows < FEWEST_TO_JUDGE_FROM:
        return None
    by_width = (improvement - interval.low) / (improvement - asked)
    by_luck = _NORMAL.inv_cdf(interval.confidence) / _NORMAL.inv_cdf(1 - interval.chance)
    times = max(by_width, by_luck)
    if times > math.sqrt(MOST_ROWS / rows):
        return None
    needed = rows * times**2
    step = max(1, int(10.0 ** (math.floor(math.log10(needed)) - 1)))
    return math.ceil(needed / step) * step


def slack_of(*scores: float) -> float:
    """How far two sums of these may differ by rounding alone."""
    return ROUNDING * max(1.0, *map(abs, scores))


def expanded_tail(tail: float, rows: int) -> float:
    """The quantile that stands for ``tail`` on so many rows; further out, the fewer there are.

    Example:
        >>> round(expanded_tail(0.05, 30), 4)
        0.0421
    """
    if rows < 2 or tail <= 0:
        return 0.0
    return _NORMAL.cdf(_student(tail, rows - 1) * math.sqrt(rows / (rows - 1)))


def _student(tail: float, degrees: int) -> float:
    """The quantile of Student's t, where no scipy is.

    Source: Abramowitz and Stegun, "Handbook of Mathematical Functions", 1964, 26.7.5. It is 1 % off at 4 degrees of
    freedom and a tail of 0.01, and nearer everywhere above.
    """
    z = _NORMAL.inv_cdf(tail)
    return (
        z
        + (z**3 + z) / (4 * degrees)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * degrees**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92_160 * degrees**4)
    )


def _ends(drawn: Floats, tail: float, rows: int) -> tuple[float, float]:
    out = expanded_tail(tail, rows)
    low = np.quantile(drawn, out, method="inverted_cdf")
    high = -np.quantile(-drawn, out, method="inverted_cdf")
    return float(low), float(high)


def _pair(one: Answers, two: Answers, *, labels_only: bool) -> _Pair:
    if not isinstance(one, Labelled) or not isinstance(two, Labelled):
        return _Pair(one, two, np.ones(len(one), dtype=np.int64), None)
    if one.classes != two.classes:
        raise ValueError("the classes of two models are numbered together; see `scorable`")
    if not labels_only:
        return _Pair(one, two, np.ones(len(one), dtype=np.int64), None)
    key = (one.truth * one.classes + one.answer) * one.classes + two.answer
    _, first, kind_of, times = np.unique(key, return_index=True, return_inverse=True, return_counts=True)
    return _Pair(one.take(first), two.take(first), times, kind_of)


def _chunks(resamples: int, width: int) -> Iterator[int]:
    most = max(1, AT_ONCE // width)
    for start in range(0, resamples, most):
        yield min(most, resamples - start)


def _draws(pair: _Pair, resamples: int, draw: np.random.Generator) -> Iterator[Counts]:
    """How often each row, or kind of row, is drawn when as many rows are drawn as there are."""
    rows, kinds = pair.rows, len(pair.times)
    if 10 * kinds <= rows:
        for size in _chunks(resamples, kinds):
            yield draw.multinomial(rows, pair.times / rows, size=size).astype(np.float64)
        return
    for size in _chunks(resamples, rows):
        drawn = draw.integers(0, rows, (size, rows))
        if pair.kind_of is not None:
            drawn = pair.kind_of[drawn]
        drawn += np.arange(size)[:, None] * kinds
        counted = np.bincount(drawn.ravel(), minlength=size * kinds)
        yield counted.reshape(size, kinds).astype(np.float64)


def _swaps(pair: _Pair, resamples: int, draw: np.random.Generator) -> Iterator[NDArray[np.float64]]:
    """In how many rows of each kind the two models' answers are swapped."""
    kinds = len(pair.times)
    for size in _chunks(resamples, 2 * kinds):
        if pair.kind_of is not None:
            yield draw.binomial(pair.times, 0.5, (size, kinds)).astype(np.float64)
        else:
            bits = np.frombuffer(draw.bytes((size * kinds + 7) // 8), dtype=np.uint8)
            yield np.unpackbits(bits, count=size * kinds).reshape(size, kinds).astype(np.float64)


def _improvements(kind: Metric, pair: _Pair, counts: Counts) -> Floats:
    return kind.improvement(kind.scores(pair.one, counts), kind.scores(pair.two, counts))


def _swapped(kind: Metric, pair: _Pair, swapped: Counts) -> Floats:
    both = pair.one.followed_by(pair.two)  # type: ignore[arg-type]  # both are of one type
    kept = pair.times - swapped
    return kind.improvement(
        kind.scores(both, np.hstack([kept, swapped])), kind.scores(both, np.hstack([swapped, kept]))
    )
