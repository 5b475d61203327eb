"""LightGBM loads where the system has no OpenMP library, and its trees answer the same in ONNX."""

import os
import shutil
import subprocess
import sys
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from modelyard.training import converters
from modelyard.training.export import to_onnx
from modelyard.training.pipeline import build, fit
from modelyard.training.plan import Plan
from tests.fakes.training_data import plan

LOAD = """
import sys
sys.path.insert(0, sys.argv[1])
try:
    import lightgbm
except OSError as error:
    print("alone:", error)
from modelyard.training import lightgbm_trees
import numpy as np
fitted = lightgbm_trees.classifier(0).fit(np.arange(80.0).reshape(-1, 1), np.repeat(["a", "b"], 40))
print("then:", fitted.predict(np.array([[1.0], [79.0]])).tolist())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the wheels of other systems bring or find OpenMP another way")
def test_it_loads_where_the_system_has_no_openmp_library(tmp_path: Path) -> None:
    """A copy of LightGBM that asks for ``libgomp.so.7``, which no system has."""
    found = util.find_spec("lightgbm")
    assert found is not None
    assert found.origin is not None
    copy = tmp_path / "lightgbm"
    shutil.copytree(Path(found.origin).parent, copy)
    library = copy / "lib" / "lib_lightgbm.so"
    content = library.read_bytes()
    assert content.count(b"libgomp.so.1\0") >= 1
    library.write_bytes(content.replace(b"libgomp.so.1\0", b"libgomp.so.7\0"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    ran = subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path)], env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    alone, then = ran.stdout.splitlines()
    assert alone.startswith("alone: libgomp.so.7: cannot open shared object file")
    assert then == "then: ['a', 'b']"


def numbers_plan(task: str, columns: int) -> Plan:
    features = dict.fromkeys([f"x{at}" for at in range(columns)], "number")
    metric, kinds = ("rmse", ["linear_regression"]) if task == "regression" else ("log_loss", ["logistic_regression"])
    return plan(target="y", features=features, task=task, metric=metric, kinds=kinds)


def onnx_answers(spec: Plan, pipeline: Any, matrix: Any) -> Any:
    session = ort.InferenceSession(to_onnx(spec, pipeline))
    feeds = {name: matrix[:, [at]].astype(np.float32) for at, name in enumerate(spec.training.features)}
    return session.run(None, feeds)[-1]


@pytest.mark.parametrize("task", ["regression", "binary", "multiclass"])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_every_side_of_every_threshold_is_the_same(task: str, missing: float) -> None:
    """Rows on, just below and just above each threshold, and missing ones, with missing in training and without."""
    draw = np.random.default_rng(5)
    matrix = np.column_stack([draw.normal(size=600), draw.integers(-3, 4, 600), 1e6 + draw.normal(size=600)])
    matrix[draw.random(matrix.shape) < missing] = np.nan
    score = np.nan_to_num(matrix[:, 0]) + np.abs(np.nan_to_num(matrix[:, 1])) + np.isnan(matrix[:, 2])
    target: Any = score * 1000 if task == "regression" else np.digitize(score, [1] if task == "binary" else [1, 3])
    target = target if task == "regression" else target.astype(str).astype(object)
    spec = numbers_plan(task, 3)
    pipeline = fit(build(spec, "lightgbm", {"n_estimators": 60, "min_child_samples": 3}), matrix, target)
    rows = [row for tree in pipeline[-1].booster_.dump_model()["tree_info"] for row in near(tree["tree_structure"])]
    odd = np.vstack([np.array(rows), np.full((1, 3), np.nan), np.zeros((1, 3)), np.full((1, 3), -0.0)])
    assert len(odd) > 1000
    expected = pipeline.predict(odd)[:, None] if task == "regression" else pipeline.predict_proba(odd)
    assert onnx_answers(spec, pipeline, odd) == pytest.approx(expected, rel=1e-5, abs=2e-6)


def near(node: dict[str, Any]) -> list[list[float]]:
    """Rows that differ in the one feature by which a node divides."""
    if "leaf_value" in node:
        return []
    at, threshold = node["split_feature"], np.float32(min(node["threshold"], 3e38))
    rows = []
    for value in (threshold, np.nextafter(threshold, np.float32(-np.inf)), np.nextafter(threshold, np.float32(np.inf))):
        row = [0.1, 1.0, 1e6]
        row[at] = float(value)
        rows.append(row)
    return [*rows, *near(node["left_child"]), *near(node["right_child"])]


def test_a_tree_that_is_one_leaf_is_converted() -> None:
    matrix, target = np.ones((40, 1)), np.linspace(0, 1, 40)
    spec = numbers_plan("regression", 1)
    pipeline = fit(build(spec, "lightgbm", {"n_estimators": 3}), matrix, target)
    assert onnx_answers(spec, pipeline, matrix[:2]) == pytest.approx(np.full((2, 1), 0.5))


def test_a_threshold_is_rounded_down_to_float32() -> None:
    for threshold in (16_777_217.0, 0.1, -0.1, 1e-34, 5.0):
        rounded = converters.rounded_down(threshold)
        assert rounded <= threshold
        assert rounded == float(np.float32(rounded))
        assert float(np.nextafter(np.float32(rounded), np.float32(np.inf))) > threshold
    assert converters.rounded_down(1e300) == float(np.finfo(np.float32).max), "every number is below LightGBM's 1e300"


def test_a_round_that_finds_no_split_changes_nothing_about_the_rounds_to_come() -> None:
    draw = np.random.default_rng(2)
    matrix, target = draw.normal(size=(60, 2)), draw.normal(size=60)
    spec = numbers_plan("regression", 2)
    settings = {"min_split_gain": 3.0, "subsample": 0.5, "subsample_freq": 1, "min_child_samples": 5}
    from modelyard.training.pipeline import estimator, grown

    growing = estimator(spec, "lightgbm", settings)
    for length in (5, 30, 90):
        growing = grown(growing, "lightgbm", length, matrix, target)
    scratch = grown(estimator(spec, "lightgbm", settings), "lightgbm", 90, matrix, target)
    assert growing.booster_.model_to_string() == scratch.booster_.model_to_string()
