"""The ONNX file answers as the fitted pipeline does, whatever the columns, the candidate and the task."""

import hashlib
import json
import os
import subprocess
import sys
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxruntime as ort
import pytest

from modelyard.evaluation import compare
from modelyard.predictor import signature
from modelyard.training import export
from modelyard.training.export import to_onnx
from modelyard.training.pipeline import build
from modelyard.training.plan import Plan
from modelyard.training.search import fit
from modelyard.training.table import read_table
from modelyard.training.trainer import train
from tests.fakes.training_data import SMALL, breast_cancer, csv_file, diabetes, iris, plan, weather, weather_plan

CLASSIFIERS = ("logistic_regression", "random_forest", "gradient_boosting")
REGRESSORS = ("linear_regression", "random_forest", "gradient_boosting")
EXACT = 2e-6
"""Float32 sums in another order; a row on the other side of a threshold would differ by far more."""


def mixed_file(*, task: str) -> bytes:
    """400 rows with a date, two numbers and two categories, everything missing somewhere."""
    draw = np.random.default_rng(7)
    rows: list[list[Any]] = []
    for number in range(400):
        place, size, price = int(draw.integers(365)), float(draw.normal(5, 2)), float(draw.lognormal(3, 1))
        colour, shop = str(draw.choice(["red", "green", "blue"])), str(draw.choice(["north", "süd, 東", 'a "b"']))
        score = 3 * np.sin(2 * np.pi * place / 365) + size + (colour == "red") + draw.normal(0, 0.3)
        day = np.datetime64("2021-01-01") + np.timedelta64(place + 365 * (number % 3), "D")
        grade = "low" if score < 3 else "middle" if score < 6 else "high"
        goal: Any = {"regression": 1000 + 250 * score, "binary": int(score > 5), "multiclass": grade}[task]
        cells = [str(day), f"{size:.3f}", f"{price:.2f}", colour, shop]
        rows.append(["" if draw.random() < 0.06 else cell for cell in cells] + [goal])
    return csv_file(["day", "size", "price", "colour", "shop", "goal"], rows)


def mixed_plan(task: str, kind: str = "random_forest", grid: dict[str, list[Any]] | None = None) -> Plan:
    features = {"day": "date", "size": "number", "price": "number", "colour": "category", "shop": "category"}
    metric = "mae" if task == "regression" else "log_loss"
    grids = SMALL if grid is None else {kind: grid}
    return plan(target="goal", features=features, task=task, metric=metric, kinds=[kind], grids=grids)


def fitted(spec: Plan, file: bytes) -> tuple[Any, Any]:
    """The pipeline of the plan's only candidate, fitted to all rows, and the table."""
    reading = read_table(spec, [file])
    assert reading.table is not None, reading.findings
    candidate = spec.training.candidates[0]
    settings = {name: values[0] for name, values in candidate.grid.items()}
    everything = np.ones(len(reading.table), dtype=bool)
    matrix = reading.table.matrix(everything)
    return fit(build(spec, candidate.kind, settings), matrix, reading.table.target), matrix


def feeds(spec: Plan, matrix: Any) -> dict[str, Any]:
    kinds = [feature.kind for feature in spec.training.features.values()]
    return {
        name: matrix[:, [at]].astype(np.float32 if kinds[at] == "number" else object)
        for at, name in enumerate(spec.training.features)
    }


def assert_same_answers(spec: Plan, pipeline: Any, matrix: Any) -> None:
    session = ort.InferenceSession(to_onnx(spec, pipeline))
    outputs = dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds(spec, matrix)), strict=True))
    if spec.task == "regression":
        expected = pipeline.predict(matrix)
        assert list(outputs) == ["prediction"]
        assert outputs["prediction"].shape == (len(matrix), 1)
        assert outputs["prediction"][:, 0] == pytest.approx(expected, rel=EXACT, abs=EXACT)
        return
    assert list(outputs) == ["label", "probabilities"]
    assert outputs["label"].tolist() == pipeline.predict(matrix).tolist()
    assert np.abs(outputs["probabilities"] - pipeline.predict_proba(matrix)).max() < EXACT


@pytest.mark.parametrize(
    ("task", "kind"),
    [
        *(("multiclass", kind) for kind in CLASSIFIERS),
        *(("binary", kind) for kind in CLASSIFIERS),
        *(("regression", kind) for kind in REGRESSORS),
    ],
)
def test_every_candidate_answers_the_same_on_every_task_and_kind_of_column(task: str, kind: str) -> None:
    spec = mixed_plan(task, kind)
    pipeline, matrix = fitted(spec, mixed_file(task=task))
    assert_same_answers(spec, pipeline, matrix)


