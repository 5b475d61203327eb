"""Why a challenger is slow, and how its memory grows."""

from collections.abc import Set as AbstractSet

import numpy as np

from modelyard.evaluation.words import number
from modelyard.rollout.checks.look import Look
from modelyard.rollout.checks.memory import growth
from modelyard.rollout.judging import percent

JUMP = 0.3
"""A single step of so much of all growth is no leak of a little each time."""
SLOWING = 1.5
FEWEST = 30


def why_it_grows(look: Look) -> tuple[str, str]:
    """A leak, or a few large steps."""
    grown = growth(look)
    if grown is None:
        return "memory_leak", "the challenger's memory grows"
    often = f"the challenger added at least {number(grown.least)} MB to one process in {grown.samples:,} requests"
    if grown.jump >= JUMP:
        return "memory_jump", f"{often}, {percent(min(1.0, grown.jump))} of it in one step"
    return "memory_leak", f"{often}, {number(grown.least / grown.samples)} MB each"


def why_it_is_slow(look: Look, names: AbstractSet[str]) -> tuple[str, str]:
    """Slower and slower, always, or for a part of the requests."""
    left, right = look.observations.pairs.milliseconds()
    there = np.isfinite(left) & np.isfinite(right)
    left, right = left[there], right[there]
    if not len(right):
        left = look.observations.champion_arm.milliseconds()[0]
        right = look.observations.challenger_arm.milliseconds()[1]
        left, right = left[np.isfinite(left)], right[np.isfinite(right)]
    said = (
        f"the challenger takes {number(float(np.median(right)))} ms, the champion {number(float(np.median(left)))} ms"
    )
    third = len(right) // 3
    if third >= FEWEST:
        first, last = float(np.median(right[:third])), float(np.median(right[-third:]))
        if last > SLOWING * first:
            return "slowing", f"{said}; it began with {number(first)} ms and takes {number(last)} ms now"
    most = look.policy.max_latency_ratio
    if "latency" in names or (most is not None and float(np.median(right)) > most * float(np.median(left))):
        return "slow", said  # not surely yet, where only the slowest are beyond; but it is the likelier of the two
    least = float(np.quantile(right, 0.95))
    return "slow_sometimes", f"{said} at the median, but one request in twenty takes it more than {number(least)} ms"
