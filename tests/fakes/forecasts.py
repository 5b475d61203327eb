"""A small classifier of weather, and others like it with one thing wrong, each as an ONNX file."""

from collections.abc import Sequence
from typing import Any, Literal

from onnx import TensorProto, helper

from tests.fakes.onnx_models import OPSET

NAMES = ("rain", "snow", "sun")
INPUTS = ("damp", "cold", "bright")
Fault = Literal["raises", "hangs", "nan"]


def forecast(
    names: Sequence[str] = NAMES,
    *,
    inputs: Sequence[str] = INPUTS,
    sharpness: float = 1.0,
    fault: Fault | None = None,
    above: float = 4.0,
) -> bytes:
    """A file that answers the name of the largest input, with probabilities; what is missing counts as 0.

    Args:
        names: Of the classes, in the order of the inputs.
        inputs: Names of three inputs, each float32 [n, 1].
        sharpness: By which the inputs are multiplied: of another one most labels are the same.
        fault: What happens where the first input is above a number: the engine raises, the run does not end,
            or the answer is NaN.
        above: That number.
    """
    wrong = [helper.make_node("Greater", [inputs[0], "above"], ["over"]), *_FAULTS[fault]()] if fault else []
    nodes = [
        helper.make_node("Concat", list(inputs), ["joined"], axis=1),
        helper.make_node("IsNaN", ["joined"], ["lacking"]),
        helper.make_node("Where", ["lacking", "absent", "joined"], ["there"]),
        helper.make_node("Mul", ["there", "sharpness"], ["sharp"]),
        *(wrong or [helper.make_node("Identity", ["sharp"], ["logits"])]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["logits"], ["place"], axis=1, keepdims=0),
        helper.make_node("Gather", ["names", "place"], ["label"]),
    ]
    used = {name for node in nodes for name in node.input}
    constants = [
        helper.make_tensor("absent", TensorProto.FLOAT, [1], [0.0]),
        helper.make_tensor("sharpness", TensorProto.FLOAT, [1], [sharpness]),
        helper.make_tensor("above", TensorProto.FLOAT, [1], [above]),
        helper.make_tensor("names", TensorProto.STRING, [len(names)], [name.encode() for name in names]),
        helper.make_tensor("one", TensorProto.INT64, [1], [1]),
        helper.make_tensor("nothing", TensorProto.FLOAT, [1, 1], [0.0]),
        helper.make_tensor("minus_one", TensorProto.FLOAT, [1], [-1.0]),
    ]
    values = [_value(name, TensorProto.FLOAT, [None, 1]) for name in inputs]
    outputs = [
        _value("label", TensorProto.STRING, [None]), _value("probabilities", TensorProto.FLOAT, [None, len(names)])
    ]  # fmt: skip
    graph = helper.make_graph(nodes, "g", values, outputs, [one for one in constants if one.name in used])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    entry = model.metadata_props.add()
    entry.key, entry.value = "modelyard.classes", '["' + '", "'.join(names) + '"]'
    return model.SerializeToString()


def _value(name: str, element: int, shape: list[Any]) -> Any:
    return helper.make_tensor_value_info(name, element, shape)


def _raises() -> list[Any]:
    """The second row of a table that has one."""
    return [
        helper.make_node("Cast", ["over"], ["row"], to=TensorProto.INT64),
        helper.make_node("Squeeze", ["row", "one"], ["rows"]),
        helper.make_node("Gather", ["nothing", "rows"], ["zeros"], axis=0),
        helper.make_node("Add", ["sharp", "zeros"], ["logits"]),
    ]


def _hangs() -> list[Any]:
    """A loop that goes on while a row is over."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Identity", ["v"], ["v_next"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            _value("v", TensorProto.FLOAT, [None, 3]),
        ],
        [helper.make_tensor_value_info("go_on", TensorProto.BOOL, []), _value("v_next", TensorProto.FLOAT, [None, 3])],
    )
    return [
        helper.make_node("Cast", ["over"], ["row"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["row"], ["any"], keepdims=0),
        helper.make_node("Cast", ["any"], ["go_in"], to=TensorProto.BOOL),
        helper.make_node("Loop", ["", "go_in", "sharp"], ["logits"], body=body),
    ]


def _nan() -> list[Any]:
    """The logarithm of minus one."""
    return [
        helper.make_node("Log", ["minus_one"], ["none"]),
        helper.make_node("Where", ["over", "none", "sharp"], ["logits"]),
    ]


_FAULTS = {"raises": _raises, "hangs": _hangs, "nan": _nan}
