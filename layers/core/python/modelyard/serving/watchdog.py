"""`Watchdog`: ends runs of a version on trial that take too long; `Bounded` is an engine whose runs it watches.

One thread looks every 50 ms while there are runs, and sleeps while there are none. So a run costs two entries in a
dictionary and no thread of its own. See `modelyard.predictor.stopping` for how a run ends.
"""

import threading
import time
from collections.abc import Sequence
from typing import Any

from modelyard.errors import ModelError
from modelyard.predictor.predictor import Engine

LOOK_S = 0.05
"""How often running engines are looked at, and so by how much a run may be longer than it may."""

STOOD_STILL_S = 0.2
"""A look that comes so late says nothing about how long the runs took."""

RUN_TIMEOUT = "run_timeout"
"""Code of a run that was ended."""

QUIET_LOOKS = 20
"""After so many looks at nothing the thread sleeps until the next run."""


class Watchdog:
    """Ends what takes too long. Safe to use from several threads at once."""

    __slots__ = ("_awake", "_lock", "_running", "_thread", "_wake")

    def __init__(self) -> None:
        self._lock = threading.Lock()  # held while the thread is made
        self._awake = False
        self._running: dict[Any, float] = {}
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, stop: Any, within_s: float) -> None:
        """From now on, end ``stop`` after so many seconds."""
        self._running[stop] = time.monotonic() + within_s
        if not self._awake:
            self._rouse()

    def done(self, stop: Any) -> bool:
        """The run is over; whether it was ended."""
        # Each operation of the dictionary is whole by itself, and whoever takes the entry out decides: no lock needed.
        return self._running.pop(stop, None) is None

    def _rouse(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
                self._thread.start()
        self._awake = True
        self._wake.set()

    def _watch(self) -> None:
        quiet, stood_still = 0, False
        while True:
            self._wake.wait()
            began = time.monotonic()
            time.sleep(LOOK_S)
            now = time.monotonic()
            if now - began > STOOD_STILL_S and not stood_still:
                stood_still = True  # the process did, or the machine: whatever runs has the next look to end by itself
                continue
            stood_still = False
            for stop, ends in list(self._running.items()):
                if ends <= now and self._running.pop(stop, None) is not None:
                    stop.end()
            quiet = 0 if self._running else quiet + 1
            if quiet > QUIET_LOOKS:
                self._wake.clear()
                self._awake = False
                if self._running:  # a run that began just before, and saw the thread awake
                    self._rouse()


class Bounded:
    """An engine of which no run takes longer than it may; for `modelyard.predictor.predictor.Predictor.bound`.

    Args:
        engine: The engine.
        watchdog: Ends its runs.
        limit_s: Longest run. It may be changed.
    """

    __slots__ = ("_engine", "_stops", "_watchdog", "limit_s")

    def __init__(self, engine: Engine, watchdog: Watchdog, limit_s: float) -> None:
        self._engine = engine
        self._watchdog = watchdog
        self._stops: list[Any] = []  # that ended nothing, to be used again
        self.limit_s = limit_s

    def limit(self) -> float:
        """Longest run, of one that begins now."""
        return self.limit_s

    def __call__(self, arrays: Sequence[Any]) -> tuple[list[Any], float]:
        """Run the engine once; what came out, and the engine's seconds.

        Raises:
            ModelError: When the model raises, or (code ``run_timeout``) takes too long.
        """
        try:
            stop = self._stops.pop()
        except IndexError:
            stop = self._engine.stop()
        limit_s = self.limit()
        self._watchdog.start(stop, limit_s)
        ended = True
        try:
            began = time.perf_counter()
            outputs = self._engine.run(arrays, stop)
            took = time.perf_counter() - began
        except ModelError as error:
            ended = self._watchdog.done(stop)
            if not ended:
                raise
            raise ModelError(
                f"the model did not end within {limit_s:g} s and was ended",
                code=RUN_TIMEOUT,
                status=504,
                next_step="Send fewer instances at once; endpoint.timeout_s in model.toml is how long it may take.",
            ) from error
        else:
            ended = self._watchdog.done(stop)
            return outputs, took
        finally:
            if not ended:
                self._stops.append(stop)
