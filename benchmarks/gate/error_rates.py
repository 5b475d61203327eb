"""How often the gate promotes a model that is not better, and how often one that is.

**False promotions.** Pairs of models of one true quality answer the same random rows, and the gate compares them as it
does in a retraining: the same functions, 2,000 draws. Each cell is one kind of data, one metric, one number of rows and
one correlation of the two models' errors; counted is how many of the pairs are promoted at a confidence of 0.8, 0.9 and
0.95. The claim: no cell promotes more than one minus the confidence, but for what 1,000 coins may do. With as many
cells as there are, the largest of all shares may be so many standard deviations above that it would be more in one of a
hundred such tables.

**At the boundary.** The true improvement is exactly ``min_improvement``; the same is claimed.

**A limit.** Two models of one mean absolute error, but the challenger errs far in one of 20 rows. Few rows may hold no
such row, and nothing that looks at them can know; the table shows what that does, and claims nothing.

**Power.** How often a challenger is promoted whose accuracy is truly better by so much, at a champion's accuracy of 0.8
and a correlation of 0.5; and the improvement that is promoted in 8 of 10 cases.

    python benchmarks/gate/error_rates.py [--quick] [--json]

Without ``--quick`` it takes about 30 minutes and writes `docs/gate_power.svg`.
"""

import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import NormalDist

import numpy as np

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT))

from benchmarks.gate.pairs import FAMILIES, Answers, equal_pair, labels, numbers, unlike_numbers  # noqa: E402
from benchmarks.measuring.picture import Curve, curves  # noqa: E402
from benchmarks.measuring.script import Claim, Result, run  # noqa: E402
from benchmarks.measuring.table import table  # noqa: E402
from modelyard.evaluation.gate import check_improvement  # noqa: E402
from modelyard.evaluation.intervals import resample  # noqa: E402
from modelyard.metrics import METRICS  # noqa: E402

PAIRS, QUICK_PAIRS = 1_000, 60
POWER_PAIRS, QUICK_POWER_PAIRS = 500, 60
CONFIDENCES = (0.8, 0.9, 0.95)
CELLS = [(rows, correlation) for rows in (50, 100, 300) for correlation in (0.0, 0.5, 0.9)] + [
    (1_000, 0.5),
    (2_000, 0.5),
]
QUICK_CELLS = [(50, 0.5), (300, 0.5)]
POWER_ROWS, QUICK_POWER_ROWS = (50, 100, 200, 500, 1_000, 2_000, 5_000), (100, 1_000)
IMPROVEMENTS = (0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12, 0.15)
CHAMPION, CORRELATION, USUAL = 0.8, 0.5, 0.95
CHANCE_OF_A_FALSE_ALARM = 0.01

Maker = Callable[[np.random.Generator], tuple[Answers, Answers]]
Found = dict[str, dict[float, float]]


def measure(quick: bool) -> Result:
    pairs = QUICK_PAIRS if quick else PAIRS
    false = dict(_false_promotions(QUICK_CELLS if quick else CELLS, pairs))
    boundary = dict(_at_the_boundary((50, 300) if quick else (50, 100, 300, 1_000), pairs))
    limit = dict(_unlike((50, 300) if quick else (50, 100, 300, 1_000, 2_000), pairs))
    power = _power(QUICK_POWER_ROWS if quick else POWER_ROWS, QUICK_POWER_PAIRS if quick else POWER_PAIRS)
    picture = _picture(power)
    if not quick:
        (PROJECT / "docs" / "gate_power.svg").write_text(picture, encoding="utf-8")
    figures = {
        f"{part}, {name}, confidence {confidence}": share
        for part, found in (("equal", false), ("boundary", boundary), ("unlike", limit))
        for name, shares in found.items()
        for confidence, share in shares.items()
    }
    figures |= {
        f"power, {rows} rows, {improvement} better, confidence {confidence}": share
        for (rows, improvement), shares in power.items()
        for confidence, share in shares.items()
    }
    report = [
        f"False promotions among {pairs:,} pairs of equal models:",
        _summary(false),
        "The true improvement is the one that is asked for:",
        _table(boundary),
        "A limit: equal on the whole, but the challenger errs far in 1 of 20 rows:",
        _table(limit),
        "The least improvement of accuracy that is promoted in 8 of 10 cases (champion 0.8, correlation 0.5):",
        _needed(power),
    ]
    return Result(
        report="\n\n".join(report),
        figures=figures,
        claims=[*_claims("equal models", false, pairs), *_claims("at the boundary", boundary, pairs)],
        pictures={"gate_power.svg": picture},
    )


def promoted(make: Maker, metric: str, *, pairs: int, seed: int, asked: float = 0.0) -> dict[float, float]:
    """The share of pairs that the gate promotes, by confidence."""
    kind, passed = METRICS[metric], dict.fromkeys(CONFIDENCES, 0)
    for number in range(pairs):
        challenger, champion = make(np.random.default_rng([seed, number]))
        resampled = resample(challenger, champion, metric=metric, seed=number)
        for confidence in CONFIDENCES:
            passed[confidence] += check_improvement(
                challenger=kind.score(challenger),
                champion=kind.score(champion),
                baseline=0.0,
                metric=metric,
                min_improvement=asked,
                interval=resampled.interval(round(2 * confidence - 1, 10)),
                rows=len(challenger),
            ).passed
    return {confidence: count / pairs for confidence, count in passed.items()}


