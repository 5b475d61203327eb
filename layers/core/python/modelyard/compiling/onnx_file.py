"""An ONNX file as the fields of its model and of its main graph, to look at and to replace.

The rule of `modelyard.compiling.protobuf` holds: what is not replaced is written back byte for byte. Graphs inside
nodes (the branches of an If, the body of a Loop) are never edited.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from modelyard.compiling import attributes, protobuf
from modelyard.compiling.attributes import Attribute
from modelyard.external_data import MalformedError

# Fields of ModelProto, GraphProto, NodeProto, ValueInfoProto, TensorProto and OperatorSetIdProto.
_IR_VERSION, _GRAPH, _OPSET, _METADATA = 1, 7, 8, 14
NODE, INITIALIZER, INPUT, OUTPUT, VALUE = 1, 5, 11, 12, 13
_NODE_INPUT, _NODE_OUTPUT, _OP_TYPE, _ATTRIBUTE, _DOMAIN = 1, 2, 4, 5, 7
_VALUE_NAME, _VALUE_TYPE, _TENSOR_TYPE, _ELEMENT = 1, 2, 1, 1
_GRAPH_NAME, _TENSOR_NAME = 2, 8
_DATA_TYPE = 2
_SUBGRAPHS = (6, 11)  # of AttributeProto: a graph, graphs
_FLOAT, _FLOAT16, _BFLOAT16 = 1, 10, 16

ML = "ai.onnx.ml"


class Node:
    """One operation, read as far as asked for."""

    __slots__ = ("_attributes", "_parts", "domain", "inputs", "kind", "outputs")

    def __init__(self, message: memoryview) -> None:
        self._parts = list(protobuf.fields(message))
        self._attributes: dict[str, Attribute] | None = None
        self.inputs = self._texts(_NODE_INPUT)
        self.outputs = self._texts(_NODE_OUTPUT)
        self.kind = next(iter(self._texts(_OP_TYPE)), "")
        self.domain = next(iter(self._texts(_DOMAIN)), "")

    def _texts(self, number: int) -> list[str]:
        return [protobuf.text(part.value) for part in self._parts if part.number == number]

    @property
    def attributes(self) -> dict[str, Attribute]:
        """By name; a forest's take a while."""
        if self._attributes is None:
            found = (attributes.read(part.value) for part in self._parts if part.number == _ATTRIBUTE)
            self._attributes = {attribute.name: attribute for attribute in found}
        return self._attributes

    def is_a(self, kind: str, domain: str = "") -> bool:
        """Whether it is this operation; in other domains a function of the file's own may have its name."""
        return (self.kind, self.domain) == (kind, domain)

    def holds_graphs(self) -> bool:
        """Whether an attribute is a graph, which may use names of the graph around it."""
        return any(
            inner.number in _SUBGRAPHS
            for part in self._parts
            if part.number == _ATTRIBUTE
            for inner in _shallow(part.value)
        )

    def tensor(self, name: str) -> memoryview | None:
        """The message of an attribute that is a tensor; not copied, unlike those of `attributes`."""
        for part in self._parts:
            if part.number == _ATTRIBUTE:
                inner = {each.number: each.value for each in _shallow(part.value)}
                if attributes.TENSOR in inner and protobuf.text(inner.get(attributes.NAME)) == name:
                    found: memoryview = inner[attributes.TENSOR]
                    return found
        return None

    def with_outputs(self, outputs: Sequence[str]) -> bytes:
        """The same operation with other names for what it gives."""
        kept = (part.raw for part in self._parts if part.number != _NODE_OUTPUT)
        return protobuf.joined((*kept, *(protobuf.content(_NODE_OUTPUT, name.encode()) for name in outputs)))

    def with_inputs(self, inputs: Sequence[str]) -> bytes:
        """The same operation on other values."""
        kept = (part.raw for part in self._parts if part.number != _NODE_INPUT)
        return protobuf.joined((*(protobuf.content(_NODE_INPUT, name.encode()) for name in inputs), *kept))

    def with_attributes(self, values: dict[str, Any]) -> bytes:
        """The same operation with these attributes and no others."""
        kept = (part.raw for part in self._parts if part.number != _ATTRIBUTE)
        return protobuf.joined((*kept, *_written(values)))


def new_node(kind: str, inputs: Sequence[str], outputs: Sequence[str], *, domain: str = "", **values: Any) -> bytes:
    """A new operation; its attributes as `modelyard.compiling.attributes.write` takes them."""
    return protobuf.joined(
        (
            *(protobuf.content(_NODE_INPUT, name.encode()) for name in inputs),
            *(protobuf.content(_NODE_OUTPUT, name.encode()) for name in outputs),
            protobuf.content(_OP_TYPE, kind.encode()),
            *_written(values),
            protobuf.content(_DOMAIN, domain.encode()),
        )
    )


