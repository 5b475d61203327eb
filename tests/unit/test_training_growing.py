"""An ensemble that grew is the ensemble of that size, to the bit: what warm start may save, and nothing else."""

from typing import Any

import numpy as np
import pytest

from modelyard.training.export import to_onnx
from modelyard.training.pipeline import KINDS, build, estimator, features, fit, grown
from tests.fakes.training_data import diabetes, plan, weather, weather_plan, whole

LENGTHS = (3, 7, 20)


def prepared(task: str) -> tuple[Any, Any, Any]:
    if task == "regression":
        file, columns = diabetes()
        features_of = dict.fromkeys(columns, "number")
        spec = plan(target="progression", features=features_of, task=task, metric="rmse", kinds=["linear_regression"])
    else:
        file, spec = weather(2012)[0], weather_plan()
    table = whole(spec, file)
    return spec, table.matrix(), table.target


@pytest.mark.parametrize("task", ["multiclass", "regression"])
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("random_forest", {"max_features": 0.5, "min_samples_leaf": 3}),
        ("random_forest", {"bootstrap": False, "max_features": "sqrt"}),
        ("random_forest", {"max_samples": 0.7}),
        ("gradient_boosting", {"learning_rate": 0.3}),
        ("gradient_boosting", {"max_features": 0.5, "max_leaf_nodes": 6, "l2_regularization": 1.0}),
        ("lightgbm", {"num_leaves": 6, "subsample": 0.6, "subsample_freq": 2}),
        ("lightgbm", {"num_leaves": 31, "colsample_bytree": 0.5, "min_child_samples": 2, "learning_rate": 0.5}),
    ],
)
def test_growing_gives_the_model_that_training_from_scratch_gives(
    task: str, kind: str, settings: dict[str, Any]
) -> None:
    spec, matrix, target = prepared(task)
    steps = features(spec, KINDS[kind].preparation)
    columns = steps.fit_transform(matrix)
    growing = estimator(spec, kind, settings)
    for length in LENGTHS:
        growing = grown(growing, kind, length, columns, target)
        scratch = fit(build(spec, kind, settings | {str(KINDS[kind].along): length}), matrix, target)
        answer = "predict" if task == "regression" else "predict_proba"
        assert np.array_equal(getattr(growing, answer)(columns), getattr(scratch[-1], answer)(columns))
        scratch_file = to_onnx(spec, scratch)
        scratch.steps[-1] = ("estimator", growing)
        assert to_onnx(spec, scratch) == scratch_file
    assert len(scratch_file) > 500


@pytest.mark.parametrize("kind", ["random_forest", "gradient_boosting"])
def test_weighted_classes_grow_the_same_and_without_a_warning(kind: str) -> None:
    spec, matrix, target = prepared("multiclass")
    columns = features(spec, KINDS[kind].preparation).fit_transform(matrix)
    settings = {"class_weight": "balanced"}
    growing = grown(estimator(spec, kind, settings), kind, 4, columns, target)
    growing = grown(growing, kind, 9, columns, target)
    scratch = grown(estimator(spec, kind, settings), kind, 9, columns, target)
    assert np.array_equal(growing.predict_proba(columns), scratch.predict_proba(columns))


def test_what_ends_elsewhere_when_it_begins_elsewhere_does_not_grow() -> None:
    assert {kind for kind, entry in KINDS.items() if entry.along is None} == {
        "logistic_regression",
        "linear_regression",
        "neural_network",
    }
