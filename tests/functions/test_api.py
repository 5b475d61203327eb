"""The control plane's function as Lambda runs it: its environment, its event, its lines on stdout."""

import copy
import hashlib
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from modelyard.control.routes import ROUTES
from modelyard.control.uploads import upload_key
from tests.fakes import onnx_models
from tests.fakes.control import MODEL, PARTS
from tests.fakes.gateway import CALLER, CONTEXT, EVENT, Gateway, event
from tests.fakes.stores import InMemoryArtifactStore, InMemoryRecordStore

PROJECT = Path(__file__).parents[2]
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "AWS_REGION": "eu-west-1",
    "MODELYARD_ARTIFACT_BUCKET": "example-artifacts",
    "MODELYARD_TABLE": "example-table",
    "MODELYARD_REQUIRE_REASON": "1",
    "POWERTOOLS_SERVICE_NAME": "modelyard-control",
    "POWERTOOLS_METRICS_NAMESPACE": "Modelyard",
}
LAYER = {"PYTHONPATH": str(PROJECT / "layers" / "core" / "python")}


class PresentStdout:
    """Standard output as it is when a line is written: powertools keeps one stream per process, pytest swaps them."""

    def write(self, text: str) -> int:
        return sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The function, imported in Lambda's environment, with stores in memory instead of a bucket and a table."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    sys.modules.pop("functions.api", None)
    module = importlib.import_module("functions.api")
    monkeypatch.setattr(module, "RECORDS", InMemoryRecordStore())
    monkeypatch.setattr(module, "ARTIFACTS", InMemoryArtifactStore())
    monkeypatch.setattr(module.JOURNAL.logger.registered_handler, "stream", PresentStdout())
    yield module
    sys.modules.pop("functions.api", None)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_model_goes_from_a_file_to_live_and_back(api: ModuleType) -> None:
    gateway = Gateway(api.handler)
    for plus in (0.0, 1.0):
        model = onnx_models.row_sum(plus)
        digest = hashlib.sha256(model).hexdigest()
        signed = gateway.post(f"/models/{MODEL}/uploads", {"sha256": digest, "size": len(model)}).body
        assert signed["url"].startswith(
            f"https://example-artifacts.s3.eu-west-1.amazonaws.com/uploads/{MODEL}/{digest}"
        )
        api.ARTIFACTS.objects[upload_key(MODEL, digest)] = model  # what S3 does with the PUT
        made = gateway.post(f"/models/{MODEL}/versions", {"sha256": digest, "task": "regression"})
        assert made.status == 201
        number = made.body["version"]["number"]
        assert gateway.post(f"/models/{MODEL}/promote", {"version": number, "reason": "try"}).status == 200
    assert gateway.post(f"/models/{MODEL}/rollback", {"reason": "worse"}).body["champion"] == 1
    entries = gateway.get(f"/models/{MODEL}/history").body["items"]
    assert [entry["kind"] for entry in entries] == ["rolled_back", "promoted", "registered", "promoted", "registered"]
    assert {entry["actor"] for entry in entries} == {CALLER}


def test_the_environment_decides_whether_a_reason_is_required(api: ModuleType) -> None:
    answer = Gateway(api.handler).post(f"/models/{MODEL}/promote", {"version": 1})
    assert (answer.status, answer.code) == (400, "reason_required")


def test_a_request_writes_one_audit_line_and_its_metrics(api: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    Gateway(api.handler).send(copy.deepcopy(EVENT))
    audit, metrics = lines(capsys)
    assert {
        key: audit[key] for key in ("kind", "caller", "route", "model", "status", "code", "request_id", "service")
    } == {
        "kind": "audit",
        "caller": CALLER,
        "route": "POST /models/{name}/promote",
        "model": MODEL,
        "status": 404,
        "code": "not_found",
        "request_id": EVENT["requestContext"]["requestId"],
        "service": "modelyard-control",
    }
    assert audit["latency_ms"] > 0
    assert metrics["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Modelyard"
    assert (metrics["route"], metrics["refused"], metrics["errors"]) == (audit["route"], [1.0], [0.0])
    assert metrics["latency_ms"] == [audit["latency_ms"]]


def test_the_metrics_of_one_request_do_not_leak_into_the_next(
    api: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = Gateway(api.handler)
    for path in ("/models", "/docs", "/models"):
        gateway.get(path)
    metrics = [line for line in lines(capsys) if "_aws" in line]
    assert [line["route"] for line in metrics] == ["GET /models", "GET /docs", "GET /models"]
    assert all(len(line["latency_ms"]) == 1 for line in metrics)


def test_the_cause_of_a_failure_is_in_the_log_and_not_in_the_answer(
    api: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "RECORDS", None)
    answer = Gateway(api.handler).get("/models")
    assert (answer.status, answer.code) == (500, "internal")
    failure, audit, _ = lines(capsys)
    assert failure["kind"] == "failure"
    assert "AttributeError" in failure["exception"]
    assert failure["request_id"] == audit["request_id"] == answer.body["request_id"]


def test_a_call_to_aws_that_hangs_ends_before_lambda_ends_the_function(api: ModuleType) -> None:
    addresses_of_s3, pauses_s, rest_s, timeout_s = 8, 3, 1, 29
    for client in (api.CLIENTS.dynamodb, api.CLIENTS.s3):
        config = client.meta.config
        attempts = config.retries["total_max_attempts"]
        no_answer = config.connect_timeout + config.read_timeout
        no_connection = addresses_of_s3 * config.connect_timeout
        assert attempts * max(no_answer, no_connection) + pauses_s + rest_s < timeout_s
        assert attempts > 1


@pytest.mark.parametrize("made", [{}, None, {"version": "2.0", "requestContext": {}}])
def test_an_event_that_is_no_request_does_not_raise(api: ModuleType, made: object) -> None:
    assert api.handler(made, CONTEXT)["statusCode"] == 400


def test_a_caller_that_api_gateway_does_not_know_gets_nothing(api: ModuleType) -> None:
    gateway = Gateway(api.handler, caller=None)
    for method, path in ROUTES:
        assert gateway.send(event(method, path.format(**PARTS))).code == "unknown_caller"


def test_the_function_starts_in_an_environment_of_its_own_without_the_tracer_and_without_numpy() -> None:
    program = (
        "import sys; from functions import api; api.handler({}, None); "
        "print([name for name in sys.modules if 'xray' in name or name in ('numpy', 'markdown_it')])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PROJECT,
        env=ENVIRONMENT | LAYER,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "[]"


def test_an_incomplete_environment_is_named_at_once() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "import functions.api"],
        cwd=PROJECT, env={"AWS_REGION": "eu-west-1"} | LAYER, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode != 0
    assert "MODELYARD_ARTIFACT_BUCKET is not set; MODELYARD_TABLE is not set" in ended.stderr
