"""Give names to the sizes that onnxruntime does not know, so that it sees which tensors are of one size.

When a session is created, onnxruntime plans which tensor takes the memory of an earlier one: for each, it looks through
all that are free by then for one of the same shape. It takes two sizes for equal where both are the same number or have
the same name. Behind a convolution over images of any height and width they have none: nothing is ever used again, each
tensor looks through all before it, and with 400 operations that is four fifths of the time to create a session (50 ms
of 60, onnxruntime 1.31, text detection of PaddleOCR).

What is done here: a size without a name gets a new one, which says nothing and is always right; and where the operation
says so, the name that another size has already. Such as: what `Relu` gives has the sizes of what it takes, and two
convolutions with the same steps make the same size of the same size. Names that the file itself gives to sizes of its
inputs are no ground for that, since exporters write one name for height and width.

A wrong name would be no wrong answer, but an error at run time: onnxruntime compares the sizes of the tensors
themselves before it takes memory again.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import onnxruntime

from modelyard.compiling.onnx_file import INPUT, OUTPUT, VALUE, Node, OnnxFile, new_value
from modelyard.compiling.proving import session

LEAST_SHARED = 30
"""Tensors without all sizes that are of one size with another, from which on names can be noticed: the time grows with
the square, and 30 take half a millisecond."""

_FIRST_OPSET = 7
"""Of numpy's broadcasting; before it, an operation said itself which axes it repeats."""

Size = int | str
Shape = list[Size] | None
"""None: not even the number of axes is known."""

Value = tuple[str, list[Any]]
"""Type and shape as a session tells them: sizes as numbers, names or None."""

_ELEMENTS = {
    f"tensor({name})": number
    for name, number in {
        "float": 1,
        "uint8": 2,
        "int8": 3,
        "uint16": 4,
        "int16": 5,
        "int32": 6,
        "int64": 7,
        "bool": 9,
        "float16": 10,
        "double": 11,
        "uint32": 12,
        "uint64": 13,
    }.items()
}

_NCHWC, _OWN = "com.microsoft.nchwc", "com.microsoft"


def inferred(model: bytes, *, weights: str | None) -> dict[str, Value]:
    """What onnxruntime knows of the inputs and of every value that an operation of the main graph gives.

    Args:
        model: The bytes of the file.
        weights: The folder of its weights, where it has them in another file.
    """
    file = OnnxFile(model)
    told = set(file.names(OUTPUT))
    file.add_outputs(name for _, node in file.nodes() for name in node.outputs if name and name not in told)
    level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    engine = session(file.to_bytes(), weights=weights, level=level)
    return {node.name: (node.type, node.shape) for node in (*engine.get_inputs(), *engine.get_outputs())}


def with_named_sizes(model: bytes, values: dict[str, Value]) -> tuple[bytes, str] | None:
    """The model with names for its unknown sizes, and what that gives in words; None where it gives nothing.

    Args:
        model: The bytes of the file.
        values: As `inferred` gives them.
    """
    file = OnnxFile(model)
    if (file.opset("") or 0) < _FIRST_OPSET:
        return None
    names = _Names({size for _, shape in values.values() for size in shape if isinstance(size, str)})
    shapes: dict[str, Shape] = {name: list(sizes) for name, sizes in file.initializer_sizes().items()}
    for name in file.names(INPUT):
        if name not in shapes and name in values:
            shapes[name] = _known(values[name], None, names)
    written: dict[str, list[Size]] = {}
    for _, node in file.nodes():
        rule = _RULES.get((node.domain, node.kind))
        derived = rule(node, [shapes.get(name) for name in node.inputs], names) if rule else None
        for place, name in enumerate(node.outputs):
            if name not in values:
                continue
            found = _known(values[name], derived if place == 0 or node.kind == "Split" else None, names)
            shapes[name] = found
            if found is not None and None in values[name][1]:
                written[name] = [
                    own if said is None else said for own, said in zip(found, values[name][1], strict=True)
                ]
    for name in (*file.names(OUTPUT), *file.names(VALUE)):
        written.pop(name, None)  # what the file says of them stays
    seen = Counter((values[name][0], *shape) for name, shape in written.items())
    shared = sum(count for count in seen.values() if count > 1)
    if shared < LEAST_SHARED:
        return None
    file.add(VALUE, *(new_value(name, *shape, element=_ELEMENTS[values[name][0]]) for name, shape in written.items()))
    return file.to_bytes(), f"{shared:,} of {len(written):,} tensors without a known size are as large as another"


