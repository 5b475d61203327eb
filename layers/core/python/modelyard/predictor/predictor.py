"""`Predictor`: a loaded model that answers a list of instances, or says what is wrong with them."""

from contextlib import suppress
from math import prod
from typing import TYPE_CHECKING, Any, Literal, Protocol

from modelyard.contract.document import Contract
from modelyard.errors import AdmissionError, ModelError, RequestError
from modelyard.predictor.array import Array
from modelyard.predictor.decode import decode
from modelyard.predictor.reader import Batch, Reader, read_instances
from modelyard.predictor.signature import Signature

if TYPE_CHECKING:  # it imports numpy, and only models with code of their own need it
    from modelyard.predictor.code import ModelCode

MAX_INSTANCES = 10_000
"""Most instances of one request: bounds the memory and the time that a caller can ask for."""

EngineName = Literal["lean", "standard"]


class Engine(Protocol):
    """What runs a model: one array for each input in, one output for each of the signature's out."""

    def run(self, arrays: list[Array]) -> list[Any]:
        """Run the model once."""
        ...


class Predictor:
    """One model, ready to answer. Safe to call from several threads at once.

    Args:
        engine: What runs the model.
        signature: What it takes and gives.
        contract: What its values must be; ``None`` checks types and shapes only.
        code: The model's own hooks, if it has some. What a ``preprocess`` takes is its own affair, so there the
            contract is not enforced.
        max_instances: Most instances of one call.
    """

    __slots__ = ("_batch", "_code", "_engine", "_preprocess", "max_instances", "reader", "signature")

    def __init__(
        self,
        engine: Engine,
        signature: Signature,
        *,
        contract: Contract | None = None,
        code: "ModelCode | None" = None,
        max_instances: int = MAX_INSTANCES,
    ) -> None:
        self._engine = engine
        self._code = code
        self._preprocess = code is not None and code.preprocess is not None
        self.signature = signature
        self.reader = Reader(signature, contract)
        self.max_instances = max_instances
        self._batch = next((tensor.shape[0] for tensor in signature.inputs if tensor.shape[0] is not None), None)

    @classmethod
    def load(
        cls,
        model: bytes,
        *,
        signature: dict[str, Any] | None = None,
        contract: Contract | None = None,
        code: "ModelCode | None" = None,
        engine: EngineName = "standard",
        threads: int = 1,
        options: dict[str, str] | None = None,
        max_instances: int = MAX_INSTANCES,
    ) -> "Predictor":
        """Load an ONNX file.

        Args:
            model: The bytes of the file.
            signature: As it was registered; left out, it is read from the model.
            contract: As it was registered, if it was.
            code: The model's own hooks, if it has some.
            engine: Which engine runs it.
            threads: Of the engine, see `modelyard.predictor.threads.threads_for`.
            options: Session options by onnxruntime's names.
            max_instances: Most instances of one call.

        Raises:
            AdmissionError: When the model does not load, or is not the one that the signature describes.
        """
        loaded: Any
        if engine == "lean":
            from modelyard.predictor.lean import LeanEngine

            loaded = LeanEngine(model, threads=threads, options=options)
        else:
            from modelyard.predictor.standard import StandardEngine

            loaded = StandardEngine(model, threads=threads, options=options)
        found = loaded.signature()
        if signature is not None and _names_and_dtypes(signature) != _names_and_dtypes(found):
            raise AdmissionError(
                f"the registered signature names {_names_and_dtypes(signature)}, the model {_names_and_dtypes(found)}",
                code="invalid_signature",
            )
        return cls(
            loaded,
            Signature.parse(signature or found),
            contract=contract,
            code=code,
            max_instances=max_instances,
        )

    def answer(self, body: str | bytes) -> tuple[list[Any], list[dict[str, Any]]]:
        """Answer the text of a request.

        Args:
            body: JSON, ``{"instances": [...]}``.

        Returns:
            One plain JSON value per instance, in the same order; and what the contract warns of.

        Raises:
            RequestError: Naming the field and row at fault.
            ModelError: When the model or its own code raises, or answers with NaN or Infinity.
        """
        if self._preprocess:
            return self.predict(read_instances(body)), []
        batch = self.reader.read(body)
        return self._decoded(self.run(batch), batch.rows), batch.warnings

    def predict(self, instances: list[Any]) -> list[Any]:
        """Answer each instance with one plain JSON value, in the same order.

        Args:
            instances: Objects ``{input name: value}``, or with a single input also the bare values; what the model's
                own ``preprocess`` takes, if it has one.

        Raises:
            RequestError: Naming the field and row at fault.
            ModelError: When the model or its own code raises, or answers with NaN or Infinity.
        """
        rows = len(instances)
        self._check_rows(rows)
        if self._preprocess and self._code is not None:
            batch = Batch(rows, self._code.arrays(self.signature.inputs, instances), [])
        else:
            batch = self.reader.batch(instances)
        return self._decoded(self.run(batch), rows)

    def prime(self) -> None:
        """Run the model once on zeros, for what only a first run allocates; whatever comes of it."""
        arrays = []
        for tensor in self.signature.inputs:
            shape = tuple(1 if size is None else size for size in tensor.shape)
            zero = {"string": "0", "bool": False}.get(tensor.dtype, 0)
            arrays.append(Array.pack(tensor.dtype, shape, [zero] * prod(shape)))
        with suppress(ModelError):
            self._engine.run(arrays)

    def run(self, batch: Batch) -> list[Any]:
        """What the model gives for a batch: one output for each of the signature's, as an engine gives it.

        Raises:
            RequestError: For a number of rows that the model does not take.
            ModelError: When the model raises.
        """
        self._check_rows(batch.rows)
        return self._engine.run(batch.arrays)

    def _decoded(self, outputs: list[Any], rows: int) -> list[Any]:
        code = self._code
        if code is None or code.postprocess is None:
            return decode(self.signature.outputs, outputs, rows)
        return code.answers(self.signature.outputs, outputs, rows)

    def _check_rows(self, rows: int) -> None:
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


def _names_and_dtypes(signature: dict[str, Any]) -> list[tuple[Any, Any]]:
    try:
        return [(tensor["name"], tensor["dtype"]) for part in ("inputs", "outputs") for tensor in signature[part]]
    except (KeyError, TypeError):
        return []
