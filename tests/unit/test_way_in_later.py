"""Asynchronous predictions: what is written down when, and what a caller gets of each state."""

import json
import time
from typing import Any

import pytest

from modelyard import async_keys
from modelyard.aws.sagemaker_runtime import Request
from modelyard.errors import AWSError, CredentialsError, ModelyardError
from modelyard.plain_http import Answer
from modelyard.serving.response import MAX_RESPONSE_BYTES
from modelyard.way_in import later as module
from modelyard.way_in.asked import Asked
from modelyard.way_in.later import Later
from modelyard.way_in.settings import ASYNC, WayInSettings
from tests.fakes.objects import InMemoryObjects

OUTPUT, FAILURE = "async/wine/out/1.out", "async/wine/failed/1-error.out"
SETTINGS = WayInSettings("wine", "modelyard-wine", ASYNC, bucket="artifacts", timeout_s="1800")
ASKED = Asked(accept="*/*", as_v2=False, attributes="{}", body=b"[1]", content_type="application/json")
REQUEST = Request("modelyard-wine", content_type="application/json", accept="*/*", attributes="{}")


class Runtime:
    """Takes everything, and says where it will write."""

    def __init__(self, objects: InMemoryObjects) -> None:
        self.headers = {
            "x-amzn-sagemaker-outputlocation": f"s3://artifacts/{OUTPUT}",
            "x-amzn-sagemaker-failurelocation": f"s3://artifacts/{FAILURE}",
        }
        self.asked: list[dict[str, Any]] = []
        self.answer: Answer | Exception | None = None
        self._objects = objects

    def invoke_async(self, request: Request, *, location: str, **more: Any) -> Answer:
        key = location.removeprefix("s3://artifacts/")
        self.asked.append({"location": location, "body": self._objects.get(key)[0], "request": request, **more})
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer or Answer(202, self.headers, b"{}")


@pytest.fixture
def objects() -> InMemoryObjects:
    return InMemoryObjects()


@pytest.fixture
def runtime(objects) -> Runtime:
    return Runtime(objects)


@pytest.fixture
def later(objects, runtime) -> Later:
    return Later(objects, SETTINGS, runtime)


def take(later: Later) -> str:
    response = later.take(ASKED, REQUEST, ends=time.monotonic() + 5).response
    assert response["statusCode"] == 202
    return json.loads(response["body"])["id"]


def code_of(call: Any, *arguments: Any, **more: Any) -> tuple[int, str]:
    with pytest.raises(ModelyardError) as raised:
        call(*arguments, **more)
    assert raised.value.next_step
    return raised.value.status, raised.value.code


def keys(objects: InMemoryObjects) -> set[str]:
    return set(objects._objects)


def test_the_body_is_stored_before_sagemaker_is_asked_and_the_job_after(later, objects, runtime):
    found = take(later)
    (asked,) = runtime.asked
    assert asked["location"] == f"s3://artifacts/async/wine/in/{found}"
    assert (asked["body"], asked["inference_id"], asked["timeout_s"]) == (b"[1]", found, "1800")
    assert keys(objects) == {f"async/wine/in/{found}", f"async/wine/jobs/{found}"}


def test_ids_are_32_hexadecimal_digits_and_each_is_new(later):
    found = {take(later) for _ in range(20)}
    assert len(found) == 20
    assert all(len(one) == 32 and int(one, 16) >= 0 for one in found)


def test_it_is_pending_until_something_is_written(later, objects):
    found = take(later)
    response = later.look(found).response
    assert (response["statusCode"], json.loads(response["body"])["status"]) == (202, "pending")
    assert response["headers"]["retry-after"] == "2"
    objects.put(OUTPUT, b'{"status":200,"content_type":"application/json","h":{"x-a":"b"}}\n{"predictions":[]}')
    outcome = later.look(found)
    assert outcome.response["statusCode"] == 200
    assert outcome.response["body"] == '{"predictions":[]}'
    assert outcome.response["headers"] == {"content-type": "application/json", "x-a": "b"}


def test_bytes_come_as_bytes(later, objects):
    found = take(later)
    objects.put(OUTPUT, b'{"status":200,"content_type":"application/x-npy","h":{}}\n\x93NUMPY\n\xff')
    response = later.look(found).response
    assert (response["isBase64Encoded"], response["body"]) == (True, "k05VTVBZCv8=")


PROBLEM = '{"type":"about:blank","title":"x","status":500,"code":"model_failed","detail":"d","request_id":"r"}'


