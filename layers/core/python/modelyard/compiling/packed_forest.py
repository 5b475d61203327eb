"""Forests for a kernel of our own: the trees as one list of words, mapped from the file of weights.

onnxruntime makes its trees from lists of numbers and text, half a microsecond for each node; no file can change that
(`modelyard.compiling.tree_ensemble`). ``layers/native/forest.c`` reads them where they lie, at 8 bytes a node:

    header, base values, labels, root of each tree, votes of leaves with several, nodes

- A branch: its threshold, its feature (12 bits), how far ahead its true branch lies (18 bits). The false one is next.
- A leaf: its number and its class or target; or where its votes begin and how many there are.

The numbers are added up tree after tree, as onnxruntime does on one thread. On several it adds up in another order, so
a form with this operation is for one thread. What is refused here stays a `TreeEnsemble`; what is not has to be proven
equal like any other form.
"""

from pathlib import Path
from typing import Any

import numpy as np

from modelyard.compiling import attributes
from modelyard.compiling.forests import LEAF, Trees, UnusualForestError, forests
from modelyard.compiling.loading import WEIGHTS
from modelyard.compiling.onnx_file import NODE, OUTPUT, Node, OnnxFile, new_node
from modelyard.compiling.tree_ensemble import SMALLEST, Shape

DOMAIN = "modelyard"
LAYOUT = 1
"""Changes with what is written here or read in forest.c; the library that a form asks for has it in its name."""

LEAST_OUTSIDE = 1 << 20
"""Bytes of trees from which on they are mapped from the file of weights: another file is another request to S3."""

_MAGIC = 0x3146594D
_MISSING, _AVERAGE, _CLASSIFIES, _ONE_CLASS, _POSITIVE = 1, 2, 4, 8, 16
_TRANSFORMS = {b"NONE": 0, b"SOFTMAX": 1, b"LOGISTIC": 2}
_EQ = 4
_LARGEST_MEMBER = 32
_BRANCH, _SECOND = 1 << 12, 1 << 13
_MORE_AT, _MOST_FEATURES, _MOST, _MOST_OUTPUTS = 14, 1 << 12, 1 << 18, 1 << 16
_IR_VERSION = 10


def as_packed_forest(model: bytes, folder: Path | None = None) -> tuple[bytes, str]:
    """The model with all its forests as our own operation, and what was done in words.

    Args:
        model: The bytes of the file.
        folder: That of its weights, to which the trees are appended where they are large; None: they stay in the file.

    Raises:
        MalformedError: When the bytes are not an ONNX file.
        UnusualForestError: When they are not converted; the message says why.
    """
    file = OnnxFile(model)
    found = [(place, node, Trees(node)) for place, node in forests(file)]
    if any(node.holds_graphs() for _, node in file.nodes()):
        raise UnusualForestError("a graph inside a node")
    count = sum(len(trees.tree) for _, _, trees in found)
    if count < SMALLEST:
        raise UnusualForestError(f"{count:,} nodes are loaded in no time")
    used = {name for _, node in file.nodes() for name in node.inputs} | set(file.names(OUTPUT))
    size = 0
    for place, node, trees in reversed(found):
        words = packed(trees)
        name = file.unused_name(f"{node.outputs[-1] or node.outputs[0]}/trees")
        size += words.nbytes
        file.add_initializer(_constant(words, name, folder))
        file.replace(place, NODE, *_operations(file, node, trees, name, used))
    file.set_opset(DOMAIN, 1)
    file.raise_ir_version(_IR_VERSION)
    return file.to_bytes(), f"{count:,} nodes of trees in {size:,} bytes for a kernel of our own, on one thread"


def _constant(words: Any, name: str, folder: Path | None) -> bytes:
    if folder is None or words.nbytes < LEAST_OUTSIDE:
        return attributes.tensor(words, name)
    return attributes.outside_tensor(words, name, folder / WEIGHTS)


