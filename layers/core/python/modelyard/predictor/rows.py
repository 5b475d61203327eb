"""From the text of a large request to arrays, without a Python object for each number: `RowReader`.

::

    body ─► layers/native/rows.c ─► one buffer, a column for each input ─► Block
                │ UNDECIDED
                └─► the decoder of reader.py, as for any other request

To read 100 rows of 30 named numbers takes msgspec as long as their model, and packing them half as long again, because
of the 3,000 floats that are made and let go of. The library reads numbers to where they go. Its rule is the decoder's,
once more: it is only ever stricter, so what it took is right in type, shape and value; of what is not plain, it says
nothing.

Imported with the first large request: no cold start pays for it.
"""

import sys
from ctypes import POINTER, PyDLL, Structure, addressof, c_char, c_char_p, c_double, c_int32, c_int64, c_void_p
from math import ceil, floor, inf
from typing import Any

from modelyard.compiling import kernel
from modelyard.predictor.array import CODES, ITEM_BYTES
from modelyard.predictor.block import ALIGNED, Block, Layout
from modelyard.predictor.enforcement import FieldCheck
from modelyard.predictor.signature import Tensor
from modelyard.predictor.structs import UNWRITABLE

_KINDS = {
    name: number
    for number, name in enumerate(
        ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
    )
}
_SHORTEST = 2  # characters of a number in a list, with what parts it from the next
_INT64 = (-(2**63), 2**63 - 1)


class _Column(Structure):
    _fields_ = (
        ("key", c_char_p),
        ("key_size", c_int64),
        ("least", c_double),
        ("most", c_double),
        ("least_integer", c_int64),
        ("most_integer", c_int64),
        ("kind", c_int64),
        ("out", c_void_p),
        ("seen", c_int64),
    )


class RowReader:
    """Reads requests of one model; not for two threads at once, which the GIL sees to.

    Args:
        library: Where it lies.
        tensors: The inputs: several with one number a row, or one with a row of numbers.
        checks: What the contract says of each.
    """

    __slots__ = ("_columns", "_keys", "_layout", "_least_row", "_named", "_order", "_read", "_width")

    def __init__(self, library: str, tensors: tuple[Tensor, ...], checks: list[FieldCheck | None]) -> None:
        # `PyDLL` keeps the GIL: this takes less than letting it go and fighting for it.
        self._read: Any = PyDLL(kernel.whole(library)).modelyard_rows
        self._read.restype = c_int64
        self._read.argtypes = (
            *(c_char_p, c_int64, POINTER(_Column), c_int64, c_int64, POINTER(c_int32), c_void_p, c_int64),
        )
        self._named = len(tensors) > 1
        self._width = len(tensors) if self._named else int(tensors[0].shape[1] or 0)
        columns = [
            _column(tensor, check, place)
            for tensor, check in zip(tensors, checks, strict=True)
            for place in range(1 if self._named else self._width)
        ]
        self._columns = (_Column * self._width)(*columns)
        self._keys = [column.key for column in columns]  # which the columns point at
        self._order = (c_int32 * self._width)()
        self._layout = Layout(tensors)
        names = [column.key_size + 2 + _SHORTEST for column in columns] if self._named else []
        self._least_row = max(1, sum(names) or _SHORTEST * self._width)

    @classmethod
    def of(cls, tensors: tuple[Tensor, ...], checks: list[FieldCheck | None]) -> "RowReader | None":
        """One for a model, or None: where its inputs are others than numbers, or the library is not here."""
        if not _regular(tensors) or any(check is not None and check.categories is not None for check in checks):
            return None
        library = kernel.find(kernel.ROWS)
        try:
            return None if library is None else cls(library, tensors, checks)
        except (OSError, AttributeError):  # made for another processor, of another release, or cut off
            return None

    def arrays(self, body: str | bytes) -> Block | None:
        """One array for each input; None where the other decoder has to say."""
        try:
            text = body.encode() if type(body) is str else body
        except UnicodeEncodeError:
            return None
        if type(text) is not bytes:  # which alone have a NUL behind them
            return None
        size = len(text)
        capacity = size // self._least_row + ALIGNED & -ALIGNED
        out = bytearray(capacity * self._layout.row_bytes)
        rows: int = self._read(
            text,
            size,
            self._columns,
            self._width,
            self._named,
            self._order,
            addressof(c_char.from_buffer(out)),
            capacity,
        )
        return None if rows <= 0 else Block(self._layout, rows, memoryview(out))


def _regular(tensors: tuple[Tensor, ...]) -> bool:
    """Whether the library reads such inputs: several of one number a row, or one of a row of numbers."""
    if sys.byteorder != "little" or any(tensor.dtype not in _KINDS for tensor in tensors):
        return False
    if len(tensors) > 1:
        return all(tensor.scalar and UNWRITABLE.isdisjoint(tensor.name) for tensor in tensors)
    (tensor,) = tensors
    return not tensor.scalar and len(tensor.shape) == 2 and bool(tensor.shape[1])


def _column(tensor: Tensor, check: FieldCheck | None, place: int) -> _Column:
    """One column; of those whose values may be clipped or let through, the reader sees to that afterwards."""
    least, most = -inf, inf
    if check is not None and check.refuses_at_once:
        lows, highs = check.bounds(int(tensor.shape[1] or 1) if not tensor.scalar else 1)
        least, most = lows[place], highs[place]
    smallest, largest = _range_of(tensor.dtype)
    key = tensor.name.encode()
    return _Column(
        key=key,
        key_size=len(key),
        least=least,
        most=most,
        least_integer=smallest if least == -inf else max(smallest, min(ceil(least), _INT64[1])),
        most_integer=largest if most == inf else min(largest, max(floor(most), _INT64[0])),
        kind=_KINDS[tensor.dtype],
    )


def _range_of(dtype: str) -> tuple[int, int]:
    """What an integer dtype holds, of the 64 bits that are read."""
    bits = 8 * ITEM_BYTES[dtype]
    if CODES[dtype].islower():
        return max(_INT64[0], -(1 << bits - 1)), (1 << bits - 1) - 1
    return 0, min(_INT64[1], (1 << bits) - 1)
