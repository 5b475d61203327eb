"""Columns: from what the decoder gives, row by row, to one `Array` for each input; see reader.py.

Nearly all inputs of a table are one number a row, and there are many of them. So these are packed row by row into one
buffer, and each column is then a stride of it: a third of the time that it takes to pack each by itself. A few rows are
packed as they lie in memory, see block.py: the arrays are then not even made.
"""

import struct
import typing
from collections.abc import Sequence
from itertools import chain, starmap
from math import inf
from operator import itemgetter
from typing import Any

import msgspec

from modelyard.contract.document import MOST_ELEMENTS
from modelyard.predictor.array import CODES, ITEM_BYTES, Array
from modelyard.predictor.encode import absent
from modelyard.predictor.enforcement import FieldCheck
from modelyard.predictor.signature import FLOATS, INTEGERS, Tensor

FEW = 16
"""Rows that are packed at once; as many as `modelyard.predictor.block.ALIGNED`."""

_INT64 = range(-(2**63), 2**63)
_UNSIGNED: dict[int, Any] = {1: "B", 2: "H", 4: "I", 8: "Q"}


class Columns:
    """All inputs of a model that has several.

    Args:
        columns: The inputs.
    """

    __slots__ = ("_columns", "_packer", "_requests", "_rest", "_tables")

    def __init__(self, columns: list["Column"]) -> None:
        self._columns = columns
        alike: dict[int, list[int]] = {}
        for place, column in enumerate(columns):
            if column.tensor.scalar and column.tensor.dtype in ITEM_BYTES:
                alike.setdefault(ITEM_BYTES[column.tensor.dtype], []).append(place)
        self._tables = [
            _Table([column.tensor for column in columns], places) for places in alike.values() if len(places) > 1
        ]
        packed = {place for table in self._tables for place in table.places}
        self._rest = [place for place in range(len(columns)) if place not in packed]
        self._packer: Any = None
        self._requests = 0

    def arrays(self, rows: list[tuple[Any, ...]]) -> Sequence[Array]:
        """One array for each input.

        Args:
            rows: The values of each row, in the order of the inputs.

        Raises:
            struct.error: For an integer that does not fit.
            OverflowError: For a number that does not fit into a float dtype.
        """
        packer = self._packer
        if packer is None:
            packer = self._packer_from_the_second_request()
        if packer and len(rows) <= FEW:
            try:
                block: Sequence[Array] = packer.block(rows)
            except struct.error:  # a null, most likely
                pass
            else:
                return block
        found: list[Any] = [None] * len(self._columns)
        for table in self._tables:
            try:
                table.fill(found, rows)
            except struct.error:  # a null, most likely
                for place in table.places:
                    found[place] = self._column(place, rows)
        for place in self._rest:
            found[place] = self._column(place, rows)
        return found

    def _packer_from_the_second_request(self) -> Any:
        """What packs a few rows at once; False where inputs are others than numbers."""
        tensors = [column.tensor for column in self._columns]
        if not all(tensor.scalar and tensor.dtype in ITEM_BYTES for tensor in tensors):
            self._packer = False
        elif self._requests:
            from modelyard.predictor.block import Packer

            self._packer = Packer(tensors)
        self._requests += 1
        return self._packer

    def _column(self, place: int, rows: list[tuple[Any, ...]]) -> Array:
        return self._columns[place].array(list(map(itemgetter(place), rows)), len(rows))


class _Table:
    """Several inputs of one number a row, all of as many bytes.

    Attributes:
        places: Of these inputs among all.
    """

    __slots__ = ("_code", "_each", "_pack_row", "_pick", "places")

    def __init__(self, tensors: list[Tensor], places: list[int]) -> None:
        self.places = places
        chosen = [tensors[place] for place in places]
        self._pack_row = struct.Struct("=" + "".join(CODES[tensor.dtype] for tensor in chosen)).pack
        self._code = _UNSIGNED[ITEM_BYTES[chosen[0].dtype]]
        self._pick = None if len(places) == len(tensors) else itemgetter(*places)
        self._each = [
            (at, place, tensor.dtype, (1,) * (len(tensor.shape) - 1))
            for at, (place, tensor) in enumerate(zip(places, chosen, strict=True))
        ]

    def fill(self, found: list[Any], rows: list[tuple[Any, ...]]) -> None:
        picked = rows if self._pick is None else map(self._pick, rows)
        numbers = memoryview(b"".join(starmap(self._pack_row, picked))).cast(self._code)
        step, many = len(self.places), len(rows)
        for at, place, dtype, rest in self._each:
            found[place] = Array(dtype, (many, *rest), numbers[at::step].tobytes())


