"""How much longer the challenger takes: the median of the ratio, and how often it is very slow.

Both go by ranks and counts, so that a garbage collection of a second moves them no more than any other slow request.
"""

import math
from collections.abc import Iterator

import numpy as np

from modelyard.evaluation.words import number
from modelyard.metrics import Floats
from modelyard.rollout.checks.look import Look, finite
from modelyard.rollout.judging import Check, Question, percent, state_of
from modelyard.rollout.sequential import Stream, median_interval

LEAST_MS = 1.0
"""A challenger is slower only where it is so also by this; half as much again of 0.02 ms is nothing to anybody."""
TAIL = 0.05
"""Share of requests that may take longer than the limit times the champion's slowest; garbage collection takes some."""


def latency(look: Look) -> Iterator[Question]:
    """The median of the ratio, and how often the challenger is slower than the champion's slowest."""
    most = look.policy.max_latency_ratio
    if most is None:
        return
    left, right = look.observations.pairs.milliseconds()
    there = np.isfinite(left) & np.isfinite(right)
    if there.any():
        yield _paired_latency(look, left[there], right[there], most)
        if look.frozen is not None and look.frozen.slow_ms is not None:
            slow = right[there] > np.maximum(
                most * np.maximum(left[there], look.frozen.slow_ms), left[there] + LEAST_MS
            )
            yield _slow_tail(look, "pairs", slow.astype(np.float64), np.zeros(0), most)
    one = look.observations.champion_arm.milliseconds()[0]
    two = look.observations.challenger_arm.milliseconds()[1]
    one, two = one[np.isfinite(one)], two[np.isfinite(two)]
    if len(one) and len(two):
        yield _latency_of_arms(look, one, two, most)
        if look.frozen is not None and look.frozen.slow_ms is not None:
            least = max(most * look.frozen.slow_ms, look.frozen.slow_ms + LEAST_MS)
            yield _slow_tail(look, "arms", (two > least).astype(np.float64), (one > least).astype(np.float64), most)


def _paired_latency(look: Look, left: Floats, right: Floats, most: float) -> Question:
    alpha, samples, needed = look.share("latency", sides=2), len(left), look.policy.min_samples
    ratio = right / np.maximum(left, 1e-6)
    slower = (right > np.maximum(most * left, left + LEAST_MS)).astype(np.float64)
    low, high = median_interval(ratio, alpha)

    def answer(ends: Floats) -> Check:
        share = float(slower.mean())
        return Check(
            name="latency", side="pairs", limit=most, samples=samples, needed=needed,
            state=state_of(share, float(ends[0, 0]), 0.5, samples=samples, needed=needed),
            statistic=float(np.median(ratio)), low=finite(low), high=finite(high), said=_latency_said(
                float(np.median(right)), float(np.median(left)), float(np.median(ratio)), low, high, samples, most),
        )  # fmt: skip

    return Question([Stream.of(slower, alpha)], answer)


def _latency_of_arms(look: Look, one: Floats, two: Floats, most: float) -> Question:
    alpha, samples, needed = look.share("latency", sides=2) / 2, len(two), look.policy.min_samples
    (low, high), (low_two, high_two) = median_interval(one, alpha), median_interval(two, alpha)
    low, low_two = max(low, 0.0), max(low_two, 0.0)

    def answer(_: Floats) -> Check:
        left, right = float(np.median(one)), float(np.median(two))
        least = low_two / high if math.isfinite(high) and high > 0 else 0.0
        greatest = high_two / low if low > 0 else math.inf
        surely = least if low_two - high > LEAST_MS else 0.0
        ratio = right / max(left, 1e-6)
        measured = ratio if right - left > LEAST_MS else min(ratio, most)
        return Check(
            name="latency", side="arms", limit=most, samples=samples, needed=needed,
            state=state_of(measured, surely, most, samples=samples, needed=needed),
            statistic=ratio, low=finite(least), high=finite(greatest),
            said=_latency_said(right, left, ratio, least, greatest, samples, most),
        )  # fmt: skip

    return Question([], answer)


def _latency_said(
    right: float, left: float, ratio: float, low: float, high: float, samples: int, most: float
) -> str:  # fmt: skip
    return (
        f"the challenger takes {number(right)} ms, the champion {number(left)} ms (medians of {samples:,} requests): "
        f"{number(ratio)} times as long (interval {number(max(low, 0.0))} to "
        f"{number(high) if math.isfinite(high) else 'any'}); at most {number(most)} times is allowed"
    )


def _slow_tail(look: Look, side: str, slow: Floats, opposed: Floats, most: float) -> Question:
    alpha, samples, needed = look.share("slow_tail", sides=2), len(slow), look.policy.min_samples
    arms = side == "arms"
    streams = [Stream.of(slow, alpha / 2 if arms else alpha)]
    if arms:
        streams.append(Stream.of(opposed, alpha / 2))

    def answer(ends: Floats) -> Check:
        share, low, high = float(slow.mean()), float(ends[0, 0]), float(ends[0, 1])
        if arms:
            share, low, high = share - float(opposed.mean()), low - float(ends[1, 1]), high - float(ends[1, 0])
        return Check(
            name="slow_tail", side="arms" if arms else "pairs", limit=TAIL, samples=samples, needed=needed,
            state=state_of(share, low, TAIL, samples=samples, needed=needed), statistic=share, low=low, high=high,
            said=f"{percent(float(slow.mean()))} of {samples:,} requests take the challenger more than {number(most)} "
            f"times the champion's slowest ({number(look.frozen.slow_ms if look.frozen else None)} ms; interval "
            f"{percent(max(low, 0.0))} to {percent(high)}); at most {percent(TAIL)} is allowed",
        )  # fmt: skip

    return Question(streams, answer)
