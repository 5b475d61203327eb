"""Between JSON values and arrays: `encode` on the way in, `decode` on the way out.

The rule: nothing is converted silently. A string is no number, ``true`` is no 1, 5.0 is no integer, 300 is no int8, and
an answer is either valid JSON or an error. The common case is checked by whole columns at C speed, with
``set(map(type, column))``; only when a column is refused are its rows walked, to name the first one at fault.
"""

from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard.errors import ModelError, RequestError
from modelyard.predictor.signature import FLOATS, INTEGERS, Tensor

Array = NDArray[Any]

_LEAVES: dict[str, frozenset[type]] = {
    "string": frozenset({str}),
    "bool": frozenset({bool}),
    **dict.fromkeys(INTEGERS, frozenset({int})),
    **dict.fromkeys(FLOATS, frozenset({float, int})),
}
"""JSON types that an element of a dtype may have. `type`, not `isinstance`: a bool is an int to the latter."""

_NUMPY: dict[str, Any] = {
    "string": np.dtype(object),
    **{name: np.dtype(name) for name in (*FLOATS, *INTEGERS, "bool")},
}

_SAID = {str: "a string", bool: "a boolean", int: "an integer", float: "a number with a fraction"}


def encode(inputs: tuple[Tensor, ...], instances: list[Any]) -> dict[str, Array]:
    """Turn instances into one array per input.

    Args:
        inputs: The signature's inputs.
        instances: One per row: an object ``{input name: value}``, or with a single input the value itself.

    Raises:
        RequestError: Naming the first input and row at fault.
    """
    columns = _columns(inputs, instances)
    with np.errstate(over="ignore"):  # a float32 overflow becomes infinity, which is refused below with its row
        return {tensor.name: _array(tensor, column) for tensor, column in zip(inputs, columns, strict=True)}


def decode(outputs: tuple[Tensor, ...], arrays: list[Array], rows: int) -> list[Any]:
    """Turn output arrays into one JSON value per row.

    One output gives its bare value, several give ``{output name: value}``; an output with classes gives
    ``{class: probability}``, an output of shape ``[batch, 1]`` its scalar.

    Raises:
        ModelError: When an output has another number of rows (``wrong_output``) or holds NaN or Infinity
            (``not_finite``): JSON has no way to write them.
    """
    columns = [_values(tensor, array, rows) for tensor, array in zip(outputs, arrays, strict=True)]
    if len(columns) == 1:
        return columns[0]
    names = [tensor.name for tensor in outputs]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def check_finite(name: str, array: Array) -> None:
    """Refuse an output that JSON cannot carry.

    Raises:
        ModelError: With code ``not_finite``, the output and the first row at fault.
    """
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0][0])
        raise ModelError(
            f"output {name!r} is not a finite number for instance {row}",
            code="not_finite",
            field=name,
            row=row,
            next_step="Check the instance for values far outside the training data.",
        )


def _values(tensor: Tensor, array: Array, rows: int) -> list[Any]:
    if array.ndim == 0 or array.shape[0] != rows:
        raise ModelError(
            f"output {tensor.name!r} has shape {list(array.shape)} for {rows} instances; its first axis must be {rows}",
            code="wrong_output",
            field=tensor.name,
        )
    check_finite(tensor.name, array)
    if tensor.classes is not None and array.shape[1:] == (len(tensor.classes),):
        classes = tensor.classes
        return [dict(zip(classes, row, strict=False)) for row in array.tolist()]  # equal lengths, see above
    if tensor.scalar and array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    values: list[Any] = array.tolist()
    return values


def _columns(inputs: tuple[Tensor, ...], instances: list[Any]) -> list[Any]:
    """One list of values per input, in the order of the signature."""
    names = [tensor.name for tensor in inputs]
    if len(names) == 1:
        name = names[0]
        objects = set(map(type, instances))
        if dict not in objects:
            return [instances]
        if len(objects) > 1:
            instances = [instance if type(instance) is dict else {name: instance} for instance in instances]
    try:
        if sum(map(len, instances)) == len(names) * len(instances):
            # All keys are found in every row and there are no more: so each row has exactly these keys.
            found = map(itemgetter(*names), instances)
            return [list(found)] if len(names) == 1 else list(zip(*found, strict=True))
    except (KeyError, TypeError, IndexError):
        pass
    raise _refused_keys(names, instances)


def _refused_keys(names: list[str], instances: list[Any]) -> RequestError:
    for row, instance in enumerate(instances):
        if type(instance) is not dict:
            return _refusal(
                f"instance {row} is {_said(instance)}; it must be an object with {_listed(names)}", "wrong_type", row
            )
        missing = [name for name in names if name not in instance]
        if missing:
            return _refusal(f"instance {row} lacks {missing[0]!r}", "missing_field", row, missing[0])
        unknown = next((key for key in instance if key not in names), None)
        if unknown is not None:
            return _refusal(
                f"instance {row} has {unknown[:80]!r}, which is no input; allowed are {_listed(names)}",
                "unknown_field",
                row,
                unknown[:80],
            )
    raise AssertionError("the keys of every row are right")  # pragma: no cover - the caller found one that is not


