"""What the rows look like, column by column: training beside evaluation, for a person who reads a run's report."""

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard.retraining.bounds import short
from modelyard.training.plan import Plan
from modelyard.training.table import Table

BARS = 10
"""Of a histogram, and the most frequent values of a category."""
LONGEST_VALUE = 60


def profile(plan: Plan, training: Table, evaluation: Table) -> dict[str, dict[str, Any]]:
    """A summary of each feature and of the target, as JSON; see `modelyard.report` for how it is drawn.

    Args:
        plan: The kinds of the features.
        training: The rows to learn from.
        evaluation: The frozen rows.
    """
    kinds = {name: feature.kind for name, feature in plan.training.features.items()}
    found = {name: _column(kind, training.columns[name], evaluation.columns[name]) for name, kind in kinds.items()}
    target = "category" if plan.classification else "number"
    found[plan.training.target] = _column(target, training.target, evaluation.target)
    return found


def _column(kind: str, training: NDArray[Any], evaluation: NDArray[Any]) -> dict[str, Any]:
    if kind == "number":
        return _number(training, evaluation)
    texts = training.tolist()
    summary = {
        "kind": kind,
        "missing": _share(sum(not text for text in texts), len(texts)),
        "distinct": len(set(texts)),
    }
    if kind == "text":
        return summary
    sides = [_places(kind, texts), _places(kind, evaluation.tolist())]
    most = sides[0].most_common(BARS) if kind == "category" else sorted(sides[0].items())[:: _stride(len(sides[0]))]
    summary["top"] = [
        [short(value, LONGEST_VALUE), _share(count, len(texts)), _share(sides[1][value], len(evaluation))]
        for value, count in most
    ]
    return summary


def _places(kind: str, texts: list[str]) -> Counter[str]:
    """Values by how often they come; of a date its month."""
    return Counter(text[:7] if kind == "date" else text for text in texts if text)


def _stride(months: int) -> int:
    return max(1, -(-months // BARS))


def _number(training: NDArray[Any], evaluation: NDArray[Any]) -> dict[str, Any]:
    there = training[~np.isnan(training)]
    other = evaluation[~np.isnan(evaluation)]
    summary: dict[str, Any] = {
        "kind": "number",
        "missing": _share(len(training) - len(there), len(training)),
        "distinct": len(np.unique(there)),
    }
    both = np.concatenate([there, other])
    if not len(there):
        return summary
    summary |= {
        "minimum": float(there.min()),
        "maximum": float(there.max()),
        "mean": float(there.mean()),
        "median": float(np.median(there)),
    }
    low, high = float(both.min()), float(both.max())
    edges = np.linspace(low, high, BARS + 1) if low < high else np.linspace(low - 0.5, high + 0.5, BARS + 1)
    if not (np.diff(edges) > 0).all():  # no ten numbers lie between them
        return summary
    bars = {"training": np.histogram(there, edges)[0].tolist(), "evaluation": np.histogram(other, edges)[0].tolist()}
    return summary | {"histogram": {"edges": edges.tolist(), **bars}}


def _share(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0
