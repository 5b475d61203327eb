"""What follows a single tree and nothing else, as numbers at each of its leaves.

    nodes that depend on one tree alone ──► the tree, choosing a leaf by its number ──► onnxruntime ──► [leaf, column]

A tree of an ensemble that is written tree by tree gives a row one of a few answers, so whatever is computed from that
answer row by row is one of a few answers too. onnxruntime computes them here, with the operations of the file: the bits
are those that it would give at every request.

The rule: only operations that look at one row, by what is known of them (`by_row`), and, since a list can be wrong, a
second run with more rows, in another order, has to give the same.

Some operations round by where a number lies: onnxruntime takes four logarithms at a time and the last three one by one,
and one in 25 differs in its last bit. A leaf for which that shows has two answers, so for its tree they stay operations
(`ByPlaceError`).
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from modelyard.compiling import protobuf
from modelyard.compiling.forests import LEAF, Trees, UnusualForestError
from modelyard.compiling.onnx_file import INPUT, ML, NODE, OUTPUT, Node, OnnxFile, new_value
from modelyard.compiling.proving import same, session
from modelyard.trial import readable

_EACH_NUMBER = frozenset({
    "Abs", "Add", "And", "Cast", "Ceil", "Clip", "Div", "Equal", "Exp", "Floor", "Greater", "GreaterOrEqual",
    "Identity", "Less", "LessOrEqual", "Log", "Max", "Min", "Mul", "Neg", "Not", "Or", "Pow", "Reciprocal", "Relu",
    "Reshape", "Sigmoid", "Sign", "Sqrt", "Sub", "Tanh", "Where", "Xor",
})  # fmt: skip
_EACH_ROW = frozenset({"ArgMax", "ArgMin"})
_BY_PLACE = frozenset({"Exp", "Log", "Pow", "Sigmoid", "Tanh"})
_ONE_BY_ONE, _LONGEST_RUN = 3, 16
"""Numbers that are not computed several at a time, on any processor; and how many are at most."""


class ByPlaceError(UnusualForestError):
    """What follows a tree gives one leaf two answers, by where it lies in a batch."""


def by_row(node: Node) -> bool:
    """Whether an operation computes each row of its result from the same row of what it is given."""
    if node.domain == ML:
        return node.kind == "LabelEncoder"
    if node.domain:
        return False
    axis = node.attributes.get("axis") if node.kind in _EACH_ROW else None
    return node.kind in _EACH_NUMBER or (axis is not None and axis.value == 1)


def by_place(node: Node) -> bool:
    """Whether an operation may round a number in two ways, by where it lies among others."""
    return node.kind in _BY_PLACE


def leaves_of(trees: Trees) -> Any:
    """The places of its leaves, in the order in which `at_leaves` numbers them."""
    return np.flatnonzero(trees.modes == LEAF)


def at_leaves(
    file: OnnxFile,
    number: str,
    root: Node,
    trees: Trees,
    follows: Sequence[bytes],
    constants: Iterable[int],
    names: Sequence[str],
) -> list[Any]:
    """The values at each leaf, float32 [leaves, columns].

    Args:
        file: The model, for the versions of its operations.
        number: A name that no value has, for the number of a leaf.
        root: The ensemble of one tree.
        trees: The same, as arrays.
        follows: Operations on what it gives, in order.
        constants: Places of the initializers that they use.
        names: Of the values that are asked for.

    Raises:
        ByPlaceError: When a value is rounded in two ways.
        UnusualForestError: When a value is not float32 with a row for each leaf, or depends on other rows.
    """
    count = len(leaves_of(trees))
    operations = [_by_number(root, trees, number), *follows]
    rounding = [name for node in map(_read, follows) if by_place(node) for name in node.outputs]

    def answers(wanted: Sequence[str], *batches: Any) -> list[list[Any]]:
        graph = [
            (INPUT, new_value(number, "leaves", 1)),
            *((NODE, operation) for operation in operations),
            *((OUTPUT, protobuf.content(1, name.encode())) for name in wanted),  # of whatever type
        ]
        engine = session(file.with_graph(graph, constants))
        return [engine.run(wanted, {number: rows.astype(np.float32)[:, None]}) for rows in batches]

    every = np.arange(count)
    # Each leaf at another place, none of them among the last; and a number of rows that has no divisor in common.
    order = np.resize(np.roll(every, count // 2), count * (1 + -(-_LONGEST_RUN // count)) + 1)
    few = np.split(every, range(_ONE_BY_ONE, count, _ONE_BY_ONE)) if rounding else []
    try:
        found, again, *pieces = answers(names, every, order, *few)
        several = any(values.size != count for values in answers(rounding, every)[0]) if rounding else False
    except Exception as refused:
        raise UnusualForestError(f"what follows a tree: {readable(refused)}") from refused
    for name, values in zip(names, found, strict=True):
        if values.dtype != np.float32 or values.ndim != 2 or len(values) != count:
            raise UnusualForestError(f"{name} is {values.dtype} {list(values.shape)} for {count} leaves")
    steady = all(same([values[leaves] for values in found], piece) for leaves, piece in zip(few, pieces, strict=True))
    if several or not steady:
        raise ByPlaceError(f"{names[0]} is rounded by where a row lies")
    if not same([values[order] for values in found], again):
        raise (ByPlaceError if rounding else UnusualForestError)(f"{names[0]} of a row depends on other rows")
    return list(found)


def _read(operation: bytes) -> Node:
    return Node(memoryview(operation))


def _by_number(root: Node, trees: Trees, number: str) -> bytes:
    """The same ensemble, whose branches lead to the leaf of a number, in a tree as even as can be.

    Node k goes on at 2k + 1 and 2k + 2; those from the number of branches on are leaves.
    """
    leaves = leaves_of(trees)
    branches, nodes = len(leaves) - 1, 2 * len(leaves) - 1
    at = np.arange(nodes)
    depth = np.floor(np.log2(at + 1)).astype(np.int64)
    # The deepest leaves are the first from left to right, then those one level above.
    as_leaf = np.concatenate(
        (at[branches:][depth[branches:] == depth[-1]], at[branches:][depth[branches:] < depth[-1]])
    )
    rank = np.full(nodes, -1)
    rank[as_leaf] = np.arange(len(leaves))
    last = np.where(
        at < branches, 2 * at + 1, at
    )  # of each branch: the last leaf where its number is at most the split
    while (last < branches).any():
        last = np.where(last < branches, 2 * last + 2, last)
    leads = np.arange(nodes) < branches
    modes = [b"BRANCH_LEQ" if branch else b"LEAF" for branch in leads.tolist()]
    node_of = np.zeros(len(trees.tree), np.int64)
    node_of[leaves] = as_leaf
    if (trees.modes[trees.places] != LEAF).any():
        raise UnusualForestError("weights of branches: no sum has them, but they can decide which class is meant")
    prefix = "class" if trees.classifies else "target"
    values: dict[str, Any] = {
        name: attribute
        for name, attribute in root.attributes.items()
        if not name.startswith(
            ("nodes_", f"{prefix}_treeids", f"{prefix}_nodeids", f"{prefix}_ids", f"{prefix}_weights")
        )
    }
    values |= {
        "nodes_treeids": np.zeros(nodes, np.int64),
        "nodes_nodeids": at,
        "nodes_featureids": np.zeros(nodes, np.int64),
        "nodes_modes": modes,
        "nodes_values": np.where(leads, rank[last] + 0.5, 0).astype(np.float32),
        "nodes_truenodeids": np.where(leads, 2 * at + 1, 0),
        "nodes_falsenodeids": np.where(leads, 2 * at + 2, 0),
        f"{prefix}_treeids": np.zeros(len(trees.places), np.int64),
        f"{prefix}_nodeids": node_of[trees.places],
        f"{prefix}_ids": trees.weight_to,
        f"{prefix}_weights": trees.weight,
    }
    return Node(memoryview(root.with_attributes(values))).with_inputs([number])
