"""From JSON values to arrays: instances in, one `Array` per input out, or a refusal that names field and row.

The rule: nothing is converted silently. A string is no number, ``true`` is no 1, 5.0 is no integer, 300 is no int8. The
common case is checked by whole columns at C speed, with ``set(map(type, column))``; only when a column is refused are
its rows walked, to name the first one at fault. The endpoint's requests come here only when `reader.py`, which decodes
and checks in one pass, could not take them: this is what says why.
"""

import struct
from itertools import chain
from math import isfinite, nan
from operator import itemgetter
from typing import Any

from modelyard.errors import RequestError
from modelyard.predictor.array import CODES, Array, all_finite
from modelyard.predictor.signature import FLOATS, INTEGERS, Tensor

_LEAVES: dict[str, frozenset[type]] = {
    "string": frozenset({str}),
    "bool": frozenset({bool}),
    **dict.fromkeys(INTEGERS, frozenset({int})),
    **dict.fromkeys(FLOATS, frozenset({float, int})),
}
"""JSON types that an element of a dtype may have. `type`, not `isinstance`: a bool is an int to the latter."""

_LARGEST_FLOAT = {"float16": "65504", "float32": "3.4028235e+38", "float64": "1.7976931348623157e+308"}
_SAID = {str: "a string", bool: "a boolean", int: "an integer", float: "a number with a fraction"}


def encode(inputs: tuple[Tensor, ...], instances: list[Any], *, nulls: frozenset[str] = frozenset()) -> list[Array]:
    """Turn instances into one array per input, in the order of the signature.

    Args:
        inputs: The signature's inputs.
        instances: One per row: an object ``{input name: value}``, or with a single input the value itself.
        nulls: Names of further inputs in which ``null`` stands for a missing value.

    Raises:
        RequestError: Naming the first input and row at fault.
    """
    columns = _columns(inputs, instances)
    return [
        _array(tensor, column, tensor.nullable or tensor.name in nulls)
        for tensor, column in zip(inputs, columns, strict=True)
    ]


def limits(dtype: str) -> tuple[str, str]:
    """Least and largest value of a number's dtype, as text."""
    if dtype in FLOATS:
        return f"-{_LARGEST_FLOAT[dtype]}", _LARGEST_FLOAT[dtype]
    bits = 8 * struct.calcsize(f"={CODES[dtype]}")
    return ("0", str(2**bits - 1)) if dtype.startswith("u") else (str(-(2 ** (bits - 1))), str(2 ** (bits - 1) - 1))


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
                f"instance {row} is {said(instance)}; it must be an object with {listed(names)}", "wrong_type", row
            )
        missing = [name for name in names if name not in instance]
        if missing:
            return _refusal(f"instance {row} lacks {missing[0]!r}", "missing_field", row, missing[0])
        unknown = next((key for key in instance if key not in names), None)
        if unknown is not None:
            return _refusal(
                f"instance {row} has {unknown[:80]!r}, which is no input; allowed are {listed(names)}",
                "unknown_field",
                row,
                unknown[:80],
            )
    raise AssertionError("the keys of every row are right")  # pragma: no cover - the caller found one that is not


def _array(tensor: Tensor, column: Any, nullable: bool) -> Array:
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
                raise _refused_column(tensor, column, nullable)
            shape.append(length)
            leaves = list(chain.from_iterable(leaves))
        kinds = set(map(type, leaves))
    missing = nullable and type(None) in kinds
    if missing:
        kinds.discard(type(None))
    if not kinds <= _LEAVES[tensor.dtype]:
        raise _refused_column(tensor, column, nullable)
    try:
        if not all_finite(tensor.dtype, [value for value in leaves if value is not None] if missing else leaves):
            raise _refused_column(tensor, column, nullable)
        return Array.pack(tensor.dtype, tuple(shape), absent(tensor.dtype, leaves) if missing else leaves)
    except (OverflowError, struct.error):
        raise _refused_column(tensor, column, nullable) from None


