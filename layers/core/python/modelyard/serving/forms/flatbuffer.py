"""The part of FlatBuffers that Arrow's metadata is written in: tables, vectors, structs and strings.

The rule: a place is read only after it was found to lie within the buffer, so no bytes, however made, lead anywhere
else; nothing is followed without being asked for, so no cycle is walked.
https://flatbuffers.dev/internals/
"""

import struct
from typing import Any

_SHAPES = {kind: struct.Struct(f"<{kind}") for kind in "BHIhiq"}


class MalformedError(ValueError):
    """The bytes are not what they say."""


class Table:
    """A table within a buffer. Fields are named by their number in Arrow's schema.

    Attributes:
        buffer: The whole buffer.

    Args:
        buffer: The same.
        place: Where the table begins.
    """

    __slots__ = ("_fields", "_place", "buffer")

    def __init__(self, buffer: bytes, place: int) -> None:
        self.buffer = buffer
        self._place = place
        fields = place - read(buffer, "i", place)
        size = read(buffer, "H", fields)
        if size < 4 or size % 2 or fields + size > len(buffer):
            raise MalformedError(f"a table has a list of fields of {size} bytes")
        self._fields = (fields, size)

    @classmethod
    def root(cls, buffer: bytes) -> "Table":
        """The table that a buffer is."""
        return cls(buffer, read(buffer, "I", 0))

    def has(self, field: int) -> bool:
        """Whether the field is set."""
        return self._where(field) is not None

    def number(self, field: int, kind: str, default: int = 0) -> int:
        """A number; ``kind`` is `struct`'s letter."""
        where = self._where(field)
        return default if where is None else read(self.buffer, kind, where)

    def table(self, field: int) -> "Table":
        """A table that the field refers to."""
        return Table(self.buffer, self._target(field))

    def text(self, field: int) -> str:
        """A string; empty where it is not set."""
        if not self.has(field):
            return ""
        start, count = self.vector(field, 1)
        try:
            return self.buffer[start : start + count].decode()
        except UnicodeDecodeError:
            raise MalformedError("a name is not UTF-8") from None

    def vector(self, field: int, item: int) -> tuple[int, int]:
        """Where the elements of a vector begin, ``item`` bytes each, and how many there are."""
        if not self.has(field):
            return 0, 0
        place = self._target(field)
        count = read(self.buffer, "I", place)
        if place + 4 + count * item > len(self.buffer):
            raise MalformedError(f"a vector of {count:,} elements goes beyond its buffer")
        return place + 4, count

    def tables(self, field: int, most: int) -> list["Table"]:
        """The tables of a vector, the first ``most``."""
        start, count = self.vector(field, 4)
        places = range(start, start + 4 * min(count, most), 4)
        return [Table(self.buffer, place + read(self.buffer, "I", place)) for place in places]

    def pairs(self, field: int) -> list[tuple[int, int]]:
        """The structs of a vector that consist of two int64."""
        start, count = self.vector(field, 16)
        numbers = struct.unpack_from(f"<{2 * count}q", self.buffer, start)
        return list(zip(numbers[::2], numbers[1::2], strict=True))

    def _where(self, field: int) -> int | None:
        fields, size = self._fields
        entry = 4 + 2 * field
        offset = read(self.buffer, "H", fields + entry) if entry + 2 <= size else 0
        return self._place + offset if offset else None

    def _target(self, field: int) -> int:
        where = self._where(field)
        if where is None:
            raise MalformedError(f"field {field} of a table is missing")
        return where + read(self.buffer, "I", where)


def read(buffer: bytes, kind: str, place: int) -> int:
    """One little-endian number.

    Raises:
        MalformedError: When it does not lie within the buffer.
    """
    shape = _SHAPES[kind]
    if not 0 <= place <= len(buffer) - shape.size:
        raise MalformedError("a reference leads out of its buffer")
    number: int = shape.unpack_from(buffer, place)[0]
    return number


# -- writing ----------------------------------------------------------------------------------------------------------

Made = "dict[int, tuple[str, int] | str | list[Any] | dict[Any, Any]]"
"""A table to write: by field a number with its kind, a text, a table, a list of tables, or a list of pairs of int64."""


def write(table: dict[int, Any]) -> bytes:
    """A buffer with this table as its root."""
    out = bytearray(4)
    struct.pack_into("<I", out, 0, _write_table(out, table))
    return bytes(out)


def _write_table(out: bytearray, table: dict[int, Any]) -> int:
    """Append a table and all that it refers to; where it begins."""
    numbers = {field: value for field, value in table.items() if type(value) is tuple}
    order = sorted(table, key=lambda field: -_bytes(table[field]))  # the largest first, so that each is aligned
    fields = max(table, default=-1) + 1
    out += bytes(-(len(out) + 4 + 2 * fields) % 8)
    listed = len(out)
    place = listed + 4 + 2 * fields
    at, places = 4, {}
    for field in order:
        size = _bytes(table[field])
        at += -at % size
        places[field] = at
        at += size
    out += struct.pack(f"<HH{fields}H", 4 + 2 * fields, at, *(places.get(field, 0) for field in range(fields)))
    out += struct.pack("<i", place - listed) + bytes(at - 4)
    for field, (kind, value) in numbers.items():
        struct.pack_into(f"<{kind}", out, place + places[field], value)
    for field in order:
        if field not in numbers:
            where = place + places[field]
            target = _write_target(out, table[field])
            struct.pack_into("<I", out, where, target - where)
    return place


def _write_target(out: bytearray, value: Any) -> int:
    if type(value) is dict:
        return _write_table(out, value)
    if type(value) is str:
        out += bytes(-len(out) % 4)
        text = value.encode()
        place = len(out)
        out += struct.pack("<I", len(text)) + text + b"\0"
        return place
    if value and type(value[0]) is dict:
        out += bytes(-len(out) % 4)
        place = len(out)
        out += struct.pack("<I", len(value)) + bytes(4 * len(value))
        for number, table in enumerate(value):
            where = place + 4 + 4 * number
            struct.pack_into("<I", out, where, _write_table(out, table) - where)
        return place
    out += bytes(-(len(out) + 4) % 8)
    place = len(out)
    out += struct.pack("<I", len(value)) + b"".join(struct.pack("<qq", *pair) for pair in value)
    return place


def _bytes(value: Any) -> int:
    return struct.calcsize(f"<{value[0]}") if type(value) is tuple else 4
