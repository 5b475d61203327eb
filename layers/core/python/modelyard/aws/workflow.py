"""A model's workflow in Step Functions: start a run, follow its states, take one up that failed or that waits."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from modelyard.aws.failures import aws_errors, code_of
from modelyard.errors import ConflictError, NotFoundError

MOST_PAGES = 30
"""Of an execution's history, 1,000 events each; Step Functions keeps 25,000."""
_WAITS_NO_MORE = frozenset({"TaskTimedOut", "TaskDoesNotExist", "InvalidToken"})
_NOT_KNOWN = frozenset({"UnknownOperationException", "InvalidAction", "UnknownOperation", "NotImplemented", "501"})


@dataclass(frozen=True, slots=True)
class StateRun:
    """One state of an execution: its name, when it was entered, and when left; ``failed`` where it raised."""

    name: str
    kind: str
    entered: float
    left: float | None = None
    failed: bool = False


class Workflow:
    """One state machine.

    Args:
        client: A low-level Step Functions client.
        arn: The state machine's ARN.
    """

    def __init__(self, client: Any, arn: str) -> None:
        self._client = client
        self.arn = arn

    def execution(self, run_id: str) -> str:
        """The ARN of the execution of a run."""
        return f"{self.arn.replace(':stateMachine:', ':execution:')}:{run_id}"

    def start(self, run_id: str, document: dict[str, Any]) -> str:
        """Start a run; the same run with the same input is one run, however often it is started.

        Raises:
            ConflictError: When another run has this id.
        """
        with aws_errors(f"start run {run_id}"):
            try:
                answer = self._client.start_execution(stateMachineArn=self.arn, name=run_id, input=json.dumps(document))
            except ClientError as error:
                if code_of(error) == "ExecutionAlreadyExists":
                    raise ConflictError(f"run {run_id} exists already", code="run_exists") from error
                raise
        return str(answer["executionArn"])

    def redrive(self, run_id: str) -> bool:
        """Let a failed run go on from the step that failed; False where this AWS has no redrives."""
        with aws_errors(f"redrive run {run_id}"):
            try:
                self._client.redrive_execution(executionArn=self.execution(run_id))
            except ClientError as error:
                status = str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
                if code_of(error) in _NOT_KNOWN or status == "501":
                    return False
                if code_of(error) == "ExecutionNotRedrivable":
                    raise ConflictError(
                        f"run {run_id} cannot be redriven: {error.response['Error'].get('Message', '')}",
                        code="not_redrivable",
                        next_step="A failed run can be redriven for 14 days; start a new one with 'modelyard train'.",
                    ) from error
                raise
        return True

    def status(self, run_id: str) -> str:
        """RUNNING, SUCCEEDED, FAILED, TIMED_OUT or ABORTED.

        Raises:
            NotFoundError: When there is no such execution.
        """
        with aws_errors(f"look at run {run_id}"):
            try:
                return str(self._client.describe_execution(executionArn=self.execution(run_id))["status"])
            except ClientError as error:
                if code_of(error) == "ExecutionDoesNotExist":
                    raise NotFoundError(f"there is no execution of run {run_id}", field="run_id") from error
                raise

    def states(self, run_id: str) -> list[StateRun]:
        """Every state that was entered, in order."""
        found: list[StateRun] = []
        open_at: dict[str, int] = {}
        for event in self._events(run_id):
            at, kind = event["timestamp"].timestamp(), event["type"]
            entered, left = event.get("stateEnteredEventDetails"), event.get("stateExitedEventDetails")
            if entered:
                open_at[entered["name"]] = len(found)
                found.append(StateRun(entered["name"], kind.removesuffix("StateEntered"), at))
            elif left and left["name"] in open_at:
                place = open_at.pop(left["name"])
                state = found[place]
                found[place] = StateRun(state.name, state.kind, state.entered, at, state.failed)
            elif kind.endswith(("Failed", "TimedOut")):
                for place in open_at.values():
                    state = found[place]
                    found[place] = StateRun(state.name, state.kind, state.entered, state.left, failed=True)
        return found

    def input_of(self, run_id: str, state: str) -> dict[str, Any] | None:
        """What a state of an execution was last entered with; None when it never was."""
        found: dict[str, Any] | None = None
        for event in self._events(run_id):
            entered = event.get("stateEnteredEventDetails")
            if entered and entered["name"] == state:
                found = json.loads(entered.get("input") or "{}")
        return found

    def _events(self, run_id: str) -> Iterator[Any]:
        token: dict[str, Any] = {}
        for _ in range(MOST_PAGES):
            with aws_errors(f"read the history of run {run_id}"):
                answer = self._client.get_execution_history(
                    executionArn=self.execution(run_id), maxResults=1000, **token
                )
            yield from answer["events"]
            if not answer.get("nextToken"):
                return
            token = {"nextToken": answer["nextToken"]}


def send_answer(client: Any, token: str) -> bool:
    """Let the execution that waits with this task token go on; whether it still waited.

    Args:
        client: A low-level Step Functions client.
        token: The token, which is no part of any message.
    """
    with aws_errors("let the rollout that waits go on"):
        try:
            client.send_task_success(taskToken=token, output="{}")
        except ClientError as error:
            if code_of(error) in _WAITS_NO_MORE:
                return False
            raise
    return True
