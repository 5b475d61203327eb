"""The steps of a pipeline that are ours as ONNX: dates, missing numbers, words, and LightGBM's trees.

The rule: exact before short. Each converter is the same table or the same comparison as the Python beside it; where
the two could differ in a last bit, a test shows that nothing follows from it. `register` tells skl2onnx about them.

LightGBM's trees are converted here and not by onnxmltools: that writes LightGBM's thresholds as they are, in double
precision, which ONNX rounds to the nearest float32, and a number between the two then takes the other branch.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import TensorProto
from skl2onnx import update_registered_converter
from skl2onnx.common.data_types import FloatTensorType
from skl2onnx.common.shape_calculator import (
    calculate_linear_classifier_output_shapes,
    calculate_linear_regressor_output_shapes,
)

from modelyard.training.dates import NO_DATE, PLACES, POINTS, SHAPE
from modelyard.training.steps import Categories, IsMissing, PlaceInYear
from modelyard.training.text import LEAST_LENGTH, RE2_WORD, Words

ML, ORT = "ai.onnx.ml", "com.microsoft"
"""Domains of operators: the standard's for classical models, and onnxruntime's own, of which Tokenizer alone is used:
the standard cuts text at blanks only."""


class _Graph:
    """The graph of one step, node by node."""

    def __init__(self, scope: Any, container: Any) -> None:
        self._scope, self._container = scope, container

    def constant(self, kind: int, shape: list[int], values: Any) -> str:
        name: str = self._scope.get_unique_variable_name("constant")
        self._container.add_initializer(name, kind, shape, values)
        return name

    def floats(self, values: Any) -> str:
        return self.constant(TensorProto.FLOAT, [len(values)], values)

    def integers(self, *values: int) -> str:
        return self.constant(TensorProto.INT64, [len(values)], list(values))

    def node(self, kind: str, *inputs: str, since: int, output: str | None = None, **attributes: Any) -> str:
        name: str = output or self._scope.get_unique_variable_name(kind.lower())
        self.nodes(kind, inputs, (name,), since=since, **attributes)
        return name

    def nodes(
        self, kind: str, inputs: tuple[str, ...], outputs: tuple[str, ...], *, since: int, **attributes: Any
    ) -> None:
        unique = self._scope.get_unique_operator_name(kind)
        self._container.add_node(kind, list(inputs), list(outputs), op_version=since, name=unique, **attributes)

    def name(self, hint: str) -> str:
        name: str = self._scope.get_unique_variable_name(hint)
        return name


def _place_in_year_shape(operator: Any) -> None:
    operator.outputs[0].type = FloatTensorType([None, 2])


def _place_in_year(scope: Any, operator: Any, container: Any) -> None:
    """Shape of the text → month and day → row of the table → point.

    Text of another shape is replaced by a date that does not exist before it is split, so that the split always gives
    three parts, and then gets the last row, like 30 February.
    """
    graph = _Graph(scope, container)
    dates = operator.inputs[0].full_name
    looks_right = graph.node("RegexFullMatch", dates, since=20, pattern=SHAPE)
    never = graph.constant(TensorProto.STRING, [1], [b"0000-00-00"])
    splittable = graph.node("Where", looks_right, dates, never, since=16)
    parts = graph.name("parts")
    graph.nodes("StringSplit", (splittable,), (parts, graph.name("counts")), since=20, delimiter="-")
    month = graph.node("Gather", parts, graph.constant(TensorProto.INT64, [], [1]), since=13, axis=2)
    day = graph.node("Gather", parts, graph.constant(TensorProto.INT64, [], [2]), since=13, axis=2)
    place = graph.node(
        "LabelEncoder",
        graph.node("StringConcat", month, day, since=20),
        since=2,
        op_domain=ML,
        keys_strings=list(PLACES),
        values_int64s=list(PLACES.values()),
        default_int64=NO_DATE,
    )
    column = graph.node("Reshape", place, graph.integers(-1), since=14)
    points = graph.constant(TensorProto.FLOAT, list(POINTS.shape), POINTS.ravel().tolist())
    graph.node("Gather", points, column, since=13, axis=0, output=operator.outputs[0].full_name)


def _is_missing_shape(operator: Any) -> None:
    operator.outputs[0].type = FloatTensorType([None, operator.raw_operator.width_])


def _is_missing(scope: Any, operator: Any, container: Any) -> None:
    """Look at each input, side by side."""
    graph = _Graph(scope, container)
    names = [value.full_name for value in operator.inputs]
    numbers = names[0] if len(names) == 1 else graph.node("Concat", *names, since=13, axis=1)
    missing = graph.node("IsNaN", numbers, since=20)
    graph.node("Cast", missing, since=13, to=TensorProto.FLOAT, output=operator.outputs[0].full_name)


def _categories_shape(operator: Any) -> None:
    operator.outputs[0].type = FloatTensorType([None, operator.raw_operator.width_])


def _categories(scope: Any, operator: Any, container: Any) -> None:
    """Category → its number → the row of the table."""
    graph, categories = _Graph(scope, container), operator.raw_operator
    number = graph.node(
        "LabelEncoder",
        operator.inputs[0].full_name,
        since=2,
        op_domain=ML,
        keys_strings=list(categories.columns_),
        values_int64s=list(categories.columns_.values()),
        default_int64=categories.other_,
    )
    column = graph.node("Reshape", number, graph.integers(-1), since=14)
    points = graph.constant(TensorProto.FLOAT, list(categories.points_.shape), categories.points_.ravel().tolist())
    graph.node("Gather", points, column, since=13, axis=0, output=operator.outputs[0].full_name)


def _words_shape(operator: Any) -> None:
    operator.outputs[0].type = FloatTensorType([None, operator.raw_operator.width_])


def _words(scope: Any, operator: Any, container: Any) -> None:
    """Cut into words → count those that are known; several spellings count as one → weigh → scale to length 1."""
    graph, words = _Graph(scope, container), operator.raw_operator
    result = operator.outputs[0].full_name
    cut = graph.node(
        "Tokenizer",
        operator.inputs[0].full_name,
        since=1,
        op_domain=ORT,
        mark=0,
        mincharnum=1,
        pad_value="",
        tokenexp=RE2_WORD,
    )
    flat = graph.node("Reshape", cut, graph.integers(0, -1), since=14)
    counts = graph.node(
        "TfIdfVectorizer",
        flat,
        since=9,
        output=None if words.weighed else result,
        mode="TF",
        min_gram_length=1,
        max_gram_length=1,
        max_skip_count=0,
        ngram_counts=[0],
        ngram_indexes=list(words.spellings_.values()),
        pool_strings=list(words.spellings_),
    )
    if not words.weighed:
        return
    weighed = graph.node("Mul", counts, graph.floats(words.weights_.tolist()), since=14)
    length = graph.node("ReduceL2", weighed, graph.integers(1), since=18, keepdims=1)
    divisor = graph.node("Max", length, graph.floats([LEAST_LENGTH]), since=13)
    graph.node("Div", weighed, divisor, since=14, output=result)


@dataclass
class _Trees:
    """The nodes of all trees, attribute by attribute, as ONNX's operator has them."""

    nodes: dict[str, list[Any]] = field(
        default_factory=lambda: {
            "nodes_treeids": [],
            "nodes_nodeids": [],
            "nodes_featureids": [],
            "nodes_modes": [],
            "nodes_values": [],
            "nodes_truenodeids": [],
            "nodes_falsenodeids": [],
            "nodes_missing_value_tracks_true": [],
        }
    )
    leaves: dict[str, list[Any]] = field(
        default_factory=lambda: {
            "target_treeids": [],
            "target_nodeids": [],
            "target_ids": [],
            "target_weights": [],
        }
    )

    def add(self, number: int, target: int, root: dict[str, Any]) -> None:
        for at, node, left, right in _numbered(root):
            is_leaf = "leaf_value" in node
            self._append(
                self.nodes,
                (number, at, 0, "LEAF", 0.0, 0, 0, 0)
                if is_leaf
                else (
                    number,
                    at,
                    node["split_feature"],
                    "BRANCH_LEQ",
                    rounded_down(node["threshold"]),
                    left,
                    right,
                    int(_missing_goes_left(node)),
                ),
            )
            if is_leaf:
                self._append(self.leaves, (number, at, target, float(node["leaf_value"])))

    @staticmethod
    def _append(columns: dict[str, list[Any]], values: tuple[Any, ...]) -> None:
        for column, value in zip(columns.values(), values, strict=True):
            column.append(value)


