"""Columns against a contract, for what comes as arrays: a batch, a training upload, a binary request.

The endpoint checks JSON in one pass with code that is made from the contract; here whole columns are compared at once,
and both say the same of the same values. A limit is rounded to the array's own precision first: 35.6 as float32 is
somewhat less than 35.6, and is not below a minimum of 35.6 for that.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from modelyard.contract.document import NUMBERS, Contract, Field, Limit, Mode
from modelyard.contract.inference import plain_number
from modelyard.contract.signatures import listed, show_number, show_range

Array = NDArray[Any]
Mask = NDArray[np.bool_]
Problem = Literal["missing_field", "outside_range", "unknown_category", "null_not_allowed"]
"""The codes with which the endpoint refuses the same."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one field has that the contract does not allow.

    Attributes:
        field: The input.
        problem: What kind of value it is.
        mode: What the contract asks for: reject, clip or warn. A null is never clipped.
        row: The first row at fault, from 0; None where the whole field is missing.
        element: Which element of that row, where each has limits of its own.
        value: The value there.
        allowed: What is allowed, in words.
        rows: How many rows are at fault.
    """

    field: str
    problem: Problem
    mode: Mode
    row: int | None = None
    element: int | None = None
    value: Any = None
    allowed: str
    rows: int = 0

    @property
    def sentence(self) -> str:
        """The finding in words."""
        if self.row is None:
            return f"{self.field!r} is missing; {self.allowed}"
        element = "" if self.element is None else f"[{self.element}]"
        more = f" (and {self.rows - 1:,} more)" if self.rows > 1 else ""
        return f"{self.field!r}{element} of row {self.row} is {show_value(self.value)}{more}; {self.allowed}"


def show_value(value: Any) -> str:
    """A value of a finding, short."""
    if value is None:
        return "missing"
    text = show_number(value) if isinstance(value, int | float) and not isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def check(contract: Contract, arrays: Mapping[str, Array]) -> tuple[Finding, ...]:
    """Everything that the arrays hold and the contract does not allow: one finding for each field and kind of value.

    Args:
        contract: What is allowed.
        arrays: By input name, rows first, as `modelyard.contract.inference.infer` takes them.
    """
    found: list[Finding] = []
    for name, field in contract.fields.items():
        if name not in arrays:
            found.append(Finding(field=name, problem="missing_field", mode="reject", allowed="every row needs one"))
            continue
        for problem, mask in outside(field, arrays[name]):
            found.append(_finding(name, field, problem, mask, arrays[name]))
    return tuple(found)


def outside(field: Field, array: Array) -> Iterator[tuple[Problem, Mask]]:
    """Where an array holds what is not allowed: for each problem that it has, a mask of the array's own shape."""
    missing = _missing(field, array)
    if not field.nulls and missing.any():
        yield "null_not_allowed", missing
    mask: Mask | None = None
    problem: Problem = "outside_range"
    if field.dtype in NUMBERS and not (field.minimum is None and field.maximum is None):
        with np.errstate(invalid="ignore"):  # a NaN is neither below nor above, and was looked at above
            low, high = (_limit(limit, array) for limit in (field.minimum, field.maximum))
            mask = np.zeros(array.shape, dtype=bool) if low is None else array < low
            mask = mask if high is None else mask | (array > high)
    elif field.categories is not None:
        mask, problem = _unknown(field.categories, array) & ~missing, "unknown_category"
    if mask is not None and mask.any():
        yield problem, mask


def _missing(field: Field, array: Array) -> Mask:
    if field.dtype == "string":
        return np.array([not value for value in array.ravel().tolist()], dtype=bool).reshape(array.shape)
    return np.isnan(array) if array.dtype.kind == "f" else np.zeros(array.shape, dtype=bool)


def _limit(limit: Limit | None, array: Array) -> Array | None:
    """A limit as an array's own kind of number, for one element or for each."""
    if limit is None:
        return None
    found = np.array(limit)
    return found.astype(array.dtype) if array.dtype.kind == "f" else found


def _unknown(categories: Mapping[str, float], array: Array) -> Mask:
    values = array.ravel().tolist()
    known = {value: value in categories for value in set(values)}
    return ~np.array([known[value] for value in values], dtype=bool).reshape(array.shape)


def _finding(name: str, field: Field, problem: Problem, mask: Mask, array: Array) -> Finding:
    by_row = mask.reshape(len(mask), -1)
    rows = by_row.any(axis=1)
    row = int(rows.argmax())
    place = int(by_row[row].argmax())
    value = array.reshape(len(array), -1)[row, place]
    plain = None if problem == "null_not_allowed" else str(value) if field.dtype == "string" else plain_number(value)
    return Finding(
        field=name,
        problem=problem,
        mode="reject" if problem == "null_not_allowed" else field.mode,
        row=row,
        element=None if field.elements is None else place,
        value=plain,
        allowed=_allowed(field, problem, place),
        rows=int(rows.sum()),
    )


def _allowed(field: Field, problem: Problem, element: int) -> str:
    if problem == "null_not_allowed":
        return "it may not be missing"
    if problem == "unknown_category":
        return f"allowed are {listed(sorted(field.categories or ()))}"
    low, high = (limit[element] if isinstance(limit, tuple) else limit for limit in (field.minimum, field.maximum))
    return f"allowed is {show_range(low, high)}"
