"""What the contract says of one input, checked on an array: ranges, categories, missing values.

The rule: what a request is refused for here, `reader.py` refuses too, in the one pass in which it decodes; this is for
inputs whose mode is ``clip`` or ``warn``, for arrays that did not come from JSON, and for saying which value it was.
"""

import struct
from itertools import cycle
from math import ceil, floor, inf, isfinite
from typing import Any

from modelyard.contract.document import Contract, Field, Limit
from modelyard.errors import RequestError
from modelyard.predictor.array import CODES, Array
from modelyard.predictor.encode import listed, shown
from modelyard.predictor.signature import FLOATS, INTEGERS, Tensor

UNPROCESSABLE = 422
MOST_WARNINGS = 20
_DIGITS = {"float16": (4, 5), "float32": (7, 9), "float64": (15, 17)}  # that it has; that tell any two of them apart


class FieldCheck:
    """The contract of one input.

    Args:
        tensor: The input.
        field: What the contract says of it.
    """

    __slots__ = ("categories", "maximum", "minimum", "mode", "nulls", "takes_null", "tensor")

    def __init__(self, tensor: Tensor, field: Field) -> None:
        self.tensor = tensor
        self.mode = field.mode
        self.minimum = _rounded(tensor.dtype, field.minimum, up=True)
        self.maximum = _rounded(tensor.dtype, field.maximum, up=False)
        self.categories = None if field.categories is None else tuple(field.categories)
        self.nulls = field.nulls and (tensor.dtype in FLOATS or tensor.dtype == "string")  # others have no mark for it
        # JSON's null has a place where a row holds one value: NaN for a number, empty text for a text.
        self.takes_null = field.nulls and (tensor.nullable or (tensor.dtype == "string" and tensor.scalar))

    @property
    def refuses_at_once(self) -> bool:
        """Whether the decoder can refuse by itself, so that what it took needs no other look."""
        return self.mode == "reject"

    def apply(self, array: Array, warnings: list[dict[str, Any]]) -> Array:
        """The array as the model gets it: clipped where the mode says so.

        Args:
            array: The input.
            warnings: Gets what the mode ``warn`` lets through.

        Raises:
            RequestError: Status 422, with code ``outside_range``, ``unknown_category`` or ``null_not_allowed``, for the
                first value outside.
        """
        ranged = self.minimum is not None or self.maximum is not None
        if self.categories is None and not ranged and (self.nulls or array.dtype not in FLOATS):
            return array
        elements = array.elements()
        width = max(1, len(elements) // array.shape[0]) if array.shape and array.shape[0] else 1
        if self.categories is not None:
            self._check_categories(elements, width, warnings)
            return array
        if array.dtype not in FLOATS or isfinite(sum(elements)):  # else a value is missing, or the sum is too large
            if not ranged or self._all_inside(elements, width):
                return array
        elif not self.nulls:
            self._check_nulls(elements, width)
        return self._check_range(array, elements, width, warnings) if ranged else array

    def _check_nulls(self, elements: list[Any], width: int) -> None:
        for place, value in enumerate(elements):
            if value != value:
                raise self._refusal(place // width, "is missing; the contract allows no null", "null_not_allowed")

    def _all_inside(self, elements: list[Any], width: int) -> bool:
        """Whether no value is outside, by whole columns, which is faster than asking each. None may be NaN."""
        if not elements:
            return True
        least, most = self.bounds(width)
        if len(set(least)) == len(set(most)) == 1:
            return bool(min(elements) >= least[0] and max(elements) <= most[0])
        columns = ((elements[place::width], least[place], most[place]) for place in range(width))
        return all(min(column) >= low and max(column) <= high for column, low, high in columns)

    def _check_categories(self, elements: list[str], width: int, warnings: list[dict[str, Any]]) -> None:
        allowed = set(self.categories or ())
        if self.nulls:
            allowed.add("")
        if allowed.issuperset(elements):
            return
        for place, value in enumerate(elements):
            if value in allowed:
                continue
            problem = f"is {shown(value)}; allowed are {listed(list(self.categories or ()))}"
            if not self._outside(place // width, problem, "unknown_category", warnings):
                break

    def _check_range(self, array: Array, elements: list[Any], width: int, warnings: list[dict[str, Any]]) -> Array:
        least, most = self.bounds(width)
        inside = [
            value if not (value < low or value > high) else None
            for value, low, high in zip(elements, cycle(least), cycle(most))
        ]
        if None not in inside:
            return array
        for place, value in enumerate(inside):
            if value is not None:
                continue
            low, high = least[place % width], most[place % width]
            if self.mode == "clip":
                elements[place] = min(max(elements[place], low), high)
                continue
            at = f"[{place % width}] " if width > 1 else ""
            problem = at + _beyond(array.dtype, elements[place], low, high)
            if not self._outside(place // width, problem, "outside_range", warnings):
                break
        return Array.pack(array.dtype, array.shape, elements) if self.mode == "clip" else array

    def bounds(self, width: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The lowest and the highest value allowed of each of ``width`` elements."""
        return _each(-inf if self.minimum is None else self.minimum, width), _each(
            inf if self.maximum is None else self.maximum, width
        )

    def _outside(self, row: int, problem: str, code: str, warnings: list[dict[str, Any]]) -> bool:
        """Refuse a value, or warn of it; whether there is room for another warning."""
        if self.mode != "warn":
            raise self._refusal(row, problem, code)
        if len(warnings) < MOST_WARNINGS:
            name = self.tensor.name
            detail = f"{name!r} of instance {row} {problem}"
            warnings.append({"field": name, "row": row, "code": code, "detail": detail})
        return len(warnings) < MOST_WARNINGS

    def _refusal(self, row: int, problem: str, code: str) -> RequestError:
        return RequestError(
            f"{self.tensor.name!r} of instance {row} {problem}",
            code=code,
            status=UNPROCESSABLE,
            field=self.tensor.name,
            row=row,
        )


def checks_of(inputs: tuple[Tensor, ...], contract: Contract | None) -> list[FieldCheck | None]:
    """The check for each input, ``None`` where the contract says nothing of it."""
    fields = contract.fields if contract else {}
    return [FieldCheck(tensor, fields[tensor.name]) if tensor.name in fields else None for tensor in inputs]


def _rounded(dtype: str, limit: Limit | None, *, up: bool) -> Limit | None:
    """A limit as the dtype has it, so that a value is compared with it after both were rounded alike.

    Rounding keeps order: what is inside before it is inside after it.
    """
    if limit is None:
        return None
    if isinstance(limit, tuple):
        return tuple(_nearest(dtype, value, up=up) for value in limit)
    return _nearest(dtype, limit, up=up)


def _nearest(dtype: str, value: float, *, up: bool) -> float:
    if dtype in INTEGERS:
        return ceil(value) if up else floor(value)
    found: float = struct.unpack(f"={CODES[dtype]}", struct.pack(f"={CODES[dtype]}", float(value)))[0]
    return found


def _beyond(dtype: str, value: float, low: float, high: float) -> str:
    """What is said of a value outside its limits: in as many digits as show that it is."""
    said, least, most = map(str, (value, low, high))
    for digits in _DIGITS.get(dtype, ()):
        said, least, most = (f"{number:.{digits}g}" for number in (value, low, high))
        if said not in (least, most):
            break
    allowed = f"at most {most}" if low == -inf else f"at least {least}" if high == inf else f"{least} to {most}"
    return f"is {said}; the contract allows {allowed}"


def _each(limit: Limit, width: int) -> tuple[float, ...]:
    return limit if isinstance(limit, tuple) else (limit,) * width
