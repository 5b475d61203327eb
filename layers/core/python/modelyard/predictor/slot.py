"""`Slot`: the values that go between the lean engine and onnxruntime, over memory that is used again.

To make a value, to ask it for its shape and to release it takes 4 us, and a table of 30 columns needs 30 of them for
each request. So the values of a small batch are made once for its shapes, inputs and outputs, and later batches of
these shapes are copied through their memory, which takes a tenth of that. A large batch is given where it lies: there
the copy would be what takes time.
"""

from collections.abc import Callable, Sequence
from ctypes import addressof, c_char
from typing import Any

from modelyard.predictor.array import Array

MOST_BYTES = 1 << 15
"""Of a batch that is copied, and of its outputs."""

Make = Callable[[Array, int, int], int]
Release = Callable[[int], None]


def block_of(arrays: Sequence[Any]) -> Any:
    """The memory of all, where they lie in one `modelyard.predictor.block.Block`; no cold start imports that."""
    return getattr(arrays, "memory", None)


def fits(arrays: Sequence[Any]) -> bool:
    """Whether arrays are ones to copy: they hold numbers, and few."""
    memory = block_of(arrays)
    if memory is not None:
        return len(memory) <= MOST_BYTES
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

    def __init__(self, inputs: Any, arrays: Sequence[Array], make: Make, release: Release) -> None:
        self.inputs = inputs
        self.outputs: Any = None
        self._make = make
        self._release = release
        memory = block_of(arrays)
        self._dtypes = None if memory is not None else [array.dtype for array in arrays]
        if memory is None:
            self._input_views = [self._hold(inputs, place, array) for place, array in enumerate(arrays)]
        else:
            self._input_views = [self._hold_block(inputs, arrays, bytearray(memory))]
        self._output_views: list[tuple[str, tuple[int, ...], memoryview, bytes]] = []

    def _hold(self, values: Any, place: int, array: Array) -> memoryview:
        memory = bytearray(memoryview(array.buffer).cast("B"))
        values[place] = self._make(array, addressof(c_char.from_buffer(memory)), len(memory))
        return memoryview(memory)  # which keeps the memory where it is

    def _hold_block(self, values: Any, block: Any, memory: bytearray) -> memoryview:
        address = addressof(c_char.from_buffer(memory))
        for place, (array, start) in enumerate(zip(block, block.starts, strict=True)):
            values[place] = self._make(array, address + start, memoryview(array.buffer).nbytes)
        return memoryview(memory)

    def __del__(self) -> None:
        for values in (self.inputs, self.outputs or ()):
            for value in values:
                self._release(value)  # NULL where none was made

    def fill(self, arrays: Sequence[Array]) -> None:
        """Put another batch of the same shapes in.

        Raises:
            ValueError: When it has other dtypes or sizes than the first.
        """
        if self._dtypes is None:
            self._input_views[0][:] = block_of(arrays)
        elif [array.dtype for array in arrays] != self._dtypes:
            raise ValueError(f"the arrays are not of {self._dtypes}")
        else:
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
