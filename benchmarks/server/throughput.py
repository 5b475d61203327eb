"""Requests in a second of a server on one processor, beside other model servers, and how long they take.

Gradient boosting of 100 trees on 30 numeric features, the same ONNX file in every server, with one thread. wrk sends
the same request without pause from the other processor: 1 row over 16 connections, and 100 rows over 4. Every answer is
held against the model's own before anything is measured. A round asks all servers in turn; one that is not asked is
stopped meanwhile. What counts is the ratio to the floor of the same round, and of these the median.

The floor is an ASGI app under uvicorn (uvloop, httptools) that reads with orjson, runs the model and writes with
orjson: no checks, no log, and its answer is the shortest. Ours checks every row against the contract and writes an
audit line for every request. All standard output goes to /dev/null; one of the rows below has it read by another
process through a pipe, as in a container. The access logs of all others are off.

    python benchmarks/server/throughput.py [--quick] [--json]
"""

import statistics
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT))

from benchmarks.measuring import wrk  # noqa: E402 - the project's folder has to be on the path first
from benchmarks.measuring.picture import Bar, bars  # noqa: E402
from benchmarks.measuring.script import Claim, Result, run  # noqa: E402
from benchmarks.measuring.server import processors, running_on  # noqa: E402
from benchmarks.measuring.table import table  # noqa: E402
from benchmarks.measuring.turns import median, ratio, take_turns  # noqa: E402
from benchmarks.measuring.workload import one_input  # noqa: E402
from benchmarks.measuring.wrk import Load, Measured  # noqa: E402
from benchmarks.server.contestants import CONTESTANTS, FLOOR, started  # noqa: E402

ROUNDS, QUICK_ROUNDS = 7, 1
SECONDS, QUICK_SECONDS = 3, 1
CONNECTIONS = {1: 16, 100: 4}
"""By the rows of a request."""
OF_FLOOR = {1: 0.7, 100: 0.8}
"""Of the floor's requests in a second, at least."""
CLAIMED = ("lean", "standard")
MEASURES = ("requests_s", "p50_ms", "p99_ms")

Rounds = dict[str, list[Measured]]


def measure(quick: bool) -> Result:
    wrk.require()
    serving, asking = processors()
    chosen = {name: one for name, one in CONTESTANTS.items() if not quick or name == FLOOR or one.installed}
    rounds, seconds = (QUICK_ROUNDS, QUICK_SECONDS) if quick else (ROUNDS, SECONDS)
    workload, measured = one_input(), {}
    with running_on(asking), started(chosen, workload, batches=CONNECTIONS, on=serving, reader_on=asking) as servers:
        for rows, connections in CONNECTIONS.items():
            turns = {
                name: (server, Load(chosen[name].body(workload, rows), connections)) for name, server in servers.items()
            }
            measured[rows] = take_turns(turns, rounds=rounds, seconds=seconds, warm=not quick)
    left_out = [one.title for name, one in CONTESTANTS.items() if name not in chosen]
    return _result(measured, rounds, left_out)


def _result(measured: dict[int, Rounds], rounds: int, left_out: list[str]) -> Result:
    figures: dict[str, float] = {}
    claims, parts, pictures = [], [], {}
    for rows, found in measured.items():
        lines, shown = [], []
        for name in sorted(found, key=lambda name: -ratio(found[name], found[FLOOR], "requests_s")):
            cells = []
            for field in MEASURES:
                value, of_floor = median(found[name], field), ratio(found[name], found[FLOOR], field)
                figures |= {f"{rows}.{name}.{field}": value, f"{rows}.{name}.{field}.of_floor": of_floor}
                cells += [f"{value:,.0f}" if field == "requests_s" else f"{value:,.2f}", f"{of_floor:.2f}"]
            lines.append([CONTESTANTS[name].title, *cells])
            of_floor = figures[f"{rows}.{name}.requests_s.of_floor"]
            shown.append(Bar(CONTESTANTS[name].title, of_floor, f"{of_floor:.2f}", ours=CONTESTANTS[name].ours))
        load = f"{rows} {'row' if rows == 1 else 'rows'}, {CONNECTIONS[rows]} connections"
        parts.append(table([load, "requests/s", "x floor", "p50 ms", "x floor", "p99 ms", "x floor"], lines))
        claims += _claims(rows, load, found, figures)
        pictures[f"throughput_{rows}.svg"] = bars(f"Requests in a second, of the floor's: {load}", shown)
    parts.append(f"Medians of {rounds} rounds; `x floor` is taken within a round.")
    if left_out:
        parts.append(f"Not installed, so left out with --quick: {', '.join(left_out)}.")
    return Result("\n\n".join(parts), {name: round(value, 4) for name, value in figures.items()}, claims, pictures)


def _claims(rows: int, load: str, found: Rounds, figures: dict[str, float]) -> list[Claim]:
    claims = []
    rivals = [name for name in found if name != FLOOR and not CONTESTANTS[name].ours]
    for name in CLAIMED:
        of_floor = round(figures[f"{rows}.{name}.requests_s.of_floor"], 3)
        claims.append(Claim(f"{load}, {name}: requests/s, of the floor", of_floor, OF_FLOOR[rows], at_least=True))
        if rivals:
            best = [min(found[rival][turn].p99_ms for rival in rivals) for turn in range(len(found[name]))]
            slowest = statistics.median(one.p99_ms / other for one, other in zip(found[name], best, strict=True))
            claims.append(Claim(f"{load}, {name}: p99, of the best other server's", round(slowest, 3), 1.0))
    return claims


if __name__ == "__main__":
    run("Requests in a second of one processor, beside other model servers.", measure)