def _written(values: dict[str, Any]) -> Iterator[bytes]:
    for name, value in sorted(values.items()):
        yield protobuf.content(_ATTRIBUTE, value.raw if isinstance(value, Attribute) else attributes.write(name, value))


class OnnxFile:
    """The fields of a model and of its main graph.

    Attributes:
        graph: Number and whole field of each entry of the main graph; replace them to edit.

    Raises:
        MalformedError: When the bytes are not an ONNX file.
    """

    def __init__(self, model: bytes) -> None:
        self._model = list(protobuf.fields(memoryview(model)))
        graphs = [part.value for part in self._model if part.number == _GRAPH and part.wire == protobuf.BYTES]
        if len(graphs) != 1:
            raise MalformedError(f"a model with {len(graphs)} graphs")
        self.graph: list[tuple[int, bytes | memoryview]] = [
            (part.number, part.raw) for part in protobuf.fields(graphs[0])
        ]
        self._taken: set[str] | None = None  # names of values

    def to_bytes(self) -> bytes:
        """The file."""
        graph = protobuf.joined(raw for _, raw in self.graph)
        return protobuf.joined(
            protobuf.content(_GRAPH, graph) if part.number == _GRAPH else part.raw for part in self._model
        )

    def with_graph(self, entries: Iterable[tuple[int, bytes]], constants: Iterable[int] = ()) -> bytes:
        """Another model with the same versions of operations: these entries, and the initializers at these places."""
        messages = [protobuf.content(number, message) for number, message in entries]
        graph = protobuf.joined((*messages, *(self.graph[place][1] for place in constants)))
        return protobuf.joined(
            protobuf.content(_GRAPH, protobuf.content(_GRAPH_NAME, b"part") + graph)
            if part.number == _GRAPH
            else part.raw
            for part in self._model
            if part.number != _METADATA
        )

    def nodes(self) -> list[tuple[int, Node]]:
        """The operations of the main graph with their places in ``graph``."""
        return [(place, Node(_value(raw))) for place, (number, raw) in enumerate(self.graph) if number == NODE]

    def names(self, number: int) -> list[str]:
        """The names of the graph's inputs or outputs."""
        return [_name(_value(raw)) for kind, raw in self.graph if kind == number]

    def element(self, name: str) -> int | None:
        """The number of the element type of an input that is a tensor; None of any other value."""
        for kind, raw in self.graph:
            if kind == INPUT and _name(_value(raw)) == name:
                messages = [_value(raw)]
                for number in (_VALUE_TYPE, _TENSOR_TYPE):
                    messages = [
                        part.value for each in messages for part in protobuf.fields(each) if part.number == number
                    ]
                found = (part.value for each in messages for part in protobuf.fields(each) if part.number == _ELEMENT)
                return next(found, None)
        return None

    def initializers(self) -> dict[str, int]:
        """The places of the graph's constants by name, of those that no caller can replace."""
        given = set(self.names(INPUT))
        found = {
            _name(_value(raw), _TENSOR_NAME): place
            for place, (number, raw) in enumerate(self.graph)
            if number == INITIALIZER
        }
        return {name: place for name, place in found.items() if name not in given}

    def initializer_sizes(self) -> dict[str, list[int]]:
        """The length of each axis of the graph's constants by name, of those that no caller can replace."""
        return {name: attributes.sizes(_value(self.graph[place][1])) for name, place in self.initializers().items()}

    def constants_as_initializers(self) -> None:
        """Turn operations that only give a tensor into constants of the graph, as onnxruntime does when it loads."""
        given = set(self.names(OUTPUT))
        for place, node in self.nodes():
            if not node.is_a("Constant") or len(node.outputs) != 1 or not given.isdisjoint(node.outputs):
                continue
            tensor = node.tensor("value")
            if tensor is not None:
                kept = (part.raw for part in protobuf.fields(tensor) if part.number != _TENSOR_NAME)
                name = protobuf.content(_TENSOR_NAME, node.outputs[0].encode())
                self.replace(place, INITIALIZER, protobuf.joined((*kept, name)))

    def replace(self, place: int, number: int, *messages: bytes) -> None:
        """Put entries of one kind where one was."""
        self.graph[place : place + 1] = [(number, protobuf.content(number, message)) for message in messages]

    def drop_unused(self) -> None:
        """Take out operations whose results nobody uses, and then constants."""
        used = set(self.names(OUTPUT))
        unused = []
        for place, node in reversed(self.nodes()):
            if used.isdisjoint(node.outputs):
                unused.append(place)
            else:
                used.update(node.inputs)
        unused += [place for name, place in self.initializers().items() if name not in used]
        for place in sorted(unused, reverse=True):
            del self.graph[place]

    def add(self, number: int, *messages: bytes) -> None:
        """Put entries of one kind behind all others."""
        self.graph.extend((number, protobuf.content(number, message)) for message in messages)

    def add_outputs(self, names: Iterable[str]) -> None:
        """Let the graph give these values too; what they are is left to onnxruntime."""
        self.add(OUTPUT, *(protobuf.content(_VALUE_NAME, name.encode()) for name in names))

    def add_initializer(self, tensor: bytes) -> None:
        """Give the graph one more constant."""
        self.add(INITIALIZER, tensor)

    def move_initializers(self, path: Path, least: int) -> int:
        """Append the bytes of constants to another file, of those that take more than ``least``; how many those are."""
        moved = 0
        for place, (kind, raw) in enumerate(self.graph):
            message = attributes.moved_outside(_value(raw), path) if kind == INITIALIZER and len(raw) > least else None
            if message is not None:
                self.graph[place] = (INITIALIZER, protobuf.content(INITIALIZER, message))
                moved += 1
        return moved

    def output_place(self, name: str) -> int | None:
        """Where in ``graph`` the output of this name is declared."""
        places = (
            place for place, (kind, raw) in enumerate(self.graph) if kind == OUTPUT and _name(_value(raw)) == name
        )
        return next(places, None)

    def unused_name(self, wanted: str) -> str:
        """A name for a new value that no other value has, nor one that was given a name here before."""
        if self._taken is None:  # once: a file may have hundreds of forests, and thousands of other operations
            self._taken = {name for _, node in self.nodes() for name in (*node.inputs, *node.outputs)}
            self._taken.update(_name(_value(raw), _TENSOR_NAME) for kind, raw in self.graph if kind == INITIALIZER)
            self._taken.update(self.names(INPUT))
        while wanted in self._taken:
            wanted += "_"
        self._taken.add(wanted)
        return wanted

    def opset(self, domain: str) -> int | None:
        """The version of a domain that the file asks for."""
        found = [version for name, version in map(_opset, self._opsets()) if name == domain]
        return found[-1] if found else None

    def set_opset(self, domain: str, version: int) -> None:
        """Ask for a version of a domain, once, however often the file did."""
        kept = [part for part in self._model if part.number != _OPSET or _opset(part.value)[0] != domain]
        message = protobuf.content(1, domain.encode()) + protobuf.number(2, version)
        self._model = [*kept, *protobuf.fields(memoryview(protobuf.content(_OPSET, message)))]

    def raise_ir_version(self, least: int) -> None:
        """Declare at least this version of the file format."""
        found = next((part.value for part in self._model if part.number == _IR_VERSION), 0)
        if found < least:
            kept = [part for part in self._model if part.number != _IR_VERSION]
            self._model = [*protobuf.fields(memoryview(protobuf.number(_IR_VERSION, least))), *kept]

    def _opsets(self) -> Iterator[memoryview]:
        return (part.value for part in self._model if part.number == _OPSET)

    def metadata(self) -> dict[str, str]:
        """The model's own notes."""
        entries = (list(protobuf.fields(part.value)) for part in self._model if part.number == _METADATA)
        pairs = ({part.number: protobuf.text(part.value) for part in entry} for entry in entries)
        return {pair.get(1, ""): pair.get(2, "") for pair in pairs}

    def add_metadata(self, key: str, value: str) -> None:
        """Note one thing more."""
        message = protobuf.content(1, key.encode()) + protobuf.content(2, value.encode())
        self._model.extend(protobuf.fields(memoryview(protobuf.content(_METADATA, message))))

    def has_half_floats(self) -> bool:
        """Whether weights are float16 or bfloat16, which some processors compute with and others widen."""
        return any(
            part.number == _DATA_TYPE and part.value in (_FLOAT16, _BFLOAT16)
            for kind, raw in self.graph
            if kind == INITIALIZER
            for part in protobuf.fields(_value(raw))
        )