class _Names:
    """Names for sizes, one for each reason."""

    def __init__(self, taken: set[str]) -> None:
        self._taken = taken
        self._found: dict[Hashable, str] = {}

    def new(self) -> str:
        """A name that no size has."""
        return self.of(len(self._found))

    def of(self, reason: Hashable) -> str:
        """The name of the size that has this reason."""
        if reason not in self._found:
            name = f"size{len(self._found)}"
            while name in self._taken:
                name += "_"
            self._taken.add(name)
            self._found[reason] = name
        return self._found[reason]


def _known(value: Value, derived: list[Size | None] | None, names: _Names) -> Shape:
    """What is known of a value without the names in the file: numbers, then what is derived, then new names."""
    kind, said = value
    if kind not in _ELEMENTS or not said:  # a session says the same of a single number and of any number of axes
        return None
    if derived is None or len(derived) != len(said):
        derived = [None] * len(said)
    return [
        size if isinstance(size, int) else names.new() if own is None else own
        for size, own in zip(said, derived, strict=True)
    ]


Derived = list[Size | None] | None
Rule = Callable[[Node, list[Shape], _Names], Derived]


def _as_first(_node: Node, inputs: list[Shape], _names: _Names) -> Derived:
    return None if not inputs or inputs[0] is None else [*inputs[0]]


def _broadcast(_node: Node, inputs: list[Shape], _names: _Names) -> Derived:
    """Numpy's: sizes from behind, 1 is repeated."""
    shapes = [shape for shape in inputs if shape is not None]
    if len(shapes) < len(inputs):
        return None
    axes = max(map(len, shapes), default=0)
    found: list[Size | None] = []
    for axis in range(-axes, 0):
        sizes = {shape[axis] for shape in shapes if len(shape) >= -axis} - {1}
        found.append(1 if not sizes else sizes.pop() if len(sizes) == 1 else None)
    return found


def _window(node: Node, inputs: list[Shape], names: _Names) -> Derived:
    """Convolutions and pools: batch as it was, channels as onnxruntime says, then a size for each step and window."""
    taken = inputs[0] if inputs else None
    if taken is None or len(taken) < 3:
        return None
    axes = len(taken) - 2
    weights = _WEIGHTS_AT.get(node.kind, len(inputs))
    shape = inputs[weights] if weights < len(inputs) else None
    kernel = _numbers(node, "kernel_shape", shape[2:] if shape else [])
    steps, spread = _numbers(node, "strides", [1] * axes), _numbers(node, "dilations", [1] * axes)
    pads = _numbers(node, "pads", [0] * 2 * axes)  # onnxruntime takes none beside an ``auto_pad``
    if not len(kernel) == len(steps) == len(spread) == axes or len(pads) != 2 * axes:
        return [taken[0], *[None] * (axes + 1)]
    found: list[Size | None] = [taken[0], None]
    said = node.attributes.get("auto_pad")
    fits = b"NOTSET" if said is None else said.value
    for axis, size in enumerate(taken[2:]):
        step, covers = steps[axis], fits in (b"SAME_UPPER", b"SAME_LOWER")
        missing = 0 if covers else pads[axis] + pads[axis + axes] - spread[axis] * (kernel[axis] - 1)
        if step > 1 and _number(node, "ceil_mode"):
            found.append(None)
        else:  # (size + missing - 1) // step + 1
            found.append(size if step == 1 and not missing else names.of((size, missing, step)))
    return found


def _global_pool(_node: Node, inputs: list[Shape], _names: _Names) -> Derived:
    taken = inputs[0] if inputs else None
    return None if taken is None else [taken[0], *[None] * (len(taken) - 1)]


