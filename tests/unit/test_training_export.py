"""The ONNX file answers as the fitted pipeline does, whatever the columns, the candidate and the task."""

import json
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxruntime as ort
import pytest

from modelyard.evaluation.parity import compare
from modelyard.predictor import signature
from modelyard.predictor.predictor import Predictor
from modelyard.training import export
from modelyard.training.export import to_onnx
from modelyard.training.pipeline import build, fit, gaps_of
from modelyard.training.plan import Plan
from modelyard.training.table import read_table
from modelyard.training.trainer import train
from tests.fakes.training_data import (
    SMALL,
    breast_cancer,
    csv_file,
    diabetes,
    divided,
    iris,
    plan,
    weather,
    weather_plan,
    whole,
)

CLASSIFIERS = ("logistic_regression", "random_forest", "gradient_boosting", "lightgbm", "neural_network")
REGRESSORS = ("linear_regression", "random_forest", "gradient_boosting", "lightgbm", "neural_network")
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
    matrix = reading.table.matrix()
    model = build(spec, candidate.kind, settings, gaps=gaps_of(spec, reading.table))
    return fit(model, matrix, reading.table.target), matrix


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


def test_every_kind_of_candidate_is_tested_here() -> None:
    assert {*CLASSIFIERS, *REGRESSORS} == set(SMALL)


def test_parity_of_the_whole_hand_over_is_exact_on_the_weather() -> None:
    spec = weather_plan(kinds=["gradient_boosting"])
    training, evaluation = divided(spec, weather(2012, 2013))
    result = train(spec, training, evaluation)
    predictor = Predictor.load(result.model)
    assert result.predictions is not None
    assert compare(result.predictions, predictor.predict(evaluation.instances()), tolerance=EXACT).passed


def test_a_category_with_many_values_shares_a_column_for_the_rare_ones() -> None:
    draw = np.random.default_rng(11)
    shops = [f"shop {int(number)}" for number in draw.zipf(1.3, size=900) if number < 2_000]
    rows = [[shop, "ab"[len(shop) % 2]] for shop in shops]
    spec = plan(target="y", features={"shop": "category"}, task="binary", kinds=["random_forest"])
    pipeline, matrix = fitted(spec, csv_file(["shop", "y"], rows))
    assert len(set(shops)) > 100
    columns = pipeline[:-1].transform(matrix)
    assert columns.shape[1] == 50
    assert (columns.sum(axis=1) == 1).all()
    unknown = np.array([["no such shop"], [""]], dtype=object)
    assert pipeline[:-1].transform(unknown)[:, -1].tolist() == [1.0, 1.0], "like the rare ones"
    assert_same_answers(spec, pipeline, np.vstack([matrix, unknown]))


def test_a_number_that_is_missing_in_training_has_a_column_that_says_so() -> None:
    spec = mixed_plan("multiclass", "logistic_regression")
    pipeline, matrix = fitted(spec, mixed_file(task="multiclass"))
    assert "missing" in dict(pipeline[0].named_transformers_)
    boosted, _ = fitted(mixed_plan("multiclass", "lightgbm"), mixed_file(task="multiclass"))
    assert "missing" not in dict(boosted[0].named_transformers_), "boosted trees know themselves"
    assert np.isnan(boosted[:-1].transform(matrix)).any()


@pytest.mark.parametrize(
    "settings",
    [{"alpha": 0.1}, {"alpha": 0.01, "l1_ratio": 1.0}, {"alpha": 0.1, "l1_ratio": 0.5, "fit_intercept": False}],
)
def test_a_shrunk_linear_model_is_scikit_learns_whatever_the_targets_unit(settings: dict[str, Any]) -> None:
    file, columns = diabetes()
    spec = plan(
        target="progression",
        features=dict.fromkeys(columns, "number"),
        task="regression",
        metric="rmse",
        kinds=["linear_regression"],
        grids={"linear_regression": {name: [value] for name, value in settings.items()}},
    )
    pipeline, matrix = fitted(spec, file)
    assert_same_answers(spec, pipeline, matrix)
    target = whole(spec, file).target
    in_thousands = fit(build(spec, "linear_regression", settings), matrix, target * 1000)
    assert in_thousands.predict(matrix) == pytest.approx(1000 * pipeline.predict(matrix), rel=1e-4)


def test_a_network_learns_a_target_of_any_unit() -> None:
    file, columns = diabetes()
    spec = plan(
        target="progression",
        features=dict.fromkeys(columns, "number"),
        task="regression",
        metric="rmse",
        kinds=["neural_network"],
    )
    table = whole(spec, file)
    for unit in (1e-3, 1e6):
        settings = {"width": 16, "max_iter": 100}
        pipeline = fit(build(spec, "neural_network", settings), table.matrix(), table.target * unit)
        left = np.std(pipeline.predict(table.matrix()) - table.target * unit)
        assert left < 0.8 * np.std(table.target * unit)
        assert_same_answers(spec, pipeline, table.matrix())
