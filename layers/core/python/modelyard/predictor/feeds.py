"""`Feeds`: the values that the lean engine gives to onnxruntime, over memory that is used again.

To make a value and to release it takes 2 us, and a table of 30 columns needs 30 of them for each request. So the values
of a small batch are made once for its shapes, and later batches of these shapes are copied into their memory, which
takes a tenth of that. A large batch is given where it lies: there the copy would be what takes time.
"""

from collections.abc import Callable
from ctypes import addressof, c_char
from typing import Any

from modelyard.predictor.array import Array

MOST_BYTES = 1 << 15
"""Of a batch that is copied."""


class Feeds:
    """One batch's values. Not for two threads at once.

    Args:
        values: Where they go, an array of pointers.
        arrays: The first batch; `fit` has to hold.
        make: Makes the value of an array whose elements lie at an address.
        release: Releases a value.

    Attributes:
        values: To give to onnxruntime.
    """

    __slots__ = ("_dtypes", "_release", "_views", "values")

    def __init__(
        self, values: Any, arrays: list[Array], make: Callable[[Array, int, int], int], release: Callable[[int], None]
    ) -> None:
        self.values = values
        self._release = release
        self._dtypes = [array.dtype for array in arrays]
        self._views: list[memoryview] = []
        for place, array in enumerate(arrays):
            memory = bytearray(memoryview(array.buffer).cast("B"))
            values[place] = make(array, addressof(c_char.from_buffer(memory)), len(memory))
            self._views.append(memoryview(memory))  # which holds the memory where it is

    def __del__(self) -> None:
        for value in self.values:
            self._release(value)  # NULL where none was made

    @staticmethod
    def fit(arrays: list[Array]) -> bool:
        """Whether a batch is one to copy: it has numbers only, and they are few."""
        sizes = [0 if array.dtype == "string" else memoryview(array.buffer).nbytes for array in arrays]
        return 0 not in sizes and sum(sizes) <= MOST_BYTES

    def fill(self, arrays: list[Array]) -> None:
        """Put another batch of the same shapes in.

        Raises:
            ValueError: When it has other dtypes or sizes than the first.
        """
        if [array.dtype for array in arrays] != self._dtypes:
            raise ValueError(f"the arrays are not of {self._dtypes}")
        for view, array in zip(self._views, arrays, strict=True):
            buffer = array.buffer
            view[:] = buffer if type(buffer) is bytes else memoryview(buffer).cast("B")
