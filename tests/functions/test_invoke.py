"""The way in as Lambda runs it: the same answers as the Lambda target, and a problem for everything that goes wrong."""

import copy
import importlib
import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modelyard.serving.problem import CONTENT_TYPE
from modelyard.serving.response import MAX_RESPONSE_BYTES
from tests.fakes import sagemaker_runtime as fake
from tests.fakes.cold_starts import imported_by, refusal_of
from tests.fakes.endpoint import CONTEXT, Answer, EndpointStand, event
from tests.fakes.predict_requests import CONTRACT, EVERY, INFER, MODEL, as_json, changed, headed, instances
from tests.fakes.sagemaker_runtime import FakeSageMakerRuntime, container_of
from tests.functions.test_bad_inputs_predict import BAD

PROJECT = Path(__file__).parents[2]
PROBLEM = {
    "type": "about:blank", "title": "Internal Server Error", "status": 500, "code": "model_failed",
    "detail": "the model failed", "request_id": "UZQ8ijNXjoEEJ6Q=",
}  # fmt: skip


@pytest.fixture(scope="module")
def stand() -> EndpointStand:
    """The model on Lambda, and the one in the container."""
    return EndpointStand(MODEL, contract=CONTRACT)


@pytest.fixture
def service(stand):
    with FakeSageMakerRuntime(container_of(stand.endpoint)) as served:
        yield served


class Function:
    """``functions/invoke.py``, and the lines that it and the container write."""

    def __init__(self, module: Any, capsys: pytest.CaptureFixture[str]) -> None:
        self.module = module
        self._capsys = capsys
        self.lines: list[dict[str, Any]] = []

    def send(self, made: Any, context: Any = CONTEXT) -> Answer:
        self._capsys.readouterr()
        response = self.module.handler(made, context)
        json.dumps(response)
        self.lines = [json.loads(line) for line in self._capsys.readouterr().out.splitlines()]
        return Answer(response)

    @property
    def audited(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["kind"] == "audit"]


@pytest.fixture
def start(service, monkeypatch, capsys):
    """Import the function in the environment that Lambda would give it."""
    started = []

    def make(**environment: str) -> Function:
        for name, value in {**service.environment, **environment}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delitem(sys.modules, "functions.invoke", raising=False)
        module = importlib.import_module("functions.invoke")
        started.append(module)
        fake.wait_until(lambda: bool(module.WAY_IN._runtime._idle))
        return Function(module, capsys)

    yield make
    for module in started:
        module.WAY_IN._runtime.close()


@pytest.fixture
def function(start) -> Function:
    return start()


def same(answer: Answer) -> Any:
    """What two answers to one request have in common: all but the ids and times that are made anew."""
    document = copy.deepcopy(answer.json)
    if isinstance(document, dict):
        for key in ("prediction_id", "time"):
            document.pop(key, None)
        document.get("parameters", {}).pop("prediction_id", None)
    headers = {name: value for name, value in answer.headers.items() if "prediction-id" not in name}
    return answer.status, headers, len(answer.content), document


GOOD = {
    **EVERY,
    "NPY": event("POST", "/models/weather/predict", b"", headers={"content-type": "application/x-npy"}),
    "Arrow for JSON": headed(instances(), accept="application/vnd.apache.arrow.stream"),
    "openapi.json": event("GET", "/models/weather/openapi.json"),
    "metadata": event("GET", "/v2/models/weather"),
    "ready": event("GET", "/v2/models/weather/versions/3/ready"),
    "feedback": as_json(
        json.dumps({"labels": [{"prediction_id": "0" * 32, "label": "rain"}]}), "/models/weather/feedback"
    ),
    "infer of a version": as_json("{}", "/v2/models/weather/versions/3/infer"),
    "another version": event("GET", "/v2/models/weather/versions/9/ready"),
    "OIP without a content type": event("POST", INFER, EVERY["OIP"]["body"]),
    "no content type": event("POST", "/models/weather/predict", instances()["body"]),
    "405": event("GET", INFER),
    "text of any script": headed(instances(kind="天気 🌦"), x_note="é"),
}


@pytest.mark.parametrize("name", GOOD)
def test_an_answer_is_the_one_that_the_lambda_target_gives(stand, function, name):
    made = GOOD[name]
    theirs, ours = stand.send(copy.deepcopy(made)), function.send(copy.deepcopy(made))
    assert same(ours) == same(theirs)


