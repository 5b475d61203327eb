"""Arrow's IPC stream, written without pyarrow: one record batch with a column for each output.

The rule: every part lies at a multiple of 8, as the format has it, so that a reader need not copy. What is written here
was read by pyarrow, byte for byte: `tests/fixtures/arrow/write.py`.
"""

import struct
from collections.abc import Callable
from itertools import accumulate
from math import prod
from typing import Any

from modelyard.predictor.array import ITEM_BYTES, Array
from modelyard.predictor.signature import FLOATS
from modelyard.serving.forms.arrow import (
    BOOL,
    CONTINUES,
    FIXED_LIST,
    FLOAT,
    FLOAT_TYPES,
    INT,
    RECORD_BATCH,
    SCHEMA,
    UTF8,
    V5,
)
from modelyard.serving.forms.flatbuffer import write


def write_table(columns: list[tuple[str, Array]]) -> bytes:
    """A stream with one record batch.

    Args:
        columns: Names and arrays, each ``[rows]`` or ``[rows, ...]``; what a row has of the latter becomes a list.
    """
    rows = columns[0][1].shape[0]
    nodes: list[tuple[int, int]] = []
    buffers: list[tuple[int, int]] = []
    body = bytearray()

    def add(content: Any) -> None:
        buffers.append((len(body), len(content)))
        body.extend(content)
        body.extend(bytes(-len(body) % 8))

    for _, array in columns:
        nodes.append((rows, 0))
        add(b"")  # no value is missing
        if len(array.shape) > 1:
            nodes.append((prod(array.shape), 0))
            add(b"")
        _add_values(array, add)
    batch: dict[int, Any] = {0: ("q", rows), 1: nodes, 2: buffers}
    fields = [_field(name, array) for name, array in columns]
    schema = _framed({0: ("h", V5), 1: ("B", SCHEMA), 2: {1: fields}, 3: ("q", 0)})
    return b"".join(
        (
            schema,
            _framed({0: ("h", V5), 1: ("B", RECORD_BATCH), 2: batch, 3: ("q", len(body))}),
            body,
            struct.pack("<Ii", CONTINUES, 0),
        )
    )


def _add_values(array: Array, add: Callable[[Any], None]) -> None:
    if array.dtype == "string":
        encoded = [text.encode() for text in array.buffer]
        add(struct.pack(f"<{len(encoded) + 1}i", *accumulate(map(len, encoded), initial=0)))
        add(b"".join(encoded))
    elif array.dtype == "bool":
        packed = int("".join("1" if value else "0" for value in reversed(array.elements())) or "0", 2)
        add(packed.to_bytes((prod(array.shape) + 7) // 8, "little"))
    else:
        add(array.buffer)


def _field(name: str, array: Array) -> dict[int, Any]:
    value = _value_field(name if len(array.shape) == 1 else "item", array.dtype)
    if len(array.shape) == 1:
        return value
    width = prod(array.shape[1:])
    return {0: name, 1: ("B", 0), 2: ("B", FIXED_LIST), 3: {0: ("i", width)}, 5: [value]}


def _value_field(name: str, dtype: str) -> dict[int, Any]:
    kind, about = _written_type(dtype)
    return {0: name, 1: ("B", 0), 2: ("B", kind), 3: about, 5: []}


def _written_type(dtype: str) -> tuple[int, dict[int, Any]]:
    if dtype == "string":
        return UTF8, {}
    if dtype == "bool":
        return BOOL, {}
    if dtype in FLOATS:
        return FLOAT, {0: ("h", next(code for code, name in FLOAT_TYPES.items() if name == dtype))}
    return INT, {0: ("i", 8 * ITEM_BYTES[dtype]), 1: ("B", int(not dtype.startswith("u")))}


def _framed(message: dict[int, Any]) -> bytes:
    metadata = write(message)
    metadata += bytes(-len(metadata) % 8)
    return struct.pack("<Ii", CONTINUES, len(metadata)) + metadata