class Column:
    """One input: its type for the decoder, and how what that gives becomes an array."""

    __slots__ = ("_depth", "_nullable", "_pack_row", "_shape", "tensor", "type")

    def __init__(self, tensor: Tensor, check: FieldCheck | None) -> None:
        self.tensor = tensor
        self._nullable = check.takes_null if check else tensor.nullable
        self._shape: Any = tensor.shape[1:]
        self._depth = 0 if tensor.scalar else len(self._shape)
        self.type: Any = None
        self._pack_row: Any = None
        if self._depth == 1 and tensor.dtype != "string" and self._shape[0] is not None:
            self._pack_row = struct.Struct(f"={self._shape[0]}{CODES[tensor.dtype]}").pack
        if tensor.scalar or not {None, 0} & set(self._shape):  # no list has 0 values, for the slow path
            self.type = self._typed(check)

    def array(self, values: list[Any], rows: int) -> Array:
        """The array of one input.

        Args:
            values: One for each row.
            rows: How many.

        Raises:
            struct.error: For an integer that does not fit.
            OverflowError: For a number that does not fit into a float dtype.
        """
        if self._pack_row is not None:  # rows of numbers: by far the largest requests
            return Array(self.tensor.dtype, (rows, *self._shape), b"".join(starmap(self._pack_row, values)))
        for _ in range(self._depth):
            values = list(chain.from_iterable(values))
        dtype: str = self.tensor.dtype
        shape = (rows, *self._shape)
        if dtype == "string":
            return Array(dtype, shape, absent(dtype, values) if self._nullable and None in values else values)
        try:
            return Array.pack(dtype, shape, values)
        except struct.error:
            if not self._nullable:
                raise
            return Array.pack(dtype, shape, absent(dtype, values))

    def _typed(self, check: FieldCheck | None) -> Any:
        """The type for the decoder; None where it has none for what the contract says."""
        dtype = self.tensor.dtype
        element: Any = float if dtype in FLOATS else int if dtype in INTEGERS else bool if dtype == "bool" else str
        if check is not None and check.refuses_at_once:
            if check.categories is not None:
                element = typing.Literal[(*check.categories, "") if check.takes_null else check.categories]
            if isinstance(check.minimum, tuple) or isinstance(check.maximum, tuple):
                return self._row_of(element, check)
            ((least,), (most,)) = check.bounds(1)
            element = _bounded(element, least, most)
            if element is None:
                return None
        if self._nullable:
            element = element | None
        if self._pack_row is not None and self._shape[0] <= MOST_ELEMENTS:
            return tuple[(element,) * self._shape[0]]  # type: ignore[misc]  # a tenth faster than a list
        for size in reversed(self._shape if self._depth else ()):
            element = typing.Annotated[list[element], msgspec.Meta(min_length=size, max_length=size)]
        return element

    def _row_of(self, element: Any, check: FieldCheck) -> Any:
        """A row of a matrix with bounds of its own for each column."""
        if self._depth != 1:
            return None
        width: int = self._shape[0]
        least, most = check.bounds(width)
        if len(least) != width or len(most) != width:
            return None
        row = tuple(_bounded(element, low, high) for low, high in zip(least, most, strict=True))
        return None if None in row else tuple[row]  # type: ignore[valid-type]


def _bounded(element: Any, least: float, most: float) -> Any:
    """The type of a number within bounds; None for bounds that msgspec cannot hold."""
    low, high = None if least == -inf else least, None if most == inf else most
    if element is int and any(limit is not None and limit not in _INT64 for limit in (low, high)):
        return None
    if low is None and high is None:
        return element
    return typing.Annotated[element, msgspec.Meta(ge=low, le=high)]
