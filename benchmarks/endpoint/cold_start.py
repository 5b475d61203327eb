"""A new process to its first answer: the endpoint with each engine, the engine alone, and other frameworks.

- ``python``: an interpreter that does nothing;
- ``floor``: ``import onnxruntime``, a default session from a file, one run;
- ``standard``, ``lean``: the endpoint from its built layers. Pointer and model come over a socket from a stand-in for
  S3, the pointer has a contract, the request is checked against it, and the audit line is written;
- ``naive``: FastAPI, Mangum, boto3's clients of S3 and DynamoDB, Logger, Tracer and Metrics of powertools. The model
  comes from the same S3. Once more as it is deployed more often: without bytecode;
- FastAPI + Mangum, the powertools resolver, Chalice: the model is a file, because they have no client for S3.

All get the same event (Chalice as a REST API sends it, the only form that its routes know), all give the same
predictions, and this is checked. All have bytecode unless the name says otherwise, and run in an interpreter without
packages of its own: what they import is on ``PYTHONPATH``, as in Lambda. Each round starts each of them once, every
other round in reverse, and the first round does not count.

This process and the stand-in keep to one processor, so that they disturb less. The children may use all of them, as on
Lambda, where a function sees two and has time on them by its memory: 1,769 MB is the time of one. So everybody starts
once more in each round on one processor alone, where nothing goes on beside anything else.

A claim takes the worse of two ratios, of the medians and of the lower quartiles: numpy's OpenBLAS starts a thread for
the second processor that spins for 60 ms, so on a busy machine the median of everybody who imports numpy so grows. The
least of all rounds is no measure: it is one lucky start, and its ratio moved by a fifth between runs on a machine that
others share. onnxruntime's reports to Microsoft are off for all: nothing measured here calls anybody outside.

    python benchmarks/endpoint/cold_start.py [--quick] [--json]
"""

import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT))

from benchmarks.measuring import layers, rivals, stages  # noqa: E402 - the project's folder has to be on the path first
from benchmarks.measuring.bucket import Bucket  # noqa: E402
from benchmarks.measuring.picture import Bar, bars  # noqa: E402
from benchmarks.measuring.script import Claim, Result, run  # noqa: E402
from benchmarks.measuring.starting import FUNCTION, Contestant, Start, answer_of, start, write_event  # noqa: E402
from benchmarks.measuring.table import table  # noqa: E402
from benchmarks.measuring.workload import as_rest_api_event, one_input  # noqa: E402

ROUNDS, QUICK_ROUNDS = 25, 2
ALLOWED = {("standard", "floor"): 1.15, ("standard", "naive"): 0.25, ("lean", "floor"): 0.55, ("lean", "naive"): 0.12}

COLUMNS = (
    "new process to first answer", "median ms", "quartile ms", "x floor", "of the quartiles", "x naive",
    "one processor, ms", "x floor",
)  # fmt: skip

PYTHON = "import sys; print('answered', flush=True); sys.stdin.read()"
FLOOR = """
import sys
import numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
session.run(None, {"x": numpy.zeros((1, 30), numpy.float32)})
print("answered", flush=True)
sys.stdin.read()
"""
TITLES = {
    "python": "python, nothing else",
    "floor": "floor: import onnxruntime",
    "standard": "Modelyard, standard engine",
    "lean": "Modelyard, lean engine",
    "naive": "FastAPI + Mangum + boto3 + powertools",
    "naive_text": "the same without bytecode",
    "fastapi": "FastAPI + Mangum",
    "powertools": "powertools resolver",
    "chalice": "Chalice",
}


def measure(quick: bool) -> Result:
    workload, rounds = one_input(), QUICK_ROUNDS if quick else ROUNDS
    everywhere = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    resting = {min(everywhere)}
    with tempfile.TemporaryDirectory() as name, Bucket(resting) as bucket:
        folder = Path(name)
        environment = workload.serve(bucket)
        model, event = folder / "model.onnx", workload.event(1)
        model.write_bytes(workload.onnx)
        environment["MODEL_FILE"] = str(model)
        python = layers.empty_interpreter(folder)
        contestants, environments = _contestants(folder, event, model)
        found: dict[str, list[Start]] = {contestant.name: [] for contestant in contestants}
        alone: dict[str, list[Start]] = {contestant.name: [] for contestant in contestants}
        for number in range(rounds + 1):
            for contestant in contestants if number % 2 else reversed(contestants):
                variables = environment | environments.get(contestant.name, {})
                for seen, processors in ((found, everywhere), (alone, {max(everywhere)})):
                    began = start(python, contestant, variables, resting=resting, running=processors)
                    if number > 0:  # the first fills the page cache
                        seen[contestant.name].append(began)
        _check(contestants, found)
        lean = next(contestant for contestant in contestants if contestant.name == "lean")
        spans = stages.measure(python, lean, environment | environments["lean"], bucket, rounds=rounds, on=everywhere)
    return _result(found, alone, spans, rounds)


