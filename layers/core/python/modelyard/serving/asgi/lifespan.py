"""`Lifespan`: an app's startup and shutdown, once per process, by the ASGI lifespan protocol.

The rule: an app that says its startup failed does not start, and one that knows no lifespan does all the same
(https://asgi.readthedocs.io/en/latest/specs/lifespan.html). Mangum would run both around every event.
"""

import asyncio
import threading
from concurrent.futures import Future
from typing import Any

from mangum.types import ASGI, Message

from modelyard.errors import ModelError
from modelyard.serving.asgi.loop import AppLoop
from modelyard.serving.audit import write_event

_FAILED = ("lifespan.startup.failed", "lifespan.shutdown.failed")


class Lifespan:
    """The lifespan of one app.

    Attributes:
        state: What the app's startup has put there; each request gets a copy.
    """

    __slots__ = ("_app", "_begun", "_ended", "_loop", "_said", "_shutdown", "state")

    def __init__(self, app: ASGI, loop: AppLoop) -> None:
        self._app = app
        self._loop = loop
        self._begun: Future[None] = Future()
        self._ended = threading.Event()
        self._said: str | None = None  # why the app says that it failed
        self._shutdown: asyncio.Event | None = None
        self.state: dict[str, Any] = {}

    def start(self) -> None:
        """Run the app's startup and wait for it.

        Raises:
            ModelError: When it fails (code ``app_startup_failed``).
        """
        self._loop.submit(self._serve())
        self._begun.result()

    def stop(self, within_s: float) -> bool:
        """Run the app's shutdown; whether it was done in time. For the second time there is nothing to do."""
        shutdown = self._shutdown
        if shutdown is None:
            return True
        self._loop.call(shutdown.set)
        return self._ended.wait(within_s)

    async def _serve(self) -> None:
        shutdown = asyncio.Event()
        messages = iter(("lifespan.startup", "lifespan.shutdown"))

        async def receive() -> Message:
            kind = next(messages, None)
            if kind != "lifespan.startup":
                await shutdown.wait()
            if kind is None:
                raise RuntimeError("there is no message after lifespan.shutdown")
            return {"type": kind}

        async def send(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete" and not self._begun.done():
                self._shutdown = shutdown
                self._begun.set_result(None)
            elif message["type"] in _FAILED:
                self._said = str(message.get("message") or "it gives no reason")

        raised: BaseException | None = None
        try:
            scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
            await self._app(scope, receive, send)
        except BaseException as error:  # noqa: BLE001 - told below; SystemExit would end the loop
            raised = error
        self._over(raised)

    def _over(self, raised: BaseException | None) -> None:
        """The app's call has ended: after its shutdown, because it failed, or because it knows no lifespan."""
        self._shutdown = None
        self._ended.set()
        said = f"{type(raised).__name__}: {raised}" if raised is not None else (self._said or "").strip()
        if self._begun.done():
            if self._said is not None or raised is not None:
                write_event("app_shutdown_failed", level="error", message=said)
        elif self._said is None:
            self._begun.set_result(None)
        else:
            failure = ModelError(
                f"the startup of the model's app failed: {said}",
                code="app_startup_failed",
                next_step="Correct the app's lifespan and deploy it.",
            )
            failure.__cause__ = raised
            self._begun.set_exception(failure)
