"""Ensembles that are written tree by tree, one operation for each: all trees in one.

    operations of one tree each ──► what follows each alone (`leaves`) ──► one forest, a target for each number
                                                                       ──► Split ──► what came after all trees

skl2onnx writes bagging, AdaBoost and isolation forests so, the last with 26 operations after each tree; of 300 trees
onnxruntime takes half a minute to create a session. Here the operations that depend on one tree alone are gone, since
their result is a number that the leaf can have. No sum moves: every number has a target of its own, where one tree
gives it, and what adds up the trees stays what it was.

Of what comes after all trees only that is written in another way which moves numbers: a Concat of everything is the
forest's own result, and a pile of [trees, rows, columns] is reshaped once in place of once for each tree.
"""

from collections import Counter, defaultdict
from typing import Any

import numpy as np

from modelyard.compiling import attributes, protobuf
from modelyard.compiling.forests import LEAF, REGRESSOR, Trees, UnusualForestError, forests
from modelyard.compiling.leaves import ByPlaceError, at_leaves, by_place, by_row, leaves_of
from modelyard.compiling.onnx_file import ML, NODE, OUTPUT, Node, OnnxFile, new_node

LEAST = 10
"""Trees below which their operations are loaded in no time."""

_FLOAT, _WHOLE = 1, (6, 7)
"""Numbers of element types. A classifier takes whole numbers, and compares them as float32; a regressor takes none."""

_TABLE = 2  # axes: rows, columns
_SPLIT_BY_INPUT = 13  # the version of ai.onnx from which on Split takes the sizes as an input


class _Tree:
    """One operation with one tree.

    Attributes:
        place: Of the operation in the graph.
        node: It.
        table: The value whose columns it looks at.
        columns: Which they are; None: all as they are.
        follows: Places of operations that depend on it alone.
        gives: What others use of it, by name, and its columns' values at each leaf.
    """

    def __init__(self, place: int, node: Node, table: str, columns: Any) -> None:
        self.place = place
        self.node = node
        self.table = table
        self.columns = columns
        self.follows: list[int] = []
        self.gives: dict[str, Any] = {}
        self.trees: Trees

    def values(self) -> Any:
        """All that it gives, float32 [leaves, columns]."""
        return np.concatenate(list(self.gives.values()), axis=1)


def as_one_forest(model: bytes) -> tuple[bytes, str] | None:
    """The model with such trees as one forest, and what was done in words; None where it has none.

    Raises:
        MalformedError: When the bytes are not an ONNX file.
        UnusualForestError: When they are left as they are; the message says why.
    """
    file = OnnxFile(model)
    if len(forests(file)) < LEAST:
        return None
    graph = _Graph(file)
    found = graph.trees()
    if len(found) < LEAST:
        return None
    graph.follow(found)
    for tree in found:
        graph.evaluate(tree)
    graph.measure_by_others(found)
    before = len(graph.nodes)
    _write(graph, [tree for tree in found if tree.gives])
    edited = file.to_bytes()
    return edited, (
        f"{len(found):,} operations of one tree as one forest: {before:,} operations became {len(file.nodes()):,}, "
        f"{len(model):,} to {len(edited):,} bytes"
    )


