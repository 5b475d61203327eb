"""The commands about rollouts: start one, look at it, pause, resume, abort; approve or reject its promotion."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from modelyard import stack_names
from modelyard.cli.models import AsJson, Name, Reason, check_reason
from modelyard.cli.session import Session
from modelyard.cli.show import errors, out, print_json
from modelyard.errors import AWSError, ConflictError, ModelyardError, NotFoundError, UsageError
from modelyard.times import utc_now

if TYPE_CHECKING:
    from modelyard.registry import Rollout

POLL_S = 2.0

app = typer.Typer(
    name="rollout",
    help="Let a version meet traffic in steps, each ended by a verdict; look at it, stop it, let it go on.",
    no_args_is_help=True,
)
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Show it as it goes on, until it ends.")]


@app.command()
def start(
    context: typer.Context,
    name: Name,
    version: Annotated[int | None, typer.Argument(min=1, help="The version's number; default: the newest.")] = None,
    reason: Reason = "",
    watch: Watch = False,
    as_json: AsJson = False,
) -> None:
    """Begin a rollout: shadow, then its share of the requests step by step, then the promotion."""
    session: Session = context.obj
    check_reason(session, reason)
    _refuse_all_at_once(session, name)
    rollout = begin(session, name, version, reason=reason)
    if watch:
        _follow(session, name, as_json=as_json)
        return
    if as_json:
        print_json(_told(session, name))
        return
    out.print(f"{escape(name)}: rollout of version [bold]{rollout.version}[/] begun, beside version {rollout.champion}")
    out.print(f"  [dim]next:[/] modelyard rollout status {escape(name)} --watch", soft_wrap=True)


def begin(session: Session, name: str, version: int | None, *, reason: str) -> "Rollout":
    """Claim the model's traffic and start the workflow; asked again before that has begun, the same rollout."""
    from modelyard.aws.workflow import Workflow

    arn = session.outputs(stack_names.rollout_stack(session.name, name))[stack_names.WORKFLOW]
    workflow = Workflow(session.clients.client("stepfunctions"), arn)
    registry = session.registry
    rollout = registry.start_rollout(name, version or registry.model(name).versions, reason=reason)
    try:
        workflow.start(rollout.rollout_id, execution_input(rollout))
    except AWSError as error:
        error.next_step = f"Run 'modelyard rollout start {name} {rollout.version}': it goes on with what was claimed."
        raise
    return rollout


def execution_input(rollout: "Rollout") -> dict[str, Any]:
    """What an execution is started with: the same whoever starts it, so that it is one."""
    return {"version": rollout.version, "rollout_id": rollout.rollout_id, "reason": rollout.reason}


@app.command()
def status(context: typer.Context, name: Name, watch: Watch = False, as_json: AsJson = False) -> None:
    """Show where a rollout stands: its step, the traffic, the verdict with its numbers, and the time left."""
    session: Session = context.obj
    if watch:
        _follow(session, name, as_json=as_json)
        return
    told = _told(session, name)
    if as_json:
        print_json(told)
        return
    from modelyard.cli.rollout_view import view

    out.print(view(told))


@app.command()
def pause(context: typer.Context, name: Name, reason: Reason = "", as_json: AsJson = False) -> None:
    """Stay at the present step; a bad verdict still takes the traffic back."""
    session: Session = context.obj
    check_reason(session, reason)
    session.registry.pause_rollout(name, reason=reason)
    _say(session, name, as_json, "is paused", f"modelyard rollout resume {name}")


@app.command()
def resume(context: typer.Context, name: Name, reason: Reason = "", as_json: AsJson = False) -> None:
    """Let a paused rollout go on."""
    session: Session = context.obj
    check_reason(session, reason)
    session.registry.resume_rollout(name, reason=reason)
    _say(session, name, as_json, "goes on", f"modelyard rollout status {name} --watch")


@app.command()
def abort(context: typer.Context, name: Name, reason: Reason = "", as_json: AsJson = False) -> None:
    """Give the champion all the traffic again, now, and end the rollout."""
    session: Session = context.obj
    check_reason(session, reason)
    session.registry.abort_rollout(name, reason=reason)
    _say(session, name, as_json, "has ended; the champion answers", f"modelyard history {name}")


