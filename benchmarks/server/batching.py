"""What running the rows of several requests as one gains, on one processor, and what it costs where nobody else asks.

The model is a network with two dense layers of 2,048 (17 MB): one row takes it ten times as long as a row of sixty-four
does. wrk sends one row in each request, over 64 connections and over 1, without pause, from the other processor. Three
servers are asked in turn: two that put nothing together (``MODELYARD_MAX_BATCH=1``; the second shows what is only
noise), and one as it is by default. Each round starts them anew, because how fast a process is depends also on where in
memory it has its 17 MB. Before that, 64 different rows are asked at once, and each answer has to be its own row's.

What a request may take: it waits for the run under way and for its own, and at most ``MODELYARD_MAX_WAIT_MS`` for
others to be run with. At full load a run begins when the last one ends, so that is two mean times and the wait. The p99
of the two that put nothing together is of wrk's first second: uvicorn on uvloop lets one connection in between two
requests, and until all 64 are in the last ones wait. FastAPI and the floor of ``throughput.py`` do the same.

    python benchmarks/server/batching.py [--quick] [--json]
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT))

from benchmarks.measuring import wrk  # noqa: E402 - the project's folder has to be on the path first
from benchmarks.measuring.picture import Bar, bars  # noqa: E402
from benchmarks.measuring.script import Claim, Result, run  # noqa: E402
from benchmarks.measuring.server import Server, processors, running_on  # noqa: E402
from benchmarks.measuring.table import table  # noqa: E402
from benchmarks.measuring.turns import median, ratio, take_turns  # noqa: E402
from benchmarks.measuring.workload import Workload, wide_network  # noqa: E402
from benchmarks.measuring.wrk import Load, Measured  # noqa: E402
from benchmarks.server.contestants import Contestant, ours, started  # noqa: E402

ROUNDS, QUICK_ROUNDS = 7, 1
SECONDS, QUICK_SECONDS = 5, 1
CONNECTIONS = (64, 1)
ROWS = 64
WAIT_MS = 5.0
"""``MODELYARD_MAX_WAIT_MS`` by default."""
GAIN = 2.0
"""Requests in a second over 64 connections, of those without batching, at least."""
NO_LOSS = 1.03
"""Half of the requests over 1 connection take so many times as long as without, at most."""

ALONE, AGAIN, TOGETHER = "alone", "again", "together"
ENGINES = ("lean", "standard")

Rounds = dict[str, list[Measured]]


def measure(quick: bool) -> Result:
    wrk.require()
    serving, asking = processors()
    workload = wide_network()
    rounds, seconds = (QUICK_ROUNDS, QUICK_SECONDS) if quick else (ROUNDS, SECONDS)
    measured: dict[tuple[str, int], Rounds] = {}
    for engine in ENGINES[:1] if quick else ENGINES:
        chosen = _contestants(engine)
        for number in range(rounds):
            with running_on(asking), started(chosen, workload, batches=(1,), on=serving, reader_on=asking) as servers:
                _check_rows(chosen[TOGETHER], servers[TOGETHER], workload)
                for connections in CONNECTIONS:
                    load = Load(chosen[TOGETHER].body(workload, 1), connections)
                    order = list(servers) if number % 2 else list(reversed(servers))
                    turns = {name: (servers[name], load) for name in order}
                    times = measured.setdefault((engine, connections), {name: [] for name in chosen})
                    for name, found in take_turns(turns, rounds=1, seconds=seconds, warm=not quick).items():
                        times[name] += found
    return _result(measured, rounds)


def _contestants(engine: str) -> dict[str, Contestant]:
    alone = {"MODELYARD_MAX_BATCH": "1"}
    return {
        ALONE: ours("each request alone", engine, alone),
        AGAIN: ours("the same again", engine, alone),
        TOGETHER: ours("with batching", engine),
    }


def _check_rows(contestant: Contestant, server: Server, workload: Workload) -> None:
    """Ask for many rows at once, one in each request, and hold each answer against its own row."""
    labels, probabilities = workload.answers(ROWS)
    bodies = [contestant.body(workload.only(row), 1) for row in range(ROWS)]
    server.resume()
    with ThreadPoolExecutor(ROWS) as threads:
        answers = list(threads.map(server.answer, bodies))
    server.pause()
    for row, answer in enumerate(answers):
        contestant.check(answer, (labels[row : row + 1], probabilities[row : row + 1]))


def _result(measured: dict[tuple[str, int], Rounds], rounds: int) -> Result:
    figures: dict[str, float] = {}
    claims, parts, shown = [], [], []
    for (engine, connections), found in measured.items():
        lines = []
        for name, times in found.items():
            title = _contestants(engine)[name].title
            gained = ratio(times, found[ALONE], "requests_s")
            values = {field: median(times, field) for field in ("requests_s", "mean_ms", "p50_ms", "p99_ms")}
            figures |= {f"{engine}.{connections}.{name}.{field}": value for field, value in values.items()}
            figures[f"{engine}.{connections}.{name}.gained"] = gained
            numbers = (f"{values['requests_s']:,.0f}", f"{gained:.2f}", *(f"{values[f]:.2f}" for f in list(values)[1:]))
            lines.append([title, *numbers])
            if connections > 1 and name != AGAIN:
                text = f"{values['requests_s']:,.0f}"
                shown.append(Bar(f"{engine} engine, {title}", values["requests_s"], text, ours=name == TOGETHER))
        load = f"{connections} {'connection' if connections == 1 else 'connections'}"
        columns = [f"{load}, {engine} engine", "requests/s", "x alone", "mean ms", "p50 ms", "p99 ms"]
        parts.append(table(columns, lines))
        claims += _claims(f"{load}, {engine}", connections, found)
    parts.append(f"Medians of {rounds} rounds; `x alone` is taken within a round.")
    pictures = {"batching.svg": bars(f"Requests in a second over {CONNECTIONS[0]} connections", shown)}
    return Result("\n\n".join(parts), {name: round(value, 4) for name, value in figures.items()}, claims, pictures)


def _claims(load: str, connections: int, found: Rounds) -> list[Claim]:
    if connections == 1:
        slower = round(ratio(found[TOGETHER], found[ALONE], "p50_ms"), 3)
        return [Claim(f"{load}: p50 with batching, of that without", slower, NO_LOSS)]
    gained = round(ratio(found[TOGETHER], found[ALONE], "requests_s"), 3)
    over = median(found[TOGETHER], "p99_ms") - 2 * median(found[TOGETHER], "mean_ms")
    return [
        Claim(f"{load}: requests/s with batching, of those without", gained, GAIN, at_least=True),
        Claim(f"{load}: p99 less two mean times", round(over, 2), WAIT_MS, "ms"),
    ]


if __name__ == "__main__":
    run("What running several requests' rows as one gains.", measure)
