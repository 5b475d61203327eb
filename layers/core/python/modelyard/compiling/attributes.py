"""The attributes of an ONNX node, where a forest keeps its millions of numbers.

The onnx package writes a list of numbers with a tag before each, so a forest of 1,000 trees is 8 million little fields.
They are read as one run by a regular expression and decoded by numpy: 39 MB in a third of a second. They are written
packed, the other form that every protobuf reader has to take, which is a quarter to a half smaller.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from modelyard.compiling import protobuf
from modelyard.external_data import MalformedError

# Fields of AttributeProto, and its types.
NAME, FLOAT, INT, STRING, TENSOR, FLOATS, INTS, STRINGS, TYPE = 1, 2, 3, 4, 5, 7, 8, 9, 20
_TYPES = {FLOAT: 1, INT: 2, STRING: 3, TENSOR: 4, FLOATS: 6, INTS: 7, STRINGS: 8}
# How each is encoded where it is not a run of single numbers; any other way is refused, not guessed.
_WIRES = {
    **dict.fromkeys((NAME, STRING, TENSOR, FLOATS, INTS, STRINGS), protobuf.BYTES),
    FLOAT: protobuf.FOUR_BYTES,
    INT: protobuf.VARINT,
    TYPE: protobuf.VARINT,
}

_INTS_RUN = re.compile(rb"(?:\x40[\x80-\xff]{0,9}+[\x00-\x7f])++", re.DOTALL)
_FLOATS_RUN = re.compile(rb"(?:\x3d.{4})++", re.DOTALL)
# What each node of a tree does, as text; no other attribute repeats itself so often.
_MODES_RUN = re.compile(rb"(?:\x4a(?:\x04LEAF|\x09BRANCH_(?:LT|GT|EQ)|\x0aBRANCH_(?:LEQ|GTE|NEQ)))++")

# Fields of TensorProto, and the numbers of its element types that are used here.
_DIMS, _DATA_TYPE, _INT64S, _NAMED, _RAW, _EXTERNAL, _LOCATION = 1, 2, 7, 8, 9, 13, 14
_PAGE = 4096  # what is mapped begins at a multiple
_ELEMENTS = {"float32": 1, "uint8": 2, "int32": 6, "int64": 7}


class Attribute:
    """One attribute.

    Attributes:
        name: Its name.
        value: float, int, bytes (text, or a tensor's message), a numpy array of float32 or int64, or a list of bytes.
            None where it is of another kind, such as a graph.
        raw: The message as it was.
    """

    __slots__ = ("name", "raw", "value")

    def __init__(self, name: str, value: Any, raw: bytes | memoryview) -> None:
        self.name = name
        self.value = value
        self.raw = raw


def read(message: memoryview) -> Attribute:
    """Decode an AttributeProto.

    Raises:
        MalformedError: When it is not one.
    """
    name, value = "", None
    numbers: dict[int, list[Any]] = {INTS: [], FLOATS: []}
    strings: list[bytes] = []
    position, end = 0, len(message)
    while position < end:
        ahead = message[position]
        run = None
        if ahead == INTS << 3:
            run = _INTS_RUN.match(message, position)
            if run is not None:
                numbers[INTS].append(_tagged_varints(message[position : run.end()]))
        elif ahead == FLOATS << 3 | protobuf.FOUR_BYTES:
            run = _FLOATS_RUN.match(message, position)
            if run is not None:
                numbers[FLOATS].append(_tagged_floats(message[position : run.end()]))
        elif ahead == STRINGS << 3 | protobuf.BYTES:
            run = _MODES_RUN.match(message, position)
            if run is not None:  # the tag is a J, which no mode has in its name; then the length
                strings.extend(mode[1:] for mode in run.group().split(b"J")[1:])
        if run is not None:
            position = run.end()
            continue
        field = next(protobuf.fields(message[position:]))
        position += len(field.raw)
        if field.wire != _WIRES.get(field.number, field.wire):
            raise MalformedError(f"field {field.number} of an attribute with wire type {field.wire}")
        if field.number == NAME:
            name = protobuf.text(field.value)
        elif field.number == STRINGS:
            strings.append(bytes(field.value))
        elif field.number == INTS:
            numbers[INTS].append(_varints(np.frombuffer(field.value, np.uint8)))
        elif field.number == FLOATS:
            if len(field.value) % 4:
                raise MalformedError("a list of numbers ends in the middle of one")
            numbers[FLOATS].append(np.frombuffer(field.value, "<f4"))
        elif field.number == INT:
            value = field.value - (1 << 64) if field.value >> 63 else field.value
        elif field.number == FLOAT:
            value = float(np.frombuffer(field.value, "<f4")[0])
        elif field.number in (STRING, TENSOR):
            value = bytes(field.value)
    for found in numbers.values():
        if found:
            value = np.concatenate(found)
    return Attribute(name, strings or value, message)


def write(name: str, value: Any) -> bytes:
    """An AttributeProto; an array of uint8, or one in a tuple, becomes a tensor."""
    kind, body = _encoded(value)
    return b"".join((protobuf.content(NAME, name.encode()), body, protobuf.number(TYPE, _TYPES[kind])))


def tensor(array: Any, name: str = "") -> bytes:
    """A TensorProto: an initializer or the value of an attribute."""
    return _described(array, name) + protobuf.content(_RAW, array.tobytes())


def integers(message: memoryview) -> Any:
    """The elements of a TensorProto of int32 or int64, one after the other; None where it holds anything else."""
    parts = list(protobuf.fields(message))
    kinds = {"<i4": 6, "<i8": 7}
    element = next((part.value for part in parts if part.number == _DATA_TYPE), 0)
    raw = [part.value for part in parts if part.number == _RAW and part.wire == protobuf.BYTES]
    written = [part.value for part in parts if part.number == _INT64S and part.wire == protobuf.BYTES]
    if any(part.number in (_EXTERNAL, _LOCATION) for part in parts) or element not in kinds.values():
        return None
    if raw:
        found = np.frombuffer(raw[0], next(dtype for dtype, number in kinds.items() if number == element))
        return found.astype(np.int64)
    return np.concatenate([_varints(np.frombuffer(some, np.uint8)) for some in written]) if written else None


def sizes(message: memoryview) -> list[int]:
    """The length of each axis of a TensorProto."""
    found: list[int] = []
    for part in protobuf.fields(message):
        if part.number == _DIMS:
            found += (
                [part.value] if part.wire == protobuf.VARINT else _varints(np.frombuffer(part.value, np.uint8)).tolist()
            )
    return found


def outside_tensor(array: Any, name: str, path: Path) -> bytes:
    """A TensorProto whose elements are appended to another file."""
    return _described(array, name) + _appended(array.tobytes(), path)


def moved_outside(message: memoryview, path: Path) -> bytes | None:
    """The same TensorProto with its bytes appended to another file; None where it has none, or elements one by one."""
    parts = list(protobuf.fields(message))
    content = [part.value for part in parts if part.number == _RAW and part.wire == protobuf.BYTES]
    if len(content) != 1 or any(part.number in (_EXTERNAL, _LOCATION) for part in parts):
        return None
    kept = b"".join(part.raw for part in parts if part.number != _RAW)
    return kept + _appended(content[0], path)


def _appended(content: bytes | memoryview, path: Path) -> bytes:
    with path.open("ab") as file:
        file.write(bytes(-file.tell() % _PAGE))
        where = {"location": path.name, "offset": str(file.tell()), "length": str(len(content))}
        file.write(content)
    entries = (
        protobuf.content(_EXTERNAL, protobuf.content(1, key.encode()) + protobuf.content(2, value.encode()))
        for key, value in where.items()
    )
    return b"".join((*entries, protobuf.number(_LOCATION, 1)))


def _described(array: Any, name: str) -> bytes:
    named = protobuf.content(_NAMED, name.encode()) if name else b""
    sizes = b"".join(protobuf.number(_DIMS, size) for size in array.shape)
    return sizes + protobuf.number(_DATA_TYPE, _ELEMENTS[array.dtype.name]) + named


def strings_tensor(values: list[bytes], name: str) -> bytes:
    """A TensorProto of text."""
    parts = [
        protobuf.number(_DIMS, len(values)),
        protobuf.number(_DATA_TYPE, 8),
        protobuf.content(_NAMED, name.encode()),
    ]
    return b"".join((*parts, *(protobuf.content(6, value) for value in values)))


def _encoded(value: Any) -> tuple[int, bytes]:
    if isinstance(value, tuple):
        return TENSOR, protobuf.content(TENSOR, tensor(value[0]))
    if isinstance(value, np.ndarray) and value.dtype == np.float32:
        return FLOATS, protobuf.content(FLOATS, value.astype("<f4").tobytes())
    if isinstance(value, np.ndarray):
        return INTS, protobuf.content(INTS, packed_varints(value))
    if isinstance(value, list):
        return STRINGS, b"".join(protobuf.content(STRINGS, text) for text in value)
    if isinstance(value, bytes):
        return STRING, protobuf.content(STRING, value)
    return INT, protobuf.number(INT, value)


def _tagged_floats(run: memoryview) -> Any:
    return np.frombuffer(run, np.uint8).reshape(-1, 5)[:, 1:].copy().view("<f4").ravel()


def _tagged_varints(run: memoryview) -> Any:
    # A tag is a varint of one byte, so every second number of the run is a value.
    return _varints(np.frombuffer(run, np.uint8))[1::2]


def _varints(written: Any) -> Any:
    """int64 numbers from their bytes."""
    ends = np.flatnonzero(written < 0x80)
    if not len(ends) and not len(written):
        return np.empty(0, np.int64)
    if not len(ends) or ends[-1] != len(written) - 1:
        raise MalformedError("a list of numbers ends in the middle of one")
    starts = np.empty_like(ends)
    starts[0], starts[1:] = 0, ends[:-1] + 1
    longest = int((ends - starts).max())
    if longest > 9:
        raise MalformedError("a number of more than 10 bytes")
    values = (written[starts] & 0x7F).astype(np.uint64)
    for place in range(1, longest + 1):
        reaches = np.flatnonzero(ends - starts >= place)
        values[reaches] |= (written[starts[reaches] + place] & 0x7F).astype(np.uint64) << np.uint64(7 * place)
    return values.view(np.int64)


def packed_varints(values: Any) -> bytes:
    """The bytes of int64 numbers, one after the other."""
    unsigned = np.ascontiguousarray(values, np.int64).view(np.uint64)
    lengths = np.ones(len(unsigned), np.int64)
    for place in range(1, 10):
        lengths += unsigned >> np.uint64(7 * place) > 0
    starts = np.cumsum(lengths) - lengths
    written = np.empty(int(lengths.sum()), np.uint8)
    for place in range(int(lengths.max(initial=0))):
        reaches = np.flatnonzero(lengths > place)
        low = (unsigned[reaches] >> np.uint64(7 * place)).astype(np.uint8) & 0x7F
        more = (lengths[reaches] > place + 1).astype(np.uint8) << 7
        written[starts[reaches] + place] = low | more
    return written.tobytes()