@pytest.mark.parametrize(
    ("task", "kind", "settings"),
    [
        ("multiclass", "logistic_regression", {"class_weight": "balanced", "solver": "newton-cg"}),
        ("binary", "logistic_regression", {"solver": "liblinear", "fit_intercept": False}),
        ("multiclass", "random_forest", {"class_weight": "balanced", "criterion": "entropy", "bootstrap": False}),
        ("binary", "gradient_boosting", {"class_weight": "balanced", "early_stopping": True, "max_features": 0.5}),
        ("regression", "linear_regression", {"positive": True}),
        ("regression", "random_forest", {"criterion": "poisson", "max_depth": 4}),
        ("regression", "gradient_boosting", {"loss": "poisson"}),
        ("regression", "gradient_boosting", {"loss": "gamma"}),
        ("regression", "gradient_boosting", {"loss": "quantile", "quantile": 0.8}),
    ],
)
def test_settings_that_change_the_formula_are_answered_the_same(task: str, kind: str, settings: dict[str, Any]) -> None:
    spec = mixed_plan(task, kind, grid=SMALL[kind] | {name: [value] for name, value in settings.items()})
    pipeline, matrix = fitted(spec, mixed_file(task=task))
    assert_same_answers(spec, pipeline, matrix)


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_missing_unknown_and_impossible_values_are_answered_the_same(kind: str) -> None:
    spec = mixed_plan("multiclass", kind)
    pipeline, matrix = fitted(spec, mixed_file(task="multiclass"))
    odd = matrix[:12].copy()
    odd[:, 0] = [
        "", "2024-02-29", "2023-02-29", "2023-02-30", "2023-00-10", "01/02/2023", "2023-1-2", "2023-01-02T03:04",
        "2023-01-02-03", "yesterday", "-", "\u0662023-01-02",
    ]  # fmt: skip
    odd[1:4, 1] = [np.nan, 1e30, -1e-30]
    odd[4:7, 3] = ["violet", "", "RED"]
    odd[7:9, 4] = ["süd, 東", "no such shop"]
    assert_same_answers(spec, pipeline, odd)
    everything_missing = np.array([["", np.nan, np.nan, "", ""]], dtype=object)
    assert_same_answers(spec, pipeline, everything_missing)


def test_numbers_between_two_float32_values_fall_on_the_same_side_of_a_threshold() -> None:
    """The pipeline rounds to float32 as the endpoint does; 16777217 is the first integer that a float32 cannot hold."""
    rows = [[16_777_216 + step / 2, "low" if step < 40 else "high"] for step in range(80)]
    for kind in ("random_forest", "gradient_boosting"):
        spec = plan(target="y", features={"x": "number"}, task="binary", kinds=[kind])
        pipeline, matrix = fitted(spec, csv_file(["x", "y"], rows))
        assert_same_answers(spec, pipeline, matrix)


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_real_classes_are_answered_the_same_with_odd_column_names(kind: str) -> None:
    file, columns = iris()
    spec = plan(target="species", features=dict.fromkeys(columns, "number"), kinds=[kind])
    pipeline, matrix = fitted(spec, file)
    assert_same_answers(spec, pipeline, matrix)


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_real_binary_classes_written_as_0_and_1_are_answered_as_text(kind: str) -> None:
    file, columns = breast_cancer()
    spec = plan(target="benign", features=dict.fromkeys(columns, "number"), task="binary", kinds=[kind])
    pipeline, matrix = fitted(spec, file)
    assert_same_answers(spec, pipeline, matrix)
    session = ort.InferenceSession(to_onnx(spec, pipeline))
    assert set(session.run(["label"], feeds(spec, matrix))[0].tolist()) == {"0", "1"}


@pytest.mark.parametrize("kind", REGRESSORS)
def test_a_real_regression_is_answered_the_same(kind: str) -> None:
    file, columns = diabetes()
    spec = plan(
        target="progression", features=dict.fromkeys(columns, "number"), task="regression", metric="mae", kinds=[kind]
    )
    pipeline, matrix = fitted(spec, file)
    assert_same_answers(spec, pipeline, matrix)


@pytest.mark.parametrize(
    "features", [{"day": "date"}, {"colour": "category"}, {"size": "number"}, {"day": "date", "shop": "category"}]
)
def test_a_model_of_one_kind_of_column_is_answered_the_same(features: dict[str, str]) -> None:
    spec = plan(target="goal", features=features, kinds=["random_forest"])
    pipeline, matrix = fitted(spec, mixed_file(task="multiclass"))
    assert_same_answers(spec, pipeline, matrix)


def test_a_column_may_have_the_name_of_a_value_inside_the_graph() -> None:
    spec = mixed_plan("multiclass")
    pipeline, matrix = fitted(spec, mixed_file(task="multiclass"))
    model = onnx.load_from_string(to_onnx(spec, pipeline))
    inside = [name for node in model.graph.node for name in node.output if name not in {"label", "probabilities"}]
    assert len(inside) > 8
    features = spec.training.features
    for name in [*inside, *(constant.name for constant in model.graph.initializer)]:
        renamed = {name if old == "size" else old: kind for old, kind in features.items()}
        training = msgspec.structs.replace(spec.training, features=renamed)
        assert_same_answers(msgspec.structs.replace(spec, training=training), pipeline, matrix)