def _array(tensor: Tensor, column: Any) -> Array:
    shape = [len(column)]
    leaves: Any = column
    if tensor.scalar:
        kinds = set(map(type, leaves))
        if list in kinds and len(tensor.shape) == 2:
            leaves = [value[0] if type(value) is list and len(value) == 1 else value for value in leaves]
            kinds = set(map(type, leaves))
        shape.extend([1] * (len(tensor.shape) - 1))
    else:
        for size in tensor.shape[1:]:
            lengths = set(map(len, leaves)) if set(map(type, leaves)) == {list} else set()
            length = lengths.pop() if len(lengths) == 1 else 0
            if length == 0 or size not in (None, length):
                raise _refused_column(tensor, column)
            shape.append(length)
            leaves = list(chain.from_iterable(leaves))
        kinds = set(map(type, leaves))
    nulls = tensor.nullable and type(None) in kinds
    if nulls:
        kinds.discard(type(None))
    if not kinds <= _LEAVES[tensor.dtype]:
        raise _refused_column(tensor, column)
    try:
        array = np.array(leaves, dtype=_NUMPY[tensor.dtype])  # numpy reads None as NaN
    except OverflowError:
        raise _refused_column(tensor, column) from None
    if array.dtype.kind == "f" and (np.isinf(array).any() if nulls else not np.isfinite(array).all()):
        raise _refused_column(tensor, column)
    return array.reshape(shape)


def _refused_column(tensor: Tensor, column: Any) -> RequestError:
    """The first row of a refused column, and what is wrong with it."""
    first: list[int] | None = None
    for row, value in enumerate(column):
        wrapped = not tensor.scalar or (type(value) is list and len(tensor.shape) == 2)
        problem, code, shape = _problem(tensor, value, tensor.shape[1:] if wrapped else ())
        if problem is not None:
            return _refusal(f"{tensor.name!r} of instance {row} {problem}", code, row, tensor.name)
        if first is None:
            first = shape
        elif shape != first and not tensor.scalar:
            return _refusal(
                f"{tensor.name!r} of instance {row} has shape {shape} and of instance 0 {first}; they must be equal",
                "ragged",
                row,
                tensor.name,
            )
    raise AssertionError(f"every row of {tensor.name!r} is right")  # pragma: no cover - the caller found one


def _problem(tensor: Tensor, value: Any, sizes: tuple[int | None, ...]) -> tuple[str | None, str, list[int]]:
    """What is wrong with one value, the code, and the shape that it has."""
    if not sizes:
        return (*_leaf_problem(tensor, value), [])
    if type(value) is not list:
        return f"is {_said(value)}; it must be a list, shape {tensor.row_shape()}", "wrong_shape", []
    if sizes[0] not in (None, len(value)) or not value:
        wanted = "at least 1" if sizes[0] is None else str(sizes[0])
        where = "has" if len(sizes) == len(tensor.shape) - 1 else "has a list of"
        return f"{where} {len(value)} values; it must be {wanted}, shape {tensor.row_shape()}", "wrong_shape", []
    first: list[int] | None = None
    for position, part in enumerate(value):
        problem, code, shape = _problem(tensor, part, sizes[1:])
        if problem is not None:
            return f"at [{position}] {problem}" if len(sizes) == 1 else problem, code, []
        if first is None:
            first = shape
        elif shape != first:
            return f"is ragged: part {position} has shape {shape}, part 0 {first}", "ragged", []
    return None, "", [len(value), *(first or [])]


def _leaf_problem(tensor: Tensor, value: Any) -> tuple[str | None, str]:
    dtype = tensor.dtype
    if value is None and tensor.nullable:
        return None, ""
    if type(value) not in _LEAVES[dtype]:
        wanted = "a number" if dtype in FLOATS else "an integer" if dtype in INTEGERS else f"a {dtype}"
        return f"is {_said(value)}; {dtype} takes {wanted}", "wrong_type"
    try:
        array = np.array([value], dtype=_NUMPY[dtype])
        fits = array.dtype.kind != "f" or bool(np.isfinite(array).all())
    except OverflowError:
        fits = False
    if not fits:
        limits = np.iinfo(dtype) if dtype in INTEGERS else np.finfo(dtype)
        return f"is {_shown(value)}; {dtype} goes from {limits.min} to {limits.max}", "out_of_range"
    return None, ""


def _refusal(message: str, code: str, row: int, field: str | None = None) -> RequestError:
    return RequestError(message, code=code, row=row, field=field)


def _listed(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:12]))
    return shown if len(names) <= 12 else f"{shown} and {len(names) - 12} more"


def _said(value: Any) -> str:
    """The value in words, short whatever its size and however deep it nests."""
    if value is None:
        return "null"
    if type(value) is list:
        return f"a list of {len(value)}"
    if type(value) is dict:
        return f"an object with {len(value)} keys"
    kind = _SAID.get(type(value), type(value).__name__)
    return f"{kind} ({_shown(value)})"


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # an int of more than 4,300 digits
        return "an integer of thousands of digits"
    return text if len(text) <= 60 else f"{text[:57]}..."
