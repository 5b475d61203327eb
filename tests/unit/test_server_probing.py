"""Which models' rows may be run together: those whose answers do not depend on the rows beside them."""

import time
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from modelyard.errors import ModelError
from modelyard.predictor.predictor import Predictor
from modelyard.server import probing
from modelyard.server.probing import ROWS, probe
from tests.fakes import onnx_models
from tests.fakes.onnx_models import _model, _value
from tests.fakes.predict_requests import ENGINES


def loaded(model: bytes, engine: Any = "lean", **more: Any) -> Predictor:
    return Predictor.load(model, engine=engine, **more)


def model(nodes: list[Any], *constants: Any, width: int = 2, output: Any = None) -> bytes:
    """x float32 [n, width] through these nodes to y."""
    outputs = [output or _value("y", "float32", [None, width])]
    return _model(nodes, [_value("x", "float32", [None, width])], outputs, list(constants)).SerializeToString()


def constant(name: str, value: Any) -> Any:
    array = np.asarray(value)
    dtype = {np.dtype("float32"): TensorProto.FLOAT, np.dtype("int64"): TensorProto.INT64, np.dtype("int8"):
             TensorProto.INT8, np.dtype("uint8"): TensorProto.UINT8}[array.dtype]  # fmt: skip
    return helper.make_tensor(name, dtype, array.shape, array.ravel().tolist())


def normalised(axes: list[int], width: int = 2) -> bytes:
    """Each value less the mean over these axes: over the first one it is the batch's."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=axes, keepdims=1),
        helper.make_node("Sub", ["x", "mean"], ["y"]),
    ]
    return model(nodes, width=width)


def quantised(width: int) -> bytes:
    """A dense layer of bytes, with one scale for the whole batch."""
    weights = np.arange(width * 3, dtype=np.int64).reshape(width, 3) % 7 - 3
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["bytes", "scale", "zero"]),
        helper.make_node("MatMulInteger", ["bytes", "weights", "zero"], ["sums"]),
        helper.make_node("Cast", ["sums"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["numbers", "scale"], ["y"]),
    ]
    return model(
        nodes, constant("weights", weights.astype(np.int8)), width=width, output=_value("y", "float32", [None, 3])
    )


def above_the_mean() -> bytes:
    """Which values are above the batch's mean: no number that is nearly the same."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("Greater", ["x", "mean"], ["y"]),
    ]
    return model(nodes, output=_value("y", "bool", [None, 2]))


def divided_by_the_largest() -> bytes:
    """Each value over the batch's largest, where that is large."""
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["largest"], keepdims=0),
        helper.make_node("Max", ["largest", "three"], ["divisor"]),
        helper.make_node("Div", ["x", "divisor"], ["y"]),
    ]
    return model(nodes, constant("three", np.array(3, np.float32)))


def looked_up(words: int, *, scaled: bool, kinds: int = 2) -> bytes:
    """The mean of what a table has for each word, and for its kind; ``scaled``: of bytes, with a scale for all rows."""
    table = np.abs(np.sin(np.arange(words * 4, dtype=np.float32).reshape(words, 4))) * (1 + np.arange(words)[:, None])
    of_kinds = np.arange(kinds * 4, dtype=np.float32).reshape(kinds, 4)
    nodes = [
        helper.make_node("Gather", ["table", "words"], ["found"]),
        helper.make_node("Gather", ["of_kinds", "kinds"], ["of_kind"]),
        helper.make_node("Add", ["found", "of_kind"], ["all"]),
        helper.make_node("DynamicQuantizeLinear", ["all"], ["bytes", "scale", "zero"]),
        helper.make_node("DequantizeLinear", ["bytes", "scale", "zero"], ["again"]),
        helper.make_node("ReduceMean", ["again" if scaled else "all"], ["y"], axes=[1], keepdims=0),
    ]
    inputs = [_value(name, "int64", [None, None]) for name in ("words", "kinds")]
    constants = [constant("table", table.astype(np.float32)), constant("of_kinds", of_kinds)]
    return _model(nodes, inputs, [_value("y", "float32", [None, 4])], constants).SerializeToString()