def _false_promotions(cells: list[tuple[int, float]], pairs: int) -> Iterator[tuple[str, dict[float, float]]]:
    for family in FAMILIES:
        for rows, correlation in cells:
            for metric in family.metrics:

                def make(draw: np.random.Generator) -> tuple[Answers, Answers]:
                    return equal_pair(family, rows, correlation, draw)  # noqa: B023 - it is called in this round

                name = f"{family.name}, {metric}, {rows} rows, correlation {correlation}"
                yield name, promoted(make, metric, pairs=pairs, seed=1)
                print(name, file=sys.stderr)


def _at_the_boundary(sizes: tuple[int, ...], pairs: int) -> Iterator[tuple[str, dict[float, float]]]:
    error = math.sqrt(2 / math.pi)  # the mean absolute value of a standard normal number
    for rows in sizes:
        cases: list[tuple[str, float, Maker]] = [
            ("accuracy", 0.05, lambda draw, rows=rows: labels(rows, CORRELATION, draw, better=0.05)),
            ("mae", 0.2 * error, lambda draw, rows=rows: numbers(rows, CORRELATION, draw, better=0.2)),
            ("rmse", 0.2, lambda draw, rows=rows: numbers(rows, CORRELATION, draw, better=0.2)),
        ]
        for metric, asked, make in cases:
            yield (
                f"{metric}, {asked:.3g} asked for, {rows} rows",
                promoted(make, metric, pairs=pairs, seed=2, asked=asked),
            )


def _unlike(sizes: tuple[int, ...], pairs: int) -> Iterator[tuple[str, dict[float, float]]]:
    for rows in sizes:
        yield (
            f"mae, {rows} rows",
            promoted(lambda draw, rows=rows: unlike_numbers(rows, CORRELATION, draw), "mae", pairs=pairs, seed=3),
        )


def _power(sizes: tuple[int, ...], pairs: int) -> dict[tuple[int, float], dict[float, float]]:
    return {
        (rows, better): promoted(
            lambda draw, rows=rows, better=better: labels(rows, CORRELATION, draw, right=CHAMPION, better=better),
            "accuracy",
            pairs=pairs,
            seed=4,
        )
        for rows in sizes
        for better in IMPROVEMENTS
    }


def _claims(name: str, found: Found, pairs: int) -> list[Claim]:
    claims = []
    for confidence in CONFIDENCES:
        stated = 1 - confidence
        deviations = NormalDist().inv_cdf(1 - CHANCE_OF_A_FALSE_ALARM / len(found))
        worst, share = max(((case, shares[confidence]) for case, shares in found.items()), key=lambda one: one[1])
        allowed = stated + deviations * math.sqrt(stated * confidence / pairs)
        which = f"the worst of {len(found)} cells ({worst})"
        claims.append(Claim(f"{name}, confidence {confidence}, {which}", share, round(allowed, 4), "promoted"))
        mean = float(np.mean([shares[confidence] for shares in found.values()]))
        claims.append(
            Claim(f"{name}, confidence {confidence}, all cells", round(mean, 4), round(stated, 3), "promoted")
        )
    return claims


def _table(found: Found) -> str:
    columns = ["", *(f"confidence {confidence}" for confidence in CONFIDENCES)]
    return table(
        columns, ([name, *(f"{100 * share:.1f} %" for share in shares.values())] for name, shares in found.items())
    )


def _summary(found: Found) -> str:
    """A row for each kind of data and metric: all its cells together, and the worst one."""
    groups: dict[str, list[dict[float, float]]] = {}
    for name, shares in found.items():
        groups.setdefault(", ".join(name.split(", ")[:-2]), []).append(shares)
    columns = ["", "cells"]
    for confidence in CONFIDENCES:
        columns += [f"confidence {confidence}: all", "worst"]
    lines = []
    for name, cells in groups.items():
        line: list[object] = [name, len(cells)]
        for confidence in CONFIDENCES:
            shares = [cell[confidence] for cell in cells]
            line += [f"{100 * float(np.mean(shares)):.1f} %", f"{100 * max(shares):.1f} %"]
        lines.append(line)
    return table(columns, lines)


def _needed(power: dict[tuple[int, float], dict[float, float]]) -> str:
    sizes = sorted({rows for rows, _ in power})
    lines = []
    for rows in sizes:
        line: list[object] = [f"{rows:,}"]
        for confidence in CONFIDENCES:
            shares = np.maximum.accumulate([power[rows, better][confidence] for better in IMPROVEMENTS])
            reached = shares[-1] >= 0.8
            line.append(
                f"{float(np.interp(0.8, shares, IMPROVEMENTS)):.3f}" if reached else f"above {IMPROVEMENTS[-1]}"
            )
        lines.append(line)
    return table(["rows", *(f"confidence {confidence}" for confidence in CONFIDENCES)], lines)


def _picture(power: dict[tuple[int, float], dict[float, float]]) -> str:
    sizes = sorted({rows for rows, _ in power})
    lines = [
        Curve(f"{rows:,} rows", [(100 * better, 100 * power[rows, better][USUAL]) for better in IMPROVEMENTS])
        for rows in sizes
    ]
    return curves(
        f"Promoted with {100 * USUAL:g} % confidence, by the true improvement",
        lines,
        across="true improvement of accuracy, points",
        up="% promoted",
        marks=(5.0, 80.0),
    )


if __name__ == "__main__":
    run("How often the gate promotes models that are no better, and how often better ones.", measure)
