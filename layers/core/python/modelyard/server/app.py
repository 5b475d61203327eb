"""`ServerApp`: the ASGI application. A table of routes for what is asked often, FastAPI for the rest.

::

    POST /models/<model>/predict ...  ─┐
    /v2/models/<model> ...            ─┼─► read the body ─► ServedEndpoint ─► response
    POST /invocations                 ─┘ (invocations.py)
    GET /ping                           200 when the server can answer
    anything else                       rest.py

The rule: no framework's work for a prediction. What is refused before a model is asked leaves an audit line too.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from modelyard.errors import ModelyardError, RequestError
from modelyard.server import invocations
from modelyard.server.batching import OverloadedError
from modelyard.server.endpoint import LARGE_BYTES, Response, ServedEndpoint
from modelyard.server.exchange import HttpExchange, LambdaExchange
from modelyard.server.metrics import Metrics
from modelyard.server.models import Models
from modelyard.server.settings import ServerSettings
from modelyard.serving.audit import write_audit, write_event, write_failure
from modelyard.serving.problem import problem_response
from modelyard.serving.request import preferred
from modelyard.serving.routing import is_v2
from modelyard.serving.start import quicken

if TYPE_CHECKING:
    from modelyard.predictor.predictor import Predictor

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

THREADS = 4
"""Of a worker, for what takes long."""

HELD_BYTES = 268_435_456
"""Of the large bodies that are read or answered at once; more get a 429. Four of the largest may be, in any case."""

METRICS_S = 5.0
"""How often a worker tells the others what it has counted."""

UNKNOWN = "unknown"
"""The model of a request that names none of the server's."""

PLAIN_ACCEPT = (b"*/*", b"application/json")
"""What asks for JSON, as clients write it; whatever else does is found out with more care."""

OK = 200

SPECIAL = (b"content-encoding", b"inference-header-content-length")
"""Headers of bodies that are more than JSON."""

Route = tuple[str, str, str | None]
"""Model, route as API Gateway names it, and the rest of the path."""

