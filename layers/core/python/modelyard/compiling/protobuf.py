"""Protobuf, as much of it as editing an ONNX file takes: fields in, the same fields out.

The rule: what is not edited is copied byte for byte, whatever it is. So a field that this module has never heard of
survives, and a file that nothing was done to is the same file. The ``onnx`` package would do this too, but the serving
layer, where a trained model is registered, does not carry it.

Only the encodings that ONNX writers produce are read; groups and broken lengths raise, as in `modelyard.external_data`.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from modelyard.external_data import MalformedError

VARINT, EIGHT_BYTES, BYTES, FOUR_BYTES = 0, 1, 2, 5


class Field(NamedTuple):
    """One field of a message.

    Attributes:
        number: As in the message's definition.
        wire: One of the four encodings above.
        value: Of a number: itself, unsigned. Otherwise the bytes.
        raw: The whole field, tag and length included.
    """

    number: int
    wire: int
    value: Any
    raw: memoryview


def fields(message: Any) -> Iterator[Field]:
    """The fields of a message, a memoryview, in order.

    Raises:
        MalformedError: When it is not one.
    """
    if not isinstance(message, memoryview):
        raise MalformedError("a number where a message belongs")
    position, end = 0, len(message)
    while position < end:
        start = position
        tag, position = read_varint(message, position)
        number, wire = tag >> 3, tag & 7
        value: Any
        if wire == VARINT:
            value, position = read_varint(message, position)
        else:
            if wire == BYTES:
                length, position = read_varint(message, position)
            elif wire in (FOUR_BYTES, EIGHT_BYTES):
                length = 4 if wire == FOUR_BYTES else 8
            else:
                raise MalformedError(f"wire type {wire} in a message of {end} bytes")
            if position + length > end:
                raise MalformedError(f"a field of {length} bytes in a message of {end}")
            value = message[position : position + length]
            position += length
        yield Field(number, wire, value, message[start:position])


def read_varint(message: memoryview, position: int) -> tuple[int, int]:
    """A number of 1 to 10 bytes, and the position after it."""
    value = shift = 0
    while position < len(message) and shift < 70:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, position
        shift += 7
    raise MalformedError("a number that does not end")


def varint(value: int) -> bytes:
    """A number as its bytes; a negative one takes ten, as protobuf has it."""
    value &= 0xFFFFFFFFFFFFFFFF
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def number(field: int, value: int) -> bytes:
    """A field that holds a number."""
    return varint(field << 3 | VARINT) + varint(value)


def content(field: int, value: bytes | memoryview) -> bytes:
    """A field that holds text, bytes or a message."""
    return b"".join((varint(field << 3 | BYTES), varint(len(value)), value))


def joined(parts: Iterable[bytes | memoryview]) -> bytes:
    """A message from its fields."""
    return b"".join(parts)


def text(value: Any) -> str:
    """Text of a field.

    Raises:
        MalformedError: When it is not UTF-8, or a number.
    """
    if not isinstance(value, memoryview):
        raise MalformedError("a number where text belongs")
    try:
        return bytes(value).decode()
    except UnicodeDecodeError as garbled:
        raise MalformedError(f"text that is not UTF-8: {bytes(value[:40])!r}") from garbled
