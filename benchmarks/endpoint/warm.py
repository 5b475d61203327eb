"""One request to a warm function: an API Gateway event in, the response out, against ``session.run`` alone.

The model is gradient boosting of 100 trees on 30 numeric features, once with one input of 30 and once with 30 named
ones, asked for 1 row and for 100. ``session.run`` gets arrays that are ready and has one thread, and so have all
others: at 1,769 MB Lambda gives one processor.

The endpoint runs from its built layers with its contract, its audit line and its metrics (EMF); powertools with its
logger and metrics; FastAPI and Chalice with a line of ``logging`` through a handler like Lambda's. All write to
/dev/null. Each lives in a process of its own and is asked over a pipe, so that every round asks all of them in turn.
A process times each call by itself. A round counts with its median; what is over ``session.run`` is taken within a
round, and the median of that is the claim.

    python benchmarks/endpoint/warm.py [--quick] [--json]
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT))

from benchmarks.measuring import layers, rivals  # noqa: E402 - the project's folder has to be on the path first
from benchmarks.measuring.bucket import Bucket  # noqa: E402
from benchmarks.measuring.picture import Bar, bars  # noqa: E402
from benchmarks.measuring.script import Claim, Result, run  # noqa: E402
from benchmarks.measuring.starting import write_event  # noqa: E402
from benchmarks.measuring.table import table  # noqa: E402
from benchmarks.measuring.workload import Workload, as_rest_api_event, named_inputs, one_input  # noqa: E402

ROUNDS, QUICK_ROUNDS = 15, 2
CALLS = {1: 400, 100: 60}
"""Calls of a round, by rows."""
WARM_UP = 50

OVERHEAD_US, BATCH_RATIO = 60.0, 2.3
TITLES = {
    "engine": "session.run",
    "lean": "Modelyard, lean engine",
    "standard": "Modelyard, standard engine",
    "powertools": "powertools resolver",
    "chalice": "Chalice",
    "fastapi": "FastAPI + Mangum, async def",
    "fastapi_def": "FastAPI + Mangum, def",
    "naive": "FastAPI + Mangum + boto3 + powertools",
}
WORKLOADS = {"array": one_input, "named": named_inputs}
SHOWN = {"array": "one input of 30", "named": "30 named fields"}

WORKER = """
import marshal, os, sys, time
answers = os.fdopen(os.dup(1), "wb", buffering=0)
nowhere = os.open(os.devnull, os.O_WRONLY)
os.dup2(nowhere, 1)
kind, events = sys.argv[1], {}
for path in sys.argv[2:]:
    with open(path, "rb") as file:
        events[os.path.basename(path).rpartition("-")[2]] = marshal.load(file)
context = type(sys.implementation)(
    aws_request_id="8f5f1c1e-0c5e-4f0e-9d0a-6b1f0e9c2d11", function_name="predict", function_version="1",
    invoked_function_arn="arn:aws:lambda:eu-west-1:111122223333:function:predict", memory_limit_in_mb=1769,
    get_remaining_time_in_millis=lambda: 9000,
)
if kind == "engine":
    import numpy
    from scoring import session_of
    session = session_of(os.environ["MODEL_FILE"])
    names = [node.name for node in session.get_outputs()]
    def array(content, shape):
        return numpy.frombuffer(content, numpy.float32).reshape(shape)
    events = {rows: {name: array(*one) for name, one in arrays.items()} for rows, arrays in events.items()}
    call = lambda arrays: session.run(names, arrays)
else:
    handler = __import__(kind).handler
    if "logging" in sys.modules:
        import logging
        logging.basicConfig(stream=sys.stdout, format="[%(levelname)s]\\t%(asctime)s.%(msecs)dZ\\t%(message)s")
    call = lambda event: handler(event, context)
clock = time.perf_counter_ns
for line in sys.stdin:
    rows, count = line.split()
    event, times = events[rows], []
    for _ in range(int(count)):
        began = clock()
        response = call(event)
        times.append(clock() - began)
    times.sort()
    said = "" if kind == "engine" else str(response["statusCode"]) + " " + response["body"]
    answers.write(f"{times[len(times) // 2]} {times[0]} {said}\\n".encode())
