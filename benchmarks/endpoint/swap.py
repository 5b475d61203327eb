"""Promotions while a client sends requests without pause: is any answer late, wrong or missing?

Models of 4 KB, 14 MB (an image classifier) and 90 MB (a text encoder, as uploaded and as registration compiles it).
Each version adds its number to the model's output, so an answer shows which version made it.

- In process: the endpoint from its built layers, asked by one thread and, with the lean engine, by four, as a server in
  a container asks.
- Under the Runtime API: AWS's own runtime client against a stand-in for Lambda, one request at a time, frozen between
  them as Lambda does. The caller's time counts from when it asks, so it holds what an environment that is still busy
  makes it wait.

First requests alone, then promotions one after another. Requests are watched from a promotion until the switch was
seen, and a moment longer; the time before is cut into as many windows of the same length, as a control: a machine has
pauses of its own, and a claim about promotions must not depend on where they fall.

The claims: no request fails, every answer names the version that made it, the switch is seen within ``refresh_s``; and
no request of a promotion takes longer than 1.5 times the 99th percentile before. To the letter, the last one cannot
hold for anybody: of 30,000 requests a second 300 are beyond the percentile, with or without a promotion. So it is made
of two. Of each row: the slowest request of the middle one of its promotions, since what a promotion costs is in each of
them, takes at most that, or as much as one took in a window without. Of all rows: promotions in which a single request
took longer are as many as windows without one in which it did, within what chance makes of such counts in one of
twenty runs. Both counts are shown.

What a request's thread waited for a processor, as Linux counts it, is shown apart: on few processors a load and
whatever else runs take turns with it. The caller of Lambda has no such count.

    python benchmarks/endpoint/swap.py [--quick] [--json]
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from math import sqrt
from pathlib import Path
from statistics import mean, median
from typing import Any

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT))

from benchmarks.measuring import layers  # noqa: E402 - the project's folder has to be on the path first
from benchmarks.measuring.bucket import Bucket  # noqa: E402
from benchmarks.measuring.clients import AFTER_S, Asked, ask_in_process, ask_through_lambda  # noqa: E402
from benchmarks.measuring.script import Claim, Result, run  # noqa: E402
from benchmarks.measuring.table import table  # noqa: E402
from benchmarks.measuring.versions import MODEL, SIZES, Versions  # noqa: E402

REFRESH_S = 4.0
BEFORE_S, PROMOTIONS = 18.0, 5
QUICK_BEFORE_S, QUICK_PROMOTIONS, QUICK_SIZES = 2.5, 1, ("4 KB", "14 MB")
SLOWER = 1.5
ONE_IN_TWENTY = 1.645
"""Standard deviations that a normal quantity is above its mean in one of twenty cases."""
COLUMNS = {
    "requests": "requests",
    "failed": "failed",
    "wrong": "wrong",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "control_ms": "slowest without",
    "slowest_ms": "slowest of a promotion",
    "running_ms": "without waiting for a processor",
    "over_p99": "x p99",
    "control_worst_ms": "worst without",
    "worst_ms": "worst of all promotions",
    "control_late": "windows with a request above 1.5 x p99",
    "late": "promotions with one",
    "seen_after_s": "seen after s",
}


def measure(quick: bool) -> Result:
    pace: dict[str, Any] = {"before_s": BEFORE_S, "promotions": PROMOTIONS}
    if quick:
        pace = {"before_s": QUICK_BEFORE_S, "promotions": QUICK_PROMOTIONS}
    everything: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name, Bucket() as bucket:
        folder = Path(name)
        python = layers.empty_interpreter(folder)
        paths = {engine: layers.unpacked(engine, folder) for engine in ("lean", "standard")}
        for size in QUICK_SIZES if quick else SIZES:
            versions = Versions(bucket, size)
            versions.prepare(pace["promotions"] + 1)
            for (engine, way), ask in _ways(python, paths, versions, pace).items():
                versions.restart()
                label = f"{size}, {engine}, {way}"
                with tempfile.TemporaryDirectory(dir=folder) as own:  # what one has fetched is not there for the next
                    everything[label] = found = _found(ask(folder=Path(own)))
                print(f"{label}: slowest {found['slowest_ms']:.1f} ms, p99 {found['p99_ms']:.1f} ms", file=sys.stderr)
    whole = ("requests", "failed", "wrong", "control_late", "late")
    rows = [
        [label, *(f"{found[key]:,.{0 if key in whole else 2}f}" if key in found else "" for key in COLUMNS)]
        for label, found in everything.items()
    ]
    figures = {f"{label}.{key}": round(value, 4) for label, found in everything.items() for key, value in found.items()}
    note = (
        f"{pace['promotions']} promotions each, refresh_s = {REFRESH_S:g}. p50 and p99 are of {pace['before_s']:g} s "
        "without a promotion. Slowest: of the slowest requests of all windows the middle one; worst: the last one."
    )
    report = f"{table(['while versions change', *COLUMNS.values()], rows)}\n\n{note}"
    return Result(report, figures, _claims(everything))


def _ways(
    python: Path, paths: dict[str, list[Path]], versions: Versions, pace: dict[str, Any]
) -> dict[tuple[str, str], Callable[..., Asked]]:
    """The ways of asking, by engine and name."""
    ways: dict[tuple[str, str], Callable[..., Asked]] = {}
    for engine, path in paths.items():
        environment = {
            **versions.bucket.environment,
            "MODELYARD_MODEL": MODEL,
            "MODELYARD_ARTIFACT_BUCKET": versions.bucket.name,
            "MODELYARD_REFRESH_S": f"{REFRESH_S:g}",
            "MODELYARD_ENGINE": engine,
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        layered = environment | {"PYTHONPATH": os.pathsep.join(map(str, path))}
        for threads in (1, 4) if engine == "lean" else (1,):
            ways[engine, f"{threads} thread{'s' if threads > 1 else ''}"] = partial(
                ask_in_process, python, versions, layered, threads=threads, **pace
            )
        ways[engine, "Runtime API"] = partial(
            ask_through_lambda, "functions.predict.handler", versions, environment, **pace
        )
    return ways


def _found(asked: Asked) -> dict[str, float]:
    first = min(asked.promoted.values())
    before = sorted(took for began, took, _ in asked.times if began + took < first)
    windows = [(moment, asked.settled[version] + AFTER_S) for version, moment in asked.promoted.items()]
    slowest = [_slowest(asked, window) for window in windows]
    control = [_slowest(asked, window)[0] for window in _windows_before(asked, first, windows)]
    p99 = before[min(len(before) - 1, int(len(before) * 0.99))]
    seen: dict[int, float] = {}
    shifts: dict[int, set[float]] = {}
    for (status, head, predictions), moment in asked.answers.items():
        if status == 200:
            version = json.loads(f"{head.rstrip().rstrip(',')}}}")["version"]
            seen[version] = max(moment, seen.get(version, 0.0))
            shifts.setdefault(version, set()).add(_first_number(predictions) - version)
    without = next(iter(shifts[1]))
    middle = median(took for took, _ in slowest)
    counted = {"running_ms": median(running for _, running in slowest) * 1000} if asked.counts_waits else {}
    return counted | {
        "requests": len(asked.times),
        "failed": sum(status != 200 for status, _, _ in asked.answers),
        "wrong": sum(abs(value - without) > 0.01 for found in shifts.values() for value in found),
        "p50_ms": before[len(before) // 2] * 1000,
        "p99_ms": p99 * 1000,
        "control_ms": median(control) * 1000,
        "control_worst_ms": max(control) * 1000,
        "control_late": sum(took > SLOWER * p99 for took in control),
        "windows": len(control),
        "slowest_ms": middle * 1000,
        "worst_ms": max(took for took, _ in slowest) * 1000,
        "late": sum(took > SLOWER * p99 for took, _ in slowest),
        "promotions": len(slowest),
        "allowed_ms": max(SLOWER * p99, max(control)) * 1000,
        "over_p99": middle / p99,
        "seen_after_s": max(seen[version] - moment for version, moment in asked.promoted.items()),
    }


def _slowest(asked: Asked, window: tuple[float, float]) -> tuple[float, float]:
    """The longest time of a request that was under way in a window, and the longest without waits for a processor."""
    start, end = window
    found = [(took, took - queued) for began, took, queued in asked.times if began + took >= start and began <= end]
    return max(took for took, _ in found), max(running for _, running in found)


def _windows_before(asked: Asked, first: float, windows: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """As many windows of their mean length as there is time for before the first promotion, and at least one."""
    length = mean(end - start for start, end in windows)
    began = min(began for began, _, _ in asked.times)
    count = max(1, min(len(windows), int((first - began) / length)))
    return [(max(began, first - (place + 1) * length), first - place * length) for place in range(count)]


def _first_number(predictions: str) -> float:
    """The first number in what follows ``"predictions"``."""
    found: Any = json.loads("{" + predictions)["predictions"]
    while not isinstance(found, float | int):
        found = found[0] if isinstance(found, list) else next(iter(found.values()))
    return float(found)


def _claims(found: dict[str, dict[str, float]]) -> list[Claim]:
    rounded = {label: {key: round(value, 2) for key, value in one.items()} for label, one in found.items()}
    answers = sum(one["failed"] + one["wrong"] for one in found.values())
    return [
        Claim("failed or wrong answers, all rows", answers, 0, "answers"),
        Claim(
            "a switch is seen, slowest of all",
            round(max(one["seen_after_s"] for one in found.values()), 2),
            REFRESH_S,
            "s",
        ),
        *(
            Claim(f"slowest request of a promotion, {label}", one["slowest_ms"], one["allowed_ms"], "ms")
            for label, one in rounded.items()
        ),
        _late(list(found.values())),
    ]


def _late(found: list[dict[str, float]]) -> Claim:
    """Promotions with a request above the limit, against windows without a promotion that have one."""
    promotions, windows = (sum(one[key] for one in found) for key in ("promotions", "windows"))
    late, control = (sum(one[key] for one in found) for key in ("late", "control_late"))
    share = (late + control) / (promotions + windows)
    deviation = sqrt(share * (1 - share) * promotions * (1 + promotions / windows))
    allowed = control / windows * promotions + ONE_IN_TWENTY * deviation
    name = (
        f"of {promotions:g} promotions, those with a request above {SLOWER:g} x p99; {control:g} of {windows:g} without"
    )
    return Claim(name, late, round(allowed, 1), "promotions")


if __name__ == "__main__":
    run("Promotions while a client sends requests without pause.", measure)
