"""One event in, one response out: statuses, problem documents, audit lines, and that nothing gets past them."""

import copy
import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest

from modelyard.errors import ModelError, RequestError, UsageError
from modelyard.predictor.predictor import Predictor
from modelyard.predictor.reader import read_instances
from modelyard.serving.audit import utc
from modelyard.serving.endpoint import Endpoint
from modelyard.serving.follow import PointerFollower
from modelyard.serving.problem import problem_response
from modelyard.serving.response import MAX_RESPONSE_BYTES
from modelyard.serving.settings import EndpointSettings
from tests.fakes import onnx_models
from tests.fakes.objects import InMemoryObjects, promote
from tests.fakes.runtime_client import runtime_client

EVENT = json.loads((Path(__file__).parents[1] / "events" / "http_api_v2_predict.json").read_text())
CONTEXT = SimpleNamespace(aws_request_id="8f5f1c1e-0c5e-4f0e-9d0a-6b1f0e9c2d11")


def event(instances=None, **changes) -> dict:
    changed = copy.deepcopy(EVENT)
    if instances is not None:
        changed["body"] = json.dumps({"instances": instances})
    changed.update(changes)
    return changed


class Stand:
    """An endpoint for one model whose predictor a test can replace."""

    def __init__(self, model: bytes | None) -> None:
        self.objects = InMemoryObjects()
        if model is not None:
            self.pointer = promote(self.objects, "seattle_weather", model, version=2, revision=3)
        self.replaced = None
        follower = PointerFollower(self.objects, "seattle_weather", refresh_s=10.0, load=self._load)
        self.endpoint = Endpoint(follower, model="seattle_weather")
        self.endpoint.start()

    def _load(self, deployed, fetch):
        return self.replaced or Predictor.load(fetch(deployed.file), signature=deployed.signature)

    def ask(self, event, context=CONTEXT) -> tuple[int, dict]:
        response = self.endpoint.handle(event, context)
        assert set(response) == {"statusCode", "headers", "body", "isBase64Encoded"}
        expected = "application/json" if response["statusCode"] == 200 else "application/problem+json"
        assert response["headers"]["content-type"] == expected
        return response["statusCode"], json.loads(response["body"], parse_constant=pytest.fail)


@pytest.fixture
def stand(capsys) -> Stand:
    made = Stand(onnx_models.row_sum())
    capsys.readouterr()
    return made


def answering_with(answer) -> Stand:
    stand = Stand(None)
    stand.replaced = SimpleNamespace(answer=lambda body, structs: (answer(read_instances(body)), []))
    promote(stand.objects, "seattle_weather", onnx_models.row_sum(), version=2, revision=3)
    return stand


def lines(capsys, kind="audit") -> list[dict]:
    written = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [line for line in written if line["kind"] == kind]


def raising(error):
    def answer(instances):
        raise error

    return answer


# -- the answer -------------------------------------------------------------------------------------------------------


def test_an_answer_names_model_version_digest_and_a_prediction_id_of_its_own(stand):
    status, first = stand.ask(EVENT)
    _, second = stand.ask(EVENT)
    assert status == 200
    assert first == {
        "model": "seattle_weather",
        "version": 2,
        "digest": stand.pointer["champion"]["digest"],
        "prediction_id": first["prediction_id"],
        "predictions": [3.0],
    }
    assert first["prediction_id"] != second["prediction_id"]


def test_a_refusal_is_a_problem_with_code_request_id_field_and_row(stand):
    status, problem = stand.ask(event([{"x": [1, 2]}, {"x": ["1", 2]}]))
    assert status == 400
    assert problem == {
        "type": "about:blank",
        "title": "Bad Request",
        "status": 400,
        "code": "wrong_type",
        "detail": "'x' of instance 1 at [0] is a string ('1'); float32 takes a number",
        "request_id": "UZQ8ijNXjoEEJ6Q=",
        "field": "x",
        "row": 1,
    }


def test_without_a_deployment_the_answer_is_503_and_says_what_to_do(capsys):
    stand = Stand(None)
    status, problem = stand.ask(EVENT)
    assert (status, problem["code"], problem["title"]) == (503, "no_deployment", "Service Unavailable")
    assert problem["next_step"].startswith("Promote a version")
    promote(stand.objects, "seattle_weather", onnx_models.row_sum(), version=1, revision=1)
    assert stand.ask(EVENT)[0] == 200


def test_a_model_that_raises_is_500_with_its_cause_in_the_log_only(capsys):
    stand = Stand(onnx_models.fails_unless_two_rows())
    status, problem = stand.ask(event([1.0, 2.0, 3.0]))
    assert (status, problem["code"]) == (500, "model_failed")
    assert "Reshape" not in json.dumps(problem)
    (failure,) = [line for line in lines(capsys, "event") if line["event"] == "request_failed"]
    assert failure["request_id"] == "UZQ8ijNXjoEEJ6Q="
    assert "Reshape" in "".join(failure["traceback"])


