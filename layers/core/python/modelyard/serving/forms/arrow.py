"""Arrow's IPC stream, read without pyarrow: a table with a column for each input. What goes out: `arrow_writer`.

::

    schema ─► record batch ─► record batch ...     each: FFFFFFFF, length, flatbuffer, then the columns' bytes

The rule: every length and offset is held to the bytes that are there before it is used. What is read: integers, floats,
booleans and text of either size, and lists of one length for inputs of more than one value a row. Not read: compressed
batches, dictionaries (pandas' categories) and views; each is refused by its name.
https://arrow.apache.org/docs/format/Columnar.html
"""

import struct
from itertools import pairwise
from math import nan
from typing import Any

from modelyard.errors import RequestError
from modelyard.predictor.array import CODES, ITEM_BYTES, Array
from modelyard.predictor.encode import listed
from modelyard.predictor.signature import FLOATS, INTEGERS, Tensor
from modelyard.serving.forms.flatbuffer import MalformedError, Table, read

MOST_BATCHES = 1000
CONTINUES = 0xFFFFFFFF
SCHEMA, RECORD_BATCH = 1, 3
_V4, V5 = 3, 4
INT, FLOAT, UTF8, BOOL, _LIST, FIXED_LIST, _LARGE_UTF8 = 2, 3, 5, 6, 12, 16, 20
_NAMES = {
    1: "null", 4: "binary", 7: "decimal", 8: "date", 9: "time", 10: "timestamp", 11: "interval", 13: "struct",
    14: "union", 15: "fixed-size binary", 17: "map", 18: "duration", 19: "large binary", 21: "large list",
    22: "run-end encoded", 23: "binary view", 24: "string view", 25: "list view", 26: "large list view",
}  # fmt: skip
FLOAT_TYPES = {0: "float16", 1: "float32", 2: "float64"}


_schemas: dict[tuple[bytes, tuple[Tensor, ...]], list["Column"]] = {}
_MOST_SCHEMAS, _LONGEST_SCHEMA = 8, 64 << 10


class Column:
    """A column of the schema.

    Attributes:
        name: Its name.
        dtype: Of its values, or of the values in its lists.
        kind: Arrow's number of its type.
        width: Values of a row; 0 where the column has no lists, -1 where the offsets say it.
        inner: The type of the values in its lists.
    """

    __slots__ = ("dtype", "inner", "kind", "name", "width")

    def __init__(self, field: Table) -> None:
        self.name = field.text(0)
        self.kind = field.number(2, "B")
        self.width = 0
        self.inner = field
        if self.kind in (_LIST, FIXED_LIST):
            self.width = field.table(3).number(0, "i") if self.kind == FIXED_LIST else -1
            children = field.tables(5, 2)
            if len(children) != 1 or self.width == 0 or self.width < -1:
                raise MalformedError(f"column {self.name[:80]!r} is a list without elements")
            self.inner = children[0]
            if self.inner.number(2, "B") in (_LIST, FIXED_LIST):
                raise _unread(self.name, "of lists in lists", "Give the values of a row as one flat list, or send NPY.")
        self.dtype = _dtype(self.name, self.inner)


def read_table(body: bytes, tensors: tuple[Tensor, ...], nulls: frozenset[str], *, most_rows: int) -> list[Array]:
    """One array for each input, in its order, in the dtype that the column has.

    Args:
        body: The stream.
        tensors: The model's inputs.
        nulls: Names of inputs in which a value may be missing.
        most_rows: Where to stop.

    Raises:
        RequestError: With code ``invalid_arrow`` where it is no such stream; else with the column, and the row where
            there is one.
    """
    try:
        return _read_table(body, tensors, nulls, most_rows)
    except MalformedError as error:
        raise RequestError(
            f"the body is not a stream of Arrow: {error}",
            code="invalid_arrow",
            next_step="Send what pyarrow.ipc.new_stream writes, without compression.",
        ) from None


