"""ONNX models like those that people bring: a text encoder, an image classifier, forests from scikit-learn.

The networks have the graphs that PyTorch's exporter writes (normalisation, attention and GELU in their parts) and
random weights; the forests are fitted to random data. Sizes are arguments, so that a test takes a small one and a
benchmark the real one.
"""

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
WEIGHTS_SEED = 7


class Graph:
    """Nodes and weights in the order in which they are added."""

    def __init__(self, dtype: Any = np.float32) -> None:
        self.dtype = dtype
        self.random = np.random.default_rng(WEIGHTS_SEED)
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def weight(self, *shape: int, scale: float | None = None) -> str:
        """A tensor of random numbers, as many as ``shape`` says."""
        if scale is None:  # what keeps the numbers of a deep network in bounds
            scale = (shape[0] if len(shape) == 2 else int(np.prod(shape[1:]))) ** -0.5
        return self.constant((self.random.standard_normal(shape) * scale).astype(self.dtype))

    def number(self, value: float) -> str:
        """A single number."""
        return self.constant(self.dtype(value))

    def constant(self, array: Any) -> str:
        """A tensor of these numbers."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def add(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """One operation; the name of what it gives."""
        name = output or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=f"/{kind}_{len(self.nodes)}", **attributes))
        return name

    def model(self, inputs: list[Any], outputs: list[Any], *, constants: bool = False) -> bytes:
        """The file; each weight is an operation that gives it where ``constants`` says so."""
        nodes, weights = self.nodes, self.weights
        if constants:
            nodes = [*(helper.make_node("Constant", [], [weight.name], value=weight) for weight in weights), *nodes]
            weights = []
        graph = helper.make_graph(nodes, "main", inputs, outputs, weights)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        return made.SerializeToString()


def text_encoder(
    *, layers: int = 6, width: int = 384, words: int = 30522, heads: int = 12, half: bool = False
) -> bytes:
    """Like MiniLM, 90 MB: two inputs int64 [batch, length] to ``embedding`` float32 [batch, width].

    With half floats, as converters write them, it has 45 MB.
    """
    graph = Graph(np.float16 if half else np.float32)
    dtype = TensorProto.FLOAT16 if half else TensorProto.FLOAT

    def normal(x: str) -> str:
        centred = graph.add("Sub", x, graph.add("ReduceMean", x, axes=[-1]))
        squared = graph.add("Pow", centred, graph.number(2))
        variance = graph.add("Add", graph.add("ReduceMean", squared, axes=[-1]), graph.number(1e-7 if half else 1e-12))
        scaled = graph.add("Div", centred, graph.add("Sqrt", variance))
        weighed = graph.add("Mul", scaled, graph.constant(np.ones(width, graph.dtype)))
        return graph.add("Add", weighed, graph.weight(width, scale=0.02))

    def linear(x: str, into: int, out_of: int) -> str:
        return graph.add("Add", graph.weight(out_of, scale=0.02), graph.add("MatMul", x, graph.weight(into, out_of)))

    def split(x: str, *, order: list[int]) -> str:
        shape = graph.constant(np.array([0, 0, heads, width // heads], np.int64))
        return graph.add("Transpose", graph.add("Reshape", x, shape), perm=order)

    ids, mask = "input_ids", "attention_mask"
    x = graph.add("Gather", graph.weight(words, width, scale=0.05), ids)
    positions = graph.weight(1, 512, width, scale=0.05)
    length = graph.add("Gather", graph.add("Shape", ids), graph.constant(np.array([1], np.int64)))
    zero, axis = graph.constant(np.array([0], np.int64)), graph.constant(np.array([1], np.int64))
    x = normal(graph.add("Add", x, graph.add("Slice", positions, zero, length, axis)))
    axes = graph.constant(np.array([1, 2], np.int64))
    wide = graph.add("Cast", graph.add("Unsqueeze", mask, axes), to=dtype)
    away = graph.add("Sub", graph.number(1), wide)
    away = graph.add("Mul", away, graph.number(-10000))
    for _ in range(layers):
        query = split(linear(x, width, width), order=[0, 2, 1, 3])
        key = split(linear(x, width, width), order=[0, 2, 3, 1])
        values = split(linear(x, width, width), order=[0, 2, 1, 3])
        root = graph.number((width // heads) ** 0.5)
        scores = graph.add("Add", graph.add("Div", graph.add("MatMul", query, key), root), away)
        mixed = graph.add("MatMul", graph.add("Softmax", scores, axis=-1), values)
        mixed = graph.add("Transpose", mixed, perm=[0, 2, 1, 3])
        mixed = graph.add("Reshape", mixed, graph.constant(np.array([0, 0, width], np.int64)))
        x = normal(graph.add("Add", linear(mixed, width, width), x))
        inner = linear(x, width, 4 * width)
        error = graph.add("Erf", graph.add("Div", inner, graph.number(2**0.5)))
        error = graph.add("Mul", inner, graph.add("Add", error, graph.number(1)))
        inner = graph.add("Mul", error, graph.number(0.5))
        x = normal(graph.add("Add", linear(inner, 4 * width, width), x))
    x = graph.add("ReduceMean", x, axes=[1], keepdims=0, output=None if half else "embedding")
    if half:
        graph.add("Cast", x, to=TensorProto.FLOAT, output="embedding")
    return graph.model(
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"]) for name in (ids, mask)],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", width])],
    )


MOBILE = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, repeats and stride of each stage of MobileNetV2."""


