"""Forests on our own kernel: the bits of onnxruntime's operations, in both engines; and nothing hostile gets far."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from modelyard.compiling import kernel, packed_forest
from modelyard.compiling.forests import Trees, UnusualForestError, forests
from modelyard.compiling.loading import WEIGHTS
from modelyard.compiling.onnx_file import OnnxFile
from modelyard.compiling.packed_forest import as_packed_forest, packed
from modelyard.compiling.proving import Measure, same, session
from modelyard.compiling.sampling import Hints
from modelyard.compiling.zipmap import zipmap_classes
from modelyard.external_data import external_files
from modelyard.predictor.array import Array
from modelyard.predictor.arrays import from_numpy, to_numpy
from modelyard.predictor.lean import LeanEngine
from tests.fakes.hand_made_trees import ensemble
from tests.fakes.hostile_packed_forests import HOSTILE
from tests.fakes.native import forest_kernel
from tests.fakes.realistic_models import forest

ROWS = (1, 2, 3, 4, 5, 10, 100, 127, 129, 1000)
EDGES = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 3.4e38, -3.4e38, 1e-45] * 5, np.float32)


@pytest.fixture(autouse=True)
def _small_forests_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_forest, "SMALLEST", 1)


def tables(model: bytes, width: int) -> list[Any]:
    """Rows on the thresholds of a model, one step beside them, at every edge of float32, and elsewhere."""
    random = np.random.default_rng(11)
    found = [np.zeros(1, np.float32), *(values[:60] for values in Hints(model).thresholds.values())]
    thresholds = np.concatenate(found).astype(np.float32)
    beside = [np.nextafter(thresholds, np.float32(way)) for way in (-np.inf, np.inf)]
    values = np.concatenate((thresholds, *beside, EDGES))
    drawn = [random.choice(values, (rows, width)).astype(np.float32) for rows in ROWS]
    return [*drawn, *(random.standard_normal((rows, width)).astype(np.float32) for rows in ROWS)]


def equal(model: bytes, width: int = 3, folder: Path | None = None) -> bool:
    """Whether both engines, with our kernel, give what onnxruntime's own operation gives, to the bit."""
    library = forest_kernel()
    converted, _ = as_packed_forest(model, folder)
    assert not forests(OnnxFile(converted))
    weights = None if folder is None else str(folder)
    raw, standard = session(model), session(converted, kernel=library, weights=weights)
    options = None if weights is None else {"session.model_external_initializers_file_folder_path": weights}
    lean = LeanEngine(converted, kernel=library, options=options)
    for table in tables(model, width):
        expected = raw.run(None, {"x": table})
        if not same(expected, standard.run(None, {"x": table})):
            return False
        if not same(expected, [numbers(answer) for answer in lean.run([from_numpy(table)])]):
            return False
    return True


def numbers(answer: Array) -> Any:
    array = to_numpy(answer)
    return array.astype(object) if answer.dtype == "string" else array


TRAINED: dict[str, Any] = {
    "regression": {"kind": "RandomForestRegressor"},
    "regression, extra trees": {"kind": "ExtraTreesRegressor"},
    "boosted regression": {"kind": "GradientBoostingRegressor"},
    "boosted regression, missing values": {"kind": "HistGradientBoostingRegressor", "missing": True},
    "several targets": {"kind": "RandomForestRegressor", "targets": 3},
    "two classes": {"classes": 2},
    "two classes with names": {"classes": 2, "labels": ["no", "yes"]},
    "three classes": {},
    "three classes with names": {"labels": ["rain", "snow", "sun"]},
    "ten classes": {"classes": 10},
    "other numbers": {"labels": [7, -3, 1 << 40]},
    "extra trees, two classes": {"kind": "ExtraTreesClassifier", "classes": 2},
    "extra trees": {"kind": "ExtraTreesClassifier", "classes": 10},
    "boosting, two classes": {"kind": "GradientBoostingClassifier", "classes": 2},
    "boosting": {"kind": "GradientBoostingClassifier"},
    "boosting, ten classes": {"kind": "GradientBoostingClassifier", "classes": 10},
    "boosting by histogram, two classes": {
        "kind": "HistGradientBoostingClassifier", "classes": 2, "missing": True
    },
    "boosting by histogram": {"kind": "HistGradientBoostingClassifier", "missing": True},
    "boosting by histogram, ten classes": {"kind": "HistGradientBoostingClassifier", "classes": 10, "missing": True},
    "more trees than are walked at once": {"trees": 130},
    "bagging, a forest for each member": {"kind": "BaggingClassifier", "trees": 4},
    "isolation, forests of one tree": {"kind": "IsolationForest", "trees": 4},
    "one tree": {"trees": 1, "classes": 2},
    "opset 1": {"opset": 1},
}  # fmt: skip


