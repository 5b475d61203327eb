"""The protocol's routes of one model: metadata, ready, infer, each with and without a version.

The live version answers, and those on trial, because they are loaded; another number is a 404 that names the live one.
A version on trial that the path names answers alone: nothing stands in for it. The server's own routes
(``/v2`` and ``/v2/health/...``) belong to no model; the control plane answers them.
"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from modelyard.errors import ModelyardError, RequestError
from modelyard.predictor.predictor import Predictor
from modelyard.serving.exchange import Exchange
from modelyard.serving.follow import Live, PointerFollower
from modelyard.serving.oip.datatypes import described, described_outputs
from modelyard.serving.oip.inputs import HEADER, Tail, arrays_of, read_request, split
from modelyard.serving.oip.outputs import answer_text, wanted_of, written
from modelyard.serving.plan import Plan, Steps
from modelyard.serving.request import JSON, headers_of, read_body
from modelyard.serving.routing import INFER, METADATA, READY, MethodError, unknown_route, unknown_version

if TYPE_CHECKING:
    from modelyard.predictor.reader import Batch
    from modelyard.serving.oip.inputs import InferRequest
    from modelyard.serving.on_trial import OnTrial

PLATFORM = "onnxruntime_onnx"
OCTETS = "application/octet-stream"
TYPES = (JSON, OCTETS, "")
"""Triton's client sends no content type at all."""

Describe = Callable[[Exchange, Live, str], dict[str, Any]]


def plan(
    exchange: Exchange, follower: PointerFollower, model: str, trying: "Callable[[], OnTrial | None]"
) -> Plan | dict[str, Any]:
    """How a request to ``/v2/models/<model>`` or below is answered; the response itself where no engine is needed.

    Args:
        exchange: The request.
        follower: Knows the live version.
        model: Its name.
        trying: What answers while versions are on trial.

    Raises:
        ModelyardError: Whatever is wrong with the request or the model.
    """
    method, _, path = exchange.event["routeKey"].partition(" ")
    version, action, shown = None, METADATA, path
    if path.endswith("+}"):
        rest = _rest(exchange.event)
        version, action = _version_and_action(rest)
        shown = f"/v2/models/{model}/{rest}"
    if action not in METHODS:
        raise unknown_route(method, shown)
    if method != METHODS[action]:
        raise MethodError(method, shown, allow=METHODS[action])
    exchange.live = live = follower.current()
    on_trial = None if live.trial is None else trying()
    if version is not None and version != str(live.version):
        found = None if on_trial is None else on_trial.asked_for(exchange, live, version)
        if found is None:
            raise unknown_version(model, version, live.version)
        exchange.live, exchange.kept = found, None  # not routed to it, so no evidence for or against it
        live = found
    if action in DESCRIPTIONS:
        return DESCRIPTIONS[action](exchange, live, model)

    def steps(one: Live) -> Steps:
        return _infer(exchange, one, model)

    if on_trial is None or version is not None:
        return Plan(live, steps)
    return Plan(live, steps, on_trial, _first_of(exchange.event, live))


def _first_of(event: Any, live: Live) -> Callable[[str], Any]:
    """Looks into the first row of a request, as the champion reads it."""

    def first(name: str) -> Any:
        from modelyard.serving.forms.first import first_in_batch

        predictor = _predictor(live)
        try:
            return first_in_batch(predictor, _read(event, predictor)[1], name)
        except ModelyardError:
            return None  # the version that answers says what is wrong with it

    return first


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
        "versions": [str(live.version), *_others(live)],
        "platform": PLATFORM,
        "inputs": list(map(described, signature.inputs)),
        "outputs": described_outputs(signature),
    }
    return exchange.json(answer_text(document))


def _others(live: Live) -> list[str]:
    """Versions on trial that a path may name."""
    return [] if live.trial is None else [str(one.version) for one in live.trial.challengers.loaded]


def _ready(exchange: Exchange, live: Live, model: str) -> dict[str, Any]:
    exchange.protocol = "metadata"
    return exchange.json(answer_text({"name": model, "version": str(live.version), "ready": True}))


def _infer(exchange: Exchange, live: Live, model: str) -> Steps:
    predictor = _predictor(live)
    request, batch = _read(exchange.event, predictor)
    wanted = wanted_of(request, predictor.signature.outputs)
    rows = batch.rows
    outputs, seconds = yield predictor, batch
    if exchange.kept is not None:
        exchange.kept.note_tensors(predictor, batch, outputs, seconds)
    tensors, data = written(wanted, outputs)
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
        return exchange.json(answered, instances=rows)
    sizes = {"content-type": OCTETS, HEADER: str(len(answered))}
    return exchange.binary(b"".join((answered, *data)), sizes, instances=rows)


def _read(event: Any, predictor: Predictor) -> "tuple[InferRequest, Batch]":
    """What is asked for."""
    headers = headers_of(event)
    media_type, body = read_body(event, allowed=TYPES)
    text, whole = split(body, headers.get(HEADER))
    try:
        request = read_request(text)
    except RequestError as error:
        if media_type == OCTETS and HEADER not in headers and error.code == "invalid_json":
            error.next_step = f"Say in the header {HEADER} how many bytes the JSON has, after which the others begin."
        raise
    wanted_of(request, predictor.signature.outputs)  # before the values are looked at
    tail = Tail(whole, len(text)) if isinstance(whole, bytes) else Tail(b"", 0)
    arrays = arrays_of(request, tail, predictor.signature.inputs, predictor.reader.nulls)
    return request, predictor.admit(arrays)


def _predictor(live: Live) -> Predictor:
    return cast("Predictor", live.predictor)


METHODS = {METADATA: "GET", READY: "GET", INFER: "POST"}
DESCRIPTIONS: dict[str, Describe] = {METADATA: _metadata, READY: _ready}