@pytest.mark.parametrize("case", BAD)
def test_a_bad_input_is_answered_as_by_the_lambda_target_with_one_audit_line(stand, function, case):
    for made, status, code in BAD[case]:
        theirs, ours = stand.send(copy.deepcopy(made)), function.send(copy.deepcopy(made))
        assert (ours.status, ours.code) == (status, code)
        assert same(ours) == same(theirs)
        (line,) = function.audited
        assert (line["status"], line["code"], line["request_id"]) == (status, code, ours.json["request_id"])


@pytest.mark.parametrize(
    "made", [{}, None, [], {"key1": "value1"}, {"requestContext": {}}, event("POST", "/models/x/y")]
)
def test_an_event_that_no_gateway_made_reaches_no_endpoint_and_leaves_a_line(stand, service, function, made):
    assert same(function.send(made)) == same(stand.send(made))
    (line,) = function.audited
    assert line["outcome"] == "refused"
    assert service.asked == []


def test_another_models_route_is_not_handed_on_even_where_the_container_has_that_model(service, function):
    answer = function.send(event("POST", "/models/other/predict", "{}"))
    assert (answer.status, answer.code) == (404, "unknown_model")
    assert service.asked == []


def test_who_asks_is_whom_the_authorizer_established_and_nothing_that_a_header_says(service, function):
    forged = '{"route":"POST /models/weather/predict","caller":"arn:aws:iam::1:root"}'
    made = headed(instances(), x_amzn_sagemaker_custom_attributes=forged, x_caller="arn:aws:iam::1:root")
    assert function.send(made).status == 200
    (asked,) = service.asked
    assert asked.attributes["caller"] == "arn:aws:iam::111122223333:user/forecast-app"
    assert asked.attributes["account"] == "111122223333"
    assert "root" not in json.dumps(asked.headers)
    (line,) = function.audited
    assert line["caller"] == "arn:aws:iam::111122223333:user/forecast-app"


def test_only_the_header_that_routes_is_handed_on(service, start):
    function = start(MODELYARD_ROUTING="header:X-Customer")
    function.send(headed(instances(), x_customer="c-17", x_other="no"))
    assert service.asked[0].attributes["h"] == {"x-customer": "c-17"}


def test_a_routing_header_that_does_not_fit_is_refused_and_not_cut(service, start):
    function = start(MODELYARD_ROUTING="header:x-customer")
    answer = function.send(headed(instances(), x_customer="x" * 1000))
    assert (answer.status, answer.code) == (431, "header_too_large")
    assert len(function.audited) == 1
    assert service.asked == []


@pytest.mark.parametrize("target", ["sagemaker-serverless", "sagemaker-realtime"])
def test_a_body_is_held_to_what_the_target_takes(service, start, target):
    function = start(MODELYARD_TARGET=target)
    limit = (4 << 20) if target == "sagemaker-serverless" else 6_291_456
    text = instances()["body"]
    assert function.send(changed(instances(), body=text + " " * (limit - len(text)))).status == 200
    answer = function.send(changed(instances(), body=text + " " * (limit - len(text) + 1)))
    assert (answer.status, answer.code) == (413, "body_too_large")
    assert f"{limit:,}" in answer.json["detail"]
    assert len(service.asked) == 1
    assert len(function.audited) == 1


@pytest.mark.parametrize("kind", ["application/json", "application/octet-stream"])
def test_an_answer_that_lambda_would_not_return_is_413(service, function, kind):
    body = b'"' + b"x" * MAX_RESPONSE_BYTES + b'"'
    service.container = lambda _asked: (200, {"Content-Type": kind, fake.ATTRIBUTES: '{"status":200,"n":7}'}, body)
    answer = function.send(instances())
    assert (answer.status, answer.code) == (413, "response_too_large")
    assert "7 instances" in answer.json["detail"]
    assert function.audited == []  # the container wrote it
    assert [line["event"] for line in function.lines] == ["request_failed"]


@pytest.mark.parametrize("kind", ["application/json", "application/octet-stream"])
def test_the_largest_answer_that_lambda_returns_goes_out(service, function, kind):
    size = MAX_RESPONSE_BYTES - 1000 if kind == "application/json" else (MAX_RESPONSE_BYTES - 1000) * 3 // 4
    body = b"1" * size
    service.container = lambda _asked: (200, {"Content-Type": kind, fake.ATTRIBUTES: '{"status":200}'}, body)
    response = function.module.handler(instances(), CONTEXT)
    assert response["statusCode"] == 200
    assert len(json.dumps(response)) <= MAX_RESPONSE_BYTES


def test_headers_and_a_status_of_the_containers_come_through(service, function):
    service.container = lambda _asked: fake.answer(
        {**PROBLEM, "status": 429, "code": "busy"}, status=429, retry_after="2"
    )
    made = function.module.handler(instances(), CONTEXT)
    assert (made["statusCode"], made["headers"]) == (429, {"content-type": CONTENT_TYPE, "retry-after": "2"})


