"""`LambdaExtension`: keeps a Lambda environment awake until the work after the answer is done.

The rule: the environment is held no longer than the work takes and never until the function's timeout, and a Lambda
without extensions (the local AWS) costs one refused call. It is an *internal* extension: a thread of the function's own
process that registers for INVOKE. Lambda freezes an environment when the runtime and every extension have asked for
their next event; the caller has the answer long before, as soon as the runtime has posted it
(https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html).

When is the answer out? Nothing says so to the process. But the runtime client holds the context object of an invocation
until it has posted the answer, and lets go of it then: the end of the context is that moment. A context that lives on
(somebody keeps it) is given up after `LET_GO_S`.

At SIGTERM an internal extension has 500 ms and gets no event. Python runs signal handlers on the main thread alone,
which sits in the runtime client's C code (Python 3.11), so the signal's byte is what wakes the thread here.
"""

import os
import select
import signal
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from modelyard.plain_http import Answer, Connection
from modelyard.serving.audit import write_event

NAME = "modelyard"
PATH = "/2020-01-01/extension"
REGISTER_S = 1.0
"""Longest wait for the registration; it answers within a millisecond or not at all."""

MARGIN_S = 0.5
"""How long before the function's timeout the environment is let go, done or not: a timeout would end it."""

LET_GO_S = 0.1
"""How long after the handler's return an answer counts as sent although the context lives on."""

LOOK_S = 0.05
"""How often that is looked at."""

FLUSH_S = 0.4
"""For what waits at SIGTERM; Lambda ends the process 0.5 s after it."""

ATTEMPTS = 3

_DONE, _WORKED = b"\0", b"\1"  # bytes in the pipe, beside the numbers of signals
_TERM = int(signal.SIGTERM)


class Working(Protocol):
    """What there is to do: `modelyard.serving.afterwards.Afterwards`."""

    @property
    def busy(self) -> bool:
        """Whether work is under way."""
        ...

    def pending(self) -> bool:
        """Whether there is something to do now."""
        ...

    def wake(self) -> None:
        """Begin."""
        ...

    def flush(self, within_s: float) -> bool:
        """Do all of it."""
        ...


