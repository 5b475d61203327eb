"""Small ONNX models, each for one thing that a model can do."""

import json

from onnx import ModelProto, TensorProto, helper

from modelyard.predictor.signature import CLASSES_KEY

OPSET = 17
ELEMENTS = {
    "float16": TensorProto.FLOAT16,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "int8": TensorProto.INT8,
    "int16": TensorProto.INT16,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "uint8": TensorProto.UINT8,
    "uint16": TensorProto.UINT16,
    "uint32": TensorProto.UINT32,
    "uint64": TensorProto.UINT64,
    "bool": TensorProto.BOOL,
    "string": TensorProto.STRING,
}
Shape = list[int | str | None]


def _model(nodes: list, inputs: list, outputs: list, initializers: list | None = None) -> ModelProto:
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializers or [])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)


def _value(name: str, dtype: str, shape: Shape | None):
    return helper.make_tensor_value_info(name, ELEMENTS[dtype], shape)


def echo(*tensors: tuple[str, str, Shape]) -> bytes:
    """Gives each input back as ``<name>_out``: what came through can be read."""
    return _model(
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name, _, _ in tensors],
        [_value(name, dtype, shape) for name, dtype, shape in tensors],
        [_value(f"{name}_out", dtype, shape) for name, dtype, shape in tensors],
    ).SerializeToString()


def row_sum(plus: float = 0.0) -> bytes:
    """x float32 [n, 2] to y float32 [n, 1]: the sum of each row, plus a number that tells versions apart."""
    constants = [
        helper.make_tensor("plus", TensorProto.FLOAT, [1], [plus]),
        helper.make_tensor("axes", TensorProto.INT64, [1], [1]),
    ]
    nodes = [
        helper.make_node("ReduceSum", ["x", "axes"], ["s"], keepdims=1),
        helper.make_node("Add", ["s", "plus"], ["y"]),
    ]
    return _model(
        nodes, [_value("x", "float32", [None, 2])], [_value("y", "float32", [None, 1])], constants
    ).SerializeToString()


def highest(dtype: str, *, width: int | None = None) -> bytes:
    """x [n, width] of a dtype to y float32 [n, 1]: the highest value of each row."""
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["f"], ["y"], axes=[1], keepdims=1),
    ]
    return _model(nodes, [_value("x", dtype, [None, width])], [_value("y", "float32", [None, 1])]).SerializeToString()


def is_empty() -> bytes:
    """text string [n, 1] to empty bool [n, 1]: whether a text is empty."""
    nodes = [helper.make_node("Equal", ["text", "nothing"], ["empty"])]
    nothing = helper.make_tensor("nothing", TensorProto.STRING, [1], [b""])
    values = [_value("text", "string", [None, 1])], [_value("empty", "bool", [None, 1])]
    model = helper.make_graph(nodes, "g", *values, [nothing])
    return helper.make_model(model, opset_imports=[helper.make_opsetid("", 19)], ir_version=9).SerializeToString()


def classifier(classes: object = ("rain", "sun", "snow"), *, width: int | None = 3) -> bytes:
    """logits float32 [n, 3] to label int64 [n] and probabilities [n, width], classes in the metadata."""
    nodes = [
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["logits"], ["label"], axis=1, keepdims=0),
    ]
    outputs = [_value("label", "int64", [None]), _value("probabilities", "float32", [None, width])]
    model = _model(nodes, [_value("logits", "float32", [None, 3])], outputs)
    entry = model.metadata_props.add()
    entry.key, entry.value = CLASSES_KEY, classes if isinstance(classes, str) else json.dumps(classes)
    return model.SerializeToString()


def noisy_classifier(noise: float) -> bytes:
    """As `classifier`, of the classes 0, 1 and 2; wrong where two logits are close, by what only looks random."""
    nodes = [
        helper.make_node("Mul", ["logits", "thousand"], ["high"]),
        helper.make_node("Sin", ["high"], ["waves"]),
        helper.make_node("Mul", ["waves", "noise"], ["added"]),
        helper.make_node("Add", ["logits", "added"], ["heard"]),
        helper.make_node("Softmax", ["heard"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["heard"], ["label"], axis=1, keepdims=0),
    ]
    constants = [
        helper.make_tensor("thousand", TensorProto.FLOAT, [1], [1000.0]),
        helper.make_tensor("noise", TensorProto.FLOAT, [1], [noise]),
    ]
    outputs = [_value("label", "int64", [None]), _value("probabilities", "float32", [None, 3])]
    model = _model(nodes, [_value("logits", "float32", [None, 3])], outputs, constants)
    entry = model.metadata_props.add()
    entry.key, entry.value = CLASSES_KEY, json.dumps(["0", "1", "2"])
    return model.SerializeToString()


def zipmap() -> bytes:
    """x float32 [n, 3] to a sequence of maps, as scikit-learn's converters write it by default."""
    graph = helper.make_graph(
        [
            helper.make_node("Softmax", ["x"], ["p"], axis=1),
            helper.make_node("ZipMap", ["p"], ["probabilities"], domain="ai.onnx.ml", classlabels_strings=list("abc")),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])],
        [helper.make_value_info(
            "probabilities",
            helper.make_sequence_type_proto(
                helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
            ),
        )],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()


