"""The protocol's routes of one model: metadata, ready, infer, each with and without a version.

Only the live version answers, because one is loaded; another number is a 404 that names it. The server's own routes
(``/v2`` and ``/v2/health/...``) belong to no model; the control plane answers them.
"""

import os
from collections.abc import Callable
from typing import Any, cast

from modelyard.predictor.predictor import Predictor
from modelyard.serving.exchange import Exchange
from modelyard.serving.follow import Live, PointerFollower
from modelyard.serving.oip.datatypes import described
from modelyard.serving.oip.inputs import HEADER, Tail, arrays_of, read_request, split
from modelyard.serving.oip.outputs import answer_text, wanted_of, written
from modelyard.serving.request import JSON, headers_of, read_body
from modelyard.serving.response import binary_response, json_response
from modelyard.serving.routing import INFER, METADATA, READY, MethodError, unknown_route, unknown_version

PLATFORM = "onnxruntime_onnx"
OCTETS = "application/octet-stream"
TYPES = (JSON, OCTETS, "")
"""Triton's client sends no content type at all."""

Answer = Callable[[Exchange, Live, str], dict[str, Any]]


def answer(exchange: Exchange, follower: PointerFollower, model: str) -> dict[str, Any]:
    """Answer one request to ``/v2/models/<model>`` or below.

    Raises:
        ModelyardError: Whatever is wrong with the request or the model.
    """
    method, _, path = exchange.event["routeKey"].partition(" ")
    version, action, shown = None, METADATA, path
    if path.endswith("+}"):
        rest = _rest(exchange.event)
        version, action = _version_and_action(rest)
        shown = f"/v2/models/{model}/{rest}"
    if action not in ROUTES:
        raise unknown_route(method, shown)
    allowed, made = ROUTES[action]
    if method != allowed:
        raise MethodError(method, shown, allow=allowed)
    exchange.live = live = follower.current()
    if version is not None and version != str(live.version):
        raise unknown_version(model, version, live.version)
    return made(exchange, live, model)


def _rest(event: Any) -> str:
    parameters = event.get("pathParameters")
    return str(parameters.get("proxy", "")) if isinstance(parameters, dict) else ""


def _version_and_action(rest: str) -> tuple[str | None, str]:
    """``versions/3/infer`` as the version and what is asked of it."""
    head, _, tail = rest.partition("/")
    if head != "versions":
        return None, rest or "?"
    version, slash, action = tail.partition("/")
    return version, action if version and bool(slash) == bool(action) else "?"


def _metadata(exchange: Exchange, live: Live, model: str) -> dict[str, Any]:
    exchange.protocol = "metadata"
    signature = _predictor(live).signature
    document = {
        "name": model,
        "versions": [str(live.version)],
        "platform": PLATFORM,
        "inputs": list(map(described, signature.inputs)),
        "outputs": list(map(described, signature.outputs)),
    }
    return json_response(answer_text(document))


def _ready(exchange: Exchange, live: Live, model: str) -> dict[str, Any]:
    exchange.protocol = "metadata"
    return json_response(answer_text({"name": model, "version": str(live.version), "ready": True}))


def _infer(exchange: Exchange, live: Live, model: str) -> dict[str, Any]:
    predictor = _predictor(live)
    headers = headers_of(exchange.event)
    _, body = read_body(exchange.event, allowed=TYPES)
    text, whole = split(body, headers.get(HEADER))
    request = read_request(text)
    wanted = wanted_of(request, predictor.signature.outputs)
    tail = Tail(whole, len(text)) if isinstance(whole, bytes) else Tail(b"", 0)
    arrays = arrays_of(request, tail, predictor.signature.inputs, predictor.reader.nulls)
    batch = predictor.admit(arrays)
    rows = batch.rows
    tensors, data = written(wanted, predictor.run(batch))
    exchange.rows, exchange.warned = rows, len(batch.warnings)
    exchange.prediction_id = os.urandom(16).hex()
    parameters: dict[str, Any] = {"prediction_id": exchange.prediction_id, "digest": live.digest}
    if batch.warnings:  # a parameter of the protocol is a text, a number or a boolean
        parameters |= {"warned": len(batch.warnings), "warning": batch.warnings[0]["detail"]}
    made: dict[str, Any] = {"model_name": model, "model_version": str(live.version)}
    if request.id is not None:
        made["id"] = request.id
    made |= {"parameters": parameters, "outputs": tensors}
    answered = answer_text(made)
    if not data:
        return json_response(answered, instances=rows)
    sizes = {"content-type": OCTETS, HEADER: str(len(answered))}
    return binary_response(b"".join((answered, *data)), sizes, instances=rows)


def _predictor(live: Live) -> Predictor:
    return cast("Predictor", live.predictor)


ROUTES: dict[str, tuple[str, Answer]] = {
    METADATA: ("GET", _metadata),
    READY: ("GET", _ready),
    INFER: ("POST", _infer),
}
