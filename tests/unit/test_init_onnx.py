"""``modelyard init``: what an ONNX file says about its model, and the example that is made up for it."""

import json
from typing import Any

import pytest

from modelyard.errors import UsageError
from modelyard.predictor.predictor import Predictor
from modelyard.scaffold import Draft, from_onnx, write_folder
from modelyard.scaffold.brought import LARGEST_EXAMPLE, task_of
from modelyard.spec import Model, load_model
from modelyard.version import OutputSpec, Signature, TensorSpec
from tests.fakes import onnx_models


def onnx_draft(content: bytes, **options: Any) -> Draft:
    signature = Predictor.load(content).signature
    inputs = tuple(TensorSpec(tensor.name, tensor.dtype, tensor.shape) for tensor in signature.inputs)  # type: ignore[arg-type]
    outputs = tuple(
        OutputSpec(tensor.name, tensor.dtype, tensor.shape, tensor.classes)  # type: ignore[arg-type]
        for tensor in signature.outputs
    )
    return from_onnx(content, source="m.onnx", name="drafted", signature=Signature(inputs, outputs), **options)


@pytest.mark.parametrize(
    "content",
    [
        onnx_models.classifier(),
        onnx_models.row_sum(),
        onnx_models.echo(("name", "string", [None, 1]), ("pixels", "uint8", [None, 2, 3]), ("new", "bool", [None])),
        onnx_models.echo(("x", "float16", [3, 2])),
        onnx_models.echo(("x", "int64", ["batch", "length"])),
    ],
)
def test_the_made_up_example_is_answered(content, tmp_path):
    draft = onnx_draft(content, task="regression")
    write_folder(draft, tmp_path / "models")
    model: Model = load_model(tmp_path / "models" / "drafted")
    assert model.spec.model.artifact == "m.onnx"
    assert (model.folder / "m.onnx").read_bytes() == content
    instances = json.loads((model.folder / "example.json").read_text())["instances"]
    assert len(Predictor.load(content).predict(instances)) == len(instances)
    assert "made up" in (model.folder / "model.toml").read_text()


def test_an_example_that_nobody_could_read_is_left_out(tmp_path):
    content = onnx_models.echo(("x", "float32", [None, LARGEST_EXAMPLE + 1]))
    write_folder(onnx_draft(content, task="regression"), tmp_path)
    assert load_model(tmp_path / "drafted").spec.model.example is None
    assert not (tmp_path / "drafted" / "example.json").exists()


def outputs(*described: tuple[str, str, list[int | None], list[str] | None]) -> Signature:
    return Signature(
        (TensorSpec("x", "float32", (None, 2)),),
        tuple(
            OutputSpec(name, dtype, tuple(shape), tuple(classes) if classes else None)  # type: ignore[arg-type]
            for name, dtype, shape, classes in described
        ),
    )


@pytest.mark.parametrize(
    ("signature", "task"),
    [
        (outputs(("p", "float32", [None, 3], ["a", "b", "c"])), "multiclass"),
        (outputs(("p", "float32", [None, 2], ["a", "b"])), "binary"),
        (outputs(("label", "int64", [None], None), ("p", "float32", [None, 2], None)), "binary"),
        (outputs(("label", "string", [None], None), ("p", "float32", [None, 5], None)), "multiclass"),
        (outputs(("label", "int64", [None], None)), None),
        (outputs(("label", "int64", [None], None), ("p", "float32", [None, None], None)), None),
        (outputs(("y", "float32", [None, 1], None)), None),
        (outputs(("y", "float32", [None, 10], None)), None),
    ],
)
def test_outputs_tell_the_task_or_leave_it_open(signature, task):
    assert task_of(signature) == task


def test_a_task_that_outputs_leave_open_is_asked_for():
    with pytest.raises(UsageError, match=r"its outputs \(y float32 \[n, 1\]\) do not tell") as caught:
        onnx_draft(onnx_models.row_sum())
    assert caught.value.next_step == "Say it: --task regression, --task binary or --task multiclass."
    assert onnx_draft(onnx_models.row_sum(), task="binary").task == "binary"
