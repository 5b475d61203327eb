"""From a fitted pipeline to the bytes of one ONNX file that needs nothing else.

The rule: one input per feature, shaped ``[rows, 1]``: float32 for a number, text for a category or a date. Every step
of the pipeline is in the graph, so what was fitted is what is served. Missing is NaN for a number and empty text
otherwise. Equal input gives equal bytes: versions are named by the digest of their file, and a run that is repeated
must not make a new version.

skl2onnx converts scikit-learn's own steps; the dates are ours, so their converter is here.
"""

import copy
import json
import warnings
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto
from skl2onnx import convert_sklearn, update_registered_converter
from skl2onnx.common.data_types import FloatTensorType, StringTensorType

from modelyard.training.dates import NO_DATE, PLACES, POINTS, SHAPE
from modelyard.training.pipeline import PlaceInYear
from modelyard.training.plan import LABEL, PREDICTION, PROBABILITIES, Plan

OPSET = 20
"""The first with RegexFullMatch, StringSplit and StringConcat."""
ML_OPSET = 3

LOG_LINKED = frozenset({"poisson", "gamma"})
"""Losses of gradient boosting whose trees add up to the logarithm of the answer."""

CLASSES_KEY, TASK_KEY, FEATURES_KEY = "modelyard.classes", "modelyard.task", "modelyard.features"
"""Keys of the model's metadata: the classes as a JSON list in the order of the probabilities, the task, and the kind of
each feature as a JSON object. To an engine a date is text: whoever refuses text that is no date finds out here."""


def to_onnx(plan: Plan, pipeline: Any) -> bytes:
    """Convert a fitted pipeline.

    Args:
        plan: What it was built from.
        pipeline: From `modelyard.training.pipeline.build`, fitted.
    """
    features = plan.training.features
    inputs = [
        (f"feature{at}", FloatTensorType([None, 1]) if feature.kind == "number" else StringTensorType([None, 1]))
        for at, feature in enumerate(features.values())
    ]
    pipeline = copy.deepcopy(pipeline)
    estimator = pipeline[-1]
    _round_thresholds(estimator)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # protobuf's and numpy's, about types inside skl2onnx
        model = convert_sklearn(
            pipeline,
            name=plan.model,  # left out, it is a random id
            initial_types=inputs,
            target_opset={"": OPSET, "ai.onnx.ml": ML_OPSET},
            options={id(estimator): {"zipmap": False}} if plan.classification else None,
        )
    if getattr(estimator, "loss", None) in LOG_LINKED:
        _append_exp(model.graph)
    outputs = (LABEL, PROBABILITIES) if plan.classification else (PREDICTION,)
    _rename(model.graph, (*features, *outputs))
    metadata = {TASK_KEY: plan.task, FEATURES_KEY: _json({name: feature.kind for name, feature in features.items()})}
    if plan.classification:
        metadata[CLASSES_KEY] = _json(estimator.classes_.tolist())
    onnx.helper.set_model_props(model, dict(sorted(metadata.items())))
    opsets = sorted((opset.domain, opset.version) for opset in model.opset_import)
    del model.opset_import[:]
    model.opset_import.extend(onnx.helper.make_opsetid(*opset) for opset in opsets)
    return model.SerializeToString(deterministic=True)  # type: ignore[no-any-return]  # onnx ships no types


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _round_thresholds(estimator: Any) -> None:
    """Round the thresholds of gradient boosting down to float32, which changes no answer to float32 numbers.

    ONNX's trees compare in float32. skl2onnx rounds these thresholds to the nearest, which for two neighbouring numbers
    can be the upper one and send it down the other branch. (For forests it rounds down itself.)
    """
    for tree in (tree for trees in getattr(estimator, "_predictors", ()) for tree in trees):
        exact = tree.nodes["num_threshold"]
        nearest = exact.astype(np.float32)
        tree.nodes["num_threshold"] = np.where(nearest > exact, np.nextafter(nearest, np.float32(-np.inf)), nearest)


def _append_exp(graph: Any) -> None:
    """The last step of boosting that was fitted to logarithms; skl2onnx leaves it out."""
    output = graph.output[0].name
    for node in graph.node:
        node.output[:] = [f"{output}_log" if name == output else name for name in node.output]
    graph.node.append(onnx.helper.make_node("Exp", [f"{output}_log"], [output], name="Exp"))


def _rename(graph: Any, names: tuple[str, ...]) -> None:
    """Give the inputs and outputs the columns' own names, which skl2onnx would reduce to letters and digits."""
    ends = [value.name for value in (*graph.input, *graph.output)]
    inside = [value.name for value in graph.initializer] + [name for node in graph.node for name in node.output]
    new = dict(zip(ends, names, strict=True))
    for name in inside:
        if name in names and name not in new:  # a column may have the name of a value inside
            new[name] = f"{name}_{max((*inside, *names), key=len)}"
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = new.get(value.name, value.name)
    for node in graph.node:
        for values in (node.input, node.output):
            values[:] = [new.get(name, name) for name in values]


def _place_in_year_shape(operator: Any) -> None:
    operator.outputs[0].type = FloatTensorType([None, 2])


def _place_in_year(scope: Any, operator: Any, container: Any) -> None:
    """`PlaceInYear` as a graph: shape of the text → month and day → row of the table → point.

    Text of another shape is replaced by a date that does not exist before it is split, so that the split always gives
    three parts, and then gets the last row, like 30 February.
    """

    def constant(kind: int, shape: list[int], values: Any) -> str:
        name: str = scope.get_unique_variable_name("constant")
        container.add_initializer(name, kind, shape, values)
        return name

    def node(kind: str, inputs: list[str], *, since: int, output: str | None = None, **attributes: Any) -> str:
        name: str = output or scope.get_unique_variable_name(kind.lower())
        unique = scope.get_unique_operator_name(kind)
        container.add_node(kind, inputs, name, op_version=since, name=unique, **attributes)
        return name

    dates = operator.inputs[0].full_name
    looks_right = node("RegexFullMatch", [dates], since=20, pattern=SHAPE)
    never = constant(TensorProto.STRING, [1], [b"0000-00-00"])
    splittable = node("Where", [looks_right, dates, never], since=16)
    parts, counts = (scope.get_unique_variable_name(name) for name in ("parts", "counts"))
    unique = scope.get_unique_operator_name("StringSplit")
    container.add_node("StringSplit", [splittable], [parts, counts], op_version=20, name=unique, delimiter="-")
    month = node("Gather", [parts, constant(TensorProto.INT64, [], [1])], since=13, axis=2)
    day = node("Gather", [parts, constant(TensorProto.INT64, [], [2])], since=13, axis=2)
    place = node(
        "LabelEncoder",
        [node("StringConcat", [month, day], since=20)],
        since=2,
        op_domain="ai.onnx.ml",
        keys_strings=list(PLACES),
        values_int64s=list(PLACES.values()),
        default_int64=NO_DATE,
    )
    column = node("Reshape", [place, constant(TensorProto.INT64, [1], [-1])], since=14)
    points = constant(TensorProto.FLOAT, list(POINTS.shape), POINTS.ravel().tolist())
    node("Gather", [points, column], since=13, axis=0, output=operator.outputs[0].full_name)


update_registered_converter(PlaceInYear, "ModelyardPlaceInYear", _place_in_year_shape, _place_in_year, overwrite=True)
