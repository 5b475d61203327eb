"""`Kept`: one request as it is captured: what was asked, what was answered, and how long the engine took.

The rule: a request pays for references. What was asked is made into JSON, and what an engine gave into predictions,
when the answer is out. The same request can be asked of another version, whatever form it came in.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from modelyard.errors import ModelError
from modelyard.predictor.array import Array
from modelyard.predictor.decode import decode
from modelyard.predictor.predictor import Predictor
from modelyard.predictor.reader import Batch


class _Text(msgspec.Struct):
    """A body, of which the instances stay the text that they are."""

    instances: msgspec.Raw


class Asked(Protocol):
    """What a request asks for, in one of its forms."""

    def instances(self) -> Any:
        """Anything that msgspec encodes as the list of instances."""
        ...

    def batch(self, predictor: Predictor) -> Batch:
        """The same asked of another version.

        Raises:
            ModelyardError: Where that version does not take it.
        """
        ...


class AskedText:
    """A JSON body, which a predictor has read."""

    __slots__ = ("_body",)

    def __init__(self, body: str | bytes) -> None:
        self._body = body

    def instances(self) -> Any:
        """The text of the instances, as it came."""
        return msgspec.json.decode(self._body, type=_Text).instances

    def batch(self, predictor: Predictor) -> Batch:
        """Read anew, by the other version's signature and contract."""
        return predictor.read(self._body)


class AskedArrays:
    """Tensors, as they come by the Open Inference Protocol, NPY and Arrow."""

    __slots__ = ("_arrays", "_names")

    def __init__(self, names: list[str], arrays: Sequence[Array]) -> None:
        self._names = names
        self._arrays = arrays

    def instances(self) -> list[dict[str, Any]]:
        """An object for each row."""
        columns = [
            array.elements() if array.shape[1:] == (1,) else array.rows() for array in self._arrays
        ]  # a value a row is written bare, as in JSON requests
        return [dict(zip(self._names, row, strict=True)) for row in zip(*columns, strict=True)]

    def batch(self, predictor: Predictor) -> Batch:
        """The same tensors, where the other version takes such."""
        there = dict(zip(self._names, self._arrays, strict=True))
        arrays = []
        for tensor in predictor.signature.inputs:
            array = there.get(tensor.name)
            if array is None or array.dtype != tensor.dtype:
                found = "none of that name" if array is None else array.dtype
                raise ModelError(
                    f"input {tensor.name!r} is {tensor.dtype}; the request has {found}", code="wrong_signature"
                )
            arrays.append(array)
        return predictor.admit(arrays)


class AskedInstances:
    """Instances that a model's own app made."""

    __slots__ = ("_instances",)

    def __init__(self, instances: list[Any]) -> None:
        self._instances = instances

    def instances(self) -> list[Any]:
        """As they are."""
        return self._instances

    def batch(self, predictor: Predictor) -> Batch:
        """Read by the other version."""
        return predictor.batch(self._instances)


class Kept:
    """What is known of a request when it has been answered; until then nothing.

    Attributes:
        asked: What was asked.
        answered: The predictions, or what makes them when the answer is out.
        seconds: The engine's, for all rows.
    """

    __slots__ = ("answered", "asked", "seconds")

    def __init__(self) -> None:
        self.asked: Asked | None = None
        self.answered: list[Any] | Callable[[], list[Any]] | None = None
        self.seconds = 0.0

    def note(self, asked: Asked, answered: list[Any] | Callable[[], list[Any]], seconds: float) -> None:
        """Keep these; of what they refer to, nothing may be changed afterwards."""
        self.asked, self.answered, self.seconds = asked, answered, seconds

    def note_tensors(self, predictor: Predictor, batch: Batch, outputs: list[Any], seconds: float) -> None:
        """The same for tensors in and out; own code has no part in these."""
        names = [tensor.name for tensor in predictor.signature.inputs]
        signature, rows = predictor.signature, batch.rows
        self.note(AskedArrays(names, batch.arrays), lambda: decode(signature.outputs, outputs, rows), seconds)

    def add(self, instances: list[Any], predictions: list[Any], seconds: float) -> None:
        """Several predictions of one request are one record."""
        before = self.asked.instances() if self.asked is not None else ()
        answered = self.answered if isinstance(self.answered, list) else ()
        self.note(AskedInstances([*before, *instances]), [*answered, *predictions], self.seconds + seconds)


def predicted(predictor: Predictor, batch: Batch, *, structs: bool = False) -> tuple[list[Any], float]:
    """Predictions for a batch, and the engine's seconds.

    Raises:
        ModelyardError: As the predictor does.
    """
    outputs, seconds = predictor.run_timed(batch)
    return predictor.decoded(outputs, batch.rows, structs=structs), seconds
