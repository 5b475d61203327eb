"""`Endpoint`: one Lambda event in, one HTTP API response out.

::

    POST /models/<model>/predict        here, and forms/ for NPY and Arrow
    POST /models/<model>/feedback       feedback.py
    GET  /models/<model>/openapi.json   openapi/
    /v2/models/<model> and below it     oip/
    anything else                       routing.py says why not

The rule: whatever comes in, what goes out is valid JSON with the right status, and one audit line was written. Nothing
here may raise, because on Lambda that costs the caller a bare 500 and the function its process.
"""

import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import msgspec

from modelyard.errors import ModelError, ModelyardError
from modelyard.serving.afterwards import Afterwards
from modelyard.serving.audit import identity, write_audit, write_failure
from modelyard.serving.exchange import Exchange, request_id_of
from modelyard.serving.follow import Live, PointerFollower
from modelyard.serving.problem import problem_response
from modelyard.serving.request import ARROW, JSON, NPY, accepted_type, read_body

if TYPE_CHECKING:  # only where something is captured, or on trial
    from modelyard.predictor.predictor import Predictor
    from modelyard.serving.capture import Capture
    from modelyard.serving.feedback import Feedback
    from modelyard.serving.on_trial import OnTrial
    from modelyard.serving.plan import Plan, Steps

START_PATIENCE_S = 8.0
"""Lambda gives INIT 10 s; a model that takes longer is waited for by the first request."""

UNAVAILABLE = 503
TYPES = (JSON, NPY, ARROW)
"""What ``/predict`` takes and gives; `modelyard.serving.forms` is imported for all but the first."""


_encode = msgspec.json.Encoder().encode


