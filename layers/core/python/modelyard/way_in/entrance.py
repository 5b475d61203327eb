"""`WayIn`: one Lambda event in, one HTTP API response out, for a model on SageMaker.

The rule: whatever comes in and whatever SageMaker does, what goes out is valid JSON or the container's own answer, and
exactly one audit line was written: by the container where it answered, here where it did not.
"""

import time
from typing import Any

from modelyard.aws.sagemaker_runtime import Request, SageMakerRuntime
from modelyard.control.routes import ASYNC_ROUTES, route_of
from modelyard.errors import ModelyardError, RequestError
from modelyard.serving.audit import write_audit, write_failure
from modelyard.serving.exchange import Exchange, request_id_of
from modelyard.serving.problem import problem_response
from modelyard.serving.routing import is_v2
from modelyard.way_in.answered import CutError, Outcome, answered
from modelyard.way_in.asked import asked_of, protocol_of
from modelyard.way_in.later import Later
from modelyard.way_in.refusals import refused
from modelyard.way_in.settings import WayInSettings

PATIENCE_S = 29.0
"""Where no function sets a limit: the HTTP API gives up after 30 s."""

MARGIN_S = 0.5
"""Left of a function's time to say that it is over; of a short time, a quarter."""

TOO_LARGE = "response_too_large"


class WayIn:
    """Hands the requests for one model to its endpoint.

    Args:
        settings: Which model and endpoint.
        runtime: Calls it.
        later: Takes what is answered later; None where the endpoint answers at once.
    """

    __slots__ = ("_later", "_looking", "_runtime", "_settings")

    def __init__(self, settings: WayInSettings, runtime: SageMakerRuntime, later: Later | None = None) -> None:
        self._settings = settings
        self._runtime = runtime
        self._later = later
        self._looking = {f"{method} {route_of(path, settings.model)}" for method, path in ASYNC_ROUTES}

    def handle(self, event: Any, context: Any) -> dict[str, Any]:
        """Answer one event.

        Args:
            event: An API Gateway HTTP API event, payload format 2.0.
            context: Lambda's context object; its remaining time is the deadline.
        """
        began = time.perf_counter()
        ends = time.monotonic() + _time_left(context)
        exchange = Exchange(event, request_id_of(event, context), None)
        exchange.protocol = protocol_of(event)
        looking = self._later is not None and isinstance(event, dict) and event.get("routeKey") in self._looking
        try:
            outcome = self._looked(event) if looking else self._outcome(event, exchange.request_id, ends)
        except ModelyardError as error:
            if error.status >= 500 or error.code == TOO_LARGE:
                write_failure("request_failed", error, request_id=exchange.request_id)
            outcome = _problem(error, exchange)
        except Exception as error:  # noqa: BLE001 - the last line of defence: a caller gets a problem, never a traceback
            write_failure("request_failed", error, request_id=exchange.request_id)
            unexpected = ModelyardError(
                "the way in failed",
                code="internal",
                next_step="Look for the request id in the function's log; it holds the cause.",
            )
            outcome = _problem(unexpected, exchange)
        if looking or not outcome.audited:  # a prediction has its line since it was made; this one is of who reads it
            write_audit(
                exchange,
                model=self._settings.model,
                status=outcome.response["statusCode"],
                code=outcome.code,
                latency_ms=(time.perf_counter() - began) * 1000,
            )
        return outcome.response

    def _looked(self, event: dict[str, Any]) -> Outcome:
        assert self._later is not None  # noqa: S101 - nobody looks elsewhere
        parameters = event.get("pathParameters")
        return self._later.look(str(parameters.get("id", "")) if isinstance(parameters, dict) else "")

    def _outcome(self, event: Any, request_id: str, ends: float) -> Outcome:
        later = self._later
        asked = asked_of(event, self._settings, request_id=request_id, later=later is not None)
        request = Request(
            self._settings.endpoint,
            content_type=asked.content_type,
            accept=asked.accept,
            attributes=asked.attributes,
        )
        if later is not None:
            return later.take(asked, request, ends=ends)
        answer = self._runtime.invoke(request, asked.body, ends=ends)
        return refused(answer) if answer.status >= 400 else answered(answer)


def _problem(error: ModelyardError, exchange: Exchange) -> Outcome:
    response = problem_response(error, request_id=exchange.request_id, as_v2=is_v2(exchange.event))
    known = isinstance(error, CutError) or (isinstance(error, RequestError) and error.code == TOO_LARGE)
    return Outcome(response, code=error.code, audited=known)


def _time_left(context: Any) -> float:
    remaining = getattr(context, "get_remaining_time_in_millis", None)
    if not callable(remaining):
        return PATIENCE_S
    left_s = remaining() / 1000
    return float(left_s - min(MARGIN_S, left_s / 4))
