"""Inputs to compare two models on, where the caller has none: realistic spreads in several batch sizes.

A model says what it takes as a dtype and a shape, not which values mean something. So spreads are tried, and those that
the model refuses (a token id beyond its vocabulary) are left out. What the file itself says is used: text is drawn from
the categories in it, and numbers for a forest lie on its thresholds, one step above and one step below, where a branch
that was turned the wrong way shows; so do infinities and missing values among them. Seeded, so that the same model gets
the same sample.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from modelyard.compiling.onnx_file import Node, OnnxFile

BATCHES = (1, 3, 40, 200)
"""One row; a few; above and below the numbers at which onnxruntime splits a forest's work in other ways."""

MANY = 10_000
"""Rows of a forest's last table, as many as an endpoint takes: some operations compute large batches in another way."""

LARGEST = 1 << 22
"""Elements of one input; larger batches are left out, except for one row."""

_FREE_SIZES = (16, 1, 33)
_LARGER_SIZES = (32, 64, 224, 512)
"""For a network that halves an image five times, or takes a stretch of sound: multiples of what it may ask for."""

_WORDS = ("", "0", "1", "2000-01-01", "a", "the quick brown fox")
_MISSING_SHARE = 0.1
_EDGE_SHARE = 0.3
_SEED = 20240229


class Spread:
    """How the values of a sample are drawn."""

    def __init__(
        self, name: str, *, size: float = 1.0, shift: float = 0.0, most: int = 1, missing: bool = False
    ) -> None:
        self.name = name
        self.size = size
        self.shift = shift
        self.most = most
        self.missing = missing


# From narrow to wide: what a model refuses is refused from some spread on.
_SPREADS = (
    Spread("units", most=1),
    Spread("shares", size=0.2, shift=0.5, most=9),
    Spread("units with missing", most=99, missing=True),
    Spread("tens", size=30.0, shift=20.0, most=999),
    Spread("thousands", size=3000.0, most=20_000),
)


class Hints:
    """What the file says about values: text that it knows, thresholds by feature."""

    def __init__(self, model: bytes) -> None:
        self.words: list[str] = []
        self.thresholds: dict[int, Any] = {}
        nodes = [node for _, node in OnnxFile(model).nodes()]
        for node in nodes:
            if node.kind in ("LabelEncoder", "OneHotEncoder", "CategoryMapper"):
                self.words.extend(_texts(node))
            elif node.kind.startswith("TreeEnsemble"):
                self._thresholds_of(node)

    def _thresholds_of(self, node: Node) -> None:
        found = {name: attribute.value for name, attribute in node.attributes.items()}
        values, features, modes = (found.get(f"nodes_{name}") for name in ("values", "featureids", "modes"))
        if values is None or features is None or modes is None or not len(values) == len(features) == len(modes):
            return
        branches = np.array(modes) != b"LEAF"
        if not branches.any():
            return
        values, features = values[branches], features[branches]
        order = np.argsort(features, kind="stable")
        ids, starts = np.unique(features[order], return_index=True)
        for number, own in zip(ids.tolist(), np.split(values[order], starts[1:]), strict=True):
            self.thresholds[number] = np.unique(np.concatenate((self.thresholds.get(number, own[:0]), own)))


def _texts(node: Node) -> list[str]:
    found = (attribute.value for attribute in node.attributes.values() if isinstance(attribute.value, list))
    return [text.decode("utf-8", "replace") for texts in found for text in texts[:200]]