class _Graph:
    """The main graph, by what uses what."""

    def __init__(self, file: OnnxFile) -> None:
        self.file = file
        self.nodes: dict[int, Node] = dict(file.nodes())
        if any(node.holds_graphs() for node in self.nodes.values()):
            raise UnusualForestError("a graph inside a node")
        self.constants = file.initializers()
        self.outputs = set(file.names(OUTPUT))
        self.makers = {name: place for place, node in self.nodes.items() for name in node.outputs if name}
        self.removed: set[int] = set()
        self.leaf = file.unused_name("leaf")
        # Of a tree's output: the name of its shape, whose it is, and which of its outputs.
        self._shapes: dict[str, tuple[_Tree, int]] = {}
        self._axes: dict[str, int] = {}  # of what follows a tree: 1 for [rows], 2 for [rows, columns]
        self._alike: dict[str, int] = {}  # a constant for each row: its name, and the place of the operation

    def users(self) -> dict[str, list[int]]:
        """Of each value, the operations that use it, of those that stay."""
        found = defaultdict(list)
        for place, node in self.nodes.items():
            if place not in self.removed:
                for name in node.inputs:
                    found[name].append(place)
        return found

    def integers(self, name: str) -> Any:
        """A constant of whole numbers; None where it is none."""
        if name not in self.constants:
            return None
        return attributes.integers(self._constant(name))

    def _constant(self, name: str) -> memoryview:
        message: memoryview = next(protobuf.fields(memoryview(self.file.graph[self.constants[name]][1]))).value
        return message

    def trees(self) -> list[_Tree]:
        """The operations with one tree each, of the table that most of them look at."""
        found = []
        for place, node in forests(self.file):
            table, columns = node.inputs[0], None
            maker = self.nodes.get(self.makers.get(table, -1))
            chosen = None if maker is None else self._chosen(maker)
            if maker is not None and chosen is not None:
                table, columns = maker.inputs[0], chosen
            found.append(_Tree(place, node, table, columns))
        if not found:
            return []
        most = Counter(tree.table for tree in found).most_common(1)[0][0]
        return [tree for tree in found if tree.table == most and self._single(tree)]

    def _chosen(self, maker: Node) -> Any:
        """The columns that an operation takes from a table; None where it does something else."""
        axis = maker.attributes.get("axis") if maker.is_a("Gather") else None
        if not maker.is_a("ArrayFeatureExtractor", ML) and (axis is None or axis.value != 1):
            return None
        columns = self.integers(maker.inputs[1])
        return None if columns is None or (columns < 0).any() else columns

    @staticmethod
    def _single(tree: _Tree) -> bool:
        numbers = tree.node.attributes.get("nodes_treeids")
        if numbers is None or numbers.value is None or (numbers.value != numbers.value[0]).any():
            return False
        tree.trees = Trees(tree.node)
        looked_at = tree.trees.feature[tree.trees.modes != LEAF]
        return tree.columns is None or bool(((looked_at >= 0) & (looked_at < len(tree.columns))).all())

    def follow(self, found: list[_Tree]) -> None:
        """Find what depends on each tree alone, and what others use of it."""
        roots = {tree.place: tree for tree in found}
        owner: dict[str, _Tree] = {}
        for place, node in self.nodes.items():
            tree = roots.get(place) or self._follows(node, owner)
            if place in roots:
                self._axes.update(zip(reversed(node.outputs), (2, 1), strict=False))  # labels come first, if any
            if tree is not None:
                tree.follows.extend(() if tree.place == place else (place,))
                owner.update({name: tree for name in node.outputs if name})
            elif node.is_a("Shape") and not node.attributes and node.inputs[0] in owner:
                measured = owner[node.inputs[0]]
                if node.inputs[0] in measured.node.outputs:
                    self._shapes[node.outputs[0]] = measured, measured.node.outputs.index(node.inputs[0])
            elif node.is_a("ConstantOfShape") and node.inputs[0] in self._shapes:
                self._alike[node.outputs[0]] = place
                measured, output = self._shapes[node.inputs[0]]
                self._axes[node.outputs[0]] = self._axes[measured.node.outputs[output]]
        self.removed.update(*(tree.follows for tree in found), roots)
        users = self.users()
        for name, tree in owner.items():
            if name in self.outputs or name in users:
                tree.gives[name] = None

    def _follows(self, node: Node, owner: dict[str, _Tree]) -> _Tree | None:
        trees = {owner[name].place: owner[name] for name in node.inputs if name in owner}
        if len(trees) != 1 or not by_row(node):
            return None
        shape = self.integers(node.inputs[1]) if node.is_a("Reshape") else None
        if node.is_a("Reshape") and (shape is None or shape[:1].tolist() != [-1]):
            return None  # into something else than rows
        known = all(not name or name in owner or name in self.constants or name in self._alike for name in node.inputs)
        axes = self._axes_of(node, shape) if known else None
        if axes is None:
            return None
        self._axes.update(dict.fromkeys(filter(None, node.outputs), axes))
        return next(iter(trees.values()))

    def _axes_of(self, node: Node, shape: Any) -> int | None:
        """How many axes a result has that begins with the rows; None where rows and columns might meet.

        [rows] and [rows, columns] do, since axes are matched from the last one, and so does what has more axes.
        """
        given = {self._axes[name] for name in node.inputs if name in self._axes}
        if shape is not None:
            return len(shape) if len(shape) <= _TABLE else None
        constants = (attributes.sizes(self._constant(name)) for name in node.inputs if name in self.constants)
        fits = all(len(sizes) < max(given) or (sizes[:1] == [1] and len(sizes) == max(given)) for sizes in constants)
        if len(given) != 1 or not fits:
            return None
        if "axis" not in node.attributes:
            return given.pop()
        keeps = node.attributes.get("keepdims")
        return None if given != {_TABLE} else _TABLE if keeps is None or keeps.value else 1

    def evaluate(self, tree: _Tree) -> None:
        """Give the values of what others use of a tree; what has no such number at a leaf stays an operation."""
        while tree.gives:
            try:
                found = self._at_leaves(tree)
            except ByPlaceError:
                made = [
                    name for place in tree.follows if by_place(self.nodes[place]) for name in self.nodes[place].outputs
                ]
            else:
                made = [name for name, values in found.items() if (np.signbit(values) & (values == 0)).any()]
                tree.gives = found if not made else tree.gives
            if not made:
                break
            if not set(made).isdisjoint(tree.node.outputs):
                raise UnusualForestError("a zero below zero, which a sum does not keep")
            self._leave(tree, set(made))

    def _leave(self, tree: _Tree, made: set[str]) -> None:
        """Let the operations that make these values, and those that use them, stay where they are."""
        left: set[int] = set()
        unknown: set[str] = set()
        for place in tree.follows:
            node = self.nodes[place]
            if not made.isdisjoint(node.outputs) or not unknown.isdisjoint(node.inputs):
                left.add(place)
                unknown.update(filter(None, node.outputs))
        tree.follows = [place for place in tree.follows if place not in left]
        self.removed.difference_update(left)
        used = {name for place in left for name in self.nodes[place].inputs} | set(tree.gives)
        known = (*tree.node.outputs, *(name for place in tree.follows for name in self.nodes[place].outputs))
        tree.gives = {name: None for name in known if name and name in used}

    def _at_leaves(self, tree: _Tree) -> dict[str, Any]:
        """The values of what others use of a tree, by name."""
        used = {name for place in tree.follows for name in self.nodes[place].inputs}
        follows: list[bytes] = []
        for name in sorted(used & set(self._alike)):  # a row of them for each leaf, as of the tree that it was made for
            alike = self.nodes[self._alike[name]]
            measured, output = self._shapes[alike.inputs[0]]
            if (measured.trees.classifies, measured.trees.outputs) != (tree.trees.classifies, tree.trees.outputs):
                raise UnusualForestError(f"{name} has the shape of something that another tree does not give")
            shape = self.nodes[self.makers[alike.inputs[0]]].with_inputs([tree.node.outputs[output]])
            follows += [shape] if shape not in follows else []
            follows.append(alike.with_inputs(alike.inputs))
        follows += [self.nodes[place].with_inputs(self.nodes[place].inputs) for place in tree.follows]
        constants = sorted(self.constants[name] for name in used & set(self.constants))
        names = list(tree.gives)
        found = at_leaves(self.file, self.leaf, tree.node, tree.trees, follows, constants, names)
        return dict(zip(names, found, strict=True))

    def measure_by_others(self, found: list[_Tree]) -> None:
        """Let what only asks for the shape of a value ask it of another one, which is used for its numbers too."""
        users = self.users()
        for tree in found:
            for name, values in list(tree.gives.items()):
                places = users[name]
                others = [other for other, its in tree.gives.items() if other != name and its.shape == values.shape]
                if name not in self.outputs and others and all(self.nodes[place].is_a("Shape") for place in places):
                    for place in places:
                        self.replace(place, self.nodes[place].with_inputs(others[:1]))
                    users[others[0]].extend(places)
                    del tree.gives[name]

    def replace(self, place: int, operation: bytes) -> None:
        """Put one operation where another was."""
        self.file.replace(place, NODE, operation)
        self.nodes[place] = Node(memoryview(operation))


