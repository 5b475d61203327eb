"""What was asked: the body of an API Gateway HTTP API event (payload format 2.0) as a list of instances.

The rule: read nothing from the caller that the caller could have forged (who is asking comes from the authorizer, see
`audit.py`), expand nothing (a compressed body is refused, not unpacked), and refuse before parsing what is too large.
"""

import binascii
from typing import Any

import orjson

from modelyard.errors import RequestError

MAX_BODY_BYTES = 6_291_456
"""6 MiB, after base64: Lambda's own limit is on the whole event and lies 100 bytes higher."""

_SEND_JSON = "Send the header 'content-type: application/json'."
_EXAMPLE = 'Send {"instances": [...]}.'


def read_instances(event: Any) -> list[Any]:
    """The instances of a prediction request.

    Raises:
        RequestError: With the status and code for what is wrong with the event, its headers or its body.
    """
    text = _body(event)
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"the body is not valid JSON: {error}", code="invalid_json", next_step=_EXAMPLE) from None
    if type(document) is not dict:
        raise RequestError("the body must be a JSON object", code="wrong_type", next_step=_EXAMPLE)
    instances = document.get("instances")
    if type(instances) is not list:
        problem = "must be a list" if "instances" in document else "is missing"
        code = "wrong_type" if "instances" in document else "missing_field"
        raise RequestError(f"'instances' {problem}", code=code, field="instances", next_step=_EXAMPLE)
    if len(document) > 1:
        unknown = next(key for key in document if key != "instances")[:80]
        raise RequestError(
            f"the body has {unknown!r}; only 'instances' is allowed", code="unknown_field", field=unknown
        )
    _refuse_duplicate_keys(text, instances)
    return instances


def _body(event: Any) -> str | bytes:
    if not isinstance(event, dict) or "requestContext" not in event:
        raise RequestError(
            "the event is not an API Gateway HTTP API event, payload format 2.0",
            code="invalid_event",
            next_step="Call the endpoint through its HTTP API.",
        )
    headers = event.get("headers")
    if not isinstance(headers, dict):
        headers = {}
    content_type = str(headers.get("content-type", ""))
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise RequestError(
            f"the content type is {content_type[:80]!r}; it must be 'application/json'",
            code="unsupported_media_type",
            status=415,
            next_step=_SEND_JSON,
        )
    encoding = str(headers.get("content-encoding", "identity")).strip().lower()
    if encoding != "identity":
        raise RequestError(
            f"the content encoding is {encoding[:80]!r}; compressed bodies are not unpacked",
            code="unsupported_encoding",
            status=415,
            next_step="Send the body as it is, without content-encoding.",
        )
    body = event.get("body")
    if not isinstance(body, str) or not body:
        raise RequestError("the body is empty", code="empty_body", next_step=_EXAMPLE)
    if not event.get("isBase64Encoded"):
        # A character is at most 4 bytes: only a long text has to be encoded to know its size.
        size = len(body) if len(body) * 4 <= MAX_BODY_BYTES else len(body.encode("utf-8", "replace"))
        _refuse_large(size)
        return body
    _refuse_large(len(body) * 3 // 4)  # padding makes no difference: the limit is a multiple of 3
    try:
        return binascii.a2b_base64(body, strict_mode=True)
    except ValueError as error:
        raise RequestError(f"the body is not valid base64: {error}", code="invalid_base64") from None


def _refuse_large(size: int) -> None:
    if size > MAX_BODY_BYTES:
        raise RequestError(
            f"the body has {size:,} bytes; at most {MAX_BODY_BYTES:,} are allowed",
            code="body_too_large",
            status=413,
            next_step="Split the instances over several requests.",
        )


def _refuse_duplicate_keys(text: str | bytes, instances: list[Any]) -> None:
    """Refuse ``{"a": 1, "a": 2}``, of which the parser silently keeps the last.

    Each key brings one colon. So as many colons as keys means no duplicate, which costs one scan in C; more colons mean
    a duplicate, or text with colons in it, and only then is the body read again to tell which.
    """
    colons = text.count(":") if isinstance(text, str) else text.count(b":")
    keys = 1 + sum(len(instance) for instance in instances if type(instance) is dict)
    if colons == keys:
        return
    import json

    def unique(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise RequestError(f"the key {key[:80]!r} appears twice in one object", code="duplicate_key")
            seen.add(key)

    try:
        json.loads(text, object_pairs_hook=unique)
    except RecursionError:
        raise RequestError("the body nests too deep", code="invalid_json", next_step=_EXAMPLE) from None
