"""`TreeEnsemble` of ai.onnx.ml 5: the same trees in half the bytes and half the time to load.

A leaf is an entry of its own there, not a node with a name, a mode and two branches that lead nowhere; and equal leaves
are one. It takes one number from each leaf, has no labels and no base values. So another operation follows it: ArgMax
for labels, Add for the base value of a regression, `LinearClassifier` for two classes. Those have one number p; the two
columns are p x [-1, 1] + [1, 0], which rounds once, as 1 - p does, and the second is the larger exactly where p > 0.5.

A softmax or a logistic function behind the sum would not be the same to the bit, so boosting of classes is left alone.
A forest computes them with the exponential of the C library. Outside a forest, onnxruntime has its own: in Softmax and
Sigmoid always, in `LinearClassifier` from five classes or 16,384 scores on.

The price of the other operation is 0.5 us of a run of one row, where a forest of 100 trees takes 13 to 20 when the rows
differ. A batch of ten runs as fast as before, or a third faster.

The time that is left goes into the kernel's constructor, 83 % of it for 250,000 nodes: it turns the trees into the old
lists, puts every node into a hash table, and after each tree looks at all nodes of the trees before it. No file can
change that; an operation of our own can (`packed_forest`).

What onnxruntime 1.31 does with it decides what is converted: it unrolls the trees when it loads them, so only real
trees go in; and on several threads it adds up one target in another order than two, so the number of targets stays what
it was. A tree of one leaf becomes a branch with that leaf on both sides.
"""

from typing import Any

import numpy as np

from modelyard.compiling import attributes
from modelyard.compiling.forests import LEAF, Trees, UnusualForestError, forests
from modelyard.compiling.onnx_file import ML, NODE, OUTPUT, Node, OnnxFile, new_node

SMALLEST = 2000
"""Nodes of a forest below which loading it takes under 2 ms either way."""

_AGGREGATES = {b"AVERAGE": 0, b"SUM": 1, b"MIN": 2, b"MAX": 3}
_OPSET, _IR_VERSION = 5, 10

# Operations of ai.onnx.ml that mean the same in version 5 as in the one that the file asks for.
_UNCHANGED = frozenset({
    "ArrayFeatureExtractor", "Binarizer", "CastMap", "CategoryMapper", "DictVectorizer", "FeatureVectorizer", "Imputer",
    "LinearClassifier", "LinearRegressor", "Normalizer", "OneHotEncoder", "SVMClassifier", "SVMRegressor", "Scaler",
    "ZipMap",
})  # fmt: skip


def as_tree_ensemble(model: bytes) -> tuple[bytes, str]:
    """The model with all its forests as `TreeEnsemble`, and what was done in words.

    Raises:
        MalformedError: When the bytes are not an ONNX file.
        UnusualForestError: When they are not converted; the message says why.
    """
    file = OnnxFile(model)
    nodes = file.nodes()
    _check_others([node for _, node in nodes], file.opset(ML) or 1)
    found = [(place, node, Trees(node)) for place, node in forests(file)]
    count = sum(len(trees.tree) for _, _, trees in found)
    if count < SMALLEST:
        raise UnusualForestError(f"{count:,} nodes are loaded in no time")
    used = {name for _, node in nodes for name in node.inputs} | set(file.names(OUTPUT))
    for place, node, trees in reversed(found):
        _replace(file, place, node, trees, used)
    file.set_opset(ML, _OPSET)
    file.raise_ir_version(_IR_VERSION)
    converted = file.to_bytes()
    return converted, (
        f"{count:,} nodes of {len(found)} forest{'s' * (len(found) > 1)} as TreeEnsemble of {ML} {_OPSET}: "
        f"{len(model):,} to {len(converted):,} bytes"
    )


