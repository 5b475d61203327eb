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

Without ``--quick`` it takes about 15 minutes of one processor, in as many processes as there are. What has been counted
is kept in `build/benchmarks/rollout/`, under a digest of this code and the package's, and not counted again.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import hashlib
import json
import math
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import msgspec
import numpy as np

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT))

from benchmarks.measuring.script import Claim, Result, run  # noqa: E402
from benchmarks.measuring.table import table  # noqa: E402
from benchmarks.rollout.challengers import BAD, Bad, answering, champion  # noqa: E402
from benchmarks.rollout.sources import AGREEMENT, HARMLESS, answers, source, trained  # noqa: E402
from benchmarks.rollout.traffic import CHALLENGER, CHAMPION, Serve, Traffic  # noqa: E402
from modelyard.rollout.losses import LOSS_OF_A_CLASS, LOSS_OF_A_NUMBER  # noqa: E402
from modelyard.rollout.observations import Observations  # noqa: E402
from modelyard.rollout.policy import Policy  # noqa: E402
from modelyard.rollout.slicing import Frozen  # noqa: E402
from modelyard.rollout.verdict import Verdict, verdict  # noqa: E402

STEP, CANARY_STEP = 50, 1_000
MOST_SHADOW, MOST_CANARY = 4_000, 40_000
HARMLESS_SHADOW, HARMLESS_CANARY = 1_000, 4_000
BAD_SEEDS, QUICK_BAD_SEEDS = 20, 1
HARMLESS_SEEDS, QUICK_HARMLESS_SEEDS = 80, 1
LABELLED = 0.5
CONFIDENCE = Policy().confidence
CHANCE_OF_A_FALSE_ALARM = 0.01
TRUE_CAUSES = 0.9
"""The least share of aborts that are to name the true cause, over all kinds."""

Counted = dict[str, list[list[Any]]]


@dataclass(frozen=True)
class Cell:
    """What is counted together: a kind on a data set, or a harmless challenger; and how often."""

    name: str
    number: int
    where: str
    seeds: int
    bad: bool


class Watched:
    """A rollout that is looked at again and again."""

    def __init__(self, traffic: Traffic, policy: Policy) -> None:
        self.traffic = traffic
        self.policy = policy
        self.seen = Observations(champion=CHAMPION, challenger=CHALLENGER)
        self.frozen: Frozen | None = None
        self.since: str | None = None

    def look(self, take: Callable[[int], tuple[list[Any], list[Any]]], requests: int) -> Verdict:
        """So many requests more, and a verdict."""
        records, labels = take(requests)
        if self.since == "":
            self.since = records[0]["time"]
        self.seen.add(records).add_labels(labels)
        found = verdict(self.seen, self.policy, since=self.since, frozen=self.frozen)
        self.frozen = found.frozen
        return found


def measure(quick: bool) -> Result:
    warnings.simplefilter("ignore")  # networks that have not converged are fine challengers
    cells = list(_cells(quick))
    found = _counted(cells)
    bad = [cell for cell in cells if cell.bad]
    harmless = [cell for cell in cells if not cell.bad]
    lines, figures = [], {}
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
    stated = 1 - CONFIDENCE
    each = max(row[2] / row[1] for row in rates)
    fewest = min(row[1] for row in rates)
    z = NormalDist().inv_cdf(1 - CHANCE_OF_A_FALSE_ALARM)
    z_each = NormalDist().inv_cdf(1 - CHANCE_OF_A_FALSE_ALARM / len(rates))
    return Result(
        report="\n\n".join([
            f"Bad challengers, {len(BAD)} kinds, {len(everything):,} rollouts:",
            table(["what is wrong", "cause", "rollouts", "aborted in shadow + canary", "missed + undecided",
                   "requests, median", "95th percentile", "true cause", "else"], lines),
            f"Harmless challengers, {len(rates)} kinds, {total:,} rollouts; wrong aborts at any look:",
            table(["champion and challenger", "rollouts", "wrong aborts", "which"], rates),
            f"In all {aborted} of {total:,} ({100 * aborted / total:.2f} %); stated are {100 * stated:g} %.",
        ]),
        figures=figures,
        claims=[
            Claim("bad challengers that got more than 5 % of the traffic", ends["missed"], 0, "rollouts"),
            Claim("bad challengers that were neither aborted nor let on", ends["undecided"], 0, "rollouts"),
            Claim("bad challengers with another cause", round(wrong_causes, 4), round(1 - TRUE_CAUSES, 4), "of them"),
            Claim("harmless challengers aborted, all", round(aborted / total, 4),
                  round(stated + z * math.sqrt(stated * CONFIDENCE / total), 4), "aborted"),
            Claim("harmless challengers aborted, the worst kind", round(each, 4),
                  round(stated + z_each * math.sqrt(stated * CONFIDENCE / fewest), 4), "aborted"),
        ],
    )  # fmt: skip


def _rate(cell: Cell, rows: list[list[Any]]) -> list[Any]:
    which = sorted({f"{row[1]}: {row[2]}" for row in rows if row[0]})
    return [cell.where, len(rows), sum(row[0] for row in rows), ", ".join(which)]


