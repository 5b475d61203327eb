"""Is a form as fast as the raw file? Asked on a machine that others use too.

    new sessions ──► raw, form, raw, form ... ──► the least time of each ──► slower? ──► again, up to 6 times

What is counted is the processor's time of the thread that runs, so that waiting for a processor does not count. Another
process can still make a run longer, never shorter: the two models take turns, and the least of many runs is what each
takes.
Where the form seems slower, both get new sessions and more turns, and the times are pooled: how its memory happens to
lie can cost a session a few hundredths for as long as it lives. A form that is truly slower stays so.
"""

import time
from collections.abc import Callable

SHARE, LEAST_S = 0.05, 2e-6
"""How much longer a run may seem to take: this share, or this time. Forms are made to stay within 2 %, and an operation
behind a forest takes 0.5 us of one row; the rest is what others do to the caches."""

ATTEMPTS = 6

_ROUNDS, _LEAST_ROUNDS = 21, 3
_SHORTEST_S = 300e-6
"""What is shorter is repeated until it takes that long: the clock and the call then weigh nothing."""

Run = Callable[[], object]
Pair = tuple[float, float]
Clock = Callable[[], float]


def compared(
    sessions: Callable[[], tuple[Run, Run]],
    *,
    seconds: float,
    clock: Clock = time.thread_time,
    wall: Clock = time.monotonic,
) -> tuple[Pair, bool]:
    """The least seconds of a run of the raw file and of the form, and whether the form is slower.

    Args:
        sessions: Makes a session of each; what it gives runs them on the same input.
        seconds: For all attempts. An attempt has a few rounds, however long they take.
        clock: Seconds of the thread; the sessions have to run in it and in no other.
        wall: Seconds that pass.
    """
    until = wall() + seconds
    least = (float("inf"), float("inf"))
    for _ in range(ATTEMPTS):
        raw, form = _least(*sessions(), seconds=seconds / ATTEMPTS, clock=clock, wall=wall)
        least = min(least[0], raw), min(least[1], form)
        if least[1] - least[0] <= max(SHARE * least[0], LEAST_S):
            return least, False
        if wall() > until:
            break
    return least, True


def _least(raw: Run, form: Run, *, seconds: float, clock: Clock, wall: Clock) -> Pair:
    raw(), form()  # the first run of a session allocates its memory
    began = clock()
    raw()
    repeat = max(1, min(200, round(_SHORTEST_S / max(clock() - began, 1e-9))))
    until = wall() + seconds
    times: dict[Run, list[float]] = {raw: [], form: []}
    for number in range(_ROUNDS):
        if number >= _LEAST_ROUNDS and wall() > until:
            break
        for run in (raw, form):
            began = clock()
            for _ in range(repeat):
                run()
            took = (clock() - began) / repeat
            if took > 0:  # the clock of a virtual machine stands still now and then
                times[run].append(took)
    return min(times[raw], default=0.0), min(times[form], default=0.0)
