"""`Predictor`: a loaded model that answers a list of instances, or says what is wrong with them."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from math import prod
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal, Protocol

from modelyard.contract.document import Contract
from modelyard.errors import AdmissionError, ModelError, RequestError
from modelyard.predictor.array import ITEM_BYTES, Array
from modelyard.predictor.decode import decode, row_type
from modelyard.predictor.reader import Batch, Reader, read_instances
from modelyard.predictor.signature import Signature

if TYPE_CHECKING:  # it imports numpy, and only models with code of their own need it
    from modelyard.predictor.code import ModelCode
    from modelyard.predictor.screen import Screen

MAX_INSTANCES = 10_000
"""Most instances of one request: bounds the memory and the time that a caller can ask for."""

LARGE = 1024
"""Elements of a batch from which on the engine looks at them, see `modelyard.predictor.screen`."""

EngineName = Literal["lean", "standard"]


class Engine(Protocol):
    """What runs a model: one array for each input in, one output for each of the signature's out."""

    def run(self, arrays: Sequence[Array], stop: Any = None) -> list[Any]:
        """Run the model once; ``stop`` may end it."""
        ...

    def stop(self) -> Any:
        """What ends a run: see `modelyard.predictor.stopping`."""
        ...


Run = Callable[[Sequence[Array]], list[Any]]
Timed = Callable[[Sequence[Array]], tuple[list[Any], float]]
"""Runs an engine once: what came out, and the engine's seconds."""


class Predictor:
    """One model, ready to answer. Safe to call from several threads at once.

    Args:
        engine: What runs the model.
        signature: What it takes and gives.
        contract: What its values must be; ``None`` checks types and shapes only.
        code: The model's own hooks, if it has some. What a ``preprocess`` takes is its own affair; the contract is
            about what it makes of that.
        max_instances: Most instances of one call.
    """

    __slots__ = (
        "_bound", "_code", "_engine", "_preprocess", "_row", "_run", "_screen", "check_rows", "max_instances", "reader",
        "signature",
    )  # fmt: skip

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
        self._run: Run = engine.run
        self._bound: Timed | None = None
        self._code = code
        self._preprocess = code is not None and code.preprocess is not None
        self._screen: Screen | None = None
        self.signature = signature
        self.max_instances = max_instances
        exactly = next((tensor.shape[0] for tensor in signature.inputs if tensor.shape[0] is not None), None)
        self.check_rows = RowLimit(max_instances, exactly)
        self.reader = Reader(signature, contract, check_rows=self.check_rows)
        self._row = row_type(signature.outputs)

    @classmethod
    def load(
        cls,
        model: bytes | str,
        *,
        signature: dict[str, Any] | None = None,
        contract: Contract | None = None,
        code: "ModelCode | None" = None,
        engine: EngineName = "standard",
        threads: int = 1,
        options: dict[str, str] | None = None,
        kernel: str | None = None,
        max_instances: int = MAX_INSTANCES,
        providers: tuple[str, ...] = ("cpu",),
    ) -> "Predictor":
        """Load an ONNX file.

        Args:
            model: The bytes of the file, or the name of one that nobody else can write to.
            signature: As it was registered; left out, it is read from the model.
            contract: As it was registered, if it was.
            code: The model's own hooks, if it has some.
            engine: Which engine runs it.
            threads: Of the engine, see `modelyard.predictor.threads.threads_for`.
            options: Session options by onnxruntime's names.
            kernel: The library with the operations of our own that the file has, if it has some.
            max_instances: Most instances of one call.
            providers: What the standard engine runs on, the first that takes an operator: ``cuda``, ``cpu``.

        Raises:
            AdmissionError: When the model does not load, or is not the one that the signature describes.
        """
        loaded: Any
        if engine == "lean":
            from modelyard.predictor.lean import LeanEngine

            loaded = LeanEngine(model, threads=threads, options=options, kernel=kernel)
        else:
            from modelyard.predictor.standard import StandardEngine

            loaded = StandardEngine(model, threads=threads, options=options, kernel=kernel, providers=providers)
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

    def answer(self, body: str | bytes, *, structs: bool = False) -> tuple[list[Any], list[dict[str, Any]]]:
        """Answer the text of a request.

        Args:
            body: JSON, ``{"instances": [...]}``.
            structs: Whether the answers of a model with several outputs may be structs, which msgspec writes sooner.

        Returns:
            One plain JSON value per instance, in the same order; and what the contract warns of.

        Raises:
            RequestError: Naming the field and row at fault.
            ModelError: When the model or its own code raises, or answers with NaN or Infinity.
        """
        batch = self.read(body)
        return self.decoded(self.run(batch), batch.rows, structs=structs), batch.warnings

    def read(self, body: str | bytes) -> Batch:
        """What the text of a request asks the model for.

        Raises:
            RequestError: Naming the field and row at fault.
            ModelError: When the model's own ``preprocess`` raises.
        """
        if self._preprocess:
            return self._preprocessed(read_instances(body))
        return self.reader.read(body)

    def admit(self, arrays: list[Array]) -> Batch:
        """The batch of arrays that did not come from JSON, one for each input, in its shape and dtype.

        They are held to what JSON is held to: NaN stands for ``null``, infinity is no value, and the contract is
        enforced.

        Raises:
            RequestError: Naming the field and row at fault.
        """
        from modelyard.predictor.values import check_finite

        rows = arrays[0].shape[0]
        self.check_rows(rows)
        clean: frozenset[int] = frozenset()
        if sum(prod(array.shape) for array in arrays) >= LARGE:
            if self._screen is None:
                from modelyard.predictor.screen import Screen

                self._screen = Screen(type(self._engine), self.signature.inputs, self.reader.checks)
            clean = self._screen.clean(arrays)
        nulls = self.reader.nulls
        for place, (tensor, array) in enumerate(zip(self.signature.inputs, arrays, strict=True)):
            if place not in clean:
                check_finite(tensor, array, nullable=tensor.name in nulls)
        return self.reader.checked(rows, arrays, clean=clean)

    def predict(self, instances: list[Any]) -> list[Any]:
        """Answer each instance with one plain JSON value, in the same order.

        Args:
            instances: Objects ``{input name: value}``, or with a single input also the bare values; what the model's
                own ``preprocess`` takes, if it has one.

        Raises:
            RequestError: Naming the field and row at fault.
            ModelError: When the model or its own code raises, or answers with NaN or Infinity.
        """
        batch = self.batch(instances)
        return self.decoded(self.run(batch), batch.rows)

    def batch(self, instances: list[Any]) -> Batch:
        """What a list of instances asks the model for; see `predict`."""
        return self._preprocessed(instances) if self._preprocess else self.reader.batch(instances)

    def _preprocessed(self, instances: list[Any]) -> Batch:
        rows = len(instances)
        self.check_rows(rows)
        if self._code is None:  # pragma: no cover - where there is none, nothing comes here
            return self.reader.batch(instances)
        return self.reader.checked(rows, self._code.arrays(self.signature.inputs, instances))

    def prime(self) -> None:
        """Run the model once on zeros, for what only a first run allocates; whatever comes of it."""
        arrays = []
        for tensor in self.signature.inputs:
            shape = tuple(1 if size is None else size for size in tensor.shape)
            count = prod(shape)
            # Zero bytes are zeros. A list of them for a picture would take milliseconds from the requests beside.
            elements = ["0"] * count if tensor.dtype == "string" else bytes(count * ITEM_BYTES[tensor.dtype])
            arrays.append(Array(tensor.dtype, shape, elements))
        with suppress(ModelError):
            self._engine.run(arrays)

    def run(self, batch: Batch) -> list[Any]:
        """What the model gives for a batch: one output for each of the signature's, as an engine gives it.

        Raises:
            RequestError: For a number of rows that the model does not take.
            ModelError: When the model raises.
        """
        self.check_rows(batch.rows)
        return self._run(batch.arrays)

    def run_timed(self, batch: Batch) -> tuple[list[Any], float]:
        """The same, and the engine's seconds; of a version on trial no more than that, so that the two compare."""
        self.check_rows(batch.rows)
        if self._bound is not None:
            return self._bound(batch.arrays)
        began = perf_counter()
        outputs = self._engine.run(batch.arrays)
        return outputs, perf_counter() - began

    @property
    def bounded_by(self) -> Timed | None:
        """What every run goes through, where it goes through anything."""
        return self._bound

    def bound(self, wrap: Callable[[Engine], Timed] | None) -> None:
        """From now on have every run go through what ``wrap`` makes of the engine; None: as it was."""
        self._bound = bound = None if wrap is None else wrap(self._engine)
        self._run = self._engine.run if bound is None else lambda arrays: bound(arrays)[0]

    def decoded(self, outputs: list[Any], rows: int, *, structs: bool = False) -> list[Any]:
        """What the model gave as one plain JSON value for each row, by its own ``postprocess`` if it has one.

        Args:
            outputs: What `run` gave.
            rows: How many it was asked for.
            structs: As for `answer`.

        Raises:
            ModelError: When that raises, or for NaN and Infinity.
        """
        code = self._code
        if code is None or code.postprocess is None:
            return decode(self.signature.outputs, outputs, rows, row=self._row if structs else None)
        return code.answers(self.signature.outputs, outputs, rows)

    @property
    def has_code(self) -> bool:
        """Whether there is code of the model's own around it."""
        return self._code is not None

    @property
    def has_preprocess(self) -> bool:
        """Whether the model's own code makes its inputs, so that instances are no tensors of the signature."""
        return self._preprocess

    @property
    def has_postprocess(self) -> bool:
        """Whether the model's own code makes the answers, so that they are no tensors of the signature."""
        return self._code is not None and self._code.postprocess is not None


