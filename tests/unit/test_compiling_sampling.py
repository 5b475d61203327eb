"""Samples that are drawn, the comparison with them, and the names of machines."""

from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, load_from_string

from modelyard.compiling.loading import machine
from modelyard.compiling.proving import Measure, NotProvableError, same
from modelyard.compiling.sampling import Hints, generated
from modelyard.compiling.tree_ensemble import as_tree_ensemble
from tests.fakes import hostile_models, onnx_models
from tests.fakes.hand_made_trees import ensemble
from tests.fakes.realistic_models import forest


def drawn(model: bytes) -> list[tuple[str, dict[str, Any]]]:
    engine = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return list(generated(engine.get_inputs(), Hints(model)))


def measure(model: bytes, sample: Any = ()) -> Measure:
    return Measure(model, list(sample), seconds=30.0, columns={})


def test_every_kind_of_input_is_drawn_in_several_batch_sizes() -> None:
    kinds = ("float16", "float32", "float64", "int8", "int16", "int32", "int64")
    more = ("uint8", "uint16", "uint32", "uint64", "bool", "string")
    model = onnx_models.echo(*((f"x_{kind}", kind, [None, 2]) for kind in (*kinds, *more)))
    samples = drawn(model)
    assert {len(feeds["x_bool"]) for _, feeds in samples} == {1, 3, 40, 200}
    _, feeds = samples[-1]
    for kind in kinds + more:
        assert feeds[f"x_{kind}"].dtype == (object if kind == "string" else kind)
    assert any(np.isnan(feeds["x_float32"]).any() for _, feeds in samples)
    measured = measure(model)
    assert measured.rows >= 244
    assert measured.differs(model) is None


def taken(inputs: list[tuple[str, list[Any], int]], nodes: list[Any], outputs: list[str]) -> Measure:
    values = [helper.make_tensor_value_info(name, element, shape) for name, shape, element in inputs]
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph(nodes, "g", values, given)
    return measure(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )


def test_an_image_that_is_halved_five_times_is_large_enough_and_fits_when_it_is_doubled_again() -> None:
    nodes = [helper.make_node("MaxPool", ["x"], ["half"], kernel_shape=[32, 32], strides=[32, 32], pads=[0, 0, 16, 16])]
    scale = helper.make_node("Constant", [], ["scale"], value_floats=[1.0, 1.0, 32.0, 32.0])
    nodes += [scale, helper.make_node("Resize", ["half", "", "scale"], ["wide"], mode="nearest")]
    nodes += [helper.make_node("Concat", ["wide", "x"], ["y"], axis=1)]
    found = taken([("x", ["n", 3, "h", "w"], TensorProto.FLOAT)], nodes, ["y"])
    shapes = {feeds["x"].shape for _, feeds in found.samples}
    assert {(1, 3, 32, 32), (40, 3, 32, 32)} <= shapes
    assert {max(shape[2:]) for shape in shapes} <= {32, 64, 224, 512}


def test_rows_of_a_state_lie_behind_its_layers_and_a_rate_is_one_number() -> None:
    nodes = [
        helper.make_node("Add", ["state", "x"], ["next"]),
        helper.make_node("Constant", [], ["none"], value_int=0),
        helper.make_node("Constant", [], ["one"], value_int=1),
        helper.make_node("Range", ["none", "rate", "one"], ["steps"]),
        helper.make_node("Cast", ["steps"], ["y"], to=TensorProto.FLOAT),
    ]
    inputs = [
        ("x", [None, 8], TensorProto.FLOAT),
        ("state", [2, None, 8], TensorProto.FLOAT),
        ("rate", [], TensorProto.INT64),
    ]
    found = taken(inputs, nodes, ["next", "y"])
    assert {feeds["state"].shape for _, feeds in found.samples} == {(2, rows, 8) for rows in (1, 3, 40, 200)}
    assert {feeds["rate"].shape for _, feeds in found.samples} == {()}
    assert len(found.single_and_batch()[1]["x"]) == 40


@pytest.mark.parametrize("kind", ["float32", "float16", "int8", "bool", "string"])
def test_one_number_is_drawn_of_every_kind(kind: str) -> None:
    for words, feeds in drawn(onnx_models.echo(("x", "float32", [None, 2]), ("one", kind, []))):
        assert feeds["one"].shape == (), words
        assert feeds["one"].dtype == (object if kind == "string" else kind)


