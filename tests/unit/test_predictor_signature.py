"""Reading a signature from a session and from JSON."""

import json
import subprocess
import sys

import onnxruntime
import pytest

from modelyard.errors import AdmissionError
from modelyard.predictor.signature import Signature, signature_of
from tests.fakes import onnx_models


def session(model: bytes) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


def test_a_signature_names_dtypes_shapes_and_classes():
    assert signature_of(session(onnx_models.classifier())) == {
        "inputs": [{"name": "logits", "dtype": "float32", "shape": [None, 3]}],
        "outputs": [
            {"name": "label", "dtype": "int64", "shape": [None], "classes": None},
            {"name": "probabilities", "dtype": "float32", "shape": [None, 3], "classes": ["rain", "sun", "snow"]},
        ],
    }


@pytest.mark.parametrize("dtype", sorted(onnx_models.ELEMENTS))
def test_every_dtype_is_known_by_its_numpy_name(dtype):
    found = signature_of(session(onnx_models.echo(("x", dtype, ["batch", 2]))))
    assert found["inputs"] == [{"name": "x", "dtype": dtype, "shape": [None, 2]}]


def test_classes_of_another_length_than_the_last_axis_are_left_out():
    outputs = signature_of(session(onnx_models.classifier(["rain", "sun"])))["outputs"]
    assert [output["classes"] for output in outputs] == [None, None]


@pytest.mark.parametrize(
    "classes", ["not json", '"rain"', "[]", '["rain", "rain", "sun"]', '{"rain": 1}', '[1, "1", 2]']
)
def test_class_names_that_are_no_list_of_different_names_are_refused(classes):
    with pytest.raises(AdmissionError) as caught:
        signature_of(session(onnx_models.classifier(classes)))
    assert caught.value.code == "invalid_signature"


def test_an_output_that_is_no_tensor_is_refused_with_the_way_out():
    with pytest.raises(AdmissionError, match="'y' is seq") as caught:
        signature_of(session(onnx_models.sequence_output()))
    assert caught.value.code == "unsupported_signature"
    assert "zipmap" in (caught.value.next_step or "")


def test_a_signature_survives_the_way_through_json():
    document = json.loads(json.dumps(signature_of(session(onnx_models.classifier()))))
    signature = Signature.parse(document)
    assert signature.inputs[0].shape == (None, 3)
    assert signature.outputs[1].classes == ("rain", "sun", "snow")


X = {"name": "x", "dtype": "float32", "shape": [None, 1]}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"name": ""}, "without a name"),
        ({"name": 3}, "without a name"),
        ({"dtype": "complex64"}, "'complex64'"),
        ({"dtype": None}, "dtype None"),
        ({"shape": None}, "shape None"),
        ({"shape": [None, "n"]}, "shape"),
        ({"shape": [None, -1]}, "shape"),
        ({"shape": [None, True]}, "shape"),
        ({"shape": []}, "no batch axis"),
        ({"classes": "abc"}, "classes"),
        ({"classes": [1]}, "classes"),
    ],
)
def test_a_broken_tensor_is_refused_by_name(change, problem):
    with pytest.raises(AdmissionError, match=problem) as caught:
        Signature.parse({"inputs": [{**X, **change}], "outputs": [X]})
    assert caught.value.code == "invalid_signature"


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"inputs": [X]},
        {"inputs": [], "outputs": [X]},
        {"inputs": ["x"], "outputs": [X]},
        {"inputs": [X, X], "outputs": [X]},
    ],
)
def test_a_document_that_is_no_signature_is_refused(document):
    with pytest.raises(AdmissionError):
        Signature.parse(document)


def test_the_signature_module_brings_neither_numpy_nor_onnxruntime():
    script = (
        "import sys; before = set(sys.modules); import modelyard.predictor.signature;"
        "print(sorted(m for m in set(sys.modules) - before if not m.startswith('modelyard')))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert "numpy" not in ran.stdout
    assert "onnxruntime" not in ran.stdout
