"""Whether an ONNX file keeps weights outside itself, read from its bytes alone.

onnxruntime given bytes still opens files next to the working directory when a tensor says so (seen with 1.31: relative
paths and hard links load), and a reserved location even names an address in memory. So this is found out before
onnxruntime sees the bytes, and without the ``onnx`` package, which the serving layer does not carry.

The file is walked as protobuf, following only the fields that lead to a tensor. Where the encoding is one that no ONNX
writer produces but a lenient parser might accept (groups, broken lengths), the file is refused instead of interpreted.
"""

import re
from collections.abc import Iterator

_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5

# Field numbers of onnx.proto that lead to tensors: message -> field -> message.
_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        22: "sparse tensor",
        23: "sparse tensor",
    },
    "sparse tensor": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # fields of a tensor
_KEY, _VALUE = 1, 2  # fields of an entry of its external data


def _tags(wire: int) -> bytes:
    """The one-byte tags of this wire type, as a regular expression's class, without a tensor's data location."""
    fields = (field for field in range(1, 16) if (field, wire) != (_DATA_LOCATION, _VARINT))
    return b"[" + b"".join(re.escape(bytes([field << 3 | wire])) for field in fields) + b"]"


# A run of numbers, skipped at the speed of C: a forest is one node with millions of them.
_NUMBERS = re.compile(
    b"(?:" + _tags(_VARINT) + rb"[\x80-\xff]{0,9}+[\x00-\x7f]|" + _tags(_FOUR_BYTES) + b".{4})++", re.DOTALL
)


class MalformedError(ValueError):
    """The bytes are not the protobuf that an ONNX writer produces."""


def has_external_data(model: bytes) -> bool:
    """Whether any tensor, in any graph, function or attribute, keeps its data outside the file.

    Raises:
        MalformedError: When the bytes cannot be walked.
    """
    return next(_marks(model), None) is not None


def external_files(model: bytes) -> set[tuple[str, int]]:
    """What tensors, wherever they are, keep outside the file: that file's name, and the byte after each one's last.

    Raises:
        MalformedError: When the bytes cannot be walked, or do not name a file, or not once.
    """
    return {_file(model, entries) for entries in _marks(model)}


def _marks(model: bytes) -> Iterator[list[tuple[int, int]]]:
    """For each tensor that is marked as external, where its entries begin and how long they are."""
    open_messages = [("model", 0, len(model))]
    while open_messages:
        message, start, end = open_messages.pop()
        children = _CHILDREN[message]
        entries, marked = [], False
        for field, wire, value, length in _fields(model, start, end):
            if wire == _BYTES and field in children:
                open_messages.append((children[field], value, value + length))
            elif message == "tensor" and field == _EXTERNAL_DATA and wire == _BYTES:
                entries.append((value, length))
            elif message == "tensor" and field == _DATA_LOCATION and wire == _VARINT and value:
                marked = True
        if entries or marked:
            yield entries


def _file(model: bytes, entries: list[tuple[int, int]]) -> tuple[str, int]:
    said: dict[bytes, bytes] = {}
    for start, size in entries:
        pair = {
            field: model[value : value + length]
            for field, wire, value, length in _fields(model, start, start + size)
            if wire == _BYTES
        }
        key = pair.get(_KEY, b"")
        if key in said:
            raise MalformedError(f"a tensor says its {key!r} twice")
        said[key] = pair.get(_VALUE, b"")
    try:
        location, offset, length = said[b"location"].decode(), int(said.get(b"offset", b"0")), int(said[b"length"])
    except (KeyError, ValueError) as unclear:
        raise MalformedError(f"a tensor outside the file without a place: {said}") from unclear
    if offset < 0 or length < 0:
        raise MalformedError(f"a tensor at byte {offset}, of {length} bytes")
    return location, offset + length


def _fields(model: bytes, position: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Field number, wire type, value (of bytes: their position) and length of what is not a run of numbers."""
    while position < end:
        run = _NUMBERS.match(model, position, end)
        if run is not None:
            position = run.end()
            continue
        tag, position = _varint(model, position, end, longest=5)
        field, wire = (tag & 0xFFFFFFFF) >> 3, tag & 7
        if not field:
            raise MalformedError(f"field number 0 at byte {position}")
        if wire == _VARINT:
            value, position = _varint(model, position, end)
            yield field, wire, value, 0
            continue
        if wire == _BYTES:
            length, position = _varint(model, position, end)
        elif wire in (_FOUR_BYTES, _EIGHT_BYTES):
            length = 4 if wire == _FOUR_BYTES else 8
        else:
            raise MalformedError(f"wire type {wire} at byte {position}")
        if position + length > end:
            raise MalformedError(f"a field at byte {position} ends after the file or its message")
        yield field, wire, position, length
        position += length


def _varint(model: bytes, position: int, end: int, longest: int = 10) -> tuple[int, int]:
    value = 0
    for place in range(longest):
        if position + place >= end:
            break
        byte = model[position + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, position + place + 1
    raise MalformedError(f"a number at byte {position} does not end")
