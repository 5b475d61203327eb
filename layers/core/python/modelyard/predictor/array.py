"""`Array`: elements in row-major order, as engines take and give them, without numpy.

The rule: this is what lies between requests and engines, whichever engine it is. A buffer is passed on, never copied,
where it has the right dtype already; numbers become a buffer by one `struct.pack`, which costs half of what numpy's
constructor does and refuses what does not fit.
"""

import struct
from math import isfinite
from typing import Any

from modelyard.predictor.signature import FLOATS

CODES = {
    "float16": "e", "float32": "f", "float64": "d",
    "int8": "b", "int16": "h", "int32": "i", "int64": "q", "uint8": "B", "uint16": "H", "uint32": "I", "uint64": "Q",
    "bool": "?",
}  # fmt: skip
"""`struct`'s letter for each dtype that has a buffer; strings are lists."""

_NO_VIEW = "e"  # a `memoryview` gives no elements of float16 before Python 3.12

ITEM_BYTES = {dtype: struct.calcsize(f"={code}") for dtype, code in CODES.items()}


class Array:
    """A tensor's elements.

    Attributes:
        dtype: One of `modelyard.predictor.signature.DTYPES`.
        shape: Sizes.
        buffer: Bytes, or anything with the buffer protocol, C-contiguous, in the machine's byte order; for ``string`` a
            list of `str`.
    """

    __slots__ = ("buffer", "dtype", "shape")

    def __init__(self, dtype: str, shape: tuple[int, ...], buffer: Any) -> None:
        self.dtype = dtype
        self.shape = shape
        self.buffer = buffer

    @classmethod
    def pack(cls, dtype: str, shape: tuple[int, ...], elements: Any) -> "Array":
        """From Python values, all of a type that the dtype takes.

        Args:
            dtype: Of the array.
            shape: Sizes; their product is the number of elements.
            elements: A sequence of `str` for strings, of `bool` for bools, of numbers otherwise.

        Raises:
            OverflowError: When a finite number does not fit into a float dtype.
            struct.error: When an integer does not fit.
        """
        if dtype == "string":
            return cls(dtype, shape, elements if type(elements) is list else list(elements))
        return cls(dtype, shape, struct.pack(f"={len(elements)}{CODES[dtype]}", *elements))

    def elements(self) -> list[Any]:
        """All elements in order, as Python values."""
        if self.dtype == "string":
            strings: list[Any] = self.buffer
            return strings
        count = 1
        for size in self.shape:
            count *= size
        return list(struct.unpack(f"={count}{CODES[self.dtype]}", self.buffer))

    def rows(self) -> list[Any]:
        """The elements as lists nested like the shape; its first axis is the outer list."""
        code = CODES.get(self.dtype)
        if code is None or code in _NO_VIEW or len(self.shape) == 1 or 0 in self.shape:
            return nested(self.elements(), self.shape)
        view: Any = memoryview(self.buffer).cast("B")  # only from bytes to other types
        rows: list[Any] = view.cast(code, self.shape).tolist()  # in half the time that `nested` takes
        return rows


def nested(elements: list[Any], shape: tuple[int, ...]) -> list[Any]:
    """A flat list as lists nested like ``shape``, which has at least one axis."""
    for size in reversed(shape[1:]):
        if size == 0:
            return _empty(shape)
        elements = [elements[start : start + size] for start in range(0, len(elements), size)]
    return elements


def all_finite(dtype: str, elements: list[Any]) -> bool:
    """Whether no element is NaN or infinite.

    A sum is NaN or infinite when an element is, and costs a tenth of asking each; a sum that overflowed on its own is
    no answer, so then each is asked.
    """
    return dtype not in FLOATS or isfinite(sum(elements)) or all(map(isfinite, elements))


def _empty(shape: tuple[int, ...]) -> list[Any]:
    return [] if len(shape) == 1 else [_empty(shape[1:]) for _ in range(shape[0])]