def _operations(file: OnnxFile, old: Node, trees: Trees, packed_name: str, used: set[str]) -> list[bytes]:
    inputs = [*old.inputs, packed_name]
    if not trees.classifies:
        return [new_node("ForestRegressor", inputs, [old.outputs[0]], domain=DOMAIN)]
    label = old.outputs[0] or file.unused_name(f"{packed_name}/label")
    scores = old.outputs[1] if len(old.outputs) > 1 and old.outputs[1] else file.unused_name(f"{packed_name}/scores")
    if not isinstance(trees.labels, list) or label not in used:
        return [new_node("ForestClassifier", inputs, [label, scores], domain=DOMAIN)]
    chosen, names = file.unused_name(f"{label}/place"), file.unused_name(f"{label}/names")
    file.add_initializer(attributes.strings_tensor(trees.labels, names))
    return [
        new_node("ForestClassifier", inputs, [chosen, scores], domain=DOMAIN),
        new_node("Gather", [names, chosen], [label], axis=0),
    ]


def packed(trees: Trees) -> Any:
    """The words that forest.c reads, int32.

    Raises:
        UnusualForestError: When the trees are none that it runs like onnxruntime.
    """
    mode = _mode(trees)
    flags = _flags(trees)
    shape = Shape(trees)
    at = _depth_first(shape)
    votes, leaf_value, leaf_rest = _leaves(trees, at)
    value, rest = np.zeros(len(at), np.float32), np.zeros(len(at), np.uint32)
    branches = shape.branches
    more = at[shape.true[branches]] - at[branches] - 1
    features = trees.feature
    if len(features) and (features.min() < 0 or features.max() >= _MOST_FEATURES):
        raise UnusualForestError(f"a feature beyond the first {_MOST_FEATURES:,}")
    if len(more) and more.max() >= _MOST:
        raise UnusualForestError(f"a tree with branches of {_MOST:,} nodes")
    value[at[branches]] = trees.value[branches]
    rest[at[branches]] = more << _MORE_AT | features[branches] | _BRANCH
    if trees.missing is not None:
        rest[at[branches]] |= np.where(trees.missing[branches] == 1, _SECOND, 0).astype(np.uint32)
    leaves = np.flatnonzero(shape.is_leaf)
    value[at[leaves]], rest[at[leaves]] = leaf_value[leaves], leaf_rest[leaves]
    nodes = np.stack((value.view(np.uint32), rest), axis=1).ravel()
    head = np.array(
        [
            _MAGIC, LAYOUT, 0, mode, flags, _TRANSFORMS[trees.post], trees.outputs, len(shape.roots), len(at),
            len(votes) // 2, int(features.max(initial=0)) + 1, len(trees.base),
        ],
        np.uint32,
    )  # fmt: skip
    parts = [head, trees.base.astype(np.float32).view(np.uint32), _labels(trees, flags)]
    parts += [at[shape.roots].astype(np.uint32), votes]
    if sum(map(len, parts)) % 2:
        parts.append(np.zeros(1, np.uint32))
    words: Any = np.concatenate((*parts, nodes))
    words[2] = len(words)
    return words.view(np.int32)


def _mode(trees: Trees) -> int:
    """How all branches compare."""
    modes = np.unique(trees.modes[trees.modes != LEAF])
    if len(modes) > 1:
        raise UnusualForestError("branches that compare in different ways")
    mode = int(modes[0]) if len(modes) else 0
    if mode == _EQ:
        # onnxruntime makes sets of the categories 1 to 32, and then compares every other node of the tree as a set.
        values = trees.value[trees.modes == _EQ]
        if ((values >= 1) & (values <= _LARGEST_MEMBER) & (values == np.floor(values))).any():
            raise UnusualForestError("categories, which onnxruntime makes sets of")
    return mode