class RowLimit:
    """How many rows a model takes in one request.

    An object of its own: whoever reads requests holds it and not the predictor, so that a replaced predictor is freed,
    with its session, as soon as the last request has left it.

    Args:
        most: Most instances of one call.
        exactly: The only number that the model takes, or ``None``.
    """

    __slots__ = ("exactly", "most")

    def __init__(self, most: int, exactly: int | None) -> None:
        self.most = most
        self.exactly = exactly

    def __call__(self, rows: int) -> None:
        """Refuse a number of rows that the model does not take, or that is too much for one request.

        Raises:
            RequestError: With code ``empty_batch``, ``batch_too_large`` or ``wrong_batch``.
        """
        if rows == 0:
            raise RequestError("'instances' is empty; send at least 1", code="empty_batch", field="instances")
        if rows > self.most:
            raise RequestError(
                f"'instances' holds {rows:,}; at most {self.most:,} are allowed in one request",
                code="batch_too_large",
                status=413,
                field="instances",
                next_step="Split the instances over several requests.",
            )
        if self.exactly not in (None, rows):
            raise RequestError(
                f"'instances' holds {rows}; the model was exported for exactly {self.exactly}",
                code="wrong_batch",
                field="instances",
                next_step="Export the model with a batch axis that may vary.",
            )


def _names_and_dtypes(signature: dict[str, Any]) -> list[tuple[Any, Any]]:
    try:
        return [(tensor["name"], tensor["dtype"]) for part in ("inputs", "outputs") for tensor in signature[part]]
    except (KeyError, TypeError):
        return []
