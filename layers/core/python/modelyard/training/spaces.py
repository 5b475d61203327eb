"""Which settings of which candidates are tried, and in which order.

The rule: a function of the plan and of how many rows there are, so that the same always tries the same. A candidate
with a grid tries all of its combinations; with a space, as many draws as it says, from the plan's seed; with neither,
the built-in list below. That is for small tables: what differs most comes first, since a budget may end the list early.

Settings that differ only in the number of trees are one *path*: what is fitted for the shorter grows into the longer.
"""

import itertools
import math
from collections import defaultdict
from typing import Any

import msgspec
import numpy as np

from modelyard.tasks import CANDIDATES
from modelyard.training.pipeline import KINDS, check
from modelyard.training.plan import Candidate, Plan, Range, Setting

Settings = dict[str, Setting]

_DIGITS = 4
"""Significant digits of a drawn number: enough to tell draws apart, and short enough to be read."""

_PENALTIES: list[Settings] = [{"C": c} for c in (1.0, 0.1, 10.0, 0.01, 100.0)]
_SHRUNK: list[Settings] = [
    {"alpha": 0.0},
    {"alpha": 0.01, "l1_ratio": 0.0},
    {"alpha": 0.01, "l1_ratio": 1.0},
    {"alpha": 0.1, "l1_ratio": 0.0},
    {"alpha": 0.03, "l1_ratio": 0.5},
    {"alpha": 0.001, "l1_ratio": 1.0},
    {"alpha": 1.0, "l1_ratio": 0.0},
]
_FORESTS: list[Settings] = [
    {"max_features": "sqrt", "min_samples_leaf": 1},
    {"max_features": 0.5, "min_samples_leaf": 3},
    {"max_features": "sqrt", "min_samples_leaf": 5},
    {"max_features": 1.0, "min_samples_leaf": 5},
    {"max_features": 0.3, "min_samples_leaf": 10},
]
_BOOSTED: list[Settings] = [
    {"learning_rate": 0.05, "max_leaf_nodes": 8, "min_samples_leaf": 10},
    {"learning_rate": 0.1, "max_leaf_nodes": 31, "min_samples_leaf": 20},
    {"learning_rate": 0.05, "max_leaf_nodes": 3, "min_samples_leaf": 5},
    {"learning_rate": 0.05, "max_leaf_nodes": 16, "min_samples_leaf": 10, "max_features": 0.5},
    {"learning_rate": 0.05, "max_leaf_nodes": 6, "min_samples_leaf": 20, "l2_regularization": 10.0},
]
_LIGHT: list[Settings] = [
    {"learning_rate": 0.05, "num_leaves": 8, "min_child_samples": 10},
    {"learning_rate": 0.05, "num_leaves": 31, "min_child_samples": 20, "colsample_bytree": 0.7},
    {"learning_rate": 0.05, "num_leaves": 4, "min_child_samples": 5, "subsample": 0.7, "subsample_freq": 1},
    {"learning_rate": 0.05, "num_leaves": 16, "min_child_samples": 5, "colsample_bytree": 0.5, "reg_lambda": 5.0},
    {"learning_rate": 0.05, "num_leaves": 6, "min_child_samples": 30, "reg_lambda": 10.0},
]
_NETWORKS: list[Settings] = [
    {"width": 32, "layers": 1, "alpha": 0.1},
    {"width": 64, "layers": 2, "alpha": 1.0},
    {"width": 16, "layers": 1, "alpha": 1.0},
    {"width": 64, "layers": 1, "alpha": 10.0},
]
_FOREST, _MANY_TREES = (200,), (25, 50, 100, 200, 400)
MOST_LEAVES = 5_000
"""Leaves of a tree of a built-in forest, about: trees that end in single rows grow with the data, and with them what a
function needs of memory and an endpoint of time."""
_BUILT_IN: dict[str, tuple[list[Settings], tuple[int, ...]]] = {
    "logistic_regression": (_PENALTIES, ()),
    "linear_regression": (_SHRUNK, ()),
    "random_forest": (_FORESTS, _FOREST),
    "gradient_boosting": (_BOOSTED, _MANY_TREES),
    "lightgbm": (_LIGHT, _MANY_TREES),
    "neural_network": (_NETWORKS, ()),
}
_EVEN_HANDED = frozenset({"balanced_accuracy", "f1_macro"})
"""Metrics to which a rare class counts as much as a frequent one; weights make the training see it so."""