def approve(context: typer.Context, name: Name, reason: Reason = "", as_json: AsJson = False) -> None:
    """Let the rollout that asks make its version the champion."""
    session: Session = context.obj
    check_reason(session, reason)
    rollout = session.registry.approve_rollout(name, reason=reason)
    _wake(session, rollout)
    _say(session, name, as_json, "is approved", f"modelyard rollout status {name} --watch")


def reject(context: typer.Context, name: Name, reason: Reason = "", as_json: AsJson = False) -> None:
    """Refuse the promotion; the champion gets all the traffic again."""
    session: Session = context.obj
    check_reason(session, reason)
    rollout = session.registry.reject_rollout(name, reason=reason)
    _wake(session, rollout)
    _say(session, name, as_json, "is refused", f"modelyard rollout status {name} --watch")


def _wake(session: Session, rollout: "Rollout") -> None:
    """Let the workflow go on at once. Should that fail, it reads the answer at its next look."""
    from modelyard.aws.workflow import send_answer

    token = rollout.approval.token if rollout.approval is not None else ""
    if not token:
        return
    try:
        send_answer(session.clients.client("stepfunctions"), token)
    except ModelyardError:
        errors.print("[yellow]note:[/] the workflow was not reached; it reads the answer at its next look")


def check_rollout(session: Session, name: str) -> None:
    """See that somebody judges the rollout that goes on, if one does.

    Raises:
        ConflictError: With code ``rollout_abandoned``: its workflow is gone, with the stack or by itself.
    """
    from modelyard.aws.workflow import Workflow

    rollout = session.registry.rollout(name)
    if rollout is None or rollout.has_ended:
        return
    stack = stack_names.rollout_stack(session.name, name)
    gone = "" if session.is_deployed(stack) else f"stack {stack} is not there"
    if not gone and rollout.execution:
        arn = session.outputs(stack)[stack_names.WORKFLOW]
        try:
            found = Workflow(session.clients.client("stepfunctions"), arn).status(rollout.execution.rsplit(":", 1)[-1])
        except NotFoundError:
            found = "not there"
        gone = "" if found == "RUNNING" else f"its execution is {found}"
    if gone:
        raise ConflictError(
            f"the rollout of version {rollout.version} goes on, and nobody judges it: {gone}",
            code="rollout_abandoned",
            next_step=f"Run 'modelyard rollout abort {name}': the champion gets all the traffic again.",
        )


def _refuse_all_at_once(session: Session, name: str) -> None:
    if session.model(name).spec.rollout.mode != "gradual":
        raise UsageError(
            f"model {name!r} has rollout.mode = 'all_at_once', so nothing moves its traffic in steps",
            code="not_gradual",
            field="model",
            next_step=f'Set rollout.mode = "gradual" in models/{name}/model.toml and deploy, or run \'modelyard '
            f"promote {name} VERSION'.",
        )


def _told(session: Session, name: str) -> dict[str, Any]:
    from modelyard.rollout.telling import told, verdict_document

    registry = session.registry
    rollout = registry.latest_rollout(name)
    document = verdict_document(registry.artifacts, rollout)
    return told(rollout, registry.deployment(name), utc_now(), document)


def _say(session: Session, name: str, as_json: bool, what: str, next_step: str) -> None:
    told = _told(session, name)
    if as_json:
        print_json(told)
        return
    out.print(f"{escape(name)}: the rollout of version [bold]{told['version']}[/] {what}", soft_wrap=True)
    out.print(f"  [dim]next:[/] {escape(next_step)}", soft_wrap=True)


def _follow(session: Session, name: str, *, as_json: bool) -> None:
    """Show it until it ends; where there is no terminal, a line for each change."""
    from rich.live import Live

    from modelyard.cli.rollout_view import line, view

    told = _told(session, name)
    if as_json or not out.is_terminal:
        shown = ""
        while True:
            said = line(told)
            if not as_json and said != shown:
                out.print(escape(said), soft_wrap=True)
                shown = said
            if told["outcome"] is not None:
                break
            time.sleep(POLL_S)
            told = _told(session, name)
    else:
        with Live(view(told), console=out, auto_refresh=False, vertical_overflow="visible") as live:
            while told["outcome"] is None:
                time.sleep(POLL_S)
                told = _told(session, name)
                live.update(view(told), refresh=True)
    if as_json:
        print_json(told)
    if told["outcome"] == "failed":
        raise ModelyardError(
            f"the rollout failed: {told['end']['reason']}",
            code="rollout_failed",
            next_step=f"When the cause is gone: modelyard rollout start {name} {told['version']}",
        )