"""


class Worker:
    """One process that answers how long its calls took.

    Args:
        python: The interpreter.
        kind: ``engine``, or the module that has ``handler``.
        path: Its ``PYTHONPATH``.
        events: Files with an event for each number of rows.
        environment: Its other variables.
    """

    def __init__(
        self, python: Path, kind: str, path: list[Path], events: list[Path], environment: dict[str, str]
    ) -> None:
        variables = {**environment, "PYTHONPATH": os.pathsep.join(map(str, path))}
        command = [str(python), "-c", WORKER, kind, *map(str, events)]
        self._process = subprocess.Popen(
            command, env=variables, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def call(self, rows: int, count: int) -> tuple[float, float, str]:
        """Median and least in µs of so many calls, and the last response."""
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101, PT018
        self._process.stdin.write(f"{rows} {count}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a process ended without an answer; what it wrote is above")
        median, least, said = line.rstrip("\n").split(" ", 2)
        return int(median) / 1000, int(least) / 1000, said


def measure(quick: bool) -> Result:
    rounds = QUICK_ROUNDS if quick else ROUNDS
    measured = {}
    with tempfile.TemporaryDirectory() as name, Bucket() as bucket:
        folder = Path(name)
        python = layers.empty_interpreter(folder)
        ours = {engine: layers.unpacked(engine, folder) for engine in ("lean", "standard")}
        theirs = rivals.installed()
        for form, made in WORKLOADS.items():
            environment = made().serve(bucket) | {"MODEL_FILE": str(folder / f"{form}.onnx")}
            (folder / f"{form}.onnx").write_bytes(made().onnx)
            files = _events(made(), folder / form)
            with ExitStack() as stack:
                workers = {}
                for kind, (module, path, events) in _kinds(ours, theirs, files).items():
                    variables = environment | {"MODELYARD_ENGINE": kind} if kind in ours else environment
                    workers[kind] = stack.enter_context(Worker(python, module, path, events, variables))
                for rows in CALLS:
                    measured[form, rows] = _rounds(workers, rows, rounds, CALLS[rows] // (4 if quick else 1))
    return _result(measured, rounds)


def _kinds(
    ours: dict[str, list[Path]], theirs: list[Path], files: dict[str, list[Path]]
) -> dict[str, tuple[str, list[Path], list[Path]]]:
    http = files["http"]
    return {
        "engine": ("engine", theirs, files["arrays"]),
        "lean": ("predict", ours["lean"], http),
        "standard": ("predict", ours["standard"], http),
        "powertools": ("powertools_resolver", theirs, http),
        "chalice": ("chalice_app", theirs, files["rest"]),
        "fastapi": ("fastapi_mangum", theirs, http),
        "fastapi_def": ("fastapi_mangum_def", theirs, http),
        "naive": ("naive", theirs, http),
    }


def _events(workload: Workload, prefix: Path) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {"http": [], "rest": [], "arrays": []}
    for rows in CALLS:
        event = workload.event(rows)
        arrays = {name: (array.tobytes(), array.shape) for name, array in workload.arrays(rows).items()}
        for kind, content in (("http", event), ("rest", as_rest_api_event(event)), ("arrays", arrays)):
            files[kind].append(write_event(content, Path(f"{prefix}-{kind}-{rows}")))
    return files


def _rounds(workers: dict[str, Worker], rows: int, rounds: int, calls: int) -> dict[str, list[tuple[float, float]]]:
    """Median and least of each round for each worker."""
    answers = {}
    for kind, worker in workers.items():
        _, _, said = worker.call(rows, WARM_UP)
        if kind != "engine":
            status, _, body = said.partition(" ")
            answers[kind] = (status, json.loads(body).get("predictions"))
    if len({str(answer) for answer in answers.values()}) != 1 or answers["lean"][0] != "200":
        raise SystemExit(f"the answers differ: {answers}"[:3000])
    found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in workers}
    for number in range(rounds):
        for kind in list(workers) if number % 2 else reversed(list(workers)):
            found[kind].append(workers[kind].call(rows, calls)[:2])
    return found


def _result(measured: dict[tuple[str, int], dict[str, list[tuple[float, float]]]], rounds: int) -> Result:
    figures: dict[str, float] = {}
    claims, parts, shown = [], [], []
    for (form, rows), found in measured.items():
        lines: list[Any] = []
        for kind, times in found.items():
            median = statistics.median(one for one, _ in times)
            least = min(one for _, one in times)
            over = statistics.median(one - engine for (one, _), (engine, _) in zip(times, found["engine"], strict=True))
            ratio = statistics.median(
                one / engine for (one, _), (engine, _) in zip(times, found["engine"], strict=True)
            )
            name = f"{form}.{rows}.{kind}"
            figures |= {
                f"{name}.us": median,
                f"{name}.least_us": least,
                f"{name}.over_us": over,
                f"{name}.ratio": ratio,
            }
            numbers = [
                f"{median:,.1f}",
                f"{least:,.1f}",
                *((f"{over:,.1f}", f"{ratio:.2f}") if kind != "engine" else ("", "")),
            ]
            lines.append([TITLES[kind], *numbers])
            if kind in ("lean", "standard") and rows == 100:
                claims.append(
                    Claim(f"100 rows as {SHOWN[form]}, {kind}, against session.run", round(ratio, 2), BATCH_RATIO)
                )
            elif kind in ("lean", "standard") and form == "array":
                claims.append(Claim(f"1 row, {kind}, over session.run", round(over, 1), OVERHEAD_US, "µs"))
            if (form, rows) == ("array", 1) and kind != "engine":
                shown.append(Bar(TITLES[kind], over, f"{over:,.0f} µs", ours=kind in ("lean", "standard")))
        title = f"{rows} {'row' if rows == 1 else 'rows'} as {SHOWN[form]}"
        parts.append(table([title, "median µs", "least µs", "over session.run, µs", "x session.run"], lines))
    parts.append(f"Medians of {rounds} rounds; least of all calls.")
    shown.sort(key=lambda bar: bar.value)
    pictures = {"warm.svg": bars("A warm request for 1 row: what comes on top of session.run", shown)}
    return Result("\n\n".join(parts), {name: round(value, 3) for name, value in figures.items()}, claims, pictures)


if __name__ == "__main__":
    run("One warm request: event to response against session.run.", measure)
