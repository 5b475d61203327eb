"""What `verdicts.py` counts: rollouts of bad and harmless challengers, each looked at again and again until it ends.

What has been counted is kept in `build/benchmarks/rollout/`, under a digest of this code and of what a verdict is made
of, and not counted again. How it is reported may change without that.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import hashlib
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT))

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


def cells_of(quick: bool) -> Iterator[Cell]:
    """What is counted; less of it with ``--quick``."""
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


def counted(cells: list[Cell]) -> Counted:
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
        *(Path(__file__).with_name(f"{name}.py") for name in ("challengers", "sources", "traffic", "counting")),
        library / "labels.py",
        *(rollout / f"{name}.py" for name in own),
        *(rollout / "checks").glob("*.py"),
        *(rollout / "causes").glob("*.py"),
    ]
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()[:16]
