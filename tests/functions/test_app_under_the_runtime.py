"""A model's own app under `awslambdaric`: INIT, warm calls, work after the answer, shutdown, SnapStart."""

import json
import sys
import time
from typing import Any

import pytest

from tests.fakes import onnx_models
from tests.fakes.app_function import ROW, asking
from tests.fakes.http_bucket import HttpBucket
from tests.fakes.lambda_service import InitFailed, LambdaService
from tests.fakes.objects import promote

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="AWS publishes its runtime client for Linux only")

KEYS = {"AccessKeyId": "A", "SecretAccessKey": "S", "Token": "T", "Expiration": "2040-01-01T00:00:00Z"}


@pytest.fixture
def bucket():
    with HttpBucket() as served:
        promote(served, "sums", onnx_models.row_sum(), version=1, revision=1)
        yield served


@pytest.fixture
def function(bucket):
    """Makes the function beside the bucket."""
    running: list[LambdaService] = []

    def made(app: str = "tests.fakes.web_app:app", **settings: Any) -> LambdaService:
        variables = {
            "AWS_ENDPOINT_URL": bucket.environment["AWS_ENDPOINT_URL"],
            "MODELYARD_ARTIFACT_BUCKET": bucket.name,
            "MODELYARD_MODEL": "sums",
            "MODELYARD_APP": app,
        }
        running.append(LambdaService("functions.app.handler", environment=variables, **settings))
        return running[-1]

    yield made
    for service in running:
        service.close()


def said(service: LambdaService, kind: str = "event") -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in service.log.splitlines() if f'"kind":"{kind}"' in line]
    return [line for line in lines if line.get("event") != "version_live"]


@pytest.mark.parametrize("python_version", ["3.11", "3.13"])
def test_one_process_and_one_loop_answer_all_calls(function, python_version):
    service = function(python_version=python_version)
    answer = service.invoke(asking("POST", "/sum", ROW))
    assert json.loads(answer.result["body"])["sum"] == 3.0
    loops = [service.invoke(asking("GET", "/loop")).result["body"] for _ in range(3)]
    assert service.invoke(asking("GET", "/put/7")).error is None
    assert service.invoke(asking("GET", "/take")).result["body"] == "7"
    assert (len({*loops}), service.starts) == (1, 1)
    assert [line["event"] for line in said(service)] == ["startup"]
    assert len(said(service, "audit")) == 6


def test_background_tasks_run_when_the_answer_is_out_and_hold_the_environment(function):
    service = function()
    service.start()
    answer = service.invoke(asking("GET", "/later", query="seconds=0.3"))
    assert answer.result["body"] == '"at once"'
    assert "background 2.0" not in service.log
    service.settle()
    assert answer.finished - answer.answered > 0.25
    assert [line["event"] for line in said(service)][-1] == "background 2.0"


def test_without_background_tasks_the_environment_is_frozen_at_once(function):
    service = function()
    service.invoke(asking("GET", "/who"))
    answers = [service.invoke(asking("GET", "/who")) for _ in range(10)]
    service.settle()
    assert sorted(answer.finished - answer.answered for answer in answers)[5] < 0.1


def test_an_app_that_raises_costs_no_process(function):
    service = function()
    answer = service.invoke(asking("GET", "/raises/exit"))
    assert (answer.error, answer.result["statusCode"]) == (None, 500)
    assert service.invoke(asking("GET", "/who")).result["statusCode"] == 200
    assert service.starts == 1


def test_an_app_that_is_late_gets_a_504_before_lambda_ends_the_process(function):
    service = function()
    service.start()
    answer = service.invoke(asking("GET", "/sleep/30"), timeout_s=1.0)
    assert (answer.error, answer.result["statusCode"]) == (None, 504)
    service.settle()
    assert [line["code"] for line in said(service, "audit")] == ["app_timeout"]
    assert service.invoke(asking("GET", "/who")).result["statusCode"] == 200
    assert service.starts == 1


def test_a_startup_that_fails_is_an_init_error_that_says_why(function):
    service = function("tests.fakes.web_app_that_fails:app")
    with pytest.raises(InitFailed, match="the startup of the model's app failed: ConnectionError: no database"):
        service.start()
    ((path, kind, report),) = service.api.posted
    assert (path, kind) == ("runtime/init/error", "ModelError")
    assert report["errorMessage"].startswith("the startup of the model's app failed")


@pytest.mark.parametrize("python_version", ["3.11", "3.13"])
def test_the_app_is_shut_down_with_the_environment(function, python_version):
    service = function(python_version=python_version)
    service.invoke(asking("GET", "/who"))
    service.shutdown()
    assert [line["event"] for line in said(service)] == ["startup", "shutdown"]


def test_with_snapstart_the_app_goes_up_into_the_snapshot_and_stays_up(bucket, function):
    service = function(snap_start=True, credentials=KEYS)
    service.start()
    time.sleep(0.1)
    promote(bucket, "sums", onnx_models.row_sum(27), version=2, revision=2)
    service.restore()
    assert json.loads(service.invoke(asking("POST", "/sum", ROW)).result["body"])["version"] == 2
    service.shutdown()
    assert [line["event"] for line in said(service)] == ["startup", "shutdown"]
