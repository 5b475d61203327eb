"""What the challenger adds to the memory of a process after its first requests.

This is measured and not sampled: a process that never grows beyond the limit is never said to have done so. Its
interval goes from the least of the last 20 requests less the most of the first 20 to the opposite.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from modelyard.evaluation.words import number
from modelyard.metrics import Floats
from modelyard.rollout.checks.look import Look
from modelyard.rollout.judging import Check, Question, state_of

WARM, WINDOW = 20, 20
"""Requests of a process before its memory counts, and those whose least and most stand for its memory at a time."""


@dataclass(frozen=True, slots=True)
class Grown:
    """What the challenger added to one process's memory.

    Attributes:
        process: The process.
        samples: Requests of it with a memory.
        least: Grown by at least this, in MB: the least of the last requests less the most of the first.
        most: Grown by at most this.
        late: What the second half added, of what was added in all, as a share.
        jump: The largest single step, as a share of all growth.
    """

    process: str
    samples: int
    least: float
    most: float
    late: float
    jump: float


def growth(look: Look) -> Grown | None:
    """The process that has grown most; None where no process has enough requests."""
    found = []
    for table in (look.observations.pairs, look.observations.challenger_arm):
        by_process: dict[str, list[float]] = {}
        for request in table.requests:
            if request.process and math.isfinite(request.memory_mb):
                by_process.setdefault(request.process, []).append(request.memory_mb)
        for process, values in by_process.items():
            held = np.array(values[WARM:])
            if len(held) < 2 * WINDOW:
                continue
            first, last = held[:WINDOW], held[-WINDOW:]
            least, most = float(last.min() - first.max()), float(last.max() - first.min())
            middle = float(np.median(held[len(held) // 2 - WINDOW // 2 : len(held) // 2 + WINDOW // 2]))
            steps = np.diff(held)
            whole = max(most, 1e-9)
            late = float(np.median(last) - middle) / whole
            found.append(Grown(process, len(held), least, most, late, float(steps.max()) / whole))
    return max(found, key=lambda one: one.least, default=None)


def memory(look: Look) -> Iterator[Question]:
    """What the challenger adds to a process after its first requests. It is measured and not sampled."""
    limit = look.policy.max_memory_growth_mb
    grown = growth(look) if limit is not None else None
    if limit is None or grown is None:
        return
    still = grown.least > limit / 4 and grown.late > 1 / 4

    def answer(_: Floats) -> Check:
        middle = (grown.least + grown.most) / 2
        return Check(
            name="memory", limit=limit, samples=grown.samples, needed=2 * WINDOW,
            state=state_of(middle, grown.least, limit, samples=grown.samples, needed=2 * WINDOW, fine=not still),
            statistic=middle, low=grown.least, high=grown.most,
            said=f"the challenger added {number(middle)} MB to one process in {grown.samples:,} requests (between "
            f"{number(grown.least)} and {number(grown.most)})" + (", and is still growing" if still else "")
            + f"; at most {number(limit)} MB is allowed",
        )  # fmt: skip

    yield Question([], answer)
