"""Forests: what a tree ensemble holds that no answer needs.

    read the trees of a node ──► drop weights of zero, hit rates, unused tracks ──► write the lists packed
                            └──► where every leaf gives one number: `TreeEnsemble` of ai.onnx.ml 5 (`tree_ensemble`)

skl2onnx writes a weight for every class at every leaf, most of them zero. The rule: a weight goes only where
onnxruntime 1.31 gives the same label and the same bits without it. Where a class that no tree voted for might be told
from one that got zero votes, it stays. What each condition guards against is said beside it.
"""

from typing import Any

import numpy as np

from modelyard.compiling.attributes import Attribute
from modelyard.compiling.onnx_file import ML, NODE, Node, OnnxFile

CLASSIFIER, REGRESSOR = "TreeEnsembleClassifier", "TreeEnsembleRegressor"

_MODES = (b"BRANCH_LEQ", b"BRANCH_LT", b"BRANCH_GTE", b"BRANCH_GT", b"BRANCH_EQ", b"BRANCH_NEQ", b"LEAF")
LEAF = 6
"""The place of LEAF in `Trees.modes`; the others have the numbers that `TreeEnsemble` gives them."""

_PER_NODE = ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids")
_PER_WEIGHT = ("treeids", "nodeids", "ids", "weights")


class UnusualForestError(Exception):
    """The trees are written in a way that is left as it is; the message says which."""