def test_an_answer_that_is_not_finite_is_500_and_never_invalid_json():
    status, problem = Stand(onnx_models.logarithm()).ask(event([1.0, -1.0]))
    assert (status, problem["code"], problem["row"]) == (500, "not_finite", 1)


@pytest.mark.parametrize("error", [ZeroDivisionError("secret"), MemoryError("secret"), RecursionError("secret")])
def test_what_nobody_expected_is_500_without_a_traceback_in_the_body(capsys, error):
    status, problem = answering_with(raising(error)).ask(EVENT)
    assert (status, problem["code"]) == (500, "internal")
    assert "secret" not in json.dumps(problem)
    written = capsys.readouterr().out
    assert "secret" in written
    assert all(json.loads(line) for line in written.splitlines())


@pytest.mark.parametrize("value", ["\ud800", object()])
def test_an_answer_that_is_not_json_is_the_models_failure(value):
    status, problem = answering_with(lambda instances: [value]).ask(EVENT)
    assert (status, problem["code"]) == (500, "wrong_output")


def test_text_of_a_models_own_code_that_is_not_utf8_still_makes_a_problem():
    refused = RequestError("no \ud800", field="\ud800", next_step="\ud800")
    status, problem = answering_with(raising(refused)).ask(EVENT)
    assert (status, problem["detail"]) == (400, "no ?")


@pytest.mark.parametrize(
    "changed", [None, [], "text", 5, {}, {"requestContext": None}, {"requestContext": [], "headers": [], "body": 5}]
)
def test_an_event_of_any_other_form_is_answered_too(stand, changed):
    status, problem = stand.ask(changed)
    assert status in (400, 415, 500)
    assert problem["request_id"] == CONTEXT.aws_request_id


def test_without_event_and_context_there_is_still_a_request_id(stand):
    assert stand.ask({}, None)[1]["request_id"] == "unknown"


# -- Lambda's limit on the response -----------------------------------------------------------------------------------


@pytest.mark.parametrize("python", ["3.11", "3.12"])
@pytest.mark.parametrize("character", ["a", '"', "\\", "\u65e5", "\n", "\x7f", "\U0001f326"])
def test_no_response_is_larger_than_lambda_returns(character, python, monkeypatch):
    """The largest that is let through fits, and the next larger one is a 413 instead of a caller's 502."""
    written = runtime_client(python, monkeypatch)
    stand = answering_with(lambda instances: [character * instances[0]])
    one, two = (written(stand.endpoint.handle(event([count]), CONTEXT)) for count in (1, 2))
    fits = 1 + (MAX_RESPONSE_BYTES - one) // (two - one)
    response = stand.endpoint.handle(event([fits]), CONTEXT)
    assert response["statusCode"] == 200
    assert MAX_RESPONSE_BYTES - (two - one) < written(response) <= MAX_RESPONSE_BYTES
    status, problem = stand.ask(event([fits + 1]))
    assert (status, problem["code"]) == (413, "response_too_large")
    assert f"{one + fits * (two - one):,} bytes as Lambda writes it" in problem["detail"]
    assert "for 1 instance has" in problem["detail"]
    assert "Split" not in problem["next_step"]


# -- the audit line ---------------------------------------------------------------------------------------------------


def test_an_answered_request_leaves_one_audit_line_without_its_payload(stand, capsys):
    _, answer = stand.ask(event([[1.25, 2.5], [3.75, 4.5]]))
    (line,) = lines(capsys)
    assert line["latency_ms"] > 0
    assert line["time"].endswith("Z")
    assert {key: value for key, value in line.items() if key not in ("latency_ms", "time", "_aws")} == {
        "kind": "audit",
        "model": "seattle_weather",
        "version": 2,
        "digest": answer["digest"],
        "prediction_id": answer["prediction_id"],
        "request_id": "UZQ8ijNXjoEEJ6Q=",
        "protocol": "instances",
        "caller": "arn:aws:iam::111122223333:user/forecast-app",
        "account": "111122223333",
        "outcome": "answered",
        "status": 200,
        "code": "ok",
        "instances": 2,
        "warned": 0,
        "refused": 0,
        "errors": 0,
    }
    assert "1.25" not in json.dumps(line)


def test_the_audit_line_is_valid_embedded_metric_format(stand, capsys):
    stand.ask(EVENT)
    (line,) = lines(capsys)
    assert isinstance(line["_aws"]["Timestamp"], int)
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "Modelyard"
    for dimension in directive["Dimensions"][0]:
        assert isinstance(line[dimension], str)
    for metric in directive["Metrics"]:
        assert isinstance(line[metric["Name"]], int | float)


