"""What no route of an endpoint answers, and why: which problem a caller gets for it.

API Gateway has matched the request to one of a model's routes before the function sees it, so what ends here came some
other way, or asks below ``/v2/models/<model>/`` for something that is not there.
"""

from typing import Any

from modelyard.errors import ModelyardError, NotFoundError, RequestError
from modelyard.serving.request import headers_of

INFER, READY, METADATA, OPENAPI, PREDICT, FEEDBACK = "infer", "ready", "", "openapi.json", "predict", "feedback"
SHOWN = 80


class MethodError(RequestError):
    """The path is right and the method is not; the header ``allow`` names those that are."""

    code = "method_not_allowed"
    status = 405

    def __init__(self, method: str, path: str, *, allow: str) -> None:
        super().__init__(
            f"{method[:SHOWN]!r} is not a method of {path[:SHOWN]}; it takes {allow}",
            next_step=f"Send it with {allow}.",
        )
        self.headers = {"allow": allow}


def is_v2(event: Any) -> bool:
    """Whether an event asks for something below ``/v2``, whose clients look for ``error`` in a problem."""
    return isinstance(event, dict) and str(event.get("routeKey")).partition(" ")[2].startswith("/v2")


def unanswered(event: Any, model: str) -> ModelyardError:
    """The error for an event that none of a model's routes takes.

    Args:
        event: The Lambda event.
        model: Name of the model that this endpoint has.
    """
    route = event.get("routeKey") if isinstance(event, dict) else None
    if not isinstance(route, str):
        try:
            headers_of(event)
        except RequestError as error:
            return error
        return RequestError(
            "the event names no route",
            code="invalid_event",
            next_step="Call the endpoint through its HTTP API.",
        )
    method, _, path = route.partition(" ")
    parts = path.removeprefix("/v2").split("/")
    if len(parts) > 2 and parts[1] == "models" and parts[2] != model:
        return NotFoundError(
            f"this is the endpoint of model {model!r}, not of {parts[2][:SHOWN]!r}",
            code="unknown_model",
            next_step="GET /models lists the models; each has a URL of its own.",
        )
    allowed = {
        f"/models/{model}/{PREDICT}": "POST",
        f"/models/{model}/{FEEDBACK}": "POST",
        f"/models/{model}/{OPENAPI}": "GET",
        f"/v2/models/{model}": "GET",
    }
    if path in allowed:
        return MethodError(method, path, allow=allowed[path])
    return unknown_route(method, path)


def unknown_route(method: str, path: str) -> NotFoundError:
    """The error for a path that is not there."""
    return NotFoundError(
        f"there is no route {method[:SHOWN]} {path[:SHOWN]}",
        code="unknown_route",
        next_step="GET /models/<model>/openapi.json names every route.",
    )


def unknown_version(model: str, asked: str, live: int) -> NotFoundError:
    """The error for a version that does not answer; retired ones are still in the registry."""
    return NotFoundError(
        f"version {asked[:SHOWN]!r} of model {model!r} is not live; version {live} answers",
        code="unknown_version",
        field="version",
        next_step=f"Ask for version {live} or for none; GET /models/{model}/versions/<number> shows any version.",
    )
