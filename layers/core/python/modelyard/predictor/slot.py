"""`Slot`: the values that go between the lean engine and onnxruntime, over memory that is used again.

To make a value, to ask it for its shape and to release it takes 4 us, and a table of 30 columns needs 30 of them for
each request. So the values of a small batch are made once for its shapes, inputs and outputs, and later batches of
these shapes are copied through their memory, which takes a tenth of that. A large batch is given where it lies: there
the copy would be what takes time.
"""

from collections.abc import Callable
from ctypes import addressof, c_char
from typing import Any

from modelyard.predictor.array import Array

MOST_BYTES = 1 << 15
"""Of a batch that is copied, and of its outputs."""

Make = Callable[[Array, int, int], int]
Release = Callable[[int], None]


def fits(arrays: list[Any]) -> bool:
    """Whether arrays are ones to copy: they hold numbers, and few."""
    size = 0
    for array in arrays:
        if type(array) is list or array.dtype == "string":  # the rows of a ZipMap, or text
            return False
        own = memoryview(array.buffer).nbytes
        if own == 0:
            return False
        size += own
    return size <= MOST_BYTES


class Slot:
    """The values of one batch. Not for two threads at once.

    Args:
        inputs: Where those of the inputs go, an array of pointers.
        arrays: The first batch, for which `fits` holds.
        make: Makes the value of an array whose elements lie at an address.
        release: Releases a value.

    Attributes:
        inputs: To give to onnxruntime.
        outputs: To give to it as well, or ``None`` where it has to make them.
    """

    __slots__ = ("_dtypes", "_input_views", "_make", "_output_views", "_release", "inputs", "outputs")

    def __init__(self, inputs: Any, arrays: list[Array], make: Make, release: Release) -> None:
        self.inputs = inputs
        self.outputs: Any = None
        self._make = make
        self._release = release
        self._dtypes = [array.dtype for array in arrays]
        self._input_views = [self._hold(inputs, place, array) for place, array in enumerate(arrays)]
        self._output_views: list[tuple[str, tuple[int, ...], memoryview, bytes]] = []

    def _hold(self, values: Any, place: int, array: Array) -> memoryview:
        memory = bytearray(memoryview(array.buffer).cast("B"))
        values[place] = self._make(array, addressof(c_char.from_buffer(memory)), len(memory))
        return memoryview(memory)  # which keeps the memory where it is

    def __del__(self) -> None:
        for values in (self.inputs, self.outputs or ()):
            for value in values:
                self._release(value)  # NULL where none was made

    def fill(self, arrays: list[Array]) -> None:
        """Put another batch of the same shapes in.

        Raises:
            ValueError: When it has other dtypes or sizes than the first.
        """
        if [array.dtype for array in arrays] != self._dtypes:
            raise ValueError(f"the arrays are not of {self._dtypes}")
        for view, array in zip(self._input_views, arrays, strict=True):
            buffer = array.buffer
            view[:] = buffer if type(buffer) is bytes else memoryview(buffer).cast("B")
        for _, _, view, nothing in self._output_views:
            view[:] = nothing  # of another request, should onnxruntime ever leave it as it was

    def expect(self, outputs: Any, arrays: list[Array]) -> None:
        """From now on have the outputs written into memory of this slot.

        Args:
            outputs: Where their values go, an array of pointers.
            arrays: What a batch of these shapes gave, for which `fits` holds.
        """
        self.outputs = outputs
        for place, array in enumerate(arrays):
            view = self._hold(outputs, place, array)
            self._output_views.append((array.dtype, array.shape, view, bytes(len(view))))

    def results(self) -> list[Array]:
        """What onnxruntime wrote into the outputs."""
        return [Array(dtype, shape, bytes(view)) for dtype, shape, view, _ in self._output_views]