@pytest.mark.parametrize("case", TRAINED)
def test_what_was_trained_answers_the_same_to_the_bit(case: str) -> None:
    assert equal(forest(**{"trees": 14, "rows": 300, "features": 3, **TRAINED[case]}))


@pytest.mark.parametrize("classes", [0, 2, 4])
def test_boosting_by_lightgbm_answers_the_same_to_the_bit(classes: int) -> None:
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    from modelyard.training import converters, lightgbm_trees

    random = np.random.default_rng(3)
    matrix = random.standard_normal((400, 3))
    matrix[random.random(matrix.shape) < 0.1] = np.nan
    signal = np.nan_to_num(matrix[:, 0]) + random.standard_normal(400) * 0.2
    names = np.array([f"class {number}" for number in range(classes)])
    if classes:
        signal = names[np.digitize(signal, np.quantile(signal, np.linspace(0, 1, classes + 1)[1:-1]))]
    fitted = (lightgbm_trees.classifier if classes else lightgbm_trees.regressor)(0).fit(matrix, signal)
    converters.register_lightgbm(fitted)
    model = to_onnx(
        fitted,
        initial_types=[("x", FloatTensorType([None, 3]))],
        options={"zipmap": False} if classes else None,
        target_opset={"": 17, "ai.onnx.ml": 3},
    )
    assert equal(model.SerializeToString())


@pytest.mark.parametrize("mode", ["LEQ", "LT", "GTE", "GT", "EQ", "NEQ"])
@pytest.mark.parametrize("tracks", [None, [1, 0, 0, 0, 0], [0, 0, 1, 0, 0], [2, 0, 1, 0, 0]])
def test_every_comparison_and_missing_values_go_the_same_way(mode: str, tracks: list[int] | None) -> None:
    tree = (0, mode, 0.5, {0: 1.0}, (2, mode, -0.5, {0: 2.0}, {0: 4.0}))
    assert equal(ensemble(tree, nodes_missing_value_tracks_true=tracks))


@pytest.mark.parametrize("aggregate", ["SUM", "AVERAGE"])
@pytest.mark.parametrize("base", [None, [0.1], [0.0], [-0.0]])
def test_aggregates_and_a_base_value_of_one_target(aggregate: str, base: list[float] | None) -> None:
    trees = [(n % 3, "LEQ", n / 10, {0: 0.1 * n - 1}, {0: -0.0}) for n in range(7)]
    assert equal(ensemble(*trees, aggregate_function=aggregate, base_values=base))


@pytest.mark.parametrize("aggregate", ["SUM", "AVERAGE"])
@pytest.mark.parametrize("base", [None, [0.3, -0.7, 5.0]])
@pytest.mark.parametrize("post", ["NONE", "SOFTMAX", "LOGISTIC"])
def test_several_targets_of_which_one_gets_no_number(aggregate: str, base: list[float] | None, post: str) -> None:
    trees = [
        (0, "LEQ", 0.0, {0: 0.1, 2: -1.5}, (1, "LEQ", 0.5, {2: 0.2}, {0: 1.0, 1: 0.25, 2: 3.0})),
        (2, "LEQ", 0.0, {2: 0.1}, {0: 0.7}),
    ]
    assert equal(ensemble(*trees, targets=3, aggregate_function=aggregate, base_values=base, post_transform=post))


