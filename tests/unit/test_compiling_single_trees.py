"""Ensembles written tree by tree become one forest: the same bits, and what is left alone because they would not be."""

from collections import Counter
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelyard.compiling import packed_forest, single_trees, tree_ensemble
from modelyard.compiling.forests import UnusualForestError, without_zeros
from modelyard.compiling.leaves import by_row
from modelyard.compiling.onnx_file import OnnxFile
from modelyard.compiling.packed_forest import as_packed_forest
from modelyard.compiling.proving import same, session
from modelyard.compiling.sampling import Hints, generated
from modelyard.compiling.single_trees import LEAST, as_one_forest
from modelyard.compiling.tree_ensemble import as_tree_ensemble
from tests.fakes.hand_made_trees import around
from tests.fakes.native import forest_kernel
from tests.fakes.realistic_models import forest

WRITTEN_TREE_BY_TREE: dict[str, dict[str, Any]] = {
    "isolation": {"kind": "IsolationForest"},
    "bagging": {"kind": "BaggingClassifier"},
    "bagging of two classes": {"kind": "BaggingClassifier", "classes": 2},
    "bagging of some columns": {"kind": "BaggingRegressor", "max_features": 0.7},
    "bagging of a regression": {"kind": "BaggingRegressor"},
    "AdaBoost": {"kind": "AdaBoostClassifier", "depth": 4},
    "AdaBoost of two classes with names": {"kind": "AdaBoostClassifier", "labels": ["no", "yes"], "classes": 2},
    "AdaBoost of a regression": {"kind": "AdaBoostRegressor", "depth": 4},
    "trees of one leaf": {"kind": "IsolationForest", "max_samples": 1},
}


def written(case: str, trees: int = 12) -> bytes:
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    settings = {"trees": trees, "rows": 300, "features": 3, **WRITTEN_TREE_BY_TREE[case]}
    depth = settings.pop("depth", None)
    if depth:
        kind = DecisionTreeClassifier if settings["kind"].endswith("Classifier") else DecisionTreeRegressor
        settings["estimator"] = kind(max_depth=depth)
    return forest(**settings)


def joined(model: bytes) -> bytes:
    found = as_one_forest(model)
    assert found is not None
    return found[0]


def answers_like(model: bytes, other: bytes, *, kernel: str | None = None) -> bool:
    """Whether two models answer the same to the bit on all that a compilation would try."""
    sample = [feeds for _, feeds in generated(session(model).get_inputs(), Hints(model))]
    assert len(sample) > 10
    return all(
        same(one.run(None, feeds), two.run(None, feeds))
        for one, two in (
            (session(model, threads=threads), session(other, threads=threads, kernel=kernel))
            for threads in ((1,) if kernel else (1, 2))
        )
        for feeds in sample
    )


def kinds(model: bytes) -> Counter[str]:
    return Counter(node.kind for _, node in OnnxFile(model).nodes())


@pytest.mark.parametrize("case", WRITTEN_TREE_BY_TREE)
def test_trees_apart_become_one_forest_that_answers_the_same_to_the_bit(case: str) -> None:
    model = written(case)
    assert kinds(model)["TreeEnsembleRegressor"] + kinds(model)["TreeEnsembleClassifier"] == 12
    one = joined(model)
    assert kinds(one)["TreeEnsembleRegressor"] == 1
    assert not kinds(one)["TreeEnsembleClassifier"]
    assert kinds(one).total() < 25 + 8 * kinds(one)["Log"]  # and 7 behind each
    assert answers_like(model, one)


@pytest.mark.parametrize("case", WRITTEN_TREE_BY_TREE)
def test_the_one_forest_goes_the_ways_of_other_forests(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_ensemble, "SMALLEST", 1)
    monkeypatch.setattr(packed_forest, "SMALLEST", 1)
    model = written(case)
    one = joined(model)
    assert answers_like(model, without_zeros(one)[0])
    assert answers_like(model, as_packed_forest(one)[0], kernel=forest_kernel())
    if ("AdaBoost" in case and "regression" not in case) or kinds(one)["Log"]:
        with pytest.raises(UnusualForestError, match="leaves with more numbers than one"):
            as_tree_ensemble(one)
    else:
        assert answers_like(model, as_tree_ensemble(one)[0])