class Path(msgspec.Struct, frozen=True):
    """Settings that are fitted together.

    Attributes:
        kind: Of the candidate.
        settings: What all have in common.
        lengths: The numbers of trees, ascending; empty where the kind has none or one is given.
    """

    kind: str
    settings: Settings
    lengths: tuple[int, ...] = ()

    def at(self, length: int | None) -> Settings:
        """The settings of one length."""
        return self.settings if length is None else self.settings | {str(KINDS[self.kind].along): length}

    @property
    def stages(self) -> tuple[int | None, ...]:
        """The lengths, or one stage without."""
        return self.lengths or (None,)


def paths_of(plan: Plan, rows: int = 0) -> list[list[Path]]:
    """What is to be tried: a list for each candidate, in the plan's order, or the simplest kind first.

    Args:
        plan: The candidates, the task, the metric and the seed.
        rows: How many rows there are to learn from.

    Raises:
        UsageError: With code ``invalid_plan`` when a candidate does not fit the task or has no such setting.
    """
    candidates = plan.training.candidates or [Candidate(kind=kind) for kind in CANDIDATES[plan.task]]  # type: ignore[arg-type]
    found: list[list[Path]] = []
    for number, candidate in enumerate(candidates):
        if candidate.grid or candidate.space:
            tried = _asked_for(plan, candidate, number)
        else:
            tried = _built_in(plan, candidate.kind, rows)
        for path in tried:
            check(plan, path.kind, path.settings)
        found.append(tried)
    return found


def _asked_for(plan: Plan, candidate: Candidate, number: int) -> list[Path]:
    for name in (*candidate.grid, *candidate.space):
        check(plan, candidate.kind, {name: 0})
    drawn: list[Settings] = [{}]
    if candidate.space:
        draw = np.random.default_rng([plan.training.seed, number])
        drawn = [
            {name: _drawn(draw, within) for name, within in candidate.space.items()} for _ in range(candidate.trials)
        ]
    combined = [
        dict(zip(candidate.grid, values, strict=True)) | chosen
        for chosen in drawn
        for values in itertools.product(*candidate.grid.values())
    ]
    return _as_paths(candidate.kind, combined)


def _drawn(draw: np.random.Generator, within: Range) -> Setting:
    if within.log:
        value = float(np.exp(draw.uniform(np.log(within.low), np.log(within.high))))
    elif isinstance(within.low, int) and isinstance(within.high, int):
        return int(draw.integers(within.low, within.high + 1))
    else:
        value = float(draw.uniform(within.low, within.high))
    if isinstance(within.low, int) and isinstance(within.high, int):
        return min(max(round(value), within.low), within.high)
    return float(f"{value:.{_DIGITS}g}")


def _as_paths(kind: str, combined: list[Settings]) -> list[Path]:
    """Settings in their order, those that differ only in the number of trees together."""
    along = KINDS[kind].along
    together: dict[Any, list[int]] = defaultdict(list)
    paths: dict[Any, Path] = {}
    for settings in combined:
        length = settings.get(along) if along else None
        common = {name: value for name, value in settings.items() if name != along}
        grows = isinstance(length, int) and length > 0 and not settings.get("early_stopping")
        key = repr(common) if grows else repr(settings)
        paths.setdefault(key, Path(kind, common if grows else settings))
        if isinstance(length, int) and grows:
            together[key].append(length)
    return [
        msgspec.structs.replace(path, lengths=tuple(sorted(set(together[key])))) if key in together else path
        for key, path in paths.items()
    ]


def _built_in(plan: Plan, kind: str, rows: int) -> list[Path]:
    tried, lengths = _BUILT_IN[kind]
    if kind == "random_forest":
        least = math.ceil(rows / MOST_LEAVES)
        tried = [settings | {"min_samples_leaf": max(int(settings["min_samples_leaf"]), least)} for settings in tried]
    paths = [Path(kind, settings, lengths) for settings in tried]
    if plan.classification and plan.evaluation.metric in _EVEN_HANDED and kind != "neural_network":
        weighted = [Path(kind, settings | {"class_weight": "balanced"}, lengths) for settings in tried]
        paths = [path for pair in zip(paths, weighted, strict=True) for path in pair]
    return paths