def _contestants(
    folder: Path, event: dict[str, object], model: Path
) -> tuple[list[Contestant], dict[str, dict[str, str]]]:
    said = str(write_event(event, folder / "event"))
    said_to_chalice = str(write_event(as_rest_api_event(event), folder / "rest-api-event"))
    theirs, as_text = rivals.installed(), rivals.installed_without_bytecode()

    def function(name: str, path: list[Path], module: str, event: str = said) -> Contestant:
        return Contestant(name, ["-c", FUNCTION, module, event], path)

    contestants = [
        Contestant("python", ["-c", PYTHON], [], answers=False),
        Contestant("floor", ["-c", FLOOR, str(model)], theirs, answers=False),
        function("standard", layers.unpacked("standard", folder), "predict"),
        function("lean", layers.unpacked("lean", folder), "predict"),
        function("naive", theirs, "naive"),
        function("naive_text", as_text, "naive"),
        function("fastapi", theirs, "fastapi_mangum"),
        function("powertools", theirs, "powertools_resolver"),
        function("chalice", theirs, "chalice_app", said_to_chalice),
    ]
    return contestants, {engine: {"MODELYARD_ENGINE": engine} for engine in ("lean", "standard")}


def _check(contestants: list[Contestant], found: dict[str, list[Start]]) -> None:
    """Every answer has status 200 and the same predictions."""
    answers = {
        (status, str(body["predictions"]))
        for contestant in contestants
        if contestant.answers
        for status, body in map(answer_of, found[contestant.name])
    }
    if len(answers) != 1 or next(iter(answers))[0] != 200:
        raise SystemExit(f"the answers differ: {sorted(answers)}")


def _result(
    found: dict[str, list[Start]], alone: dict[str, list[Start]], spans: list[stages.Span], rounds: int
) -> Result:
    wall, quick = _milliseconds(found, statistics.median), _milliseconds(found, _lower_quartile)
    one, quick_one = _milliseconds(alone, statistics.median), _milliseconds(alone, _lower_quartile)
    figures, rows = {}, []
    for name in found:
        times = {"ms": wall[name], "quartile_ms": quick[name], "one_ms": one[name], "quartile_one_ms": quick_one[name]}
        times["cpu_ms"] = statistics.median(start.cpu for start in found[name]) * 1000
        ratios = {
            "over_floor": wall[name] / wall["floor"],
            "quartile_over_floor": quick[name] / quick["floor"],
            "over_naive": wall[name] / wall["naive"],
            "one_over_floor": one[name] / one["floor"],
            "one_over_naive": one[name] / one["naive"],
        }
        figures |= {f"{name}.{key}": round(value, 3) for key, value in (times | ratios).items()}
        rows.append(
            [
                TITLES[name],
                *(f"{value:,.1f}" for value in (wall[name], quick[name])),
                *(f"{ratios[key]:.2f}" for key in ("over_floor", "quartile_over_floor", "over_naive")),
                f"{one[name]:,.1f}",
                f"{ratios['one_over_floor']:.2f}",
            ]
        )
    claims = [
        Claim(
            f"cold start, {name} engine against {other}",
            round(max(wall[name] / wall[other], quick[name] / quick[other]), 3),
            allowed,
        )
        for (name, other), allowed in ALLOWED.items()
    ]
    shown = [
        Bar(TITLES[name], wall[name], f"{wall[name]:,.0f} ms", ours=name in ("standard", "lean"))
        for name in sorted(wall, key=lambda name: wall[name])
    ]
    report = f"{table(COLUMNS, rows)}\n\nMedians and lower quartiles of {rounds} rounds.\n\n{stages.report(spans)}"
    pictures = {
        "cold_start.svg": bars("New process to first answer, median ms", shown),
        "lean_start.svg": stages.picture(spans),
    }
    return Result(report, figures, claims, pictures)


def _lower_quartile(values: list[float]) -> float:
    return statistics.quantiles(values, n=4, method="inclusive")[0]


def _milliseconds(starts: dict[str, list[Start]], of: Callable[[list[float]], float]) -> dict[str, float]:
    return {name: of([start.wall for start in measured]) * 1000 for name, measured in starts.items()}


if __name__ == "__main__":
    run("New process to first answer: the endpoint, the engine alone, other frameworks.", measure)
