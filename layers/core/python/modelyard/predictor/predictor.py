"""`Predictor`: a loaded model that answers a list of instances, or says what is wrong with them."""

from typing import Any, Protocol

from modelyard.errors import AdmissionError, RequestError
from modelyard.predictor.arrays import check_finite, decode, encode
from modelyard.predictor.code import ModelCode
from modelyard.predictor.signature import Signature
from modelyard.predictor.standard import StandardEngine

MAX_INSTANCES = 10_000
"""Most instances of one request: bounds the memory and the time that a caller can ask for."""


class Engine(Protocol):
    """What runs a model: arrays by input name in, arrays in the order of the signature's outputs out."""

    def run(self, feeds: dict[str, Any]) -> list[Any]:
        """Run the model once."""
        ...


class Predictor:
    """One model, ready to answer. Safe to call from several threads at once.

    Args:
        engine: What runs the model.
        signature: What it takes and gives.
        code: The model's own hooks, if it has some.
        max_instances: Most instances of one call.
    """

    __slots__ = ("_batch", "_code", "_engine", "max_instances", "signature")

    def __init__(
        self,
        engine: Engine,
        signature: Signature,
        *,
        code: ModelCode | None = None,
        max_instances: int = MAX_INSTANCES,
    ) -> None:
        self._engine = engine
        self._code = code
        self.signature = signature
        self.max_instances = max_instances
        self._batch = next((tensor.shape[0] for tensor in signature.inputs if tensor.shape[0] is not None), None)

    @classmethod
    def load(
        cls,
        model: bytes,
        *,
        signature: dict[str, Any] | None = None,
        code: ModelCode | None = None,
        threads: int = 1,
        max_instances: int = MAX_INSTANCES,
    ) -> "Predictor":
        """Load an ONNX file on the standard engine.

        Args:
            model: The bytes of the file.
            signature: As it was registered; left out, it is read from the model.
            code: The model's own hooks, if it has some.
            threads: Of the engine, see `modelyard.predictor.standard.threads_for`.
            max_instances: Most instances of one call.

        Raises:
            AdmissionError: When the model does not load, or is not the one that the signature describes.
        """
        engine = StandardEngine(model, threads=threads)
        found = engine.signature()
        if signature is not None and _names_and_dtypes(signature) != _names_and_dtypes(found):
            raise AdmissionError(
                f"the registered signature names {_names_and_dtypes(signature)}, the model {_names_and_dtypes(found)}",
                code="invalid_signature",
            )
        return cls(engine, Signature.parse(signature or found), code=code, max_instances=max_instances)

    def predict(self, instances: list[Any]) -> list[Any]:
        """Answer each instance with one plain JSON value, in the same order.

        NaN and Infinity never reach the model's own ``postprocess``: the largest of several NaNs would be an answer.

        Args:
            instances: Objects ``{input name: value}``, or with a single input also the bare values; what the model's
                own ``preprocess`` takes, if it has one.

        Raises:
            RequestError: Naming the field and row at fault.
            ModelError: When the model or its own code raises, or answers with NaN or Infinity.
        """
        rows = len(instances)
        if rows == 0:
            raise RequestError("'instances' is empty; send at least 1", code="empty_batch", field="instances")
        if rows > self.max_instances:
            raise RequestError(
                f"'instances' holds {rows:,}; at most {self.max_instances:,} are allowed in one request",
                code="batch_too_large",
                status=413,
                field="instances",
                next_step="Split the instances over several requests.",
            )
        if self._batch not in (None, rows):
            raise RequestError(
                f"'instances' holds {rows}; the model was exported for exactly {self._batch}",
                code="wrong_batch",
                field="instances",
                next_step="Export the model with a batch axis that may vary.",
            )
        code, signature = self._code, self.signature
        if code is not None and code.preprocess is not None:
            feeds = code.arrays(signature.inputs, instances)
        else:
            feeds = encode(signature.inputs, instances)
        arrays = self._engine.run(feeds)
        if code is None or code.postprocess is None:
            return decode(signature.outputs, arrays, rows)
        outputs = {tensor.name: array for tensor, array in zip(signature.outputs, arrays, strict=True)}
        for name, array in outputs.items():
            check_finite(name, array)
        return code.answers(outputs, rows)


def _names_and_dtypes(signature: dict[str, Any]) -> list[tuple[Any, Any]]:
    try:
        return [(tensor["name"], tensor["dtype"]) for part in ("inputs", "outputs") for tensor in signature[part]]
    except (KeyError, TypeError):
        return []