CLASSES: dict[str, Any] = {
    "positive": [(n % 3, "LEQ", n / 10 - 0.2, {n % 3: 0.25}, {(n + 1) % 3: 0.5}) for n in range(9)],
    "below zero": [(n % 3, "LEQ", n / 10 - 0.2, {n % 2: -0.25}, {2: -0.5 + n / 4}) for n in range(9)],
    "several at a leaf": [(n % 3, "LEQ", 0.0, {0: 0.1, 1: 0.2, 2: 0.7}, {1: -0.5, 2: 0.0}) for n in range(3)],
    "ties": [(0, "LEQ", 0.0, {2: 0.5}, {0: 0.5}), (0, "LEQ", 0.0, {1: 0.5}, {0: 0.5})],
    "one leaf": [{1: 0.5}, {2: 0.5}, (0, "LEQ", 0.0, {0: 1.0}, {1: 0.25})],
}


@pytest.mark.parametrize("case", CLASSES)
@pytest.mark.parametrize("post", ["NONE", "SOFTMAX", "LOGISTIC"])
@pytest.mark.parametrize("base", [None, [0.5, 0.25, -0.125]])
@pytest.mark.parametrize("labels", [["a", "b", "c"], [5, 6, 4]])
def test_three_classes(case: str, post: str, base: list[float] | None, labels: Any) -> None:
    assert equal(ensemble(*CLASSES[case], classes=labels, post_transform=post, base_values=base))


def test_a_base_value_of_minus_zero_keeps_its_sign_only_where_no_number_is() -> None:
    trees = [(0, "LEQ", 0.0, {0: 1.0, 1: 0.0, 2: 2.0}, {0: 0.5, 1: 0.0, 2: 0.0})]
    assert equal(ensemble(*trees, classes=["a", "b", "c"], base_values=[0.0, -0.0, 0.25]))


PAIRS: dict[str, Any] = {
    "shares of the first": [(n % 3, "LEQ", 0.1 * n, {0: 0.25}, {0: 0.05}) for n in range(4)],
    "shares of the second": [(n % 3, "LEQ", 0.1 * n, {1: 0.25}, {1: 0.05}) for n in range(4)],
    "margins": [(n % 3, "LEQ", 0.1 * n, {0: 0.75}, {0: -0.5}) for n in range(4)],
    "margins of the second": [(n % 3, "LEQ", 0.1 * n, {1: 0.75}, {1: -0.5}) for n in range(4)],
    "both": [(n % 3, "LEQ", 0.1 * n, {0: 0.25, 1: 0.75}, {0: 0.5, 1: 0.5}) for n in range(4)],
    "one or the other": [(n % 3, "LEQ", 0.1 * n, {0: 0.25}, {1: 0.5}) for n in range(2)],
    "one or the other, below zero": [(n % 3, "LEQ", 0.1 * n, {0: -0.25}, {1: 0.5}) for n in range(2)],
    "zeros": [(0, "LEQ", 0.0, {0: 1.0, 1: 0.0}, {0: 0.0, 1: 1.0}), (1, "LEQ", 0.0, {0: 0.0}, {0: 0.0})],
    "exactly a half": [(0, "LEQ", 0.0, {0: 0.5}, {0: float(np.nextafter(np.float32(0.5), np.float32(1)))})],
}


@pytest.mark.parametrize("case", PAIRS)
@pytest.mark.parametrize("post", ["NONE", "SOFTMAX", "LOGISTIC"])
@pytest.mark.parametrize("base", [None, [0.25], [0.25, 0.5]])
@pytest.mark.parametrize("labels", [["no", "yes"], [7, 9]])
def test_two_classes_have_rules_of_their_own(case: str, post: str, base: list[float] | None, labels: Any) -> None:
    model = ensemble(*PAIRS[case], classes=labels, post_transform=post, base_values=base)
    if base is not None and len(base) == 1 and ("both" in case or "other" in case or case == "zeros"):
        with pytest.raises(UnusualForestError, match="1 base values"):
            as_packed_forest(model)
    else:
        assert equal(model)