def test_a_refused_request_leaves_an_audit_line_with_caller_and_live_version(stand, capsys):
    stand.ask(event(body="{"))
    (line,) = lines(capsys)
    assert (line["outcome"], line["status"], line["code"], line["version"]) == ("refused", 400, "invalid_json", 2)
    assert (line["prediction_id"], line["instances"], line["refused"], line["errors"]) == (None, 0, 1, 0)
    assert line["caller"] == "arn:aws:iam::111122223333:user/forecast-app"


@pytest.mark.parametrize("error", [ModelError("failed"), ValueError("failed")])
def test_a_failed_request_leaves_an_audit_line(capsys, error):
    answering_with(raising(error)).ask(EVENT)
    (line,) = lines(capsys)
    assert (line["outcome"], line["status"], line["errors"], line["prediction_id"]) == ("failed", 500, 1, None)


def test_a_failed_request_is_counted_by_the_functions_version_and_no_other_is(stand, capsys, monkeypatch):
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_VERSION", "17")
    answering_with(raising(ValueError("failed"))).ask(EVENT)
    stand.ask(event(body="{"))
    stand.ask(EVENT)
    failed, refused, answered = lines(capsys)
    by_model, by_code = failed["_aws"]["CloudWatchMetrics"]
    assert by_model["Dimensions"] == [["model"]]
    assert (by_code["Dimensions"], [metric["Name"] for metric in by_code["Metrics"]]) == (
        [["model", "function_version"]],
        ["errors"],
    )
    assert failed["function_version"] == "17"
    for line in (refused, answered):
        assert "function_version" not in line
        assert len(line["_aws"]["CloudWatchMetrics"]) == 1


def test_the_caller_is_never_read_from_a_header(stand, capsys):
    forged = dict.fromkeys(("x-caller", "x-amzn-iam-arn", "x-amzn-caller", "userarn", "user"), "arn:aws:iam::1:root")
    changed = event(headers={**EVENT["headers"], **forged})
    del changed["requestContext"]["authorizer"]
    stand.ask(changed)
    (line,) = lines(capsys)
    assert (line["caller"], line["account"]) == (None, None)


NO_TEXT = {"iam": {"userArn": [], "accountId": {}}}, {"iam": {"userArn": 1, "accountId": True}}


@pytest.mark.parametrize("authorizer", [None, {}, {"iam": None}, {"jwt": {"claims": {}}}, [], "iam", *NO_TEXT])
def test_an_authorizer_of_another_kind_leaves_the_caller_out(stand, capsys, authorizer):
    changed = event()
    changed["requestContext"]["authorizer"] = authorizer
    assert stand.ask(changed)[0] == 200
    (line,) = lines(capsys)
    assert (line["caller"], line["account"]) == (None, None)


def test_text_of_a_caller_cannot_start_a_line_of_its_own(stand, capsys):
    forged = '{"x": [1, 2], "a\\n{\\"kind\\": \\"audit\\"}": 1}'
    stand.ask(event(body='{"instances": [' + forged + "]}", requestContext={"requestId": 'x\n{"kind": "audit"}'}))
    assert len(lines(capsys)) == 1


def test_an_audit_line_is_written_even_for_text_that_is_not_utf8(stand, capsys):
    status, _ = stand.ask(event(requestContext={"requestId": "\ud800"}))
    (line,) = lines(capsys)
    assert (status, line["kind"], line["status"]) == (200, "audit", 200)


def test_times_are_written_in_utc_with_microseconds():
    assert utc(1_795_255_200_000_001_999) == "2026-11-21T10:00:00.000001Z"


# -- the environment --------------------------------------------------------------------------------------------------


def test_the_environment_is_read_into_types():
    settings = EndpointSettings.read(
        {
            "MODELYARD_MODEL": "seattle_weather",
            "MODELYARD_ARTIFACT_BUCKET": "artifacts",
            "MODELYARD_REFRESH_S": "2.5",
            "MODELYARD_CODE": "",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "3538",
        }
    )
    assert (settings.model, settings.artifact_bucket) == ("seattle_weather", "artifacts")
    assert (settings.refresh_s, settings.code, settings.memory_mb) == (2.5, None, 3538)


@pytest.mark.parametrize("refresh", ["0", "-1", "soon", "nan", "inf"])
def test_an_incomplete_environment_is_refused_whole(refresh):
    with pytest.raises(UsageError) as caught:
        EndpointSettings.read({"MODELYARD_REFRESH_S": refresh})
    for name in ("MODELYARD_MODEL", "MODELYARD_ARTIFACT_BUCKET", "MODELYARD_REFRESH_S"):
        assert name in caught.value.message


def test_a_problem_of_an_unusual_status_still_has_a_title():
    response = problem_response(RequestError("odd", status=418), request_id="r")
    assert json.loads(response["body"])["title"] == "Error"
    assert math.isclose(response["statusCode"], 418)
