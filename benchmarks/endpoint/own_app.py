"""A model's own FastAPI app against the standard engine: a new process to its first answer, and one warm request.

Both from the built layers, with the same model, contract and audit line, from the same stand-in for S3; the app is
asked by a route that reads the same body with pydantic and predicts (`own_app_web.py`). ``standard route`` is the
endpoint with the app, asked for ``/predict``, which it answers without the app. Rounds are interleaved, every other in
reverse, and the first does not count; see `cold_start.py` for how a start is measured.

It needs the layer ``api`` besides, which every build has, and compiles ``functions/app.py`` as a build does.

    python benchmarks/endpoint/own_app.py [--quick] [--json]
"""

import os
import py_compile
import shutil
import statistics
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT))

from benchmarks.measuring import layers  # noqa: E402 - the project's folder has to be on the path first
from benchmarks.measuring.bucket import Bucket  # noqa: E402
from benchmarks.measuring.script import Claim, Result, run  # noqa: E402
from benchmarks.measuring.starting import FUNCTION, Contestant, Start, answer_of, start, write_event  # noqa: E402
from benchmarks.measuring.table import table  # noqa: E402
from benchmarks.measuring.workload import MODEL, one_input  # noqa: E402
from modelyard.environments import load_environments  # noqa: E402
from modelyard.packaging import find_layer  # noqa: E402

ROUNDS, QUICK_ROUNDS = 15, 2
ALLOWED = 3.0
TITLES = {
    "standard": "Modelyard, standard engine",
    "app": "an app of the model's own",
    "app_lean": "the same with the lean engine",
    "app_predict": "the endpoint with the app, its /predict",
}
WARM = """
import contextlib, json, marshal, sys, time
with open(sys.argv[2], "rb") as file:
    event = marshal.load(file)
terminal = sys.stdout
sys.stdout = open("/dev/null", "w")
handler = __import__(sys.argv[1]).handler
least = 1.0
for _ in range(11):
    began = time.perf_counter()
    for _ in range(200):
        handler(event, None)
    least = min(least, (time.perf_counter() - began) / 200)
print("answered", 200, least * 1e6, file=terminal, flush=True)
sys.stdin.read()
"""


def measure(quick: bool) -> Result:
    workload, rounds = one_input(), QUICK_ROUNDS if quick else ROUNDS
    everywhere = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    resting = {min(everywhere)}
    with tempfile.TemporaryDirectory() as name, Bucket(resting) as bucket:
        folder = Path(name)
        environment = workload.serve(bucket) | {"MODELYARD_APP": "own_app_web:app"}
        python = layers.empty_interpreter(folder)
        contestants, engines = _contestants(folder, workload.event(1))
        found: dict[str, list[Start]] = {contestant.name: [] for contestant in contestants}
        for number in range(rounds + 1):
            for contestant in contestants if number % 2 else reversed(contestants):
                variables = environment | {"MODELYARD_ENGINE": engines[contestant.name]}
                began = start(python, contestant, variables, resting=resting, running=everywhere)
                if number > 0:
                    found[contestant.name].append(began)
        _check(found)
        warm = {}
        for contestant in contestants:
            again = Contestant(contestant.name, ["-c", WARM, *contestant.arguments[2:]], contestant.path)
            variables = environment | {"MODELYARD_ENGINE": engines[contestant.name]}
            warm[contestant.name] = float(
                answer_of(start(python, again, variables, resting=resting, running=everywhere))[1]
            )
    return _result(found, warm, rounds)


def _contestants(folder: Path, event: dict[str, Any]) -> tuple[list[Contestant], dict[str, str]]:
    asked = f"/models/{MODEL}/app/predict"
    route = f"ANY /models/{MODEL}/app/{{proxy+}}"
    context = event["requestContext"]
    of_app = event | {
        "rawPath": asked,
        "routeKey": route,
        "requestContext": context | {"http": context["http"] | {"path": asked}, "routeKey": route},
    }
    said, said_to_app = str(write_event(event, folder / "event")), str(write_event(of_app, folder / "app-event"))
    standard, lean = (layers.unpacked(engine, folder) for engine in ("standard", "lean"))
    own, own_lean = (_with_app(path, folder) for path in (standard, lean))
    contestants = [
        Contestant("standard", ["-c", FUNCTION, "predict", said], standard),
        Contestant("app", ["-c", FUNCTION, "app", said_to_app], own),
        Contestant("app_lean", ["-c", FUNCTION, "app", said_to_app], own_lean),
        Contestant("app_predict", ["-c", FUNCTION, "app", said], own),
    ]
    return contestants, {"standard": "standard", "app": "standard", "app_lean": "lean", "app_predict": "standard"}


def _with_app(endpoint: list[Path], folder: Path) -> list[Path]:
    """What an endpoint with an app has on its path: besides, the layer ``api``, and its own function and package."""
    added = folder / "app"
    if not added.is_dir():
        with zipfile.ZipFile(find_layer(PROJECT, load_environments(PROJECT)["local"], "api").path) as archive:
            archive.extractall(added)
        sources = (PROJECT / "functions" / "app.py", PROJECT / "benchmarks" / "endpoint" / "own_app_web.py")
        for source in sources:
            shutil.copy(source, added / source.name)
            py_compile.compile(
                str(added / source.name), doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
            )
    return [added, *endpoint[1:], added / "python"]


def _check(found: dict[str, list[Start]]) -> None:
    """Every answer has status 200 and the same predictions."""
    answers = {(status, str(body["predictions"])) for one in found.values() for status, body in map(answer_of, one)}
    if len(answers) != 1 or next(iter(answers))[0] != 200:
        raise SystemExit(f"the answers differ: {sorted(answers)}")


def _result(found: dict[str, list[Start]], warm: dict[str, float], rounds: int) -> Result:
    wall = {name: statistics.median(one.wall for one in starts) * 1000 for name, starts in found.items()}
    least = {name: min(one.wall for one in starts) * 1000 for name, starts in found.items()}
    cpu = {name: statistics.median(one.cpu for one in starts) * 1000 for name, starts in found.items()}
    rows, figures = [], {}
    for name in found:
        over, least_over = wall[name] / wall["standard"], least[name] / least["standard"]
        times = [f"{value:,.1f}" for value in (wall[name], least[name], cpu[name])]
        rows.append([TITLES[name], *times, f"{over:.2f}", f"{least_over:.2f}", f"{warm[name]:,.0f}"])
        figures |= {f"{name}.ms": wall[name], f"{name}.least_ms": least[name], f"{name}.cpu_ms": cpu[name]}
        figures |= {f"{name}.over_standard": over, f"{name}.least_over_standard": least_over}
        figures |= {f"{name}.cpu_over_standard": cpu[name] / cpu["standard"], f"{name}.warm_us": warm[name]}
    columns = ["new process to first answer", "median ms", "least ms", "processor ms", "x standard", "least", "warm us"]
    claim = Claim("cold start, an app against the standard engine", round(wall["app"] / wall["standard"], 3), ALLOWED)
    note = f"Medians and least of {rounds} rounds; warm: least of 11 rounds of 200 requests, session.run included."
    return Result(
        f"{table(columns, rows)}\n\n{note}", {name: round(value, 3) for name, value in figures.items()}, [claim]
    )


if __name__ == "__main__":
    run("A model's own FastAPI app against the standard engine.", measure)