IN_A_SENTENCE = f'Received server error (500) from primary with message "{PROBLEM}". See the logs.'


@pytest.mark.parametrize("content", [PROBLEM, IN_A_SENTENCE])
def test_a_problem_of_the_containers_is_what_a_caller_gets_of_a_failure(later, objects, content):
    found = take(later)
    objects.put(FAILURE, content.encode())
    outcome = later.look(found)
    assert (outcome.response["statusCode"], outcome.response["body"], outcome.code) == (500, PROBLEM, "model_failed")


@pytest.mark.parametrize("content", [PROBLEM[:60], "Received server error (0) from primary with message", ""])
def test_another_failure_is_a_failed_endpoint(later, objects, content):
    found = take(later)
    objects.put(FAILURE, content.encode())
    assert code_of(later.look, found) == (502, "endpoint_failed")


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"{}\n[]", b'{"predictions": []}', b"x" * 100_000, b'{"status":200}\n1']
)
def test_an_answer_without_an_envelope_is_none_of_ours(later, objects, content):
    found = take(later)
    objects.put(OUTPUT, content)
    assert code_of(later.look, found) == (502, "endpoint_failed")


def test_an_answer_that_lambda_does_not_return_says_where_it_lies_and_is_not_read_whole(later, objects):
    found = take(later)
    objects.put(OUTPUT, b'{"status":200,"content_type":"text/csv"}\n' + b"1" * (3 * MAX_RESPONSE_BYTES))
    read: list[int] = []
    real = objects.pieces
    objects.pieces = lambda key: (read.append(len(piece)) or piece for piece in real(key))
    with pytest.raises(ModelyardError) as raised:
        later.look(found)
    assert (raised.value.status, raised.value.code) == (413, "response_too_large")
    assert f"s3://artifacts/{OUTPUT}" in raised.value.next_step
    assert sum(read) < 1.1 * MAX_RESPONSE_BYTES


def test_what_sagemaker_has_forgotten_is_not_pending_for_ever(later, monkeypatch):
    found = take(later)
    real = time.time
    monkeypatch.setattr(module.time, "time", lambda: real() + module.GIVEN_UP_S + 1)
    assert code_of(later.look, found) == (504, "endpoint_timeout")


@pytest.mark.parametrize("location", ["s3://elsewhere/async/wine/out/1", "s3://artifacts/async/other/out/1", "", "x"])
def test_an_endpoint_that_writes_elsewhere_promises_nothing(later, objects, runtime, location):
    runtime.headers["x-amzn-sagemaker-outputlocation"] = location
    assert code_of(later.take, ASKED, REQUEST, ends=0.0) == (502, "endpoint_failed")
    assert not [key for key in keys(objects) if "/jobs/" in key]


def test_an_endpoint_without_a_place_for_failures_is_taken(later, objects, runtime):
    del runtime.headers["x-amzn-sagemaker-failurelocation"]
    found = take(later)
    assert later.look(found).response["statusCode"] == 202


def test_what_sagemaker_refuses_promises_nothing(later, objects, runtime):
    runtime.answer = Answer(400, {"x-amzn-errortype": "ThrottlingException"}, b"{}")
    assert code_of(later.take, ASKED, REQUEST, ends=0.0) == (429, "throttled")
    assert not [key for key in keys(objects) if "/jobs/" in key]


@pytest.mark.parametrize("error", [AWSError("S3 is away"), CredentialsError("AWS refuses", code="access_denied")])
def test_a_bucket_that_does_not_answer_is_an_unavailable_endpoint_and_never_a_403(later, objects, error):
    found = take(later)
    objects.failure = error
    assert code_of(later.look, found) == (503, "endpoint_unavailable")

    def refuse(_key: str, _content: bytes) -> None:
        raise error

    objects.put = refuse
    assert code_of(later.take, ASKED, REQUEST, ends=0.0) == (503, "endpoint_unavailable")


@pytest.mark.parametrize("name", ["A" * 32, "g" * 32, "٣" * 32, "../in/" + "0" * 26, "0" * 31, "0" * 33, ""])
def test_what_is_no_id_never_becomes_a_key(later, objects, name):
    assert code_of(later.look, name) == (404, "prediction_not_found")
    assert objects.reads == []


def test_every_key_lies_below_the_models_own():
    made = [
        async_keys.input_key("wine", "1"), async_keys.job_key("wine", "1"), async_keys.output_prefix("wine"),
        async_keys.failure_prefix("wine"),
    ]  # fmt: skip
    assert all(key.startswith("async/wine/") for key in made)
    assert len(set(made)) == 4