def _flags(trees: Trees) -> int:
    outputs, bases = trees.outputs, len(trees.base)
    if trees.post not in _TRANSFORMS or (outputs == 1 and trees.post != b"NONE"):
        raise UnusualForestError(f"{trees.post.decode()} after the sum")
    if trees.aggregate not in (b"SUM", b"AVERAGE"):
        raise UnusualForestError(f"{trees.aggregate.decode()} of the trees")
    if not 1 + trees.classifies <= outputs <= _MOST_OUTPUTS:
        raise UnusualForestError(f"{outputs:,} outputs")
    flags = 0 if trees.missing is None else _MISSING
    flags |= _AVERAGE if trees.aggregate == b"AVERAGE" else 0
    if trees.classifies:
        flags |= _CLASSIFIES
        flags |= _ONE_CLASS if outputs == 2 and len(np.unique(trees.weight_to)) == 1 else 0
        flags |= 0 if (trees.weight < 0).any() else _POSITIVE
    one_of_two = outputs == 2 and bases == 1 and bool(flags & _ONE_CLASS)
    if bases not in (0, outputs) and not one_of_two:
        raise UnusualForestError(f"{bases} base values for {outputs}")
    return flags


def _labels(trees: Trees, flags: int) -> Any:
    """The number of each class, as words; of two classes with numbers for both, onnxruntime says 0 or 1."""
    if not trees.classifies:
        return np.empty(0, np.uint32)
    named = isinstance(trees.labels, list) or (trees.outputs == 2 and not flags & _ONE_CLASS)
    labels = np.arange(trees.outputs) if named else trees.labels
    return np.ascontiguousarray(labels, np.int64).view(np.uint32)


def _depth_first(shape: Shape) -> Any:
    """Of each node its place where a tree follows the other, and a false branch its node."""
    sizes = np.ones(len(shape.is_leaf), np.int64)
    for level in reversed(shape.levels):
        inner = level[~shape.is_leaf[level]]
        sizes[inner] += sizes[shape.true[inner]] + sizes[shape.false[inner]]
    at = np.zeros(len(sizes), np.int64)
    at[shape.roots] = np.cumsum(sizes[shape.roots]) - sizes[shape.roots]
    for level in shape.levels:
        inner = level[~shape.is_leaf[level]]
        false = shape.false[inner]
        at[false] = at[inner] + 1
        at[shape.true[inner]] = at[inner] + 1 + sizes[false]
    return at


def _leaves(trees: Trees, at: Any) -> tuple[Any, Any, Any]:
    """The table of votes as words, and of each leaf the two words of its node."""
    needed = np.ones(len(trees.weight), bool) if trees.outputs == 2 else trees.needed()
    needed &= trees.modes[trees.places] == LEAF  # others are never read
    places, to, weight = trees.places[needed], trees.weight_to[needed], trees.weight[needed]
    if len(to) and (to.min() < 0 or to.max() >= trees.outputs):
        raise UnusualForestError("a class or target that is not there")
    counts = np.bincount(places, minlength=len(at))
    leaves = trees.modes == LEAF
    if (counts[leaves] == 0).any() or counts.max() >= _MOST or (trees.outputs == 1 and counts.max() > 1):
        raise UnusualForestError("leaves without a number, or with several for one target")
    single, several = counts[places] == 1, counts[places] > 1
    value, rest = np.zeros(len(at), np.float32), np.zeros(len(at), np.uint32)
    value[places[single]] = weight[single]
    rest[places[single]] |= (to[single] << _MORE_AT).astype(np.uint32)
    # Of each leaf in turn, as they will lie, the votes in the order of the file.
    order = np.flatnonzero(several)
    order = order[np.argsort(at[places[order]], kind="stable")]
    _, first = np.unique(at[places[order]], return_index=True)
    leaf = places[order][first]
    value[leaf] = first.astype(np.uint32).view(np.float32)
    rest[leaf] |= (_SECOND | counts[leaf] << _MORE_AT).astype(np.uint32)
    votes = np.stack((to[order].astype(np.uint32), weight[order].view(np.uint32)), axis=1).ravel()
    return votes, value, rest
