"""What a compiled model costs to load and to run, against the file that was uploaded.

Networks with the graphs that PyTorch exports and random weights, and forests of scikit-learn on its digits and on
random data (`tests/fakes/realistic_models.py`). Each is compiled once by `modelyard.compiling`, then

- **create**: a new process for each round makes a session with default options, raw and compiled in turn; medians. The
  bytes are read before the clock starts; onnxruntime is warm, by a session of another model;
- **memory**: resident memory that the process then has more than before, after one run, with the bytes let go;
- **run**: one process with all sessions, made anew four times, one thread and its processor's time, runs in turn;
  medians, also of a round's ratios; 1 row and 10 rows, others at each run, as requests are: the same row again would
  find every branch of a forest in the processor's cache.

The claims are of the form that an endpoint on this machine takes. Where one for our own kernel exists it is the row
``compiled_forest-1``; without a C compiler there is none. Where a form of the machine's own exists, the portable one is
loaded a second time at the level EXTENDED: what it takes less to create is what onnxruntime takes to lay out weights
for the processor, which no portable file can spare it.

An LSTM and a GRU are there for networks that are little else than large matrices: most of their creation is onnxruntime
copying each matrix into its order of calculation, which it does for saved copies as well
(`modelyard.compiling.optimising`). Of networks that are as small as the claim allows, 10 MB, the GRU is nearest to it.

The image classifier for images of any size is there for sizes that onnxruntime does not know
(`modelyard.compiling.named_sizes`), and for weights that are operations of their own. It runs on 224 by 224 pixels,
like the other: on 64 by 64 a run is little else than reading weights, and takes 0.94 to 1.07 of the file's from one
session to the next.

The text encoder of half floats is measured without a claim on its creation: no graph that onnxruntime saves of it gives
the same bits again, at any level, so it is optimised, and its weights become float32, whenever a session is created.

    python benchmarks/endpoint/compiled.py [--quick] [--json]
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT))

from benchmarks.measuring.script import Claim, Result, run  # noqa: E402 - the project's folder has to be on the path first
from benchmarks.measuring.table import table  # noqa: E402
from modelyard.compiling import kernel  # noqa: E402
from modelyard.compiling.compiler import CompilationRefused, compile_model  # noqa: E402
from modelyard.compiling.loading import ANY, WEIGHTS, WEIGHTS_FOLDER  # noqa: E402
from modelyard.packaging.native import build_here  # noqa: E402
from tests.fakes import realistic_models  # noqa: E402
from tests.fakes.hostile_models import harmless  # noqa: E402

ROUNDS, QUICK_ROUNDS = 11, 3
RUN_ROUNDS, RUN_SESSIONS = 80, 4
TRIES = 3
"""On a busy machine a form may seem slower than the file by more than a compilation lets pass."""

VARIETY = 64
"""Inputs that runs of one row go through."""

UNPACKED = "compiled_at_extended"

MOST_OF_A_NETWORK, MOST_OF_A_FOREST, MOST_OF_A_RUN = 0.40, 0.50, 1.02
"""Of what the uploaded file takes: to create a session, and to run."""

LOAD = """
import gc, json, sys, time
import numpy, onnxruntime

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

def session(path, weights, level="ORT_ENABLE_ALL", kernel=""):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    if weights:
        options.add_session_config_entry(sys.argv[1], weights)
    with open(path, "rb") as file:
        content = file.read()
    began = time.perf_counter()
    if kernel:
        options.register_custom_ops_library(kernel)
    made = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return made, time.perf_counter() - began

path, weights, level, kernel, feeds, other = sys.argv[2:]
session(other, "")
with numpy.load(feeds) as arrays:
    feeds = dict(arrays)
