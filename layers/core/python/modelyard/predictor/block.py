"""`Block`: the arrays of one request in one buffer, where `RowReader` puts them.

Thirty columns are thirty objects to make, to ask for their shape and to copy, which takes longer than to read a number
in each. So an engine takes the buffer as a whole; who looks at one column gets an `Array` of it.
"""

from collections.abc import Sequence
from typing import Any, overload

from modelyard.predictor.array import Array

ALIGNED = 16
"""Rows that a column is rounded up to: each begins where onnxruntime's loads are fastest."""


class Layout:
    """What the blocks of one model have in common.

    Attributes:
        columns: For each the dtype, its sizes but for the rows, where it begins and ends, in bytes for one row of all.
        dtype: That of all columns, where it is one.
        rest: Their sizes but for the rows, where they are the same.
    """

    __slots__ = ("columns", "dtype", "rest")

    def __init__(self, columns: list[tuple[str, tuple[int, ...], int, int]]) -> None:
        self.columns = columns
        alike = len({(dtype, rest) for dtype, rest, _, _ in columns}) == 1
        self.dtype = columns[0][0] if alike else None
        self.rest = columns[0][1] if alike else ()


class Block(Sequence[Array]):
    """Arrays that lie one after the other.

    Args:
        layout: Of the model.
        rows: How many each array has.
        memory: Where they lie, a writable view of bytes.

    Attributes:
        key: Blocks of one layout with the same key have the same shapes, at the same places.
        stride: From the beginning of a column of one-byte elements to the next, in elements.
    """

    __slots__ = ("_made", "key", "layout", "memory", "rows", "stride")

    def __init__(self, layout: Layout, rows: int, memory: memoryview) -> None:
        self.layout = layout
        self.rows = rows
        self.stride = stride_of(rows)
        self.memory = memory[: self.stride * layout.columns[-1][3]]
        self.key = (rows,)
        self._made: list[Array] | None = None

    @property
    def starts(self) -> list[int]:
        """Where each array begins, in bytes."""
        return [self.stride * start for _, _, start, _ in self.layout.columns]

    def _arrays(self) -> list[Array]:
        if self._made is None:
            memory, stride, rows = self.memory, self.stride, self.rows
            self._made = [
                Array(dtype, (rows, *rest), memory[stride * start : stride * start + rows * (end - start)])
                for dtype, rest, start, end in self.layout.columns
            ]
        return self._made

    def __len__(self) -> int:
        return len(self.layout.columns)

    def __iter__(self) -> Any:
        return iter(self._arrays())

    @overload
    def __getitem__(self, place: int) -> Array: ...
    @overload
    def __getitem__(self, place: slice) -> list[Array]: ...
    def __getitem__(self, place: Any) -> Any:
        return self._arrays()[place]


def stride_of(rows: int) -> int:
    """Rows that a column has room for; rows.c has the same rule."""
    return rows + ALIGNED - 1 & -ALIGNED