def _read_table(body: bytes, tensors: tuple[Tensor, ...], nulls: frozenset[str], most_rows: int) -> list[Array]:
    numbers = nulls.intersection(tensor.name for tensor in tensors if tensor.dtype in FLOATS)
    columns: list[Column] | None = None
    parts: list[list[Array]] = []
    rows = place = 0
    while place < len(body):
        message, begins, length = _message(body, place)
        if message is None:
            break
        place = begins + length
        kind, header = message.number(1, "B"), message.table(2)
        if kind == SCHEMA and columns is None:
            columns = _known_columns(message, header, tensors)
        elif kind == RECORD_BATCH and columns is not None:
            rows += header.number(0, "q")
            if rows > most_rows or len(parts) >= MOST_BATCHES:
                raise RequestError(
                    f"the stream has more than {most_rows:,} rows or {MOST_BATCHES:,} batches",
                    code="batch_too_large",
                    status=413,
                    next_step="Split the rows over several requests.",
                )
            values = _Batch(header, memoryview(body)[begins:place], begins, nulls, numbers)
            parts.append([values.array(column) for column in columns])
            values.finish()
        else:
            raise MalformedError(f"a message of kind {kind} is not expected")
    if columns is None:
        raise MalformedError("it has no schema")
    named = {column.name: number for number, column in enumerate(columns)}
    return [_joined([part[named[tensor.name]] for part in parts], tensor, columns) for tensor in tensors]


def _message(body: bytes, place: int) -> tuple[Table | None, int, int]:
    """The message that begins there, where its body begins, and how long that is; no message at the stream's end."""
    if read(body, "I", place) != CONTINUES:
        raise MalformedError("a message does not begin with FFFFFFFF")
    length = read(body, "i", place + 4)
    if length == 0:
        return None, place + 8, 0
    begins = place + 8 + length
    if length < 0 or begins > len(body):
        raise MalformedError(f"a message's metadata has {length:,} bytes")
    message = Table.root(body[place + 8 : begins])
    if message.number(0, "h") not in (_V4, V5):
        raise MalformedError("it is of an older version than 0.15")
    size = message.number(3, "q")
    if not 0 <= size <= len(body) - begins:
        raise MalformedError(f"a message's body has {size:,} bytes; {len(body) - begins:,} are left")
    return message, begins, size


def _known_columns(message: Table, schema: Table, tensors: tuple[Tensor, ...]) -> list[Column]:
    """What a schema says; of those that came before it is known, since a client sends the same one again and again."""
    asked = message.buffer, tensors
    columns = _schemas.get(asked)
    if columns is None:
        columns = _columns(schema, tensors)
        if len(message.buffer) <= _LONGEST_SCHEMA:
            if len(_schemas) >= _MOST_SCHEMAS:
                _schemas.clear()
            _schemas[asked] = columns
    return columns


def _columns(schema: Table, tensors: tuple[Tensor, ...]) -> list[Column]:
    if schema.number(0, "h") != 0:
        raise MalformedError("it is big-endian")
    names = [tensor.name for tensor in tensors]
    columns: list[Column] = []
    for field in schema.tables(1, len(names) + 1):
        name = field.text(0)
        if name not in names or name in [column.name for column in columns]:
            twice = name in names
            problem = "is there twice" if twice else f"is no input; allowed are {listed(names)}"
            raise RequestError(
                f"the column {name[:80]!r} {problem}",
                code="duplicate_key" if twice else "unknown_field",
                field=name[:80],
            )
        columns.append(Column(field))
    missing = next((name for name in names if name not in [column.name for column in columns]), None)
    if missing is not None:
        raise RequestError(f"the column {missing!r} is missing", code="missing_field", field=missing)
    return columns


