"""From a fitted pipeline to the bytes of one ONNX file that needs nothing else.

The rule: one input per feature, shaped ``[rows, 1]``: float32 for a number, text for a category or a date. Every step
of the pipeline is in the graph, so what was fitted is what is served. Missing is NaN for a number and empty text
otherwise. Equal input gives equal bytes: versions are named by the digest of their file, and a run that is repeated
must not make a new version.

skl2onnx converts scikit-learn's own steps; `modelyard.training.converters` has those that are ours.
"""

import copy
import json
import warnings
from typing import Any

import numpy as np
import onnx
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.pipeline import Pipeline

from modelyard.training import converters
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
    estimator = _convertible(pipeline[-1])
    pipeline = Pipeline([*pipeline.steps[:-1], ("estimator", estimator)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # protobuf's and numpy's, about types inside skl2onnx
        model = convert_sklearn(
            pipeline,
            name=plan.model,
            initial_types=inputs,
            target_opset={"": OPSET, converters.ML: ML_OPSET} | ({converters.ORT: 1} if plan.of_kind("text") else {}),
            options={id(estimator): {"zipmap": False}} if plan.classification else None,
        )
    if getattr(estimator, "loss", None) in LOG_LINKED:
        _append_exp(model.graph)
    outputs = (LABEL, PROBABILITIES) if plan.classification else (PREDICTION,)
    _rename(model.graph, (*features, *outputs))
    metadata = {TASK_KEY: plan.task, FEATURES_KEY: _json({name: feature.kind for name, feature in features.items()})}
    if plan.classification:
        metadata[CLASSES_KEY] = _json(estimator.classes_.tolist())
    return settled(plan, model, metadata)


def settled(plan: Plan, model: Any, metadata: dict[str, str]) -> bytes:
    """The bytes of a model without what converters leave to chance: a random name, orders that come out of sets."""
    model.graph.name = plan.model
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, dict(sorted(metadata.items())))
    opsets = sorted((opset.domain, opset.version) for opset in model.opset_import)
    del model.opset_import[:]
    model.opset_import.extend(onnx.helper.make_opsetid(*opset) for opset in opsets)
    return model.SerializeToString(deterministic=True)  # type: ignore[no-any-return]  # onnx ships no types


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _convertible(fitted: Any) -> Any:
    """A fitted estimator in a form that skl2onnx converts exactly; the fitted one stays as it is."""
    if hasattr(fitted, "as_scikit_learn"):
        return fitted.as_scikit_learn()
    if hasattr(fitted, "booster_"):
        converters.register_lightgbm(fitted)
    if hasattr(fitted, "_predictors"):
        return _with_float32_thresholds(copy.deepcopy(fitted))
    return fitted


def _with_float32_thresholds(estimator: Any) -> Any:
    """Round the thresholds of gradient boosting down to float32, which changes no answer to float32 numbers.

    ONNX's trees compare in float32. skl2onnx rounds these thresholds to the nearest, which for two neighbouring numbers
    can be the upper one and send it down the other branch. (For forests it rounds down itself.)
    """
    for tree in (tree for trees in estimator._predictors for tree in trees):  # noqa: SLF001 - no other way to them
        exact = tree.nodes["num_threshold"]
        nearest = exact.astype(np.float32)
        tree.nodes["num_threshold"] = np.where(nearest > exact, np.nextafter(nearest, np.float32(-np.inf)), nearest)
    return estimator


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
