"""HTTP API responses (payload format 2.0), held to the size that Lambda returns."""

import binascii
import os
from typing import Any

from modelyard.errors import RequestError

MAX_RESPONSE_BYTES = 6_291_556
"""Lambda's limit on the response as it encodes it; above it, it would log success and the caller would get a 502."""

ASCII_ONLY = os.environ.get("AWS_EXECUTION_ENV") not in {f"AWS_Lambda_python3.{minor}" for minor in range(12, 16)}
"""Whether Lambda's runtime client writes what is not ASCII as ``\\uXXXX``. It decides so by the same variable.
https://github.com/aws/aws-lambda-python-runtime-interface-client/blob/main/awslambdaric/lambda_runtime_marshaller.py"""

_FRAME_BYTES = len('{"statusCode": 200, "headers": {}, "body": "", "isBase64Encoded": true}')
_JSON_HEADERS = {"content-type": "application/json"}
_JSON_FRAME_BYTES = _FRAME_BYTES + len('"content-type": "application/json"') + len("false") - len("true")


def json_response(body: bytes, *, instances: int = 1, status: int = 200) -> dict[str, Any]:
    """A response with a JSON body.

    Args:
        body: JSON, UTF-8.
        instances: How many it answers, for the message.
        status: HTTP status.

    Raises:
        RequestError: When Lambda would not return it (code ``response_too_large``).
    """
    response = {"statusCode": status, "headers": _JSON_HEADERS, "body": body.decode(), "isBase64Encoded": False}
    # A byte of JSON becomes two at most, where it has to be escaped, and six where that is done to all but ASCII.
    if (6 if ASCII_ONLY else 2) * len(body) + _JSON_FRAME_BYTES > MAX_RESPONSE_BYTES:
        _check_size(written_bytes(response), instances)
    return response


def binary_response(body: bytes, headers: dict[str, str], *, instances: int) -> dict[str, Any]:
    """A response with a body of bytes, which travels as base64.

    Args:
        body: Anything.
        headers: Of plain ASCII; at least one.
        instances: How many it answers, for the message.

    Raises:
        RequestError: When Lambda would not return it (code ``response_too_large``).
    """
    named = sum(len(name) + len(value) + len('"": "", ') for name, value in headers.items()) - len(", ")
    _check_size((len(body) + 2) // 3 * 4 + named + _FRAME_BYTES, instances)
    text = binascii.b2a_base64(body, newline=False).decode()
    return {"statusCode": 200, "headers": headers, "body": text, "isBase64Encoded": True}


def written_bytes(response: dict[str, Any]) -> int:
    """How large ``response`` is as Lambda's runtime client writes it; takes a while where it is large."""
    import json  # which nobody needs before

    return len(json.dumps(response, ensure_ascii=ASCII_ONLY).encode("utf-8", "surrogatepass"))


def _check_size(size: int, instances: int) -> None:
    if size > MAX_RESPONSE_BYTES:
        raise too_large(size, instances)


def too_large(size: int, instances: int) -> RequestError:
    """The error for an answer that Lambda would not return."""
    one = instances == 1
    return RequestError(
        f"the answer for {instances:,} {'instance' if one else 'instances'} has {size:,} bytes as Lambda writes it; it "
        f"returns at most {MAX_RESPONSE_BYTES:,}",
        code="response_too_large",
        status=413,
        next_step="Ask for fewer outputs, by name, at /v2/models/<model>/infer."
        if one
        else "Split the instances over several requests.",
    )
