"""Trying again: how long, and how far apart.

Used where losing a race is normal and the work is worth repeating: a version number that another writer took, a
transaction that met another. There is a deadline and no count, because under many writers the number of lost races
says how busy it is, not that something is wrong.
"""

import random
import time
from collections.abc import Callable, Iterator

FIRST_PAUSE_S = 0.01
LONGEST_PAUSE_S = 0.5


def attempts(
    deadline_s: float,
    *,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> Iterator[int]:
    """Count attempts until ``deadline_s`` has passed, with a growing, random pause before each but the first.

    The pause is uniform between zero and a ceiling that doubles ("full jitter"): writers that collided once spread out.
    There are always at least two attempts.
    """
    end = monotonic() + deadline_s
    ceiling = FIRST_PAUSE_S
    attempt = 0
    while attempt < 2 or monotonic() < end:
        if attempt:
            sleep(random.uniform(0, ceiling))  # noqa: S311 - spreads retries, protects nothing
            ceiling = min(LONGEST_PAUSE_S, 2 * ceiling)
        yield attempt
        attempt += 1
