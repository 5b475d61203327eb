"""ONNX files that are made to hurt, and the building blocks of harmless ones, written with the ``onnx`` package."""

from collections.abc import Mapping, Sequence
from typing import Any

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper

OPSET = 17
Shape = Sequence[int | str | None] | None


def value(name: str, shape: Shape, element: int = TensorProto.FLOAT) -> Any:
    """An input or output."""
    return helper.make_tensor_value_info(name, element, shape)


X, Y = value("x", [None, 3]), value("y", [None, 3])


def model(
    nodes: Sequence[NodeProto],
    *,
    inputs: Sequence[Any] = (X,),
    outputs: Sequence[Any] = (Y,),
    initializers: Sequence[TensorProto] = (),
    opset: int = OPSET,
    metadata: Mapping[str, str] | None = None,
) -> ModelProto:
    """A model of one graph."""
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializers)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    helper.set_model_props(made, dict(metadata or {}))
    return made


def harmless() -> bytes:
    """x float32 [n, 3] to its absolute values."""
    return model([helper.make_node("Abs", ["x"], ["y"])]).SerializeToString()


def endless_loop() -> bytes:
    """Loads at once and answers never: a Loop without a trip count whose condition stays true."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Identity", ["v"], ["v_next"])],
        "body",
        [value("i", [], TensorProto.INT64), value("go", [], TensorProto.BOOL), value("v", [None, 3])],
        [value("go_on", [], TensorProto.BOOL), value("v_next", [None, 3])],
    )
    true = helper.make_tensor("true", TensorProto.BOOL, [], [True])
    return model(
        [
            helper.make_node("Constant", [], ["yes"], value=true),
            helper.make_node("Loop", ["", "yes", "x"], ["y"], body=body),
        ]
    ).SerializeToString()


def huge_constant() -> bytes:
    """Under 200 bytes that ask for 32 GiB while they load: a ConstantOfShape, which is folded."""
    shape = helper.make_tensor("shape", TensorProto.INT64, [1], [2**33])
    return model(
        [
            helper.make_node("Constant", [], ["shape"], value=shape),
            helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
            helper.make_node("ReduceSum", ["zeros"], ["sum"]),
            helper.make_node("Add", ["x", "sum"], ["y"]),
        ]
    ).SerializeToString()


def huge_at_run_time() -> bytes:
    """Asks for 48 GiB, but only when it runs."""
    return expanding(to_rows=2**32)


def expanding(*, to_rows: int) -> bytes:
    """Repeats one row of 12 bytes so many times, and gives the largest value."""
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [to_rows, 3])
    expand = helper.make_node("Expand", ["x", "shape"], ["wide"])
    largest = helper.make_node("ReduceMax", ["wide"], ["y"], keepdims=1)
    return model([expand, largest], outputs=[value("y", None)], initializers=[shape]).SerializeToString()


def external_tensor(location: str) -> TensorProto:
    """Three weights that lie in the file ``location``."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3], data_location=TensorProto.EXTERNAL)
    for key, text in (("location", location), ("offset", "0"), ("length", "12")):
        tensor.external_data.add(key=key, value=text)
    return tensor


def external_initializer(location: str) -> bytes:
    """Weights outside, as every exporter writes them."""
    return model(
        [helper.make_node("Add", ["x", "w"], ["y"])], initializers=[external_tensor(location)]
    ).SerializeToString()


def external_everywhere(location: str = "w.bin") -> dict[str, bytes]:
    """A model for each place of the format that can hold a tensor, with external data in just that place."""
    tensor = external_tensor(location)
    sparse = helper.make_sparse_tensor(tensor, helper.make_tensor("i", TensorProto.INT64, [3], [0, 1, 2]), [9])
    inner = helper.make_graph([helper.make_node("Constant", [], ["c"], value=tensor)], "inner", [], [])

    def holding(**attribute: Any) -> NodeProto:
        node = helper.make_node("Custom", ["x"], ["y"], domain="my")
        node.attribute.append(AttributeProto(name="a", **attribute))
        return node

    function = helper.make_function("my", "F", ["a"], ["b"], [holding(t=tensor)], [helper.make_opsetid("", OPSET)])
    with_function = model([helper.make_node("Abs", ["x"], ["y"])])
    with_function.functions.append(function)
    with_default = model([helper.make_node("Abs", ["x"], ["y"])])
    with_default.functions.append(helper.make_function("my", "F", ["a"], ["b"], [], [helper.make_opsetid("", OPSET)]))
    with_default.functions[0].attribute_proto.append(AttributeProto(name="d", t=tensor))
    training = model([helper.make_node("Abs", ["x"], ["y"])])
    training.training_info.add(initialization=GraphProto(initializer=[tensor]))
    updating = model([helper.make_node("Abs", ["x"], ["y"])])
    updating.training_info.add(algorithm=inner)
    sparse_graph = model([helper.make_node("Abs", ["x"], ["y"])])
    sparse_graph.graph.sparse_initializer.append(sparse)
    made = {
        "initializer": model([], initializers=[tensor]),
        "constant": model([helper.make_node("Constant", [], ["w"], value=tensor)]),
        "list of tensors": model([holding(tensors=[tensor])]),
        "graph attribute": model([holding(g=inner)]),
        "list of graphs": model([holding(graphs=[inner])]),
        "sparse attribute": model([holding(sparse_tensor=sparse)]),
        "list of sparse tensors": model([holding(sparse_tensors=[sparse])]),
        "graph in a graph": model([holding(g=helper.make_graph([holding(g=inner)], "outer", [], []))]),
        "sparse initializer": sparse_graph,
        "function": with_function,
        "default of a function": with_default,
        "training initialization": training,
        "training algorithm": updating,
    }
    return {place: whole.SerializeToString() for place, whole in made.items()}