INDEPENDENT = {
    "words": looked_up(1000, scaled=False),
    "few words": looked_up(12, scaled=False),
    "sum": onnx_models.row_sum(),
    "every dtype": onnx_models.echo(*((f"x_{dtype}", dtype, [None, 2]) for dtype in onnx_models.ELEMENTS)),
    "text": onnx_models.echo(("x", "string", [None])),
    "an open size": onnx_models.echo(("x", "float32", [None, 2, None])),
    "ZipMap": onnx_models.zipmap(),
    "classes": onnx_models.classifier(),
    "normalised by row": normalised([1]),
    "NaN": onnx_models.log_sum(),
}
DEPENDENT = {
    "words, quantised": looked_up(1000, scaled=True),
    "few words, quantised": looked_up(12, scaled=True),
    "normalised over the batch": normalised([0]),
    "normalised over all": normalised([0, 1]),
    "normalised over all, many columns": normalised([0, 1], 44),
    "above the batch's mean": above_the_mean(),
    "over the batch's largest": divided_by_the_largest(),
    **{f"quantised, {width} columns": quantised(width) for width in (1, 2, 10, 11, 12, 44, 128)},
    "one number for all": onnx_models.total(),
    "places": onnx_models.places(),
    "a constant beside it": onnx_models.passes_on(),
    "exactly two rows": onnx_models.fails_unless_two_rows(),
    "rows are exported": onnx_models.echo(("x", "float32", [1, 2])),
    f"{ROWS} rows are exported": onnx_models.echo(("x", "float32", [ROWS, 2])),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", INDEPENDENT)
def test_rows_that_know_nothing_of_each_other_may_be_run_together(name: str, engine: str) -> None:
    assert probe(loaded(INDEPENDENT[name], engine)).mergeable


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", DEPENDENT)
def test_a_model_whose_answers_depend_on_the_batch_has_each_request_alone(name: str, engine: str) -> None:
    assert not probe(loaded(DEPENDENT[name], engine)).mergeable


def test_the_models_that_depend_on_the_batch_do_depend_on_it() -> None:
    for name in ("normalised over the batch", "above the batch's mean", "quantised, 12 columns"):
        predictor = loaded(DEPENDENT[name])
        (tensor,) = predictor.signature.inputs
        rows = [[0.01 * (at + 1)] * (tensor.shape[1] or 1) for at in range(2)] + [[9.0] * (tensor.shape[1] or 1)]
        alone = [predictor.predict([row])[0] for row in rows]
        assert predictor.predict(rows) != alone, name


def test_what_runs_cost_is_known_by_then() -> None:
    found = probe(loaded(onnx_models.row_sum()))
    assert 0 < found.cost.of(1) < 0.01
    assert 0 < found.cost.of(ROWS) < 0.01


class Slow:
    """An engine that takes its time."""

    def __init__(self, predictor: Predictor, seconds: float) -> None:
        self._engine, self._seconds, self.runs = predictor._engine, seconds, 0
        predictor._engine = self

    def run(self, arrays: list[Any], stop: Any = None) -> list[Any]:
        self.runs += 1
        time.sleep(self._seconds)
        return self._engine.run(arrays, stop)


@pytest.mark.parametrize(("name", "mergeable"), [("sum", True), ("normalised over the batch", False)])
def test_a_model_that_takes_long_is_run_as_seldom_as_can_be_and_compared_all_the_same(
    monkeypatch: pytest.MonkeyPatch, name: str, mergeable: bool
) -> None:
    monkeypatch.setattr(probing, "LONG_S", 0.01)
    predictor = loaded({**INDEPENDENT, **DEPENDENT}[name])
    slow = Slow(predictor, 0.02)
    found = probe(predictor)
    assert found.mergeable == mergeable
    assert found.cost.of(1) >= 0.02
    assert slow.runs == 2 * 1 + 1 + 3  # one row and alone, several and the others alone


def test_a_model_that_fails_at_what_is_tried_is_run_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor, runs = loaded(onnx_models.row_sum()), []

    def fail(self: Predictor, batch: Any) -> Any:
        runs.append(batch.rows)
        raise ModelError("it failed")

    monkeypatch.setattr(Predictor, "run_timed", fail)
    assert not probe(predictor).mergeable
    assert runs == [1]


def test_whatever_goes_wrong_a_version_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = loaded(onnx_models.row_sum())

    def fail(self: Predictor, batch: Any) -> Any:
        raise RuntimeError("nobody thought of it")

    monkeypatch.setattr(Predictor, "run_timed", fail)
    assert not probe(predictor).mergeable
