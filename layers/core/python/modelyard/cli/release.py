"""The command ``release``: what a release of an endpoint's code would meet, and the audited way past an alarm."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from modelyard import stack_names
from modelyard.cli.models import AsJson, Name, Operation, Reason, check_reason, repeatable
from modelyard.cli.session import Session
from modelyard.cli.show import moment, out, print_json
from modelyard.errors import AWSError, ConflictError, UsageError
from modelyard.release_override import CONTEXT

if TYPE_CHECKING:
    from modelyard.release_override import ReleaseOverride


def release(
    context: typer.Context,
    name: Name,
    despite_alarms: Annotated[
        bool, typer.Option("--despite-alarms", help="Let the next release of code pass the alarms that fire now.")
    ] = False,
    reason: Reason = "",
    operation: Operation = None,
    as_json: AsJson = False,
) -> None:
    """Show which alarms would stop a release of the endpoint's code; with --despite-alarms, write down to pass them."""
    session: Session = context.obj
    session.model(name)  # refuses what is none
    if despite_alarms:
        check_reason(session, reason)
    elif reason or operation:
        raise UsageError(
            "--reason and --operation belong to --despite-alarms; without it nothing is written",
            code="nothing_to_write",
            next_step=f"Run 'modelyard release {name}', or add --despite-alarms.",
        )
    if session.settings.release == "all_at_once":
        raise UsageError(
            f"environment {session.name!r} releases code all at once: no alarm holds it up",
            code="all_at_once",
            next_step=f"Deploy: {'make up' if session.settings.is_local else _deploy(session, name)}",
        )
    states = _states(session, name)
    override = None
    if despite_alarms:
        firing = [alarm for alarm, fires in states.items() if fires]
        if not firing:
            raise ConflictError(
                f"no alarm of {name}'s endpoint fires, so there is nothing to pass: {', '.join(states)} are quiet",
                code="no_alarm_fires",
                next_step=f"Deploy: {_deploy(session, name)}",
            )
        with repeatable(operation) as identified:
            override = session.registry.override_release(name, firing, reason=reason, operation=identified)
    _show(session, name, states, override, as_json)


def check_override(session: Session, name: str) -> None:
    """Look for the ledger's line about an override that the last deployment of the endpoint used.

    Raises:
        ConflictError: With code ``override_unknown``, when alarms were left out and the ledger does not say why.
    """
    word = session.outputs(stack_names.endpoint_stack(session.name, name)).get(stack_names.RELEASE_OVERRIDE)
    if word is None:
        return
    operation = word.split("/")[2]
    written = session.registry.release_override(name, operation)
    if written is None or written.word(session.name) != word:
        raise ConflictError(
            f"the last deployment of {name}'s endpoint left alarms out by an override {operation!r} that the ledger "
            "does not know",
            code="override_unknown",
            next_step=f"Ask who deployed it; {_deploy(session, name)} puts the alarms back.",
        )


def _states(session: Session, name: str) -> dict[str, bool]:
    """Whether each alarm of the endpoint fires now, by the name that its stack gives it."""
    from modelyard.aws.alarms import CloudWatchAlarms

    stack = stack_names.endpoint_stack(session.name, name)
    server = stack_names.server_stack(session.name, name, session.model(name).spec.endpoint.host)
    alarms = [
        (key.removeprefix(stack_names.ALARM), alarm)
        for each in dict.fromkeys((stack, server))
        for key, alarm in session.outputs(each).items()
        if key.startswith(stack_names.ALARM)
    ]
    if not alarms:
        raise AWSError(
            f"stack {stack} does not say what its alarms are called: it was deployed by an earlier release",
            code="not_deployed",
            next_step=f"Deploy it once: {_deploy(session, name)}",
        )
    firing = CloudWatchAlarms(session.clients.client("cloudwatch"), tuple(alarm for _, alarm in alarms)).firing()
    # Of a server that several models share there are two of a name: its own, and that of the model's way in.
    return {key: any(alarm in firing for name, alarm in alarms if name == key) for key, _ in sorted(alarms)}


def _deploy(session: Session, name: str, override: "ReleaseOverride | None" = None) -> str:
    """The command that releases the endpoint's code."""
    command = f"cdk deploy {stack_names.endpoint_stack(session.name, name)} -c env={session.name}"
    return command if override is None else f"{command} -c {CONTEXT}={override.word(session.name)}"


def _show(
    session: Session, name: str, states: dict[str, bool], override: "ReleaseOverride | None", as_json: bool
) -> None:
    command = _deploy(session, name, override)
    if as_json:
        told: dict[str, Any] = {
            "model": name,
            "code_release": session.settings.release,
            "alarms": {alarm: "fires" if fires else "quiet" for alarm, fires in states.items()},
            "override": None,
            "deploy": command,
        }
        if override is not None:
            told["override"] = {"id": override.operation, "alarms": list(override.alarms), "until": override.until}
        print_json(told)
        return
    out.print(f"{escape(name)}: code is released {session.settings.release.replace('_', ' ')}", soft_wrap=True)
    for alarm, fires in states.items():
        out.print(f"  {alarm:<10} {'[red]fires[/]: it would stop the release' if fires else 'quiet'}")
    if override is not None:
        passed = ", ".join(override.alarms)
        out.print(
            f"override {override.operation}: this release passes {passed}, until {moment(override.until)} UTC; the "
            "alarms on the new version stop it all the same",
            soft_wrap=True,
        )
    elif any(states.values()):
        command = f"modelyard --env {session.name} release {name} --despite-alarms --reason '…'"
    out.print(f"  [dim]next:[/] {escape(command)}", soft_wrap=True)
