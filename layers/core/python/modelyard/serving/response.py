"""HTTP API responses (payload format 2.0), held to the size that Lambda returns."""

import binascii
from typing import Any

from modelyard.errors import RequestError

MAX_RESPONSE_BYTES = 6_291_556
"""Lambda's limit on the response as it encodes it; above it, it would log success and the caller would get a 502."""

_ENVELOPE_BYTES = 128  # status, keys and the header of JSON around the body
_JSON_HEADERS = {"content-type": "application/json"}


def json_response(body: bytes, *, instances: int = 1, status: int = 200) -> dict[str, Any]:
    """A response with a JSON body.

    Args:
        body: JSON, UTF-8.
        instances: How many it answers, for the message.
        status: HTTP status.

    Raises:
        RequestError: When Lambda would not return it (code ``response_too_large``).
    """
    if 2 * len(body) + _ENVELOPE_BYTES > MAX_RESPONSE_BYTES:
        # Lambda writes it as a JSON string, in which two characters of JSON text become two each.
        _refuse_large(len(body) + body.count(b'"') + body.count(b"\\"), instances)
    return {"statusCode": status, "headers": _JSON_HEADERS, "body": body.decode(), "isBase64Encoded": False}


def binary_response(body: bytes, headers: dict[str, str], *, instances: int) -> dict[str, Any]:
    """A response with a body of bytes, which travels as base64.

    Raises:
        RequestError: When Lambda would not return it (code ``response_too_large``).
    """
    named = sum(len(name) + len(value) + 8 for name, value in headers.items())  # each in quotes, colon, comma, blanks
    _refuse_large((len(body) + 2) // 3 * 4 + named, instances)
    text = binascii.b2a_base64(body, newline=False).decode()
    return {"statusCode": 200, "headers": headers, "body": text, "isBase64Encoded": True}


def _refuse_large(size: int, instances: int) -> None:
    if size + _ENVELOPE_BYTES > MAX_RESPONSE_BYTES:
        raise RequestError(
            f"the answer for {instances:,} instances has {size:,} bytes as Lambda writes it; it returns at most "
            f"{MAX_RESPONSE_BYTES:,}",
            code="response_too_large",
            status=413,
            next_step="Split the instances over several requests.",
        )