def absent(dtype: str, elements: Any) -> list[Any]:
    """The elements with what stands for a missing one in place of ``None``: NaN, or empty text."""
    mark: Any = "" if dtype == "string" else nan
    return [mark if value is None else value for value in elements]


def _refused_column(tensor: Tensor, column: Any, nullable: bool) -> RequestError:
    """The first row of a refused column, and what is wrong with it."""
    first: list[int] | None = None
    for row, value in enumerate(column):
        wrapped = not tensor.scalar or (type(value) is list and len(tensor.shape) == 2)
        problem, code, shape = _problem(tensor, value, tensor.shape[1:] if wrapped else (), nullable)
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


def _problem(
    tensor: Tensor, value: Any, sizes: tuple[int | None, ...], nullable: bool
) -> tuple[str | None, str, list[int]]:
    """What is wrong with one value, the code, and the shape that it has."""
    if not sizes:
        return (*_leaf_problem(tensor, value, nullable), [])
    if type(value) is not list:
        return f"is {said(value)}; it must be a list, shape {tensor.row_shape()}", "wrong_shape", []
    if sizes[0] not in (None, len(value)) or not value:
        wanted = "at least 1" if sizes[0] is None else str(sizes[0])
        where = "has" if len(sizes) == len(tensor.shape) - 1 else "has a list of"
        return f"{where} {len(value)} values; it must be {wanted}, shape {tensor.row_shape()}", "wrong_shape", []
    first: list[int] | None = None
    for position, part in enumerate(value):
        problem, code, shape = _problem(tensor, part, sizes[1:], nullable)
        if problem is not None:
            return f"at [{position}] {problem}" if len(sizes) == 1 else problem, code, []
        if first is None:
            first = shape
        elif shape != first:
            return f"is ragged: part {position} has shape {shape}, part 0 {first}", "ragged", []
    return None, "", [len(value), *(first or [])]


def _leaf_problem(tensor: Tensor, value: Any, nullable: bool) -> tuple[str | None, str]:
    dtype = tensor.dtype
    if value is None and nullable:
        return None, ""
    if type(value) not in _LEAVES[dtype]:
        wanted = "a number" if dtype in FLOATS else "an integer" if dtype in INTEGERS else f"a {dtype}"
        return f"is {said(value)}; {dtype} takes {wanted}", "wrong_type"
    try:
        if dtype == "string":
            value.encode()
        else:
            struct.pack(f"={CODES[dtype]}", value)
        fits = dtype not in FLOATS or isfinite(value)
    except UnicodeEncodeError:
        return f"is {shown(value)}, which is not valid Unicode", "wrong_type"
    except (OverflowError, struct.error):
        fits = False
    if not fits:
        least, most = limits(dtype)
        return f"is {shown(value)}; {dtype} goes from {least} to {most}", "out_of_range"
    return None, ""


def _refusal(message: str, code: str, row: int, field: str | None = None) -> RequestError:
    return RequestError(message, code=code, row=row, field=field)


def listed(names: list[str]) -> str:
    """Names for a message, the first dozen."""
    named = ", ".join(map(repr, names[:12]))
    return named if len(names) <= 12 else f"{named} and {len(names) - 12} more"


def said(value: Any) -> str:
    """A value in words, short whatever its size and however deep it nests."""
    if value is None:
        return "null"
    if type(value) is list:
        return f"a list of {len(value)}"
    if type(value) is dict:
        return f"an object with {len(value)} keys"
    kind = _SAID.get(type(value), type(value).__name__)
    return f"{kind} ({shown(value)})"


def shown(value: Any) -> str:
    """A value itself, cut short."""
    try:
        text = ascii(value) if type(value) is str and not value.isprintable() else repr(value)
    except ValueError:  # an int of more than 4,300 digits
        return "an integer of thousands of digits"
    return text if len(text) <= 60 else f"{text[:57]}..."
