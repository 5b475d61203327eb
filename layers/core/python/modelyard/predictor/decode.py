"""From arrays to JSON values: what a model gave, as one value per instance.

The rule: an answer is either valid JSON or an error. JSON has no NaN, so an output that holds one is the model's
failure, and the instance at fault is named.
"""

from math import isfinite
from typing import Any

from modelyard.errors import ModelError
from modelyard.predictor.array import Array, all_finite
from modelyard.predictor.signature import Tensor
from modelyard.predictor.structs import struct_of


def row_type(outputs: tuple[Tensor, ...]) -> Any:
    """A struct that is written as a row of several outputs is, in half the time; None where `decode` needs none."""
    names = [tensor.name for tensor in outputs]
    return struct_of("Row", names, [Any] * len(names)) if len(names) > 1 else None


def decode(outputs: tuple[Tensor, ...], arrays: list[Any], rows: int, *, row: Any = None) -> list[Any]:
    """Turn outputs into one JSON value per row.

    One output gives its bare value, several give ``{output name: value}``; an output with classes gives
    ``{class: probability}``, an output of shape ``[batch, 1]`` its scalar.

    Args:
        outputs: The signature's.
        arrays: What an engine gave for each: an `Array`, or the rows of a ZipMap.
        rows: How many instances were asked for.
        row: Of `row_type`, where the values are written as JSON and nobody else looks at them.

    Raises:
        ModelError: When an output has another number of rows (``wrong_output``) or holds NaN or Infinity
            (``not_finite``): JSON has no way to write them.
    """
    columns = [_values(tensor, array, rows) for tensor, array in zip(outputs, arrays, strict=True)]
    if len(columns) == 1:
        return columns[0]
    if row is not None:
        return list(map(row, *columns))
    names = [tensor.name for tensor in outputs]
    if len(columns) == 2:  # label and probabilities; a dict display is twice as fast as zip
        first, second = names
        return [{first: a, second: b} for a, b in zip(*columns)]  # noqa: B905 - lengths are checked
    return [dict(zip(names, row)) for row in zip(*columns)]  # noqa: B905 - equal lengths, and this is per row


def not_finite(name: str, row: int) -> ModelError:
    """The error for an output that JSON cannot carry."""
    return ModelError(
        f"output {name!r} is not a finite number for instance {row}",
        code="not_finite",
        field=name,
        row=row,
        next_step="Check the instance for values far outside the training data.",
    )


def _values(tensor: Tensor, array: Any, rows: int) -> list[Any]:
    if type(array) is list:
        return _maps(tensor, array, rows)
    shape = array.shape
    if not shape or shape[0] != rows:
        raise _wrong_rows(tensor, list(shape), rows)
    elements = finite_elements(tensor.name, array)
    if tensor.classes is not None and shape[1:] == (len(tensor.classes),):
        classes, width = tensor.classes, len(tensor.classes)
        if width == 2:
            no, yes = classes
            pairs = iter(elements)
            return [{no: a, yes: b} for a, b in zip(pairs, pairs)]  # noqa: B905
        return [
            dict(zip(classes, elements[start : start + width]))  # noqa: B905
            for start in range(0, len(elements), width)
        ]
    if len(shape) == 1 or (tensor.scalar and shape[1:] == (1,)):
        return elements
    found: list[Any] = array.rows()
    return found


def finite_elements(name: str, array: Array) -> list[Any]:
    """All elements of an output.

    Raises:
        ModelError: With code ``not_finite``, the output and the first row at fault.
    """
    elements = array.elements()
    if not all_finite(array.dtype, elements):
        at = next(place for place, value in enumerate(elements) if not isfinite(value))
        raise not_finite(name, at * array.shape[0] // len(elements) if array.shape else 0)
    return elements


def _maps(tensor: Tensor, found: list[dict[str, Any]], rows: int) -> list[Any]:
    if len(found) != rows:
        raise _wrong_rows(tensor, [len(found)], rows)
    for row, probabilities in enumerate(found):
        if not all(map(isfinite, probabilities.values())):
            raise not_finite(tensor.name, row)
    return found


def _wrong_rows(tensor: Tensor, shape: list[int], rows: int) -> ModelError:
    return ModelError(
        f"output {tensor.name!r} has shape {shape} for {rows} instances; its first axis must be {rows}",
        code="wrong_output",
        field=tensor.name,
    )
