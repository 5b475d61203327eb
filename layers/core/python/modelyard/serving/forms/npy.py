"""NPY, numpy's file of one array, read and written without numpy.

The rule: the header is matched, never evaluated, and an array of objects, which is a pickle, is refused by its dtype
before anything is read. https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

import re
import struct
from itertools import chain
from math import prod

from modelyard.errors import RequestError
from modelyard.predictor.array import ITEM_BYTES, Array

_MAGIC = b"\x93NUMPY"
_DTYPES = {
    "f2": "float16", "f4": "float32", "f8": "float64", "i1": "int8", "i2": "int16", "i4": "int32", "i8": "int64",
    "u1": "uint8", "u2": "uint16", "u4": "uint32", "u8": "uint64", "b1": "bool",
}  # fmt: skip
_CODES = {dtype: f"{'|' if code[1] == '1' else '<'}{code}" for code, dtype in _DTYPES.items()}
_ENTRY = r"\s*'(?:descr|fortran_order|shape)'\s*:\s*(?:'[^']{0,80}'|True|False|\([\d\s,]*\))\s*"
_HEADER = re.compile(rf"\{{{_ENTRY}(?:,{_ENTRY}){{2}}(?:,\s*)?\}}\s*")  # one way to read each: it is linear
_DESCR = re.compile(r"'descr'\s*:\s*'([^']*)'")
_ORDER = re.compile(r"'fortran_order'\s*:\s*(True|False)")
_SHAPE = re.compile(r"'shape'\s*:\s*\(([\d\s,]*)\)")
_LONGEST_HEADER = 10_000
_MOST_AXES, _MOST_DIGITS = 32, 18


def read(body: bytes) -> Array:
    """The array of a file.

    Raises:
        RequestError: With code ``invalid_npy`` where it is none, ``wrong_type`` for a dtype that no model takes.
    """
    if body[:6] != _MAGIC or len(body) < 10:
        raise _invalid("does not begin as NPY does")
    prefix = struct.Struct("<H" if body[6] == 1 else "<I")
    if body[6] not in (1, 2, 3) or len(body) < 8 + prefix.size:
        raise _invalid(f"is of NPY version {body[6]}; known are 1, 2 and 3")
    (length,) = prefix.unpack_from(body, 8)
    begins = 8 + prefix.size + length
    if length > _LONGEST_HEADER or begins > len(body):
        raise _invalid(f"has a header of {length:,} bytes; at most {min(_LONGEST_HEADER, len(body)):,} are allowed")
    dtype, fortran, shape = _header(body[8 + prefix.size : begins].decode("latin-1"))
    size = prod(shape) * ITEM_BYTES[dtype]
    if len(body) - begins != size:
        raise _invalid(f"has {len(body) - begins:,} bytes of values; its shape and dtype take {size:,}")
    view = memoryview(body)[begins:]
    array = Array(dtype, shape, view if begins % ITEM_BYTES[dtype] == 0 else bytes(view))
    if dtype == "bool" and body[begins:].translate(None, b"\x00\x01"):
        raise _invalid("holds a boolean that is neither 0 nor 1")
    return _by_rows(array) if fortran and len(shape) > 1 else array


def write(array: Array) -> bytes:
    """An array, of numbers or booleans, as a file."""
    sizes = "".join(f"{size}, " for size in array.shape).removesuffix(" " if len(array.shape) == 1 else ", ")
    header = f"{{'descr': '{_CODES[array.dtype]}', 'fortran_order': False, 'shape': ({sizes}), }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    return b"".join((_MAGIC, b"\x01\x00", struct.pack("<H", len(header)), header.encode(), array.buffer))


def _header(text: str) -> tuple[str, bool, tuple[int, ...]]:
    """Dtype, whether the values stand by columns, and shape."""
    found = [pattern.findall(text) for pattern in (_DESCR, _ORDER, _SHAPE)]
    if not _HEADER.fullmatch(text) or any(len(values) != 1 for values in found):
        raise _invalid(f"has the header {text[:80]!r}; it must name descr, fortran_order and shape of one plain dtype")
    code, order, axes = (values[0] for values in found)
    dtype = _DTYPES.get(code[1:])
    if dtype is None or code[0] not in ("|" if code.endswith("1") else "<") + "<":
        objects = " An array of objects is a pickle, which is never loaded." if "O" in code else ""
        raise RequestError(
            f"the array has numpy's dtype {code!r}; taken are {', '.join(_CODES.values())}.{objects}",
            code="wrong_type",
            next_step="Convert it with astype before it is saved; text goes as JSON or as Arrow.",
        )
    sizes = [axis.strip() for axis in axes.split(",") if axis.strip()]
    if len(sizes) > _MOST_AXES or any(not size.isdigit() or len(size) > _MOST_DIGITS for size in sizes):
        raise _invalid(f"has the shape ({axes[:80]})")
    return dtype, order == "True", tuple(map(int, sizes))


def _by_rows(array: Array) -> Array:
    """An array that stands column after column, as pandas gives it, row after row."""
    if len(array.shape) != 2:
        raise RequestError(
            f"the array has {len(array.shape)} axes in Fortran's order; that is read for 2",
            code="wrong_shape",
            next_step="Save numpy.ascontiguousarray(array).",
        )
    rows, columns = array.shape
    values = array.elements()
    by_column = [values[start : start + rows] for start in range(0, rows * columns, rows or 1)]
    return Array.pack(array.dtype, array.shape, list(chain.from_iterable(zip(*by_column, strict=True))))


def _invalid(problem: str) -> RequestError:
    return RequestError(
        f"the body {problem}", code="invalid_npy", next_step="Send what numpy.save writes of one array of numbers."
    )
