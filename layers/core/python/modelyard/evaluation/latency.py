"""How long one row takes: the median of warm calls with one instance each, as an endpoint gets them."""

from collections.abc import Callable
from statistics import median
from typing import Any

from modelyard.evaluation.rows import Predict

Clock = Callable[[], float]
"""Seconds, from any moment on."""

WARM = 5
"""Calls before the clock counts: the first ones allocate."""
CALLS = 100
FEWEST = 5
SECONDS = 3.0
"""When a model is slow, fewer calls say enough."""


def latency_ms(predict: Predict, instances: list[dict[str, Any]], *, clock: Clock) -> float:
    """Milliseconds for one row.

    Args:
        predict: The model.
        instances: Rows to ask for, one after another.
        clock: What tells the time.
    """
    for number in range(WARM):
        predict([instances[number % len(instances)]])
    took: list[float] = []
    began = clock()
    while len(took) < CALLS:
        asked = [instances[len(took) % len(instances)]]
        before = clock()
        predict(asked)
        after = clock()
        took.append(1_000 * (after - before))
        if len(took) >= FEWEST and after - began > SECONDS:
            break
    return median(took)
