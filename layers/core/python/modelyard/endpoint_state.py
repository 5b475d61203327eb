"""Whether a SageMaker endpoint runs what it was last given, and what to do where it does not. Pure.

After an update that failed SageMaker goes back to the configuration before, and says ``InService``: the status alone
says that requests are answered, and not by which code. So the name of the configuration is compared as well.
"""

from dataclasses import dataclass

from modelyard.errors import ConflictError

MOST_SAID = 300
"""Characters of SageMaker's own reason that are shown."""
_MOVING = {
    "Creating": "is being made",
    "Updating": "is being updated",
    "SystemUpdating": "is being maintained by AWS",
    "RollingBack": "goes back to where it was",
    "Deleting": "is being deleted",
}


@dataclass(frozen=True)
class EndpointState:
    """What SageMaker says of an endpoint.

    Attributes:
        name: Of the endpoint.
        status: ``InService``, ``Updating``, ``Failed`` and so on.
        configuration: Name of the configuration that it runs.
        reason: Why it failed, where it did.
    """

    name: str
    status: str
    configuration: str
    reason: str = ""


def problem_of(state: EndpointState | None, *, name: str, wanted: str, deploy: str) -> ConflictError | None:
    """What is wrong with an endpoint; None where it runs the configuration that it was last given.

    Args:
        state: What SageMaker says; None where it knows no such endpoint.
        name: The endpoint's name.
        wanted: The configuration's name, from the stack's output.
        deploy: The command that deploys the stack.
    """
    if state is None:
        return ConflictError(
            f"SageMaker has no endpoint {name}, which its stack made: somebody deleted it",
            code="endpoint_missing",
            next_step=f"Delete the stack and deploy it again: {deploy}",
        )
    if state.status in _MOVING:
        return ConflictError(
            f"endpoint {name} {_MOVING[state.status]} ({state.status})",
            code="endpoint_moving",
            next_step="Wait until it has ended, then run 'modelyard doctor' again.",
        )
    why = f": {state.reason[:MOST_SAID]}" if state.reason else ""
    if state.status != "InService":
        return ConflictError(
            f"endpoint {name} is {state.status}, not InService{why}",
            code="endpoint_not_in_service",
            next_step=f"Look at its log and at the stack's events, then deploy it again: {deploy}",
        )
    if state.configuration != wanted:
        return ConflictError(
            f"endpoint {name} is InService with configuration {state.configuration}, and was last given {wanted}: the "
            f"update failed or was taken back, and the code before answers{why}",
            code="endpoint_on_old_configuration",
            next_step=f"Look at the alarms and the log of the release, then deploy again: {deploy}",
        )
    return None
