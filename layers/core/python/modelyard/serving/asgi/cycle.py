"""`Cycle`: one request through an app: scope and body in, status, headers and body out.

The rule: the answer is out as soon as the app has given all of it; what the app does then (background tasks) goes on
without the caller. What the app raises before is the caller's problem document: as the error says for one of
Modelyard's, else a 500 without a cause. The page with which a framework answers an error before it raises it is held
back for that; a handler of the app's own for all errors is respected.
"""

import asyncio
import threading
from concurrent.futures import Future

from mangum.types import ASGI, Message, Response, Scope

from modelyard.errors import ModelError, ModelyardError, RequestError
from modelyard.serving.app import Current
from modelyard.serving.audit import write_failure
from modelyard.serving.response import MAX_RESPONSE_BYTES


class Cycle:
    """One request.

    Args:
        app: The app.
        scope: What is asked.
        body: What was sent.
        current: What the app may ask back.
        answers_its_errors: Whether the app has a handler for whatever is raised.

    Attributes:
        answered: The answer, or the error that is the answer.
        ended: The app has nothing left to do for this request.
    """

    __slots__ = (
        "_answers_its_errors",
        "_app",
        "_body",
        "_chunks",
        "_complete",
        "_current",
        "_headers",
        "_received",
        "_scope",
        "_size",
        "_status",
        "answered",
        "ended",
    )

    def __init__(self, app: ASGI, scope: Scope, body: bytes, current: Current, *, answers_its_errors: bool) -> None:
        self._app = app
        self._scope = scope
        self._body = body
        self._current = current
        self._answers_its_errors = answers_its_errors
        self._received = False
        self._status = 0
        self._headers: list[list[bytes]] = []
        self._chunks: list[bytes] = []
        self._size = 0
        self._complete = asyncio.Event()
        self.answered: Future[Response] = Future()
        self.ended = threading.Event()

    async def run(self) -> None:
        """Run the app. Raises nothing: an error is told by `answered`, or by an event line where that is too late."""
        self._current.enter()
        try:
            await self._app(self._scope, self._receive, self._send)
            self._answer()
        except BaseException as error:  # noqa: BLE001 - told; SystemExit would end the loop
            self._raised(error)
        finally:
            self.ended.set()

    async def _receive(self) -> Message:
        if not self._received:
            self._received = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        await self._complete.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start" and not self._status:
            self._headers = [[bytes(name), _utf8(bytes(value))] for name, value in message.get("headers", ())]
            self._status = message["status"]
        elif kind == "http.response.body" and self._status and not self._complete.is_set():
            self._take(bytes(message.get("body", b"")))
            if not message.get("more_body", False):
                self._complete.set()
                if self._status < 500:  # after an answer of 500 frameworks raise what caused it
                    self._answer()
        else:
            raise RuntimeError(f"the app sent {kind!r}, which is out of order here")

    def _take(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size > MAX_RESPONSE_BYTES:
            self._chunks.clear()
            self._fail(too_large(f"{self._size:,} bytes or more"))
            raise OSError("the answer is too large; nobody reads on")  # as servers tell of a caller who has left
        self._chunks.append(chunk)

    def _answer(self) -> None:
        if self.answered.done():
            return
        if not self._complete.is_set():
            raise RuntimeError("the app returned without an answer")
        answer: Response = {"status": self._status, "headers": self._headers, "body": b"".join(self._chunks)}
        self.answered.set_result(answer)

    def _raised(self, error: BaseException) -> None:
        if self.answered.done():
            if self.answered.exception() is None and not isinstance(error, asyncio.CancelledError):
                write_failure("app_failed_after_answer", error)
        elif self._complete.is_set() and self._answers_its_errors:
            write_failure("app_failed", error)
            self._answer()
        elif isinstance(error, ModelyardError):
            self._fail(error)
        else:
            failure = ModelError(
                "the model's app failed",
                code="app_failed",
                next_step="Look for the request id in the function's log; it holds the cause.",
            )
            failure.__cause__ = error
            self._fail(failure)

    def _fail(self, error: ModelyardError) -> None:
        if not self.answered.done():
            self.answered.set_exception(error)


def too_large(said: str) -> RequestError:
    """The error for an answer that Lambda would not return."""
    return RequestError(
        f"the app's answer has {said}; Lambda returns at most {MAX_RESPONSE_BYTES:,}",
        code="response_too_large",
        status=413,
        next_step="Ask for less at once.",
    )


def _utf8(value: bytes) -> bytes:
    """A header's value, which is Latin-1 on the wire, as Mangum reads it."""
    return value if value.isascii() else value.decode("latin-1").encode()
