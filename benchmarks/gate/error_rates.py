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

Without ``--quick`` it takes about 90 minutes of one processor, in as many processes as there are, and writes
`docs/gate_power.svg`. What has been counted is kept in `build/benchmarks/gate/`, under a digest of this code and the
gate's, and not counted again.
"""

import hashlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
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
CELLS = [(50, 0.0), (50, 0.5), (50, 0.9), (100, 0.5), (300, 0.5), (300, 0.9), (2_000, 0.5)]
QUICK_CELLS = [(50, 0.5), (300, 0.5)]
POWER_ROWS, QUICK_POWER_ROWS = (50, 100, 200, 500, 1_000, 2_000, 5_000), (100, 1_000)
IMPROVEMENTS = (0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12, 0.15)
CHAMPION, CORRELATION, USUAL = 0.8, 0.5, 0.95
CHANCE_OF_A_FALSE_ALARM = 0.01

Found = dict[str, dict[float, float]]
Power = dict[tuple[int, float], dict[float, float]]


@dataclass(frozen=True)
class Case:
    """Pairs of one kind: what makes one from a generator, the metric, and the improvement that is asked for."""

    name: str
    make: Callable[[np.random.Generator], tuple[Answers, Answers]]
    metric: str
    seed: int
    pairs: int
    asked: float = 0.0


def measure(quick: bool) -> Result:
    pairs, power_pairs = (QUICK_PAIRS, QUICK_POWER_PAIRS) if quick else (PAIRS, POWER_PAIRS)
    equal = list(_equal(QUICK_CELLS if quick else CELLS, pairs))
    asked = list(_at_the_boundary((50, 300) if quick else (50, 100, 300, 1_000), pairs))
    rare = list(_unlike((50, 300) if quick else (50, 100, 300, 1_000), pairs))
    curves_of = {
        (rows, better): Case(
            f"power, {rows} rows, {better} better",
            partial(labels, rows, CORRELATION, right=CHAMPION, better=better),
            "accuracy",
            seed=4,
            pairs=power_pairs,
        )
        for rows in (QUICK_POWER_ROWS if quick else POWER_ROWS)
        for better in IMPROVEMENTS
    }
    shares = _counted([*equal, *asked, *rare, *curves_of.values()])
    false, boundary, limit = ({case.name: shares[case.name] for case in part} for part in (equal, asked, rare))
    power = {point: shares[case.name] for point, case in curves_of.items()}
    picture = _picture(power)
    if not quick:
        (PROJECT / "docs" / "gate_power.svg").write_text(picture, encoding="utf-8")
    figures = {
        f"{name}, confidence {confidence}": share
        for name, found in shares.items()
        for confidence, share in found.items()
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


def _counted(cases: list[Case]) -> Found:
    """The share of each case's pairs that is promoted, by confidence."""
    kept = PROJECT / "build" / "benchmarks" / "gate" / f"{_digest()}.jsonl"
    kept.parent.mkdir(parents=True, exist_ok=True)
    found: Found = {}
    if kept.exists():
        for line in kept.read_text(encoding="utf-8").splitlines():
            name, pairs, shares = json.loads(line)
            if any((case.name, case.pairs) == (name, pairs) for case in cases):
                found[name] = {float(confidence): share for confidence, share in shares.items()}
    left = [case for case in cases if case.name not in found]
    with ProcessPoolExecutor(os.cpu_count()) as pool, kept.open("a", encoding="utf-8") as log:
        for case, shares in zip(left, pool.map(promoted, left), strict=True):
            found[case.name] = shares
            log.write(json.dumps([case.name, case.pairs, shares]) + "\n")
            log.flush()
            print(case.name, file=sys.stderr)
    return found


def _digest() -> str:
    library = PROJECT / "layers" / "core" / "python" / "modelyard"
    files = [*Path(__file__).parent.glob("*.py"), library / "metrics.py", *(library / "evaluation").glob("*.py")]
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()[:16]


def promoted(case: Case) -> dict[float, float]:
    """The share of pairs that the gate promotes, by confidence."""
    kind, passed = METRICS[case.metric], dict.fromkeys(CONFIDENCES, 0)
    for number in range(case.pairs):
        challenger, champion = case.make(np.random.default_rng([case.seed, number]))
        resampled = resample(challenger, champion, metric=case.metric, seed=number)
        for confidence in CONFIDENCES:
            passed[confidence] += check_improvement(
                challenger=kind.score(challenger),
                champion=kind.score(champion),
                baseline=0.0,
                metric=case.metric,
                min_improvement=case.asked,
                interval=resampled.interval(round(2 * confidence - 1, 10)),
                rows=len(challenger),
            ).passed
    return {confidence: count / case.pairs for confidence, count in passed.items()}


def _equal(cells: list[tuple[int, float]], pairs: int) -> Iterator[Case]:
    for family in FAMILIES:
        for metric in family.metrics:
            for rows, correlation in cells:
                make = partial(equal_pair, family, rows, correlation)
                name = f"{family.name}, {metric}, {rows} rows, correlation {correlation}"
                yield Case(name, make, metric, seed=1, pairs=pairs)


def _at_the_boundary(sizes: tuple[int, ...], pairs: int) -> Iterator[Case]:
    error = math.sqrt(2 / math.pi)  # the mean absolute value of a standard normal number
    for rows in sizes:
        for metric, asked, make in (
            ("accuracy", 0.05, partial(labels, rows, CORRELATION, better=0.05)),
            ("mae", 0.2 * error, partial(numbers, rows, CORRELATION, better=0.2)),
            ("rmse", 0.2, partial(numbers, rows, CORRELATION, better=0.2)),
        ):
            name = f"{metric}, {asked:.3g} asked for, {rows} rows"
            yield Case(name, make, metric, seed=2, pairs=pairs, asked=asked)


def _unlike(sizes: tuple[int, ...], pairs: int) -> Iterator[Case]:
    for rows in sizes:
        yield Case(f"mae, {rows} rows", partial(unlike_numbers, rows, CORRELATION), "mae", seed=3, pairs=pairs)


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


def _needed(power: Power) -> str:
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


def _picture(power: Power) -> str:
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
