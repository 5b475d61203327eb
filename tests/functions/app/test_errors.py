"""What an app raises, refuses or never finishes is a problem for its caller, and the log has the cause."""

import json
import time
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest

from modelyard.serving.response import MAX_RESPONSE_BYTES
from tests.fakes import onnx_models
from tests.fakes.app_function import ROW, asking, notes
from tests.fakes.objects import promote
from tests.fakes.runtime_client import runtime_client


@pytest.mark.parametrize("path", ["/raises/error", "/raises/exit", "/yield?fail=1", "/stream/2?fail=1"])
def test_what_the_app_raises_is_a_problem_without_the_cause_and_the_log_has_it(sums, path):
    path, _, query = path.partition("?")
    response = sums.raw(asking("GET", path, query=query))
    problem = json.loads(response["body"])
    assert (response["statusCode"], problem["code"]) == (500, "app_failed")
    assert response["headers"]["content-type"] == "application/problem+json"
    assert not any(word in response["body"] for word in ("secret", "resource", "Traceback", "middle", ".py"))
    (line,) = sums.audits
    assert (line["status"], line["code"], line["errors"]) == (500, "app_failed", 1)
    (failed,) = [line for line in sums.read() if line.get("event") == "request_failed"]
    assert any(word in "".join(failed["traceback"]) for word in ("secret", "resource", "middle"))


def test_an_app_in_debug_mode_shows_its_callers_no_traceback(sums):
    sums.module.ENDPOINT._app.debug = True
    status, problem = sums.ask(asking("GET", "/raises/error"))
    assert (status, problem["code"]) == (500, "app_failed")


def test_what_the_model_refuses_is_the_standard_problem(sums):
    status, problem = sums.ask(asking("GET", "/raises/wrong"))
    assert (status, problem["code"], problem["row"]) == (400, "wrong_type", 0)
    (line,) = sums.audits
    assert (line["status"], line["code"], line["refused"]) == (400, "wrong_type", 1)


@pytest.mark.parametrize(("path", "status"), [("/raises/teapot", 418), ("/status/422", 422), ("/status/503", 503)])
def test_an_error_that_the_app_answers_itself_is_its_own(sums, path, status):
    found, body = sums.ask(asking("GET", path))
    assert (found, set(body) & {"own", "detail"}) == (status, set(body))
    (line,) = sums.audits
    assert (line["status"], line["refused"], line["errors"]) == (status, int(status < 500), int(status >= 500))


def test_an_apps_own_handler_for_every_error_makes_the_answer(bucket, start):
    promote(bucket, "sums", onnx_models.row_sum(), version=1, revision=1)
    function = start("tests.fakes.web_app_that_handles:app")
    assert function.ask(asking("GET", "/"))[1] == {"sorry": "KeyError"}
    assert "app_failed" in function.events()
    assert [line["status"] for line in function.audits] == [500]


def test_in_debug_mode_a_handler_is_not_asked_and_no_traceback_answered(bucket, start):
    promote(bucket, "sums", onnx_models.row_sum(), version=1, revision=1)
    status, problem = start("tests.fakes.web_app_that_handles:debugged").ask(asking("GET", "/"))
    assert (status, problem["code"]) == (500, "app_failed")


def test_a_body_that_the_app_refuses_is_fastapis_answer(sums):
    status, body = sums.ask(asking("POST", "/sum", {"left": "x"}))
    assert status == 422
    assert [error["loc"] for error in body["detail"]] == [["body", "left"], ["body", "right"]]


def test_an_app_that_ends_the_loop_harms_no_later_request(sums):
    before = sums.ask(asking("GET", "/loop"))[1]
    assert sums.ask(asking("GET", "/interrupts"))[1] == "still here"
    assert sums.ask(asking("GET", "/loop"))[1] == before
    assert "app_loop_interrupted" in sums.events()


@pytest.mark.parametrize(
    "change",
    [
        {"version": "1.0"},
        {"requestContext": {"requestId": "1"}},
        {"headers": {"host": "a:b:c"}},
        {"headers": ["host"]},
        {"body": "x", "isBase64Encoded": True},
        {"body": 7},
        {"rawQueryString": 7},
    ],
    ids=str,
)
def test_an_event_that_api_gateway_did_not_make_is_refused(sums, change):
    status, problem = sums.ask(asking("POST", "/sum", ROW) | change)
    assert (status, problem["code"]) == (400, "invalid_event")
    assert len(sums.audits) == 1


@pytest.mark.parametrize(("beyond", "status"), [(-1, 200), (0, 200), (1, 413)])
@pytest.mark.parametrize(
    ("python", "letter", "bytes_each"),
    [("3.12", "a", 1), ("3.12", "\n", 2), ("3.12", "é", 2), ("3.11", "é", 6), ("3.11", '"', 2)],
)
def test_an_answer_is_held_to_what_lambda_returns(sums, python, letter, bytes_each, beyond, status, monkeypatch):
    written = runtime_client(python, monkeypatch)

    def answer(size: int) -> dict[str, Any]:
        return sums.raw(asking("GET", f"/large/{size}", query=f"letter={quote(letter)}"))

    size = (MAX_RESPONSE_BYTES - written(answer(1_000_000))) // bytes_each + 1_000_000
    assert MAX_RESPONSE_BYTES - bytes_each < written(answer(size)) <= MAX_RESPONSE_BYTES
    response = answer(size + beyond)
    assert response["statusCode"] == status
    if status == 413:
        assert json.loads(response["body"])["code"] == "response_too_large"


def test_a_stream_that_never_ends_is_given_up(sums):
    status, problem = sums.ask(asking("GET", "/stream/1000000000", query="size=1000000"))
    assert (status, problem["code"]) == (413, "response_too_large")
    assert "all sent" not in notes()


def test_an_app_that_is_late_is_answered_for(sums):
    context = SimpleNamespace(aws_request_id="1", get_remaining_time_in_millis=lambda: 1500)
    began = time.monotonic()
    status, problem = sums.ask(asking("GET", "/sleep/30"), context)
    assert (status, problem["code"]) == (504, "app_timeout")
    assert time.monotonic() - began < 1.5
    (line,) = sums.audits
    assert (line["status"], line["latency_ms"] > 250) == (504, True)
