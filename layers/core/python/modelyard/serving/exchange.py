"""`Exchange`: one request on its way to an answer, and what its audit line has to say of it."""

from typing import Any

from modelyard.serving.follow import Live


class Exchange:
    """What is known of one request; filled in as it is found out.

    Attributes:
        event: The Lambda event.
        request_id: API Gateway's, or Lambda's.
        live: The version that answers; before one was asked for, the one that is loaded.
        rows: How many instances were asked for; 0 while that is not known.
        prediction_id: Of the answer, as the caller gets it.
        warned: How many values the contract warns of.
        protocol: How the caller speaks: ``instances``, ``npy``, ``arrow``, ``v2``, or ``metadata`` for what is no
            prediction.
        asked: The instances, where a capture can show them.
        answered: The predictions, likewise.
    """

    __slots__ = ("answered", "asked", "event", "live", "prediction_id", "protocol", "request_id", "rows", "warned")

    def __init__(self, event: Any, request_id: str, live: Live | None) -> None:
        self.event = event
        self.request_id = request_id
        self.live = live
        self.rows = 0
        self.prediction_id: str | None = None
        self.warned = 0
        self.protocol = "instances"
        self.asked: Any = None
        self.answered: Any = None
