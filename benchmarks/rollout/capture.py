"""What a caller waits for while requests are captured, and while a version is on trial; each against the same without.

Under the Runtime API: AWS's own runtime client against a stand-in for Lambda, one request at a time, frozen between
them as Lambda does. The caller's time counts from when it asks until its answer is there. One function for each way,
all running at once, asked in turn: so whatever else the machine does, it does to all of them. Ratios are of medians and
of 95th percentiles over all rounds.

- **off**: nothing is captured, nothing is on trial.
- **capture**: every request is captured (``monitoring.capture = 1``).
- **shadow**: every request is captured and answered by a second version as well, when the answer is out.
- **canary**: a second version answers half of the requests; the rest as before.

What the environment is kept awake for after an answer stands apart: nobody waits for it, and it is paid for.

The claims: a caller's median is at most 1.1 times that without, with capture and with a shadow; a canary's, which has a
key hashed and its run watched, at most 1.2 times.

    python benchmarks/rollout/capture.py [--quick] [--json]
"""

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT))

from benchmarks.measuring.script import Claim, Result, run  # noqa: E402 - the project's folder has to be on the path
from benchmarks.measuring.table import table  # noqa: E402
from tests.fakes import onnx_models, realistic_models  # noqa: E402
from tests.fakes.http_bucket import HttpBucket  # noqa: E402
from tests.fakes.lambda_service import LambdaService  # noqa: E402
from tests.fakes.objects import pointer_to  # noqa: E402

MODEL = "sums"
EVENT = json.loads((PROJECT / "tests" / "events" / "http_api_v2_predict.json").read_text())
WAYS = ("off", "capture", "shadow", "canary")
ALLOWED = {"capture": 1.1, "shadow": 1.1, "canary": 1.2}
ROUNDS, QUICK_ROUNDS = 2000, 40
WARM_UP = 20


def measure(quick: bool) -> Result:
    rounds = QUICK_ROUNDS if quick else ROUNDS
    rows, figures, claims = [], {}, []
    for name, (first, second, instances) in _models(quick).items():
        waited, held = _measured(first, second, instances, rounds)
        for way in WAYS:
            found = _figures(waited[way], held[way], waited["off"])
            figures |= {f"{name}.{way}.{key}": round(value, 4) for key, value in found.items()}
            rows.append([f"{name}, {way}", *(f"{value:.2f}" for value in found.values())])
            if way in ALLOWED:
                claims.append(Claim(f"{name}: the median caller with {way}", found["x median"], ALLOWED[way]))
    columns = ["median ms", "p95 ms", "x median", "x p95", "held ms after the answer"]
    note = f"{rounds} requests each, asked in turn."
    return Result(f"{table(['', *columns], rows)}\n\n{note}", figures, claims)


def after_the_answer(rounds: int) -> dict[str, float]:
    """By way: the median of how long the environment is awake after an answer, in ms; of a small model."""
    ((first, second, instances),) = _models(quick=True).values()
    _, held = _measured(first, second, instances, rounds)
    return {way: statistics.median(times) for way, times in held.items()}


def _models(quick: bool) -> dict[str, tuple[bytes, bytes, list[Any]]]:
    """By name: two versions, and what they are asked."""
    small = (onnx_models.row_sum(1.0), onnx_models.row_sum(2.0), [[0.5, 1.5]])
    if quick:
        return {"a few bytes": small}
    features = 30
    forests = [realistic_models.forest(trees=trees, features=features) for trees in (100, 101)]
    return {"a few bytes": small, "100 trees, 100 rows": (forests[0], forests[1], [[0.5] * features] * 100)}


def _measured(
    first: bytes, second: bytes, instances: list[Any], rounds: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """By way: what each caller waited, and how long the environment was awake after that, in ms."""
    waited: dict[str, list[float]] = {way: [] for way in WAYS}
    held: dict[str, list[float]] = {way: [] for way in WAYS}
    body = json.dumps({"instances": instances})
    event = {**EVENT, "routeKey": f"POST /models/{MODEL}/predict", "body": body}
    with (
        HttpBucket("off") as off,
        HttpBucket("capture") as capture,
        HttpBucket("shadow") as shadow,
        HttpBucket("canary") as canary,
    ):
        services = {}
        try:
            for way, bucket in zip(WAYS, (off, capture, shadow, canary), strict=True):
                _publish(bucket, way, first, second)
                services[way] = _service(way, bucket)
            for service in services.values():
                for _ in range(WARM_UP):
                    service.invoke(event)
            _until_loaded(services, event)
            for number in range(rounds):
                ways = WAYS[number % len(WAYS) :] + WAYS[: number % len(WAYS)]  # no way always follows the same one
                for way in ways:
                    answer = services[way].invoke(event)
                    if answer.result["statusCode"] != 200 or answer.answered is None:
                        raise RuntimeError(f"{way}: {answer.result}")
                    services[way].settle()
                    waited[way].append((answer.answered - answer.began) * 1000)
                    held[way].append(((answer.finished or answer.answered) - answer.answered) * 1000)
        finally:
            for service in services.values():
                service.shutdown()
                service.close()
        for way, bucket in (("capture", capture), ("shadow", shadow), ("canary", canary)):
            if not any(key.startswith("captures/") for key in bucket.objects):
                raise RuntimeError(f"{way}: nothing was captured")
    return waited, held


def _publish(bucket: HttpBucket, way: str, first: bytes, second: bytes) -> None:
    targets = []
    for version, onnx in ((1, first), (2, second)):
        pointer = pointer_to(MODEL, onnx, version=version, revision=2)
        targets.append(pointer["champion"])
        bucket.put(pointer["champion"]["key"], onnx)
    document = {**pointer, "champion": targets[0]}
    if way in ("shadow", "canary"):
        slots = [{"until": 5000, "version": 1}, {"until": 10_000, "version": 2}] if way == "canary" else []
        document |= {"mode": way, "challenger": targets[1], "slots": slots, "salt": "benchmark"}
    bucket.put(f"deployments/{MODEL}.json", json.dumps(document).encode())


def _service(way: str, bucket: HttpBucket) -> LambdaService:
    environment = {
        "AWS_ENDPOINT_URL": bucket.environment["AWS_ENDPOINT_URL"],
        "MODELYARD_ARTIFACT_BUCKET": bucket.name,
        "MODELYARD_MODEL": MODEL,
        "MODELYARD_ENGINE": "lean",
        "MODELYARD_REFRESH_S": "3600",
        **({"MODELYARD_CAPTURE": "1"} if way == "capture" else {}),
    }
    service = LambdaService("functions.predict.handler", environment=environment, timeout_s=30.0)
    service.start()
    return service


def _until_loaded(services: dict[str, LambdaService], event: dict[str, Any]) -> None:
    ends = time.monotonic() + 60
    for way in ("shadow", "canary"):
        while "challenger_loaded" not in services[way].log:
            services[way].invoke(event)
            if time.monotonic() > ends:
                raise RuntimeError(f"{way}: the second version was not loaded")


def _figures(waited: list[float], held: list[float], without: list[float]) -> dict[str, float]:
    median, p95 = statistics.median(waited), _p95(waited)
    return {
        "median ms": median,
        "p95 ms": p95,
        "x median": median / statistics.median(without),
        "x p95": p95 / _p95(without),
        "held ms": statistics.median(held),
    }


def _p95(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.95)]


if __name__ == "__main__":
    run("Callers' latency with capture and with versions on trial.", measure)
