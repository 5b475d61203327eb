"""An ASGI app as SageMaker sees a container: a POST in, a status, two headers and a body out, in a time and a size.

The rule: what the app does wrong (raises, is silent, never begins) is what a container does that dies or hangs; nothing
of it reaches whoever asked but as SageMaker's own word for it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

HUNG = (
    "Your invocation timed out while waiting for a response from container primary. Review the latency metrics for "
    "each container in Amazon CloudWatch, resolve the issue, and try again."
)
DIED = "The container primary closed the connection before it answered."


class ContainerError(Exception):
    """The container gave no answer; the message is what SageMaker says of it."""


@dataclass(frozen=True, slots=True)
class ContainerReply:
    """What a container answered; header names are lower-case."""

    status: int
    headers: dict[str, str]
    body: bytes


async def ask(
    app: App, headers: Mapping[str, str], body: bytes, *, timeout_s: float, most_bytes: int
) -> ContainerReply:
    """What an app answers to ``POST /invocations``.

    Args:
        app: The container.
        headers: What SageMaker hands on.
        body: What it hands on.
        timeout_s: How long the app may take.
        most_bytes: The largest answer that is taken.

    Raises:
        ContainerError: When there was none, in time and of that size.
    """
    call = _Call(headers, body, most_bytes)
    try:
        await asyncio.wait_for(app(call.scope, call.receive, call.send), timeout_s)
    except TimeoutError as error:
        raise ContainerError(HUNG) from error
    except ContainerError:
        raise
    except Exception as error:
        raise ContainerError(DIED) from error
    return call.reply()


class _Call:
    """One request, from the app's side."""

    def __init__(self, headers: Mapping[str, str], body: bytes, most_bytes: int) -> None:
        sent = {**headers, "content-length": str(len(body))}
        self.scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/invocations",
            "raw_path": b"/invocations",
            "root_path": "",
            "query_string": b"",
            "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in sent.items()],
            "client": ("127.0.0.1", 0),
            "server": ("127.0.0.1", 8080),
        }
        self._unread: bytes | None = body
        self._most = most_bytes
        self._start: MutableMapping[str, Any] | None = None
        self._parts: list[bytes] = []
        self._whole = False

    async def receive(self) -> MutableMapping[str, Any]:
        if self._unread is None:
            await asyncio.Event().wait()  # SageMaker does not leave before the answer
        body, self._unread = self._unread, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self._start = message
        elif message["type"] == "http.response.body":
            self._parts.append(bytes(message.get("body", b"")))
            self._whole = not message.get("more_body", False)
            if sum(map(len, self._parts)) > self._most:
                raise ContainerError(f"The response from container primary has more than {self._most} bytes.")

    def reply(self) -> ContainerReply:
        if self._start is None or not self._whole:
            raise ContainerError(DIED)
        headers = {
            bytes(name).decode("latin-1").lower(): bytes(value).decode("latin-1")
            for name, value in self._start.get("headers", ())
        }
        return ContainerReply(self._start["status"], headers, b"".join(self._parts))


class Running:
    """One app's lifespan, as a context; entering it gives what the app says against starting, or None.

    Args:
        app: The container.
        scope: Of the server's own lifespan.
    """

    def __init__(self, app: App, scope: Scope) -> None:
        self._app = app
        self._scope = {**scope, "state": {}}
        self._told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._said: asyncio.Queue[Any] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> str | None:
        self._task = asyncio.ensure_future(self._run())
        await self._told.put({"type": "lifespan.startup"})
        said = await self._said.get()
        failed: bool = said["type"] == "lifespan.startup.failed"
        return str(said.get("message", "the container does not start")) if failed else None

    async def __aexit__(self, *_: object) -> None:
        await self._told.put({"type": "lifespan.shutdown"})
        assert self._task is not None  # noqa: S101 - it was entered
        await self._task

    async def _run(self) -> None:
        try:
            await self._app(self._scope, self._told.get, self._said.put)
        except Exception:  # noqa: BLE001 - an app may not know of lifespans, and then has none
            await self._said.put({"type": "lifespan.startup.complete"})