@pytest.mark.parametrize("opset", [11, 12, 13, 18])
def test_in_every_version_of_split(opset: int) -> None:
    from skl2onnx import to_onnx
    from sklearn.ensemble import IsolationForest

    table = np.random.default_rng(3).standard_normal((300, 3)).astype(np.float32)
    fitted = IsolationForest(n_estimators=12, random_state=0).fit(table)
    model = to_onnx(fitted, table[:1], target_opset={"": opset, "ai.onnx.ml": 3}).SerializeToString()
    assert kinds(joined(model))["Split"] == 1
    assert answers_like(model, joined(model))


@pytest.mark.parametrize("dtype", [np.int64, np.int32])
def test_trees_of_a_table_of_whole_numbers(dtype: Any) -> None:
    """A regressor takes none; as float32, as a classifier takes them, some above 2 ** 24 are their neighbours."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import Int64TensorType
    from sklearn.ensemble import BaggingClassifier

    table = np.random.default_rng(3).integers(-40, 40, (400, 3)) + (1 << 25)
    fitted = BaggingClassifier(n_estimators=12, random_state=0).fit(table, table.sum(axis=1) % 3)
    types = [("x", Int64TensorType([None, 3]))]
    made = to_onnx(fitted, initial_types=types, target_opset=15, options={"zipmap": False})
    made.graph.input[0].type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    model = made.SerializeToString()
    assert kinds(model)["TreeEnsembleClassifier"] == 12
    assert kinds(joined(model))["TreeEnsembleRegressor"] == 1
    for threads in (1, 2):
        raw, one = session(model, threads=threads), session(joined(model), threads=threads)
        for rows in (1, 7, 400):
            assert same(
                raw.run(None, {"x": table[:rows].astype(dtype)}), one.run(None, {"x": table[:rows].astype(dtype)})
            )


def test_the_same_bytes_come_out_again() -> None:
    model = written("AdaBoost")
    assert joined(model) == joined(model)


def test_few_trees_and_ordinary_forests_are_none_of_this() -> None:
    assert as_one_forest(written("isolation", trees=LEAST - 1)) is None
    assert as_one_forest(forest(trees=20, rows=100, features=3)) is None


def by_hand(
    behind: list[Any], *, constants: dict[str, Any] | None = None, leaves: tuple[float, float] = (1.5, 2.5)
) -> bytes:
    """Twelve stumps ``tree0`` to ``tree11`` on three columns, and operations on them that end in ``scores``."""
    nodes = [
        helper.make_node(
            "TreeEnsembleRegressor",
            ["x"],
            [f"tree{number}"],
            domain="ai.onnx.ml",
            n_targets=1,
            nodes_treeids=[7, 7, 7],
            nodes_nodeids=[0, 1, 2],
            nodes_featureids=[number % 3, 0, 0],
            nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
            nodes_values=[number / 10, 0.0, 0.0],
            nodes_truenodeids=[1, 0, 0],
            nodes_falsenodeids=[2, 0, 0],
            target_treeids=[7, 7],
            target_nodeids=[1, 2],
            target_ids=[0, 0],
            target_weights=[leaves[0] * (number + 1), leaves[1]],
        )
        for number in range(12)
    ]
    return around([*nodes, *behind], None, 1, constants=constants)


TREES = [f"tree{number}" for number in range(12)]


def each(kind: str, *inputs: str, **attributes: Any) -> list[Any]:
    return [helper.make_node(kind, [tree, *inputs], [f"{tree}/after"], **attributes) for tree in TREES]


AFTER = [f"{tree}/after" for tree in TREES]
SUM = [helper.make_node("Sum", AFTER, ["scores"])]
SUM_OF_TREES = [helper.make_node("Sum", TREES, ["scores"])]
ONE = {"one": np.array([1.0], np.float32)}


@pytest.mark.parametrize(
    ("behind", "constants", "expected"),
    [
        ([helper.make_node("Sum", TREES, ["scores"])], {}, {"Split": 1, "Sum": 1}),
        ([helper.make_node("Sum", TREES[::-1], ["scores"])], {}, {"Split": 1, "Sum": 1}),
        ([*each("Exp"), *SUM], {}, {"Split": 1, "Sum": 1}),
        ([*each("Add", "one"), *SUM], ONE, {"Split": 1, "Sum": 1}),
        ([*each("Identity"), helper.make_node("Concat", AFTER[::-1], ["scores"], axis=1)], {}, {"Identity": 1}),
        ([*each("Identity"), helper.make_node("Concat", AFTER, ["scores"], axis=-1)], {}, {"Identity": 1}),
        # One of them is used twice: by its own name too.
        ([*each("Exp"), *SUM[:0], helper.make_node("Sum", [*AFTER, TREES[3]], ["scores"])], {}, {"Split": 1, "Sum": 1}),
        # Of another tree's result: a product of two is of neither alone.
        (
            [helper.make_node("Mul", TREES[:2], ["two"]), helper.make_node("Sum", ["two", *TREES[2:]], ["scores"])],
            {},
            {"Split": 1, "Mul": 1, "Sum": 1},
        ),
        # CumSum goes over rows, so it stays for each tree.
        ([*each("CumSum", "axis"), *SUM], {"axis": np.array(0)}, {"Split": 1, "CumSum": 12, "Sum": 1}),
    ],
)
def test_what_follows_one_tree_alone_goes_into_its_leaves(
    behind: list[Any], constants: dict[str, Any], expected: dict[str, int]
) -> None:
    model = by_hand(behind, constants=constants)
    one = joined(model)
    assert kinds(one) == Counter({"TreeEnsembleRegressor": 1} | expected)
    assert answers_like(model, one)


@pytest.mark.parametrize(
    ("behind", "constants", "leaves", "reason"),
    [
        (
            [
                *each("Cast", to=TensorProto.INT64),
                helper.make_node("Concat", AFTER, ["whole"], axis=1),
                helper.make_node("Cast", ["whole"], ["scores"], to=TensorProto.FLOAT),
            ],
            {},
            (1.5, 2.5),
            "is int64",
        ),
    ],
)
def test_what_a_sum_of_numbers_cannot_give_stays_as_it_is(
    behind: list[Any], constants: dict[str, Any], leaves: tuple[float, float], reason: str
) -> None:
    with pytest.raises(UnusualForestError, match=reason):
        as_one_forest(by_hand(behind, constants=constants, leaves=leaves))


def test_a_zero_below_zero_which_a_sum_does_not_keep_is_still_made_of_the_leaf() -> None:
    model = by_hand([*each("Neg"), *SUM], leaves=(0.0, 1.0))
    one = joined(model)
    assert kinds(one) == {"TreeEnsembleRegressor": 1, "Split": 1, "Neg": 12, "Sum": 1}
    assert answers_like(model, one)


def test_a_logarithm_that_is_another_one_at_the_end_of_a_batch_stays_an_operation() -> None:
    """onnxruntime computes four at a time and the last three one by one: of 7, another last bit on x86."""
    model = by_hand([*each("Log"), *SUM], leaves=(7.0, 2.5))
    one = joined(model)
    log = session(around([helper.make_node("Log", ["x"], ["scores"])], None, 3))
    leaf = np.full((1, 3), 7.0, np.float32) * np.arange(1, 13, dtype=np.float32)[:, None]
    (among_others,) = log.run(None, {"x": leaf})
    alone = np.concatenate([log.run(None, {"x": row[None]})[0] for row in leaf])
    assert kinds(one)["Log"] == (among_others != alone).any(axis=1).sum()
    raw, edited = session(model), session(one)
    table = np.where(np.random.default_rng(1).random((200, 3)) < 0.5, -9, 9).astype(np.float32)
    for rows in range(1, 20):
        feeds = {"x": table[:rows]}
        assert same(raw.run(None, feeds), edited.run(None, feeds))


def test_an_isolation_forest_answers_every_single_row_the_same() -> None:
    model = written("isolation", trees=100)
    raw, edited = session(model), session(joined(model))
    assert kinds(joined(model)).total() < 150
    for row in (np.random.default_rng(4).integers(-9, 10, (3000, 1, 3)) / 4).astype(np.float32):
        assert same(raw.run(None, {"x": row}), edited.run(None, {"x": row}))


def test_operations_by_row() -> None:
    """Along axis 1 alone, and of the two domains that say what they do."""

    def is_by_row(kind: str, domain: str = "", **attributes: Any) -> bool:
        made = helper.make_node(kind, ["x"], ["y"], domain=domain, **attributes)
        model = around([made], None, 1)
        (node,) = (node for _, node in OnnxFile(model).nodes())
        return by_row(node)

    assert is_by_row("Log")
    assert is_by_row("ArgMax", axis=1)
    assert not is_by_row("ArgMax", axis=0)
    assert not is_by_row("ArgMax")
    assert not is_by_row("CumSum")
    assert not is_by_row("Log", domain="com.example")
    assert is_by_row("LabelEncoder", domain="ai.onnx.ml")
    assert not is_by_row("Normalizer", domain="ai.onnx.ml")


def test_a_graph_inside_a_node_may_use_anything_so_nothing_is_moved() -> None:
    inner = helper.make_graph(
        [helper.make_node("Identity", ["tree3"], ["y"])], "inner", [], [helper.make_tensor_value_info("y", 1, None)]
    )
    chosen = helper.make_node("If", ["yes"], ["chosen"], then_branch=inner, else_branch=inner)
    model = by_hand(
        [chosen, helper.make_node("Sum", [*TREES, "chosen"], ["scores"])], constants={"yes": np.array(True)}
    )
    with pytest.raises(UnusualForestError, match="a graph inside a node"):
        as_one_forest(model)


def test_the_whole_graph_is_looked_through_as_often_for_many_trees_as_for_few(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: Counter[int] = Counter()
    users = single_trees._Graph.users

    def counted(graph: single_trees._Graph) -> dict[str, list[int]]:
        looked[trees] += 1
        return users(graph)

    monkeypatch.setattr(single_trees._Graph, "users", counted)
    for trees in (10, 40):
        joined(written("isolation", trees=trees))
    assert looked[10] == looked[40]


def changed(change: Any, behind: list[Any], **constants: Any) -> bytes:
    """Those of `by_hand`, with something done to the model."""
    model = onnx.load_from_string(by_hand(behind, constants=constants))
    change(model)
    made: bytes = model.SerializeToString()
    return made


def test_the_feature_of_a_leaf_is_never_read() -> None:
    """scikit-learn has -2 there."""

    def one_column(model: onnx.ModelProto) -> None:
        for number, node in enumerate(list(model.graph.node)[:12]):
            node.input[0] = f"column{number}"
            (features,) = (attribute for attribute in node.attribute if attribute.name == "nodes_featureids")
            features.ints[:] = [0, -2, -2]
            model.graph.node.insert(0, helper.make_node("Gather", ["x", "second"], [node.input[0]], axis=1))

    model = changed(one_column, SUM_OF_TREES, second=np.array([1]))
    assert kinds(joined(model)) == {"TreeEnsembleRegressor": 1, "Split": 1, "Sum": 1}
    assert answers_like(model, joined(model))


@pytest.mark.parametrize(("domain", "version"), [("ai.onnx", 11), ("ai.onnx", 17), (None, None)])
def test_the_version_of_split_where_the_file_names_its_domain_in_full_or_not_at_all(
    domain: str | None, version: int | None
) -> None:
    def other_opset(model: onnx.ModelProto) -> None:
        del model.opset_import[0]
        if domain is not None:
            model.opset_import.append(helper.make_opsetid(domain, version))

    model = changed(other_opset, SUM_OF_TREES)
    assert answers_like(model, joined(model))


def test_a_constant_with_the_shape_of_another_trees_answer_stays_what_it_is() -> None:
    def first_has_two_targets(model: onnx.ModelProto) -> None:
        lists = {attribute.name: attribute for attribute in model.graph.node[0].attribute}
        lists["n_targets"].i = 2
        for name, numbers in {"treeids": [7] * 4, "nodeids": [1, 1, 2, 2], "ids": [0, 1, 0, 1]}.items():
            lists[f"target_{name}"].ints[:] = numbers
        lists["target_weights"].floats[:] = [1.0, 2.0, 3.0, 4.0]

    behind = [
        helper.make_node("Shape", [TREES[0]], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        *each("Add", "zeros"),
        *(helper.make_node("ReduceSum", [name, "columns"], [f"{name}/sum"]) for name in AFTER),
        helper.make_node("Sum", [f"{name}/sum" for name in AFTER], ["scores"]),
    ]
    with pytest.raises(UnusualForestError, match="the shape of something that another tree does not give"):
        as_one_forest(changed(first_has_two_targets, behind, columns=np.array([1])))


def test_weights_of_branches_decide_what_a_classifier_says_so_they_stay() -> None:
    def with_weights_of_the_root(model: onnx.ModelProto) -> None:
        for node in list(model.graph.node)[:12]:
            node.op_type = "TreeEnsembleClassifier"
            node.output[:] = ["", node.output[0]]
            lists = {attribute.name: attribute for attribute in node.attribute}
            for name, numbers in {"treeids": [7] * 3, "nodeids": [1, 2, 0], "ids": [0, 0, 1]}.items():
                lists[f"target_{name}"].ints[:] = numbers
            lists["target_weights"].floats[:] = [0.2, 0.7, -3.0]
            for name in ("treeids", "nodeids", "ids", "weights"):
                lists[f"target_{name}"].name = f"class_{name}"
            node.attribute.remove(lists["n_targets"])
            node.attribute.append(helper.make_attribute("classlabels_int64s", [0, 1]))

    with pytest.raises(UnusualForestError, match="weights of branches"):
        as_one_forest(changed(with_weights_of_the_root, [helper.make_node("Sum", TREES, ["scores"])]))


def test_the_first_row_of_a_kind_is_looked_for_among_all_rows() -> None:
    """A constant with three axes makes rows columns; from the sixtieth row on it shows, in which no sample has it."""
    each_tree = [
        (
            helper.make_node("Add", [tree, "lift"], [f"{tree}/lifted"]),
            helper.make_node("ArgMax", [f"{tree}/lifted"], [f"{tree}/row"], axis=1),
            helper.make_node("Greater", [f"{tree}/row", "late"], [f"{tree}/late"]),
            helper.make_node("Cast", [f"{tree}/late"], [f"{tree}/number"], to=TensorProto.FLOAT),
            helper.make_node("Add", [tree, f"{tree}/number"], [f"{tree}/sum"]),
            helper.make_node("Reshape", [f"{tree}/sum", "column"], [f"{tree}/after"]),
        )
        for tree in TREES
    ]
    constants = {"lift": np.zeros((1, 1, 1), np.float32), "late": np.array(50), "column": np.array([-1, 1])}
    model = by_hand([*(made for tree in each_tree for made in tree), *SUM], constants=constants, leaves=(0.1, 2.5))
    one = joined(model)
    assert kinds(one)["ArgMax"] == 12
    table = np.full((80, 3), -9, np.float32)
    table[60:] = 9
    assert same(session(model).run(None, {"x": table}), session(one).run(None, {"x": table}))


@pytest.mark.parametrize(
    "rows", [np.array([[1.0], [2.0]]), np.ones((2, 1)), np.ones((3, 1)), np.ones((1, 1, 1))], ids=str
)
def test_a_constant_with_rows_of_its_own_is_no_leafs(rows: Any) -> None:
    """One with a row for each leaf fits these trees, and no table."""
    one = joined(by_hand([*each("Add", "rows"), *SUM], constants={"rows": rows.astype(np.float32)}))
    assert kinds(one)["Add"] == 12


def test_what_is_taken_for_an_operation_on_one_row_and_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(single_trees, "by_row", lambda _: True)
    with pytest.raises(UnusualForestError, match="depends on other rows"):
        as_one_forest(by_hand([*each("CumSum", "axis"), *SUM], constants={"axis": np.array(0)}))


def _function(kind: str, inputs: list[str], negated: list[Any]) -> Any:
    return helper.make_function("own", kind, inputs, ["given"], negated, [helper.make_opsetid("", 17)])


@pytest.mark.parametrize("kind", ["Concat", "Reshape", "Gather", "Shape", "ArrayFeatureExtractor"])
def test_a_function_of_the_files_own_is_not_what_its_name_says(kind: str) -> None:
    columns, piled = {"columns": np.array([0, 1, 2])}, {"pile": np.array([1, -1, 1]), "first": np.array([0])}
    summed = [helper.make_node("Concat", AFTER, ["all"], axis=0)]
    summed.append(helper.make_node("ReduceSum", ["all", "first"], ["scores"], keepdims=0))
    chosen = helper.make_node(kind, ["x", "columns"], ["table"], domain="own", axis=1)
    shape = [helper.make_node(kind, [TREES[0]], ["shape"], domain="own"), helper.make_node("Exp", [TREES[0]], ["more"])]
    behind, constants, takes, does = {
        "Concat": ([helper.make_node(kind, TREES, ["scores"], domain="own", axis=1)], {}, TREES, ("Sum", TREES)),
        "Reshape": ([*each(kind, "pile", domain="own"), *summed], piled, ["a", "b"], ("Reshape", ["negated", "b"])),
        "Gather": ([chosen, *SUM_OF_TREES], columns, ["a", "b"], ("Identity", ["negated"])),
        "ArrayFeatureExtractor": ([chosen, *SUM_OF_TREES], columns, ["a", "b"], ("Identity", ["negated"])),
        "Shape": (
            [*shape, helper.make_node("Sum", ["shape", "more", *TREES[1:]], ["scores"])],
            {},
            ["a"],
            ("Identity", ["negated"]),
        ),
    }[kind]
    inside = [] if kind == "Concat" else [helper.make_node("Neg", ["a"], ["negated"])]
    model = onnx.load_from_string(by_hand(behind, constants=constants))
    model.functions.append(_function(kind, takes, [*inside, helper.make_node(*does, ["given"])]))
    model.opset_import.append(helper.make_opsetid("own", 1))
    if chosen in behind:  # a table of all trees
        for node in model.graph.node:
            if node.op_type == "TreeEnsembleRegressor":
                node.input[0] = "table"
        made = [node for node in model.graph.node if node.output[0] == "table"]
        model.graph.node.remove(made[0])
        model.graph.node.insert(0, made[0])
    raw = model.SerializeToString()
    assert answers_like(raw, joined(raw))


def test_what_is_not_used_any_more_is_gone() -> None:
    model = onnx.load_from_string(joined(written("bagging of some columns")))
    used = {name for node in model.graph.node for name in node.input}
    assert {tensor.name for tensor in model.graph.initializer} <= used
    assert not {node.op_type for node in model.graph.node} & {"Gather", "LabelEncoder", "Log"}


def test_a_constant_that_a_caller_may_replace_is_none() -> None:
    model = onnx.load_from_string(by_hand([*each("Add", "one"), *SUM], constants=ONE))
    model.graph.input.append(helper.make_tensor_value_info("one", TensorProto.FLOAT, [1]))
    one = joined(model.SerializeToString())
    assert kinds(one)["Add"] == 12


@pytest.mark.parametrize(
    "array", [np.array([3, -4, 1 << 40]), np.array([3, -4], np.int32), np.array([], np.int64)], ids=str
)
def test_whole_numbers_of_a_tensor_are_read_however_they_are_written(array: Any) -> None:
    from modelyard.compiling import attributes

    raw = numpy_helper.from_array(array).SerializeToString()
    assert np.array_equal(attributes.integers(memoryview(raw)), array)
    if array.dtype == np.int64 and len(array):
        listed = helper.make_tensor("t", TensorProto.INT64, array.shape, array.tolist()).SerializeToString()
        assert np.array_equal(attributes.integers(memoryview(listed)), array)
    text = helper.make_tensor("t", TensorProto.FLOAT, [1], [1.0]).SerializeToString()
    assert attributes.integers(memoryview(text)) is None
