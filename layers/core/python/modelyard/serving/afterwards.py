"""`Afterwards`: what is not needed for an answer and is done when the answer is out.

::

    request ─► Endpoint.handle ─► answer ─► the runtime posts it ─► queued work, then duties that are due
                    │ add(...)                                           (one worker thread)
                    └ invocation_done(context)

The rule: no request waits for what comes after another one, and nothing that fails there is seen by a caller. Work
waits in a bounded queue, the oldest is dropped first, and what was dropped or failed is an event line.

On Lambda an environment is frozen when the answer is out, in the middle of whatever its threads do. There
`modelyard.serving.extension` keeps it awake until the work is done, and has it flushed at SIGTERM. Elsewhere, and where
no extension may be registered (the local AWS), the worker begins a moment after the handler has returned.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

from modelyard.serving.audit import write_event, write_failure

QUEUE_LIMIT = 256
"""Most pieces of work that wait; one more drops the oldest."""

PAUSE_S = 0.002
"""Between the handler's return and the work, where nothing tells when the answer is out."""

TICK_S = 1.0
"""How often duties are looked at while no requests come, where nothing freezes the process."""

EXIT_S = 5.0
"""Longest wait for the last work when the interpreter ends in order."""

Work = Callable[[], object]


class Duty(Protocol):
    """Something to do again and again: write what was captured, look at the pointer."""

    def due(self) -> bool:
        """Whether there is something to do now. Asked after each answer, so it must cost next to nothing."""
        ...

    def run(self) -> object:
        """Do what is due."""
        ...

    def finish(self) -> object:
        """Do what must not be lost, due or not: the process ends, or is about to become a snapshot."""
        ...


class Extension(Protocol):
    """What keeps the environment awake: `modelyard.serving.extension.LambdaExtension`."""

    def invocation_done(self, context: object) -> None:
        """The handler returns; the answer is on its way."""
        ...

    def work_done(self) -> None:
        """The worker has nothing left to do."""
        ...


class Afterwards:
    """Work after the answer, done by one thread. Safe to use from several threads at once.

    `start` makes the one for a function's environment.

    Args:
        limit: Most pieces of work that wait.
        tick_s: How often duties are looked at without requests; None: only after answers.
    """

    __slots__ = (
        "_asked",
        "_closed",
        "_dropped",
        "_duties",
        "_extension",
        "_finish",
        "_finished",
        "_heard",
        "_lock",
        "_queue",
        "_thread",
        "_tick_s",
        "_wake",
    )

    def __init__(self, *, limit: int = QUEUE_LIMIT, tick_s: float | None = TICK_S) -> None:
        self._queue: deque[Work] = deque(maxlen=limit)
        self._dropped = 0
        self._duties: tuple[Duty, ...] = ()
        self._tick_s = tick_s
        self._lock = threading.Lock()  # never held by a request on Lambda, so a signal handler may take it
        self._wake = threading.Event()
        self._asked = self._heard = 0  # times that the worker was woken; that it had heard of when it last went idle
        self._finish = False
        self._closed = False
        self._finished = threading.Event()
        self._thread: threading.Thread | None = None
        self._extension: Extension | None = None

    @classmethod
    def start(cls, environ: Mapping[str, str]) -> "Afterwards":
        """The one for this environment. On Lambda it must be made during INIT: extensions register no later.

        Args:
            environ: ``AWS_LAMBDA_RUNTIME_API`` names Lambda's API, where there is one. With
                ``AWS_LAMBDA_MAX_CONCURRENCY`` (Lambda Managed Instances) nothing is frozen, and no extension is needed.
        """
        made = cls()
        if environ.get("AWS_LAMBDA_RUNTIME_API") and not environ.get("AWS_LAMBDA_MAX_CONCURRENCY"):
            from modelyard.serving.extension import LambdaExtension

            made._extension = LambdaExtension.register(environ["AWS_LAMBDA_RUNTIME_API"], made)
        if made._extension is None:
            import atexit

            atexit.register(made.flush, EXIT_S)
        else:
            made._tick_s = None
        return made

    @property
    def holds(self) -> bool:
        """Whether the environment stays awake for the work, as on Lambda: a duty has its turn after each answer only.

        Elsewhere duties are looked at every `TICK_S` as well.
        """
        return self._extension is not None

    def attend(self, duty: Duty, *, first: bool = False) -> None:
        """From now on, offer ``duty`` a turn after each answer, and at the end; before all others if ``first``."""
        self._duties = (duty, *self._duties) if first else (*self._duties, duty)
        if self._tick_s is not None:
            with self._lock:
                self._start_worker()

    def add(self, work: Work) -> None:
        """Do ``work`` once, when the answer is out."""
        queue = self._queue
        if len(queue) == queue.maxlen:
            self._dropped += 1
        queue.append(work)

    def invocation_done(self, context: object) -> None:
        """Say that the handler is about to return its answer. Call it last, in a ``finally``.

        Args:
            context: Lambda's context object, as the handler got it.
        """
        if self._extension is not None:
            self._extension.invocation_done(context)
        elif self.pending():
            self.wake()

    def pending(self) -> bool:
        """Whether there is something to do now."""
        if self._queue:
            return True
        try:
            return any(duty.due() for duty in self._duties)
        except Exception:  # noqa: BLE001 - the worker finds and reports it; here it would end the extension's thread
            return True

    @property
    def busy(self) -> bool:
        """Whether the worker is at work, or was told to be."""
        return self._asked != self._heard

    def wake(self) -> None:
        """Let the worker begin."""
        with self._lock:
            self._asked += 1
            self._start_worker()
        self._wake.set()

    def flush(self, within_s: float) -> bool:
        """Do everything that waits, and have every duty finish.

        Returns:
            Whether it was done in time; what is not done goes on.
        """
        if self._thread is None and not self._queue and not self._duties:
            return True
        self._finished.clear()
        self._finish = True
        self.wake()
        return self._finished.wait(within_s)

    def close(self, within_s: float) -> bool:
        """As `flush`, and end the worker; nothing may be added any more."""
        done = self.flush(within_s)
        self._closed = True
        self._wake.set()
        return done

    # -- the worker ---------------------------------------------------------------------------------------------------

    def _start_worker(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="afterwards", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while not self._closed:
            if self._wake.wait(self._tick_s):
                self._wake.clear()
                if self._extension is None and not self._finish:
                    time.sleep(PAUSE_S)
            asked = self._asked
            self._round()
            self._heard = asked
            if self._extension is not None:
                self._extension.work_done()

    def _round(self) -> None:
        finish, self._finish = self._finish, False
        while self._queue:
            self._do(self._queue.popleft())
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            write_event("afterwards_dropped", level="warning", dropped=dropped, limit=self._queue.maxlen)
        for duty in self._duties:
            if finish:
                self._do(duty.finish)
            elif self._do(duty.due):
                self._do(duty.run)
        if finish:
            self._finished.set()

    def _do(self, work: Work) -> object:
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - whatever fails here, the next piece of work has its turn
            write_failure("afterwards_failed", error)
            return None
