"""`Block`: the arrays of one request in one buffer, where `RowReader` puts them, or `Packer` those of a few rows.

Thirty columns are thirty objects to make, to ask for their shape and to copy, which takes longer than to read a number
in each. So an engine takes the buffer as a whole; who looks at one column gets an `Array` of it.

Imported with a second request: no cold start pays for it.
"""

import struct
from collections.abc import Sequence
from itertools import chain
from math import prod
from typing import Any, overload

from modelyard.predictor.array import CODES, ITEM_BYTES, Array
from modelyard.predictor.signature import Tensor

ALIGNED = 16
"""Rows that a column is rounded up to: each begins where onnxruntime's loads are fastest."""


class Layout:
    """What the blocks of one model have in common.

    Args:
        tensors: Its inputs, of numbers; of a row's sizes only the first may vary, and is 1 then.

    Attributes:
        columns: For each the dtype, its sizes but for the rows, where it begins and ends, in bytes for one row of all.
        dtype: That of all columns, where it is one.
        rest: Their sizes but for the rows, where they are the same.
        kind: Dtype and these sizes of each.
        row_bytes: Of one row of all.
    """

    __slots__ = ("columns", "dtype", "kind", "rest", "row_bytes")

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.columns = []
        self.row_bytes = 0
        for tensor in tensors:
            rest = tuple(size or 1 for size in tensor.shape[1:])
            end = self.row_bytes + ITEM_BYTES[tensor.dtype] * prod(rest)
            self.columns.append((tensor.dtype, rest, self.row_bytes, end))
            self.row_bytes = end
        self.kind = tuple((dtype, rest) for dtype, rest, _, _ in self.columns)
        alike = len(set(self.kind)) == 1
        self.dtype = self.kind[0][0] if alike else None
        self.rest = self.kind[0][1] if alike else ()


class Block(Sequence[Array]):
    """Arrays that lie one after the other.

    Args:
        layout: Of the model.
        rows: How many each array has.
        memory: Where they lie, a view of bytes.

    Attributes:
        key: Blocks of one layout with the same key have the same shapes, at the same places.
        stride: From the beginning of a column of one-byte elements to the next, in elements.
    """

    __slots__ = ("_made", "key", "layout", "memory", "rows", "stride")

    def __init__(self, layout: Layout, rows: int, memory: memoryview) -> None:
        self.layout = layout
        self.rows = rows
        self.stride = stride_of(rows)
        self.memory = memory[: self.stride * layout.row_bytes]
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


class Packer:
    """Makes blocks of a few rows of numbers, each with one call of `struct`.

    Args:
        tensors: The inputs, each of one number a row.
    """

    __slots__ = ("_layout", "_packs")

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._layout = Layout(tensors)
        self._packs: dict[int, Any] = {}

    def block(self, rows: list[tuple[Any, ...]]) -> Block:
        """The block of at most `ALIGNED` rows.

        Raises:
            struct.error: For what is no number, or an integer that does not fit.
            OverflowError: For a number that does not fit into a float dtype.
        """
        count = len(rows)
        pack = self._packs.get(count) or self._made(count)
        numbers = rows[0] if count == 1 else chain.from_iterable(zip(*rows, strict=True))
        return Block(self._layout, count, memoryview(pack(*numbers)))

    def _made(self, count: int) -> Any:
        columns = (
            f"{count}{CODES[dtype]}{(ALIGNED - count) * ITEM_BYTES[dtype]}x" for dtype, *_ in self._layout.columns
        )
        self._packs[count] = pack = struct.Struct("=" + "".join(columns)).pack
        return pack


def stride_of(rows: int) -> int:
    """Rows that a column has room for; rows.c has the same rule."""
    return rows + ALIGNED - 1 & -ALIGNED
