"""`Endpoint`: one Lambda event in, one HTTP API response out.

The rule: whatever comes in, what goes out is valid JSON with the right status, and one audit line was written. Nothing
here may raise, because on Lambda that costs the caller a bare 500 and the function its process.
"""

import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from modelyard.aws.objects import open_bucket
from modelyard.errors import ModelError, ModelyardError, RequestError
from modelyard.serving.audit import write_audit, write_event
from modelyard.serving.follow import Answering, Live, PointerFollower
from modelyard.serving.pointer import Deployed
from modelyard.serving.problem import problem_response
from modelyard.serving.request import read_instances
from modelyard.serving.settings import EndpointSettings

MAX_RESPONSE_BYTES = 6_291_556
"""Lambda's limit on the response as it encodes it; above it, it would log success and the caller would get a 502."""

START_PATIENCE_S = 8.0
"""Lambda gives INIT 10 s; a model that takes longer is waited for by the first request."""

UNAVAILABLE = 503

_ENVELOPE_BYTES = 128  # status, headers and keys around the body
_HEADERS = {"content-type": "application/json"}


class Endpoint:
    """Answers prediction requests for one model.

    Args:
        follower: Knows the live version.
        model: Name of the model.
        prepare: Called once at start, while the first check is under way.
    """

    __slots__ = ("_follower", "_model", "_prepare")

    def __init__(self, follower: PointerFollower, *, model: str, prepare: Callable[[], None] | None = None) -> None:
        self._follower = follower
        self._model = model
        self._prepare = prepare

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Endpoint":
        """The endpoint that a function's environment describes.

        Raises:
            UsageError: When the environment is incomplete.
        """
        settings = EndpointSettings.read(environ)
        loading = _Loading(settings)
        follower = PointerFollower(
            open_bucket(settings.artifact_bucket, environ),
            settings.model,
            refresh_s=settings.refresh_s,
            load=loading,
        )
        return cls(follower, model=settings.model, prepare=loading.prepare)

    def start(self) -> None:
        """Load the live version. For INIT; without a deployment it returns all the same, and requests get a 503."""
        self._follower.start()
        if self._prepare is not None:
            self._prepare()  # numpy and onnxruntime are imported on this thread while the other waits for S3
        self._follower.wait(START_PATIENCE_S)

    def handle(self, event: Any, context: Any) -> dict[str, Any]:
        """Answer one event.

        Args:
            event: An API Gateway HTTP API event, payload format 2.0.
            context: Lambda's context object; only ``aws_request_id`` is read.
        """
        began = time.perf_counter()
        request_id = _request_id(event, context)
        live = self._follower.live
        prediction_id: str | None = None
        count = 0
        code = "ok"
        try:
            instances = read_instances(event)
            count = len(instances)
            live = self._follower.current()
            predictions = live.predictor.predict(instances)
            prediction_id = os.urandom(16).hex()
            response = self._answer(live, prediction_id, predictions)
        except ModelyardError as error:
            prediction_id, code = None, error.code
            if error.status >= 500 and error.status != UNAVAILABLE:  # the follower has reported that already
                _report(error, request_id)
            response = problem_response(error, request_id=request_id)
        except Exception as error:  # noqa: BLE001 - the last line of defence: a caller gets a problem, never a traceback
            prediction_id, code = None, "internal"
            _report(error, request_id)
            unexpected = ModelyardError(
                "the endpoint failed",
                code=code,
                next_step="Look for the request id in the function's log; it holds the cause.",
            )
            response = problem_response(unexpected, request_id=request_id)
        write_audit(
            event,
            model=self._model,
            version=live.version if live else None,
            digest=live.digest if live else None,
            prediction_id=prediction_id,
            request_id=request_id,
            status=response["statusCode"],
            code=code,
            latency_ms=(time.perf_counter() - began) * 1000,
            instances=count,
        )
        return response

    def _answer(self, live: Live, prediction_id: str, predictions: list[Any]) -> dict[str, Any]:
        try:
            body = orjson.dumps(
                {
                    "model": self._model,
                    "version": live.version,
                    "digest": live.digest,
                    "prediction_id": prediction_id,
                    "predictions": predictions,
                }
            )
        except TypeError as error:  # an integer beyond 64 bits, text that is not UTF-8
            raise ModelError(f"the model's answer is not JSON: {error}", code="wrong_output") from error
        _refuse_large(body, len(predictions))
        return {"statusCode": 200, "headers": _HEADERS, "body": body.decode(), "isBase64Encoded": False}


class _Loading:
    """Loads versions, and beforehand what loading needs."""

    __slots__ = ("_settings",)

    def __init__(self, settings: EndpointSettings) -> None:
        self._settings = settings

    def prepare(self) -> None:
        from modelyard.predictor import predictor  # noqa: F401

    def __call__(self, model: bytes, deployed: Deployed) -> Answering:
        from modelyard.predictor.code import ModelCode
        from modelyard.predictor.predictor import Predictor
        from modelyard.predictor.standard import threads_for

        settings = self._settings
        return Predictor.load(
            model,
            signature=deployed.signature,
            code=ModelCode.load(settings.code) if settings.code else None,
            threads=threads_for(settings.memory_mb),
        )


def _refuse_large(body: bytes, instances: int) -> None:
    """Refuse a body which Lambda, writing it as a JSON string, would make larger than it allows."""
    if 2 * len(body) + _ENVELOPE_BYTES <= MAX_RESPONSE_BYTES:
        return
    size = len(body) + body.count(b'"') + body.count(b"\\") + _ENVELOPE_BYTES
    if size > MAX_RESPONSE_BYTES:
        raise RequestError(
            f"the answer for {instances:,} instances has {size:,} bytes; Lambda returns at most {MAX_RESPONSE_BYTES:,}",
            code="response_too_large",
            status=413,
            next_step="Split the instances over several requests.",
        )


def _report(error: Exception, request_id: str) -> None:
    import traceback

    write_event(
        "request_failed",
        level="error",
        request_id=request_id,
        code=getattr(error, "code", "internal"),
        message=str(error),
        traceback=traceback.format_exception(error),
    )


def _request_id(event: Any, context: Any) -> str:
    gateway = event.get("requestContext") if isinstance(event, dict) else None
    found = gateway.get("requestId") if isinstance(gateway, dict) else None
    return str(found or getattr(context, "aws_request_id", None) or "unknown")