def test_trees_in_another_order_than_their_numbers_and_nodes_in_another_than_their_trees() -> None:
    made = onnx.load_from_string(forest("RandomForestRegressor", trees=9, rows=200, features=3))
    (node,) = made.graph.node
    lists = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute if a.name.startswith("nodes_")}
    ids = np.array(lists["nodes_treeids"])
    for number, order in enumerate((np.argsort(-ids, kind="stable"), np.argsort(ids * 7 % 9, kind="stable"))):
        shuffled = onnx.ModelProto.FromString(made.SerializeToString())
        for attribute in shuffled.graph.node[0].attribute:
            if attribute.name in lists and number + 1:
                values = [lists[attribute.name][place] for place in order]
                attribute.CopyFrom(onnx.helper.make_attribute(attribute.name, values))
        assert equal(shuffled.SerializeToString())


def test_a_chain_as_deep_as_it_has_nodes() -> None:
    tree: Any = {0: 1.0}
    for depth in range(400):
        tree = (0, "LEQ", float(depth), {0: 2.0}, tree)
    assert equal(ensemble(tree))


def test_large_trees_lie_in_the_file_of_weights_behind_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed_forest, "LEAST_OUTSIDE", 1)
    (tmp_path / WEIGHTS).write_bytes(b"x" * 100)
    model = forest(trees=20, rows=300, features=3)
    assert equal(model, folder=tmp_path)
    converted, _ = as_packed_forest(model, tmp_path)
    ((name, end),) = external_files(converted)
    assert (name, end) == (WEIGHTS, (tmp_path / WEIGHTS).stat().st_size)


def test_labels_or_scores_that_nobody_reads_are_left_out() -> None:
    for kept in ("label", "scores"):
        made = onnx.load_from_string(ensemble(*CLASSES["positive"], classes=["a", "b", "c"]))
        outputs = [output for output in made.graph.output if output.name == kept]
        del made.graph.output[:]
        made.graph.output.extend(outputs)
        assert equal(made.SerializeToString())


STUMP = (0, "LEQ", 0.0, {0: 1.0}, {0: 2.0})
LEFT_ALONE: dict[str, Any] = {
    "two comparisons": (ensemble((0, "LEQ", 0.0, (1, "LT", 0.0, {0: 1.0}, {0: 2.0}), {0: 2.0})), "different ways"),
    "categories": (ensemble((0, "EQ", 3.0, {0: 1.0}, {0: 2.0})), "sets"),
    "the least": (ensemble(STUMP, aggregate_function="MIN"), "MIN"),
    "probit": (ensemble(STUMP, post_transform="PROBIT"), "PROBIT"),
    "softmax zero": (ensemble(STUMP, classes=["a", "b"], post_transform="SOFTMAX_ZERO"), "SOFTMAX_ZERO"),
    "a transform of one target": (ensemble(STUMP, post_transform="LOGISTIC"), "LOGISTIC"),
    "one class": (ensemble(STUMP, classes=["a"]), "1 outputs"),
    "base values for some": (ensemble(STUMP, classes=["a", "b", "c"], base_values=[0.5]), "base values"),
    "a leaf without a number": (ensemble((0, "LEQ", 0.0, {0: 1.0}, {})), "without a number"),
    "two numbers for one target": (
        ensemble((0, "LEQ", 0.0, {0: 1.0, 1: 1.0}, {0: 2.0, 1: 1.0}), changes={"target_ids": [0, 0, 0, 0]}),
        "several",
    ),
    "a target that is not there": (ensemble(STUMP, changes={"target_ids": [0, 4]}), "not there"),
    "a feature far away": (ensemble((1 << 12, "LEQ", 0.0, {0: 1.0}, {0: 2.0})), "feature"),
    "a feature before the first": (ensemble((-1, "LEQ", 0.0, {0: 1.0}, {0: 2.0})), "feature"),
    "two branches to one node": (ensemble(STUMP, changes={"nodes_falsenodeids": [1, 0, 0]}), "two branches"),
}


@pytest.mark.parametrize("case", LEFT_ALONE)
def test_what_it_does_not_run_like_onnxruntime_is_left_alone(case: str) -> None:
    model, said = LEFT_ALONE[case]
    with pytest.raises(UnusualForestError, match=said):
        as_packed_forest(model)


def test_a_small_forest_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_forest, "SMALLEST", 2000)
    with pytest.raises(UnusualForestError, match="3 nodes"):
        as_packed_forest(ensemble(STUMP))