def _numbered(root: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any], int, int]]:
    """Nodes with their own number and those of their children; the root is 0 and children come after their parent."""
    waiting, count = [(0, root)], 1
    while waiting:
        at, node = waiting.pop()
        if "leaf_value" in node:
            yield at, node, 0, 0
            continue
        left, right = count, count + 1
        count += 2
        yield at, node, left, right
        waiting += [(right, node["right_child"]), (left, node["left_child"])]


def _missing_goes_left(node: dict[str, Any]) -> bool:
    """Where LightGBM sends a missing number: where it learned to, or, if training had none here, where zero goes."""
    return bool(node["default_left"]) if node["missing_type"] == "NaN" else float(node["threshold"]) >= 0.0


ALMOST_ZERO = 1.0000000180025095e-35
"""LightGBM takes every number that is no further from zero for zero."""


def rounded_down(threshold: float) -> float:
    """The largest float32 that is not above a threshold: the same side for every float32 number.

    Two peculiarities of LightGBM are kept. Numbers next to zero lie where zero lies, so a threshold among them goes to
    their edge. And 1e300, which every number is below and only a missing one is not, becomes the largest float32.
    """
    largest = float(np.finfo(np.float32).max)
    if abs(threshold) <= ALMOST_ZERO:
        edge = np.float32(ALMOST_ZERO)
        return float(edge if threshold >= 0 else np.nextafter(-edge, np.float32(-np.inf)))
    nearest = np.float32(min(max(threshold, -largest), largest))
    return float(np.nextafter(nearest, np.float32(-np.inf)) if float(nearest) > threshold else nearest)