def logarithm() -> bytes:
    """x float32 [n, 1] to y: -Infinity for 0, NaN below."""
    return _model(
        [helper.make_node("Log", ["x"], ["y"])],
        [_value("x", "float32", [None, 1])],
        [_value("y", "float32", [None, 1])],
    ).SerializeToString()


def fails_unless_two_rows() -> bytes:
    """x float32 [n, 1] reshaped to [2]: raises inside onnxruntime for any other number of rows."""
    constants = [helper.make_tensor("two", TensorProto.INT64, [1], [2])]
    return _model(
        [helper.make_node("Reshape", ["x", "two"], ["y"])],
        [_value("x", "float32", [None, 1])],
        [_value("y", "float32", [2])],
        constants,
    ).SerializeToString()


def total() -> bytes:
    """x float32 [n, 1] to y [1]: one number for the whole batch, which is no answer per row."""
    return _model(
        [helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0), helper.make_node("Reshape", ["s", "one"], ["y"])],
        [_value("x", "float32", [None, 1])],
        [_value("y", "float32", [None])],
        [helper.make_tensor("one", TensorProto.INT64, [1], [1])],
    ).SerializeToString()


def places() -> bytes:
    """y = where x is not zero: how many values it has depends on the values of x [batch]."""
    node = helper.make_node("NonZero", ["x"], ["y"])
    return _model([node], [_value("x", "float32", [None])], [_value("y", "int64", [1, None])]).SerializeToString()


def says_one_row() -> bytes:
    """x float32 [n, 1] to y float32 [n, 1], of which the graph says that it has one row, as LightGBM's labels do."""
    return _model(
        [helper.make_node("Identity", ["x"], ["y"])],
        [_value("x", "float32", [None, 1])],
        [_value("y", "float32", [1, 1])],
    ).SerializeToString()


def named(*texts: bytes) -> bytes:
    """place int64 [n] to text string [n]: the text at that place, UTF-8 or not."""
    constant = helper.make_tensor("texts", TensorProto.STRING, [len(texts)], texts)
    return _model(
        [helper.make_node("Gather", ["texts", "place"], ["text"])],
        [_value("place", "int64", [None])],
        [_value("text", "string", [None])],
        [constant],
    ).SerializeToString()


def passes_on() -> bytes:
    """Outputs that no node makes: the input itself, and a constant."""
    constant = helper.make_tensor("always", TensorProto.FLOAT, [5, 2], [1.5] * 10)
    ends = [_value("x", "float32", [None, 2])]
    outputs = [*ends, _value("always", "float32", [5, 2]), _value("y", "float32", [None, 2])]
    node = helper.make_node("Neg", ["x"], ["y"])
    return _model([node], ends, outputs, [constant]).SerializeToString()


def sequence_output() -> bytes:
    """x to a sequence of tensors, which is no plain tensor."""
    graph = helper.make_graph(
        [helper.make_node("SequenceConstruct", ["x"], ["y"])],
        "g",
        [_value("x", "float32", [None, 1])],
        [helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9).SerializeToString()


def log_sum() -> bytes:
    """x float32 [n, 2] to y float32 [n, 1]: the logarithm of each row's sum, which is NaN below zero."""
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    nodes = [
        helper.make_node("ReduceSum", ["x", "axes"], ["s"], keepdims=1),
        helper.make_node("Log", ["s"], ["y"]),
    ]
    return _model(
        nodes, [_value("x", "float32", [None, 2])], [_value("y", "float32", [None, 1])], [axes]
    ).SerializeToString()


def endless_below_zero() -> bytes:
    """x float32 [n, 2] to y float32 [n, 1]: the sum of each row, of which there is no end where a value is negative."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Identity", ["v"], ["v_next"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            _value("v", "float32", [None, 1]),
        ],
        [helper.make_tensor_value_info("go_on", TensorProto.BOOL, []), _value("v_next", "float32", [None, 1])],
    )
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [1], [1]),
        helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]),
    ]
    nodes = [
        helper.make_node("ReduceSum", ["x", "axes"], ["s"], keepdims=1),
        helper.make_node("ReduceMin", ["x"], ["least"], keepdims=0),
        helper.make_node("Less", ["least", "zero"], ["negative"]),
        helper.make_node("Loop", ["", "negative", "s"], ["y"], body=body),
    ]
    return _model(
        nodes, [_value("x", "float32", [None, 2])], [_value("y", "float32", [None, 1])], constants
    ).SerializeToString()