def generated(inputs: list[Any], hints: Hints, *, larger: bool = False) -> Iterator[tuple[str, dict[str, Any]]]:
    """Samples as arrays by input name, each with words for what it is.

    Args:
        inputs: As ``session.get_inputs()`` of onnxruntime gives them.
        hints: Of the same model.
        larger: For a model that took none of the others: open axes are larger.
    """
    random = np.random.default_rng(_SEED)
    on_thresholds = hints.thresholds and len(inputs) == 1 and inputs[0].type in ("tensor(float)", "tensor(double)")
    first: int | str | None = next((node.shape[0] for node in inputs if node.shape), None)
    # Without axes an input is one number, or any number of axes: a session says the same of both.
    as_rows = larger == any(node.shape for node in inputs)
    batches = (first,) if isinstance(first, int) else BATCHES
    sizes: tuple[int, ...] = _LARGER_SIZES if larger else _FREE_SIZES
    sizes = sizes if any(not isinstance(size, int) for node in inputs for size in node.shape[1:]) else sizes[:1]
    pairs = ((rows, free) for free in sizes for rows in batches) if larger else ((r, f) for r in batches for f in sizes)
    for rows, free in pairs:
        if on_thresholds and free == sizes[0]:
            table = _on_thresholds(inputs[0], rows, hints, random)
            yield f"{rows} x thresholds", {inputs[0].name: table}
            yield f"{rows} x thresholds and infinities", {inputs[0].name: _with_edges(table, random)}
        shapes = {
            node.name: _shape(node.shape, rows, free, first) if node.shape else [rows] * as_rows for node in inputs
        }
        if rows > 1 and max(int(np.prod(shape)) for shape in shapes.values()) > LARGEST:
            continue
        for spread in _SPREADS:
            feeds = {}
            for node in inputs:
                shape = shapes[node.name]
                feeds[node.name] = _drawn(node.type, shape or [1], spread, hints, random).reshape(shape)
            yield f"{rows} x {spread.name}", feeds
    if on_thresholds and not isinstance(first, int):
        table = _on_thresholds(inputs[0], MANY, hints, random)
        if table.size <= LARGEST:
            yield f"{MANY} x thresholds and infinities", {inputs[0].name: _with_edges(table, random)}


def _shape(declared: list[Any], rows: int, free: int, batch: Any) -> list[int]:
    """Sizes that are declared stay; rows lie on the first axis, or on the next one where that has a size, as a state's.

    Args:
        declared: Numbers, names or None.
        rows: How many.
        free: Of other axes.
        batch: What the model's first input declares of its first axis.
    """
    found, rows_are_placed = [], isinstance(batch, int)
    for axis, size in enumerate(declared):
        if isinstance(size, int):
            found.append(size)
        elif axis == 0 or (size == batch and (size is not None or not rows_are_placed)):
            found.append(rows)
            rows_are_placed = True
        else:
            terms = [term.strip() for term in size.split("+")] if isinstance(size, str) else [""]
            found.append(sum(rows if t == batch else int(t) if t.isdecimal() else free for t in terms))
    return found


def _drawn(onnx_type: str, shape: list[int], spread: Spread, hints: Hints, random: Any) -> Any:
    element = onnx_type.removeprefix("tensor(").removesuffix(")")
    if element == "string":
        words = np.array([*_WORDS, *hints.words, *hints.words], dtype=object)
        return words[random.integers(0, len(words), shape)]
    if element == "bool":
        return random.random(shape) < 0.5
    if element in ("float", "double", "float16"):
        dtype = {"float": np.float32, "double": np.float64, "float16": np.float16}[element]
        values = random.standard_normal(shape) * spread.size + spread.shift
        if spread.missing:
            values[random.random(shape) < _MISSING_SHARE] = np.nan
        return values.astype(dtype)
    most = min(spread.most, int(np.iinfo(element).max))
    return random.integers(0, most + 1, shape).astype(element)


def _on_thresholds(node: Any, rows: int, hints: Hints, random: Any) -> Any:
    width = node.shape[1] if len(node.shape) > 1 and isinstance(node.shape[1], int) else max(hints.thresholds) + 1
    dtype = np.float32 if node.type == "tensor(float)" else np.float64
    values = random.standard_normal((rows, width)).astype(dtype)
    for feature, thresholds in hints.thresholds.items():
        if 0 <= feature < width:
            drawn = thresholds[random.integers(0, len(thresholds), rows)].astype(dtype)
            step = random.integers(-1, 2, rows)
            aside = np.nextafter(drawn, np.where(step < 0, -np.inf, np.inf).astype(dtype), dtype=dtype)
            values[:, feature] = np.where(step == 0, drawn, aside)
    return values


def _with_edges(table: Any, random: Any) -> Any:
    """The same numbers, some of them infinite, missing or zero of either sign."""
    edges = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0], table.dtype)
    drawn = edges[random.integers(0, len(edges), table.shape)]
    return np.where(random.random(table.shape) < _EDGE_SHARE, drawn, table)
