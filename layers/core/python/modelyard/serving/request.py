"""What was asked: content type and body of an API Gateway HTTP API event (payload format 2.0).

The rule: read nothing from the caller that the caller could have forged (who is asking comes from the authorizer, see
`audit.py`), expand nothing (a compressed body is refused, not unpacked), and refuse before parsing what is too large.
"""

import binascii
from typing import Any

from modelyard.errors import RequestError

MAX_BODY_BYTES = 6_291_456
"""6 MiB, after base64: Lambda's own limit is on the whole event and lies 100 bytes higher."""

LARGE_BASE64 = 16 << 10
"""Characters from which on a library of ours decodes them; Python takes 30 us for so many."""

JSON = "application/json"
NPY = "application/x-npy"
ARROW = "application/vnd.apache.arrow.stream"


def headers_of(event: Any) -> dict[str, Any]:
    """The request's headers, names in lower case as API Gateway gives them; empty where there are none.

    Raises:
        RequestError: For an event that API Gateway did not make (code ``invalid_event``).
    """
    if not isinstance(event, dict) or "requestContext" not in event:
        raise RequestError(
            "the event is not an API Gateway HTTP API event, payload format 2.0",
            code="invalid_event",
            next_step="Call the endpoint through its HTTP API.",
        )
    headers = event.get("headers")
    return headers if isinstance(headers, dict) else {}


def accepted_type(headers: dict[str, Any]) -> str:
    """In which form of ``/predict`` the caller wants the answer: NPY or Arrow where ``accept`` names it, else JSON."""
    accept = str(headers.get("accept", "")).lower()
    return preferred(accept, (NPY, ARROW)) if NPY in accept or ARROW in accept else JSON


def preferred(accept: str, forms: tuple[str, ...]) -> str:
    """Which of these forms is wanted most, the first of those that are wanted alike; JSON where none is, or JSON more.

    Args:
        accept: The header, in lower case; a form with ``q=0`` is one that is not wanted.
        forms: As content types.
    """
    wanted = {}
    for one in accept.split(","):
        name, *parameters = one.split(";")
        wanted[name.strip()] = min((_quality(parameter) for parameter in parameters), default=1.0)
    best = max((*forms, JSON), key=lambda form: wanted.get(form, 0.0))
    return best if wanted.get(best, 0.0) > 0 else JSON


def _quality(parameter: str) -> float:
    name, _, value = parameter.partition("=")
    try:
        quality = float(value) if name.strip() == "q" else 1.0
    except ValueError:
        return 1.0
    return quality if 0 <= quality <= 1 else 1.0


def read_body(event: Any, *, allowed: tuple[str, ...] = (JSON,)) -> tuple[str, str | bytes]:
    """Content type and body: text as it came, bytes where it came as base64.

    Args:
        event: The Lambda event.
        allowed: Content types that are taken.

    Raises:
        RequestError: With the status and code for what is wrong with the event, its headers or its body.
    """
    headers = headers_of(event)
    said = str(headers.get("content-type", ""))
    content_type = said.partition(";")[0].strip().lower()
    if content_type not in allowed:
        raise RequestError(
            f"the content type is {said[:80]!r}; it must be {' or '.join(map(repr, filter(None, allowed)))}",
            code="unsupported_media_type",
            status=415,
            next_step=f"Send the header 'content-type: {allowed[0]}'.",
        )
    encoding = str(headers.get("content-encoding", "")).strip().lower()
    if encoding not in ("", "identity"):
        raise RequestError(
            f"the content encoding is {encoding[:80]!r}; compressed bodies are not unpacked",
            code="unsupported_encoding",
            status=415,
            next_step="Send the body as it is, without content-encoding.",
        )
    body = event.get("body")
    if type(body) is bytes and body:  # a server's, which has held it to a limit of its own
        return content_type, body
    if not isinstance(body, str) or not body:
        raise RequestError(
            "the body is empty", code="empty_body", next_step="Send one; GET /models/<model>/openapi.json has examples."
        )
    if not event.get("isBase64Encoded"):
        # A character is at most 4 bytes: only a long text has to be encoded to know its size.
        _refuse_large(len(body) if len(body) * 4 <= MAX_BODY_BYTES else len(body.encode("utf-8", "replace")))
        return content_type, body
    _refuse_large(len(body) * 3 // 4 - body[-2:].count("="))
    try:
        return content_type, _decoded(body)
    except ValueError as error:
        raise RequestError(f"the body is not valid base64: {error}", code="invalid_base64") from None


def _decoded(body: str) -> bytes:
    if len(body) < LARGE_BASE64:
        return binascii.a2b_base64(body, strict_mode=True)
    from modelyard.serving.base64_body import decoded

    return decoded(body)


def _refuse_large(size: int) -> None:
    if size > MAX_BODY_BYTES:
        raise RequestError(
            f"the body has {size:,} bytes; at most {MAX_BODY_BYTES:,} are allowed",
            code="body_too_large",
            status=413,
            next_step="Split the instances over several requests.",
        )
