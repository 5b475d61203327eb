"""Commands about retraining runs: start one and watch it, list them, take up one that failed."""

import time
import uuid
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from modelyard import stack_names
from modelyard.cli.arguments import Limit
from modelyard.cli.models import AsJson, Name
from modelyard.cli.runs import wait_until_recorded
from modelyard.cli.session import Session
from modelyard.cli.show import Step, errors, moment, out, print_json, table
from modelyard.errors import AWSError, ConflictError, ModelyardError, UsageError
from modelyard.names import LONGEST_REASON, check_text

if TYPE_CHECKING:
    from rich.console import Console

    from modelyard.aws.workflow import StateRun, Workflow
    from modelyard.registry import Run

POLL_S = 0.5
LONGEST_PAGE = 100
SHOWN = frozenset({"Task", "Wait"})
"""Kinds of states that take time; the others are decisions."""
FAILURE = "Record the failure"
"""The state in which a run that failed says so; what it was entered with is all that is needed to go on."""


def train(
    context: typer.Context,
    name: Name,
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why, for the run's record.")] = "",
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show the states as they run, and wait for the end.")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Train even where there is nothing new to learn.")] = False,
    ablate: Annotated[
        bool, typer.Option("--ablate", help="Train without the newest file as well, and report what it changed.")
    ] = False,
    redrive: Annotated[
        str | None,
        typer.Option("--redrive", metavar="RUN_ID", help="Let a failed run go on from the step that failed."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a model on its data set now; the same workflow as after an upload."""
    session: Session = context.obj
    check_text(reason, field="reason", limit=LONGEST_REASON)
    _refuse_untrained(session, name)
    workflow = workflow_of(session, name)
    if redrive is not None:
        if again or ablate:
            raise UsageError("a redrive goes on with what the run was asked for", code="invalid_redrive")
        run_id = _redriven(session, workflow, name, redrive)
    else:
        run_id = str(uuid.uuid4())
        document = {"trigger": "manual", "by": session.actor, "reason": reason, "again": again, "ablate": ablate}
        workflow.start(run_id, document)
    if not watch:
        if as_json:
            print_json({"model": name, "run_id": run_id, "status": "running"})
        else:
            out.print(f"{escape(name)}: run {run_id} started")
            out.print(f"  [dim]next:[/] modelyard runs {escape(name)} --run {run_id}", soft_wrap=True)
        return
    follow(workflow, run_id)
    show_end(wait_until_recorded(session, name, run_id), as_json=as_json)


def _refuse_untrained(session: Session, name: str) -> None:
    if session.model(name).spec.training is None:
        raise UsageError(
            f"model {name!r} is brought and not trained here: its model.toml has no [training]",
            code="not_trained_here",
            next_step=f"Register its next version: modelyard register {name} FILE.onnx",
        )


def workflow_of(session: Session, name: str) -> "Workflow":
    """A model's workflow, as the caller."""
    from modelyard.aws.workflow import Workflow

    arn = session.outputs(stack_names.retraining_stack(session.name, name))[stack_names.WORKFLOW]
    return Workflow(session.clients.client("stepfunctions"), arn)


def _redriven(session: Session, workflow: "Workflow", name: str, run_id: str) -> str:
    """The run that goes on: the same one, or where this AWS has no redrives another with the same state."""
    run = session.registry.run(name, run_id)
    if run.status != "failed":
        raise ConflictError(
            f"run {run_id} is {run.status}; only a run that failed can be redriven",
            code="not_redrivable",
            next_step=f"Start a new one: modelyard train {name}",
        )
    if workflow.redrive(run_id):
        return run_id
    state = workflow.input_of(run_id, FAILURE)
    if state is None:
        raise ConflictError(
            f"run {run_id} failed outside its steps; there is nothing to go on from",
            code="not_redrivable",
            next_step=f"Start a new one: modelyard train {name}",
        )
    conclusion = _resume_from(state)
    state = {key: value for key, value in state.items() if key not in {"error", "conflict", "not_told"}}
    again = str(uuid.uuid4())
    session.registry.record_run(
        name, again, status="running", reason=f"takes up run {run_id}", object=run.object, trigger=run.trigger
    )
    workflow.start(again, {**state, "resume": {"from": conclusion, "run_id": run_id}})
    return again


def _resume_from(state: dict[str, Any]) -> str:
    from modelyard.retraining.concluding import first_missing

    return first_missing(state)


def follow(workflow: "Workflow", run_id: str) -> None:
    """Show the states of a run until it ends: the one that it is in, and those that it has left with their seconds."""
    shown = 0
    with Step("Run") as step:
        while True:
            status = workflow.status(run_id)
            states = [state for state in workflow.states(run_id) if state.kind in SHOWN]
            while shown < len(states) and (states[shown].left is not None or states[shown].failed):
                _print_state(states[shown])
                shown += 1
            if status != "RUNNING":
                step.is_failed = status != "SUCCEEDED"
                step.outcome = status.lower().replace("_", " ")
                return
            if shown < len(states):
                step.doing(states[shown].name)
            time.sleep(POLL_S)


def _print_state(state: "StateRun", console: "Console" = errors) -> None:
    mark = "[red]✗[/]" if state.failed else "[green]✓[/]"
    seconds = "" if state.left is None else f"{state.left - state.entered:6.1f} s"
    console.print(f"  {mark} {escape(state.name):<34}{seconds}", soft_wrap=True)


def show_end(run: "Run", *, as_json: bool) -> None:
    """Say how a run ended.

    Raises:
        ModelyardError: When it failed.
    """
    if as_json:
        print_json(_plain(run))
    elif run.status != "failed":
        number = f" version {run.version}" if run.version else ""
        out.print(
            f"{escape(run.model)}: run {run.run_id} [bold]{run.status}{number}[/]: {escape(run.reason)}", soft_wrap=True
        )
        if run.report:
            out.print(f"  [dim]next:[/] modelyard report {escape(run.model)} --run {run.run_id}", soft_wrap=True)
    if run.status == "failed":
        raise ModelyardError(
            f"run {run.run_id} failed: {run.reason}",
            next_step=f"When the cause is gone: modelyard train {run.model} --redrive {run.run_id}",
        )


def runs(
    context: typer.Context,
    name: Name,
    run_id: Annotated[str | None, typer.Option("--run", metavar="RUN_ID", help="One run, with its states.")] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """List a model's retraining runs, newest first: what started them, how they ended, and why."""
    session: Session = context.obj
    if run_id is not None:
        _one_run(session, name, run_id, as_json=as_json)
        return
    from modelyard.ports import every

    listing = every(lambda start: session.registry.runs(name, limit=LONGEST_PAGE, start=start))
    found = sorted(listing, key=lambda run: run.started_at, reverse=True)[:limit]
    if as_json:
        print_json([_plain(run) for run in found])
        return
    if not found:
        session.registry.model(name)
        out.print(f"{escape(name)} has no runs yet")
        return
    table(
        f"Runs of {name}",
        ["run", "status", "by", "version", "started (UTC)", "seconds"],
        [
            [
                run.run_id[:36],
                run.status,
                run.trigger or "upload",
                run.version,
                moment(run.started_at),
                _seconds(run),
                run.reason,
            ]
            for run in found
        ],
    )


def _one_run(session: Session, name: str, run_id: str, *, as_json: bool) -> None:
    run = session.registry.run(name, run_id)
    try:
        states = workflow_of(session, name).states(run_id)
    except AWSError:
        states = []  # Step Functions forgets an execution after 90 days; the registry does not
    if as_json:
        listed = [
            {"state": state.name, "seconds": None if state.left is None else round(state.left - state.entered, 3)}
            for state in states
        ]
        print_json({**_plain(run), "states": listed})
        return
    out.print(f"{escape(name)}: run {run.run_id} [bold]{run.status}[/]: {escape(run.reason)}", soft_wrap=True)
    for state in states:
        if state.kind in SHOWN:
            _print_state(state, out)
    if run.report:
        out.print(f"  [dim]next:[/] modelyard report {escape(name)} --run {run.run_id}", soft_wrap=True)


def _seconds(run: "Run") -> str:
    from modelyard.times import parse_stamp

    if run.ended_at is None:
        return ""
    return f"{(parse_stamp(run.ended_at) - parse_stamp(run.started_at)).total_seconds():.1f}"


def _plain(run: "Run") -> dict[str, Any]:
    import msgspec

    found: dict[str, Any] = msgspec.to_builtins(run)
    return found
