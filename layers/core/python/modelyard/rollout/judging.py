"""A check, and how it is asked: streams of bounded values in, a `Check` with its sentence out.

The rule: what may go wrong over the whole rollout (``1 - confidence``) is divided among the checks before anything is
seen (`SHARES`), half of it to the whole and half to the slices, and there among all slices alike (Bonferroni). So all
intervals hold together, and the reasons of one verdict may be believed together; an average of the capitals would be
a little more powerful and could not say which check it was. All streams of a look are solved at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from modelyard.evaluation.words import number
from modelyard.metrics import Floats
from modelyard.rollout.sequential import Stream, mean_intervals

Name = Literal[
    "errors", "agreement", "classes", "shift", "score_shift", "latency", "slow_tail", "memory", "quality", "stability"
]
State = Literal["within", "unclear", "beyond", "waiting", "off"]
Sides = Literal["all", "pairs", "arms"]

SHARES: Final[dict[Name, float]] = {
    "errors": 0.2, "agreement": 0.2, "classes": 0.05, "quality": 0.2, "shift": 0.1, "score_shift": 0.1, "latency": 0.05,
    "slow_tail": 0.05, "stability": 0.05, "memory": 0.0,
}  # fmt: skip
"""What each check may use of all that may go wrong. Memory needs none: it is measured and not sampled."""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at.

    Attributes:
        name: What.
        state: ``beyond``: surely beyond the limit, it aborts. ``within``: enough samples, and as it should be.
            ``unclear``: enough samples; beyond the limit as measured, or too near to it, and not surely. ``waiting``:
            too few samples. ``off``: not asked for, or nothing there to look at.
        side: ``pairs`` (both versions answered), ``arms`` (each answered its share), or ``all``.
        column: Of a slice; None for the whole.
        value: The slice's value.
        statistic: As measured; None where there is nothing.
        low: The lower end of its interval, which holds at all looks together.
        high: The upper end; None where it is infinite.
        limit: What the policy allows.
        samples: Requests that it rests on; for stability repeated rows.
        needed: How many it asks for before it says that all is well.
        said: One sentence with the numbers.
        overruled: Beyond its limit, but by labels the challenger is surely better.
    """

    name: Name
    state: State
    side: Sides = "all"
    column: str | None = None
    value: str | None = None
    statistic: float | None = None
    low: float | None = None
    high: float | None = None
    limit: float | None = None
    samples: int = 0
    needed: int = 0
    said: str = ""
    overruled: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """Streams, and what is to be said once their intervals are known, one line each."""

    streams: Sequence[Stream]
    answer: Callable[[Floats], Check]


def ask(questions: Sequence[Question]) -> list[Check]:
    """Answer all questions of a look together."""
    ends = mean_intervals([stream for question in questions for stream in question.streams])
    checks, start = [], 0
    for question in questions:
        stop = start + len(question.streams)
        checks.append(question.answer(ends[start:stop]))
        start = stop
    return checks


def state_of(statistic: float, low: float, limit: float, *, samples: int, needed: int, fine: bool = True) -> State:
    """The state of a check whose statistic is the better the smaller it is.

    Args:
        statistic: As measured.
        low: The lower end of its interval.
        limit: What is allowed.
        samples: How many it rests on.
        needed: How many it asks for.
        fine: What else must hold for ``within``.
    """
    if low > limit:
        return "beyond"
    if samples < needed:
        return "waiting"
    return "within" if statistic <= limit and fine else "unclear"


def percent(share: float) -> str:
    """A share as a percentage with three significant digits."""
    return f"{number(round(100 * share, 4))} %"


def where(column: str | None, value: str | None) -> str:
    """`` where wind = high`` for a slice, nothing for the whole."""
    return "" if column is None else f" where {column} = {value}"
