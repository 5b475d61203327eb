"""Tree ensembles written by hand, for what no training algorithm happens to make."""

from typing import Any

from onnx import TensorProto, helper, numpy_helper

OPSET, ML_OPSET = 17, 3

Leaf = dict[int, float]
"""Class or target -> weight."""
Branch = tuple[int, str, float, Any, Any]
"""Feature, mode without ``BRANCH_``, threshold, what follows if true, what follows if false."""


def ensemble(
    *trees: Any,
    classes: list[str] | list[int] | None = None,
    targets: int = 1,
    element: int = TensorProto.FLOAT,
    changes: dict[str, Any] | None = None,
    **more: Any,
) -> bytes:
    """A model with one forest; ``x`` [batch, 3] to ``label`` and ``scores``, or to ``scores`` alone.

    Args:
        trees: Each a leaf or a branch.
        classes: Of a classifier; None is a regressor.
        targets: Of a regressor.
        element: The type of ``x``.
        changes: Attributes that are put in place of those made here; None takes one out.
        more: Attributes in addition.
    """
    nodes: dict[str, list[Any]] = {
        f"nodes_{name}": []
        for name in ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids")
    }
    weights: dict[str, list[Any]] = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}
    for tree, root in enumerate(trees):
        _grow(nodes, weights, tree, root)
    prefix = "class" if classes is not None else "target"
    attributes: dict[str, Any] = {**nodes, **{f"{prefix}_{name}": values for name, values in weights.items()}, **more}
    attributes["nodes_hitrates"] = [1.0] * len(nodes["nodes_treeids"])
    if classes is None:
        kind, outputs = "TreeEnsembleRegressor", ["scores"]
        attributes["n_targets"] = targets
    else:
        kind, outputs = "TreeEnsembleClassifier", ["label", "scores"]
        attributes["classlabels_strings" if isinstance(classes[0], str) else "classlabels_int64s"] = classes
    attributes = {name: value for name, value in (attributes | (changes or {})).items() if value is not None}
    node = helper.make_node(kind, ["x"], outputs, domain="ai.onnx.ml", **attributes)
    return around([node], classes, len(classes) if classes else targets, element=element)


def around(
    nodes: list[Any],
    classes: Any,
    width: int,
    *,
    element: int = TensorProto.FLOAT,
    constants: dict[str, Any] | None = None,
) -> bytes:
    """A model of these operations, with the outputs of an `ensemble`."""
    label = TensorProto.STRING if classes and isinstance(classes[0], str) else TensorProto.INT64
    outputs = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, width])]
    if classes is not None:
        outputs.insert(0, helper.make_tensor_value_info("label", label, [None]))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", element, [None, 3])],
        outputs,
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()


def _grow(nodes: dict[str, list[Any]], weights: dict[str, list[Any]], tree: int, root: Any) -> None:
    """Number the nodes from the root, the true branch first."""
    count = 0

    def add(entry: Any) -> int:
        nonlocal count
        number, count = count, count + 1
        place = len(nodes["nodes_treeids"])
        feature, mode, value = (
            (0, "LEAF", 0.0) if isinstance(entry, dict) else (entry[0], f"BRANCH_{entry[1]}", entry[2])
        )
        for name, part in zip(nodes, (tree, number, feature, value, mode, 0, 0), strict=True):
            nodes[name].append(part)
        if isinstance(entry, dict):
            for to, weight in entry.items():
                for name, part in zip(weights, (tree, number, to, weight), strict=True):
                    weights[name].append(part)
        else:
            nodes["nodes_truenodeids"][place] = add(entry[3])
            nodes["nodes_falsenodeids"][place] = add(entry[4])
        return number

    add(root)