def _check_others(nodes: list[Node], opset: int) -> None:
    """Raise where another operation of the graph would mean something else in ai.onnx.ml 5, or might hide a forest."""
    for node in nodes:
        if node.holds_graphs():
            raise UnusualForestError(f"a graph inside {node.kind}")
        known = node.kind in _UNCHANGED or node.kind.startswith("TreeEnsemble")
        if node.domain == ML and not known and not (node.kind == "LabelEncoder" and opset >= 2):
            raise UnusualForestError(f"{node.kind} of {ML} {opset}, which may be another one in version {_OPSET}")


def _replace(file: OnnxFile, place: int, old: Node, trees: Trees, used: set[str]) -> None:
    if trees.post != b"NONE":
        raise UnusualForestError(f"{trees.post.decode()} after the sum, which as an operation of its own may round")
    needed = trees.needed()
    if trees.classifies:
        _check_classifier(trees, needed)
    elif trees.outputs > 1 and trees.base.any():
        raise UnusualForestError("base values of several targets: one that got no number does not get its own either")
    binary = trees.classifies and trees.outputs == 2
    values = _attributes(trees, needed)
    target = old.outputs[1] if trees.classifies else old.outputs[0]
    scores = target or file.unused_name(f"{old.outputs[0]}/scores")
    base = trees.base if trees.base.any() else None
    direct = scores if base is None and not binary else file.unused_name(f"{scores}/sum")
    made = [new_node("TreeEnsemble", old.inputs, [direct], domain=ML, **values)]
    if binary:
        labels = old.outputs[0] or file.unused_name(f"{scores}/labels")
        made.append(_two_columns(trees.labels, direct, [labels, scores]))
    elif base is not None:
        name = file.unused_name(f"{scores}/base")
        file.add_initializer(attributes.tensor(base, name))
        made.append(new_node("Add", [direct, name], [scores]))
    if trees.classifies and not binary and old.outputs[0] in used:
        made.extend(_labels(file, trees.labels, scores, old.outputs[0]))
    file.replace(place, NODE, *made)


def _check_classifier(trees: Trees, needed: Any) -> None:
    if trees.outputs < 2 or (trees.outputs == 2 and trees.weight_to.any()):
        raise UnusualForestError("two classes with numbers for both, or one class: the label has rules of its own")
    if len(trees.base):
        raise UnusualForestError("base values of classes")
    if not (trees.weight >= 0).all():
        raise UnusualForestError("weights below zero: a class without votes may lose to one that has them")
    if trees.outputs > 2 and not (trees.weight[needed] > 0).all():
        raise UnusualForestError("leaves of zeros alone: a class without votes may win against one that has them")


def _two_columns(labels: Any, sums: str, outputs: list[str]) -> bytes:
    """Labels and probabilities of two classes, in one operation."""
    kind = "classlabels_strings" if isinstance(labels, list) else "classlabels_ints"
    return new_node(
        "LinearClassifier",
        [sums],
        outputs,
        domain=ML,
        coefficients=np.array([-1, 0, 1, 0], np.float32),  # target 1 of the sums is 0
        intercepts=np.array([1, 0], np.float32),
        post_transform=b"NONE",
        **{kind: labels},
    )


def _labels(file: OnnxFile, labels: Any, scores: str, output: str) -> list[bytes]:
    """The first largest of the scores, and its name."""
    if isinstance(labels, np.ndarray) and (labels == np.arange(len(labels))).all():
        return [new_node("ArgMax", [scores], [output], axis=1, keepdims=0)]
    best, names = file.unused_name(f"{output}/place"), file.unused_name(f"{output}/names")
    text = isinstance(labels, list)
    file.add_initializer(attributes.strings_tensor(labels, names) if text else attributes.tensor(labels, names))
    return [
        new_node("ArgMax", [scores], [best], axis=1, keepdims=0),
        new_node("Gather", [names, best], [output], axis=0),
    ]


