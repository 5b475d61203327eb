"""Around every route: who calls, one answer whatever happens, one audit line.

    API Gateway ─► Mangum ─► Frame ─► FastAPI's routes
                              │ caller from the authorizer context, or 403
                              │ an exception nobody expected, or an answer that Lambda cannot carry: a problem
                              └ audit line and failures to the journal

The rule: a line for every request, refused ones too, and never the payload.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from modelyard.control.call import Call, path_of
from modelyard.control.problems import problem
from modelyard.errors import CredentialsError, ModelyardError, RequestError
from modelyard.names import name_problem
from modelyard.serving.response import MAX_RESPONSE_BYTES

_ENVELOPE_BYTES = 2048  # status and headers around the body

UNMATCHED = "none"


@dataclass(frozen=True, slots=True)
class AuditLine:
    """What is kept of a request. ``model`` is None where the path names none, or nothing that can be a name."""

    caller: str | None
    account: str | None
    method: str
    route: str
    model: str | None
    status: int
    code: str
    latency_ms: float
    request_id: str


class Journal(Protocol):
    """Where the frame writes; on Lambda, structured lines on stdout."""

    def audit(self, line: AuditLine) -> None:
        """Keep what happened in a request."""
        ...

    def failure(self, error: Exception, *, request_id: str) -> None:
        """Keep the cause of a 5xx, with its traceback."""
        ...


class Frame:
    """ASGI middleware; the outermost of the control plane.

    Args:
        app: What answers.
        journal: Where audit lines and failures go.
        clock: Seconds, for latencies.
    """

    def __init__(self, app: ASGIApp, *, journal: Journal, clock: Callable[[], float] = time.perf_counter) -> None:
        self._app = app
        self._journal = journal
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = self._clock()
        call = Call.of(scope)
        inner = {**scope, "path": path_of(scope), "raw_path": None}
        call.attach(inner)
        answer = await self._answer(call, inner, receive)
        await answer.give(send)
        if call.failure is not None:
            self._journal.failure(call.failure, request_id=call.request_id)
        self._journal.audit(_line(inner, call, answer.status, (self._clock() - began) * 1000))

    async def _answer(self, call: Call, scope: Scope, receive: Receive) -> "_Held":
        if call.caller is None:
            return await _Held.of(problem(call, _unknown_caller()))
        answer = _Held()
        try:
            await self._app(scope, receive, answer.take)
            answer.refuse_large()
        except ModelyardError as error:
            return await _Held.of(problem(call, error))
        except Exception as error:  # noqa: BLE001 - the last line of defence: a caller gets a problem, never a traceback
            call.failure = error
            return await _Held.of(problem(call, _unexpected()))
        return answer


class _Held:
    """An answer that is not sent yet: what goes wrong while it is made can still replace it."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self.status = 500

    @classmethod
    async def of(cls, response: Response) -> "_Held":
        held = cls()
        await held.take(
            {"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers}
        )
        await held.take({"type": "http.response.body", "body": response.body})
        return held

    async def take(self, message: Message) -> None:
        self.status = message.get("status", self.status)
        self._messages.append(message)

    async def give(self, send: Send) -> None:
        for message in self._messages:
            await send(message)

    def refuse_large(self) -> None:
        body = b"".join(message.get("body", b"") for message in self._messages)
        if 6 * len(body) + _ENVELOPE_BYTES <= MAX_RESPONSE_BYTES:  # no byte becomes more than 6 characters
            return
        size = len(json.dumps(body.decode())) + _ENVELOPE_BYTES  # a quote in the body becomes two characters
        if size > MAX_RESPONSE_BYTES:
            raise RequestError(
                f"the answer has {size:,} bytes; at most {MAX_RESPONSE_BYTES:,} can be returned",
                code="response_too_large",
                status=413,
                field="limit",
                next_step="Ask for fewer at a time, with a smaller 'limit'.",
            )


def _line(scope: Scope, call: Call, status: int, latency_ms: float) -> AuditLine:
    route: Any = scope.get("route")
    name = scope.get("path_params", {}).get("name")
    return AuditLine(
        caller=call.caller,
        account=call.account,
        method=scope["method"],
        route=UNMATCHED if route is None else f"{scope['method']} {route.path}",
        model=name if name_problem(name) is None else None,
        status=status,
        code=call.code,
        latency_ms=round(latency_ms, 3),
        request_id=call.request_id,
    )


def _unknown_caller() -> CredentialsError:
    return CredentialsError(
        "API Gateway did not say who calls; every route needs a request signed with AWS credentials (SigV4, service "
        "execute-api)",
        code="unknown_caller",
        next_step="Sign the request, and call the API's URL, not the function.",
    )


def _unexpected() -> ModelyardError:
    return ModelyardError(
        "the control plane failed",
        code="internal",
        next_step="Look for the request id in the function's log; it holds the cause.",
    )
