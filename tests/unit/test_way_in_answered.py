"""What the way in makes of a container's answer, and of what SageMaker says in its place."""

import json

import pytest

from modelyard.errors import ModelyardError
from modelyard.plain_http import Answer
from modelyard.serving.feedback import NotStoredError
from modelyard.way_in.answered import ATTRIBUTES, CutError, answered, failed_with
from modelyard.way_in.refusals import refused

PROBLEM = {"type": "about:blank", "title": "x", "status": 503, "code": "feedback_not_stored", "detail": "d"}


def reply(body: bytes, kind: str = "application/json", attributes: str = '{"status":200}') -> Answer:
    return Answer(200, {"content-type": kind, ATTRIBUTES: attributes}, body)


@pytest.mark.parametrize(
    "kind", ["application/json", "application/problem+json", "text/csv", "text/plain; charset=utf-8"]
)
def test_text_comes_as_text(kind):
    response = answered(reply("天気".encode(), kind)).response
    assert response == {"statusCode": 200, "headers": {"content-type": kind}, "body": "天気", "isBase64Encoded": False}


@pytest.mark.parametrize(
    "kind", ["application/x-npy", "application/octet-stream", "application/vnd.apache.arrow.stream"]
)
def test_bytes_come_as_base64(kind):
    response = answered(reply(b"\xff\x00", kind)).response
    assert response == {"statusCode": 200, "headers": {"content-type": kind}, "body": "/wA=", "isBase64Encoded": True}


def test_a_status_and_headers_of_the_containers_are_the_callers():
    outcome = answered(
        reply(json.dumps({**PROBLEM, "status": 405}).encode(), attributes='{"status":405,"h":{"allow":"POST"}}')
    )
    assert outcome.response["statusCode"] == 405
    assert outcome.response["headers"] == {"content-type": "application/json", "allow": "POST"}
    assert (outcome.code, outcome.audited) == ("feedback_not_stored", True)


def test_a_problem_is_handed_on_to_the_byte_with_the_header_that_model_error_loses():
    text = json.dumps(PROBLEM, separators=(",", ":"))
    outcome = failed_with(503, text)
    assert outcome is not None
    assert outcome.response["body"] == text
    assert outcome.response["headers"] == {"content-type": "application/problem+json", **NotStoredError.headers}


@pytest.mark.parametrize("length", range(21, 80, 7))
def test_wherever_a_problem_is_cut_it_is_known_for_one(length):
    text = json.dumps(PROBLEM, separators=(",", ":"))
    end_of_code = text.index(',"detail"')
    with pytest.raises(CutError) as raised:
        failed_with(503, text[:length])
    assert raised.value.status == 503
    assert raised.value.code == ("feedback_not_stored" if length >= end_of_code else "endpoint_failed")


@pytest.mark.parametrize("text", ["", "{}", "null", "Internal Server Error", '{"code": 5}', "[" * 100_000])
def test_what_is_no_problem_of_ours_is_none(text):
    assert failed_with(500, text) is None


@pytest.mark.parametrize("status", [400, 403, 404, 413, 418, 424, 429, 500, 502, 503, 504, 530, 599])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"Message": 5}', b"\xff", b'{"Message": null}'])
def test_whatever_sagemaker_answers_is_a_problem_with_a_next_step(status, body):
    with pytest.raises(ModelyardError) as raised:
        refused(Answer(status, {}, body))
    assert raised.value.status in (400, 413, 429, 502, 503, 504)
    assert raised.value.next_step
    assert raised.value.__cause__ is not None
