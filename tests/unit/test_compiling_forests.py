"""Compact forests: the same labels and the same bits, and what is left alone because they would not be."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from modelyard.compiling import tree_ensemble
from modelyard.compiling.forests import UnusualForestError, without_zeros
from modelyard.compiling.onnx_file import OnnxFile
from modelyard.compiling.proving import same
from modelyard.compiling.sampling import Hints, generated
from modelyard.compiling.tree_ensemble import as_tree_ensemble
from tests.fakes.hand_made_trees import around, ensemble
from tests.fakes.realistic_models import forest


@pytest.fixture(autouse=True)
def _small_forests_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_ensemble, "SMALLEST", 1)


def session(model: bytes, threads: int = 1) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 4
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def equal(model: bytes, other: bytes, table: Any = None) -> bool:
    """Whether two models answer the same to the bit, on one thread and on two."""
    inputs = session(model).get_inputs()
    samples = [{"x": table}] if table is not None else [feeds for _, feeds in generated(inputs, Hints(model))]
    assert samples
    return all(
        same(one.run(None, feeds), two.run(None, feeds))
        for one, two in ((session(model, threads), session(other, threads)) for threads in (1, 2))
        for feeds in samples
    )


def kinds(model: bytes) -> list[str]:
    return [node.kind for _, node in OnnxFile(model).nodes()]


def weights(model: bytes) -> list[float]:
    (node,) = (node for node in onnx.load_from_string(model).graph.node if node.op_type.startswith("TreeEnsemble"))
    found = [attribute for attribute in node.attribute if attribute.name in ("class_weights", "target_weights")]
    return list(found[0].floats) if found else []


CONVERTED: dict[str, Any] = {
    "random forest": {},
    "two classes": {"classes": 2},
    "two classes with names": {"classes": 2, "labels": ["no", "yes"]},
    "names": {"labels": ["rain", "snow", "sun"]},
    "more trees than are added up at once": {"trees": 130},
    "two classes, many trees": {"trees": 130, "classes": 2},
    "extra trees": {"kind": "ExtraTreesClassifier"},
    "bagging, a forest for each member": {"kind": "BaggingClassifier", "trees": 4},
    "isolation, forests of one tree": {"kind": "IsolationForest", "trees": 4},
    "regression": {"kind": "RandomForestRegressor"},
    "boosted regression, with a base value": {"kind": "GradientBoostingRegressor"},
    "missing values": {"kind": "HistGradientBoostingRegressor", "missing": True},
    "opset 1": {"opset": 1},
}


@pytest.mark.parametrize("case", CONVERTED)
def test_a_forest_as_tree_ensemble_answers_the_same_to_the_bit(case: str) -> None:
    model = forest(**{"trees": 12, "rows": 300, "features": 3, **CONVERTED[case]})
    converted, note = as_tree_ensemble(model)
    assert "TreeEnsemble" in kinds(converted)
    assert not any(kind.startswith("TreeEnsemble") and kind != "TreeEnsemble" for kind in kinds(converted))
    assert "ai.onnx.ml 5" in note
    assert equal(model, converted)
    assert len(converted) < 0.6 * len(model)


def edges(model: bytes, width: int = 3) -> Any:
    """Rows of infinities, missing values, zeros of both signs, and thresholds with their neighbours."""
    thresholds = np.unique(np.concatenate(list(Hints(model).thresholds.values())))[:40].astype(np.float32)
    values = np.concatenate(
        (
            thresholds,
            np.nextafter(thresholds, np.float32(-np.inf)),
            np.nextafter(thresholds, np.float32(np.inf)),
            np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 3.4e38, -3.4e38, 1e-45] * 5, np.float32),
        )
    )
    return np.random.default_rng(11).choice(values, (600, width)).astype(np.float32)


@pytest.mark.parametrize("case", CONVERTED)
def test_what_lies_at_the_edge_takes_the_same_branch(case: str) -> None:
    model = forest(**{"trees": 12, "rows": 300, "features": 3, **CONVERTED[case]})
    table = edges(model)
    rows = [table[:size] for size in (1, 10, 51, 600)]
    assert all(equal(model, as_tree_ensemble(model)[0], some) for some in rows)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"classes": 2}, ["TreeEnsemble", "LinearClassifier"]),
        ({"classes": 2, "labels": ["no", "yes"]}, ["TreeEnsemble", "LinearClassifier"]),
        ({}, ["TreeEnsemble", "ArgMax"]),
        ({"kind": "RandomForestRegressor"}, ["TreeEnsemble"]),
        ({"kind": "GradientBoostingRegressor"}, ["TreeEnsemble", "Add"]),
    ],
)
def test_behind_the_trees_there_is_one_operation_at_most(settings: dict[str, Any], expected: list[str]) -> None:
    model = forest(**{"trees": 12, "rows": 300, "features": 3, **settings})
    found = kinds(as_tree_ensemble(model)[0])
    assert [kind for kind in found if kind not in ("Cast", "Identity", "Reshape")] == expected


COMPACT: dict[str, Any] = {
    "random forest": ({}, True),
    "impure leaves": ({"max_depth": 3}, True),
    "two classes": ({"classes": 2}, False),
    "float64": ({"wide": True}, True),
    "boosting with softmax": ({"kind": "GradientBoostingClassifier"}, False),
    "boosting with a logistic function": ({"kind": "GradientBoostingClassifier", "classes": 2}, False),
    "missing values": ({"kind": "HistGradientBoostingClassifier", "missing": True}, False),
    "several targets": ({"kind": "RandomForestRegressor", "targets": 3}, False),
    "boosting by AdaBoost": ({"kind": "AdaBoostClassifier"}, True),
}


@pytest.mark.parametrize("case", COMPACT)
def test_compact_trees_answer_the_same_to_the_bit(case: str) -> None:
    settings, drops = COMPACT[case]
    model = forest(**{"trees": 12, "rows": 300, "features": 3, **settings})
    compact, note = without_zeros(model)
    assert equal(model, compact)
    assert len(compact) < len(model)
    assert note.startswith("0 of") is not drops


def test_a_zero_that_decides_a_label_stays() -> None:
    """Without votes a class is no candidate; with a zero it wins over a class below zero."""
    model = ensemble((0, "LEQ", 0.0, {0: -1.0, 1: 0.0, 2: -2.0}, {2: 1.0}), classes=["a", "b", "c"])
    compact, _ = without_zeros(model)
    assert weights(compact) == weights(model)
    assert session(compact).run(None, {"x": np.zeros((1, 3), np.float32)})[0] == ["b"]
    with pytest.raises(UnusualForestError, match="below zero"):
        as_tree_ensemble(model)
    negative = ensemble((0, "LEQ", 0.0, {0: -1.0}, {2: 1.0}), classes=["a", "b", "c"])
    with pytest.raises(UnusualForestError, match="below zero"):
        as_tree_ensemble(negative)


def test_a_zero_that_is_all_the_votes_decides_the_label() -> None:
    model = ensemble((0, "LEQ", 0.0, {2: 0.0}, {0: 1.0}), classes=["a", "b", "c"])
    assert session(model).run(None, {"x": np.zeros((1, 3), np.float32)})[0] == ["c"]
    with pytest.raises(UnusualForestError, match="zeros alone"):
        as_tree_ensemble(model)


def test_a_leaf_of_zeros_alone_keeps_every_zero() -> None:
    model = ensemble((0, "LEQ", 0.0, {1: 0.0, 2: 0.0}, {0: 0.0, 2: 1.0}), classes=["a", "b", "c"])
    compact, _ = without_zeros(model)
    assert weights(compact) == weights(model)
    assert equal(model, compact)


def test_base_values_make_every_class_a_candidate_so_zeros_go() -> None:
    model = ensemble(
        (0, "LEQ", 0.0, {0: -1.0, 1: 0.0, 2: -2.0}, {2: 1.0}), classes=["a", "b", "c"], base_values=[0.5, 0.25, -0.125]
    )
    compact, _ = without_zeros(model)
    assert weights(compact) == [-1.0, -2.0, 1.0]
    assert equal(model, compact)
    with pytest.raises(UnusualForestError, match="base values"):
        as_tree_ensemble(ensemble((0, "LEQ", 0.0, {0: 1.0}, {2: 1.0}), classes=[0, 1, 2], base_values=[0.5, 0.25, 0.0]))


def test_of_two_classes_with_numbers_for_both_only_the_negative_loses_zeros() -> None:
    tree = (0, "LEQ", 0.0, {0: 1.0, 1: 0.0}, (1, "LEQ", 0.0, {0: 0.0, 1: 1.0}, {0: 0.25, 1: 0.75}))
    model = ensemble(tree, classes=["no", "yes"])
    compact, _ = without_zeros(model)
    assert weights(compact) == [1.0, 0.0, 1.0, 0.25, 0.75]
    assert equal(model, compact)
    with pytest.raises(UnusualForestError):
        as_tree_ensemble(model)


@pytest.mark.parametrize("base", [None, [0.5, 0.25], [0.0, 0.0]])
@pytest.mark.parametrize("other", [{0: 0.0, 1: 0.25}, {0: 0.5, 1: 0.25}])
def test_zeros_of_the_negative_class_stay_where_they_tell_two_columns_from_one_or_bring_a_base_value(
    base: list[float] | None, other: dict[int, float]
) -> None:
    model = ensemble((0, "LEQ", 0.0, {0: 0.0, 1: 0.75}, other), classes=[3, 7], base_values=base)
    compact, _ = without_zeros(model)
    assert equal(model, compact)
    assert (weights(compact) == weights(model)) is (base is not None or other[0] == 0)


def test_a_least_value_may_be_zero_so_it_stays() -> None:
    tree = (0, "LEQ", 0.0, {0: 0.0, 1: 1.0}, {0: 2.0, 1: 0.0})
    model = ensemble(tree, {0: 1.0, 1: 1.0}, targets=2, aggregate_function="MIN")
    compact, _ = without_zeros(model)
    assert weights(compact) == weights(model)
    summed, _ = without_zeros(ensemble(tree, {0: 1.0, 1: 1.0}, targets=2))
    assert weights(summed) == [1.0, 2.0, 1.0, 1.0]


@pytest.mark.parametrize("mode", ["LEQ", "LT", "GTE", "GT", "EQ", "NEQ"])
@pytest.mark.parametrize("tracks", [None, [1, 0, 0, 0, 0]])
def test_every_comparison_and_missing_values_go_the_same_way(mode: str, tracks: list[int] | None) -> None:
    tree = (0, mode, 0.5, {0: 1.0}, (2, "LT" if mode == "GT" else "GT", -0.5, {0: 2.0}, {0: 4.0}))
    model = ensemble(tree, nodes_missing_value_tracks_true=tracks)
    converted, _ = as_tree_ensemble(model)
    values = np.array([0.5, np.nextafter(np.float32(0.5), np.float32(1)), 0.25, -0.5, np.nan, np.inf], np.float32)
    table = np.stack(np.meshgrid(values, values, values), -1).reshape(-1, 3)
    assert equal(model, converted, table)
    assert equal(model, without_zeros(model)[0], table)


@pytest.mark.parametrize("aggregate", ["SUM", "AVERAGE", "MIN", "MAX"])
@pytest.mark.parametrize("base", [None, [0.1], [0.0]])
def test_every_aggregate_and_base_value_gives_the_same_bits(aggregate: str, base: list[float] | None) -> None:
    trees = [(n % 3, "LEQ", n / 10, {0: 0.1 * n - 1}, {0: 0.0}) for n in range(7)]
    model = ensemble(*trees, aggregate_function=aggregate, base_values=base)
    converted, _ = as_tree_ensemble(model)
    assert equal(model, converted)
    assert kinds(converted) == ["TreeEnsemble", *(["Add"] if base == [0.1] else [])]


def test_a_target_without_a_number_gets_no_base_value_so_its_zeros_stay() -> None:
    """onnxruntime 1.31 adds the base value only to targets that a leaf gave a number, were it a zero."""
    tree = (0, "LEQ", 0.0, {0: 0.1, 1: 0.0}, {0: 0.0, 1: 0.2})
    model = ensemble(tree, tree, targets=2, base_values=[0.3, -0.7])
    assert weights(without_zeros(model)[0]) == weights(model)
    assert weights(without_zeros(ensemble(tree, targets=2))[0]) == pytest.approx([0.1, 0.2])
    one_number = (0, "LEQ", 0.0, {0: 0.1}, {1: 0.2})
    with pytest.raises(UnusualForestError, match="several targets"):
        as_tree_ensemble(ensemble(one_number, targets=2, base_values=[0.3, -0.7]))
    plain = ensemble(one_number, one_number, targets=2)
    assert equal(plain, as_tree_ensemble(plain)[0])


def test_trees_of_one_leaf_and_roots_between_two_equal_ones_count_like_others() -> None:
    alike, other = (0, "LEQ", 0.0, {0: 5.0}, {0: 5.0}), (1, "LEQ", 0.0, {0: 1.0}, {0: 2.0})
    model = ensemble(alike, {0: 7.0}, other, {0: -3.0}, nodes_missing_value_tracks_true=[1, 0, 0, 0, 0, 0, 0, 0])
    converted, _ = as_tree_ensemble(model)
    assert session(converted).run(None, {"x": np.zeros((1, 3), np.float32)})[0].tolist() == [[10.0]]
    assert equal(model, converted)


def test_labels_that_nobody_reads_cost_nothing() -> None:
    made = onnx.load_from_string(ensemble((0, "LEQ", 0.0, {0: 1.0}, {2: 1.0}), classes=[0, 1, 2]))
    del made.graph.output[0]
    converted, _ = as_tree_ensemble(made.SerializeToString())
    assert kinds(converted) == ["TreeEnsemble"]


def test_ties_go_to_the_first_class_and_numbers_from_zero_need_no_table() -> None:
    tree = (0, "LEQ", 0.0, {2: 0.5}, {0: 0.5})
    model = ensemble(tree, (0, "LEQ", 0.0, {1: 0.5}, {0: 0.5}), classes=[0, 1, 2])
    converted, _ = as_tree_ensemble(model)
    assert kinds(converted) == ["TreeEnsemble", "ArgMax"]
    assert session(converted).run(None, {"x": np.zeros((1, 3), np.float32)})[0].tolist() == [1]
    assert equal(model, converted)


def test_a_half_is_the_negative_class() -> None:
    tree = (0, "LEQ", 0.0, {0: 0.5}, {0: np.nextafter(np.float32(0.5), np.float32(1))})
    model = ensemble(tree, (1, "LEQ", 0.0, {0: 0.0}, {0: 0.0}), classes=[7, 9])
    converted, _ = as_tree_ensemble(model)
    answers = session(converted).run(None, {"x": np.array([[0, 0, 0], [1, 0, 0]], np.float32)})
    assert answers[0].tolist() == [7, 9]
    assert equal(model, converted)


@pytest.mark.parametrize(("classes", "rows", "same_bits"), [(3, 5461, True), (3, 5462, False), (5, 1, False)])
def test_the_softmax_of_another_operation_is_another_one(classes: int, rows: int, same_bits: bool) -> None:
    """Why boosting is left alone. Where the bits are the same in all three cases, it need not be any more."""
    numbers = np.random.default_rng(4).standard_normal((7, classes)).tolist()
    trees = [(0, "LEQ", 0.1, {place: number}, {place: -number}) for row in numbers for place, number in enumerate(row)]
    labels = list(range(classes))
    forest_alone = ensemble(*trees, classes=labels, post_transform="SOFTMAX")
    sums, _ = as_tree_ensemble(ensemble(*trees, targets=classes))
    made = onnx.load_from_string(sums)
    linear = helper.make_node(
        "LinearClassifier", ["sum"], ["label", "scores"], domain="ai.onnx.ml", post_transform="SOFTMAX",
        coefficients=np.eye(classes).ravel(), intercepts=[0.0] * classes, classlabels_ints=labels,
    )  # fmt: skip
    made.graph.node[0].output[0] = "sum"
    made.graph.node.append(linear)
    table = np.random.default_rng(5).standard_normal((rows, 3)).astype(np.float32)
    one, other = (session(model).run(["scores"], {"x": table}) for model in (forest_alone, made.SerializeToString()))
    assert same(one, other) is same_bits
    assert np.allclose(one[0], other[0], atol=1e-6)


@pytest.mark.parametrize("read", ["label", "scores"])
def test_of_two_classes_one_output_may_be_all_that_is_read(read: str) -> None:
    made = onnx.load_from_string(ensemble(STUMP, (1, "LEQ", 0.5, {0: 0.25}, {0: 0.125}), classes=["no", "yes"]))
    kept = [output for output in made.graph.output if output.name == read]
    del made.graph.output[:]
    made.graph.output.extend(kept)
    model = made.SerializeToString()
    assert equal(model, as_tree_ensemble(model)[0])


STUMP = (0, "LEQ", 0.0, {0: 1.0}, {0: 2.0})
LEFT_ALONE: dict[str, Any] = {
    "a softmax": (ensemble(STUMP, classes=["a", "b", "c"], post_transform="SOFTMAX"), "SOFTMAX"),
    "a logistic function": (ensemble(STUMP, classes=["a", "b"], post_transform="LOGISTIC"), "LOGISTIC"),
    "two branches to one node": (ensemble(STUMP, changes={"nodes_falsenodeids": [1, 0, 0]}), "two branches"),
    "a branch to nowhere": (ensemble(STUMP, changes={"nodes_falsenodeids": [9, 0, 0]}), "no node"),
    "a circle": (
        ensemble((0, "LEQ", 0.0, {0: 1.0}, STUMP), changes={"nodes_falsenodeids": [2, 0, 2, 0, 0]}),
        "two branches",
    ),
    "a tree in two pieces": (
        ensemble(STUMP, STUMP, STUMP, changes={"nodes_treeids": [0, 0, 0, 1, 1, 1, 0, 0, 0]}),
        "one number",
    ),
    "two nodes with one number": (ensemble(STUMP, changes={"nodes_nodeids": [0, 1, 1]}), "one number"),
    "a mode that is not known": (ensemble(STUMP, changes={"nodes_modes": ["BRANCH_ALL", "LEAF", "LEAF"]}), "mode"),
    "lists of different lengths": (ensemble(STUMP, changes={"nodes_values": [0.0]}), "different lengths"),
    "no weights": (ensemble(STUMP, changes={"target_weights": None}), "missing"),
    "a target that is not there": (ensemble(STUMP, changes={"target_ids": [0, 4]}), "not there"),
    "float64 thresholds": (
        ensemble(
            STUMP,
            element=TensorProto.DOUBLE,
            changes={"nodes_values": None},
            nodes_values_as_tensor=helper.make_tensor("v", TensorProto.DOUBLE, [3], [0.1, 0.0, 0.0]),
        ),
        "precision",
    ),
    "tracks for some nodes": (ensemble(STUMP, nodes_missing_value_tracks_true=[1]), "tracks"),
    "no trees": (around([helper.make_node("Identity", ["x"], ["scores"])], None, 3), "0 nodes"),
}


@pytest.mark.parametrize("case", LEFT_ALONE)
def test_trees_that_are_no_trees_are_left_alone(case: str) -> None:
    model, said = LEFT_ALONE[case]
    with pytest.raises(UnusualForestError, match=said):
        as_tree_ensemble(model)


def test_an_operation_that_changed_with_the_opset_keeps_the_forest_as_it_is() -> None:
    made = onnx.load_from_string(ensemble(STUMP))
    made.graph.node.append(
        helper.make_node("LabelEncoder", ["words"], ["numbers"], domain="ai.onnx.ml", classes_strings=["a"])
    )
    made.opset_import[1].version = 1
    with pytest.raises(UnusualForestError, match="LabelEncoder"):
        as_tree_ensemble(made.SerializeToString())


def test_a_forest_beside_a_graph_in_a_node_is_left_alone() -> None:
    made = onnx.load_from_string(ensemble(STUMP))
    body = helper.make_graph([], "body", [], [])
    made.graph.node.append(helper.make_node("If", ["yes"], ["z"], then_branch=body, else_branch=body))
    with pytest.raises(UnusualForestError, match="inside If"):
        as_tree_ensemble(made.SerializeToString())


def test_a_small_forest_is_not_converted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_ensemble, "SMALLEST", 2000)
    with pytest.raises(UnusualForestError, match="3 nodes"):
        as_tree_ensemble(ensemble(STUMP))


def test_a_chain_as_deep_as_it_has_nodes_is_converted_without_recursion() -> None:
    tree: Any = {0: 1.0}
    for depth in range(400):
        tree = (0, "LEQ", float(depth), {0: 2.0}, tree)
    model = ensemble(tree)
    assert equal(model, as_tree_ensemble(model)[0])
