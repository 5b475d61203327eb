"""ZipMap: what its classes are, and the same probabilities without it."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from modelyard.compiling.zipmap import without_zipmap, zipmap_classes
from modelyard.external_data import MalformedError
from modelyard.predictor.signature import signature_of
from tests.fakes import onnx_models
from tests.fakes.realistic_models import forest


def session(model: bytes) -> Any:
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


def zipmaps(
    *classes: Any, source: str = "p", extra_nodes: tuple[Any, ...] = (), outputs: tuple[Any, ...] = ()
) -> bytes:
    """x [batch, 2] to its softmax p, and a ZipMap z0, z1… of p for each list of classes."""
    nodes = [helper.make_node("Softmax", ["x"], ["p"], axis=1), *extra_nodes]
    declared = list(outputs)
    for number, names in enumerate(classes):
        text = isinstance(names[0], str)
        attribute = {"classlabels_strings" if text else "classlabels_int64s": names}
        nodes.append(helper.make_node("ZipMap", [source], [f"z{number}"], domain="ai.onnx.ml", **attribute))
        key = TensorProto.STRING if text else TensorProto.INT64
        numbers = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
        kind = helper.make_sequence_type_proto(helper.make_map_type_proto(key, numbers))
        declared.append(helper.make_value_info(f"z{number}", kind))
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])], declared)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def tensor(name: str, shape: tuple[Any, ...] = (None, 2)) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


X = {"x": np.array([[0.5, -1.0], [3.0, 4.0], [0.0, 0.0]], np.float32)}


def columns(rows: list[dict[Any, float]], names: Any) -> list[list[float]]:
    return [[row[name] for name in names] for row in rows]


@pytest.mark.parametrize("names", [["rain", "sun"], [3, -7], ["grün", ""], [0, 1]])
def test_the_classes_are_the_keys_of_the_dictionaries(names: Any) -> None:
    model = zipmaps(names)
    assert zipmap_classes(model) == {"z0": names}
    (rows,) = session(model).run(None, X)
    assert [list(row) for row in rows] == [sorted(names)] * 3


def test_models_without_one_have_no_classes_and_stay() -> None:
    assert zipmap_classes(onnx_models.classifier()) == {}
    assert without_zipmap(onnx_models.classifier()) is None
    assert zipmap_classes(onnx_models.sequence_output()) == {}


@pytest.mark.parametrize("names", [["rain", "sun"], [3, -7]])
def test_without_it_the_output_has_the_probabilities_in_the_order_of_the_classes(names: Any) -> None:
    model = zipmaps(names)
    plain = without_zipmap(model)
    assert plain is not None
    onnx.checker.check_model(plain)
    (rows,), (array,) = session(model).run(None, X), session(plain).run(None, X)
    assert array.tolist() == columns(rows, names)
    (output,) = signature_of(session(plain))["outputs"]
    assert output == {"name": "z0", "dtype": "float32", "shape": [None, 2], "classes": [str(name) for name in names]}
    assert [node.op_type for node in onnx.load_from_string(plain).graph.node] == ["Softmax"]


@pytest.mark.parametrize("labels", [None, ["rain", "snow", "sun"]])
def test_a_classifier_of_scikit_learn_loses_nothing(labels: Any) -> None:
    model = forest(trees=3, rows=200, zipmap=True, labels=labels)
    assert zipmap_classes(model) == {"output_probability": labels or [0, 1, 2]}
    plain = without_zipmap(model)
    assert plain is not None
    table = {"x": np.random.default_rng(0).standard_normal((20, 10)).astype(np.float32)}
    (label, rows), (same_label, array) = session(model).run(None, table), session(plain).run(None, table)
    assert label.tolist() == same_label.tolist()
    assert array.tolist() == columns(rows, labels or [0, 1, 2])


def test_probabilities_that_others_read_too_have_the_new_name_there() -> None:
    best = helper.make_node("ArgMax", ["p"], ["label"], axis=1, keepdims=0)
    label = helper.make_tensor_value_info("label", TensorProto.INT64, [None])
    plain = without_zipmap(zipmaps(["a", "b"], extra_nodes=(best,), outputs=(label,)))
    assert plain is not None
    first, array = session(plain).run(None, X)
    assert first.tolist() == array.argmax(axis=1).tolist()
    assert [node.op_type for node in onnx.load_from_string(plain).graph.node] == ["Softmax", "ArgMax"]


def test_probabilities_that_are_an_output_already_stay_one() -> None:
    model = zipmaps(["a", "b"], outputs=(tensor("p"),))
    plain = without_zipmap(model)
    assert plain is not None
    array, copy = session(plain).run(["p", "z0"], X)
    assert array.tolist() == copy.tolist()
    assert signature_of(session(plain))["outputs"][0]["name"] == "p"


def test_an_input_that_is_mapped_as_it_is_works() -> None:
    plain = without_zipmap(zipmaps(["a", "b"], source="x"))
    assert plain is not None
    assert session(plain).run(["z0"], X)[0].tolist() == X["x"].tolist()


def test_two_with_the_same_classes_both_go() -> None:
    model = zipmaps(["a", "b"], ["a", "b"])
    assert zipmap_classes(model) == {"z0": ["a", "b"], "z1": ["a", "b"]}
    plain = without_zipmap(model)
    assert plain is not None
    one, two = session(plain).run(None, X)
    assert one.tolist() == two.tolist() == columns(session(model).run(None, X)[0], ["a", "b"])


def test_two_with_different_classes_stay_because_the_metadata_has_one_list() -> None:
    model = zipmaps(["a", "b"], ["c", "d"])
    assert zipmap_classes(model) == {"z0": ["a", "b"], "z1": ["c", "d"]}
    assert without_zipmap(model) is None


def test_classes_that_the_model_notes_itself_are_kept() -> None:
    made = onnx.load_from_string(zipmaps([0, 1]))
    helper.set_model_props(made, {"modelyard.classes": '["no", "yes"]'})
    plain = without_zipmap(made.SerializeToString())
    assert plain is not None
    assert signature_of(session(plain))["outputs"][0]["classes"] == ["no", "yes"]


def test_a_damaged_file_is_malformed() -> None:
    with pytest.raises(MalformedError):
        zipmap_classes(zipmaps(["a", "b"])[:-9])