def _trees_of(booster: Any, targets: int) -> dict[str, Any]:
    trees = _Trees()
    for number, tree in enumerate(booster.dump_model()["tree_info"]):
        trees.add(number, number % targets, tree["tree_structure"])
    return {"n_targets": targets, **trees.nodes, **trees.leaves}


def _lightgbm_classifier(scope: Any, operator: Any, container: Any) -> None:
    """Sums of leaves → a probability for each class → the most probable class."""
    graph, fitted = _Graph(scope, container), operator.raw_operator
    label, probabilities = (output.full_name for output in operator.outputs)
    classes = fitted.classes_.tolist()
    targets = 1 if len(classes) == 2 else len(classes)
    ensemble = _trees_of(fitted.booster_, targets)
    numbers = operator.inputs[0].full_name
    sums = graph.node("TreeEnsembleRegressor", numbers, since=3, op_domain=ML, **ensemble)
    if targets == 1:
        positive = graph.node("Sigmoid", sums, since=13)
        negative = graph.node("Sub", graph.floats([1.0]), positive, since=14)
        graph.node("Concat", negative, positive, since=13, axis=1, output=probabilities)
    else:
        graph.node("Softmax", sums, since=13, axis=1, output=probabilities)
    best = graph.node("ArgMax", probabilities, since=13, axis=1, keepdims=0)
    names = graph.constant(TensorProto.STRING, [len(classes)], [name.encode("utf-8") for name in classes])
    graph.node("Gather", names, best, since=13, axis=0, output=label)


def _lightgbm_regressor(scope: Any, operator: Any, container: Any) -> None:
    graph = _Graph(scope, container)
    graph.node(
        "TreeEnsembleRegressor",
        operator.inputs[0].full_name,
        since=3,
        op_domain=ML,
        output=operator.outputs[0].full_name,
        **_trees_of(operator.raw_operator.booster_, 1),
    )


def register() -> None:
    """Tell skl2onnx how our own steps are converted."""
    for step, shape, convert in (
        (PlaceInYear, _place_in_year_shape, _place_in_year),
        (IsMissing, _is_missing_shape, _is_missing),
        (Categories, _categories_shape, _categories),
        (Words, _words_shape, _words),
    ):
        update_registered_converter(step, f"Modelyard{step.__name__}", shape, convert, overwrite=True)


def register_lightgbm(estimator: Any) -> None:
    """Tell skl2onnx how a LightGBM estimator is converted; apart, because the package may not be there."""
    is_classifier = hasattr(estimator, "classes_")
    update_registered_converter(
        type(estimator),
        f"Modelyard{type(estimator).__name__}",
        calculate_linear_classifier_output_shapes if is_classifier else calculate_linear_regressor_output_shapes,
        _lightgbm_classifier if is_classifier else _lightgbm_regressor,
        options={"zipmap": [True, False, "columns"], "nocl": [True, False]} if is_classifier else None,
        overwrite=True,
    )


register()
