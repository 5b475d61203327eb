"""Packed forests that lie about themselves, and a process that runs one: ``LIBRARY NAME``, or ``LIBRARY --fuzz N``."""

import json
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from onnx import TensorProto, helper, numpy_helper

MAGIC, LAYOUT, SIZE, MODE, FLAGS, TRANSFORM, OUTPUTS, TREES, NODES, VOTES, FEATURES, BASES, BODY = range(13)
BRANCH, SECOND = 1 << 12, 1 << 13
HUGE = 0xFFFFFFFF


def bits(value: float) -> int:
    return int(np.float32(value).view(np.uint32))


def honest() -> Any:
    """A classifier of three classes: two trees, one leaf with votes from the table, two columns."""
    head = [0x3146594D, 1, 0, 0, 4 | 16, 0, 3, 2, 8, 2, 2, 0]
    labels = [0, 0, 1, 0, 2, 0]
    roots, votes = [0, 5], [0, bits(0.25), 2, bits(0.75)]
    nodes = [
        *(bits(0.0), BRANCH | 1 | 1 << 14),  # column 1: then 2, else 1
        *(bits(1.0), 0 << 14),
        *(bits(0.5), BRANCH | 0 | 1 << 14),  # column 0: then 4, else 3
        *(0, SECOND | 2 << 14),  # the votes from 0 on, two of them
        *(bits(1.0), 2 << 14),
        *(bits(0.5), BRANCH | 0 | 1 << 14),  # the second tree
        *(bits(1.0), 1 << 14),
        *(bits(1.0), 2 << 14),
    ]
    words = np.array([*head, *labels, *roots, *votes, *nodes], np.uint32)
    words[SIZE] = len(words)
    return words


def regression(targets: int) -> Any:
    """The same trees for one target, or for three."""
    words = honest()
    words = np.concatenate((words[:BODY], words[BODY + 6 :]))
    words[FLAGS], words[OUTPUTS] = 0, targets
    if targets == 1:
        words[VOTES] = 0
        words = np.concatenate((words[: BODY + 2], words[BODY + 6 :]))
        rests = words[BODY + 3 :: 2]
        rests[rests & BRANCH == 0] &= 0xFFF
    words[SIZE] = len(words)
    return words


def two_classes() -> Any:
    """The same trees for two classes, of which both get numbers."""
    words = honest()
    words = np.concatenate((words[: BODY + 4], words[BODY + 6 :]))
    words[OUTPUTS] = 2
    words[TABLE] = 1
    rests = words[FIRST - 1 :: 2]
    rests[rests == 2 << 14] = 1 << 14
    words[SIZE] = len(words)
    return words


ROOTS = BODY - 1 + 6 + 1
TABLE = ROOTS + 2
FIRST = TABLE + 4


class Hostile(NamedTuple):
    """What is done to an honest forest, and how what is said of it begins."""

    change: Callable[[Any], Any]
    said: str


def put(place: int, value: int) -> Callable[[Any], Any]:
    def changed(words: Any) -> Any:
        words[place] = value
        return words

    return changed


def node(number: int, rest: int, value: int | None = None) -> Callable[[Any], Any]:
    def changed(words: Any) -> Any:
        words[FIRST + 2 * number + 1] = rest
        if value is not None:
            words[FIRST + 2 * number] = value
        return words

    return changed


def cut(words: Any) -> Any:
    words = words[:-2]
    words[SIZE] = len(words)
    return words


