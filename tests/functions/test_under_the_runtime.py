"""Functions under `awslambdaric`, the runtime client that Lambda runs, against a stand-in of Lambda's own APIs.

`python_version` changes how that client waits for an event: up to 3.11 on the main thread, in C, where no signal
handler of Python runs; from 3.12 on a thread of its own. What must hold, must hold in both.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import onnx_models
from tests.fakes.http_bucket import HttpBucket
from tests.fakes.lambda_service import InitFailed, LambdaService
from tests.fakes.objects import promote
from tests.fakes.runtime_api import MAX_RESPONSE_BYTES

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="AWS publishes its runtime client for Linux only")

EVENT = json.loads((Path(__file__).parents[1] / "events" / "http_api_v2_predict.json").read_text())
PREDICT, ECHO = "functions.predict.handler", "tests.fakes.functions.echo.handler"
CREDENTIALS = {
    "AccessKeyId": "AKIDFROMTHEENDPOINT",
    "SecretAccessKey": "secret",
    "Token": "session",
    "Expiration": "2040-01-01T00:00:00Z",
}


def instances(*rows: object) -> dict[str, Any]:
    route = "POST /models/sums/predict"
    return {**EVENT, "routeKey": route, "body": json.dumps({"instances": rows}, ensure_ascii=False)}


@pytest.fixture
def bucket():
    with HttpBucket() as served:
        yield served


@pytest.fixture
def function(bucket):
    """Makes functions beside the bucket."""
    running: list[LambdaService] = []

    def made(handler: str, **settings: Any) -> LambdaService:
        variables = {
            "AWS_ENDPOINT_URL": bucket.environment["AWS_ENDPOINT_URL"],
            "MODELYARD_ARTIFACT_BUCKET": bucket.name,
            "MODELYARD_MODEL": "sums",
            **settings.pop("variables", {}),
        }
        running.append(LambdaService(handler, environment=variables, **settings))
        return running[-1]

    yield made
    for service in running:
        service.close()


@pytest.fixture(params=["3.11", "3.13"])
def echo(function, request):
    """Does as its event says; captures every record into a file of its own."""
    return function(ECHO, python_version=request.param)


def captured(bucket: HttpBucket) -> list[Any]:
    """What every record in the bucket was asked, in the order of the files."""
    keys = sorted(key for key in bucket.objects if key.startswith("captures/"))
    return [json.loads(line)["instances"][0] for key in keys for line in bucket.objects[key].splitlines()]


def events(service: LambdaService) -> list[str]:
    return [json.loads(line)["event"] for line in service.log.splitlines() if '"kind":"event"' in line]


# -- the endpoint -----------------------------------------------------------------------------------------------------


def test_a_cold_start_and_warm_calls_answer_from_one_process(bucket, function):
    promote(bucket, "sums", onnx_models.row_sum(), version=1, revision=1)
    service = function(PREDICT)
    answers = [service.invoke(instances([row, 2])) for row in range(5)]
    bodies = [json.loads(answer.result["body"]) for answer in answers]
    assert [answer.result["statusCode"] for answer in answers] == [200] * 5
    assert [body["predictions"] for body in bodies] == [[row + 2.0] for row in range(5)]
    assert service.starts == 1


def test_the_model_is_loaded_while_lambda_initialises(bucket, function):
    promote(bucket, "sums", onnx_models.row_sum(), version=1, revision=1)
    service = function(PREDICT)
    service.start()
    read = len(bucket.requests)
    assert read >= 2
    service.invoke(instances([1, 2]))
    assert len(bucket.requests) == read


def test_text_of_any_script_comes_through_the_runtime(bucket, function):
    promote(bucket, "sums", onnx_models.echo(("x", "string", [None, 1])), version=1, revision=1)
    service = function(PREDICT)
    words = ["Wetter 🌦", "天気", "a\u2028b", 'quotes " and \\', "\x7f"]
    answer = service.invoke(instances(*words)).result
    assert json.loads(answer["body"])["predictions"] == words


@pytest.mark.parametrize(
    ("python", "letter", "bytes_each"),
    [("3.13", "x", 1), ("3.13", "é", 2), ("3.13", '"', 4), ("3.11", "x", 1), ("3.11", "é", 6), ("3.11", '"', 4)],
)
def test_an_answer_over_the_limit_is_the_endpoints_own_to_refuse(bucket, function, python, letter, bytes_each):
    promote(bucket, "sums", onnx_models.echo(("x", "string", [None, 1])), version=1, revision=1)
    service = function(PREDICT, timeout_s=30.0, python_version=python)
    room = MAX_RESPONSE_BYTES - len(service.invoke(instances("")).payload)
    largest = service.invoke(instances(letter * (room // bytes_each)))
    assert (largest.error, largest.result["statusCode"]) == (None, 200)
    assert len(largest.payload) == MAX_RESPONSE_BYTES - room % bytes_each
    larger = service.invoke(instances(letter * (room // bytes_each + 1)))
    assert (larger.error, larger.result["statusCode"]) == (None, 413)
    assert service.starts == 1


def test_an_incomplete_environment_is_reported_as_an_init_error(function):
    service = function(PREDICT, variables={"MODELYARD_MODEL": ""})
    with pytest.raises(InitFailed, match="MODELYARD_MODEL is not set"):
        service.start()
    ((path, kind, report),) = service.api.posted
    assert (path, kind) == ("runtime/init/error", "UsageError")
    assert report["stackTrace"]


# -- what Lambda does with a function ---------------------------------------------------------------------------------


def test_an_unhandled_error_reaches_the_caller_and_leaves_the_environment_working(echo):
    answer = echo.invoke({"error": "broken"})
    assert (answer.error, answer.result["errorType"], answer.result["errorMessage"]) == (
        "Unhandled",
        "ValueError",
        "broken",
    )
    assert echo.invoke({"answer": 1}).result == 1
    assert echo.starts == 1


def test_a_timeout_ends_the_environment_and_the_next_call_starts_another(echo):
    answer = echo.invoke({"sleep": 5}, timeout_s=0.5)
    assert (answer.error, answer.result["errorMessage"]) == ("Sandbox.Timedout", "Task timed out after 0.50 seconds")
    assert echo.invoke({"answer": 1}).result == 1
    assert echo.starts == 2


@pytest.mark.parametrize("size", [MAX_RESPONSE_BYTES - 1, MAX_RESPONSE_BYTES])
def test_an_answer_up_to_the_limit_passes(function, size):
    assert len(function(ECHO).invoke({"size": size}).payload) == size


def test_an_answer_over_the_limit_is_an_error_and_costs_the_environment(function):
    service = function(ECHO)
    assert service.invoke({"size": MAX_RESPONSE_BYTES + 1}).error == "Function.ResponseSizeTooLarge"
    assert service.invoke({"answer": 1}).result == 1
    assert service.starts == 2


# -- after the answer -------------------------------------------------------------------------------------------------


def test_the_answer_is_out_before_the_work_begins_and_the_environment_stays_awake_for_it(bucket, echo):
    echo.start()
    # Posting takes a while; a thread that began at the handler's return would be done by then.
    echo.api.response_delay_s = 0.05
    bucket.delay_s = 0.02
    answer = echo.invoke({"capture": "first", "decimals": 1_000})
    echo.settle()
    ((key, written),) = bucket.written
    assert answer.answered < written <= answer.finished
    assert key.startswith("captures/echo/version=1/date=2")


def test_without_work_the_environment_is_frozen_at_once(echo):
    echo.invoke({})
    answers = [echo.invoke({}) for _ in range(10)]
    echo.settle()
    assert sorted(answer.finished - answer.answered for answer in answers)[5] < 0.1


def test_work_that_fails_is_reported_and_the_next_one_runs(echo):
    echo.invoke({"fail_afterwards": True})
    echo.invoke({"afterwards": "second"})
    echo.settle()
    assert events(echo) == ["afterwards_failed", "second"]
    assert "ZeroDivisionError" in echo.log
    assert echo.starts == 1


@pytest.mark.parametrize("kept", [{"keep_context": True}, {"error": "broken"}], ids=["kept", "raised"])
def test_a_context_that_lives_on_holds_the_environment_for_a_moment_only(echo, kept):
    echo.start()
    answer = echo.invoke({"afterwards": "done", **kept})
    echo.settle()
    assert answer.finished - answer.began < 1.0
    assert ("done" in events(echo)) == ("error" not in kept)


def test_work_never_lasts_into_the_functions_timeout_and_goes_on_in_the_next_invocation(echo):
    echo.start()
    echo.invoke({"sleep_afterwards": 1.2}, timeout_s=1.2)
    echo.settle()
    assert echo.frozen
    assert "slept" not in echo.log
    echo.invoke({"sleep": 1.0})
    echo.settle()
    assert "slept" in echo.log
    assert echo.starts == 1


def test_nothing_captured_is_lost_at_freezes(bucket, echo):
    for number in range(8):
        echo.invoke({"capture": number})
        if number % 3 == 0:
            echo.settle()
            time.sleep(0.05)  # frozen
    echo.settle()
    assert captured(bucket) == list(range(8))


@pytest.mark.parametrize("python_version", ["3.11", "3.13"])
def test_nothing_captured_is_lost_at_shutdown(bucket, function, python_version):
    service = function(ECHO, python_version=python_version, variables={"CAPTURE_AGE_S": "3600"})
    for number in range(5):
        service.invoke({"capture": number})
    service.settle()
    assert not bucket.written
    bucket.delay_s = 0.1  # a connection that was closed in the freeze
    service.shutdown()
    assert captured(bucket) == list(range(5))


@pytest.mark.parametrize("python_version", ["3.11", "3.13"])
def test_nothing_captured_is_lost_at_a_timeout(bucket, function, python_version):
    service = function(ECHO, python_version=python_version, variables={"CAPTURE_AGE_S": "3600"})
    service.invoke({"capture": "before"})
    answer = service.invoke({"capture": "with it", "sleep": 5}, timeout_s=0.5)
    service.settle()
    assert answer.error == "Sandbox.Timedout"
    assert captured(bucket) == ["before", "with it"]


def test_an_s3_that_does_not_answer_is_given_up_at_shutdown(bucket, echo):
    bucket.delay_s = 3.0
    echo.invoke({"capture": "lost"}, timeout_s=1.0)
    echo.shutdown()
    assert not bucket.written


def test_where_no_extension_may_register_the_work_is_done_by_a_thread(bucket, function):
    service = function(ECHO)
    service.refuse_extensions = True
    answer = service.invoke({"capture": "all the same", "sleep": 0})
    service.invoke({"sleep": 0.3})
    service.settle()
    assert answer.error is None
    assert not service.api.extensions
    assert captured(bucket) == ["all the same"]
    assert "extension" not in service.log


# -- SnapStart --------------------------------------------------------------------------------------------------------


def test_snapstart_runs_the_hooks_around_the_snapshot(bucket, function):
    service = function(ECHO, snap_start=True, credentials=CREDENTIALS)
    bucket.put("pointer", b"{}")
    service.start()
    assert events(service) == ["primed"]
    assert not bucket.requests
    service.restore()
    assert events(service) == ["primed", "restored"]
    assert service.invoke({}).result["notes"] == ["primed", "restored"]


def test_snapstart_takes_credentials_from_the_endpoint_after_the_restore(bucket, function):
    service = function(ECHO, snap_start=True, credentials=CREDENTIALS)
    bucket.put("pointer", b"{}")
    service.start()
    assert service.api.credential_reads == 0
    service.restore()
    service.invoke({"capture": "signed"})
    service.settle()
    assert service.api.credential_reads == 1
    assert [CREDENTIALS["AccessKeyId"] in headers["authorization"] for _, headers in bucket.requests] == [True, True]
    assert {headers["x-amz-security-token"] for _, headers in bucket.requests} == {CREDENTIALS["Token"]}
    assert captured(bucket) == ["signed"]


def test_a_snapstart_hook_that_fails_is_reported_and_the_function_answers(bucket, function):
    service = function(ECHO, snap_start=True, credentials=CREDENTIALS)
    bucket.status = 403
    service.start()
    service.restore()
    assert "snapstart_hook_failed" in events(service)
    assert service.invoke({"answer": 1}).result == 1
    assert service.starts == 1


def test_without_snapstart_no_hook_runs_and_no_endpoint_is_asked(echo):
    echo.invoke({})
    assert events(echo) == []
    assert echo.api.credential_reads == 0