def test_two_dates_are_two_dates() -> None:
    draw = np.random.default_rng(3)
    days = [
        [str(np.datetime64("2024-01-01") + np.timedelta64(int(day), "D")) for day in draw.integers(366, size=2)]
        for _ in range(60)
    ]
    rows = [[*pair, "late" if pair[0][5:] < pair[1][5:] else "early"] for pair in days]
    spec = plan(target="kept", features={"due": "date", "done": "date"}, task="binary", kinds=["random_forest"])
    pipeline, matrix = fitted(spec, csv_file(["due", "done", "kept"], rows))
    assert_same_answers(spec, pipeline, matrix)


def test_a_column_without_a_value_in_the_training_rows_is_answered_the_same() -> None:
    """The file has a value in the column, but only in a row that is held out."""
    spec = plan(target="goal", features={"size": "number", "rare": "number"}, kinds=["logistic_regression"])
    matrix = np.array([[float(row), np.nan] for row in range(40)])
    target = np.array([("a", "b", "c")[row % 3] for row in range(40)], dtype=object)
    pipeline = fit(build(spec, "logistic_regression", {}), matrix, target)
    assert_same_answers(spec, pipeline, np.array([[3.0, np.nan], [4.0, 7.5]]))


def test_the_file_names_its_inputs_outputs_classes_and_kinds() -> None:
    spec = mixed_plan("multiclass")
    pipeline, _ = fitted(spec, mixed_file(task="multiclass"))
    session = ort.InferenceSession(to_onnx(spec, pipeline))
    described = signature.signature_of(session)
    assert described["inputs"] == [
        {"name": "day", "dtype": "string", "shape": [None, 1]},
        {"name": "size", "dtype": "float32", "shape": [None, 1]},
        {"name": "price", "dtype": "float32", "shape": [None, 1]},
        {"name": "colour", "dtype": "string", "shape": [None, 1]},
        {"name": "shop", "dtype": "string", "shape": [None, 1]},
    ]
    assert described["outputs"] == [
        {"name": "label", "dtype": "string", "shape": [None], "classes": None},
        {"name": "probabilities", "dtype": "float32", "shape": [None, 3], "classes": ["high", "low", "middle"]},
    ]
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["modelyard.task"] == "multiclass"
    assert json.loads(metadata["modelyard.features"])["day"] == "date"
    assert signature.CLASSES_KEY == export.CLASSES_KEY


def test_the_file_is_a_valid_model_without_external_data_or_foreign_operators() -> None:
    spec = mixed_plan("multiclass", "gradient_boosting")
    pipeline, _ = fitted(spec, mixed_file(task="multiclass"))
    model = onnx.load_from_string(to_onnx(spec, pipeline))
    onnx.checker.check_model(model, full_check=True)
    assert {opset.domain for opset in model.opset_import} == {"", "ai.onnx.ml"}
    assert all(node.domain in {"", "ai.onnx.ml"} for node in model.graph.node)


DIGEST = """
import hashlib, sys
from modelyard.training.trainer import train
from tests.fakes.training_data import weather, weather_plan
for kind in sys.argv[1:]:
    result = train(weather_plan(kinds=[kind]), weather(2012))
    print(hashlib.sha256(result.model).hexdigest(), hashlib.sha256(result.evaluation.to_json()).hexdigest())
"""


def test_equal_files_and_plan_give_equal_bytes_in_another_process() -> None:
    here = []
    for kind in CLASSIFIERS:
        result = train(weather_plan(kinds=[kind]), weather(2012))
        here += [hashlib.sha256(part).hexdigest() for part in (result.model, result.evaluation.to_json())]
    ran = subprocess.run(
        [sys.executable, "-c", DIGEST, *CLASSIFIERS],
        env={**os.environ, "PYTHONHASHSEED": "4711", "PYTHONPATH": "."},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.split() == here


def test_every_kind_of_candidate_is_tested_here() -> None:
    assert {*CLASSIFIERS, *REGRESSORS} == set(SMALL)


def test_parity_of_the_whole_hand_over_is_exact_on_the_weather() -> None:
    spec = weather_plan(kinds=["gradient_boosting"])
    result = train(spec, weather(2012, 2013))
    session = ort.InferenceSession(result.model)
    rows = result.evaluation.instances
    fed = {
        name: np.array([[row[name]] for row in rows], dtype=object if name == "date" else np.float32)
        for name in rows[0]
    }
    labels, probabilities = session.run(["label", "probabilities"], fed)
    classes = json.loads(session.get_modelmeta().custom_metadata_map["modelyard.classes"])
    answered = [
        {"label": label, "probabilities": dict(zip(classes, row, strict=True))}
        for label, row in zip(labels.tolist(), probabilities.tolist(), strict=True)
    ]
    assert compare(result.evaluation.predictions, answered, tolerance=EXACT).passed