def image_classifier(
    *,
    stages: tuple[tuple[int, int, int, int], ...] = MOBILE,
    side: int = 224,
    classes: int = 1000,
    last: int = 1280,
    any_size: bool = False,
) -> bytes:
    """Like MobileNetV2: ``image`` float32 [batch, 3, side, side] to ``logits`` [batch, classes]; 14 MB.

    For images of any size it is as PaddlePaddle's exporter writes such: weights are operations, a hard swish is four.
    """
    graph = Graph()

    def convolution(x: str, into: int, out_of: int, *, size: int, stride: int = 1, groups: int = 1) -> str:
        weights = graph.weight(out_of, into // groups, size, size)
        border = [size // 2] * 4
        x = graph.add("Conv", x, weights, group=groups, pads=border, strides=[stride] * 2, kernel_shape=[size] * 2)
        rest = (graph.constant(np.abs(graph.random.standard_normal(out_of)).astype(np.float32) + 0.5) for _ in range(4))
        return graph.add("BatchNormalization", x, *rest)

    def clipped(x: str) -> str:
        shifted = graph.add("Add", x, graph.number(3)) if any_size else x
        found = graph.add("Clip", shifted, graph.constant(np.float32(0)), graph.constant(np.float32(6)))
        return graph.add("Div", graph.add("Mul", x, found), graph.number(6)) if any_size else found

    x, channels = clipped(convolution("image", 3, 32, size=3, stride=2)), 32
    for expansion, out_of, repeats, first_stride in stages:
        for repeat in range(repeats):
            stride, wide, before = (first_stride if repeat == 0 else 1), channels * expansion, x
            if expansion != 1:
                x = clipped(convolution(x, channels, wide, size=1))
            x = clipped(convolution(x, wide, wide, size=3, stride=stride, groups=wide))
            x = convolution(x, wide, out_of, size=1)
            if stride == 1 and channels == out_of:
                x = graph.add("Add", before, x)
            channels = out_of
    x = clipped(convolution(x, channels, last, size=1))
    x = graph.add("Flatten", graph.add("GlobalAveragePool", x), axis=1)
    graph.add("Gemm", x, graph.weight(classes, last), graph.weight(classes, scale=0.02), transB=1, output="logits")
    sides = ["height", "width"] if any_size else [side, side]
    return graph.model(
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, *sides])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes])],
        constants=any_size,
    )


def recurrent(kind: str = "LSTM", *, width: int = 512, layers: int = 2, features: int = 128, classes: int = 8) -> bytes:
    """A network over a series: ``series`` float32 [batch, length, features] to ``logits`` [batch, classes].

    An LSTM has 14 MB, a GRU 10.
    """
    graph = Graph()
    gates = {"LSTM": 4, "GRU": 3}[kind]
    x, into = graph.add("Transpose", "series", perm=[1, 0, 2]), features
    for _ in range(layers):
        matrices = graph.weight(1, gates * width, into), graph.weight(1, gates * width, width)
        x = graph.add(kind, x, *matrices, graph.weight(1, 2 * gates * width), hidden_size=width)
        x, into = graph.add("Squeeze", x, graph.constant(np.array([1], np.int64))), width
    last = graph.add("Gather", x, graph.constant(np.array(-1, np.int64)), axis=0)
    graph.add("Gemm", last, graph.weight(classes, width), graph.weight(classes, scale=0.02), transB=1, output="logits")
    return graph.model(
        [helper.make_tensor_value_info("series", TensorProto.FLOAT, ["batch", "length", features])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes])],
    )


def forest(
    kind: str = "RandomForestClassifier",
    *,
    trees: int = 100,
    classes: int = 3,
    features: int = 10,
    rows: int = 2000,
    targets: int = 1,
    zipmap: bool = False,
    wide: bool = False,
    opset: int = 3,
    missing: bool = False,
    labels: Any = None,
    **settings: Any,
) -> bytes:
    """A forest or boosted trees of scikit-learn, fitted to random data; input ``x`` [batch, features].

    Args:
        kind: A class of `sklearn.ensemble`.
        trees: How many.
        classes: Of a classifier.
        features: Columns of ``x``.
        rows: Of the random data; more rows make larger trees.
        targets: Of a regressor.
        zipmap: Whether probabilities come as a list of maps, skl2onnx's default.
        wide: Whether ``x`` is float64.
        opset: Of ai.onnx.ml.
        missing: Whether a tenth of the data is NaN, where the class learns from that.
        labels: Names of the classes, instead of numbers.
        settings: For the class.
    """
    import warnings

    import sklearn.ensemble
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    random = np.random.default_rng(WEIGHTS_SEED)
    table = random.standard_normal((rows, features)).astype(np.float32)
    signal = table[:, 0] + table[:, 1] * table[:, 2] + random.standard_normal(rows) * 0.5
    if missing:
        table[random.random(table.shape) < 0.1] = np.nan
    counted = "max_iter" if kind.startswith("Hist") else "n_estimators"
    estimator = getattr(sklearn.ensemble, kind)(**{counted: trees, "random_state": 0, **settings})
    classifies = kind.endswith("Classifier")
    if classifies:
        numbers = np.digitize(signal, np.quantile(signal, np.linspace(0, 1, classes + 1)[1:-1]))
        answer = numbers if labels is None else np.asarray(labels)[numbers]
    else:
        answer = np.stack([signal * (n + 1) + n for n in range(targets)], axis=1) if targets > 1 else signal
    estimator.fit(table, answer)
    taken = (DoubleTensorType if wide else FloatTensorType)([None, features])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = to_onnx(
            estimator,
            initial_types=[("x", taken)],
            options={"zipmap": zipmap} if classifies else None,
            target_opset={"": OPSET, "ai.onnx.ml": opset},
        )
    content: bytes = model.SerializeToString(deterministic=True)
    return content
