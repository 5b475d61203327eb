"""Names for sizes: a name stands for one size, whatever a caller sends, and for nothing that the file only claims."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from modelyard.compiling import named_sizes
from modelyard.compiling.compiler import compile_model
from modelyard.compiling.named_sizes import inferred, with_named_sizes
from modelyard.compiling.onnx_file import OnnxFile
from modelyard.compiling.outcome import CompiledModel
from modelyard.compiling.proving import session
from tests.fakes.realistic_models import Graph, image_classifier, text_encoder

IMAGE = ["batch", 2, "height", "width"]


@pytest.fixture(autouse=True)
def _few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(named_sizes, "LEAST_SHARED", 0)


def written(graph: Graph, result: str, shape: Any = tuple(IMAGE)) -> bytes:
    return graph.model(
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(result, TensorProto.FLOAT, None)],
    )


def named(model: bytes) -> dict[str, list[int | str]]:
    """The sizes in the file by the name of the tensor."""
    found = with_named_sizes(model, inferred(model, weights=None))
    if found is None:
        return {}
    values = onnx.load_from_string(found[0]).graph.value_info
    return {
        value.name: [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim] for value in values
    }


def sizes_at_run_time(model: bytes, feeds: dict[str, Any]) -> dict[str, list[int]]:
    file = OnnxFile(model)
    told = set(file.names(12))
    file.add_outputs(name for _, node in file.nodes() for name in node.outputs if name not in told)
    engine = session(file.to_bytes(), level=onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL)
    names = [node.name for node in engine.get_outputs()]
    return {name: list(array.shape) for name, array in zip(names, engine.run(names, feeds), strict=True)}


def agree(shapes: dict[str, list[int | str]], actual: dict[str, list[int]]) -> None:
    """Every number is right, and every name stands for one size."""
    meanings: dict[str, int] = {}
    for name, sizes in shapes.items():
        assert len(sizes) == len(actual[name]), name
        for size, real in zip(sizes, actual[name], strict=True):
            assert (size if isinstance(size, int) else meanings.setdefault(size, real)) == real, (name, sizes)


def test_what_an_operation_gives_has_the_names_of_what_it_takes() -> None:
    graph = Graph()
    kept = graph.add("Conv", "x", graph.weight(2, 2, 3, 3), kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    bent = graph.add("HardSigmoid", kept)
    product = graph.add("Mul", kept, bent)
    scaled = graph.add("Mul", product, graph.weight(1, 2, 1, 1))
    shapes = named(written(graph, graph.add("Relu", scaled)))
    assert shapes[kept] == shapes[bent] == shapes[product] == shapes[scaled]
    assert shapes[kept][1] == 2


def test_the_same_step_over_the_same_size_makes_the_same_size() -> None:
    graph = Graph()
    wide = graph.add("Conv", "x", graph.weight(2, 2, 3, 3), pads=[1, 1, 1, 1], strides=[2, 2])
    narrow = graph.add("Conv", "x", graph.weight(2, 2, 1, 1), strides=[2, 2])
    pooled = graph.add("MaxPool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2])
    whole = graph.add("MaxPool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2], ceil_mode=1)
    other = graph.add("Conv", "x", graph.weight(2, 2, 3, 3), strides=[2, 2])
    total = graph.add("Concat", *(graph.add("GlobalMaxPool", x) for x in (wide, narrow, pooled, whole, other)), axis=1)
    shapes = named(written(graph, total))
    assert shapes[wide] == shapes[narrow] == shapes[pooled]
    assert len({shapes[wide][2], shapes[whole][2], shapes[other][2], shapes[wide][3]}) == 4


def test_names_that_the_file_gives_to_sizes_are_no_ground_for_equality() -> None:
    """Exporters write one name for height and width."""
    graph = Graph()
    half = graph.add("Conv", "x", graph.weight(2, 2, 1, 1), strides=[2, 2])
    rows = graph.add("ReduceMax", half, axes=[3], keepdims=0)
    columns = graph.add("ReduceMax", half, axes=[2], keepdims=0)
    many = [graph.add("Relu", graph.add("Abs", graph.add("Neg", each))) for each in (rows, columns)]
    least = [graph.add("ReduceMax", each, axes=[2], keepdims=0) for each in many]
    model = written(graph, graph.add("Add", *least), ["batch", 2, "side", "side"])
    shapes = named(model)
    assert shapes[half][2] != shapes[half][3]
    feeds = {"x": np.random.default_rng(1).standard_normal((2, 2, 9, 31)).astype(np.float32)}
    agree(shapes, sizes_at_run_time(model, feeds))
    changed, _ = with_named_sizes(model, inferred(model, weights=None)) or (b"", "")
    (expected,), (answer,) = session(model).run(None, feeds), session(changed).run(None, feeds)
    assert expected.tobytes() == answer.tobytes()


WINDOWS: dict[str, Any] = {
    "kernel_shape": st.lists(st.integers(1, 4), min_size=2, max_size=2),
    "strides": st.lists(st.integers(1, 3), min_size=2, max_size=2),
    "dilations": st.lists(st.integers(1, 2), min_size=2, max_size=2),
}


@st.composite
def networks(draw: st.DrawFn) -> bytes:
    """Graphs of the operations that have a rule, over images of any size with two channels."""
    graph = Graph()
    images = ["x"]
    for _ in range(draw(st.integers(1, 12))):
        x = draw(st.sampled_from(images))
        kind = draw(st.sampled_from(["Conv", "MaxPool", "AveragePool", "same", "shape", "join", "flip", "rows", "add"]))
        if kind in ("Conv", "MaxPool", "AveragePool"):
            window = {name: draw(values) for name, values in WINDOWS.items()}
            fits = draw(st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
            if fits == "NOTSET":
                window["pads"] = [draw(st.integers(0, size - 1)) for size in window["kernel_shape"] * 2]
            else:
                window["auto_pad"] = fits
            if fits.startswith("SAME") or kind == "AveragePool":
                del window["dilations"]
            if kind != "Conv":
                window["ceil_mode"] = draw(st.integers(0, 1)) if fits == "NOTSET" else 0
            weights = [graph.weight(2, 2, *window["kernel_shape"])] if kind == "Conv" else []
            images.append(graph.add(kind, x, *weights, **window))
        elif kind == "same":
            images.append(graph.add("Add", x, graph.add("Sigmoid", x)))
        elif kind == "shape":
            images.append(graph.add("Mul", graph.add("GlobalAveragePool", x), graph.add("Erf", x)))
        elif kind == "join":
            parts = [f"part_{len(graph.nodes)}_{n}" for n in range(2)]
            graph.nodes.append(helper.make_node("Split", [graph.add("Concat", x, x, axis=-2)], parts, axis=2))
            images.append(graph.add("Concat", *parts, axis=draw(st.integers(2, 3))))
        elif kind == "flip":
            images.append(graph.add("Transpose", x, perm=[0, 1, 3, 2]))
        elif kind == "rows":
            last = graph.add("MatMul", graph.add("Transpose", x, perm=[0, 2, 3, 1]), graph.weight(2, 2))
            images.append(graph.add("Transpose", last, perm=[0, 3, 1, 2]))
        else:
            images.append(graph.add("Add", x, graph.weight(2, 1, 1)))
    graph.add("ReduceMean", images[-1], axes=[1], output="y")
    return written(graph, "y")


@settings(max_examples=150, deadline=None)
@given(networks(), st.lists(st.tuples(*[st.integers(1, 3), *[st.integers(20, 70)] * 2]), min_size=1, max_size=3))
def test_a_name_stands_for_one_size_whatever_comes(model: bytes, images: list[tuple[int, int, int]]) -> None:
    shapes = named(model)
    for rows, height, width in images:
        feeds = {"x": np.ones((rows, 2, height, width), np.float32)}
        try:
            actual = sizes_at_run_time(model, feeds)
        except Exception:  # noqa: BLE001, S112 - an image that is too small for so many steps
            continue
        agree(shapes, actual)


@pytest.mark.parametrize("kind", ["image", "text"])
def test_it_holds_for_networks_that_people_bring(kind: str) -> None:
    random = np.random.default_rng(0)
    if kind == "image":
        model = image_classifier(stages=((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 2, 2)), any_size=True, last=64)
        feeds = {"image": random.standard_normal((2, 3, 45, 83)).astype(np.float32)}
    else:
        model = text_encoder(layers=1, width=48, words=100)
        ids = random.integers(0, 99, (3, 17))
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    agree(named(model), sizes_at_run_time(model, feeds))


def test_a_form_with_names_answers_images_of_sizes_that_it_was_not_proven_with(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.undo()  # at the number that counts
    model = image_classifier(stages=((1, 16, 1, 1), (6, 24, 4, 2), (6, 32, 4, 2)), any_size=True)
    compiled = compile_model(model)
    assert isinstance(compiled, CompiledModel), compiled
    forms = [
        form for form in compiled.forms if any(s.name == "named sizes" and s.outcome == "kept" for s in form.steps)
    ]
    assert forms, compiled
    for number, form in enumerate(forms):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "weights.bin").write_bytes(form.weights or b"")
        engine = session(form.model, weights=str(folder))
        for shape in ((1, 3, 7, 300), (5, 3, 224, 224), (2, 3, 33, 1), (1, 3, 7, 300)):
            image = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
            (expected,), (answer,) = session(model).run(None, {"image": image}), engine.run(None, {"image": image})
            assert expected.tobytes() == answer.tobytes(), shape


def test_where_few_would_gain_or_broadcasting_is_another_one_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = Graph()
    last = graph.add("Relu", graph.add("Conv", "x", graph.weight(2, 2, 3, 3), strides=[2, 2]))
    model = written(graph, graph.add("Relu", last))
    values = inferred(model, weights=None)
    assert with_named_sizes(model, values) is not None
    old = onnx.load_from_string(model)
    old.opset_import[0].version = 6
    assert with_named_sizes(old.SerializeToString(), values) is None
    monkeypatch.setattr(named_sizes, "LEAST_SHARED", 3)
    assert with_named_sizes(model, values) is None


def test_a_weight_that_a_caller_may_replace_has_no_sure_size() -> None:
    graph = Graph()
    weight = graph.constant(np.ones((1, 2, 1, 1), np.float32))
    half = graph.add("Conv", "x", graph.weight(2, 2, 3, 3), strides=[2, 2])
    made = onnx.load_from_string(written(graph, graph.add("Relu", graph.add("Mul", half, weight))))
    made.graph.input.append(helper.make_tensor_value_info(weight, TensorProto.FLOAT, [None, 2, None, None]))
    shapes = named(made.SerializeToString())
    product = made.graph.node[1].output[0]
    assert not set(shapes[half][2:]) & set(shapes[product][2:])


@pytest.mark.parametrize(
    "attribute",
    [{"kernel_shape": "3"}, {"strides": [0]}, {"pads": 1.5}, {"dilations": 2}, {"auto_pad": 7}, {"kernel_shape": [3]}],
)
def test_attributes_that_are_no_sizes_are_no_trouble(attribute: dict[str, Any]) -> None:
    graph = Graph()
    last = graph.add("Conv", "x", graph.weight(2, 2, 3, 3), **attribute)
    values = {"x": ("tensor(float)", IMAGE), last: ("tensor(float)", ["batch", 2, None, None])}
    model = written(graph, graph.add("Relu", graph.add("Relu", last)))
    found, _ = with_named_sizes(model, values) or (b"", "")
    assert onnx.load_from_string(found).graph.value_info[0].name == last


def test_weights_that_are_operations_get_a_file_of_their_own() -> None:
    graph = Graph()
    large = graph.weight(600, 600)
    last = graph.add("MatMul", graph.add("MatMul", "x", large), large)
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 600])]
    outputs = [helper.make_tensor_value_info(last, TensorProto.FLOAT, ["batch", 600])]
    model = graph.model(inputs, outputs, constants=True)
    assert not onnx.load_from_string(model).graph.initializer
    compiled = compile_model(model)
    assert isinstance(compiled, CompiledModel), compiled
    assert len(compiled.forms[0].weights or b"") >= 600 * 600 * 4
    file = OnnxFile(model)
    file.constants_as_initializers()
    (weight,) = onnx.load_from_string(file.to_bytes()).graph.initializer
    assert weight.name == large
    assert numpy_helper.to_array(weight).tobytes() == numpy_helper.to_array(graph.weights[0]).tobytes()
