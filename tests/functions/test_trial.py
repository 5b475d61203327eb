"""Trials and captures of the endpoint function as Lambda runs it, and what is left of them when its process ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import onnx_models
from tests.fakes.http_bucket import HttpBucket
from tests.fakes.lambda_service import LambdaService
from tests.fakes.objects import pointer_to, promote

PROJECT = Path(__file__).parents[2]
EVENT = json.loads((PROJECT / "tests" / "events" / "http_api_v2_predict.json").read_text())
AGE_S = 1.0
TICK_S = 1.0
"""`Afterwards` looks at its duties so often where nothing freezes the process."""


def instances(*rows: object) -> dict[str, Any]:
    return {**EVENT, "routeKey": "POST /models/sums/predict", "body": json.dumps({"instances": rows})}


def put_on_trial(bucket: HttpBucket, mode: str, share: int = 0) -> None:
    """Version 1 is live and adds 1, version 2 is on trial and adds 2."""
    targets = []
    for version in (1, 2):
        onnx = onnx_models.row_sum(float(version))
        pointer = pointer_to("sums", onnx, version=version, revision=2)
        targets.append(pointer["champion"])
        bucket.put(pointer["champion"]["key"], onnx)
    slots = [{"until": 10_000 - share, "version": 1}, {"until": 10_000, "version": 2}] if share else []
    document = {**pointer, "mode": mode, "champion": targets[0], "challenger": targets[1], "slots": slots, "salt": "s"}
    bucket.put("deployments/sums.json", json.dumps(document).encode())


def records(bucket: HttpBucket) -> list[dict[str, Any]]:
    keys = sorted(key for key in bucket.objects if key.startswith("captures/"))
    found = [json.loads(line) for key in keys for line in bucket.objects[key].splitlines()]
    return sorted(found, key=lambda record: str(record["time"]))


@pytest.fixture
def bucket():
    with HttpBucket() as served:
        yield served


@pytest.fixture
def function(bucket):
    running: list[LambdaService] = []

    def made(**variables: str) -> LambdaService:
        settings = {
            "AWS_ENDPOINT_URL": bucket.environment["AWS_ENDPOINT_URL"],
            "MODELYARD_ARTIFACT_BUCKET": bucket.name,
            "MODELYARD_MODEL": "sums",
            "MODELYARD_ENGINE": "lean",
            **variables,
        }
        running.append(LambdaService("functions.predict.handler", environment=settings))
        return running[-1]

    yield made
    for service in running:
        service.close()


def ask(service: LambdaService, *rows: object) -> dict[str, Any]:
    result = service.invoke(instances(*rows)).result
    assert result["statusCode"] == 200
    body: dict[str, Any] = json.loads(result["body"])
    return body


def until_loaded(service: LambdaService) -> None:
    ends = time.monotonic() + 10
    while "challenger_loaded" not in service.log and time.monotonic() < ends:
        ask(service, [0, 0])
    assert "challenger_loaded" in service.log


@pytest.mark.skipif(sys.platform != "linux", reason="AWS publishes its runtime client for Linux only")
def test_a_shadow_answers_when_the_answer_is_out_and_the_pair_is_there_after_the_shutdown(bucket, function):
    put_on_trial(bucket, "shadow")
    service = function()
    until_loaded(service)
    answered = [ask(service, [row, 0]) for row in range(5)]
    assert [answer["predictions"] for answer in answered] == [[row + 1.0] for row in range(5)]
    service.settle()
    service.shutdown()
    found = {record["prediction_id"]: record for record in records(bucket)}
    pairs = [found[answer["prediction_id"]] for answer in answered]
    assert [pair["shadow"]["predictions"] for pair in pairs] == [[row + 2.0] for row in range(5)]
    assert {pair["version"] for pair in pairs} == {1}


@pytest.mark.skipif(sys.platform != "linux", reason="AWS publishes its runtime client for Linux only")
def test_a_canary_answers_its_share_and_lies_below_its_own_version(bucket, function):
    put_on_trial(bucket, "canary", share=5000)
    service = function(MODELYARD_ROUTING="header:x-session")
    until_loaded(service)
    versions = {ask(service, [0, 0])["version"] for _ in range(6)}
    assert len(versions) == 1  # one session
    for session in range(20):
        service.invoke({**instances([0, 0]), "headers": {**EVENT["headers"], "x-session": f"s-{session}"}})
    service.settle()
    service.shutdown()
    partitions = {key.split("/")[2] for key in bucket.objects if key.startswith("captures/")}
    assert partitions == {"version=1", "version=2"}


# -- the end of a process ---------------------------------------------------------------------------------------------

SCRIPT = """
import json, sys, time
from modelyard.serving.capture import Capture
Capture.__init__.__kwdefaults__["age_s"] = float(sys.argv[1])
import functions.predict as function
event = json.loads(sys.stdin.readline())
out = sys.stderr
for number in range(int(sys.argv[2])):
    response = function.handler(event, None)
    assert response["statusCode"] == 200, response
    out.write(json.dumps([json.loads(response["body"])["prediction_id"], time.time()]) + "\\n")
    out.flush()
    time.sleep(0.01)
"""


def process(bucket: HttpBucket, requests: int, **variables: str) -> subprocess.Popen:
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        **bucket.environment,
        "MODELYARD_MODEL": "sums",
        "MODELYARD_ARTIFACT_BUCKET": bucket.name,
        "MODELYARD_ENGINE": "lean",
        **variables,
    }
    started = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(AGE_S), str(requests)],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment,
        cwd=PROJECT,
    )  # fmt: skip
    assert started.stdin is not None
    started.stdin.write(json.dumps(instances([1, 2])) + "\n")
    started.stdin.flush()
    return started


def answered(text: str) -> list[tuple[str, float]]:
    """Prediction id and time of each answer; the last line may be half of one."""
    return [tuple(json.loads(line)) for line in text.splitlines() if line.endswith("]")]


@pytest.mark.parametrize("trial", [None, "shadow"])
def test_a_process_that_is_killed_loses_at_most_one_flush_interval(bucket, trial):
    if trial is None:
        promote(bucket, "sums", onnx_models.row_sum(), version=1, revision=1)
        killed = process(bucket, 10_000, MODELYARD_CAPTURE="1")
    else:
        put_on_trial(bucket, trial)
        killed = process(bucket, 10_000)
    ends = time.monotonic() + 30
    while len([key for key in bucket.objects if key.startswith("captures/")]) < 3 and time.monotonic() < ends:
        time.sleep(0.02)
    at = time.time()
    killed.send_signal(signal.SIGKILL)
    told = answered(killed.communicate(timeout=30)[1])
    kept = {record["prediction_id"] for record in records(bucket)}
    lost = [at - when for name, when in told if name not in kept]
    assert len(kept) > 50
    assert max(lost, default=0.0) < AGE_S + TICK_S + 0.5


def test_a_process_that_ends_in_order_loses_nothing(bucket):
    put_on_trial(bucket, "shadow")
    ended = process(bucket, 100)
    told = answered(ended.communicate(timeout=60)[1])
    assert (ended.returncode, len(told)) == (0, 100)
    assert {record["prediction_id"] for record in records(bucket)} == {name for name, _ in told}
