"""Follow a retraining run: which state it is in, and how it ended."""

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from modelyard import stack_names
from modelyard.cli.session import Session
from modelyard.cli.show import Step, errors
from modelyard.errors import AWSError, NotFoundError

if TYPE_CHECKING:
    from modelyard.registry import Run

START_TIMEOUT_S = 60.0
"""How long an upload may take to start its run; EventBridge usually needs a second or two."""
POLL_S = 0.5


class RunNotStartedError(AWSError):
    """No run began for an upload within ``START_TIMEOUT_S``."""

    code = "run_not_started"


def wait_for_run(
    session: Session,
    model: str,
    key: str,
    version_id: str,
    *,
    title: str | None = None,
    start_timeout_s: float = START_TIMEOUT_S,
) -> "Run":
    """Wait for the end of the run that claimed an uploaded object version, or that it was merged into.

    Args:
        session: Where it runs.
        model: Whose run it is.
        key: The uploaded object's key.
        version_id: The uploaded object's version.
        title: What its line begins with, and then how the run ended and why; without it, the caller says that.
        start_timeout_s: How long it may take to begin.

    Raises:
        RunNotStartedError: When no run starts.
        AWSError: When it takes longer than the workflow's own limit.
    """
    plan = session.model(model).spec.training
    limit = 1200 + (2 * plan.timeout_s if plan else 0)  # another run may have the turn
    began = time.monotonic()
    merged: str | None = None
    with Step(title or f"Retrain {model}") as step:
        while True:
            run = _run_of(session, model, key, version_id) if merged is None else session.registry.run(model, merged)
            waited = time.monotonic() - began
            if run is None and waited > start_timeout_s:
                raise RunNotStartedError(
                    f"no run started within {start_timeout_s:.0f} s of the upload",
                    next_step=f"Run 'modelyard doctor'; 'modelyard runs {model}' shows runs that started later.",
                )
            if run is not None and run.status == "merged" and run.into is not None:
                merged = run.into  # its rows are learnt there
                continue
            if run is not None and run.status != "running":
                number = f" version {run.version}" if run.version else ""
                step.outcome = f"{run.status}{number}: {run.reason}" if title else ""
                step.is_failed = run.status == "failed"
                return run
            if waited > limit:
                raise AWSError(
                    f"the run did not end within {limit} s",
                    code="run_timeout",
                    next_step=f"Look at 'modelyard runs {model}'.",
                )
            try:
                step.doing(_state(session, model, run.run_id) if run else "waiting for the event")
                time.sleep(POLL_S)
            except KeyboardInterrupt:
                errors.print(f"the upload is complete, and its run goes on: modelyard runs {model}")
                raise


def _run_of(session: Session, model: str, key: str, version_id: str) -> "Run | None":
    run_id = session.registry.claimant(session.uploads.bucket, key, version_id)
    try:
        return None if run_id is None else session.registry.run(model, run_id)
    except NotFoundError:
        return None  # claimed, and not yet written down


def _state(session: Session, model: str, run_id: str) -> str:
    """The state that an execution is in; only for show, so what goes wrong here is not an error."""
    from botocore.exceptions import BotoCoreError, ClientError

    workflow = session.outputs(stack_names.retraining_stack(session.name, model))[stack_names.WORKFLOW]
    execution = workflow.replace(":stateMachine:", ":execution:") + f":{run_id}"
    try:
        client: Any = session.clients.client("stepfunctions")
        events = client.get_execution_history(executionArn=execution, reverseOrder=True, maxResults=20)["events"]
    except (ClientError, BotoCoreError):
        return "running"
    for event in events:
        details = event.get("stateEnteredEventDetails")
        if details:
            return str(details["name"])
    return "starting"


def wait_until_recorded(session: Session, model: str, run_id: str, *, timeout_s: float = 30.0) -> "Run":
    """The record of a run whose execution has ended; its last step may still be writing it.

    Raises:
        AWSError: When nothing was recorded.
    """
    began = time.monotonic()
    while True:
        with suppress(NotFoundError):
            run = session.registry.run(model, run_id)
            if run.status != "running":
                return run
        if time.monotonic() - began > timeout_s:
            raise AWSError(
                f"run {run_id} has ended and left no record", code="run_not_recorded",
                next_step=f"Run 'modelyard runs {model} --run {run_id}'.",
            )  # fmt: skip
        time.sleep(POLL_S)
