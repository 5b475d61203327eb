"""How the control plane reaches a model's rollout workflow: by an event on the bus, and by a task token."""

import json

from modelyard.aws.clients import Clients
from modelyard.aws.failures import aws_errors
from modelyard.aws.workflow import send_answer
from modelyard.errors import AWSError
from modelyard.registry import Rollout
from modelyard.stack_names import ROLLOUT_ASKED_FOR


class EventSignals:
    """Signals by EventBridge and Step Functions. Their clients are made when they are first used.

    Args:
        clients: Makes clients.
        bus: The event bus's name.
    """

    def __init__(self, clients: Clients, bus: str) -> None:
        self._clients = clients
        self._bus = bus

    def begin(self, rollout: Rollout) -> None:
        """Have an execution begin that was claimed; of several only one takes it up."""
        detail = {
            "model": rollout.model,
            "version": rollout.version,
            "rollout_id": rollout.rollout_id,
            "reason": rollout.reason,
        }
        entry = {
            "EventBusName": self._bus, "Source": "modelyard", "DetailType": ROLLOUT_ASKED_FOR,
            "Detail": json.dumps(detail),
        }  # fmt: skip
        with aws_errors(f"begin the rollout of {rollout.model}"):
            answer = self._clients.client("events").put_events(Entries=[entry])
        if answer.get("FailedEntryCount"):
            raise AWSError(
                f"the event that begins the rollout of {rollout.model!r} was not taken",
                code="event_not_taken",
                next_step="Send the same request again: it goes on with the rollout that was claimed.",
            )

    def answer(self, token: str) -> None:
        """Let the execution that waits with this token go on."""
        send_answer(self._clients.client("stepfunctions"), token)