# -- what goes wrong --------------------------------------------------------------------------------------------------


def test_a_problem_of_the_containers_comes_through_and_leaves_no_second_line(service, function):
    service.harms = [fake.model_error(500, json.dumps(PROBLEM, separators=(",", ":")))]
    answer = function.send(instances())
    assert (answer.status, answer.json) == (500, PROBLEM)
    assert function.lines == []


def test_where_nothing_is_live_the_503_is_the_lambda_targets_with_the_containers_line_alone(service, function):
    broken = EndpointStand(None)
    service.container = container_of(broken.endpoint)
    assert same(function.send(instances())) == same(broken.send(instances()))
    assert len(function.audited) == 1


LONG = json.dumps({**PROBLEM, "detail": "x" * 5000}, separators=(",", ":"))
NOT_READY = 'Received server error (0) from primary with message "Your invocation timed out while waiting"'
HARMS: dict[str, tuple[list[fake.Harm], int, str, int]] = {
    # what SageMaker does, the status and code that a caller gets, and how many audit lines the way in writes
    "throttled": ([fake.refusal("ThrottlingException", None, status=400)] * 3, 429, "throttled", 1),
    "throttled, as documented": ([fake.refusal("ThrottlingException", "x", status=429)] * 3, 429, "throttled", 1),
    "a serverless endpoint that starts": (
        [fake.refusal("ModelNotReadyException", "wait", status=429)] * 3, 503, "endpoint_unavailable", 1,
    ),
    "unavailable": ([fake.refusal("ServiceUnavailable", "x", status=503)], 503, "endpoint_unavailable", 1),
    "a dependency": (
        [fake.refusal("InternalDependencyException", "x", status=530)], 503, "endpoint_unavailable", 1,
    ),
    "internal failure": ([fake.refusal("InternalFailure", "x", status=500)], 502, "endpoint_failed", 1),
    "no endpoint": (
        [fake.refusal("ValidationError", "Endpoint modelyard-weather of account 111122223333 not found.")],
        503, "endpoint_unavailable", 1,
    ),
    "a body that SageMaker finds too large": (
        [fake.refusal("ValidationError", "1 validation error detected: Value at 'body' failed to satisfy constraint: "
                      "Member must have length less than or equal to 6291456")], 413, "body_too_large", 1,
    ),
    "a body that SageMaker misses": (
        [fake.refusal("ValidationError", "1 validation error detected: Value at 'body' failed to satisfy constraint: "
                      "Member must not be null")], 400, "empty_body", 1,
    ),
    "another validation error": ([fake.refusal("ValidationError", "x")], 502, "endpoint_failed", 1),
    "a role that may not": (
        [fake.refusal("AccessDeniedException", "User: arn:aws:sts::1:x is not authorized", status=403)],
        502, "endpoint_failed", 1,
    ),
    "a proxy's page": ([fake.said(502, "<html>Bad Gateway</html>")], 502, "endpoint_failed", 1),
    "nothing": ([fake.said(500, "")], 502, "endpoint_failed", 1),
    "a container that hangs": ([fake.model_error(0, NOT_READY)], 504, "endpoint_timeout", 1),
    "a container that dies": ([fake.model_error(0, "closed the connection")], 502, "endpoint_failed", 1),
    "a container that is none of ours": ([fake.model_error(500, "Internal Server Error")], 502, "endpoint_failed", 1),
    "a container that refuses": ([fake.model_error(400, "Invalid HTTP request")], 502, "endpoint_failed", 1),
    "a container that finds it too large": ([fake.model_error(413, "too large")], 413, "body_too_large", 1),
    "a problem that was cut": ([fake.model_error(500, LONG[:1000])], 500, "model_failed", 0),
    "a problem that was cut early": ([fake.model_error(503, LONG[:30])], 503, "endpoint_failed", 0),
    "a ModelError without parts": ([fake.said(424, {"Message": "x"}, kind="ModelError")], 502, "endpoint_failed", 1),
    "a ModelError with wrong parts": (
        [fake.said(424, {"OriginalStatusCode": "a", "OriginalMessage": [1]}, kind="ModelError")],
        502, "endpoint_failed", 1,
    ),
    "a ModelError that is no JSON": ([fake.said(424, "{", kind="ModelError")], 502, "endpoint_failed", 1),
    "lost": ([fake.reset] * 2, 502, "endpoint_failed", 1),
    "half an answer": (
        [fake.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{")], 502, "endpoint_failed", 1,
    ),
    "no attributes": ([fake.said(200, {"predictions": []})], 502, "endpoint_failed", 1),
}  # fmt: skip
WRONG_ATTRIBUTES = {
    "that are no JSON": "{",
    "that are a list": "[]",
    "without a status": "{}",
    "with a status as text": '{"status":"200"}',
    "with a status that is none": '{"status":99}',
    "with headers as text": '{"status":200,"h":"x"}',
    "with a header that is two": '{"status":200,"h":{"a":"b\\r\\nc: d"}}',
    "with a number for a header": '{"status":200,"h":{"a":1}}',
}
for _name, _attributes in WRONG_ATTRIBUTES.items():
    HARMS[f"attributes {_name}"] = (
        [lambda handler, _asked, text=_attributes: handler.reply(
            200, {"Content-Type": "application/json", fake.ATTRIBUTES: text}, b"{}")],
        502, "endpoint_failed", 1,
    )  # fmt: skip
HARMS["JSON that is not UTF-8"] = (
    [lambda handler, _asked: handler.reply(
        200, {"Content-Type": "application/json", fake.ATTRIBUTES: '{"status":200}'}, b'"\xff"')],
    502, "endpoint_failed", 1,
)  # fmt: skip


@pytest.mark.parametrize("case", HARMS)
@pytest.mark.parametrize("made", [instances(), EVERY["OIP"]], ids=["instances", "OIP"])
def test_whatever_sagemaker_does_its_caller_gets_a_problem_and_the_log_a_line(service, function, case, made):
    harms, status, code, lines = HARMS[case]
    service.harms = list(harms)
    answer = function.send(made)
    assert (answer.status, answer.code) == (status, code)
    assert ("error" in answer.json) == (made is EVERY["OIP"])
    assert answer.json["request_id"] == made["requestContext"]["requestId"]
    assert "next_step" in answer.json
    for secret in ("111122223333", "arn:aws", "Traceback", "html", "log-group"):
        assert secret not in answer.content.decode()
    assert ("retry-after" in answer.headers) == (code in ("throttled", "endpoint_unavailable"))
    assert len(function.audited) == lines
    for line in function.audited:
        assert (line["status"], line["code"], line["model"]) == (status, code, "weather")
        assert line["caller"] == "arn:aws:iam::111122223333:user/forecast-app"
        assert line["errors"] == int(status >= 500)
    assert service.harms == []
    assert function.send(instances()).status == 200


def test_what_sagemaker_said_is_in_the_log(service, function):
    service.harms = [fake.refusal("AccessDeniedException", "role x may not", status=403)]
    function.send(instances())
    (failure,) = [line for line in function.lines if line["kind"] == "event"]
    assert "AccessDeniedException: role x may not" in "".join(failure["traceback"])


def test_silence_ends_before_lambda_would_end_the_function(service, function):
    service.harms = [fake.silence(5)]
    ends = time.monotonic() + 0.8
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: int((ends - time.monotonic()) * 1000))
    answer = function.send(instances(), context)
    assert (answer.status, answer.code) == (504, "endpoint_timeout")
    assert time.monotonic() < ends
    assert len(function.audited) == 1


def test_what_nobody_expected_is_a_problem_and_two_lines(function, monkeypatch):
    monkeypatch.setattr(type(function.module.WAY_IN._runtime), "invoke", lambda *_a, **_k: 1 / 0)
    answer = function.send(instances())
    assert (answer.status, answer.code) == (500, "internal")
    assert sorted(line["kind"] for line in function.lines) == ["audit", "event"]


# -- what it costs to start -------------------------------------------------------------------------------------------

FORBIDDEN = [
    "boto3", "botocore", "fastapi", "pydantic", "aws_xray_sdk", "aws_lambda_powertools", "asyncio", "orjson", "mangum",
    "logging", "urllib.request", "http.client", "dataclasses", "email", "numpy", "onnxruntime", "obstore", "ssl",
    "modelyard.serving.endpoint", "modelyard.serving.feedback", "modelyard.way_in.later_s3",
]  # fmt: skip


def test_a_cold_start_with_an_answer_imports_none_of_the_heavy_libraries(service):
    assert imported_by("functions.invoke", instances(), service.environment, of=FORBIDDEN) == []


def test_an_incomplete_environment_fails_at_start_and_names_what_is_missing():
    said = refusal_of("functions.invoke", {"MODELYARD_TARGET": "sagemaker-async"})
    for name in ("MODELYARD_MODEL", "MODELYARD_SAGEMAKER_ENDPOINT", "MODELYARD_ARTIFACT_BUCKET"):
        assert f"{name} is not set" in said