def _dtype(name: str, field: Table) -> str:
    kind = field.number(2, "B")
    if field.has(4):
        raise _unread(name, "a dictionary (a category of pandas)", "Cast it: column.cast(pyarrow.string()).")
    if kind in (UTF8, _LARGE_UTF8):
        return "string"
    if kind == BOOL:
        return "bool"
    about = field.table(3)
    if kind == FLOAT and about.number(0, "h") in FLOAT_TYPES:
        return FLOAT_TYPES[about.number(0, "h")]
    dtype = f"{'' if about.number(1, 'B') else 'u'}int{about.number(0, 'i')}"
    if kind == INT and dtype in CODES:
        return dtype
    raise _unread(name, _NAMES.get(kind, f"of Arrow's type {kind}"), "Cast the column to numbers, booleans or text.")


class _Batch:
    """One record batch, of which columns are taken one after the other."""

    __slots__ = ("_begins", "_body", "_buffers", "_nodes", "_nulls", "_numbers", "_place", "_rows")

    def __init__(
        self, header: Table, body: memoryview, begins: int, nulls: frozenset[str], numbers: frozenset[str]
    ) -> None:
        if header.has(3):
            raise RequestError(
                "the record batches are compressed; compressed bodies are not unpacked",
                code="unsupported_encoding",
                status=415,
                next_step="Write the stream without compression.",
            )
        self._rows = header.number(0, "q")
        if self._rows < 0:
            raise MalformedError(f"a batch has {self._rows} rows")
        self._nodes = iter(header.pairs(1))
        self._buffers = iter(header.pairs(2))
        self._body = body
        self._begins = begins
        self._place = 0  # of the buffer that was taken last, in the whole stream
        self._nulls = nulls
        self._numbers = numbers  # of `nulls`, those whose input is of floats

    def array(self, column: Column) -> Array:
        """The next column."""
        rows, width, count = self._rows, column.width, self._rows
        if width:
            missing, valid = self._node(rows), self._buffer()
            if missing:
                raise self._null(column, _first_null(valid, rows))
            if column.kind == _LIST:
                offsets = self._offsets(rows, "i")
                width = offsets[1] - offsets[0] if rows else 1
                start, count = offsets[0], rows * width
                if start < 0:
                    raise MalformedError(f"column {column.name[:80]!r} has an offset of {start}")
                if width < 1 or offsets != tuple(range(start, start + count + 1, width)):
                    raise RequestError(
                        f"the lists of column {column.name!r} are empty or of different lengths",
                        code="ragged",
                        field=column.name,
                    )
            else:
                start, count = 0, rows * width
        else:
            start = 0
        return self._values(column, start, count, (rows, width) if width else (rows,))

    def finish(self) -> None:
        """Refuse what no column has taken."""
        if next(self._nodes, None) is not None or next(self._buffers, None) is not None:
            raise MalformedError("a batch has more buffers than its schema")

    def _values(self, column: Column, start: int, count: int, shape: tuple[int, ...]) -> Array:
        """``count`` values of a column, or of its lists, from ``start`` on."""
        missing, valid = self._node(start + count, at_least=column.kind == _LIST), self._buffer()
        text = column.dtype == "string"
        elements: Any
        if text:
            elements = self._texts(column, start, count)
        elif column.dtype == "bool":
            elements = struct.pack(f"{count}?", *_bits(self._buffer(), start, count))
        else:
            item, data = ITEM_BYTES[column.dtype], self._buffer()
            if (start + count) * item > len(data):
                raise MalformedError(f"column {column.name[:80]!r} has fewer bytes than values")
            elements = data[start * item : (start + count) * item]
            if self._place % item:  # a stream by the book has every column at a multiple of 8
                elements = bytes(elements)
        array = Array(column.dtype, shape, elements)
        if not missing or not count:
            return array
        there = _bits(valid, start, count)
        if all(there):
            return array
        is_whole = column.dtype in INTEGERS and column.name in self._numbers  # to become floats in any case
        if not is_whole and (column.name not in self._nulls or column.dtype not in (*FLOATS, "string")):
            raise self._null(column, there.index(False) * shape[0] // count)
        mark: Any = "" if text else nan
        values = [value if is_there else mark for value, is_there in zip(array.elements(), there, strict=True)]
        return Array.pack("float64" if is_whole else column.dtype, shape, values)

    def _texts(self, column: Column, start: int, count: int) -> list[str]:
        kind = "q" if column.inner.number(2, "B") == _LARGE_UTF8 else "i"
        offsets = self._offsets(start + count, kind)[start:]
        data = self._buffer()
        ordered = all(first <= second for first, second in pairwise(offsets))
        if offsets and (offsets[0] < 0 or offsets[-1] > len(data) or not ordered):
            raise MalformedError(f"column {column.name[:80]!r} has offsets that lead out of its text")
        texts = []
        for row, (first, second) in enumerate(pairwise(offsets)):
            try:
                texts.append(str(data[first:second], "utf-8"))
            except UnicodeDecodeError as error:
                raise RequestError(
                    f"{column.name!r} of instance {row * self._rows // count} is not UTF-8: {error.reason}",
                    code="wrong_type",
                    field=column.name,
                    row=row * self._rows // count,
                ) from None
        return texts

    def _offsets(self, count: int, kind: str) -> tuple[int, ...]:
        data, size = self._buffer(), struct.calcsize(f"<{kind}")
        if not count and not len(data):
            return (0,)
        if (count + 1) * size > len(data):
            raise MalformedError(f"{count:,} rows have offsets of {len(data):,} bytes")
        return struct.unpack_from(f"<{count + 1}{kind}", data)

    def _node(self, count: int, *, at_least: bool = False) -> int:
        """How many of the next column's values are missing."""
        length, missing = next(self._nodes, (-1, -1))
        if length < count or (length > count and not at_least) or not 0 <= missing <= length:
            raise MalformedError(f"a column has {length:,} rows where {count:,} are expected")
        return missing

    def _buffer(self) -> memoryview:
        offset, length = next(self._buffers, (-1, -1))
        if offset < 0 or length < 0 or offset + length > len(self._body):
            raise MalformedError("a buffer leads out of its batch")
        self._place = self._begins + offset
        return self._body[offset : offset + length]

    def _null(self, column: Column, row: int) -> RequestError:
        return RequestError(
            f"{column.name!r} of instance {row} is null; {column.dtype} takes a value",
            code="wrong_type",
            field=column.name,
            row=row,
        )


def _bits(data: memoryview, start: int, count: int) -> list[bool]:
    if start + count > 8 * len(data):
        raise MalformedError(f"{count:,} values have {len(data):,} bytes of bits")
    packed = int.from_bytes(data[start // 8 : (start + count + 7) // 8], "little") >> start % 8
    digits = f"{packed & ((1 << count) - 1):0{count}b}" if count else ""
    return [digit == "1" for digit in reversed(digits)]


def _first_null(valid: memoryview, rows: int) -> int:
    there = _bits(valid, 0, rows)
    return there.index(False) if False in there else 0


def _joined(parts: list[Array], tensor: Tensor, columns: list[Column]) -> Array:
    """The parts of a column, one after the other, in the shape that a single input has."""
    if not parts:
        dtype = next(column.dtype for column in columns if column.name == tensor.name)
        return Array(dtype, (0,), [] if dtype == "string" else b"")
    first = parts[0]
    if len(parts) == 1:
        return first
    rest = {part.shape[1:] for part in parts if part.shape[0]}
    if len(rest) > 1:
        raise RequestError(
            f"the lists of column {tensor.name!r} are of different lengths", code="ragged", field=tensor.name
        )
    shape = (sum(part.shape[0] for part in parts), *(rest.pop() if rest else first.shape[1:]))
    if first.dtype == "string":
        return Array("string", shape, [text for part in parts for text in part.buffer])
    if any(part.dtype != first.dtype for part in parts):  # integers, of which some batches have missing ones
        return Array.pack("float64", shape, [value for part in parts for value in part.elements()])
    return Array(first.dtype, shape, b"".join(part.buffer for part in parts))


def _unread(name: str, problem: str, next_step: str) -> RequestError:
    return RequestError(
        f"the column {name[:80]!r} is {problem}, which is not read", code="wrong_type", field=name[:80],
        next_step=next_step,
    )  # fmt: skip