def test_a_table_with_too_few_columns_is_refused_and_no_rows_are_none() -> None:
    model = ensemble((2, "LEQ", 0.0, {0: 1.0}, {0: 2.0}))
    made = onnx.load_from_string(model)
    made.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "columns"
    engine = session(as_packed_forest(made.SerializeToString())[0], kernel=forest_kernel())
    with pytest.raises(Exception, match="read 3 columns of a table; the input has 2, in 2 axes"):
        engine.run(None, {"x": np.zeros((1, 2), np.float32)})
    assert engine.run(None, {"x": np.zeros((1, 5), np.float32)})[0].tolist() == [[1.0]]
    assert engine.run(None, {"x": np.zeros((0, 3), np.float32)})[0].shape == (0, 1)


def test_no_library_is_found_by_another_name_nor_for_more_threads_than_it_is_proven_for() -> None:
    forest_kernel()
    assert kernel.find(kernel.FOREST) is not None
    assert kernel.find(kernel.FOREST, threads=2) is None
    assert kernel.find("") is None
    assert kernel.find("../x86_64/forest-1") is None


def test_the_operations_of_a_file_are_read_as_often_for_many_forests_as_for_two(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An isolation forest has one for each tree, between thousands of other operations."""
    read: list[int] = []
    nodes = OnnxFile.nodes
    monkeypatch.setattr(OnnxFile, "nodes", lambda file: read.append(1) or nodes(file))
    counts = []
    for trees in (2, 20):
        as_packed_forest(forest(kind="IsolationForest", trees=trees))
        counts.append(len(read))
        read.clear()
    assert counts[0] == counts[1]


def test_nothing_is_compared_with_a_library_that_was_cut_off(tmp_path: Path) -> None:
    """Loading it would end the process, and with it the other steps."""
    library = tmp_path / "forest-1.so"
    whole = Path(forest_kernel()).read_bytes()
    library.write_bytes(whole[: len(whole) // 2])
    model = forest(trees=2, rows=100, features=3)
    measure = Measure(model, [], seconds=10.0, columns=zipmap_classes(model))
    difference = measure.differs(as_packed_forest(model)[0], kernel=str(library))
    assert f"was cut off: {len(whole) // 2:,} bytes of {len(whole):,}" in str(difference)


def test_the_name_of_the_library_has_the_number_of_the_layout() -> None:
    assert f"forest-{packed_forest.LAYOUT}" == kernel.FOREST
    source = (Path(__file__).parents[2] / "layers" / "native" / "forest.c").read_text()
    assert f"LAYOUT = {packed_forest.LAYOUT}," in source


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_forest_is_refused_when_it_is_loaded_or_answers(name: str) -> None:
    """In a process of its own, which a read outside the tensors may end."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.fakes.hostile_packed_forests", forest_kernel(), name],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["said"].startswith(HOSTILE[name].said), ran.stdout


def test_every_word_of_a_forest_may_be_any_other() -> None:
    """Thousands of damaged forests: each is refused or answers, and the process lives."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.fakes.hostile_packed_forests", forest_kernel(), "--fuzz", "1500"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    outcome = json.loads(ran.stdout)
    assert outcome["refused"] > 100
    assert outcome["answered"] > 100


def test_a_hundred_thousand_runs_take_no_more_memory_than_a_thousand() -> None:
    trees = [(0, "LEQ", 0.0, {number: 1.0}, {0: 2.0}) for number in range(10)]
    model, _ = as_packed_forest(ensemble(*trees, classes=list(range(100))))
    engine = session(model, kernel=forest_kernel())
    one, many = np.zeros((1, 3), np.float32), np.zeros((128, 3), np.float32)  # whose marks are on the heap

    def run(times: int) -> int:
        for number in range(times):
            engine.run(["scores"], {"x": many if number % 50 == 0 else one})
            if number % 1000 == 0:
                session(model, kernel=forest_kernel())
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    before = run(1000)
    assert run(100_000) - before < 4 << 20


def test_packing_is_the_same_each_time() -> None:
    ((_, node),) = forests(OnnxFile(forest(trees=5, rows=100, features=3)))
    assert packed(Trees(node)).tobytes() == packed(Trees(node)).tobytes()