def _cells(quick: bool) -> Iterator[Cell]:
    seeds, harmless_seeds = (QUICK_BAD_SEEDS, QUICK_HARMLESS_SEEDS) if quick else (BAD_SEEDS, HARMLESS_SEEDS)
    for number, kind in enumerate(BAD):
        for name in kind.sources[:1] if quick else kind.sources:
            yield Cell(f"bad, {kind.name}, {name}, {seeds}", number, name, seeds, bad=True)
    for number, (name, own, other, bootstrap) in enumerate(HARMLESS):
        if not quick or number % 4 == 0:
            said = f"{name}: {own}, {'on a bootstrap' if bootstrap else other if other != own else 'another seed'}"
            yield Cell(f"harmless, {said}, {harmless_seeds}", number, said, harmless_seeds, bad=False)


def count(cell: Cell) -> list[list[Any]]:
    """Every repetition of a cell."""
    warnings.simplefilter("ignore")
    return [_bad(BAD[cell.number], cell.where, seed) if cell.bad else _harmless(cell.number, seed)
            for seed in range(cell.seeds)]  # fmt: skip


def _bad(kind: Bad, name: str, seed: int) -> list[Any]:
    """Where a bad challenger was aborted (shadow, canary, missed), after how many requests, and why."""
    watched = _watched(name, kind.make(name, seed), seed, missing=kind.missing, labelled=kind.labelled)
    requests = 0
    for where, take, step, most in (
        ("shadow", watched.traffic.shadow, STEP, MOST_SHADOW),
        ("canary", watched.traffic.canary, CANARY_STEP, MOST_CANARY),
    ):
        for _ in range(most // step):
            found = watched.look(take, step)
            requests += step
            if found.decision == "abort":
                return [where, requests, found.cause]
            if found.decision == "promote":
                break
        else:
            return ["undecided", requests, None]
        watched.since = ""
    return ["missed", requests, None]


def _harmless(number: int, seed: int) -> list[Any]:
    """Whether a harmless challenger was aborted at any look, by which check, and why."""
    name, own, other, bootstrap = HARMLESS[number]
    model = trained(name, other, 1 + seed % 3, bootstrap)
    own_answers, truth = champion(f"{name}:{own}"), source(name).truth
    answered = _answers(name, model)
    labelled = LABELLED if _loss(own_answers, answered, truth) <= 0 else 0.0
    watched = _watched(f"{name}:{own}", answering(answered), seed, labelled=labelled)
    least = AGREEMENT.get((name, other, bootstrap), watched.policy.min_agreement)
    watched.policy = msgspec.structs.replace(watched.policy, min_agreement=least)
    for take, step, most in (
        (watched.traffic.shadow, STEP, HARMLESS_SHADOW),
        (watched.traffic.canary, CANARY_STEP, HARMLESS_CANARY),
    ):
        for _ in range(most // step):
            found = watched.look(take, step)
            if found.decision == "abort":
                first = next(check for check in found.checks if check.state == "beyond" and not check.overruled)
                return [True, first.name, found.cause]
    return [False, "", None]


_ANSWERED: dict[int, list[Any]] = {}


def _loss(one: list[Any], two: list[Any], truth: Any) -> float:
    """By how much the second answers cost more than the usual limit of a loss, by all labels."""
    if isinstance(one[0], float):
        spread = float(np.quantile(one, 0.9) - np.quantile(one, 0.1)) / 2.563
        more = np.abs(np.array(two) - truth) - np.abs(np.array(one) - truth)
        return float(more.mean()) - LOSS_OF_A_NUMBER * spread
    wrong = [np.array([answer["label"] for answer in side]) != truth.astype(str) for side in (one, two)]
    return float(wrong[1].mean() - wrong[0].mean()) - LOSS_OF_A_CLASS


def _answers(name: str, model: Any) -> list[Any]:
    if id(model) not in _ANSWERED:
        _ANSWERED[id(model)] = answers(model, source(name).asked)
    return _ANSWERED[id(model)]


def _watched(name: str, serve: Serve, seed: int, *, missing: float = 0.0, labelled: float = 0.0) -> Watched:
    found = source(name)
    traffic = Traffic(found, champion(name), serve, seed, missing=missing, labelled=labelled)
    return Watched(traffic, Policy(slices=found.slices))


def _counted(cells: list[Cell]) -> Counted:
    """What every cell came to; cells that were counted before are read."""
    kept = PROJECT / "build" / "benchmarks" / "rollout" / f"{_digest()}.jsonl"
    kept.parent.mkdir(parents=True, exist_ok=True)
    found: Counted = {}
    if kept.exists():
        found = dict(json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines())
    left = [cell for cell in cells if cell.name not in found]
    with ProcessPoolExecutor(os.cpu_count()) as pool, kept.open("a", encoding="utf-8") as log:
        for cell, rows in zip(left, pool.map(count, left), strict=True):
            found[cell.name] = rows
            log.write(json.dumps([cell.name, rows]) + "\n")
            log.flush()
            print(cell.name, file=sys.stderr)
    return found


def _digest() -> str:
    library = PROJECT / "layers" / "core" / "python" / "modelyard"
    rollout = library / "rollout"
    own = ("answers", "observations", "slicing", "sequential", "shift", "losses", "judging", "policy", "verdict")
    files = [
        *(Path(__file__).with_name(f"{name}.py") for name in ("challengers", "sources", "traffic", "verdicts")),
        library / "labels.py",
        *(rollout / f"{name}.py" for name in own),
        *(rollout / "checks").glob("*.py"),
        *(rollout / "causes").glob("*.py"),
    ]
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()[:16]


if __name__ == "__main__":
    run("How soon bad challengers are aborted, with which cause, and how often harmless ones are.", measure)
