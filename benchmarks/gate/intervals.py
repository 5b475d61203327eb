"""Which interval keeps the rate that it states: the ones that the gate could have used, on few rows.

Pairs of equal models, as in `error_rates.py`, on the data that is hardest: few rows, rare classes, rare large errors.
Counted is how many pairs each interval would have promoted, its lower end being above 0:

- **percentile**: the quantiles of the draws (Efron and Tibshirani, 1993);
- **BCa**: bias-corrected and accelerated, the acceleration by the jackknife (Efron, 1987);
- **stratified**: as many rows of each class in each draw as there are, and expanded;
- **expanded**: the percentile interval for few rows (Hesterberg, 2015);
- **the gate**: expanded, and no more than swapped answers allow.

    python benchmarks/gate/intervals.py [--quick] [--json]
"""

import sys
from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist

import numpy as np

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT))

from benchmarks.gate.pairs import FAMILIES, Answers, equal_pair  # noqa: E402
from benchmarks.measuring.script import Claim, Result, run  # noqa: E402
from benchmarks.measuring.table import table  # noqa: E402
from modelyard.evaluation.intervals import expanded_tail, resample  # noqa: E402
from modelyard.metrics import METRICS, Floats, Labelled  # noqa: E402

PAIRS, QUICK_PAIRS = 1_000, 50
DRAWS = 1_000
STATED = 0.05
CASES = (
    ("two classes", "accuracy", 50),
    ("two classes, one rare", "f1_macro", 60),
    ("ten classes", "balanced_accuracy", 30),
    ("ten classes", "f1_macro", 30),
    ("numbers, rare large errors", "rmse", 30),
)
NORMAL = NormalDist()
Improvements = Callable[[Floats], Floats]


def measure(quick: bool) -> Result:
    pairs = QUICK_PAIRS if quick else PAIRS
    figures: dict[str, float] = {}
    lines = []
    for name, metric, rows in CASES:
        family = next(found for found in FAMILIES if found.name == name)
        passed: dict[str, int] = {}
        for number in range(pairs):
            one, two = equal_pair(family, rows, 0.5, np.random.default_rng([5, number]))
            for method, low in _low_ends(one, two, metric, number).items():
                passed[method] = passed.get(method, 0) + (low > 1e-9)
        shares = {method: count / pairs for method, count in passed.items()}
        figures |= {f"{name}, {metric}, {rows} rows, {method}": share for method, share in shares.items()}
        lines.append([f"{name}, {metric}, {rows} rows", *(f"{100 * share:.1f} %" for share in shares.values())])
    methods = [column.rpartition(", ")[2] for column in list(figures)[: len(lines[0]) - 1]]
    worst = max(share for name, share in figures.items() if name.endswith("the gate"))
    return Result(
        report=f"{pairs:,} pairs of equal models each, {100 * STATED:g} % stated:\n\n{table(['', *methods], lines)}",
        figures=figures,
        claims=[
            Claim(
                "the gate, the worst case",
                worst,
                round(STATED + 3 * (STATED * (1 - STATED) / pairs) ** 0.5, 4),
                "promoted",
            )
        ],
    )


def _low_ends(one: Answers, two: Answers, metric: str, seed: int) -> dict[str, float]:
    kind, rows = METRICS[metric], len(one)
    draw = np.random.default_rng([6, seed])

    def improvements(counts: Floats) -> Floats:
        return kind.improvement(kind.scores(one, counts), kind.scores(two, counts))

    drawn = improvements(_counts(np.arange(rows)[None], draw, rows))
    strata = [np.flatnonzero(one.truth == label) for label in range(one.classes)] if isinstance(one, Labelled) else []
    kept = improvements(_counts(strata, draw, rows)) if strata else drawn
    gate = resample(one, two, metric=metric, seed=seed).interval(1 - 2 * STATED)
    return {
        "percentile": _quantile(drawn, STATED),
        "BCa": _quantile(drawn, _bca_tail(improvements, drawn, rows)),
        "stratified": _quantile(kept, expanded_tail(STATED, rows)),
        "expanded": _quantile(drawn, expanded_tail(STATED, rows)),
        "the gate": gate.low or 0.0,
    }


def _counts(strata: "list[np.ndarray] | np.ndarray", draw: np.random.Generator, rows: int) -> Floats:
    counts = np.zeros((DRAWS, rows))
    for stratum in strata:
        if len(stratum):
            counts[:, stratum] = draw.multinomial(len(stratum), np.full(len(stratum), 1 / len(stratum)), DRAWS)
    return counts


def _bca_tail(improvements: Improvements, drawn: Floats, rows: int) -> float:
    found = improvements(np.ones((1, rows)))[0]
    below = np.mean(drawn < found) + 0.5 * np.mean(drawn == found)
    bias = NORMAL.inv_cdf(float(np.clip(below, 0.001, 0.999)))
    without = improvements(np.ones((rows, rows)) - np.eye(rows))
    pull = without.mean() - without
    spread = float((pull**2).sum())
    acceleration = float((pull**3).sum()) / (6 * spread**1.5) if spread else 0.0
    z = bias + NORMAL.inv_cdf(STATED)
    return NORMAL.cdf(bias + z / (1 - acceleration * z))


def _quantile(drawn: Floats, tail: float) -> float:
    return float(np.quantile(drawn, tail, method="inverted_cdf"))


if __name__ == "__main__":
    run("Which interval keeps the rate that it states, on few rows.", measure)