def test_a_size_that_is_a_sum_of_others_is_their_sum() -> None:
    nodes = [
        helper.make_node("Concat", ["past", "ids"], ["all"], axis=1),
        helper.make_node("Mul", ["all", "mask"], ["y"]),
    ]
    inputs = [
        ("ids", ["batch", "now"], TensorProto.FLOAT),
        ("past", ["batch", "before"], TensorProto.FLOAT),
        ("mask", ["batch", "before + now"], TensorProto.FLOAT),
    ]
    found = taken(inputs, nodes, ["y"])
    assert all(feeds["mask"].shape[1] == 2 * feeds["ids"].shape[1] for _, feeds in found.samples)


def test_the_same_model_gets_the_same_sample() -> None:
    model = ensemble((0, "LEQ", 0.25, {0: 1.0}, {0: 2.0}))
    for (words, feeds), (again, others) in zip(drawn(model), drawn(model), strict=True):
        assert words == again
        assert feeds["x"].tobytes() == others["x"].tobytes()


def test_numbers_for_a_forest_lie_on_its_thresholds_and_beside_them() -> None:
    model = ensemble((0, "LEQ", 0.25, {0: 1.0}, (2, "LEQ", -3.0, {0: 2.0}, {0: 3.0})))
    table = next(feeds["x"] for words, feeds in drawn(model) if words == "200 x thresholds")
    quarter = np.float32(0.25)
    expected = {np.nextafter(quarter, np.float32(-1)), quarter, np.nextafter(quarter, np.float32(1))}
    assert set(table[:, 0].tolist()) == {float(value) for value in expected}
    assert -3.0 in table[:, 2]


def test_numbers_for_a_forest_are_infinite_missing_and_zero_of_both_signs_too() -> None:
    model = ensemble((0, "LEQ", 0.25, {0: 1.0}, (2, "LEQ", -3.0, {0: 2.0}, {0: 3.0})))
    table = next(feeds["x"] for words, feeds in drawn(model) if words == "200 x thresholds and infinities")
    assert {np.inf, -np.inf} <= set(table.ravel().tolist())
    assert np.isnan(table).any()
    assert {1.0, -1.0} == set(np.copysign(1, table[table == 0]).tolist())
    assert np.float32(0.25) in table[:, 0]
    words, last = drawn(model)[-1]
    assert (words, last["x"].shape) == ("10000 x thresholds and infinities", (10_000, 3))


def test_a_forest_of_leaves_alone_has_no_thresholds() -> None:
    assert Hints(ensemble({0: 1.0}, {0: 2.0})).thresholds == {}


def test_text_is_drawn_from_the_categories_in_the_model() -> None:
    node = helper.make_node(
        "LabelEncoder", ["x"], ["y"], domain="ai.onnx.ml", keys_strings=["drizzle", "fog"], values_int64s=[1, 2]
    )
    text = helper.make_tensor_value_info("x", TensorProto.STRING, [None, 1])
    graph = helper.make_graph([node], "g", [text], [helper.make_tensor_value_info("y", TensorProto.INT64, [None, 1])])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    seen = {value for _, feeds in drawn(model) for value in feeds["x"].ravel()}
    assert {"drizzle", "fog", ""} <= seen


def test_values_that_the_model_refuses_are_left_out() -> None:
    """A Gather from 50 rows takes no number above 49."""
    weights = helper.make_tensor("w", TensorProto.FLOAT, [50, 3], [0.5] * 150)
    ids = helper.make_tensor_value_info("x", TensorProto.INT64, [None, "length"])
    model = hostile_models.model(
        [
            helper.make_node("Gather", ["w", "x"], ["e"]),
            helper.make_node("ReduceMean", ["e"], ["y"], axes=[1], keepdims=0),
        ],
        inputs=[ids],
        initializers=[weights],
    ).SerializeToString()
    taken = measure(model).samples
    assert taken
    assert all(feeds["x"].max() < 50 for _, feeds in taken)
    assert {feeds["x"].shape[1] for _, feeds in taken} == {16, 1, 33}


