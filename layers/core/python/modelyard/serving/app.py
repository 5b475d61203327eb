"""What a model's own app may ask while it answers a request: `live_version` and `request_context`.

The rule: one version answers one request. It is chosen when the request comes in, so a version that is put live in the
middle of it changes nothing for it, and the audit line names the one that was used.
"""

import os
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, cast

import msgspec

from modelyard.errors import ModelyardError, UsageError
from modelyard.predictor.predictor import Predictor
from modelyard.serving.audit import identity
from modelyard.serving.exchange import Exchange
from modelyard.serving.follow import Live


class LiveVersion:
    """The version of the model that answers this request, from its first line to its last.

    Attributes:
        model: Name of the model.
        version: Number of the version.
        digest: SHA-256 of its ONNX file.
    """

    __slots__ = ("_capturing", "_exchange", "_predictor", "digest", "model", "version")

    def __init__(self, exchange: Exchange, live: Live, *, model: str, capturing: bool) -> None:
        self.model = model
        self.version = live.version
        self.digest = live.digest
        self._predictor = cast("Predictor", live.predictor)
        self._exchange = exchange
        self._capturing = capturing

    @property
    def prediction_id(self) -> str:
        """Names what is predicted in this request, in the audit line and in what is captured; the same every time."""
        exchange = self._exchange
        if exchange.prediction_id is None:
            exchange.prediction_id = os.urandom(16).hex()
        return exchange.prediction_id

    def predict(self, instances: list[Any]) -> list[Any]:
        """Answer each instance with one plain JSON value, in the same order.

        Args:
            instances: As in the body of ``POST /models/<name>/predict``.

        Raises:
            RequestError: Naming the field and row at fault; let through, it is the caller's problem document.
            ModelError: When the model or its own code raises.
        """
        predictions = self._predictor.predict(instances)
        self._note(lambda: instances, predictions)
        return predictions

    def answer(self, body: str | bytes) -> tuple[list[Any], list[dict[str, Any]]]:
        """Answer the text of a request, which is faster than `predict` where the app gets the standard body.

        Args:
            body: JSON, ``{"instances": [...]}``.

        Returns:
            One plain JSON value per instance, in the same order; and what the contract warns of.

        Raises:
            RequestError: Naming the field and row at fault; let through, it is the caller's problem document.
            ModelError: When the model or its own code raises.
        """
        predictions, warnings = self._predictor.answer(body)
        self._note(lambda: msgspec.json.decode(body)["instances"], predictions)
        self._exchange.warned += len(warnings)
        return predictions, warnings

    def _note(self, instances: Callable[[], list[Any]], predictions: list[Any]) -> None:
        exchange = self._exchange
        exchange.rows += len(predictions)
        _ = self.prediction_id
        if self._capturing:  # several predictions of one request are one record
            exchange.asked = [*(exchange.asked or ()), *instances()]
            exchange.answered = [*(exchange.answered or ()), *predictions]


class RequestContext:
    """Who asks, as API Gateway has established it; nothing here can be forged by a header.

    Attributes:
        request_id: As in the audit line and in every problem document.
        caller: ARN of the caller, where IAM authorized the request.
        account: Account of the caller, likewise.
    """

    __slots__ = ("account", "caller", "request_id")

    def __init__(self, request_id: str, caller: str | None, account: str | None) -> None:
        self.request_id = request_id
        self.caller = caller
        self.account = account


class Current:
    """One request as its app sees it.

    Args:
        exchange: The request, and what the audit line will say.
        live: The version that answers, or why there is none.
        model: Name of the model.
        capturing: Whether instances and predictions are to be kept.
    """

    __slots__ = ("_capturing", "_exchange", "_live", "_model")

    def __init__(self, exchange: Exchange, live: Live | ModelyardError, *, model: str, capturing: bool) -> None:
        self._exchange = exchange
        self._live = live
        self._model = model
        self._capturing = capturing

    def enter(self) -> None:
        """Make it what `live_version` and `request_context` speak of, in this task and the threads that it starts."""
        _CURRENT.set(self)

    def live_version(self) -> LiveVersion:
        """The version that answers.

        Raises:
            ModelyardError: Status 503 where none is live or loaded.
        """
        if isinstance(self._live, ModelyardError):
            raise self._live
        return LiveVersion(self._exchange, self._live, model=self._model, capturing=self._capturing)

    def request_context(self) -> RequestContext:
        """Who asks."""
        return RequestContext(self._exchange.request_id, *identity(self._exchange.event))


_CURRENT: ContextVar[Current] = ContextVar("modelyard_request")


async def live_version() -> LiveVersion:
    """The version that answers this request; for ``Depends(live_version)``.

    Raises:
        ModelyardError: Status 503 where none is live or loaded. The caller gets it as a problem document.
        UsageError: Outside a request.
    """
    return _current("live_version").live_version()


async def request_context() -> RequestContext:
    """Who asks; for ``Depends(request_context)``.

    Raises:
        UsageError: Outside a request.
    """
    return _current("request_context").request_context()


def _current(asked: str) -> Current:
    try:
        return _CURRENT.get()
    except LookupError:
        raise UsageError(
            f"{asked}() was called outside a request: which version is live is decided for each",
            code="no_request",
            next_step=f"Ask for it in a route or one of its dependencies: Depends({asked}).",
        ) from None
