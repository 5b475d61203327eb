"""How soon the verdict aborts a bad challenger, whether it names the cause, and how often it aborts a harmless one.

**Bad challengers.** Each of `challengers.BAD`, on each of its data sets, from several seeds, with the usual policy and
a look every 50 requests: in shadow until the verdict says promote, and then in a canary of 5 % with a look every 1,000
requests. Told are the requests after which it was aborted, and how often with the true cause. One that is promoted out
of the canary got more than 5 % of the traffic, which is a miss; one that is neither aborted nor passed within 4,000
requests of shadow is undecided. The claims: neither happens.

**Harmless challengers.** The same kind of model trained again (`sources.HARMLESS`): 1,000 requests of shadow with a
look every 50, then a canary of 5 % with a look every 1,000 requests, which is every 50 of the challenger's. It is
looked at on, whatever the verdict says, and any abort at any look is a wrong one. Half of the rows get a label, because
labels are checks more that may be wrong; but for challengers that by all labels are worse than the policy allows, which
happens where few rows were learnt from. The claim: not more wrong aborts than one minus the confidence, but for what
so many coins may do. Which seed a challenger is trained with changes from repetition to repetition, three in turn.

    python benchmarks/rollout/verdicts.py [--quick] [--json]

Without ``--quick`` it takes about 25 minutes of one processor, in as many processes as there are; `counting.py` keeps
what has been counted.
"""

import math
import sys
from collections import Counter
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT))

from benchmarks.measuring.picture import Bar, bars  # noqa: E402
from benchmarks.measuring.script import Claim, Result, run  # noqa: E402
from benchmarks.measuring.table import table  # noqa: E402
from benchmarks.rollout.challengers import BAD  # noqa: E402
from benchmarks.rollout.counting import Cell, cells_of, counted  # noqa: E402
from modelyard.rollout.policy import Policy  # noqa: E402

CHANCE_OF_A_FALSE_ALARM = 0.01
TRUE_CAUSES = 0.9
"""The least share of aborts that are to name the true cause, over all kinds."""
STATED = 1 - Policy().confidence
PICTURE = PROJECT / "docs" / "verdict_soon.svg"


def measure(quick: bool) -> Result:
    cells = list(cells_of(quick))
    found = counted(cells)
    bad = [cell for cell in cells if cell.bad]
    harmless = [cell for cell in cells if not cell.bad]
    lines, soon, figures = [], [], {}
    for number, kind in enumerate(BAD):
        rows = [row for cell in bad if cell.number == number for row in found[cell.name]]
        requests = [row[1] for row in rows if row[2] is not None]
        named = sum(row[2] in (kind.cause, kind.also) for row in rows)
        where = Counter(row[0] for row in rows)
        others = Counter(row[2] for row in rows if row[2] not in (kind.cause, kind.also, None))
        lines.append([
            kind.name, f"`{kind.cause}`", len(rows), f"{where['shadow']} + {where['canary']}",
            f"{where['missed']} + {where['undecided']}",
            *([f"{np.median(requests):,.0f}", f"{np.quantile(requests, 0.95):,.0f}"] if requests else ["", ""]),
            f"{100 * named / len(rows):.0f} %", ", ".join(f"{code} {count}" for code, count in others.most_common(3)),
        ])  # fmt: skip
        if requests:
            late = float(np.quantile(requests, 0.95))
            soon.append(Bar(kind.name, late, f"{late:,.0f}", ours=True))
        figures |= {
            f"{kind.name}, missed": where["missed"],
            f"{kind.name}, undecided": where["undecided"],
            f"{kind.name}, median requests": float(np.median(requests)) if requests else math.inf,
            f"{kind.name}, true cause": named / len(rows),
        }
    everything = [row for cell in bad for row in found[cell.name]]
    ends = Counter(row[0] for row in everything)
    wrong_causes = 1 - sum(
        row[2] in (BAD[cell.number].cause, BAD[cell.number].also) for cell in bad for row in found[cell.name]
    ) / len(everything)
    rates = [_rate(cell, found[cell.name]) for cell in harmless]
    aborted, total = sum(row[2] for row in rates), sum(row[1] for row in rates)
    figures |= {f"harmless, {row[0]}, wrong aborts": row[2] for row in rates}
    figures |= {"harmless, wrong aborts": aborted, "harmless, rollouts": total, "bad, rollouts": len(everything)}
    each = max(row[2] / row[1] for row in rates)
    fewest = min(row[1] for row in rates)
    z = NormalDist().inv_cdf(1 - CHANCE_OF_A_FALSE_ALARM)
    z_each = NormalDist().inv_cdf(1 - CHANCE_OF_A_FALSE_ALARM / len(rates))
    title = "Requests until 19 of 20 rollouts were aborted, by what is wrong with the challenger"
    picture = bars(title, sorted(soon, key=lambda bar: (bar.value, bar.label)))
    if not quick:
        PICTURE.write_text(picture, encoding="utf-8")
    return Result(
        report="\n\n".join([
            f"Bad challengers, {len(BAD)} kinds, {len(everything):,} rollouts:",
            table(["what is wrong", "cause", "rollouts", "aborted in shadow + canary", "missed + undecided",
                   "requests, median", "95th percentile", "true cause", "else"], lines),
            f"Harmless challengers, {len(rates)} kinds, {total:,} rollouts; wrong aborts at any look:",
            table(["champion and challenger", "rollouts", "wrong aborts", "which"], rates),
            f"In all {aborted} of {total:,} ({100 * aborted / total:.2f} %); stated are {100 * STATED:g} %.",
        ]),
        figures=figures,
        claims=[
            Claim("bad challengers that got more than 5 % of the traffic", ends["missed"], 0, "rollouts"),
            Claim("bad challengers that were neither aborted nor let on", ends["undecided"], 0, "rollouts"),
            Claim("bad challengers with another cause", round(wrong_causes, 4), round(1 - TRUE_CAUSES, 4), "of them"),
            Claim("harmless challengers aborted, all", round(aborted / total, 4),
                  round(STATED + z * math.sqrt(STATED * (1 - STATED) / total), 4), "aborted"),
            Claim("harmless challengers aborted, the worst kind", round(each, 4),
                  round(STATED + z_each * math.sqrt(STATED * (1 - STATED) / fewest), 4), "aborted"),
        ],
        pictures={PICTURE.name: picture},
    )  # fmt: skip


def _rate(cell: Cell, rows: list[list[Any]]) -> list[Any]:
    which = sorted({f"{row[1]}: {row[2]}" for row in rows if row[0]})
    return [cell.where, len(rows), sum(row[0] for row in rows), ", ".join(which)]


if __name__ == "__main__":
    run("How soon bad challengers are aborted, with which cause, and how often harmless ones are.", measure)
