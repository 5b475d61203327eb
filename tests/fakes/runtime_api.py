"""Lambda's Runtime API and Extensions API on 127.0.0.1: what a function's process talks to.

Who may call what, and when, follows the documented APIs and the state machine of AWS's own runtime interface emulator:
extensions register only until the runtime has asked for its first event; an internal one gets no SHUTDOWN; a runtime
posts one answer for the invocation that it was given. `lambda_service` decides when there is something to hand out.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html
"""

import json
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.fakes.http_server import HttpServer

MAX_RESPONSE_BYTES = 6_291_556
RUNTIME, EXTENSION, CREDENTIALS = "/2018-06-01/runtime", "/2020-01-01/extension", "/2021-04-23/credentials"


class Invocation:
    """One invocation, as its caller and as Lambda see it. Times are `time.monotonic`, None until it happened.

    Attributes:
        answered: The answer was there for the caller.
        runtime_ready: The runtime asked for its next event.
        finished: So had every extension: the environment may be frozen.
    """

    def __init__(self, event: Any, *, timeout_s: float) -> None:
        self.id = str(uuid.uuid4())
        self.event = event if isinstance(event, bytes) else json.dumps(event).encode()
        self.timeout_s = timeout_s
        self.began = time.monotonic()
        self.deadline_ms = int((time.time() + timeout_s) * 1000)
        self.payload: bytes | None = None
        self.error: str | None = None
        self.answered: float | None = None
        self.runtime_ready: float | None = None
        self.finished: float | None = None

    def answer(self, payload: bytes, *, error: str | None = None) -> None:
        """What the caller gets; only the first counts."""
        if self.answered is None:
            self.payload, self.error, self.answered = payload, error, time.monotonic()

    def fail(self, kind: str, message: str) -> None:
        """What the caller gets when the function gave no answer."""
        self.answer(json.dumps({"errorType": kind, "errorMessage": message}).encode(), error=kind)

    @property
    def result(self) -> Any:
        assert self.payload is not None
        return json.loads(self.payload)


class Caller:
    """The runtime or one extension: its place in the sequence of events."""

    def __init__(self, name: str, events: tuple[str, ...] = ("INVOKE",)) -> None:
        self.name = name
        self.events = events
        self.waiting = False  # it asked for the next event and has not got it
        self.errors: list[str] = []