def new_value(name: str, *sizes: str | int, element: int = _FLOAT) -> bytes:
    """The declaration of a tensor's element type and sizes, by name or number; none where they are left open."""
    written = (
        protobuf.content(1, protobuf.content(2, size.encode()) if isinstance(size, str) else protobuf.number(1, size))
        for size in sizes
    )
    shape = protobuf.content(2, b"".join(written)) if sizes else b""
    return protobuf.content(1, name.encode()) + protobuf.content(
        2, protobuf.content(1, protobuf.number(1, element) + shape)
    )


def _value(raw: bytes | memoryview) -> memoryview:
    value: memoryview = next(protobuf.fields(memoryview(raw))).value
    return value


def _name(message: memoryview, number: int = _VALUE_NAME) -> str:
    return next((protobuf.text(part.value) for part in protobuf.fields(message) if part.number == number), "")


def _opset(message: memoryview) -> tuple[str, int]:
    parts = {part.number: part.value for part in protobuf.fields(message)}
    return protobuf.text(parts.get(1, memoryview(b""))), parts.get(2, 0)


def _shallow(attribute: memoryview) -> Iterator[protobuf.Field]:
    """The first fields of an attribute, up to its numbers: a graph is not behind a list of them."""
    for part in protobuf.fields(attribute):
        if part.number in (attributes.INTS, attributes.FLOATS):
            return
        yield part