class Endpoint:
    """Answers prediction requests for one model.

    Args:
        follower: Knows the live version.
        model: Name of the model.
        afterwards: Does what comes after an answer, and is told of each.
        capture: Keeps a share of the requests.
        make_on_trial: Makes what answers while versions are on trial, when the first of them is; left out, the champion
            answers as ever.
        make_feedback: Makes what takes labels, when the first come; left out, none are taken.
    """

    __slots__ = (
        "_afterwards", "_capture", "_feedback", "_follower", "_lock", "_make_feedback", "_make_on_trial", "_model",
        "_on_trial", "_routes",
    )  # fmt: skip

    def __init__(
        self,
        follower: PointerFollower,
        *,
        model: str,
        afterwards: Afterwards | None = None,
        capture: "Capture | None" = None,
        make_on_trial: "Callable[[], OnTrial] | None" = None,
        make_feedback: "Callable[[], Feedback] | None" = None,
    ) -> None:
        self._make_on_trial = make_on_trial
        self._make_feedback = make_feedback
        self._feedback: Feedback | None = None
        self._on_trial: OnTrial | None = None
        self._lock = threading.Lock()  # held while that is made
        self._follower = follower
        self._model = model
        self._afterwards = afterwards
        self._capture = capture
        self._routes: dict[str, Callable[[Exchange], dict[str, Any]]] = {
            f"POST /models/{model}/predict": self._predict,
            f"POST /models/{model}/feedback": self._take_labels,
            f"GET /models/{model}/openapi.json": self._openapi,
            f"GET /v2/models/{model}": self._oip,
            f"GET /v2/models/{model}/{{proxy+}}": self._oip,
            f"POST /v2/models/{model}/{{proxy+}}": self._oip,
        }

    def start(self) -> None:
        """Load the live version. Without a deployment it returns all the same, and requests get a 503."""
        self._follower.start()
        self._follower.wait(START_PATIENCE_S)

    def prime(self) -> None:
        """Run the live version once, so that a snapshot holds what only a first run allocates."""
        from modelyard.serving import feedback  # noqa: F401 - what a later request would import goes in as well
        from modelyard.serving.forms import table  # noqa: F401
        from modelyard.serving.oip import server  # noqa: F401

        live = self._follower.live
        if live is not None:
            live.predictor.prime()

    def handle(self, event: Any, context: Any) -> dict[str, Any]:
        """Answer one event.

        Args:
            event: An API Gateway HTTP API event, payload format 2.0.
            context: Lambda's context object; only ``aws_request_id`` is read.
        """
        try:
            return self.respond(Exchange(event, request_id_of(event, context), self._follower.live))
        finally:
            if self._afterwards is not None:
                self._afterwards.invocation_done(context)

    def respond(self, exchange: Exchange) -> dict[str, Any]:
        """The response to one request. Raises nothing: whatever goes wrong is a problem for the caller."""
        began = time.perf_counter()
        code = "ok"
        try:
            response = self._answer(exchange)
        except Exception as error:  # noqa: BLE001 - the last line of defence: a caller gets a problem, never a traceback
            response, code = self._failed(exchange, error)
        self._answered(exchange, response, code, began)
        return response

    def _failed(self, exchange: Exchange, error: Exception) -> tuple[dict[str, Any], str]:
        """The problem that a caller gets for an error, and its code."""
        exchange.prediction_id = None
        if isinstance(error, ModelyardError):
            if error.status >= 500 and error.status != UNAVAILABLE:  # reported where it was found out
                write_failure("request_failed", error, request_id=exchange.request_id)
            return self._problem(error, exchange), error.code
        write_failure("request_failed", error, request_id=exchange.request_id)
        unexpected = ModelyardError(
            "the endpoint failed",
            code="internal",
            next_step="Look for the request id in the function's log; it holds the cause.",
        )
        return self._problem(unexpected, exchange), unexpected.code

    def _answered(self, exchange: Exchange, response: dict[str, Any], code: str, began: float) -> None:
        """Write the audit line, and keep what is to be captured."""
        latency_ms = (time.perf_counter() - began) * 1000
        write_audit(exchange, model=self._model, status=response["statusCode"], code=code, latency_ms=latency_ms)
        if exchange.kept is not None:
            self._keep(exchange)

    def _keep(self, exchange: Exchange) -> None:
        live, prediction_id, kept, capture = exchange.live, exchange.prediction_id, exchange.kept, self._capture
        if self._on_trial is not None and exchange.tried is not None:
            self._on_trial.keep(exchange)
        elif live is None or prediction_id is None or kept is None or kept.asked is None or capture is None:
            return  # it was refused, or was no prediction
        elif capture.takes(prediction_id):
            capture.keep(
                version=live.version,
                prediction_id=prediction_id,
                request_id=exchange.request_id,
                instances=kept.asked.instances,
                predictions=kept.answered,
                latency_ms=kept.seconds * 1000,
            )

    def _trying(self) -> "OnTrial | None":
        """What answers while versions are on trial."""
        with self._lock:
            if self._on_trial is None and self._make_on_trial is not None:
                try:
                    self._on_trial = self._make_on_trial()
                except Exception as error:  # noqa: BLE001 - the champion answers without it
                    write_failure("trial_not_possible", error, model=self._model)
                    self._make_on_trial = None
            return self._on_trial

    def _answer(self, exchange: Exchange) -> dict[str, Any]:
        try:
            answer = self._routes[exchange.event["routeKey"]]
        except (KeyError, TypeError):
            from modelyard.serving.routing import is_v2, unanswered

            exchange.protocol = "v2" if is_v2(exchange.event) else exchange.protocol
            raise unanswered(exchange.event, self._model) from None
        return answer(exchange)

    def _predict(self, exchange: Exchange) -> dict[str, Any]:
        content_type, body = read_body(exchange.event, allowed=TYPES)
        answer_type = accepted_type(exchange.event["headers"])
        exchange.live = live = self._follower.current()
        if live.trial is None and self._capture is None and content_type == answer_type == JSON:
            predictions, warnings = live.predictor.answer(body, structs=True)
            return self._json(exchange, live, predictions, warnings)
        return self._plan(exchange, live, content_type, body, answer_type).now(exchange)

    def _plan(self, exchange: Exchange, live: Live, content_type: str, body: str | bytes, answer_type: str) -> "Plan":
        """How a prediction is answered, whatever the form, with what is to be kept of it."""
        from modelyard.serving.kept import Kept
        from modelyard.serving.plan import Plan

        def steps(one: Live) -> "Steps":
            if content_type == answer_type == JSON:
                return self._steps(exchange, one, body)
            from modelyard.serving.forms import table

            return table.steps(exchange, one, content_type, body, answer_type=answer_type, json_answer=self._json)

        on_trial = None if live.trial is None else self._trying()
        if on_trial is not None:
            from modelyard.serving.forms.first import first_of

            return Plan(live, steps, on_trial, first_of(live, content_type, body))
        if self._capture is not None:
            exchange.kept = Kept()
        return Plan(live, steps)

    def _steps(self, exchange: Exchange, live: Live, body: str | bytes) -> "Steps":
        predictor = cast("Predictor", live.predictor)
        batch = predictor.read(body)
        outputs, seconds = yield predictor, batch
        predictions = predictor.decoded(outputs, batch.rows, structs=True)
        response = self._json(exchange, live, predictions, batch.warnings)
        if exchange.kept is not None:
            from modelyard.serving.kept import AskedText

            exchange.kept.note(AskedText(body), predictions, seconds)
        return response

    def _json(
        self, exchange: Exchange, live: Live, predictions: list[Any], warnings: list[dict[str, Any]]
    ) -> dict[str, Any]:
        exchange.rows = len(predictions)
        exchange.prediction_id = os.urandom(16).hex()
        answer = {
            "model": self._model,
            "version": live.version,
            "digest": live.digest,
            "prediction_id": exchange.prediction_id,
            "predictions": predictions,
        }
        if warnings:
            exchange.warned = len(warnings)
            answer["warnings"] = warnings
        try:
            text = _encode(answer)
        except (TypeError, ValueError, OverflowError) as error:  # an integer beyond 64 bits, text that is not UTF-8
            raise ModelError(f"the model's answer is not JSON: {error}", code="wrong_output") from error
        return exchange.json(text, instances=len(predictions))

    def _oip(self, exchange: Exchange) -> dict[str, Any]:
        plan = self._oip_plan(exchange)
        return plan if isinstance(plan, dict) else plan.now(exchange)

    def _oip_plan(self, exchange: Exchange) -> "Plan | dict[str, Any]":
        exchange.protocol = "v2"
        from modelyard.serving.oip import server

        if self._capture is not None:
            from modelyard.serving.kept import Kept

            exchange.kept = Kept()
        return server.plan(exchange, self._follower, self._model, self._trying)

    def _take_labels(self, exchange: Exchange) -> dict[str, Any]:
        exchange.protocol = "feedback"
        if self._feedback is None:  # two requests may each make one, which is as good
            if self._make_feedback is None:
                from modelyard.serving.routing import FEEDBACK, unknown_route

                raise unknown_route("POST", f"/models/{self._model}/{FEEDBACK}")
            self._feedback = self._make_feedback()
        return self._feedback.take(exchange)

    def _openapi(self, exchange: Exchange) -> dict[str, Any]:
        exchange.protocol = "metadata"
        from modelyard.serving.openapi.document import openapi_document

        exchange.live = live = self._follower.current()
        signed = identity(exchange.event)[0] is not None
        return exchange.json(_encode(openapi_document(live, self._model, signed=signed)))

    def _problem(self, error: ModelyardError, exchange: Exchange) -> dict[str, Any]:
        return problem_response(error, request_id=exchange.request_id, as_v2=exchange.protocol == "v2")
