"""What ends runs that take too long, on a machine that stands still now and then."""

import threading
import time
from types import SimpleNamespace

import pytest

from modelyard.serving import watchdog as module
from modelyard.serving.watchdog import STOOD_STILL_S, Watchdog

SOON_S = 10.0


class Stop:
    def __init__(self) -> None:
        self.ended = threading.Event()

    def end(self) -> None:
        self.ended.set()


def test_a_run_that_takes_too_long_is_ended() -> None:
    watchdog, stop = Watchdog(), Stop()
    watchdog.start(stop, 0.1)
    assert stop.ended.wait(SOON_S)
    assert watchdog.done(stop)


def test_a_run_that_ends_in_time_is_not() -> None:
    watchdog, stop = Watchdog(), Stop()
    watchdog.start(stop, SOON_S)
    assert not watchdog.done(stop)
    assert not stop.ended.is_set()


def test_a_look_that_comes_late_ends_nothing_and_the_next_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    late, second_look, may_go_on = iter([2 * STOOD_STILL_S]), threading.Event(), threading.Event()

    def sleep(seconds: float) -> None:
        first = next(late, None)
        if first is None and not second_look.is_set():
            second_look.set()
            may_go_on.wait(SOON_S)
        time.sleep(seconds if first is None else first)

    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=sleep, monotonic=time.monotonic))
    watchdog, stop = Watchdog(), Stop()
    watchdog.start(stop, STOOD_STILL_S / 2)
    assert second_look.wait(SOON_S)
    assert not stop.ended.is_set()
    may_go_on.set()
    assert stop.ended.wait(SOON_S)
