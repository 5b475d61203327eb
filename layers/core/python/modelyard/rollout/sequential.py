"""Intervals that hold at every look: betting confidence sequences for means of bounded values.

The rule: whoever looks at a rollout every minute and stops when it looks bad has looked thousands of times, and an
interval that is right 19 times in 20 is then wrong nearly always. A *confidence sequence* is right at all looks
together, with the stated probability, whenever one stops. Every interval of this package comes from the one below.

**How.** Suppose that the mean were ``m``. Somebody with 1 of capital bets on each value ``x`` in [0, 1] the share ``c``
of it, and then has ``1 + c (x / m - 1)`` times as much. If the mean is ``m``, no way of betting is expected to win, so
the chance that the capital ever reaches ``1 / alpha`` is at most ``alpha`` (Ville, 1939). So an ``m`` at which it got
there is ruled out, and the lower end is the largest of those; capital falls as ``m`` rises. The upper end is the same
for ``1 - x``.
The capital is divided among 14 shares ``c`` at the start, from 0.95 down by halves, because the best one depends on
what is not known: how far off ``m`` is, and how much the values scatter. A product does not depend on the order of its
factors, and neither does the interval.

It holds for any values in the range, of any distribution and dependence, as long as the expectation of each, given the
earlier ones, is on the same side of ``m``; no normal approximation, no least number of samples. A share of rows within
a request is as good a value as 0 or 1.

Sources: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86, 2024 (the
capital process and its intervals; section 4.2 has grids of bets); Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform,
nonparametric, nonasymptotic confidence sequences", Annals of Statistics 49, 2021; Ramdas, Grünwald, Vovk and Shafer,
"Game-theoretic statistics and safe anytime-valid inference", Statistical Science 38, 2023; Howard and Ramdas,
"Sequential estimation of quantiles with applications to A/B testing and best-arm identification", Bernoulli 28, 2022
(`median_interval`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from modelyard.metrics import Floats

BETS = 0.95 * 0.5 ** np.arange(14)
"""Shares of the capital that are bet; the smallest is the right one where a million values are near their mean."""
LEVELS = 512
"""Values are rounded to so many levels, away from what is to be shown, where there are more; it costs 1/512 of the
range at most, and nothing for 0 and 1."""
NARROW = 8
LEAST = 1e-12
"""A mean is taken to be no smaller."""
_STEPS = 18


@dataclass(frozen=True, slots=True)
class Stream:
    """Values in [0, 1] whose mean is asked for, each with how often it occurred.

    Attributes:
        values: In [0, 1].
        counts: How often each occurred.
        alpha: How often each end of the interval may be wrong.
    """

    values: Floats
    counts: Floats
    alpha: float

    @classmethod
    def of(cls, values: Floats, alpha: float) -> Self:
        """Count the values."""
        found, counts = np.unique(values, return_counts=True)
        return cls(found, counts.astype(np.float64), alpha)

    @classmethod
    def of_share(cls, hits: float, samples: float, alpha: float) -> Self:
        """Of ``samples`` values of 0 and 1, ``hits`` ones."""
        return cls(np.array([0.0, 1.0]), np.array([samples - hits, hits], dtype=np.float64), alpha)


def mean_intervals(streams: Sequence[Stream]) -> Floats:
    """The lower and the upper end of each stream's mean: one line each, ``[0, 1]`` where there are no values."""
    found = np.zeros((len(streams), 2))
    for wide in (False, True):  # apart, so that most matrices stay small
        group = [place for place, stream in enumerate(streams) if (len(stream.values) > NARROW) is wide]
        if group:
            chosen = [streams[place] for place in group]
            low = _lower(*_both_sides(chosen), np.array([stream.alpha for stream in chosen] * 2))
            found[group] = np.column_stack([low[: len(chosen)], 1 - low[len(chosen) :]])
    return found


def log_capital(values: Floats, counts: Floats, mean: Floats) -> Floats:
    """The logarithm of the capital, of each line of values, of who bets against its mean being ``mean`` or less."""
    ratio = values / np.maximum(mean, LEAST)[:, None] - 1
    won = np.log1p(BETS[None, :, None] * ratio[:, None, :])
    logs: Floats = np.einsum("sku,su->sk", won, counts)
    top = logs.max(axis=1)
    found: Floats = top + np.log(np.exp(logs - top[:, None]).mean(axis=1))
    return found


def median_interval(values: Floats, alpha: float) -> tuple[float, float]:
    """The interval of the median of any distribution, by ranks; infinite ends where there are too few values.

    A candidate is ruled out where surely more than half of the values lie on one side of it.
    """
    ordered = np.sort(values)
    samples = len(ordered)
    beyond = np.arange(samples // 2, samples + 1, dtype=np.float64)
    capital = log_capital(
        np.tile([0.0, 1.0], (len(beyond), 1)),
        np.column_stack([samples - beyond, beyond]),
        np.full(len(beyond), 0.5),
    )
    sure = np.flatnonzero(capital >= -math.log(alpha))
    if not len(sure):
        return -math.inf, math.inf
    most = int(beyond[sure[0]])  # so many values on one side are surely more than half
    return float(ordered[samples - most]), float(ordered[most - 1])


def _both_sides(streams: Sequence[Stream]) -> tuple[Floats, Floats]:
    """All streams and their mirror images as two matrices; what is padded has a count of 0."""
    sides = [_few(stream.values, stream.counts) for stream in streams]
    sides += [_few(1 - stream.values, stream.counts) for stream in streams]
    width = max((len(values) for values, _ in sides), default=0) or 1
    all_values, all_counts = np.zeros((len(sides), width)), np.zeros((len(sides), width))
    for line, (values, counts) in enumerate(sides):
        all_values[line, : len(values)] = values
        all_counts[line, : len(counts)] = counts
    return all_values, all_counts


def _few(values: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """Rounded down to `LEVELS` where there are more values; a lower mean is harder to show, so nothing is won by it."""
    if len(values) <= LEVELS:
        return values, counts
    rounded = np.floor(np.clip(values, 0, 1) * LEVELS + 1e-9).astype(np.int64)
    summed = np.bincount(rounded, weights=counts, minlength=LEVELS + 1)
    there = np.flatnonzero(summed)
    return (there / LEVELS).astype(np.float64), summed[there].astype(np.float64)


def _lower(values: Floats, counts: Floats, alphas: Floats) -> Floats:
    """The largest mean that is ruled out, by bisection; the end of the bracket that surely is."""
    asked = -np.log(alphas)
    total = np.maximum(counts.sum(axis=1), 1)
    low, high = (
        np.zeros(len(alphas)),
        np.einsum("su,su->s", values, counts) / total,
    )  # the mean itself is never ruled out
    high = np.where(high > 0, high, 1.0)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        ruled_out = log_capital(values, counts, middle) >= asked
        low = np.where(ruled_out, middle, low)
        high = np.where(ruled_out, high, middle)
    return low
