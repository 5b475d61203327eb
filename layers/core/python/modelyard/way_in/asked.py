"""What is asked: an HTTP API's event as what InvokeEndpoint takes. Pure.

The rule: what the container cannot see otherwise goes into one header, InvokeEndpoint's custom attributes: the route,
who asks as the authorizer established them, and the headers that decide something. Nothing is shortened to fit: half a
routing key would route the request elsewhere.
"""

from typing import Any

import msgspec

from modelyard.control.routes import MODEL_ROUTES, route_of
from modelyard.errors import RequestError
from modelyard.serving.audit import identity
from modelyard.serving.request import JSON, headers_of, read_body
from modelyard.serving.routing import FEEDBACK, is_v2, unanswered
from modelyard.way_in.settings import SERVERLESS, WayInSettings

MOST_ATTRIBUTES = 1024
"""Characters of custom attributes, and of either type."""

MAX_SERVERLESS_BYTES = 4 << 20
"""What SageMaker takes for a serverless endpoint. The other targets take more than Lambda hands over."""

OCTETS = "application/octet-stream"
TENSORS = "inference-header-content-length"
"""The Open Inference Protocol's, for bytes after the JSON."""

_PASSED_ON = (TENSORS, "content-encoding")
_encode = msgspec.json.Encoder().encode


class Asked:
    """One request, ready for its endpoint.

    Attributes:
        accept: What the caller wants back.
        as_v2: Whether the caller speaks the Open Inference Protocol.
        attributes: The custom attributes.
        body: What the container gets.
        content_type: Of the body.
    """

    __slots__ = ("accept", "as_v2", "attributes", "body", "content_type")

    def __init__(self, *, accept: str, as_v2: bool, attributes: str, body: bytes, content_type: str) -> None:
        self.accept = accept
        self.as_v2 = as_v2
        self.attributes = attributes
        self.body = body
        self.content_type = content_type


def asked_of(event: Any, settings: WayInSettings, *, request_id: str, later: bool = False) -> Asked:
    """What an event asks the endpoint.

    Args:
        event: An API Gateway HTTP API event, payload format 2.0.
        settings: Which model and endpoint.
        request_id: With which the caller and the logs are brought together.
        later: Whether the answer goes to S3, where it needs an envelope.

    Raises:
        ModelyardError: For an event that is not of one of the model's routes, a body that is not base64 as it says or
            that SageMaker would not take, and for more about the request than it hands on.
    """
    headers = headers_of(event)
    if event.get("routeKey") not in routes_of(settings.model):
        raise unanswered(event, settings.model)
    content_type = str(headers.get("content-type", ""))
    body = _body(event, limit=MAX_SERVERLESS_BYTES if settings.target == SERVERLESS else None)
    passed_on = {name: _text(headers[name]) for name in (*_PASSED_ON, settings.routing_header) if name in headers}
    if not body and event["routeKey"].startswith("GET "):
        content_type, body = JSON, b"{}"  # InvokeEndpoint always has one
    elif not content_type:
        content_type, passed_on["content-type"] = OCTETS, ""
    caller, account = identity(event)
    known = {
        "route": event["routeKey"],
        "proxy": _proxy(event),
        "id": _text(request_id),
        "caller": None if caller is None else _text(caller),
        "account": None if account is None else _text(account),
        "async": 1 if later else None,
        "h": passed_on or None,
    }
    return Asked(
        accept=_header(str(headers.get("accept", "")) or JSON),
        as_v2=is_v2(event),
        attributes=_attributes({name: value for name, value in known.items() if value is not None}),
        body=body,
        content_type=_header(content_type),
    )


def routes_of(model: str) -> frozenset[str]:
    """The route keys that a model's endpoint answers, wherever it runs."""
    return frozenset(f"{method} {route_of(path, model)}" for method, path in MODEL_ROUTES)


def protocol_of(event: Any) -> str:
    """How the caller speaks, as the audit line has it."""
    if is_v2(event):
        return "v2"
    method, _, path = str(event.get("routeKey") if isinstance(event, dict) else "").partition(" ")
    if path.endswith(f"/{FEEDBACK}"):
        return FEEDBACK
    return "metadata" if method == "GET" else "instances"


def _body(event: dict[str, Any], *, limit: int | None) -> bytes:
    if not event.get("body"):
        return b""  # the container says whether that is wrong
    _, read = read_body({**event, "headers": {}}, allowed=("",))  # of any type: that is the container's to judge
    body = read if isinstance(read, bytes) else read.encode("utf-8", "surrogatepass")
    if limit is not None and len(body) > limit:
        raise RequestError(
            f"the body has {len(body):,} bytes; an endpoint on {SERVERLESS} takes at most {limit:,}",
            code="body_too_large",
            status=413,
            next_step="Split the instances over several requests.",
        )
    return body


def _proxy(event: dict[str, Any]) -> str | None:
    parameters = event.get("pathParameters")
    found = parameters.get("proxy") if isinstance(parameters, dict) else None
    return None if found is None else _text(found)


def _attributes(known: dict[str, Any]) -> str:
    text = _encode(known).decode()
    if not (text.isascii() and text.isprintable()):
        text = "".join(one if " " <= one <= "~" else _escaped(one) for one in text)
    if len(text) > MOST_ATTRIBUTES:
        raise RequestError(
            f"what the endpoint has to know of the request takes {len(text):,} characters; SageMaker hands on at most "
            f"{MOST_ATTRIBUTES:,}",
            code="header_too_large",
            status=431,
            next_step="Send a shorter value in the header by which requests are routed.",
        )
    return text


def _escaped(character: str) -> str:
    """A character as JSON may write it in ASCII."""
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def _text(value: Any) -> str:
    return str(value).encode("utf-8", "replace").decode()


def _header(value: str) -> str:
    """A header's value that nobody refuses to send; what was changed in it is a type that nobody takes."""
    if not (value.isascii() and value.isprintable()):
        value = "".join(one if " " <= one <= "~" else "?" for one in value)
    return value[:MOST_ATTRIBUTES].strip() or "?"