_PLAIN = {"content-type": "application/json"}
_EMPTY: dict[str, Any] = {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": b"{}"}


class _GoneError(Exception):
    """The caller left before the whole request was there."""


class ServerApp:
    """The application of one worker.

    Args:
        settings: The server's.
        metrics: A folder that all workers share.
    """

    def __init__(self, settings: ServerSettings, metrics: Path) -> None:
        self._settings = settings
        self._max_body = settings.max_body
        self._most_held = max(HELD_BYTES, 4 * settings.max_body)
        self._held = 0  # bytes of large bodies, until they are answered
        self._metrics = Metrics(metrics)
        self._models: Models | None = None
        self._caller = 0  # who asked last
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="answer")
        self._rest: Callable[[Scope, Receive, Send], Awaitable[None]] | None = None
        self._short: dict[bytes, Route] = {}
        for environ in settings.models:
            name = environ.get("MODELYARD_MODEL") or ""
            self._short[f"/models/{name}/predict".encode()] = (name, f"POST /models/{name}/predict", None)
            self._short[f"/v2/models/{name}/infer".encode()] = (name, f"POST /v2/models/{name}/{{proxy+}}", "infer")

    @property
    def models(self) -> Models:
        """The models of this worker, once it has started."""
        assert self._models is not None  # noqa: S101 - before that no request comes
        return self._models

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI's entry point."""
        if scope["type"] == "http":
            try:
                await self._http(scope, receive, send)
            finally:
                self._held -= scope.get("held", 0)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)

    # -- the short way, see connection.py ------------------------------------------------------------------------------

    def short_way(self, method: bytes, path: bytes, headers: list[tuple[bytes, bytes]]) -> Route | None:
        """The route of a request for which `at_once` may have the answer: a prediction in JSON, and nothing special."""
        route = self._short.get(path)
        if route is None or method != b"POST":
            return None
        typed = route[2] is not None  # the protocol's clients may leave it out
        for name, value in headers:
            if name == b"content-type":
                if value != b"application/json":
                    return None
                typed = True
            elif (name == b"accept" and value not in PLAIN_ACCEPT) or name in SPECIAL:
                return None
        return route if typed else None

    def at_once(self, route: Route, body: bytes, caller: int) -> Response | None:
        """The response to such a request; None where it takes longer, or the model is not there.

        Args:
            route: As `short_way` has it.
            body: Of the request.
            caller: Another one for each connection. Who asks twice in a row, after each answer, asks alone.
        """
        began = time.perf_counter()
        alone, self._caller = caller == self._caller, caller
        name = route[0]
        endpoint = self.models.loaded(name)
        if endpoint is None or not 0 < len(body) <= self._max_body:
            return None
        exchange = HttpExchange(route[1], _PLAIN, body, endpoint.live, proxy=route[2])
        response = endpoint.at_once(exchange, alone=alone)
        if response is not None:
            self._metrics.saw(name, response["statusCode"], time.perf_counter() - began, exchange.rows)
        return response

    # -- requests -----------------------------------------------------------------------------------------------------

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path == "/invocations":
            await self._invocations(scope, receive, send)
            return
        if path == "/ping":
            await self._ping(send)
            return
        asked = route_of(scope["method"], path)
        if asked is None:
            await self._the_rest(scope, receive, send)
            return
        name, route, proxy = asked
        headers = _headers(scope)
        began = time.perf_counter()
        try:
            endpoint = self.models.loaded(name)
            self.models.check(name)
            body = await self._body(scope, headers, receive)  # first: to load a model takes longer than a caller may
            endpoint = endpoint or await self.models.endpoint(name)
        except _GoneError:
            return
        except Exception as error:  # noqa: BLE001 - as in any endpoint
            exchange = HttpExchange(route, headers, b"", None, proxy=proxy)
            response = self._refused(exchange, error, name)
        else:
            exchange = HttpExchange(route, headers, body, endpoint.live, proxy=proxy)
            response = await endpoint.serve(exchange)
        self._metrics.saw(self._counted(name), response["statusCode"], time.perf_counter() - began, exchange.rows)
        await _send(send, response)

    async def _body(self, scope: Scope, headers: dict[str, str], receive: Receive) -> bytes:
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._max_body:
            raise self._too_large(int(declared))
        message = await receive()
        body: bytes = message.get("body", b"")
        if not message.get("more_body"):
            if message["type"] != "http.request":
                raise _GoneError
            if len(body) > self._max_body:
                raise self._too_large(len(body))
            return body
        parts, size = [body], len(body)
        while message.get("more_body"):
            message = await receive()
            if message["type"] != "http.request":
                raise _GoneError
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self._max_body:
                raise self._too_large(size)
            self._held += size - scope.get("held", 0)
            scope["held"] = size
            if self._held > self._most_held:
                raise OverloadedError("there are too many large requests at once; no more are taken")
        return b"".join(parts)

    def _too_large(self, size: int) -> RequestError:
        return RequestError(
            f"the body has {size:,} bytes or more; at most {self._max_body:,} are allowed",
            code="body_too_large",
            status=413,
            next_step="Split the instances over several requests.",
        )

    def _refused(self, exchange: HttpExchange, error: Exception, name: str) -> Response:
        """The problem for a request that no endpoint has seen, and its audit line."""
        model = self._counted(name)
        if not isinstance(error, ModelyardError):
            write_failure("request_failed", error, request_id=exchange.request_id)
            error = ModelyardError("the server failed", code="internal", next_step="Look into its log.")
        if is_v2(exchange.event):
            exchange.protocol = "v2"
        response = problem_response(error, request_id=exchange.request_id, as_v2=exchange.protocol == "v2")
        write_audit(exchange, model=model, status=response["statusCode"], code=error.code, latency_ms=0.0)
        return response

    def _counted(self, name: str) -> str:
        """A name that is a model's: what callers make up is no dimension of a metric."""
        return name if name in self.models.names else UNKNOWN

    # -- SageMaker ----------------------------------------------------------------------------------------------------

    async def _ping(self, send: Send) -> None:
        failed = [name for name, state in self.models.states.items() if state == "failed"]
        if not failed:
            await _send(send, _EMPTY)
            return
        error = ModelyardError(f"not loaded: {', '.join(failed)}", code="model_unavailable", status=503)
        await _send(send, problem_response(error, request_id="ping"))

    async def _invocations(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = _headers(scope)
        asked = invocations.asked_of(headers.get(invocations.HEADER))
        began = time.perf_counter()
        only = self.models.only
        route = asked.route if asked is not None else f"{scope['method']} /models/{only}/predict"
        name = _model_in(route) if asked is not None else only or UNKNOWN
        if asked is not None:
            headers = {**headers, **asked.h}
        if asked is None:
            exchange = HttpExchange(route, headers, b"", None)
        else:
            made = HttpExchange if asked.in_s3 else LambdaExchange
            exchange = made(route, headers, b"", None, proxy=asked.proxy, request_id=asked.id, iam=asked.iam)
        try:
            self.models.check(name if asked is not None else only)
            exchange.event["body"] = await self._body(scope, headers, receive)
            endpoint = await self.models.endpoint(name)
            exchange.live = endpoint.live
        except _GoneError:
            return
        except Exception as error:  # noqa: BLE001 - as in any endpoint
            response = self._refused(exchange, error, name)
        else:
            response = await self._invoked(endpoint, exchange, plain=asked is None)
        self._metrics.saw(self._counted(name), response["statusCode"], time.perf_counter() - began, exchange.rows)
        await _send(send, response if asked is None else invocations.told(response, asked, exchange.rows))

    async def _invoked(self, endpoint: ServedEndpoint, exchange: HttpExchange, *, plain: bool) -> Response:
        headers = exchange.event["headers"]
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if plain and kind == invocations.CSV:
            exchange.protocol = "csv"
            try:
                exchange.event["body"] = await self._instances_of(exchange)
            except Exception as error:  # noqa: BLE001 - as in any endpoint
                return endpoint.refuse(exchange, error)
            headers["content-type"] = "application/json"
        response = await endpoint.serve(exchange)
        if (
            plain
            and preferred(headers.get("accept", "").lower(), (invocations.CSV,)) == invocations.CSV
            and response["statusCode"] == OK
            and response["headers"]["content-type"] == "application/json"
        ):
            body = await self._converted(invocations.as_csv, response["body"])
            return {"statusCode": OK, "headers": {"content-type": invocations.CSV}, "body": body}
        return response

    async def _instances_of(self, exchange: HttpExchange) -> bytes:
        live = exchange.live
        if live is None:  # which is said whatever was sent
            return b"{}"
        predictor = cast("Predictor", live.predictor)
        if predictor.has_preprocess:
            raise RequestError(
                f"the model's own code takes JSON, not {invocations.CSV}",
                code="unsupported_media_type",
                status=415,
                next_step="Send JSON.",
            )
        return await self._converted(invocations.instances_of, exchange.event["body"], predictor.signature)

    async def _converted(self, convert: Callable[..., bytes], body: bytes, *more: Any) -> bytes:
        if len(body) <= LARGE_BYTES:
            return convert(body, *more)
        return await asyncio.get_running_loop().run_in_executor(self._threads, convert, body, *more)

    # -- the rest -----------------------------------------------------------------------------------------------------

    async def _the_rest(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._rest is None:
            from modelyard.server.rest import make_rest  # FastAPI takes its time to import

            self._rest = make_rest(self.models, self._metrics)
        await self._rest(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        ticking: asyncio.Task[None] | None = None
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._models = Models(self._settings, asyncio.get_running_loop(), self._threads)
                try:
                    await self._models.load_all()
                except ModelyardError as error:
                    write_failure("server_failed", error)
                    await send({"type": "lifespan.startup.failed", "message": error.message})
                    return
                ticking = asyncio.ensure_future(self._tick())
                quicken()
                write_event("server_started", models=self._models.names, states=self._models.states)
                await send({"type": "lifespan.startup.complete"})
            else:
                if ticking is not None:
                    ticking.cancel()
                await asyncio.get_running_loop().run_in_executor(None, self.models.close)
                self._write_metrics()
                write_event("server_ended")
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(METRICS_S)
            self._write_metrics()

    def _write_metrics(self) -> None:
        try:
            self._metrics.write()
        except OSError as error:
            write_failure("metrics_not_written", error)


def route_of(method: str, path: str) -> Route | None:
    """Model, route as API Gateway names it, and the rest of the path; None where the path is no model's."""
    parts = path.split("/", 4)
    if len(parts) >= 3 and parts[1] == "models":
        return parts[2], f"{method} {path}", None
    if len(parts) >= 4 and parts[1] == "v2" and parts[2] == "models":
        model = parts[3]
        if len(parts) == 4:
            return model, f"{method} /v2/models/{model}", None
        return model, f"{method} /v2/models/{model}/{{proxy+}}", parts[4]
    return None


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def _model_in(route: str) -> str:
    found = route_of(*route.partition(" ")[::2])
    return UNKNOWN if found is None else found[0]


async def _send(send: Send, response: Response) -> None:
    body = response["body"]
    if type(body) is str:
        body = body.encode()
    headers = [(b"content-length", b"%d" % len(body))]
    for name, value in response["headers"].items():
        headers.append((name.encode("latin-1"), value.encode("latin-1", "replace")))
    await send({"type": "http.response.start", "status": response["statusCode"], "headers": headers})
    await send({"type": "http.response.body", "body": body})