OUT_OF_TREE = "packed forest: a branch that leads out of its tree"
OUT_OF_TABLE = "packed forest: a leaf with votes outside the table"
CUT = "packed forest: cut off, or too long"
HOSTILE: dict[str, Hostile] = {
    "honest": Hostile(lambda words: words, "answered"),
    "empty": Hostile(lambda words: words[:0], "packed forest: not one"),
    "a few words": Hostile(lambda words: words[:11], "packed forest: not one"),
    "cut off": Hostile(lambda words: words[:-1], CUT),
    "cut off, and says so": Hostile(cut, CUT),
    "too long": Hostile(lambda words: np.append(words, words[-2:]), CUT),
    "another magic": Hostile(put(MAGIC, 7), "packed forest: not one"),
    "another layout": Hostile(put(LAYOUT, 2), "packed forest: another layout"),
    "an unknown comparison": Hostile(put(MODE, 6), "packed forest: an unknown setting"),
    "an unknown flag": Hostile(put(FLAGS, 32 | 4), "packed forest: an unknown setting"),
    "an unknown transform": Hostile(put(TRANSFORM, 3), "packed forest: an unknown setting"),
    "a regression for a classifier": Hostile(put(FLAGS, 0), CUT),
    "no outputs": Hostile(put(OUTPUTS, 0), "packed forest: no outputs"),
    "one class": Hostile(put(OUTPUTS, 1), "packed forest: no outputs"),
    "huge outputs": Hostile(put(OUTPUTS, HUGE), "packed forest: no outputs"),
    "no trees": Hostile(put(TREES, 0), "packed forest: no outputs"),
    "huge trees": Hostile(put(TREES, HUGE), CUT),
    "more trees than nodes": Hostile(put(TREES, 3), CUT),
    "huge nodes": Hostile(put(NODES, HUGE), CUT),
    "nodes that wrap around": Hostile(put(NODES, 8 + (1 << 31)), CUT),
    "huge votes": Hostile(put(VOTES, HUGE), CUT),
    "votes that wrap around": Hostile(put(VOTES, 2 + (1 << 31)), CUT),
    "no features": Hostile(put(FEATURES, 0), "packed forest: no outputs"),
    "more features than the input has": Hostile(put(FEATURES, 4000), "packed forest: the trees read 4000 columns"),
    "huge features": Hostile(put(FEATURES, HUGE), "packed forest: the trees read 4294967295 columns"),
    "base values for some": Hostile(put(BASES, 1), "packed forest: base values for some"),
    "huge base values": Hostile(put(BASES, HUGE), "packed forest: base values for some"),
    "nodes before the first tree": Hostile(put(ROOTS, 1), "packed forest: nodes before"),
    "trees that overlap": Hostile(put(ROOTS + 1, 0), "packed forest: trees that overlap"),
    "a tree far away": Hostile(put(ROOTS + 1, HUGE), "packed forest: trees that overlap"),
    "a vote for nobody": Hostile(put(TABLE, 3), "packed forest: a vote for"),
    "a feature outside": Hostile(node(0, BRANCH | 2 | 1 << 14), "packed forest: a feature"),
    "a leaf's feature outside": Hostile(node(1, 0xFFF), "packed forest: a feature"),
    "a branch into the next tree": Hostile(node(2, BRANCH | 2 << 14), OUT_OF_TREE),
    "a branch far away": Hostile(node(0, BRANCH | 0x3FFFF << 14), OUT_OF_TREE),
    "a branch at the end of a tree": Hostile(node(4, BRANCH), OUT_OF_TREE),
    "a branch at the very end": Hostile(node(7, BRANCH), OUT_OF_TREE),
    "a leaf of no class": Hostile(node(1, 3 << 14), "packed forest: a leaf of a class"),
    "a leaf of no votes": Hostile(node(3, SECOND, 0), OUT_OF_TABLE),
    "a leaf of too many votes": Hostile(node(3, SECOND | 3 << 14, 0), OUT_OF_TABLE),
    "a leaf of votes far away": Hostile(node(3, SECOND | 1 << 14, HUGE), OUT_OF_TABLE),
    "a leaf of votes behind the last": Hostile(node(3, SECOND | 1 << 14, 2), OUT_OF_TABLE),
    "two branches to one leaf": Hostile(node(0, BRANCH), "answered"),
}


def model(words: Any, kind: str = "ForestClassifier") -> bytes:
    """A model with one packed forest as it is."""
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, None)
    label = helper.make_tensor_value_info("label", TensorProto.INT64, None)
    outputs = [label, scores] if kind == "ForestClassifier" else [scores]
    graph = helper.make_graph(
        [helper.make_node(kind, ["x", "trees"], [output.name for output in outputs], domain="modelyard")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])],
        outputs,
        [numpy_helper.from_array(words.view(np.int32) if words.dtype == np.uint32 else words, "trees")],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("modelyard", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()


def outcome(library: str, words: Any, kind: str = "ForestClassifier") -> str:
    """What the kernel says of the words, or ``answered``."""
    from modelyard.compiling.proving import session

    table = np.array([[-1, -1], [1, 1], [np.nan, 0], [0.25, -0.5], [9, -9]], np.float32)
    try:
        engine = session(model(words, kind), kernel=library)
        for rows in (1, 5):
            engine.run(None, {"x": table[:rows]})
    except Exception as refused:  # noqa: BLE001 - onnxruntime's errors have no base class of their own
        text = str(refused)
        return text[text.find("packed forest:") :] if "packed forest:" in text else text
    return "answered"


def _fuzz(library: str, count: int) -> dict[str, int]:
    random = np.random.default_rng(5)
    found = {"answered": 0, "refused": 0}
    tried = [0, 1, 2, 3, 5, 7, 8, 12, 0x1000, 0x2000, 0x4000, 0x3FFF, 0x7FFFFFFF, 0x80000000, HUGE]
    regressor = "ForestRegressor"
    kinds = [(honest(), "ForestClassifier"), (two_classes(), "ForestClassifier")]
    kinds += [(regression(1), regressor), (regression(3), regressor)]
    for words, kind in kinds:
        assert outcome(library, words, kind) == "answered", (kind, outcome(library, words, kind))
    for number in range(count):
        words, kind = kinds[number % len(kinds)]
        words = words.copy()
        for place in random.integers(0, len(words), random.integers(1, 4)):
            way = random.integers(0, 3)
            if way == 0:
                words[place] = random.choice(tried)
            elif way == 1:
                words[place] ^= np.uint32(1 << int(random.integers(0, 32)))
            else:
                words[place] = random.integers(0, 1 << 32)
        found["answered" if outcome(library, words, kind) == "answered" else "refused"] += 1
    return found


if __name__ == "__main__":
    path, name, *more = sys.argv[1:]
    answer = _fuzz(path, int(more[0])) if name == "--fuzz" else {"said": outcome(path, HOSTILE[name].change(honest()))}
    sys.stdout.write(json.dumps(answer))
