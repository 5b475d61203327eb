"""What was answered: the container's answer as an HTTP API response. Pure.

The rule: the response is the one that the Lambda target gives, to the byte. The container answers 200 whatever its own
status is, as long as that is below 500, and says in the custom attributes what it is; what it fails with comes as
SageMaker's ModelError, with the problem as its message. In a bucket there are no headers, so an asynchronous answer
begins with a line that says them.
"""

from typing import Any

import msgspec

from modelyard.errors import AWSError, ModelyardError
from modelyard.plain_http import Answer
from modelyard.serving.problem import CONTENT_TYPE
from modelyard.serving.response import binary_response, json_response

ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"
MOST_ENVELOPE_BYTES = 65_536
"""Longest first line of an asynchronous answer that is looked for."""

_TEXTS = ("application/json", CONTENT_TYPE, "text/")
_RETRY_AFTER = {"feedback_not_stored": "5"}
"""What these problems of the container's say in a header, which ModelError does not hand on."""

_OURS = '{"type":"about:blank"'
"""How a problem of `modelyard.serving.problem` begins, by which one is known that was cut."""

_decode = msgspec.json.decode


class Outcome:
    """What the caller gets.

    Attributes:
        response: The HTTP API response.
        code: ``ok``, or the problem's.
        audited: Whether the container wrote the audit line.
    """

    __slots__ = ("audited", "code", "response")

    def __init__(self, response: dict[str, Any], *, code: str = "ok", audited: bool = True) -> None:
        self.response = response
        self.code = code
        self.audited = audited


class Said(msgspec.Struct):
    """What the container says beside a body.

    Attributes:
        status: Its own status, below 500 but in a bucket.
        h: Headers that the caller gets.
        n: How many instances were answered.
        content_type: Of the body; in an envelope.
    """

    status: int
    h: dict[str, str] = {}  # which msgspec copies
    n: int = 1
    content_type: str = ""


class CutError(ModelyardError):
    """The container failed, said so, and SageMaker cut what it said; its log has the whole."""


def answered(answer: Answer) -> Outcome:
    """The response for a container that SageMaker calls well.

    Raises:
        RequestError: When Lambda would not return it (code ``response_too_large``).
        AWSError: When the container says nothing of itself, so that it is none of ours (code ``endpoint_failed``).
    """
    said = _said(answer.headers.get(ATTRIBUTES, "").encode("latin-1"))
    content_type = answer.headers.get("content-type", "")
    if said is None or not content_type:
        raise _failed("the endpoint's answer says nothing of its status, so it is not one of Modelyard's server")
    return Outcome(_response(said, content_type, answer.body), code=_code(said.status, answer.body))


def unfolded(content: bytes) -> Outcome:
    """The response for an asynchronous answer, as it lies in the bucket.

    Raises:
        ModelyardError: As `answered` does.
    """
    end = content.find(b"\n", 0, MOST_ENVELOPE_BYTES)
    said = _said(content[:end]) if end > 0 else None
    if said is None or not said.content_type:
        raise _failed("the endpoint's answer has no envelope, so it is not one of Modelyard's server")
    body = content[end + 1 :]
    return Outcome(_response(said, said.content_type, body), code=_code(said.status, body))


def failed_with(status: int, text: str) -> Outcome | None:
    """The response for what a container failed with; None when it is no problem of ours.

    Args:
        status: The container's.
        text: Its body.

    Raises:
        CutError: When it was ours, and its end is missing.
    """
    found = text.find(_OURS)
    if found < 0:
        return None
    body = _whole(text[found:])
    problem = _problem(body)
    if problem is not None:
        code = problem["code"]
        headers = {"content-type": CONTENT_TYPE}
        if code in _RETRY_AFTER:
            headers["retry-after"] = _RETRY_AFTER[code]
        response = {"statusCode": problem["status"], "headers": headers, "body": body, "isBase64Encoded": False}
        return Outcome(response, code=code)
    code, quote, _ = body.partition('"code":"')[2].partition('"')
    raise CutError(
        "the endpoint failed, and what it said did not come through whole",
        code=code if quote and code.isidentifier() and code.isascii() else "endpoint_failed",
        status=status if 500 <= status < 600 else 502,
        next_step="Look for the request id in the endpoint's log; it holds the cause.",
    )


def _whole(text: str) -> str:
    """The JSON value that a text begins with, without what SageMaker has put after it."""
    import json  # of the two readers of JSON the one that stops at a value's end; only where something failed

    try:
        return text[: json.JSONDecoder().raw_decode(text)[1]]
    except (ValueError, RecursionError):
        return text


def _problem(text: str) -> dict[str, Any] | None:
    try:
        problem = _decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    if type(problem) is not dict or type(problem.get("code")) is not str or type(problem.get("status")) is not int:
        return None
    return problem if 400 <= problem["status"] < 600 else None


def _said(text: bytes) -> Said | None:
    try:
        said = _decode(text, type=Said)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    headers = [said.content_type, *said.h, *said.h.values()]
    fine = all(text.isascii() and text.isprintable() for text in headers)
    return said if 200 <= said.status < 600 and fine else None


def _response(said: Said, content_type: str, body: bytes) -> dict[str, Any]:
    headers = {"content-type": content_type, **said.h}
    if not content_type.startswith(_TEXTS):
        return {**binary_response(body, headers, instances=said.n), "statusCode": said.status}
    try:
        response = json_response(body, instances=said.n, status=said.status)
    except UnicodeDecodeError as error:
        raise _failed(f"the endpoint's answer is {content_type} and not UTF-8") from error
    return {**response, "headers": headers}


def _code(status: int, body: bytes) -> str:
    if status < 400:
        return "ok"
    problem = _problem(body.decode(errors="replace"))
    return "refused" if problem is None else str(problem["code"])


def _failed(message: str) -> AWSError:
    return AWSError(message, code="endpoint_failed", next_step="Deploy the model's stack again.")
