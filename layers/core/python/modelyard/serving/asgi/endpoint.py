"""`AppEndpoint`: an endpoint with an app of the model's own below ``/models/<model>/app``.

The rule: every other route is answered as by any endpoint, without the app and without FastAPI; a request to the app
gets the same audit line, capture, version and problems. Mangum translates: its handler makes a scope of the event and a
response of what the app gave. It does not run the app, for it would hold the answer back until background tasks are
done, and run the app's lifespan around every event.
"""

import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from mangum.adapter import DEFAULT_TEXT_MIME_TYPES
from mangum.handlers import HTTPGateway
from mangum.types import LambdaConfig, Response, Scope

from modelyard.control.routes import APP_ROUTES, route_of
from modelyard.errors import ModelyardError, RequestError
from modelyard.serving.afterwards import Afterwards
from modelyard.serving.app import Current
from modelyard.serving.asgi.cycle import Cycle, too_large
from modelyard.serving.asgi.fastapi_import import import_fastapi
from modelyard.serving.asgi.finding import answers_its_errors, find_app
from modelyard.serving.asgi.lifespan import Lifespan
from modelyard.serving.asgi.loop import AppLoop
from modelyard.serving.endpoint import Endpoint
from modelyard.serving.exchange import Exchange
from modelyard.serving.follow import PointerFollower
from modelyard.serving.kept import Kept
from modelyard.serving.problem import CONTENT_TYPE
from modelyard.serving.response import MAX_RESPONSE_BYTES, written_bytes
from modelyard.serving.routing import unknown_route

if TYPE_CHECKING:
    from modelyard.serving.capture import Capture
    from modelyard.serving.feedback import Feedback
    from modelyard.serving.on_trial import OnTrial

MARGIN_S = 0.25
"""How long before the function's timeout an app that has not answered is given up: Lambda would end the process."""

SETTLE_S = 0.001
"""How long an answer waits for its app to be done altogether, which it mostly is within a tenth of that: the rest would
need a thread and an environment that is kept awake."""

BACKGROUND_S = 30.0
"""Longest wait for what an app does after an answer; it goes on, but is no longer waited for."""

SHUTDOWN_S = 5.0
"""Longest wait for the app's shutdown; Lambda gives it less."""

_CONFIG = LambdaConfig(
    api_gateway_base_path="/",
    # Content types that are not named here are sent as base64, which a person cannot read in a console.
    text_mime_types=[*DEFAULT_TEXT_MIME_TYPES, CONTENT_TYPE, "image/svg+xml"],
    exclude_headers=[],
)
_ENDS: ContextVar[float | None] = ContextVar("modelyard_ends", default=None)