def _write(graph: _Graph, found: list[_Tree]) -> None:
    """Put one forest where the first tree was, and take out what is not used any more."""
    if not found:
        raise UnusualForestError("trees that nothing uses")
    file, first = graph.file, min(tree.place for tree in found)
    joined = graph.file.unused_name("trees")
    found, behind, done = _together(graph, found, joined)
    graph.removed.update(done)
    table, made = found[0].table, []
    if file.element(table) in _WHOLE:
        table = file.unused_name(f"{joined}/table")
        made.append(new_node("Cast", [found[0].table], [table], to=_FLOAT))
    made += [new_node(REGRESSOR, [table], [joined], domain=ML, **_attributes(found)), *behind]
    entries: list[tuple[int, bytes | memoryview]] = []
    for place, (kind, raw) in enumerate(file.graph):
        if place == first:
            entries.extend((NODE, protobuf.content(NODE, operation)) for operation in made)
        if place not in graph.removed:
            entries.append((kind, raw))
    file.graph = entries
    file.drop_unused()


def _together(graph: _Graph, found: list[_Tree], joined: str) -> tuple[list[_Tree], list[bytes], set[int]]:
    """The trees in the order of what uses them, the operations on their forest, and what these are in place of."""
    users = graph.users()
    widths = {name: values.shape[1] for tree in found for name, values in tree.gives.items()}
    maker = {name: tree for tree in found for name in tree.gives}
    alone = all(len(users[name]) == 1 and name not in graph.outputs for name in widths)
    using = {users[name][0]: name for name in widths} if alone else {}
    if len(using) == 1 and len(maker) == len(found):
        ((place, _),) = using.items()
        user = graph.nodes[place]
        ordered = [maker[name] for name in user.inputs] if sorted(user.inputs) == sorted(maker) else found
        axis = user.attributes.get("axis")
        if user.is_a("Concat") and ordered is not found and axis is not None and axis.value in (1, -1):
            return ordered, [new_node("Identity", [joined], user.outputs)], {place}
        return ordered, [_split(graph.file, joined, ordered)], set()
    piled = _pile(graph, users, using, widths) if len(using) == len(found) == len(widths) else None
    if piled is None:
        return found, [_split(graph.file, joined, found)], set()
    place, names, width = piled
    ordered = [maker[name] for name in names]
    shape, rows = graph.file.unused_name(f"{joined}/shape"), graph.file.unused_name(f"{joined}/rows")
    graph.file.add_initializer(attributes.tensor(np.array([len(names), -1, width]), shape))
    behind = [  # not Transpose, which onnxruntime moves to where numbers are added up in another order
        _split(graph.file, joined, ordered),
        new_node("Concat", names, [rows], axis=0),
        new_node("Reshape", [rows, shape], graph.nodes[place].outputs),
    ]
    return ordered, behind, {place, *using}