class Trees:
    """The trees of one node, as arrays with an entry for each node of a tree, or for each weight of a leaf.

    Attributes:
        classifies: Whether it is a classifier.
        outputs: How many classes or targets.
        labels: Names of the classes, as the attribute has them.
        tree, node, feature, value, true, false: Of each node of a tree, in the order of the file.
        modes: Of each node: its comparison, or `LEAF`.
        missing: Whether a missing value takes the true branch, or None where none does.
        weight_tree, weight_node, weight_to, weight: Of each weight: its leaf, its class or target, and itself.
        base: Added to the sums at the end.
        post, aggregate: As the attributes have them.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        found: dict[str, Any] = {name: attribute.value for name, attribute in node.attributes.items()}
        wide = [name for name in found if name.endswith("_as_tensor")]
        if wide:
            raise UnusualForestError(f"{wide[0]} holds the numbers, in another precision")
        self.classifies = node.kind == CLASSIFIER
        self._prefix = "class" if self.classifies else "target"
        per_node = _lists(found, "nodes", _PER_NODE)
        self.tree, self.node, self.feature, self.value, modes, self.true, self.false = per_node
        per_weight = _lists(found, self._prefix, _PER_WEIGHT)
        self.weight_tree, self.weight_node, self.weight_to, self.weight = per_weight
        self.modes: Any = np.full(len(modes), len(_MODES), np.uint8)
        for number, name in enumerate(_MODES):
            self.modes[np.array(modes) == name] = number
        tracks = found.get("nodes_missing_value_tracks_true")
        self.missing = tracks if tracks is not None and tracks.any() else None
        if (self.modes == len(_MODES)).any() or (self.missing is not None and len(self.missing) != len(modes)):
            raise UnusualForestError("a mode that is not known, or tracks for some nodes only")
        self.labels: Any = found.get("classlabels_strings") or found.get("classlabels_int64s")
        if self.classifies:
            self.outputs: int = 0 if self.labels is None else len(self.labels)
        else:
            self.outputs = found.get("n_targets", 1)
        base = found.get("base_values")
        self.base: Any = np.empty(0, np.float32) if base is None else base
        self.post: bytes = found.get("post_transform") or b"NONE"
        self.aggregate: bytes = found.get("aggregate_function") or b"SUM"
        self.places = self._places()

    def _places(self) -> Any:
        """Of each weight, the place of its leaf among the nodes."""
        self._order = np.lexsort((self.node, self.tree))
        keys = np.stack((self.tree[self._order], self.node[self._order]), axis=1)
        if len(keys) > 1 and (np.diff(keys, axis=0) == 0).all(axis=1).any():
            raise UnusualForestError("two nodes of a tree with one number")
        if len(keys) and (keys.min() < 0 or keys.max() >= 1 << 31):
            raise UnusualForestError("numbers of trees or nodes outside 31 bits")
        self._keys = keys[:, 0] << 32 | keys[:, 1]
        return self.find(self.weight_tree, self.weight_node)

    def find(self, tree: Any, node: Any) -> Any:
        """The places of nodes, by tree and number."""
        wanted = tree << 32 | node
        at = np.searchsorted(self._keys, wanted).clip(max=max(len(self._keys) - 1, 0))
        if not len(self._keys) or (self._keys[at] != wanted).any():
            raise UnusualForestError("a number that no node of its tree has")
        return self._order[at]

    def needed(self) -> Any:
        """Of each weight, whether the answers need it: False for a zero that may be left out."""
        zero: Any = self.weight == 0  # NaN is not
        if self.classifies and self.outputs == 2:
            # onnxruntime takes the positive class for absent where no tree gave it a number, even a zero; and it tells
            # one column of weights from two. The negative class is read only through its sum, unless there are base
            # values: it gets its own only where a tree gave it a number.
            negative = self.weight_to == 0
            zero &= negative & (len(self.base) == 0) & (self.weight[negative] != 0).any()
        elif not self.classifies and (
            self.outputs == 1 or len(self.base) or self.aggregate not in (b"SUM", b"AVERAGE")
        ):
            # A leaf has one number, or a target without one would not get its base value, or zero is the least.
            zero[:] = False
        kept = np.bincount(self.places, ~zero, minlength=len(self.tree))
        if self.classifies and self.outputs > 2 and not len(self.base):
            # The label is the first largest among the classes that got a number. Without the zeros it is the same if
            # the largest is above zero: no weight is negative, and every leaf has one that is positive.
            positive = np.bincount(self.places, self.weight > 0, minlength=len(self.tree))
            if not (self.weight >= 0).all() or (positive[self.modes == LEAF] == 0).any():
                zero[:] = False
        if (np.signbit(self.base) & (self.base == 0)).any():
            zero[:] = False  # a base value of -0.0 is the answer where there is no number, and 0.0 beside a zero
        # A leaf without any weight is refused: it keeps what it has.
        return ~zero | (kept[self.places] == 0)

    def compact(self, needed: Any) -> bytes:
        """The node with these weights, and without what is never read."""
        per_weight = {f"{self._prefix}_{name}" for name in _PER_WEIGHT}
        unread = {"nodes_hitrates"} | ({"nodes_missing_value_tracks_true"} if self.missing is None else set())
        values: dict[str, Any] = {}
        for name, attribute in self._node.attributes.items():
            if name in per_weight:
                values[name] = attribute.value[needed]
            elif isinstance(attribute.value, np.ndarray) and name not in unread:
                values[name] = attribute.value
            elif name not in unread:
                values[name] = Attribute(name, attribute.value, attribute.raw)
        return self._node.with_attributes(values)


def _lists(found: dict[str, Any], prefix: str, names: tuple[str, ...]) -> list[Any]:
    """Lists of a node that belong together, all of one length."""
    lists = [found.get(f"{prefix}_{name}") for name in names]
    lengths = {None if values is None else len(values) for values in lists}
    if None in lengths or len(lengths) != 1:
        raise UnusualForestError(f"lists of {prefix} that are missing, or of different lengths")
    return lists


def forests(file: OnnxFile) -> list[tuple[int, Node]]:
    """The tree ensembles of the main graph, with their places."""
    return [(place, node) for place, node in file.nodes() if node.domain == ML and node.kind in (CLASSIFIER, REGRESSOR)]


def without_zeros(model: bytes) -> tuple[bytes, str]:
    """The model with compact forests, and what was done in words.

    Raises:
        MalformedError: When the bytes are not an ONNX file.
        UnusualForestError: When its trees are left as they are.
    """
    file = OnnxFile(model)
    dropped = weights = nodes = 0
    for place, node in forests(file):
        trees = Trees(node)
        needed = trees.needed()
        dropped, weights, nodes = dropped + int((~needed).sum()), weights + len(needed), nodes + len(trees.tree)
        file.replace(place, NODE, trees.compact(needed))
    if not nodes:
        raise UnusualForestError("no trees")
    compact = file.to_bytes()
    return compact, (
        f"{dropped:,} of {weights:,} weights were zero and are left out, {nodes:,} nodes written packed: "
        f"{len(model):,} to {len(compact):,} bytes"
    )
