"""What the model gave as tensors of the answer: in JSON, or as bytes after it.

The rule: a caller gets the outputs that it named, in its order, or all. NaN and infinity are the model's failure in
either form, as they are for `modelyard.predictor.decode`: what a model answers does not depend on how it is asked.
"""

import struct
from typing import Any

import msgspec

from modelyard.errors import ModelError, RequestError
from modelyard.predictor.array import Array
from modelyard.predictor.decode import finite_elements
from modelyard.predictor.encode import listed
from modelyard.predictor.signature import FLOATS, Tensor
from modelyard.serving.oip.datatypes import DATATYPES
from modelyard.serving.oip.inputs import InferRequest


class Wanted:
    """One output as it is asked for.

    Attributes:
        place: Which of the model's outputs.
        tensor: That output.
        binary: Whether its values follow the JSON as bytes.
        classes: Of how many classes to tell the highest values; 0: the tensor itself.
    """

    __slots__ = ("binary", "classes", "place", "tensor")

    def __init__(self, place: int, tensor: Tensor, *, binary: bool, classes: int = 0) -> None:
        self.place = place
        self.tensor = tensor
        self.binary = binary
        self.classes = classes


def wanted_of(request: InferRequest, tensors: tuple[Tensor, ...]) -> list[Wanted]:
    """What a request asks for, before the model runs.

    Raises:
        RequestError: For an output that there is not, or not in that form.
    """
    by_default = _flag(request.parameters, "binary_data_output", default=False)
    if not request.outputs:
        wanted = [Wanted(place, tensor, binary=by_default) for place, tensor in enumerate(tensors)]
    else:
        places = {tensor.name: place for place, tensor in enumerate(tensors)}
        wanted = []
        for asked in request.outputs:
            place = places.pop(asked.name, None)
            if place is None:
                known = [tensor.name for tensor in tensors]
                twice = asked.name in known
                raise RequestError(
                    f"output {asked.name[:80]!r} is {'asked for twice' if twice else 'none of ' + listed(known)}",
                    code="duplicate_key" if twice else "unknown_field",
                    field=asked.name[:80],
                )
            binary = _flag(asked.parameters, "binary_data", default=by_default)
            wanted.append(Wanted(place, tensors[place], binary=binary, classes=_classes(asked.parameters)))
    for one in wanted:
        if one.tensor.dtype == "float16" and not one.binary and not one.classes:
            raise RequestError(
                f"output {one.tensor.name!r} is FP16, which has no form in JSON",
                code="wrong_type",
                field=one.tensor.name,
                next_step="Ask for it with binary_data.",
            )
        if one.classes and one.tensor.dtype not in FLOATS:
            raise RequestError(
                f"output {one.tensor.name!r} is {DATATYPES[one.tensor.dtype]}; only scores have highest classes",
                code="wrong_type",
                field=one.tensor.name,
            )
    return wanted


def written(wanted: list[Wanted], outputs: list[Any]) -> tuple[list[dict[str, Any]], list[Any]]:
    """The tensors of the answer, and the bytes that follow it.

    Args:
        wanted: What was asked for.
        outputs: What the model gave, as an engine gives it.

    Raises:
        ModelError: With code ``not_finite``.
    """
    tensors, tail = [], []
    for one in wanted:
        array = as_array(one.tensor, outputs[one.place])
        elements = finite_elements(one.tensor.name, array)
        if one.classes:
            array = elements_of_classes(one.tensor, array, elements, one.classes)
            elements = array.buffer
        tensor: dict[str, Any] = {"name": one.tensor.name, "datatype": DATATYPES[array.dtype], "shape": array.shape}
        if one.binary:
            data = _texts(elements) if array.dtype == "string" else array.buffer
            tensor["parameters"] = {"binary_data_size": len(data)}
            tail.append(data)
        else:
            tensor["data"] = elements
        tensors.append(tensor)
    return tensors, tail


def as_array(tensor: Tensor, found: Any) -> Array:
    """One output as an array; the rows of a ZipMap become a table with a column for each class.

    Raises:
        ModelError: When the rows have not all the same classes.
    """
    if type(found) is not list:
        array: Array = found
        return array
    classes = tensor.classes or tuple(found[0] if found else ())
    try:
        elements = [row[name] for row in found for name in classes]
    except KeyError as error:
        raise ModelError(
            f"output {tensor.name!r} has no value for class {error} in some row", code="wrong_output", field=tensor.name
        ) from None
    return Array.pack("float32", (len(found), len(classes)), elements)


def elements_of_classes(tensor: Tensor, array: Array, elements: list[Any], count: int) -> Array:
    """The highest values of each row as text ``value:index:label``, as Triton's classification extension has it."""
    rows = array.shape[0] if array.shape else 1
    width = len(elements) // rows if rows else 0
    labels = tensor.classes if tensor.classes is not None and len(tensor.classes) == width else None
    count = min(count, width)
    texts = []
    for start in range(0, rows * width, width or 1):
        row = elements[start : start + width]
        for place in sorted(range(width), key=row.__getitem__, reverse=True)[:count]:
            label = "" if labels is None else f":{labels[place]}"
            texts.append(f"{row[place]:f}:{place}{label}")
    return Array("string", (rows, count), texts)


def _texts(texts: list[str]) -> bytes:
    parts: list[bytes] = []
    for text in texts:
        encoded = text.encode()
        parts += (struct.pack("<I", len(encoded)), encoded)
    return b"".join(parts)


def _flag(parameters: dict[str, Any] | None, name: str, *, default: bool) -> bool:
    value = (parameters or {}).get(name, default)
    if type(value) is not bool:
        raise RequestError(
            f"the parameter {name} is {str(value)[:40]!r}; it must be true or false", code="wrong_type", field=name
        )
    return value


def _classes(parameters: dict[str, Any] | None) -> int:
    count = (parameters or {}).get("classification", 0)
    if type(count) is not int or count < 0:
        raise RequestError(
            f"the parameter classification is {str(count)[:40]!r}; it must be a number of classes",
            code="wrong_type",
            field="classification",
        )
    return count


def answer_text(answer: dict[str, Any]) -> bytes:
    """The JSON of an answer.

    Raises:
        ModelError: When the model gave text that is not Unicode.
    """
    try:
        return msgspec.json.encode(answer)
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelError(f"the model's answer is not JSON: {error}", code="wrong_output") from error