def _pile(
    graph: _Graph, users: dict[str, list[int]], using: dict[int, str], widths: dict[str, int]
) -> tuple[int, list[str], int] | None:
    """Where all values are piled up as [trees, rows, columns], in which order, and how many columns."""
    of: dict[str, str] = {}
    for place, name in using.items():
        node = graph.nodes[place]
        shape = graph.integers(node.inputs[1]) if node.is_a("Reshape") else None
        if shape is None or shape.tolist() != [1, -1, widths[name]] or len(users[node.outputs[0]]) != 1:
            return None
        of[node.outputs[0]] = name
    places = {users[name][0] for name in of}
    if len(places) != 1 or len(set(widths.values())) != 1 or graph.outputs & set(of):
        return None
    (place,) = places
    node = graph.nodes[place]
    axis = node.attributes.get("axis")
    if not node.is_a("Concat") or axis is None or (axis.value or 0) != 0 or sorted(node.inputs) != sorted(of):
        return None
    return place, [of[name] for name in node.inputs], next(iter(widths.values()))


def _split(file: OnnxFile, joined: str, found: list[_Tree]) -> bytes:
    pieces = {name: values.shape[1] for tree in found for name, values in tree.gives.items()}
    sizes = np.array(list(pieces.values()), np.int64)
    version = file.opset("") or file.opset("ai.onnx")  # one that is not said is the newest
    if version is not None and version < _SPLIT_BY_INPUT:
        return new_node("Split", [joined], list(pieces), axis=1, split=sizes)
    name = file.unused_name(f"{joined}/sizes")
    file.add_initializer(attributes.tensor(sizes, name))
    return new_node("Split", [joined, name], list(pieces), axis=1)


def _features(tree: _Tree) -> Any:
    """The columns of the table that the nodes look at; a leaf's is never read, and some writers give it -2."""
    features, branches = np.zeros(len(tree.trees.tree), np.int64), tree.trees.modes != LEAF
    looked_at = tree.trees.feature[branches]
    features[branches] = looked_at if tree.columns is None else tree.columns[looked_at]
    return features


def _attributes(found: list[_Tree]) -> dict[str, Any]:
    """Of the forest: the nodes as they were, and at each leaf its values, each with a target of its own."""
    lists: dict[str, list[Any]] = defaultdict(list)
    modes: list[bytes] = []
    width = 0
    for number, tree in enumerate(found):
        trees, values = tree.trees, tree.values()
        names = tree.node.attributes
        lists["nodes_treeids"].append(np.full(len(trees.tree), number))
        lists["nodes_nodeids"].append(trees.node)
        lists["nodes_featureids"].append(_features(tree))
        lists["nodes_values"].append(trees.value)
        lists["nodes_truenodeids"].append(trees.true)
        lists["nodes_falsenodeids"].append(trees.false)
        missing = np.zeros(len(trees.tree), np.int64) if trees.missing is None else trees.missing
        lists["nodes_missing_value_tracks_true"].append(missing)
        modes.extend(names["nodes_modes"].value)
        # A target without a number is zero; but a leaf has to have one.
        needed = values != 0
        needed[:, 0] |= ~needed.any(axis=1)
        leaf, column = np.nonzero(needed)
        lists["target_treeids"].append(np.full(len(leaf), number))
        lists["target_nodeids"].append(trees.node[leaves_of(trees)][leaf])
        lists["target_ids"].append(width + column)
        lists["target_weights"].append(values[leaf, column])
        width += values.shape[1]
    joined = {name: np.concatenate(arrays) for name, arrays in lists.items()}
    if not joined["nodes_missing_value_tracks_true"].any():
        del joined["nodes_missing_value_tracks_true"]
    return joined | {"nodes_modes": modes, "n_targets": width}
