"""What the registry costs as a model gathers versions: in requests, in bytes and in time; and MLflow's beside it.

Models with 1, 1,000 and 100,000 versions lie in the same stores. Each verb runs on each of them in every round:

- ``register``: 20 KB of new bytes become the next version;
- ``resolve``: what is live, with its manifest;
- ``promote``: the newest version becomes the champion;
- ``list``: the 20 newest versions;
- ``history``: the 20 newest lines of the ledger.

Ours runs over a private local AWS (MiniStack), over HTTP on this machine. Requests are counted where botocore sends
them, every attempt, and bytes are those of their bodies, so that equal headers do not hide a difference. MLflow's
registry runs in a process of its own over its SQLite file; its calls are SQL statements, and ``register`` includes the
copy of the 20 KB into its artifact folder. MLflow keeps no history of a registry.

The claim: ``resolve`` and ``register`` need no more than 1.5 times the requests and bytes of the smallest model. Times
are shown for their growth. They say nothing about AWS: an emulator in Python, that goes through the whole partition
for each query, answers ours; a file on this machine answers MLflow's.

    python benchmarks/registry/versions.py [--quick] [--json]
"""

import argparse
import json
import os
import platform
import statistics
import sys
from typing import Any

import ours
import theirs

SIZES, QUICK_SIZES = (1, 1_000, 100_000), (1, 1_000)
ROUNDS, QUICK_ROUNDS = 15, 3
LISTINGS = 3
"""Rounds of ``list`` and ``history``: on the largest model the emulator takes seconds for each."""

VERBS = ("register", "resolve", "promote", "list", "history")
LISTED, LONG_ENOUGH = ("list", "history"), 20
CLAIMED, ALLOWED = ("register", "resolve"), 1.5
MEASURES = ("calls", "sent", "read", "ms")


def main() -> None:
    parser = argparse.ArgumentParser(description="The registry's verbs as a model gathers versions, beside MLflow's.")
    parser.add_argument("--quick", action="store_true", help="no 100,000 versions and few rounds; under a minute")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args()
    sizes = QUICK_SIZES if options.quick else SIZES
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    with theirs.started() as mlflow, ours.started() as modelyard:
        sides = {"modelyard": modelyard, "mlflow": mlflow}
        for size in sizes:
            print(f"fill a model with {size:,} versions …", file=sys.stderr)
            for side in sides.values():
                side.fill(_model(size), size)
        figures = _measure(sides, sizes, rounds)
        publishes = modelyard.publishes("publishing")
        result: dict[str, Any] = {
            "python": platform.python_version(),
            "machine": f"{os.cpu_count()} processors, {platform.machine()}",
            "mlflow": mlflow.version,
            "rounds": rounds,
            "figures": figures,
            "publish": publishes,
            "claims": _claims(figures, sizes),
        }
    print(json.dumps(result, indent=2) if options.json else _report(result, sizes))
    if not all(claim["holds"] for claim in result["claims"].values()):
        raise SystemExit("a claim does not hold")


def _model(size: int) -> str:
    return f"with_{size}"


def _measure(sides: dict[str, Any], sizes: tuple[int, ...], rounds: int) -> dict[str, float]:
    """Each figure by its name, like ``modelyard.register.1000.calls``: medians of times, the most of all else."""
    measured: dict[tuple[str, str, int], list[dict[str, float]]] = {}
    for number in range(-1, rounds):
        for size in sizes:
            for verb in VERBS:
                if verb in LISTED and number >= LISTINGS:
                    continue
                for name, side in sides.items():
                    if (name, verb) == ("mlflow", "history"):
                        continue
                    cost = getattr(side, verb)(_model(size))
                    if number >= 0:  # the round before the first warms up
                        measured.setdefault((name, verb, size), []).append(cost)
    figures: dict[str, float] = {}
    for (name, verb, size), costs in measured.items():
        for measure in MEASURES:
            values = [cost[measure] for cost in costs if measure in cost]
            if values:
                value = round(statistics.median(values), 2) if measure == "ms" else max(values)
                figures[f"{name}.{verb}.{size}.{measure}"] = value
    return figures


def _claims(figures: dict[str, float], sizes: tuple[int, ...]) -> dict[str, dict[str, Any]]:
    claims = {}
    for verb in CLAIMED:
        for measure in ("calls", "sent", "read"):
            values = [figures[f"modelyard.{verb}.{size}.{measure}"] for size in sizes]
            ratio = max(values) / values[0]
            claims[f"{verb}.{measure}"] = {"ratio": round(ratio, 3), "allowed": ALLOWED, "holds": ratio <= ALLOWED}
    return claims


def _report(result: dict[str, Any], sizes: tuple[int, ...]) -> str:
    figures = result["figures"]
    lines = [
        f"Python {result['python']}, {result['machine']}, MLflow {result['mlflow']}; "
        f"medians of {result['rounds']} rounds ({LISTINGS} of list and history)",
        "",
        "| verb | versions | requests | bytes sent | bytes read | ms | grown | MLflow: statements | ms | grown |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for verb in VERBS:
        for size in sizes:
            mine = {measure: figures[f"modelyard.{verb}.{size}.{measure}"] for measure in MEASURES}
            cells = [
                f"{mine['calls']:.0f}",
                f"{mine['sent']:,.0f}",
                f"{mine['read']:,.0f}",
                *_time(figures, "modelyard", verb, size, sizes),
            ]
            if f"mlflow.{verb}.{size}.ms" in figures:
                cells += [f"{figures[f'mlflow.{verb}.{size}.calls']:.0f}", *_time(figures, "mlflow", verb, size, sizes)]
            else:
                cells += ["none", "", ""]
            lines.append(f"| {verb} | {size:,} | {' | '.join(cells)} |")
    lines += ["", "One registration in requests:"]
    for case, requests in result["publish"].items():
        shown = ", ".join(f"{count} {name.partition('.')[2]}" for name, count in requests.items())
        lines.append(f"- {case}: {sum(requests.values())} ({shown})")
    lines += ["", f"At most {ALLOWED} times the smallest model:"]
    for claim, found in result["claims"].items():
        lines.append(f"- {claim}: {found['ratio']:.3f} {'holds' if found['holds'] else 'DOES NOT HOLD'}")
    return "\n".join(lines)


def _time(figures: dict[str, float], side: str, verb: str, size: int, sizes: tuple[int, ...]) -> list[str]:
    """Milliseconds, and how many times those of the smallest model with as much to show."""
    ms = figures[f"{side}.{verb}.{size}.ms"]
    smallest = next(number for number in sizes if verb not in LISTED or number >= LONG_ENOUGH)
    grown = f"{ms / figures[f'{side}.{verb}.{smallest}.ms']:.1f} x" if size >= smallest else ""
    return [f"{ms:,.1f}", grown]


if __name__ == "__main__":
    main()