class AppEndpoint(Endpoint):
    """Answers requests for one model that has an app of its own.

    Args:
        follower: Knows the live version.
        model: Name of the model.
        afterwards: Does what comes after an answer, and is told of each.
        capture: Keeps a share of the requests.
        make_on_trial: As for any endpoint.
        make_feedback: As for any endpoint.
        app: The app, as ``package.module:attribute``.
        base_path: What callers have in front of ``/models``, where API Gateway cuts it off.

    Raises:
        ModelError: When the app cannot be imported or its startup fails.
    """

    __slots__ = ("_app", "_base_path", "_ending", "_lifespan", "_loop", "_own_errors", "_prefix")

    def __init__(
        self,
        follower: PointerFollower,
        *,
        model: str,
        afterwards: Afterwards | None = None,
        capture: "Capture | None" = None,
        make_on_trial: "Callable[[], OnTrial] | None" = None,
        make_feedback: "Callable[[], Feedback] | None" = None,
        app: str,
        base_path: str = "",
    ) -> None:
        super().__init__(
            follower,
            model=model,
            afterwards=afterwards,
            capture=capture,
            make_on_trial=make_on_trial,
            make_feedback=make_feedback,
        )
        self._prefix = route_of(APP_ROUTES[0][1], model)
        self._base_path = base_path
        self._routes |= {f"{method} {route_of(path, model)}": self._ask for method, path in APP_ROUTES}
        import_fastapi(app.partition(":")[0])
        self._app = find_app(app)
        self._own_errors = answers_its_errors(self._app)
        self._loop = AppLoop()
        self._lifespan = Lifespan(self._app, self._loop)
        self._lifespan.start()
        self._ending = _Ending(self._lifespan)
        if afterwards is not None:
            afterwards.attend(self._ending)

    def prime(self) -> None:
        """Get ready for a snapshot: run the model once, and keep the app up through the flush that follows."""
        self._ending.snapshot = True
        super().prime()

    def handle(self, event: Any, context: Any) -> dict[str, Any]:
        """Answer one event; see `Endpoint.handle`."""
        remaining = getattr(context, "get_remaining_time_in_millis", None)
        left_s = remaining() / 1000 if callable(remaining) else None
        _ENDS.set(None if left_s is None else time.monotonic() + left_s - min(MARGIN_S, left_s / 4))
        return super().handle(event, context)

    def _ask(self, exchange: Exchange) -> dict[str, Any]:
        exchange.protocol = "app"
        gateway, scope, body = _translated(exchange.event)
        current = self._current(exchange)
        cycle = Cycle(self._app, self._mounted(scope), body, current, answers_its_errors=self._own_errors)
        task = self._loop.submit(cycle.run())
        ends = _ENDS.get()
        try:
            answer = cycle.answered.result(None if ends is None else max(0.0, ends - time.monotonic()))
        except TimeoutError:
            task.cancel()
            raise ModelyardError(
                "the model's app did not answer within the function's timeout",
                code="app_timeout",
                status=504,
                next_step="Try again; endpoint.timeout_s in model.toml is how long it may take.",
            ) from None
        finally:
            if self._afterwards is not None and not cycle.ended.wait(SETTLE_S):
                self._afterwards.add(lambda: cycle.ended.wait(BACKGROUND_S))
        if answer["status"] >= 400:
            exchange.kept = None  # nothing to capture
        return _written(gateway, answer)

    def _current(self, exchange: Exchange) -> Current:
        """The version for the whole request. Where there is none, only an app that asks for it hears of it."""
        try:
            exchange.live = live = self._follower.current()
        except ModelyardError as error:
            return Current(exchange, error, model=self._model)
        on_trial = None if live.trial is None else self._trying()
        if self._capture is not None or on_trial is not None:
            exchange.kept = Kept()
        if on_trial is None:
            return Current(exchange, live, model=self._model)
        exchange.live = arm = on_trial.arm(exchange, live)
        return Current(
            exchange,
            arm,
            model=self._model,
            champion=None if arm is live else live,
            failed=lambda failed, error: on_trial.failed(exchange, failed, error),
        )

    def _mounted(self, scope: Scope) -> Scope:
        """The scope, with the app mounted where its callers see it, so that the links it makes are right."""
        path = str(scope["path"])
        at = path.find(self._prefix)
        if at < 0:
            raise unknown_route(str(scope["method"]), path)
        end = at + len(self._prefix)
        root = f"{self._base_path}{path[:end]}"
        return {
            **scope,
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            # API Gateway says so; Mangum takes silence for https, which is wrong for the local AWS.
            "scheme": scope["scheme"] if any(name == b"x-forwarded-proto" for name, _ in scope["headers"]) else "http",
            "root_path": root,
            "path": root + (path[end:] or "/"),
            "state": self._lifespan.state.copy(),
        }


class _Ending:
    """A duty of `Afterwards`: the app's shutdown, when the process ends.

    Attributes:
        snapshot: The next flush comes before a snapshot, and not at the end.
    """

    __slots__ = ("_lifespan", "snapshot")

    def __init__(self, lifespan: Lifespan) -> None:
        self._lifespan = lifespan
        self.snapshot = False

    def due(self) -> bool:
        """Never, while the process lives."""
        return False

    def run(self) -> None:
        """Nothing is done in between."""

    def finish(self) -> None:
        """Shut the app down, unless the process is about to become a snapshot."""
        if not self.snapshot:
            self._lifespan.stop(SHUTDOWN_S)
        self.snapshot = False


def _translated(event: Any) -> tuple[HTTPGateway, Scope, bytes]:
    """Mangum's handler for an event, the scope that it makes of it, and the body that was sent.

    Raises:
        RequestError: For an event that API Gateway did not make (code ``invalid_event``).
    """
    try:
        if event["version"] != "2.0":
            raise ValueError("the payload format is not 2.0")  # noqa: TRY301 - said below, with the others
        # Without the context: whoever holds it holds the environment awake (see `modelyard.serving.extension`).
        gateway = HTTPGateway({**event, "headers": event.get("headers") or {}}, None, _CONFIG)  # type: ignore[arg-type]
        return gateway, gateway.scope, gateway.body
    except Exception as error:
        raise RequestError(
            f"the event is not an API Gateway HTTP API event, payload format 2.0: {error}",
            code="invalid_event",
            next_step="Call the endpoint through its HTTP API.",
        ) from error


def _written(gateway: HTTPGateway, answer: Response) -> dict[str, Any]:
    """The response, held to the size that Lambda returns.

    Raises:
        RequestError: When Lambda would not return it (code ``response_too_large``).
    """
    response: dict[str, Any] = gateway(answer)
    # A character takes at most 6 bytes as JSON, so only a long body has to be encoded to know its size.
    if 6 * len(answer["body"]) + 65_536 > MAX_RESPONSE_BYTES:
        size = written_bytes(response)
        if size > MAX_RESPONSE_BYTES:
            raise too_large(f"{size:,} bytes as Lambda writes it")
    return response
