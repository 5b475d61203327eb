"""`Screen`: whether a large batch of arrays is all finite and within its contract, asked of the engine itself.

JSON is checked while it is decoded, value by value. Of a batch that came as bytes nothing has to be decoded, and to
look at each value in Python would take longer than the model. So the engine runs a graph of four nodes over the inputs,
which gives the lowest, the highest and the sum of each column: a column is clean when its sum is finite, which no NaN
and no infinity leave it, and both ends are inside.

::

    inputs of one dtype ─► Concat ─► ReduceMin, ReduceMax, ReduceSum ─► a number for each column

The rule: a screen only ever says that nothing is wrong. What it does not pass is looked at value by value, and that is
what refuses, clips or warns. The graph is written by hand because no serving layer holds the onnx package.
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from math import isfinite, prod
from typing import Any

from modelyard.errors import ModelyardError
from modelyard.predictor.array import Array
from modelyard.predictor.enforcement import FieldCheck
from modelyard.predictor.signature import FLOATS, Tensor

_ELEMENT_TYPES = {"float32": 1, "int32": 6, "int64": 7, "float64": 11}
"""ONNX's numbers of the dtypes that onnxruntime reduces on a processor."""

_IR_VERSION, _OPSET = 7, 12  # the last opset in which all three take their axes as an attribute


class Screen:
    """Screens the inputs of one model.

    Args:
        engine: The class that runs models.
        inputs: The model's.
        checks: What the contract says of each.
    """

    __slots__ = ("_engine", "_groups")

    def __init__(self, engine: Any, inputs: tuple[Tensor, ...], checks: list[FieldCheck | None]) -> None:
        self._engine = engine
        self._groups: dict[str, _Group] = {}
        for place, (tensor, check) in enumerate(zip(inputs, checks, strict=True)):
            if tensor.dtype in _ELEMENT_TYPES and (tensor.dtype in FLOATS or check is not None):
                self._groups.setdefault(tensor.dtype, _Group(tensor.dtype)).add(place, check)

    def clean(self, arrays: list[Array]) -> frozenset[int]:
        """Places of the inputs of which every value is finite and inside.

        Args:
            arrays: One for each input, of as many rows each, and at least one.
        """
        places: list[int] = []
        for dtype, group in list(self._groups.items()):
            try:
                places += group.clean(self._engine, arrays)
            except ModelyardError:  # an engine without these operators: then nothing is screened
                del self._groups[dtype]
        return frozenset(places)


class _Group:
    """The inputs of one dtype."""

    __slots__ = ("_dtype", "_members", "_session")

    def __init__(self, dtype: str) -> None:
        self._dtype = dtype
        self._members: list[tuple[int, FieldCheck | None]] = []
        self._session: Any = None

    def add(self, place: int, check: FieldCheck | None) -> None:
        self._members.append((place, check))

    def clean(self, engine: Any, arrays: list[Array]) -> list[int]:
        if self._session is None:
            self._session = engine(graph(self._dtype, len(self._members)))
        columns = [_as_columns(arrays[place]) for place, _ in self._members]
        lowest, highest, *sums = (output.elements() for output in self._session.run(columns))
        found, start = [], 0
        for (place, check), array in zip(self._members, columns, strict=True):
            end = start + array.shape[1]
            finite = not sums or isfinite(sum(sums[0][start:end]))
            if finite and _inside(check, lowest[start:end], highest[start:end]):
                found.append(place)
            start = end
        return found


def _inside(check: FieldCheck | None, lowest: list[float], highest: list[float]) -> bool:
    if check is None:
        return True
    least, most = check.bounds(len(lowest))
    return all(low <= value for value, low in zip(lowest, least, strict=True)) and all(
        value <= high for value, high in zip(highest, most, strict=True)
    )


def graph(dtype: str, inputs: int) -> bytes:
    """The ONNX file of a screen: inputs ``[rows, columns]`` of one dtype."""
    names = [f"i{number}" for number in range(inputs)]
    nodes = []
    if inputs > 1:
        nodes.append(_node("Concat", names, "x", axis=1))
    source = names[0] if inputs == 1 else "x"
    reductions = ["ReduceMin", "ReduceMax", *(["ReduceSum"] if dtype in FLOATS else [])]
    nodes += [_node(kind, [source], kind, axes=0, keepdims=0) for kind in reductions]
    parts = [
        *(_part(1, node) for node in nodes),
        _part(2, b"screen"),
        *(_part(11, _value(name, dtype, 2)) for name in names),
        *(_part(12, _value(kind, dtype, 1)) for kind in reductions),
    ]
    opset = _number(2, _OPSET)
    return b"".join((_number(1, _IR_VERSION), _part(7, b"".join(parts)), _part(8, opset)))


def _as_columns(array: Array) -> Array:
    rows = array.shape[0]
    return Array(array.dtype, (rows, prod(array.shape[1:])), array.buffer)


# -- protobuf, as much of it as that takes ----------------------------------------------------------------------------


def _node(kind: str, inputs: list[str], output: str, **attributes: int) -> bytes:
    return b"".join(
        (
            *(_part(1, name.encode()) for name in inputs),
            _part(2, output.encode()),
            _part(4, kind.encode()),
            *(_part(5, _attribute(name, value)) for name, value in attributes.items()),
        )
    )


def _attribute(name: str, value: int) -> bytes:
    if name == "axes":
        return _part(1, name.encode()) + _number(8, value) + _number(20, 7)  # INTS
    return _part(1, name.encode()) + _number(3, value) + _number(20, 2)  # INT


def _value(name: str, dtype: str, axes: int) -> bytes:
    shape = b"".join(_part(1, _part(2, f"{name}_{axis}".encode())) for axis in range(axes))
    tensor = _number(1, _ELEMENT_TYPES[dtype]) + _part(2, shape)
    return _part(1, name.encode()) + _part(2, _part(1, tensor))


def _part(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
