"""Between `Array` and numpy: for a model's own code, the standard engine and evaluation. The lean engine imports none.

Where the dtype has a buffer, both sides share it; text and another byte order are converted.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from modelyard.errors import ModelError
from modelyard.predictor import encode as plain
from modelyard.predictor.array import CODES, Array
from modelyard.predictor.signature import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray  # a millisecond of a cold start

_DTYPES = {name: np.dtype(name) for name in CODES}  # to make one of its name takes longer than the array
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}  # a dtype's own ``name`` takes 2 us
COPIED = 4096
"""Bytes of an array up to which a copy takes less time than a view: 0.2 us and 1.4."""

_TEXT = "OUS"  # numpy's letters for objects, text and bytes


def encode(inputs: tuple[Tensor, ...], instances: list[Any]) -> dict[str, NDArray[Any]]:
    """Turn instances into one numpy array per input; for a model's own ``preprocess``.

    Args:
        inputs: What the instances hold, which may differ from what the model takes.
        instances: One per row: an object ``{input name: value}``, or with a single input the value itself.

    Raises:
        RequestError: Naming the first input and row at fault.
    """
    arrays = plain.encode(inputs, instances)
    return {tensor.name: to_numpy(array).copy() for tensor, array in zip(inputs, arrays, strict=True)}


def to_numpy(array: Array) -> NDArray[Any]:
    """The array as numpy sees it, over the same memory, which may be read-only."""
    if array.dtype == "string":
        return np.array(array.buffer, dtype=object).reshape(array.shape)
    return np.ndarray(array.shape, _DTYPES[array.dtype], array.buffer)


def all_to_numpy(arrays: Sequence[Array]) -> list[NDArray[Any]]:
    """The same for several. Of a `modelyard.predictor.block.Block` in half the time, where its columns are alike."""
    layout = getattr(arrays, "layout", None)
    if layout is None or layout.dtype is None:
        return [to_numpy(array) for array in arrays]
    block: Any = arrays
    every = np.frombuffer(block.memory, _DTYPES[layout.dtype]).reshape(len(layout.columns), -1)
    rest: tuple[int, ...] = layout.rest
    return list(every[:, : block.rows * prod(rest)].reshape(len(every), block.rows, *rest))


def from_numpy(found: NDArray[Any]) -> Array:
    """A numpy array as an `Array`, over the same memory where it is large, contiguous and in the machine's byte order.

    Raises:
        ModelError: For a dtype that no tensor has, like complex64 (code ``wrong_output``).
    """
    dtype = _NAMES.get(found.dtype)
    if dtype is None:
        if found.dtype.kind in _TEXT:
            if found.dtype.kind == "S":
                found = np.char.decode(found, "utf-8")
            return Array("string", found.shape, [str(text) for text in found.ravel().tolist()])
        native = found.dtype.newbyteorder("=")
        dtype = _NAMES.get(native)
        if dtype is None:
            raise ModelError(
                f"an array has dtype {found.dtype}; a tensor has one of {', '.join(CODES)} or string",
                code="wrong_output",
            )
        found = found.astype(native)
    if found.nbytes <= COPIED:
        return Array(dtype, found.shape, found.tobytes())
    return Array(dtype, found.shape, np.ascontiguousarray(found).reshape(-1).view(np.uint8).data)