class LambdaExtension:
    """The thread that holds the environment.

    Args:
        connection: To the Extensions API.
        identifier: What the registration answered.
        work: What there is to do after the answer.
    """

    __slots__ = (
        "_answered_id",
        "_connection",
        "_context",
        "_current_id",
        "_ending",
        "_identifier",
        "_previous",
        "_reader",
        "_returned",
        "_work",
        "_writer",
    )

    def __init__(self, connection: Connection, identifier: str, work: Working) -> None:
        self._connection = connection
        self._identifier = identifier
        self._work = work
        self._current_id: object = None  # whose handler has returned last
        self._returned = 0.0  # and when, by time.monotonic
        self._answered_id: object = None  # whose answer is out
        self._context: object = None  # a weak reference, kept so that its callback is called
        self._previous: Any = signal.SIG_DFL
        self._ending = False
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)

    @classmethod
    def register(cls, address: str, work: Working) -> "LambdaExtension | None":
        """Register and start the thread; ``None`` where that is refused or nobody answers. For INIT, main thread.

        Args:
            address: ``AWS_LAMBDA_RUNTIME_API``.
            work: What there is to do after the answer.
        """
        try:
            connection = Connection(address, timeout_s=REGISTER_S)
            answer = connection.call(
                "POST", f"{PATH}/register", {"Lambda-Extension-Name": NAME}, b'{"events": ["INVOKE"]}'
            )
        except (OSError, ValueError):
            return None
        identifier = answer.headers.get("lambda-extension-identifier")
        if answer.status != 200 or not identifier:
            connection.close()
            return None
        extension = cls(connection, identifier, work)
        extension._watch_for_the_end()
        threading.Thread(target=extension._serve, name="extension", daemon=True).start()
        return extension

    # -- what the other threads say -----------------------------------------------------------------------------------

    def invocation_done(self, context: object) -> None:
        """The handler returns; called on its thread, so it costs a microsecond and no more."""
        self._returned = time.monotonic()
        self._current_id = getattr(context, "aws_request_id", None)
        try:
            self._context = weakref.ref(context, self._let_go)
        except TypeError:  # no context, or one that cannot be watched
            self._let_go(None)

    def work_done(self) -> None:
        """The worker has nothing left to do."""
        self._say(_WORKED)

    def _let_go(self, _: object) -> None:
        self._answered_id = self._current_id
        self._say(_DONE)

    def _say(self, byte: bytes) -> None:
        try:
            os.write(self._writer, byte)
        except BlockingIOError:  # full: there is more than enough to wake up for
            return

    # -- the thread ---------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        failures = 0
        while failures < ATTEMPTS:
            try:
                event = self._next()
                if event.get("eventType") == "INVOKE":
                    self._hold(event)
                failures = 0
            except Exception as error:  # noqa: BLE001 - a thread that ended here would hold every invocation
                failures += 1
                write_event("extension_call_failed", level="warning", message=str(error)[:300])
                time.sleep(0.05)
        self._give_up()

    def _next(self) -> dict[str, Any]:
        """Ask for the next event, which ends this invocation, and wait for it; the process may be frozen meanwhile."""
        self._connection.send("GET", f"{PATH}/event/next", {"Lambda-Extension-Identifier": self._identifier})
        self._wait(lambda: False, until=None, connection=self._connection.fileno())
        answer: Answer = self._connection.read()
        if answer.status != 200:
            raise OSError(f"the Extensions API answered {answer.status}: {answer.body[:200]!r}")
        event = msgspec.json.decode(answer.body)
        return event if isinstance(event, dict) else {}

    def _hold(self, event: dict[str, Any]) -> None:
        """Return when the answer is out and the work is done, or when there is no time left."""
        request_id = event.get("requestId")
        left_s = float(event.get("deadlineMs") or 0) / 1000 - time.time()
        until = time.monotonic() + max(0.0, left_s - min(MARGIN_S, left_s / 4))

        def answered() -> bool:
            return self._answered_id == request_id or (
                self._current_id == request_id and time.monotonic() - self._returned >= LET_GO_S
            )

        self._wait(answered, until=until, every=LOOK_S)
        if self._work.pending() or self._work.busy:
            self._work.wake()
            self._wait(lambda: not self._work.busy, until=until)

    def _wait(
        self, enough: Callable[[], bool], *, until: float | None, every: float | None = None, connection: int = -1
    ) -> None:
        """Wait until ``enough``, asked now, whenever something is said, and ``every`` so many seconds.

        Args:
            enough: Whether to go on.
            until: The time to go on at the latest, by `time.monotonic`.
            every: Ask again after so many seconds.
            connection: A descriptor with which to go on when it has something to read.
        """
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        if connection >= 0:
            poll.register(connection, select.POLLIN)
        while not enough():
            timeout_s = every
            if until is not None:
                left_s = until - time.monotonic()
                if left_s <= 0:
                    return
                timeout_s = left_s if every is None else min(every, left_s)
            ready = {descriptor for descriptor, _ in poll.poll(None if timeout_s is None else timeout_s * 1000)}
            if self._reader in ready and _TERM in os.read(self._reader, 4096):
                self._work.flush(FLUSH_S)
            if connection in ready:
                return

    def _give_up(self) -> None:
        """An extension that is silent would hold every invocation until its timeout: Lambda must be told."""
        write_event("extension_lost", level="error", message=f"{ATTEMPTS} calls of the Extensions API failed")
        headers = {
            "Lambda-Extension-Identifier": self._identifier,
            "Lambda-Extension-Function-Error-Type": "Extension.Lost",
        }
        try:
            self._connection.call("POST", f"{PATH}/exit/error", headers, b"{}")
        except OSError:
            return
        finally:
            self._connection.close()

    # -- the end ------------------------------------------------------------------------------------------------------

    def _watch_for_the_end(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # Python allows signal handlers there alone
        self._previous = signal.signal(signal.SIGTERM, self._end)
        taken = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        if taken != -1:  # somebody else's; the handler below is then the only one to say it
            signal.set_wakeup_fd(taken, warn_on_full_buffer=False)

    def _end(self, number: int, frame: Any) -> None:
        """The signal handler, for when the main thread runs Python: what waits is done first."""
        if self._ending:  # a second signal, while the first waits
            return
        self._ending = True
        self._work.flush(FLUSH_S)
        if callable(self._previous):
            self._previous(number, frame)
        elif self._previous == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
