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
from modelyard.predictor.reader import Batch
from modelyard.serving.audit import identity
from modelyard.serving.exchange import Exchange
from modelyard.serving.follow import Live

Failed = Callable[[Live, Exception], None]
"""Is told of a version on trial that failed, when the champion has answered in its place."""


class LiveVersion:
    """The version of the model that answers this request, from its first line to its last.

    Only where that is one on trial, and fails, the champion takes over, for the rest of the request.

    Attributes:
        model: Name of the model.
    """

    __slots__ = ("_champion", "_exchange", "_failed", "_live", "model")

    def __init__(
        self, exchange: Exchange, live: Live, *, model: str, champion: Live | None = None, failed: Failed | None = None
    ) -> None:
        self.model = model
        self._live = live
        self._exchange = exchange
        self._champion = champion
        self._failed = failed

    @property
    def version(self) -> int:
        """Number of the version."""
        return self._live.version

    @property
    def digest(self) -> str:
        """SHA-256 of its ONNX file."""
        return self._live.digest

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
        return self._answered(lambda predictor: predictor.batch(instances), lambda: instances)[0]

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
        return self._answered(lambda predictor: predictor.read(body), lambda: msgspec.json.decode(body)["instances"])

    def _answered(
        self, read: Callable[[Predictor], Batch], instances: Callable[[], list[Any]]
    ) -> tuple[list[Any], list[dict[str, Any]]]:
        exchange = self._exchange
        predictions, warnings, seconds = self._tried(read)
        exchange.warned += len(warnings)
        exchange.rows += len(predictions)
        _ = self.prediction_id
        if exchange.kept is not None:  # several predictions of one request are one record
            exchange.kept.add(instances(), predictions, seconds)
        return predictions, warnings

    def _tried(self, read: Callable[[Predictor], Batch]) -> tuple[list[Any], list[dict[str, Any]], float]:
        champion, failed = self._champion, self._failed
        if champion is None or failed is None:
            return _predicted(self._live, read)
        try:
            return _predicted(self._live, read)
        except Exception as error:  # noqa: BLE001 - whatever it is, the champion answers
            answered = _predicted(champion, read)  # or refuses it as well
            failed(self._live, error)
            self._live = self._exchange.live = champion
            self._champion = None
            return answered


def _predicted(live: Live, read: Callable[[Predictor], Batch]) -> tuple[list[Any], list[dict[str, Any]], float]:
    predictor = cast("Predictor", live.predictor)
    batch = read(predictor)
    outputs, seconds = predictor.run_timed(batch)
    return predictor.decoded(outputs, batch.rows), batch.warnings, seconds


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
        champion: What answers where a version on trial fails.
        failed: Is told of that.
    """

    __slots__ = ("_champion", "_exchange", "_failed", "_live", "_model", "_version")

    def __init__(
        self,
        exchange: Exchange,
        live: Live | ModelyardError,
        *,
        model: str,
        champion: Live | None = None,
        failed: Failed | None = None,
    ) -> None:
        self._exchange = exchange
        self._live = live
        self._model = model
        self._champion = champion
        self._failed = failed
        self._version: LiveVersion | None = None

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
        if self._version is None:
            self._version = LiveVersion(
                self._exchange, self._live, model=self._model, champion=self._champion, failed=self._failed
            )
        return self._version

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