gc.collect()
before = resident()
made, took = session(path, weights, level, kernel)
made.run(None, feeds)
gc.collect()
print(json.dumps({"create_ms": took * 1000, "memory_mb": (resident() - before) / 2**20}))
"""


Place = tuple[str, str, str, str]
"""Path of the model, folder of its weights, level of optimisation, the library with operations of our own."""


def measure(quick: bool) -> Result:
    rounds = QUICK_ROUNDS if quick else ROUNDS
    problem = build_here(PROJECT).problem
    figures: dict[str, float] = {}
    parts = []
    claims: list[Claim] = []
    for name, make in (QUICK if quick else MODELS).items():
        with tempfile.TemporaryDirectory() as folder:
            found = _measured(make(), Path(folder), rounds)
        for form, row in found.items():
            if isinstance(row, dict):
                figures |= {f"{name}.{form}.{figure}": value for figure, value in row.items()}
        parts.append(_table(name, found))
        claims += _claims(name, found)
        print(f"{name} is done", file=sys.stderr)
    if problem:
        parts.append(f"Without our own kernel: {problem}.")
    parts.append(f"Creation and memory: medians of {rounds} rounds. Runs: medians of {RUN_ROUNDS} rounds.")
    return Result("\n\n".join(parts), figures, claims)


def _claims(name: str, found: dict[str, Any]) -> list[Claim]:
    """Of the form that an endpoint on this machine takes: our own kernel's, then the processor's own, then any."""
    kinds = [kind for kind in found if kind.startswith("compiled_") and kind != UNPACKED]
    form = max(kinds or ["compiled"], key=lambda kind: kind.removeprefix("compiled_") in kernel.KNOWN)
    row, share = found[form], MOST_OF_A_NETWORK if name in NETWORKS else MOST_OF_A_FOREST
    created = [] if name == HALF else [Claim(f"{name}, {form}: create", row["create_over_raw"], share)]
    return [
        *created,
        Claim(f"{name}, {form}: run", max(row["run_1_over_raw"], row["run_10_over_raw"]), MOST_OF_A_RUN),
        Claim(f"{name}, {form}: memory", row["memory_over_raw"], 1.0),
    ]


def _digits(trees: int) -> bytes:
    from skl2onnx import to_onnx
    from sklearn.datasets import load_digits
    from sklearn.ensemble import RandomForestClassifier

    images, numbers = load_digits(return_X_y=True)
    images = images.astype("float32")
    forest = RandomForestClassifier(trees, random_state=0).fit(images, numbers)
    model = to_onnx(forest, images[:1], options={"zipmap": False}, target_opset=17)
    content: bytes = model.SerializeToString()
    return content


HALF = "text_encoder_45mb_half"
"""The network without a claim on its creation."""

MODELS: dict[str, Callable[[], bytes]] = {
    "text_encoder_90mb": realistic_models.text_encoder,
    "image_classifier_14mb": realistic_models.image_classifier,
    "image_any_size_14mb": lambda: realistic_models.image_classifier(any_size=True),
    "lstm_14mb": realistic_models.recurrent,
    "gru_10mb": lambda: realistic_models.recurrent("GRU"),
    HALF: lambda: realistic_models.text_encoder(half=True),
    "digits_100_trees": lambda: _digits(100),
    "digits_1000_trees": lambda: _digits(1000),
    "three_classes_100_trees": realistic_models.forest,
    "two_classes_100_trees": lambda: realistic_models.forest(classes=2),
    "regression_100_trees": lambda: realistic_models.forest("RandomForestRegressor"),
    "isolation_100_trees": lambda: realistic_models.forest("IsolationForest"),
    "bagging_100_trees": lambda: realistic_models.forest("BaggingClassifier"),
    "boosting_100_trees": lambda: realistic_models.forest("HistGradientBoostingClassifier", missing=True),
}
NETWORKS = ("text_encoder_90mb", "image_classifier_14mb", "image_any_size_14mb", "lstm_14mb", "gru_10mb", HALF)
QUICK = {name: MODELS[name] for name in ("image_classifier_14mb", "digits_100_trees", "regression_100_trees")}


def _measured(raw: bytes, folder: Path, rounds: int) -> dict[str, Any]:
    for _ in range(TRIES):
        began = time.perf_counter()
        compiled = compile_model(raw)
        seconds = time.perf_counter() - began
        if not isinstance(compiled, CompilationRefused):
            break
    else:
        raise SystemExit(f"not compiled: {compiled.reason}")
    files: dict[str, tuple[bytes, bytes | None]] = {"raw": (raw, None)}
    libraries: dict[str, str | None] = {}
    for form in compiled.forms:
        kind = form.requires or (form.architecture if form.architecture != ANY else "")
        name = f"compiled_{kind}" if kind else "compiled"
        files[name] = (form.model, form.weights)
        libraries[name] = kernel.find(form.requires)
    places: dict[str, Place] = {}
    for name, (model, weights) in files.items():
        place = folder / name
        place.mkdir()
        (place / "model.onnx").write_bytes(model)
        if weights is not None:
            (place / WEIGHTS).write_bytes(weights)
        places[name] = (
            str(place / "model.onnx"),
            "" if weights is None else str(place),
            "ORT_ENABLE_ALL",
            libraries.get(name) or "",
        )
    if any(form.architecture != ANY for form in compiled.forms) and "compiled" in places:
        places[UNPACKED] = (*places["compiled"][:2], "ORT_ENABLE_EXTENDED", "")
        files[UNPACKED] = files["compiled"]
    found = _loaded(places, folder, rounds)
    for name, times in _ran(places).items():
        found[name].update(times)
    for name, (model, weights) in files.items():
        found[name]["bytes"] = len(model) + len(weights or b"")
    for name in files:
        if name != "raw":
            for figure, key in (("create", "create_ms"), ("memory", "memory_mb"), ("bytes", "bytes")):
                found[name][f"{figure}_over_raw"] = round(found[name][key] / found["raw"][key], 3)
    kept = [step.name for step in compiled.forms[0].steps if step.outcome == "kept"]
    return {"compile_seconds": round(seconds, 1), "steps": kept, **found}


def _loaded(places: dict[str, Place], folder: Path, rounds: int) -> dict[str, dict[str, Any]]:
    import numpy as np

    other = folder / "other.onnx"
    other.write_bytes(harmless())
    feeds = folder / "feeds.npz"
    np.savez(feeds, **_feeds(_session(*places["raw"]), 1))
    seen: dict[str, list[dict[str, float]]] = {name: [] for name in places}
    for number in range(rounds + 1):
        for name, place in places.items():
            command = [sys.executable, "-c", LOAD, WEIGHTS_FOLDER, *place, str(feeds), str(other)]
            answer = subprocess.run(command, check=True, capture_output=True, text=True)
            if number > 0:  # the first round fills the page cache
                seen[name].append(json.loads(answer.stdout))
    return {
        name: {
            **{key: round(statistics.median(row[key] for row in rows), 1) for key in ("create_ms", "memory_mb")},
            "create_min_ms": round(min(row["create_ms"] for row in rows), 1),
        }
        for name, rows in seen.items()
    }


def _session(path: str, weights: str, level: str, library: str = "") -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    if weights:
        options.add_session_config_entry(WEIGHTS_FOLDER, weights)
    if library:
        options.register_custom_ops_library(library)
    return onnxruntime.InferenceSession(Path(path).read_bytes(), options, providers=["CPUExecutionProvider"])


def _feeds(session: Any, rows: int, seed: int = 0) -> dict[str, Any]:
    import numpy as np

    random = np.random.default_rng(seed)
    feeds = {}
    for node in session.get_inputs():
        open_axis = 224 if len(node.shape) == 4 else 32
        shape = [rows, *(size if isinstance(size, int) else open_axis for size in node.shape[1:])]
        if node.type == "tensor(int64)":
            feeds[node.name] = random.integers(0, 2, shape)
        else:
            feeds[node.name] = random.standard_normal(shape).astype(np.float32)
    return feeds


def _ran(places: dict[str, Place]) -> dict[str, dict[str, float]]:
    """Runs in turn, with new sessions now and then: how its memory lies can cost a session some hundredths."""
    found: dict[str, dict[str, float]] = {name: {} for name in places}
    seen: dict[tuple[str, int], list[float]] = {(name, rows): [] for name in places for rows in (1, 10)}
    for _ in range(RUN_SESSIONS):
        sessions = {name: _session(*place) for name, place in places.items()}
        for rows in (1, 10):
            for name, times in _times(sessions, rows).items():
                seen[name, rows] += times
    for (name, rows), times in seen.items():
        found[name][f"run_{rows}_us"] = round(statistics.median(times) * 1e6, 1)
        if name != "raw":
            ratios = (own / raw for own, raw in zip(times, seen["raw", rows], strict=True))
            found[name][f"run_{rows}_over_raw"] = round(statistics.median(ratios), 3)
    return found


def _times(sessions: dict[str, Any], rows: int) -> dict[str, list[float]]:
    outputs = [node.name for node in sessions["raw"].get_outputs()]
    inputs = [_feeds(sessions["raw"], rows, seed) for seed in range(VARIETY)]
    sessions["raw"].run(outputs, inputs[0])
    began = time.thread_time()
    sessions["raw"].run(outputs, inputs[1])
    inputs = inputs[: max(1, min(VARIETY, int(0.005 / (time.thread_time() - began))))]
    found: dict[str, list[float]] = {name: [] for name in sessions}
    for number in range(RUN_ROUNDS // RUN_SESSIONS):
        for name in (sessions, reversed(sessions))[number % 2]:
            began = time.thread_time()
            for feeds in inputs:
                sessions[name].run(outputs, feeds)
            found[name].append((time.thread_time() - began) / len(inputs))
    return found


COLUMNS = {"bytes": "MB", "create": "create ms", "memory": "memory MB", "run_1": "1 row, µs", "run_10": "10 rows, µs"}


def _table(name: str, found: dict[str, Any]) -> str:
    rows = []
    for form, row in found.items():
        if not isinstance(row, dict):
            continue
        values = [row["bytes"] / 1e6, row["create_ms"], row["memory_mb"], row["run_1_us"], row["run_10_us"]]
        ratios = [f" ({row[f'{figure}_over_raw']:.2f} x)" if form != "raw" else "" for figure in COLUMNS]
        rows.append([form, *(f"{value:,.1f}{ratio}" for value, ratio in zip(values, ratios, strict=True))])
    note = f"Compiled in {found['compile_seconds']} s: {', '.join(found['steps'])}."
    return f"{table([name, *COLUMNS.values()], rows)}\n\n{note}"


if __name__ == "__main__":
    run("Compiled models against the files that were uploaded.", measure)
