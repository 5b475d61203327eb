"""What the endpoint costs over the engine alone: at the first answer of a new process, and per request after it.

Cold: a new process to its first answer, for

- ``python``: an interpreter that does nothing;
- ``floor``: ``import onnxruntime``, a default session from a file, one run;
- ``endpoint``: ``functions/predict.py`` with its real S3 client: pointer and model come over a socket from a stand-in
  for S3 on this machine (no TLS, no network distance), then one API Gateway event is answered.

Warm: the same event to its response, against ``session.run`` on arrays that are ready, for a gradient boosting of 100
trees on 4 features; the audit line goes to /dev/null. Rounds are interleaved; cold compares medians, warm minima.

    python benchmarks/endpoint/cold_start.py [--quick] [--json]
"""

import argparse
import contextlib
import copy
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT))

from tests.fakes.http_bucket import HttpBucket  # noqa: E402 - the project's folder has to be on the path first
from tests.fakes.objects import promote  # noqa: E402

EVENT = json.loads((PROJECT / "tests" / "events" / "http_api_v2_predict.json").read_text())
MODEL = "iris"

PYTHON = "print('answered', flush=True)"
FLOOR = """
import sys
import onnxruntime, numpy
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
session.run(None, {"x": numpy.zeros((1, 4), numpy.float32)})
print("answered", flush=True)
"""
ENDPOINT = """
import sys
import functions.predict as function
import msgspec
with open(sys.argv[2], "rb") as file:
    event = msgspec.json.decode(file.read())
response = function.handler(event, None)
print("answered" if response["statusCode"] == 200 else response, flush=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Cold start and warm overhead of the endpoint.")
    parser.add_argument("--quick", action="store_true", help="few rounds: does it run, not what does it cost")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args()
    with HttpBucket() as bucket, tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.onnx"
        model.write_bytes(_gradient_boosting())
        promote(bucket, MODEL, model.read_bytes(), version=1, revision=1)
        environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            **bucket.environment,
            "MODELYARD_MODEL": MODEL,
            "MODELYARD_ARTIFACT_BUCKET": bucket.name,
            "MODELYARD_REFRESH_S": "3600",
        }
        result = {
            "python": platform.python_version(),
            "processors": os.cpu_count(),
            "cold": _cold(environment, model, rounds=3 if options.quick else 21),
            "warm": _warm(environment, model, rounds=3 if options.quick else 11),
        }
    print(json.dumps(result, indent=2) if options.json else _table(result))


def _gradient_boosting() -> bytes:
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.datasets import load_iris
    from sklearn.ensemble import GradientBoostingClassifier

    features, species = load_iris(return_X_y=True)
    trees = GradientBoostingClassifier(n_estimators=100, random_state=0).fit(features, species)
    model = to_onnx(trees, initial_types=[("x", FloatTensorType([None, 4]))], options={"zipmap": False})
    content: bytes = model.SerializeToString()
    return content


def _event(instances: int) -> dict[str, Any]:
    event: dict[str, Any] = copy.deepcopy(EVENT)
    event["body"] = json.dumps({"instances": [[5.1, 3.5, 1.4, 0.2 + row / 1000] for row in range(instances)]})
    return event


def _cold(environment: dict[str, str], model: Path, *, rounds: int) -> dict[str, Any]:
    event = model.with_name("event.json")
    event.write_text(json.dumps(_event(1)))
    scripts = {"python": PYTHON, "floor": FLOOR, "endpoint": ENDPOINT}
    times: dict[str, list[float]] = {name: [] for name in scripts}
    for number in range(rounds + 1):
        for name, script in scripts.items():
            took = _until_answered([sys.executable, "-c", script, str(model), str(event)], environment)
            if number > 0:  # the first round fills the page cache and writes bytecode
                times[name].append(took)
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {
        "rounds": rounds,
        "median_ms": {name: round(value * 1000, 1) for name, value in medians.items()},
        "min_ms": {name: round(min(values) * 1000, 1) for name, values in times.items()},
        "endpoint_over_floor": round(medians["endpoint"] / medians["floor"], 3),
    }


def _until_answered(command: list[str], environment: dict[str, str]) -> float:
    began = time.perf_counter()
    with subprocess.Popen(command, env=environment, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # noqa: S101 - for the type checker: PIPE was asked for
        line = ""
        for line in process.stdout:
            if line == "answered\n":
                return time.perf_counter() - began
    raise SystemExit(f"the process ended without an answer; its last line was {line!r}")


def _warm(environment: dict[str, str], model: Path, *, rounds: int) -> dict[str, Any]:
    import numpy as np
    import onnxruntime

    os.environ.update(environment)
    with contextlib.redirect_stdout(sys.stderr):  # it writes a line when the version is loaded
        from functions.predict import handler

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    outputs = [node.name for node in session.get_outputs()]
    result: dict[str, Any] = {"rounds": rounds}
    for batch in (1, 100):
        event = _event(batch)
        arrays = {"x": np.array(json.loads(event["body"])["instances"], np.float32)}
        repeat = 2000 // batch + 100
        engine: list[float] = []
        endpoint: list[float] = []
        terminal = sys.stdout
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
            sys.stdout = nowhere
            try:
                for _ in range(rounds):
                    engine.append(_each(repeat, lambda arrays=arrays: session.run(outputs, arrays)))
                    endpoint.append(_each(repeat, lambda event=event: handler(event, None)))
            finally:
                sys.stdout = terminal
        result[f"batch_{batch}"] = {
            "session_run_us": round(min(engine) * 1e6, 1),
            "endpoint_us": round(min(endpoint) * 1e6, 1),
            "endpoint_over_session_run": round(min(endpoint) / min(engine), 2),
        }
    return result


def _each(repeat: int, call: Any) -> float:
    began = time.perf_counter()
    for _ in range(repeat):
        call()
    return (time.perf_counter() - began) / repeat


def _table(result: dict[str, Any]) -> str:
    cold, warm = result["cold"], result["warm"]
    lines = [f"Python {result['python']}, {result['processors']} processors"]
    lines.append(f"new process to first answer, median of {cold['rounds']} rounds (least), ms:")
    for name, value in cold["median_ms"].items():
        lines.append(f"  {name:10} {value:8.1f}  ({cold['min_ms'][name]:.1f})")
    lines.append(f"  endpoint / floor = {cold['endpoint_over_floor']}")
    lines.append(f"one request, least of {warm['rounds']} rounds, us:")
    for batch in ("batch_1", "batch_100"):
        row = warm[batch]
        lines.append(
            f"  {batch:10} session.run {row['session_run_us']:8.1f}   event to response {row['endpoint_us']:8.1f}"
            f"   = {row['endpoint_over_session_run']} x"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
