"""`AppLoop`: the event loop of an app, one for the life of the process, on a thread of its own.

Between two events Lambda has the process's main thread. On a thread of its own the loop goes on: what the app holds on
to (connections, locks, tasks) stays valid from one event to the next, and work after an answer runs while the
environment is awake.
"""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from modelyard.serving.audit import write_event

Result = TypeVar("Result")


class AppLoop:
    """A running event loop; it ends with the process."""

    __slots__ = ("_loop", "_running")

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._running: set[Future[Any]] = set()  # a loop itself keeps no task alive
        threading.Thread(target=self._run, name="app", daemon=True).start()

    def submit(self, coroutine: Coroutine[Any, Any, Result]) -> "Future[Result]":
        """Run a coroutine as a task of the loop; safe to call from any other thread."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        return future

    def call(self, callback: Any, *arguments: Any) -> None:
        """Call something on the loop's thread, soon."""
        self._loop.call_soon_threadsafe(callback, *arguments)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        while True:
            try:
                self._loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as error:  # out of a task of the app's own; these two end a loop
                write_event("app_loop_interrupted", level="error", message=f"{type(error).__name__}: {error}")
