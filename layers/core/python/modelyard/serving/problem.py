"""Errors as ``application/problem+json`` (RFC 9457), in the form of an HTTP API response.

The rule: a caller sees what was wrong, where, and what to do next; never a traceback, never a cause.
"""

from typing import Any

from modelyard.errors import ModelyardError
from modelyard.serving.json_text import json_text

CONTENT_TYPE = "application/problem+json"

_TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    409: "Conflict",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


def problem_response(error: ModelyardError, *, request_id: str, as_v2: bool = False) -> dict[str, Any]:
    """The response that tells a caller about an error.

    Args:
        error: What happened; its cause stays out. Some have ``headers``, as ``allow``, to say beside the problem.
        request_id: With which the caller and the log can be brought together.
        as_v2: Whether the caller speaks the Open Inference Protocol, whose clients look for ``error``.
    """
    problem: dict[str, Any] = {
        "type": "about:blank",
        "title": _TITLES.get(error.status, "Error"),
        "status": error.status,
        "code": error.code,
        "detail": error.message,
        "request_id": request_id,
    }
    for key in ("field", "row", "next_step"):
        value = getattr(error, key)
        if value is not None:
            problem[key] = value
    if as_v2:
        problem["error"] = error.message
    return {
        "statusCode": error.status,
        "headers": {"content-type": CONTENT_TYPE, **getattr(error, "headers", {})},
        "body": json_text(problem),
        "isBase64Encoded": False,
    }