def _reordered(node: Node, inputs: list[Shape], _names: _Names) -> Derived:
    """Another layout of channels, in blocks; in between their number may be rounded up."""
    taken = inputs[0] if inputs else None
    if taken is None or len(taken) < 3 or _number(node, "channels_last"):
        return None
    return [taken[0], None, *taken[2:]]


def _transposed(node: Node, inputs: list[Shape], _names: _Names) -> Derived:
    taken = inputs[0] if inputs else None
    if taken is None:
        return None
    order = _numbers(node, "perm", list(range(len(taken)))[::-1])
    return [taken[axis] for axis in order] if sorted(order) == list(range(len(taken))) else None


def _joined(node: Node, inputs: list[Shape], _names: _Names) -> Derived:
    """`Concat`, and `Split`, which takes it apart: all axes but one are as they were."""
    taken = inputs[0] if inputs else None
    if taken is None:
        return None
    axis = _number(node, "axis")
    axis += len(taken) if axis < 0 else 0
    return [None if place == axis else size for place, size in enumerate(taken)]


def _matrices(_node: Node, inputs: list[Shape], _names: _Names) -> Derived:
    """Rows of any shape, times one matrix."""
    if len(inputs) < 2 or inputs[0] is None or inputs[1] is None or len(inputs[1]) != 2 or len(inputs[0]) < 2:
        return None
    return [*inputs[0][:-1], None]


def _number(node: Node, name: str, default: int = 0) -> int:
    attribute = node.attributes.get(name)
    return attribute.value if attribute is not None and isinstance(attribute.value, int) else default


def _numbers(node: Node, name: str, default: Sequence[Size]) -> list[int]:
    attribute = node.attributes.get(name)
    found = default if attribute is None or not isinstance(attribute.value, np.ndarray) else attribute.value.tolist()
    return [number for number in found if isinstance(number, int)]


_WEIGHTS_AT = {"Conv": 1, "FusedConv": 1, "ConvInteger": 1}
"""Which input holds the window, for an operation that does not say its size."""

# fmt: off
_LIKE_FIRST = (
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BatchNormalization", "Cast", "Ceil", "Celu", "Clip",
    "Cos", "Cosh", "CumSum", "DequantizeLinear", "Dropout", "DynamicQuantizeLinear", "Elu", "Erf", "Exp", "Floor",
    "Gelu", "GroupNormalization", "HardSigmoid", "HardSwish", "Hardmax", "Identity", "InstanceNormalization",
    "IsInf", "IsNaN", "LayerNormalization", "LeakyRelu", "Log", "LogSoftmax", "Mish", "Neg", "Not", "PRelu",
    "QuantizeLinear", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softmax",
    "Softplus", "Softsign", "Sqrt", "Tan", "Tanh", "ThresholdedRelu",
)
_REPEATING = (
    "Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod",
    "Mul", "Or", "Pow", "Sub", "Sum", "Where", "Xor",
)
# fmt: on

_RULES: dict[tuple[str, str], Rule] = {
    **{("", kind): _as_first for kind in _LIKE_FIRST},
    **{(_OWN, kind): _as_first for kind in ("BiasGelu", "FastGelu", "Gelu", "QuickGelu", "SkipLayerNormalization")},
    **{("", kind): _broadcast for kind in _REPEATING},
    **{("", kind): _window for kind in ("AveragePool", "Conv", "ConvInteger", "LpPool", "MaxPool")},
    **{(_NCHWC, kind): _window for kind in ("AveragePool", "Conv", "MaxPool")},
    (_OWN, "FusedConv"): _window,
    **{(domain, f"Global{kind}"): _global_pool for domain in ("", _NCHWC) for kind in ("AveragePool", "MaxPool")},
    **{(_NCHWC, kind): _reordered for kind in ("ReorderInput", "ReorderOutput")},
    ("", "Transpose"): _transposed,
    ("", "Concat"): _joined,
    ("", "Split"): _joined,
    ("", "MatMul"): _matrices,
}
