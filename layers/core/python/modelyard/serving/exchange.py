"""`Exchange`: one request on its way to an answer, and what its audit line has to say of it.

This one is a Lambda event and answers with an HTTP API response. `modelyard.server` has one for a request over HTTP,
which differs in what makes the response.
"""

from typing import TYPE_CHECKING, Any

from modelyard.serving.follow import Live
from modelyard.serving.response import binary_response, json_response

if TYPE_CHECKING:  # only where something is captured, or on trial
    from modelyard.serving.kept import Kept
    from modelyard.serving.on_trial import Tried


class Exchange:
    """What is known of one request; filled in as it is found out.

    Attributes:
        event: The Lambda event.
        request_id: API Gateway's, or Lambda's.
        live: The version that answers; before one was asked for, the one that is loaded.
        rows: How many instances were asked for; 0 while that is not known.
        prediction_id: Of the answer, as the caller gets it.
        warned: How many values the contract warns of.
        protocol: How the caller speaks: ``instances``, ``npy``, ``arrow``, ``v2``; ``feedback`` for labels of earlier
            predictions, ``metadata`` for what else is no prediction.
        labels: How many labels were stored.
        kept: What was asked and answered, where it is to be captured.
        tried: Which version was to answer, while versions are on trial.
    """

    json = staticmethod(json_response)
    binary = staticmethod(binary_response)

    __slots__ = (
        "event",
        "kept",
        "labels",
        "live",
        "prediction_id",
        "protocol",
        "request_id",
        "rows",
        "tried",
        "warned",
    )

    def __init__(self, event: Any, request_id: str, live: Live | None) -> None:
        self.event = event
        self.request_id = request_id
        self.live = live
        self.rows = 0
        self.labels = 0
        self.prediction_id: str | None = None
        self.warned = 0
        self.protocol = "instances"
        self.kept: Kept | None = None
        self.tried: Tried | None = None


def request_id_of(event: Any, context: Any) -> str:
    """API Gateway's id of the request; Lambda's where it gave none; ``unknown`` where neither did."""
    gateway = event.get("requestContext") if isinstance(event, dict) else None
    found = gateway.get("requestId") if isinstance(gateway, dict) else None
    return str(found or getattr(context, "aws_request_id", None) or "unknown")
