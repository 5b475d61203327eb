"""Is a concurrent history one that a sequential object could have given?

A history is linearizable when its calls can be put in one order that keeps every "was answered before the other began"
and in which a sequential model gives every answer that was given (Herlihy, Wing: Linearizability, ACM TOPLAS 12(3),
1990). The search is that of Wing and Gong (Testing and Verifying Concurrent Objects, J. Parallel Distrib. Comput. 17,
1993): try each call that no other remaining one precedes, and go back when that leads nowhere; with the memory of
places already tried that Lowe adds (Testing for linearizability, Concurrency Computat. 29(4), 2017). Objects are
checked one by one, since linearizability is local.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

S = TypeVar("S", bound=Hashable)


@dataclass(frozen=True)
class Call:
    """One call of a history. Times are positions in the history.

    Args:
        client: Who called.
        verb: What.
        arguments: With what.
        invoked: When it began.
        answered: When its answer came; infinity when none came, and then it took effect at some time after it began,
            or never.
        answer: The answer; None when none came.
        known: What the verb's check may want to know about the moment when it began.
    """

    client: str
    verb: str
    arguments: dict[str, Any]
    invoked: float
    answered: float = math.inf
    answer: Any = None
    known: Any = None

    def __str__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"[{self.invoked:g}, {self.answered:g}] {self.client}: {self.verb}({given}) -> {self.answer}"


class NotLinearizableError(AssertionError):
    """There is no such order."""


@dataclass
class _Place(Generic[S]):
    state: S
    done: int  # a bit for each call
    first: int  # no call before this one remains


def linearize(calls: Sequence[Call], start: S, step: Callable[[S, Call], S | None]) -> S:
    """The state at the end of an order in which ``step`` accepts every call that was answered.

    Args:
        calls: The history, in any order.
        start: The state before it.
        step: The state after a call, or None when its answer is not possible there. A call that leaves the state as it
            is may be put as early as it is possible, so such calls are never tried twice.

    Raises:
        NotLinearizableError: When there is none; it shows where the longest try ended.
    """
    history = sorted(calls, key=lambda call: call.invoked)
    answered = sum(1 << place for place, call in enumerate(history) if call.answered < math.inf)
    tried: set[tuple[int, S]] = set()
    open_places = [_Place(start, 0, 0)]
    furthest = open_places[0]
    while open_places:
        here = open_places.pop()
        if here.done & answered == answered:
            return here.state
        if (here.done, here.state) in tried:
            continue
        tried.add((here.done, here.state))
        if here.done.bit_count() > furthest.done.bit_count():
            furthest = here
        found = []
        for place in _minimal(history, here):
            after = step(here.state, history[place])
            if after is not None:
                found.append(_Place(after, here.done | 1 << place, here.first))
            if after is here.state:
                found = found[-1:]
                break
        open_places += found
    stuck = "\n".join(f"  {history[place]}" for place in _minimal(history, furthest))
    raise NotLinearizableError(f"no order of these calls gives their answers, after {furthest.state}:\n{stuck}")


def _minimal(history: Sequence[Call], here: _Place[Any]) -> list[int]:
    """The remaining calls that no remaining one precedes; also moves ``here.first`` on."""
    while here.first < len(history) and here.done >> here.first & 1:
        here.first += 1
    found: list[int] = []
    horizon = math.inf
    for place in range(here.first, len(history)):
        if here.done >> place & 1:
            continue
        call = history[place]
        if call.invoked > horizon:
            break
        found.append(place)
        horizon = min(horizon, call.answered)
    return found
