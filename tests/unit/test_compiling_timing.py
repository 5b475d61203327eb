"""Whether a form is slower, asked on a busy machine: no good form is dropped, and no slow one gets through."""

import random
import time
from collections.abc import Callable

import pytest

from modelyard.compiling import timing

RUN_S = 1e-3


class Machine:
    """A clock that runs move forward; other processes make runs longer, never shorter.

    Args:
        busy: The share of runs that another process interrupts.
        stalls: The share of runs in which the clock stands still.
    """

    def __init__(self, *, busy: float = 0.0, stalls: float = 0.0) -> None:
        self.now = 0.0
        self.runs = 0
        self._busy = busy
        self._stalls = stalls
        self._random = random.Random(5)  # noqa: S311 - no secret

    def clock(self) -> float:
        return self.now

    def run(self, seconds: float) -> Callable[[], None]:
        def once() -> None:
            self.runs += 1
            if self._random.random() < self._stalls:
                return
            self.now += seconds
            if self._random.random() < self._busy:
                self.now += self._random.expovariate(1 / seconds)

        return once

    def slower(self, share: float, *, run_s: float = RUN_S) -> bool:
        """What is said of a form that takes this share longer."""
        sessions = self.run(run_s), self.run(run_s * (1 + share))
        return timing.compared(lambda: sessions, seconds=2.4, clock=self.clock, wall=self.clock)[1]


@pytest.mark.parametrize("share", [-0.3, 0.0, 0.04])
def test_a_form_as_fast_as_the_raw_file_is_kept(share: float) -> None:
    assert not Machine().slower(share)


@pytest.mark.parametrize("share", [0.06, 0.2, 3.0])
def test_a_slower_form_is_found(share: float) -> None:
    assert Machine().slower(share)


@pytest.mark.parametrize("busy", [0.2, 0.5, 0.9])
def test_other_processes_drop_no_form_and_let_no_slow_one_through(busy: float) -> None:
    machine = Machine(busy=busy)
    assert not machine.slower(0.0)
    assert machine.slower(0.1)


def test_a_clock_that_stands_still_now_and_then_drops_no_form_and_lets_no_slow_one_through() -> None:
    assert not Machine(stalls=0.2).slower(0.0)
    assert Machine(stalls=0.2).slower(0.1)


def test_one_operation_more_behind_a_small_forest_is_allowed_and_more_than_that_is_not() -> None:
    assert not Machine().slower(0.15, run_s=7e-6)
    assert Machine().slower(0.5, run_s=7e-6)


def in_turn(machine: Machine, times: list[tuple[float, float]]) -> Callable[[], tuple[timing.Run, timing.Run]]:
    """What makes sessions that take these times, as shares of a run."""
    left = list(times)

    def sessions() -> tuple[timing.Run, timing.Run]:
        raw, form = left.pop(0)
        return machine.run(raw * RUN_S), machine.run(form * RUN_S)

    return sessions


@pytest.mark.parametrize("bad", [0, 1, 5])
def test_a_session_that_was_unlucky_gets_another_chance(bad: int) -> None:
    machine = Machine()
    sessions = in_turn(machine, [(1.0, 1.2)] * bad + [(1.0, 1.0)])
    least, slower = timing.compared(sessions, seconds=2.4, clock=machine.clock, wall=machine.clock)
    assert not slower
    assert least == (pytest.approx(RUN_S), pytest.approx(RUN_S))


def test_an_unlucky_session_of_the_raw_file_lets_no_slow_form_through() -> None:
    machine = Machine()
    sessions = in_turn(machine, [(1.0, 1.2), (1.2, 1.2), (1.3, 1.2), *[(1.2, 1.2)] * 3])
    least, slower = timing.compared(sessions, seconds=2.4, clock=machine.clock, wall=machine.clock)
    assert slower
    assert least == (pytest.approx(RUN_S), pytest.approx(1.2 * RUN_S))


def test_a_short_run_is_measured_over_many() -> None:
    machine = Machine()
    assert not machine.slower(0.0, run_s=10e-6)
    assert machine.runs == 3 + 2 * 21 * 30


def test_runs_that_take_long_are_few() -> None:
    machine = Machine()
    assert machine.slower(0.5, run_s=10.0)
    assert machine.now < 120, "one attempt, three rounds"


def test_waiting_for_a_processor_does_not_count() -> None:
    """A sleep is what another process on the same processor looks like."""

    def worked(loops: int, waits: float = 0.0) -> timing.Run:
        def once() -> None:
            time.sleep(waits)
            sum(range(loops))

        return once

    waiting = worked(200_000), worked(200_000, waits=0.002)
    assert not timing.compared(lambda: waiting, seconds=0.4)[1]
    working = worked(200_000), worked(400_000)
    assert timing.compared(lambda: working, seconds=0.4)[1]