def _attributes(trees: Trees, needed: Any) -> dict[str, Any]:
    shape = Shape(trees)
    is_leaf, branches, true, false, roots = shape.is_leaf, shape.branches, shape.true, shape.false, shape.roots
    leaves = np.flatnonzero(is_leaf)
    to, weight = _one_weight(trees, needed, leaves)
    # Equal leaves are one, found by class and by the bits of the number.
    bits = weight.view(np.uint32).astype(np.int64)
    _, first, which = np.unique(to << 32 | bits, return_index=True, return_inverse=True)
    entries = np.union1d(branches, roots)
    as_leaf, as_entry = np.zeros(len(trees.tree), np.int64), np.zeros(len(trees.tree), np.int64)
    as_leaf[leaves], as_entry[entries] = which, np.arange(len(entries))
    true, false = true[entries], false[entries]
    values = {
        "n_targets": trees.outputs,
        "aggregate_function": _AGGREGATES[trees.aggregate],
        "post_transform": 0,
        "tree_roots": as_entry[roots],
        "nodes_featureids": trees.feature[entries],
        "nodes_splits": (trees.value[entries],),
        "nodes_modes": (np.where(is_leaf[entries], 0, trees.modes[entries]).astype(np.uint8),),
        "nodes_truenodeids": np.where(is_leaf[true], as_leaf[true], as_entry[true]),
        "nodes_falsenodeids": np.where(is_leaf[false], as_leaf[false], as_entry[false]),
        "nodes_trueleafs": is_leaf[true].astype(np.int64),
        "nodes_falseleafs": is_leaf[false].astype(np.int64),
        "leaf_targetids": to[first],
        "leaf_weights": (weight[first],),
    }
    if trees.missing is not None:
        values["nodes_missing_value_tracks_true"] = trees.missing[entries]
    return values


def _one_weight(trees: Trees, needed: Any, leaves: Any) -> tuple[Any, Any]:
    """Class or target and number of each leaf."""
    places = trees.places[needed]
    counts = np.bincount(places, minlength=len(trees.tree))
    if (counts[leaves] != 1).any() or counts.sum() != len(leaves):
        raise UnusualForestError("leaves with more numbers than one")
    to, weight = np.zeros(len(trees.tree), np.int64), np.zeros(len(trees.tree), np.float32)
    to[places], weight[places] = trees.weight_to[needed], trees.weight[needed]
    if not ((to >= 0) & (to < trees.outputs)).all():
        raise UnusualForestError("a class or target that is not there")
    return to[leaves], weight[leaves]


class Shape:
    """Which node follows which.

    Attributes:
        is_leaf: Of each node.
        branches, roots: Places of nodes.
        true, false: Of each branch the place where it goes on; of a leaf its own.
        levels: Places by their distance from the root.

    Raises:
        UnusualForestError: Unless every node hangs on one branch of its tree and can be reached from the root.
    """

    def __init__(self, trees: Trees) -> None:
        count = len(trees.tree)
        self.is_leaf: Any = trees.modes == LEAF
        self.roots: Any = np.flatnonzero(np.concatenate((np.array([True]), trees.tree[1:] != trees.tree[:-1])))
        self.branches: Any = np.flatnonzero(~self.is_leaf)
        self.true: Any = np.arange(count)
        self.false: Any = np.arange(count)
        own = trees.tree[self.branches]
        self.true[self.branches] = trees.find(own, trees.true[self.branches])
        self.false[self.branches] = trees.find(own, trees.false[self.branches])
        if len(np.unique(trees.tree[self.roots])) != len(self.roots):
            raise UnusualForestError("a tree in two pieces")
        followers = np.concatenate((self.true[self.branches], self.false[self.branches]))
        expected = np.ones(count, np.int64)
        expected[self.roots] = 0
        if (np.bincount(followers, minlength=count) != expected).any():
            raise UnusualForestError("a node that hangs on two branches, or on none")
        self.levels: list[Any] = []
        level = self.roots
        while len(level):
            self.levels.append(level)
            inner = level[~self.is_leaf[level]]
            level = np.concatenate((self.true[inner], self.false[inner]))
        if sum(map(len, self.levels)) != count:
            raise UnusualForestError("a node that no root leads to")