class RuntimeApi:
    """What one process of a function may ask for.

    Attributes:
        runtime: The runtime's own place in the sequence.
        extensions: Registered ones, by their identifier.
        posted: (path, error type, body) of each report of an error.
        refused: (path, error type) of each call that was out of place.
    """

    def __init__(self, *, snap_start: bool = False, credentials: dict[str, str] | None = None) -> None:
        self.changed = threading.Condition()
        self.runtime = Caller("runtime")
        self.extensions: dict[str, Caller] = {}
        self.registration_open = True
        self.snap_start = snap_start
        self.ready_to_snapshot = False
        self.restored = False
        self.token = uuid.uuid4().hex
        self.credentials = credentials or {}
        self.credential_reads = 0
        self.invocation: Invocation | None = None
        self.response_delay_s = 0.0
        self.closed = False
        self.posted: list[tuple[str, str, Any]] = []
        self.refused: list[tuple[str, str]] = []
        self._server = HttpServer(_handler_for(self))
        self._server.start()

    @property
    def address(self) -> str:
        return self._server.address

    def close(self) -> None:
        """Stop, and leave whoever waits without an answer."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()
        self._server.stop()

    def all_waiting(self) -> bool:
        """Whether everybody has asked for the next event: the moment of the freeze."""
        return self.runtime.waiting and all(extension.waiting for extension in self.extensions.values())

    def hand_out(self, invocation: Invocation) -> None:
        """Give the event to the runtime and to the extensions, at once."""
        with self.changed:
            self.invocation = invocation
            self.runtime.waiting = False
            for extension in self.extensions.values():
                if "INVOKE" in extension.events:
                    extension.waiting = False
            self.changed.notify_all()

    # -- the calls ----------------------------------------------------------------------------------------------------

    def next_event(self, caller: Caller) -> Invocation | None:
        """Wait for an event; None when the server is closed meanwhile."""
        with self.changed:
            if caller is self.runtime:
                self.registration_open = False
                if self.invocation is not None:
                    self.invocation.runtime_ready = time.monotonic()
            caller.waiting = True
            self.changed.notify_all()
            self.changed.wait_for(lambda: not caller.waiting or self.closed)
            return None if self.closed else self.invocation

    def restore_next(self) -> None:
        """Wait until the snapshot, of which this call is the last act, is restored."""
        with self.changed:
            self.registration_open = False
            self.ready_to_snapshot = True
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.restored or self.closed)

    def register(self, name: str, events: tuple[str, ...]) -> str | tuple[str, str]:
        """The identifier of the new extension, or why it is none."""
        with self.changed:
            if not self.registration_open:
                return "Extension.RegistrationClosed", "Extension registration closed already"
            if "SHUTDOWN" in events:
                return "Extension.InvalidEventType", "ShutdownEventNotSupportedForInternalExtension"
            if any(extension.name == name for extension in self.extensions.values()):
                return "Extension.InvalidExtensionState", "Extension with this name already registered"
            identifier = str(uuid.uuid4())
            self.extensions[identifier] = Caller(name, events)
            return identifier


def _handler_for(api: RuntimeApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # else the caller's delayed acknowledgement costs 40 ms an answer
        wbufsize = -1

        def do_GET(self) -> None:
            if self.path == f"{RUNTIME}/invocation/next":
                self._invoke(api.next_event(api.runtime))
            elif self.path == f"{EXTENSION}/event/next":
                extension = api.extensions.get(self.headers.get("Lambda-Extension-Identifier", ""))
                if extension is None:
                    self._refuse("Extension.UnknownExtensionIdentifier", "Unknown extension")
                else:
                    self._tell(api.next_event(extension))
            elif self.path == f"{RUNTIME}/restore/next" and api.snap_start:
                api.restore_next()
                self._send(200, {})
            elif self.path == CREDENTIALS and self.headers.get("Authorization") == api.token:
                api.credential_reads += 1
                self._send(200, api.credentials)
            else:
                self._send(404, {"errorType": "NotFound", "errorMessage": self.path})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            invocation = api.invocation
            if self.path == f"{EXTENSION}/register":
                self._register(json.loads(body))
            elif invocation and self.path == f"{RUNTIME}/invocation/{invocation.id}/response":
                self._respond(invocation, body)
            elif invocation and self.path == f"{RUNTIME}/invocation/{invocation.id}/error":
                kind = self.headers.get("Lambda-Runtime-Function-Error-Type", "Unhandled")
                self._report(kind, body)
                with api.changed:
                    invocation.answer(body, error=kind)
                    api.changed.notify_all()
            elif self.path in (f"{RUNTIME}/init/error", f"{RUNTIME}/restore/error"):
                self._report(self.headers.get("Lambda-Runtime-Function-Error-Type", "Unhandled"), body)
            elif self.path in (f"{EXTENSION}/init/error", f"{EXTENSION}/exit/error"):
                self._report(self.headers.get("Lambda-Extension-Function-Error-Type", "Unhandled"), body)
            else:
                self._send(400, {"errorType": "InvalidRequestID", "errorMessage": self.path})

        def _respond(self, invocation: Invocation, body: bytes) -> None:
            if len(body) > MAX_RESPONSE_BYTES:
                message = (
                    f"Response payload size ({len(body)} bytes) exceeded maximum allowed payload size "
                    f"({MAX_RESPONSE_BYTES} bytes)."
                )
                with api.changed:
                    invocation.fail("Function.ResponseSizeTooLarge", message)
                    api.changed.notify_all()
                self._send(413, {"errorType": "RequestEntityTooLarge", "errorMessage": message})
                return
            time.sleep(api.response_delay_s)
            with api.changed:
                invocation.answer(body)
                api.changed.notify_all()
            self._send(202, {"status": "OK"})

        def _register(self, asked: dict[str, Any]) -> None:
            registered = api.register(self.headers.get("Lambda-Extension-Name", ""), tuple(asked["events"]))
            if isinstance(registered, str):
                names = {"functionName": "function", "functionVersion": "1", "handler": "handler"}
                self._send(200, names, {"Lambda-Extension-Identifier": registered})
            else:
                self._refuse(*registered)

        def _report(self, kind: str, body: bytes) -> None:
            with api.changed:
                api.posted.append((self.path.split("/", 2)[2], kind, json.loads(body or b"null")))
                api.changed.notify_all()
            self._send(202, {"status": "OK"})

        def _invoke(self, invocation: Invocation | None) -> None:
            self.close_connection = invocation is None
            if invocation is not None:
                headers = {
                    "Lambda-Runtime-Aws-Request-Id": invocation.id,
                    "Lambda-Runtime-Deadline-Ms": str(invocation.deadline_ms),
                    "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-west-1:123456789012:function:f:live",
                    "Lambda-Runtime-Trace-Id": "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0",
                }
                self._send(200, invocation.event, headers)

        def _tell(self, invocation: Invocation | None) -> None:
            self.close_connection = invocation is None
            if invocation is not None:
                self._send(
                    200,
                    {
                        "eventType": "INVOKE",
                        "deadlineMs": invocation.deadline_ms,
                        "requestId": invocation.id,
                        "invokedFunctionArn": "arn:aws:lambda:eu-west-1:123456789012:function:f:live",
                        "tracing": {"type": "X-Amzn-Trace-Id", "value": "Root=1-5759e988-bd862e3fe1be46a994272793"},
                    },
                )

        def _refuse(self, kind: str, message: str) -> None:
            api.refused.append((self.path, kind))
            self._send(403, {"errorType": kind, "errorMessage": message})

        def _send(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
            pass

        def handle(self) -> None:
            try:
                super().handle()
            except (ConnectionError, BrokenPipeError):  # the process was killed in the middle of a call
                self.close_connection = True

    return Handler