def test_a_model_for_one_batch_size_gets_that_one() -> None:
    model = onnx_models.echo(("x", "float32", [4, 2]))
    assert {len(feeds["x"]) for _, feeds in drawn(model)} == {4}


def test_a_sample_that_is_given_is_the_only_one() -> None:
    feeds = {"x": np.ones((7, 2), np.float32)}
    measured = measure(onnx_models.row_sum(), [feeds])
    assert (measured.samples, measured.rows) == ([("7 x given", feeds)], 7)


def test_a_model_that_takes_nothing_of_it_cannot_be_proven() -> None:
    with pytest.raises(NotProvableError, match="generated"):
        measure(onnx_models.fails_unless_two_rows())
    with pytest.raises(NotProvableError, match="given"):
        measure(onnx_models.row_sum(), [{"x": np.ones((7, 5), np.float32)}])


def test_another_answer_by_one_bit_is_found_and_said() -> None:
    measured = measure(onnx_models.row_sum(0.5))
    other = onnx_models.row_sum(float(np.nextafter(np.float32(0.5), np.float32(1))))
    assert "another answer" in (measured.differs(other) or "")
    assert measured.differs(onnx_models.row_sum(0.5)) is None


def test_another_answer_on_two_threads_alone_is_found() -> None:
    """With one target instead of two, onnxruntime adds up the trees in another order there."""
    model = forest(classes=2, rows=300)
    made = load_from_string(as_tree_ensemble(model)[0])
    (targets,) = (attribute for attribute in made.graph.node[0].attribute if attribute.name == "n_targets")
    targets.i = 1
    (factors,) = (attribute for attribute in made.graph.node[1].attribute if attribute.name == "coefficients")
    factors.floats[:] = [-1, 1]
    random = np.random.default_rng(0)
    sample = [{"x": random.standard_normal((1, 10)).astype(np.float32)} for _ in range(50)]
    assert measure(model, sample).differs(made.SerializeToString()) == "another answer to 1 x given on 2 threads"


def test_other_outputs_lost_metadata_and_a_model_that_does_not_load_are_said() -> None:
    measured = measure(onnx_models.classifier())
    assert measured.differs(onnx_models.row_sum()) == "it has other outputs"
    assert measured.differs(onnx_models.classifier(["a", "b", "c"])) == "it lost metadata"
    assert "refuses" in (measured.differs(b"no model") or "")


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ([0.0], [-0.0], False),
        ([np.nan], [-np.nan], True),
        ([np.nan, 1.0], [1.0, np.nan], False),
        ([np.nan, 1.0], [np.nan, 1.0], True),
        ([1.0], [np.nextafter(1.0, 2.0)], False),
        ([1.0], [[1.0]], False),
        (["a"], ["a"], True),
        (["a"], ["b"], False),
    ],
)
def test_equal_means_every_bit_but_any_nan_is_a_nan(one: Any, other: Any, equal: bool) -> None:
    kind = object if isinstance(one[0], str) else np.float64
    assert same([np.array(one, kind)], [np.array(other, kind)]) is equal


def test_a_dtype_or_a_list_of_dictionaries_must_be_the_same_too() -> None:
    assert not same([np.zeros(2, np.float32)], [np.zeros(2, np.float64)])
    assert same([[{"a": 1.0}]], [[{"a": 1.0}]])
    assert not same([[{"a": 1.0}]], [[{"a": 2.0}]])
    assert not same([np.zeros(2)], [])


def test_a_machine_is_named_by_how_wide_its_registers_are(monkeypatch: pytest.MonkeyPatch) -> None:
    class Intel:
        machine = "x86_64"

    class Graviton:
        machine = "aarch64"

    monkeypatch.setattr("os.uname", Intel)
    wide = b"processor\t: 0\nflags\t\t: fpu avx avx2 avx512f avx512dq\nbugs\t: avx512f\n"
    assert machine(wide) == "x86_64-avx512"
    assert machine(b"processor\t: 0\nflags\t\t: fpu avx avx2\nbugs\t: avx512f\n") == "x86_64-avx2"
    assert machine(b"processor\t: 0\n") == "x86_64"
    monkeypatch.setattr("os.uname", Graviton)
    assert machine(wide) == "aarch64"
